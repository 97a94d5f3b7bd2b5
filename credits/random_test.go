package credits_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// A run is random commands from one seed, at random instants, with ids from so
// small a set that retries, changed intents and settled holds are common.
type run struct {
	rng     *rand.Rand
	recent  []any
	forward bool // the clock never goes back
	poor    bool // grants are small and overruns large, so that debts are common
}

// id returns one of a dozen ids that move on slowly.
func (g *run) id(kind string) credits.OpID {
	return credits.OpID(fmt.Sprintf("%s%d", kind, len(g.recent)/8+g.rng.IntN(12)))
}

// target returns the id of a late command of a type, mostly, or any.
func (g *run) target(kind string, back int, is func(any) (credits.OpID, bool)) credits.OpID {
	for i, left := len(g.recent)-1, g.rng.IntN(back); i >= 0; i-- {
		if id, ok := is(g.recent[i]); ok {
			if left--; left < 0 {
				return id
			}
		}
	}
	return g.id(kind)
}

func (g *run) someHold(back int) credits.OpID {
	return g.target("h", back, func(cmd any) (credits.OpID, bool) { h, ok := cmd.(credits.Hold); return h.ID, ok })
}

func (g *run) someDebit() credits.OpID {
	return g.target("d", 8, func(cmd any) (credits.OpID, bool) { d, ok := cmd.(credits.Debit); return d.ID, ok })
}

func (g *run) amount() credits.Amount { return credits.Amount(g.rng.IntN(20)) }

// instant returns none, or one time in so many one that is near.
func (g *run) instant(now time.Time, times int) time.Time {
	if g.rng.IntN(times) > 0 {
		return time.Time{}
	}
	return now.Add(time.Duration(g.rng.IntN(5000)-500) * time.Millisecond)
}

// next returns a command, once in six times one that was given before.
func (g *run) next(now time.Time) any {
	if len(g.recent) > 0 && g.rng.IntN(6) == 0 {
		return g.recent[g.rng.IntN(len(g.recent))]
	}
	cmd := g.fresh(now)
	g.recent = append(g.recent, cmd)
	return cmd
}

func (g *run) granted() credits.Amount {
	if g.poor {
		return 1 + g.amount()/2
	}
	return 5 + 2*g.amount()
}

// operation returns what a command is for; some lots are for some of them only.
func (g *run) operation() string { return []string{"", "image", "chat"}[g.rng.IntN(3)] }

func (g *run) fresh(now time.Time) any {
	switch g.rng.IntN(18) {
	case 17:
		return g.budget()
	case 0, 1:
		return credits.Grant{
			Account: acme, ID: g.id("g"), Amount: g.granted(), Priority: g.rng.IntN(3) - 1, Category: credits.Category(g.rng.IntN(3)),
			Only:        []credits.Operations{"", "", "", credits.Only("image"), credits.Only("image", "chat")}[g.rng.IntN(5)],
			EffectiveAt: g.instant(now, 3), ExpiresAt: g.instant(now, 2),
		}
	case 2, 3, 4, 5:
		return g.hold()
	case 6:
		c := credits.Capture{Account: acme, Hold: g.someHold(5), Amount: g.amount() * 3 / 2}
		if g.poor {
			c.Amount *= 3
		}
		return c
	case 7:
		return credits.Capture{Account: acme, Hold: g.someHold(5), All: true}
	case 8:
		return credits.Capture{Account: acme, Hold: g.someHold(5), Amount: g.amount() / 2, Keep: true, ID: g.id("c")}
	case 9:
		return credits.Release{Account: acme, Hold: g.someHold(5)}
	case 10:
		return credits.Extend{Account: acme, Hold: g.someHold(5), TTL: time.Duration(1+g.rng.IntN(4000)) * time.Millisecond}
	case 11:
		return credits.Debit{Account: acme, ID: g.id("d"), Amount: g.amount(), Operation: g.operation(), Key: g.key()}
	case 12:
		return credits.Refund{Account: acme, ID: g.id("r"), Of: g.someDebit(), Amount: g.amount()}
	case 13:
		return credits.Refund{Account: acme, ID: g.id("r"), Of: g.someHold(12), All: true}
	}
	return g.lease()
}

// hold returns a hold with any policy.
func (g *run) hold() credits.Hold {
	h := credits.Hold{
		Account: acme, ID: g.id("h"), Amount: g.amount(), Key: g.key(), Operation: g.operation(),
		TTL:     []time.Duration{0, credits.NoTimeout, time.Second, 2 * time.Second, 300 * time.Millisecond}[g.rng.IntN(5)],
		Overrun: credits.Overrun(min(g.rng.IntN(4), 2)), Late: credits.Late(g.rng.IntN(2)),
	}
	if g.poor {
		h.Amount /= 4
	}
	if h.Overrun == credits.OverrunDebt {
		h.DebtLimit = 8 * g.amount()
	}
	return h
}

// budget returns one of three, which apply to all, to a team or to images.
func (g *run) budget() credits.Budget {
	b := []credits.Budget{
		{ID: "all", Amount: 60, Every: credits.Day},
		{ID: "team", Key: "team", Amount: 15, Every: credits.Day, Zone: "Europe/Berlin", Thresholds: "50,100"},
		{ID: "images", Operation: "image", Amount: 15, Every: credits.Day},
	}[g.rng.IntN(3)]
	b.Account = acme
	b.Amount += 2 * g.amount()
	return b
}

// key returns one of a team, or of nobody.
func (g *run) key() string { return []string{"", "team/a", "team/b", "other"}[g.rng.IntN(4)] }

// lease returns a command about a lease.
func (g *run) lease() any {
	id := credits.OpID(fmt.Sprintf("l%d", len(g.recent)/16+g.rng.IntN(5)))
	switch g.rng.IntN(6) {
	case 0, 1:
		return credits.AcquireLease{
			Account: acme, ID: id, Owner: "one", Min: 1, Want: 2 + g.amount(), Key: g.key(), Operation: g.operation(),
			TTL: time.Duration(1+g.rng.IntN(3000)) * time.Millisecond,
		}
	case 2:
		to := []credits.Bucket{credits.BucketAvailable, credits.BucketConsumed, credits.BucketExpired}[g.rng.IntN(3)]
		return credits.ResolveLease{Account: acme, ID: g.id("v"), Lease: id, Amount: 1 + g.amount()/4, To: to, Note: "by hand"}
	}
	return credits.SettleLease{
		Account: acme, Lease: id, Owner: "one", Close: g.rng.IntN(4) == 0, Return: g.amount() / 4,
		Spends: []credits.LeaseSpend{{ID: g.id("d"), Amount: g.amount() / 5}, {ID: g.id("s"), Amount: g.amount() / 4}},
	}
}

// tick moves the clock, mostly a little, at times far, at times back.
func (g *run) tick(c *clock) {
	d := time.Duration(g.rng.IntN(200)) * time.Millisecond
	switch g.rng.IntN(12) {
	case 0:
		d = time.Duration(g.rng.IntN(5000)) * time.Millisecond
	case 1:
		if !g.forward {
			d = -d
		}
	case 2:
		if g.rng.IntN(8) == 0 {
			d = 13 * time.Hour
		}
	}
	c.add(d)
}

func seeds(t *testing.T) []uint64 {
	n := uint64(6)
	if testing.Short() {
		n = 2
	}
	list := make([]uint64, n)
	for i := range list {
		list[i] = uint64(i + 1)
	}
	return append(list, uint64(time.Now().UnixNano())) // and one that nobody has seen
}

// After every command: the audit passes, the journal rebuilds the state, a
// refusal or a replay has left everything as it was, and time has not gone back.
func TestInvariantsHoldAfterEveryCommand(t *testing.T) {
	done := make(map[string]int)
	steps := 400
	if raceEnabled {
		steps = 120 // one goroutine races with nobody
	}
	for _, seed := range seeds(t) {
		g := &run{rng: rand.New(rand.NewPCG(seed, 1)), poor: seed%2 == 1}
		r := newRigWith(t, &credits.Options{MaxHolds: 4})
		fatalf := func(step int, cmd any, format string, args ...any) {
			t.Helper()
			t.Fatalf("seed %d step %d %+v: %s", seed, step, cmd, fmt.Sprintf(format, args...))
		}
		before := r.snapshot(acme)
		for step := range steps {
			g.tick(r.clock)
			cmd := g.next(r.now())
			got, err := r.try(cmd)
			after := r.snapshot(acme)
			if denied, ok := errors.AsType[*credits.DeniedError](err); ok {
				done[denied.Source.String()]++
			}
			switch {
			case err != nil || got.Replayed:
				done[fmt.Sprintf("%T refused or replayed", cmd)]++
				if denied, ok := errors.AsType[*credits.DeniedError](err); ok && !denied.Replayed && reflect.TypeOf(cmd) == reflect.TypeFor[credits.Debit]() {
					if err := onlyFiled(before, after, cmd.(credits.Debit), r.now()); err != nil {
						fatalf(step, cmd, "%v", err)
					}
					break
				}
				if !reflect.DeepEqual(after, before) {
					fatalf(step, cmd, "error %v, replayed %v, and the state has changed", err, got.Replayed)
				}
			case reflect.DeepEqual(after, before) && mayDoNothing(cmd):
			default:
				done[fmt.Sprintf("%T", cmd)]++
				if after.Account.Version != before.Account.Version+1 || tellsTotals(cmd) && got.Totals != after.Account.Totals {
					fatalf(step, cmd, "receipt %+v of account %+v", got, after.Account)
				}
			}
			if after.Account.At.Before(before.Account.At) {
				fatalf(step, cmd, "time went back to %v", after.Account.At)
			}
			if _, err := r.Verify(t.Context(), nil); err != nil {
				fatalf(step, cmd, "%v", err)
			}
			if err := invariants(after); err != nil {
				fatalf(step, cmd, "%v", err)
			}
			b, err := r.Balance(t.Context(), acme)
			if err != nil || !b.Totals.Balanced() || b.Issued != after.Account.Totals.Issued {
				fatalf(step, cmd, "balance %+v, %v", b, err)
			}
			note(done, before, after)
			before = after
		}
	}
	if testing.Short() || raceEnabled {
		return // too few commands for the question that follows
	}
	for _, verb := range []string{"Grant", "Hold", "Capture", "Release", "Extend", "Debit", "Refund", "AcquireLease", "SettleLease", "ResolveLease", "Budget"} {
		if verb == "Budget" && done["credits.Budget"] >= 4 {
			continue // it is never refused
		}
		for _, how := range []string{"", " refused or replayed"} {
			if n := done["credits."+verb+how]; n < 3 {
				t.Errorf("only %d of %s%s: the run proves little", n, verb, how)
			}
		}
	}
	for _, what := range []string{"balance", "account_budget", "key_budget", "operation_budget", "holds", "leases", "in debt", "repaid", "debt refunded", "charged late", "charged beyond"} {
		if done[what] < 2 {
			t.Errorf("only %d times %s: the run proves little", done[what], what)
		}
	}
}

// onlyFiled says whether a debit that was denied has left its record alone, and
// what was due anyway.
func onlyFiled(before, after contents, d credits.Debit, now time.Time) error {
	o, ok := after.Ops[d.ID]
	if !ok || o.Denied == credits.SourceNone || o.Parts.Len() != 0 || o.Seq != after.Account.Seq {
		return fmt.Errorf("denied, and filed as %+v", o)
	}
	for _, e := range after.Entries[len(before.Entries):] {
		if e.Op == d.ID {
			return fmt.Errorf("denied, and entered as %+v", e)
		}
	}
	due := func(at time.Time) bool { return !at.IsZero() && !at.After(now) }
	for _, l := range before.Lots {
		if due(l.Due()) {
			return nil
		}
	}
	for _, o := range before.Ops {
		if due(o.Due()) {
			return nil
		}
	}
	for id, o := range before.Ops {
		if o.Hold == credits.HoldOpen && o.Amount == 0 && after.Ops[id].Hold == credits.HoldTimedOut {
			return nil // that was due, and moved nothing
		}
	}
	after.Ops = maps.Clone(after.Ops)
	delete(after.Ops, d.ID)
	if !reflect.DeepEqual(after, before) {
		return errors.New("denied, nothing was due, and the state has changed")
	}
	return nil
}

// tellsTotals reports whether the receipt of a command tells the account as it is
// after it. An Extend's is the hold's.
func tellsTotals(cmd any) bool {
	switch cmd.(type) {
	case credits.Extend, credits.Budget:
		return false
	}
	return true
}

// mayDoNothing reports whether a command may change nothing and not call that a
// replay: each spend of a settlement was refused, or a budget is as it was.
func mayDoNothing(cmd any) bool {
	switch cmd.(type) {
	case credits.SettleLease, credits.Budget:
		return true
	}
	return false
}

// note counts the rare things that a command did.
func note(done map[string]int, before, after contents) {
	if after.Account.Totals.Debt > 0 {
		done["in debt"]++
	}
	for _, e := range after.Entries[len(before.Entries):] {
		switch {
		case e.Kind == credits.KindRepay && e.Lot == 0:
			done["repaid"]++
		case e.Kind == credits.KindRefund && e.Lot == 0:
			done["debt refunded"]++
		case e.Kind == credits.KindCapture && e.From != credits.BucketHeld:
			done["charged beyond"]++
		}
	}
	for id, o := range after.Ops {
		if o.Hold == credits.HoldCaptured && before.Ops[id].Hold != credits.HoldCaptured && !o.Deadline.IsZero() && !o.SettledAt.Before(o.Deadline) {
			done["charged late"]++
		}
	}
}

// A store may call the function that decides again, on freshly loaded rows, and
// may fail after it: what was decided first must leave no trace.
func TestDecidingTwiceIsDecidingOnce(t *testing.T) {
	for _, seed := range seeds(t) {
		once, twice := newRig(t), newRig(t)
		again, err := credits.NewLedger(hesitant{twice.store}, nil)
		if err != nil {
			t.Fatal(err)
		}
		g := &run{rng: rand.New(rand.NewPCG(seed, 3))}
		for step := range 200 {
			g.tick(once.clock)
			twice.micros.Store(once.micros.Load())
			cmd := g.next(once.now())
			want, wantErr := once.try(cmd)
			got, gotErr := do(t.Context(), again, cmd)
			if fmt.Sprint(gotErr) != fmt.Sprint(wantErr) || !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d step %d %+v:\n decided twice %+v, %v\ndecided once %+v, %v", seed, step, cmd, got, gotErr, want, wantErr)
			}
		}
		if a, b := once.snapshot(acme), twice.snapshot(acme); !reflect.DeepEqual(a, b) {
			t.Fatalf("seed %d: the rows differ:\n%+v\n%+v", seed, a, b)
		}
	}
}

// hesitant decides, forgets that, and decides again.
type hesitant struct{ credits.Store }

func (s hesitant) Update(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	lost := errors.New("lost")
	if err := s.Store.Update(ctx, needs, func(now time.Time, states []*credits.State) error {
		return cmp.Or(fn(now, states), lost)
	}); err == nil {
		return errors.New("an update that failed was written")
	}
	return s.Store.Update(ctx, needs, fn)
}

// What is due is posted when somebody comes by. Whether anybody does must not
// change anything: the same commands with an idle command after each give the
// same results and the same journal.
func TestWhenDueWorkIsPostedChangesNothing(t *testing.T) {
	for _, seed := range seeds(t) {
		lazy, eager := newRig(t), newRig(t)
		g := &run{rng: rand.New(rand.NewPCG(seed, 2)), forward: true}
		for step := range 200 {
			g.tick(lazy.clock)
			eager.micros.Store(lazy.micros.Load())
			cmd := g.next(lazy.now())
			want, wantErr := lazy.try(cmd)
			eager.idle(fmt.Sprint("idle", step))
			got, gotErr := eager.try(cmd)
			if fmt.Sprint(gotErr) != fmt.Sprint(wantErr) || !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d step %d %+v:\n with idle commands %+v, %v\nwithout %+v, %v", seed, step, cmd, got, gotErr, want, wantErr)
			}
			a, _ := lazy.Balance(t.Context(), acme)
			b, _ := eager.Balance(t.Context(), acme)
			if a != b {
				t.Fatalf("seed %d step %d %+v: balance with idle commands %+v, without %+v", seed, step, cmd, b, a)
			}
		}
		lazy.idle("end")
		eager.idle("end")
		if a, b := lazy.snapshot(acme).Entries, eager.snapshot(acme).Entries; !reflect.DeepEqual(a, b) {
			t.Fatalf("seed %d: the journals differ:\n%+v\n%+v", seed, a, b)
		}
	}
}
