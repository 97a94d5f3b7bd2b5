package redisstore_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/stores/redisstore"
	"github.com/keytoll/keytoll/stores/redisstore/redistest"
)

// A lossy line loses answers of scripts while answers are to be lost.
type lossy struct {
	net.Conn
	lose  *atomic.Int64
	asked atomic.Bool
}

func (l *lossy) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("evalsha")) {
		l.asked.Store(true)
	}
	return l.Conn.Write(b)
}

func (l *lossy) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	if err == nil && l.asked.Load() && l.lose.Add(-1) >= 0 {
		_ = l.Close()
		return 0, io.EOF
	}
	return n, err
}

// A take whose answer was lost is an error, and counts once at most: the driver,
// which sends again by default, does not.
func TestNoTakeIsSentTwice(t *testing.T) {
	cluster := redistest.StartCluster(t)
	single := redistest.Start(t)
	for name, wrap := range map[string]func(redis.UniversalClient) redisstore.Client{"one by one": redisstore.GoRedis, "coalesced": redisstore.Coalesced} {
		for where, addrs := range map[string][]string{"single": {single.Addr()}, "cluster": cluster.Addrs()} {
			t.Run(name+", "+where, func(t *testing.T) {
				var lose atomic.Int64
				dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
					conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
					return &lossy{Conn: conn, lose: &lose}, err
				}
				var client redis.UniversalClient = redis.NewClient(&redis.Options{Addr: addrs[0], Dialer: dial})
				if where == "cluster" {
					client = redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, Dialer: dial})
				}
				defer client.Close()
				set, err := ratelimit.NewLimits(ratelimit.Limit{Name: "l", Count: quota, Period: 1000 * 24 * time.Hour})
				if err != nil {
					t.Fatal(err)
				}
				s, err := redisstore.NewLimits(wrap(client), &redisstore.LimitsOptions{Prefix: prefix()})
				if err != nil {
					t.Fatal(err)
				}
				l, err := ratelimit.NewLimiter(s, set, nil)
				if err != nil {
					t.Fatal(err)
				}
				var asked, passed, failed atomic.Int64
				var all sync.WaitGroup
				for range 32 { // so that some go together
					all.Go(func() {
						for asked.Add(1) <= quota/2 {
							if asked.Load()%16 == 0 {
								lose.Store(1)
							}
							if _, err := l.Take(t.Context(), "k", 1); err != nil {
								failed.Add(1)
							} else {
								passed.Add(1)
							}
						}
					})
				}
				all.Wait()
				lose.Store(0)
				r, err := l.Peek(t.Context(), "k", 0)
				if used := quota - r.Remaining; err != nil || used < passed.Load() || used > passed.Load()+failed.Load() || failed.Load() == 0 {
					t.Errorf("%d takes passed, %d failed, %d are used: %v", passed.Load(), failed.Load(), used, err)
				}
			})
		}
	}
}
