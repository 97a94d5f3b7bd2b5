package middleware_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
)

// idemEndings says of each way in which a handler ends what its client gets that
// asks again. The handler does it the first time, and answers 200 the second.
var idemEndings = []struct {
	name     string
	handler  http.HandlerFunc
	kept     middleware.Kept
	again    int            // the status of the second answer
	runs     int64          // of the handler, in the end
	consumed credits.Amount // in the end
	held     credits.Amount
}{
	{"200", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "first") }, middleware.KeptAnswer, 200, 1, 5, 0},
	{"nothing", func(http.ResponseWriter, *http.Request) {}, middleware.KeptAnswer, 200, 1, 5, 0},
	{"204", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, middleware.KeptAnswer, 204, 1, 5, 0},
	{"early hints", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(103)
		w.WriteHeader(201)
	}, middleware.KeptAnswer, 201, 1, 5, 0},
	{"202 keeps the hold", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(202) }, middleware.KeptAnswer, 202, 1, 0, 5},
	{"a redirect", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(303)
	}, middleware.KeptAnswer, 303, 1, 0, 0},
	{"400", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(400) }, middleware.KeptAnswer, 400, 1, 0, 0},
	{"422", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(422) }, middleware.KeptAnswer, 422, 1, 0, 0},
	{"500 is done anew", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, middleware.KeptForgotten, 200, 2, 5, 0},
	{"503 is done anew", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, middleware.KeptForgotten, 200, 2, 5, 0},
	{"500 that was charged", func(w http.ResponseWriter, r *http.Request) {
		_ = charge(3*credits.Credit)(w, r)
		w.WriteHeader(500)
	}, middleware.KeptAnswer, 500, 1, 3, 0},
	{"500 that was charged 0", func(w http.ResponseWriter, r *http.Request) {
		_ = charge(0)(w, r)
		w.WriteHeader(500)
	}, middleware.KeptForgotten, 200, 2, 5, 0},
	{"200 that was charged 0", func(w http.ResponseWriter, r *http.Request) { _ = charge(0)(w, r) }, middleware.KeptAnswer, 200, 1, 0, 0},
	{"500 whose hold a job has", func(w http.ResponseWriter, r *http.Request) {
		p, _ := middleware.PassFrom(r.Context())
		_, _ = p.Detach(r.Context())
		w.WriteHeader(500)
	}, middleware.KeptAnswer, 500, 1, 0, 5},
	{"500 that was metered", func(w http.ResponseWriter, r *http.Request) {
		p, _ := middleware.PassFrom(r.Context())
		_ = p.Meter().Add(r.Context(), 2*credits.Credit)
		w.WriteHeader(500)
	}, middleware.KeptAnswer, 500, 1, 2, 0},
	{"a panic is done anew", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, middleware.KeptForgotten, 200, 2, 5, 0},
	{"Goexit is done anew", func(http.ResponseWriter, *http.Request) { runtime.Goexit() }, middleware.KeptForgotten, 200, 2, 5, 0},
	{"a panic that was charged", func(w http.ResponseWriter, r *http.Request) {
		_ = charge(3*credits.Credit)(w, r)
		panic(http.ErrAbortHandler)
	}, middleware.KeptOpaque, 409, 1, 3, 0},
	{"a panic after the answer began", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		panic(http.ErrAbortHandler)
	}, middleware.KeptOpaque, 409, 1, 5, 0},
	{"a stream", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "one")
		_ = http.NewResponseController(w).Flush()
		_, _ = io.WriteString(w, "two")
	}, middleware.KeptOpaque, 409, 1, 5, 0},
	{"trailers", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, "one")
		w.Header().Set("X-Sum", "1")
	}, middleware.KeptOpaque, 409, 1, 5, 0},
	{"trailers that were not announced", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "one")
		w.Header().Set(http.TrailerPrefix+"X-Sum", "1")
	}, middleware.KeptOpaque, 409, 1, 5, 0},
	{"too long an answer", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("x", idemMost+1))
	}, middleware.KeptOpaque, 409, 1, 5, 0},
	{"too long an answer in pieces", func(w http.ResponseWriter, _ *http.Request) {
		for range idemMost/100 + 1 {
			_, _ = w.Write(make([]byte, 100))
		}
	}, middleware.KeptOpaque, 409, 1, 5, 0},
	{"the longest answer, copied", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.Copy(w, strings.NewReader(strings.Repeat("x", idemMost)))
	}, middleware.KeptAnswer, 200, 1, 5, 0},
	{"more than was announced", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1")
		_, _ = io.WriteString(w, "x")
		_, _ = io.WriteString(w, "yz")
	}, middleware.KeptOpaque, 409, 1, 5, 0},
	{"a body that has no place", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(204)
		_, _ = io.WriteString(w, "not sent")
	}, middleware.KeptAnswer, 204, 1, 5, 0},
	{"too many fields", func(w http.ResponseWriter, _ *http.Request) {
		for i := range 200 {
			w.Header().Set(fmt.Sprint("X-", i), "1")
		}
	}, middleware.KeptOpaque, 409, 1, 5, 0},
}

// idemMost is the longest answer that the desks of these tests keep.
const idemMost = 5000

func TestIdemByEnding(t *testing.T) {
	for _, protocol := range []string{"h1", "h2"} {
		for _, tt := range idemEndings {
			t.Run(protocol+"/"+tt.name, func(t *testing.T) {
				d := newDesk(t, blueprint{}, func(o *middleware.IdempotencyOptions) { o.MaxAnswer = idemMost })
				s, client := serve(t, protocol, d.handler(once(), func(w http.ResponseWriter, r *http.Request) {
					if d.runs.Load() == 1 {
						tt.handler(w, r)
					}
				}))
				client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
				transportOf(t, s).DisableKeepAlives = protocol == "h1" // so that the client does not resend by itself
				issued := d.key("image:generate")
				ask := func() reply { return send(t, client, "POST", s.URL, "a cat", bearer(issued), idemKey("k")) }
				first := ask()
				if got := d.lastSettled(); got.Kept != tt.kept || got.Err != nil {
					t.Errorf("settled %+v, want kept: %v", got, tt.kept)
				}
				again := ask()
				if again.status != tt.again || again.replayed() != (tt.kept == middleware.KeptAnswer) {
					t.Errorf("again: %+v; first: %+v", again, first)
				}
				if again.replayed() && (again.body != first.body || again.header.Get("Location") != first.header.Get("Location")) {
					t.Errorf("again %+v, first %+v", again, first)
				}
				if tt.kept == middleware.KeptOpaque {
					if v := d.journal.last(); v.Verdict != middleware.VerdictIdempotencyOpaque || v.Original == "" || !strings.Contains(again.body, "not_replayable") {
						t.Errorf("decision %+v, %s", v, again.body)
					}
				}
				d.ran(tt.runs)
				d.spent(tt.consumed, tt.held)
			})
		}
	}
}

// A connection that was taken over cannot be given again.
func TestIdemHijackedConnection(t *testing.T) {
	for _, price := range []middleware.Price{middleware.Fixed(5 * credits.Credit), middleware.Free()} {
		d := newDesk(t, blueprint{})
		op := once()
		op.Price = price
		s, client := serve(t, "h1", d.handler(op, func(w http.ResponseWriter, _ *http.Request) {
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = rw.WriteString("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
			_ = rw.Flush()
			_ = conn.Close()
		}))
		issued := d.key("image:generate")
		if first := send(t, client, "POST", s.URL, "", bearer(issued), idemKey("k")); first.body != "ok" {
			t.Errorf("first %+v", first)
		}
		if again := send(t, client, "POST", s.URL, "", bearer(issued), idemKey("k")); again.status != 409 {
			t.Errorf("again %+v", again)
		}
		d.ran(1)
	}
}

// A client that leaves is given the answer when it comes back.
func TestIdemTheAnswerWaitsForAClientThatLeft(t *testing.T) {
	for _, protocol := range []string{"h1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			d := newDesk(t, blueprint{})
			left, done := make(chan struct{}), make(chan struct{})
			body := strings.Repeat("a long answer ", 10_000) // more than any buffer on the way
			handler := d.handler(once(), func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				left <- struct{}{}
				<-r.Context().Done()
				for piece := 0; piece < len(body); piece += 1000 {
					if _, err := io.WriteString(w, body[piece:piece+1000]); err != nil {
						t.Errorf("the handler was told: %v", err)
						return
					}
				}
			})
			s, client := serve(t, protocol, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer func() { done <- struct{}{} }()
				handler.ServeHTTP(w, r)
			}))
			issued := d.key("image:generate")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				<-left
				cancel()
			}()
			r, err := http.NewRequestWithContext(ctx, "POST", s.URL, strings.NewReader("a cat"))
			must(t, err)
			bearer(issued)(r)
			idemKey("k")(r)
			if res, err := client.Do(r); err == nil {
				t.Errorf("the client that left got %v", res.Status)
				_ = res.Body.Close()
			}
			<-done
			if got := d.lastSettled(); got.Ending != middleware.EndClientGone || got.Kept != middleware.KeptAnswer {
				t.Errorf("settled %+v", got)
			}
			go func() { <-done }()
			again := send(t, client, "POST", s.URL, "a cat", bearer(issued), idemKey("k"))
			if again.status != 200 || again.body != body || !again.replayed() {
				t.Errorf("again: status %d, %d bytes, %v", again.status, len(again.body), again.header)
			}
			d.ran(1)
			d.spent(5, 0)
		})
	}
}

// A handler that gives up because its client left has not answered.
func TestIdemNoAnswerToAClientThatLeftIsNoAnswer(t *testing.T) {
	for _, price := range []middleware.Price{middleware.Fixed(5 * credits.Credit), middleware.Free()} {
		d := newDesk(t, blueprint{})
		op := once()
		op.Price = price
		ctx, leave := context.WithCancel(t.Context())
		handler := d.handler(op, func(w http.ResponseWriter, r *http.Request) {
			if d.runs.Load() == 1 {
				leave()
				return
			}
			_, _ = io.WriteString(w, "done")
		})
		issued := d.key("image:generate")
		d.call(handler, bearer(issued), idemKey("k"), func(r *http.Request) { *r = *r.WithContext(ctx) })
		again := seen(d.call(handler, bearer(issued), idemKey("k")))
		switch {
		case price.String() == middleware.Free().String() && (again.status != 200 || again.body != "done" || again.replayed()):
			t.Errorf("of a free call: %+v", again)
		case price.String() != middleware.Free().String() && again.status != 409: // it was charged
			t.Errorf("of a call that was charged: %+v", again)
		}
	}
}

// What somebody outside answered is not the handler's answer.
func TestIdemTimeoutOutside(t *testing.T) {
	d := newDesk(t, blueprint{})
	began, release := make(chan struct{}), make(chan struct{})
	settled := make(chan struct{}, 1)
	inner := d.handler(once(), func(w http.ResponseWriter, r *http.Request) {
		if d.runs.Load() == 1 {
			close(began)
			<-r.Context().Done()
			<-release
		}
		_, _ = io.WriteString(w, "done")
	})
	told := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { settled <- struct{}{} }()
		inner.ServeHTTP(w, r)
	})
	issued := d.key("image:generate")
	for wait, runs := time.Millisecond, false; !runs; wait *= 2 {
		if w := d.call(http.TimeoutHandler(told, wait, "late"), bearer(issued), idemKey("k")); w.Code != 503 {
			t.Errorf("status %d", w.Code)
		}
		select {
		case <-began:
			runs = true
		case <-settled: // the time was over before the handler began
			d.clock.add(time.Millisecond) // what that leaves of a lease
		}
	}
	refused(t, d.call(inner, bearer(issued), idemKey("k")), 409, "request_in_progress")
	close(release)
	<-settled
	if got := d.lastSettled(); got.Ending != middleware.EndTimeout || got.Kept != middleware.KeptForgotten {
		t.Errorf("settled %+v", got)
	}
	if w := seen(d.call(inner, bearer(issued), idemKey("k"))); w.body != "done" || w.replayed() {
		t.Errorf("again: %+v", w)
	}
	d.ran(2)
	d.spent(5, 0)
}

// A gate inside of a gate of the same operation leaves the answer to the outer one.
func TestIdemMountedTwice(t *testing.T) {
	d := newDesk(t, blueprint{})
	issued := d.key("image:generate")
	handler := d.gate.Handler(once())(d.numbered(once()))
	for range 2 {
		if w := seen(d.call(handler, bearer(issued), idemKey("k"))); w.body != "run 1 of " {
			t.Errorf("%+v", w)
		}
	}
	d.ran(1)
	d.spent(5, 0)
}

// A function of the host's that panics leaves nothing claimed.
func TestIdemAPanicBeforeTheHandler(t *testing.T) {
	d := newDesk(t, blueprint{})
	op := once()
	fail := true
	op.Price = middleware.Quoted(func(*http.Request) (credits.Amount, error) {
		if fail {
			panic("host")
		}
		return 5 * credits.Credit, nil
	})
	handler, issued := d.numbered(op), d.key("image:generate")
	if !survive(func() { d.call(handler, bearer(issued), idemKey("k")) }) {
		t.Fatal("no panic")
	}
	fail = false
	if w := d.call(handler, bearer(issued), idemKey("k")); w.Code != 201 {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
}
