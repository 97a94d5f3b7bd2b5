package middleware_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/ratelimit"
)

// BenchmarkParts measures what the gate is made of, so that BenchmarkHandler can
// be read as a ratio within one run.
func BenchmarkParts(b *testing.B) {
	const keys = 1024
	b.Run("verify", func(b *testing.B) {
		h := build(b, blueprint{})
		tokens := make([]string, keys)
		for i := range tokens {
			tokens[i] = h.issue(apikey.Spec{Owner: fmt.Sprintf("owner-%d", i)}, "image:generate").Secret.Reveal()
		}
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if _, err := h.keys.Verify(b.Context(), tokens[i%keys], nil); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
	b.Run("take3", func(b *testing.B) {
		var list []ratelimit.Limit
		for _, l := range threeLimits() {
			list = append(list, l.Limit)
		}
		limits, err := ratelimit.NewLimits(list...)
		must(b, err)
		store, err := ratelimit.NewMemoryStore(nil)
		must(b, err)
		limiter, err := ratelimit.NewLimiter(store, limits, nil)
		must(b, err)
		subjects := make([]string, keys)
		for i := range subjects {
			subjects[i] = "key_" + strconv.Itoa(i)
		}
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if res, err := limiter.Take(b.Context(), subjects[i%keys], 1); err != nil || !res.Allowed {
				b.Fatal(res, err)
			}
			i++
		}
	})
	b.Run("hold+capture", func(b *testing.B) {
		h := build(b, blueprint{})
		accounts := make([]credits.AccountID, keys)
		for i := range accounts {
			accounts[i] = credits.AccountID("owner-" + strconv.Itoa(i))
			_, err := h.ledger.Grant(b.Context(), credits.Grant{Account: accounts[i], ID: "grant", Amount: 1 << 50})
			must(b, err)
		}
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			id := credits.OpID("op_" + strconv.Itoa(i)) // one allocation of the benchmark's own
			a := accounts[i%keys]
			_, err := h.ledger.Hold(b.Context(), credits.Hold{Account: a, ID: id, Amount: credits.Micro})
			if err == nil {
				_, err = h.ledger.Capture(b.Context(), credits.Capture{Account: a, Hold: id, Amount: credits.Micro})
			}
			must(b, err)
			i++
		}
	})
}
