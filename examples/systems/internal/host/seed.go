package host

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/scopes"
)

// seed makes a key in each state that the system names.
func (s *Service) seed(ctx context.Context) error {
	s.Samples = make(map[string]apikey.Secret)
	for _, sample := range s.system.Keys {
		secret, err := s.sample(ctx, sample)
		if err != nil {
			return fmt.Errorf("the %s key: %w", sample.State, err)
		}
		s.Samples[sample.State] = secret
	}
	return nil
}

func (s *Service) sample(ctx context.Context, sample Sample) (apikey.Secret, error) {
	granted, err := scopes.Parse(sample.Scopes)
	if err != nil {
		return apikey.Secret{}, err
	}
	spec := apikey.Spec{Owner: Demo, Name: sample.Name, Environment: sample.Environment, Scopes: granted, Secrets: s.system.Secrets}
	if sample.State == "expired" || sample.Imported {
		return s.past(ctx, spec, sample.State)
	}
	issued, err := s.Keys.Create(ctx, spec)
	switch {
	case err != nil:
	case sample.State == "revoked":
		_, err = s.Keys.Revoke(ctx, issued.Key.ID, "to be tried")
	case sample.State == "inactive":
		_, err = s.Keys.Disable(ctx, issued.Key.ID)
	}
	return issued.Secret, err
}

// past brings in a key that an older system made, the day before yesterday: one
// that has expired since, or has a scope that is granted no more.
func (s *Service) past(ctx context.Context, spec apikey.Spec, state string) (apikey.Secret, error) {
	text, err := s.Keys.Format().Generate(spec.Environment, s.rand)
	if err != nil {
		return text, err
	}
	const day = 24 * time.Hour
	spec.Secrets = nil
	if state == "expired" {
		spec.ExpiresAt = s.now().Add(-day)
	}
	results, err := s.Keys.Import(ctx, []apikey.ImportRow{{Spec: spec, Text: text, CreatedAt: s.now().Add(-2 * day)}})
	if err == nil {
		err = results[0].Err
	}
	return text, err
}

// random returns n random bytes.
func random(from io.Reader, n int) []byte {
	b := make([]byte, n)
	if _, err := io.ReadFull(from, b); err != nil {
		panic(err) // crypto/rand never fails, and a test's source that does fails the test
	}
	return b
}
