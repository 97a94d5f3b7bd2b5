package pgstore_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/stores/pgstore"
)

// benchKeys are the sizes of the table. The great one takes half a minute to
// fill: PGSTORE_BENCH_KEYS=1000000 asks for it.
func benchKeys(b *testing.B) []int {
	if n, err := strconv.Atoi(os.Getenv("PGSTORE_BENCH_KEYS")); err == nil {
		return []int{n}
	}
	return []int{10_000}
}

// BenchmarkByHandle compares ByHandle with the least that a look-up through the
// same pool can cost, one small column by primary key. The two take turns, a
// hundred calls of each worker at a time, so that both meet the same weather;
// x/bare is the ratio of their medians. Keys vary, and are asked for in no order.
func BenchmarkByHandle(b *testing.B) {
	d := newDatabase(b)
	for _, n := range benchKeys(b) {
		db := d.open(b)
		fill(b, d.pool, db, n)
		store := db.Keys()
		query := `SELECT version FROM "` + db.Schema() + `".keys WHERE id = $1`
		ids, handles := make([]string, n), make([]string, n)
		for i := range n {
			ids[i], handles[i] = fmt.Sprintf("key_%020d", i), fmt.Sprintf("%016d", i)
		}
		bare := func(ctx context.Context, i int) error {
			var version int64
			return d.pool.QueryRow(ctx, query, ids[i]).Scan(&version)
		}
		byHandle := func(ctx context.Context, i int) error {
			rec, err := store.ByHandle(ctx, handles[i])
			if err == nil && rec.Key.ID != ids[i] {
				err = fmt.Errorf("%s is not %s", rec.Key.ID, ids[i])
			}
			return err
		}
		for _, workers := range []int{1, 32} {
			b.Run(fmt.Sprintf("keys=%d/workers=%d", n, workers), func(b *testing.B) {
				const calls = 100
				var at atomic.Int64
				turn := func(look func(context.Context, int) error) float64 {
					start := time.Now()
					each(workers, func(int) {
						for range calls {
							if err := look(b.Context(), int(at.Add(7919)%int64(n))); err != nil {
								b.Error(err)
								return
							}
						}
					})
					return float64(time.Since(start)) / float64(calls*workers)
				}
				var bares, byHandles []float64
				for b.Loop() {
					bares, byHandles = append(bares, turn(bare)), append(byHandles, turn(byHandle))
				}
				slices.Sort(bares)
				slices.Sort(byHandles)
				b.ReportMetric(bares[len(bares)/2], "bare-ns")
				b.ReportMetric(byHandles[len(byHandles)/2], "ByHandle-ns")
				b.ReportMetric(byHandles[len(byHandles)/2]/bares[len(bares)/2], "x/bare")
			})
		}
	}
}

// BenchmarkCreate is to be read within one run: a key with its event and the
// lock of its owner against the least that a commit costs, one row of two
// columns.
func BenchmarkCreate(b *testing.B) {
	d := newDatabase(b)
	db := d.open(b)
	if _, err := d.pool.Exec(b.Context(), `CREATE TABLE bare (id bigint PRIMARY KEY, note text)`); err != nil {
		b.Fatal(err)
	}
	var n atomic.Int64
	creates := []struct {
		name   string
		create func(ctx context.Context) error
	}{
		{"bare", func(ctx context.Context) error {
			_, err := d.pool.Exec(ctx, `INSERT INTO bare VALUES ($1, 'note')`, n.Add(1))
			return err
		}},
		{"Create", func(ctx context.Context) error {
			i := int(n.Add(1))
			rec := keyRecord(i)
			rec.Key.Owner = "acct_" + strconv.Itoa(rand.IntN(1000))
			return db.Keys().Apply(ctx, apikey.Change{
				Insert: []apikey.Record{rec}, Cap: &apikey.Cap{Owner: rec.Key.Owner, Most: 1 << 30, States: []apikey.State{apikey.StateActive}},
				Events: []apikey.Event{{Owner: rec.Key.Owner, Kind: apikey.EventCreated, Key: rec.Key.ID, At: rec.Key.CreatedAt}},
			})
		}},
	}
	for _, c := range creates {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := c.create(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for _, c := range creates {
		b.Run(c.name+"-32", func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(16)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if err := c.create(b.Context()); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// fill makes n keys, ten to an owner, and has the server look at them.
func fill(t testing.TB, pool *pgxpool.Pool, db *pgstore.DB, n int) {
	t.Helper()
	for _, statement := range []string{
		`INSERT INTO keytoll.owners (id) SELECT 'acct_' || i FROM generate_series(0, ($1::int - 1) / 10) i`,
		`INSERT INTO keytoll.keys SELECT 'key_' || lpad(i::text, 20, '0'), lpad(i::text, 16, '0'), 1, sha256(i::text::bytea), '', '', NULL, 1,
			NULL, NULL, 0, 0, 'acct_' || i / 10, 'key ' || i, 'live', 'image:generate models:read', '{"team":"blue"}', '{"per_minute":60}', '',
			timestamptz '2026-01-01' + i * interval '1 second', timestamptz '2026-01-01', timestamptz '2036-01-01' + i * interval '1 second',
			NULL, 'active', '', 'gx_live_0000', '0000', 'key_' || lpad(i::text, 20, '0'), '', '', 1
			FROM generate_series(0, $1::int - 1) i`,
	} {
		if _, err := pool.Exec(t.Context(), pgstore.InSchema(db, statement), n); err != nil {
			t.Fatal(err)
		}
	}
	for _, table := range []string{"keys", "owners"} {
		if _, err := pool.Exec(t.Context(), pgstore.InSchema(db, "VACUUM ANALYZE keytoll."+table)); err != nil {
			t.Fatal(err)
		}
	}
}
