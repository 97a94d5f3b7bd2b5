package apikey

import (
	"context"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// Bounds of a [Leak].
const (
	MaxLeakSource = 64   // bytes of Leak.Source
	MaxLeakURL    = 2048 // bytes of Leak.URL
	// MaxLeakPlaces is how many places are noted of one text of a key. It is known
	// by then.
	MaxLeakPlaces = 100
)

// A Leak says where the text of a key was found by somebody who should not have
// it.
type Leak struct {
	// Source is required, and says who found it, and in what: up to [MaxLeakSource]
	// visible ASCII characters, such as "github/gist_content".
	Source string
	// URL is where it can be seen, up to [MaxLeakURL] bytes of UTF-8 without control
	// characters, or "" when that is not known. Keys in it are noted as
	// "[redacted]".
	URL string
}

// A LeakAction is what is done about a leak. Names never change meaning. There
// is no default: the zero value is refused.
type LeakAction string

const (
	// LeakNote notes the leak and leaves the key as it is.
	LeakNote LeakAction = "note"
	// LeakExpire lets the key end after LeakDecision.Within, or earlier if it would.
	// The end is the key's, so what it is rotated to, or its next text, ends then too:
	// [Service.Update] gives that the end it should have, such as the one before, which
	// the event has ([EventExpiryChanged]).
	LeakExpire LeakAction = "expire"
	// LeakDisable switches the key off until [Service.Enable].
	LeakDisable LeakAction = "disable"
	// LeakRevoke switches the key off for good, with the reason "leaked".
	LeakRevoke LeakAction = "revoke"
)

// A LeakDecision is an action with what belongs to it. The zero value is
// refused.
type LeakDecision struct {
	Action LeakAction
	Within time.Duration // of LeakExpire: more than 0
}

// leakReason is what the holder of a key that leaked is told.
const leakReason = "leaked"

// A LeakReport says what came of a leak.
type LeakReport struct {
	// Key is as it is after all.
	Key Key
	// First says that this text of the key was not seen at this place before, so
	// that it is worth telling somebody.
	First bool
	// Place is what was noted: the source and, after a space, the URL.
	Place string
}

// ReportLeak proves token, asks decide what is to be done with its key, and does
// it: in one change with an [EventLeaked] whose Note is the place, before the
// event of what is done. It works on keys of any state, and only ever takes
// away: a key that is off stays off, and one that ends earlier still does.
//
// Reporting the same again changes nothing, and does not ask decide: of one text
// each URL counts once, and so do all reports without one. When a text was found
// in [MaxLeakPlaces] places, further ones are not noted and not First, and what
// decide says is done. A text that the key was given since, by
// [Service.Regenerate], begins anew.
//
// Decide may be called more than once, because it is given the key as it is when
// the change comes true. Refused are a leak or a decision out of bounds
// ([errors.Invalid]), and what [Service.Identify] refuses. What is done when the
// store fails with [errors.Unavailable] is seen when it is reported again.
func (s *Service) ReportLeak(ctx context.Context, token string, leak Leak, decide func(Key) LeakDecision) (LeakReport, error) {
	const op = "apikey.ReportLeak"
	if err := leak.check(op, decide); err != nil {
		return LeakReport{}, err
	}
	proven, err := s.identify(ctx, op, token)
	if err != nil {
		return LeakReport{}, err
	}
	report := LeakReport{Place: leak.Source}
	link := s.censor(leak.URL, token)
	if link != "" {
		report.Place += " " + link
	}
	report.Key, err = s.change(ctx, op, proven.Key.ID, insistence, func(d *draft) (bool, error) {
		report.First = false
		if d.Handle != proven.Handle { // regenerated since: this is nobody's text any more
			return false, errors.Wrap(op, ErrUnknown)
		}
		places, err := s.leakPlaces(ctx, op, &d.Key)
		if err != nil || places[link] {
			return false, err
		}
		d.first = nil
		if report.First = len(places) < MaxLeakPlaces; report.First {
			e := newEvent(ctx, EventLeaked, d.Key.Owner, d.Key.ID, d.now)
			e.Note = report.Place
			d.first = []Event{e}
		}
		changed, err := d.leaked(op, decide(d.Key))
		return changed || report.First, err
	})
	switch {
	case errors.Is(err, ErrNotFound): // deleted since
		return LeakReport{}, errors.Wrap(op, errors.Unwrap(errDeleted))
	case err != nil:
		return LeakReport{}, err
	}
	return report, nil
}

func (l *Leak) check(op string, decide func(Key) LeakDecision) error {
	faults := errors.Faults{Op: op}
	visible := func(r rune) bool { return r <= ' ' || r > '~' }
	if l.Source == "" || len(l.Source) > MaxLeakSource || strings.ContainsFunc(l.Source, visible) {
		faults.Add("source %q: give 1 to %d visible ASCII characters", clip(l.Source), MaxLeakSource)
	}
	if !plain(l.URL, MaxLeakURL) { // not shown: it may hold a key
		faults.Add("the URL has %d bytes; give at most %d, of UTF-8 without control characters", len(l.URL), MaxLeakURL)
	}
	if decide == nil {
		faults.Add("decide is nil; give a function that says what is done with the key")
	}
	return faults.Err()
}

// leakPlaces returns the URLs at which the present text of k was seen.
func (s *Service) leakPlaces(ctx context.Context, op string, k *Key) (map[string]bool, error) {
	events, err := s.store.Events(ctx, EventQuery{Owner: k.Owner, Key: k.ID, Kind: EventLeaked, Limit: MaxLeakPlaces})
	if err != nil {
		return nil, s.fault(ctx, op, err)
	}
	places := make(map[string]bool, len(events))
	for i := range events {
		if !events[i].At.Before(k.SecretAt) {
			_, link, _ := strings.Cut(events[i].Note, " ")
			places[link] = true
		}
	}
	return places, nil
}

// leaked brings what was decided into d, and reports whether that changes it.
func (d *draft) leaked(op string, decision LeakDecision) (bool, error) {
	switch decision.Action {
	case LeakNote:
		return false, nil
	case LeakExpire:
		if decision.Within <= 0 {
			break
		}
		end := toMicros(d.now.Add(decision.Within))
		if d.Key.State == StateRevoked || !later(d.Key.ExpiresAt, end) {
			return false, nil
		}
		d.Key.ExpiresAt, d.Reminded.Expiry = end, 0
		d.kind, d.note = EventExpiryChanged, leakReason
		return true, nil
	case LeakDisable:
		if d.Key.State != StateActive {
			return false, nil
		}
		d.Key.State, d.kind, d.note = StateDisabled, EventDisabled, leakReason
		return true, nil
	case LeakRevoke:
		return d.revoke(leakReason), nil
	}
	return false, &errors.Error{
		Code: errors.Invalid, Op: op,
		Msg: "decision " + quote(clip(string(decision.Action))) + " within " + decision.Within.String() +
			": give note, expire with a time of more than 0, disable or revoke",
	}
}

// censor returns link without the keys in it, token's own among them.
func (s *Service) censor(link, token string) string {
	keys, err := regexp.Compile(s.regexps())
	if err != nil {
		return redacted
	}
	clean := func(text string) string {
		return keys.ReplaceAllLiteralString(strings.ReplaceAll(text, token, redacted), redacted)
	}
	link = clean(link)
	for spelled := link; strings.Contains(spelled, "%"); {
		if spelled, err = url.PathUnescape(spelled); err != nil || clean(spelled) != spelled {
			return redacted // one is there and percent-encoded, or nobody can tell
		}
	}
	return link
}
