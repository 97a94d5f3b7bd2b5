package credits

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"
)

// contents is what a store keeps of an account, but for its Version, which counts
// updates.
type contents struct {
	Account Account
	Budgets []Budget
	Ops     map[OpID]Op
	Lots    map[LotID]Lot
	Entries []Entry
}

func read(t *testing.T, s Store) contents {
	t.Helper()
	c := contents{Ops: make(map[OpID]Op), Lots: make(map[LotID]Lot)}
	err := s.Inspect(t.Context(), "acme", func(s Snapshot) error {
		c.Account = s.Account
		c.Account.Version = 0
		for b := range s.Budgets {
			c.Budgets = append(c.Budgets, b)
		}
		for o := range s.Ops {
			c.Ops[o.ID] = o
		}
		for l := range s.Lots {
			c.Lots[l.ID] = l
		}
		for e := range s.Entries {
			c.Entries = append(c.Entries, e)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// atOnce runs commands on one and the same state, as a batch does, and returns
// what each came to.
func atOnce(ctx context.Context, s Store, opt *settings, cmds []command) ([]string, error) {
	need := Need{Account: "acme"}
	for _, c := range cmds {
		c.need(&need)
	}
	var came []string
	err := s.Update(ctx, []Need{need}, func(now time.Time, states []*State) error {
		came = nil
		states[0].zones = opt.zones
		for _, c := range cmds {
			r, err := c.apply(states[0], micros(now), opt, nil)
			came = append(came, fmt.Sprintf("%+v, %v", r, err))
		}
		return nil
	})
	return came, err
}

// Many commands on one state come to the same as one after the other: budgets
// that are set, used, changed, removed and set again among them, few and many.
func TestBudgetsInABatch(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 8))
		now := time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC)
		clock := func() time.Time { return now }
		batched, single := NewMemoryStore(&MemoryOptions{Now: clock}), NewMemoryStore(&MemoryOptions{Now: clock})
		opt, err := (*Options)(nil).settings()
		if err != nil {
			t.Fatal(err)
		}
		opt.zones = new(zones)
		budgets := 3 + 30*int(seed%2) // few are sought one by one, many in an index
		next := 0
		random := func() command {
			next++
			id := OpID(fmt.Sprint(next))
			key := []string{"", "red", "red/app", "blue", "red/app/k"}[rng.IntN(5)]
			operation := []string{"", "image"}[rng.IntN(2)]
			budget := BudgetID(fmt.Sprint("b", rng.IntN(budgets)))
			last := OpID(fmt.Sprint(max(1, next-1-rng.IntN(8))))
			switch rng.IntN(8) {
			case 0, 1:
				return &setBudget{Budget: Budget{
					Account: "acme", ID: budget, Key: key, Operation: operation, Amount: Amount(rng.IntN(200)), Every: Span(rng.IntN(3)),
					Base: Amount(rng.IntN(3)), Thresholds: "50,100", Soft: rng.IntN(2) == 0,
				}}
			case 2:
				return &removeBudget{"acme", budget}
			case 3, 4:
				return &Hold{Account: "acme", ID: id, Amount: Amount(rng.IntN(20)), Key: key, Operation: operation, TTL: time.Minute}
			case 5:
				return &Debit{Account: "acme", ID: id, Amount: Amount(rng.IntN(20)), Key: key, Operation: operation}
			case 6:
				return &Refund{Account: "acme", ID: id, Of: last, All: true}
			}
			return &Release{Account: "acme", Hold: last}
		}
		first := []command{&Grant{Account: "acme", ID: "g", Amount: MaxAmount}}
		for round := range 30 {
			cmds := first
			if first = nil; cmds == nil {
				for range 1 + rng.IntN(20) {
					cmds = append(cmds, random())
				}
			}
			got, err := atOnce(t.Context(), batched, &opt, cmds)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for _, c := range cmds {
				came, err := atOnce(t.Context(), single, &opt, []command{c})
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, came...)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d round %d: together\n%q, one by one\n%q", seed, round, got, want)
			}
			if a, b := read(t, batched), read(t, single); !reflect.DeepEqual(a, b) {
				t.Fatalf("seed %d round %d: together\n%+v, one by one\n%+v", seed, round, a.Budgets, b.Budgets)
			}
			if a := read(t, batched); int(a.Account.Budgets) != len(a.Budgets) {
				t.Fatalf("seed %d round %d: %d budgets, and the account counts %d", seed, round, len(a.Budgets), a.Account.Budgets)
			}
			now = now.Add(time.Duration(rng.IntN(90)) * time.Minute)
		}
	}
}

// When a zone's rules change, the window that was begun under the old ones goes
// on to its end, and the next one begins there.
func TestAWindowEndsWhereItWasToEnd(t *testing.T) {
	t.Parallel()
	end := time.Date(2026, 2, 1, 0, 30, 0, 0, time.UTC)
	b := Budget{Every: Day, Amount: 10, Used: 10, Start: end.AddDate(0, 0, -1), End: end}
	for _, now := range []time.Time{end.Add(-time.Microsecond), end, end.Add(23 * time.Hour)} {
		if err := b.roll(now, nil); err != nil {
			t.Fatal(err)
		}
		if rolled := b.Used == 0; rolled == now.Before(end) || rolled && (!b.Start.Equal(end) || !b.End.Equal(time.Date(2026, 2, 2, 0, 0, 0, 0, time.UTC))) {
			t.Errorf("at %v: %+v", now, b)
		}
	}
}
