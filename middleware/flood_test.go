package middleware_test

import (
	"encoding/binary"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/ratelimit"
)

// addresses is how many a flood has: enough to fill every table, or as many as
// KEYTOLL_TEST_ADDRESSES says.
func addresses(t *testing.T) int {
	if text := os.Getenv("KEYTOLL_TEST_ADDRESSES"); text != "" {
		n, err := strconv.Atoi(text)
		must(t, err)
		return n
	}
	if underRace {
		return 20_000
	}
	return 120_000
}

// ofOnePrefix is the i-th address of a /64, ofManyPrefixes one of the i-th /64.
func ofOnePrefix(i int) netip.Addr {
	return address(0x2001_0db8_0001_0002, uint64(i)*0x9E37_79B9_7F4A_7C15)
}
func ofManyPrefixes(i int) netip.Addr {
	return address(0x2001_0db8_0000_0000+uint64(i), 1)
}

func address(high, low uint64) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], high)
	binary.BigEndian.PutUint64(b[8:], low)
	return netip.AddrFrom16(b)
}

// heap returns the bytes that live.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Whoever has a /64 has one bucket: of guesses, and of requests. Whoever has very
// many gets as much as that, and makes the gate's memory no larger than its bound;
// keys that are good pass all the while.
func TestFloodOfAddresses(t *testing.T) {
	for _, tt := range []struct {
		name    string
		address func(int) netip.Addr
		looked  func(n int) int // at how many guesses the gate looks
	}{
		{"of one /64", ofOnePrefix, func(int) int { return 3 }},
		{"of many /64", ofManyPrefixes, func(n int) int { return n }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := build(t, blueprint{options: func(o *middleware.Options) {
				guessing(o)
				o.Observer, o.Limits = nil, nil
				o.IPLimits = []ratelimit.Limit{{Name: "address", Algorithm: ratelimit.FixedWindow, Count: 1 << 30, Period: time.Minute}}
			}})
			route, err := h.gate.Route(open())
			must(t, err)
			good := middleware.Attempt{Route: route, Credential: h.key("").Secret.Reveal(), IP: ofOnePrefix(1)}
			enter := func() {
				t.Helper()
				p, err := h.gate.Begin(t.Context(), good)
				must(t, err)
				must(t, p.End(t.Context(), middleware.Outcome{Status: 200, Completed: true}))
			}
			enter()
			wrong := middleware.Attempt{Route: route, Credential: "garbage"}
			before, n := heap(), addresses(t)
			verdicts := make(map[middleware.Verdict]int)
			for i := range n {
				wrong.IP = tt.address(i)
				_, err := h.gate.Begin(t.Context(), wrong)
				d, ok := errors.AsType[*middleware.Denial](err)
				if !ok {
					t.Fatalf("guess %d: %v", i, err)
				}
				verdicts[d.Verdict]++
				if i%1000 == 0 {
					enter()
				}
			}
			if got, want := verdicts[middleware.VerdictMalformed], tt.looked(n); got != want || verdicts[middleware.VerdictAuthLimited] != n-want {
				t.Errorf("%v, want %d looked at and the rest locked", verdicts, want)
			}
			// 4 MiB for guesses and 64 MiB for requests, each of which may be a
			// little more while it moves to larger tables.
			if grown := heap() - before; grown > min(80<<20, 1<<20+100*int64(n)) {
				t.Errorf("the heap has grown by %d bytes", grown)
			}
			runtime.KeepAlive(h)
		})
	}
}

// Without trusted proxies no header moves a client into another bucket; with them
// what the client wrote itself does not.
func TestForgedForwardingMovesNobody(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		h := build(t, blueprint{options: func(o *middleware.Options) {
			guessing(o)
			if trusted {
				o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
			}
		}})
		handler := h.gate.Handler(open())(never(t))
		for i := range 10 {
			forged := ofManyPrefixes(i).String()
			w := h.call(handler, raw("Authorization", "Bearer garbage"), from("10.0.0.1:1"), func(r *http.Request) {
				chain := forged
				if trusted {
					chain += ", 198.51.100.7" // by the proxy
				}
				for _, name := range []string{"X-Forwarded-For", "Forwarded", "X-Real-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "X-Client-Ip", "X_forwarded_for", "Via"} {
					r.Header[name] = []string{chain}
				}
				r.Header["Forwarded"] = []string{"for=" + forged}
			})
			if want := map[bool]int{true: 401, false: 429}[i < 3]; w.Code != want {
				t.Errorf("trusted %t, guess %d: status %d, want %d", trusted, i, w.Code, want)
			}
			want := "10.0.0.1"
			if trusted {
				want = "198.51.100.7"
			}
			if got := h.journal.last().IP.String(); got != want {
				t.Errorf("told of %s, want %s", got, want)
			}
		}
	}
}

// Addresses of strangers do not use up the room that keys need, whether or not
// both have a store in memory.
func TestAFloodLeavesRoomForKeys(t *testing.T) {
	h := build(t, blueprint{options: func(o *middleware.Options) {
		small, err := ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{MaxBytes: 96 << 10})
		must(t, err)
		o.Limits, o.Observer = small, nil
		o.IPLimits = []ratelimit.Limit{perMinute("address", 9).Limit}
	}})
	op := open()
	op.Limits = []middleware.Limit{perMinute("minute", 9)}
	handler, issued := h.gate.Handler(op)(says(200)), h.key("")
	for i := range 4_000 {
		if w := h.call(handler, from("["+ofManyPrefixes(i).String()+"]:1")); w.Code != 401 {
			t.Fatalf("stranger %d: status %d", i, w.Code)
		}
	}
	if w := h.call(handler, bearer(issued)); w.Code != 200 {
		t.Errorf("a key that comes after the flood: status %d", w.Code)
	}
}

// Thousands of keys that were proven lately pass a locked address, and not just
// the last few.
func TestManyProvenKeysPassTheLock(t *testing.T) {
	h := build(t, blueprint{options: func(o *middleware.Options) {
		guessing(o)
		o.Observer = nil
	}})
	route, err := h.gate.Route(open())
	must(t, err)
	attempts := make([]middleware.Attempt, min(4096, addresses(t)/20))
	for i := range attempts {
		attempts[i] = middleware.Attempt{Route: route, Credential: h.key("").Secret.Reveal(), IP: ofManyPrefixes(i)}
		_, err := h.gate.Begin(t.Context(), attempts[i])
		must(t, err)
	}
	locked := ofOnePrefix(1)
	for range 3 {
		_, _ = h.gate.Begin(t.Context(), middleware.Attempt{Route: route, Credential: "garbage", IP: locked})
	}
	refusals := 0
	for _, a := range attempts {
		a.IP = locked
		if _, err := h.gate.Begin(t.Context(), a); err != nil {
			refusals++
		}
	}
	// They share a table by a hash with a seed of its own: one or two may be pushed out.
	if refusals > len(attempts)/100 {
		t.Errorf("%d of %d keys are locked out", refusals, len(attempts))
	}
	if _, err := h.gate.Begin(t.Context(), middleware.Attempt{Route: route, Credential: h.key("").Secret.Reveal(), IP: locked}); err == nil {
		t.Error("the address is not locked at all")
	}
}
