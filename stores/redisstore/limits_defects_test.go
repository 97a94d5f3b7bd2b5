package redisstore_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/stores/redisstore"
	"github.com/keytoll/keytoll/stores/redisstore/redistest"
)

// Each test of this file is a defect that other limiters over Redis have or had.

func charge(key string, cost int64) ratelimit.Charge { return ratelimit.Charge{Key: key, Cost: cost} }

// take wants a take to pass or not.
func take(t *testing.T, l *ratelimit.Limiter, key string, cost int64, want bool) ratelimit.Result {
	t.Helper()
	r, err := l.TakeAll(t.Context(), charge(key, cost))
	if err != nil {
		t.Fatal(err)
	}
	if r.Allowed != want {
		t.Errorf("a take of %d of %q: allowed is %t, %d remain; want %t", cost, key, r.Allowed, r.Remaining, want)
	}
	return r
}

// everyLimit has one of each algorithm, in small.
func everyLimit() []ratelimit.Limit {
	return []ratelimit.Limit{
		{Name: "bucket", Count: 10, Period: time.Hour},
		{Name: "fixed", Algorithm: ratelimit.FixedWindow, Count: 10, Period: 1000 * time.Hour},
		{Name: "sliding", Algorithm: ratelimit.SlidingWindow, Count: 10, Period: 1000 * time.Hour},
		{Name: "log", Algorithm: ratelimit.SlidingLog, Count: 10, Period: time.Hour},
		{Name: "year", Algorithm: ratelimit.Calendar, Count: 10, Every: ratelimit.Year},
		{Name: "leases", Algorithm: ratelimit.Concurrency, Count: 10, Period: time.Hour},
	}
}

// prefixed returns a limiter and a function that lists its keys.
func prefixed(t *testing.T, client redis.UniversalClient, limits ...ratelimit.Limit) (*ratelimit.Limiter, func() []string) {
	t.Helper()
	p := prefix()
	s, err := redisstore.NewLimits(redisstore.GoRedis(client), &redisstore.LimitsOptions{Prefix: p})
	if err != nil {
		t.Fatal(err)
	}
	return limiterOf(t, s, limits...), func() []string {
		keys, err := client.Keys(t.Context(), p+"*").Result()
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(keys)
		return keys
	}
}

// dumps returns the keys with what they hold.
func dumps(t *testing.T, client redis.UniversalClient, keys []string) string {
	t.Helper()
	var all strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&all, "%q %q\n", k, client.Dump(t.Context(), k).Val())
	}
	return all.String()
}

// ulule, Upstash and others charge what they deny; throttled's peek may spend.
func TestRefusalsAndPeeksWriteNothing(t *testing.T) {
	client := redistest.Start(t).Client(t)
	l, keys := prefixed(t, client, everyLimit()...)
	if _, err := l.Peek(t.Context(), "k", 5); err != nil {
		t.Fatal(err)
	}
	take(t, l, "k", 11, false)
	if n := keys(); len(n) != 0 {
		t.Errorf("a peek and a refusal made the keys %q", n)
	}
	take(t, l, "k", 6, true)
	before := dumps(t, client, keys())
	take(t, l, "k", 5, false)
	if _, err := l.Peek(t.Context(), "k", 1); err != nil {
		t.Fatal(err)
	}
	if after := dumps(t, client, keys()); after != before {
		t.Errorf("a refusal and a peek changed\n%sto\n%s", before, after)
	}
}

// upstash#95, ulule#22, limits#14: keys that never go.
func TestNoKeyLivesForEver(t *testing.T) {
	client := redistest.Start(t).Client(t)
	limits := append(everyLimit(), ratelimit.Limit{Name: "short", Count: 7, Period: 3 * time.Microsecond})
	l, keys := prefixed(t, client, limits...)
	for i := range 5 {
		r := take(t, l, "k", 1, true)
		take(t, l, "other", 2, true)
		if i%2 == 0 {
			if err := l.Refund(t.Context(), r.Reservation); err != nil {
				t.Fatal(err)
			}
		} else if err := l.Settle(t.Context(), r.Reservation, 2); err != nil {
			t.Fatal(err)
		}
		take(t, l, "k", 11, false)
		if _, err := l.TakeUpTo(t.Context(), "up", 3); err != nil {
			t.Fatal(err)
		}
		if err := l.Renew(t.Context(), "other", ratelimit.ID{}); !errors.Is(err, ratelimit.ErrLapsed) {
			t.Fatal(err)
		}
	}
	for _, k := range keys() {
		if ttl := client.PTTL(t.Context(), k).Val(); ttl == -1 {
			t.Errorf("%q lives for ever", k)
		}
	}
}

// Throttled cuts the time to live to whole seconds, so that what was used is
// forgotten up to a second early.
func TestNoKeyGoesEarly(t *testing.T) {
	client := redistest.Start(t).Client(t)
	p := prefix()
	s, err := redisstore.NewLimits(redisstore.GoRedis(client), &redisstore.LimitsOptions{Prefix: p})
	if err != nil {
		t.Fatal(err)
	}
	for i, limit := range everyLimit() {
		set, err := ratelimit.NewLimits(limit)
		if err != nil {
			t.Fatal(err)
		}
		key := fmt.Sprint("k", i)
		req := ratelimit.Request{Ops: []ratelimit.Op{{Rule: set.Rule(0), Key: key, Cost: 7}}}
		if err := s.Apply(t.Context(), &req); err != nil {
			t.Fatal(err)
		}
		names := client.Keys(t.Context(), p+"{"+key+"}*").Val()
		goes, free := client.PExpireTime(t.Context(), names[0]).Val(), req.Now+req.Ops[0].Outcome.ResetAfter
		if early := free - goes.Microseconds(); early > 0 || early < -5000 {
			t.Errorf("%v: the key goes %d µs before all is free", limit.Algorithm, early)
		}
	}
}

// A key that lost its time to live gets one with the next take.
func TestTimeToLiveIsRepaired(t *testing.T) {
	client := redistest.Start(t).Client(t)
	l, keys := prefixed(t, client, everyLimit()...)
	take(t, l, "k", 1, true)
	for _, k := range keys() {
		client.Persist(t.Context(), k)
	}
	take(t, l, "k", 1, true)
	for _, k := range keys() {
		if client.PTTL(t.Context(), k).Val() <= 0 {
			t.Errorf("%q lives for ever", k)
		}
	}
}

// redis_rate's AllowN(-n) says that it gave back and stores nothing.
func TestRefundOfEverythingIsStored(t *testing.T) {
	client := redistest.Start(t).Client(t)
	for _, limit := range everyLimit() {
		l, _ := prefixed(t, client, limit)
		r := take(t, l, "k", 10, true)
		if err := l.Refund(t.Context(), r.Reservation); err != nil {
			t.Fatal(err)
		}
		take(t, l, "k", 10, true)
		take(t, l, "k", 1, false)
	}
}

// redis_rate tells a finite wait for a cost that never passes, and throttled
// admits 106752 of a limit of 1 a day.
func TestCostAboveTheQuotaNeverPasses(t *testing.T) {
	client := redistest.Start(t).Client(t)
	l, _ := prefixed(t, client, ratelimit.Limit{Name: "daily", Count: 1, Period: 24 * time.Hour})
	for _, cost := range []int64{2, 106_752, 213_504, 1 << 53, 1 << 62} {
		if r := take(t, l, "k", cost, false); r.RetryAfter != ratelimit.Never {
			t.Errorf("a cost of %d passes after %v; want never", cost, r.RetryAfter)
		}
	}
	take(t, l, "k", 1, true)
}

// Lua's tostring keeps 14 digits of a time, so that it is off by seconds; and an
// interval cut to whole microseconds makes 700000 a second a million.
func TestTimesKeepEveryMicrosecond(t *testing.T) {
	client := redistest.Start(t).Client(t)
	c := &clock{now: time.UnixMicro(1_795_211_690_123_457)}
	s := newLimits(t, client, redisstore.LimitsOptions{Now: c.Now})
	l := limiterOf(t, s, ratelimit.Limit{Name: "fast", Count: 700_000, Period: time.Second})
	take(t, l, "k", 700_000, true)
	c.advance(time.Microsecond)
	if r := take(t, l, "k", 1, false); r.RetryAfter != time.Microsecond {
		t.Errorf("a unit passes after %v; want 1µs, when 1.4 are back", r.RetryAfter)
	}
	c.advance(time.Microsecond)
	take(t, l, "k", 1, true)
	c.advance(8 * time.Microsecond) // in 10 µs 7 come back
	take(t, l, "k", 6, true)
	take(t, l, "k", 1, false)
}

// rueidis#974, wurk#91: computed keys. shenyu#2808 and others: keys of one
// script in several slots.
func TestKeysAreDeclaredAndOfOneSlot(t *testing.T) {
	client := redistest.StartCluster(t).Client(t)
	seen := &spy{Client: redisstore.GoRedis(client)}
	s, err := redisstore.NewLimits(seen, &redisstore.LimitsOptions{Prefix: prefix()})
	if err != nil {
		t.Fatal(err)
	}
	l := limiterOf(t, s, everyLimit()...)
	for _, key := range []string{"a", "{", "}", "{}", "a}b", "{a}", "a%7Db", "%", "", strings.Repeat("x", 1000), "\x00\xff"} {
		key = "k" + key
		r := take(t, l, key, 1, true)
		if err := l.Refund(t.Context(), r.Reservation); err != nil {
			t.Fatal(err)
		}
		slots := map[int64]bool{}
		for _, k := range seen.keys {
			slots[client.ClusterKeySlot(t.Context(), k).Val()] = true
		}
		if len(slots) != 1 || len(seen.keys) != 4 {
			t.Errorf("subject %.20q has the keys %q of %d slots; want one for all cells, one for each log and one for the settlement, of one slot", key, seen.keys, len(slots))
		}
	}
}

// A spy keeps the keys of the last script.
type spy struct {
	redisstore.Client
	keys []string
}

func (s *spy) EvalSHA(ctx context.Context, hash string, keys []string, arg string) (string, error) {
	s.keys = slices.Clone(keys)
	return s.Client.EvalSHA(ctx, hash, keys, arg)
}

// Envoy joins with "_", Unkey and httprate with ":", tollbooth with "|": parts
// that hold the separator share a state.
func TestNoTwoSubjectsShareAKey(t *testing.T) {
	client := redistest.Start(t).Client(t)
	subjects := []string{"a", "a:b", "a:b:c", "{a}", "a}", "{a", "a%7D", "a%", "a%25", "%h", "}", "%7D", "a}b", "a}:x:b", strings.Repeat("y", 64), strings.Repeat("y", 65), strings.Repeat("y", 66)}
	tags := map[string]func(string) string{
		"own": nil,
		"one": func(string) string { return "a" },
		"cut": func(key string) string { before, _, _ := strings.Cut(key, ":"); return before },
	}
	for name, tag := range tags {
		t.Run(name, func(t *testing.T) {
			seen := &spy{Client: redisstore.GoRedis(client)}
			s, err := redisstore.NewLimits(seen, &redisstore.LimitsOptions{Prefix: prefix(), Tag: tag})
			if err != nil {
				t.Fatal(err)
			}
			l := limiterOf(t, s, ratelimit.Limit{Name: "b", Count: 10, Period: time.Hour}, ratelimit.Limit{Name: "x", Count: 10, Period: time.Hour})
			owner := map[string]string{}
			for _, subject := range subjects {
				take(t, l, subject, 1, true)
				for _, k := range seen.keys {
					if other, taken := owner[k]; taken {
						t.Errorf("%q and %q have the key %q", subject, other, k)
					}
					owner[k] = subject
				}
			}
		})
	}
}

// A key that holds something else is never taken for an unused limit.
func TestForeignValuesAreAnError(t *testing.T) {
	client := redistest.Start(t).Client(t)
	for _, limit := range everyLimit() {
		l, keys := prefixed(t, client, limit)
		r := take(t, l, "k", 1, true)
		key := keys()[0]
		good := client.Dump(t.Context(), key).Val()
		entry := client.GetRange(t.Context(), key, 0, 11).Val()
		for name, spoil := range map[string]func() error{
			"another type": func() error { return client.HSet(t.Context(), key, "f", "v").Err() },
			"no number":    func() error { return client.Set(t.Context(), key, "17", 0).Err() },
			"no members":   func() error { return client.ZAdd(t.Context(), key, redis.Z{Score: 1, Member: "m"}).Err() },
			"no numbers":   func() error { return client.Set(t.Context(), key, strings.Repeat("\xff", 44), 0).Err() },
			"fractions":    func() error { return client.Set(t.Context(), key, entry+strings.Repeat("12345678", 4), 0).Err() },
			"nothing":      func() error { return client.Set(t.Context(), key, "", 0).Err() },
			"text":         func() error { return client.Set(t.Context(), key, strings.Repeat("b bytes.", 11), 0).Err() },
			"a part":       func() error { return client.Set(t.Context(), key, entry+strings.Repeat("\x00", 31), 0).Err() },
		} {
			client.Del(t.Context(), key)
			if err := spoil(); err != nil {
				t.Fatal(err)
			}
			before := dumps(t, client, keys())
			_, took := l.Take(t.Context(), "k", 1)
			_, peeked := l.Peek(t.Context(), "k", 1)
			refunded := l.Refund(t.Context(), r.Reservation)
			for verb, err := range map[string]error{"take": took, "peek": peeked, "refund": refunded} {
				if errors.CodeOf(err) != errors.Corrupt {
					t.Errorf("%v, %s: %s: %v; want an error of code Corrupt", limit.Algorithm, name, verb, err)
				}
			}
			if after := dumps(t, client, keys()); after != before {
				t.Errorf("%v, %s: changed\n%sto\n%s", limit.Algorithm, name, before, after)
			}
		}
		client.Del(t.Context(), key)
		if err := client.Restore(t.Context(), key, time.Hour, good).Err(); err != nil {
			t.Fatal(err)
		}
		take(t, l, "k", 9, true)
		take(t, l, "k", 1, false)
	}
}

// A server without memory refuses to track more, and forgets nothing.
func TestFullServer(t *testing.T) {
	client := redistest.StartOwn(t).Client(t)
	l, _ := prefixed(t, client, everyLimit()...)
	take(t, l, "k", 4, true)
	if err := client.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Take(t.Context(), "k", 1); !errors.Is(err, ratelimit.ErrFull) {
		t.Errorf("error is %v; want ErrFull", err)
	}
	if err := client.ConfigSet(t.Context(), "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	take(t, l, "k", 6, true)
	take(t, l, "k", 1, false)
}

// Skewed clocks of callers grant and refuse nothing: the server's decides. The
// clock in a bubble says the year 2000.
func TestCallersClocksDecideNothing(t *testing.T) {
	addr := redistest.Start(t).Addr()
	p := prefix()
	over := func(t *testing.T) *ratelimit.Limiter {
		client := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1})
		t.Cleanup(func() { client.Close() })
		s, err := redisstore.NewLimits(redisstore.GoRedis(client), &redisstore.LimitsOptions{Prefix: p})
		if err != nil {
			t.Fatal(err)
		}
		return limiterOf(t, s, everyLimit()...)
	}
	take(t, over(t), "k", 6, true)
	synctest.Test(t, func(t *testing.T) {
		l := over(t)
		if year := time.Now().Year(); year != 2000 {
			t.Fatalf("the caller's clock says %d", year)
		}
		take(t, l, "k", 5, false)
		r := take(t, l, "k", 4, true)
		if err := l.Refund(t.Context(), r.Reservation); err != nil {
			t.Fatal(err)
		}
	})
	take(t, over(t), "k", 5, false)
	take(t, over(t), "k", 4, true)
}
