// Package credits is a ledger of prepaid usage credits: grants that expire,
// holds that are captured or released, debits, refunds, and a double-entry
// journal that proves where each credit went.
//
//	ledger, err := credits.NewLedger(credits.NewMemoryStore(nil), nil)
//	...
//	_, err = ledger.Grant(ctx, credits.Grant{Account: "acme", ID: "invoice-17", Amount: 100 * credits.Credit})
//	hold, err := ledger.Hold(ctx, credits.Hold{Account: "acme", ID: "request-1", Amount: 5 * credits.Credit})
//	if errors.Is(err, credits.ErrInsufficient) {
//		// ask for payment
//	}
//	// ... do the work, then spend what it really cost; the rest goes back:
//	_, err = ledger.Capture(ctx, credits.Capture{Account: "acme", Hold: hold.Op, Amount: 3 * credits.Credit})
package credits
