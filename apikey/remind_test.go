package apikey_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// reminders writes what a call of Remind says as "name: note".
func reminders(t *testing.T, s *apikey.Service, o *apikey.RemindOptions) string {
	t.Helper()
	var said []string
	for _, e := range must(s.Remind(t.Context(), o))(t) {
		k := must(s.Get(t.Context(), e.Key))(t)
		note := e.Note[strings.LastIndexAny(e.Note, ",")+2:]
		said = append(said, k.Name+" "+strings.TrimPrefix(string(e.Kind), "key.")+" "+strings.NewReplacer("within ", "", "for ", "", " or more", "", "0m0s", "").Replace(note))
	}
	slices.Sort(said)
	return strings.Join(said, ", ")
}

func TestEachThresholdIsSpokenOfOnce(t *testing.T) {
	c := newClock()
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Now: c.now})
	issued := create(t, s, apikey.Spec{Name: "k", TTL: 30 * day})
	create(t, s, apikey.Spec{Name: "never"})
	for _, tt := range []struct {
		left time.Duration
		want string
	}{
		{30 * day, ""},
		{14*day + time.Microsecond, ""},
		{14 * day, "k expiring 336h"},
		{13 * day, ""},
		{7 * day, "k expiring 168h"},
		{day + time.Hour, ""},
		{day, "k expiring 24h"},
		{time.Microsecond, ""},
		{0, ""},
		{-day, ""},
	} {
		c.at = issued.Key.ExpiresAt.Add(-tt.left)
		for range 2 {
			if got := reminders(t, s, nil); got != tt.want {
				t.Errorf("%v before the end: %q, want %q", tt.left, got, tt.want)
			}
			tt.want = ""
		}
	}
}

// After an outage one reminder is given, and not all that were missed.
func TestOnlyTheTightestThresholdIsSpokenOf(t *testing.T) {
	c := newClock()
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Now: c.now})
	create(t, s, apikey.Spec{Name: "k", TTL: 30 * day})
	c.advance(30*day - time.Hour)
	o := &apikey.RemindOptions{Expiry: []time.Duration{7 * day, day, 14 * day}, Rotate: []time.Duration{20 * day, 10 * day, 90 * day}}
	if got := reminders(t, s, o); got != "k expiring 24h, k rotation_due 480h" {
		t.Errorf("after an outage: %q", got)
	}
	if got := reminders(t, s, o); got != "" {
		t.Errorf("again: %q", got)
	}
}

func TestAgesAreSpokenOfInTurn(t *testing.T) {
	c := newClock()
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Now: c.now})
	create(t, s, apikey.Spec{Name: "k"})
	o := &apikey.RemindOptions{Rotate: []time.Duration{90 * day, 30 * day, 60 * day}}
	for _, want := range []string{"", "k rotation_due 720h", "k rotation_due 1440h", "k rotation_due 2160h", "", ""} {
		for range 2 {
			if got := reminders(t, s, o); got != want {
				t.Errorf("on %v: %q, want %q", c.at, got, want)
			}
			want = ""
		}
		c.advance(30 * day)
	}
}

func TestRemindersBeginAnewWhenTheEndMovesOrTheTextIsNew(t *testing.T) {
	c := newClock()
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Now: c.now})
	o := &apikey.RemindOptions{Expiry: []time.Duration{7 * day}, Rotate: []time.Duration{20 * day}}
	issued := create(t, s, apikey.Spec{Name: "k", TTL: 25 * day})
	say := func(when, want string) {
		t.Helper()
		if got := reminders(t, s, o); got != want {
			t.Errorf("%s: %q, want %q", when, got, want)
		}
	}
	c.advance(20 * day)
	say("both due", "k expiring 168h, k rotation_due 480h")
	must(s.Update(t.Context(), issued.Key.ID, apikey.Changes{Name: new("k")}))(t)
	must(s.Disable(t.Context(), issued.Key.ID))(t)
	must(s.Enable(t.Context(), issued.Key.ID))(t)
	say("something else changed", "")
	must(s.Update(t.Context(), issued.Key.ID, apikey.Changes{ExpiresAt: new(c.at.Add(30 * day))}))(t)
	say("the end moved away", "")
	c.advance(24 * day)
	say("near the new end", "k expiring 168h")
	must(s.Regenerate(t.Context(), issued.Key.ID))(t)
	say("regenerated", "")
	must(s.Update(t.Context(), issued.Key.ID, apikey.Changes{ExpiresAt: new(time.Time{})}))(t)
	c.advance(20 * day)
	say("old again", "k rotation_due 480h")
	heir := must(s.Rotate(t.Context(), issued.Key.ID, day))(t)
	must(s.Update(t.Context(), heir.Key.ID, apikey.Changes{Name: new("heir")}))(t)
	say("rotated: the old key ends, and nobody need know", "")
	c.advance(20 * day)
	say("the successor is old", "heir rotation_due 480h")
}

// A rotation does not repeat what was said of the end, which is the same.
func TestARotationTakesOverWhatWasSaidOfTheEnd(t *testing.T) {
	c := newClock()
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Now: c.now})
	issued := create(t, s, apikey.Spec{Name: "k", TTL: 10 * day})
	c.advance(3 * day)
	if got := reminders(t, s, nil); got != "k expiring 168h" {
		t.Fatalf("%q", got)
	}
	must(s.Rotate(t.Context(), issued.Key.ID, time.Hour))(t)
	if got := reminders(t, s, nil); got != "" {
		t.Errorf("after the rotation: %q", got)
	}
	c.advance(6 * day)
	if got := reminders(t, s, nil); got != "k expiring 24h" {
		t.Errorf("a day before the end: %q", got)
	}
}

func TestKeysThatDoNotWorkAreNotSpokenOf(t *testing.T) {
	c := newClock()
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Now: c.now})
	off := create(t, s, apikey.Spec{Owner: "a", Name: "off", TTL: day})
	gone := create(t, s, apikey.Spec{Owner: "a", Name: "gone", TTL: day})
	create(t, s, apikey.Spec{Owner: "b", Name: "suspended", TTL: day})
	create(t, s, apikey.Spec{Owner: "c", Name: "revoked with its owner", TTL: day})
	must(s.Disable(t.Context(), off.Key.ID))(t)
	must(s.Revoke(t.Context(), gone.Key.ID, ""))(t)
	must(s.SuspendOwner(t.Context(), "b", ""))(t)
	must(s.RevokeOwner(t.Context(), "c", ""))(t)
	o := &apikey.RemindOptions{Expiry: []time.Duration{day}, Rotate: []time.Duration{time.Microsecond}}
	c.advance(time.Hour)
	if got := reminders(t, s, o); got != "" {
		t.Errorf("%q", got)
	}
	must(s.Enable(t.Context(), off.Key.ID))(t)
	must(s.RestoreOwner(t.Context(), "b", ""))(t)
	if got := reminders(t, s, o); got != "off expiring 24h, off rotation_due 1µs, suspended expiring 24h, suspended rotation_due 1µs" {
		t.Errorf("back in service: %q", got)
	}
}

// Any number of processes that remind at once say each thing once.
func TestConcurrentReminders(t *testing.T) {
	c := newClock()
	store := apikey.NewMemoryStore()
	const keys, processes = 50, 8
	for i := range keys {
		create(t, newService(t, store, nil, &apikey.Options{Now: c.now}), apikey.Spec{Owner: "a", Name: fmt.Sprint(i), TTL: day})
	}
	var wg sync.WaitGroup
	said := make([][]apikey.Event, processes)
	for i := range processes {
		wg.Go(func() {
			var err error
			if said[i], err = newService(t, store, nil, &apikey.Options{Now: c.now}).Remind(t.Context(), nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	count := map[string]int{}
	for _, e := range slices.Concat(said...) {
		count[e.Key]++
	}
	s := newService(t, store, nil, nil)
	written := must(s.Events(t.Context(), apikey.EventQuery{Owner: "a", Kind: apikey.EventExpiring, Limit: 1000}))(t).Events
	if len(count) != keys || len(slices.Concat(said...)) != keys || len(written) != keys {
		t.Errorf("%d reminders of %d keys, %d written; want %d", len(slices.Concat(said...)), len(count), len(written), keys)
	}
}

// A crash at any point loses no reminder and repeats none: what was not written is
// said by the next call, and what was is in the events.
func TestRemindersSurviveACrash(t *testing.T) {
	for crash := range 6 {
		for _, lost := range []bool{false, true} { // the change, or its answer alone
			c := newClock()
			store := &scripted{apikey.NewMemoryStore(), func(string) error { return nil }}
			losing := &losing{Store: store}
			s := newService(t, losing, nil, &apikey.Options{Now: c.now})
			for i := range 5 {
				create(t, s, apikey.Spec{Owner: "a", Name: fmt.Sprint(i), TTL: day + time.Duration(i)})
			}
			calls := 0
			store.before = func(verb string) error {
				if verb == "Apply" {
					if calls++; calls == crash {
						if !lost {
							return errors.New("power cut")
						}
						losing.answers = 1
					}
				}
				return nil
			}
			first, err := s.Remind(t.Context(), nil)
			if crash > 0 && (errors.CodeOf(err) != errors.Unavailable || len(first) != crash-1) {
				t.Errorf("crash %d: %d events, %v", crash, len(first), err)
			}
			second := must(s.Remind(t.Context(), nil))(t)
			written := must(s.Events(t.Context(), apikey.EventQuery{Owner: "a", Kind: apikey.EventExpiring}))(t).Events
			unheard := 0
			if crash > 0 && lost {
				unheard = 1
			}
			if len(written) != 5 || len(first)+len(second)+unheard != 5 {
				t.Errorf("crash %d, answer lost %t: %d and then %d heard, %d written", crash, lost, len(first), len(second), len(written))
			}
		}
	}
}

func TestRemindIsBounded(t *testing.T) {
	c := newClock()
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Now: c.now})
	for i := range 7 {
		create(t, s, apikey.Spec{Name: fmt.Sprint(i), TTL: day})
	}
	o := &apikey.RemindOptions{Expiry: []time.Duration{day}, Rotate: []time.Duration{time.Microsecond}, Limit: 4}
	c.advance(time.Second)
	var sizes []int
	for range 5 {
		sizes = append(sizes, len(must(s.Remind(t.Context(), o))(t)))
	}
	if !slices.Equal(sizes, []int{4, 4, 4, 2, 0}) {
		t.Errorf("reminders %v", sizes)
	}
	for want, o := range map[string]apikey.RemindOptions{
		"no thresholds": {}, "threshold 0s": {Expiry: []time.Duration{0}}, "threshold -1ns": {Rotate: []time.Duration{-1}}, "limit is -1": {Expiry: []time.Duration{1}, Limit: -1},
	} {
		if _, err := s.Remind(t.Context(), &o); errors.CodeOf(err) != errors.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want invalid with %q", err, want)
		}
	}
}

// A key that is disabled while it is about to be spoken of is neither spoken of nor
// enabled again.
func TestReminderRacingDisable(t *testing.T) {
	c := newClock()
	store := &scripted{apikey.NewMemoryStore(), func(string) error { return nil }}
	s := newService(t, store, nil, &apikey.Options{Now: c.now})
	issued := create(t, s, apikey.Spec{TTL: day})
	other := newService(t, store.MemoryStore, nil, &apikey.Options{Now: c.now})
	raced := false
	store.before = func(verb string) error {
		if verb == "Apply" && !raced {
			raced = true
			must(other.Disable(t.Context(), issued.Key.ID))(t)
		}
		return nil
	}
	events := must(s.Remind(t.Context(), nil))(t)
	if k := must(s.Get(t.Context(), issued.Key.ID))(t); !raced || len(events) != 0 || k.State != apikey.StateDisabled {
		t.Errorf("%d events, key %+v", len(events), k)
	}
}
