package middlewaretest

import (
	"context"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/idempotency"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/scopes"
)

// A Fixture is a gate with everything around it that a test looks at. What the
// gate decides and charges is in its [Recorder].
type Fixture struct {
	*Recorder
	Gate   *middleware.Gate
	Keys   *apikey.Service
	Ledger *credits.Ledger
	Clock  *Clock

	tb      testing.TB
	issued  [Poor + 1]apikey.Issued
	lack    [Poor + 1]string // why there is no such key
	place   middleware.Location
	account func(apikey.Key) credits.AccountID
}

// New returns a fixture, which ends with the test. Nil options are the defaults,
// a gate that any handler can stand behind. What is wrong with them ends the test.
func New(tb testing.TB, o *Options) *Fixture {
	tb.Helper()
	f := &Fixture{Recorder: NewRecorder(tb), tb: tb}
	var opt Options
	if o != nil {
		opt = *o
	}
	f.must(opt.fill())
	f.Clock = opt.Clock
	gate := &opt.Gate
	keys, err := apikey.NewService(apikey.NewMemoryStore(), opt.Format, &opt.Keys)
	f.must(err)
	f.Keys = keys
	tb.Cleanup(func() { _ = keys.Close(context.WithoutCancel(tb.Context())) }) // nothing in memory is worth a failure then
	if f.Ledger = gate.Credits; f.Ledger == nil {
		f.Ledger, err = credits.NewLedger(credits.NewMemoryStore(&credits.MemoryOptions{Now: f.Clock.Now}), nil)
		f.must(err)
		gate.Credits = f.Ledger
	}
	if gate.Limits == nil {
		gate.Limits, err = ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{Now: f.Clock.Now})
		f.must(err)
	}
	if gate.Idempotency == nil {
		store, err := idempotency.NewMemoryStore(&idempotency.MemoryOptions{Now: f.Clock.Now})
		f.must(err)
		gate.Idempotency = &middleware.IdempotencyOptions{Store: store}
	}
	if gate.Observer == nil {
		gate.Observer = f.Recorder
	} else {
		gate.Observer = middleware.Observers{f.Recorder, gate.Observer}
	}
	f.place = middleware.Bearer()
	if places := gate.Profile.Credentials; len(places) > 0 {
		f.place = places[0]
	}
	f.account = gate.Account
	f.Gate, err = middleware.NewGate(keys, gate)
	f.must(err)
	f.furnish(&opt)
	return f
}

// must ends the test with what is wrong.
func (f *Fixture) must(err error) {
	f.tb.Helper()
	if err != nil {
		f.tb.Fatalf("middlewaretest: %v", err)
	}
}

// furnish makes the keys an hour ago, and grants credits now.
func (f *Fixture) furnish(o *Options) {
	f.tb.Helper()
	ctx := f.tb.Context()
	granted, err := scopes.Of(o.Scopes...)
	f.must(err)
	elsewhere, err := apikey.ParseNetworks("198.51.100.0/24")
	f.must(err)
	f.Clock.Advance(-age)
	for s := Active; s <= Poor; s++ {
		spec := o.Key
		spec.Scopes = granted
		if spec.Name == "" {
			spec.Name = s.String()
		}
		switch s {
		case Expired:
			spec.TTL = age / 2
		case Suspended, Poor:
			spec.Owner += "-" + s.String()
		case OtherNetwork:
			spec.Networks = elsewhere
		case Scopeless:
			spec.Scopes = scopes.Set{}
		case OtherEnvironment:
			if spec.Environment = other(o.Format.Environments(), o.Gate.Environment); spec.Environment == "" {
				f.lack[s] = "give Options.Format two environments"
				continue
			}
		default:
		}
		f.issued[s] = f.Issue(spec)
	}
	f.Clock.Advance(age)
	_, err = f.Keys.Disable(ctx, f.issued[Disabled].Key.ID)
	f.must(err)
	_, err = f.Keys.Revoke(ctx, f.issued[Revoked].Key.ID, "for tests")
	f.must(err)
	_, err = f.Keys.SuspendOwner(ctx, f.issued[Suspended].Key.Owner, "for tests")
	f.must(err)
	if f.Account(Poor) == f.Account(Active) {
		f.lack[Poor] = "let Options.Gate.Account tell owners apart"
	}
	paid := make(map[credits.AccountID]bool)
	for s := range Poor {
		if account := f.Account(s); f.lack[s] == "" && !paid[account] {
			paid[account] = true
			_, err = f.Ledger.Grant(ctx, credits.Grant{Account: account, ID: "middlewaretest", Amount: o.Balance})
			f.must(err)
		}
	}
}

// other returns the first label that is not this one; "" without any.
func other(labels []string, this string) string {
	for _, l := range labels {
		if l != this {
			return l
		}
	}
	return ""
}

// Issue makes another key, and ends the test when spec is not one.
func (f *Fixture) Issue(spec apikey.Spec) apikey.Issued {
	f.tb.Helper()
	issued, err := f.Keys.Create(f.tb.Context(), spec)
	f.must(err)
	return issued
}

// Key returns the key in a state up to [Poor], with its secret.
func (f *Fixture) Key(s State) apikey.Issued {
	f.tb.Helper()
	if int(s) >= len(f.issued) {
		f.tb.Fatalf("middlewaretest: there is no key that is %v; give one of Active to Poor", s)
		return apikey.Issued{}
	}
	if f.lack[s] != "" {
		f.tb.Fatalf("middlewaretest: there is no key that is %v; %s", s, f.lack[s])
	}
	return f.issued[s]
}

// Account returns the account that pays for the key in a state up to [Poor].
func (f *Fixture) Account(s State) credits.AccountID {
	f.tb.Helper()
	key := f.issued[min(s, Poor)].Key
	if f.account != nil && key.ID != "" {
		return f.account(key)
	}
	return credits.AccountID(key.Owner)
}

// WantBalance fails the test unless the account of the active key has this much
// to spend, and this much held.
func (f *Fixture) WantBalance(available, held credits.Amount) {
	f.tb.Helper()
	b, err := f.Ledger.Balance(f.tb.Context(), f.Account(Active))
	f.must(err)
	if b.Available != available || b.Held != held {
		f.tb.Errorf("middlewaretest: account %s has %v credits and %v held, want %v and %v\n%s", b.Account, b.Available, b.Held, available, held, f.Recorder)
	}
}

// Advance moves the fixture's clock on by d.
func (f *Fixture) Advance(d time.Duration) {
	f.tb.Helper()
	if d < 0 {
		f.tb.Fatalf("middlewaretest: Advance(%v) goes back; give 0 or more", d)
	}
	f.Clock.Advance(d)
}
