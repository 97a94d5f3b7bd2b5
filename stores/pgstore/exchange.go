package pgstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// An exchange is statements that are sent together: one round trip, however many
// there are. When one fails, those after it are not run. Arguments are given and
// results come in binary form.
type exchange struct {
	conn  *pgx.Conn
	keep  bool // statements stay prepared
	batch pgconn.Batch
}

// binaryForm is the form of all arguments, or of all columns.
func binaryForm() []int16 { return []int16{pgtype.BinaryFormatCode} }

// newExchange returns one that asks on conn.
func (db *DB) newExchange(conn *pgx.Conn) *exchange {
	return &exchange{conn: conn, keep: db.mode == pgx.QueryExecModeCacheStatement}
}

// newExchangeIn returns one that asks in a transaction of the caller's, whose
// connection may be set otherwise than those of the pool.
func (db *DB) newExchangeIn(tx pgx.Tx) *exchange {
	x := db.newExchange(tx.Conn())
	if x.keep {
		mode, _ := modes(x.conn.Config())
		x.keep = mode == pgx.QueryExecModeCacheStatement
	}
	return x
}

// say adds a statement without arguments and rows, which is not prepared.
func (x *exchange) say(statement string) { x.batch.ExecParams(statement, nil, nil, nil, nil) }

// ask adds a statement. The first time on a connection, where statements stay
// prepared, it is another round trip.
func (x *exchange) ask(ctx context.Context, statement string, arguments ...[]byte) error {
	if !x.keep {
		x.batch.ExecParams(statement, arguments, nil, binaryForm(), binaryForm())
		return nil
	}
	prepared, err := x.conn.Prepare(ctx, statement, statement)
	if err != nil {
		return err
	}
	x.batch.ExecStatement(prepared, arguments, binaryForm(), binaryForm())
	return nil
}

// send sends what was added and gives each row to scan, with the number of its
// statement. Columns are only good until scan returns. The exchange is then empty.
func (x *exchange) send(ctx context.Context, scan func(statement int, columns [][]byte) error) error {
	results := x.conn.PgConn().ExecBatch(ctx, &x.batch)
	x.batch = pgconn.Batch{}
	var failed error
	for n := 0; results.NextResult(); n++ {
		for rows := results.ResultReader(); rows.NextRow(); {
			if failed == nil && scan != nil {
				failed = scan(n, rows.Values())
			}
		}
	}
	if err := results.Close(); err != nil {
		return err
	}
	return failed
}

// undo ends a transaction without a trace, whatever has become of the caller's
// context. A connection on which that fails is one that the pool does not keep.
func (x *exchange) undo(ctx context.Context) {
	const patience = time.Second // it waits for nobody
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	x.batch = pgconn.Batch{}
	if unusable := x.conn.IsClosed(); !unusable {
		x.say(`ROLLBACK`)
		_ = x.send(ctx, nil)
	}
}
