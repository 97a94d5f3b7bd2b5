package middleware_test

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
)

var protocols = []string{"h1", "h2"}

// A site is a real server with a priced handler behind the gate, and a client.
type site struct {
	*house
	server *httptest.Server
	client *http.Client
	done   chan struct{} // one for every request that was settled
	issued apikey.Issued
}

// site serves op; outside, unless nil, is put around the gate.
func (h *house) site(t *testing.T, protocol string, op middleware.Operation, handler http.HandlerFunc, outside func(http.Handler) http.Handler) *site {
	t.Helper()
	w := &site{house: h, done: make(chan struct{}, 16), issued: h.key("image:generate")}
	gated := h.gate.Handler(op)(handler)
	var all http.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		defer func() { w.done <- struct{}{} }()
		gated.ServeHTTP(rw, r)
	})
	if outside != nil {
		all = outside(all)
	}
	w.server, w.client = serve(t, protocol, all)
	w.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return w
}

// ask sends one request. The answer's body is the caller's to close.
func (w *site) ask(ctx context.Context, method string, body io.Reader) (*http.Response, error) {
	w.Helper()
	r, err := http.NewRequestWithContext(ctx, method, w.server.URL, body)
	must(w, err)
	bearer(w.issued)(r)
	return w.client.Do(r)
}

// settled checks the one settlement there was.
func (w *site) settled(ending middleware.Ending, consumed credits.Amount) {
	w.Helper()
	w.spent(consumed, 0)
	if got := w.settlement(); got.Ending != ending || got.Charged != consumed*credits.Credit || got.Err != nil {
		w.Errorf("settled %+v, want %v and %d charged", got, ending, consumed)
	}
}

// exchange sends one POST, which is not idempotent, so that the client does not
// send it again by itself. It returns when the gate has settled it: the body, and
// the answer or nil.
func (h *house) exchange(t *testing.T, protocol string, op middleware.Operation, handler http.HandlerFunc) (string, *http.Response) {
	t.Helper()
	w := h.site(t, protocol, op, handler, nil)
	resp, err := w.ask(t.Context(), "POST", nil)
	var body []byte
	if err == nil {
		body, _ = io.ReadAll(resp.Body) // cut off where the handler panics
		_ = resp.Body.Close()
	}
	<-w.done
	return string(body), resp
}

// onBoth runs a test on HTTP/1.1 and HTTP/2, each with a new house of 10 credits.
func onBoth(t *testing.T, test func(t *testing.T, h *house, protocol string)) {
	t.Helper()
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			h := build(t, blueprint{})
			h.grant(10)
			test(t, h, protocol)
		})
	}
}

// HEAD and OPTIONS ask about the work and do none.
func TestProbesAreFree(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house, protocol string) {
		w := h.site(t, protocol, priced(), func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Allow", "POST") }, nil)
		for _, method := range []string{"HEAD", "OPTIONS"} {
			resp, err := w.ask(t.Context(), method, nil)
			must(t, err)
			must(t, resp.Body.Close())
			<-w.done
		}
		w.spent(0, 0)
		for _, s := range w.journal.settlements() {
			if s.Ending != middleware.EndProbe {
				t.Errorf("settled %+v", s)
			}
		}
	})
}

// A proxy whose backend breaks off in the midst of its answer aborts with a panic:
// the client has the first part, so it is charged what was counted, or the price.
func TestProxyThatAbortsIsCharged(t *testing.T) {
	for _, counted := range []credits.Amount{-1, 2, 0} {
		onBoth(t, func(t *testing.T, h *house, protocol string) {
			backend, _ := serve(t, "h1", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, "half")
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			}))
			target, err := url.Parse(backend.URL)
			must(t, err)
			proxy := &httputil.ReverseProxy{
				Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
				FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0),
			}
			w := h.site(t, protocol, priced(), func(w http.ResponseWriter, r *http.Request) {
				if counted >= 0 {
					p, _ := middleware.PassFrom(r.Context())
					must(t, p.Meter().Add(r.Context(), counted*credits.Credit))
				}
				proxy.ServeHTTP(w, r)
			}, nil)
			resp, err := w.ask(t.Context(), "POST", nil)
			must(t, err)
			body, err := io.ReadAll(resp.Body)
			if string(body) != "half" || err == nil || resp.StatusCode != 200 {
				t.Errorf("status %d, body %q, %v; want 200, half of it, and an error", resp.StatusCode, body, err)
			}
			must(t, resp.Body.Close())
			<-w.done
			want := counted
			if counted < 0 {
				want = 5
			}
			w.settled(middleware.EndPartialPanic, want)
		})
	}
}

// A client that leaves before there is an answer does not get the work for nothing:
// the handler finishes, and its status decides.
func TestClientGoneBeforeTheAnswer(t *testing.T) {
	for _, tt := range []struct {
		status   int
		ending   middleware.Ending
		consumed credits.Amount
	}{{200, middleware.EndClientGone, 5}, {502, middleware.EndServerError, 0}} {
		onBoth(t, func(t *testing.T, h *house, protocol string) {
			begun := make(chan struct{})
			w := h.site(t, protocol, priced(), func(w http.ResponseWriter, r *http.Request) {
				close(begun)
				<-r.Context().Done()
				w.Header().Set("Content-Length", "17")
				w.WriteHeader(tt.status)
				// A write that succeeds is no delivery: HTTP/1.1 says nil still.
				if _, err := io.WriteString(w, "nobody reads this"); err != nil && protocol == "h1" {
					t.Errorf("writing to nobody: %v", err)
				}
			}, nil)
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-begun
				cancel()
			}()
			if resp, err := w.ask(ctx, "GET", nil); err == nil {
				t.Errorf("answered %d", resp.StatusCode)
				must(t, resp.Body.Close())
			}
			<-w.done
			w.settled(tt.ending, tt.consumed)
		})
	}
}

// HTTP/1.1 does not notice that a client has left whose body nobody has read
// (golang/go issue 23262), HTTP/2 does. It is charged either way.
func TestClientGoneWithItsBodyUnread(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house, protocol string) {
		begun, left := make(chan struct{}), make(chan struct{})
		w := h.site(t, protocol, priced(), func(_ http.ResponseWriter, r *http.Request) {
			close(begun)
			<-left
			if protocol == "h2" {
				<-r.Context().Done()
			}
		}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		body, send := io.Pipe() // a body that never ends
		go func() {
			<-begun
			cancel()
			_ = send.CloseWithError(context.Canceled) // Go's client waits for it
		}()
		if resp, err := w.ask(ctx, "POST", body); err == nil {
			t.Errorf("answered %d", resp.StatusCode)
			must(t, resp.Body.Close())
		}
		close(left)
		<-w.done
		want := middleware.EndSuccess
		if protocol == "h2" {
			want = middleware.EndClientGone
		}
		w.settled(want, 5)
	})
}

// Who leaves when it has got all of an answer is no client that has gone: neither
// one that reads a stream to its end, nor one that knows the end by Content-Length
// while the handler has things to do yet.
func TestLeavingAfterTheWholeAnswerIsSuccess(t *testing.T) {
	for _, tt := range []struct {
		name   string
		length string
		ending middleware.Ending
	}{
		{"a stream to its end", "", middleware.EndSuccess},
		{"by Content-Length", "5", middleware.EndSuccess},
		{"not by a Content-Length that is longer", "6", middleware.EndClientGone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, h *house, protocol string) {
				w := h.site(t, protocol, priced(), func(w http.ResponseWriter, r *http.Request) {
					if tt.length != "" {
						w.Header().Set("Content-Length", tt.length)
					}
					_, _ = io.WriteString(w, "whole")
					_ = http.NewResponseController(w).Flush()
					if tt.length != "" {
						<-r.Context().Done()
					}
				}, nil)
				ctx, cancel := context.WithCancel(t.Context())
				resp, err := w.ask(ctx, "GET", nil)
				must(t, err)
				if tt.length == "" {
					_, err = io.ReadAll(resp.Body)
				} else {
					_, err = io.ReadFull(resp.Body, make([]byte, 5))
				}
				must(t, err)
				cancel()
				w.server.CloseClientConnections() // at once, whatever the client would do with a connection
				<-w.done
				_ = resp.Body.Close()
				w.settled(tt.ending, 5)
			})
		})
	}
}

// An http.TimeoutHandler outside has answered 503. The gate notices by what is
// written afterwards, by a deadline that passed in silence, and of an answer that
// was written in time and thrown away, by asking.
func TestTimeoutHandlerOutside(t *testing.T) {
	for _, tt := range []struct {
		name          string
		before, after bool // whether the handler writes before and after the deadline
	}{{"writing too late", false, true}, {"silence", false, false}, {"returning too late", true, false}, {"both", true, true}} {
		t.Run(tt.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, h *house, protocol string) {
				answered := make(chan struct{})
				w := h.site(t, protocol, priced(), func(w http.ResponseWriter, r *http.Request) {
					if tt.before {
						_, _ = io.WriteString(w, "in time")
					}
					<-r.Context().Done()
					<-answered
					if tt.after {
						if _, err := io.WriteString(w, "late"); !errors.Is(err, http.ErrHandlerTimeout) {
							t.Errorf("writing too late: %v", err)
						}
					}
				}, func(next http.Handler) http.Handler { return http.TimeoutHandler(next, 20*time.Millisecond, "late") })
				resp, err := w.ask(t.Context(), "POST", nil)
				must(t, err)
				_, err = io.ReadAll(resp.Body)
				must(t, err)
				must(t, resp.Body.Close())
				if resp.StatusCode != http.StatusServiceUnavailable {
					t.Errorf("status %d", resp.StatusCode)
				}
				close(answered)
				<-w.done
				w.settled(middleware.EndTimeout, 0)
			})
		})
	}
}

// A server that shuts down lets its requests finish: their context is not
// cancelled, and they are settled as always.
func TestShutdownSettlesWhatIsInFlight(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house, protocol string) {
		begun, closing := make(chan struct{}), make(chan struct{})
		w := h.site(t, protocol, priced(), func(w http.ResponseWriter, r *http.Request) {
			close(begun)
			<-closing
			if err := r.Context().Err(); err != nil {
				t.Errorf("the context during a shutdown: %v", err)
			}
			_, _ = io.WriteString(w, "done")
		}, nil)
		down := make(chan error, 1)
		w.server.Config.RegisterOnShutdown(func() { close(closing) })
		go func() {
			<-begun
			down <- w.server.Config.Shutdown(t.Context())
		}()
		resp, err := w.ask(t.Context(), "POST", nil)
		must(t, err)
		body, err := io.ReadAll(resp.Body)
		must(t, err)
		must(t, resp.Body.Close())
		if string(body) != "done" {
			t.Errorf("body %q", body)
		}
		<-w.done
		w.settled(middleware.EndSuccess, 5)
		must(t, <-down)
	})
}

// Go's client sends a GET again when a connection that it had used before dies
// without an answer. The second run is a call of its own, and both are settled.
func TestClientThatSendsAgainByItself(t *testing.T) {
	h := build(t, blueprint{})
	h.grant(10)
	runs := 0
	w := h.site(t, "h1", priced(), func(_ http.ResponseWriter, r *http.Request) {
		if runs++; runs > 1 {
			panic(http.ErrAbortHandler)
		}
	}, nil)
	for first := range 2 {
		resp, err := w.ask(t.Context(), "GET", nil)
		if (err == nil) != (first == 0) {
			t.Errorf("request %d: %v", first, err)
		}
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			must(t, resp.Body.Close())
		}
		<-w.done
	}
	<-w.done
	all := w.journal.settlements()
	if runs != 3 || len(all) != 3 || all[1].Hold == all[2].Hold || all[1].Ending != middleware.EndPanic || all[2].Ending != middleware.EndPanic {
		t.Errorf("%d runs, settled %+v", runs, all)
	}
	w.spent(5, 0)
}

// Flushing a client that has left fails on HTTP/2 alone; the gate does not rest on
// it, and the handler sees what the server said.
func TestFlushToAClientThatHasLeft(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house, protocol string) {
		w := h.site(t, protocol, priced(), func(w http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(w)
			_, _ = io.WriteString(w, "first")
			_ = rc.Flush()
			<-r.Context().Done()
			_, _ = io.WriteString(w, "second")
			if err := rc.Flush(); (err != nil) != (protocol == "h2") {
				t.Errorf("flush: %v", err)
			}
		}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		resp, err := w.ask(ctx, "GET", nil)
		must(t, err)
		_, err = io.ReadFull(resp.Body, make([]byte, 5))
		must(t, err)
		cancel()
		<-w.done
		_ = resp.Body.Close()
		w.settled(middleware.EndClientGone, 5)
	})
}
