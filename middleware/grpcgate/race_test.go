package grpcgate_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/middlewaretest"
)

// together makes n calls at once and counts their codes.
func (h *house) together(t *testing.T, n int) map[codes.Code]int {
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := make(map[codes.Code]int)
	start := make(chan struct{})
	ctx := h.with(t.Context(), middlewaretest.Active)
	for range n {
		wg.Go(func() {
			<-start
			a := h.call(ctx)
			mu.Lock()
			defer mu.Unlock()
			got[status.Code(a.err)]++
		})
	}
	close(start)
	wg.Wait()
	return got
}

func TestRaceForTheLastCredits(t *testing.T) {
	h := build(t, blueprint{fixture: &middlewaretest.Options{Balance: 37 * credits.Credit}}) // seven calls, and 2 left over
	if got := h.together(t, 64); got[codes.OK] != 7 || got[codes.FailedPrecondition] != 57 {
		t.Errorf("codes %v, want 7 OK and 57 FailedPrecondition", got)
	}
	h.WantBalance(2*credits.Credit, 0)
}

func TestRaceForTheLastRequests(t *testing.T) {
	op := priced()
	op.Limits = []middleware.Limit{perMinute("minute", 9)}
	h := build(t, blueprint{op: &op})
	if got := h.together(t, 64); got[codes.OK] != 9 || got[codes.ResourceExhausted] != 55 {
		t.Errorf("codes %v, want 9 OK and 55 ResourceExhausted", got)
	}
	h.WantCharged(45 * credits.Credit)
}

// Every way a call can end, many at once: the account adds up to the credit.
func TestRaceOfAllEndings(t *testing.T) {
	h := build(t, blueprint{fixture: &middlewaretest.Options{Balance: 1280 * credits.Credit}})
	var charged, turn atomic.Int64
	h.unary = func(ctx context.Context) error {
		switch turn.Add(1) % 4 {
		case 0:
			charged.Add(5)
		case 1:
			return status.Error(codes.Unavailable, "no")
		case 2:
			charged.Add(2)
			charge(ctx, 2)
		case 3:
			panic("boom")
		}
		return nil
	}
	h.together(t, 256)
	total := credits.Amount(charged.Load()) * credits.Credit
	h.WantCharged(total)
	h.WantBalance(1280*credits.Credit-total, 0)
}
