package redisstore

import (
	"context"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Of one coalescing client.
const (
	lanes   = 4  // calls or pipelines that are on their way at once, while others wait
	longest = 64 // calls of one pipeline
)

// Coalesced is [GoRedis] for many callers at once: those that would wait for
// two others to be answered go together, up to 64 in one pipeline. A caller who
// is alone waits for nobody. Each has the error of its own call, and leaves when
// its context is over; what is on its way by then may still be carried out. In a
// cluster every pipeline is split by server.
func Coalesced(client redis.UniversalClient) Client {
	return &coalesced{goRedis: goRedis{client}}
}

type coalesced struct {
	goRedis

	mu      sync.Mutex
	busy    int
	waiting []*ride
}

// A ride is a call that waits for others.
type ride struct {
	ctx  context.Context // of a call that is still running
	cmd  *redis.StringCmd
	done chan struct{}
}

func (c *coalesced) EvalSHA(ctx context.Context, hash string, keys []string, arg string) (string, error) {
	cmd := c.command(ctx, "evalsha", hash, keys, arg)
	c.mu.Lock()
	if c.busy < lanes {
		c.busy++
		c.mu.Unlock()
		defer c.next(ctx)
		_ = c.client.Process(ctx, cmd) // cmd has the error
		return cmd.Result()
	}
	r := &ride{ctx, cmd, make(chan struct{})}
	c.waiting = append(c.waiting, r)
	c.mu.Unlock()
	select {
	case <-r.done:
		return cmd.Result()
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// next lets those who wait have the lane, until nobody waits.
func (c *coalesced) next(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) == 0 {
		c.busy--
		return
	}
	ctx = context.WithoutCancel(ctx)
	go c.drive(ctx)
}

func (c *coalesced) drive(ctx context.Context) {
	var together []*ride
	for {
		c.mu.Lock()
		n := min(len(c.waiting), longest)
		if n == 0 {
			c.busy--
			c.mu.Unlock()
			return
		}
		together = append(together[:0], c.waiting[:n]...)
		c.waiting = append(c.waiting[:0], c.waiting[n:]...)
		c.mu.Unlock()
		p := c.client.Pipeline()
		for _, r := range together {
			if r.ctx.Err() == nil {
				_ = p.Process(ctx, r.cmd)
			}
		}
		_, _ = p.Exec(ctx) // each command has its error
		for _, r := range together {
			close(r.done)
		}
	}
}
