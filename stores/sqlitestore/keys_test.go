package sqlitestore_test

import (
	"testing"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/apikey/apikeytest"
)

func TestKeysKeepTheContract(t *testing.T) {
	apikeytest.Run(t, func(t *testing.T) apikey.Store { return open(t, nil).Keys() })
}

func BenchmarkKeys(b *testing.B) {
	apikeytest.Bench(b, func(b *testing.B) apikey.Store { return open(b, nil).Keys() })
}
