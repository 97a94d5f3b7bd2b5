package webhook

import (
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// A Signer signs messages with all live keys of a set, each in the way of its
// [Scheme]: one request can carry the signatures of several.
//
// The zero value refuses with [ErrNoKeys]. A Signer may be used by any number
// of goroutines, and must not be copied.
type Signer struct {
	keys atomic.Pointer[ring]
}

// NewSigner makes a Signer of a key set with at least one key, all of which can
// sign. It has no options: how a message is signed is for the [Scheme] of each key
// to say.
func NewSigner(keys Keys) (*Signer, error) {
	faults := errors.Faults{Op: "webhook.NewSigner"}
	if keys.Len() == 0 {
		faults.Add("keys: none; give at least one, made with NewKeys")
	}
	publicFaults(&faults, keys)
	if err := faults.Err(); err != nil {
		return nil, err
	}
	s := &Signer{}
	s.keys.Store(newRing(keys))
	return s, nil
}

// publicFaults names the keys that cannot sign.
func publicFaults(faults *errors.Faults, keys Keys) {
	for k := range keys.All() {
		if !k.Secret.signs() {
			faults.Add("key %q is the public half of a pair, which only verifies; give the private half", k.ID)
		}
	}
}

// SetKeys replaces the key set, for rotation without a restart. Calls that are
// under way finish with the set they began with. A set without a key, or with
// one that cannot sign, is refused, and the old one stays; so is any set by a
// zero Signer.
func (s *Signer) SetKeys(keys Keys) error {
	if keys.Len() == 0 || s.keys.Load() == nil {
		return &errors.Error{Op: "webhook.Signer.SetKeys", Err: ErrNoKeys}
	}
	faults := errors.Faults{Op: "webhook.Signer.SetKeys"}
	publicFaults(&faults, keys)
	if err := faults.Err(); err != nil {
		return err
	}
	s.keys.Store(newRing(keys))
	return nil
}

// Sign sets the headers of one attempt to deliver body, those of every scheme
// that has a live key, replacing what they held. header must not be nil.
//
// id is the message's, the same for every attempt: 1 to 256 characters of A-Z,
// a-z, 0-9, '_' and '-', as [NewID] makes them. at is the time of this attempt,
// of which whole seconds are sent, so a message is signed when it is sent and
// again for each retry. body is what goes over the wire, byte for byte.
//
// The error matches [ErrMessage], also for a scheme that signs the address,
// for which [Signer.SignRequest] is there; [ErrNoKeys] when every key has
// expired at that time; or what a signer of [SecretFromSigner] failed with.
// header is then unchanged.
func (s *Signer) Sign(header http.Header, id string, at time.Time, body []byte) error {
	return s.sign(header, nil, id, at, body)
}

// SignRequest is Sign for all schemes: it sets the headers of req, which is
// about to be sent with body to req.URL. It reads neither req.Body nor req.Host
// unless a scheme signs the address. Everything else of req that a scheme signs
// has to be in place before.
func (s *Signer) SignRequest(req *http.Request, id string, at time.Time, body []byte) error {
	if req == nil || req.URL == nil || req.Header == nil {
		return unsignable("request: nil, or without URL or header; make it with http.NewRequest")
	}
	return s.sign(req.Header, req, id, at, body)
}

func (s *Signer) sign(header http.Header, req *http.Request, id string, at time.Time, body []byte) error {
	keys, err := s.ready(id, at)
	if err != nil {
		return err
	}
	timestamp := strconv.FormatInt(at.Unix(), 10)
	if len(keys.groups) == 1 && keys.groups[0].form.whole == nil {
		return keys.groups[0].sign(header, id, at, timestamp, body)
	}
	out := http.Header{}
	for _, g := range keys.groups {
		switch {
		case !g.live(at):
			continue
		case g.form.whole == nil:
			err = g.sign(out, id, at, timestamp, body)
		case req == nil:
			err = unsignable("scheme " + g.form.Name + " signs more than headers and body; call SignRequest")
		default:
			err = g.form.whole.sign(&g.form.Scheme, out, g.liveKeys(at), &outgoing{req, id, at, body})
		}
		if err != nil {
			return err
		}
	}
	maps.Copy(header, out)
	return nil
}

// ready returns the keys to sign with, or why nothing can be signed.
func (s *Signer) ready(id string, at time.Time) (*ring, error) {
	keys := s.keys.Load()
	if keys == nil || !keys.live(at) {
		return nil, &errors.Error{Op: "webhook.Sign", Err: ErrNoKeys}
	}
	if !validID(id) {
		return nil, unsignable("id: not 1 to 256 characters of A-Z, a-z, 0-9, '_', '-'; make one with NewID")
	}
	if seconds := at.Unix(); seconds < 1 || seconds > lastInstant {
		return nil, unsignable("at: before 1970 or after 5138; give the time of this attempt")
	}
	return keys, nil
}

// sign sets the headers of one scheme.
func (g *group) sign(header http.Header, id string, at time.Time, timestamp string, body []byte) error {
	// Room for two signatures; one array for the three values.
	var room [256]byte
	text, err := g.appendSignature(room[:0], id, at, timestamp, body)
	if err != nil {
		return err
	}
	values := [...]string{id, timestamp, string(text)}
	f := &g.form
	if f.IDHeader != "" {
		header[f.IDHeader] = values[0:1:1]
	}
	if f.TimestampHeader != "" {
		header[f.TimestampHeader] = values[1:2:2]
	}
	header[f.SignatureHeader] = values[2:3:3]
	return nil
}

// AppendSignature appends the value of the signature header to dst, for callers
// that set headers themselves: arguments and errors are those of [Signer.Sign],
// and dst comes back unchanged with an error. It allocates only when dst has to
// grow or a key pair signs. A set of several schemes, which have a header each,
// is refused.
func (s *Signer) AppendSignature(dst []byte, id string, at time.Time, body []byte) ([]byte, error) {
	keys, err := s.ready(id, at)
	if err != nil {
		return dst, err
	}
	if len(keys.groups) > 1 || keys.groups[0].form.whole != nil {
		return dst, unsignable("the keys are of schemes " + keys.schemeNames() + ", which take more than one header; call Sign or SignRequest")
	}
	var digits [maxTimestamp]byte
	timestamp := string(strconv.AppendInt(digits[:0], at.Unix(), 10))
	return keys.groups[0].appendSignature(dst, id, at, timestamp, body)
}

// appendSignature appends the signatures of all live keys, newest first, or of
// the newest alone when there is room for one. dst comes back unchanged with an
// error.
func (g *group) appendSignature(dst []byte, id string, at time.Time, timestamp string, body []byte) ([]byte, error) {
	f, start := &g.form, len(dst)
	if f.TimestampEntry != "" {
		dst = append(append(dst, f.TimestampEntry...), timestamp...)
	}
	for _, k := range g.keys {
		if !k.live(at) {
			continue
		}
		if len(dst) > start {
			dst = append(dst, f.Separator...)
		}
		var err error
		if dst, err = k.appendEntry(dst, id, timestamp, body); err != nil {
			return dst[:start], errors.Wrap("webhook.Sign", fmt.Errorf("key %q: %w", k.ID, err))
		}
		if f.Separator == "" {
			break
		}
	}
	return dst, nil
}

func unsignable(msg string) error {
	return &errors.Error{Op: "webhook.Sign", Msg: msg, Err: ErrMessage}
}

// NewID returns a new message id: "msg_" and 26 random characters, more than
// 128 bits.
func NewID() string { return "msg_" + rand.Text() }
