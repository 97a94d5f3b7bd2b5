package ratelimit

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// Options configures a [Limiter]. Nil means all defaults.
type Options struct {
	// MaxKeyBytes is the longest key accepted: 1 or more, 0 for 1024.
	MaxKeyBytes int
	// MaxWait is the longest that [Limiter.Wait] and WaitAll wait; 0 means that
	// only their context bounds it.
	MaxWait time.Duration
	// MaxWaiters is how many may wait in line at once, over all keys; the default
	// is 10 000. Who comes when so many do and somebody waits for the same key is
	// refused at once, and where nobody does is answered as by Take.
	MaxWaiters int
}

// A Limiter decides whether costs pass. It is safe for concurrent use, and must
// be made by [NewLimiter].
type Limiter struct {
	store  Store
	memory *MemoryStore // store, when it is one
	alone  *Rule        // limits, when they are one that keeps a cell in memory
	limits Limits
	maxKey int

	maxWait    time.Duration
	maxWaiters int64
	line       line

	pool sync.Pool // of *Request
}

// NewLimiter returns a limiter that keeps its state in store and holds subjects
// to limits. The zero Limits are accepted: every [Charge] must then bring its
// own, and the verbs for one key are refused with an error. It reports everything
// that is wrong with its arguments in one error.
func NewLimiter(store Store, limits Limits, o *Options) (*Limiter, error) {
	var opts Options
	if o != nil {
		opts = *o
	}
	if opts.MaxKeyBytes == 0 {
		opts.MaxKeyBytes = 1024
	}
	if opts.MaxWaiters == 0 {
		opts.MaxWaiters = 10_000
	}
	f := errors.Faults{Op: "ratelimit.NewLimiter"}
	if store == nil {
		f.Add("store is nil; give one, such as NewMemoryStore(nil)")
	}
	if opts.MaxKeyBytes < 1 {
		f.Add("MaxKeyBytes is %d; give 0 (1024) or more", opts.MaxKeyBytes)
	}
	if opts.MaxWait < 0 {
		f.Add("MaxWait is %v; give 0 (the context's deadline alone) or more", opts.MaxWait)
	}
	if opts.MaxWaiters < 0 {
		f.Add("MaxWaiters is %d; give 0 (10000) or more", opts.MaxWaiters)
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	if opts.MaxWait == 0 {
		opts.MaxWait = math.MaxInt64
	}
	l := &Limiter{store: store, limits: limits, maxKey: opts.MaxKeyBytes, maxWait: opts.MaxWait, maxWaiters: int64(opts.MaxWaiters)}
	l.memory, _ = store.(*MemoryStore)
	if l.memory != nil && limits.Len() == 1 && limits.Rule(0).cells() {
		l.alone = limits.Rule(0)
	}
	l.pool.New = func() any { return new(Request) }
	return l, nil
}

// Take takes cost from every limit of the limiter for the subject key, or
// nothing when one of them refuses. A refusal is a [Result], not an error; an
// error means that nothing could be decided.
func (l *Limiter) Take(ctx context.Context, key string, cost int64) (res Result, err error) {
	err = l.take(ctx, key, cost, &res)
	return res, err
}

// Peek tells what [Limiter.Take] would answer, and takes nothing.
func (l *Limiter) Peek(ctx context.Context, key string, cost int64) (res Result, err error) {
	err = l.peek(ctx, key, cost, &res)
	return res, err
}

// TakeAll takes every charge, or nothing when any limit of any charge refuses,
// in one atomic step. No two charges may hold one key to limits of one name.
// The charges are not kept, except as values in the result.
func (l *Limiter) TakeAll(ctx context.Context, charges ...Charge) (res Result, err error) {
	err = l.decide(ctx, "ratelimit.TakeAll", ModeTake, charges, &res)
	return res, err
}

// PeekAll tells what [Limiter.TakeAll] would answer, and takes nothing.
func (l *Limiter) PeekAll(ctx context.Context, charges ...Charge) (res Result, err error) {
	err = l.decide(ctx, "ratelimit.PeekAll", ModePeek, charges, &res)
	return res, err
}

// TakeUpTo takes as much of most as passes every limit of the limiter, from 1
// up, and says in [Result.Taken] how much that was. When not even 1 passes it
// is refused as a Take of 1. A most of 0 passes, as a cost of 0 does.
func (l *Limiter) TakeUpTo(ctx context.Context, key string, most int64) (res Result, err error) {
	c := [1]Charge{{Key: key, Cost: most}}
	err = l.decide(ctx, "ratelimit.TakeUpTo", ModeTakeUpTo, c[:], &res)
	return res, err
}

// Refund gives back what a decision took, as far as time has not given it back
// already, and never above the quota; leases end. It acts once for each
// decision: refunding a copy, or again, or after [Limiter.Settle], changes
// nothing. The zero Reservation refunds nothing.
func (l *Limiter) Refund(ctx context.Context, r Reservation) error {
	return l.settle(ctx, "ratelimit.Refund", &r, nil)
}

// Settle brings what a decision took to what it came to: actual has one cost,
// 0 or more, for each charge of the decision, in their order. What was taken
// too much is given back as by [Limiter.Refund]; what was taken too little is
// charged whether it passes or not, so a limit may be overdrawn: it then
// refuses until the debt is back. Settle and Refund act once together for each
// decision. The zero Reservation settles nothing, nor does that of a decision
// whose costs were all 0: estimate 1 or more. A shadow limit that refused the
// estimate is not charged what it came to.
func (l *Limiter) Settle(ctx context.Context, r Reservation, actual ...int64) error {
	const op = "ratelimit.Settle"
	charges, _ := r.parts()
	if len(actual) != len(charges) && r.id != (ID{}) {
		return errors.Wrap(op, invalid("not one actual cost for each charge; give them in the order of the charges"))
	}
	for _, n := range actual {
		if n < 0 {
			return errors.Wrap(op, invalid("an actual cost is negative; give 0 or more"))
		}
	}
	return l.settle(ctx, op, &r, actual)
}

// settle settles to actual, or to nothing when that is nil.
func (l *Limiter) settle(ctx context.Context, op string, r *Reservation, actual []int64) error {
	if r.id == (ID{}) {
		return nil
	}
	req := l.request(ModeSettle)
	defer l.release(req)
	req.ID = r.id
	charges, outs := r.parts()
	at := 0 // of outs
	for i := range charges {
		c := &charges[i]
		for k := range c.Limits.Len() {
			rule, o := c.Limits.Rule(k), &outs[at]
			at++
			if rule.stateless() || !o.passed() { // counts nothing, or a shadow limit that refused it
				continue
			}
			last := Op{Rule: rule, Key: c.Key, Cost: c.Cost, Until: r.now + o.resetAfter, Rest: o.rest}
			if actual != nil {
				last.Actual = actual[i]
			}
			req.Ops = append(req.Ops, last)
		}
	}
	if len(req.Ops) == 0 {
		return nil
	}
	if err := l.store.Apply(ctx, req); err != nil {
		return errors.Wrap(op, err)
	}
	l.line.wake(req.Ops)
	return nil
}

// Renew lets the leases that the decision id took for key, of the limiter's
// [Concurrency] limits, live for one Period from now. When one of them has
// ended, nothing is renewed and the error is [ErrLapsed].
func (l *Limiter) Renew(ctx context.Context, key string, id ID) error {
	return l.RenewAll(ctx, id, Charge{Key: key})
}

// RenewAll is Renew for the leases of several subjects, which must be all those
// of the decision that are to live on; costs do not matter.
func (l *Limiter) RenewAll(ctx context.Context, id ID, charges ...Charge) error {
	return l.lease(ctx, "ratelimit.Renew", ModeRenew, id, charges)
}

// Release ends the leases that the decision id took for key, of the limiter's
// [Concurrency] limits. Leases that have ended already stay so, without an
// error.
func (l *Limiter) Release(ctx context.Context, key string, id ID) error {
	return l.ReleaseAll(ctx, id, Charge{Key: key})
}

// ReleaseAll is Release for the leases of several subjects; costs do not
// matter.
func (l *Limiter) ReleaseAll(ctx context.Context, id ID, charges ...Charge) error {
	return l.lease(ctx, "ratelimit.Release", ModeRelease, id, charges)
}

func (l *Limiter) lease(ctx context.Context, op string, mode Mode, id ID, charges []Charge) error {
	req := l.request(mode)
	defer l.release(req)
	ops, err := l.lay(req.Ops, charges)
	if err != nil {
		return errors.Wrap(op, err)
	}
	req.ID = id
	req.Ops = slices.DeleteFunc(ops, func(o Op) bool { return o.Rule.limit.Algorithm != Concurrency })
	if len(req.Ops) == 0 {
		return errors.Wrap(op, invalid("no limit of the charges is a Concurrency limit; only those have leases"))
	}
	if err := l.store.Apply(ctx, req); err != nil {
		return errors.Wrap(op, err)
	}
	if mode == ModeRenew && !req.Allowed {
		return errors.Wrap(op, ErrLapsed)
	}
	l.line.wake(req.Ops)
	return nil
}

// Reset forgets what the subject key used of the limiter's limits.
func (l *Limiter) Reset(ctx context.Context, key string) error {
	return l.ResetAll(ctx, Charge{Key: key})
}

// ResetAll forgets what each charge's subject used of its limits; costs do not
// matter.
func (l *Limiter) ResetAll(ctx context.Context, charges ...Charge) error {
	req := l.request(ModeReset)
	defer l.release(req)
	ops, err := l.lay(req.Ops, charges)
	if err != nil {
		return errors.Wrap("ratelimit.Reset", err)
	}
	if req.Ops = stateful(ops); len(req.Ops) == 0 {
		return nil
	}
	if err := l.store.Apply(ctx, req); err != nil {
		return errors.Wrap("ratelimit.Reset", err)
	}
	l.line.wake(req.Ops)
	return nil
}

// take is Take, which is so small that its callers have the result where they
// want it, without copies of it on the way.
func (l *Limiter) take(ctx context.Context, key string, cost int64, res *Result) error {
	const op = "ratelimit.Take"
	if l.alone == nil || key == "" || len(key) > l.maxKey || cost < 0 {
		c := [1]Charge{{Key: key, Cost: cost}}
		return l.decide(ctx, op, ModeTake, c[:], res)
	}
	// The most common decision, without the detour over a request.
	if err := ctx.Err(); err != nil {
		return errors.Wrap(op, err)
	}
	r := &res.Reservation
	var o Outcome
	now, err := l.memory.takeCell(l.alone, key, cost, &o, &r.id)
	if err != nil {
		return errors.Wrap(op, err)
	}
	r.now, r.ncharge, r.nout, r.outs[0] = now, 1, 1, o.out()
	c := &r.charges[0]
	c.Key, c.Limits, c.Cost = key, l.limits, cost
	res.Allowed = o.RetryAfter == 0 || l.alone.limit.Shadow
	res.Limit, res.Key = l.alone.limit.Name, key
	res.Remaining, res.ResetAfter = o.Remaining, micros(o.ResetAfter)
	if !res.Allowed {
		res.RetryAfter = wait(o.RetryAfter)
	}
	return nil
}

func (l *Limiter) peek(ctx context.Context, key string, cost int64, res *Result) error {
	c := [1]Charge{{Key: key, Cost: cost}}
	return l.decide(ctx, "ratelimit.Peek", ModePeek, c[:], res)
}

// decide fills res, which must be zero, and leaves it so on an error.
func (l *Limiter) decide(ctx context.Context, op string, mode Mode, charges []Charge, res *Result) error {
	if l.memory == nil {
		return l.decidePooled(ctx, op, mode, charges, res)
	}
	// The memory store keeps nothing of a request, and the compiler sees that:
	// the request lives on the stack.
	if len(charges) == 1 {
		switch n := l.of(&charges[0]).Len(); {
		case n == 1:
			var one [1]Op
			return l.decideMemory(ctx, op, mode, charges, res, one[:0])
		case n <= 4:
			var few [4]Op
			return l.decideMemory(ctx, op, mode, charges, res, few[:0])
		}
	}
	var few [fewOps]Op
	return l.decideMemory(ctx, op, mode, charges, res, few[:0])
}

func (l *Limiter) decideMemory(ctx context.Context, op string, mode Mode, charges []Charge, res *Result, ops []Op) error {
	ops, err := l.lay(ops, charges)
	if err != nil {
		return errors.Wrap(op, err)
	}
	if l.hasStateless(charges) {
		return l.decidePooled(ctx, op, mode, charges, res)
	}
	req := Request{Mode: mode, Ops: ops}
	if err := l.memory.Apply(ctx, &req); err != nil {
		return errors.Wrap(op, err)
	}
	l.report(res, &req, charges)
	return nil
}

func (l *Limiter) decidePooled(ctx context.Context, op string, mode Mode, charges []Charge, res *Result) error {
	req := l.request(mode)
	defer l.release(req)
	ops, err := l.lay(req.Ops, charges)
	if err != nil {
		return errors.Wrap(op, err)
	}
	req.Ops = ops
	if l.hasStateless(charges) {
		err = l.decideAround(ctx, req)
	} else {
		err = l.store.Apply(ctx, req)
	}
	if err != nil {
		return errors.Wrap(op, err)
	}
	l.report(res, req, charges)
	return nil
}

func (l *Limiter) request(mode Mode) *Request {
	req := l.pool.Get().(*Request)
	req.Mode = mode
	return req
}

func (l *Limiter) release(req *Request) {
	clear(req.Ops)
	*req = Request{Ops: req.Ops[:0]}
	l.pool.Put(req)
}
