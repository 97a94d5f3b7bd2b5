package credits

import "time"

// passSchedule lets the next period of a schedule begin: it grants, or, when a
// later period has begun too and CatchUp says so, goes on to that one.
func (t *timeline) passSchedule(e event, at time.Time) error {
	s := t.state
	row := &s.Schedules[e.row]
	sc := &row.Schedule
	p, err := sc.periods(s.zones)
	if err != nil {
		return err
	}
	s.touch(at)
	row.Change.change()
	n, begin := sc.Next, sc.NextAt
	_, end, ok := p.next(n+1, begin)
	switch last := p.last(t.now); {
	case !ok:
		sc.NextAt = time.Time{}
	case last > n && sc.CatchUp == CatchUpLatest:
		sc.goOn(p, last, begin)
	case last > n && sc.CatchUp == CatchUpNone:
		sc.goOn(p, last+1, begin)
	default:
		t.grant(sc, end, at)
		sc.goOn(p, n+1, begin)
	}
	t.laterSchedule(e.row)
	return nil
}

// grant makes the lot of the period that sc grants next. What would take the
// account over what it can be issued is cut.
func (t *timeline) grant(sc *Schedule, end, at time.Time) {
	s := t.state
	amount := min(sc.Amount, MaxAmount-s.Account.Totals.Issued-s.Account.Totals.Debt)
	if amount <= 0 {
		return
	}
	lot := Lot{
		Op: sc.op(sc.Next), Schedule: sc.ID, Priority: sc.Priority, Category: sc.Category, Only: sc.Only,
		EffectiveAt: sc.NextAt, ExpiresAt: sc.expires(end),
	}
	s.addLot(lot, amount, at, Entry{At: at, Kind: KindGrant, Op: lot.Op})
	t.laterLot(len(s.Lots) - 1)
}

// expires returns when the grant of the next period does, which ends at end.
func (s *Schedule) expires(end time.Time) time.Time {
	switch s.Lifetime {
	case 0:
		return end
	case NoTimeout:
		return time.Time{}
	}
	t := s.NextAt.Add(s.Lifetime)
	if t.Year() > lastYear {
		return time.Time{}
	}
	return t
}

// roll moves what is left of a lot that expires, up to the Rollover of its
// schedule, to a lot that lives until the end of the period that begins now. It
// returns the row of the old lot, which has moved when a lot was added.
//
// A lot rolls over only when it is the grant of the period that ends now, so of
// all lots of a schedule one at most goes on into each period; and what went on
// does not go on again, because the new lot has no Schedule.
func (t *timeline) roll(row *LotRow, due, at time.Time) (*LotRow, error) {
	s, old := t.state, row.Lot
	srow := s.schedule(old.Schedule)
	if srow == nil {
		return row, nil
	}
	sc := &srow.Schedule
	if sc.Rollover == 0 || sc.Lifetime != 0 || !sc.NextAt.Equal(due) {
		return row, nil
	}
	p, err := sc.periods(s.zones)
	if err != nil {
		return row, err
	}
	_, end, ok := p.next(sc.Next+1, sc.NextAt)
	if begin, known := p.series.At(sc.Next - 1); !ok || !known || !begin.Equal(old.EffectiveAt) {
		return row, nil
	}
	amount := min(old.Totals.Available, sc.Rollover)
	e := Entry{At: at, Kind: KindRoll, Op: sc.op(sc.Next)}
	s.move(row, BucketAvailable, BucketIssued, amount, e)
	heir := Lot{Op: e.Op, Priority: old.Priority, Category: old.Category, Only: old.Only, EffectiveAt: due, ExpiresAt: end}
	s.addLot(heir, amount, at, e)
	t.laterLot(len(s.Lots) - 1)
	return s.lot(old.ID), nil
}

// schedule returns the row of a schedule, or nil when there is none.
func (s *State) schedule(id ScheduleID) *ScheduleRow {
	for i := range s.Schedules {
		if row := &s.Schedules[i]; id != "" && row.Schedule.ID == id && !row.Change.gone() {
			return row
		}
	}
	return nil
}

// laterLot and laterSchedule add what a row that is new or has changed makes due.
func (t *timeline) laterLot(i int) {
	n := len(t.events)
	t.addLot(i)
	t.settleHeap(n)
}

func (t *timeline) laterSchedule(i int) {
	n := len(t.events)
	t.addSchedule(i)
	t.settleHeap(n)
}
