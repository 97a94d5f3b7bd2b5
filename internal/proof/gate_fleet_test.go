package proof_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/idempotency"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/stores/pgstore"
	"github.com/keytoll/keytoll/stores/pgstore/pgtest"
	"github.com/keytoll/keytoll/stores/redisstore"
	"github.com/keytoll/keytoll/stores/redisstore/redistest"
	"github.com/keytoll/keytoll/stores/sqlitestore"
)

// price is what a call of a gate costs in these tests.
const price = 5 * credits.Credit

// patience is how long a test waits for what has to come: far longer than it takes.
const patience = 30 * time.Second

// A place is where a fleet keeps its state: a file, or servers. It passes to other
// processes as JSON. The empty place is this process's memory.
type place struct {
	File, Postgres, Redis string

	memory *kept
}

// kept is everything that a gate keeps.
type kept struct {
	keys    apikey.Store
	limits  ratelimit.Store
	credits credits.Store
	answers idempotency.Store
}

// places are those that a fleet may have.
var places = []struct {
	name string
	make func(t *testing.T) place
}{
	{"memory", inMemoryPlace},
	{"SQLite", func(t *testing.T) place { return place{File: filepath.Join(t.TempDir(), "fleet.db")} }},
	{"PostgreSQL", func(t *testing.T) place { return place{Postgres: unsynced(t)} }},
	{"PostgreSQL and Redis", func(t *testing.T) place {
		return place{Postgres: unsynced(t), Redis: redistest.StartOwn(t).Addr()}
	}},
}

func inMemoryPlace(t *testing.T) place {
	t.Helper()
	limits, err := ratelimit.NewMemoryStore(nil)
	must(t, err)
	answers, err := idempotency.NewMemoryStore(nil)
	must(t, err)
	return place{memory: &kept{apikey.NewMemoryStore(), limits, credits.NewMemoryStore(nil), answers}}
}

// unsynced is a database of which not every commit has to reach the disk: nothing
// is unplugged here.
func unsynced(t *testing.T) string {
	t.Helper()
	url := pgtest.Database(t)
	if strings.Contains(url, "?") {
		return url + "&synchronous_commit=off"
	}
	return url + "?synchronous_commit=off"
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// open opens the place with connections of its own, as a process would.
func (p place) open(t *testing.T) *kept {
	t.Helper()
	if p.memory != nil {
		return p.memory
	}
	var k kept
	closed := func(end func(context.Context) error) {
		t.Cleanup(func() {
			if err := end(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		})
	}
	switch {
	case p.File != "":
		db, err := sqlitestore.Open(p.File, &sqlitestore.Options{Synchronous: sqlitestore.Normal})
		must(t, err)
		closed(db.Close)
		must(t, db.Migrate(t.Context()))
		k = kept{db.Keys(), db.Limits(), db.Credits(), db.Idempotency()}
	case p.Postgres != "":
		db, err := pgstore.Open(p.Postgres, nil)
		must(t, err)
		closed(db.Close)
		must(t, db.Migrate(t.Context()))
		k = kept{db.Keys(), db.Limits(nil), db.Credits(nil), db.Idempotency(nil)}
	}
	if p.Redis != "" {
		client := redis.NewClient(&redis.Options{Addr: p.Redis, ContextTimeoutEnabled: true})
		closed(func(context.Context) error { return client.Close() })
		var err error
		k.limits, err = redisstore.NewLimits(redisstore.Coalesced(client), nil)
		must(t, err)
		k.answers, err = redisstore.NewIdempotency(redisstore.Coalesced(client), nil)
		must(t, err)
	}
	return &k
}

// An instance is one of the processes of a fleet, as far as its stores can tell.
type instance struct {
	gate   *middleware.Gate
	keys   *apikey.Service
	ledger *credits.Ledger
	mux    *http.ServeMux
	url    string
}

func newInstance(t *testing.T, k *kept, adjust ...func(*middleware.Options)) *instance {
	t.Helper()
	format, err := apikey.NewFormat("proof", nil)
	must(t, err)
	i := &instance{ledger: newLedger(t, k.credits), mux: http.NewServeMux()}
	i.keys, err = apikey.NewService(k.keys, format, nil)
	must(t, err)
	o := &middleware.Options{Credits: i.ledger, Limits: k.limits, Idempotency: &middleware.IdempotencyOptions{Store: k.answers}, Observer: quiet{}}
	for _, f := range adjust {
		f(o)
	}
	i.gate, err = middleware.NewGate(i.keys, o)
	must(t, err)
	return i
}

// quiet is an observer that tells nobody: stores fail on purpose here.
type quiet struct{}

func (quiet) Decided(context.Context, middleware.Decision) {}
func (quiet) Settled(context.Context, middleware.Settled)  {}

// handle puts the operation in front of h, under its name.
func (i *instance) handle(op middleware.Operation, h http.HandlerFunc) {
	i.mux.Handle("/"+op.Name, i.gate.Handler(op)(h))
}

// serve serves h, through which i.mux is reached, and returns i.
func (i *instance) serve(t *testing.T, h http.Handler) *instance {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	i.url = s.URL
	return i
}

// A fleet is instances over one place, and a client of theirs with an account.
type fleet struct {
	*testing.T
	instances []*instance
	client    *http.Client
	account   credits.AccountID
	secret    string
}

// newFleet returns one of instances that serve.
func newFleet(t *testing.T, instances ...*instance) *fleet {
	t.Helper()
	return &fleet{T: t, instances: instances, client: newClient(t)}
}

// of returns the fleet for a test of its own: with an account that can pay for so
// many calls, and an operation that no other test has.
func (f *fleet) of(t *testing.T, calls int, op middleware.Operation, h http.HandlerFunc) *fleet {
	t.Helper()
	own := *f
	own.T, own.account = t, credits.AccountID(op.Name)
	for _, i := range f.instances {
		i.handle(op, h)
	}
	own.secret = f.instances[0].issue(t, op.Name)
	own.grant("first", calls)
	return &own
}

// issue makes a key of the owner.
func (i *instance) issue(t *testing.T, owner string) string {
	t.Helper()
	issued, err := i.keys.Create(t.Context(), apikey.Spec{Owner: owner})
	must(t, err)
	return issued.Secret.Reveal()
}

// newClient returns a client that sends everything at once and nothing twice.
func newClient(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// An answer is what a client was told.
type answer struct {
	status   int
	replayed bool
	body     string
}

// call sends one request.
func call(t testing.TB, client *http.Client, url, secret, idempotencyKey string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("a castle"))
	if err != nil {
		t.Error(err)
		return answer{}
	}
	r.Header.Set("Authorization", "Bearer "+secret)
	if idempotencyKey != "" {
		r.Header.Set(idempotency.HeaderKey, idempotencyKey)
	}
	w, err := client.Do(r)
	if err != nil {
		return answer{body: err.Error()}
	}
	defer w.Body.Close()
	body, err := io.ReadAll(w.Body)
	if err != nil {
		return answer{body: err.Error()}
	}
	return answer{w.StatusCode, w.Header.Get(idempotency.HeaderReplayed) == "true", string(body)}
}

// call has the client call instance n, or those after it in turn.
func (f *fleet) call(n int, path, idempotencyKey string) answer {
	f.Helper()
	return call(f.T, f.client, f.instances[n%len(f.instances)].url+path, f.secret, idempotencyKey)
}

// crowd is how many clients call at once.
const crowd = 64

// race has the crowd call at once, one instance and the other in turn, gives each
// answer to told as it comes, and returns how often each status came.
func (f *fleet) race(path, idempotencyKey string, told func(answer)) map[int]int {
	f.Helper()
	start, answers := make(chan struct{}), make(chan answer, crowd)
	for n := range crowd {
		go func() {
			<-start
			answers <- f.call(n, path, idempotencyKey)
		}()
	}
	close(start)
	statuses := make(map[int]int)
	for range crowd {
		a := <-answers
		statuses[a.status]++
		if a.status == 0 {
			f.Errorf("a client was told nothing: %s", a.body)
		}
		if told != nil {
			told(a)
		}
	}
	return statuses
}

// grant gives the account what so many calls cost.
func (f *fleet) grant(id credits.OpID, calls int) {
	f.Helper()
	_, err := f.instances[0].ledger.Grant(f.Context(), credits.Grant{Account: f.account, ID: id, Amount: credits.Amount(calls) * price})
	must(f, err)
}

// charged wants the account to have paid for so many calls, and nothing to be held.
func (f *fleet) charged(calls int) {
	f.Helper()
	f.instances[len(f.instances)-1].charged(f.T, f.account, calls)
}

func (i *instance) charged(t *testing.T, account credits.AccountID, calls int) {
	t.Helper()
	b, err := i.ledger.Balance(t.Context(), account)
	if err != nil || b.Consumed != credits.Amount(calls)*price || b.Held != 0 || !b.Balanced() {
		t.Errorf("the account has %+v, %v; want %v consumed and nothing held", b.Totals, err, credits.Amount(calls)*price)
	}
	if _, err := i.ledger.Verify(t.Context(), nil); err != nil {
		t.Error(err)
	}
}
