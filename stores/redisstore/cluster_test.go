package redisstore_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/stores/redisstore"
	"github.com/keytoll/keytoll/stores/redisstore/redistest"
)

func TestClusterSendsToOneServerOnly(t *testing.T) {
	cluster := redistest.StartCluster(t)
	listen(t, newFeed(t, cluster.Client(t), nil))
	owner := cluster.Owner(t, redisstore.DefaultChannel)
	for _, n := range cluster.Nodes {
		names, err := n.Client(t).PubSubShardChannels(t.Context(), "*").Result()
		if want := map[bool]int{true: 2}[n == owner]; err != nil || len(names) != want {
			t.Errorf("channels %q, %v; want %d", names, err, want)
		}
	}
}

// Another server's end does not matter, the own one's does.
func TestClusterLosesAServer(t *testing.T) {
	cluster := redistest.StartCluster(t)
	f := newFeed(t, cluster.Client(t), nil)
	l := listen(t, f)
	owner := cluster.Owner(t, redisstore.DefaultChannel)
	for _, n := range cluster.Nodes {
		if n != owner {
			n.Kill()
			break
		}
	}
	l.proven(t)
	owner.Kill()
	l.broken(t)
}

// When the slot moves, who announces asks the new server, so who listens at the
// old one must not go on.
func TestClusterMovesTheSlot(t *testing.T) {
	cluster := redistest.StartCluster(t)
	f, other := newFeed(t, cluster.Client(t), nil), newFeed(t, cluster.Client(t), nil)
	l := listen(t, f)
	announce(t, other, apikey.Notice{Handle: "before"})
	l.hears(t, apikey.Notice{Handle: "before"})

	from := cluster.Owner(t, redisstore.DefaultChannel)
	var to *redistest.Server
	for _, n := range cluster.Nodes {
		if n != from {
			to = n
		}
	}
	id, err := to.Client(t).Do(t.Context(), "cluster", "myid").Text()
	if err != nil {
		t.Fatal(err)
	}
	slot, err := to.Client(t).ClusterKeySlot(t.Context(), redisstore.DefaultChannel).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range append([]*redistest.Server{to, from}, cluster.Nodes[:]...) {
		if err := n.Client(t).Do(t.Context(), "cluster", "setslot", slot, "node", id).Err(); err != nil {
			t.Fatal(err)
		}
	}
	l.broken(t)

	for begin := time.Now(); ; { // until the driver has learned of the move
		err := other.Announce(t.Context(), []apikey.Notice{{Handle: "unheard"}})
		if err == nil {
			break
		}
		if time.Since(begin) > 20*time.Second {
			t.Fatalf("Announce = %v", err)
		}
	}
	l = again(t, f)
	announce(t, other, apikey.Notice{Handle: "after"})
	l.hears(t, apikey.Notice{Handle: "after"})
}

// again listens anew, as often as it takes.
func again(t testing.TB, f apikey.Feed) *listening {
	t.Helper()
	begin := time.Now()
	for {
		heard := make(chan time.Time, 1000)
		ended := make(chan error, 1)
		go func() {
			ended <- f.Listen(t.Context(), apikey.Listener{Now: time.Now, Heard: func(apikey.Notice) {}, Alive: func(at time.Time) { heard <- at }})
		}()
		select {
		case <-heard:
			return listen(t, f)
		case err := <-ended:
			if time.Since(begin) > 20*time.Second {
				t.Fatalf("Listen = %v", err)
			}
		}
	}
}

// A client that speaks to a cluster as if it were one server, which asks for
// trouble, is no reason to panic.
func TestClusterThroughASingleClient(t *testing.T) {
	cluster := redistest.StartCluster(t)
	client := redis.NewClient(&redis.Options{Addr: cluster.Nodes[0].Addr(), ContextTimeoutEnabled: true})
	t.Cleanup(func() { client.Close() })
	f := newFeed(t, client, nil)
	l := listen(t, f)
	announce(t, f, apikey.Notice{Handle: "h"})
	l.hears(t, apikey.Notice{Handle: "h"})
}
