package credits_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/keytoll/keytoll/credits"
)

// A busy service pays for its requests from memory. The journal brings everything
// back that was answered, should the process be killed.
func ExampleLessee() {
	ctx := context.Background()
	ledger, err := credits.NewLedger(credits.NewMemoryStore(nil), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := ledger.Grant(ctx, credits.Grant{Account: "acme", ID: "invoice-17", Amount: 1000 * credits.Credit}); err != nil {
		fmt.Println(err)
		return
	}
	folder, err := os.MkdirTemp("", "leases")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(folder) }()
	journal, err := credits.OpenLeaseJournal(filepath.Join(folder, "leases"), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	lessee, err := credits.NewLessee(ledger, &credits.LesseeOptions{Journal: journal})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 100 {
		// Without an ID, the lessee makes one. Only the first few go to the store.
		if _, err := lessee.Debit(ctx, credits.Debit{Account: "acme", Amount: 2 * credits.Credit, Key: "key-1", Operation: "image"}); err != nil {
			fmt.Println(err)
			return
		}
	}
	if err := lessee.Close(ctx); err != nil {
		fmt.Println(err)
		return
	}
	if err := journal.Close(); err != nil {
		fmt.Println(err)
		return
	}
	balance, err := ledger.Balance(ctx, "acme")
	fmt.Println(balance.Consumed, balance.Available, balance.Leased, err)
	// Output: 200 800 0 <nil>
}
