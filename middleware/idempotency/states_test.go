package idempotency_test

import (
	"testing"

	"github.com/keytoll/keytoll/middleware/idempotency"
)

// Numbers and names are stored and must not move.
func TestStatesArePinned(t *testing.T) {
	for i, want := range []string{"unknown", "claimed", "running", "mismatch", "done", "unknown"} {
		if got := idempotency.State(i).String(); got != want {
			t.Errorf("state %d is %q, want %q", i, got, want)
		}
	}
}
