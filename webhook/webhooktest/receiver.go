package webhooktest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

// An Answer is one line of a [Receiver]'s script.
type Answer struct {
	Status int           // default 204
	Header http.Header   // may be nil
	Body   string        // may be ""
	Delay  time.Duration // before anything is sent; cut short when the sender hangs up
	Abort  bool          // drop the connection instead of answering
}

// A Delivery is one request that a [Receiver] got.
type Delivery struct {
	Method   string
	Path     string
	Header   http.Header
	Body     []byte
	Verified webhook.Verified // zero when Err is not nil
	Err      error            // why the signature was not accepted
	Answer   Answer           // what it was answered with
}

// A Receiver is an HTTP server on a loopback port that verifies what it gets
// and keeps it. Each verified delivery is given the next [Answer] of the
// script, and 204 when the script is over. One that is not verified is given
// 401 and leaves the script where it is.
type Receiver struct {
	verifier *webhook.Verifier
	server   *httptest.Server

	mu       sync.Mutex
	script   []Answer
	received []Delivery
	changed  chan struct{} // closed and replaced with each delivery
}

// NewReceiver starts a Receiver, which ends with the test.
func NewReceiver(tb testing.TB, verifier *webhook.Verifier, script ...Answer) *Receiver {
	tb.Helper()
	r := &Receiver{verifier: verifier, script: slices.Clone(script), changed: make(chan struct{})}
	r.server = httptest.NewServer(r)
	tb.Cleanup(r.server.Close)
	return r
}

// URL returns the address to send to: "http://127.0.0.1:port".
func (r *Receiver) URL() string { return r.server.URL }

// Client returns a client for that address whose connections end with the
// server.
func (r *Receiver) Client() *http.Client { return r.server.Client() }

// Script appends to what is left of the script.
func (r *Receiver) Script(answers ...Answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.script = append(r.script, answers...)
}

// Received returns the deliveries so far, in the order of their arrival. The
// caller must not change their headers and bodies.
func (r *Receiver) Received() []Delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.received)
}

// Wait returns the deliveries as soon as there are n or more, and those there
// are with an error when ctx is over before.
func (r *Receiver) Wait(ctx context.Context, n int) ([]Delivery, error) {
	for {
		r.mu.Lock()
		got, changed := slices.Clone(r.received), r.changed
		r.mu.Unlock()
		if len(got) >= n {
			return got, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return got, fmt.Errorf("webhooktest: %d deliveries, waiting for %d: %w", len(got), n, ctx.Err())
		}
	}
}

// ServeHTTP records one request and answers it.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	verified, err := r.verifier.VerifyRequest(req)
	body, readErr := io.ReadAll(io.LimitReader(req.Body, webhook.MaxBodyCeiling))
	if err == nil {
		err = readErr
	}
	answer := r.record(Delivery{
		Method: req.Method, Path: req.URL.Path, Header: req.Header.Clone(), Body: body, Verified: verified, Err: err,
	})
	if answer.Delay > 0 {
		select {
		case <-time.After(answer.Delay): //nolint:forbidigo // a slow receiver is what the script asks for
		case <-req.Context().Done():
		}
	}
	if answer.Abort {
		panic(http.ErrAbortHandler) //nolint:forbidigo // the documented way to drop a connection
	}
	for name, values := range answer.Header {
		w.Header()[name] = slices.Clone(values)
	}
	w.WriteHeader(answer.Status)
	_, _ = io.WriteString(w, answer.Body) // the sender may be gone
}

// record keeps d with its answer, which it returns.
func (r *Receiver) record(d Delivery) Answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case d.Err != nil:
		d.Answer = Answer{Status: http.StatusUnauthorized}
	case len(r.script) > 0:
		d.Answer, r.script = r.script[0], r.script[1:]
	}
	if d.Answer.Status == 0 {
		d.Answer.Status = http.StatusNoContent
	}
	r.received = append(r.received, d)
	close(r.changed)
	r.changed = make(chan struct{})
	return d.Answer
}
