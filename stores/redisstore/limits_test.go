package redisstore_test

import (
	"fmt"
	"strings"
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
	ratelimittest.RunStill(t, func(t *testing.T) ratelimit.Store {
		return newLimits(t, client, redisstore.LimitsOptions{})
	})
}

func TestLimitsByTheCallersClock(t *testing.T) {
	client := redistest.Start(t).Client(t)
	ratelimittest.Run(t, func(t *testing.T) ratelimit.Store { return newMoved(t, client) })
}

func TestLimitsInACluster(t *testing.T) {
	client := redistest.StartCluster(t).Client(t)
	ratelimittest.RunStill(t, func(t *testing.T) ratelimit.Store {
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
	ratelimittest.RunStill(t, func(t *testing.T) ratelimit.Store {
		return newLimits(t, client, redisstore.LimitsOptions{Tag: func(string) string { return "{tenant}" }})
	})
}

func TestLimitsOfCallersWhoGoTogether(t *testing.T) {
	client := redistest.Start(t).Client(t)
	ratelimittest.RunStill(t, func(t *testing.T) ratelimit.Store {
		s, err := redisstore.NewLimits(redisstore.Coalesced(client), &redisstore.LimitsOptions{Prefix: prefix()})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

func TestLimitsOfCallersWhoGoTogetherInACluster(t *testing.T) {
	client := redistest.StartCluster(t).Client(t)
	ratelimittest.RunStill(t, func(t *testing.T) ratelimit.Store {
		s, err := redisstore.NewLimits(redisstore.Coalesced(client), &redisstore.LimitsOptions{Prefix: prefix()})
		if err != nil {
			t.Fatal(err)
		}
		return divided{s}
	})
}

func TestNewLimitsNamesEveryFault(t *testing.T) {
	_, err := redisstore.NewLimits(nil, &redisstore.LimitsOptions{Prefix: "a{b}", Undo: -1})
	for _, want := range []string{"client is nil", `Prefix is "a{b}"`, "Undo is -1ns"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v; want %q in it", err, want)
		}
	}
	for want, client := range map[string]redisstore.Client{
		"GoRedis(nil)":        redisstore.GoRedis(nil),
		"redis.Ring":          redisstore.Coalesced(redis.NewRing(&redis.RingOptions{})),
		"reads from replicas": redisstore.GoRedis(redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}, ReadOnly: true})),
	} {
		if _, err := redisstore.NewLimits(client, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v; want %q in it", err, want)
		}
	}
}
