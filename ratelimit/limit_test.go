package ratelimit_test

import (
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/ratelimit"
)

func TestNewLimitsNamesEveryFault(t *testing.T) {
	t.Parallel()
	_, err := ratelimit.NewLimits(
		ratelimit.Limit{Name: "day", Period: 24 * time.Hour},
		ratelimit.Limit{Name: "a b", Count: -1, Period: time.Nanosecond, Burst: 3, Algorithm: ratelimit.FixedWindow, Unit: "ü"},
		ratelimit.Limit{Name: "day", Count: 1 << 54, Period: 101 * 365 * 24 * time.Hour, Algorithm: 77},
		ratelimit.Limit{Count: 1, Period: time.Second, Burst: -1},
		ratelimit.Limit{Name: "cal", Algorithm: ratelimit.Calendar, Period: time.Hour, Burst: 2, Every: 5},
		ratelimit.Limit{Name: "jobs", Algorithm: ratelimit.Concurrency, Count: ratelimit.MaxLog + 1, Period: time.Hour, Every: ratelimit.Day},
		ratelimit.Limit{Name: "log", Algorithm: ratelimit.SlidingLog, Count: ratelimit.MaxLog + 1, Zone: time.UTC},
		ratelimit.Limit{Name: "all", Algorithm: ratelimit.Unlimited, Count: 1, Period: time.Hour, Burst: 1},
		ratelimit.Limit{Name: "none", Algorithm: ratelimit.DenyAll, Count: -1, Every: ratelimit.Week},
		ratelimit.Limit{Name: "slow", Count: 1, Period: 100 * time.Hour, Burst: 10_000},
	)
	if errors.CodeOf(err) != errors.Invalid {
		t.Fatalf("code is %v", errors.CodeOf(err))
	}
	for _, want := range []string{
		`limit "day": count is 0; give 1 to`, `name is "a b"`, `count is -1`, `period is 1ns`, `burst is 3; only a token bucket`, `unit is "ü"`,
		`limit "day": the name is used twice`, `count is 18014398509481984`, `algorithm is 77`, `limit #4: name is ""`, `burst is -1`,
		`limit "cal": count is 0`, `limit "cal": period is 1h0m0s; calendar has none`, `limit "cal": burst is 2`, `limit "cal": every is 5; give Day`,
		`limit "jobs": count is 10001; give 1 to 10000`, `limit "jobs": every and zone are for a Calendar limit`,
		`limit "log": count is 10001`, `limit "log": period is 0s`, `limit "log": every and zone`,
		`limit "all": count is 1; unlimited has none`, `limit "all": period is 1h0m0s`, `limit "all": burst is 1`,
		`limit "none": count is -1`, `limit "none": every and zone`, `limit "slow": burst 10000 takes longer than`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in:\n%v", want, err)
		}
	}
	if _, err := ratelimit.NewLimits(); err == nil {
		t.Error("no limits are accepted")
	}
}

func TestLimitsFillInDefaults(t *testing.T) {
	t.Parallel()
	l := set(t, ratelimit.Limit{Name: "a", Count: 5, Period: time.Second}, ratelimit.Limit{Name: "b", Count: 1, Period: time.Second, Burst: 3, Unit: "images"})
	if a, ok := l.Lookup("a"); !ok || a.Burst != 5 || a.Unit != "requests" {
		t.Errorf("a is %+v", a)
	}
	if _, ok := l.Lookup("c"); ok || l.Len() != 2 {
		t.Error("a limit that was not given")
	}
	if q, w := l.Rule(1).Quota(), l.Rule(1).Window(); q != 3 || w != 3*time.Second {
		t.Errorf("quota %d in %v, want 3 in 3s", q, w)
	}
	var names []string
	for x := range l.All() {
		names = append(names, x.Name)
	}
	if strings.Join(names, " ") != "a b" || l.At(1).Name != "b" {
		t.Errorf("names are %v", names)
	}
	var zero ratelimit.Limits
	if zero.Len() != 0 {
		t.Error("the zero set holds limits")
	}
}

func TestConstructorsNameTheirFaults(t *testing.T) {
	t.Parallel()
	if _, err := ratelimit.NewLimiter(nil, ratelimit.Limits{}, &ratelimit.Options{MaxKeyBytes: -1}); err == nil ||
		!strings.Contains(err.Error(), "store is nil") || !strings.Contains(err.Error(), "MaxKeyBytes is -1") {
		t.Errorf("error is %v", err)
	}
	if _, err := ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{MaxBytes: 1}); err == nil {
		t.Error("a store of one byte is accepted")
	}
}
