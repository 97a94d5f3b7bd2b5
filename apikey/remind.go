package apikey

import (
	"context"
	"slices"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// RemindOptions say of what [Service.Remind] reminds. Thresholds are more than 0,
// in any order.
type RemindOptions struct {
	// Expiry lists how long before its end a key is spoken of, such as 14 days, 7
	// days and 1 day. Empty: not at all.
	Expiry []time.Duration
	// Rotate lists the ages of a key's text at which it is spoken of, such as 90
	// days. Empty: not at all.
	Rotate []time.Duration
	// Limit is the greatest number of reminders; 0 means 1000. When as many were
	// given, there may be more.
	Limit int
}

const day = 24 * time.Hour

// Remind writes an event for each key that is due: [EventExpiring] as its end comes
// near, [EventRotationDue] as its text grows old, with the threshold in the note.
// It returns those events, for the host to act on, their Seq and Sum apart, which
// the store gives them. Nil options mean 14, 7 and 1 days before the end.
//
// Each threshold is spoken of once for each key, however often and in however many
// processes this is called: the mark and the event are one change. Where several
// thresholds passed since the last call, only the tightest is. Moving the end
// begins its thresholds anew, and so does a new text those of its age. A rotation
// takes over what was said of the end.
//
// Nothing is said of keys that do not work now: expired, disabled, revoked,
// deleted, or of an owner who is suspended; a key that works again is spoken of
// then. Nor of one that was rotated: its successor has the same end.
//
// A call reads every key that is within a threshold, a thousand at a time, also those
// spoken of before: once an hour or a day is often enough.
//
// After a crash between a call and what the host does with the answer, the events
// are in [Service.Events]. The events returned with an error were written.
func (s *Service) Remind(ctx context.Context, o *RemindOptions) ([]Event, error) {
	const op = "apikey.Remind"
	if o == nil {
		o = &RemindOptions{Expiry: []time.Duration{14 * day, 7 * day, day}}
	}
	faults := errors.Faults{Op: op}
	for _, d := range slices.Concat(o.Expiry, o.Rotate) {
		if d <= 0 {
			faults.Add("threshold %v; give more than 0", d)
		}
	}
	if len(o.Expiry)+len(o.Rotate) == 0 {
		faults.Add("no thresholds are given; give some, or nil options for 14, 7 and 1 days before the end")
	}
	if o.Limit < 0 {
		faults.Add("limit is %d; give 1 or more, or 0 for 1000", o.Limit)
	}
	if err := faults.Err(); err != nil {
		return nil, err
	}
	r := reminding{Service: s, op: op, limit: o.Limit, now: s.clock()}
	if r.limit == 0 {
		r.limit = 1000
	}
	q := due(Query{}, r.now)
	if len(o.Expiry) > 0 {
		q.Order, q.ExpiresBefore = SoonestFirst, atMost(r.now.Add(slices.Max(o.Expiry)))
		if err := r.walk(ctx, q, expiryDue(o.Expiry)); err != nil {
			return r.events, err
		}
	}
	if len(o.Rotate) > 0 {
		q := due(Query{}, r.now)
		q.SecretBefore = atMost(r.now.Add(-slices.Min(o.Rotate)))
		if err := r.walk(ctx, q, ageDue(o.Rotate)); err != nil {
			return r.events, err
		}
	}
	return r.events, nil
}

// A reminder says whether a record is due at now: it marks it, and returns the
// event's kind and note.
type reminder func(rec *Record, now time.Time) (EventKind, string)

func expiryDue(thresholds []time.Duration) reminder {
	tightest := slices.Sorted(slices.Values(thresholds))
	return func(rec *Record, now time.Time) (EventKind, string) {
		for _, t := range tightest {
			if rec.Key.ExpiresAt.IsZero() || rec.Key.ExpiresAt.Sub(now) > t {
				continue
			}
			if given := rec.Reminded.Expiry; given != 0 && given <= t {
				break
			}
			rec.Reminded.Expiry = t
			return EventExpiring, "ends " + stamp(rec.Key.ExpiresAt) + ", within " + t.String()
		}
		return "", ""
	}
}

func ageDue(thresholds []time.Duration) reminder {
	oldest := slices.Sorted(slices.Values(thresholds))
	slices.Reverse(oldest)
	return func(rec *Record, now time.Time) (EventKind, string) {
		for _, t := range oldest {
			if now.Sub(rec.Key.SecretAt) < t {
				continue
			}
			if rec.Reminded.Age >= t {
				break
			}
			rec.Reminded.Age = t
			return EventRotationDue, "in use since " + stamp(rec.Key.SecretAt) + ", for " + t.String() + " or more"
		}
		return "", ""
	}
}

// reminding is one call of Remind.
type reminding struct {
	*Service
	op     string
	limit  int
	now    time.Time
	events []Event
}

// walk speaks of every key that q selects and that is due.
func (r *reminding) walk(ctx context.Context, q Query, is reminder) error {
	for q.Limit = 1000; ; {
		records, err := r.store.List(ctx, q)
		if err != nil {
			return r.fault(ctx, r.op, err)
		}
		for i := range records {
			rec := &records[i]
			if len(r.events) >= r.limit {
				return nil
			}
			q.After = q.Order.position(&rec.Key)
			if kind, _ := r.judge(rec, is); kind == "" {
				continue
			}
			if err := r.remind(ctx, records[i].Key.ID, is); err != nil {
				return err
			}
		}
		if len(records) < q.Limit {
			return nil
		}
	}
}

// judge marks rec if it is due.
func (r *reminding) judge(rec *Record, is reminder) (EventKind, string) {
	rec.settle()
	if rec.Key.status(r.now) != StatusActive || rec.Key.Successor != "" {
		return "", ""
	}
	return is(rec, r.now)
}

// remind speaks of one key, if it is still due as it is now.
func (r *reminding) remind(ctx context.Context, id string, is reminder) error {
	var written Event
	_, err := r.change(ctx, r.op, id, attempts, func(d *draft) (bool, error) {
		written = Event{} // that of an earlier try was not
		d.kind, d.note = r.judge(&d.Record, is)
		if d.kind == "" {
			return false, nil
		}
		written = keyEvents(ctx, d.kind, d.note, &d.was.Key, &d.Key, d.now)[0]
		return true, nil
	})
	switch {
	case err == nil && written.Kind != "":
		r.events = append(r.events, written)
	case err == nil, errors.Is(err, ErrNotFound), errors.Is(err, ErrConflict): // not due, deleted, or busy: the next call sees
	default:
		return err
	}
	return nil
}
