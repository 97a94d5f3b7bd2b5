package sqlitestore

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"modernc.org/sqlite"

	"github.com/keytoll/keytoll/errors"
)

// A session is one connection and the statements prepared on it. It belongs to
// one goroutine at a time. Its errors are coded (see fault).
type session struct {
	db      *sql.DB   // of this one connection; nil in a transaction of the host's
	conn    *sql.Conn // likewise
	prepare func(ctx context.Context, text string) (*sql.Stmt, error)
	stmts   map[string]*sql.Stmt // by their text
	bulks   map[string][]string  // of an INSERT of one row, those of many, see insert
}

// openSession connects to path, waiting up to o.BusyTimeout for another
// process that is just setting the file up.
func openSession(ctx context.Context, path string, o Options, readOnly bool) (*session, error) {
	connector, err := sqlite.NewConnector(dataSource(path, o, readOnly))
	if err != nil {
		return nil, fault(ctx, err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1)
	var conn *sql.Conn
	err = retryBusy(ctx, o.BusyTimeout, func() error {
		var err error
		conn, err = db.Conn(ctx)
		return fault(ctx, err)
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s := &session{db: db, conn: conn, prepare: conn.PrepareContext, stmts: make(map[string]*sql.Stmt), bulks: make(map[string][]string)}
	var mode string
	if err := s.row(ctx, "PRAGMA journal_mode", nil, &mode); err != nil {
		return nil, errors.Join(err, s.close())
	}
	if mode != "wal" {
		err := &errors.Error{Code: errors.Unavailable, Msg: "the database cannot use a write-ahead log",
			Err: fmt.Errorf("journal mode is %q; put the file on a local file system", mode)}
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// dataSource is the driver's name for the file. The path is escaped whole, so
// that no character of it reads as the start of a query or of a fragment.
func dataSource(path string, o Options, readOnly bool) string {
	q := url.Values{
		"mode":          {"rw"}, // Open has made the file
		"_busy_timeout": {strconv.FormatInt(o.BusyTimeout.Milliseconds(), 10)},
		"_foreign_keys": {"1"},
		"_synchronous":  {"FULL"},
		"_dqs":          {"0"}, // "x" is a name, never a string
		"_defensive":    {"1"},
		"_error_rc":     {"1"},
		"_pragma":       {"trusted_schema(0)"},
	}
	if o.Synchronous == Normal {
		q.Set("_synchronous", "NORMAL")
	}
	if readOnly {
		q.Set("_query_only", "1")
	} else {
		q.Set("_journal_mode", "WAL")
	}
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // C:/folder is /C:/folder in a URI
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
}

// stmt returns the prepared statement of that text. Where SQLite could plan for
// the value of a bare parameter, as after LIMIT or in a comparison that a partial
// index might fit, it prepares the statement anew whenever that is bound, which
// takes longer than most queries; +? has no value to plan for.
func (s *session) stmt(ctx context.Context, text string) (*sql.Stmt, error) {
	if st := s.stmts[text]; st != nil {
		return st, nil
	}
	st, err := s.prepare(ctx, text)
	if err != nil {
		return nil, fault(ctx, err)
	}
	s.stmts[text] = st
	return st, nil
}

// exec runs a statement that returns no rows.
func (s *session) exec(ctx context.Context, text string, args ...any) error {
	_, err := s.change(ctx, text, args...)
	return err
}

// change runs a statement and returns how many rows it touched.
func (s *session) change(ctx context.Context, text string, args ...any) (int64, error) {
	st, err := s.stmt(ctx, text)
	if err != nil {
		return 0, err
	}
	res, err := st.ExecContext(ctx, args...)
	if err != nil {
		return 0, fault(ctx, err)
	}
	n, err := res.RowsAffected()
	return n, fault(ctx, err)
}

// bulk is how many rows one statement inserts, the most first.
var bulk = [...]int{64, 8}

// insert runs an INSERT of one row, which ends in its parameters, for each of the
// rows whose values are args: many at a time, because a statement costs more than
// a row.
func (s *session) insert(ctx context.Context, text string, columns int, args []any) error {
	many := s.bulks[text]
	if many == nil {
		row := ", (" + strings.Repeat("?, ", columns-1) + "?)"
		for _, rows := range bulk {
			many = append(many, text+strings.Repeat(row, rows-1))
		}
		s.bulks[text] = many
	}
	for i, rows := range bulk {
		for n := rows * columns; len(args) >= n; args = args[n:] {
			if err := s.exec(ctx, many[i], args[:n]...); err != nil {
				return err
			}
		}
	}
	for ; len(args) > 0; args = args[columns:] {
		if err := s.exec(ctx, text, args[:columns]...); err != nil {
			return err
		}
	}
	return nil
}

// replace runs an UPDATE of one row, which must be there.
func (s *session) replace(ctx context.Context, text string, args ...any) error {
	n, err := s.change(ctx, text, args...)
	if err == nil && n != 1 {
		return &errors.Error{Code: errors.Corrupt, Msg: "a row that was read before is not as it was",
			Err: fmt.Errorf("%d rows instead of one: %s", n, text)}
	}
	return err
}

// row reads the one row of a query into dest. No row is sql.ErrNoRows, bare.
func (s *session) row(ctx context.Context, text string, args []any, dest ...any) error {
	st, err := s.stmt(ctx, text)
	if err != nil {
		return err
	}
	err = st.QueryRowContext(ctx, args...).Scan(dest...)
	if err == sql.ErrNoRows { //nolint:errorlint // passed on bare, on purpose
		return err
	}
	return fault(ctx, err)
}

// errEnough, returned by a function given to rows, ends the query early.
var errEnough error = &errors.Error{Msg: "no more rows are wanted"}

// rows calls each for every row of a query, until it returns an error.
func (s *session) rows(ctx context.Context, text string, args []any, each func(*sql.Rows) error) error {
	st, err := s.stmt(ctx, text)
	if err != nil {
		return err
	}
	rows, err := st.QueryContext(ctx, args...)
	if err != nil {
		return fault(ctx, err)
	}
	defer func() { _ = rows.Close() }() // when each panics; else it is closed by then
	for rows.Next() {
		if err := each(rows); err != nil {
			if closed := rows.Close(); err == errEnough { //nolint:errorlint // made here, never wrapped
				return fault(ctx, closed)
			}
			return err
		}
	}
	return fault(ctx, errors.Join(rows.Err(), rows.Close()))
}

// texts calls each for every row of a query of one column.
func (s *session) texts(ctx context.Context, text string, args []any, each func(text string) error) error {
	return s.rows(ctx, text, args, func(rows *sql.Rows) error {
		var column string
		if err := rows.Scan(&column); err != nil {
			return fault(ctx, err)
		}
		return each(column)
	})
}

// snapshot runs fn with everything it reads at one instant.
func (s *session) snapshot(ctx context.Context, fn func(*session) error) error {
	// An interrupted BEGIN may have begun, so neither end is interrupted.
	ends := context.WithoutCancel(ctx)
	if err := s.exec(ends, "BEGIN"); err != nil {
		return err
	}
	err := fn(s)
	if ended := s.exec(ends, "ROLLBACK"); err == nil {
		err = ended
	}
	return err
}

// script runs several statements at once, unprepared.
func (s *session) script(ctx context.Context, text string) error {
	_, err := s.conn.ExecContext(ctx, text)
	return fault(ctx, err)
}

// forget releases the statements.
func (s *session) forget() error {
	var errs []error
	for _, st := range s.stmts {
		errs = append(errs, st.Close())
	}
	clear(s.stmts)
	return errors.Join(errs...)
}

// close releases statements and connection.
func (s *session) close() error {
	return fault(background(), errors.Join(s.forget(), s.conn.Close(), s.db.Close()))
}

// background is the context of work that is no single caller's: a transaction
// of many writes, and the end of a connection.
func background() context.Context {
	return context.Background() //nolint:forbidigo // no caller's context may end what others wait for
}

// retryBusy calls try until it does not fail because of another process, for
// at most the given time. It is the one place that waits for other processes.
func retryBusy(ctx context.Context, limit time.Duration, try func() error) error {
	err := try()
	if !isBusy(err) {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for isBusy(err) {
		if sleep(wait, busyPause) != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		}
		err = try()
	}
	return err
}

// busyPause is short because a process in full swing leaves the file unlocked
// only for moments: SQLite's own pauses, up to 100 ms, would rarely meet one.
const busyPause = time.Millisecond

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d) //nolint:forbidigo // another process gives no signal; this is the one place that waits for it
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
