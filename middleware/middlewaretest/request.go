package middlewaretest

import (
	"bufio"
	"crypto/rand"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
)

// Request returns a request, for a handler and for [Fixture.Serve], with the key
// in that state where the gate's profile reads it first. Nil is no body. A method
// or a target that is none ends the test.
func (f *Fixture) Request(s State, method, target string, body io.Reader) *http.Request {
	f.tb.Helper()
	if _, err := http.ReadRequest(bufio.NewReader(strings.NewReader(method + " " + target + " HTTP/1.0\r\n\r\n"))); err != nil {
		f.tb.Fatalf("middlewaretest: %q and %q make no request: %v; give a method such as POST and a target such as /v1/images", method, target, err)
		return nil
	}
	r := httptest.NewRequestWithContext(f.tb.Context(), method, target, body)
	f.Authorize(r, s)
	return r
}

// Authorize puts the key in that state into r, a request for a server of the
// test's own for example.
func (f *Fixture) Authorize(r *http.Request, s State) {
	f.tb.Helper()
	switch s {
	case None:
	case Malformed:
		f.place.Put(r, "not-a-key")
	case Unknown:
		format := f.Keys.Format()
		environment := f.issued[Active].Key.Environment
		secret, err := format.Generate(environment, rand.Reader)
		f.must(err)
		f.place.Put(r, secret.Reveal())
	default:
		f.place.Put(r, f.Key(s).Secret.Reveal())
	}
}

// Serve hands r to the handler and returns its answer. What the handler panics
// with goes through.
func (f *Fixture) Serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// Do serves a request without a body: [Fixture.Request] and [Fixture.Serve].
func (f *Fixture) Do(h http.Handler, s State, method, target string) *httptest.ResponseRecorder {
	f.tb.Helper()
	return f.Serve(h, f.Request(s, method, target, nil))
}
