package ratelimit

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// A local answers for a store that fails, by this node's share of each limit.
// While the store answers, what this node takes is noted here as well; what is
// taken here is charged to the store before it decides about the subject again.
//
// Both sides give out IDs. One of this side is told by its second half, which no
// store that draws its IDs has by chance.
type local struct {
	ledger

	guard *GuardedStore
	nodes int64
	used  *MemoryStore // what this node has in use, by its shares
	ahead atomic.Int64 // of this node's clock: the store's, as of its latest answer
	node  uint64       // second half of the IDs given out here
	salt  uint64       // hides the first half
	last  atomic.Uint64
	pool  sync.Pool // of *Request

	shares sync.Map // *Rule to *Rule
	kept   atomic.Int64

	source Rule    // a charge of 1 under it has an ID, and is back at once
	once   [5]Rule // each lets a subject take once in its Period; these ascend
}

// mostShares bounds how many rules are remembered with their shares: programs
// that make new ones for each decision must not fill the memory.
const mostShares = 4096

const day = 24 * time.Hour

// guardMark is the part of the second half that the IDs of all nodes have.
const guardMark = 0x6b74_6775_6172_0000 // "ktguar"

func newLocal(g *GuardedStore, o *GuardOptions) (l *local, err error) {
	l = &local{guard: g, nodes: int64(o.Nodes)}
	l.ledger.open(o.MaxBytes / 4)
	l.pool.New = func() any { return new(Request) }
	l.used, err = NewMemoryStore(&MemoryOptions{
		MaxBytes: o.MaxBytes / 4 * 3,
		Now:      func() time.Time { return time.UnixMicro(l.clock()) },
	})
	if err != nil {
		return nil, err
	}
	var random uint64
	l.salt, random = l.used.hash("")
	l.node = guardMark | random&0xffff
	l.source = compile(Limit{Name: "guard.id", Count: 1 << 30, Period: time.Second})
	for i, long := range [len(l.once)]time.Duration{time.Minute, time.Hour, day, 40 * day, MaxPeriod} {
		l.once[i] = compile(Limit{Name: "guard.settled", Count: 1, Period: long})
	}
	return l, nil
}

// clock tells the store's time, as far as it is known.
func (l *local) clock() int64 { return l.guard.clock() + l.ahead.Load() }

// follow sets the clock by a time that the store told. Reading it exactly is
// not worth a write that all cores see.
func (l *local) follow(now int64) {
	if d := now - l.guard.clock(); now > 0 && max(d-l.ahead.Load(), l.ahead.Load()-d) > 1000 {
		l.ahead.Store(d)
	}
}

// share returns this node's part of a rule.
func (l *local) share(r *Rule) *Rule {
	if v, ok := l.shares.Load(r); ok {
		if s, ok := v.(*Rule); ok {
			return s
		}
	}
	part := r.limit
	part.Count = max(part.Count/l.nodes, 1)
	if part.Algorithm == TokenBucket {
		part.Burst = max(part.Burst/l.nodes, 1)
		if !fills(part) {
			part.Burst = min(part.Burst, part.Count)
		}
	}
	s := compile(part)
	if l.kept.Add(1) > mostShares {
		l.shares.Clear()
		l.kept.Store(1)
	}
	l.shares.Store(r, &s)
	return &s
}

// request returns a request to the node's own store; it goes back by release.
func (l *local) request(m Mode, id ID) *Request {
	req, ok := l.pool.Get().(*Request)
	if !ok {
		req = new(Request)
	}
	req.Mode, req.ID = m, id
	return req
}

func (l *local) release(req *Request) {
	clear(req.Ops)
	*req = Request{Ops: req.Ops[:0]}
	l.pool.Put(req)
}

// add appends op to a request to the node's own store.
func (l *local) add(req *Request, op *Op) {
	req.Ops = append(req.Ops, *op)
	last := &req.Ops[len(req.Ops)-1]
	last.Rule, last.Outcome = l.share(op.Rule), Outcome{}
}

// do carries out a request on the node's own store, whether or not the caller
// is still there: the books must not stay half done.
func (l *local) do(ctx context.Context, req *Request) error {
	err := l.used.Apply(ctx, req)
	if err != nil && ctx.Err() != nil {
		return l.used.Apply(context.WithoutCancel(ctx), req)
	}
	return err
}

func (l *local) apply(ctx context.Context, req *Request) error {
	switch req.Mode {
	case ModeSettle:
		return l.settle(ctx, req)
	case ModeRenew:
		return l.renew(ctx, req)
	case ModeRelease:
		return l.giveUp(ctx, req)
	case ModeReset:
		return l.reset(ctx, req)
	}
	most := req.Ops[0].Cost
	for try := 0; ; try++ {
		epoch := l.guard.breaker.epoch.Load()
		paid, err := l.pay(ctx, req.Ops)
		if err != nil {
			return err
		}
		if paid {
			down, err := l.guard.ask(ctx, req)
			if !down {
				if err == nil {
					l.note(ctx, req)
				}
				return err
			}
		}
		restore(req, most)
		if err := l.answer(ctx, req); err != nil {
			return err
		}
		// The store may answer again since it was looked at, and have let others
		// take what was free here too: then it decides.
		if paid || try > 0 || req.ID == (ID{}) || l.guard.breaker.epoch.Load() == epoch {
			break
		}
		if err := l.takeBack(ctx, req); err != nil {
			return err
		}
		restore(req, most)
	}
	if req.Mode != ModeCharge {
		l.guard.breaker.count(req)
	}
	return nil
}

// takeBack undoes what answer let pass.
func (l *local) takeBack(ctx context.Context, req *Request) error {
	back := Request{Mode: ModeSettle, ID: req.ID}
	for i := range req.Ops {
		if op := req.Ops[i]; req.took(&op) {
			op.Actual, op.Until, op.Rest = 0, req.Now+op.Outcome.ResetAfter, op.Outcome.Rest
			back.Ops = append(back.Ops, op)
		}
	}
	return l.settleOwn(ctx, &back)
}

// note notes what the store let this node take.
func (l *local) note(ctx context.Context, req *Request) {
	l.follow(req.Now)
	if req.Mode == ModePeek || req.ID == (ID{}) {
		return
	}
	n := l.request(ModeCharge, ID{})
	defer l.release(n)
	logged := false
	for i := range req.Ops {
		if op := &req.Ops[i]; req.took(op) {
			l.add(n, op)
			logged = logged || op.Rule.Logged()
		}
	}
	if len(n.Ops) == 0 || l.do(ctx, n) != nil { // no room: the share of a new subject is then whole
		return
	}
	if logged {
		l.remember(req, n.ID)
	}
}

// took reports whether op was taken from, by a request that took something.
func (req *Request) took(op *Op) bool {
	return op.Cost > 0 && (req.Mode == ModeCharge || op.Outcome.RetryAfter == 0)
}

// answer decides by the shares.
func (l *local) answer(ctx context.Context, req *Request) error {
	n := l.request(req.Mode, ID{})
	defer l.release(n)
	for i := range req.Ops {
		l.add(n, &req.Ops[i])
	}
	if err := l.do(ctx, n); err != nil {
		return l.guard.refuse(err)
	}
	for i := range req.Ops {
		op, o := &req.Ops[i], n.Ops[i].Outcome
		if o.RetryAfter == never && op.Cost <= op.Rule.quota {
			o.RetryAfter = l.guard.breaker.cooldown // the share never has it free, the store may
		}
		op.Outcome, op.Cost = o, n.Ops[i].Cost
	}
	req.Allowed, req.Now, req.ID, req.Degraded = n.Allowed, n.Now, ID{}, true
	if n.ID != (ID{}) {
		id := l.newID(n.Now)
		if !l.owe(ctx, id, n.ID, req) {
			req.Allowed = false
			return l.guard.refuse(ErrFull)
		}
		req.ID = id
	}
	return nil
}

// inUse returns how much of a rule this node has in use of the subject, rounded
// up, and at least that where it was overdrawn.
func (l *local) inUse(ctx context.Context, r *Rule, key string) int64 {
	n := l.request(ModePeek, ID{})
	defer l.release(n)
	l.add(n, &Op{Rule: r, Key: key})
	if l.do(ctx, n) != nil {
		return MaxCount
	}
	s, o := n.Ops[0].Rule, n.Ops[0].Outcome
	switch {
	case o.Remaining > 0:
		return s.quota - o.Remaining
	case s.limit.Algorithm != TokenBucket:
		return MaxCount
	}
	used, part := s.repaid(o.ResetAfter, o.Rest)
	if part > 0 {
		used++
	}
	return used
}
