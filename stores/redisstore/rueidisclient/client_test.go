package rueidisclient_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/keytoll/keytoll/middleware/idempotency/idempotencytest"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/ratelimit/ratelimittest"
	"github.com/keytoll/keytoll/stores/redisstore"
	"github.com/keytoll/keytoll/stores/redisstore/redistest"
	"github.com/keytoll/keytoll/stores/redisstore/rueidisclient"
	"github.com/keytoll/keytoll/webhook"
	"github.com/keytoll/keytoll/webhook/webhooktest"
)

func connect(t testing.TB, addrs ...string) rueidis.Client {
	t.Helper()
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: addrs, DisableCache: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

var prefixes atomic.Int64

func newLimits(t testing.TB, client rueidis.Client, now func() time.Time) *redisstore.LimitStore {
	t.Helper()
	s, err := redisstore.NewLimits(rueidisclient.New(client), &redisstore.LimitsOptions{
		Prefix: fmt.Sprintf("rl:%d:%d:", time.Now().UnixNano(), prefixes.Add(1)), Now: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A moved store decides by a clock that stands still unless it is advanced.
type moved struct {
	*redisstore.LimitStore
	mu  *sync.Mutex
	now *time.Time
}

func newMoved(t testing.TB, client rueidis.Client) moved {
	t.Helper()
	var mu sync.Mutex
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return moved{newLimits(t, client, func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}), &mu, &now}
}

func (m moved) Advance(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	*m.now = m.now.Add(d)
}

type divided struct{ moved }

func (divided) Divided() bool { return true }

func TestLimits(t *testing.T) {
	client := connect(t, redistest.Start(t).Addr())
	ratelimittest.RunStill(t, func(t *testing.T) ratelimit.Store { return newLimits(t, client, nil) })
}

func TestLimitsByTheCallersClock(t *testing.T) {
	client := connect(t, redistest.Start(t).Addr())
	ratelimittest.Run(t, func(t *testing.T) ratelimit.Store { return newMoved(t, client) })
}

func TestLimitsInACluster(t *testing.T) {
	client := connect(t, redistest.StartCluster(t).Addrs()...)
	ratelimittest.Run(t, func(t *testing.T) ratelimit.Store { return divided{newMoved(t, client)} })
}

func TestReplays(t *testing.T) {
	client := rueidisclient.New(connect(t, redistest.Start(t).Addr()))
	webhooktest.RunReplay(t, func(t *testing.T) webhook.ReplayStore {
		s, err := redisstore.NewReplays(client, &redisstore.ReplaysOptions{Prefix: fmt.Sprintf("wh:%d:%d:", time.Now().UnixNano(), prefixes.Add(1))})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

func TestIdempotency(t *testing.T) {
	client := rueidisclient.New(connect(t, redistest.Start(t).Addr()))
	idempotencytest.Run(t, func(t *testing.T) idempotencytest.Fixture {
		s, err := redisstore.NewIdempotency(client, &redisstore.IdempotencyOptions{Prefix: fmt.Sprintf("idem:%d:%d:", time.Now().UnixNano(), prefixes.Add(1))})
		if err != nil {
			t.Fatal(err)
		}
		return idempotencytest.Fixture{Store: s}
	})
}

// The server forgets the script again and again, and no call notices.
func TestScriptIsForgotten(t *testing.T) {
	client := connect(t, redistest.StartOwn(t).Addr())
	s := newLimits(t, client, nil)
	set, err := ratelimit.NewLimits(ratelimit.Limit{Name: "l", Count: 100, Period: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	l, err := ratelimit.NewLimiter(s, set, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if err := client.Do(t.Context(), client.B().ScriptFlush().Build()).Error(); err != nil {
			t.Fatal(err)
		}
		if r, err := l.Take(t.Context(), "k", 1); err != nil || !r.Allowed {
			t.Fatalf("take %d: %v, %v", i, r.Allowed, err)
		}
	}
}

func BenchmarkLimits(b *testing.B) {
	client := connect(b, redistest.Start(b).Addr())
	ratelimittest.Bench(b, func(b *testing.B) ratelimit.Store { return newLimits(b, client, nil) })
}
