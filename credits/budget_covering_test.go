package credits_test

import (
	"slices"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
)

func TestBudgetsCoveringAreThoseThatAHoldCountsAgainst(t *testing.T) {
	now := time.Date(2026, 3, 31, 12, 0, 0, 0, time.UTC)
	ledger, err := credits.NewLedger(credits.NewMemoryStore(&credits.MemoryOptions{Now: func() time.Time { return now }}), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range []credits.Budget{
		{ID: "all", Every: credits.Month},
		{ID: "images", Operation: "image"},
		{ID: "k1", Key: "k1", Every: credits.Month},
		{ID: "k1-audio", Key: "k1", Operation: "audio"},
		{ID: "k1-images", Key: "k1", Operation: "image"},
		{ID: "k10", Key: "k10"},
		{ID: "k2", Key: "k2"},
		{ID: "team", Key: "team"},
		{ID: "team-k1", Key: "team/k1"},
	} {
		b.Account, b.Amount = "acme", 10*credits.Credit
		if _, err := ledger.SetBudget(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ledger.Grant(t.Context(), credits.Grant{Account: "acme", ID: "g", Amount: 5 * credits.Credit}); err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.Debit(t.Context(), credits.Debit{Account: "acme", ID: "d", Amount: 2 * credits.Credit, Key: "k1", Operation: "image"}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		account        credits.AccountID
		key, operation string
		want           []credits.BudgetID
	}{
		{"acme", "k1", "", []credits.BudgetID{"all", "k1"}},
		{"acme", "k1", "image", []credits.BudgetID{"all", "images", "k1", "k1-images"}},
		{"acme", "team/k1", "", []credits.BudgetID{"all", "team", "team-k1"}},
		{"acme", "", "", []credits.BudgetID{"all"}},
		{"other", "k1", "", nil},
	} {
		list, err := ledger.BudgetsCovering(t.Context(), tt.account, tt.key, tt.operation)
		var got []credits.BudgetID
		for _, b := range list {
			got = append(got, b.ID)
			if spent := tt.key == "k1" && b.Used == 2*credits.Credit; tt.key == "k1" && !spent {
				t.Errorf("%s has used %v", b.ID, b.Used)
			}
		}
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s %q %q: %q, %v; want %q", tt.account, tt.key, tt.operation, got, err, tt.want)
		}
	}
	now = now.Add(24 * time.Hour) // a new month
	list, err := ledger.BudgetsCovering(t.Context(), "acme", "k1", "")
	if err != nil || len(list) != 2 || list[1].Used != 0 || !list[1].End.Equal(time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("in a new month: %+v, %v", list, err)
	}
	if _, err := ledger.BudgetsCovering(t.Context(), "", "k1", ""); errors.CodeOf(err) != errors.Invalid {
		t.Errorf("of no account: %v", err)
	}
}
