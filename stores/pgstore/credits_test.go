package pgstore_test

import (
	"testing"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/credits/creditstest"
)

func TestCreditsKeepTheContract(t *testing.T) {
	d := newDatabase(t)
	creditstest.Run(t, func(t *testing.T) credits.Store { return d.open(t).Credits(nil) })
}
