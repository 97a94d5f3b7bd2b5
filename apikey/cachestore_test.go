package apikey_test

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// A staged store lets a test stand between a look-up and its answer, and counts
// look-ups. What is nil is not asked.
type staged struct {
	apikey.Store
	calls  atomic.Int64
	before func(ctx context.Context) error // ahead of a look-up; its error is the answer
	after  func(ctx context.Context)       // when it was made, and is not yet answered
	apply  func(commit func() error) error // in the place of Apply
}

func (s *staged) ByHandle(ctx context.Context, handle string) (apikey.Record, error) {
	s.calls.Add(1)
	if s.before != nil {
		if err := s.before(ctx); err != nil {
			return apikey.Record{}, err
		}
	}
	rec, err := s.Store.ByHandle(ctx, handle)
	if s.after != nil {
		s.after(ctx)
	}
	return rec, err
}

func (s *staged) Apply(ctx context.Context, c apikey.Change) error {
	if s.apply == nil {
		return s.Store.Apply(ctx, c)
	}
	return s.apply(func() error { return s.Store.Apply(ctx, c) })
}

// asked runs do and returns how many look-ups it took.
func (s *staged) asked(do func()) int64 {
	before := s.calls.Load()
	do()
	return s.calls.Load() - before
}

// cached returns a service over store whose cache has these options, with a
// clock of its own, and a Bound of ten seconds unless there is one.
func cached(t testing.TB, store apikey.Store, o apikey.CacheOptions) (*apikey.Service, *clock) {
	t.Helper()
	c := newClock()
	if o.Bound == 0 {
		o.Bound = 10 * time.Second
	}
	return newService(t, store, newFormat(t, "gx", &apikey.FormatOptions{NoChecksum: true}), &apikey.Options{Now: c.now, Cache: &o}), c
}

// accepted fails the test unless s accepts every token.
func accepted(t testing.TB, s *apikey.Service, tokens ...string) {
	t.Helper()
	for _, token := range tokens {
		if _, err := s.Verify(t.Context(), token, nil); err != nil {
			t.Errorf("Verify = %v, want the key", err)
		}
	}
}

// refused fails the test unless s refuses every token so.
func refused(t testing.TB, s *apikey.Service, want error, tokens ...string) {
	t.Helper()
	for _, token := range tokens {
		if _, err := s.Verify(t.Context(), token, nil); !errors.Is(err, want) {
			t.Errorf("Verify = %v, want %v", err, want)
		}
	}
}

// guess returns token's text with another secret.
func guess(token string) string {
	secret := "AbAbAbAbAbAbAbAbAbAbAbAbAbAbAbAb"
	return token[:len(token)-len(secret)] + secret
}

// seeded is a random source that yields the same again.
type seeded struct{ *rand.ChaCha8 }

func newSeeded() seeded { return seeded{rand.NewChaCha8([32]byte{7})} }

// issueTo makes n keys and returns their texts.
func issueTo(t testing.TB, s *apikey.Service, n int) []string {
	t.Helper()
	tokens := make([]string, n)
	for i := range tokens {
		tokens[i] = create(t, s, apikey.Spec{}).Secret.Reveal()
	}
	return tokens
}
