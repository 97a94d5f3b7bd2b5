package credits_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/credits/creditstest"
	kerrors "github.com/keytoll/keytoll/errors"
)

// A movableBatcher is a batcher over memory with a clock that tests move.
type movableBatcher struct {
	*credits.Batcher
	*clock
}

func (m movableBatcher) Advance(d time.Duration) { m.add(d) }

func TestBatcherKeepsTheContract(t *testing.T) {
	creditstest.Run(t, func(t *testing.T) credits.Store {
		c := newClock()
		return movableBatcher{newBatcher(t, credits.NewMemoryStore(&credits.MemoryOptions{Now: c.now}), nil), c}
	})
}

func TestNewBatcherTellsEveryFaultAtOnce(t *testing.T) {
	_, err := credits.NewBatcher(nil, &credits.BatcherOptions{MaxBatch: 4097, Queue: -1, Lanes: 257})
	if kerrors.CodeOf(err) != kerrors.Invalid {
		t.Fatalf("%v, want code Invalid", err)
	}
	for _, part := range []string{"store is nil", "MaxBatch is 4097; give 1 to 4096", "Queue is -1", "Lanes is 257"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not say %q", err, part)
		}
	}
}

// A bench is a batcher of one lane over a gated memory store, with credit in
// some accounts.
type batchRig struct {
	*credits.Batcher
	*credits.Ledger
	gate  *gated
	store *faulty
}

// A faulty store fails as a test wants.
type faulty struct {
	credits.Store
	fail func(needs []credits.Need, written bool) error // nil: never
}

func (f *faulty) Update(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	if f.fail != nil {
		if err := f.fail(needs, false); err != nil {
			return err
		}
	}
	err := f.Store.Update(ctx, needs, fn)
	if err == nil && f.fail != nil {
		err = f.fail(needs, true)
	}
	return err
}

func newBatchRig(t *testing.T, o *credits.BatcherOptions, accounts ...credits.AccountID) *batchRig {
	t.Helper()
	r := &batchRig{store: &faulty{Store: credits.NewMemoryStore(nil)}}
	r.gate = &gated{Store: r.store}
	r.Batcher = newBatcher(t, r.gate, o)
	var err error
	if r.Ledger, err = credits.NewLedger(r.Batcher, nil); err != nil {
		t.Fatal(err)
	}
	for _, a := range accounts {
		if _, err := r.Grant(t.Context(), credits.Grant{Account: a, ID: "g", Amount: 1000}); err != nil {
			t.Fatal(err)
		}
	}
	r.gate.sizes = nil
	return r
}

// debits returns calls that debit one each and what came of them.
func (r *batchRig) debits(ctx context.Context, accounts ...credits.AccountID) (calls []func(), errs []error) {
	errs = make([]error, len(accounts))
	for i, a := range accounts {
		id := credits.OpID(fmt.Sprint("d", i))
		calls = append(calls, func() { _, errs[i] = r.Debit(ctx, credits.Debit{Account: a, ID: id, Amount: 1}) })
	}
	return calls, errs
}

func (r *batchRig) consumed(t *testing.T, account credits.AccountID) credits.Amount {
	t.Helper()
	b, err := r.Balance(t.Context(), account)
	if err != nil {
		t.Fatal(err)
	}
	return b.Consumed
}

var oneLane = &credits.BatcherOptions{Lanes: 1}

func TestWhoWaitsSharesOneUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newBatchRig(t, oneLane, "a", "b", "c")
		accounts := slices.Repeat([]credits.AccountID{"c", "a", "b", "a"}, 25)
		calls, errs := r.debits(t.Context(), accounts...)
		together(t, r.Batcher, r.gate, calls...)
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(r.gate.sizes, []int{1, 3}) { // the one in the way, and all others
			t.Errorf("updates of %v accounts; want one of one and one of three", r.gate.sizes)
		}
		if a, b, c := r.consumed(t, "a"), r.consumed(t, "b"), r.consumed(t, "c"); a != 50 || b != 25 || c != 25 {
			t.Errorf("consumed %d, %d, %d; want 50, 25, 25", a, b, c)
		}
	})
}

func TestNobodyWaitsForAnIdleLane(t *testing.T) {
	r := newBatchRig(t, oneLane, "a")
	for i := range 5 {
		if _, err := r.Debit(t.Context(), credits.Debit{Account: "a", ID: credits.OpID(fmt.Sprint(i)), Amount: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.gate.sizes) != 5 {
		t.Errorf("%d updates; want 5", len(r.gate.sizes))
	}
}

func TestABatchIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newBatchRig(t, &credits.BatcherOptions{Lanes: 1, MaxBatch: 2}, "a", "b", "c", "d", "e")
		calls, errs := r.debits(t.Context(), "a", "b", "c", "d", "e")
		together(t, r.Batcher, r.gate, calls...)
		if err := errors.Join(errs...); err != nil || !slices.Equal(r.gate.sizes, []int{1, 2, 2, 1}) {
			t.Errorf("updates of %v accounts, %v; want 1, 2, 2, 1", r.gate.sizes, err)
		}
	})
}

func TestARefusalIsItsCallersAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newBatchRig(t, oneLane, "a", "b")
		calls, errs := r.debits(t.Context(), "a", "b", "poor", "a")
		var refused error
		calls = append(calls, func() { _, refused = r.Release(t.Context(), credits.Release{Account: "a", Hold: "none"}) })
		together(t, r.Batcher, r.gate, calls...)
		if errs[0] != nil || errs[1] != nil || errs[3] != nil || !errors.Is(errs[2], credits.ErrInsufficient) || !errors.Is(refused, credits.ErrNotFound) {
			t.Errorf("%v and %v; want only the third and the last refused", errs, refused)
		}
		if len(r.gate.sizes) != 2 {
			t.Errorf("%d updates; want 2", len(r.gate.sizes))
		}
	})
}

func TestABatchOfRefusalsWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newBatchRig(t, oneLane, "a", "b")
		var errs [2]error
		together(t, r.Batcher, r.gate,
			func() { _, errs[0] = r.Release(t.Context(), credits.Release{Account: "a", Hold: "none"}) },
			func() { _, errs[1] = r.Capture(t.Context(), credits.Capture{Account: "b", Hold: "none", All: true}) })
		if !errors.Is(errs[0], credits.ErrNotFound) || !errors.Is(errs[1], credits.ErrNotFound) {
			t.Errorf("%v; want ErrNotFound twice", errs)
		}
	})
}

// update returns a call of Update with a function of the test's own.
func (r *batchRig) update(t *testing.T, account credits.AccountID, err *error, fn func(*credits.State) error) func() {
	return func() {
		*err = r.Update(t.Context(), []credits.Need{{Account: account}}, func(_ time.Time, states []*credits.State) error { return fn(states[0]) })
	}
}

func TestAnUnexpectedErrorUndoesItsChangesAlone(t *testing.T) {
	for name, fault := range map[string]error{"of no code": errors.New("odd"), "corrupt": credits.ErrCorrupt} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newBatchRig(t, oneLane, "a", "b")
				calls, errs := r.debits(t.Context(), "a", "b", "a", "b", "a")
				var odd error
				calls = slices.Insert(calls, 2, r.update(t, "a", &odd, func(st *credits.State) error {
					st.AccountChange, st.Account.Totals = credits.Updated, credits.Totals{}
					return fault
				}))
				together(t, r.Batcher, r.gate, calls...)
				if err := errors.Join(errs...); err != nil || odd != fault { //nolint:errorlint // unchanged is the promise
					t.Errorf("%v and %v; want only the odd one to fail, with its own error", err, odd)
				}
				if a, b := r.consumed(t, "a"), r.consumed(t, "b"); a != 3 || b != 2 {
					t.Errorf("consumed %d, %d; want 3, 2", a, b)
				}
			})
		})
	}
}

func TestAPanicIsItsCallersAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newBatchRig(t, oneLane, "a")
		calls, errs := r.debits(t.Context(), "a", "a", "a")
		var err error
		var recovered any
		dying := r.update(t, "a", &err, func(*credits.State) error { panic("mine") })
		calls = append(calls, func() {
			defer func() { recovered = recover() }()
			dying()
		})
		together(t, r.Batcher, r.gate, append(calls[2:], calls[:2]...)...) // it is not the leader
		if err := errors.Join(errs...); err != nil || recovered != "mine" {
			t.Errorf("%v, and %v was recovered; want no error and the panic in its own goroutine", err, recovered)
		}
		if n := r.consumed(t, "a"); n != 3 {
			t.Errorf("consumed %d; want 3", n)
		}
	})
}

func TestALeaderThatDiesLeavesTheLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newBatchRig(t, oneLane, "a")
		calls, errs := r.debits(t.Context(), "a", "a")
		var err error
		dying := r.update(t, "a", &err, func(*credits.State) error { runtime.Goexit(); return nil })
		together(t, r.Batcher, r.gate, append([]func(){dying}, calls...)...)
		for _, err := range errs {
			if kerrors.CodeOf(err) != kerrors.Unavailable {
				t.Errorf("%v; want that the outcome is not known", err)
			}
		}
		calls, errs = r.debits(t.Context(), "a", "a")
		for _, call := range calls {
			call()
		}
		if err := errors.Join(errs...); err != nil || r.consumed(t, "a") != 2 {
			t.Errorf("after it: %v, consumed %d; want 2", err, r.consumed(t, "a"))
		}
	})
}

func TestAPoisonedAccountFailsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newBatchRig(t, oneLane, "a", "b", "poisoned", "z")
		r.store.fail = func(needs []credits.Need, _ bool) error {
			for _, n := range needs {
				if n.Account == "poisoned" {
					return credits.ErrCorrupt
				}
			}
			return nil
		}
		calls, errs := r.debits(t.Context(), "a", "poisoned", "b", "z", "a", "b", "z", "z")
		together(t, r.Batcher, r.gate, calls...)
		for i, err := range errs {
			if got := errors.Is(err, credits.ErrCorrupt); got != (i == 1) || !got && err != nil {
				t.Errorf("debit %d: %v", i, err)
			}
		}
		r.store.fail = nil
		if a, b, z := r.consumed(t, "a"), r.consumed(t, "b"), r.consumed(t, "z"); a != 2 || b != 2 || z != 3 {
			t.Errorf("consumed %d, %d, %d; want 2, 2, 3", a, b, z)
		}
	})
}

func TestAnOutcomeThatIsNotKnownIsToldToAllAndARetryFindsOut(t *testing.T) {
	for name, written := range map[string]bool{"written": true, "not written": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newBatchRig(t, oneLane, "a", "b")
				lost := errors.New("the line broke")
				r.store.fail = func(needs []credits.Need, after bool) error {
					if len(needs) > 1 && after == written {
						return lost
					}
					return nil
				}
				calls, errs := r.debits(t.Context(), "a", "b", "b")
				var refused error
				calls = append(calls, func() { _, refused = r.Release(t.Context(), credits.Release{Account: "a", Hold: "none"}) })
				together(t, r.Batcher, r.gate, calls...)
				for _, err := range append(errs, refused) {
					if !errors.Is(err, lost) || kerrors.CodeOf(err) != kerrors.Unavailable {
						t.Errorf("%v; want that the line broke, for each", err)
					}
				}
				for i, a := range []credits.AccountID{"a", "b", "b"} {
					got, err := r.Debit(t.Context(), credits.Debit{Account: a, ID: credits.OpID(fmt.Sprint("d", i)), Amount: 1})
					if err != nil || got.Replayed != written {
						t.Errorf("retry %d: %+v, %v; want replayed %t", i, got, err, written)
					}
				}
				if a, b := r.consumed(t, "a"), r.consumed(t, "b"); a != 1 || b != 2 {
					t.Errorf("consumed %d, %d; want 1, 2", a, b)
				}
			})
		})
	}
}

func TestAContextThatEndsLeavesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newBatchRig(t, oneLane, "a", "b")
		ctx, cancel := context.WithCancel(t.Context())
		gone, goneErrs := r.debits(ctx, "a", "b", "a")
		open := r.gate.shut()
		var group sync.WaitGroup
		group.Go(func() {
			_, err := r.Debit(t.Context(), credits.Debit{Account: "a", ID: "first", Amount: 1})
			if err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		for _, call := range gone {
			group.Go(call)
			synctest.Wait()
		}
		group.Go(func() {
			if _, err := r.Debit(t.Context(), credits.Debit{Account: "b", ID: "last", Amount: 1}); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		cancel()
		synctest.Wait()
		for i, err := range goneErrs { // the gate is still shut
			if !errors.Is(err, context.Canceled) {
				t.Errorf("call %d: %v; want that it was canceled", i, err)
			}
		}
		open()
		group.Wait()
		if a, b := r.consumed(t, "a"), r.consumed(t, "b"); a != 1 || b != 1 {
			t.Errorf("consumed %d, %d; want 1 each: who has left is not charged", a, b)
		}
	})
}

func TestALeadersContextIsItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newBatchRig(t, oneLane, "a", "b")
		leaders, cancel := context.WithCancel(t.Context())
		lead, leadErr := r.debits(leaders, "a")
		others, otherErrs := r.debits(t.Context(), "b", "b")
		r.store.fail = func(needs []credits.Need, _ bool) error {
			if len(needs) > 1 {
				cancel() // while it leads
				synctest.Wait()
			}
			return nil
		}
		together(t, r.Batcher, r.gate, append(lead, others...)...)
		if err := errors.Join(otherErrs...); err != nil || leadErr[0] != nil {
			t.Errorf("%v and %v; what was in the batch is done", err, leadErr)
		}
	})
}

func TestABatchEndsWithTheLastContextInIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		patient := &patient{Store: credits.NewMemoryStore(nil)}
		gate := &gated{Store: patient}
		b := newBatcher(t, gate, oneLane)
		errs := make([]error, 3)
		var calls []func()
		for i := range errs {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i+1)*time.Second)
			defer cancel()
			calls = append(calls, func() {
				errs[i] = b.Update(ctx, []credits.Need{{Account: "a"}}, func(time.Time, []*credits.State) error { return nil })
			})
		}
		start := time.Now()
		patient.slow = "a"
		together(t, b, gate, calls...)
		for i, err := range errs {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("call %d: %v; want that it was cut short", i, err)
			}
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("the batch lasted %v; want 3s, until the last one gave up", took)
		}
	})
}

// A patient store does nothing to one account until the context ends.
type patient struct {
	credits.Store
	slow credits.AccountID
}

func (p *patient) Update(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	if needs[0].Account == p.slow {
		<-ctx.Done()
		return ctx.Err()
	}
	return p.Store.Update(ctx, needs, fn)
}

func TestAFullQueueRefusesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newBatchRig(t, &credits.BatcherOptions{Lanes: 1, Queue: 2}, "a")
		calls, errs := r.debits(t.Context(), "a", "a", "a", "a")
		together(t, r.Batcher, r.gate, calls...)
		for i, err := range errs {
			if full := errors.Is(err, credits.ErrOverloaded); full != (i >= 2) || !full && err != nil {
				t.Errorf("call %d: %v", i, err)
			}
		}
		if kerrors.CodeOf(errs[3]) != kerrors.Unavailable {
			t.Errorf("code %v", kerrors.CodeOf(errs[3]))
		}
		if n := r.consumed(t, "a"); n != 2 {
			t.Errorf("consumed %d; want 2", n)
		}
	})
}

func TestAHotAccountKeepsNoOtherWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newBatchRig(t, &credits.BatcherOptions{Lanes: 1, MaxBatch: 4}, "hot", "b", "c")
		accounts := append(slices.Repeat([]credits.AccountID{"hot"}, 40), "b", "c")
		calls, errs := r.debits(t.Context(), accounts...)
		together(t, r.Batcher, r.gate, calls...)
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		if r.gate.sizes[1] != 3 {
			t.Errorf("updates of %v accounts; want all three in the first batch of 4", r.gate.sizes)
		}
	})
}

func TestLanesDoNotWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newBatchRig(t, &credits.BatcherOptions{Lanes: 64})
		open := r.gate.shut()
		var group sync.WaitGroup
		for i := range 32 {
			group.Go(func() {
				_ = r.Update(t.Context(), []credits.Need{{Account: credits.AccountID(fmt.Sprint(i))}}, func(time.Time, []*credits.State) error { return nil })
			})
		}
		synctest.Wait()
		r.gate.mu.Lock()
		running := len(r.gate.sizes)
		r.gate.mu.Unlock()
		open()
		group.Wait()
		if running < 8 { // of 32 accounts in 64 lanes few share one
			t.Errorf("%d updates ran at a time", running)
		}
	})
}

// Updates of several accounts are in no lane of their own, and meet in any order.
func TestUpdatesOfOverlappingAccountsComeToAnEnd(t *testing.T) {
	b := newBatcher(t, credits.NewMemoryStore(nil), &credits.BatcherOptions{Lanes: 8, MaxBatch: 8})
	ids := []credits.AccountID{"a", "b", "c", "d", "e", "f"}
	var group sync.WaitGroup
	for i := range ids {
		for j := i + 1; j < len(ids); j++ {
			group.Go(func() {
				for range 50 {
					err := b.Update(t.Context(), []credits.Need{{Account: ids[i]}, {Account: ids[j]}}, func(now time.Time, states []*credits.State) error {
						if states[0].Account.ID != ids[i] || states[1].Account.ID != ids[j] {
							return errors.New("these are not the states that were asked for")
						}
						for _, st := range states {
							st.AccountChange = credits.Updated
							if st.Account.Version == 0 {
								st.AccountChange = credits.Added
							}
							st.Account.Seq++
							st.Account.Version++
							st.Account.At = now
						}
						return nil
					})
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	group.Wait()
	for _, id := range ids {
		err := b.View(t.Context(), []credits.Need{{Account: id}}, func(_ time.Time, states []*credits.State) error {
			if n := states[0].Account.Seq; n != 250 {
				t.Errorf("account %s was changed %d times; want 250", id, n)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}
