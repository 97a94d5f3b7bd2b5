package webhook

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// A Reader reads a body and verifies it on the way: for bodies that are too
// large to hold. Where io.EOF would come it returns the denial of
// [Verifier.Verify], unless the message is good.
//
// What it cannot do follows from that. Nothing that was read is proven before
// io.EOF, not even the id: whoever acts on it earlier acts on the word of a
// stranger. Write it to a place of its own and use it when [Reader.Verified]
// returns no error. There is no replay guard either, until then.
//
// It reads messages signed with secrets that both sides share, under schemes
// that a [Scheme] alone describes. Key pairs want the whole message in memory.
//
// The zero value refuses. A Reader is for one goroutine.
type Reader struct {
	verifier *Verifier
	ring     *ring
	body     io.Reader
	left     int64 // that may still be read
	claims   []claim
	running  []running
	verified Verified
	err      error // what Read returns from now on
}

// A running is a MAC that is being computed.
type running struct {
	claim int // index
	key   *ringKey
	state *macState
}

// NewReader reads the headers of a message and returns a Reader of its body, at
// most MaxBody bytes. What the headers alone refuse is refused here, before a
// byte is read.
func (v *Verifier) NewReader(header http.Header, body io.Reader) (*Reader, error) {
	ring := v.keys.Load()
	if ring == nil {
		return nil, refuse(ErrNoKeys, "")
	}
	claims, denial := ring.claims(nil, &incoming{header: header}, v.tolerance, v.now())
	r := &Reader{verifier: v, ring: ring, body: body, left: v.maxBody, claims: claims}
	for i := range claims {
		c := &claims[i]
		if c.n == 0 {
			denial = tell(denial, refuse(ErrSignature, c.form.SignatureHeader+": signed by key pairs only, which want the whole body; call VerifyRequest"))
			continue
		}
		for _, k := range c.keys {
			if k.Secret.Kind().shared() {
				state, _ := k.begin(c.id, c.timestamp, nil)
				r.running = append(r.running, running{i, k, state})
			}
		}
	}
	if len(r.running) == 0 {
		return nil, denial
	}
	return r, nil
}

// Read reads from the body. At its end it returns io.EOF if the message is
// good, and otherwise the denial, for good: an error of [Verifier.Verify],
// [ErrBodyTooLarge], or [ErrBody] when reading failed. Time and keys are judged
// again then, and a key that [Verifier.SetKeys] took away meanwhile is refused.
func (r *Reader) Read(p []byte) (int, error) {
	if r.verifier == nil {
		return 0, refuse(ErrNoKeys, "")
	}
	if r.err != nil || len(p) == 0 {
		return 0, r.err
	}
	n, err := r.body.Read(p[:min(int64(len(p)), r.left+1)])
	if int64(n) > r.left {
		r.err = tooLarge("webhook.Reader.Read", r.verifier.maxBody, ErrBodyTooLarge)
		return 0, r.err
	}
	r.left -= int64(n)
	for _, m := range r.running {
		_, _ = m.state.mac.Write(p[:n])
	}
	switch {
	case err == io.EOF:
		r.err = r.conclude()
	case err != nil:
		r.err = broken("webhook.Reader.Read", err)
	}
	return n, r.err
}

// Verified returns what is proven once Read has returned io.EOF, and an error
// until then.
func (r *Reader) Verified() (Verified, error) {
	switch {
	case r.err == nil:
		return Verified{}, refuse(ErrSignature, "the body has not been read to its end; nothing is proven before")
	case errors.Is(r.err, io.EOF) && r.verified.Scheme != "":
		return r.verified, nil
	}
	return Verified{}, r.err
}

// conclude compares all signatures with all MACs, and returns io.EOF or why
// the message is denied.
func (r *Reader) conclude() error {
	now := r.verifier.now()
	var denial error
	for i := range r.claims {
		c := &r.claims[i]
		err := c.judge(r.verifier.tolerance, now)
		var match, expired *ringKey
		for _, m := range r.running {
			if m.claim != i {
				continue
			}
			right := c.compare(m.key.end(m.state, c.id, c.timestamp))
			m.key.states.Put(m.state)
			switch live := m.key.live(now); {
			case right && !live:
				expired = m.key
			case right && match == nil && r.verifier.holds(r.ring, m.key, now):
				match = m.key
			}
		}
		switch {
		case err != nil:
		case match == nil:
			err = mismatch(expired)
		case r.verified.Scheme == "":
			c.verified(&r.verified, match)
		}
		denial = tell(denial, err)
	}
	r.running = nil
	if r.verified.Scheme != "" {
		return io.EOF
	}
	return denial
}

// holds reports whether a key of ring, which was the verifier's, still is in
// its set and live.
func (v *Verifier) holds(was *ring, key *ringKey, now time.Time) bool {
	is := v.keys.Load()
	if is == was {
		return true
	}
	for _, g := range is.groups {
		for _, k := range g.keys {
			if k.Scheme == key.Scheme && k.Secret.Equal(key.Secret) && k.live(now) {
				return true
			}
		}
	}
	return false
}

func tooLarge(op string, limit int64, cause error) error {
	return &errors.Error{Op: op, Msg: fmt.Sprintf("the body is over %d bytes; send less, or raise the limit", limit), Err: cause}
}

// broken says that reading the body failed.
func broken(op string, err error) error {
	if capped, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tooLarge(op, capped.Limit, fmt.Errorf("%w: %w", ErrBodyTooLarge, err))
	}
	return &errors.Error{Op: op, Err: fmt.Errorf("%w: %w", ErrBody, err)}
}
