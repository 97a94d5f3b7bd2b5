package sqlitestore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	kerrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/stores/sqlitestore"
)

// lived returns a file in which a key and an account have done everything once.
func lived(t *testing.T) *sqlitestore.DB {
	t.Helper()
	db := open(t, nil)
	ledger, err := credits.NewLedger(db.Credits(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	check := func(_ credits.Receipt, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(ledger.Grant(ctx, credits.Grant{Account: "a", ID: "grant", Amount: 100, ExpiresAt: time.Now().Add(time.Hour)}))
	check(ledger.Debit(ctx, credits.Debit{Account: "a", ID: "debit", Amount: 10}))
	check(ledger.Hold(ctx, credits.Hold{Account: "a", ID: "open", Amount: 10}))
	check(ledger.Hold(ctx, credits.Hold{Account: "a", ID: "ended", Amount: 10}))
	check(ledger.Capture(ctx, credits.Capture{Account: "a", Hold: "ended", Amount: 5}))
	check(ledger.Refund(ctx, credits.Refund{Account: "a", ID: "refund", Of: "debit", All: true}))
	if err := db.Keys().Apply(ctx, apikey.Change{Insert: []apikey.Record{keyRecord("one"), keyRecord("two")}}); err != nil {
		t.Fatal(err)
	}
	return db
}

func TestTheFileRefusesWhatBreaksAPromise(t *testing.T) {
	db := lived(t)
	for name, statement := range map[string]string{
		"a handle twice":               `UPDATE keys SET handle = 'handle-one' WHERE id = 'two'`,
		"an ID twice":                  `UPDATE keys SET id = 'one' WHERE id = 'two'`,
		"a state nobody knows":         `UPDATE keys SET state = 'unknown' WHERE id = 'one'`,
		"a digest cut short":           `UPDATE keys SET digest = x'00' WHERE id = 'one'`,
		"a key version below 1":        `UPDATE keys SET version = 0 WHERE id = 'one'`,
		"text for an instant":          `UPDATE keys SET created_at = 'now' WHERE id = 'one'`,
		"a negative balance":           `UPDATE accounts SET available = -1, consumed = consumed + available + 1`,
		"an account that is no sum":    `UPDATE accounts SET available = available + 1`,
		"a negative lot":               `UPDATE lots SET available = -1, consumed = consumed + available + 1`,
		"a lot that is no sum":         `UPDATE lots SET consumed = consumed + 1`,
		"a fraction of a credit":       `UPDATE lots SET available = available + 0.5`,
		"a lot of no account":          `UPDATE lots SET account = 'nobody'`,
		"a lot gone":                   `DELETE FROM lots`,
		"an account gone":              `DELETE FROM accounts`,
		"an op id twice":               `UPDATE ops SET id = 'grant' WHERE id = 'debit'`,
		"an op of a kind nobody knows": `UPDATE ops SET kind = 99 WHERE id = 'debit'`,
		"a debit that is a hold":       `UPDATE ops SET hold = 1 WHERE id = 'debit'`,
		"a hold that ends twice":       `UPDATE ops SET hold = 3 WHERE id = 'ended'`,
		"a hold that opens again":      `UPDATE ops SET hold = 1, settled_at = NULL WHERE id = 'ended'`,
		"an end without an instant":    `UPDATE ops SET hold = 2, due = NULL WHERE id = 'open'`,
		"an op gone":                   `DELETE FROM ops WHERE id = 'refund'`,
		"an entry changed":             `UPDATE entries SET amount = amount + 1`,
		"an entry gone":                `DELETE FROM entries WHERE seq = 1`,
		"an entry twice":               `INSERT INTO entries SELECT * FROM entries WHERE seq = 1`,
		"an entry of no lot":           `INSERT INTO entries SELECT account, 1000, at, kind, op, 77, from_bucket, to_bucket, amount, key, operation FROM entries WHERE seq = 1`,
		"an entry of nothing":          `INSERT INTO entries SELECT account, 1000, at, kind, op, lot, from_bucket, to_bucket, 0, key, operation FROM entries WHERE seq = 1`,
		"two schema versions":          `INSERT INTO schema_version (id, version) VALUES (2, 1)`,
	} {
		t.Run(name, func(t *testing.T) {
			err := db.Write(t.Context(), func(exec sqlitestore.Exec) error { return exec(statement) })
			wantCode(t, err, kerrors.Corrupt)
		})
	}
}

func TestEveryQueryUsesAnIndex(t *testing.T) {
	db := open(t, nil)
	for _, query := range sqlitestore.Queries() {
		plan, err := db.Plan(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(plan, "; ")
		if strings.Contains(got, "TEMP B-TREE") || strings.Contains(got, "SCAN") && !strings.Contains(got, "CONSTANT ROW") {
			t.Errorf("%s\nreads everything: %s", query, got)
		}
	}
}
