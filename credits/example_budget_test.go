package credits_test

import (
	"context"
	"errors"
	"fmt"
	"time"
	_ "time/tzdata" // where a machine has no zones

	"github.com/keytoll/keytoll/credits"
)

// A team's key may spend 20 credits a day, by the clocks of Berlin, and its owner
// is told at 80 percent. All keys together have a month's budget.
func ExampleLedger_SetBudget() {
	ctx := context.Background()
	now := time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)
	store := credits.NewMemoryStore(&credits.MemoryOptions{Now: func() time.Time { return now }})
	ledger, err := credits.NewLedger(store, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, b := range []credits.Budget{
		{Account: "acme", ID: "month", Amount: 300 * credits.Credit, Every: credits.Month},
		{
			Account: "acme", ID: "red a day", Key: "red", Amount: 20 * credits.Credit, Every: credits.Day, Zone: "Europe/Berlin",
			Thresholds: credits.NewThresholds(80, 100),
		},
	} {
		if _, err := ledger.SetBudget(ctx, b); err != nil {
			fmt.Println(err)
			return
		}
	}
	if _, err := ledger.Grant(ctx, credits.Grant{Account: "acme", ID: "invoice-17", Amount: 1000 * credits.Credit}); err != nil {
		fmt.Println(err)
		return
	}

	spent, err := ledger.Debit(ctx, credits.Debit{Account: "acme", ID: "request-1", Amount: 17 * credits.Credit, Key: "red/app/k1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, a := range spent.Alerts {
		fmt.Printf("%s has reached %d%%: %v of %v\n", a.Budget, a.Percent, a.Used, a.Amount)
	}

	_, err = ledger.Hold(ctx, credits.Hold{Account: "acme", ID: "request-2", Amount: 5 * credits.Credit, Key: "red/app/k2"})
	if denied, ok := errors.AsType[*credits.DeniedError](err); ok {
		fmt.Println(denied)
		fmt.Println(denied.Source, denied.ClearsAt.Format(time.RFC3339))
	}
	if _, err := ledger.Hold(ctx, credits.Hold{Account: "acme", ID: "request-3", Amount: 5 * credits.Credit, Key: "blue/k3"}); err == nil {
		fmt.Println("blue goes on")
	}
	// Output:
	// red a day has reached 80%: 17 of 20
	// need 5 credits, 3 available in budget "red a day"
	// key_budget 2026-05-04T22:00:00Z
	// blue goes on
}

// What each key has spent a day, for a chart.
func ExampleLedger_Usage() {
	ctx := context.Background()
	now := time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)
	store := credits.NewMemoryStore(&credits.MemoryOptions{Now: func() time.Time { return now }})
	ledger, err := credits.NewLedger(store, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := ledger.Grant(ctx, credits.Grant{Account: "acme", ID: "invoice-17", Amount: 1000 * credits.Credit}); err != nil {
		fmt.Println(err)
		return
	}
	for i, key := range []string{"red/k1", "red/k2", "blue/k3", "red/k1"} {
		d := credits.Debit{Account: "acme", ID: credits.OpID(fmt.Sprint("request-", i)), Amount: 2 * credits.Credit, Key: key}
		if _, err := ledger.Debit(ctx, d); err != nil {
			fmt.Println(err)
			return
		}
		now = now.Add(8 * time.Hour)
	}
	rows, err := ledger.Usage(ctx, credits.UsageQuery{Account: "acme", Key: "red", By: credits.Days, ByKey: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, row := range rows {
		fmt.Println(row.Start.Format(time.DateOnly), row.Key, row.Spent, row.Spends)
	}
	// Output:
	// 2026-05-04 red/k1 2 1
	// 2026-05-04 red/k2 2 1
	// 2026-05-05 red/k1 2 1
}
