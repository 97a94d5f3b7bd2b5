package credits_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// A plan is random commands with schedules among them, on a scale of hours.
type plan struct{ run }

func newPlan(seed, stream uint64) *plan {
	return &plan{run{rng: rand.New(rand.NewPCG(seed, stream)), forward: true}}
}

func (g *plan) tick(c *clock) {
	hours := g.rng.IntN(90)
	if g.rng.IntN(8) == 0 {
		hours *= 40
	}
	c.add(time.Duration(hours) * time.Minute)
}

// schedule returns one of three, which only CatchUpAll makes independent of who
// looks when.
func (g *plan) schedule(now time.Time) credits.Schedule {
	s := credits.Schedule{
		Account: acme, ID: credits.ScheduleID(fmt.Sprint("s", g.rng.IntN(3))), Amount: 1 + g.amount(),
		Unit: credits.Unit(1 + g.rng.IntN(2)), Every: 1 + g.rng.IntN(3), Zone: []string{"", "Europe/Berlin"}[g.rng.IntN(2)],
		Anchor:   now.Add(time.Duration(g.rng.IntN(600)-500) * time.Minute).Truncate(time.Hour),
		Rollover: g.amount() / 2, Priority: g.rng.IntN(3) - 1, Category: credits.Plan,
	}
	switch g.rng.IntN(5) {
	case 0:
		s.Rollover, s.Lifetime = 0, time.Duration(1+g.rng.IntN(400))*time.Minute
	case 1:
		s.Rollover, s.Lifetime, s.Only = 0, credits.NoTimeout, credits.Only("image")
	case 2:
		s.Until = s.Anchor.Add(time.Duration(1+g.rng.IntN(30)) * time.Hour)
	}
	return s
}

// step gives the same command to all ledgers, and returns what came of it.
func (g *plan) step(t *testing.T, now time.Time, ledgers ...*credits.Ledger) []string {
	t.Helper()
	results := make([]string, len(ledgers))
	each := func(f func(l *credits.Ledger) (any, error)) {
		for i, l := range ledgers {
			got, err := f(l)
			results[i] = fmt.Sprintf("%+v, %v", got, err)
		}
	}
	switch g.rng.IntN(8) {
	case 0:
		s := g.schedule(now)
		each(func(l *credits.Ledger) (any, error) { return l.SetSchedule(t.Context(), s) })
	case 1:
		if g.rng.IntN(4) == 0 {
			id := credits.ScheduleID(fmt.Sprint("s", g.rng.IntN(3)))
			each(func(l *credits.Ledger) (any, error) { return nil, l.RemoveSchedule(t.Context(), acme, id) })
		}
	case 2:
		h := credits.Hold{Account: acme, ID: g.id("h"), Amount: g.amount(), TTL: time.Duration(1+g.rng.IntN(300)) * time.Minute, Operation: "image"}
		each(func(l *credits.Ledger) (any, error) { return l.Hold(t.Context(), h) })
	default:
		cmd := g.next(now)
		each(func(l *credits.Ledger) (any, error) { return do(t.Context(), l, cmd) })
	}
	return results
}

// The same with schedules and what rolls over: whether somebody comes by between
// the commands, and how many due rows an update is given, changes nothing.
func TestWhenSchedulesArePostedChangesNothing(t *testing.T) {
	for _, seed := range seeds(t) {
		lazy, eager := newRig(t), newRig(t)
		g := newPlan(seed, 7)
		for step := range 200 {
			g.tick(lazy.clock)
			eager.micros.Store(lazy.micros.Load())
			eager.idle(fmt.Sprint("idle", step))
			if got := g.step(t, lazy.now(), lazy.Ledger, eager.Ledger); got[0] != got[1] {
				t.Fatalf("seed %d step %d: with idle commands\n%s\nwithout\n%s", seed, step, got[1], got[0])
			}
			a, err := lazy.Balance(t.Context(), acme)
			b, err2 := eager.Balance(t.Context(), acme)
			if a != b || err != nil || err2 != nil {
				t.Fatalf("seed %d step %d: balance with idle commands %+v, without %+v, %v, %v", seed, step, b, a, err, err2)
			}
			if _, err := lazy.Verify(t.Context(), nil); err != nil {
				t.Fatalf("seed %d step %d: %v", seed, step, err)
			}
		}
		lazy.idle("end")
		eager.idle("end")
		a, b := lazy.snapshot(acme), eager.snapshot(acme)
		if !reflect.DeepEqual(a.Entries, b.Entries) || !reflect.DeepEqual(a.Lots, b.Lots) {
			t.Fatalf("seed %d: the journals differ:\n%+v\n%+v", seed, a.Entries, b.Entries)
		}
		if n := kinds(a.Entries)[credits.KindRoll]; n == 0 && seed < 10 {
			t.Errorf("seed %d: nothing rolled over, so the run proves little", seed)
		}
	}
}

// idle makes somebody come by, and post what is due: a debit of nothing does even
// when a budget of nothing refuses it.
func (r *rig) idle(id string) {
	r.t.Helper()
	if _, err := r.try(debit(credits.OpID(id), 0)); err != nil && !errors.Is(err, credits.ErrInsufficient) {
		r.t.Fatal(err)
	}
}

func kinds(entries []credits.Entry) map[credits.Kind]int {
	n := make(map[credits.Kind]int)
	for _, e := range entries {
		n[e.Kind]++
	}
	return n
}

// What passes from a to c is what passes from a to b and from b to c, wherever b
// is. OpenMeter's engine is tested for the same.
func TestARunIsTheSumOfItsParts(t *testing.T) {
	for _, seed := range seeds(t) {
		whole, cut := newRig(t), newRig(t)
		g := newPlan(seed, 8)
		for range 40 {
			g.tick(whole.clock)
			cut.micros.Store(whole.micros.Load())
			g.step(t, whole.now(), whole.Ledger, cut.Ledger)
		}
		for n := range 1 + g.rng.IntN(5) {
			d := time.Duration(g.rng.Int64N(int64(40 * time.Hour))).Truncate(time.Microsecond)
			whole.add(d)
			cut.add(d)
			cut.idle(fmt.Sprint("cut", n))
		}
		whole.idle("end")
		cut.idle("end")
		a, b := whole.snapshot(acme), cut.snapshot(acme)
		if !reflect.DeepEqual(a.Entries, b.Entries) || !reflect.DeepEqual(a.Lots, b.Lots) {
			t.Fatalf("seed %d: in one piece\n%+v\nin several\n%+v", seed, a.Entries, b.Entries)
		}
	}
}

// paired runs the functions of two updates on the same states, as a batcher does.
type paired struct {
	credits.Store
	needs []credits.Need
	other func(time.Time, []*credits.State) error
	err   error
}

func (s *paired) Update(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	both := slices.Clone(needs)
	both[0].Ops = slices.Concat(both[0].Ops, s.needs[0].Ops)
	both[0].Spends = []credits.Spend{{Amount: credits.MaxAmount}}
	return s.Store.Update(ctx, both, func(now time.Time, states []*credits.State) error {
		err := fn(now, states)
		if other := s.other(now, states); s.err == nil {
			s.err = other // none, until it is decided
		}
		return err
	})
}

// joining lets another command run with each of its updates.
type joining struct {
	credits.Store
	with func(needs []credits.Need, fn func(time.Time, []*credits.State) error) error
}

func (s joining) Update(_ context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	return s.with(needs, fn)
}

// Two commands that share a state see all that is due before either is decided,
// and what is due is posted once.
func TestCommandsThatShareAStateWaitForWhatIsDue(t *testing.T) {
	const holds = 2500
	alone, shared := newRig(t), newRig(t)
	for _, r := range []*rig{alone, shared} {
		r.run(grant("g", holds))
		for i := range holds {
			r.run(credits.Hold{Account: acme, ID: credits.OpID(strconv.Itoa(i)), Amount: 1, TTL: time.Hour + time.Duration(i/900)*time.Minute})
		}
		r.set(credits.Schedule{Account: acme, ID: "s", Amount: 7, Unit: credits.Hours, Every: 1, Anchor: epoch, Rollover: 3})
		r.add(100 * time.Hour)
	}
	alone.run(debit("a", holds))
	alone.run(debit("b", 2))

	rounds := 0
	second, err := credits.NewLedger(joining{shared.store, func(needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
		rounds++
		pair := &paired{Store: shared.store, needs: needs, other: fn}
		first, err := credits.NewLedger(pair, nil)
		if err != nil {
			return err
		}
		if _, err := first.Debit(t.Context(), debit("a", holds)); err != nil {
			return err
		}
		return pair.err
	}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := second.Debit(t.Context(), debit("b", 2)); err != nil || rounds != 1 {
		t.Fatalf("the second command: %v, after %d rounds", err, rounds)
	}
	a, b := alone.snapshot(acme), shared.snapshot(acme)
	if !reflect.DeepEqual(a.Entries, b.Entries) || !reflect.DeepEqual(a.Lots, b.Lots) || !reflect.DeepEqual(a.Ops, b.Ops) {
		t.Errorf("one after the other:\n%+v\nsharing:\n%+v", a.Account, b.Account)
	}
}
