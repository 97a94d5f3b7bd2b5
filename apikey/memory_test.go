package apikey_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/apikey/apikeytest"
)

func TestMemoryStore(t *testing.T) {
	apikeytest.Run(t, func(*testing.T) apikey.Store { return apikey.NewMemoryStore() })
}

func BenchmarkMemoryStore(b *testing.B) {
	apikeytest.Bench(b, func(*testing.B) apikey.Store { return apikey.NewMemoryStore() })
}

// A look-up costs nothing to collect, found or not.
func TestMemoryStoreFindsWithoutAllocating(t *testing.T) {
	store := apikey.NewMemoryStore()
	rec := apikey.Record{Handle: "handle", Key: apikey.Key{ID: "key_1", Owner: "acct_1", State: apikey.StateActive, Version: 1}}
	if err := store.Apply(t.Context(), apikey.Change{Insert: []apikey.Record{rec}}); err != nil {
		t.Fatal(err)
	}
	for _, handle := range []string{"handle", "another"} {
		if n := testing.AllocsPerRun(100, func() { _, _ = store.ByHandle(t.Context(), handle) }); n != 0 && !raceEnabled {
			t.Errorf("ByHandle(%q) allocates %v times", handle, n)
		}
	}
}

// Events may come in any order of instants: a little late, or years.
func TestMemoryStoreListsEventsInOrder(t *testing.T) {
	const seed = 13
	r := rand.New(rand.NewPCG(seed, seed))
	store := apikey.NewMemoryStore()
	begin := newClock().at
	oldest := func(a, b apikey.Event) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Seq, b.Seq))
	}
	var want, batch []apikey.Event
	seq := map[string]int64{}
	for n := range 12_000 {
		late := []int{1, 3, 100, 9000, 1 << 20}[n/2400] // in seconds: ever worse
		e := apikey.Event{Owner: fmt.Sprint(r.IntN(3)), At: begin.Add(time.Duration(n-r.IntN(late)) * time.Second), Kind: apikey.EventCreated}
		batch = append(batch, e)
		seq[e.Owner]++
		e.Seq = seq[e.Owner]
		want = append(want, e)
		if len(batch) < 600 {
			continue
		}
		if err := store.Apply(t.Context(), apikey.Change{Events: batch}); err != nil {
			t.Fatal(err)
		}
		batch = batch[:0]
		slices.SortFunc(want, oldest)
		list := must(store.Events(t.Context(), apikey.EventQuery{AnyOwner: true, OldestFirst: true, Limit: len(want)}))(t)
		if !slices.EqualFunc(list, want, func(a, b apikey.Event) bool { return oldest(a, b) == 0 }) {
			t.Fatalf("seed %d: the listing of %d events, %d long, is not oldest first", seed, n+1, len(list))
		}
	}
}

// A look-up that a change overtakes between the record and its owner is made
// again. The suite asks as much; here there are more threads than processors,
// so that some are stopped in between.
func TestMemoryStoreLooksUpAsOfOneMoment(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	store := apikey.NewMemoryStore()
	rec := apikey.Record{Handle: "handle", Key: apikey.Key{ID: "key_1", Owner: "acct_1", State: apikey.StateActive, Version: 1}}
	if err := store.Apply(t.Context(), apikey.Change{Insert: []apikey.Record{rec}}); err != nil {
		t.Fatal(err)
	}
	var over atomic.Bool
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for !over.Load() {
				got, err := store.ByHandle(context.Background(), "handle")
				if err != nil || got.Owner.Version != got.Key.Version-1 {
					t.Errorf("the record is of version %d, its owner of %d, error %v", got.Key.Version, got.Owner.Version, err)
					return
				}
			}
		})
	}
	for n := range int64(6_000) {
		rec.Key.Version++
		o := apikey.Owner{ID: "acct_1", Epoch: 1, Version: n + 1}
		if err := store.Apply(t.Context(), apikey.Change{Owner: &o, Update: []apikey.Record{rec}}); err != nil {
			t.Error(err)
			break
		}
	}
	over.Store(true)
	wg.Wait()
}
