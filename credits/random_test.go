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
}

func (g *run) id(kind string) credits.OpID {
	return credits.OpID(fmt.Sprintf("%s%d", kind, g.rng.IntN(40)))
}

func (g *run) amount() credits.Amount { return credits.Amount(g.rng.IntN(20)) }

func (g *run) instant(now time.Time) time.Time {
	if g.rng.IntN(3) == 0 {
		return time.Time{}
	}
	return now.Add(time.Duration(g.rng.IntN(4000)-500) * time.Millisecond)
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

func (g *run) fresh(now time.Time) any {
	switch g.rng.IntN(12) {
	case 0, 1:
		return credits.Grant{
			Account: acme, ID: g.id("g"), Amount: 5 + g.amount(), Priority: g.rng.IntN(3) - 1, Category: credits.Category(g.rng.IntN(3)),
			EffectiveAt: g.instant(now), ExpiresAt: g.instant(now),
		}
	case 2, 3, 4:
		ttl := []time.Duration{0, credits.NoTimeout, time.Second, 300 * time.Millisecond}[g.rng.IntN(4)]
		return credits.Hold{Account: acme, ID: g.id("h"), Amount: g.amount(), TTL: ttl, Key: string(g.id("k"))}
	case 5:
		return credits.Capture{Account: acme, Hold: g.id("h"), Amount: g.amount()}
	case 6:
		return credits.Capture{Account: acme, Hold: g.id("h"), All: true}
	case 7:
		return credits.Capture{Account: acme, Hold: g.id("h"), Amount: g.amount() / 3, Keep: true, ID: g.id("c")}
	case 8:
		return credits.Release{Account: acme, Hold: g.id("h")}
	case 9:
		return credits.Debit{Account: acme, ID: g.id("d"), Amount: g.amount(), Operation: "image"}
	case 10:
		return credits.Refund{Account: acme, ID: g.id("r"), Of: g.id("d"), Amount: g.amount()}
	}
	return credits.Refund{Account: acme, ID: g.id("r"), Of: g.id("h"), All: true}
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
	for _, seed := range seeds(t) {
		g := &run{rng: rand.New(rand.NewPCG(seed, 1))}
		r := newRig(t)
		fatalf := func(step int, cmd any, format string, args ...any) {
			t.Helper()
			t.Fatalf("seed %d step %d %+v: %s", seed, step, cmd, fmt.Sprintf(format, args...))
		}
		before := r.snapshot(acme)
		for step := range 200 {
			g.tick(r.clock)
			cmd := g.next(r.now())
			got, err := r.try(cmd)
			after := r.snapshot(acme)
			switch {
			case err != nil || got.Replayed:
				done[fmt.Sprintf("%T refused or replayed", cmd)]++
				if denied, ok := errors.AsType[*credits.DeniedError](err); ok && !denied.Replayed && reflect.TypeOf(cmd) == reflect.TypeFor[credits.Debit]() {
					if err := onlyFiled(before, after, cmd.(credits.Debit)); err != nil {
						fatalf(step, cmd, "%v", err)
					}
					break
				}
				if !reflect.DeepEqual(after, before) {
					fatalf(step, cmd, "error %v, replayed %v, and the state has changed", err, got.Replayed)
				}
			default:
				done[fmt.Sprintf("%T", cmd)]++
				if after.Account.Version != before.Account.Version+1 || got.Totals != after.Account.Totals {
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
			before = after
		}
	}
	if testing.Short() {
		return // too few seeds for the question that follows
	}
	for _, verb := range []string{"Grant", "Hold", "Capture", "Release", "Debit", "Refund"} {
		for _, how := range []string{"", " refused or replayed"} {
			if n := done["credits."+verb+how]; n < 4 {
				t.Errorf("only %d of %s%s: the run proves little", n, verb, how)
			}
		}
	}
}

// onlyFiled says whether a debit that was denied has left its record alone, and
// what was due anyway: whatever else changed, changed before.
func onlyFiled(before, after contents, d credits.Debit) error {
	o, ok := after.Ops[d.ID]
	if !ok || o.Denied == credits.SourceNone || o.Parts.Len() != 0 || o.Seq != after.Account.Seq {
		return fmt.Errorf("denied, and filed as %+v", o)
	}
	for _, e := range after.Entries[len(before.Entries):] {
		if e.Op == d.ID {
			return fmt.Errorf("denied, and entered as %+v", e)
		}
	}
	if len(after.Entries) > len(before.Entries) {
		return nil
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

// invariants says the same as Verify, written a second time from the contract
// alone: it sums buckets, lots and holds from the journal.
func invariants(c contents) error {
	var all buckets
	lots := make([]buckets, len(c.Lots)+1) // by ID
	byHold := make(map[credits.OpID]credits.Amount)
	for i, e := range c.Entries {
		if e.Seq != int64(i+1) || e.Amount <= 0 {
			return fmt.Errorf("entry %d is %+v", i, e)
		}
		for _, b := range []*buckets{&all, &lots[e.Lot]} {
			b[e.From] -= e.Amount
			b[e.To] += e.Amount
			if e.From != credits.BucketIssued && e.From != credits.BucketDebt && b[e.From] < 0 {
				return fmt.Errorf("after entry %d there is less than nothing in %v: %v", e.Seq, e.From, b)
			}
		}
		if e.From != credits.BucketHeld && e.To != credits.BucketHeld {
			continue
		}
		name, amount := e.Op, e.Amount
		if o := c.Ops[e.Op]; o.Kind == credits.KindCapture {
			name = o.Target
		}
		if e.From == credits.BucketHeld {
			amount = -amount
		}
		byHold[name] += amount
	}
	if got := all.totals(); got != c.Account.Totals || all.sum() != 0 {
		return fmt.Errorf("account %+v; its journal gives %+v, which sums to %v", c.Account.Totals, got, all.sum())
	}
	for _, l := range c.Lots {
		if b := &lots[l.ID]; b.totals() != l.Totals || b.sum() != 0 {
			return fmt.Errorf("lot %d is %+v; its journal gives %+v", l.ID, l.Totals, b.totals())
		}
	}
	held := credits.Amount(0)
	for id, o := range c.Ops {
		rest := credits.Amount(0)
		for p := range o.Parts.All() {
			if o.Kind == credits.KindHold {
				rest += p.Held()
			}
		}
		if rest != byHold[id] || rest > 0 && o.Hold != credits.HoldOpen {
			return fmt.Errorf("op %+v sets aside %v; its journal gives %v", o, rest, byHold[id])
		}
		held += rest
	}
	if held != c.Account.Totals.Held {
		return fmt.Errorf("holds set aside %v, the account %v", held, c.Account.Totals.Held)
	}
	return nil
}

// buckets is what a journal has put into each bucket.
type buckets [credits.BucketDebt + 1]credits.Amount

func (b *buckets) sum() credits.Amount {
	sum := credits.Amount(0)
	for _, n := range b {
		sum += n
	}
	return sum
}

func (b *buckets) totals() credits.Totals {
	return credits.Totals{
		Issued: -b[credits.BucketIssued], Pending: b[credits.BucketPending], Available: b[credits.BucketAvailable],
		Held: b[credits.BucketHeld], Consumed: b[credits.BucketConsumed], Expired: b[credits.BucketExpired],
		Leased: b[credits.BucketLeased], Suspense: b[credits.BucketSuspense], Debt: -b[credits.BucketDebt],
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
			if _, err := eager.try(credits.Debit{Account: acme, ID: credits.OpID(fmt.Sprint("idle", step))}); err != nil {
				t.Fatal(err)
			}
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
		lazy.run(credits.Debit{Account: acme, ID: "end"})
		eager.run(credits.Debit{Account: acme, ID: "end"})
		if a, b := lazy.snapshot(acme).Entries, eager.snapshot(acme).Entries; !reflect.DeepEqual(a, b) {
			t.Fatalf("seed %d: the journals differ:\n%+v\n%+v", seed, a, b)
		}
	}
}
