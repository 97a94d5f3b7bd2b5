package pgstore_test

import (
	"testing"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/apikey/apikeytest"
)

func BenchmarkRevocation(b *testing.B) {
	db := newDatabase(b).open(b)
	apikeytest.BenchRevocation(b, func(*testing.B) (apikey.Store, apikey.Feed) { return db.Keys(), db.Feed() })
}
