package creditstest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/credits"
)

func ledgerChecks() []check {
	return []check{
		{"on the last credits exactly as many callers win as can be paid", lastCredits},
		{"who decides while another one is about to write decides on what that writes", slowWrite},
		{"a command that many retry at once is done once", manyRetries},
		{"a hold that is captured and released at once ends in one way", oneEnd},
		{"periods of a schedule that many come for at once are granted once each", manyPeriods},
		{"random commands give what they give in memory", likeMemory},
		{"audits beside updates see no half of one", auditBeside},
	}
}

func open(s credits.Store) (*credits.Ledger, error) { return credits.NewLedger(s, nil) }

// openNearsighted returns a ledger whose denials do not look ahead: a fault of
// that look would leave out of a denial what no fault leaves in it.
func openNearsighted(s credits.Store) (*credits.Ledger, error) {
	return credits.NewLedger(s, &credits.Options{LookAhead: credits.NoLookAhead})
}

// verify fails unless every account's records agree.
func verify(ctx context.Context, l *credits.Ledger) error {
	_, err := l.Verify(ctx, nil)
	return err
}

// together runs fn n times at once and returns the first error.
func together(n int, fn func(i int) error) error {
	errs := make(chan error, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			errs <- fn(i)
		})
	}
	close(start)
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func lastCredits(ctx context.Context, s credits.Store) error {
	l, err := open(s)
	if err != nil {
		return err
	}
	const callers, payable, price = 32, 10, 3
	for i := range 3 { // three lots, so that a winner may need two of them
		if _, err := l.Grant(ctx, credits.Grant{Account: "a", ID: credits.OpID(fmt.Sprint("grant ", i)), Amount: payable*price/3 + 1}); err != nil {
			return err
		}
	}
	var won atomic.Int64
	err = together(callers, func(i int) error {
		id := credits.OpID(fmt.Sprint("call ", i))
		var err error
		if i%2 == 0 {
			_, err = l.Debit(ctx, credits.Debit{Account: "a", ID: id, Amount: price})
		} else if _, err = l.Hold(ctx, credits.Hold{Account: "a", ID: id, Amount: price}); err == nil {
			_, err = l.Capture(ctx, credits.Capture{Account: "a", Hold: id, All: true})
		}
		switch {
		case err == nil:
			won.Add(1)
		case !errors.Is(err, credits.ErrInsufficient):
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	const granted = payable*price + 3
	b, err := l.Balance(ctx, "a")
	if err != nil {
		return err
	}
	if n := credits.Amount(won.Load()); n != granted/price || b.Available != granted-n*price || b.Consumed != n*price {
		return fmt.Errorf("%d of %d callers were paid from %d credits at %d each: %+v", n, callers, granted, price, b)
	}
	return verify(ctx, l)
}

// slowWrite lets a second caller come while the first has decided and not yet
// written. It can have decided before that only where the first decides again.
func slowWrite(ctx context.Context, s credits.Store) error {
	l, err := open(s)
	if err != nil {
		return err
	}
	if _, err := l.Grant(ctx, credits.Grant{Account: "a", ID: "grant", Amount: 10}); err != nil {
		return err
	}
	var once sync.Once
	second := make(chan error, 1)
	slow, err := open(NewFaulty(s, func(int) Fault { return NoFault }, func(int) {
		once.Do(func() {
			go func() {
				_, err := l.Hold(ctx, credits.Hold{Account: "a", ID: "second", Amount: 10})
				second <- err
			}()
			select {
			case err := <-second:
				second <- err
			case <-time.After(20 * time.Millisecond): //nolint:forbidigo // a store that lets it in has had the time to
			}
		})
	}))
	if err != nil {
		return err
	}
	_, first := slow.Debit(ctx, credits.Debit{Account: "a", ID: "first", Amount: 10})
	other := <-second
	for _, err := range []error{first, other} {
		if err != nil && !errors.Is(err, credits.ErrInsufficient) {
			return err
		}
	}
	if (first == nil) == (other == nil) {
		return fmt.Errorf("of two callers who wanted all, the first was told %v, and the second %v", first, other)
	}
	return verify(ctx, l)
}

func manyRetries(ctx context.Context, s credits.Store) error {
	l, err := open(s)
	if err != nil {
		return err
	}
	var first atomic.Int64
	for _, cmd := range []func() (credits.Receipt, error){
		func() (credits.Receipt, error) {
			return l.Grant(ctx, credits.Grant{Account: "a", ID: "grant", Amount: 100})
		},
		func() (credits.Receipt, error) {
			return l.Hold(ctx, credits.Hold{Account: "a", ID: "hold", Amount: 10})
		},
		func() (credits.Receipt, error) {
			return l.Capture(ctx, credits.Capture{Account: "a", Hold: "hold", Amount: 7})
		},
		func() (credits.Receipt, error) {
			return l.Debit(ctx, credits.Debit{Account: "a", ID: "debit", Amount: 10})
		},
		func() (credits.Receipt, error) {
			return l.Refund(ctx, credits.Refund{Account: "a", ID: "refund", Of: "debit", Amount: 4})
		},
	} {
		first.Store(0)
		err := together(8, func(int) error {
			r, err := cmd()
			if err == nil && !r.Replayed {
				first.Add(1)
			}
			return err
		})
		if err != nil {
			return err
		}
		if first.Load() != 1 {
			return fmt.Errorf("of 8 equal commands %d were done", first.Load())
		}
	}
	b, err := l.Balance(ctx, "a")
	if err != nil {
		return err
	}
	if want := (credits.Totals{Issued: 100, Available: 87, Consumed: 13}); b.Totals != want {
		return wrong("balance", b.Totals, want)
	}
	return verify(ctx, l)
}

func manyPeriods(ctx context.Context, s credits.Store) error {
	const callers, periods = 8, 20
	var ledgers [callers]*credits.Ledger
	for i := range ledgers { // as many instances
		var err error
		if ledgers[i], err = open(s); err != nil {
			return err
		}
	}
	now, err := instant(ctx, s)
	if err != nil {
		return err
	}
	schedule := credits.Schedule{
		Account: "a", ID: "s", Amount: 5, Unit: credits.Hours, Every: 1, Lifetime: credits.NoTimeout, Anchor: now.Add(-periods*time.Hour + 30*time.Minute),
	}
	if err := together(callers, func(i int) error {
		got, err := ledgers[i].SetSchedule(ctx, schedule)
		if err == nil && got.Next != periods {
			return fmt.Errorf("the schedule goes on with period %d, after %d have begun", got.Next, periods)
		}
		return err
	}); err != nil {
		return err
	}
	b, err := ledgers[0].Balance(ctx, "a")
	if err != nil {
		return err
	}
	if want := (credits.Totals{Issued: 5 * periods, Available: 5 * periods}); b.Totals != want {
		return wrong("balance", b.Totals, want)
	}
	return verify(ctx, ledgers[0])
}

func oneEnd(ctx context.Context, s credits.Store) error {
	l, err := open(s)
	if err != nil {
		return err
	}
	if _, err := l.Grant(ctx, credits.Grant{Account: "a", ID: "grant", Amount: 1000}); err != nil {
		return err
	}
	consumed := credits.Amount(0)
	for round := range 10 {
		id := credits.OpID(fmt.Sprint("hold ", round))
		if _, err := l.Hold(ctx, credits.Hold{Account: "a", ID: id, Amount: 10}); err != nil {
			return err
		}
		var captured, released atomic.Int64
		err := together(8, func(i int) error {
			var err error
			if i%2 == 0 {
				if _, err = l.Capture(ctx, credits.Capture{Account: "a", Hold: id, Amount: 4}); err == nil {
					captured.Add(1)
				}
			} else if _, err = l.Release(ctx, credits.Release{Account: "a", Hold: id}); err == nil {
				released.Add(1)
			}
			if errors.Is(err, credits.ErrSettled) {
				return nil
			}
			return err
		})
		if err != nil {
			return err
		}
		if c, r := captured.Load(), released.Load(); c*r != 0 || c+r != 4 {
			return fmt.Errorf("%d captures and %d releases of one hold succeeded; want 4 of one kind", c, r)
		}
		if captured.Load() > 0 {
			consumed += 4
		}
	}
	b, err := l.Balance(ctx, "a")
	if err != nil {
		return err
	}
	if want := (credits.Totals{Issued: 1000, Available: 1000 - consumed, Consumed: consumed}); b.Totals != want {
		return wrong("balance", b.Totals, want)
	}
	return verify(ctx, l)
}

// likeMemory runs the same commands here and in a memory store. None depends on
// the time, so the results differ in instants alone, and those are left out.
func likeMemory(ctx context.Context, s credits.Store) error {
	const seed, steps = 20, 300
	there, err := open(credits.NewMemoryStore(nil))
	if err != nil {
		return err
	}
	here, err := open(s)
	if err != nil {
		return err
	}
	g := NewRandom(seed, "a", "b").Untimed()
	for i := range steps {
		c := g.Next(time.Unix(1e9, 0))
		want, got := c.Do(ctx, there).timeless(), c.Do(ctx, here).timeless()
		if !got.Same(want) || got.Replayed != want.Replayed {
			return fmt.Errorf("seed %d step %d %v:\n got %v\nwant %v", seed, i, c, got, want)
		}
	}
	return verify(ctx, here)
}

func auditBeside(ctx context.Context, s credits.Store) error {
	l, err := open(s)
	if err != nil {
		return err
	}
	if _, err := l.Grant(ctx, credits.Grant{Account: "a", ID: "grant", Amount: 100_000}); err != nil {
		return err
	}
	return together(4, func(i int) error {
		for n := range 25 {
			if i == 0 {
				if err := verify(ctx, l); err != nil {
					return err
				}
				continue
			}
			id := credits.OpID(fmt.Sprint(i, " ", n))
			if _, err := l.Hold(ctx, credits.Hold{Account: "a", ID: id, Amount: 3}); err != nil {
				return err
			}
			if _, err := l.Capture(ctx, credits.Capture{Account: "a", Hold: id, Amount: 2}); err != nil {
				return err
			}
		}
		return nil
	})
}
