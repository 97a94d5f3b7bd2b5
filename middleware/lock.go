package middleware

import (
	"context"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

// A lock counts what somebody does too often, in this process, in bounded memory.
type lock struct{ limiter *ratelimit.Limiter }

func newLock(limit ratelimit.Limit, memory *ratelimit.MemoryOptions) (lock, error) {
	limits, err := ratelimit.NewLimits(limit)
	if err != nil {
		return lock{}, err
	}
	store, err := ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{MaxBytes: lockMemory, Now: memory.Now})
	if err != nil {
		return lock{}, err
	}
	limiter, err := ratelimit.NewLimiter(store, limits, nil)
	return lock{limiter}, err
}

// locked returns how long the bucket is locked; 0 when it is not. A table that
// is full locks nobody: the lock spares the stores, and secrets of 128 random bits
// do not depend on it.
func (l lock) locked(ctx context.Context, bucket string) time.Duration {
	result, err := l.limiter.Peek(ctx, bucket, 1)
	if err != nil || result.Allowed {
		return 0
	}
	return result.RetryAfter
}

// count counts once more.
func (l lock) count(ctx context.Context, bucket string) {
	_, _ = l.limiter.Take(ctx, bucket, 1) // full, or locked by others meanwhile: nothing to add
}
