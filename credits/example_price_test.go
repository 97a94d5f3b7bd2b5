package credits_test

import (
	"context"
	"fmt"

	"github.com/keytoll/keytoll/credits"
)

// A chat model costs by the million tokens in and out. The quote goes into the
// hold, and what the work really took is quoted again for the capture.
func ExamplePriceTable() {
	ctx := context.Background()
	prices, err := credits.NewPriceTable("2026-05", map[string]credits.Rates{
		"image": {"image": {Amount: 5 * credits.Credit, Per: 1}},
		"chat": {
			"input":  {Amount: 3 * credits.Credit, Per: 1_000_000},
			"output": {Amount: 15 * credits.Credit, Per: 1_000_000},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ledger, err := credits.NewLedger(credits.NewMemoryStore(nil), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := ledger.Grant(ctx, credits.Grant{Account: "acme", ID: "invoice-17", Amount: 10 * credits.Credit}); err != nil {
		fmt.Println(err)
		return
	}

	most, err := prices.Quote("chat", credits.Units{"input": 1200, "output": 4096})
	if err != nil {
		fmt.Println(err)
		return
	}
	hold, err := ledger.Hold(ctx, credits.Hold{
		Account: "acme", ID: "request-1", Amount: most.Amount, Operation: most.Operation, Price: most.Price,
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	took, err := prices.Quote("chat", credits.Units{"input": 1200, "output": 350})
	if err != nil {
		fmt.Println(err)
		return
	}
	captured, err := ledger.Capture(ctx, credits.Capture{Account: "acme", Hold: hold.Op, Amount: took.Amount})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("held %v, charged %v by prices %s\n", hold.Amount, captured.Amount, took.Price)
	_, err = prices.Quote("video", credits.Units{"second": 3})
	fmt.Println(err)
	// Output:
	// held 0.06504, charged 0.00885 by prices 2026-05
	// credits.PriceTable.Quote: operation "video" has no rates in price table "2026-05"; give one of its operations
}
