package ratelimit

import (
	"context"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// GuardOptions configures a [GuardedStore]. Nil means all defaults, which
// [Local] does not accept: it needs Nodes.
type GuardOptions struct {
	// Deadline bounds each call of the store, which must heed its context; the
	// default is 250 ms. Keep it below the deadlines of callers: a call that its
	// caller gives up says nothing about the store.
	Deadline time.Duration
	// The breaker looks at the latest Samples calls, 1 to 64; the default is 20.
	// It opens when a call fails, at least MinSamples of them were seen (default
	// 10, at most Samples) and FailurePercent of those or more failed, 1 to 100
	// (default 50).
	Samples, MinSamples, FailurePercent int
	// Cooldown is how long no call is made once the breaker is open, and after
	// each try that failed; the default is 1 s. Then one call at a time tries.
	Cooldown time.Duration
	// Probes is how many tries in a row must be good for the breaker to close; the
	// default is 3.
	Probes int
	// Nodes is how many processes share the limits, for [Local], from 1 to a
	// million: each decides by Count/Nodes and Burst/Nodes, rounded down, at least
	// 1. It has no default.
	Nodes int
	// MaxBytes bounds what [Local] keeps in memory, three quarters of it for what
	// this node uses and one quarter for what the store has still to be told: 384
	// KiB or more, 0 for 64 MiB.
	MaxBytes int64
	// Observer is told of each turn to the policy and back; nil means nobody.
	Observer Observer
	// Now tells the time of cooldowns and, for [Open] and [Local], of decisions;
	// [Local] corrects it by the store's latest. The default reads the clock
	// once, at construction, and then counts monotonic time. Deadlines are of
	// contexts, and so of the machine's clock.
	Now func() time.Time
}

// A GuardedStore is a [Store] around another one: it bounds how long the other
// may take, stops asking it while it fails, and then answers by a [Policy]. The
// section "When the store fails" of the package documentation says what holds.
// It starts no goroutine, is safe for concurrent use, and must be made by
// [NewGuardedStore].
type GuardedStore struct {
	store    Store
	policy   Policy
	deadline time.Duration
	now      func() time.Time
	breaker  breaker
	local    *local // of policy Local
	observer Observer
}

var _ Store = (*GuardedStore)(nil)

// NewGuardedStore returns a store that asks store, and answers by policy while
// that fails. It reports everything that is wrong with its arguments in one
// error.
func NewGuardedStore(store Store, policy Policy, o *GuardOptions) (*GuardedStore, error) {
	var opts GuardOptions
	if o != nil {
		opts = *o
	}
	f := errors.Faults{Op: "ratelimit.NewGuardedStore"}
	if store == nil {
		f.Add("store is nil; give the one to guard")
	}
	if _, twice := store.(*GuardedStore); twice {
		f.Add("store is a GuardedStore; guard the one inside of it")
	}
	if policy < Closed || policy > Local {
		f.Add("policy is %d; give Closed, Open or Local: there is no default", policy)
	}
	opts.fill(&f, policy)
	if err := f.Err(); err != nil {
		return nil, err
	}
	g := &GuardedStore{store: store, policy: policy, deadline: opts.Deadline, now: opts.Now, observer: opts.Observer}
	g.breaker = breaker{
		samples: opts.Samples, least: opts.MinSamples, percent: opts.FailurePercent, probes: opts.Probes,
		cooldown: opts.Cooldown.Microseconds(), since: g.clock(),
	}
	if policy == Local {
		var err error
		if g.local, err = newLocal(g, &opts); err != nil {
			return nil, errors.Wrap(f.Op, err)
		}
	}
	return g, nil
}

// fill fills in the defaults, and notes what is out of range.
func (o *GuardOptions) fill(f *errors.Faults, policy Policy) {
	number := func(name string, n *int, standard, most int) {
		if *n == 0 {
			*n = standard
		}
		if *n < 1 || *n > most {
			f.Add("%s is %d; give 0 (%d) or 1 to %d", name, *n, standard, most)
		}
	}
	number("Samples", &o.Samples, 20, 64)
	seen := min(max(o.Samples, 1), 64)
	number("MinSamples", &o.MinSamples, min(10, seen), seen)
	number("FailurePercent", &o.FailurePercent, 50, 100)
	number("Probes", &o.Probes, 3, 1<<20)
	span := func(name string, d *time.Duration, standard time.Duration) {
		if *d == 0 {
			*d = standard
		}
		if *d < time.Microsecond || *d > MaxPeriod {
			f.Add("%s is %v; give 0 (%v) or 1µs to %v", name, *d, standard, MaxPeriod)
		}
	}
	span("Deadline", &o.Deadline, 250*time.Millisecond)
	span("Cooldown", &o.Cooldown, time.Second)
	if policy == Local && (o.Nodes < 1 || o.Nodes > 1<<20) {
		f.Add("Nodes is %d; give the number of processes that share the limits, 1 to %d: there is no default", o.Nodes, 1<<20)
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = defaultBytes
	}
	if least := int64(4 * minBytes); o.MaxBytes < least {
		f.Add("MaxBytes is %d; give 0 (64 MiB) or at least %d", o.MaxBytes, least)
	}
	if o.Observer == nil {
		o.Observer = NewSlogObserver(nil)
	}
	if o.Now == nil {
		started := systemTime()
		o.Now = func() time.Time { return started.Add(time.Since(started)) } //nolint:forbidigo // monotonic: part of the default clock
	}
}

// clock reads this node's clock, in microseconds since the Unix epoch.
func (g *GuardedStore) clock() int64 { return g.now().UnixMicro() }

// Apply implements [Store]. What is not a decision, such as a settlement, is
// under Closed and Open an error while the store fails, and may be repeated.
func (g *GuardedStore) Apply(ctx context.Context, req *Request) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	req.Degraded = false
	if g.local != nil {
		return g.local.apply(ctx, req)
	}
	id, most := req.ID, req.Ops[0].Cost
	down, err := g.ask(ctx, req)
	if !down {
		return err
	}
	if g.policy == Open {
		req.ID = id
		restore(req, most)
		return g.letPass(req, err)
	}
	return g.refuse(err)
}

// ask has the store carry out req. Down says that it failed to, or is not asked
// now, with the reason: it may have done it all the same. Any other error is an
// answer, or says nothing about the store: that it is full, that the request is
// wrong, that the caller gave up.
func (g *GuardedStore) ask(ctx context.Context, req *Request) (down bool, err error) {
	epoch, err := g.breaker.enter(g.clock)
	if err != nil {
		return true, err
	}
	v := nothing
	defer func() {
		if g.breaker.leave(epoch, v, err, g.clock) {
			g.tell(ctx)
		}
	}()
	limited, cancel := context.WithTimeout(ctx, g.deadline)
	defer cancel()
	err = g.store.Apply(limited, req)
	switch {
	case err == nil, errors.Is(err, ErrFull):
		v = answered
	case ctx.Err() != nil:
		err = ctx.Err()
	case errors.CodeOf(err) != errors.Invalid:
		v = failed
	}
	return v == failed, err
}

// tell tells the observer of the turns that it was not told of.
func (g *GuardedStore) tell(ctx context.Context) {
	tellOne := func() bool {
		t, ok := g.breaker.next()
		if !ok {
			return false
		}
		defer g.breaker.told()
		t.Policy = g.policy
		if g.local != nil {
			t.Owing = int(g.local.owing.Load())
		}
		g.observer.StoreTurned(ctx, t)
		return true
	}
	for more := true; more; {
		more = tellOne()
	}
}

// restore undoes what a store that failed may have done to the costs.
func restore(req *Request, most int64) {
	if req.Mode == ModeTakeUpTo {
		for i := range req.Ops {
			req.Ops[i].Cost = most
		}
	}
}

// refuse returns the error of a policy that cannot or will not answer.
func (g *GuardedStore) refuse(cause error) error {
	g.breaker.refused.Add(1)
	return &errors.Error{
		Code: errors.Unavailable, Op: "ratelimit.GuardedStore",
		Msg: "the store of the rate limits does not answer, and the policy is " + g.policy.String() + "; try again later",
		Err: cause,
	}
}

// letPass answers by Open: as a store that knows nothing of the subjects.
func (g *GuardedStore) letPass(req *Request, cause error) error {
	switch req.Mode {
	case ModeTake, ModeTakeUpTo, ModePeek:
	case ModeRenew:
		req.Allowed, req.Degraded, req.Now = true, true, g.clock()
		return nil
	case ModeRelease:
		if req.ID == (ID{}) { // Open gave it out
			req.Degraded = true
			return nil
		}
		return g.refuse(cause)
	default:
		return g.refuse(cause)
	}
	req.ID, req.Allowed, req.Degraded, req.Now = ID{}, true, true, g.clock()
	for i := range req.Ops {
		if op := &req.Ops[i]; req.Mode == ModeTakeUpTo && !op.Rule.Shadow() {
			restore(req, min(req.Ops[0].Cost, op.Rule.quota))
		}
	}
	for i := range req.Ops {
		op := &req.Ops[i]
		op.Outcome = Outcome{}
		if op.Cost > op.Rule.quota {
			op.Outcome.RetryAfter = never
			req.Allowed = req.Allowed && op.Rule.Shadow()
		}
	}
	g.breaker.count(req)
	return nil
}
