package ratelimit

import (
	"context"
	"hash/maphash"
	"sync"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// BlockedOptions configures a [BlockedStore]. Nil means all defaults.
type BlockedOptions struct {
	// MaxEntries bounds how many states are remembered, of 200 bytes each: 64 or
	// more, 0 for 65536. Beyond it any of them is forgotten, which costs a call
	// and nothing else.
	MaxEntries int
	// Now tells the time, of which only differences count. The default is
	// monotonic.
	Now func() time.Time
}

// A BlockedStore is a [Store] in front of another that answers in process what
// the other would refuse: while a limit is used up, whoever keeps asking costs
// no call. It never lets anything pass by itself.
//
// It remembers, from each refusal of the other store, what was used. Others may
// have used more since, which refuses all the more; so what is remembered can
// only be wrong when something was given back. What is given back, charged or
// forgotten through this BlockedStore is forgotten here at once. What another
// process gives back is felt after the bound given to [NewBlockedStore] at the
// latest. Time counts from before the refused call was sent, so that an answer
// from memory ends too early rather than too late.
//
// A smaller cost that may pass, and a limit whose definition differs in
// anything, ask the other store. RetryAfter is that of the very cost asked for.
// Of the limits that did not refuse, an answer from memory says what the last
// refusal said.
//
// It starts no goroutine, is safe for concurrent use and must not be copied.
type BlockedStore struct {
	store  Store
	bound  int64 // microseconds
	now    func() time.Time
	base   time.Time // what the monotonic clock counts from
	seeds  [2]maphash.Seed
	most   int // entries of one shard
	shards [blockedShards]blockedShard
}

const blockedShards = 64

type blockedShard struct {
	mu      sync.Mutex
	entries map[[2]uint64]refusal
	changes uint64 // how often an entry was dropped because its state changed
}

// A refusal is what one op of a refused request told.
type refusal struct {
	rule    *Rule
	cell    Cell    // what was used, where the outcome tells it
	outcome Outcome // what was told
	cost    int64
	sent    int64 // local time before the call, in microseconds
	decided int64 // the store's time of the decision
}

// NewBlockedStore returns a store that answers from what store refused lately.
// The bound is the longest that a refusal may outlive what another process gave
// back, from 1 microsecond to an hour; a second is a fair choice. It reports
// everything that is wrong with its arguments in one error.
func NewBlockedStore(store Store, bound time.Duration, o *BlockedOptions) (*BlockedStore, error) {
	var opts BlockedOptions
	if o != nil {
		opts = *o
	}
	if opts.MaxEntries == 0 {
		opts.MaxEntries = 1 << 16
	}
	f := errors.Faults{Op: "ratelimit.NewBlockedStore"}
	if store == nil {
		f.Add("store is nil; give the one to ask when nothing is remembered")
	}
	if bound < time.Microsecond || bound > time.Hour {
		f.Add("bound is %v; give how long a refusal may outlive what another process gave back, from 1µs to 1h", bound)
	}
	if opts.MaxEntries < blockedShards {
		f.Add("MaxEntries is %d; give 0 (65536) or at least %d", opts.MaxEntries, blockedShards)
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	return &BlockedStore{
		store: store, bound: bound.Microseconds(), now: opts.Now, base: systemTime(),
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		most:  opts.MaxEntries / blockedShards,
	}, nil
}

// Apply implements [Store].
func (b *BlockedStore) Apply(ctx context.Context, req *Request) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var room [fewOps]memory
	notes := b.find(room[:0], req)
	if req.Mode != ModeTake && req.Mode != ModeTakeUpTo && req.Mode != ModePeek {
		defer b.forget(notes) // also after an error or a panic: the change may have been made
		return b.store.Apply(ctx, req)
	}
	sent := b.micros()
	if b.refuses(req, notes, sent) {
		return nil
	}
	err := b.store.Apply(ctx, req)
	switch {
	case err != nil || req.Allowed && req.Mode != ModePeek:
		b.forget(notes) // what was remembered is out of date, or may be
	case !req.Allowed && !req.Degraded:
		b.remember(req, notes, sent)
	}
	return err
}

// micros reads the local clock.
func (b *BlockedStore) micros() int64 {
	if b.now != nil {
		return b.now().UnixMicro()
	}
	return int64(time.Since(b.base) / time.Microsecond) //nolint:forbidigo // monotonic: the default clock
}

// A memory is where the state of one op is remembered, and what was there when
// the request came.
type memory struct {
	shard   *blockedShard
	at      [2]uint64
	refusal refusal
	known   bool
	changes uint64 // of the shard
}

// find appends the memory of each op.
func (b *BlockedStore) find(notes []memory, req *Request) []memory {
	for i := range req.Ops {
		op := &req.Ops[i]
		w0, w1 := maphash.String(b.seeds[0], op.Key), maphash.String(b.seeds[1], op.Key)
		n := memory{shard: &b.shards[w0%blockedShards], at: [2]uint64{w0, w1 ^ op.Rule.tag}}
		n.shard.mu.Lock()
		n.refusal, n.known = n.shard.entries[n.at]
		n.changes = n.shard.changes
		n.shard.mu.Unlock()
		notes = append(notes, n)
	}
	return notes
}

// refuses answers the request when something remembered refuses it and nothing
// about it is unknown.
func (b *BlockedStore) refuses(req *Request, notes []memory, local int64) bool {
	var room [fewOps]Outcome
	outcomes := room[:0]
	refused, decided := false, int64(0)
	for i := range req.Ops {
		op, r := &req.Ops[i], &notes[i].refusal
		elapsed := local - r.sent
		if !notes[i].known || elapsed < 0 || elapsed >= b.bound || r.rule != op.Rule && r.rule.limit != op.Rule.limit {
			return false
		}
		o, ok := r.answer(req.least(op), elapsed)
		if !ok {
			return false
		}
		outcomes = append(outcomes, o)
		decided = max(decided, r.decided+elapsed)
		refused = refused || o.RetryAfter != 0 && !op.Rule.limit.Shadow
	}
	if !refused {
		return false
	}
	req.Allowed, req.Degraded, req.ID, req.Now = false, false, ID{}, decided
	for i := range req.Ops {
		op := &req.Ops[i]
		op.Cost, op.Outcome = req.least(op), outcomes[i]
	}
	return true
}

// least returns the cost that must pass for the request to pass.
func (req *Request) least(op *Op) int64 {
	if req.Mode == ModeTakeUpTo {
		return min(op.Cost, 1)
	}
	return op.Cost
}

// answer says what the refusal tells of a cost some time later; false when it
// tells nothing.
func (r *refusal) answer(cost, elapsed int64) (Outcome, bool) {
	if r.cell != (Cell{}) {
		return r.rule.Peek(r.cell, cost, r.decided+elapsed), true
	}
	o := r.outcome
	switch {
	case o.RetryAfter == 0 && cost <= o.Remaining: // passed, and may still pass
	case cost != r.cost || o.RetryAfter > 0 && o.RetryAfter <= elapsed:
		return Outcome{}, false
	case o.RetryAfter > 0:
		o.RetryAfter -= elapsed
	}
	o.ResetAfter = max(o.ResetAfter-elapsed, 0)
	o.Rest = 0
	return o, true
}

// stateOf returns the state that a refusal's outcome tells of, or the zero one
// when it does not say enough: a token bucket's debt is what ResetAfter pays, a
// window's use is what does not remain.
func (r *Rule) stateOf(o Outcome, cost, now int64) Cell {
	c := Cell{At: now, Expires: now + o.ResetAfter}
	switch r.limit.Algorithm {
	case TokenBucket:
		if o.RetryAfter <= 0 || o.RetryAfter == o.ResetAfter { // the debt may be larger, and forgotten before it is paid
			return Cell{}
		}
		c.Used, c.Part = r.repaid(o.ResetAfter, o.Rest)
		if r.exceeds(c.Used, c.Part) {
			c.Used = -c.Used
		}
	case FixedWindow, Calendar:
		c.Used, c.Part = r.quota-o.Remaining, r.window(now).start
	default:
		return Cell{}
	}
	if o.ResetAfter == 0 || r.Peek(c, cost, now) != o { // nothing used, or seen at a time after now
		return Cell{}
	}
	return c
}

// remember notes what the refused request told, except of states that were
// dropped since it was sent: its refusal may be from before that.
func (b *BlockedStore) remember(req *Request, notes []memory, sent int64) {
	for i := range req.Ops {
		op, n := &req.Ops[i], &notes[i]
		r := refusal{
			rule: op.Rule, cell: op.Rule.stateOf(op.Outcome, op.Cost, req.Now), outcome: op.Outcome,
			cost: op.Cost, sent: sent, decided: req.Now,
		}
		n.shard.mu.Lock()
		if n.shard.changes == n.changes {
			n.shard.put(n.at, r, b.most)
		}
		n.shard.mu.Unlock()
	}
}

// put requires that the shard is locked.
func (sh *blockedShard) put(at [2]uint64, r refusal, most int) {
	if sh.entries == nil {
		sh.entries = make(map[[2]uint64]refusal)
	}
	if _, ok := sh.entries[at]; !ok && len(sh.entries) >= most {
		for other := range sh.entries { // any: forgetting a refusal is always safe
			delete(sh.entries, other)
			break
		}
	}
	sh.entries[at] = r
}

// forget drops what is remembered of these states.
func (b *BlockedStore) forget(notes []memory) {
	for i := range notes {
		n := &notes[i]
		n.shard.mu.Lock()
		delete(n.shard.entries, n.at)
		n.shard.changes++
		n.shard.mu.Unlock()
	}
}
