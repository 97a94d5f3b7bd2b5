package pgstore_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/stores/pgstore"
)

// history gives an account so many debits of the past, lots of which half are
// spent, and budgets. The debits are of UUIDs of version 7.
const history = `
	INSERT INTO keytoll.entries SELECT $1::text, n + 10000, n, 7, 3, 5, 'op', 1, 1, 'key', 'image', '', sha256('') FROM generate_series(1, $2::int) n;
	INSERT INTO keytoll.ops SELECT $1::text, format('0190b5c0-%s-7000-8000-%s', to_char(n % 10000, 'FM0000'), to_char(n, 'FM000000000000')), 7, 0, sha256(''), n, 1, '',
		'1:1:1:0:0', '', '', '0:0:0:0:0:0:0:0:0', n, 'key', 'image', '', '', 0, NULL, NULL, 0, 0, 0, '', NULL, n FROM generate_series(1, $2::int) n;
	INSERT INTO keytoll.lots (account, id, op, schedule, priority, category, operations, effective_at, expires_at, pruned,
			issued, pending, available, held, leased, consumed, expired, suspense, debt, rank, due)
		SELECT $1::text, n + 10000, 'op', '', 0, 0, '', 0, NULL, 0, 1, 0, 1 - n % 2, 0, 0, n % 2, 0, 0, 0, substring(sha256(n::text::bytea) FOR 28), NULL
		FROM generate_series(1, $2::int) n;
	INSERT INTO keytoll.budgets SELECT $1::text, 'old' || n, 'key' || n, '', 5, 0, '', false, '', NULL, NULL, 0, 0, 0, 0 FROM generate_series(1, $2::int / 10) n;
	UPDATE keytoll.accounts SET budgets = $2::int / 10, issued = issued + $2::int, available = available + $2::int - $2::int / 2, consumed = consumed + $2::int / 2
		WHERE id = $1::text`

// What a command costs does not grow with what the account has done, and with
// its lots and budgets only as the depth of an index. It is counted in the pages
// of tables and indexes that the server looks at, which no weather changes, with
// plans that were made when the tables were empty and are kept.
func TestWhatACommandCostsDoesNotGrow(t *testing.T) {
	const few, many = 1000, 20_000
	d := newDatabase(t, unsynced, func(c *pgxpool.Config) { c.MaxConns = 1 }) // which keeps the plans
	db := d.open(t)
	l := newLedger(t, db.Credits(nil))
	for _, table := range []string{"accounts", "lots", "ops", "entries", "budgets", "schedules"} {
		run(t, d.pool, pgstore.InSchema(db, `ALTER TABLE keytoll.`+table+` SET (autovacuum_enabled = off)`))
		run(t, d.pool, pgstore.InSchema(db, "VACUUM ANALYZE keytoll."+table))
	}
	ctx := t.Context()
	n := 0
	id := func() credits.OpID { n++; return credits.OpID(fmt.Sprint("op ", n)) }
	var held, spent credits.OpID // by the commands before
	commands := []struct {
		what string
		do   func(account credits.AccountID) error
	}{
		{"a grant", func(a credits.AccountID) error {
			_, err := l.Grant(ctx, credits.Grant{Account: a, ID: id(), Amount: 10, Priority: -5, ExpiresAt: time.Now().Add(time.Hour)})
			return err
		}},
		{"a budget", func(a credits.AccountID) error {
			_, err := l.SetBudget(ctx, credits.Budget{Account: a, ID: "b", Key: "red", Amount: 1000})
			return err
		}},
		{"a hold", func(a credits.AccountID) error {
			held = id()
			_, err := l.Hold(ctx, credits.Hold{Account: a, ID: held, Amount: 2, Key: "red/app", Operation: "image"})
			return err
		}},
		{"a capture", func(a credits.AccountID) error {
			_, err := l.Capture(ctx, credits.Capture{Account: a, Hold: held, Amount: 1})
			return err
		}},
		{"a debit", func(a credits.AccountID) error {
			spent = id()
			_, err := l.Debit(ctx, credits.Debit{Account: a, ID: spent, Amount: 2, Key: "red/app", Operation: "image"})
			return err
		}},
		{"a retry", func(a credits.AccountID) error {
			_, err := l.Debit(ctx, credits.Debit{Account: a, ID: spent, Amount: 2, Key: "red/app", Operation: "image"})
			return err
		}},
		{"a refund", func(a credits.AccountID) error {
			_, err := l.Refund(ctx, credits.Refund{Account: a, ID: id(), Of: spent, All: true})
			return err
		}},
		{"a balance", func(a credits.AccountID) error { _, err := l.Balance(ctx, a); return err }},
		{"a page of entries", func(a credits.AccountID) error {
			_, err := l.Entries(ctx, credits.Query{Account: a, Newest: true, Limit: 10})
			return err
		}},
	}
	for _, kind := range []credits.Rows{credits.LotRows, credits.OpRows, credits.OpenRows, credits.TargetRows, credits.BudgetRows, credits.ScheduleRows} {
		commands = append(commands, struct {
			what string
			do   func(account credits.AccountID) error
		}{fmt.Sprint("a list of rows of kind ", kind), func(a credits.AccountID) error {
			list := credits.List{Rows: kind, Lot: -1, Target: spent, Limit: 5}
			return db.Credits(nil).View(ctx, []credits.Need{{Account: a, List: list}}, func(time.Time, []*credits.State) error { return nil })
		}})
	}
	for _, account := range []credits.AccountID{"plans", "few", "many"} {
		for range 7 { // the server keeps a plan after some
			for _, c := range commands {
				if err := c.do(account); err != nil {
					t.Fatalf("%s: %v", c.what, err)
				}
			}
		}
	}
	for account, n := range map[string]int{"few": few, "many": many} {
		for statement := range strings.SplitSeq(history, ";") {
			run(t, d.pool, pgstore.InSchema(db, statement), account, n)
		}
	}
	looked := func() (pages, scans int64) {
		run(t, d.pool, "SELECT pg_stat_force_next_flush()") // what the one connection did
		err := d.pool.QueryRow(ctx, `SELECT sum(heap_blks_read + heap_blks_hit + coalesce(idx_blks_read + idx_blks_hit, 0)), (SELECT sum(seq_scan) FROM pg_stat_user_tables WHERE schemaname = $1)
			FROM pg_statio_user_tables WHERE schemaname = $1`, db.Schema()).Scan(&pages, &scans)
		if err != nil {
			t.Fatal(err)
		}
		return pages, scans
	}
	cost := make(map[string][2]int64)
	for i, account := range []credits.AccountID{"few", "many", "few", "many"} { // what counts is the second time
		for _, c := range commands {
			before, scansBefore := looked()
			if err := c.do(account); err != nil {
				t.Fatalf("%s: %v", c.what, err)
			}
			after, scans := looked()
			if scans != scansBefore {
				t.Errorf("%s reads %d whole tables", c.what, scans-scansBefore)
			}
			pair := cost[c.what]
			pair[i%2] = after - before
			cost[c.what] = pair
		}
	}
	for _, c := range commands {
		pages := cost[c.what]
		// Each index may be a page deeper.
		if pages[1] > pages[0]+8 || pages[1] > 120 {
			t.Errorf("%s looks at %d pages after %d ops, and at %d after %d", c.what, pages[0], few, pages[1], many)
		}
		t.Logf("%s: %d pages, and %d", c.what, pages[0], pages[1])
	}
}
