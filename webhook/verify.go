package webhook

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
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
	// BaseURL is the address under which senders know this server: "https://" and a
	// host, and a path if a proxy takes one off, without a '/' at the end. A scheme
	// that signs the address needs it, since what a request says about its own
	// host is whatever its sender wrote there. Default "": no such scheme.
	BaseURL string
	// Now is the clock, read once per decision. Default time.Now.
	Now func() time.Time
}

// A Verifier checks messages signed under any [Scheme] of its keys. Its reading
// of the headers is strict and bounded: what it accepts has exactly one
// spelling.
//
// A set with keys of several schemes, for a move from one to another, accepts a
// message that is right under any of them. Such a receiver is as safe as the
// weakest: whoever could hold a message back and send the signatures of each scheme
// alone has it handled twice where only one of them signs an id. End the old keys
// when the move is over.
//
// The zero value refuses with [ErrNoKeys]. A Verifier may be used by any number
// of goroutines, and must not be copied.
type Verifier struct {
	baseURL   string
	tolerance time.Duration
	maxBody   int64
	now       func() time.Time
	keys      atomic.Pointer[ring]
}

// Verified is what a valid signature proves.
type Verified struct {
	ID        string    // of the message, the same for every attempt; "" if the scheme does not sign it
	Timestamp time.Time // of the attempt, whole seconds, UTC; zero if the scheme does not sign it
	KeyID     string    // of the key that matched: when an old one no longer appears, it can go
	Scheme    string    // name of the scheme that matched

	replay string // what a whole scheme tells messages apart by, if ID is ""
}

// ReplayKey returns what tells this message from others that must be handled
// too: its ID, or, under a scheme that does not sign one, "sha256:" and a digest
// of what is signed. body is the one that was verified. Nothing that can be
// changed without the key is in it, nor which of several signatures matched.
// The attempts of a message without an ID that carry different timestamps have
// different keys, and so have signatures of RFC 9421 that were made with different
// nonces or times, or cover different components: the handler goes by those of all.
func (v Verified) ReplayKey(body []byte) string {
	if v.ID != "" {
		return v.ID
	}
	h := sha256.New()
	seconds := ""
	if !v.Timestamp.IsZero() {
		seconds = strconv.FormatInt(v.Timestamp.Unix(), 10)
	}
	// Digits hold no line break, so that nothing is ambiguous. The scheme is left out:
	// where two hash the same text with one secret, anybody can take the signature of
	// one and write it as the other wants it.
	_, _ = io.WriteString(h, "keytoll/webhook/replay\n"+seconds+"\n"+v.replay+"\n")
	if v.replay == "" {
		_, _ = h.Write(body)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
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
	if o.BaseURL != "" && !validBase(o.BaseURL) {
		faults.Add(`base URL: not "https://" or "http://", a host and perhaps a path, without user, query or fragment or '/' at the end`)
	}
	v := &Verifier{baseURL: o.BaseURL, tolerance: o.Tolerance, maxBody: o.MaxBody, now: o.Now}
	ring := newRing(keys)
	v.addressFaults(&faults, ring)
	if err := faults.Err(); err != nil {
		return nil, err
	}
	v.keys.Store(ring)
	return v, nil
}

// validBase reports whether base can go before the target of a request.
func validBase(base string) bool {
	u, err := url.Parse(base)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.Opaque == "" && u.User == nil &&
		!strings.ContainsAny(base, "?#") && !strings.HasSuffix(base, "/") && !strings.ContainsFunc(base, invisible)
}

// addressFaults names the schemes that need a BaseURL, if there is none.
func (v *Verifier) addressFaults(faults *errors.Faults, r *ring) {
	for _, g := range r.groups {
		if f := &g.form; v.baseURL == "" && f.whole != nil && f.whole.signsAddress(&f.Scheme) {
			faults.Add("base URL: empty, and scheme %s signs the address; give the one under which senders know this server", f.Name)
		}
	}
}

// SetKeys replaces the key set, for rotation without a restart. A message is
// verified with the set that is in place when all of it has been read. A set
// without a key, or with a scheme that needs a BaseURL that is not there, is
// refused, and the old one stays; so is any set by a zero Verifier.
func (v *Verifier) SetKeys(keys Keys) error {
	if keys.Len() == 0 || v.now == nil {
		return &errors.Error{Op: "webhook.Verifier.SetKeys", Err: ErrNoKeys}
	}
	faults := errors.Faults{Op: "webhook.Verifier.SetKeys"}
	ring := newRing(keys)
	v.addressFaults(&faults, ring)
	if err := faults.Err(); err != nil {
		return err
	}
	v.keys.Store(ring)
	return nil
}

// Verify proves that a holder of one of the keys signed body with these
// headers, and that it did so within the tolerance of now, if the scheme signs
// the time. body has to be the bytes as received, before any decoding. It
// allocates nothing on success, unless key pairs sign.
//
// An error is a denial: it matches [ErrMissing], [ErrMalformed], [ErrTooOld],
// [ErrTooNew], [ErrSignature], [ErrKeyExpired] or [ErrNoKeys], and its text
// tells the operator what to look at. Tell the sender no more than "401".
// Verify does not remember messages: [Verifier.Handler] with a [ReplayStore]
// does. A scheme that signs the address is refused here, and verified by
// [Verifier.VerifyRequest].
func (v *Verifier) Verify(header http.Header, body []byte) (verified Verified, denial error) {
	keys := v.keys.Load()
	if keys == nil {
		return Verified{}, refuse(ErrNoKeys, "")
	}
	now := v.now()
	in := incoming{header: header}
	for _, g := range keys.groups {
		c := claim{group: g}
		err := c.read(&in)
		if err == nil {
			err = c.judge(v.tolerance, now)
		}
		if err == nil {
			var match *ringKey
			if match, err = c.prove(now, body); err == nil {
				c.verified(&verified, match)
				return verified, nil
			}
		}
		denial = tell(denial, err)
	}
	return verified, denial
}

// tell returns that of two denials, by different schemes, that tells more:
// the first, unless only the second finds its headers.
func tell(first, second error) error {
	if first == nil || second != nil && errors.Is(first, ErrMissing) && !errors.Is(second, ErrMissing) {
		return second
	}
	return first
}

// judge refuses a timestamp that is further from now than the tolerance.
func (c *claim) judge(tolerance time.Duration, now time.Time) error {
	f := &c.form
	switch {
	case f.whole != nil:
		return c.whole.judge(now, tolerance)
	case f.TimestampHeader != "":
		return judgeTime(f.TimestampHeader, c.at, now, tolerance)
	case f.signsTime:
		return judgeTime(f.SignatureHeader, c.at, now, tolerance)
	}
	return nil
}

// judgeTime refuses a timestamp, found in a header of that name, that is
// further from now than the tolerance.
func judgeTime(name string, at, now time.Time, tolerance time.Duration) error {
	// Differences are taken forwards: the least Duration has no opposite.
	switch age := now.Sub(at); {
	case age > tolerance:
		return refuse(ErrTooOld, fmt.Sprintf("%s: %v old, %v allowed; a late or repeated request, or a clock that is off", name, age.Round(time.Second), tolerance))
	case age < -tolerance:
		return refuse(ErrTooNew, fmt.Sprintf("%s: %v ahead, %v allowed; one of the two clocks is off", name, at.Sub(now).Round(time.Second), tolerance))
	}
	return nil
}

// prove compares every signature with that of every live key, and does not
// stop at the first that matches. It returns the newest key that does.
func (c *claim) prove(now time.Time, body []byte) (*ringKey, error) {
	if c.whole != nil {
		if err := c.whole.bind(body); err != nil {
			return nil, err
		}
	}
	var message []byte // for key pairs only, which want it as a whole
	if c.p > 0 {
		message = c.form.message(c.id, c.timestamp, body)
	}
	var match, expired *ringKey
	for _, k := range c.keys {
		if k.live(now) && c.matches(k, body, message) && match == nil {
			match = k
		}
	}
	// Nothing is proven; whether an expired key would have matched is worth a
	// better message.
	for i := 0; i < len(c.keys) && match == nil && expired == nil; i++ {
		if k := c.keys[i]; !k.live(now) && c.matches(k, body, message) {
			expired = k
		}
	}
	if match != nil {
		return match, nil
	}
	return nil, mismatch(expired)
}

// mismatch is the denial when no live key matches, and perhaps an expired one
// does.
func mismatch(expired *ringKey) error {
	if expired != nil {
		return refuse(ErrKeyExpired, fmt.Sprintf("key %q expired at %s; sign with the current one", expired.ID, expired.NotAfter.UTC().Format(time.RFC3339)))
	}
	return refuse(ErrSignature, "no signature matches; check that both sides hold the same secret, and that the body is the bytes as received")
}

// verified fills in what is proven once k matches.
func (c *claim) verified(v *Verified, k *ringKey) {
	v.ID, v.Timestamp, v.KeyID, v.Scheme = c.id, c.at, k.ID, c.form.Name
}

// appendProofs appends what is proven once k matches: more than one for several
// signatures that name the message in different ways.
func (c *claim) appendProofs(list []Verified, k *ringKey) []Verified {
	var v Verified
	c.verified(&v, k)
	if c.whole != nil {
		return append(list, c.whole.proven(v)...)
	}
	return append(list, v)
}
