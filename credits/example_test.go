package credits_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// Hold before the work, capture what it really cost, and the rest goes back.
func Example() {
	ctx := context.Background()
	ledger, err := credits.NewLedger(credits.NewMemoryStore(nil), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := ledger.Grant(ctx, credits.Grant{Account: "acme", ID: "invoice-17", Amount: 100 * credits.Credit}); err != nil {
		fmt.Println(err)
		return
	}
	hold, err := ledger.Hold(ctx, credits.Hold{Account: "acme", ID: "request-1", Amount: 5 * credits.Credit, Operation: "image"})
	if err != nil {
		fmt.Println(err)
		return
	}
	// ... the work ...
	receipt, err := ledger.Capture(ctx, credits.Capture{Account: "acme", Hold: hold.Op, Amount: 3 * credits.Credit})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("spent %v, available %v\n", receipt.Amount, receipt.Totals.Available)
	// Output: spent 3, available 97
}

// A denial says whether waiting can help.
func ExampleDeniedError() {
	ctx := context.Background()
	ledger, err := credits.NewLedger(credits.NewMemoryStore(nil), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := ledger.Grant(ctx, credits.Grant{Account: "acme", ID: "g", Amount: 10 * credits.Credit}); err != nil {
		fmt.Println(err)
		return
	}
	if _, err := ledger.Hold(ctx, credits.Hold{Account: "acme", ID: "running", Amount: 8 * credits.Credit}); err != nil {
		fmt.Println(err)
		return
	}
	for _, amount := range []credits.Amount{5 * credits.Credit, 50 * credits.Credit} {
		_, err := ledger.Hold(ctx, credits.Hold{Account: "acme", ID: "request-2", Amount: amount})
		if denied, ok := errors.AsType[*credits.DeniedError](err); ok && errors.Is(err, credits.ErrInsufficient) {
			fmt.Printf("%v; transient: %v\n", denied, denied.Transient)
		}
	}
	// Output:
	// need 5 credits, 2 available; transient: true
	// need 50 credits, 2 available; transient: false
}

// Credit that was given burns before credit that was bought, and what expires
// first burns first.
func ExampleLedger_Grant() {
	ctx := context.Background()
	ledger, err := credits.NewLedger(credits.NewMemoryStore(nil), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, g := range []credits.Grant{
		{ID: "bought", Amount: 10 * credits.Credit},
		{ID: "welcome", Amount: 2 * credits.Credit, Category: credits.Promo},
		{ID: "this month", Amount: 3 * credits.Credit, Category: credits.Plan, ExpiresAt: time.Date(9000, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		g.Account = "acme"
		r, err := ledger.Grant(ctx, g)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s is lot %d\n", g.ID, r.Lot)
	}
	r, err := ledger.Debit(ctx, credits.Debit{Account: "acme", ID: "request-1", Amount: 6 * credits.Credit})
	if err != nil {
		fmt.Println(err)
		return
	}
	for part := range r.Parts.All() {
		fmt.Printf("%v from lot %d\n", part.Amount, part.Lot)
	}
	// Output:
	// bought is lot 1
	// welcome is lot 2
	// this month is lot 3
	// 3 from lot 3
	// 2 from lot 2
	// 1 from lot 1
}

// A retry carries the id of the first attempt, and is answered from it. An id
// made afresh for each attempt pays twice.
func ExampleLedger_Debit_retry() {
	ctx := context.Background()
	ledger, err := credits.NewLedger(credits.NewMemoryStore(nil), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := ledger.Grant(ctx, credits.Grant{Account: "acme", ID: "g", Amount: 10 * credits.Credit}); err != nil {
		fmt.Println(err)
		return
	}
	debit := credits.Debit{Account: "acme", ID: "request-1", Amount: 4 * credits.Credit}
	for range 2 {
		r, err := ledger.Debit(ctx, debit)
		fmt.Printf("available %v, replayed %v, error %v\n", r.Totals.Available, r.Replayed, err)
	}
	debit.Amount = 5 * credits.Credit
	_, err = ledger.Debit(ctx, debit)
	fmt.Println(errors.Is(err, credits.ErrIntent))
	// Output:
	// available 6, replayed false, error <nil>
	// available 6, replayed true, error <nil>
	// true
}

// What a hold does not set aside by its TTL is its caller's to notice: a capture
// that comes too late is refused, and has charged nothing.
func ExampleLedger_Capture_late() {
	ctx := context.Background()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	store := credits.NewMemoryStore(&credits.MemoryOptions{Now: func() time.Time { return now }})
	ledger, err := credits.NewLedger(store, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := ledger.Grant(ctx, credits.Grant{Account: "acme", ID: "g", Amount: 10 * credits.Credit}); err != nil {
		fmt.Println(err)
		return
	}
	if _, err := ledger.Hold(ctx, credits.Hold{Account: "acme", ID: "slow", Amount: 4 * credits.Credit, TTL: time.Minute}); err != nil {
		fmt.Println(err)
		return
	}
	now = now.Add(time.Minute)
	_, err = ledger.Capture(ctx, credits.Capture{Account: "acme", Hold: "slow", All: true})
	fmt.Println(errors.Is(err, credits.ErrTimedOut))
	b, err := ledger.Balance(ctx, "acme")
	fmt.Println(b.Available, err)
	// Output:
	// true
	// 10 <nil>
}

// The journal of an account, newest entry first, in pages.
func ExampleLedger_Entries() {
	ctx := context.Background()
	ledger, err := credits.NewLedger(credits.NewMemoryStore(nil), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := ledger.Grant(ctx, credits.Grant{Account: "acme", ID: "invoice-17", Amount: 10 * credits.Credit}); err != nil {
		fmt.Println(err)
		return
	}
	if _, err := ledger.Debit(ctx, credits.Debit{Account: "acme", ID: "request-1", Amount: 4 * credits.Credit, Key: "key_1"}); err != nil {
		fmt.Println(err)
		return
	}
	if _, err := ledger.Refund(ctx, credits.Refund{Account: "acme", ID: "ticket-9", Of: "request-1", Amount: 1 * credits.Credit}); err != nil {
		fmt.Println(err)
		return
	}
	q := credits.Query{Account: "acme", Newest: true, Limit: 2}
	for {
		page, err := ledger.Entries(ctx, q)
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, e := range page.Entries {
			fmt.Printf("%d %s %v: %v -> %v %s\n", e.Seq, e.Op, e.Amount, e.From, e.To, e.Key)
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			break
		}
	}
	// Output:
	// 3 ticket-9 1: consumed -> available key_1
	// 2 request-1 4: available -> consumed key_1
	// 1 invoice-17 10: issued -> available
}

// Three credits for a million tokens, rounded up once.
func ExamplePrice() {
	price := credits.Price{Amount: 3 * credits.Credit, Per: 1_000_000}
	for _, tokens := range []int64{0, 1, 250_000, 1_000_001} {
		cost, err := price.Of(tokens)
		fmt.Println(tokens, cost, err)
	}
	// Output:
	// 0 0 <nil>
	// 1 0.000003 <nil>
	// 250000 0.75 <nil>
	// 1000001 3.000003 <nil>
}

// A plan of 90 000 credits a month, of which up to 10 000 go on to the next one.
func ExampleLedger_SetSchedule() {
	ctx := context.Background()
	now := time.Date(2026, 1, 31, 9, 0, 0, 0, time.UTC) // the store's clock
	store := credits.NewMemoryStore(&credits.MemoryOptions{Now: func() time.Time { return now }})
	ledger, err := credits.NewLedger(store, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	s, err := ledger.SetSchedule(ctx, credits.Schedule{
		Account: "acme", ID: "business", Amount: 90_000 * credits.Credit, Category: credits.Plan,
		Unit: credits.Months, Every: 1, Anchor: now, Rollover: 10_000 * credits.Credit,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("next grant:", s.NextAt.Format(time.DateOnly))
	if _, err := ledger.Debit(ctx, credits.Debit{Account: "acme", ID: "d", Amount: 84_000 * credits.Credit}); err != nil {
		fmt.Println(err)
		return
	}
	for _, day := range []time.Time{now.AddDate(0, 0, 27), now.AddDate(0, 0, 28), now.AddDate(0, 0, 59)} {
		f, err := ledger.SpendableAt(ctx, "acme", day, "")
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(day.Format(time.DateOnly), f.Spendable)
	}
	// Output:
	// next grant: 2026-02-28
	// 2026-02-27 6000
	// 2026-02-28 96000
	// 2026-03-31 100000
}

// A denial says when the very command would have room.
func ExampleDeniedError_clearsAt() {
	ctx := context.Background()
	now := time.Date(2026, 1, 31, 9, 0, 0, 0, time.UTC)
	store := credits.NewMemoryStore(&credits.MemoryOptions{Now: func() time.Time { return now }})
	ledger, err := credits.NewLedger(store, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := ledger.SetSchedule(ctx, credits.Schedule{
		Account: "acme", ID: "free", Amount: 10 * credits.Credit, Unit: credits.Days, Every: 1, Anchor: now,
	}); err != nil {
		fmt.Println(err)
		return
	}
	for _, h := range []credits.Hold{
		{Account: "acme", ID: "running", Amount: 8 * credits.Credit, TTL: 5 * time.Minute},
		{Account: "acme", ID: "next", Amount: 5 * credits.Credit},
	} {
		_, err := ledger.Hold(ctx, h)
		if denied, ok := errors.AsType[*credits.DeniedError](err); ok {
			fmt.Println("try again after", denied.ClearsAt.Sub(now), "- next grant after", denied.NextGrantAt.Sub(now))
		}
	}
	// Output: try again after 5m0s - next grant after 24h0m0s
}
