package webhook_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/webhook"
	"github.com/keytoll/keytoll/webhook/webhooktest"
)

// flood is more than any buffer between two processes holds.
const flood = 64 << 20

// pour writes the same bytes until nobody takes them, or flood bytes are gone,
// and returns how many went.
func pour(w io.Writer, chunk []byte) (written int) {
	for written < flood {
		n, err := w.Write(chunk)
		written += n
		if err != nil {
			return written
		}
	}
	return written
}

func TestAnswerIsReadToItsLimitAndNotBeyond(t *testing.T) {
	s := newTarget(t, "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(bytes.Repeat([]byte("x"), len(r.URL.Path)-1))
	})
	tr := newTransport(t, webhook.SafeTransportOptions{AllowPrefixes: prefixes("127.0.0.1/32"), MaxResponse: 100})
	for size, ok := range map[int]bool{0: true, 1: true, 99: true, 100: true, 101: false, 500: false} {
		status, body, err := get(t, tr, s.URL+"/"+strings.Repeat("p", size))
		if status != 200 || len(body) != min(size, 100) || (err == nil) != ok || !ok && !errors.Is(err, webhook.ErrBodyTooLarge) {
			t.Errorf("%d bytes: %d, %d bytes, %v", size, status, len(body), err)
		}
	}
}

func TestInfiniteBodyIsCutOff(t *testing.T) {
	var written atomic.Int64
	over := make(chan struct{})
	s := newTarget(t, "127.0.0.1:0", func(w http.ResponseWriter, _ *http.Request) {
		written.Store(int64(pour(w, make([]byte, 32<<10))))
		close(over)
	})
	_, body, err := get(t, local(t), s.URL)
	if len(body) != webhook.DefaultMaxResponse || !errors.Is(err, webhook.ErrBodyTooLarge) {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	<-over
	if written.Load() >= flood {
		t.Error("nobody stopped the flood")
	}
}

// bomb is gzip of size bytes.
func bomb(size int) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	zeros := make([]byte, 1<<20)
	for range size / len(zeros) {
		_, _ = w.Write(zeros)
	}
	_ = w.Close()
	return b.Bytes()
}

func TestGzipBombIsNotUnpacked(t *testing.T) {
	packed := bomb(4 << 20)
	var asked atomic.Pointer[string]
	s := newTarget(t, "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) {
		asked.Store(new(r.Header.Get("Accept-Encoding")))
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(packed)
	})
	_, body, err := get(t, local(t), s.URL)
	if err != nil || body != string(packed) {
		t.Errorf("%d bytes of %d, %v", len(body), len(packed), err)
	}
	if *asked.Load() != "identity" {
		t.Errorf("Accept-Encoding: %s", *asked.Load())
	}
}

func TestEndlessHeaderIsCutOff(t *testing.T) {
	for name, begin := range map[string]string{
		"one line":      "HTTP/1.1 200 OK\r\nX-Long: ",
		"many lines":    "HTTP/1.1 200 OK\r\n",
		"status line":   "HTTP/1.1 200 ",
		"informational": "",
	} {
		t.Run(name, func(t *testing.T) {
			chunk := []byte(strings.Repeat("x", 8<<10))
			switch name {
			case "many lines":
				chunk = bytes.Repeat([]byte("X-A: b\r\n"), 1<<10)
			case "informational":
				chunk = bytes.Repeat([]byte("HTTP/1.1 103 Early Hints\r\nX-A: b\r\n\r\n"), 256)
			}
			written := make(chan int, 1)
			address := rawServer(t, func(_ *testing.T, c net.Conn, _ string) {
				_, _ = io.WriteString(c, begin)
				written <- pour(c, chunk)
			})
			if _, _, err := get(t, local(t), "http://"+address); err == nil {
				t.Error("an answer came of it")
			}
			if n := <-written; n >= flood {
				t.Error("nobody stopped the flood")
			}
		})
	}
}

// net/http has no logger of ours to write to.
func TestLittleIsLoggedOfWhatAReceiverSendsUnasked(t *testing.T) {
	var mu sync.Mutex
	var logged strings.Builder
	log.SetOutput(writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return logged.Write(p)
	}))
	defer log.SetOutput(os.Stderr)
	closed := make(chan struct{})
	address := rawServer(t, func(_ *testing.T, c net.Conn, _ string) {
		_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n"+strings.Repeat("\x01", 64<<10))
		_, _ = io.Copy(io.Discard, c)
		close(closed)
	})
	if _, _, err := get(t, local(t), "http://"+address); err != nil {
		t.Error(err)
	}
	<-closed
	mu.Lock()
	defer mu.Unlock()
	if got := logged.String(); !strings.Contains(got, "Unsolicited") || strings.Count(got, `\x01`) > 1<<10 || strings.Contains(got, "\x01") {
		t.Errorf("%d bytes are logged: %.100s", len(got), got)
	}
}

// writerFunc is an io.Writer.
type writerFunc func(p []byte) (int, error)

func (w writerFunc) Write(p []byte) (int, error) { return w(p) }

// net/http goes on with a connection that nobody waits for any more.
func TestAHandshakeThatNeverEndsKeepsNoConnectionOpen(t *testing.T) {
	closed := make(chan error, 1)
	address := rawListener(t, func(c net.Conn) {
		_, err := io.Copy(io.Discard, c) // and no answer
		closed <- err
	})
	ctx, cancel := context.WithTimeout(t.Context(), short)
	defer cancel()
	r := must(http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address, nil))(t)
	if _, err := local(t).RoundTrip(r); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if err := <-closed; err != nil {
		t.Errorf("the connection outlived its request: %v", err)
	}
}

// A connection is used again after the deadline of the request that it was made for.
func TestAConnectionOutlivesTheDeadlineOfItsFirstRequest(t *testing.T) {
	s := newTarget(t, "127.0.0.1:0", nil)
	tr := local(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*short)
	defer cancel()
	r := must(http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil))(t)
	res := must(tr.RoundTrip(r))(t)
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	over, stop := context.WithTimeout(t.Context(), 7*short) // more than it was bound to
	defer stop()
	<-over.Done()
	if _, _, err := get(t, tr, s.URL); err != nil || s.conns.Load() != 1 {
		t.Errorf("%v, %d connections", err, s.conns.Load())
	}
}

func TestHeaderWithALineBreakIsRefused(t *testing.T) {
	s := newTarget(t, "127.0.0.1:0", nil)
	tr := local(t)
	for name, value := range map[string]string{
		"X-A": "a\r\nX-Injected: b", "X-B": "a\nb", "X-C": "\x00", "X-D\r\nX-E": "a", "X F": "a", "": "a", "X-G": "ü",
	} {
		r, _ := http.NewRequest(http.MethodGet, s.URL, nil)
		r.Header[name] = []string{value}
		if _, err := tr.RoundTrip(r); !errors.Is(err, webhook.ErrRefused) || strings.Contains(err.Error(), "Injected: b") {
			t.Errorf("%q: %q: %v", name, value, err)
		}
	}
	s.none(t)
}

func TestTransportAddsNothingToTheRequestOfACaller(t *testing.T) {
	s := newTarget(t, "127.0.0.1:0", nil)
	r, _ := http.NewRequest(http.MethodGet, s.URL, nil)
	res, err := local(t).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if len(r.Header) != 0 {
		t.Errorf("%v", r.Header)
	}
}

func TestClientGivesUpOnABodyThatDoesNotCome(t *testing.T) {
	_, verifier := newPair(t)
	gate := make(chan struct{})
	defer close(gate)
	r := webhooktest.NewReceiver(t, verifier, webhooktest.Answer{BodyGate: gate})
	signer, _ := newPair(t)
	res, err := local(t).Client(50 * time.Millisecond).Do(webhooktest.NewRequest(t, signer, webhooktest.Message{URL: r.URL()}))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.ReadAll(res.Body); err == nil {
		t.Error("a body came")
	}
	if c := local(t).Client(-1); c.Timeout != webhook.DefaultTimeout {
		t.Errorf("a client without a timeout: %v", c.Timeout)
	}
}

// newPair returns both sides of testSecret, with the real clock.
func newPair(t *testing.T) (*webhook.Signer, *webhook.Verifier) {
	t.Helper()
	return newSigner(t, testSecret), must(webhook.NewVerifier(keysOf(t, testSecret), nil))(t)
}

func TestConnectionsAreSharedAndCanBeClosed(t *testing.T) {
	s := newTarget(t, "127.0.0.1:0", nil)
	tr := local(t)
	for range 3 {
		if _, _, err := get(t, tr, s.URL); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.conns.Load(); n != 1 {
		t.Errorf("%d connections for three requests", n)
	}
	tr.Client(0).CloseIdleConnections()
	if _, _, err := get(t, tr, s.URL); err != nil || s.conns.Load() != 2 {
		t.Errorf("%v, %d connections", err, s.conns.Load())
	}
}

func TestConnectionsToOneHostAreBounded(t *testing.T) {
	arrived, gate := make(chan struct{}, 8), make(chan struct{})
	s := newTarget(t, "127.0.0.1:0", func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-gate
	})
	tr := newTransport(t, webhook.SafeTransportOptions{AllowPrefixes: prefixes("127.0.0.1/32"), MaxConnsPerHost: 2})
	done := make(chan error, 6)
	for range 6 {
		go func() {
			_, _, err := get(t, tr, s.URL)
			done <- err
		}()
	}
	for range 2 {
		<-arrived
	}
	close(gate)
	for range 6 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := s.conns.Load(); n > 2 {
		t.Errorf("%d connections, want at most 2", n)
	}
}

// tlsServer speaks TLS as config says, and answers 200.
func tlsServer(t *testing.T, config *tls.Config) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.TLS = config
	s.Config.ErrorLog = quiet()
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func TestTLSBefore12IsRefused(t *testing.T) {
	s := tlsServer(t, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	if _, _, err := get(t, trusting(t, s, webhook.SafeTransportOptions{}), s.URL); err == nil {
		t.Error("TLS 1.1 was spoken")
	}
	s = tlsServer(t, &tls.Config{MaxVersion: tls.VersionTLS12})
	if status, _, err := get(t, trusting(t, s, webhook.SafeTransportOptions{}), s.URL); status != 200 {
		t.Errorf("%d, %v", status, err)
	}
	if _, _, err := get(t, local(t), s.URL); err == nil {
		t.Error("a certificate that nobody vouches for was trusted")
	}
}

// trusting makes a transport that reaches 127.0.0.1 and trusts s.
func trusting(t *testing.T, s *httptest.Server, o webhook.SafeTransportOptions) *webhook.SafeTransport {
	t.Helper()
	o.AllowPrefixes = append(o.AllowPrefixes, prefixes("127.0.0.1/32")...)
	o.RootCAs = s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	return newTransport(t, o)
}

func TestTransportsOfEndpointsAreSharedAndBounded(t *testing.T) {
	tr := local(t)
	ca := newCA(t, "one")
	plain := must(webhook.ForTLS(tr, webhook.TLSSettings{}, ""))(t)
	if webhook.Derived(tr) != 0 {
		t.Error("no settings need no transport of their own")
	}
	one := must(webhook.ForTLS(tr, webhook.TLSSettings{Least: tls.VersionTLS13}, ""))(t)
	if again := must(webhook.ForTLS(tr, webhook.TLSSettings{Least: tls.VersionTLS13}, ""))(t); again != one || one == plain {
		t.Error("equal settings have two transports, or different ones the same")
	}
	for i := range webhook.MaxDerived + 10 {
		if i%100 == 0 { // in use all the time
			_ = must(webhook.ForTLS(tr, webhook.TLSSettings{Least: tls.VersionTLS13}, ""))(t)
		}
		_ = must(webhook.ForTLS(tr, webhook.TLSSettings{RootCAs: fmt.Sprintf("%s# %d\n", ca.pem, i)}, ""))(t)
		if n := webhook.Derived(tr); n > webhook.MaxDerived {
			t.Fatalf("%d transports are kept", n)
		}
	}
	if again := must(webhook.ForTLS(tr, webhook.TLSSettings{Least: tls.VersionTLS13}, ""))(t); again != one {
		t.Error("what is in use was dropped, and not what is idle")
	}
	if one.TLSClientConfig.MinVersion != tls.VersionTLS13 || one.DialContext == nil || one.MaxResponseHeaderBytes != 64<<10 || !one.DisableCompression {
		t.Error("a transport of an endpoint has lost the limits")
	}
}

func TestFaultsOfTLSSettingsAreNamedWithoutTheKey(t *testing.T) {
	ca := newCA(t, "one")
	chain, key := ca.leaf(t, "client")
	_, otherKey := ca.leaf(t, "other")
	for name, tt := range map[string]struct {
		settings webhook.TLSSettings
		key      string
	}{
		"least":       {webhook.TLSSettings{Least: tls.VersionTLS11}, ""},
		"roots":       {webhook.TLSSettings{RootCAs: "hello"}, ""},
		"no key":      {webhook.TLSSettings{Certificate: chain}, ""},
		"no chain":    {webhook.TLSSettings{}, key},
		"another key": {webhook.TLSSettings{Certificate: chain}, otherKey},
		"no PEM":      {webhook.TLSSettings{Certificate: chain}, "hunter2"},
	} {
		_, err := webhook.ForTLS(local(t), tt.settings, tt.key)
		if errors.CodeOf(err) != errors.Invalid || !strings.Contains(err.Error(), "TLS.") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
	tr, good := local(t), webhook.TLSSettings{Certificate: chain, RootCAs: ca.pem, Least: tls.VersionTLS12}
	if _, err := webhook.ForTLS(tr, good, key); err != nil {
		t.Error(err)
	}
	if _, err := webhook.ForTLS(tr, good, otherKey); err == nil {
		t.Error("a key that is not the certificate's got the connections of the one that is")
	}
}

// The authorities that an endpoint names are for its own server: a proxy is none
// of its business.
func TestTLSSettingsOfAnEndpointDoNotReachTheProxy(t *testing.T) {
	receiver := webhooktest.NewTLSReceiver(t, nil)
	far := strings.TrimPrefix(receiver.URL(), "https://")
	var seen atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		if len(r.TLS.PeerCertificates) != 0 {
			t.Error("the proxy was shown the certificate for the receiver")
		}
		tunnel(t, w, far)
	}))
	ca, other := newCA(t, "proxies"), newCA(t, "receivers")
	s.TLS = &tls.Config{Certificates: []tls.Certificate{ca.pair(t, "127.0.0.1")}, ClientAuth: tls.RequestClientCert}
	s.Config.ErrorLog = quiet()
	s.StartTLS()
	t.Cleanup(s.Close)
	address := *must(url.Parse(s.URL))(t)
	tr := newTransport(t, webhook.SafeTransportOptions{Proxy: &address, RootCAs: ca.pool(t)})
	chain, key := other.leaf(t, "sender")
	a, err := webhook.Try(t.Context(), webhook.SenderOptions{Transport: tr}, claimed("https://example.com/hook", webhook.Settings{
		TLS: webhook.TLSSettings{RootCAs: receiver.RootCAs(), Certificate: chain},
	}), keysOf(t, testSecret), key)
	if err != nil || a.Status != 401 || seen.Load() != 1 {
		t.Errorf("%+v", a)
	}
	got := receiver.Received()
	if len(got) != 1 || len(got[0].TLS.PeerCertificates) != 1 || got[0].TLS.PeerCertificates[0].Subject.CommonName != "sender" {
		t.Errorf("the receiver was shown %+v", got)
	}
}
