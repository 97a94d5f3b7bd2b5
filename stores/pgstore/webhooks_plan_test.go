package pgstore_test

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/keytoll/keytoll/stores/pgstore"
	"github.com/keytoll/keytoll/webhook"
)

// backlog gives an endpoint so many deliveries that are due, of messages of their
// own whose names begin so, as many that are delivered, and some that are dead.
func backlog(t testing.TB, pool *pgxpool.Pool, db *pgstore.DB, endpoint, prefix string, n int) {
	t.Helper()
	for _, statement := range []string{
		`INSERT INTO keytoll.messages SELECT format('%s_%s_%s', $1::text, $2::text, n), 'a', 'image.created', '', 'application/json', '{}', n, 1 FROM generate_series(1, $3::int * 2) n`,
		`INSERT INTO keytoll.deliveries (message, endpoint, state, due, tries, attempt, token, failure, manual, created_at, ended_at)
			SELECT format('%s_%s_%s', $1::text, $2::text, n), $1, CASE WHEN n > $3::int THEN 1 WHEN n % 100 = 0 THEN 4 ELSE 3 END, n, 1, 1, '', 0, false, n,
				CASE WHEN n <= $3::int THEN n END
			FROM generate_series(1, $3::int * 2) n`,
	} {
		run(t, pool, pgstore.InSchema(db, statement), endpoint, prefix, n)
	}
}

// What a claim costs does not grow with what waits for the endpoint, nor with what
// waits for others that are full, blocked or disabled, and what the other methods
// cost not with anything. It is counted in the pages of tables and indexes that the
// server looks at, which no weather changes, with plans that were made when the
// tables were empty and are kept. PGSTORE_TEST_ROWS=1000000 does it beside as many.
func TestWhatADeliveryCostsDoesNotGrow(t *testing.T) {
	few, many := 1000, 8_000
	if n, err := strconv.Atoi(os.Getenv("PGSTORE_TEST_ROWS")); err == nil {
		many = n
	}
	const disabled = 1000
	d := newDatabase(t, unsynced, func(c *pgxpool.Config) { c.MaxConns = 1 }) // which keeps the plans
	db := d.open(t)
	c := newClock()
	s := db.Webhooks(&pgstore.WebhooksOptions{Now: c.now})
	for _, table := range []string{"endpoints", "messages", "deliveries", "attempts", "replays", "idempotent_requests"} {
		run(t, d.pool, pgstore.InSchema(db, `ALTER TABLE keytoll.`+table+` SET (autovacuum_enabled = off)`))
		run(t, d.pool, pgstore.InSchema(db, "VACUUM ANALYZE keytoll."+table))
	}
	ctx := t.Context()
	endpointsOf(t, s, "a", 4)
	only := func(i int) func(*webhook.Endpoint) { // so that nothing is published to others
		return func(e *webhook.Endpoint) {
			e.Settings.Events = []string{"nothing"}
			switch i {
			case 0:
				e.Health.BlockedUntil = c.now().Add(time.Hour).UTC()
			case 1:
				e.Settings.MaxInFlight = 1
			case 2:
				e.State = webhook.EndpointDisabled
			}
		}
	}
	endpointsOf(t, s, "blocked", 1, only(0))
	endpointsOf(t, s, "full", 1, only(1))
	endpointsOf(t, s, "disabled", 1, only(2))
	var claimed []webhook.Claimed
	n := 0
	last := func() string { return fmt.Sprint("m", n) }
	claim := func(after string, limit int) error {
		n++
		got, err := s.Claim(ctx, webhook.Claim{Token: fmt.Sprint("t", n), Limit: limit, Lease: time.Minute, After: after})
		claimed = got.Deliveries
		return err
	}
	steps := []struct {
		what string
		do   func() error
	}{
		{"a publication", func() error {
			n++
			_, err := s.Publish(ctx, letter("a", last()))
			return err
		}},
		{"one that comes again", func() error { _, err := s.Publish(ctx, letter("a", last())); return err }},
		{"a message", func() error { _, err := s.Message(ctx, last()); return err }},
		{"deliveries of a message", func() error {
			_, err := s.Deliveries(ctx, webhook.DeliveryQuery{Message: last(), Limit: 10})
			return err
		}},
		{"a claim", func() error { return claim("", 16) }},
		{"a settlement", func() error { return s.Settle(ctx, settlements(claimed), delivered) }},
		{"a claim of little", func() error { return claim("a-00001", 2) }},
		{"a settlement of little", func() error { return s.Settle(ctx, settlements(claimed), delivered) }},
		{"attempts", func() error {
			_, err := s.Attempts(ctx, "a-00000", last(), 0, 10)
			return err
		}},
		{"deliveries of an endpoint", func() error {
			_, err := s.Deliveries(ctx, webhook.DeliveryQuery{Endpoint: "a-00000", Limit: 10})
			return err
		}},
		{"dead ones", func() error {
			_, err := s.Deliveries(ctx, webhook.DeliveryQuery{Endpoint: "a-00000", States: []webhook.DeliveryState{webhook.DeliveryDead}, Limit: 5})
			return err
		}},
		{"waiting ones", func() error {
			_, err := s.Deliveries(ctx, webhook.DeliveryQuery{Endpoint: "a-00000", States: []webhook.DeliveryState{webhook.DeliveryPending}, Limit: 5})
			return err
		}},
		{"a resend", func() error {
			_, err := s.Move(ctx, webhook.Move{Endpoint: "a-00000", From: []webhook.DeliveryState{webhook.DeliveryDead}, To: webhook.DeliveryPending, Limit: 2})
			return err
		}},
		{"a discard", func() error {
			_, err := s.Move(ctx, webhook.Move{Endpoint: "a-00000", From: []webhook.DeliveryState{webhook.DeliveryPending}, To: webhook.DeliveryDropped, Limit: 2})
			return err
		}},
		{"endpoints of an account", func() error {
			_, err := s.Endpoints(ctx, webhook.EndpointQuery{Account: "a", Limit: 10})
			return err
		}},
		{"a change", func() error {
			return s.Change(ctx, "a-00000", func(now time.Time, e *webhook.Endpoint) error { e.UpdatedAt = now; return nil })
		}},
		{"a message received", func() error {
			n++
			r := db.Replays(nil)
			_, err := r.Claim(ctx, last(), "me", time.Hour)
			return errors.Join(err, r.Release(ctx, last(), "me"), r.Done(ctx, last(), time.Microsecond))
		}},
		{"a request", func() error {
			n++
			s, c := db.Idempotency(nil), requestOf(last(), "me")
			_, err := s.Claim(ctx, c)
			err = errors.Join(err, s.Finish(ctx, c.Key, c.Token, []byte("answer"), time.Microsecond))
			_, again := s.Claim(ctx, c)
			return errors.Join(err, again, s.Abandon(ctx, c.Key, c.Token))
		}},
		{"a prune of two", func() error { _, err := s.Prune(ctx, time.UnixMicro(1<<50), 2); return err }},
	}
	all := func(measured func(i int, pages int64)) {
		t.Helper()
		looked := func() (pages int64) {
			run(t, d.pool, "SELECT pg_stat_force_next_flush()") // what the one connection did
			err := d.pool.QueryRow(ctx, `SELECT sum(heap_blks_read + heap_blks_hit + coalesce(idx_blks_read + idx_blks_hit, 0))
				FROM pg_statio_user_tables WHERE schemaname = $1`, db.Schema()).Scan(&pages)
			if err != nil {
				t.Fatal(err)
			}
			return pages
		}
		for i, step := range steps {
			before := looked()
			if err := step.do(); err != nil {
				t.Fatalf("%s: %v", step.what, err)
			}
			measured(i, looked()-before)
		}
	}
	for range 7 { // the server keeps a plan after some
		all(func(int, int64) {})
	}
	cost := make([][2]int64, len(steps))
	for size, rows := range [...]int{few, many} {
		for _, endpoint := range []string{"a-00000", "blocked-00000", "full-00000", "disabled-00000"} {
			backlog(t, d.pool, db, endpoint, fmt.Sprint(rows), rows-size*few)
		}
		run(t, d.pool, pgstore.InSchema(db, `INSERT INTO keytoll.replays SELECT format('r%s_%s', $1::int, n), '', 1::bigint << 60 FROM generate_series(1, $1::int) n`), rows)
		run(t, d.pool, pgstore.InSchema(db, `INSERT INTO keytoll.idempotent_requests SELECT sha256(format('r%s_%s', $1::int, n)::bytea), sha256(''), zeroed, 0, zeroed, 0, 1::bigint << 60, ''
			FROM generate_series(1, $1::int) n, (SELECT substring(sha256('') FOR 16) AS zeroed) z`), rows)
		if size == 1 { // as many between those that are active as could be in the way
			run(t, d.pool, pgstore.InSchema(db, `INSERT INTO keytoll.endpoints SELECT format('a-00002-%s', n), 'b', 2, 1, NULL, NULL, NULL, '{}', '', NULL, false, 8, 0, 0
				FROM generate_series(1, $1::int) n`), disabled)
			run(t, d.pool, pgstore.InSchema(db, `INSERT INTO keytoll.deliveries (message, endpoint, state, due, tries, attempt, token, failure, manual, created_at)
				SELECT format('a-00000_%s_1', $2::int), format('a-00002-%s', n), 1, n, 0, 0, '', 0, false, n FROM generate_series(1, $1::int) n`), disabled, few)
		}
		for range 2 { // what counts is the second time
			all(func(i int, pages int64) { cost[i][size] = pages })
		}
	}
	for i, pages := range cost {
		if pages[1] > pages[0]+pages[0]/4+24 { // each index may be a page deeper
			t.Errorf("%s looks at %d pages beside %d rows, and at %d beside %d", steps[i].what, pages[0], few, pages[1], many)
		}
		t.Logf("%s: %d pages, and %d", steps[i].what, pages[0], pages[1])
	}
}
