package pgstore_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/stores/pgstore"
)

// A plan made while a table is one page long would read all of it, and stay when
// the table grows, until the server looks at the table again. The functions never
// plan so.
func TestPlansDoNotReadWholeTables(t *testing.T) {
	d := newDatabase(t, func(c *pgxpool.Config) { c.MaxConns = 1 }) // which keeps the plans
	db := d.open(t)
	for _, table := range []string{"limits", "limit_entries", "settled"} {
		run(t, d.pool, pgstore.InSchema(db, "VACUUM ANALYZE keytoll."+table))
	}
	l := limiter(t, db.Limits(nil), ratelimit.Limit{Name: "bucket", Count: 100, Period: century}, ratelimit.Limit{Name: "log", Algorithm: ratelimit.SlidingLog, Count: 2, Period: century})
	take(t, l, "k", 1)
	for _, table := range []string{"limits", "limit_entries", "settled"} {
		run(t, d.pool, pgstore.InSchema(db, "VACUUM ANALYZE keytoll."+table))
	}
	err := pgx.BeginFunc(t.Context(), d.pool, func(tx pgx.Tx) error {
		scans := func() (n int64) {
			err := tx.QueryRow(t.Context(), `SELECT sum(seq_scan) FROM pg_stat_xact_user_tables WHERE schemaname = $1`, db.Schema()).Scan(&n)
			if err != nil {
				t.Error(err)
			}
			return n
		}
		for _, verb := range []string{"take", "up_to", "charge", "settle", "refund", "release", "renew", "reset"} {
			before := scans()
			_, err := tx.Exec(t.Context(), pgstore.InSchema(db, `SELECT keytoll.limits_apply($1::text, NULL, false, '{1}', substring(sha256($1::text::bytea) FOR 16),
				ARRAY['k'::bytea, 'k'], ARRAY['bucket', 'log'], ARRAY['token_bucket', 'sliding_log'],
				ARRAY[10, 10, 1000, 1, 0, 0, 0, 0, 0, 2, 2, $2::bigint, 1, 0, 0, 0, 0, 0], ARRAY[0, 1, 9, 0, 0, 0, 1, 9, 0, 0], 1::bigint << 60, 0)`), verb, time.Hour.Microseconds())
			if err != nil {
				return err
			}
			if n := scans() - before; n > 0 {
				t.Errorf("%s reads %d whole tables", verb, n)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// So it is for the functions of keys, whose plans are as old as the connection.
func TestPlansOfKeysDoNotReadWholeTables(t *testing.T) {
	d := newDatabase(t, func(c *pgxpool.Config) { c.MaxConns = 1 }) // which keeps the plans
	db := d.open(t)
	first, second := keyRecord(1), keyRecord(2)
	second.Key.Owner = first.Key.Owner
	if err := db.Keys().Apply(t.Context(), apikey.Change{Insert: []apikey.Record{first}}); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"keys", "owners", "events"} {
		run(t, d.pool, pgstore.InSchema(db, "VACUUM ANALYZE keytoll."+table))
	}
	scans := func() (n int64) {
		run(t, d.pool, "SELECT pg_stat_force_next_flush()") // what the one connection did
		err := d.pool.QueryRow(t.Context(), `SELECT sum(seq_scan) FROM pg_stat_user_tables WHERE schemaname = $1`, db.Schema()).Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	update := first
	update.Key.Version++
	event := apikey.Event{Owner: first.Key.Owner, Kind: apikey.EventRenamed, At: begin, Key: first.Key.ID}
	restamp := &apikey.Restamp{Was: first.Digest, Imported: first.Imported, Digest: second.Digest}
	for _, step := range []struct {
		what string
		do   func() error
	}{ // in this order: a restamp makes another version
		{"apply", func() error {
			return db.Keys().Apply(t.Context(), apikey.Change{
				Insert: []apikey.Record{second}, Update: []apikey.Record{update}, Events: []apikey.Event{event},
				Cap: &apikey.Cap{Owner: first.Key.Owner, Most: 10, States: []apikey.State{first.Key.State}},
			})
		}},
		{"touch", func() error {
			return db.Keys().Touch(t.Context(), []apikey.Use{{ID: first.Key.ID, At: begin.Add(time.Hour), Restamp: restamp}})
		}},
	} {
		before := scans()
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		if n := scans() - before; n > 0 {
			t.Errorf("%s reads %d whole tables", step.what, n)
		}
	}
}
