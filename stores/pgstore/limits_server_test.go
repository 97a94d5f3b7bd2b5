package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/keytoll/keytoll/credits"
	kerrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware/idempotency"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/ratelimit/ratelimittest"
	"github.com/keytoll/keytoll/stores/pgstore"
	"github.com/keytoll/keytoll/stores/pgstore/pgtest"
)

const century = 100 * 365 * 24 * time.Hour

func take(t testing.TB, l *ratelimit.Limiter, key string, cost int64) ratelimit.Result {
	t.Helper()
	r, err := l.Take(t.Context(), key, cost)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func number(t testing.TB, pool *pgxpool.Pool, query string, args ...any) (n int64) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// The strictest isolation level that a database may have by default, and a pool
// whose statements take no round trip to prepare, as proxies want it.
func TestLimitsKeepTheContractHoweverThePoolIsSet(t *testing.T) {
	if testing.Short() {
		t.Skip("the same suite once for each setting")
	}
	for name, adjust := range map[string]func(*pgxpool.Config){
		"serializable":    func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["default_transaction_isolation"] = "serializable" },
		"simple protocol": func(c *pgxpool.Config) { c.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t, adjust, func(c *pgxpool.Config) { c.MaxConns = 16 }) // all of them within what the server has
			ratelimittest.RunStill(t, func(t *testing.T) ratelimit.Store { return d.open(t).Limits(&pgstore.LimitsOptions{Relaxed: true}) })
		})
	}
}

// Convoy's take_token lets through whoever finds no row yet; others lock only
// rows that exist. Here nobody has taken before, and all come at once.
func TestFirstTakesAtOnceAreCounted(t *testing.T) {
	for _, level := range []string{"read committed", "repeatable read", "serializable"} {
		t.Run(level, func(t *testing.T) {
			d := newDatabase(t, func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["default_transaction_isolation"] = level })
			store := d.open(t).Limits(nil)
			for round := range 5 {
				for _, a := range []ratelimit.Algorithm{ratelimit.TokenBucket, ratelimit.SlidingLog} {
					l := limiter(t, store, ratelimit.Limit{Name: "few", Algorithm: a, Count: 3, Period: century})
					var passed atomic.Int64
					each(32, func(int) {
						switch r, err := l.Take(t.Context(), fmt.Sprint("new ", round), 1); {
						case err != nil:
							t.Error(err)
						case r.Allowed:
							passed.Add(1)
						}
					})
					if n := passed.Load(); n != 3 {
						t.Errorf("%v: %d takes passed a limit of 3", a, n)
					}
				}
			}
		})
	}
}

// Bucket4j on CAS times out at some 400 at once on one key; here everybody waits
// in line and is answered.
func TestManyOnOneKeyAreAllAnswered(t *testing.T) {
	d := newDatabase(t)
	l := limiter(t, d.open(t).Limits(nil), ratelimit.Limit{Name: "hot", Count: 500, Period: century})
	var passed atomic.Int64
	each(400, func(int) {
		for range 3 {
			switch r, err := l.Take(t.Context(), "everybody", 1); {
			case err != nil:
				t.Error(err)
			case r.Allowed:
				passed.Add(1)
			}
		}
	})
	if n := passed.Load(); n != 500 {
		t.Errorf("%d takes passed a limit of 500", n)
	}
}

// Clipperhouse's Combine locks in the order of its arguments, and two orders stop
// each other. Here subjects come in any order, with refunds, resets and sweeps
// between, and the server counts no deadlock.
func TestSubjectsInAnyOrderDoNotDeadlock(t *testing.T) {
	d := newDatabase(t)
	store := d.open(t).Limits(nil)
	set := func(a ratelimit.Algorithm) ratelimit.Limits {
		s, err := ratelimit.NewLimits(ratelimit.Limit{Name: "l", Algorithm: a, Count: 1000, Period: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	sets := []ratelimit.Limits{set(ratelimit.TokenBucket), set(ratelimit.SlidingLog)}
	l, err := ratelimit.NewLimiter(store, ratelimit.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	each(16, func(i int) {
		rnd := rand.New(rand.NewPCG(uint64(i), 1))
		for range 40 {
			var charges []ratelimit.Charge
			for _, k := range rnd.Perm(12)[:4] {
				charges = append(charges, ratelimit.Charge{Key: fmt.Sprint("k", k), Limits: sets[k%2], Cost: 1})
			}
			r, err := l.TakeAll(t.Context(), charges...)
			switch rnd.IntN(4) {
			case 0:
				err = errors.Join(err, l.Refund(t.Context(), r.Reservation))
			case 1:
				err = errors.Join(err, l.ResetAll(t.Context(), charges...))
			case 2:
				_, swept := store.Sweep(t.Context(), 20)
				err = errors.Join(err, swept)
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	if n := number(t, d.pool, `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`); n != 0 {
		t.Errorf("%d deadlocks", n)
	}
}

// A statement that takes now() for the time decides by when its transaction
// began, before it waited; one that reads the clock before the lock does the
// same. Both mint what others took meanwhile.
func TestTimeIsReadUnderTheLocks(t *testing.T) {
	d := newDatabase(t)
	db := d.open(t)
	l := limiter(t, db.Limits(nil), ratelimit.Limit{Name: "one", Count: 1, Period: century})
	take(t, l, "warm", 1)
	tx, err := d.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := tx.Exec(t.Context(), `SELECT pg_advisory_xact_lock($1)`, pgstore.LockOf(db, "k")); err != nil {
		t.Fatal(err)
	}
	req := ratelimit.Request{Mode: ratelimit.ModeTake, Ops: []ratelimit.Op{{Rule: rule(t, ratelimit.Limit{Name: "one", Count: 1, Period: century}), Key: "k", Cost: 1}}}
	ended := make(chan error, 1)
	go func() { ended <- db.Limits(nil).Apply(t.Context(), &req) }()
	for begun := time.Now(); number(t, d.pool, `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`) == 0; {
		if time.Since(begun) > 10*time.Second {
			t.Fatal("the take does not wait for the lock")
		}
	}
	released := number(t, d.pool, `SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint`)
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil || !req.Allowed || req.Now < released {
		t.Errorf("decided at %d, %v; the lock was free from %d", req.Now, err, released)
	}
}

func rule(t testing.TB, l ratelimit.Limit) *ratelimit.Rule {
	t.Helper()
	set, err := ratelimit.NewLimits(l)
	if err != nil {
		t.Fatal(err)
	}
	return set.Rule(0)
}

// A conflicting row is locked even when the upsert's WHERE refuses, which writes
// to the log and waits for the disk. Ulule, envoy and others charge refusals.
func TestRefusalsAndPeeksWriteNothing(t *testing.T) {
	d := newDatabase(t)
	db := d.open(t)
	limits := []ratelimit.Limit{
		{Name: "bucket", Count: 10, Period: century}, {Name: "log", Algorithm: ratelimit.SlidingLog, Count: 10, Period: century},
		{Name: "window", Algorithm: ratelimit.SlidingWindow, Count: 10, Period: century}, {Name: "year", Algorithm: ratelimit.Calendar, Count: 10, Every: ratelimit.Year},
	}
	l := limiter(t, db.Limits(nil), limits...)
	take(t, l, "k", 5)
	other := take(t, l, "k", 3)
	if err := l.Refund(t.Context(), other.Reservation); err != nil {
		t.Fatal(err)
	}
	rows := func() (all string) {
		err := d.pool.QueryRow(t.Context(), pgstore.InSchema(db, `SELECT concat(
			(SELECT string_agg(concat_ws(' ', ctid, xmin, xmax, l), ',' ORDER BY l) FROM keytoll.limits l),
			(SELECT string_agg(concat_ws(' ', ctid, xmin, xmax, e), ',' ORDER BY e) FROM keytoll.limit_entries e),
			(SELECT string_agg(concat_ws(' ', ctid, xmin, xmax, s), ',' ORDER BY s) FROM keytoll.settled s))`)).Scan(&all)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	before := rows()
	for cost := range int64(9) {
		if r := take(t, l, "k", cost+6); r.Allowed {
			t.Errorf("a cost of %d passed", cost+6)
		}
		take(t, l, "k", 0)
		take(t, l, "never seen", 11)
		for _, key := range []string{"k", "never seen"} {
			if _, err := l.Peek(t.Context(), key, cost); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Refund(t.Context(), other.Reservation); err != nil { // again
			t.Fatal(err)
		}
	}
	if after := rows(); after != before {
		t.Errorf("rows went from\n%s to\n%s", before, after)
	}
	// Nor does a refusal take a transaction's number, without which nothing is
	// written ahead.
	tx, err := d.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	var allowed, numbered bool
	err = tx.QueryRow(t.Context(), pgstore.InSchema(db, `SELECT allowed FROM keytoll.limits_apply('take', NULL, false, '{1}', decode(repeat('00', 16), 'hex'),
		ARRAY['k'::bytea], ARRAY['bucket'], ARRAY['token_bucket'], ARRAY[10, 10, 3000000000000000, 6, 0, 0, 0, 0, 0], NULL, 0, 0)`)).Scan(&allowed)
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.QueryRow(t.Context(), `SELECT pg_current_xact_id_if_assigned() IS NOT NULL`).Scan(&numbered); err != nil || allowed || numbered {
		t.Errorf("allowed %t, numbered %t, %v", allowed, numbered, err)
	}
}

func TestRelaxedWaitsForNoDisk(t *testing.T) {
	d := newDatabase(t)
	db := d.open(t)
	for relaxed, want := range map[bool]string{false: "on", true: "off"} {
		err := pgx.BeginFunc(t.Context(), d.pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(t.Context(), pgstore.InSchema(db, `SELECT keytoll.limits_apply('take', NULL, $1, '{1}', decode(repeat('00', 16), 'hex'),
				ARRAY['k'::bytea], ARRAY['bucket'], ARRAY['token_bucket'], ARRAY[10, 10, 1000, 1, 0, 0, 0, 0, 0], NULL, 0, 0)`), relaxed); err != nil {
				return err
			}
			var got string
			err := tx.QueryRow(t.Context(), `SHOW synchronous_commit`).Scan(&got)
			if got != want {
				t.Errorf("relaxed %t: synchronous_commit is %s, want %s", relaxed, got, want)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		var after string
		if err := d.pool.QueryRow(t.Context(), `SHOW synchronous_commit`).Scan(&after); err != nil || after != "on" {
			t.Errorf("after the transaction it is %s, %v", after, err)
		}
	}
}

// Whatever is asked, it is one question and one answer; of a calendar, too, once
// the store has heard the time.
func TestEachDecisionIsOneRoundTrip(t *testing.T) {
	line := newLine(t, pgtest.Database(t))
	db, err := pgstore.Open(line.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(context.WithoutCancel(t.Context()))
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	var limits []ratelimit.Limit
	for a := range ratelimit.Unlimited {
		l := ratelimit.Limit{Name: a.String(), Algorithm: a, Count: 100, Period: time.Hour}
		if a == ratelimit.Calendar {
			l.Period, l.Every = 0, ratelimit.Month
		}
		limits = append(limits, l)
	}
	store := db.Limits(nil)
	store.KeepAll() // a sweep, once in many new states, is two more
	l, leases := limiter(t, store, limits...), limiter(t, store, limits[ratelimit.Concurrency])
	charges := make([]ratelimit.Charge, 8)
	for i := range charges {
		charges[i] = ratelimit.Charge{Key: fmt.Sprint("k", i), Cost: 2}
	}
	var r, lease ratelimit.Result
	calls := []struct {
		name string
		call func() error
	}{
		{"take", func() (err error) { r, err = l.TakeAll(t.Context(), charges...); return err }},
		{"peek", func() (err error) { _, err = l.PeekAll(t.Context(), charges...); return err }},
		{"take up to", func() (err error) { _, err = l.TakeUpTo(t.Context(), "k", 3); return err }},
		{"settle", func() error { return l.Settle(t.Context(), r.Reservation, 1, 2, 3, 0, 0, 0, 0, 9) }},
		{"refund", func() error { return l.Refund(t.Context(), r.Reservation) }},
		{"lease", func() (err error) { lease, err = leases.Take(t.Context(), "leases", 1); return err }},
		{"renew", func() error { return leases.Renew(t.Context(), "leases", lease.Reservation.ID()) }},
		{"release", func() error { return leases.Release(t.Context(), "leases", lease.Reservation.ID()) }},
		{"reset", func() error { return l.Reset(t.Context(), "k") }},
	}
	for round := range 2 { // the first prepares the statements and hears the time
		for _, c := range calls {
			before := line.turns.Load()
			if err := c.call(); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			if n := line.turns.Load() - before; round > 0 && n != 1 {
				t.Errorf("%s took %d round trips", c.name, n)
			}
		}
	}
}

// Cloudflare's DST, another program's zone tables, a time that nobody foresaw:
// the windows come from here, and the server asks for those it needs.
func TestCalendarsNeedNoClockOfOurs(t *testing.T) {
	d := newDatabase(t)
	for _, a := range []ratelimit.Span{ratelimit.Day, ratelimit.Week, ratelimit.Month, ratelimit.Year} {
		l := limiter(t, d.open(t).Limits(nil), ratelimit.Limit{Name: "span", Algorithm: ratelimit.Calendar, Count: 2, Every: a})
		for i := range 3 {
			if r := take(t, l, "k", 1); r.Allowed != (i < 2) {
				t.Errorf("%v: take %d: %t", a, i, r.Allowed)
			}
		}
	}
}

// A caller who gives up after 5 ms is told so, soon, and the pool is none the
// worse for it.
func TestATakeThatMissesItsDeadlineIsToldSo(t *testing.T) {
	d := newDatabase(t)
	db := d.open(t)
	l := limiter(t, db.Limits(nil), ratelimit.Limit{Name: "one", Count: 100, Period: century})
	take(t, l, "k", 1)
	tx, err := d.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := tx.Exec(t.Context(), `SELECT pg_advisory_xact_lock($1)`, pgstore.LockOf(db, "k")); err != nil {
		t.Fatal(err)
	}
	each(8, func(int) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		if r, err := l.Take(ctx, "k", 1); r.Allowed || kerrors.CodeOf(err) != kerrors.DeadlineExceeded || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%t, %v; want the end of the time", r.Allowed, err)
		}
	})
	if r := take(t, l, "another", 1); !r.Allowed { // nobody else waits
		t.Error("another subject was refused")
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := take(t, l, "k", 90); !r.Allowed || r.Remaining > 9 {
		t.Errorf("%+v after one take and eight that may have come true", r)
	}
}

// After Migrate the program needs no more rights than the documentation says.
func TestTheStoresNeedFewRights(t *testing.T) {
	d := newDatabase(t)
	db := d.open(t)
	role := "keytoll_test_" + strings.ToLower(db.Schema()) + fmt.Sprint(rand.Int64())
	for _, s := range []string{
		"CREATE ROLE " + role, "GRANT USAGE ON SCHEMA keytoll. TO " + role, "GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA keytoll. TO " + role,
		"GRANT DELETE ON keytoll.limits, keytoll.limit_entries, keytoll.settled, keytoll.ops, keytoll.budgets, keytoll.schedules TO " + role,
		"GRANT DELETE ON keytoll.replays, keytoll.endpoints, keytoll.messages, keytoll.deliveries, keytoll.attempts, keytoll.idempotent_requests TO " + role,
		"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA keytoll. TO " + role,
	} {
		run(t, d.pool, strings.ReplaceAll(strings.ReplaceAll(s, "SCHEMA keytoll.", "SCHEMA "+db.Schema()), "keytoll.", db.Schema()+"."))
	}
	config := d.pool.Config()
	config.ConnConfig.RuntimeParams["role"] = role
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		pool.Close()
		run(t, d.pool, "DROP OWNED BY "+role)
		run(t, d.pool, "DROP ROLE "+role)
	}()
	as, err := pgstore.New(pool, &pgstore.Options{Schema: db.Schema()})
	if err != nil {
		t.Fatal(err)
	}
	defer as.Close(context.WithoutCancel(t.Context()))
	store := as.Limits(nil)
	l := limiter(t, store, ratelimit.Limit{Name: "log", Algorithm: ratelimit.SlidingLog, Count: 9, Period: time.Hour}, ratelimit.Limit{Name: "b", Count: 9, Period: time.Hour})
	for range 3 {
		r := take(t, l, "k", 2)
		if err := errors.Join(l.Settle(t.Context(), r.Reservation, 3), l.Refund(t.Context(), r.Reservation)); err != nil {
			t.Error(err)
		}
	}
	_, err = store.Sweep(t.Context(), 100)
	if err := errors.Join(err, l.Reset(t.Context(), "k")); err != nil {
		t.Error(err)
	}
	ledger := newLedger(t, as.Credits(nil))
	grant(t, ledger, "a", "grant", 10)
	debit(t, ledger, "a", "debit", 1)
	_, err = ledger.SetBudget(t.Context(), credits.Budget{Account: "a", ID: "b", Amount: 5})
	if err := errors.Join(err, ledger.RemoveBudget(t.Context(), "a", "b")); err != nil {
		t.Error(err)
	}
	audit(t, t.Context(), ledger)
	webhooks, replays := as.Webhooks(nil), as.Replays(nil)
	endpointsOf(t, webhooks, "a", 1)
	publish(t, webhooks, "a", "m")
	_, err = replays.Claim(t.Context(), "k", "me", time.Hour)
	err = errors.Join(err, replays.Done(t.Context(), "k", time.Hour), replays.Release(t.Context(), "k", "me"))
	done, gone := requestOf("done", "a"), requestOf("gone", "a")
	requests := as.Idempotency(&pgstore.IdempotencyOptions{Now: func() time.Time { return begin }})
	asks(t, requests, done, idempotency.Claimed)
	finish(t, requests, done, "answer", time.Minute)
	asks(t, as.Idempotency(nil), gone, idempotency.Claimed) // with which the other goes
	err = errors.Join(err, as.Idempotency(nil).Abandon(t.Context(), gone.Key, gone.Token))
	err = errors.Join(err, webhooks.Settle(t.Context(), settlements(takeDue(t, webhooks, 1).Deliveries), delivered))
	if n, failed := webhooks.Prune(t.Context(), time.Now().Add(time.Hour), 10); n != 1 || failed != nil || err != nil {
		t.Errorf("%d pruned, %v, %v", n, failed, err)
	}
}

func TestKeysOfAnyLengthAreApart(t *testing.T) {
	d := newDatabase(t)
	set, err := ratelimit.NewLimits(ratelimit.Limit{Name: "one", Count: 1, Period: century})
	if err != nil {
		t.Fatal(err)
	}
	l, err := ratelimit.NewLimiter(d.open(t).Limits(nil), set, &ratelimit.Options{MaxKeyBytes: 1 << 21})
	if err != nil {
		t.Fatal(err)
	}
	var long strings.Builder
	for rnd := rand.New(rand.NewPCG(1, 1)); long.Len() < 1<<20; { // nothing that could be compressed
		long.WriteByte(byte(rnd.IntN(256)))
	}
	text := long.String()
	for _, key := range []string{text, text[1:], text + "\x00", text[:1024], text[:1025], text[:1026], text[:1056], text[:1057], "'; DROP TABLE limits; --"} {
		for i := range 2 {
			if r := take(t, l, key, 1); r.Allowed != (i == 0) {
				t.Errorf("take %d of a key of %d bytes: %t", i, len(key), r.Allowed)
			}
		}
	}
}
