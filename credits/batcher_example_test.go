package credits_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/keytoll/keytoll/credits"
)

// A thousand requests of one customer debit at once. Those that wait share the
// updates of the store; each has its own receipt.
func ExampleBatcher() {
	ctx := context.Background()
	batcher, err := credits.NewBatcher(credits.NewMemoryStore(nil), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	ledger, err := credits.NewLedger(batcher, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := ledger.Grant(ctx, credits.Grant{Account: "acme", ID: "invoice-17", Amount: 900 * credits.Credit}); err != nil {
		fmt.Println(err)
		return
	}
	var mu sync.Mutex
	paid, denied := 0, 0
	var requests sync.WaitGroup
	for i := range 1000 {
		requests.Go(func() {
			id := credits.OpID(fmt.Sprintf("request-%d", i))
			_, err := ledger.Debit(ctx, credits.Debit{Account: "acme", ID: id, Amount: credits.Credit})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				paid++
			} else {
				denied++
			}
		})
	}
	requests.Wait()
	fmt.Println(paid, "paid,", denied, "denied")
	// Output: 900 paid, 100 denied
}
