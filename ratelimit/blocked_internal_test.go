package ratelimit

import (
	"strconv"
	"testing"
	"time"
)

// However many subjects are refused, no more of them than MaxEntries are
// remembered: Upstash's cache grows without end.
func TestBlockedIsBounded(t *testing.T) {
	limits, err := NewLimits(Limit{Name: "none", Count: 1, Period: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	memory, err := NewMemoryStore(nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewBlockedStore(memory, time.Hour, &BlockedOptions{MaxEntries: 1000})
	if err != nil {
		t.Fatal(err)
	}
	l, err := NewLimiter(b, limits, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20_000 {
		if r, err := l.Take(t.Context(), strconv.Itoa(i), 2); r.Allowed || err != nil {
			t.Fatal(r.Allowed, err)
		}
	}
	n := 0
	for i := range b.shards {
		n += len(b.shards[i].entries)
	}
	if n == 0 || n > 1000 {
		t.Errorf("%d refusals are remembered, want 1 to 1000", n)
	}
}
