package idempotency_test

import (
	"encoding/binary"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware/idempotency"
)

// Keeping the promises of Store is tested by package idempotencytest.

func TestMemoryWrongOptionsAreNamed(t *testing.T) {
	for _, bytes := range []int64{-1, 1, 100} {
		if _, err := idempotency.NewMemoryStore(&idempotency.MemoryOptions{MaxBytes: bytes}); errors.CodeOf(err) != errors.Invalid || !strings.Contains(err.Error(), "MaxBytes") {
			t.Errorf("%d: %v", bytes, err)
		}
	}
}

func claimOf(n uint64) idempotency.Claim {
	c := idempotency.Claim{Lease: time.Minute}
	binary.BigEndian.PutUint64(c.Key[:], n*0x9e3779b97f4a7c15)
	binary.BigEndian.PutUint64(c.Token[:], n+1)
	return c
}

// The bound on bytes holds for what the process really uses.
func TestMemoryUsesNoMoreThanItSays(t *testing.T) {
	const most = 4 << 20
	store, err := idempotency.NewMemoryStore(&idempotency.MemoryOptions{MaxBytes: most})
	must(t, err)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	n := uint64(0)
	small := make([]byte, idempotency.SmallAnswer)
	for ; ; n++ {
		c := claimOf(n)
		if _, err := store.Claim(t.Context(), c); errors.CodeOf(err) == errors.Exhausted {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		must(t, store.Finish(t.Context(), c.Key, c.Token, small, time.Hour))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	used := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	if used > most || n < 5_000 {
		t.Errorf("%d keys take up %d bytes, want at most %d", n, used, most)
	}
	runtime.KeepAlive(store)
}

// What is over is freed by whatever is called later, and a full store has room for
// newcomers again.
func TestMemoryForgetsWhatIsOver(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	store, err := idempotency.NewMemoryStore(&idempotency.MemoryOptions{MaxBytes: 1 << 20, Now: func() time.Time { return now }})
	must(t, err)
	n := uint64(0)
	for ; ; n++ {
		if _, err := store.Claim(t.Context(), claimOf(n)); err != nil {
			break
		}
	}
	now = now.Add(time.Minute)
	for i := range n { // as many newcomers as there were
		if _, err := store.Claim(t.Context(), claimOf(n+i)); err != nil {
			t.Fatalf("newcomer %d: %v", i, err)
		}
	}
	if got := store.Len(); got != int(n) {
		t.Errorf("%d keys are held, want %d", got, n)
	}
	now = now.Add(time.Minute)
	for range n {
		must(t, store.Abandon(t.Context(), idempotency.Key{}, idempotency.Token{}))
	}
	if got := store.Len(); got != 0 {
		t.Errorf("%d keys are held, want none", got)
	}
}

// A clock that runs backwards keeps nothing longer than it should.
func TestMemoryClockThatRunsBackwards(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	store, err := idempotency.NewMemoryStore(&idempotency.MemoryOptions{Now: func() time.Time { return now }})
	must(t, err)
	_, err = store.Claim(t.Context(), claimOf(1))
	must(t, err)
	now = now.Add(-time.Hour)
	c := claimOf(1)
	c.Token[15] = 1
	f, err := store.Claim(t.Context(), c)
	if err != nil || f.State != idempotency.Running || f.Wait > time.Minute {
		t.Errorf("%+v, %v", f, err)
	}
	now = now.Add(time.Hour + time.Minute)
	if f, err = store.Claim(t.Context(), c); err != nil || f.State != idempotency.Claimed {
		t.Errorf("%+v, %v", f, err)
	}
}
