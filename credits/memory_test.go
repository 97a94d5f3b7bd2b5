package credits_test

import (
	"testing"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/credits/creditstest"
)

func TestMemoryStore(t *testing.T) {
	creditstest.Run(t, func(*testing.T) credits.Store { return credits.NewMemoryStore(nil) })
}
