package idempotency

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"io"
	"net/http"
	"net/url"

	"github.com/keytoll/keytoll/errors"
)

// ErrTooLarge says that a request's body is longer than what may be read of it.
var ErrTooLarge error = &errors.Error{Code: errors.Invalid, Msg: "the request body is too large to be sent with an Idempotency-Key"}

// KeyOf hashes what names one thing to be done: who asks, for what, and under which
// Idempotency-Key. Lists that differ in any part have different keys.
func KeyOf(parts ...string) Key {
	sum := newSum("keytoll idempotency key 1")
	for _, p := range parts {
		sum.text(p)
	}
	return Key(sum.end())
}

// FingerprintOf hashes what makes r the request it is: the method, the path, the
// query, whose parameters may come in any order as long as those of one name keep
// theirs, Content-Type, Content-Encoding, Range, and the body. Other fields do not
// count, credentials least of all: a client may repeat a request with a new key.
//
// It reads the body, at most maxBody bytes of it, and puts a reader of the same
// bytes in its place; a client that waits for "100 Continue" is sent that. The body
// is kept in memory meanwhile. The error is [ErrTooLarge], an error of the body, or
// that of ctx; what was read of the body is lost then.
func FingerprintOf(ctx context.Context, r *http.Request, maxBody int64) (Fingerprint, error) {
	const op = "idempotency.FingerprintOf"
	sum := newSum("keytoll idempotency fingerprint 1")
	sum.text(r.Method)
	sum.text(r.URL.EscapedPath())
	sum.text(canonicalQuery(r.URL.RawQuery))
	for _, name := range []string{"Content-Type", "Content-Encoding", "Range"} {
		lines := r.Header[name]
		sum.number(len(lines))
		for _, line := range lines {
			sum.text(line)
		}
	}
	if r.Body == nil || r.Body == http.NoBody {
		sum.text("")
		return Fingerprint(sum.end()), nil
	}
	if r.ContentLength > maxBody {
		return Fingerprint{}, errors.Wrap(op, ErrTooLarge)
	}
	var body bytes.Buffer
	body.Grow(int(min(max(r.ContentLength, 0), 64<<10)) + bytes.MinRead) // a client may announce much and send nothing
	n, err := body.ReadFrom(io.LimitReader(r.Body, maxBody+1))
	switch {
	case n > maxBody:
		return Fingerprint{}, errors.Wrap(op, ErrTooLarge)
	case ctx.Err() != nil:
		return Fingerprint{}, errors.Wrap(op, ctx.Err())
	case err != nil:
		return Fingerprint{}, errors.Wrap(op, err)
	}
	sum.bytes(body.Bytes())
	r.Body = restored{bytes.NewReader(body.Bytes()), r.Body}
	return Fingerprint(sum.end()), nil
}

// restored is a body that was read and can be read again.
type restored struct {
	io.Reader
	io.Closer
}

// canonicalQuery sorts the parameters of a query by name. What cannot be read as
// parameters stands as it is.
func canonicalQuery(raw string) string {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return raw
	}
	return values.Encode()
}

// A sum hashes parts, each with its length, so that no two lists of parts are one
// text.
type sum struct{ hash.Hash }

func newSum(domain string) sum {
	s := sum{sha256.New()}
	s.text(domain)
	return s
}

func (s sum) number(n int) {
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(n))
	_, _ = s.Write(length[:]) // hash.Hash never fails
}

func (s sum) text(part string) { s.bytes([]byte(part)) }

func (s sum) bytes(part []byte) {
	s.number(len(part))
	_, _ = s.Write(part) // hash.Hash never fails
}

func (s sum) end() (out [sha256.Size]byte) {
	s.Sum(out[:0])
	return out
}
