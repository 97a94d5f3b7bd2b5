package sqlitestore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/apikey/apikeytest"
	"github.com/keytoll/keytoll/stores/sqlitestore"
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

func TestListingsUseAnIndex(t *testing.T) {
	db := open(t, nil)
	for name, c := range map[string]struct {
		query apikey.Query
		index string
	}{
		"everybody's": {apikey.Query{}, "keys_by_age ((created_at,id)<(?,?))"},
		"an owner's":  {apikey.Query{Owner: "o"}, "keys_by_owner (owner=? AND (created_at,id)<(?,?))"},
	} {
		t.Run(name, func(t *testing.T) {
			plan, err := db.Plan(t.Context(), sqlitestore.ListQuery(&c.query))
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(plan, "; ")
			if !strings.Contains(got, c.index) || strings.Contains(got, "TEMP B-TREE") || strings.Contains(got, "SCAN") {
				t.Errorf("plan is %q, want a search of %s and no sorting", got, c.index)
			}
		})
	}
}
