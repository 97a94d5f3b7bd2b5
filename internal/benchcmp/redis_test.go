package benchcmp_test

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	redigo "github.com/gomodule/redigo/redis"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/keytoll/keytoll/stores/redisstore/redistest"
)

// A redisPeer is one way to hold keys to a limit on a Redis server. one makes a
// limiter of its own name; many and several limits are as in limiterPeer.
type redisPeer struct {
	name  string
	floor bool // does no work of a limiter, and refuses nothing
	one   func(tb testing.TB, c *clients, count int64, name string) take
	many  func(tb testing.TB, c *clients, count int64, limits int) take
}

var redisPeers = [...]redisPeer{
	{name: "floor-evalsha-goredis", floor: true, one: floorScript},
	{name: "floor-evalsha-rueidis", floor: true, one: floorScriptRueidis},
	{name: "floor-ping-goredis", floor: true, one: floorPing},
	{name: "floor-ping-rueidis", floor: true, one: floorPingRueidis},
	{name: "keytoll-goredis", many: keytollGoRedis},
	{name: "keytoll-goredis-coalesced", many: keytollCoalesced},
	{name: "keytoll-rueidis", many: keytollRueidis},
	{name: "redis-rate-goredis", one: redisRate},
	{name: "ulule-goredis", one: ululeRedis},
	{name: "throttled-goredis", one: throttledRedis},
	{name: "httprate-goredis", one: httprateRedis},
	{name: "go-redisstore-redigo", one: goRedisStore},
	{name: "window-rueidis", one: windowRueidis},
}

// build makes a take on an empty database.
func (p redisPeer) build(tb testing.TB, c *clients, count int64, limits int) take {
	tb.Helper()
	if err := c.goredis.FlushDB(tb.Context()).Err(); err != nil {
		tb.Fatal(err)
	}
	over, names := limiterPeer{name: p.name}, 0
	if p.many != nil {
		over.many = func(tb testing.TB, count int64, limits int) take { return p.many(tb, c, count, limits) }
	} else {
		over.one = func(tb testing.TB, count int64) take {
			names++
			return p.one(tb, c, count, "limit"+strconv.Itoa(names))
		}
	}
	return over.build(tb, count, limits)
}

// most is how many callers there are at once, and connections for those clients
// that lend one to each caller.
const most = 64

// clients are what programs reach one server with.
type clients struct {
	goredis *redis.Client
	rueidis rueidis.Client
	redigo  *redigo.Pool
}

// reach starts a server of our own, so that nobody else's keys are dropped.
func reach(tb testing.TB) *clients {
	tb.Helper()
	addr := redistest.StartOwn(tb).Addr()
	c := &clients{
		goredis: redis.NewClient(&redis.Options{Addr: addr, PoolSize: most}),
		redigo: &redigo.Pool{MaxActive: most, MaxIdle: most, Wait: true, DialContext: func(ctx context.Context) (redigo.Conn, error) {
			return redigo.DialContext(ctx, "tcp", addr)
		}},
	}
	tb.Cleanup(func() { _ = c.goredis.Close() })
	tb.Cleanup(func() { _ = c.redigo.Close() })
	var err error
	c.rueidis, err = rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, DisableCache: true})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.rueidis.Close)
	return c
}

// used returns the bytes that the server has in use for keys: without what its
// connections, scripts and buffers take, which come and go.
func (c *clients) used(tb testing.TB) float64 {
	tb.Helper()
	reply, err := c.goredis.Do(tb.Context(), "memory", "stats").Result()
	if err != nil {
		tb.Fatal(err)
	}
	stats := reply.(map[any]any)
	bytes := stats["dataset.bytes"].(int64)
	if tables, ok := stats["db.0"].(map[any]any); ok { // absent while there is no key
		bytes += tables["overhead.hashtable.main"].(int64) + tables["overhead.hashtable.expires"].(int64)
	}
	return float64(bytes)
}

func TestEveryRedisLimiterDecides(t *testing.T) {
	const count = 5
	c, all := reach(t), subjects(t, 20)
	for _, p := range redisPeers {
		for _, limits := range together {
			t.Run(p.name+"/limits="+strconv.Itoa(limits), func(t *testing.T) {
				allow := p.build(t, c, count, limits)
				for i := range count {
					if key, ok := all.each(allow); !ok {
						t.Fatalf("%s: unit %d of %d is refused", key, i+1, count)
					}
				}
				if key, ok := all.each(func(key string) bool { return allow(key) == p.floor }); !ok {
					t.Fatalf("%s: of unit %d of %d it says %t", key, count+1, count, !p.floor)
				}
			})
		}
	}
}

// BenchmarkRedis asks a server on this machine for units that are there, from
// one caller and from 64.
func BenchmarkRedis(b *testing.B) {
	c := reach(b)
	for _, n := range counts[:2] {
		for _, limits := range together {
			for _, p := range redisPeers {
				b.Run(table(n)+"/limits="+strconv.Itoa(limits)+"/peer="+p.name, func(b *testing.B) {
					// A server is slower than memory, and so a unit may take longer to come back.
					all, allow := subjects(b, n), p.build(b, c, plenty(n)/100, limits)
					if key, ok := all.each(allow); !ok {
						b.Fatalf("%s is refused before the run", key)
					}
					step := func(i int) bool { return allow(all.at(i)) }
					b.Run("callers=1", func(b *testing.B) { c.crew(b, n, 1, step) })
					b.Run("callers="+strconv.Itoa(most), func(b *testing.B) { c.crew(b, n, most, step) })
				})
			}
		}
	}
}

// crew has so many callers do b.N steps together, and tells what all of them got
// done in a second and what processor time each step took of the server.
func (c *clients) crew(b *testing.B, n, callers int, step func(i int) bool) {
	b.ReportAllocs()
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	before := c.processor(b)
	b.ResetTimer()
	for caller := range callers {
		wg.Go(func() {
			for d := (draw{n: n, state: mix(uint64(caller))}); left.Add(-1) >= 0; {
				if !step(d.next()) {
					b.Error("unexpected answer")
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	b.ReportMetric((c.processor(b)-before)/float64(b.N), "server-us/op")
}

// processor returns the microseconds of processor time that the server has used.
func (c *clients) processor(tb testing.TB) float64 {
	tb.Helper()
	info, err := c.goredis.InfoMap(tb.Context(), "cpu").Result()
	if err != nil {
		tb.Fatal(err)
	}
	sum := 0.0
	for _, name := range []string{"used_cpu_user", "used_cpu_sys"} {
		seconds, err := strconv.ParseFloat(info["CPU"][name], 64)
		if err != nil {
			tb.Fatal(err)
		}
		sum += seconds * 1e6
	}
	return sum
}
