package pgstore_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/stores/pgstore"
	"github.com/keytoll/keytoll/webhook"
)

// A neighbour is an endpoint that does not answer, with a backlog that was due
// before anything else, among endpoints that do.
type neighbour struct {
	store   *pgstore.WebhookStore
	healthy int // deliveries to the others

	mu      sync.Mutex
	claims  int
	seen    map[[2]string]bool
	dead    int // in flight, for ever
	arrived int // of healthy
}

const (
	neighbours  = 199
	backlogged  = 100_000
	eachHealthy = 5
	deadCap     = 4
)

func newNeighbour(t testing.TB) *neighbour {
	t.Helper()
	d := newDatabase(t, unsynced)
	db := d.open(t)
	n := &neighbour{store: db.Webhooks(nil), healthy: neighbours * eachHealthy, seen: make(map[[2]string]bool)}
	endpointsOf(t, n.store, "dead", 1, func(e *webhook.Endpoint) { e.Settings.MaxInFlight = deadCap })
	for _, statement := range []string{
		`INSERT INTO keytoll.messages SELECT format('old_%s', n), 'dead', 'image.created', '', 'application/json', '{}', n, 1 FROM generate_series(1, $1::int) n`,
		`INSERT INTO keytoll.deliveries (message, endpoint, state, due, tries, attempt, token, failure, manual, created_at)
			SELECT format('old_%s', n), 'dead-00000', 1, n, 0, 0, '', 0, false, n FROM generate_series(1, $1::int) n`,
	} {
		run(t, d.pool, pgstore.InSchema(db, statement), backlogged)
	}
	endpointsOf(t, n.store, "well", neighbours)
	for i := range eachHealthy {
		publish(t, n.store, "well", fmt.Sprint("m", i))
	}
	return n
}

// work claims and settles, but for what the dead endpoint never answers, until all
// that others wait for is delivered. It returns the first thing that is wrong.
func (n *neighbour) work(t testing.TB) error {
	for after := ""; ; {
		got, err := n.store.Claim(t.Context(), webhook.Claim{Token: webhook.NewID(), Limit: 64, Lease: time.Hour, After: after})
		if err != nil {
			return err
		}
		after = got.Last
		var answered []webhook.Claimed
		n.mu.Lock()
		n.claims++
		for _, c := range got.Deliveries {
			name := [2]string{c.Delivery.Endpoint, c.Delivery.Message}
			if n.seen[name] {
				err = fmt.Errorf("%v was handed out twice", name)
			}
			n.seen[name] = true
			if c.Endpoint.Account == "dead" {
				n.dead++
				continue
			}
			n.arrived++
			answered = append(answered, c)
		}
		over := n.arrived == n.healthy
		if n.dead > deadCap {
			err = fmt.Errorf("%d in flight to the dead endpoint, want at most %d", n.dead, deadCap)
		}
		n.mu.Unlock()
		if err == nil && len(answered) > 0 {
			err = n.store.Settle(t.Context(), settlements(answered), delivered)
		}
		if err != nil || over || t.Context().Err() != nil {
			return err
		}
		if len(got.Deliveries) == 0 {
			return nil // the others have the rest
		}
	}
}

// all lets eight work at once.
func (n *neighbour) all(t testing.TB) {
	t.Helper()
	each(8, func(int) {
		if err := n.work(t); err != nil {
			t.Error(err)
		}
	})
}

// A hundred thousand deliveries that wait for an endpoint that is dead, all due
// before any other, hold up nobody: what waits for the others is handed out in as
// many claims as its number asks for, each once, and the dead one gets its cap. What
// a claim costs beside such a backlog is counted by
// TestWhatADeliveryCostsDoesNotGrow, and timed by BenchmarkNoisyNeighbour.
func TestANoisyNeighbourDelaysNobody(t *testing.T) {
	n := newNeighbour(t)
	begun := time.Now()
	n.all(t)
	t.Logf("%d deliveries to others in %d claims and %v", n.arrived, n.claims, time.Since(begun))
	if n.arrived != n.healthy {
		t.Errorf("%d of %d deliveries to others were handed out", n.arrived, n.healthy)
	}
	if n.dead != deadCap {
		t.Errorf("%d in flight to the dead endpoint, want its cap of %d", n.dead, deadCap)
	}
	// Sixteen full claims would do; eight at once get in each other's way.
	if n.claims > 8*(n.healthy/64+8) {
		t.Errorf("it took %d claims", n.claims)
	}
}

func BenchmarkNoisyNeighbour(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		n := newNeighbour(b)
		b.StartTimer()
		n.all(b)
		b.ReportMetric(float64(n.arrived), "deliveries")
	}
}
