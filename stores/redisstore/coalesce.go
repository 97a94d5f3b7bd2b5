package redisstore

import (
	"container/list"
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Of one coalescing client.
const (
	lanes   = 4  // calls or pipelines that are on their way at once, while others wait
	longest = 64 // calls of one pipeline
)

// Coalesced is [GoRedis] for many callers at once: those that would wait for
// four others to be answered go together, up to 64 in one pipeline. A caller who
// is alone waits for nobody. Each has the error of its own call, and leaves when
// its context is over; what is on its way by then may still be carried out, and a
// pipeline goes on until the last of its callers has left. In a cluster every
// pipeline is split by server.
func Coalesced(client redis.UniversalClient) Client {
	return &coalesced{goRedis: goRedis{client}}
}

type coalesced struct {
	goRedis

	mu      sync.Mutex
	busy    int
	waiting list.List // of *ride, for as long as their callers wait
}

// A ride is a call that waits for others.
type ride struct {
	ctx  context.Context // of a call that is still running
	cmd  *once
	left error // why it was not sent
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
	cmd.piped = true
	r := &ride{ctx: ctx, cmd: cmd, done: make(chan struct{})}
	place := c.waiting.PushBack(r)
	c.mu.Unlock()
	select {
	case <-r.done:
		if r.left != nil {
			return "", r.left
		}
		return cmd.Result()
	case <-ctx.Done():
		c.mu.Lock()
		defer c.mu.Unlock()
		c.waiting.Remove(place) // if it still waits: nobody piles up behind a server that hangs
		return "", ctx.Err()
	}
}

// next lets those who wait have the lane, until nobody waits.
func (c *coalesced) next(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting.Len() == 0 {
		c.busy--
		return
	}
	ctx = context.WithoutCancel(ctx)
	go c.drive(ctx)
}

func (c *coalesced) drive(ctx context.Context) {
	var together []*ride
	for {
		together = c.board(together[:0])
		if len(together) == 0 {
			return
		}
		c.ride(ctx, together)
		for _, r := range together {
			close(r.done)
		}
	}
}

// ride sends one pipeline, which lasts no longer than the last caller waits: a
// server that hangs keeps the lane until then.
func (c *coalesced) ride(ctx context.Context, together []*ride) {
	p := c.client.Pipeline()
	var until time.Time
	bounded := true
	for _, r := range together {
		if r.left = r.ctx.Err(); r.left != nil {
			continue
		}
		_ = p.Process(ctx, r.cmd)
		deadline, ok := r.ctx.Deadline()
		if bounded = bounded && ok; deadline.After(until) {
			until = deadline
		}
	}
	if bounded {
		bound, cancel := context.WithDeadline(ctx, until)
		defer cancel()
		ctx = bound
	}
	_, _ = p.Exec(ctx) // each command has its error
}

// board appends those who go next, the first who came; or lets go of the lane.
func (c *coalesced) board(together []*ride) []*ride {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(together) < longest && c.waiting.Len() > 0 {
		r, _ := c.waiting.Remove(c.waiting.Front()).(*ride) // nothing else is in the list
		together = append(together, r)
	}
	if len(together) == 0 {
		c.busy--
	}
	return together
}
