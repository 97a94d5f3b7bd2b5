package apikey

import (
	"context"
	"fmt"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// A Detector is told from where keys are used, and says what is worth an event.
// [NewPlaces] makes one.
//
// It works off the path of requests: a Verify notes the key and the address, and
// [Service.Flush] tells all that was noted since, in batches, one after the other.
// No failure of it fails a Verify. One that returns an error, or finds what cannot
// be an event, is told the same again with the next Flush, and Options.Failed, or
// whoever called Flush, is told the error. A panic is such an error too: it is
// contained, so that a hole in somebody's list of places does not end the process.
// It must not call Flush or Close, which wait for it.
type Detector interface {
	// Detect returns what is found in seen, which is sorted by key and then by
	// First, holds at most a thousand sightings, and is the detector's own.
	//
	// What it returns is written after the call, and may fail to be: a detector
	// that must not tell the same twice asks past what was told, rather than trust
	// its memory. Of one key, no two calls of one service run at the same time;
	// those of other processes may.
	Detect(ctx context.Context, seen []Sighting, past Past) ([]Finding, error)
}

// Past returns the events that q selects, in its order, at most q.Limit of them,
// from 1 to 1000.
type Past func(ctx context.Context, q EventQuery) ([]Event, error)

// A Sighting says that a key was proven, and let in, from an address.
type Sighting struct {
	Key   string // its ID
	Owner string
	IP    netip.Addr // as given to Verify; IPv4 in IPv6 is IPv4, and there is no zone
	Count int64      // how often since the last sighting of both that was told
	First time.Time
	Last  time.Time
}

// A Finding becomes an event of the owner of a key.
type Finding struct {
	Kind EventKind  // EventNewPlace or EventUnusual
	Key  string     // that of one of the sightings
	IP   netip.Addr // becomes that of Event.Actor; may be zero
	// Note, up to [MaxReason] bytes of UTF-8 without control characters, and Changes,
	// up to 16 with texts like it, and Count, 0 or more, are those of the event.
	Note    string
	Changes []FieldChange
	Count   int64
}

// tell writes the events of failures and of the detector. One call does it at a
// time; others wait for it, as long as ctx lets them.
func (s *Service) tell(ctx context.Context) error {
	if s.failures == nil && s.sightings == nil {
		return nil
	}
	const op = "apikey.Flush"
	select {
	case s.telling <- struct{}{}:
		defer func() { <-s.telling }()
	case <-ctx.Done():
		return s.fault(ctx, op, ctx.Err())
	}
	var failed, unseen error
	now := s.clock()
	if s.failures != nil {
		if failed = s.failures.tell(ctx, now, s.apply); failed != nil {
			failed = s.fault(ctx, op, failed)
		}
	}
	if s.sightings != nil {
		unseen = s.sightings.tell(ctx, now, s.past, s.apply)
		if e, ok := errors.AsType[*detectorError](unseen); ok {
			unseen = errors.Wrap(op, e)
		} else if unseen != nil {
			unseen = s.fault(ctx, op, unseen)
		}
	}
	return errors.Join(failed, unseen)
}

// past is the [Past] of detectors.
func (s *Service) past(ctx context.Context, q EventQuery) ([]Event, error) {
	events, err := s.store.Events(ctx, q)
	if err != nil {
		return nil, s.fault(ctx, "apikey.Past", err)
	}
	return events, nil
}

// A detectorError is a fault of the detector, and not of the store.
type detectorError struct{ err error }

func (e *detectorError) Error() string { return "the detector: " + e.err.Error() }
func (e *detectorError) Unwrap() error { return e.err }

// detect calls a detector, and makes an error of a panic.
func detect(ctx context.Context, d Detector, seen []Sighting, past Past) (found []Finding, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &detectorError{fmt.Errorf("panic: %v\n%s", v, debug.Stack())}
		}
	}()
	if found, err = d.Detect(ctx, seen, past); err != nil {
		return nil, &detectorError{err}
	}
	return found, nil
}

// findings returns the events of what was found among sightings.
func findings(found []Finding, seen []Sighting, now time.Time) ([]Event, error) {
	owners := make(map[string]string, len(seen))
	for i := range seen {
		owners[seen[i].Key] = seen[i].Owner
	}
	events := make([]Event, len(found))
	faults := errors.Faults{Op: "apikey.Detector"}
	for i, f := range found {
		owner, known := owners[f.Key]
		if !known {
			faults.Add("finding %d is about key %q; give one of the sightings", i, clip(f.Key))
		}
		if f.Kind != EventNewPlace && f.Kind != EventUnusual {
			faults.Add("finding %d has kind %q; give EventNewPlace or EventUnusual", i, clip(string(f.Kind)))
		}
		if !f.plain() {
			faults.Add("finding %d: give texts of at most %d bytes of UTF-8 without control characters, at most 16 changes, and a count of 0 or more", i, MaxReason)
		}
		events[i] = Event{
			Owner: owner, At: now, Kind: f.Kind, Key: f.Key, Actor: Actor{IP: f.IP.Unmap().WithZone("")},
			Changes: f.Changes, Note: f.Note, Count: f.Count,
		}
	}
	if err := faults.Err(); err != nil {
		return nil, &detectorError{err}
	}
	return events, nil
}

func (f *Finding) plain() bool {
	for _, c := range f.Changes {
		if !plain(c.Field, MaxReason) || !plain(c.Before, MaxReason) || !plain(c.After, MaxReason) {
			return false
		}
	}
	return plain(f.Note, MaxReason) && len(f.Changes) <= 16 && f.Count >= 0
}
