package credits_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/credits/creditstest"
)

func BenchmarkMemoryStore(b *testing.B) {
	creditstest.Bench(b, func(*testing.B) credits.Store { return credits.NewMemoryStore(nil) })
}

// What a hold costs must not depend on how many lots are open, or on how many
// holds are.
func BenchmarkOpenRows(b *testing.B) {
	for _, c := range []struct {
		name        string
		lots, holds int
	}{{"lots=1", 1, 0}, {"lots=10000", 10_000, 0}, {"holds=10000", 1, 10_000}} {
		b.Run(c.name, func(b *testing.B) {
			l, err := credits.NewLedger(credits.NewMemoryStore(nil), nil)
			if err != nil {
				b.Fatal(err)
			}
			for i := range c.lots {
				if _, err := l.Grant(b.Context(), grant(credits.OpID("g"+strconv.Itoa(i)), 100*credits.Credit)); err != nil {
					b.Fatal(err)
				}
			}
			for i := range c.holds {
				if _, err := l.Hold(b.Context(), hold(credits.OpID("open"+strconv.Itoa(i)), 1)); err != nil {
					b.Fatal(err)
				}
			}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				id := credits.OpID(strconv.Itoa(i))
				if _, err := l.Hold(b.Context(), hold(id, 1)); err != nil {
					b.Fatal(err)
				}
				if _, err := l.Capture(b.Context(), capture(id, 0)); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}

func BenchmarkBalance(b *testing.B) {
	l, err := credits.NewLedger(credits.NewMemoryStore(nil), nil)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := l.Grant(b.Context(), grant("g", 1)); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.Balance(b.Context(), acme); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseAmount(b *testing.B) {
	texts := make([]string, 64)
	for i := range texts {
		texts[i] = fmt.Sprintf("%d.%06d", i*7919, i*15485)
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		if _, err := credits.ParseAmount(texts[i%len(texts)]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// A hold and its capture in memory cost few allocations, and no more after many
// others than at first.
func TestHoldAndCaptureAllocateLittle(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget")
	}
	l, err := credits.NewLedger(credits.NewMemoryStore(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Grant(t.Context(), grant("g", credits.MaxAmount)); err != nil {
		t.Fatal(err)
	}
	const runs = 2000
	ids := make([]credits.OpID, 2*runs+2)
	for i := range ids {
		ids[i] = credits.OpID("request " + strconv.Itoa(i))
	}
	next := 0
	for range 2 {
		n := testing.AllocsPerRun(runs, func() {
			id := ids[next]
			next++
			if _, err := l.Hold(t.Context(), credits.Hold{Account: acme, ID: id, Amount: 5, Key: "key_1", Operation: "image"}); err != nil {
				t.Fatal(err)
			}
			if _, err := l.Capture(t.Context(), credits.Capture{Account: acme, Hold: id, All: true}); err != nil {
				t.Fatal(err)
			}
		})
		if n > 4 {
			t.Errorf("%v allocations after %d holds; want at most 4", n, next)
		}
	}
}
