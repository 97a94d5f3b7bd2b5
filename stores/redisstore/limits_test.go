package redisstore_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/ratelimit/ratelimittest"
	"github.com/keytoll/keytoll/stores/redisstore"
	"github.com/keytoll/keytoll/stores/redisstore/redistest"
)

var prefixes atomic.Int64

// prefix returns one that no other test uses, for a server that tests share.
func prefix() string {
	return fmt.Sprintf("rl:%d:%d:", time.Now().UnixNano(), prefixes.Add(1))
}

func newLimits(t testing.TB, client redis.UniversalClient, o redisstore.LimitsOptions) *redisstore.LimitStore {
	t.Helper()
	if o.Prefix == "" {
		o.Prefix = prefix()
	}
	s, err := redisstore.NewLimits(redisstore.GoRedis(client), &o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A moved store decides by a clock that stands still unless it is advanced.
type moved struct {
	*redisstore.LimitStore
	clock  *clock
	prefix string
}

func (m moved) Advance(d time.Duration) { m.clock.advance(d) }

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newMoved(t testing.TB, client redis.UniversalClient) moved {
	t.Helper()
	c := &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	p := prefix()
	return moved{newLimits(t, client, redisstore.LimitsOptions{Now: c.Now, Prefix: p}), c, p}
}

// A divided store is one that takes several steps for several slots.
type divided struct{ *redisstore.LimitStore }

func (divided) Divided() bool { return true }

type movedDivided struct{ moved }

func (movedDivided) Divided() bool { return true }

func TestLimits(t *testing.T) {
	client := redistest.Start(t).Client(t)
	ratelimittest.Run(t, func(t *testing.T) ratelimit.Store {
		return newLimits(t, client, redisstore.LimitsOptions{})
	})
}

func TestLimitsByTheCallersClock(t *testing.T) {
	client := redistest.Start(t).Client(t)
	ratelimittest.Run(t, func(t *testing.T) ratelimit.Store { return newMoved(t, client) })
}

func TestLimitsInACluster(t *testing.T) {
	client := redistest.StartCluster(t).Client(t)
	ratelimittest.Run(t, func(t *testing.T) ratelimit.Store {
		return divided{newLimits(t, client, redisstore.LimitsOptions{})}
	})
}

func TestLimitsInAClusterByTheCallersClock(t *testing.T) {
	client := redistest.StartCluster(t).Client(t)
	ratelimittest.Run(t, func(t *testing.T) ratelimit.Store { return movedDivided{newMoved(t, client)} })
}

// Where all subjects have one tag, a cluster decides in one step.
func TestLimitsOfOneTagInACluster(t *testing.T) {
	client := redistest.StartCluster(t).Client(t)
	ratelimittest.Run(t, func(t *testing.T) ratelimit.Store {
		return newLimits(t, client, redisstore.LimitsOptions{Tag: func(string) string { return "{tenant}" }})
	})
}
