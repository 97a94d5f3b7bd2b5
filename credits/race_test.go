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
	r := newRig(t)
	r.run(grant("g", 1000))
	ends := make(map[credits.HoldStatus]int)
	for round := range 300 {
		id := credits.OpID("h" + strconv.Itoa(round))
		r.run(credits.Hold{Account: acme, ID: id, Amount: 10, TTL: time.Millisecond})
		before := r.run(debit("touch"+credits.OpID(strconv.Itoa(round)), 0)).Totals
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
					r.add(500 * time.Microsecond)
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
		r.run(debit("post"+credits.OpID(strconv.Itoa(round)), 0))
		end := r.snapshot(acme).Ops[id].Hold
		ends[end]++
		captured, released := won[0].Load(), won[1].Load()
		got := r.snapshot(acme).Account.Totals
		want := before
		want.Held -= 10
		switch end {
		case credits.HoldCaptured:
			want.Available, want.Consumed = want.Available+3, want.Consumed+7
			if captured == 0 || released != 0 {
				t.Fatalf("captured, and %d captures and %d releases succeeded", captured, released)
			}
		case credits.HoldReleased, credits.HoldTimedOut:
			want.Available += 10
			if captured != 0 || (released > 0) != (end == credits.HoldReleased) {
				t.Fatalf("%v, and %d captures and %d releases succeeded", end, captured, released)
			}
		default:
			t.Fatalf("the hold is still %v", end)
		}
		if got != want {
			t.Fatalf("%v: totals %+v; want %+v", end, got, want)
		}
		if got.Available < 100 {
			r.run(credits.Grant{Account: acme, ID: "more" + id, Amount: 1000})
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
