package redisstore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/stores/redisstore"
	"github.com/keytoll/keytoll/stores/redisstore/redistest"
)

func TestZZReshard(t *testing.T) {
	cluster := redistest.StartCluster(t)
	client := cluster.Client(t)
	s, err := redisstore.NewLimits(redisstore.Coalesced(client), nil)
	if err != nil { t.Fatal(err) }
	set, _ := ratelimit.NewLimits(
		ratelimit.Limit{Name: "a", Count: 1000, Period: 24 * time.Hour},
		ratelimit.Limit{Name: "b", Count: 1000, Period: 24 * time.Hour},
	)
	l, err := ratelimit.NewLimiter(s, set, nil)
	if err != nil { t.Fatal(err) }
	r0, err := l.Take(t.Context(), "k", 5)
	if err != nil { t.Fatal(err) }
	key := "rl:{k}"
	from := cluster.Owner(t, key)
	var to *redistest.Server
	for _, n := range cluster.Nodes { if n != from { to = n } }
	fc, tc := from.Client(t), to.Client(t)
	slot := fc.ClusterKeySlot(t.Context(), key).Val()
	fid, _ := fc.Do(t.Context(), "cluster", "myid").Text()
	tid, _ := tc.Do(t.Context(), "cluster", "myid").Text()
	try := func(when string) {
		begin := time.Now()
		_, err := l.Take(t.Context(), "k", 1)
		t.Log(when, "take", err, time.Since(begin))
		_, err = l.Take(t.Context(), "other-new", 1)
		begin = time.Now()
		r, err2 := l.Take(t.Context(), "k", 1)
		if err2 == nil {
			err = l.Refund(t.Context(), r.Reservation)
			t.Log(when, "refund", err, time.Since(begin))
		}
		_, err = l.Peek(t.Context(), "k", 1)
		t.Log(when, "peek", err)
	}
	must := func(err error) { if err != nil { t.Fatal(err) } }
	must(tc.Do(t.Context(), "cluster", "setslot", slot, "importing", fid).Err())
	must(fc.Do(t.Context(), "cluster", "setslot", slot, "migrating", tid).Err())
	try("migrating, none moved")
	keys, _ := fc.ClusterGetKeysInSlot(t.Context(), int(slot), 100).Result()
	t.Logf("%q", keys)
	var host, port string
	fmt.Sscanf(to.Addr(), "127.0.0.1:%s", &port)
	host = "127.0.0.1"
	for i, k := range keys {
		must(fc.Migrate(t.Context(), host, port, k, 0, time.Second).Err())
		if i == 0 { try("first moved") }
	}
	try("all moved")
	must(tc.Do(t.Context(), "cluster", "setslot", slot, "node", tid).Err())
	must(fc.Do(t.Context(), "cluster", "setslot", slot, "node", tid).Err())
	try("done")
	err = l.Refund(t.Context(), r0.Reservation)
	r, _ := l.Peek(t.Context(), "k", 1)
	t.Log(err, r)
}
