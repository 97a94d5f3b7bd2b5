package credits

import (
	"context"
	"strconv"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// maxForecast is how many rows of each kind a look into the future reads, and
// three times that many events what it goes through.
const maxForecast = 10_000

// A Forecast is what an account will have at an instant, if nobody does anything
// until then but look.
type Forecast struct {
	Account   AccountID
	At        time.Time // the instant; now, for one that has passed
	Operation string
	Spendable Amount // of Available, what can be spent on Operation; budgets may allow less
	Totals
}

// SpendableAt returns what will be there to spend on an operation at an instant,
// by time alone: lots take effect and expire, schedules grant, holds time out and
// leases lapse. The empty operation is one that no restricted lot is for. An
// instant before the store's now counts as now.
//
// A schedule that does not catch up with all is taken to miss nothing from now
// on. More changes than ten thousand rows make until then are [ErrTooFar].
func (l *Ledger) SpendableAt(ctx context.Context, account AccountID, at time.Time, operation string) (Forecast, error) {
	const op = "credits.SpendableAt"
	f := errors.Faults{Op: op}
	checkID(&f, "Account", string(account))
	checkInstant(&f, "At", at)
	checkText(&f, "Operation", operation, MaxIDBytes)
	if err := f.Err(); err != nil {
		return Forecast{}, err
	}
	c := Forecast{Account: account, Operation: operation}
	need := Need{Account: account, Until: micros(at), Limit: maxForecast}
	need.spend(operation, MaxAmount)
	err := l.view(ctx, need, func(st *State, now time.Time) (err error) {
		if c.At, err = st.foresee(now, micros(at)); err != nil {
			return err
		}
		c.Totals, c.Spendable = st.Account.Totals, 0
		if c.Totals.Debt == 0 {
			c.Spendable = st.spendable(MaxAmount, operation)
		}
		return nil
	})
	if err != nil {
		return Forecast{}, atBoundary(op, err)
	}
	return c, nil
}

// Upcoming returns what time alone will do to an account after now and until an
// instant, as the entries that it will write, in their order and without Seq and
// Hash, which depend on what else happens. It foresees what SpendableAt does.
func (l *Ledger) Upcoming(ctx context.Context, account AccountID, until time.Time) ([]Entry, error) {
	const op = "credits.Upcoming"
	f := errors.Faults{Op: op}
	checkID(&f, "Account", string(account))
	checkInstant(&f, "Until", until)
	if err := f.Err(); err != nil {
		return nil, err
	}
	var list []Entry
	err := l.view(ctx, Need{Account: account, Until: micros(until), Limit: maxForecast}, func(st *State, now time.Time) error {
		list = nil
		_, err := st.foresee(now, micros(until))
		for _, e := range st.Entries {
			if e.At.After(now) {
				e.Seq, e.Hash = 0, Hash{}
				list = append(list, e)
			}
		}
		return err
	})
	if err != nil {
		return nil, atBoundary(op, err)
	}
	return list, nil
}

// foresee lets time pass in a state that is not going to be written, and returns
// the instant that it has come to.
func (s *State) foresee(now, until time.Time) (time.Time, error) {
	if now.Before(s.Account.At) {
		now = s.Account.At
	}
	if until.Before(now) {
		until = now
	}
	s.limit = maxForecast
	err := s.pass(now, until)
	if errors.Is(err, errMore) {
		err = refuse(ErrTooFar, "over "+strconv.Itoa(maxForecast)+" rows; give an earlier instant")
	}
	return until, err
}
