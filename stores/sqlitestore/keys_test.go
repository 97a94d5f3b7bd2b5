package sqlitestore_test

import (
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/apikey/apikeytest"
)

func TestKeysKeepTheContract(t *testing.T) {
	apikeytest.Run(t, func(t *testing.T) apikey.Store { return open(t, nil).Keys() })
}

func TestAListingGoesOnFromBetweenTwoMicroseconds(t *testing.T) {
	store := open(t, nil).Keys()
	rec := keyRecord("m")
	if err := store.Apply(t.Context(), apikey.Change{Insert: []apikey.Record{rec}}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		after time.Duration
		id    string
		want  int
	}{{0, "a", 0}, {0, "z", 1}, {1, "a", 1}, {1, "z", 1}, {-1, "z", 0}} {
		q := apikey.Query{Limit: 1, States: []apikey.State{apikey.StateActive}}
		q.After = apikey.Cursor{At: rec.Key.CreatedAt.Add(c.after), ID: c.id}
		list, err := store.List(t.Context(), q)
		if err != nil || len(list) != c.want {
			t.Errorf("after %v and %q: %d keys, %v; want %d", c.after, c.id, len(list), err, c.want)
		}
	}
}

func BenchmarkKeys(b *testing.B) {
	apikeytest.Bench(b, func(b *testing.B) apikey.Store { return open(b, nil).Keys() })
}
