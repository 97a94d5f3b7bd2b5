package middlewaretest

import (
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
)

// Options of a [Fixture]. The zero value, and nil, are the defaults.
type Options struct {
	// Gate are the options of the gate. What is nil there is the fixture's own:
	// Limits, Credits and Idempotency on memory stores. An Observer is told after the recorder.
	// Now must be nil; the fixture's clock is in its place. An empty Environment is
	// the one that keys have.
	Gate middleware.Options
	// Keys are the options of the service that makes keys. Now must be nil.
	Keys apikey.Options
	// Format is that of the keys; nil is "test_live_" with the environments live and
	// dev. A format with less than two environments has no key that is
	// [OtherEnvironment].
	Format *apikey.Format
	// Key is what the keys have in common: their owner, "acme" when empty, their
	// environment, the format's first when empty, their settings, metadata and so
	// on. Networks, ExpiresAt, TTL, Scopes and RequestID must be left empty.
	Key apikey.Spec
	// Scopes are granted to every key but the scopeless one; "*" when none are given.
	Scopes []string
	// Balance is what the accounts can spend, [Poor] apart; 1000 credits when 0.
	Balance credits.Amount
	// Clock is moved by the test; nil is one that shows noon of 1 January 2026, UTC.
	Clock *Clock
}

// age is how old the keys are when the test begins.
const age = time.Hour

func (o *Options) fill() error {
	f := errors.Faults{Op: "middlewaretest.New"}
	if o.Gate.Now != nil || o.Keys.Now != nil {
		f.Add("a Now is set; leave it nil, and give a Clock")
	}
	if s := &o.Key; s.Networks.Len() > 0 || !s.ExpiresAt.IsZero() || s.TTL != 0 || s.Scopes.Len() > 0 || s.RequestID != "" {
		f.Add("Key has networks, an end, scopes or a request id; leave them empty, give Options.Scopes, and make keys of your own with Fixture.Issue")
	}
	if o.Balance < 0 {
		f.Add("Balance is %v; give 0 (1000 credits) or more", o.Balance)
	}
	if o.Clock == nil {
		o.Clock = NewClock(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC))
	}
	o.Gate.Now, o.Keys.Now = o.Clock.Now, o.Clock.Now
	if o.Format == nil {
		var err error
		o.Format, err = apikey.NewFormat("test", &apikey.FormatOptions{Environments: []string{"live", "dev"}})
		f.Join(err)
	}
	if o.Key.Owner == "" {
		o.Key.Owner = "acme"
	}
	if labels := o.Format.Environments(); o.Key.Environment == "" && len(labels) > 0 {
		o.Key.Environment = labels[0]
		if o.Gate.Environment != "" {
			o.Key.Environment = o.Gate.Environment
		}
	}
	if o.Gate.Environment == "" {
		o.Gate.Environment = o.Key.Environment
	}
	if len(o.Scopes) == 0 {
		o.Scopes = []string{"*"}
	}
	if o.Balance == 0 {
		o.Balance = 1000 * credits.Credit
	}
	return f.Err()
}
