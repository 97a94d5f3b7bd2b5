package credits

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// Bounds of schedules.
const (
	MaxSchedules = 100  // of one account
	MaxCatchUp   = 1000 // how many periods may have begun before a schedule is set that is to catch up with all
)

// maxScheduleIDBytes leaves room in the ids of its grants for the period.
const maxScheduleIDBytes = MaxIDBytes - len(reservedPrefix+"#") - 20

// longest is how many of each unit a period may last, and maxLifetime how long a
// grant may: ten years or so. The least is an hour, which is one of Hours.
var longest = [...]int{Hours: 87_840, Days: 3660, Weeks: 520, Months: 120, Years: 10}

const maxLifetime = 3660 * 24 * time.Hour

// SetSchedule makes a schedule, or replaces the one of its Account and ID, and
// returns it as the ledger keeps it. Setting what is set already changes nothing,
// so a retry is harmless; Next and NextAt of s are not looked at.
//
// A new schedule whose Anchor has passed does what CatchUp says about the periods
// that have begun, at once: each such grant has its own EffectiveAt and end, and
// stands in the journal at the instant of this command. With CatchUpAll at most
// [MaxCatchUp] may have begun: [ErrCatchUp].
//
// When one is replaced, what was due is granted by the old terms, and a grant
// that was made stays as it is. While Unit, Every, Anchor and Zone stay, the count
// of periods goes on, and the new terms hold from the next grant on. When one of
// them changes, the schedule goes on with the first period by the new count that
// begins after now, whatever CatchUp says; so it never grants twice for one
// instant, and what is left of the old period does not roll over. The same holds
// when Until is put off after the schedule had ended.
//
// Besides the errors of every command it returns [ErrTooManySchedules].
func (l *Ledger) SetSchedule(ctx context.Context, s Schedule) (Schedule, error) {
	const op = "credits.SetSchedule"
	f := errors.Faults{Op: op}
	s.check(&f, l.opt.zones)
	if err := f.Err(); err != nil {
		return Schedule{}, err
	}
	s.Anchor, s.Until, s.Next, s.NextAt = micros(s.Anchor), micros(s.Until), 0, time.Time{}
	if s.Lifetime > 0 {
		s.Lifetime = s.Lifetime.Truncate(time.Microsecond)
	}
	need := Need{Account: s.Account, Schedules: []ScheduleID{s.ID}, List: List{Rows: ScheduleRows, Limit: MaxSchedules}}
	var set Schedule
	var earlier grants
	apply := func(st *State, now time.Time) error {
		if st.schedule(s.ID) == nil && st.Account.LastLot > earlier.upTo {
			return errUnseen
		}
		now, err := st.advance(now)
		if err != nil {
			return err
		}
		if err := st.setSchedule(s, earlier.last, now); err != nil {
			return err
		}
		_, err = st.advance(now) // what is new may be due
		set = st.schedule(s.ID).Schedule
		return err
	}
	err := l.update(ctx, need, apply)
	for errors.Is(err, errUnseen) {
		if err = l.see(ctx, s.Account, s.ID, &earlier); err == nil {
			err = l.update(ctx, need, apply)
		}
	}
	if err != nil {
		return Schedule{}, atBoundary(op, err)
	}
	return set, nil
}

// check reports what is wrong with a schedule that a caller sets.
func (s *Schedule) check(f *errors.Faults, z *zones) {
	checkID(f, "Account", string(s.Account))
	if s.ID == "" {
		checkID(f, "ID", "")
	}
	checkText(f, "ID", string(s.ID), maxScheduleIDBytes)
	checkAmount(f, s.Amount, Micro)
	if s.Unit < Hours || s.Unit > Years {
		f.Add("Unit is %d; give Hours, Days, Weeks, Months or Years", s.Unit)
	} else if s.Every < 1 || s.Every > longest[s.Unit] {
		f.Add("Every is %d; give 1 to %d of these units", s.Every, longest[s.Unit])
	}
	if s.Anchor.IsZero() {
		f.Add("Anchor is zero; give the instant at which the first period begins")
	}
	checkInstant(f, "Anchor", s.Anchor)
	checkInstant(f, "Until", s.Until)
	if !s.Until.IsZero() && !micros(s.Until).After(micros(s.Anchor)) {
		f.Add("Until is not after Anchor; give a later instant, or none")
	}
	z.check(f, "Zone", s.Zone)
	if s.CatchUp > CatchUpNone {
		f.Add("CatchUp is %d; give CatchUpAll, CatchUpLatest or CatchUpNone", s.CatchUp)
	}
	if s.Lifetime != 0 && s.Lifetime != NoTimeout && (s.Lifetime < time.Microsecond || s.Lifetime > maxLifetime) {
		f.Add("Lifetime is %v; give 1µs to %v, 0 for the length of a period, or NoTimeout", s.Lifetime, maxLifetime)
	}
	if why := s.Rollover.check(0); why != "" {
		f.Add("Rollover %s", why)
	}
	if s.Rollover > 0 && s.Lifetime != 0 {
		f.Add("Rollover and Lifetime are both set; what does not end with its period does not roll over, so leave one out")
	}
	if s.Priority < -MaxPriority || s.Priority > MaxPriority {
		f.Add("Priority is %d; give %d to %d", s.Priority, -MaxPriority, MaxPriority)
	}
	if int(s.Category) >= len(categories) {
		f.Add("Category is %d; give Paid, Plan or Promo", s.Category)
	}
	s.Only.check(f, "Only")
}

// setSchedule puts a schedule into the state. All that was due by now has been
// posted. One that is new grants nothing for what begins until after granted.
func (s *State) setSchedule(to Schedule, granted, now time.Time) error {
	s.passed = time.Time{} // its first period may be due
	p, err := to.periods(s.zones)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(s.Schedules, func(r ScheduleRow) bool { return r.Schedule.ID == to.ID })
	if at < 0 || s.Schedules[at].Change.gone() {
		if err := s.newSchedule(&to, p, granted, now); err != nil {
			return err
		}
		s.touch(now)
		if at < 0 {
			s.Schedules = append(s.Schedules, ScheduleRow{Schedule: to, Change: Added})
			return nil
		}
		row := &s.Schedules[at]
		row.Schedule = to
		row.Change.renew()
		return nil
	}
	row := &s.Schedules[at]
	old := row.Schedule
	old.Anchor, old.Until, old.NextAt = micros(old.Anchor), micros(old.Until), micros(old.NextAt)
	to.Next, to.NextAt = old.Next, old.NextAt
	if to == old {
		return nil
	}
	if to.Unit != old.Unit || to.Every != old.Every || !to.Anchor.Equal(old.Anchor) || to.Zone != old.Zone {
		to.goOn(p, p.series.After(now), now)
	} else if !to.Until.Equal(old.Until) {
		to.goOn(p, max(old.Next, p.series.After(now)), now)
	}
	s.touch(now)
	row.Change.change()
	row.Schedule = to
	return nil
}

// newSchedule finds the first period that a schedule grants which was not there
// before.
func (s *State) newSchedule(to *Schedule, p periods, granted, now time.Time) error {
	have := 0
	for i := range s.Schedules {
		if !s.Schedules[i].Change.gone() {
			have++
		}
	}
	if have >= MaxSchedules {
		return refuse(ErrTooManySchedules, strconv.Itoa(have)+"; remove one first")
	}
	begun, first := p.last(now)+1, int64(0)
	if !granted.IsZero() {
		first = p.series.After(granted)
	}
	switch to.CatchUp {
	case CatchUpAll:
		if begun > MaxCatchUp {
			return refuse(ErrCatchUp, strconv.FormatInt(begun, 10)+" since Anchor, at most "+strconv.Itoa(MaxCatchUp)+" may have; give a later Anchor, CatchUpLatest or CatchUpNone")
		}
		to.goOn(p, first, granted)
	case CatchUpLatest:
		to.goOn(p, max(begun-1, first), granted)
	case CatchUpNone:
		before := now.Add(-time.Microsecond)
		to.goOn(p, max(p.series.After(before), first), before)
	}
	return nil
}

// RemoveSchedule takes a schedule away. What it has granted stays and is not
// rolled over any more; what was due is granted first. A schedule of its ID that
// is set later is a new one, and grants no period that begins at the instant of
// this one's last grant or before. It returns [ErrNotFound].
func (l *Ledger) RemoveSchedule(ctx context.Context, account AccountID, id ScheduleID) error {
	const op = "credits.RemoveSchedule"
	if err := checkRow(op, account, id); err != nil {
		return err
	}
	err := l.update(ctx, Need{Account: account, Schedules: []ScheduleID{id}}, func(st *State, now time.Time) error {
		now, err := st.advance(now)
		if err != nil {
			return err
		}
		row := st.schedule(id)
		if row == nil {
			return refuse(ErrNotFound, "no schedule "+quote(string(id)))
		}
		st.touch(now)
		row.Change.remove()
		return nil
	})
	return atBoundary(op, err)
}

// Schedule returns a schedule as it is by the store's clock: what is due counts
// as granted, written or not. It returns [ErrNotFound].
func (l *Ledger) Schedule(ctx context.Context, account AccountID, id ScheduleID) (Schedule, error) {
	const op = "credits.Schedule"
	if err := checkRow(op, account, id); err != nil {
		return Schedule{}, err
	}
	var found Schedule
	err := l.view(ctx, Need{Account: account, Schedules: []ScheduleID{id}}, func(st *State, now time.Time) error {
		_, err := st.advance(now)
		if err != nil {
			return err
		}
		row := st.schedule(id)
		if row == nil {
			return refuse(ErrNotFound, "no schedule "+quote(string(id)))
		}
		found = row.Schedule
		return nil
	})
	if err != nil {
		return Schedule{}, atBoundary(op, err)
	}
	return found, nil
}

// Schedules returns all schedules of an account by ID, as they are by the store's
// clock. There are at most [MaxSchedules].
func (l *Ledger) Schedules(ctx context.Context, account AccountID) ([]Schedule, error) {
	const op = "credits.Schedules"
	f := errors.Faults{Op: op}
	checkID(&f, "Account", string(account))
	if err := f.Err(); err != nil {
		return nil, err
	}
	var list []Schedule
	need := Need{Account: account, List: List{Rows: ScheduleRows, Limit: MaxSchedules}}
	err := l.view(ctx, need, func(st *State, now time.Time) error {
		list = nil
		_, err := st.advance(now)
		for i := range st.Schedules {
			list = append(list, st.Schedules[i].Schedule)
		}
		return err
	})
	if err != nil {
		return nil, atBoundary(op, err)
	}
	slices.SortFunc(list, func(a, b Schedule) int { return compareIDs(a.ID, b.ID) })
	return list, nil
}
