package redisstore_test

import (
	"testing"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/apikey/apikeytest"
	"github.com/keytoll/keytoll/stores/redisstore"
	"github.com/keytoll/keytoll/stores/redisstore/redistest"
)

// The store is in memory, so that the feed alone is measured.
func BenchmarkRevocation(b *testing.B) {
	server, store := redistest.Start(b), apikey.NewMemoryStore()
	o := &redisstore.FeedOptions{Channel: channel(b)}
	apikeytest.BenchRevocation(b, func(b *testing.B) (apikey.Store, apikey.Feed) {
		return store, newFeed(b, server.Client(b), o)
	})
}
