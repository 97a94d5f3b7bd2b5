package apikey_test

import (
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

func TestReadinessOfARotation(t *testing.T) {
	c := newClock()
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Now: c.now})
	old := create(t, s, apikey.Spec{})
	if _, err := s.Readiness(t.Context(), old.Key.ID); errors.CodeOf(err) != errors.Conflict {
		t.Errorf("before the rotation: %v, want conflict", err)
	}
	must(s.Verify(t.Context(), old.Secret.Reveal(), nil))(t)
	c.advance(time.Minute)
	heir := must(s.Rotate(t.Context(), old.Key.ID, 24*time.Hour))(t)
	use := func(k apikey.Issued) { must(s.Verify(t.Context(), k.Secret.Reveal(), nil))(t) }
	for _, step := range []struct {
		name    string
		do      func()
		noticed bool
		says    string
	}{
		{"used shortly before the rotation", func() {}, true, "the old key was last used 1m0s ago; its successor was never used; the old key ends in 24h0m0s"},
		{"used since", func() { c.advance(time.Minute); use(old); c.advance(3 * time.Minute) }, true,
			"the old key was last used 3m0s ago; its successor was never used; the old key ends in 23h56m0s"},
		{"both used", func() { use(heir) }, true, "the old key was last used 3m0s ago; its successor was last used 0s ago; the old key ends in 23h56m0s"},
		{"quiet", func() { c.advance(time.Hour) }, false, "the old key was last used 1h3m0s ago; its successor was last used 1h0m0s ago; the old key ends in 22h56m0s"},
		{"used again", func() { use(old) }, true, "the old key was last used 0s ago; its successor was last used 1h0m0s ago; the old key ends in 22h56m0s"},
		{"to end sooner", func() {
			must(s.Update(t.Context(), old.Key.ID, apikey.Changes{ExpiresAt: new(c.at.Add(time.Minute))}))(t)
		}, true, "the old key was last used 0s ago; its successor was last used 1h0m0s ago; the old key ends in 1m0s"},
		{"over", func() { c.advance(time.Minute) }, false, "the old key was last used 1m0s ago; its successor was last used 1h1m0s ago; the old key is rotated"},
	} {
		step.do()
		r := must(s.Readiness(t.Context(), old.Key.ID))(t)
		if r.Noticed(time.Hour) != step.noticed || r.String() != step.says || r.Successor.ID != heir.Key.ID {
			t.Errorf("%s: noticed %t, %q; want %t, %q", step.name, r.Noticed(time.Hour), r, step.noticed, step.says)
		}
	}
	if _, err := s.Readiness(t.Context(), "key_none"); !errors.Is(err, apikey.ErrNotFound) {
		t.Errorf("of no key: %v", err)
	}
}
