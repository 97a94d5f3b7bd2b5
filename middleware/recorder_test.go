package middleware_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
)

// capabilities names what a writer can do.
func capabilities(w http.ResponseWriter) string {
	var can []string
	for _, c := range []struct {
		name string
		has  bool
	}{
		{"flush", is[http.Flusher](w)}, {"hijack", is[http.Hijacker](w)}, {"readfrom", is[io.ReaderFrom](w)},
		{"push", is[http.Pusher](w)}, {"string", is[io.StringWriter](w)},
	} {
		if c.has {
			can = append(can, c.name)
		}
	}
	return strings.Join(can, " ")
}

func is[T any](w http.ResponseWriter) bool {
	_, ok := w.(T)
	return ok
}

// The handler's writer claims what the server's can do, and no more.
func TestWriterClaimsWhatTheInnerHas(t *testing.T) {
	h := build(t, blueprint{})
	var inner, outer string
	see := func(into *string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { *into = capabilities(w) })
	}
	gated, bare := h.gate.Handler(open())(see(&outer)), see(&inner)
	issued := h.key("")
	both := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		bare.ServeHTTP(w, r)
		gated.ServeHTTP(w, r)
	})
	for _, protocol := range []string{"h1", "h2"} {
		s, client := serve(t, protocol, both)
		r, err := http.NewRequestWithContext(t.Context(), "GET", s.URL, nil)
		must(t, err)
		bearer(issued)(r)
		resp, err := client.Do(r)
		must(t, err)
		must(t, resp.Body.Close())
		if outer != inner || inner == "" {
			t.Errorf("%s: the handler's writer has %q, the server's %q", protocol, outer, inner)
		}
	}
	h.call(both, bearer(issued))
	if outer != "flush string" {
		t.Errorf("over httptest.ResponseRecorder: %q", outer)
	}
	r := httptest.NewRequest("GET", "/", nil)
	bearer(issued)(r)
	gated.ServeHTTP(&sink{header: http.Header{}}, r)
	if outer != "string" {
		t.Errorf("over a plain writer: %q", outer)
	}
}

// A wrapper outside that has only Unwrap does not hide what lies beneath, and
// nothing gets past the recorder.
func TestBehindUnwrap(t *testing.T) {
	h := build(t, blueprint{})
	h.grant(10)
	gated := h.gate.Handler(priced())(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := capabilities(w); got != "flush hijack readfrom string" {
			t.Errorf("writer has %q", got)
		}
		rc := http.NewResponseController(w)
		for _, err := range []error{rc.SetReadDeadline(time.Time{}), rc.SetWriteDeadline(time.Time{}), rc.EnableFullDuplex(), rc.Flush()} {
			if err != nil {
				t.Error(err)
			}
		}
		w.WriteHeader(500) // too late: the flush has sent 200
	}))
	done := make(chan struct{})
	s, client := serve(t, "h1", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		gated.ServeHTTP(struct {
			http.ResponseWriter
			unwrapper
		}{w, unwrapper{w}}, r)
	}))
	r, err := http.NewRequestWithContext(t.Context(), "GET", s.URL, nil)
	must(t, err)
	bearer(h.key("image:generate"))(r)
	resp, err := client.Do(r)
	must(t, err)
	must(t, resp.Body.Close())
	if resp.StatusCode != 200 || resp.Header.Get("X-Request-Id") == "" {
		t.Errorf("status %d, request id %q", resp.StatusCode, resp.Header.Get("X-Request-Id"))
	}
	<-done
	h.spent(5, 0)
}

type unwrapper struct{ inner http.ResponseWriter }

func (u unwrapper) Unwrap() http.ResponseWriter { return u.inner }

func TestFlushThatIsNotSupportedSendsNothing(t *testing.T) {
	h := build(t, blueprint{})
	h.grant(10)
	handler := h.gate.Handler(priced())(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := http.NewResponseController(w).Flush(); !errors.Is(err, http.ErrNotSupported) {
			t.Errorf("flush: %v", err)
		}
		w.WriteHeader(404)
	}))
	r := httptest.NewRequest("GET", "/", nil)
	bearer(h.key("image:generate"))(r)
	handler.ServeHTTP(&sink{header: http.Header{}}, r)
	h.spent(0, 0)
}

// Files, strings and flushes arrive whole, and are charged.
func TestStreamsArriveWhole(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	path := filepath.Join(t.TempDir(), "big")
	must(t, os.WriteFile(path, big, 0o600))
	for _, protocol := range []string{"h1", "h2"} {
		h := build(t, blueprint{})
		h.grant(10)
		gated := h.gate.Handler(priced())(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "head:")
			if f, ok := w.(http.Flusher); ok {
				f.Flush()
			}
			file, err := os.Open(path)
			if err != nil {
				t.Error(err)
				return
			}
			defer file.Close()
			if _, err := io.Copy(w, file); err != nil {
				t.Error(err)
			}
		}))
		done := make(chan struct{})
		s, client := serve(t, protocol, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer close(done)
			gated.ServeHTTP(w, r)
		}))
		r, err := http.NewRequestWithContext(t.Context(), "GET", s.URL, nil)
		must(t, err)
		bearer(h.key("image:generate"))(r)
		resp, err := client.Do(r)
		must(t, err)
		got, err := io.ReadAll(resp.Body)
		must(t, err)
		must(t, resp.Body.Close())
		if !bytes.Equal(got, append([]byte("head:"), big...)) {
			t.Errorf("%s: %d bytes came, want %d", protocol, len(got), len(big)+5)
		}
		<-done
		h.spent(5, 0)
	}
}

func TestBodyIsCapped(t *testing.T) {
	h := build(t, blueprint{options: func(o *middleware.Options) { o.MaxBody = 10 }})
	h.grant(10)
	gated := h.gate.Handler(priced())(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		if tooLong, ok := errors.AsType[*http.MaxBytesError](err); !ok || tooLong.Limit != 10 {
			t.Errorf("reading 11 bytes: %v", err)
		}
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	}))
	done := make(chan struct{})
	s, client := serve(t, "h1", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		gated.ServeHTTP(w, r)
	}))
	r, err := http.NewRequestWithContext(t.Context(), "POST", s.URL, io.MultiReader(strings.NewReader("12345678901"))) // chunked: no length to refuse by
	must(t, err)
	bearer(h.key("image:generate"))(r)
	resp, err := client.Do(r)
	must(t, err)
	must(t, resp.Body.Close())
	if resp.StatusCode != 413 || !resp.Close {
		t.Errorf("status %d, closes %t; want 413 and a closed connection", resp.StatusCode, resp.Close)
	}
	<-done
	h.spent(0, 0)
}

// What Go's server lets through or refuses of hostile bytes, the gate answers
// with its own refusals or never sees; it never lets them in.
func TestHostileBytesOnTheWire(t *testing.T) {
	h := build(t, blueprint{})
	token := h.key("").Secret.Reveal()
	s, _ := serve(t, "h1", h.gate.Handler(open())(says(200)))
	for _, tt := range []struct {
		name, head string
		status     int
	}{
		{"good", "Authorization: Bearer " + token, 200},
		{"name in any case", "aUTHORIZATION: bearer " + token, 200},
		{"two lines", "Authorization: Bearer " + token + "\r\nAuthorization: Bearer " + token, 401},
		{"a folded line", "Authorization: Bearer\r\n " + token, 200}, // Go joins it to one space: one credential
		{"folded inside the key", "Authorization: Bearer " + token[:9] + "\r\n " + token[9:], 401},
		{"a NUL", "Authorization: Bearer " + token + "\x00", 400},
		{"a control byte", "Authorization: Bearer " + token + "\x01", 400},
		{"a high byte", "Authorization: Bearer " + token + "\x80", 401},
		{"a space before the colon", "Authorization : Bearer " + token, 400},
		{"1 MiB", "Authorization: Bearer " + strings.Repeat("k", 1<<20), 401},
		{"more than the server reads", "Authorization: Bearer " + strings.Repeat("k", 2<<20), 431},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.Listener.Addr().String())
			must(t, err)
			defer conn.Close()
			go func() {
				// The server may refuse and close before it has read all.
				_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+tt.head+"\r\n\r\n")
			}()
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			must(t, err)
			defer resp.Body.Close()
			if resp.StatusCode != tt.status {
				t.Errorf("status %d, want %d", resp.StatusCode, tt.status)
			}
			if tt.status == 401 {
				refusal(t, resp.StatusCode, resp.Header, resp.Body, 401, "invalid_key")
			}
		})
	}
}

// The context that the handler gets is a good parent: cancelling and values
// work through it, without a goroutine for each child.
func TestContextIsAGoodParent(t *testing.T) {
	type key struct{}
	h := build(t, blueprint{})
	handler := h.gate.Handler(open())(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		if ctx.Value(key{}) != "value" {
			t.Error("the outer value is lost")
		}
		child, cancel := context.WithCancelCause(ctx)
		cancel(errors.New("why"))
		if context.Cause(child).Error() != "why" || ctx.Err() != nil {
			t.Errorf("cause %v, parent %v", context.Cause(child), ctx.Err())
		}
		p, ok := middleware.PassFrom(context.WithValue(child, key{}, 1))
		if !ok || p.Operation() != "open" {
			t.Error("the pass is lost")
		}
	}))
	h.call(handler, bearer(h.key("")), func(r *http.Request) { *r = *r.WithContext(context.WithValue(r.Context(), key{}, "value")) })
	if _, ok := middleware.PassFrom(t.Context()); ok {
		t.Error("a pass outside of a gate")
	}
	route, err := h.gate.Route(open())
	must(t, err)
	p, err := h.gate.Begin(t.Context(), middleware.Attempt{Route: route, Credential: h.key("").Secret.Reveal()})
	must(t, err)
	if got, ok := middleware.PassFrom(middleware.NewContext(t.Context(), p)); !ok || got != p {
		t.Error("NewContext and PassFrom disagree")
	}
	must(t, p.End(t.Context(), middleware.Outcome{Completed: true}))
}

// A refusal comes before the body: no 100 Continue invites it, and the
// connection does not wait for it.
func TestRefusalBeforeTheBody(t *testing.T) {
	h := build(t, blueprint{})
	s, _ := serve(t, "h1", h.gate.Handler(open())(never(t)))
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.Listener.Addr().String())
	must(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n")
	must(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(t, err)
	defer resp.Body.Close()
	refusal(t, resp.StatusCode, resp.Header, resp.Body, 401, "missing_key")
}

// The length alone refuses: the answer comes though no byte of the body does.
func TestTooLargeIsAnsweredAtOnce(t *testing.T) {
	h := build(t, blueprint{options: func(o *middleware.Options) { o.MaxBody = 10 }})
	s, _ := serve(t, "h1", h.gate.Handler(open())(never(t)))
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.Listener.Addr().String())
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
	must(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(t, err)
	defer resp.Body.Close()
	refusal(t, resp.StatusCode, resp.Header, resp.Body, 413, "body_too_large")
	if !resp.Close {
		t.Error("the connection stays open for a body that nobody reads")
	}
}
