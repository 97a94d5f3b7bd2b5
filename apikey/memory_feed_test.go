package apikey_test

import (
	"testing"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/apikey/apikeytest"
)

func TestMemoryFeed(t *testing.T) {
	apikeytest.RunFeed(t, func(*testing.T) (a, b apikey.Feed) {
		f := new(apikey.MemoryFeed)
		return f, f
	})
}

func TestMemoryStoreIsItsOwnFeed(t *testing.T) {
	apikeytest.RunFeed(t, func(*testing.T) (a, b apikey.Feed) {
		s := apikey.NewMemoryStore()
		return s, s
	})
}
