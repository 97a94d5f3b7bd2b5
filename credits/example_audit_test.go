package credits_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// spent is a ledger with a promotion, a purchase, and a request paid from both.
func spent(ctx context.Context, now func() time.Time) (*credits.Ledger, error) {
	ledger, err := credits.NewLedger(credits.NewMemoryStore(&credits.MemoryOptions{Now: now}), nil)
	if err != nil {
		return nil, err
	}
	for _, g := range []credits.Grant{
		{ID: "invoice-17", Amount: 100 * credits.Credit},
		{ID: "welcome", Amount: 10 * credits.Credit, Category: credits.Promo, ExpiresAt: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)},
	} {
		g.Account = "acme"
		if _, err := ledger.Grant(ctx, g); err != nil {
			return nil, err
		}
	}
	_, err = ledger.Debit(ctx, credits.Debit{Account: "acme", ID: "request-1", Amount: 12 * credits.Credit, Key: "key_1", Operation: "image", Price: "v3"})
	return ledger, err
}

// Finance asks why a customer's request was paid as it was.
func ExampleLedger_Explain() {
	ctx := context.Background()
	now := time.Date(2026, 1, 15, 9, 0, 0, 0, time.UTC)
	ledger, err := spent(ctx, func() time.Time { return now })
	if err != nil {
		fmt.Println(err)
		return
	}
	x, err := ledger.Explain(ctx, "acme", "request-1")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(x)
	// Output:
	// debit request-1 of account acme, 2026-01-15T09:00:00Z: 12 credits, key key_1, operation image, price v3
	// from lot 2 (promo, made by welcome, expires 2026-02-01T00:00:00Z): 10; before lot 1, because it expires, and the other never does
	// then lot 1 (paid, made by invoice-17): 2
	// entry 3, 2026-01-15T09:00:00Z, debit: 10 of lot 2, available -> consumed
	// entry 4, 2026-01-15T09:00:00Z, debit: 2 of lot 1, available -> consumed
}

// The journal of a month as a file for a spreadsheet.
func ExampleLedger_WriteCSV() {
	ctx := context.Background()
	now := time.Date(2026, 1, 15, 9, 0, 0, 0, time.UTC)
	ledger, err := spent(ctx, func() time.Time { return now })
	if err != nil {
		fmt.Println(err)
		return
	}
	var file strings.Builder // or a file, or the answer to a request
	n, err := ledger.WriteCSV(ctx, &file, credits.Query{
		Account: "acme", From: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC),
	})
	fmt.Print(strings.ReplaceAll(file.String(), "\r\n", "\n"))
	fmt.Println(n, err)
	// Output:
	// account,seq,at,kind,op,lot,from,to,amount,key,operation,price,hash
	// acme,1,2026-01-15T09:00:00.000000Z,grant,invoice-17,1,issued,available,100,,,,9d3ca4e2008fc312ebd51afcd3aeebf4b12b428ee877b94cf0a6f96594476d9f
	// acme,2,2026-01-15T09:00:00.000000Z,grant,welcome,2,issued,available,10,,,,aa0748e8b1cd2631573814efe24f93707430a7f032ac47ca36748bd01337e53a
	// acme,3,2026-01-15T09:00:00.000000Z,debit,request-1,2,available,consumed,10,key_1,image,v3,868dcc342584713bc9c3fa61318acc50e00fbcbea1ad2158b7c514b0bf6e496a
	// acme,4,2026-01-15T09:00:00.000000Z,debit,request-1,1,available,consumed,2,key_1,image,v3,a9ca69bd5366597ed3c8479d7caf1f1aafd40ad93328abe2798297b44a9ff18a
	// 4 <nil>
}

// A statement that its reader can check without the ledger.
func ExampleVerifyStatement() {
	ctx := context.Background()
	now := time.Date(2026, 1, 15, 9, 0, 0, 0, time.UTC)
	ledger, err := spent(ctx, func() time.Time { return now })
	if err != nil {
		fmt.Println(err)
		return
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	sealer, err := credits.NewSealer("2026", private)
	if err != nil {
		fmt.Println(err)
		return
	}
	// Once a month: the seal is published, the tree is kept.
	now = time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	tree, err := ledger.Seal(ctx, sealer)
	if err != nil {
		fmt.Println(err)
		return
	}
	published := tree.Seal().Root
	// For each customer who asks:
	statement, err := ledger.Statement(ctx, sealer, tree, credits.StatementQuery{
		Account: "acme", From: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), To: now,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := json.Marshal(statement)
	if err != nil {
		fmt.Println(err)
		return
	}

	// The customer, with the public key and the published root:
	key, err := credits.NewSealKey("2026", public)
	if err != nil {
		fmt.Println(err)
		return
	}
	read, err := credits.ParseStatement(text)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(credits.VerifyStatement(read, key), read.Seal.Root == published)
	fmt.Println("opening", read.Opening.Available, "closing", read.Closing.Available, "entries", len(read.Period()))

	read.Entries[0].Amount++ // somebody who would rather have been granted more
	fmt.Println(errors.Is(credits.VerifyStatement(read, key), credits.ErrUnproven))
	// Output:
	// <nil> true
	// opening 0 closing 98 entries 4
	// true
}
