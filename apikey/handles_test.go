package apikey_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

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

func oneOf(handles []string, r *rand.Rand) string {
	if len(handles) == 0 {
		return ""
	}
	return handles[r.IntN(len(handles))]
}
