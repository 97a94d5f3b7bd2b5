package webhook

import (
	"net/http"
	"strings"
	"time"
)

// A whole is the code of a scheme that signs more of a request than an id, a
// timestamp and the body: what a [Scheme] alone cannot describe. It is found by
// the Signed of the scheme, and has no state.
//
// Everything it reads of headers was sent by a stranger: it bounds and checks
// all of it in read, before anything is hashed.
type whole interface {
	// check completes s and returns what is wrong with it, as "field: fault;
	// remedy". Name and header names are checked already.
	check(s *Scheme) []string
	// takes says what is wrong with a secret of that kind, going on from "the
	// secret"; "" if nothing.
	takes(s *Scheme, kind SecretKind) string
	// signsAddress reports whether any part of the URL is signed: then a verifier has
	// to know its own.
	signsAddress(s *Scheme) bool
	// sign sets the headers of one attempt in out, beside those of other schemes, for every
	// key: one or more, live, newest first, all of which can sign.
	sign(s *Scheme, out http.Header, keys []*ringKey, m *outgoing) error
	// read reads the headers of a request whose SignatureHeader is there. keys are
	// all keys of the scheme, live or not.
	read(s *Scheme, keys []*ringKey, in *incoming) (wholeClaim, error)
}

// A wholeClaim is what a request says before anything is proven. It belongs to
// one request.
type wholeClaim interface {
	// judge refuses what time alone refuses, with [ErrTooOld] or [ErrTooNew]. It is
	// called before the body is read and again when it is complete.
	judge(now time.Time, tolerance time.Duration) error
	// bind takes the whole body, once, and refuses one that is not what the headers
	// announce.
	bind(body []byte) error
	// matches reports whether a signature for k is right. It is called after bind,
	// for every live key, and takes the same time whatever the signatures are.
	matches(k *ringKey) bool
	// proven returns v, which holds KeyID and Scheme, with what else each right
	// signature proves: Timestamp, ID if it is signed, and otherwise replay, a digest in
	// hexadecimal digits of all that is signed. The first is that of KeyID; others
	// name the same message in other ways.
	proven(v Verified) []Verified
}

// An outgoing is one attempt to be signed by a whole scheme.
type outgoing struct {
	request *http.Request // its URL is absolute; its body is not read
	id      string        // valid
	at      time.Time     // within the range of timestamps
	body    []byte
}

// An incoming is a request whose headers are to be read.
type incoming struct {
	header  http.Header
	request *http.Request // nil when there are only headers
	address string        // the whole URL as the sender used it: BaseURL and the request's target
}

// wholeOf returns the code of a scheme whose Signed says that it needs some,
// and nil for all others.
func wholeOf(s Scheme) whole {
	switch {
	case strings.HasPrefix(s.Signed, "("):
		return httpSignatures{}
	case s.Signed == twilioSigned:
		return twilioRequests{}
	}
	return nil
}
