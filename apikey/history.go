package apikey

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/keytoll/keytoll/errors"
)

// An EventPage is a part of a listing of events. Next, given as EventQuery.After,
// continues it; it is zero on the last page.
type EventPage struct {
	Events []Event
	Next   EventCursor
}

// Events returns the events that q selects, newest first unless it says otherwise.
// An empty Owner without AnyOwner, and a Limit outside 0 to 1000, are
// [errors.Invalid].
func (s *Service) Events(ctx context.Context, q EventQuery) (EventPage, error) {
	const op = "apikey.Events"
	faults := errors.Faults{Op: op}
	checkPage(&faults, q.Owner, q.AnyOwner, q.Limit, "events")
	if err := faults.Err(); err != nil {
		return EventPage{}, err
	}
	if q.Limit == 0 {
		q.Limit = 100
	}
	limit := q.Limit
	q.Limit++ // one more tells whether a page follows
	events, err := s.store.Events(ctx, q)
	if err != nil {
		return EventPage{}, s.fault(ctx, op, err)
	}
	page := EventPage{Events: events}
	if len(events) > limit {
		page.Events = events[:limit]
		page.Next = position(&events[limit-1])
	}
	return page, nil
}

// position returns where e stands in listings.
func position(e *Event) EventCursor { return EventCursor{At: e.At, Owner: e.Owner, Seq: e.Seq} }

// checkPage notes what is wrong with the bounds of a listing.
func checkPage(faults *errors.Faults, owner string, anybody bool, limit int, what string) {
	if (owner == "") != anybody {
		faults.Add("owner %q with AnyOwner %t: give an owner, or set AnyOwner to list the %s of all", clip(owner), anybody, what)
	}
	if limit < 0 || limit > 1000 {
		faults.Add("limit is %d; give 1 to 1000, or 0 for 100", limit)
	}
}

// A Checkpoint is where the events of an owner stood: their number, and the Sum of
// the last. Noted where nobody who can change the store can change it, it shows
// later whether what came before was rewritten. It holds no secret, and has a text
// form.
type Checkpoint struct {
	Owner string
	Seq   int64
	Sum   [32]byte
}

// String returns the text of c: number, sum in hex, owner.
func (c Checkpoint) String() string {
	return strconv.FormatInt(c.Seq, 10) + " " + hex.EncodeToString(c.Sum[:]) + " " + c.Owner
}

// MarshalText returns the text of c.
func (c Checkpoint) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText replaces c with what [Checkpoint.MarshalText] wrote, and refuses
// anything else.
func (c *Checkpoint) UnmarshalText(text []byte) error {
	var read Checkpoint
	parts := bytes.SplitN(text, []byte(" "), 3)
	if len(parts) == 3 && len(parts[1]) == 2*len(read.Sum) && plain(string(parts[2]), MaxOwner) {
		seq, err := strconv.ParseInt(string(parts[0]), 10, 64)
		_, odd := hex.Decode(read.Sum[:], parts[1])
		read.Seq, read.Owner = seq, string(parts[2])
		if err == nil && odd == nil && seq >= 0 && read.String() == string(text) {
			*c = read
			return nil
		}
	}
	return &errors.Error{Code: errors.Invalid, Op: "apikey.Checkpoint", Msg: "the text is not that of a checkpoint; give what one was written as"}
}

// VerifyEvents reads all events of an owner ("" for those that concern none) and
// recomputes their chain. It returns where they stand, to be noted elsewhere, or
// an error of code [errors.Corrupt] that says where they were altered, taken out,
// added, put in another order or cut off. Whoever can write to the store can
// compute a whole chain anew: that shows only against since, unless nil, a
// checkpoint that was noted before. Events written meanwhile do no harm.
//
// Its cost is that of reading every event of the owner, a thousand at a time.
func (s *Service) VerifyEvents(ctx context.Context, owner string, since *Checkpoint) (Checkpoint, error) {
	const op = "apikey.VerifyEvents"
	if since != nil && since.Owner != owner {
		return Checkpoint{}, &errors.Error{
			Code: errors.Invalid, Op: op,
			Msg: "the checkpoint is of owner " + quote(clip(since.Owner)) + "; give one of " + quote(clip(owner)),
		}
	}
	stated, err := s.store.Owner(ctx, owner)
	if err != nil {
		return Checkpoint{}, s.fault(ctx, op, err)
	}
	at := Checkpoint{Owner: owner}
	if err := at.agrees(since); err != nil {
		return Checkpoint{}, corrupt(op, err)
	}
	q := EventQuery{Owner: owner, OldestFirst: true, Limit: 1000}
	for at.Seq < stated.Events {
		events, err := s.store.Events(ctx, q)
		if err != nil {
			return Checkpoint{}, s.fault(ctx, op, err)
		}
		if len(events) == 0 {
			return Checkpoint{}, corrupt(op, fmt.Errorf("events %d to %d are missing at the end", at.Seq+1, stated.Events))
		}
		for i := range events {
			if at.Seq == stated.Events {
				break // written since the owner was read
			}
			if err := at.next(&events[i], since); err != nil {
				return Checkpoint{}, corrupt(op, err)
			}
			q.After = position(&events[i])
		}
	}
	switch {
	case at.Sum != stated.Head:
		return Checkpoint{}, corrupt(op, fmt.Errorf("event %d is not the one that the owner's record names as the last", at.Seq))
	case since != nil && since.Seq > at.Seq:
		return Checkpoint{}, corrupt(op, fmt.Errorf("there are %d events, and there were %d at the checkpoint", at.Seq, since.Seq))
	}
	return at, s.beyond(ctx, op, q, at)
}

// beyond refuses events after the last that the owner's record counts, unless it
// counts them by now.
func (s *Service) beyond(ctx context.Context, op string, q EventQuery, at Checkpoint) error {
	q.Limit = 1
	more, err := s.store.Events(ctx, q)
	if err != nil {
		return s.fault(ctx, op, err)
	}
	if len(more) == 0 {
		return nil
	}
	now, err := s.store.Owner(ctx, at.Owner)
	switch {
	case err != nil:
		return s.fault(ctx, op, err)
	case now.Events == at.Seq:
		return corrupt(op, fmt.Errorf("event %d is there, and the owner's record counts %d", more[0].Seq, at.Seq))
	}
	return nil
}

// next moves c on to e, which must be the one after.
func (c *Checkpoint) next(e *Event, since *Checkpoint) error {
	switch want := c.Seq + 1; {
	case e.Seq > want:
		return fmt.Errorf("event %d is missing: event %d stands in its place", want, e.Seq)
	case e.Seq < want:
		return fmt.Errorf("event %d stands where event %d should", e.Seq, want)
	case e.Owner != c.Owner:
		return fmt.Errorf("event %d is one of another owner", e.Seq)
	case e.Link(c.Sum) != e.Sum:
		return fmt.Errorf("event %d, or its sum, was altered", e.Seq)
	}
	c.Seq, c.Sum = e.Seq, e.Sum
	return c.agrees(since)
}

// agrees refuses a chain that stands otherwise where it stood at a checkpoint.
func (c *Checkpoint) agrees(since *Checkpoint) error {
	if since != nil && since.Seq == c.Seq && since.Sum != c.Sum {
		return fmt.Errorf("the events up to %d were rewritten since the checkpoint", c.Seq)
	}
	return nil
}

func corrupt(op string, where error) error {
	return &errors.Error{Code: errors.Corrupt, Op: op, Msg: "the events of the account contradict themselves: " + where.Error()}
}
