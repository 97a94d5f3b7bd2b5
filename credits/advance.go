package credits

import (
	"cmp"
	"slices"
	"time"
)

// An event is something that happens to an account by time alone.
type event struct {
	at  time.Time
	lot LotID // a lot that takes effect or expires
	op  OpID  // or a hold that times out
}

// order sorts events by instant, lots before holds, then by id, so that what
// happens does not depend on the order in which a store returned rows.
func (e event) order(f event) int {
	return cmp.Or(e.at.Compare(f.at), cmp.Compare(e.op, f.op), cmp.Compare(e.lot, f.lot))
}

// advance posts everything that became due up to now, in the order in which it
// did, each at its own instant, and returns the instant at which the command is
// decided: now, or the account's last one when the clock went back. Its error is
// [ErrCorrupt].
func (s *State) advance(now time.Time) (time.Time, error) {
	if now.Before(s.Account.At) {
		now = s.Account.At
	}
	var events []event
	for i := range s.Lots {
		if l := &s.Lots[i].Lot; isDue(l.Due(), now) {
			events = append(events, event{at: l.Due(), lot: l.ID})
		}
	}
	for i := range s.Ops {
		if o := &s.Ops[i].Op; isDue(o.Due(), now) {
			events = append(events, event{at: o.Due(), op: o.ID})
		}
	}
	slices.SortFunc(events, event.order)
	for i := 0; i < len(events); i++ {
		e := events[i]
		if e.op != "" {
			row := s.op(e.op)
			if !s.loaded(row) {
				return now, s.corrupt("a lot that a hold took from is missing")
			}
			s.touch(e.at)
			s.settle(row, HoldTimedOut, 0, e.at)
			for p := range row.Op.Parts.All() {
				events = s.enqueue(s.lot(p.Lot), now, events, i+1)
			}
			continue
		}
		row := s.lot(e.lot)
		if !row.Lot.Due().Equal(e.at) {
			continue // an earlier event has changed it
		}
		s.touch(e.at)
		if t := row.Lot.Totals; t.Pending > 0 {
			s.move(row, BucketPending, BucketAvailable, t.Pending, Entry{At: e.at, Kind: KindEffect, Op: row.Lot.Op})
		} else {
			s.move(row, BucketAvailable, BucketExpired, t.Available, Entry{At: e.at, Kind: KindExpire, Op: row.Lot.Op})
		}
		events = s.enqueue(row, now, events, i+1)
	}
	return now, nil
}

// enqueue files the next event of a lot that an event has changed.
func (s *State) enqueue(row *LotRow, now time.Time, events []event, from int) []event {
	next := event{at: row.Lot.Due(), lot: row.Lot.ID}
	if !isDue(next.at, now) {
		return events
	}
	i, found := slices.BinarySearchFunc(events[from:], next, event.order)
	if found {
		return events
	}
	return slices.Insert(events, from+i, next)
}

func isDue(at, now time.Time) bool { return !at.IsZero() && !at.After(now) }
