package sqlitestore_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/stores/sqlitestore"
)

const (
	capOfRace  = 600 // keys that one owner may have
	labelsRace = 300 // names that can be taken
)

// fillCap makes keys of one owner from many goroutines until no more may be, and
// says how many it got.
func fillCap(ctx context.Context, db *sqlitestore.DB, seed string) error {
	limit := &apikey.Cap{Owner: "owner", Most: capOfRace, States: []apikey.State{apikey.StateActive}}
	return compete(func(g int) (won int64, err error) {
		for n := 0; err == nil; n++ {
			id := fmt.Sprintf("%s-%d-%d", seed, g, n)
			err = db.Keys().Apply(ctx, apikey.Change{Insert: []apikey.Record{keyRecord(id)}, Events: []apikey.Event{eventOf("owner", id)}, Cap: limit})
			if err == nil {
				won++
			}
		}
		if errors.Is(err, apikey.ErrKeyLimit) {
			err = nil
		}
		return won, err
	})
}

// takeLabels tries every label from many goroutines, and says how many it got.
func takeLabels(ctx context.Context, db *sqlitestore.DB, seed string) error {
	return compete(func(g int) (won int64, err error) {
		for n := range labelsRace {
			rec := keyRecord(fmt.Sprintf("%s-%d-%d", seed, g, n))
			rec.Label = "label " + strconv.Itoa(n)
			err := db.Keys().Apply(ctx, apikey.Change{Insert: []apikey.Record{rec}, Events: []apikey.Event{eventOf("owner", rec.Key.ID)}})
			switch {
			case err == nil:
				won++
			case !errors.Is(err, apikey.ErrNameTaken):
				return won, err
			}
		}
		return won, nil
	})
}

// compete runs four at once, and says how much they won.
func compete(play func(g int) (int64, error)) error {
	var won atomic.Int64
	faults := make([]error, 4)
	var group sync.WaitGroup
	for g := range faults {
		group.Go(func() {
			n, err := play(g)
			won.Add(n)
			faults[g] = err
		})
	}
	group.Wait()
	fmt.Println(won.Load())
	return errors.Join(faults...)
}

// raceForKeys has two processes compete in a role for what is there once, and returns
// the file.
func raceForKeys(t *testing.T, role string, there int) *sqlitestore.DB {
	t.Helper()
	path := newFile(t)
	children := []*child{start(t, role, path, "one"), start(t, role, path, "two")}
	for _, c := range children {
		c.release(t)
	}
	total := tally(t, children)
	if total != there {
		t.Errorf("the two won %d, want %d", total, there)
	}
	db := openAt(t, path, nil)
	if n, err := db.Int(t.Context(), "SELECT count(*) FROM keys"); err != nil || n != int64(there) {
		t.Errorf("%d keys in the file, %v; want %d", n, err, there)
	}
	if n := checkEvents(t, db, "owner"); n != there {
		t.Errorf("%d events in the file, want %d: who lost leaves none", n, there)
	}
	sound(t, db)
	return db
}

func TestTwoProcessesFillACapAndNoMore(t *testing.T) { raceForKeys(t, "cap", capOfRace) }

func TestOfTwoProcessesOneTakesEachLabel(t *testing.T) {
	db := raceForKeys(t, "label", labelsRace)
	n, err := db.Int(t.Context(), "SELECT count(DISTINCT label) FROM keys")
	if err != nil || n != labelsRace {
		t.Errorf("%d labels in the file, %v; want %d", n, err, labelsRace)
	}
}

// checkEvents proves that the events of an owner have no gap, that each is
// chained to the one before, and that there is one for each of the owner's keys.
// It returns how many there are.
func checkEvents(t *testing.T, db *sqlitestore.DB, owner string) int {
	t.Helper()
	q := apikey.EventQuery{Owner: owner, OldestFirst: true, Limit: 100}
	keys := make(map[string]bool)
	var sum [32]byte
	var seq int64
	for {
		page, err := db.Keys().Events(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page {
			if seq++; e.Seq != seq || e.Sum != e.Link(sum) {
				t.Fatalf("event %d, after %d, is not its next", e.Seq, seq-1)
			}
			if keys[e.Key] {
				t.Errorf("two events of key %s", e.Key)
			}
			sum, keys[e.Key] = e.Sum, true
			q.After = apikey.EventCursor{At: e.At, Owner: e.Owner, Seq: e.Seq}
		}
		if len(page) < q.Limit {
			break
		}
	}
	o, err := db.Keys().Owner(t.Context(), owner)
	if err != nil || o.Events != seq || o.Head != sum {
		t.Errorf("the owner has %d events and head %x, %v; want %d and %x", o.Events, o.Head, err, seq, sum)
	}
	lost, err := db.Int(t.Context(), "SELECT count(*) FROM keys WHERE owner = ?1 AND id NOT IN (SELECT key FROM events WHERE owner = ?1)", owner)
	if err != nil || lost != 0 {
		t.Errorf("%d keys without their event, %v", lost, err)
	}
	n, err := db.Int(t.Context(), "SELECT count(*) FROM keys WHERE owner = ?1", owner)
	if err != nil || n != seq {
		t.Errorf("%d keys and %d events, %v", n, seq, err)
	}
	return int(seq)
}
