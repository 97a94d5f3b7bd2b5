package pgstore_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/keytoll/keytoll/apikey"
	kerrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/scopes"
	"github.com/keytoll/keytoll/stores/pgstore"
	"github.com/keytoll/keytoll/stores/pgstore/pgtest"
)

// Changes of several owners and keys cross each other, in every order, together
// with uses of the same keys. None waits for ever, none is refused for that, and
// the server never finds a deadlock, at any isolation level.
func TestChangesThatCrossDoNotDeadlock(t *testing.T) {
	for _, level := range []string{"read committed", "repeatable read", "serializable"} {
		t.Run(level, func(t *testing.T) {
			d := newDatabase(t, func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["default_transaction_isolation"] = level })
			db := d.open(t)
			const keys, owners, workers, rounds = 6, 4, 8, 12
			var all []apikey.Record
			for n := range keys {
				all = append(all, keyRecord(n))
			}
			if err := db.Keys().Apply(t.Context(), apikey.Change{Insert: all}); err != nil {
				t.Fatal(err)
			}
			var sum [keys]atomic.Int64 // updates that succeeded
			var events atomic.Int64
			each(workers, func(worker int) {
				random := rand.New(rand.NewPCG(1, uint64(worker)))
				for range rounds {
					var c apikey.Change
					var uses []apikey.Use
					for _, n := range random.Perm(keys)[:3] {
						rec, err := db.Keys().ByID(t.Context(), all[n].Key.ID)
						if err != nil {
							t.Error(err)
							return
						}
						rec.Key.Version++
						c.Update = append(c.Update, rec)
						uses = append(uses, apikey.Use{ID: rec.Key.ID, At: begin.Add(time.Duration(random.IntN(1e9)))})
					}
					for _, n := range random.Perm(owners) {
						c.Events = append(c.Events, apikey.Event{Owner: fmt.Sprintf("acct_%d", n), Kind: apikey.EventRenamed, At: begin})
					}
					if err := db.Keys().Touch(t.Context(), uses); err != nil {
						t.Errorf("Touch: %v", err)
					}
					switch err := db.Keys().Apply(t.Context(), c); {
					case err == nil:
						events.Add(owners)
						for _, rec := range c.Update {
							var n int
							_, _ = fmt.Sscanf(rec.Key.ID, "key_%d", &n)
							sum[n].Add(1)
						}
					case !kerrors.Is(err, apikey.ErrConflict):
						t.Errorf("Apply: %v, want success or ErrConflict", err)
					}
				}
			})
			for n := range keys {
				rec, err := db.Keys().ByID(t.Context(), all[n].Key.ID)
				if err != nil || rec.Key.Version != 1+sum[n].Load() {
					t.Errorf("key %d has version %d after %d updates, %v", n, rec.Key.Version, sum[n].Load(), err)
				}
			}
			list, err := db.Keys().Events(t.Context(), apikey.EventQuery{AnyOwner: true, Limit: 1 << 20})
			if err != nil || int64(len(list)) != events.Load() {
				t.Errorf("%d events, %v; want %d", len(list), err, events.Load())
			}
			var deadlocks int
			if err := d.pool.QueryRow(t.Context(), `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`).Scan(&deadlocks); err != nil || deadlocks > 0 {
				t.Errorf("the server found %d deadlocks, %v", deadlocks, err)
			}
		})
	}
}

// Two updates of one change may swap labels, and a handle may go from an update
// to an insert.
func TestLabelsAndHandlesChangeHandsWithinAChange(t *testing.T) {
	store := newDatabase(t).open(t).Keys()
	one, two := keyRecord(1), keyRecord(2)
	one.Label, two.Label = "blue", "green"
	if err := store.Apply(t.Context(), apikey.Change{Insert: []apikey.Record{one, two}}); err != nil {
		t.Fatal(err)
	}
	one.Label, two.Label, one.Key.Version, two.Key.Version = two.Label, one.Label, 2, 2
	if err := store.Apply(t.Context(), apikey.Change{Update: []apikey.Record{one, two}}); err != nil {
		t.Errorf("swapped labels: %v", err)
	}
	three := keyRecord(3)
	three.Handle, one.Handle, one.Key.Version = one.Handle, "new", 3
	if err := store.Apply(t.Context(), apikey.Change{Update: []apikey.Record{one}, Insert: []apikey.Record{three}}); err != nil {
		t.Errorf("a handle that an update gave up: %v", err)
	}
	two.Label, two.Key.Version = one.Label, 3
	if err := store.Apply(t.Context(), apikey.Change{Update: []apikey.Record{two}}); !kerrors.Is(err, apikey.ErrNameTaken) {
		t.Errorf("a label twice: %v, want ErrNameTaken", err)
	}
}

// However much goes with it, a change is one round trip.
func TestEveryCallIsOneRoundTrip(t *testing.T) {
	line := newLine(t, pgtest.Database(t))
	config, err := pgxpool.ParseConfig(line.url)
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = 1
	config.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false }
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	db, err := pgstore.New(pool, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	store, ctx := db.Keys(), t.Context()
	format, err := apikey.NewFormat("gx", nil)
	if err != nil {
		t.Fatal(err)
	}
	service, err := apikey.NewService(store, format, nil)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	query := apikey.Query{Owner: "owner", States: []apikey.State{apikey.StateActive}, Limit: 10}
	for name, call := range map[string]func() error{
		"creating with an event, a cap and a notice": func() error {
			n++
			return store.Apply(ctx, apikey.Change{
				Insert: []apikey.Record{keyRecord(n)}, Cap: &apikey.Cap{Owner: "owner", Most: 1_000_000, States: query.States},
				Events: []apikey.Event{{Owner: "owner", Kind: apikey.EventCreated, At: begin}}, Notices: []apikey.Notice{{Owner: "owner"}},
			})
		},
		"rotating with two events": func() error {
			n++
			old := keyRecord(n)
			if err := store.Apply(ctx, apikey.Change{Insert: []apikey.Record{old}}); err != nil {
				return err
			}
			line.turns.Store(0)
			n++
			old.Key.Version, old.Key.Successor = 2, keyRecord(n).Key.ID
			return store.Apply(ctx, apikey.Change{
				Update: []apikey.Record{old}, Insert: []apikey.Record{keyRecord(n)}, Notices: []apikey.Notice{{Handle: old.Handle}},
				Events: []apikey.Event{{Owner: "owner", Kind: apikey.EventRotated, At: begin}, {Owner: "owner", Kind: apikey.EventCreated, At: begin}},
			})
		},
		"a thousand keys": func() error {
			var c apikey.Change
			for range 1000 {
				n++
				c.Insert = append(c.Insert, keyRecord(n))
			}
			return store.Apply(ctx, c)
		},
		"Service.Create": func() error {
			_, err := service.Create(ctx, apikey.Spec{Owner: "acct"})
			return err
		},
		"Touch": func() error {
			return store.Touch(ctx, []apikey.Use{{ID: "key_1", At: begin}, {ID: "key_2", At: begin}})
		},
		"ByID": func() error { _, err := store.ByID(ctx, "key_1"); return ignore(err, apikey.ErrNotFound) },
		"ByHandle": func() error {
			_, err := store.ByHandle(ctx, "handle1")
			return ignore(err, apikey.ErrNotFound)
		},
		"List":   func() error { _, err := store.List(ctx, query); return err },
		"Owner":  func() error { _, err := store.Owner(ctx, "owner"); return err },
		"Events": func() error { _, err := store.Events(ctx, apikey.EventQuery{Owner: "owner", Limit: 10}); return err },
		"Census": func() error { _, err := store.Census(ctx); return err },
	} {
		for round := range 3 {
			line.turns.Store(0)
			if err := call(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if turns := line.turns.Load(); round > 0 && turns != 1 {
				t.Errorf("%s takes %d round trips, want 1", name, turns)
			}
		}
	}
}

func ignore(err, wanted error) error {
	if kerrors.Is(err, wanted) {
		return nil
	}
	return err
}

// Nothing that the server keeps, in whatever table or on the way there, holds
// the text of a key.
func TestNoStoredByteHoldsASecret(t *testing.T) {
	d := newDatabase(t)
	db := d.open(t)
	tracer := new(spy)
	config := d.pool.Config()
	config.ConnConfig.Tracer = tracer
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if db, err = pgstore.New(pool, &pgstore.Options{Schema: db.Schema()}); err != nil {
		t.Fatal(err)
	}
	format, err := apikey.NewFormat("gx", nil)
	if err != nil {
		t.Fatal(err)
	}
	service, err := apikey.NewService(db.Keys(), format, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx := apikey.WithActor(t.Context(), apikey.Actor{ID: "admin", IP: netip.MustParseAddr("::ffff:192.0.2.1")})
	granted, err := scopes.Of("a:b")
	if err != nil {
		t.Fatal(err)
	}
	issued, err := service.Create(ctx, apikey.Spec{Owner: "acct", Name: "CI", Scopes: granted})
	if err != nil {
		t.Fatal(err)
	}
	next, err := service.Rotate(ctx, issued.Key.ID, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{issued.Secret.Reveal(), next.Secret.Reveal()} {
		if _, err := service.Verify(ctx, token, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := service.Close(ctx); err != nil {
		t.Fatal(err)
	}
	var stored bytes.Buffer
	for _, table := range []string{"keys", "owners", "events"} {
		rows, err := pool.Query(ctx, pgstore.InSchema(db, "SELECT t::text FROM keytoll."+table+" t"))
		if err != nil {
			t.Fatal(err)
		}
		texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil || len(texts) == 0 {
			t.Fatalf("%s holds %d rows, %v", table, len(texts), err)
		}
		for _, text := range texts {
			stored.WriteString(text)
		}
	}
	for _, issued := range []apikey.Issued{issued, next} {
		token := issued.Secret.Reveal()
		secret := token[len(token)-20:]
		for name, text := range map[string]string{"the tables": stored.String(), "what was sent": tracer.String()} {
			if strings.Contains(text, secret) {
				t.Errorf("%s hold the secret of %s", name, issued.Key.ID)
			}
			if !strings.Contains(text, issued.Key.ID) {
				t.Errorf("%s do not hold even the ID of %s", name, issued.Key.ID)
			}
		}
	}
}

// A spy keeps the arguments of every statement.
type spy struct {
	mu   sync.Mutex
	said bytes.Buffer
}

func (s *spy) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(&s.said, "%s %q\n", data.SQL, data.Args)
	return ctx
}

func (s *spy) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (s *spy) String() string { return s.said.String() }
