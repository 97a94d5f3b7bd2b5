package apikey_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// decision returns a function that always decides so.
func decision(a apikey.LeakAction, within time.Duration) func(apikey.Key) apikey.LeakDecision {
	return func(apikey.Key) apikey.LeakDecision { return apikey.LeakDecision{Action: a, Within: within} }
}

// history returns the kinds and notes of a key's events but its first, oldest
// first.
func history(t testing.TB, s *apikey.Service, k apikey.Key) []string {
	t.Helper()
	page := must(s.Events(t.Context(), apikey.EventQuery{Owner: k.Owner, Key: k.ID, OldestFirst: true, Limit: 1000}))(t)
	var all []string
	for _, e := range page.Events[1:] {
		all = append(all, string(e.Kind)+" "+e.Note)
	}
	return all
}

func TestReportLeakDoesWhatIsDecided(t *testing.T) {
	const url = "https://example.com/a/b.txt"
	leak := apikey.Leak{Source: "github/content", URL: url}
	for name, tt := range map[string]struct {
		action apikey.LeakAction
		within time.Duration
		before func(s *apikey.Service, id string) error
		status apikey.Status
		ends   time.Duration
		events string // after that of the leak
	}{
		"note":              {apikey.LeakNote, 0, nil, apikey.StatusActive, 0, ""},
		"disable":           {apikey.LeakDisable, 0, nil, apikey.StatusDisabled, 0, "key.disabled leaked"},
		"revoke":            {apikey.LeakRevoke, 0, nil, apikey.StatusRevoked, 0, "key.revoked leaked"},
		"expire":            {apikey.LeakExpire, time.Hour, nil, apikey.StatusActive, time.Hour, "key.expiry_changed leaked"},
		"expire sooner":     {apikey.LeakExpire, time.Hour, endsIn(2 * time.Hour), apikey.StatusActive, time.Hour, "key.expiry_changed leaked"},
		"never later":       {apikey.LeakExpire, time.Hour, endsIn(time.Minute), apikey.StatusActive, time.Minute, ""},
		"disable a revoked": {apikey.LeakDisable, 0, revoked, apikey.StatusRevoked, 0, ""},
		"expire a revoked":  {apikey.LeakExpire, time.Hour, revoked, apikey.StatusRevoked, 0, ""},
		"revoke a disabled": {apikey.LeakRevoke, 0, func(s *apikey.Service, id string) error { _, err := s.Disable(t.Context(), id); return err }, apikey.StatusRevoked, 0, "key.revoked leaked"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClock()
			s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Now: c.now})
			issued := create(t, s, apikey.Spec{})
			if tt.before != nil {
				if err := tt.before(s, issued.Key.ID); err != nil {
					t.Fatal(err)
				}
			}
			had := history(t, s, issued.Key)
			ctx := apikey.WithActor(t.Context(), apikey.Actor{ID: "github"})
			report, err := s.ReportLeak(ctx, issued.Secret.Reveal(), leak, decision(tt.action, tt.within))
			if err != nil || !report.First || report.Place != "github/content "+url || report.Key.Status(c.at) != tt.status {
				t.Fatalf("ReportLeak = %+v, %v; want %v", report, err, tt.status)
			}
			stored := must(s.Get(t.Context(), issued.Key.ID))(t)
			if !stored.Equal(report.Key) || tt.ends == 0 && !stored.ExpiresAt.IsZero() || tt.ends > 0 && !stored.ExpiresAt.Equal(c.at.Add(tt.ends)) {
				t.Errorf("stored %+v, want %+v, with an end in %v", stored, report.Key, tt.ends)
			}
			want := append(had, "key.leaked github/content "+url)
			if tt.events != "" {
				want = append(want, tt.events)
			}
			if got := history(t, s, issued.Key); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("events %q, want %q", got, want)
			}
			// The same again, from elsewhere in other words.
			again, err := s.ReportLeak(ctx, issued.Secret.Reveal(), apikey.Leak{Source: "github/commit", URL: url}, func(apikey.Key) apikey.LeakDecision {
				t.Error("what is known is decided again")
				return apikey.LeakDecision{}
			})
			if err != nil || again.First || !again.Key.Equal(stored) {
				t.Errorf("again = %+v, %v; want %+v", again, err, stored)
			}
			if got := history(t, s, issued.Key); len(got) != len(want) {
				t.Errorf("events %q, want %q", got, want)
			}
		})
	}
}

func endsIn(d time.Duration) func(*apikey.Service, string) error {
	return func(s *apikey.Service, id string) error {
		_, err := s.Update(context.Background(), id, apikey.Changes{ExpiresAt: new(newClock().at.Add(d))})
		return err
	}
}

func revoked(s *apikey.Service, id string) error {
	_, err := s.Revoke(context.Background(), id, "over")
	return err
}

func TestReportLeakRefuses(t *testing.T) {
	s := newService(t, apikey.NewMemoryStore(), nil, nil)
	issued, deleted := create(t, s, apikey.Spec{}), create(t, s, apikey.Spec{})
	if err := s.Delete(t.Context(), deleted.Key.ID); err != nil {
		t.Fatal(err)
	}
	token, note := issued.Secret.Reveal(), decision(apikey.LeakNote, 0)
	for name, tt := range map[string]struct {
		token  string
		leak   apikey.Leak
		decide func(apikey.Key) apikey.LeakDecision
		want   error
		code   errors.Code
	}{
		"garbage":         {"gx_", apikey.Leak{Source: "s"}, note, apikey.ErrMalformed, errors.Unauthenticated},
		"unknown":         {must(s.Format().Generate("", nil))(t).Reveal(), apikey.Leak{Source: "s"}, note, apikey.ErrUnknown, errors.Unauthenticated},
		"deleted":         {deleted.Secret.Reveal(), apikey.Leak{Source: "s"}, note, apikey.ErrUnprovable, errors.Unauthenticated},
		"no source":       {token, apikey.Leak{}, note, nil, errors.Invalid},
		"source in words": {token, apikey.Leak{Source: "a b"}, note, nil, errors.Invalid},
		"long source":     {token, apikey.Leak{Source: strings.Repeat("a", 65)}, note, nil, errors.Invalid},
		"long URL":        {token, apikey.Leak{Source: "s", URL: strings.Repeat("a", 2049)}, note, nil, errors.Invalid},
		"control in URL":  {token, apikey.Leak{Source: "s", URL: "a\n" + token}, note, nil, errors.Invalid},
		"nobody decides":  {token, apikey.Leak{Source: "s"}, nil, nil, errors.Invalid},
		"nothing decided": {token, apikey.Leak{Source: "s"}, decision("", 0), nil, errors.Invalid},
		"ends never":      {token, apikey.Leak{Source: "s"}, decision(apikey.LeakExpire, 0), nil, errors.Invalid},
		"unheard of":      {token, apikey.Leak{Source: "s"}, decision("explode", 0), nil, errors.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			report, err := s.ReportLeak(t.Context(), tt.token, tt.leak, tt.decide)
			if errors.CodeOf(err) != tt.code || tt.want != nil && !errors.Is(err, tt.want) || report.Key.ID != "" || report.Place != "" {
				t.Fatalf("ReportLeak = %+v, %v; want %v", report, err, tt.code)
			}
			if strings.Contains(err.Error(), token) {
				t.Errorf("the error holds the key: %v", err)
			}
		})
	}
	if got := history(t, s, issued.Key); len(got) != 0 {
		t.Errorf("refused reports left the events %q", got)
	}
}

// A web address can hold a key, which no event may.
func TestLeakPlaceHoldsNoKey(t *testing.T) {
	s := newService(t, apikey.NewMemoryStore(), nil, nil)
	issued, neighbour := create(t, s, apikey.Spec{}), create(t, s, apikey.Spec{})
	token, other := issued.Secret.Reveal(), neighbour.Secret.Reveal()
	encode := func(text string) string {
		var b strings.Builder
		for _, c := range []byte(text) {
			fmt.Fprintf(&b, "%%%02X", c)
		}
		return b.String()
	}
	for url, want := range map[string]string{
		"https://a.example/?key=" + token:                            "https://a.example/?key=[redacted]",
		"https://a.example/" + other + "/" + token:                   "https://a.example/[redacted]/[redacted]",
		"https://a.example/" + encode(token):                         "[redacted]",
		"https://a.example/" + token + encode(other):                 "[redacted]",
		"https://a.example/" + encode(encode(other)):                 "[redacted]",
		"https://a.example/%zz" + encode(token):                      "[redacted]",
		"https://a.example/a%20b/%C3%A9":                             "https://a.example/a%20b/%C3%A9",
		"https://a.example/" + strings.Replace(token, "_", "%5f", 1): "[redacted]",
	} {
		report, err := s.ReportLeak(t.Context(), token, apikey.Leak{Source: "s", URL: url}, decision(apikey.LeakNote, 0))
		if err != nil || want != "" && report.Place != "s "+want {
			t.Errorf("place %q, %v; want %q", report.Place, err, want)
		}
	}
	for _, line := range history(t, s, issued.Key) {
		if strings.Contains(line, token) || strings.Contains(line, other) || strings.Contains(line, encode(token)) {
			t.Errorf("an event holds a key: %q", line)
		}
	}
}

// Deliveries that come twice, at the same time, are one leak.
func TestConcurrentReportsOfOneLeakAreOne(t *testing.T) {
	s := newService(t, apikey.NewMemoryStore(), nil, nil)
	issued := create(t, s, apikey.Spec{})
	var first, wrong int
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			report, err := s.ReportLeak(t.Context(), issued.Secret.Reveal(), apikey.Leak{Source: "s", URL: "u"}, decision(apikey.LeakDisable, 0))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				wrong++
			} else if report.First {
				first++
			}
		})
	}
	wg.Wait()
	if got := history(t, s, issued.Key); first != 1 || wrong != 0 || len(got) != 2 {
		t.Errorf("%d reports were first and %d failed, with the events %q; want 1, 0, and a leak with a disable", first, wrong, got)
	}
}

// What its owner switched on again is not switched off by a delivery that comes
// again, but by a new place.
func TestKnownLeakDoesNotUndoAnEnable(t *testing.T) {
	s := newService(t, apikey.NewMemoryStore(), nil, nil)
	issued := create(t, s, apikey.Spec{})
	report := func(url string) apikey.Key {
		return must(s.ReportLeak(t.Context(), issued.Secret.Reveal(), apikey.Leak{Source: "s", URL: url}, decision(apikey.LeakDisable, 0)))(t).Key
	}
	report("u")
	must(s.Enable(t.Context(), issued.Key.ID))(t)
	if k := report("u"); k.State != apikey.StateActive {
		t.Errorf("the same place again leaves it %v", k.State)
	}
	if k := report("v"); k.State != apikey.StateDisabled {
		t.Errorf("another place leaves it %v", k.State)
	}
}

// A new text of the key can leak where the old one did.
func TestNewTextLeaksAnew(t *testing.T) {
	c := newClock()
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Now: c.now})
	old := create(t, s, apikey.Spec{})
	leak, note := apikey.Leak{Source: "s", URL: "u"}, decision(apikey.LeakNote, 0)
	must(s.ReportLeak(t.Context(), old.Secret.Reveal(), leak, note))(t)
	c.advance(time.Minute)
	fresh := must(s.Regenerate(t.Context(), old.Key.ID))(t)
	if _, err := s.ReportLeak(t.Context(), old.Secret.Reveal(), apikey.Leak{Source: "s", URL: "v"}, decision(apikey.LeakRevoke, 0)); !errors.Is(err, apikey.ErrUnknown) {
		t.Errorf("the old text = %v, want ErrUnknown", err)
	}
	if report := must(s.ReportLeak(t.Context(), fresh.Secret.Reveal(), leak, note))(t); !report.First {
		t.Error("the new text's leak counts as the old one's")
	}
}

// A text that is replaced between proof and change must not take the new one
// with it.
func TestReportRacingRegenerateSparesTheNewText(t *testing.T) {
	store := &scripted{apikey.NewMemoryStore(), func(string) error { return nil }}
	s := newService(t, store, nil, nil)
	issued := create(t, s, apikey.Spec{})
	other := newService(t, store.MemoryStore, nil, nil)
	raced := false
	store.before = func(verb string) error {
		if verb == "Apply" && !raced {
			raced = true
			must(other.Regenerate(t.Context(), issued.Key.ID))(t)
		}
		return nil
	}
	_, err := s.ReportLeak(t.Context(), issued.Secret.Reveal(), apikey.Leak{Source: "s"}, decision(apikey.LeakRevoke, 0))
	if k := must(other.Get(t.Context(), issued.Key.ID))(t); !errors.Is(err, apikey.ErrUnknown) || k.State != apikey.StateActive {
		t.Errorf("ReportLeak = %v, and the key is %v", err, k.State)
	}
}

// A key that is everywhere fills no log, and is switched off nonetheless.
func TestLeakPlacesAreBounded(t *testing.T) {
	s := newService(t, apikey.NewMemoryStore(), nil, nil)
	issued := create(t, s, apikey.Spec{})
	for i := range apikey.MaxLeakPlaces + 10 {
		report := must(s.ReportLeak(t.Context(), issued.Secret.Reveal(), apikey.Leak{Source: "s", URL: fmt.Sprint(i)}, decision(apikey.LeakNote, 0)))(t)
		if report.First != (i < apikey.MaxLeakPlaces) {
			t.Fatalf("place %d is first: %t", i, report.First)
		}
	}
	report := must(s.ReportLeak(t.Context(), issued.Secret.Reveal(), apikey.Leak{Source: "s", URL: "new"}, decision(apikey.LeakRevoke, 0)))(t)
	if got := history(t, s, issued.Key); report.First || report.Key.State != apikey.StateRevoked || len(got) != apikey.MaxLeakPlaces+1 {
		t.Errorf("one more = %+v, with %d events", report, len(got))
	}
}

func TestReportLeakThatCannotBeKept(t *testing.T) {
	for _, verb := range []string{"ByHandle", "ByID", "Apply"} {
		store := &scripted{apikey.NewMemoryStore(), func(string) error { return nil }}
		s := newService(t, store, nil, nil)
		issued := create(t, s, apikey.Spec{})
		store.before = func(v string) error {
			if v == verb {
				return errors.New("down")
			}
			return nil
		}
		if _, err := s.ReportLeak(t.Context(), issued.Secret.Reveal(), apikey.Leak{Source: "s"}, decision(apikey.LeakRevoke, 0)); errors.CodeOf(err) != errors.Unavailable {
			t.Errorf("%s fails: %v, want unavailable", verb, err)
		}
	}
}
