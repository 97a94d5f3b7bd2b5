package benchcmp_test

import (
	"strconv"
	"testing"
	"time"

	httprateredis "github.com/go-chi/httprate-redis"
	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/rueidis"
	goredisstore "github.com/sethvargo/go-redisstore"
	throttledstore "github.com/throttled/throttled/v2/store/goredisstore.v9"
	"github.com/ulule/limiter/v3"
	ululestore "github.com/ulule/limiter/v3/drivers/store/redis"

	"github.com/keytoll/keytoll/stores/redisstore"
	"github.com/keytoll/keytoll/stores/redisstore/rueidisclient"
)

// floorScript has the server run a script that does nothing.
func floorScript(tb testing.TB, c *clients, _ int64, _ string) take {
	tb.Helper()
	ctx := tb.Context()
	sha, err := c.goredis.ScriptLoad(ctx, "return 1").Result()
	if err != nil {
		tb.Fatal(err)
	}
	return func(key string) bool {
		n, err := c.goredis.EvalSha(ctx, sha, []string{key}, 1).Int()
		if err != nil {
			tb.Error(err)
		}
		return n == 1
	}
}

func floorScriptRueidis(tb testing.TB, c *clients, _ int64, _ string) take {
	script, ctx := rueidis.NewLuaScript("return 1"), tb.Context()
	return func(key string) bool {
		n, err := script.Exec(ctx, c.rueidis, []string{key}, []string{"1"}).AsInt64()
		if err != nil {
			tb.Error(err)
		}
		return n == 1
	}
}

// floorPing is the round trip alone.
func floorPing(tb testing.TB, c *clients, _ int64, _ string) take {
	ctx := tb.Context()
	return func(string) bool {
		err := c.goredis.Ping(ctx).Err()
		if err != nil {
			tb.Error(err)
		}
		return err == nil
	}
}

func floorPingRueidis(tb testing.TB, c *clients, _ int64, _ string) take {
	ctx := tb.Context()
	return func(string) bool {
		err := c.rueidis.Do(ctx, c.rueidis.B().Ping().Build()).Error()
		if err != nil {
			tb.Error(err)
		}
		return err == nil
	}
}

func keytollGoRedis(tb testing.TB, c *clients, count int64, limits int) take {
	tb.Helper()
	return keytollRedis(tb, redisstore.GoRedis(c.goredis), count, limits)
}

func keytollCoalesced(tb testing.TB, c *clients, count int64, limits int) take {
	tb.Helper()
	return keytollRedis(tb, redisstore.Coalesced(c.goredis), count, limits)
}

func keytollRueidis(tb testing.TB, c *clients, count int64, limits int) take {
	tb.Helper()
	return keytollRedis(tb, rueidisclient.New(c.rueidis), count, limits)
}

func keytollRedis(tb testing.TB, client redisstore.Client, count int64, limits int) take {
	tb.Helper()
	store, err := redisstore.NewLimits(client, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return keytollOver(tb, store, count, limits)
}

func redisRate(tb testing.TB, c *clients, count int64, name string) take {
	l, ctx := redis_rate.NewLimiter(c.goredis), tb.Context()
	limit := redis_rate.Limit{Rate: int(count), Burst: int(count), Period: period}
	return func(key string) bool {
		res, err := l.Allow(ctx, name+key, limit)
		if err != nil {
			tb.Error(err)
			return false
		}
		return res.Allowed == 1
	}
}

func ululeRedis(tb testing.TB, c *clients, count int64, name string) take {
	tb.Helper()
	store, err := ululestore.NewStoreWithOptions(c.goredis, limiter.StoreOptions{Prefix: name})
	if err != nil {
		tb.Fatal(err)
	}
	return ululeOver(tb, store, count)
}

func throttledRedis(tb testing.TB, c *clients, count int64, name string) take {
	tb.Helper()
	store, err := throttledstore.NewCtx(c.goredis, name)
	if err != nil {
		tb.Fatal(err)
	}
	return throttledOver(tb, store, count)
}

func httprateRedis(tb testing.TB, c *clients, count int64, name string) take {
	return httprateOver(tb, count, httprateredis.WithRedisLimitCounter(&httprateredis.Config{
		Client: c.goredis, PrefixKey: name, WindowLength: period, FallbackDisabled: true,
	}))
}

func goRedisStore(tb testing.TB, c *clients, count int64, name string) take {
	tb.Helper()
	store, err := goredisstore.NewWithPool(&goredisstore.Config{Tokens: uint64(count), Interval: period}, c.redigo)
	if err != nil {
		tb.Fatal(err)
	}
	ctx := tb.Context()
	return func(key string) bool {
		_, _, _, ok, err := store.Take(ctx, name+key)
		if err != nil {
			tb.Error(err)
		}
		return ok
	}
}

// windowRueidis is the least that a window over rueidis does, and stands for
// rueidislimiter, which the module proxy does not serve: one script that reads
// where the window ends and counts up.
func windowRueidis(tb testing.TB, c *clients, count int64, name string) take {
	script := rueidis.NewLuaScript(`
local ends = redis.call('GET', KEYS[2])
if not ends or tonumber(ends) <= tonumber(ARGV[1]) then
	ends = ARGV[2]
	redis.call('SET', KEYS[2], ends, 'PXAT', ends)
	redis.call('SET', KEYS[1], 0, 'PXAT', ends)
end
return {redis.call('INCRBY', KEYS[1], ARGV[3]), tonumber(ends)}
`)
	ctx := tb.Context()
	return func(key string) bool {
		now := time.Now()
		counter := name + ":{" + key + "}"
		got, err := script.Exec(ctx, c.rueidis, []string{counter, counter + ":ends"}, []string{
			strconv.FormatInt(now.UnixMilli(), 10), strconv.FormatInt(now.Add(period).UnixMilli(), 10), "1",
		}).AsIntSlice()
		if err != nil || len(got) != 2 {
			tb.Errorf("%v, %v", got, err)
			return false
		}
		return got[0] <= count
	}
}
