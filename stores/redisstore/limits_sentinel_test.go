package redisstore_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keytoll/keytoll/stores/redisstore"
	"github.com/keytoll/keytoll/stores/redisstore/redistest"
)

// A master dies, a sentinel promotes its replica, and the client follows: what
// the replica had heard of stays taken, and exactly the quota passes.
func TestSentinelPromotesTheReplica(t *testing.T) {
	for name, wrap := range map[string]func(redis.UniversalClient) redisstore.Client{"one by one": redisstore.GoRedis, "coalesced": redisstore.Coalesced} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			master := redistest.StartOwn(t)
			host, port, err := net.SplitHostPort(master.Addr())
			if err != nil {
				t.Fatal(err)
			}
			redistest.StartOwn(t, "--replicaof", host+" "+port)
			direct := master.Client(t)
			for !strings.Contains(direct.Info(ctx, "replication").Val(), "state=online") {
				if ctx.Err() != nil {
					t.Fatal("the replica does not come up")
				}
			}
			sentinel, addr := redistest.StartSentinel(t, "limits", master)
			promoted := sentinel.Subscribe(ctx, "+switch-master")
			defer promoted.Close()
			if _, err := promoted.Receive(ctx); err != nil {
				t.Fatal(err)
			}
			client := redis.NewFailoverClient(&redis.FailoverOptions{
				MasterName: "limits", SentinelAddrs: []string{addr}, MaxRetries: -1, ContextTimeoutEnabled: true,
			})
			defer client.Close()
			l := limiterOver(t, wrap(client), prefix())
			for range quota / 2 {
				if r, err := l.Take(ctx, "everybody", 1); err != nil || !r.Allowed {
					t.Fatalf("allowed is %t, error %v", r.Allowed, err)
				}
			}
			if n, err := client.Wait(ctx, 1, 0).Result(); n != 1 || err != nil {
				t.Fatalf("%d replicas have heard of the takes, %v", n, err)
			}
			master.Kill()
			if _, err := promoted.ReceiveMessage(ctx); err != nil {
				t.Fatal(err)
			}
			// The client hears of the new master when it does.
			for {
				_, err := l.Peek(ctx, "everybody", 1)
				if err == nil {
					break
				}
				if ctx.Err() != nil {
					t.Fatal(err)
				}
			}
			passed, failed := drain(ctx, l, 8, func(int64) {})
			if passed != quota-quota/2 || failed != 0 {
				t.Errorf("%d takes passed after the failover, %d failed; want %d, 0", passed, failed, quota-quota/2)
			}
			equal(t, l)
		})
	}
}
