package credits_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// A shuffling store hands out its rows in any order, and more of them than were
// asked for.
type shuffling struct {
	credits.Store
	rng *rand.Rand
}

func (s shuffling) Update(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	more := slices.Clone(needs)
	for i := range more {
		more[i].Spends = []credits.Spend{{Operation: "image", Amount: credits.MaxAmount}, {Operation: "chat", Amount: credits.MaxAmount}, {Amount: credits.MaxAmount}}
	}
	return s.Store.Update(ctx, more, func(now time.Time, states []*credits.State) error {
		shuffled := make([]*credits.State, len(states))
		for i, st := range states {
			shuffled[i] = &credits.State{
				Account: st.Account, More: st.More,
				Lots: shuffle(s.rng, st.Lots), Ops: shuffle(s.rng, st.Ops), Budgets: shuffle(s.rng, st.Budgets), Schedules: shuffle(s.rng, st.Schedules),
			}
		}
		if err := fn(now, shuffled); err != nil {
			return err
		}
		for i, st := range states {
			from := shuffled[i]
			st.Account, st.AccountChange, st.Entries = from.Account, from.AccountChange, append(st.Entries, from.Entries...)
			st.Lots = inPlaces(st.Lots, from.Lots, func(r credits.LotRow) any { return r.Lot.ID })
			st.Ops = inPlaces(st.Ops, from.Ops, func(r credits.OpRow) any { return r.Op.ID })
			st.Budgets = inPlaces(st.Budgets, from.Budgets, func(r credits.BudgetRow) any { return r.Budget.ID })
			st.Schedules = inPlaces(st.Schedules, from.Schedules, func(r credits.ScheduleRow) any { return r.Schedule.ID })
		}
		return nil
	})
}

func shuffle[R any](rng *rand.Rand, rows []R) []R {
	rows = slices.Clone(rows)
	rng.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	return rows
}

// inPlaces returns the changed rows in the order of the loaded ones, and those
// that were added after them.
func inPlaces[R any](loaded, changed []R, id func(R) any) []R {
	places := make(map[any]int, len(loaded))
	for i, r := range loaded {
		places[id(r)] = i
	}
	for _, r := range changed {
		if i, ok := places[id(r)]; ok {
			loaded[i] = r
		} else {
			loaded = append(loaded, r)
		}
	}
	return loaded
}

// In what order a store hands out rows, and how many more than it was asked for,
// changes no result and no row.
func TestTheOrderOfRowsChangesNothing(t *testing.T) {
	for _, seed := range seeds(t) {
		plain, other := newRig(t), newRig(t)
		l, err := credits.NewLedger(shuffling{other.store, rand.New(rand.NewPCG(seed, 8))}, nil)
		if err != nil {
			t.Fatal(err)
		}
		g := &run{rng: rand.New(rand.NewPCG(seed, 7)), poor: seed%2 == 0}
		for step := range 200 {
			g.tick(plain.clock)
			other.micros.Store(plain.micros.Load())
			cmd := g.next(plain.now())
			want, wantErr := plain.try(cmd)
			got, gotErr := do(t.Context(), l, cmd)
			if fmt.Sprint(gotErr) != fmt.Sprint(wantErr) || !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d step %d %+v:\n shuffled %+v, %v\notherwise %+v, %v", seed, step, cmd, got, gotErr, want, wantErr)
			}
		}
		if a, b := plain.snapshot(acme), other.snapshot(acme); !reflect.DeepEqual(a, b) {
			t.Fatalf("seed %d: the rows differ:\n%+v\n%+v", seed, a, b)
		}
	}
}
