package apikey_test

import (
	"testing"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/apikey/apikeytest"
)

func TestMemoryStore(t *testing.T) {
	apikeytest.Run(t, func(*testing.T) apikey.Store { return apikey.NewMemoryStore() })
}

func BenchmarkMemoryStore(b *testing.B) {
	apikeytest.Bench(b, func(*testing.B) apikey.Store { return apikey.NewMemoryStore() })
}
