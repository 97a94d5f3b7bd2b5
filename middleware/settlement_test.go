package middleware_test

import (
	"bufio"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
)

// serve starts a real server and returns a client for it, which looks for keys in
// every answer.
func serve(t *testing.T, protocol string, handler http.Handler) (*httptest.Server, *http.Client) {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if protocol == "h2" {
		s.EnableHTTP2 = true
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	client := *s.Client()
	client.Transport = listener{transportOf(t, s), t}
	return s, &client
}

func charge(amount credits.Amount) func(http.ResponseWriter, *http.Request) error {
	return func(_ http.ResponseWriter, r *http.Request) error {
		p, _ := middleware.PassFrom(r.Context())
		return p.Charge(amount)
	}
}

// endings is the settlement table as a client brings it about. The price is 5.
var endings = []struct {
	name     string
	handler  http.HandlerFunc
	ending   middleware.Ending
	status   int // as the gate sees it
	consumed credits.Amount
	held     credits.Amount // afterwards
	charges  bool           // the handler calls Charge
}{
	{"200 is charged", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }, middleware.EndSuccess, 200, 5, 0, false},
	{"an empty answer is a 200", func(http.ResponseWriter, *http.Request) {}, middleware.EndSuccess, 200, 5, 0, false},
	{"201 is charged", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201) }, middleware.EndSuccess, 201, 5, 0, false},
	{"202 keeps the hold", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(202) }, middleware.EndAccepted, 202, 0, 5, false},
	{"204 is charged", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, middleware.EndSuccess, 204, 5, 0, false},
	{"a redirect is free", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(307)
	}, middleware.EndRedirect, 307, 0, 0, false},
	{"304 is free", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304) }, middleware.EndRedirect, 304, 0, 0, false},
	{"400 is free", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(400) }, middleware.EndClientError, 400, 0, 0, false},
	{"404 is free", http.NotFound, middleware.EndClientError, 404, 0, 0, false},
	{"500 is free", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, middleware.EndServerError, 500, 0, 0, false},
	{"the second status does not count", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(200)
		w.WriteHeader(500)
	}, middleware.EndSuccess, 200, 5, 0, false},
	{"an early hint is no status", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(103)
		w.WriteHeader(402)
	}, middleware.EndClientError, 402, 0, 0, false},
	{"a flush sends 200, whatever comes later", func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush()
		w.WriteHeader(500)
	}, middleware.EndSuccess, 200, 5, 0, false},
	{"a panic before the answer is free", func(http.ResponseWriter, *http.Request) { panic("boom") }, middleware.EndPanic, 0, 0, 0, false},
	{"an abort before the answer is free", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, middleware.EndPanic, 0, 0, 0, false},
	{"a panic in the answer is charged", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		panic(http.ErrAbortHandler)
	}, middleware.EndPartialPanic, 200, 5, 0, false},
	{"a panic after an error status had begun is charged by the panic's row", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(500)
		panic(http.ErrAbortHandler)
	}, middleware.EndPartialPanic, 500, 5, 0, false},
	{"Goexit before the answer is free", func(http.ResponseWriter, *http.Request) { runtime.Goexit() }, middleware.EndPanic, 0, 0, 0, false},
	{"an explicit charge wins over 200", func(w http.ResponseWriter, r *http.Request) { _ = charge(2*credits.Credit)(w, r) }, middleware.EndSuccess, 200, 2, 0, true},
	{"an explicit 0 charges 0", func(w http.ResponseWriter, r *http.Request) { _ = charge(0)(w, r) }, middleware.EndSuccess, 200, 0, 0, true},
	{"an explicit charge wins over 500", func(w http.ResponseWriter, r *http.Request) {
		_ = charge(3*credits.Credit)(w, r)
		w.WriteHeader(500)
	}, middleware.EndServerError, 500, 3, 0, true},
	{"an explicit charge wins over 202", func(w http.ResponseWriter, r *http.Request) {
		_ = charge(3*credits.Credit)(w, r)
		w.WriteHeader(202)
	}, middleware.EndAccepted, 202, 3, 0, true},
	{"an explicit charge wins over a panic", func(w http.ResponseWriter, r *http.Request) {
		_ = charge(4*credits.Credit)(w, r)
		panic(http.ErrAbortHandler)
	}, middleware.EndPanic, 0, 4, 0, true},
	{"the last explicit charge counts", func(w http.ResponseWriter, r *http.Request) {
		_ = charge(1*credits.Credit)(w, r)
		_ = charge(2*credits.Credit)(w, r)
	}, middleware.EndSuccess, 200, 2, 0, true},
	{"more than the hold is capped at it", func(w http.ResponseWriter, r *http.Request) {
		if err := charge(6*credits.Credit)(w, r); errors.CodeOf(err) != errors.Insufficient {
			panic(err)
		}
	}, middleware.EndSuccess, 200, 5, 0, true},
	{"a negative charge changes nothing", func(w http.ResponseWriter, r *http.Request) {
		if err := charge(-1)(w, r); errors.CodeOf(err) != errors.Invalid {
			panic(err)
		}
	}, middleware.EndSuccess, 200, 5, 0, true},
	{"TimeoutHandler inside answers 503 and is free", func(w http.ResponseWriter, r *http.Request) {
		http.TimeoutHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), time.Millisecond, "late").ServeHTTP(w, r)
	}, middleware.EndServerError, 503, 0, 0, false},
}

func TestSettlement(t *testing.T) {
	for _, protocol := range []string{"h1", "h2"} {
		for _, tt := range endings {
			t.Run(protocol+"/"+tt.name, func(t *testing.T) {
				h := build(t, blueprint{})
				h.grant(10)
				gated := h.gate.Handler(priced())(tt.handler)
				done := make(chan struct{})
				s, client := serve(t, protocol, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					defer close(done)
					gated.ServeHTTP(w, r)
				}))
				// Not idempotent, so that the client does not send it again by itself.
				r, err := http.NewRequestWithContext(t.Context(), "POST", s.URL, strings.NewReader("x"))
				must(t, err)
				r.Header["Authorization"] = []string{"Bearer " + h.key("image:generate").Secret.Reveal()}
				client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
				if resp, err := client.Do(r); err == nil {
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
					if tt.status != 0 && resp.StatusCode != tt.status {
						t.Errorf("the wire says %d, the gate %d", resp.StatusCode, tt.status)
					}
				} else if tt.ending != middleware.EndPanic && tt.ending != middleware.EndPartialPanic {
					t.Fatal(err)
				}
				<-done
				h.spent(tt.consumed, tt.held)
				all := h.journal.settlements()
				if len(all) != 1 {
					t.Fatalf("%d settlements, want 1", len(all))
				}
				got := all[0]
				if got.Ending != tt.ending || got.Status != tt.status || got.Charged != tt.consumed*credits.Credit || got.Err != nil {
					t.Errorf("settled %+v, want %v, status %d, %d charged", got, tt.ending, tt.status, tt.consumed)
				}
			})
		}
	}
}

func TestHijackIsChargedAtReturn(t *testing.T) {
	for _, tt := range []struct {
		name     string
		amount   credits.Amount // -1: not stated
		consumed credits.Amount
	}{{"by default", -1, 5}, {"unless released", 0, 0}} {
		t.Run(tt.name, func(t *testing.T) {
			h := build(t, blueprint{})
			h.grant(10)
			done := make(chan struct{})
			gated := h.gate.Handler(priced())(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				conn, rw, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
				_ = rw.Flush()
				h.spent(0, 5)
				if tt.amount >= 0 {
					_ = charge(tt.amount)(w, r)
				}
				_ = conn.Close()
			}))
			s, _ := serve(t, "h1", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer close(done)
				gated.ServeHTTP(w, r)
			}))
			conn, err := net.Dial("tcp", s.Listener.Addr().String())
			must(t, err)
			defer conn.Close()
			_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\nAuthorization: Bearer "+h.key("image:generate").Secret.Reveal()+"\r\n\r\n")
			must(t, err)
			line, err := bufio.NewReader(conn).ReadString('\n')
			must(t, err)
			if !strings.Contains(line, "101") {
				t.Fatalf("answer %q", line)
			}
			<-done
			h.spent(tt.consumed, 0)
			if got := h.journal.settlements()[0]; got.Ending != middleware.EndHijack {
				t.Errorf("ending %v, want hijack", got.Ending)
			}
		})
	}
}

// A connection that outlives its handler takes the hold with it.
func TestHijackedConnectionSettlesItself(t *testing.T) {
	h := build(t, blueprint{})
	h.grant(10)
	returned, closed := make(chan struct{}), make(chan struct{})
	gated := h.gate.Handler(priced())(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := middleware.PassFrom(r.Context())
		hold, err := p.Detach(r.Context())
		must(t, err)
		conn, _, err := http.NewResponseController(w).Hijack()
		must(t, err)
		go func() {
			defer close(closed)
			<-returned
			h.spent(0, 5)
			if _, err := hold.Capture(context.Background(), h.ledger, 3*credits.Credit); err != nil {
				t.Error(err)
			}
			_ = conn.Close()
		}()
	}))
	s, client := serve(t, "h1", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(returned)
		gated.ServeHTTP(w, r)
	}))
	r, err := http.NewRequestWithContext(t.Context(), "POST", s.URL, nil)
	must(t, err)
	bearer(h.key("image:generate"))(r)
	if resp, err := client.Do(r); err == nil {
		_ = resp.Body.Close()
		t.Errorf("status %d of a connection that was closed", resp.StatusCode)
	}
	<-closed
	h.spent(3, 0)
	if got := h.settlement(); got.Ending != middleware.EndHijack || got.Action != middleware.Keep {
		t.Errorf("settled %+v", got)
	}
}

// A client that leaves is not a way to get work for nothing, and settling does
// not need the request's context.
func TestClientGoneMidStreamIsCharged(t *testing.T) {
	for _, protocol := range []string{"h1", "h2"} {
		for _, tt := range []struct {
			name     string
			amount   credits.Amount
			consumed credits.Amount
		}{{"the price", -1, 5}, {"what was metered", 2 * credits.Credit, 2}, {"a metered 0", 0, 0}} {
			t.Run(protocol+"/"+tt.name, func(t *testing.T) {
				h := build(t, blueprint{})
				h.grant(10)
				done := make(chan struct{})
				gated := h.gate.Handler(priced())(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if tt.amount >= 0 {
						_ = charge(tt.amount)(w, r)
					}
					_, _ = io.WriteString(w, "first")
					_ = http.NewResponseController(w).Flush()
					<-r.Context().Done()
				}))
				s, client := serve(t, protocol, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					defer close(done)
					gated.ServeHTTP(w, r)
				}))
				ctx, cancel := context.WithCancel(t.Context())
				r, err := http.NewRequestWithContext(ctx, "GET", s.URL, nil)
				must(t, err)
				r.Header.Set("Authorization", "Bearer "+h.key("image:generate").Secret.Reveal())
				resp, err := client.Do(r)
				must(t, err)
				_, err = io.ReadFull(resp.Body, make([]byte, 5))
				must(t, err)
				cancel()
				<-done
				_ = resp.Body.Close()
				h.spent(tt.consumed, 0)
				if got := h.journal.settlements()[0]; got.Ending != middleware.EndClientGone || got.Err != nil {
					t.Errorf("settled %+v, want client_gone", got)
				}
			})
		}
	}
}

func TestPanicsPassThroughUntouched(t *testing.T) {
	h := build(t, blueprint{})
	h.grant(10)
	value := errors.New("the very value")
	handler := h.gate.Handler(priced())(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(value) }))
	defer func() {
		if got := recover(); got != any(value) {
			t.Errorf("recovered %v, want the value that was panicked with", got)
		}
		h.spent(0, 0)
	}()
	h.call(handler, bearer(h.key("image:generate")))
}

func TestSettlementIsOverridden(t *testing.T) {
	for _, tt := range []struct {
		name           string
		settle         middleware.Settlement
		status         int
		consumed, held credits.Amount
	}{
		{"capture a 400", middleware.Settlement{middleware.EndClientError: middleware.Capture}, 400, 5, 0},
		{"the others stay", middleware.Settlement{middleware.EndClientError: middleware.Capture}, 500, 0, 0},
		{"capture a 202", middleware.Settlement{middleware.EndAccepted: middleware.Capture}, 202, 5, 0},
		{"release a 200", middleware.Settlement{middleware.EndSuccess: middleware.Release}, 200, 0, 0},
		{"keep a 200", middleware.Settlement{middleware.EndSuccess: middleware.Keep}, 200, 0, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, h *house, protocol string) {
				op := priced()
				op.Settle = tt.settle
				w := h.site(t, protocol, op, says(tt.status).ServeHTTP, nil)
				resp, err := w.ask(t.Context(), "POST", nil)
				must(t, err)
				must(t, resp.Body.Close())
				<-w.done
				h.spent(tt.consumed, tt.held)
			})
		})
	}
	if table := middleware.DefaultSettlement(); table[middleware.EndAccepted] != middleware.Keep || table[middleware.EndProbe] != middleware.Release || len(table) != 12 {
		t.Errorf("default table %v", table)
	}
}

// A 202 leaves the hold to a job, which may be another process with the value
// of Pass.Hold; a job that never comes costs nothing.
func TestKeptHold(t *testing.T) {
	h := build(t, blueprint{options: func(o *middleware.Options) { o.HoldTTL = time.Hour }})
	h.grant(10)
	var job middleware.Hold
	handler := h.gate.Handler(priced())(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := middleware.PassFrom(r.Context())
		job, _ = p.Hold()
		w.WriteHeader(202)
	}))
	issued := h.key("image:generate")
	h.call(handler, bearer(issued))
	h.spent(0, 5)
	_, err := h.ledger.Capture(t.Context(), credits.Capture{Account: job.Account, Hold: job.ID, Amount: 4 * credits.Credit})
	must(t, err)
	h.spent(4, 0)

	h.call(handler, bearer(issued))
	h.spent(4, 5)
	h.clock.add(time.Hour)
	h.spent(4, 0)
}
