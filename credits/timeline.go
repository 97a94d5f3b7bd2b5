package credits

import (
	"cmp"
	"slices"
	"time"
)

// A source is a kind of rows that change by time alone. Their numbers are the
// order of events of one instant: what expires has expired before a hold gives
// back, and a period ends before the next one is granted.
type source uint8

const (
	ofLot      source = 0 // takes effect, or expires
	ofOp       source = 1 // a hold times out, a lease lapses
	ofSchedule source = 2 // grants
)

// An event is something that happens to an account by time alone.
type event struct {
	at  time.Time
	of  source
	lot LotID  // when of is ofLot
	id  string // of the op or the schedule, when it is not
	row int    // where that is in the state
}

// order is the one in which events happen: by instant, then by source, then by
// id. It is strict and total, so that what happens depends neither on the order
// in which a store returned rows nor on when somebody looked. (Of one lot two
// events never share an instant: it expires after it has taken effect.)
func (e *event) order(f *event) int {
	if c := e.at.Compare(f.at); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(e.of, f.of), cmp.Compare(e.lot, f.lot), cmp.Compare(e.id, f.id))
}

// A timeline is what is due in a state up to an instant, a heap with the next
// event on top. What happens may add events that are due too: a grant that
// expires before now, and the period after it.
type timeline struct {
	state  *State
	now    time.Time // when somebody looks: what began by then may have been missed
	until  time.Time // now, or later: then somebody looks at whatever happens after now
	events []event
	edge   *event // the last one that is completely known; nil: all are
	left   int    // how many more may happen; less than 0: any number
}

// begin collects the events of the loaded rows.
func (t *timeline) begin() error {
	s := t.state
	if s.Account.Totals.Debt > 0 && s.lot(0) == nil {
		return s.corrupt("the account owes, and its lot 0 is missing")
	}
	t.left = -1
	if s.limit > 0 {
		t.left = 3 * s.limit
	}
	if s.More {
		if err := t.bound(); err != nil {
			return err
		}
	}
	for i := range s.Lots {
		t.addLot(i)
	}
	for i := range s.Ops {
		if o := &s.Ops[i].Op; isDue(o.Due(), t.until) {
			t.events = append(t.events, event{at: o.Due(), of: ofOp, id: string(o.ID), row: i})
		}
	}
	for i := range s.Schedules {
		if row := &s.Schedules[i]; !row.Change.gone() {
			if _, err := s.zones.of(row.Schedule.Zone); err != nil {
				return err // before anything has changed
			}
			t.addSchedule(i)
		}
	}
	for i := len(t.events)/2 - 1; i >= 0; i-- {
		t.down(i)
	}
	return nil
}

// addLot appends the events of a lot: its expiry even when it has nothing to
// expire yet, because a hold that times out before may give some back.
func (t *timeline) addLot(i int) {
	l := &t.state.Lots[i].Lot
	if l.Totals.Pending > 0 && isDue(l.EffectiveAt, t.until) {
		t.events = append(t.events, event{at: l.EffectiveAt, lot: l.ID, row: i})
	}
	if l.Totals.Pending+l.Totals.Available+l.Totals.Held > 0 && isDue(l.ExpiresAt, t.until) {
		t.events = append(t.events, event{at: l.ExpiresAt, lot: l.ID, row: i})
	}
}

func (t *timeline) addSchedule(i int) {
	if sc := &t.state.Schedules[i].Schedule; isDue(sc.NextAt, t.until) {
		t.events = append(t.events, event{at: sc.NextAt, of: ofSchedule, id: string(sc.ID), row: i})
	}
}

// bound finds the last event that is completely known, when a store has left out
// rows that are due. Of each kind the first limit rows are there, by Due and then
// by ID; others may be, for other reasons. So a kind with fewer of them is all
// there, and of the others everything up to the last of the first limit.
func (t *timeline) bound() error {
	s := t.state
	var due [3][]event
	for i := range s.Lots {
		if l := &s.Lots[i].Lot; isDue(l.Due(), t.until) {
			due[ofLot] = append(due[ofLot], event{at: l.Due(), lot: l.ID})
		}
	}
	for i := range s.Ops {
		if o := &s.Ops[i].Op; isDue(o.Due(), t.until) {
			due[ofOp] = append(due[ofOp], event{at: o.Due(), of: ofOp, id: string(o.ID)})
		}
	}
	for i := range s.Schedules {
		if sc := &s.Schedules[i].Schedule; isDue(sc.Due(), t.until) {
			due[ofSchedule] = append(due[ofSchedule], event{at: sc.Due(), of: ofSchedule, id: string(sc.ID)})
		}
	}
	for _, list := range due {
		if s.limit == 0 || len(list) < s.limit {
			continue
		}
		slices.SortFunc(list, func(a, b event) int { return a.order(&b) })
		if last := &list[s.limit-1]; t.edge == nil || last.order(t.edge) < 0 {
			t.edge = last
		}
	}
	if t.edge == nil {
		return s.corrupt("the store says that it has left out what is due, and has not loaded as much as it was asked for")
	}
	return nil
}

// next reports whether there is an event that may happen now.
func (t *timeline) next() bool {
	if len(t.events) == 0 || t.left == 0 || t.edge != nil && t.events[0].order(t.edge) > 0 {
		return false
	}
	t.left--
	return true
}

// settleHeap puts the events from place n on, which were appended, into the heap.
func (t *timeline) settleHeap(n int) {
	for ; n < len(t.events); n++ {
		t.up(n)
	}
}

// pop takes the first event off the heap.
func (t *timeline) pop() event {
	first, last := t.events[0], len(t.events)-1
	t.events[0] = t.events[last]
	t.events = t.events[:last]
	t.down(0)
	return first
}

func (t *timeline) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if t.events[i].order(&t.events[parent]) >= 0 {
			return
		}
		t.events[i], t.events[parent] = t.events[parent], t.events[i]
		i = parent
	}
}

func (t *timeline) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(t.events) {
			return
		}
		if right := child + 1; right < len(t.events) && t.events[right].order(&t.events[child]) < 0 {
			child = right
		}
		if t.events[child].order(&t.events[i]) >= 0 {
			return
		}
		t.events[i], t.events[child] = t.events[child], t.events[i]
		i = child
	}
}
