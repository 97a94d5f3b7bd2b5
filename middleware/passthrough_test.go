package middleware_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
)

// Trailers, early hints, Content-Length and bytes go through as they are, and what
// is written arrives before the handler ends.
func TestAnswersPassThroughUntouched(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house, protocol string) {
		read := make(chan struct{})
		w := h.site(t, protocol, priced(), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", "</style.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Set("Trailer", "X-Declared")
			_, _ = io.WriteString(w, "first")
			_ = http.NewResponseController(w).Flush()
			<-read
			_, _ = io.WriteString(w, "second")
			w.Header().Set("X-Declared", "1")
			w.Header().Set(http.TrailerPrefix+"X-Cost", "5")
			w.Header().Set("X-Late", "vanishes")
		}, nil)
		resp, err := w.ask(t.Context(), "POST", nil)
		must(t, err)
		_, err = io.ReadFull(resp.Body, make([]byte, 5))
		must(t, err)
		close(read)
		rest, err := io.ReadAll(resp.Body)
		must(t, err)
		must(t, resp.Body.Close())
		if string(rest) != "second" || resp.Trailer.Get("X-Declared") != "1" || resp.Trailer.Get("X-Cost") != "5" {
			t.Errorf("body %q, trailers %v", rest, resp.Trailer)
		}
		if resp.Header.Get("X-Late") != "" || resp.Header.Get("X-Request-Id") == "" || resp.ContentLength != -1 {
			t.Errorf("headers %v", resp.Header)
		}
		<-w.done
		w.settled(middleware.EndSuccess, 5)
	})
}

// A body whose length the handler tells is sent with that length, and a wrong
// one is the server's to find.
func TestContentLengthIsTheHandlers(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house, protocol string) {
		_, resp := h.exchange(t, protocol, priced(), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5")
			if n, err := io.WriteString(w, "12345"); n != 5 || err != nil {
				t.Errorf("wrote %d, %v", n, err)
			}
			if _, err := w.Write([]byte("6")); protocol == "h1" && !errors.Is(err, http.ErrContentLength) {
				t.Errorf("one byte too many: %v", err)
			}
		})
		if resp == nil || resp.ContentLength != 5 {
			t.Errorf("answer %+v", resp)
		}
		h.spent(5, 0)
	})
}

// The server itself answers OPTIONS *; no handler sees it, and nothing is counted.
func TestOptionsOfTheServerNeverReachTheGate(t *testing.T) {
	h := build(t, blueprint{})
	s, _ := serve(t, "h1", h.gate.Handler(open())(never(t)))
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.Listener.Addr().String())
	must(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")
	must(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(t, err)
	defer resp.Body.Close()
	if resp.StatusCode != 200 || len(h.journal.verdicts()) != 0 {
		t.Errorf("status %d, decisions %v", resp.StatusCode, h.journal.verdicts())
	}
}

// A body over MaxBody is cut off while it is read, on both protocols, however its
// length is told, and what the handler answers decides.
func TestBodyOverTheBoundOnBothProtocols(t *testing.T) {
	for _, protocol := range protocols {
		for _, told := range []bool{false, true} {
			h := build(t, blueprint{options: func(o *middleware.Options) { o.MaxBody = 10 }})
			h.grant(10)
			w := h.site(t, protocol, priced(), func(w http.ResponseWriter, r *http.Request) {
				if told {
					t.Error("the handler ran")
				}
				if _, err := io.ReadAll(r.Body); err != nil {
					w.WriteHeader(http.StatusRequestEntityTooLarge)
				}
			}, nil)
			var body io.Reader = strings.NewReader("12345678901")
			if !told {
				body = io.MultiReader(body)
			}
			resp, err := w.ask(t.Context(), "POST", body)
			must(t, err)
			must(t, resp.Body.Close())
			if resp.StatusCode != 413 {
				t.Errorf("%s, length told %t: status %d", protocol, told, resp.StatusCode)
			}
			<-w.done
			w.spent(0, 0)
		}
	}
}

// A proxy that passes on an informational answer clears the header behind it; what
// the gate has announced is in the final one all the same, unless the handler has
// said otherwise since.
func TestInformationalAnswersOfAProxy(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		if said := r.URL.Query().Get("cache"); said != "" {
			w.Header().Set("Cache-Control", said)
		}
		switch r.URL.Path {
		case "/body":
			_, _ = io.WriteString(w, "done")
		case "/nothing":
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	defer backend.Close()
	target, err := url.Parse(backend.URL)
	must(t, err)
	for _, protocol := range []string{"h1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			h := build(t, blueprint{})
			h.grant(100)
			op := priced()
			op.Limits = []middleware.Limit{perMinute("minute", 100)}
			proxy := httputil.NewSingleHostReverseProxy(target)
			issued := h.key("image:generate")
			s, client := serve(t, protocol, h.gate.Handler(op)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/flushed", "/silent":
					w.WriteHeader(http.StatusEarlyHints)
					clear(w.Header())
					if r.URL.Path == "/flushed" {
						must(t, http.NewResponseController(w).Flush())
					}
				default:
					proxy.ServeHTTP(w, r)
				}
			})))
			for path, cache := range map[string]string{
				"/body": "private", "/nothing": "private", "/flushed": "private", "/silent": "private", "/body?cache=public": "public",
			} {
				got := send(t, client, "GET", s.URL+path, "", bearer(issued))
				if got.header.Get("Cache-Control") != cache || got.header.Get("X-Request-Id") == "" || got.header.Get("RateLimit") == "" {
					t.Errorf("%s: %+v", path, got)
				}
			}
		})
	}
}
