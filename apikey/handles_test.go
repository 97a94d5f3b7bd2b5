package apikey_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// The memory store finds by handle what a plain map finds, while keys come and
// change their handles.
func TestMemoryStoreAgreesWithAMap(t *testing.T) {
	const seed = 11
	r := rand.New(rand.NewPCG(seed, seed))
	store := apikey.NewMemoryStore()
	byHandle := map[string]apikey.Record{}
	var handles []string // every one that ever was
	for step := range 20_000 {
		handle := fmt.Sprintf("h%d", r.IntN(6000))
		var change apikey.Change
		rec := apikey.Record{Handle: handle, Key: apikey.Key{ID: fmt.Sprintf("key_%d", step), Version: 1}}
		old, moves := byHandle[oneOf(handles, r)]
		if moves {
			rec.Key = old.Key
			rec.Key.Version++
			change.Update = []apikey.Record{rec}
		} else {
			change.Insert = []apikey.Record{rec}
		}
		holder, taken := byHandle[handle]
		taken = taken && holder.Key.ID != rec.Key.ID
		err := store.Apply(t.Context(), change)
		if taken != errors.Is(err, apikey.ErrExists) || !taken && err != nil {
			t.Fatalf("seed %d, step %d: Apply = %v, taken %v", seed, step, err, taken)
		}
		if taken {
			continue
		}
		if moves {
			delete(byHandle, old.Handle)
		}
		byHandle[handle] = rec
		handles = append(handles, handle)
	}
	for _, handle := range handles {
		want, there := byHandle[handle]
		got, err := store.ByHandle(t.Context(), handle)
		if there != (err == nil) || there && got.Key.ID != want.Key.ID {
			t.Fatalf("seed %d: ByHandle(%q) = %+v, %v; want %+v, %v", seed, handle, got, err, want, there)
		}
	}
}

// Keys may come in any order of creation: a little late, or years.
func TestMemoryStoreListsInOrder(t *testing.T) {
	const seed = 12
	r := rand.New(rand.NewPCG(seed, seed))
	store := apikey.NewMemoryStore()
	begin := newClock().at
	var want []apikey.Cursor // newest first
	var batch []apikey.Record
	for n := range 6000 {
		late := []int{1, 3, 100, 5000, 1 << 20}[n/1200] // in seconds: ever worse
		key := apikey.Key{
			ID: fmt.Sprintf("key_%d", r.Uint32()), State: apikey.StateActive, Version: 1,
			CreatedAt: begin.Add(time.Duration(n-r.IntN(late)) * time.Second),
		}
		batch = append(batch, apikey.Record{Handle: fmt.Sprint(n), Key: key})
		want = append(want, apikey.Cursor{At: key.CreatedAt, ID: key.ID})
		if len(batch) < 600 {
			continue
		}
		if err := store.Apply(t.Context(), apikey.Change{Insert: batch}); err != nil {
			t.Fatal(err)
		}
		batch = batch[:0]
		slices.SortFunc(want, func(a, b apikey.Cursor) int {
			return cmp.Or(b.At.Compare(a.At), cmp.Compare(b.ID, a.ID))
		})
		list := must(store.List(t.Context(), apikey.Query{States: []apikey.State{apikey.StateActive}, Limit: len(want)}))(t)
		if !slices.EqualFunc(list, want, func(rec apikey.Record, c apikey.Cursor) bool { return rec.Key.ID == c.ID }) {
			t.Fatalf("seed %d: the listing of %d keys, %d long, is not newest first", seed, n+1, len(list))
		}
	}
}

func oneOf(handles []string, r *rand.Rand) string {
	if len(handles) == 0 {
		return ""
	}
	return handles[r.IntN(len(handles))]
}
