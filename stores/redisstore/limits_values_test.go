package redisstore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/stores/redisstore"
	"github.com/keytoll/keytoll/stores/redisstore/redistest"
)

// hourly has limits of 10 an hour of those names.
func hourly(names ...string) []ratelimit.Limit {
	var limits []ratelimit.Limit
	for _, name := range names {
		limits = append(limits, ratelimit.Limit{Name: name, Count: 10, Period: time.Hour})
	}
	return limits
}

// left wants that so many remain of each limit.
func left(t *testing.T, l *ratelimit.Limiter, want ...int64) {
	t.Helper()
	r, err := l.Peek(t.Context(), "k", 0)
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	for s := range r.States() {
		if s.Remaining != want[i] {
			t.Errorf("of the limit %d %d remain; want %d", i, s.Remaining, want[i])
		}
		i++
	}
}

// Limits of a subject share a value in whatever sets and orders requests name
// them, and every verb changes those it names and no other.
func TestLimitsOfAValueAreApart(t *testing.T) {
	c := newMoved(t, redistest.Start(t).Client(t))
	over := func(names ...string) *ratelimit.Limiter { return limiterOf(t, c, hourly(names...)...) }
	long := strings.Repeat("n", 63)
	all := over("a", "b", "c", "d", "twelve-bytes", long+"1", long+"2")
	take(t, over("b", "a"), "k", 1, true)
	take(t, over("a", "b"), "k", 1, true)
	take(t, over("c"), "k", 3, true)
	take(t, over("a", "c"), "k", 1, true)
	take(t, over("c", "d"), "k", 2, true)
	take(t, over("d", "a"), "k", 9, false)
	take(t, over("twelve-bytes", long+"1"), "k", 5, true)
	take(t, over(long+"2"), "k", 6, true)
	left(t, all, 7, 8, 4, 8, 5, 5, 4)
	r := take(t, over("d", "b", "c"), "k", 4, true)
	left(t, all, 7, 4, 0, 4, 5, 5, 4)
	if err := over("d", "b", "c").Settle(t.Context(), r.Reservation, 1); err != nil {
		t.Fatal(err)
	}
	left(t, all, 7, 7, 3, 7, 5, 5, 4)
	if err := over("b", long+"1").Reset(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	left(t, all, 7, 10, 3, 7, 5, 10, 4)
	if _, err := over("a", "twelve-bytes").TakeUpTo(t.Context(), "k", 9); err != nil {
		t.Fatal(err)
	}
	left(t, all, 2, 10, 3, 7, 0, 10, 4)
	set, err := ratelimit.NewLimits(hourly("b")...)
	if err != nil {
		t.Fatal(err)
	}
	charge := ratelimit.Request{Mode: ratelimit.ModeCharge, Ops: []ratelimit.Op{{Rule: set.Rule(0), Key: "k", Cost: 12}}}
	if err := c.Apply(t.Context(), &charge); err != nil {
		t.Fatal(err)
	}
	left(t, all, 2, 0, 3, 7, 0, 10, 4)
}

// What a request does not name stays while it lives, whoever's clock, and is
// dropped with the next write when it is over; the key lives until the last is.
func TestValueKeepsWhatLives(t *testing.T) {
	client := redistest.Start(t).Client(t)
	c := newMoved(t, client)
	short := ratelimit.Limit{Name: "short", Count: 10, Period: time.Minute}
	long := ratelimit.Limit{Name: "long", Count: 10, Period: 10 * time.Hour}
	other := ratelimit.Limit{Name: "other", Count: 10, Period: time.Hour}
	entries := func() int64 { return client.StrLen(t.Context(), c.prefix+"{k}:c").Val() / 44 }
	take(t, limiterOf(t, c, short, long), "k", 10, true)
	for range 3 {
		take(t, limiterOf(t, c, other), "k", 1, true)
		if ttl := client.PTTL(t.Context(), c.prefix+"{k}:c").Val(); ttl < 10*time.Hour {
			t.Errorf("the key lives for %v; want as long as the longest limit counts", ttl)
		}
	}
	c.Advance(59 * time.Minute) // clocks of callers may differ by an hour
	take(t, limiterOf(t, c, other), "k", 1, true)
	if n := entries(); n != 3 {
		t.Errorf("the value has %d entries; want 3", n)
	}
	c.Advance(3 * time.Minute)
	take(t, limiterOf(t, c, other), "k", 1, true)
	if n := entries(); n != 2 {
		t.Errorf("the value has %d entries; want the one that is over dropped", n)
	}
	left(t, limiterOf(t, c, long), 1)
}

// By the server's clock what is over goes at once.
func TestValueDropsWhatIsOver(t *testing.T) {
	client := redistest.Start(t).Client(t)
	p := prefix()
	s, err := redisstore.NewLimits(redisstore.GoRedis(client), &redisstore.LimitsOptions{Prefix: p})
	if err != nil {
		t.Fatal(err)
	}
	long := limiterOf(t, s, hourly("long", "longer")...)
	take(t, long, "k", 1, true)
	for _, name := range []string{"x", "y", "z"} {
		take(t, limiterOf(t, s, ratelimit.Limit{Name: name, Count: 1, Period: time.Microsecond}), "k", 1, true)
	}
	take(t, long, "k", 1, true)
	if n := client.StrLen(t.Context(), p+"{k}:c").Val(); n != 2*44 {
		t.Errorf("the value has %d bytes; want those of 2 entries", n)
	}
}

// A value with an entry that nobody wrote is an error for whoever would have to
// keep it, and a reset forgets it all.
func TestForeignEntriesAreAnError(t *testing.T) {
	client := redistest.Start(t).Client(t)
	p := prefix()
	s, err := redisstore.NewLimits(redisstore.GoRedis(client), &redisstore.LimitsOptions{Prefix: p})
	if err != nil {
		t.Fatal(err)
	}
	l := limiterOf(t, s, hourly("a", "b")...)
	one := limiterOf(t, s, hourly("a")...)
	take(t, l, "k", 1, true)
	good := client.Get(t.Context(), p+"{k}:c").Val()
	for _, bad := range []string{good[:44] + strings.Repeat("text", 11), good[:44] + strings.Repeat("\xff", 44), good[:44] + good[44:80] + "12345678"} {
		client.Set(t.Context(), p+"{k}:c", bad, 0)
		for name, l := range map[string]*ratelimit.Limiter{"both": l, "one": one} {
			if _, err := l.Take(t.Context(), "k", 1); errors.CodeOf(err) != errors.Corrupt {
				t.Errorf("%q, %s: %v; want an error of code Corrupt", bad, name, err)
			}
		}
		if now := client.Get(t.Context(), p+"{k}:c").Val(); now != bad {
			t.Errorf("%q became %q", bad, now)
		}
		if err := l.Reset(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		left(t, l, 10, 10)
	}
	client.HSet(t.Context(), p+"{k}:c", "f", "v")
	if err := one.Reset(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	take(t, l, "k", 10, true)
}

// Numbers in a value that look like a limit's name are not taken for it.
func TestNumbersAreNoNames(t *testing.T) {
	client := redistest.Start(t).Client(t)
	c := newMoved(t, client)
	c.clock.now = time.UnixMicro(1 << 50)
	bucket := func(name string) *ratelimit.Limiter {
		return limiterOf(t, c, ratelimit.Limit{Name: name, Count: 1e7, Period: 10 * time.Second})
	}
	take(t, bucket("first"), "k", 1, true)
	take(t, bucket("second"), "k", 0x900000, true) // as a double 0x41 'b' and zeros
	take(t, bucket("third"), "k", 1, true)
	if value := client.Get(t.Context(), c.prefix+"{k}:c").Val(); !strings.Contains(value, "bA"+strings.Repeat("\x00", 10)) {
		t.Fatalf("the value is %q; want one in which numbers spell the name of the limit A", value)
	}
	take(t, bucket("A"), "k", 1e7, true)
	take(t, bucket("A"), "k", 1, false)
	take(t, bucket("second"), "k", 1e7-0x900000, true)
	take(t, bucket("second"), "k", 1, false)
}
