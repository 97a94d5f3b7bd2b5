package credits_test

import (
	"testing"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/credits/creditstest"
)

func TestMemoryStore(t *testing.T) {
	creditstest.Run(t, func(*testing.T) credits.Store { return credits.NewMemoryStore(nil) })
}

func BenchmarkMemoryStore(b *testing.B) {
	creditstest.Bench(b, func(*testing.B) credits.Store { return credits.NewMemoryStore(nil) })
}
