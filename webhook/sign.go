package webhook

import (
	"crypto/rand"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// SignerOptions adjusts a [Signer].
type SignerOptions struct {
	// Prefix begins the three header names: letters, digits and '-', the last
	// character '-'. Default "webhook-".
	Prefix string
}

// A Signer signs messages as Standard Webhooks v1 asks: HMAC-SHA-256 of
// "{id}.{timestamp}.{body}", one signature for each live key.
//
// The zero value refuses with [ErrNoKeys]. A Signer may be used by any number
// of goroutines, and must not be copied.
type Signer struct {
	headers headers
	keys    atomic.Pointer[ring]
}

// NewSigner makes a Signer of a key set with at least one key. opts may be nil.
func NewSigner(keys Keys, opts *SignerOptions) (*Signer, error) {
	var o SignerOptions
	if opts != nil {
		o = *opts
	}
	faults := errors.Faults{Op: "webhook.NewSigner"}
	s := &Signer{headers: newHeaders(&faults, o.Prefix)}
	if keys.Len() == 0 {
		faults.Add("keys: none; give at least one, made with NewKeys")
	}
	if err := faults.Err(); err != nil {
		return nil, err
	}
	s.keys.Store(new(newRing(keys)))
	return s, nil
}

// SetKeys replaces the key set, for rotation without a restart. Calls that are
// under way finish with the set they began with. A set without a key is
// refused, and the old one stays; so is any set by a zero Signer.
func (s *Signer) SetKeys(keys Keys) error {
	if keys.Len() == 0 || s.headers == (headers{}) {
		return &errors.Error{Op: "webhook.Signer.SetKeys", Err: ErrNoKeys}
	}
	s.keys.Store(new(newRing(keys)))
	return nil
}

// Sign sets the id, timestamp and signature headers of one attempt to deliver
// body, replacing what they held. header must not be nil.
//
// id is the message's, the same for every attempt: 1 to 256 characters of A-Z,
// a-z, 0-9, '_' and '-', as [NewID] makes them. at is the time of this attempt,
// of which whole seconds are sent, so a message is signed when it is sent and
// again for each retry. body is what goes over the wire, byte for byte.
//
// The error matches [ErrMessage] or, when every key has expired at that time,
// [ErrNoKeys]; header is then unchanged.
func (s *Signer) Sign(header http.Header, id string, at time.Time, body []byte) error {
	// One string for timestamp and signatures, one array for the three values.
	var room [maxTimestamp + MaxKeys*(entrySize+1)]byte
	text := strconv.AppendInt(room[:0], at.Unix(), 10)
	digits := len(text)
	text, err := s.AppendSignature(text, id, at, body)
	if err != nil {
		return err
	}
	joined := string(text)
	values := [...]string{id, joined[:digits], joined[digits:]}
	header[s.headers.id] = values[0:1:1]
	header[s.headers.timestamp] = values[1:2:2]
	header[s.headers.signature] = values[2:3:3]
	return nil
}

// AppendSignature appends the value of the signature header to dst, for callers
// that set headers themselves: arguments and errors are those of [Signer.Sign],
// and dst comes back unchanged with an error. It allocates only when dst has to
// grow.
func (s *Signer) AppendSignature(dst []byte, id string, at time.Time, body []byte) ([]byte, error) {
	keys := s.keys.Load()
	if keys == nil || !keys.live(at) {
		return dst, &errors.Error{Op: "webhook.Sign", Err: ErrNoKeys}
	}
	if !validID(id) {
		return dst, &errors.Error{Op: "webhook.Sign", Msg: "id: not 1 to 256 characters of A-Z, a-z, 0-9, '_', '-'; make one with NewID", Err: ErrMessage}
	}
	seconds := at.Unix()
	if seconds < 1 || seconds > lastInstant {
		return dst, &errors.Error{Op: "webhook.Sign", Msg: "at: before 1970 or after 5138; give the time of this attempt", Err: ErrMessage}
	}
	var digits [maxTimestamp]byte
	timestamp := string(strconv.AppendInt(digits[:0], seconds, 10))
	start := len(dst)
	for _, k := range *keys {
		if !k.live(at) {
			continue
		}
		if len(dst) > start {
			dst = append(dst, ' ')
		}
		dst = appendEntry(dst, k.sum(id, timestamp, body))
	}
	return dst, nil
}

// NewID returns a new message id: "msg_" and 26 random characters, more than
// 128 bits.
func NewID() string { return "msg_" + rand.Text() }
