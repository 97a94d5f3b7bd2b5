package benchcmp_test

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/stores/sqlitestore"
)

// sqliteLedgers are ways to take credits in one SQLite file with a write-ahead
// log, flushed at each commit (synchronous FULL). On is the file's folder.
var sqliteLedgers = [...]ledgerPeer[string]{
	{"commit-each", commitEach},
	{"keytoll", keytollSQLite},
	{"keytoll-batched", keytollBatchedSQLite},
}

// commitEach is one writer that commits each debit by itself: BEGIN IMMEDIATE, a
// guarded UPDATE, an INSERT, COMMIT.
func commitEach(tb testing.TB, dir string, n int, amount int64) bank {
	tb.Helper()
	source := url.URL{Scheme: "file", Path: filepath.Join(dir, "bank.db"), RawQuery: url.Values{
		"_journal_mode": {"WAL"}, "_synchronous": {"FULL"}, "_txlock": {"immediate"},
	}.Encode()}
	db, err := sql.Open("sqlite", source.String())
	must(tb, err)
	db.SetMaxOpenConns(1)
	tb.Cleanup(func() { _ = db.Close() })
	_, err = db.ExecContext(tb.Context(), `CREATE TABLE bank (id TEXT PRIMARY KEY, balance INTEGER NOT NULL CHECK (balance >= 0)) STRICT, WITHOUT ROWID;
		CREATE TABLE entries (id INTEGER PRIMARY KEY, account TEXT NOT NULL, op TEXT NOT NULL, amount INTEGER NOT NULL, operation TEXT NOT NULL) STRICT;
		BEGIN`)
	must(tb, err)
	for i := range n {
		_, err := db.ExecContext(tb.Context(), "INSERT INTO bank VALUES (?, ?)", accountName(i), amount)
		must(tb, err)
	}
	_, err = db.ExecContext(tb.Context(), "COMMIT")
	must(tb, err)
	update, err := db.PrepareContext(tb.Context(), "UPDATE bank SET balance = balance - ? WHERE id = ? AND balance >= ?")
	must(tb, err)
	insert, err := db.PrepareContext(tb.Context(), "INSERT INTO entries (account, op, amount, operation) VALUES (?, ?, ?, 'image')")
	must(tb, err)
	var writer sync.Mutex
	var ids atomic.Int64
	return bank{
		spend: func(ctx context.Context, account int) (ok bool, err error) {
			writer.Lock()
			defer writer.Unlock()
			tx, err := db.BeginTx(ctx, nil)
			if err != nil {
				return false, err
			}
			defer func() { err = errors.Join(err, end(tx, ok)) }()
			done, err := tx.StmtContext(ctx, update).ExecContext(ctx, 1, accountName(account), 1)
			if err != nil {
				return false, err
			}
			if rows, err := done.RowsAffected(); err != nil || rows == 0 {
				return false, err
			}
			_, err = tx.StmtContext(ctx, insert).ExecContext(ctx, accountName(account), "request-"+strconv.FormatInt(ids.Add(1), 10), 1)
			return err == nil, err
		},
		left: func(ctx context.Context) (sum int64, err error) {
			err = db.QueryRowContext(ctx, "SELECT sum(balance) FROM bank").Scan(&sum)
			return sum, err
		},
	}
}

func end(tx *sql.Tx, commit bool) error {
	if commit {
		return tx.Commit()
	}
	return tx.Rollback()
}

func keytollSQLite(tb testing.TB, dir string, n int, amount int64) bank {
	tb.Helper()
	return ledgerBank(tb, sqliteStore(tb, dir), n, amount)
}

func keytollBatchedSQLite(tb testing.TB, dir string, n int, amount int64) bank {
	tb.Helper()
	return ledgerBank(tb, batched(tb, sqliteStore(tb, dir)), n, amount)
}

func sqliteStore(tb testing.TB, dir string) credits.Store {
	tb.Helper()
	db, err := sqlitestore.Open(filepath.Join(dir, "ledger.db"), nil)
	must(tb, err)
	tb.Cleanup(func() { _ = db.Close(context.Background()) })
	must(tb, db.Migrate(tb.Context()))
	return db.Credits()
}
