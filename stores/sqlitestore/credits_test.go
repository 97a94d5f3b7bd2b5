package sqlitestore_test

import (
	"testing"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/credits/creditstest"
)

func TestCreditsKeepTheContract(t *testing.T) {
	creditstest.Run(t, func(t *testing.T) credits.Store { return open(t, nil).Credits() })
}

func BenchmarkCredits(b *testing.B) {
	creditstest.Bench(b, func(b *testing.B) credits.Store { return open(b, nil).Credits() })
}
