package apikey_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// Any order of verbs keeps what holds for all of them: the limit, unique names, one
// live successor in a chain, no key back from the dead, no change untold, and a chain
// of events that adds up.
func TestAnyOrderOfVerbs(t *testing.T) {
	for range 20 {
		seed := rand.Uint64()
		lives(t, seed)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func lives(t *testing.T, seed uint64) {
	const most = 4
	r := rand.New(rand.NewPCG(seed, 0))
	c := newClock()
	store := apikey.NewMemoryStore()
	policy := apikey.Policy{MayCreate: true, MaxKeys: most, UniqueNames: true, Scopes: granted(t, "*")}
	s := newService(t, store, nil, &apikey.Options{Now: c.now, Policy: always(&policy)})
	ids := []string{"key_none"}
	tokens := map[string]apikey.Secret{}
	keep := func(issued apikey.Issued, err error) error {
		if err == nil && !issued.Replayed {
			ids = append(ids, issued.Key.ID)
			tokens[issued.Key.ID] = issued.Secret
		}
		return err
	}
	name := func() string { return []string{"", "a", "b", "c", "d"}[r.IntN(5)] }
	before := map[string]apikey.Record{}
	for range 150 {
		id := ids[r.IntN(len(ids))]
		var err error
		verb := r.IntN(14)
		switch verb {
		case 0:
			err = keep(s.Create(t.Context(), apikey.Spec{Owner: "o", Name: name(), TTL: time.Duration(r.IntN(3)) * time.Hour}))
		case 1:
			err = keep(s.Create(t.Context(), apikey.Spec{Owner: "o", Name: name(), RequestID: fmt.Sprint(r.IntN(6))}))
		case 2:
			err = keep(s.Clone(t.Context(), id, apikey.Changes{Name: new(name())}))
		case 3:
			err = keep(s.Rotate(t.Context(), id, time.Duration(r.IntN(2))*time.Hour))
		case 4:
			err = keep(s.Regenerate(t.Context(), id))
		case 5:
			_, err = s.Update(t.Context(), id, apikey.Changes{Name: new(name())})
		case 6:
			_, err = s.Update(t.Context(), id, apikey.Changes{ExpiresAt: new(c.at.Add(time.Duration(1+r.IntN(5)) * time.Hour))})
		case 7:
			_, err = s.Disable(t.Context(), id)
		case 8, 9:
			_, err = s.Enable(t.Context(), id)
		case 10:
			_, err = s.Revoke(t.Context(), id, "")
		case 11:
			err = s.Delete(t.Context(), id)
		case 12:
			c.advance(time.Duration(r.IntN(90)) * time.Minute)
			_, err = s.Remind(t.Context(), nil)
		case 13:
			if r.IntN(8) == 0 {
				_, err = s.RevokeOwner(t.Context(), "o", "")
			}
		}
		switch code := errors.CodeOf(err); code {
		case errors.Unknown, errors.NotFound, errors.Exists, errors.Conflict, errors.Exhausted, errors.Invalid:
		default:
			t.Errorf("verb %d: %v (%v)", verb, err, code)
		}
		before = checkLives(t, s, store, tokens, c.at, most, before)
	}
}

// checkLives returns the records by ID, having held them against those before.
func checkLives(t *testing.T, s *apikey.Service, store apikey.Store, tokens map[string]apikey.Secret, now time.Time, most int, before map[string]apikey.Record) map[string]apikey.Record {
	t.Helper()
	after, named, counted := map[string]apikey.Record{}, map[string]string{}, 0
	for _, rec := range state(t, store) {
		k := must(s.Get(t.Context(), rec.Key.ID))(t)
		after[k.ID] = rec
		alive := k.State == apikey.StateActive || k.State == apikey.StateDisabled
		if k.State == apikey.StateActive && !k.Expired(now) && k.Successor == "" {
			counted++
		}
		if alive && k.Successor == "" && k.Name != "" {
			if other := named[k.Name]; other != "" {
				t.Errorf("%s and %s are both called %q", other, k.ID, k.Name)
			}
			named[k.Name] = k.ID
		}
		works := k.Status(now) == apikey.StatusActive
		if _, err := s.Verify(t.Context(), tokens[k.ID].Reveal(), nil); (err == nil) != works {
			t.Errorf("%s is %s, and Verify = %v", k.ID, k.Status(now), err)
		}
		was, known := before[k.ID]
		if known && (was.Key.State == apikey.StateRevoked || was.Key.State == apikey.StateDeleted) && alive {
			t.Errorf("%s is back from %v", k.ID, was.Key.State)
		}
		if changed := !known || rec.Key.Version != was.Key.Version; changed {
			told := must(s.Events(t.Context(), apikey.EventQuery{Owner: "o", Key: k.ID, Limit: 1}))(t).Events
			if len(told) == 0 || !told[0].At.Equal(now) {
				t.Errorf("%s changed, and nothing was told: %+v", k.ID, told)
			}
		}
	}
	if counted > most {
		t.Errorf("%d keys count, of %d", counted, most)
	}
	if _, err := s.VerifyEvents(t.Context(), "o", nil); err != nil {
		t.Error(err)
	}
	return after
}
