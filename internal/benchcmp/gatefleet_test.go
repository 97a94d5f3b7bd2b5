package benchcmp_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-chi/httprate"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/scopes"
	"github.com/keytoll/keytoll/stores/pgstore"
	"github.com/keytoll/keytoll/stores/pgstore/pgtest"
	"github.com/keytoll/keytoll/stores/redisstore"
)

// fleetPeers guard one handler on a server of a fleet: keys and credits are on
// PostgreSQL, limits on Redis.
var fleetPeers = [...]struct {
	name  string
	build func(tb testing.TB, f *fleet, n int, next http.Handler) (http.Handler, []string)
}{
	{"handwritten-httprate", handwrittenFleet},
	{"keytoll", func(tb testing.TB, f *fleet, n int, next http.Handler) (http.Handler, []string) {
		return f.gate(tb, n, next, false)
	}},
	{"keytoll-leased", func(tb testing.TB, f *fleet, n int, next http.Handler) (http.Handler, []string) {
		return f.gate(tb, n, next, true)
	}},
}

// A fleet is what its servers share, and how often one of them went there.
type fleet struct {
	pool  *pgxpool.Pool
	redis *redis.Client
	trips atomic.Int64
}

func assemble(tb testing.TB) *fleet {
	tb.Helper()
	config, err := pgxpool.ParseConfig(pgtest.Start(tb).URL())
	must(tb, err)
	f := &fleet{redis: reach(tb).goredis}
	config.MaxConns, config.ConnConfig.Tracer = 16, trips{&f.trips}
	f.pool, err = pgxpool.NewWithConfig(tb.Context(), config)
	must(tb, err)
	tb.Cleanup(f.pool.Close)
	f.redis.AddHook(trips{&f.trips})
	return f
}

// trips counts what goes to the servers and back: each statement or batch of
// PostgreSQL, each command or pipeline of Redis.
type trips struct{ n *atomic.Int64 }

func (t trips) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	t.n.Add(1)
	return ctx
}

func (trips) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (t trips) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	t.n.Add(1)
	return ctx
}

func (trips) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (trips) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

func (trips) DialHook(next redis.DialHook) redis.DialHook { return next }

func (t trips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		t.n.Add(1)
		return next(ctx, cmd)
	}
}

func (t trips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		t.n.Add(1)
		return next(ctx, cmds)
	}
}

// handwrittenFleet looks the key up by its digest, has a limit in the process, and
// debits with one guarded UPDATE and a line in a journal, before the work.
func handwrittenFleet(tb testing.TB, f *fleet, n int, next http.Handler) (http.Handler, []string) {
	tb.Helper()
	bank := ctePostgres(tb, f.pool, n, endless)
	_, keys := bareHandler(tb, n, nil)
	digests := make([][]byte, n)
	for i, key := range keys {
		sum := sha256.Sum256([]byte(key))
		digests[i] = sum[:]
	}
	_, err := f.pool.Exec(tb.Context(), `CREATE TABLE api_keys (digest bytea PRIMARY KEY, account bigint NOT NULL)`)
	must(tb, err)
	_, err = f.pool.Exec(tb.Context(), `INSERT INTO api_keys SELECT digest, place - 1 FROM unnest($1::bytea[]) WITH ORDINALITY AS k (digest, place)`, digests)
	must(tb, err)
	limit := httprate.LimitBy(endless, time.Minute, func(r *http.Request) (string, error) {
		return r.Header.Get("Authorization"), nil
	})
	return limit(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		sum := sha256.Sum256([]byte(key))
		var account int
		if err := f.pool.QueryRow(r.Context(), "SELECT account FROM api_keys WHERE digest = $1", sum[:]).Scan(&account); err != nil {
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		}
		if paid, err := bank.spend(r.Context(), account); !paid || err != nil {
			http.Error(w, "payment required", http.StatusPaymentRequired)
			return
		}
		next.ServeHTTP(w, r)
	})), keys
}

// gate is a server of the fleet: with a cache of keys that PostgreSQL tells of
// changes, and credits of waiting requests paid together. Leased it takes limits and
// credits many at a time as well.
func (f *fleet) gate(tb testing.TB, n int, next http.Handler, leases bool) (http.Handler, []string) {
	tb.Helper()
	db, err := pgstore.New(f.pool, &pgstore.Options{Schema: "fleet_" + strings.ToLower(rand.Text()[:12])})
	must(tb, err)
	must(tb, db.Migrate(tb.Context()))
	tb.Cleanup(func() { _ = db.Close(context.Background()) })
	service, err := apikey.NewService(db.Keys(), newFormat(tb, nil), &apikey.Options{
		Cache: &apikey.CacheOptions{Bound: 2 * time.Second, MaxAge: 5 * time.Minute, Feed: db.Feed()},
	})
	must(tb, err)
	tb.Cleanup(func() { _ = service.Close(context.Background()) })
	batcher, err := credits.NewBatcher(db.Credits(nil), nil)
	must(tb, err)
	ledger, err := credits.NewLedger(batcher, nil)
	must(tb, err)
	shared, err := redisstore.NewLimits(redisstore.Coalesced(f.redis), nil)
	must(tb, err)
	o := &middleware.Options{Credits: ledger, Limits: shared}
	if leases {
		o.Limits, err = ratelimit.NewLeasingStore(o.Limits, 1000, nil)
		must(tb, err)
		lessee, err := credits.NewLessee(ledger, &credits.LesseeOptions{Instances: 4})
		must(tb, err)
		tb.Cleanup(func() { _ = lessee.Close(context.Background()) })
		o.Leases = lessee
	}
	gate, err := middleware.NewGate(service, o)
	must(tb, err)
	return gate.Handler(middleware.Operation{
		Name: "image", Scopes: scopes.All("image:generate"), Price: middleware.Fixed(credits.Micro), Limits: gateLimits(),
	})(next), sold(tb, service, ledger, n)
}

// Every server of a fleet lets good keys in and nobody else, and pays.
func TestEveryFleetDecides(t *testing.T) {
	for _, p := range fleetPeers {
		t.Run("peer="+p.name, func(t *testing.T) {
			f, calls := assemble(t), 0
			handler, keys := p.build(t, f, 2, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				calls++
				w.WriteHeader(http.StatusNoContent)
			}))
			for _, r := range requests(append(keys, keys[0][:len(keys[0])-1])) {
				handler.ServeHTTP(&blank{header: make(http.Header)}, r)
			}
			if calls != len(keys) {
				t.Errorf("the handler ran %d times, want %d", calls, len(keys))
			}
			if f.trips.Load() == 0 {
				t.Error("nothing went to a server")
			}
		})
	}
}

// Most requests of a busy account go to no server at all once the leases are
// taken.
func TestLeasedRequestsMakeNoTrips(t *testing.T) {
	f := assemble(t)
	handler, keys := f.gate(t, 1, http.HandlerFunc(answer), true)
	r := requests(keys)[0]
	silent := 0
	const calls = 4000
	for range calls {
		before := f.trips.Load()
		w := blank{header: make(http.Header)}
		if handler.ServeHTTP(&w, r); w.status >= 400 {
			t.Fatalf("status %d", w.status)
		}
		if f.trips.Load() == before {
			silent++
		}
	}
	if silent < calls/2 {
		t.Errorf("%d of %d requests made no trip, want most of them", silent, calls)
	}
}

// BenchmarkGateFleet is one request over loopback, with 64 connections, to a server
// of a fleet whose keys and credits are on PostgreSQL, and its limits on Redis. Of
// 100 accounts each has its turn.
func BenchmarkGateFleet(b *testing.B) {
	const n = 100
	for _, p := range fleetPeers {
		b.Run("peer="+p.name, func(b *testing.B) {
			f := assemble(b)
			handler, keys := p.build(b, f, n, http.HandlerFunc(answer))
			server := httptest.NewServer(handler)
			b.Cleanup(server.Close)
			before := f.trips.Load()
			load(b, server.Listener.Addr().String(), keys)
			b.ReportMetric(float64(f.trips.Load()-before)/float64(b.N), "trips/op")
		})
	}
}
