package apikey_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

func TestPeppers(t *testing.T) {
	c := newClock()
	store := apikey.NewMemoryStore()
	old := apikey.Pepper{Version: 1, Secret: bytes.Repeat([]byte{1}, 32)}
	young := apikey.Pepper{Version: 2, Secret: bytes.Repeat([]byte{2}, 32)}
	retired := old
	retired.NotAfter = c.at.Add(24 * time.Hour)
	with := func(peppers ...apikey.Pepper) *apikey.Service {
		return newService(t, store, nil, &apikey.Options{Peppers: peppers, Now: c.now})
	}
	tokens := map[string]string{}
	tokens["plain"] = create(t, with(), apikey.Spec{}).Secret.Reveal()
	tokens["old"] = create(t, with(old), apikey.Spec{}).Secret.Reveal()
	tokens["young"] = create(t, with(young, old), apikey.Spec{}).Secret.Reveal()
	impostor := apikey.Pepper{Version: 1, Secret: bytes.Repeat([]byte{9}, 32)}
	for _, tt := range []struct {
		name  string
		s     *apikey.Service
		works []string
	}{
		{"adopting a pepper kills no key", with(old), []string{"plain", "old"}},
		{"rotating the pepper kills no key", with(young, old), []string{"plain", "old", "young"}},
		{"retiring it with an end kills no key yet", with(young, retired), []string{"plain", "old", "young"}},
		{"leaving a pepper out stops its keys alone", with(young), []string{"plain", "young"}},
		{"dropping all peppers stops their keys", with(), []string{"plain"}},
		{"another secret under an old version proves nothing", with(impostor), []string{"plain"}},
	} {
		for name, token := range tokens {
			_, err := tt.s.Verify(t.Context(), token, nil)
			if works := slices.Contains(tt.works, name); works != (err == nil) || !works && !errors.Is(err, apikey.ErrUnknown) {
				t.Errorf("%s: the %s key: %v", tt.name, name, err)
			}
		}
	}
	s := with(young, retired)
	for _, tt := range []struct {
		at   time.Time
		want error
	}{{retired.NotAfter.Add(-1), nil}, {retired.NotAfter, apikey.ErrUnknown}} {
		c.at = tt.at
		if _, err := s.Verify(t.Context(), tokens["old"], nil); !errors.Is(err, tt.want) {
			t.Errorf("at %v, with an end at %v: %v, want %v", tt.at, retired.NotAfter, err, tt.want)
		}
	}
}

// The service keeps its own copy of a pepper.
func TestPeppersAreCopied(t *testing.T) {
	secret := bytes.Repeat([]byte{1}, 32)
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Peppers: []apikey.Pepper{{Version: 1, Secret: secret}}})
	issued := create(t, s, apikey.Spec{})
	clear(secret)
	for range 100 { // more than one pooled state
		if _, err := s.Verify(t.Context(), issued.Secret.Reveal(), nil); err != nil {
			t.Fatal(err)
		}
	}
}
