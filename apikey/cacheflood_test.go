package apikey_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/keytoll/keytoll/apikey"
)

// Elsewhere a tombstone guarded the cache against slow reads, until a flood
// evicted it. What fences here is the read itself.
func TestFloodDoesNotReopenTheRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		store := &staged{Store: apikey.NewMemoryStore()}
		s := cachedNow(t, store, apikey.CacheOptions{MaxKeys: 1})
		issued := create(t, s, apikey.Spec{})
		others := issueTo(t, s, 50)
		store.after = g.pass
		early := verifying(t.Context(), s, issued.Secret.Reveal())
		<-g.reached
		store.after = nil
		must(s.Revoke(t.Context(), issued.Key.ID, ""))(t)
		accepted(t, s, others...)
		for range 5000 {
			refused(t, s, apikey.ErrUnknown, generate(t, s.Format(), ""))
		}
		close(g.open)
		if err := <-early; err != nil {
			t.Error(err)
		}
		refused(t, s, apikey.ErrRevoked, issued.Secret.Reveal())
	})
}

// One tenant that renames a key as fast as it can takes the cache from nobody.
func TestFloodOfChangesConcernsItsKeyAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		store := &staged{Store: apikey.NewMemoryStore()}
		s := cachedNow(t, store, apikey.CacheOptions{})
		loud := create(t, s, apikey.Spec{Owner: "loud"})
		tokens := issueTo(t, s, 100)
		store.after = g.pass
		var all []verdict
		for i, token := range tokens {
			all = append(all, verifying(t.Context(), s, token))
			<-g.reached
			must(s.Update(t.Context(), loud.Key.ID, apikey.Changes{Name: new(fmt.Sprint(i))}))(t)
		}
		close(g.open)
		for _, v := range all {
			if err := <-v; err != nil {
				t.Error(err)
			}
		}
		store.after = nil
		if n := store.asked(func() { accepted(t, s, tokens...) }); n != 0 {
			t.Errorf("%d of 100 keys were not kept", n)
		}
	})
}

// Who waits for a read that is fenced again and again does not wait for ever:
// the second read is its own.
func TestFloodOfChangesKeepsNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		store := &staged{Store: apikey.NewMemoryStore()}
		s := cachedNow(t, store, apikey.CacheOptions{})
		issued := create(t, s, apikey.Spec{})
		store.after = g.pass
		leader := verifying(t.Context(), s, issued.Secret.Reveal())
		<-g.reached
		follower := verifying(t.Context(), s, issued.Secret.Reveal())
		synctest.Wait()
		must(s.Update(t.Context(), issued.Key.ID, apikey.Changes{Name: new("a")}))(t)
		g.open <- struct{}{}
		if err := <-leader; err != nil {
			t.Error(err)
		}
		<-g.reached // the follower's own
		must(s.Update(t.Context(), issued.Key.ID, apikey.Changes{Name: new("b")}))(t)
		g.open <- struct{}{}
		if err := <-follower; err != nil {
			t.Error(err)
		}
	})
}
