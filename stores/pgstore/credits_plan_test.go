package pgstore_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/stores/pgstore"
)

// history gives an account so many debits of the past, and lots, half of them spent.
// They are of UUIDs of version 7, so that all can be pruned.
const history = `
	INSERT INTO keytoll.entries SELECT $1::text, n + 100, n, 7, 3, 5, 'op', 1, 1, 'key', 'image', '', sha256('') FROM generate_series(1, $2::int) n;
	INSERT INTO keytoll.ops SELECT $1::text, format('0190b5c0-%s-7000-8000-%s', to_char(n % 10000, 'FM0000'), to_char(n, 'FM000000000000')), 7, 0, sha256(''), n, 1, '',
		'1:1:1:0:0', '', '', '0:0:0:0:0:0:0:0:0', n, 'key', 'image', '', '', 0, NULL, NULL, 0, 0, 0, '', NULL, n FROM generate_series(1, $2::int) n;
	INSERT INTO keytoll.lots (account, id, op, schedule, priority, category, operations, effective_at, expires_at, pruned,
			issued, pending, available, held, leased, consumed, expired, suspense, debt, rank, due)
		SELECT $1::text, n + 1000, 'op', '', 0, 0, '', 0, NULL, 0, 1, 0, 1 - n % 2, 0, 0, n % 2, 0, 0, 0, substring(sha256(n::text::bytea) FOR 28), NULL FROM generate_series(1, $2::int) n;`

// touched returns how many pages of the database a statement looks at, and those
// that it calls.
func touched(t *testing.T, tx pgx.Tx, statement string) int64 {
	t.Helper()
	var text []byte
	if err := tx.QueryRow(t.Context(), `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) `+statement).Scan(&text); err != nil {
		t.Fatal(err)
	}
	var plans []struct {
		Plan struct {
			Hit  int64 `json:"Shared Hit Blocks"`
			Read int64 `json:"Shared Read Blocks"`
		}
	}
	if err := json.Unmarshal(text, &plans); err != nil || len(plans) != 1 {
		t.Fatalf("%s: %v", text, err)
	}
	return plans[0].Plan.Hit + plans[0].Plan.Read
}

// What a command reads does not grow with what the account has done, and with its
// lots only as the depth of an index. It is counted in pages, which the weather
// does not change; and no table is read as a whole, also by plans that were made
// when it was small.
func TestReadingForACommandDoesNotGrow(t *testing.T) {
	const few, many = 1000, 30_000
	d := newDatabase(t, unsynced, func(c *pgxpool.Config) { c.MaxConns = 1 }) // which keeps the plans
	db := d.open(t)
	l := newLedger(t, db.Credits(nil))
	for _, table := range []string{"accounts", "lots", "ops", "entries", "budgets", "schedules"} {
		run(t, d.pool, pgstore.InSchema(db, "VACUUM ANALYZE keytoll."+table))
	}
	for account, n := range map[credits.AccountID]int{"few": few, "many": many} {
		grant(t, l, account, "grant", 1000)
		debit(t, l, account, "debit", 1)
		if _, err := l.Hold(t.Context(), credits.Hold{Account: account, ID: "hold", Amount: 1}); err != nil {
			t.Fatal(err)
		}
		for statement := range strings.SplitSeq(strings.TrimSuffix(history, ";"), ";") {
			run(t, d.pool, pgstore.InSchema(db, statement), string(account), n)
		}
	}
	// The arguments of one account, that has at most one of everything.
	read := func(account, op, target, spend, list string, limit int) string {
		of := func(what string) string {
			if what == "" {
				return "'{}'"
			}
			return "'{" + account + "}'"
		}
		args := []string{
			"NULL", of("it"), "'{NULL}'", fmt.Sprintf("'{%d}'", limit), "'{NULL}'", of(op), "'{" + op + "}'", of(target), "'{" + target + "}'",
			"'{}'", "'{}'", "'{}'", "'{}'", "'{}'", "'{}'", "'{}'",
		}
		if spend == "" {
			args = append(args, "'{}'", "'{}'", "'{}'")
		} else {
			args = append(args, of(spend), `'{""}'`, "'{"+spend+"}'")
		}
		if list == "" {
			args = append(args, "'{}'", "'{}'", "'{}'", "'{}'", "'{}'", "'{}'")
		} else {
			args = append(args, of(list), "'{"+list+"}'", `'{""}'`, "'{-1}'", "'{hold}'", "'{10}'")
		}
		return pgstore.InSchema(db, "SELECT * FROM keytoll.credits_read("+strings.Join(args, ", ")+")")
	}
	err := pgx.BeginFunc(t.Context(), d.pool, func(tx pgx.Tx) error {
		scans := func() (n int64) {
			err := tx.QueryRow(t.Context(), `SELECT sum(seq_scan) FROM pg_stat_xact_user_tables WHERE schemaname = $1`, db.Schema()).Scan(&n)
			if err != nil {
				t.Error(err)
			}
			return n
		}
		for _, c := range []struct {
			what                       string
			ops, targets, spend, lists string
			limit                      int
		}{
			{"a balance", "", "", "", "", 0},
			{"a hold", "new", "", "5", "", 1000},
			{"a retry", "debit", "", "5", "", 1000},
			{"a capture", "", "hold", "", "", 1000},
			{"the open ops", "", "", "", "3", 0},
			{"the ops of a target", "", "", "", "4", 0},
			{"a page of lots", "", "", "", "1", 0},
			{"a page of ops", "", "", "", "2", 0},
		} {
			var pages [2]int64
			before := scans()
			for i, account := range []string{"few", "many"} {
				touched(t, tx, read(account, c.ops, c.targets, c.spend, c.lists, c.limit)) // which plans, and reads the catalog
				pages[i] = touched(t, tx, read(account, c.ops, c.targets, c.spend, c.lists, c.limit))
			}
			if n := scans() - before; n != 0 {
				t.Errorf("%s reads %d whole tables", c.what, n)
			}
			// An index of 30 times as many rows may be a page deeper.
			if most := pages[0] + 12; pages[1] > most || pages[0] == 0 {
				t.Errorf("%s looks at %d pages after %d ops and %d after %d; want at most %d", c.what, pages[0], few, pages[1], many, most)
			}
			t.Logf("%s: %d pages, and %d", c.what, pages[0], pages[1])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
