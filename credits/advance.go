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
	row int   // where that is in the state
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
	events := s.due(now)
	slices.SortFunc(events, event.order)
	for _, e := range events {
		if e.op != "" {
			row := &s.Ops[e.row]
			if !s.loaded(row) {
				return now, s.corrupt("a lot that a hold took from is missing")
			}
			s.touch(e.at)
			if row.Op.Kind == KindLease {
				s.lapse(row, e.at)
			} else {
				s.settle(row, HoldTimedOut, 0, e.at)
			}
			continue
		}
		row := &s.Lots[e.row]
		entry := Entry{At: e.at, Kind: KindExpire, Op: row.Lot.Op}
		from, to, amount := BucketAvailable, BucketExpired, row.Lot.Totals.Available
		if pending := row.Lot.Totals.Pending; pending > 0 {
			entry.Kind = KindEffect
			from, to, amount = BucketPending, BucketAvailable, pending
		}
		if amount > 0 {
			s.touch(e.at)
			s.move(row, from, to, amount, entry)
		}
	}
	return now, nil
}

// due lists what time does to the loaded rows until now, in any order. It lists
// the expiry of a lot that has nothing to expire yet, too: a hold that times out
// before may give some back, and a lot takes effect before it expires.
func (s *State) due(now time.Time) []event {
	var events []event
	for i := range s.Lots {
		l := &s.Lots[i].Lot
		t := &l.Totals
		if t.Pending > 0 && isDue(l.EffectiveAt, now) {
			events = append(events, event{at: l.EffectiveAt, lot: l.ID, row: i})
		}
		if t.Pending+t.Available+t.Held > 0 && isDue(l.ExpiresAt, now) {
			events = append(events, event{at: l.ExpiresAt, lot: l.ID, row: i})
		}
	}
	for i := range s.Ops {
		if o := &s.Ops[i].Op; isDue(o.Due(), now) {
			events = append(events, event{at: o.Due(), op: o.ID, row: i})
		}
	}
	return events
}

func isDue(at, now time.Time) bool { return !at.IsZero() && !at.After(now) }
