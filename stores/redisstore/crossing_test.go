package redisstore_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/stores/redisstore"
	"github.com/keytoll/keytoll/stores/redisstore/redistest"
)

// mute answers up to a step, and from then on lets every caller wait.
type mute struct {
	redisstore.Client
	steps int
}

func (c *mute) EvalSHA(ctx context.Context, hash string, keys []string, arg string) (string, error) {
	if c.steps--; c.steps < 0 {
		<-ctx.Done()
		return "", ctx.Err()
	}
	return c.Client.EvalSHA(ctx, hash, keys, arg)
}

// Giving back what earlier slots took goes on when the caller's time is over, and
// for no longer than Undo.
func TestGivingBackIsBounded(t *testing.T) {
	p := prefix()
	client := redisstore.GoRedis(redistest.StartCluster(t).Client(t))
	plain, err := redisstore.NewLimits(client, &redisstore.LimitsOptions{Prefix: p})
	if err != nil {
		t.Fatal(err)
	}
	hour := ratelimit.Limit{Name: "h", Algorithm: ratelimit.FixedWindow, Count: 10, Period: 1000 * 24 * time.Hour}
	other := limiterOf(t, plain, hour)
	for _, key := range []string{"a", "b"} { // so that the servers know the script
		if _, err := other.Peek(t.Context(), key, 1); err != nil {
			t.Fatal(err)
		}
	}
	// A look at b and the take of a are answered, the take of b is not.
	s, err := redisstore.NewLimits(&mute{client, 2}, &redisstore.LimitsOptions{Prefix: p, Undo: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	r, err := limiterOf(t, s, hour).TakeAll(ctx, ratelimit.Charge{Key: "a", Cost: 3}, ratelimit.Charge{Key: "b", Cost: 4})
	if r.Allowed || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "could not be given back") {
		t.Errorf("allowed is %t, error %v", r.Allowed, err)
	}
	for key, left := range map[string]int64{"a": 7, "b": 10} {
		if r, err := other.Peek(t.Context(), key, 0); err != nil || r.Remaining != left {
			t.Errorf("%d of %q are left, want %d: %v", r.Remaining, key, left, err)
		}
	}
}
