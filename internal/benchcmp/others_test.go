package benchcmp_test

import (
	"testing"

	"github.com/go-redis/redis_rate/v10"
)

// What docs/coming-from.md says of redis_rate.
func TestRedisRateLosesRefundsAndTellsWaitsThatDoNotHelp(t *testing.T) {
	client, ctx := reach(t).goredis, t.Context()
	l := redis_rate.NewLimiter(client)
	allow := func(key string, n int) *redis_rate.Result {
		t.Helper()
		res, err := l.AllowN(ctx, key, redis_rate.PerHour(10), n)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	if res := allow("refund", 10); res.Allowed != 10 || res.RetryAfter != -1 {
		t.Fatalf("10 of 10: %+v, want 10 and a wait of -1", res)
	}
	if res := allow("refund", -10); res.Remaining != 10 {
		t.Errorf("giving back 10: %+v, no longer says that 10 remain", res)
	}
	if res := allow("refund", 1); res.Allowed != 0 {
		t.Errorf("after giving back 10: %+v, no longer refused", res)
	}
	if res := allow("large", 11); res.Allowed != 0 || res.RetryAfter <= 0 {
		t.Errorf("11 of 10: %+v, no longer told to wait", res)
	}
}
