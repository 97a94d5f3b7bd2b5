package credits

import "time"

// advance posts everything that became due up to now, in the order of [event],
// each at its own instant, and returns the instant at which the command is
// decided: now, or the account's last one when the clock went back.
//
// It posts only what is completely known, and of that a bounded portion, when
// the state has a limit: then it returns errMore, for this command and for all
// others on the same state, until what it has posted was written and the state
// loaded again. Its other errors are [ErrCorrupt] and that of a zone that is not
// loaded yet.
func (s *State) advance(now time.Time) (time.Time, error) {
	if now.Before(s.Account.At) {
		now = s.Account.At
	}
	switch {
	case s.posted:
		return now, errMore
	case now.Equal(s.passed):
		return now, nil // for an earlier command: of what they add only a schedule is due at once
	}
	err := s.pass(now, now)
	if err == nil {
		s.passed = now
	}
	return now, err
}

// pass lets time pass until an instant that may be later than now, when somebody
// looks: what is not completely known, or too much, is left, with errMore.
func (s *State) pass(now, until time.Time) error {
	t := timeline{state: s, now: now, until: until}
	if err := t.begin(); err != nil {
		return err
	}
	for t.next() {
		if err := t.happen(); err != nil {
			return err
		}
	}
	if s.More || len(t.events) > 0 {
		s.More, s.posted = true, true
		return errMore
	}
	return nil
}

func isDue(at, now time.Time) bool { return !at.IsZero() && !at.After(now) }

// happen does what the event on top is about, and takes it off.
func (t *timeline) happen() error {
	e := t.pop()
	s := t.state
	at := e.at
	if at.Before(s.Account.At) { // of a schedule that was set with an Anchor in the past
		at = s.Account.At
	}
	var err error
	switch e.of {
	case ofLot:
		err = t.passLot(&s.Lots[e.row], e.at, at)
	case ofOp:
		err = s.passOp(&s.Ops[e.row], at)
	case ofSchedule:
		err = t.passSchedule(e, at)
	}
	return err
}

// passLot lets a lot take effect or expire.
func (t *timeline) passLot(row *LotRow, due, at time.Time) error {
	s := t.state
	l := &row.Lot
	if pending := l.Totals.Pending; pending > 0 {
		s.touch(at)
		s.move(row, BucketPending, BucketAvailable, pending, Entry{At: at, Kind: KindEffect, Op: l.Op})
		return nil
	}
	if l.Totals.Available == 0 {
		return nil
	}
	s.touch(at)
	row, err := t.roll(row, due, at)
	if err != nil {
		return err
	}
	s.move(row, BucketAvailable, BucketExpired, row.Lot.Totals.Available, Entry{At: at, Kind: KindExpire, Op: row.Lot.Op})
	return nil
}

// passOp lets a hold or a lease reach its deadline.
func (s *State) passOp(row *OpRow, at time.Time) error {
	if !s.loaded(row) {
		return s.corrupt("a lot that a hold took from is missing")
	}
	s.touch(at)
	if row.Op.Kind == KindLease {
		s.lapse(row, at)
		return nil
	}
	s.settle(row, HoldTimedOut, 0, at)
	return nil
}
