package proof_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/scopes"
	"github.com/keytoll/keytoll/stores/pgstore/pgtest"
	"github.com/keytoll/keytoll/stores/redisstore/redistest"
)

// unavailable reports whether an answer says so, and nothing of what is behind it.
func unavailable(a answer) bool {
	return a.status == 503 && strings.Contains(a.body, `"code":"unavailable"`) && !strings.Contains(a.body, "127.0.0.1")
}

// A store that takes requests and never answers costs a client StoreTimeout: 503, and
// the handler does not run. Whatever was taken by then of the other stores is
// given back, so that as much passes later as if nobody had come.
func TestAStoreThatHangsIsAnswered503(t *testing.T) {
	database, server := unsynced(t), redistest.StartOwn(t).Addr()
	wires := make(map[string]*wire)
	postgres := func(name string) *kept {
		w, through := toPostgres(t, database)
		wires[name] = w
		return place{Postgres: through}.open(t)
	}
	redis := func(name string) *kept {
		wires[name] = newWire(t, "tcp", server)
		return place{Redis: wires[name].addr}.open(t)
	}
	k := &kept{postgres("keys").keys, redis("limits").limits, postgres("credits").credits, redis("answers").answers}
	const short = 200 * time.Millisecond
	hasty := newInstance(t, k, func(o *middleware.Options) {
		o.StoreTimeout, o.SettleTimeout, o.Idempotency.Timeout = short, short, short
	})
	calm := newInstance(t, k) // for when nothing hangs, however slow the machine is
	all := newFleet(t, hasty.serve(t, hasty.mux), calm.serve(t, calm.mux))
	for name, w := range wires {
		t.Run(name, func(t *testing.T) {
			const window, key = 5, "key-1"
			var ran atomic.Int64
			f := all.of(t, crowd, middleware.Operation{
				Name: name, Scopes: scopes.None(), Price: middleware.Fixed(price), Idempotency: middleware.IdempotencyOptional,
				Limits: []middleware.Limit{{Limit: ratelimit.Limit{Name: name, Algorithm: ratelimit.FixedWindow, Count: window, Period: ages}}},
			}, func(http.ResponseWriter, *http.Request) { ran.Add(1) })
			f.instances = []*instance{hasty}
			w.cut.Store(true)
			for range 2 {
				if a := f.call(0, "/"+name, key); !unavailable(a) {
					t.Errorf("while the store hangs a call was told %+v", a)
				}
			}
			got := f.race("/"+name, key, nil)
			w.mend()
			f.instances = []*instance{calm}
			if got[503] == 0 || got[503]+got[409] != crowd || ran.Load() != 0 {
				t.Errorf("while the store hangs the crowd was told %v, and %d ran", got, ran.Load())
			}
			f.charged(0)
			if a := f.call(0, "/"+name, key); a.status != 200 || a.replayed {
				t.Errorf("what was answered 503 was told %+v when the store was back", a)
			}
			if got := f.race("/"+name, "", nil); got[200] != window-1 || got[429] != crowd-window+1 {
				t.Errorf("with %d left of the window the crowd was told %v", window-1, got)
			}
			f.charged(window)
		})
	}
}

// Whichever answer of the ledger's database is lost on its way back, a call is
// answered 200 and charged once, or answered 503 and neither charged nor held for.
func TestALostAnswerChargesAndHoldsNothingTwice(t *testing.T) {
	w, through := toPostgres(t, unsynced(t)+"&pool_max_conns=1")
	k := *inMemoryPlace(t).memory
	k.credits = place{Postgres: through}.open(t).credits
	i := newInstance(t, &k)
	f := newFleet(t, i.serve(t, i.mux)).of(t, 100, middleware.Operation{Name: "image", Scopes: scopes.None(), Price: middleware.Fixed(price)}, func(http.ResponseWriter, *http.Request) {})
	paid := 0
	refused := false
	for n := range int64(8) { // 0 loses none; a call has four answers once the statements are prepared
		w.lose.Store(n)
		switch a := f.call(0, "/image", ""); {
		case a.status == 200:
			paid++
		case unavailable(a):
			refused = true
		default:
			t.Errorf("with answer %d lost a call was told %+v", n, a)
		}
		if w.lose.Swap(0) == 0 && n > 0 {
			t.Logf("answer %d was lost: %d paid", n, paid)
		}
		f.charged(paid)
	}
	if !refused || paid < 4 {
		t.Errorf("%d calls were paid, some refused: %t; the losses hit nothing", paid, refused)
	}
}

// The server of the ledger, or of the limits, is killed while calls are inside of
// their handlers. New ones are answered 503; those that were inside end. When the
// server is back whatever it had held ends by itself, and the account adds up.
func TestAServerThatIsKilledHoldsNothingAfterwards(t *testing.T) {
	const slots = 3
	pg, r := pgtest.Start(t), redistest.StartOwn(t, "--appendonly", "yes", "--appendfsync", "always")
	i := newInstance(t, place{Postgres: pg.URL(), Redis: r.Addr()}.open(t), func(o *middleware.Options) { o.HoldTTL = time.Second })
	all := newFleet(t, i.serve(t, i.mux))
	for _, server := range []struct {
		name          string
		kill, restart func()
		paid          int // of those that are inside
	}{
		{"ledger", pg.Kill, pg.Restart, 0}, // what could not be charged is given up
		{"limits", r.Kill, r.Restart, slots},
	} {
		t.Run(server.name, func(t *testing.T) {
			entered, end := make(chan struct{}, crowd), make(chan struct{})
			f := all.of(t, crowd, middleware.Operation{
				Name: server.name, Scopes: scopes.None(), Price: middleware.Fixed(price),
				Limits: []middleware.Limit{{Limit: ratelimit.Limit{Name: server.name, Algorithm: ratelimit.Concurrency, Count: slots, Period: time.Second}}},
			}, func(http.ResponseWriter, *http.Request) {
				entered <- struct{}{}
				<-end
			})
			path := "/" + server.name
			answers := make(chan answer, slots)
			for n := range slots {
				go func() { answers <- f.call(n, path, "") }()
			}
			for range slots {
				<-entered
			}
			server.kill()
			if a := f.call(0, path, ""); !unavailable(a) {
				t.Errorf("without the server a call was told %+v", a)
			}
			close(end)
			for range slots {
				if a := <-answers; a.status != 200 {
					t.Errorf("a call that was inside was told %+v", a)
				}
			}
			server.restart()
			f.until("nothing is held", func() bool {
				b, err := i.ledger.Balance(t.Context(), f.account)
				return err == nil && b.Held == 0
			})
			f.charged(server.paid)
			for range slots + 1 { // the slots of those that were inside are free again, every one
				f.until("a slot is free", func() bool { return f.call(0, path, "").status == 200 })
			}
			f.charged(server.paid + slots + 1)
		})
	}
}

// until asks for a condition of a server that nobody tells of.
func (f *fleet) until(what string, holds func() bool) {
	f.Helper()
	for end := time.Now().Add(patience); !holds(); {
		if time.Now().After(end) {
			f.Fatalf("after %v it is not so that %s", patience, what)
		}
	}
}
