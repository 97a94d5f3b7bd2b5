package apikey_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

func TestRotateInheritsEverything(t *testing.T) {
	c := newClock()
	f := newFormat(t, "sk", &apikey.FormatOptions{Environments: []string{"live"}})
	s := newService(t, apikey.NewMemoryStore(), f, &apikey.Options{Now: c.now})
	first := create(t, s, full(t))
	c.advance(time.Hour)
	second := must(s.Rotate(t.Context(), first.Key.ID, 10*time.Minute))(t)
	c.advance(time.Hour)
	third := must(s.Rotate(t.Context(), second.Key.ID, 0))(t)

	want := first.Key
	want.ID, want.CreatedAt, want.SecretAt, want.Start, want.Last4 = third.Key.ID, c.at, c.at, third.Key.Start, third.Key.Last4
	want.Predecessor = second.Key.ID
	if !third.Key.Equal(want) || third.Key.Meter != first.Key.ID {
		t.Errorf("successor\n%+v, want\n%+v", third.Key, want)
	}
	old := must(s.Get(t.Context(), first.Key.ID))(t)
	if old.Successor != second.Key.ID || !old.ExpiresAt.Equal(first.Key.CreatedAt.Add(70*time.Minute)) || old.Version != 2 {
		t.Errorf("predecessor %+v", old)
	}
}

func TestRotateWithoutDowntime(t *testing.T) {
	c := newClock()
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Now: c.now})
	old := create(t, s, apikey.Spec{})
	heir := must(s.Rotate(t.Context(), old.Key.ID, time.Hour))(t)
	for _, tt := range []struct {
		advance time.Duration
		old     error
		status  apikey.Status
	}{{0, nil, apikey.StatusActive}, {time.Hour - time.Microsecond, nil, apikey.StatusActive}, {time.Microsecond, apikey.ErrExpired, apikey.StatusRotated}} {
		c.advance(tt.advance)
		_, err := s.Verify(t.Context(), old.Secret.Reveal(), nil)
		status := must(s.Get(t.Context(), old.Key.ID))(t).Status(c.at)
		if !errors.Is(err, tt.old) || status != tt.status {
			t.Errorf("at %v the old key: %v, %v; want %v, %v", c.at, err, status, tt.old, tt.status)
		}
		must(s.Verify(t.Context(), heir.Secret.Reveal(), nil))(t)
	}
}

func TestRotateWithoutGraceEndsTheOldKeyAtOnce(t *testing.T) {
	c := newClock()
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Now: c.now})
	old := create(t, s, apikey.Spec{})
	must(s.Rotate(t.Context(), old.Key.ID, 0))(t)
	if _, err := s.Verify(t.Context(), old.Secret.Reveal(), nil); !errors.Is(err, apikey.ErrExpired) {
		t.Errorf("Verify = %v, want ErrExpired", err)
	}
}

// Rotating a key that is about to expire must extend neither it nor its
// successor, and nothing may extend it afterwards.
func TestRotatingAnExpiringKeyNeverExtendsIt(t *testing.T) {
	c := newClock()
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Now: c.now})
	end := c.at.Add(time.Hour)
	old := create(t, s, apikey.Spec{ExpiresAt: end})
	heir := must(s.Rotate(t.Context(), old.Key.ID, 720*time.Hour))(t)
	if k := must(s.Get(t.Context(), old.Key.ID))(t); !k.ExpiresAt.Equal(end) || !heir.Key.ExpiresAt.Equal(end) {
		t.Errorf("expiry %v, of the successor %v; want %v", k.ExpiresAt, heir.Key.ExpiresAt, end)
	}
	for name, at := range map[string]time.Time{"later": end.Add(1000 * time.Microsecond), "never": {}} {
		if _, err := s.Update(t.Context(), old.Key.ID, apikey.Changes{ExpiresAt: &at}); !errors.Is(err, apikey.ErrRotated) {
			t.Errorf("Update of a rotated key to expire %s = %v, want ErrRotated", name, err)
		}
	}
	sooner := end.Add(-time.Minute)
	if k := must(s.Update(t.Context(), old.Key.ID, apikey.Changes{ExpiresAt: &sooner}))(t); !k.ExpiresAt.Equal(sooner) {
		t.Errorf("expiry %v, want %v", k.ExpiresAt, sooner)
	}
}

func TestRotateRefuses(t *testing.T) {
	c := newClock()
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Now: c.now})
	rotated, expired := create(t, s, apikey.Spec{}), create(t, s, apikey.Spec{TTL: time.Hour})
	must(s.Rotate(t.Context(), rotated.Key.ID, 24*time.Hour))(t)
	c.advance(time.Hour)
	for name, tt := range map[string]struct {
		id    string
		grace time.Duration
		want  error
		code  errors.Code
	}{
		"rotated before": {rotated.Key.ID, 0, apikey.ErrRotated, errors.Conflict},
		"expired":        {expired.Key.ID, time.Hour, apikey.ErrExpired, errors.Conflict},
		"no key":         {"key_none", 0, apikey.ErrNotFound, errors.NotFound},
		"negative grace": {rotated.Key.ID, -1, nil, errors.Invalid},
	} {
		issued, err := s.Rotate(t.Context(), tt.id, tt.grace)
		if tt.want != nil && !errors.Is(err, tt.want) || errors.CodeOf(err) != tt.code || !issued.Secret.IsZero() {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}

// Rotation is no way around being switched off.
func TestRotatingADisabledKeyMakesADisabledOne(t *testing.T) {
	s := newService(t, apikey.NewMemoryStore(), nil, nil)
	issued := create(t, s, apikey.Spec{})
	must(s.Disable(t.Context(), issued.Key.ID))(t)
	heir := must(s.Rotate(t.Context(), issued.Key.ID, time.Hour))(t)
	if _, err := s.Verify(t.Context(), heir.Secret.Reveal(), nil); !errors.Is(err, apikey.ErrDisabled) {
		t.Errorf("Verify = %v, want ErrDisabled", err)
	}
}

func TestConcurrentRotatesGiveOneSuccessor(t *testing.T) {
	store := apikey.NewMemoryStore()
	s := newService(t, store, nil, nil)
	issued := create(t, s, apikey.Spec{})
	const n = 16
	heirs := make([]apikey.Issued, n)
	faults := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { heirs[i], faults[i] = s.Rotate(t.Context(), issued.Key.ID, time.Hour) })
	}
	wg.Wait()
	won := slices.IndexFunc(faults, func(err error) bool { return err == nil })
	for i, err := range faults {
		if i != won && !errors.Is(err, apikey.ErrRotated) {
			t.Errorf("rotation %d: %v, want ErrRotated", i, err)
		}
	}
	keys := state(t, store)
	if won < 0 || len(keys) != 2 {
		t.Fatalf("%d keys after %d rotations, want 2: %v", len(keys), n, faults)
	}
	old := must(s.Get(t.Context(), issued.Key.ID))(t)
	if old.Successor != heirs[won].Key.ID {
		t.Errorf("successor %q, want %q", old.Successor, heirs[won].Key.ID)
	}
	must(s.Verify(t.Context(), heirs[won].Secret.Reveal(), nil))(t)
}

// A rotation that loses to a change it can live with goes through.
func TestRotateRacingARename(t *testing.T) {
	store := &scripted{apikey.NewMemoryStore(), func(string) error { return nil }}
	s := newService(t, store, nil, nil)
	issued := create(t, s, apikey.Spec{})
	other := newService(t, store.MemoryStore, nil, nil)
	raced := false
	store.before = func(verb string) error {
		if verb == "Apply" && !raced {
			raced = true
			must(other.Update(t.Context(), issued.Key.ID, apikey.Changes{Name: new("renamed")}))(t)
		}
		return nil
	}
	if heir := must(s.Rotate(t.Context(), issued.Key.ID, 0))(t); heir.Key.Name != "renamed" {
		t.Errorf("successor %+v, want the new name", heir.Key)
	}
}

// A leak is answered at once: the old text is unknown, and whoever fed the cache
// of another process is told.
func TestRegenerateKeepsAllButTheText(t *testing.T) {
	c := newClock()
	f := newFormat(t, "sk", &apikey.FormatOptions{Environments: []string{"live"}})
	s := newService(t, apikey.NewMemoryStore(), f, &apikey.Options{Now: c.now})
	spec := full(t)
	spec.Networks = apikey.Networks{}
	old := create(t, s, spec)
	c.advance(time.Hour)
	must(s.Verify(t.Context(), old.Secret.Reveal(), nil))(t)
	young := must(s.Regenerate(t.Context(), old.Key.ID))(t)

	want := old.Key
	want.SecretAt, want.Start, want.Last4, want.Version, want.LastUsedAt = c.at, young.Key.Start, young.Key.Last4, 2, c.at
	if !young.Key.Equal(want) || young.Key.Start == old.Key.Start {
		t.Errorf("regenerated\n%+v, want\n%+v", young.Key, want)
	}
	if _, err := s.Verify(t.Context(), old.Secret.Reveal(), nil); !errors.Is(err, apikey.ErrUnknown) {
		t.Errorf("Verify of the old text = %v, want ErrUnknown", err)
	}
	if k := must(s.Verify(t.Context(), young.Secret.Reveal(), nil))(t); k.ID != old.Key.ID {
		t.Errorf("Verify of the new text = %+v", k)
	}
}

func TestRegenerateRefuses(t *testing.T) {
	c := newClock()
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Now: c.now})
	revoked, expired, rotated, deleted := create(t, s, apikey.Spec{}), create(t, s, apikey.Spec{TTL: time.Minute}), create(t, s, apikey.Spec{}), create(t, s, apikey.Spec{})
	must(s.Revoke(t.Context(), revoked.Key.ID, ""))(t)
	must(s.Rotate(t.Context(), rotated.Key.ID, time.Hour))(t)
	if err := s.Delete(t.Context(), deleted.Key.ID); err != nil {
		t.Fatal(err)
	}
	c.advance(time.Minute)
	for _, tt := range []struct {
		id   string
		want error
		code errors.Code
	}{
		{revoked.Key.ID, apikey.ErrRevoked, errors.Conflict},
		{expired.Key.ID, apikey.ErrExpired, errors.Conflict},
		{rotated.Key.ID, apikey.ErrRotated, errors.Conflict},
		{deleted.Key.ID, apikey.ErrNotFound, errors.NotFound},
	} {
		issued, err := s.Regenerate(t.Context(), tt.id)
		if !errors.Is(err, tt.want) || errors.CodeOf(err) != tt.code || !issued.Secret.IsZero() {
			t.Errorf("Regenerate = %v, %v; want %v", issued, err, tt.want)
		}
		if _, err := s.Clone(t.Context(), tt.id, apikey.Changes{}); !errors.Is(err, tt.want) || errors.CodeOf(err) != tt.code {
			t.Errorf("Clone = %v, want %v", err, tt.want)
		}
	}
}

// A disabled key that gets a new text stays disabled.
func TestRegeneratingADisabledKeyDoesNotEnableIt(t *testing.T) {
	s := newService(t, apikey.NewMemoryStore(), nil, nil)
	issued := create(t, s, apikey.Spec{})
	must(s.Disable(t.Context(), issued.Key.ID))(t)
	young := must(s.Regenerate(t.Context(), issued.Key.ID))(t)
	if _, err := s.Verify(t.Context(), young.Secret.Reveal(), nil); !errors.Is(err, apikey.ErrDisabled) {
		t.Errorf("Verify = %v, want ErrDisabled", err)
	}
}

// Of many new texts of one key, drawn at once, the last alone works.
func TestConcurrentRegeneratesLeaveOneText(t *testing.T) {
	s := newService(t, apikey.NewMemoryStore(), nil, nil)
	old := create(t, s, apikey.Spec{})
	const n = 16
	var wg sync.WaitGroup
	young := make([]apikey.Issued, n)
	for i := range n {
		wg.Go(func() {
			var err error
			if young[i], err = s.Regenerate(t.Context(), old.Key.ID); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	works := 0
	for _, y := range append(young, old) {
		if k, err := s.Verify(t.Context(), y.Secret.Reveal(), nil); err == nil {
			works++
			if k.Version != n+1 || !k.Equal(y.Key) {
				t.Errorf("the text that works is of %+v; stored %+v", y.Key, k)
			}
		}
	}
	if works != 1 {
		t.Errorf("%d texts work, want 1", works)
	}
}

func TestRotateInsistsWhereTheOldKeyEndsAtOnce(t *testing.T) {
	store := &scripted{apikey.NewMemoryStore(), func(string) error { return nil }}
	s := newService(t, store, nil, nil)
	issued := create(t, s, apikey.Spec{})
	holder := newService(t, store.MemoryStore, nil, nil)
	renames := 0
	store.before = func(verb string) error {
		if verb == "Apply" && renames < 100 {
			renames++
			must(holder.Update(t.Context(), issued.Key.ID, apikey.Changes{Name: new(string(rune('a' + renames%26)))}))(t)
		}
		return nil
	}
	if _, err := s.Rotate(t.Context(), issued.Key.ID, 0); err != nil || renames != 100 {
		t.Errorf("Rotate after %d renames: %v", renames, err)
	}
}

// A source that repeats itself would give a key that leaked the same text again.
func TestRegenerateRefusesTheSameText(t *testing.T) {
	for _, o := range []apikey.FormatOptions{{}, {NoID: true}} {
		s := newService(t, apikey.NewMemoryStore(), newFormat(t, "gx", &o), &apikey.Options{Rand: repeating{}})
		issued := create(t, s, apikey.Spec{})
		again, err := s.Regenerate(t.Context(), issued.Key.ID)
		if errors.CodeOf(err) != errors.Unavailable || again.Secret.Reveal() != "" {
			t.Errorf("%+v: Regenerate = %+v, %v; want unavailable", o, again.Key, err)
		}
		if key := must(s.Get(t.Context(), issued.Key.ID))(t); !key.Equal(issued.Key) {
			t.Errorf("the key is %+v, was %+v", key, issued.Key)
		}
	}
}

// A repeating source gives the same bytes each time.
type repeating struct{}

func (repeating) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i) * 7
	}
	return len(p), nil
}
