package webhook

import (
	"crypto/subtle"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// Defaults and bounds of a [Verifier].
const (
	DefaultTolerance = 5 * time.Minute
	MinTolerance     = time.Second
	MaxTolerance     = 24 * time.Hour
	DefaultMaxBody   = 1 << 20 // bytes
	MaxBodyCeiling   = 1 << 30 // bytes
)

// VerifierOptions adjusts a [Verifier].
type VerifierOptions struct {
	// Tolerance is how far a timestamp may be from now, in the past and in the
	// future; exactly that far still passes. From [MinTolerance] to
	// [MaxTolerance]. Default [DefaultTolerance].
	Tolerance time.Duration
	// MaxBody is the most bytes of body that [Verifier.VerifyRequest] and the
	// handler read, from 1 to [MaxBodyCeiling]. Default [DefaultMaxBody].
	MaxBody int64
	// Prefix begins the three header names: letters, digits and '-', the last
	// character '-'. Default "webhook-".
	Prefix string
	// Now is the clock, read once per decision. Default time.Now.
	Now func() time.Time
}

// A Verifier checks messages signed as Standard Webhooks v1 asks. Its reading
// of the headers is strict and bounded: what it accepts has exactly one
// spelling.
//
// The zero value refuses with [ErrNoKeys]. A Verifier may be used by any number
// of goroutines, and must not be copied.
type Verifier struct {
	headers   headers
	tolerance time.Duration
	maxBody   int64
	now       func() time.Time
	keys      atomic.Pointer[ring]
}

// Verified is what a valid signature proves.
type Verified struct {
	ID        string    // of the message, the same for every attempt
	Timestamp time.Time // of the attempt, whole seconds, UTC
	KeyID     string    // of the key that matched: when an old one no longer appears, it can go
}

// NewVerifier makes a Verifier of a key set with at least one key. opts may be
// nil.
func NewVerifier(keys Keys, opts *VerifierOptions) (*Verifier, error) {
	var o VerifierOptions
	if opts != nil {
		o = *opts
	}
	faults := errors.Faults{Op: "webhook.NewVerifier"}
	if o.Tolerance == 0 {
		o.Tolerance = DefaultTolerance
	}
	if o.Tolerance < MinTolerance || o.Tolerance > MaxTolerance {
		faults.Add("tolerance is %v; give %v to %v", o.Tolerance, MinTolerance, MaxTolerance)
	}
	if o.MaxBody == 0 {
		o.MaxBody = DefaultMaxBody
	}
	if o.MaxBody < 1 || o.MaxBody > MaxBodyCeiling {
		faults.Add("max body is %d bytes; give 1 to %d", o.MaxBody, MaxBodyCeiling)
	}
	if o.Now == nil {
		o.Now = time.Now //nolint:forbidigo // the one default clock
	}
	if keys.Len() == 0 {
		faults.Add("keys: none; give at least one, made with NewKeys")
	}
	v := &Verifier{headers: newHeaders(&faults, o.Prefix), tolerance: o.Tolerance, maxBody: o.MaxBody, now: o.Now}
	if err := faults.Err(); err != nil {
		return nil, err
	}
	v.keys.Store(new(newRing(keys)))
	return v, nil
}

// SetKeys replaces the key set, for rotation without a restart. A message is
// verified with the set that is in place when all of it has been read. A set
// without a key is refused, and the old one stays; so is any set by a zero
// Verifier.
func (v *Verifier) SetKeys(keys Keys) error {
	if keys.Len() == 0 || v.now == nil {
		return &errors.Error{Op: "webhook.Verifier.SetKeys", Err: ErrNoKeys}
	}
	v.keys.Store(new(newRing(keys)))
	return nil
}

// Verify proves that a holder of one of the keys signed body with these
// headers, and that it did so within the tolerance of now. body has to be the
// bytes as received, before any decoding. It allocates nothing on success.
//
// An error is a denial: it matches [ErrMissing], [ErrMalformed], [ErrTooOld],
// [ErrTooNew], [ErrSignature], [ErrKeyExpired] or [ErrNoKeys], and its text
// tells the operator what to look at. Tell the sender no more than "401".
// Verify does not remember messages: [Verifier.Handler] with a [ReplayStore]
// does.
func (v *Verifier) Verify(header http.Header, body []byte) (Verified, error) {
	keys := v.keys.Load()
	if keys == nil {
		return Verified{}, refuse(ErrNoKeys, "")
	}
	now := v.now()
	var c claim
	if err := v.headers.parse(&c, header); err != nil {
		return Verified{}, err
	}
	if err := v.judge(&c, now); err != nil {
		return Verified{}, err
	}
	return c.prove(*keys, now, body)
}

// judge refuses a timestamp that is further from now than the tolerance.
func (v *Verifier) judge(c *claim, now time.Time) error {
	// Differences are taken forwards: the least Duration has no opposite.
	switch age := now.Sub(c.at); {
	case age > v.tolerance:
		return refuse(ErrTooOld, fmt.Sprintf("%s: %v old, %v allowed; a late or repeated request, or a clock that is off", v.headers.timestamp, age.Round(time.Second), v.tolerance))
	case age < -v.tolerance:
		return refuse(ErrTooNew, fmt.Sprintf("%s: %v ahead, %v allowed; one of the two clocks is off", v.headers.timestamp, c.at.Sub(now).Round(time.Second), v.tolerance))
	}
	return nil
}

// prove compares every signature with the MAC of every live key, and does not
// stop at the first that matches.
func (c *claim) prove(keys ring, now time.Time, body []byte) (Verified, error) {
	var match *macKey
	for _, k := range keys {
		if k.live(now) && c.matches(k, body) && match == nil {
			match = k
		}
	}
	if match != nil {
		return Verified{ID: c.id, Timestamp: c.at, KeyID: match.ID}, nil
	}
	// Nothing is proven; whether an expired key would have matched is worth a
	// better message.
	for _, k := range keys {
		if !k.live(now) && c.matches(k, body) {
			return Verified{}, refuse(ErrKeyExpired, fmt.Sprintf("key %q expired at %s; sign with the current one", k.ID, k.NotAfter.UTC().Format(time.RFC3339)))
		}
	}
	return Verified{}, refuse(ErrSignature, "no signature matches; check that both sides hold the same secret, and that the body is the bytes as received")
}

// matches compares all signatures with the MAC of k in constant time.
func (c *claim) matches(k *macKey, body []byte) bool {
	sum := k.sum(c.id, c.timestamp, body)
	found := 0
	for i := range c.n {
		found |= subtle.ConstantTimeCompare(sum[:], c.sums[i][:])
	}
	return found == 1
}
