package credits

import (
	"context"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// NoLookAhead as [Options.LookAhead] leaves a denial's ClearsAt to what the
// account's budgets say, and NextGrantAt at zero.
const NoLookAhead time.Duration = -1

const (
	defaultLookAhead = 35 * 24 * time.Hour // a month has a grant
	longestLookAhead = 400 * 24 * time.Hour
	lookAheadRows    = 32 // of each kind that a denial reads of what is to come
)

// A denier is a command that can be denied for want of room.
type denier interface{ want(opt *settings) want }

func (c *Hold) want(opt *settings) want {
	return want{c.Amount, c.Key, c.Operation, opt.maxHolds}
}

func (c *Debit) want(_ *settings) want { return want{c.Amount, c.Key, c.Operation, 0} }

// lookAhead finds out, after a command was denied, when it would have room by time
// alone. It reads a bounded number of rows, and when it cannot, the denial stands
// as it is.
func (l *Ledger) lookAhead(ctx context.Context, c *call, d *DeniedError) {
	cmd, ok := c.cmd.(denier)
	if !ok || l.opt.lookAhead == 0 {
		return
	}
	w := cmd.want(&l.opt)
	until := micros(c.now.Add(l.opt.lookAhead))
	if d.ClearsAt.After(until) { // what the budgets say, which know nothing of the rest
		until = d.ClearsAt
	}
	var o outlook
	spent := Amount(0) // by expiry: what may be gone then, so that more lots must be there
	for again := true; again; {
		need := Need{Account: d.Account, Until: until, Limit: lookAheadRows, Scopes: scopes(nil, w.key, w.operation)}
		need.spend(w.operation, min(w.amount+spent, MaxAmount))
		err := l.view(ctx, need, func(st *State, now time.Time) (err error) {
			ending := st.ending(w.operation, until)
			again = ending > spent && st.spendable(need.Spends[0].Amount, w.operation) == need.Spends[0].Amount
			if spent = max(spent, ending); !again {
				o, err = st.outlook(w, now, until)
			}
			return err
		})
		if err != nil {
			return
		}
	}
	d.ClearsAt, d.NextGrantAt = o.clears, o.grant
}

// ending returns how much of what is available for an operation expires by an
// instant.
func (s *State) ending(operation string, until time.Time) Amount {
	sum := Amount(0)
	for i := range s.Lots {
		if lot := &s.Lots[i].Lot; isDue(lot.ExpiresAt, until) && lot.Only.Has(operation) {
			sum += lot.Totals.Available
		}
	}
	return sum
}

// An outlook is what time alone does for somebody who wants something.
type outlook struct {
	clears time.Time // when there is room; zero: not known
	grant  time.Time // when something is granted that it could be spent from; zero: not known
}

// outlook goes through the instants at which something changes, from now on, and
// asks at each what a command would be told then.
func (s *State) outlook(w want, now, until time.Time) (outlook, error) {
	if now.Before(s.Account.At) {
		now = s.Account.At
	}
	until, err := s.unmissed(now, until)
	if err != nil {
		return outlook{}, err
	}
	s.limit = lookAheadRows
	t := timeline{state: s, now: now, until: until}
	var o outlook
	if err := t.begin(); err != nil {
		return o, err
	}
	for at, more := now, true; more; at, more = t.change(at, w) {
		seen := len(s.Entries)
		ask := at.Equal(now)
		for len(t.events) > 0 && !t.events[0].at.After(at) && t.next() {
			ask = ask || t.events[0].of != ofLot
			if err := t.happen(); err != nil {
				return o, err
			}
		}
		if len(t.events) > 0 && !t.events[0].at.After(at) || t.edge != nil && !at.Before(t.edge.at) {
			return o, nil // that instant is not completely known
		}
		for _, e := range s.Entries[seen:] {
			granted := (e.Kind == KindEffect || e.Kind == KindGrant) && s.lot(e.Lot).Lot.Only.Has(w.operation)
			if ask = ask || granted; granted && at.After(now) && o.grant.IsZero() {
				o.grant = at
			}
		}
		if o.clears.IsZero() && (ask || s.windowEnds(w, at)) {
			denied, err := s.admit(w, at)
			if err != nil {
				return o, err
			}
			if denied == nil {
				o.clears = at
			}
		}
		if !o.clears.IsZero() && !o.grant.IsZero() {
			return o, nil
		}
	}
	return o, nil
}

// change returns the first instant after the given one that changes something
// for w.
func (t *timeline) change(at time.Time, w want) (time.Time, bool) {
	var next time.Time
	if len(t.events) > 0 {
		next = t.events[0].at
	}
	for _, i := range t.state.covering(w.key, w.operation) {
		if end := t.state.Budgets[i].Budget.End; end.After(at) && (next.IsZero() || end.Before(next)) {
			next = end
		}
	}
	return next, isDue(next, t.until)
}

// windowEnds reports whether the window of a budget that covers w ends at that
// instant.
func (s *State) windowEnds(w want, at time.Time) bool {
	for _, i := range s.covering(w.key, w.operation) {
		if s.Budgets[i].Budget.End.Equal(at) {
			return true
		}
	}
	return false
}

// unmissed returns until, or what is before the instant at which a schedule that
// does not catch up with all would have missed a period, if nobody came by: what
// it grants then depends on that.
func (s *State) unmissed(now, until time.Time) (time.Time, error) {
	for i := range s.Schedules {
		sc := &s.Schedules[i].Schedule
		if sc.CatchUp == CatchUpAll || sc.NextAt.IsZero() {
			continue
		}
		p, err := sc.periods(s.zones)
		if err != nil {
			return until, err
		}
		from := sc.NextAt
		if from.Before(now) {
			from = now
		}
		if _, missed, ok := p.next(sc.Next+1, from); ok && !missed.After(until) {
			until = missed.Add(-time.Microsecond)
		}
	}
	return until, nil
}

// lookAheadOf returns how far denials look ahead; 0: not at all.
func (o *Options) lookAheadOf(f *errors.Faults) time.Duration {
	switch {
	case o.LookAhead == 0:
		return defaultLookAhead
	case o.LookAhead == NoLookAhead:
		return 0
	case o.LookAhead < time.Microsecond || o.LookAhead > longestLookAhead:
		f.Add("LookAhead is %v; give 1µs to %v, or NoLookAhead", o.LookAhead, longestLookAhead)
	}
	return o.LookAhead
}
