package sqlitestore

import (
	"context"
	"database/sql"
	"regexp"
	"runtime"
	"strconv"

	"modernc.org/sqlite"

	"github.com/keytoll/keytoll/apikey"
)

// Exec runs one statement on a connection of the DB.
type Exec func(text string, args ...any) error

// Write queues fn as the stores queue their writes.
func (db *DB) Write(ctx context.Context, fn func(Exec) error) error {
	return db.write(ctx, func(s *session) error {
		return fn(func(text string, args ...any) error { return s.exec(context.WithoutCancel(ctx), text, args...) })
	})
}

// Int reads one number on a reading connection.
func (db *DB) Int(ctx context.Context, query string, args ...any) (n int64, err error) {
	err = db.read(ctx, func(s *session) error { return s.row(ctx, query, args, &n) })
	return n, err
}

// Plan returns how SQLite would run a query, a step a line.
func (db *DB) Plan(ctx context.Context, query string) (steps []string, err error) {
	parameters := 0
	for _, p := range regexp.MustCompile(`\?\d*`).FindAllString(query, -1) {
		if n, err := strconv.Atoi(p[1:]); err == nil {
			parameters = max(parameters, n)
		} else {
			parameters++
		}
	}
	args := make([]any, parameters) // all null
	err = db.read(ctx, func(s *session) error {
		return s.rows(ctx, "EXPLAIN QUERY PLAN "+query, args, func(rows *sql.Rows) error {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				return err
			}
			steps = append(steps, detail)
			return nil
		})
	})
	return steps, err
}

// Commits returns how many transactions were committed.
func (db *DB) Commits() int64 { return db.writer.commits.Load() }

// WaitQueued returns when n writes wait for their turn.
func (db *DB) WaitQueued(n int) {
	for {
		db.writer.mu.Lock()
		queued := len(db.writer.queue)
		db.writer.mu.Unlock()
		if queued >= n {
			return
		}
		runtime.Gosched()
	}
}

// OnCommit has fn decide, on the writer's connection, whether each commit fails.
// It must not run beside a write.
func (db *DB) OnCommit(fn func() (fail bool)) error {
	return db.writer.s.conn.Raw(func(c any) error {
		c.(sqlite.HookRegisterer).RegisterCommitHook(func() int32 {
			if fn() {
				return 1
			}
			return 0
		})
		return nil
	})
}

// Pragma runs one on the writer's connection. It must not run beside a write.
func (db *DB) Pragma(text string) error {
	return db.writer.s.script(context.Background(), "PRAGMA "+text)
}

// WriterInt reads one number on the writer's connection. It must not run beside
// a write.
func (db *DB) WriterInt(query string) (n int64, err error) {
	err = db.writer.s.row(context.Background(), query, nil, &n)
	return n, err
}

// MaxGroup is the greatest number of writes in one transaction.
const MaxGroup = maxGroup

// Driver opens the file with the bare driver, as another program would.
func Driver(path string) (*sql.DB, error) {
	return sql.Open("sqlite", dataSource(path, Options{BusyTimeout: 1e9}, false))
}

// ListQuery is the statement of a listing.
func ListQuery(q *apikey.Query) string {
	text, _ := listQuery(q)
	return text
}

// ListStart is the position that a listing searches from.
func ListStart(q *apikey.Query) (at int64, id string) {
	_, args := listQuery(q)
	return args[0].(int64), args[1].(string)
}

// EventsQuery is the statement of a listing of events.
func EventsQuery(q *apikey.EventQuery) string {
	text, _ := eventQuery(q)
	return text
}

// Statements of which the plan is known.
const (
	KeyByHandle = keyByHandle
	KeyByID     = keyByID
	CountKeys   = countKeys
	Census      = census
)

// CreditStatements are those of every hold, debit and capture, by what they do.
func CreditStatements() map[string]string {
	return map[string]string{
		"account": accountByID, "known": opKnown, "known, of many": opsKnown, "op": opByID, "ops": opsByID, "due ops": opsDue,
		"lot": lotByID, "lots": lotsByID, "due lots": lotsDue, "lots to burn": lotsBurn, "budgets": budgetsByScope, "due schedules": schedulesDue,
		"prunable": opsPrunable, "open": opsOpen, "of a target": opsOfTarget,
	}
}

// WebhookStatements are those of publishing, claiming and settling, and those that
// find what is to be moved and removed, by what they do.
func WebhookStatements() map[string]string {
	return map[string]string{
		"known": messageKnown, "takers": takers, "taker": takerByName, "waiting": waitingEndpoints, "in flight": inFlight, "due": duePending,
		"over": dueLeases, "head": headPending, "leased head": headLease, "next": nextWaiting, "claim": claimDeliveries,
		"claimed": deliveriesClaimed, "messages": messagesNamed, "delivery": deliveryByName, "endpoint": endpointByID,
		"of an endpoint": deliveriesOfEndpoint, "of a message": deliveriesOfMessage, "attempts": attemptsAfter, "message": messageByID,
		"endpoints": endpointsAfter, "of an account": endpointsOfAccount, "movable": movable, "to pending": moveToPending, "to dropped": moveToDropped,
		"prunable": prunable, "still prunable": stillPrunable, "prune attempts": pruneAttempts, "prune deliveries": pruneDeliveries, "prune messages": pruneMessages,
		"prune endpoints": pruneEndpoints, "replay": replayOwner, "replays over": replaysUntil,
	}
}

// MigrateTo brings the tables to an older version.
func (db *DB) MigrateTo(ctx context.Context, version int) error {
	steps, err := migrationSteps()
	if err != nil {
		return err
	}
	return db.writer.do(ctx, func(s *session) error { return migrate(ctx, s, steps[:version]) })
}

// Queries are the statements that read.
func Queries() []string {
	return []string{
		keyByHandle, keyByID, hasKey, hasHandle, countKeys, keysByAge, keysByOwner, keysByEnd, keysByOwnerAndEnd,
		ownerByID, lastEvent,
		accountByID, accountsAfter, entriesUp, entriesDown, lotByID, lotsByID, lotsDue, lotsBurn, lotsAfter,
		opKnown, opsKnown, opByID, opsByID, opsDue, opsPrunable, opsAfter, opsOpen, opsOfTarget, opsAll,
		budgetsByID, budgetsAfter, budgetsByScope, schedulesByID, schedulesDue, schedulesAfter,
		limitState, statesAfter, settledUntil,
		replayOwner, replaysUntil,
		requestByKey, finishRequest, wasFinished, abandonRequest, requestsUntil,
	}
}
