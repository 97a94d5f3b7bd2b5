package credits_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// A gated store lets no update in while its gate is shut.
type gated struct {
	credits.Store
	mu    sync.Mutex
	gate  chan struct{} // nil: open
	sizes []int         // accounts of each update
}

func (g *gated) Update(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	g.mu.Lock()
	gate := g.gate
	g.sizes = append(g.sizes, len(needs))
	g.mu.Unlock()
	if gate != nil {
		<-gate
	}
	return g.Store.Update(ctx, needs, fn)
}

// shut closes the gate and returns the function that opens it.
func (g *gated) shut() (open func()) {
	gate := make(chan struct{})
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gate = gate
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.gate = nil
		close(gate)
	}
}

func newBatcher(t testing.TB, s credits.Store, o *credits.BatcherOptions) *credits.Batcher {
	t.Helper()
	b, err := credits.NewBatcher(s, o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// together runs the calls as one batch: they come in this order while the lane,
// of which there must be one, is busy.
func together(t testing.TB, b *credits.Batcher, g *gated, calls ...func()) {
	t.Helper()
	open := g.shut()
	var group sync.WaitGroup
	group.Go(func() {
		err := b.Update(context.Background(), []credits.Need{{Account: "in the way"}}, func(time.Time, []*credits.State) error { return nil })
		if err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	for _, call := range calls {
		group.Go(call)
		synctest.Wait()
	}
	open()
	group.Wait()
}

// A deed is a command of any verb to one of three accounts.
type deed struct {
	what  any
	last  bool // it may take two updates, so nothing of its batch may come after it
	alone bool // it is of those that are not merged
}

// gone is the schedule or the budget that shall be no more.
type gone struct {
	account  credits.AccountID
	budget   credits.BudgetID
	schedule credits.ScheduleID
}

// do returns whatever l answers.
func (d deed) do(ctx context.Context, l *credits.Ledger) (any, error) {
	switch c := d.what.(type) {
	case credits.AccountID:
		return nil, l.RecallLeases(ctx, c)
	case credits.Schedule:
		return l.SetSchedule(ctx, c)
	case credits.Budget:
		return l.SetBudget(ctx, c)
	case gone:
		if c.budget != "" {
			return nil, l.RemoveBudget(ctx, c.account, c.budget)
		}
		return nil, l.RemoveSchedule(ctx, c.account, c.schedule)
	}
	return do(ctx, l, d.what)
}

// A company is the random runs of a few accounts.
type company struct {
	rng  *rand.Rand
	runs [3]*run
}

func newCompany(seed uint64) *company {
	c := &company{rng: rand.New(rand.NewPCG(seed, 5))}
	for i := range c.runs {
		c.runs[i] = &run{rng: c.rng, poor: i == 1, forward: true}
	}
	return c
}

func accountOf(i int) credits.AccountID { return credits.AccountID(fmt.Sprint("account", i)) }

// next returns a random deed.
func (c *company) next(now time.Time) deed {
	i := c.rng.IntN(len(c.runs))
	account := accountOf(i)
	name := fmt.Sprint(c.rng.IntN(3))
	switch c.rng.IntN(40) {
	case 0:
		return deed{what: account}
	case 1:
		return deed{what: gone{account: account, budget: credits.BudgetID(name)}}
	case 2:
		return deed{what: gone{account: account, schedule: credits.ScheduleID(name)}}
	case 3, 4:
		return deed{alone: true, what: credits.Schedule{
			Account: account, ID: credits.ScheduleID(name), Amount: 1 + c.runs[i].amount(), Unit: credits.Hours, Every: 1,
			Anchor: now.Add(time.Duration(c.rng.IntN(4)-3) * time.Hour), Rollover: 3,
		}}
	case 5, 6, 7:
		return deed{what: credits.Budget{
			Account: account, ID: credits.BudgetID(name), Amount: 20 * c.runs[i].amount(), Operation: c.runs[i].operation(),
			Every: credits.Span(c.rng.IntN(3)), Soft: c.rng.IntN(3) == 0, Thresholds: "50,100",
		}}
	}
	cmd := c.runs[i].next(now)
	what := reflect.New(reflect.TypeOf(cmd)).Elem()
	what.Set(reflect.ValueOf(cmd))
	what.FieldByName("Account").Set(reflect.ValueOf(account))
	_, capture := reflect.TypeAssert[credits.Capture](what)
	return deed{what: what.Interface(), last: capture}
}

// Whatever is run together ends as it does one by one: receipts, refusals, and
// every row but an account's Version. (With others a refusal writes what was due,
// and alone it does not; so if then the clock goes back, time goes on from there.)
func TestABatchIsItsCommandsOneByOne(t *testing.T) {
	merged := 0
	done := make(map[string]int)
	for _, seed := range seeds(t) {
		synctest.Test(t, func(t *testing.T) {
			plain, batched := newRig(t), newRig(t)
			gate := &gated{Store: batched.store}
			b := newBatcher(t, gate, &credits.BatcherOptions{Lanes: 1, MaxBatch: 16})
			l, err := credits.NewLedger(b, nil)
			if err != nil {
				t.Fatal(err)
			}
			c := newCompany(seed)
			for round := range 120 {
				c.runs[0].tick(plain.clock)
				batched.micros.Store(plain.micros.Load())
				var deeds []deed
				for range 1 + c.rng.IntN(24) {
					d := c.next(plain.now())
					if d.alone && len(deeds) > 0 {
						break
					}
					if deeds = append(deeds, d); d.last || d.alone {
						break
					}
				}
				got, gotErr := make([]any, len(deeds)), make([]error, len(deeds))
				calls := make([]func(), len(deeds))
				for i, d := range deeds {
					calls[i] = func() { got[i], gotErr[i] = d.do(t.Context(), l) }
				}
				together(t, b, gate, calls...)
				for i, d := range deeds {
					want, wantErr := d.do(t.Context(), plain.Ledger)
					done[fmt.Sprintf("%T, refused %t", d.what, wantErr != nil)]++
					if fmt.Sprint(gotErr[i]) != fmt.Sprint(wantErr) || !reflect.DeepEqual(got[i], want) {
						t.Fatalf("seed %d round %d deed %d of %d %T %+v:\nin a batch %+v, %v\nalone %+v, %v",
							seed, round, i, len(deeds), d.what, d.what, got[i], gotErr[i], want, wantErr)
					}
				}
			}
			for i := range 3 {
				account := accountOf(i)
				end := credits.Grant{Account: account, ID: "end", Amount: 1}
				plain.run(end)
				batched.run(end)
				want, have := plain.snapshot(account), batched.snapshot(account)
				want.Account.Version, have.Account.Version = 0, 0
				if !reflect.DeepEqual(have, want) {
					t.Fatalf("seed %d: the rows differ:\n%+v\n%+v", seed, have, want)
				}
			}
			for _, n := range gate.sizes {
				if n > 1 {
					merged++
				}
			}
		})
	}
	if testing.Short() {
		return // too few seeds for the question that follows
	}
	if merged < 50 {
		t.Errorf("%d updates of several accounts prove little", merged)
	}
	for _, verb := range []string{
		"Grant", "Hold", "Capture", "Release", "Extend", "Debit", "Refund", "AcquireLease", "SettleLease", "Budget", "Schedule",
	} {
		if n := done["credits."+verb+", refused false"]; n < 4 {
			t.Errorf("only %d of %s: the run proves little", n, verb)
		}
	}
	t.Log(done)
}
