package credits_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// The numbers of the package's table of policies that no other test needs.
func TestDefaultsAreThoseOfTheTable(t *testing.T) {
	t.Run("a denial looks 35 days ahead", func(t *testing.T) {
		const ahead = 35 * 24 * time.Hour
		for wait, known := range map[time.Duration]bool{ahead - time.Second: true, ahead + time.Second: false} {
			r := newRig(t)
			r.run(credits.Grant{Account: acme, ID: "g", Amount: 10, EffectiveAt: epoch.Add(wait)})
			got := r.denial(debit("d", 5))
			if got.ClearsAt.IsZero() == known || got.NextGrantAt.IsZero() == known {
				t.Errorf("a grant in %v: clears %v, next grant %v", wait, got.ClearsAt, got.NextGrantAt)
			}
		}
	})
	t.Run("a page has 100 rows", func(t *testing.T) {
		r := newRig(t)
		for i := range 101 {
			r.run(grant(credits.OpID(fmt.Sprint("g", i)), 1))
		}
		lots, err := r.Lots(t.Context(), credits.ListQuery{Account: acme})
		if err != nil || len(lots.Lots) != 100 || lots.Next == "" {
			t.Errorf("%d lots, next %q, %v", len(lots.Lots), lots.Next, err)
		}
		page, err := r.Entries(t.Context(), credits.Query{Account: acme})
		if err != nil || len(page.Entries) != 100 || page.Next == "" {
			t.Errorf("%d entries, next %q, %v", len(page.Entries), page.Next, err)
		}
	})
	t.Run("usage has 10 000 rows", func(t *testing.T) {
		const most = 10_000
		r := newRig(t)
		r.run(grant("g", most+1))
		for i := range most + 1 {
			d := debit(credits.OpID(fmt.Sprint("d", i)), 1)
			d.Key = fmt.Sprint("key", i)
			if _, err := r.Debit(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			if i < most-1 {
				continue
			}
			rows, err := r.Usage(t.Context(), credits.UsageQuery{Account: acme, ByKey: true})
			if (err == nil) != (i == most-1) || err == nil && len(rows) != most {
				t.Errorf("%d keys: %d rows, %v", i+1, len(rows), err)
			}
		}
	})
}

func TestABatchHas512CommandsByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		accounts := make([]credits.AccountID, 600)
		for i := range accounts {
			accounts[i] = credits.AccountID(fmt.Sprint("a", i))
		}
		r := newBatchRig(t, oneLane, accounts...)
		calls, errs := r.debits(t.Context(), accounts...)
		together(t, r.Batcher, r.gate, calls...)
		if err := errors.Join(errs...); err != nil || slices.Max(r.gate.sizes) != 512 {
			t.Errorf("updates of up to %d accounts, %v; want 512", slices.Max(r.gate.sizes), err)
		}
	})
}
