package creditstest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keytoll/keytoll/credits"
)

func timeChecks() []check {
	return []check{
		{"now is the store's clock, forward and back", clockFollows},
		{"what is due is loaded from the very microsecond on", dueExactly},
		{"a lot counts for a spend until the very microsecond", spendExactly},
		{"a hold times out by the store's clock", timesOut},
	}
}

// advance moves the store's clock. Run has seen that it can be moved.
func advance(s credits.Store, d time.Duration) {
	if c, ok := s.(Clock); ok {
		c.Advance(d)
	}
}

// instant reads the store's clock.
func instant(ctx context.Context, s credits.Store) (time.Time, error) {
	var now time.Time
	err := view(ctx, s, credits.Need{Account: "a"}, func(n time.Time, _ *credits.State) error { now = n; return nil })
	return now, err
}

func clockFollows(ctx context.Context, s credits.Store) error {
	want, err := instant(ctx, s)
	if err != nil {
		return err
	}
	for _, d := range []time.Duration{0, time.Microsecond, time.Hour, -time.Second, 400 * 24 * time.Hour, -time.Microsecond} {
		advance(s, d)
		want = want.Add(d)
		if now, err := instant(ctx, s); err != nil || now != want { //nolint:revive // the very same value
			return fmt.Errorf("after the clock was moved by %v View says %v, %v; want %v", d, now, err, want)
		}
		if err := update(ctx, s, credits.Need{Account: "a"}, func(now time.Time, _ *credits.State) error {
			if now != want { //nolint:revive // the very same value
				return wrong(fmt.Sprintf("now of Update, after the clock was moved by %v", d), now, want)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

func dueExactly(ctx context.Context, s credits.Store) error {
	if _, err := seed(ctx, s, "a", func(st *credits.State, now time.Time) {
		soon := now.Add(time.Second)
		held(st, "o", soon, now)
		lot(st, credits.Lot{ExpiresAt: soon}, 10, now)
		pendingLot(st, soon, now)
		schedule(st, credits.Schedule{ID: "s"}, soon)
	}); err != nil {
		return err
	}
	all := seen{ops: []credits.OpID{"o"}, lots: []credits.LotID{1, 2, 3}, schedules: []credits.ScheduleID{"s"}, budgets: []credits.BudgetID{"o"}}
	advance(s, time.Second)
	if err := loads(ctx, s, credits.Need{Account: "a"}, all); err != nil {
		return fmt.Errorf("at the instant itself: %w", err)
	}
	advance(s, -time.Microsecond)
	// Not due yet, so that nothing can be left out.
	if err := update(ctx, s, credits.Need{Account: "a", Limit: 1}, func(_ time.Time, st *credits.State) error {
		if st.More {
			return fmt.Errorf("a microsecond before anything is due, More is set: %+v", rowsOf(st))
		}
		return nil
	}); err != nil {
		return err
	}
	advance(s, time.Hour)
	return loads(ctx, s, credits.Need{Account: "a"}, all)
}

func spendExactly(ctx context.Context, s credits.Store) error {
	if _, err := seed(ctx, s, "a", func(st *credits.State, now time.Time) {
		lot(st, credits.Lot{ExpiresAt: now.Add(time.Second)}, 10, now)
		lot(st, credits.Lot{ExpiresAt: now.Add(time.Second + time.Microsecond)}, 10, now)
		lot(st, credits.Lot{}, 10, now)
	}); err != nil {
		return err
	}
	need := credits.Need{Account: "a", Spends: []credits.Spend{{Amount: 10}}}
	for _, c := range []struct {
		step  time.Duration
		first credits.LotID
	}{{0, 1}, {time.Second - time.Microsecond, 1}, {time.Microsecond, 2}, {time.Microsecond, 3}, {-2 * time.Microsecond, 1}} {
		advance(s, c.step)
		if err := loads(ctx, s, need, seen{lots: []credits.LotID{c.first}}); err != nil {
			return err
		}
	}
	return nil
}

func timesOut(ctx context.Context, s credits.Store) error {
	l, err := open(s)
	if err != nil {
		return err
	}
	if _, err := l.Grant(ctx, credits.Grant{Account: "a", ID: "grant", Amount: 10}); err != nil {
		return err
	}
	if _, err := l.Hold(ctx, credits.Hold{Account: "a", ID: "hold", Amount: 10, TTL: time.Second}); err != nil {
		return err
	}
	for _, c := range []struct {
		step time.Duration
		held credits.Amount
	}{{time.Second - time.Microsecond, 10}, {time.Microsecond, 0}} {
		advance(s, c.step)
		b, err := l.Balance(ctx, "a")
		if err != nil || b.Held != c.held || b.Available != 10-c.held {
			return fmt.Errorf("balance %+v, %v; want %v held", b, err, c.held)
		}
	}
	if _, err := l.Capture(ctx, credits.Capture{Account: "a", Hold: "hold", All: true}); !errors.Is(err, credits.ErrTimedOut) {
		return wrong("error of a late capture", err, credits.ErrTimedOut)
	}
	if _, err := l.Debit(ctx, credits.Debit{Account: "a", ID: "debit", Amount: 10}); err != nil {
		return err
	}
	return verify(ctx, l)
}

// clockMoves waits for a clock that nobody moves.
func clockMoves(ctx context.Context, s credits.Store) error {
	// Some clocks tick sixty times a second.
	patience, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	first, err := instant(ctx, s)
	if err != nil {
		return err
	}
	for i := 0; i < 100 || patience.Err() == nil; i++ {
		if now, err := instant(ctx, s); err != nil || now.After(first) {
			return err
		}
	}
	return errors.New("the store's clock stands still")
}
