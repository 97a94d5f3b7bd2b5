package middleware_test

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/ratelimit"
)

const setting = "per_minute"

// has issues a key with one setting.
func (h *house) has(n int64) apikey.Issued {
	h.Helper()
	settings, err := apikey.NewSettings(map[string]int64{setting: n})
	must(h, err)
	return h.issue(apikey.Spec{Owner: account, Settings: settings}, "")
}

// sets changes the setting of a key.
func (h *house) sets(issued apikey.Issued, n int64) {
	h.Helper()
	settings, err := apikey.NewSettings(map[string]int64{setting: n})
	must(h, err)
	_, err = h.keys.Update(context.Background(), issued.Key.ID, apikey.Changes{Settings: &settings})
	must(h, err)
}

// bySetting is an operation whose limit follows the key.
func bySetting(l ratelimit.Limit) middleware.Operation {
	op := open()
	op.Limits = []middleware.Limit{{Limit: l, Setting: setting}}
	return op
}

func TestALimitFollowsTheKeysSetting(t *testing.T) {
	h := build(t, blueprint{})
	handler := h.gate.Handler(bySetting(perMinute("minute", 2).Limit))(says(200))
	for _, tt := range []struct {
		name   string
		issued apikey.Issued
		passes int
		policy string
	}{
		{"absent: what is declared", h.key(""), 2, `"minute";q=2;w=60`},
		{"the same", h.has(2), 2, `"minute";q=2;w=60`},
		{"less", h.has(1), 1, `"minute";q=1;w=60`},
		{"more", h.has(4), 4, `"minute";q=4;w=60`},
		{"0", h.has(0), 0, ""},
		{"negative", h.has(-3), 0, ""},
		{"the least there is", h.has(math.MinInt64), 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for i := range tt.passes {
				w := h.call(handler, bearer(tt.issued))
				if got, want := w.Header().Get("RateLimit"), fmt.Sprintf(`"minute";r=%d;t=60`, tt.passes-i-1); w.Code != 200 || got != want || w.Header().Get("RateLimit-Policy") != tt.policy {
					t.Fatalf("call %d: status %d, RateLimit %s, policy %s; want %s and %s", i, w.Code, got, w.Header().Get("RateLimit-Policy"), want, tt.policy)
				}
			}
			w := h.call(handler, bearer(tt.issued))
			if got := w.Header().Get("RateLimit-Policy"); got != tt.policy {
				t.Errorf("policy %s, want %s", got, tt.policy)
			}
			if (w.Header().Get("Retry-After") == "") != (tt.passes == 0) {
				t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
			}
			if p := refused(t, w, 429, "rate_limited"); fmt.Sprint(p.Violated) != "[minute]" {
				t.Errorf("violated %v", p.Violated)
			}
		})
	}
}

// Whatever number a key has, the limit is one: of every algorithm.
func TestNoSettingBreaksALimit(t *testing.T) {
	for _, l := range []ratelimit.Limit{
		{Name: "bucket", Count: 10, Period: time.Second, Burst: 10},
		{Name: "slow", Count: 10, Period: 99 * 365 * 24 * time.Hour, Burst: 1},
		{Name: "burst", Count: 1000, Period: 365 * 24 * time.Hour, Burst: 100},
		{Name: "big", Count: ratelimit.MaxCount, Period: time.Microsecond, Burst: int64(ratelimit.MaxPeriod / time.Microsecond)},
		{Name: "fixed", Algorithm: ratelimit.FixedWindow, Count: 10, Period: time.Minute},
		{Name: "sliding", Algorithm: ratelimit.SlidingWindow, Count: 10, Period: time.Minute},
		{Name: "log", Algorithm: ratelimit.SlidingLog, Count: 10, Period: time.Minute},
		{Name: "day", Algorithm: ratelimit.Calendar, Count: 10, Every: ratelimit.Day},
		{Name: "running", Algorithm: ratelimit.Concurrency, Count: 10, Period: time.Minute},
	} {
		t.Run(l.Name, func(t *testing.T) {
			h := build(t, blueprint{})
			handler := h.gate.Handler(bySetting(l))(says(200))
			for _, n := range []int64{1, 2, 9999, 10_001, 1 << 40, ratelimit.MaxCount, math.MaxInt64} {
				if w := h.call(handler, bearer(h.has(n))); w.Code != 200 {
					t.Errorf("%d: status %d, told %+v", n, w.Code, h.journal.last())
				}
			}
		})
	}
}

// A setting that changes in flight keeps what was used: raising it adds what it
// adds, and lowering it does not give the window anew.
func TestAChangedSettingKeepsWhatWasUsed(t *testing.T) {
	h := build(t, blueprint{})
	handler, issued := h.gate.Handler(bySetting(perMinute("minute", 5).Limit))(says(200)), h.has(3)
	for _, step := range []struct {
		set    int64 // 0 = as it is
		status int
		left   string
	}{
		{0, 200, `"minute";r=2;t=60`}, {0, 200, `"minute";r=1;t=60`}, {4, 200, `"minute";r=1;t=60`}, {2, 429, `"minute";r=0;t=60`}, {4, 200, `"minute";r=0;t=60`},
		{0, 429, `"minute";r=0;t=60`}, {6, 200, `"minute";r=1;t=60`},
	} {
		if step.set != 0 {
			h.sets(issued, step.set)
		}
		if w := h.call(handler, bearer(issued)); w.Code != step.status || w.Header().Get("RateLimit") != step.left {
			t.Errorf("%+v: status %d, RateLimit %s", step, w.Code, w.Header().Get("RateLimit"))
		}
	}
}

// changeable are limits that count over time, of every algorithm, with so much at
// once.
func changeable(n int64) []ratelimit.Limit {
	return []ratelimit.Limit{
		{Name: "bucket", Count: n, Period: time.Hour, Burst: n},
		{Name: "fixed", Algorithm: ratelimit.FixedWindow, Count: n, Period: time.Hour},
		{Name: "sliding", Algorithm: ratelimit.SlidingWindow, Count: n, Period: time.Hour},
		{Name: "log", Algorithm: ratelimit.SlidingLog, Count: n, Period: time.Hour},
		{Name: "day", Algorithm: ratelimit.Calendar, Count: n, Every: ratelimit.Day},
	}
}

// Whoever may edit the settings of a key gains no call by lowering one and raising
// it again, however long it waits in between for the first call to pass.
func TestChangingASettingToAndFroGainsNothing(t *testing.T) {
	const most = 100
	for _, l := range changeable(most) {
		t.Run(l.Name, func(t *testing.T) {
			h := build(t, blueprint{})
			handler, issued := h.gate.Handler(bySetting(l))(says(200)), h.has(most)
			passed := 0
			for range 5 {
				h.sets(issued, most)
				for range most {
					if h.call(handler, bearer(issued)).Code == 200 {
						passed++
					}
				}
				h.sets(issued, most/2)
				h.clock.add(time.Hour/(most/2) + time.Second) // in which a bucket gets one back
				if h.call(handler, bearer(issued)).Code == 200 {
					passed++
				}
			}
			if gained := passed - most; gained > 10 { // what six minutes at the higher rate give
				t.Errorf("%d calls passed in six minutes, and %d an hour may", passed, most)
			}
		})
	}
}

// Keys of one owner that share a limit, each with a count of its own, use up one
// and the same.
func TestKeysOfOneOwnerShareWhatTheyUsed(t *testing.T) {
	const most = 100
	for _, l := range changeable(most) {
		t.Run(l.Name, func(t *testing.T) {
			h := build(t, blueprint{})
			op := bySetting(l)
			op.Limits[0].Subject = middleware.PerOwner
			handler, more, less := h.gate.Handler(op)(says(200)), h.has(most), h.has(most/2)
			passed := 0
			for range 5 {
				for range most {
					if h.call(handler, bearer(more)).Code == 200 {
						passed++
					}
				}
				h.clock.add(time.Hour/(most/2) + time.Second)
				if h.call(handler, bearer(less)).Code == 200 {
					passed++
				}
			}
			if gained := passed - most; gained > 10 {
				t.Errorf("%d calls passed in six minutes, and %d an hour may", passed, most)
			}
		})
	}
}

// A call that runs while its key's setting changes gives back the lease that it
// took.
func TestALeaseEndsAlthoughTheSettingChanged(t *testing.T) {
	h := build(t, blueprint{})
	issued := h.has(1)
	op := bySetting(ratelimit.Limit{Name: "running", Algorithm: ratelimit.Concurrency, Count: 9, Period: time.Hour})
	for _, n := range []int64{2, 1, 0} {
		handler := h.gate.Handler(op)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { h.sets(issued, n) }))
		h.call(handler, bearer(issued))
	}
	h.sets(issued, 1)
	if w := h.call(h.gate.Handler(op)(says(200)), bearer(issued)); w.Code != 200 {
		t.Errorf("status %d: a lease stayed", w.Code)
	}
}

// Ten thousand different settings, many at once: each key is held to its own.
func TestManySettings(t *testing.T) {
	h := build(t, blueprint{options: func(o *middleware.Options) { o.Observer, o.Limits = nil, nil }})
	op := bySetting(perMinute("minute", 1).Limit)
	route, err := h.gate.Route(op)
	must(t, err)
	var wg sync.WaitGroup
	const workers = 8
	each := 1250
	if underRace {
		each = 200
	}
	for worker := range workers {
		wg.Go(func() {
			for i := range each {
				n := int64(worker*each + i + 2)
				p, err := h.gate.Begin(t.Context(), middleware.Attempt{Route: route, Credential: h.has(n).Secret.Reveal()})
				if err != nil {
					t.Error(err)
					return
				}
				for s := range p.Limits() {
					if s.Quota != n || s.Remaining != n-1 {
						t.Errorf("a key of %d has a quota of %d and %d left", n, s.Quota, s.Remaining)
					}
				}
			}
		})
	}
	wg.Wait()
	if got := middleware.Variants(route); got < 1 || got > 1024 {
		t.Errorf("%d sets of limits are kept, want 1024 at most", got)
	}
}

func TestSettingsOfLimitsAreChecked(t *testing.T) {
	h := build(t, blueprint{})
	for _, subject := range []middleware.Subject{middleware.PerIP, middleware.PerOperation} {
		op := bySetting(perMinute("minute", 1).Limit)
		op.Limits[0].Subject = subject
		mentions(t, h.gate.Check(op), "has no settings")
	}
	for l, want := range map[ratelimit.Limit]string{
		{Name: "bucket", Count: 10, Period: time.Minute}:                                            "give a Burst, or another algorithm",
		{Name: "bucket", Count: 10, Period: 365 * 24 * time.Hour, Burst: 101}:                       "give a Burst of at most 100",
		{Name: "bucket", Count: 10, Period: 99 * 365 * 24 * time.Hour, Burst: 2}:                    "give a Burst of at most 1",
		{Name: "bucket", Algorithm: ratelimit.TokenBucket, Count: 10, Period: -time.Hour, Burst: 2}: "period is -1h0m0s",
	} {
		mentions(t, h.gate.Check(bySetting(l)), want)
	}
	op := open()
	for i := range 9 {
		op.Limits = append(op.Limits, perMinute(fmt.Sprint("limit", i), 1))
	}
	must(t, h.gate.Check(op))
	op.Limits[8].Setting = setting
	mentions(t, h.gate.Check(op), "give at most 8")
	op.Limits[8].Subject = middleware.PerOwner // counted apart from the others
	must(t, h.gate.Check(op))
}

// One reading of the body tells the limits and the price.
func TestUnits(t *testing.T) {
	var n int64
	var fault error
	asked := 0
	h := build(t, blueprint{})
	h.grant(1000)
	op := priced()
	images := perMinute("images", 10)
	images.Unit = "images"
	everybody := images
	everybody.Name, everybody.Count, everybody.Subject = "all-images", 1000, middleware.PerOperation
	op.Limits = []middleware.Limit{images, perMinute("requests", 8), everybody}
	op.Price, op.Unit = middleware.PerUnit(2*credits.Credit), "images"
	op.Units = func(r *http.Request) (int64, error) {
		if asked++; r.Header.Get("Authorization") != "" {
			t.Error("the credential is told")
		}
		return n, fault
	}
	handler, issued := h.gate.Handler(op)(says(200)), h.key("image:generate")
	refused(t, h.call(handler), 401, "missing_key")
	refused(t, h.call(handler, bearer(h.key(""))), 403, "insufficient_scope")
	if asked != 0 {
		t.Errorf("asked %d times before scopes", asked)
	}
	for _, tt := range []struct {
		n        int64
		fault    error
		status   int
		code     string
		left     string // RateLimit
		consumed credits.Amount
	}{
		{3, nil, 200, "", `"requests";r=7;t=60, "images";r=7;t=60`, 6},
		{0, nil, 200, "", `"requests";r=6;t=60, "images";r=7;t=60`, 6},
		{8, nil, 429, "rate_limited", `"requests";r=6;t=60, "images";r=7;t=60`, 6},
		{11, nil, 429, "rate_limited", `"requests";r=6;t=60, "images";r=7;t=60`, 6},
		{ratelimit.MaxCount, nil, 429, "rate_limited", `"requests";r=6;t=60, "images";r=7;t=60`, 6},
		{ratelimit.MaxCount + 1, nil, 400, "price_refused", "", 6},
		{math.MaxInt64, nil, 400, "price_refused", "", 6},
		{-1, nil, 500, "internal", "", 6},
		{5, errDown, 500, "internal", "", 6},
		{5, &errors.Error{Code: errors.Invalid, Msg: "num_images is not a number"}, 400, "price_refused", "", 6},
		{7, nil, 200, "", `"requests";r=5;t=60, "images";r=0;t=60`, 20},
		{0, nil, 200, "", `"requests";r=4;t=60, "images";r=0;t=60`, 20},
		{1, nil, 429, "rate_limited", `"requests";r=4;t=60, "images";r=0;t=60`, 20},
	} {
		n, fault, asked = tt.n, tt.fault, 0
		w := h.call(handler, bearer(issued))
		if got := w.Header().Get("RateLimit"); got != tt.left || w.Code != tt.status || asked != 1 {
			t.Errorf("%d units, %v: status %d, RateLimit %s, asked %d times", tt.n, tt.fault, w.Code, got, asked)
		}
		if tt.status >= 400 {
			if p := refused(t, w, tt.status, tt.code); tt.status == 400 && tt.fault != nil && p.Detail != "num_images is not a number" {
				t.Errorf("detail %q", p.Detail)
			}
		}
		h.spent(tt.consumed, 0)
	}
}

// A price that no account can hold is the request's fault, and not the gate's.
func TestUnitsThatNobodyCanPay(t *testing.T) {
	h := build(t, blueprint{})
	op := priced()
	op.Price, op.Unit = middleware.PerUnit(credits.MaxAmount/2), "images"
	units := int64(0)
	op.Units = func(*http.Request) (int64, error) { return units, nil }
	handler, issued := h.gate.Handler(op)(never(t)), h.key("image:generate")
	units = 2 // the most there is
	refused(t, h.call(handler, bearer(issued)), 402, "insufficient_credits")
	for _, units = range []int64{3, 4, 5, 1 << 50} { // some beyond an account, some beyond an int64
		refused(t, h.call(handler, bearer(issued)), 400, "price_refused")
	}
	op.Name, op.Price = "dear", middleware.PerUnit(credits.MaxAmount/100*51)
	units = 2 // between both bounds
	refused(t, h.call(h.gate.Handler(op)(never(t)), bearer(issued)), 400, "price_refused")
}

// What Begin is given by another transport is asked under the same rules.
func TestUnitsOfAnAttempt(t *testing.T) {
	h := build(t, blueprint{})
	h.grant(100)
	op := priced()
	op.Price, op.Unit = middleware.PerUnit(credits.Credit), "images"
	op.Units = func(*http.Request) (int64, error) { t.Error("asked without a request"); return 0, nil }
	route, err := h.gate.Route(op)
	must(t, err)
	a := middleware.Attempt{Route: route, Credential: h.key("image:generate").Secret.Reveal()}
	if _, err := h.gate.Begin(t.Context(), a); err == nil {
		t.Error("units without anybody to ask")
	}
	a.Units = func(context.Context) (int64, error) { return 4, nil }
	p, err := h.gate.Begin(t.Context(), a)
	must(t, err)
	h.spent(0, 4)
	must(t, p.End(t.Context(), middleware.Outcome{Status: 200, Completed: true}))
	h.spent(4, 0)
}
