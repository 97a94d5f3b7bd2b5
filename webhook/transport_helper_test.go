package webhook_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

func prefixes(texts ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

// newTransport makes a transport that speaks http to any port, so that what is
// refused is refused for its address.
func newTransport(t testing.TB, o webhook.SafeTransportOptions) *webhook.SafeTransport {
	t.Helper()
	o.AllowHTTP = true
	o.AnyPort = len(o.Ports) == 0
	tr := must(webhook.NewSafeTransport(&o))(t)
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// local makes a transport that reaches 127.0.0.1, which stands for the public
// internet in these tests, and no other loopback address.
func local(t testing.TB) *webhook.SafeTransport {
	t.Helper()
	return newTransport(t, webhook.SafeTransportOptions{AllowPrefixes: prefixes("127.0.0.1/32")})
}

// A target is a server that counts the connections that it got.
type target struct {
	*httptest.Server
	conns atomic.Int32
	port  string
}

// newTarget listens on a loopback address such as "127.0.0.2:0".
func newTarget(t testing.TB, address string, handler http.HandlerFunc) *target {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	if handler == nil {
		handler = func(http.ResponseWriter, *http.Request) {}
	}
	s := &target{Server: httptest.NewUnstartedServer(handler)}
	_ = s.Listener.Close()
	s.Listener = l
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.conns.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	_, s.port, _ = net.SplitHostPort(l.Addr().String())
	return s
}

// none fails the test when the server was reached.
func (s *target) none(t *testing.T) {
	t.Helper()
	if n := s.conns.Load(); n != 0 {
		t.Errorf("%d connections were made to %s", n, s.URL)
	}
}

// rawServer hands every connection to serve, after it has read the header of a
// request, and closes it afterwards.
func rawServer(t *testing.T, serve func(t *testing.T, c net.Conn, request string)) string {
	t.Helper()
	return rawListener(t, func(c net.Conn) { serve(t, c, readHeader(c)) })
}

// rawListener hands connections to serve, one after the other, and closes each
// afterwards. The test ends only when all are over.
func rawListener(t *testing.T, serve func(c net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(20 * time.Second)) // a broken test ends, too
			serve(c)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

// readHeader reads to the end of the header of a request.
func readHeader(c net.Conn) string {
	var text strings.Builder
	var b [1]byte
	for !strings.HasSuffix(text.String(), "\r\n\r\n") {
		if _, err := c.Read(b[:]); err != nil {
			return text.String()
		}
		text.WriteByte(b[0])
	}
	return text.String()
}

// get makes a request and returns the error of it, or of reading the answer.
func get(t *testing.T, tr http.RoundTripper, url string) (status int, body string, err error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	res, err := tr.RoundTrip(r)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, string(text), err
}

// nameServer answers DNS questions. answer gets the name without the dot at its
// end, and how often this kind of question was put before; nil is "no such name".
func nameServer(t *testing.T, answer func(name string, asked int) []netip.Addr) *net.Resolver {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		asked := map[string]int{}
		buf := make([]byte, 512)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			name, kind, end := question(buf[:n])
			if end == 0 {
				continue
			}
			key := fmt.Sprint(name, kind)
			_, _ = pc.WriteTo(reply(buf[:end], kind, answer(name, asked[key])), from)
			asked[key]++
		}
	}()
	t.Cleanup(func() {
		_ = pc.Close()
		<-done
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", pc.LocalAddr().String())
	}}
}

const typeA, typeAAAA = 1, 28

// question reads the one question of a DNS message, RFC 1035 section 4.1.2, and
// returns where it ends; 0 when it cannot.
func question(m []byte) (name string, kind uint16, end int) {
	i := 12
	var labels []string
	for i < len(m) && m[i] != 0 {
		next := i + 1 + int(m[i])
		if next >= len(m) {
			return "", 0, 0
		}
		labels = append(labels, string(m[i+1:next]))
		i = next
	}
	if i+5 > len(m) {
		return "", 0, 0
	}
	return strings.Join(labels, "."), binary.BigEndian.Uint16(m[i+1:]), i + 5
}

// reply answers a question with those of the addresses that are of its kind.
func reply(question []byte, kind uint16, addrs []netip.Addr) []byte {
	m := append([]byte(nil), question...)
	m[2], m[3] = 0x84, 0x00 // an authoritative answer
	if addrs == nil {
		m[3] = 3 // no such name
	}
	count := 0
	for _, addr := range addrs {
		if addr.Is4() != (kind == typeA) || kind != typeA && kind != typeAAAA {
			continue
		}
		count++
		m = append(m, 0xc0, 12) // the name of the question
		m = binary.BigEndian.AppendUint16(m, kind)
		m = append(m, 0, 1, 0, 0, 0, 0) // the internet, for no time
		m = binary.BigEndian.AppendUint16(m, uint16(addr.BitLen()/8))
		m = append(m, addr.AsSlice()...)
	}
	binary.BigEndian.PutUint16(m[6:], uint16(count))
	binary.BigEndian.PutUint32(m[8:], 0)
	return m
}

// join copies between two connections until one of them ends.
func join(a net.Conn, fromA io.Reader, b net.Conn) {
	done := make(chan struct{}, 2)
	go func() {
		_, _ = io.Copy(b, fromA)
		done <- struct{}{}
	}()
	go func() {
		_, _ = io.Copy(a, b)
		done <- struct{}{}
	}()
	<-done
	_ = a.Close()
	_ = b.Close()
	<-done
}

// tunnel answers a CONNECT and joins its connection to one to address.
func tunnel(t *testing.T, w http.ResponseWriter, address string) {
	t.Helper()
	far, err := net.Dial("tcp", address)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	near, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		_ = far.Close()
		return
	}
	join(near, rw.Reader, far)
}

// quiet is for servers whose troubles are part of a test.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

// claimed is a delivery of testBody to address, in its third attempt.
func claimed(address string, s webhook.Settings) webhook.Claimed {
	s.URL = address
	return webhook.Claimed{
		Delivery: webhook.Delivery{Endpoint: "ep_1", Message: testID, Tries: 3, Attempt: 3},
		Endpoint: &webhook.Endpoint{ID: "ep_1", Account: "acme", State: webhook.EndpointActive, Settings: s},
		Message:  &webhook.Message{ID: testID, Account: "acme", Type: "test.made", ContentType: "application/json", Payload: []byte(testBody)},
	}
}
