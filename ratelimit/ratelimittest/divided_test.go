package ratelimittest

import (
	"context"
	"runtime"
	"testing"

	"github.com/keytoll/keytoll/ratelimit"
)

// A parted store takes several ops one after the other, and gives back what it
// took when one is refused, unless it is told to keep it.
type parted struct {
	*plain
	keeps bool
}

func (parted) Divided() bool { return true }

func (p parted) Apply(ctx context.Context, req *ratelimit.Request) error {
	if req.Mode != ratelimit.ModeTake || len(req.Ops) == 1 {
		return p.plain.Apply(ctx, req)
	}
	req.Allowed, req.ID = true, ratelimit.ID{}
	for i := range req.Ops {
		one := ratelimit.Request{Mode: req.Mode, Ops: req.Ops[i : i+1]}
		if err := p.plain.Apply(ctx, &one); err != nil {
			return err
		}
		runtime.Gosched() // here the others come in between
		req.ID, req.Now = one.ID, one.Now
		if req.Allowed = one.Allowed; req.Allowed {
			continue
		}
		req.ID = ratelimit.ID{}
		back := ratelimit.Request{Mode: ratelimit.ModeSettle, ID: ratelimit.ID{14: 1}}
		for _, op := range req.Ops[:i] {
			op.Until, op.Rest = one.Now+op.Outcome.ResetAfter, op.Outcome.Rest
			back.Ops = append(back.Ops, op)
		}
		p.mu.Lock()
		p.seq++ // an ID of its own
		back.ID[0], back.ID[1], back.ID[2] = byte(p.seq), byte(p.seq>>8), byte(p.seq>>16)
		p.mu.Unlock()
		if i == 0 || p.keeps {
			return nil
		}
		return p.plain.Apply(ctx, &back)
	}
	return nil
}

// A store that cannot decide about several keys in one step may refuse more than
// one step would, but keeps nothing of what it refused.
func TestDividedStores(t *testing.T) {
	t.Parallel()
	if err := allOrNoneAtOnce(t.Context(), parted{plain: openPlain(flaw{})}); err != nil {
		t.Errorf("one that gives back is rejected: %v", err)
	}
	if err := allOrNoneAtOnce(t.Context(), parted{plain: openPlain(flaw{}), keeps: true}); err == nil {
		t.Error("one that keeps what it refused is accepted")
	}
	if err := refusedChangesNothing(t.Context(), parted{plain: openPlain(flaw{}), keeps: true}); err == nil {
		t.Error("one that keeps what it refused is accepted by itself")
	}
}
