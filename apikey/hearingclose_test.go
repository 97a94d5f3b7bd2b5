package apikey_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// A feed that does not end with its context does not keep Close for ever, and
// what is noted is written nonetheless.
func TestCloseDoesNotWaitForeverForTheFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		store := apikey.NewMemoryStore()
		s := newService(t, store, nil, &apikey.Options{
			FlushEvery: time.Hour,
			Cache:      &apikey.CacheOptions{Bound: time.Second, Feed: deaf{new(apikey.MemoryFeed), release}},
		})
		synctest.Wait() // it listens
		issued := create(t, s, apikey.Spec{})
		accepted(t, s, issued.Secret.Reveal())
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Close(ctx); errors.CodeOf(err) != errors.DeadlineExceeded {
			t.Errorf("Close = %v, want its deadline", err)
		}
		if rec := must(store.ByID(t.Context(), issued.Key.ID))(t); rec.Key.LastUsedAt.IsZero() {
			t.Error("the last use was not written")
		}
		close(release)
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

type deaf struct {
	*apikey.MemoryFeed
	release chan struct{}
}

func (d deaf) Listen(context.Context, apikey.Listener) error {
	<-d.release
	return errors.New("released")
}
