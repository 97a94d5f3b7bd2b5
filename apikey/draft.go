package apikey

import (
	"context"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// A draft is a change of one key in the making: the record as it will be, as it
// was, and what else the change brings.
type draft struct {
	Record
	was    Record
	now    time.Time
	kind   EventKind // of the one event that tells of it; "" for one for each field
	note   string
	first  []Event // that come before those of the change
	policy *Policy // where it was asked
	cap    *Cap
}

// change reads a key, lets alter draft what becomes of it, and makes that come
// true, with its events, if alter says so; all anew, up to so many tries, when
// somebody else was faster: alter judges the key as it is each time. Tombstones
// are not found: errTombstone.
func (s *Service) change(ctx context.Context, op, id string, tries int, alter func(*draft) (bool, error)) (Key, error) {
	for try := 1; ; try++ {
		rec, err := s.byID(ctx, id)
		if err != nil {
			return Key{}, s.fault(ctx, op, err)
		}
		d := draft{Record: rec, was: rec, now: s.clock()}
		write, err := false, errors.Wrap(op, errTombstone)
		if rec.Key.State != StateDeleted {
			write, err = alter(&d)
		}
		if !write {
			s.outdate(Notice{Handle: rec.Handle})
		}
		if err != nil {
			return Key{}, err
		}
		if write {
			d.Key.Version++
			err = s.apply(ctx, Change{
				Update: []Record{d.Record}, Cap: d.cap,
				Notices: []Notice{{Handle: d.was.Handle}}, // apply adds the one it has now
				Events:  append(d.first, keyEvents(ctx, d.kind, d.note, &d.was.Key, &d.Key, d.now)...),
			})
		}
		if err == nil {
			s.uses.overlay(&d.Key)
			return d.Key, nil
		}
		// A new text whose handle is taken is drawn again.
		if !errors.Is(err, ErrConflict) && !errors.Is(err, ErrExists) || try == tries {
			return Key{}, s.refusal(ctx, op, err, &d)
		}
	}
}
