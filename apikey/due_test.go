package apikey_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

const day = 24 * time.Hour

// names returns the names of the keys of a listing, page by page.
func names(t *testing.T, list func(q apikey.Query) (apikey.Page, error), q apikey.Query) string {
	t.Helper()
	var got []string
	for {
		page := must(list(q))(t)
		for _, k := range page.Keys {
			got = append(got, k.Name)
		}
		if page.Next.IsZero() {
			return strings.Join(got, " ")
		}
		q.After = page.Next
	}
}

// A key that never expires is not one that expired long ago; and neither are those
// due that are out of service already.
func TestDueLists(t *testing.T) {
	c := newClock()
	start := c.at
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Now: c.now})
	keys := map[string]apikey.Issued{}
	for _, k := range []struct {
		name string
		ttl  time.Duration
	}{{"never", 0}, {"far", 30 * day}, {"week", 7 * day}, {"later", 7*day + time.Microsecond}, {"soon", day}, {"over", time.Hour}, {"off", day}, {"gone", day}, {"rotated", 2 * day}} {
		keys[k.name] = create(t, s, apikey.Spec{Name: k.name, TTL: k.ttl})
		c.advance(time.Microsecond)
	}
	c.at = start.Add(2 * time.Hour)
	must(s.Disable(t.Context(), keys["off"].Key.ID))(t)
	must(s.Revoke(t.Context(), keys["gone"].Key.ID, ""))(t)
	heir := must(s.Rotate(t.Context(), keys["rotated"].Key.ID, time.Hour))(t)
	must(s.Update(t.Context(), heir.Key.ID, apikey.Changes{Name: new("heir")}))(t)
	must(s.Verify(t.Context(), keys["far"].Secret.Reveal(), nil))(t) // noted, not yet written

	expiring := func(within time.Duration) func(apikey.Query) (apikey.Page, error) {
		return func(q apikey.Query) (apikey.Page, error) { return s.Expiring(t.Context(), within, q) }
	}
	unused := func(since time.Time) func(apikey.Query) (apikey.Page, error) {
		return func(q apikey.Query) (apikey.Page, error) { return s.Unused(t.Context(), since, q) }
	}
	due := func(age time.Duration) func(apikey.Query) (apikey.Page, error) {
		return func(q apikey.Query) (apikey.Page, error) { return s.RotationDue(t.Context(), age, q) }
	}
	owner := apikey.Query{Owner: "acct_1"}
	paged := apikey.Query{AnyOwner: true, Limit: 1}
	week := keys["week"].Key.ExpiresAt.Sub(c.at)
	for name, tt := range map[string]struct {
		list func(apikey.Query) (apikey.Page, error)
		q    apikey.Query
		want string
	}{
		"expiring within a week, to the microsecond": {expiring(week), owner, "soon heir week"},
		"just not":           {expiring(week - time.Microsecond), owner, "soon heir"},
		"page by page":       {expiring(100 * day), paged, "soon heir week later far"},
		"disabled ones too":  {expiring(week), apikey.Query{Owner: "acct_1", States: []apikey.State{apikey.StateDisabled, apikey.StateActive}}, "soon off heir week"},
		"of nobody":          {expiring(week), apikey.Query{Owner: "x"}, ""},
		"at once":            {expiring(0), owner, ""},
		"unused":             {unused(c.at), owner, "soon later week never"},
		"unused for an hour": {unused(c.at.Add(-time.Hour)), owner, "soon later week never"},
		"unused since made":  {unused(start), owner, ""},
		"old":                {due(2 * time.Hour), owner, "never"},
		"older":              {due(time.Hour), paged, "soon later week far never"},
		"of any age":         {due(0), owner, "heir soon later week far never"},
	} {
		if got := names(t, tt.list, tt.q); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	_, negative := s.Expiring(t.Context(), -1, owner)
	_, age := s.RotationDue(t.Context(), -1, owner)
	_, zero := s.Unused(t.Context(), time.Time{}, owner)
	_, all := s.Unused(t.Context(), c.at, apikey.Query{})
	for _, err := range []error{negative, age, zero, all} {
		if errors.CodeOf(err) != errors.Invalid {
			t.Errorf("%v, want invalid", err)
		}
	}
}

// A key that is past its end stays: it is shown, can be given another end, and no
// look-up, listing or verification takes it away.
func TestAnExpiredKeyIsKept(t *testing.T) {
	c := newClock()
	store := apikey.NewMemoryStore()
	s := newService(t, store, nil, &apikey.Options{Now: c.now})
	issued := create(t, s, apikey.Spec{TTL: time.Hour})
	before := state(t, store)
	c.advance(1000 * day)
	for range 3 {
		if _, err := s.Verify(t.Context(), issued.Secret.Reveal(), nil); !errors.Is(err, apikey.ErrExpired) {
			t.Errorf("Verify = %v, want ErrExpired", err)
		}
		names(t, func(q apikey.Query) (apikey.Page, error) { return s.List(t.Context(), q) }, apikey.Query{AnyOwner: true})
		must(s.Remind(t.Context(), nil))(t)
	}
	if after := state(t, store); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("records %v, want %v", after, before)
	}
	must(s.Update(t.Context(), issued.Key.ID, apikey.Changes{ExpiresAt: new(c.at.Add(time.Hour))}))(t)
	must(s.Verify(t.Context(), issued.Secret.Reveal(), nil))(t)
}
