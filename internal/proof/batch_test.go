package proof_test

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/credits/creditstest"
)

// An order numbers the decisions of all ledgers over one store: those about one
// account exclude each other, so their numbers say which came first.
type order struct{ last atomic.Int64 }

// A decided store is what one command is given to, and knows when that was
// decided for the last time, which is what counts.
type decided struct {
	credits.Store
	order  *order
	number *atomic.Int64
}

func (d decided) Update(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	return d.Store.Update(ctx, needs, func(now time.Time, states []*credits.State) error {
		d.number.Store(d.order.last.Add(1))
		return fn(now, states)
	})
}

// Commands that many callers give to a batcher at once come to what they come to
// one by one in memory, in the order in which they were decided.
func TestBatchesEqualOneByOne(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			const usual, callers = 800, 48
			steps, seed := size(t, "KEYTOLL_LEDGER_STEPS", usual), seedOf(t)
			c := newClock()
			names := accounts(4)
			plain := k.open(t, c)
			counted := &counting{Store: plain}
			batcher, err := credits.NewBatcher(counted, nil)
			if err != nil {
				t.Fatal(err)
			}
			memory := inMemory(t, c)
			alone := newNearsighted(t, memory)
			sequence := new(order)
			g := creditstest.NewRandom(seed, names...)
			type tried struct {
				cmd    creditstest.Command
				got    creditstest.Outcome
				number atomic.Int64
			}
			for done := 0; done < steps; {
				// A refusal in a batch may leave what was due posted, so after a clock
				// that goes back an account's last instant can be another one.
				c.advance(max(g.Step(), 0))
				round := make([]tried, 0, callers)
				for len(round) < callers {
					cmd := g.Next(c.now())
					// These two have no one moment of decision.
					if cmd.Verb != "Prune" && cmd.Verb != "Balance" {
						round = append(round, tried{cmd: cmd})
						continue
					}
					if len(round) == 0 {
						want, got := cmd.Do(t.Context(), alone), cmd.Do(t.Context(), newNearsighted(t, batcher))
						if !got.Same(want) {
							t.Fatalf("seed %d %v:\nin batches %v\none by one %v", seed, cmd, got, want)
						}
						done++
					}
				}
				var group sync.WaitGroup
				for i := range round {
					r := &round[i]
					l := newNearsighted(t, decided{batcher, sequence, &r.number})
					group.Go(func() { r.got = r.cmd.Do(t.Context(), l) })
				}
				group.Wait()
				turns := make([]*tried, len(round))
				for i := range round {
					turns[i] = &round[i]
				}
				slices.SortStableFunc(turns, func(a, b *tried) int { return cmp.Compare(a.number.Load(), b.number.Load()) })
				for _, r := range turns {
					if want := r.cmd.Do(t.Context(), alone); !r.got.Same(want) || r.got.Replayed != want.Replayed {
						t.Fatalf("seed %d, after %d commands, %v:\nin batches %v\none by one %v", seed, done, r.cmd, r.got, want)
					}
					done++
				}
			}
			for _, name := range names { // whatever is due is posted with a command that is accepted
				last := credits.Hold{Account: name, ID: "last"}
				_, err1 := alone.Hold(t.Context(), last)
				_, err2 := newNearsighted(t, plain).Hold(t.Context(), last)
				if err1 != nil || err2 != nil {
					t.Fatalf("seed %d: %v, %v", seed, err1, err2)
				}
			}
			equal(t, seed, []credits.Store{memory, plain}, names)
			if _, err := alone.Verify(t.Context(), nil); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
			if n := counted.updates.Load(); n >= int64(steps) {
				t.Errorf("%d commands took %d updates of the store: nothing was merged", steps, n)
			} else {
				t.Logf("seed %d: %d commands in %d updates", seed, steps, n)
			}
		})
	}
}

// A counting store counts the updates that it is given.
type counting struct {
	credits.Store
	updates atomic.Int64
}

func (s *counting) Update(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	s.updates.Add(1)
	yield() // so that there is somebody to merge with, however fast the store is
	return s.Store.Update(ctx, needs, fn)
}
