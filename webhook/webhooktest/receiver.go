package webhooktest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/webhook"
)

// An Answer is one line of a [Receiver]'s script. It has no clock: what is to be
// slow waits for a gate.
type Answer struct {
	Status int         // default 204, or 200 with a Body
	Header http.Header // may be nil
	Body   string      // may be ""
	// Gate, unless nil, is waited for before anything is sent: until it is closed or
	// something comes out of it. The wait ends when the sender hangs up, too.
	Gate <-chan struct{}
	// BodyGate is waited for between the header and the body, which is announced
	// meanwhile. With an empty Body one byte is announced and never comes.
	BodyGate <-chan struct{}
	// Abort drops the connection instead of answering.
	Abort bool
	// Break drops it after half of Body; the whole is announced.
	Break bool
}

// A Delivery is one request that a [Receiver] got.
type Delivery struct {
	Method   string
	Host     string
	Path     string
	Header   http.Header
	Body     []byte
	TLS      *tls.ConnectionState // nil without TLS; certificates of the sender are as it showed them
	Verified webhook.Verified     // zero when Err is not nil
	Err      error                // why the signature was not accepted
	Answer   Answer               // what it was answered with
}

// A Verifier says whether a request is what the sender signed. A
// [webhook.Verifier] is one, of whatever scheme.
type Verifier interface {
	// VerifyRequest reads the body of r and leaves it to be read again.
	VerifyRequest(r *http.Request) (webhook.Verified, error)
}

// A Receiver is an HTTP server on a loopback port that verifies what it gets
// and keeps it. Each verified delivery is given the next [Answer] of the
// script, and 204 when the script is over. One that is not verified is given
// 401 and leaves the script where it is.
type Receiver struct {
	server *httptest.Server
	closed chan struct{} // when the test is over

	mu       sync.Mutex
	verifier Verifier
	script   []Answer
	received []Delivery
	changed  chan struct{} // closed and replaced with each delivery
}

// NewReceiver starts a Receiver, which ends with the test. A nil verifier accepts
// nothing until there is another, see [Receiver.SetVerifier].
func NewReceiver(tb testing.TB, verifier Verifier, script ...Answer) *Receiver {
	tb.Helper()
	r := newReceiver(verifier, script)
	r.server = httptest.NewServer(r)
	tb.Cleanup(r.close)
	return r
}

// NewTLSReceiver is [NewReceiver] with TLS and a certificate for 127.0.0.1, which
// [Receiver.RootCAs] vouches for. It asks for a certificate of the sender and
// takes any, or none.
func NewTLSReceiver(tb testing.TB, verifier Verifier, script ...Answer) *Receiver {
	tb.Helper()
	r := newReceiver(verifier, script)
	r.server = httptest.NewUnstartedServer(r)
	r.server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ClientAuth: tls.RequestClientCert}
	r.server.StartTLS()
	tb.Cleanup(r.close)
	return r
}

func newReceiver(verifier Verifier, script []Answer) *Receiver {
	return &Receiver{verifier: verifier, script: slices.Clone(script), changed: make(chan struct{}), closed: make(chan struct{})}
}

// close lets go of whoever waits at a gate, and stops the server.
func (r *Receiver) close() {
	close(r.closed)
	r.server.Close()
}

// URL returns the address to send to: "http://127.0.0.1:port", or https.
func (r *Receiver) URL() string { return r.server.URL }

// Client returns a client for that address whose connections end with the
// server.
func (r *Receiver) Client() *http.Client { return r.server.Client() }

// RootCAs returns the certificate of the authority that r's own comes from, in
// PEM, as [webhook.TLSSettings] takes it; "" without TLS.
func (r *Receiver) RootCAs() string {
	if cert := r.server.Certificate(); cert != nil {
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
	}
	return ""
}

// Transport returns a transport that reaches loopback addresses, for
// [webhook.SenderOptions], and trusts r. Its connections end with the test.
func (r *Receiver) Transport(tb testing.TB) *webhook.SafeTransport {
	tb.Helper()
	opts := &webhook.SafeTransportOptions{
		AllowPrefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		AnyPort:       true,
		AllowHTTP:     true,
	}
	if cert := r.server.Certificate(); cert != nil {
		opts.RootCAs = x509.NewCertPool()
		opts.RootCAs.AddCert(cert)
	}
	t, err := webhook.NewSafeTransport(opts)
	if err != nil {
		tb.Fatalf("webhooktest: %v", err)
	}
	tb.Cleanup(t.CloseIdleConnections)
	return t
}

// SetVerifier replaces the verifier: for secrets that are known only after an
// endpoint was made for r's address, or that were rotated.
func (r *Receiver) SetVerifier(v Verifier) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.verifier = v
}

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
// are with an error when ctx is over before. A delivery counts when it has
// arrived, before it is answered.
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
	r.mu.Lock()
	verifier := r.verifier
	r.mu.Unlock()
	var verified webhook.Verified
	err := errors.New("webhooktest: there is no verifier yet; give one to NewReceiver or SetVerifier")
	if verifier != nil {
		verified, err = verifier.VerifyRequest(req)
	}
	body, readErr := io.ReadAll(io.LimitReader(req.Body, webhook.MaxBodyCeiling))
	if err == nil {
		err = readErr
	}
	a := r.record(Delivery{
		Method: req.Method, Host: req.Host, Path: req.URL.Path, Header: req.Header.Clone(), Body: body, TLS: req.TLS,
		Verified: verified, Err: err,
	})
	if !r.pass(req, a.Gate) || a.Abort {
		panic(http.ErrAbortHandler) //nolint:forbidigo // the documented way to drop a connection
	}
	for name, values := range a.Header {
		w.Header()[name] = slices.Clone(values)
	}
	r.answer(w, req, a)
}

// answer sends the status and the body of a.
func (r *Receiver) answer(w http.ResponseWriter, req *http.Request, a Answer) {
	body := a.Body
	if a.BodyGate != nil || a.Break {
		w.Header().Set("Content-Length", strconv.Itoa(max(1, len(body))))
		w.WriteHeader(a.Status)
		_ = http.NewResponseController(w).Flush() // the sender may be gone
	} else {
		w.WriteHeader(a.Status)
	}
	if !r.pass(req, a.BodyGate) {
		panic(http.ErrAbortHandler) //nolint:forbidigo // the documented way to drop a connection
	}
	if a.Break {
		body = body[:len(body)/2]
	}
	_, _ = io.WriteString(w, body) // the sender may be gone
	if a.Break {
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler) //nolint:forbidigo // the documented way to drop a connection
	}
}

// pass waits at a gate. It is false when nobody waits for the answer any more.
func (r *Receiver) pass(req *http.Request, gate <-chan struct{}) bool {
	if gate == nil {
		return true
	}
	select {
	case <-gate:
		return true
	case <-req.Context().Done():
	case <-r.closed:
	}
	return false
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
		if d.Answer.Body != "" || d.Answer.BodyGate != nil || d.Answer.Break {
			d.Answer.Status = http.StatusOK
		}
	}
	r.received = append(r.received, d)
	close(r.changed)
	r.changed = make(chan struct{})
	return d.Answer
}
