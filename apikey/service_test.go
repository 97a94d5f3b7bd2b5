package apikey_test

import (
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
)

// A clock is an injected time that tests move.
type clock struct{ at time.Time }

func newClock() *clock { return &clock{time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time          { return c.at }
func (c *clock) advance(d time.Duration) { c.at = c.at.Add(d) }

func newService(t testing.TB, store apikey.Store, f *apikey.Format, o *apikey.Options) *apikey.Service {
	t.Helper()
	s, err := apikey.NewService(store, f, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func create(t testing.TB, s *apikey.Service, spec apikey.Spec) apikey.Issued {
	t.Helper()
	if spec.Owner == "" {
		spec.Owner = "acct_1"
	}
	issued, err := s.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return issued
}

func TestCreateThenVerify(t *testing.T) {
	for _, tt := range formats {
		t.Run(tt.name, func(t *testing.T) {
			s := newService(t, apikey.NewMemoryStore(), newFormat(t, tt.prefix, tt.options), nil)
			issued := create(t, s, apikey.Spec{Name: "Production", Environment: tt.environments[0]})
			key, err := s.Verify(t.Context(), issued.Secret.Reveal(), nil)
			if err != nil || !key.Equal(issued.Key) {
				t.Fatalf("Verify = %+v, %v; want %+v", key, err, issued.Key)
			}
		})
	}
}
