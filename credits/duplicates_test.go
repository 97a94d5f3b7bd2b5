package credits_test

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/keytoll/keytoll/credits"
)

// Retries that overtake what they retry: all are in flight at once, share one
// update, and are answered from what the first of them did in it.
func TestDuplicatesInOneBatchAreAnsweredFromIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newBatchRig(t, oneLane, "a")
		commands := []any{
			credits.Debit{Account: "a", ID: "first", Amount: 1},
			credits.Debit{Account: "a", ID: "paid", Amount: 10},
			credits.Debit{Account: "a", ID: "paid", Amount: 10},
			credits.Debit{Account: "a", ID: "denied", Amount: 5000},
			credits.Debit{Account: "a", ID: "paid", Amount: 10},
			credits.Debit{Account: "a", ID: "denied", Amount: 5000},
			credits.Hold{Account: "a", ID: "denied", Amount: 1},
			credits.Hold{Account: "a", ID: "h", Amount: 20},
			credits.Hold{Account: "a", ID: "h", Amount: 21},
			credits.Capture{Account: "a", Hold: "h", All: true},
			credits.Capture{Account: "a", Hold: "h", All: true},
			credits.Grant{Account: "a", ID: "more", Amount: 10_000},
			credits.Debit{Account: "a", ID: "denied", Amount: 5000},
		}
		receipts, errs := make([]credits.Receipt, len(commands)), make([]error, len(commands))
		var calls []func()
		for i, cmd := range commands {
			calls = append(calls, func() { receipts[i], errs[i] = do(t.Context(), r.Ledger, cmd) })
		}
		together(t, r.Batcher, r.gate, calls...)
		if len(r.gate.sizes) != 2 {
			t.Fatalf("%d updates; want 2", len(r.gate.sizes))
		}
		done, replayed, denied, again := 0, 0, 0, 0
		for i := range commands {
			d, ok := errors.AsType[*credits.DeniedError](errs[i])
			switch {
			case ok && d.Replayed:
				again++
			case ok:
				denied++
			case errs[i] == nil && receipts[i].Replayed:
				replayed++
			case errs[i] == nil:
				done++
			case !errors.Is(errs[i], credits.ErrIntent):
				t.Errorf("%+v: %v", commands[i], errs[i])
			}
		}
		// The first one, a debit, a hold, its capture and a grant; two debits and a
		// capture more; and a debit that was denied, and twice again.
		if done != 5 || replayed != 3 || denied != 1 || again != 2 {
			t.Errorf("%d done, %d replayed, %d denied, %d denied again: %v", done, replayed, denied, again, errs)
		}
		if consumed := r.consumed(t, "a"); consumed != 31 {
			t.Errorf("%v consumed", consumed)
		}
	})
}
