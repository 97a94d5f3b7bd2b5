package credits_test

import (
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// Callers that fight for the last credits are in the conformance suite; here
// time takes part.
func TestCaptureReleaseAndTimeoutCompeteForOneTerminalRecord(t *testing.T) {
	ends := make(map[credits.HoldStatus]int)
	const id = "h"
	for range 300 {
		r := newRig(t)
		r.run(grant("g", 100))
		r.run(credits.Hold{Account: acme, ID: id, Amount: 10, TTL: time.Millisecond})
		var won [3]atomic.Int64
		start := make(chan struct{})
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				<-start
				var err error
				switch i % 3 {
				case 0:
					_, err = r.Capture(t.Context(), capture(id, 7))
				case 1:
					_, err = r.Release(t.Context(), release(id))
				case 2:
					r.add(time.Millisecond)
					_, err = r.Balance(t.Context(), acme)
					if err == nil {
						return
					}
				}
				switch {
				case err == nil:
					won[i%3].Add(1)
				case !errors.Is(err, credits.ErrSettled) && !errors.Is(err, credits.ErrTimedOut):
					t.Error(err)
				}
			})
		}
		close(start)
		wg.Wait()
		r.run(debit("post", 0))
		after := r.snapshot(acme)
		end := after.Ops[id].Hold
		ends[end]++
		captured, released := won[0].Load(), won[1].Load()
		want := credits.Totals{Issued: 100, Available: 100}
		switch end {
		case credits.HoldCaptured:
			want.Available, want.Consumed = 93, 7
			if captured == 0 || released != 0 {
				t.Fatalf("captured, and %d captures and %d releases succeeded", captured, released)
			}
		case credits.HoldReleased, credits.HoldTimedOut:
			if captured != 0 || (released > 0) != (end == credits.HoldReleased) {
				t.Fatalf("%v, and %d captures and %d releases succeeded", end, captured, released)
			}
		default:
			t.Fatalf("the hold is still %v", end)
		}
		if got := after.Account.Totals; got != want {
			t.Fatalf("%v: totals %+v; want %+v", end, got, want)
		}
	}
	t.Logf("ends: %v", ends)
}

func TestCommandsOfManyAccountsDoNotDisturbEachOther(t *testing.T) {
	r := newRig(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			account := credits.AccountID("account " + strconv.Itoa(i))
			if _, err := r.Grant(t.Context(), credits.Grant{Account: account, ID: "g", Amount: 1000}); err != nil {
				t.Error(err)
			}
			for n := range 100 {
				id := credits.OpID(strconv.Itoa(n))
				if _, err := r.Hold(t.Context(), credits.Hold{Account: account, ID: id, Amount: 5}); err != nil {
					t.Error(err)
				}
				if c, err := r.Capture(t.Context(), credits.Capture{Account: account, Hold: id, Amount: 4}); err != nil || c.Account != account || c.Op != id {
					t.Errorf("%+v, %v", c, err)
				}
			}
			if b, err := r.Balance(t.Context(), account); err != nil || b.Totals != (credits.Totals{Issued: 1000, Available: 600, Consumed: 400}) {
				t.Errorf("%+v, %v", b, err)
			}
		})
	}
	wg.Wait()
}
