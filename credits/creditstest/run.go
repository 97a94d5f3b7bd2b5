package creditstest

import (
	"context"
	"fmt"
	"testing"

	"github.com/keytoll/keytoll/credits"
)

// Run proves the contract on stores that open returns, a fresh one for each
// subtest.
func Run(t *testing.T, open func(t *testing.T) credits.Store) {
	t.Helper()
	for _, c := range checks() {
		t.Run(c.name, func(t *testing.T) {
			if err := c.run(t.Context(), open(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// A check is one sentence of the contract. It returns what was wrong.
type check struct {
	name string
	run  func(ctx context.Context, s credits.Store) error
}

func checks() []check {
	var all []check
	for _, part := range [][]check{updateChecks(), needChecks(), readChecks(), ledgerChecks()} {
		all = append(all, part...)
	}
	return all
}

// wrong describes a difference.
func wrong(what string, got, want any) error {
	return fmt.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
}
