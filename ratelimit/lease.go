package ratelimit

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// LeasingOptions configures a [LeasingStore]. Nil means all defaults.
type LeasingOptions struct {
	// Share bounds what a node holds of a limit to one Share-th of its quota, and
	// is the part of a token bucket's Burst that is spared; 2 or more, the default
	// is 16. A limit of which fewer than 2 units may be held is not leased, and
	// nothing of it is spared.
	Share int64
	// MaxLeases bounds of how many combinations of a subject and a limit units
	// are held at once, at some 300 bytes each: 256 or more, 0 for 65536. When more
	// are asked for, what another subject holds is returned to make room.
	MaxLeases int
	// Now tells the time. The default counts monotonic time, and notices when
	// the machine was suspended.
	Now func() time.Time
}

const (
	defaultShare  = 16
	defaultLeases = 1 << 16
	bookBytes     = 16 << 20 // remembered settlements
)

// drift is the shift by which this node's clock is taken to be fast: one part in
// 1024 is more than two clocks ever run apart that keep time at all.
const drift = 10

// A LeasingStore is a [Store] around another that all nodes of a fleet share. It
// takes several units a trip and spends them in this process's memory, so most
// decisions about a busy subject need no trip. What all nodes together let pass
// is never more than the limits admit; the source has the proof beside the type
// that holds the units.
//
// # What it costs
//
// Units that one node holds are not free for the others. A fleet may be refused
// while up to Units of a limit are unused at each node, and under a token bucket
// one Share-th of its Burst beside: the store is asked for a bucket that is so
// much smaller, because it refills what is held as if it had been used. A cost
// above what is left of the Burst never passes. Give the limit a Burst larger by
// that if it matters.
//
// A node takes no more than it has lately used: one unit at first, twice as many
// each time they were gone in less than half of their life, and no more than were
// used when some died. Held units of a token bucket live for as long as one
// Share-th of its Burst takes to refill, those of a window until it ends. They
// are returned when a larger cost needs them, at the next trip after they died,
// to make room for another subject, and by Close; the store takes back what time
// has not yet. When a node dies its units come back as used ones do.
//
// # What is leased
//
// Takes under token buckets, fixed, sliding and calendar windows, by costs up to
// what may be held. A request with any other limit or cost goes to the inner
// store as a whole; when that refuses, after what is held of its combinations was
// returned once more. So do takes of up to n units that ask for more than is
// held, charges, renewals and releases. Several subjects are leased one after the
// other and spent all or none, in memory. When one of them is refused nothing is
// spent; what was fetched for the others stays held.
//
// # What the answers mean
//
// A refusal is the inner store's, of now; its RetryAfter is the least wait for
// this node, in which it counts what other nodes hold as used. Of a take that
// passes in memory, Remaining and ResetAfter are those of the node's last trip,
// brought forward by time and by what it has used since; other nodes may have
// used some meanwhile. A peek asks the inner store and adds what this node holds.
//
// A shadow limit is leased as the others are, but once it refuses a lease it is
// told as refusing until that lease would pass: of it a node may tell up to Units
// refusals too many before it lets pass again.
//
// # Settlements and resets
//
// A take that passed in memory is settled with the store that took it, by its
// [Reservation], once: what it gives back is held again, as far as time has not
// given it back. Of a window nothing comes back when it has ended, nor to a
// subject that was dropped for room or by Close. What a settlement charges is
// taken from what is held, or charged to the inner store. What is charged beyond
// a limit does not keep nodes from spending what they hold. A reset makes this
// node forget what it holds; what other nodes hold they may still spend.
//
// # Requirements
//
// The clocks of nodes and store run at the same speed, within 0.1 percent; how
// they are set does not matter. All who decide about a subject do so through
// leasing stores of the same Share, under the same limits. While nodes disagree,
// as during a rollout, what was leased under the former limit may still be spent.
//
// A LeasingStore starts no goroutine and holds no lock during a trip. Callers at
// once about one subject share a trip. It is safe for concurrent use and must not
// be copied.
type LeasingStore struct {
	inner Store
	most  int64
	share int64
	room  int // stocks in one shard
	now   func() time.Time
	base  time.Time
	skew  atomic.Int64 // microseconds that the monotonic clock has missed
	book  *MemoryStore // its shards' locks guard those here; it has the IDs and the settlements

	closed  atomic.Bool
	holders [shardCount]holders
}

var _ Store = (*LeasingStore)(nil)

// NewLeasingStore returns a store that takes up to units at a time from store,
// which must be the fleet's. Units, 2 to [MaxCount], is how many requests about a
// busy subject share a trip, and how much of a limit a node may hold unused. It
// reports everything that is wrong with its arguments in one error.
func NewLeasingStore(store Store, units int64, o *LeasingOptions) (*LeasingStore, error) {
	var opts LeasingOptions
	if o != nil {
		opts = *o
	}
	if opts.Share == 0 {
		opts.Share = defaultShare
	}
	if opts.MaxLeases == 0 {
		opts.MaxLeases = defaultLeases
	}
	f := errors.Faults{Op: "ratelimit.NewLeasingStore"}
	if store == nil {
		f.Add("store is nil; give the one that the fleet shares")
	}
	if units < 2 || units > MaxCount {
		f.Add("units is %d; give 2 to %d", units, int64(MaxCount))
	}
	if opts.Share < 2 {
		f.Add("Share is %d; give 0 (%d) or at least 2", opts.Share, defaultShare)
	}
	if opts.MaxLeases < shardCount {
		f.Add("MaxLeases is %d; give 0 (%d) or at least %d", opts.MaxLeases, defaultLeases, shardCount)
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	book, err := NewMemoryStore(&MemoryOptions{MaxBytes: bookBytes, Now: opts.Now})
	if err != nil {
		return nil, errors.Wrap(f.Op, err)
	}
	l := &LeasingStore{
		inner: store, most: units, share: opts.Share, room: opts.MaxLeases / shardCount,
		now: opts.Now, base: systemTime(), book: book,
	}
	if l.now != nil {
		l.base = l.now()
	}
	return l, nil
}

// clock returns the microseconds since the Unix epoch, by a clock that is never
// slower than the store's.
func (l *LeasingStore) clock() int64 {
	var elapsed int64
	if l.now != nil {
		elapsed = l.now().UnixMicro() - l.base.UnixMicro()
	} else {
		t := systemTime()
		elapsed = int64(t.Sub(l.base) / time.Microsecond)
		skew := l.skew.Load()
		// Setting the clock forward looks like a suspension; it only makes units end early.
		for missed := t.UnixMicro() - l.base.UnixMicro() - elapsed; missed > skew+1; skew = l.skew.Load() {
			l.skew.CompareAndSwap(skew, missed)
		}
		elapsed += skew
	}
	return l.base.UnixMicro() + elapsed + elapsed>>drift
}

// Apply implements [Store].
func (l *LeasingStore) Apply(ctx context.Context, req *Request) error {
	switch req.Mode {
	case ModeTake, ModeTakeUpTo:
		if err := ctx.Err(); err != nil {
			return err
		}
		return l.take(ctx, req)
	case ModePeek:
		return l.peek(ctx, req)
	case ModeSettle:
		if _, seq := l.book.origin(req.ID); seq != 0 {
			return l.settle(ctx, req)
		}
	case ModeReset:
		if err := l.inner.Apply(ctx, req); err != nil {
			return err
		}
		l.forget(req)
		return nil
	}
	return l.apply(ctx, req)
}

// A group is the part of a request that concerns one subject at one cost.
type group struct {
	name  [2]uint64 // 128 bits of keyed hash
	index int       // of its shard
	mu    *sync.Mutex
	cost  int64
	ops   []Op
	first int     // of the ops, in the request
	h     *holder // while its shard is locked
}

// split returns the groups of the request.
func (l *LeasingStore) split(groups []group, req *Request) []group {
	for i, n := 0, len(req.Ops); i < n; {
		j := i + 1
		for j < n && req.Ops[j].Cost == req.Ops[i].Cost && req.Ops[j].Key == req.Ops[i].Key {
			j++
		}
		g := group{cost: req.Ops[i].Cost, ops: req.Ops[i:j], first: i}
		g.name[0], g.name[1] = l.book.hash(req.Ops[i].Key)
		g.index = shardOf(g.name[1])
		g.mu = &l.book.shards[g.index].mu
		groups = append(groups, g)
		i = j
	}
	return groups
}

// take decides a ModeTake or a ModeTakeUpTo.
func (l *LeasingStore) take(ctx context.Context, req *Request) error {
	zeros := 0
	for i := range req.Ops {
		op := &req.Ops[i]
		if !op.Rule.leasable() {
			return l.direct(ctx, req)
		}
		if op.Cost == 0 {
			zeros++
		}
	}
	switch zeros {
	case 0:
	case len(req.Ops): // spends nothing
		return l.peek(ctx, req)
	default:
		return l.direct(ctx, req)
	}
	var few [fewOps]group
	groups := l.split(few[:0], req)
	if l.spend(groups, req) {
		return nil
	}
	if req.Mode == ModeTakeUpTo {
		return l.direct(ctx, req)
	}
	return l.fetch(ctx, req)
}

// spend takes every cost from what is held, if all of it is.
func (l *LeasingStore) spend(groups []group, req *Request) bool {
	if len(groups) == 1 {
		groups[0].mu.Lock()
		defer groups[0].mu.Unlock()
		return l.spendLocked(groups, req)
	}
	var order [fewOps]int
	held := l.lock(groups, order[:0])
	defer l.book.unlock(held)
	return l.spendLocked(groups, req)
}

func (l *LeasingStore) spendLocked(groups []group, req *Request) bool {
	at := l.clock()
	for i := range groups {
		g := &groups[i]
		if g.h = l.holders[g.index].of[g.name]; g.h == nil || !g.h.covers(g.ops, at) {
			return false
		}
	}
	req.Now, req.ID, req.Allowed, req.Degraded = at, ID{}, true, false
	spent := false
	for i := range groups {
		g := &groups[i]
		h := g.h
		h.used = true
		for j := range g.ops {
			op := &g.ops[j]
			s := h.find(op.Rule, j)
			if op.Rule.limit.Shadow && s.units(at) < op.Cost { // shut
				op.Outcome = s.tell(1, at)
				op.Outcome.RetryAfter = s.shut - at
				continue
			}
			op.Outcome = s.use(op.Cost, at)
			spent = true
		}
	}
	if spent {
		l.book.freshID(groups[0].index, &req.ID, at)
	}
	return true
}

// peek asks the inner store for what this node does not hold.
func (l *LeasingStore) peek(ctx context.Context, req *Request) error {
	ask := Request{Mode: ModePeek, Ops: slices.Clone(req.Ops)}
	groups := l.split(nil, req)
	held := l.held(groups, req)
	for i := range ask.Ops {
		if op := &ask.Ops[i]; op.Cost <= op.Rule.quota { // else it never passes
			op.Cost = max(op.Cost-held[i], 0)
		}
	}
	if err := l.apply(ctx, &ask); err != nil {
		return err
	}
	for i := range req.Ops {
		op := &req.Ops[i]
		op.Outcome = ask.Ops[i].Outcome
		op.add(held[i])
	}
	req.ID, req.Allowed, req.Degraded, req.Now = ID{}, ask.Allowed, ask.Degraded, ask.Now
	return nil
}

// add counts what is held as remaining.
func (op *Op) add(held int64) {
	if o := &op.Outcome; o.Remaining < op.Rule.quota {
		o.Remaining = min(o.Remaining+held, op.Rule.quota)
	}
}

// addHeld counts what this node holds as remaining.
func (l *LeasingStore) addHeld(groups []group, req *Request) {
	for i, n := range l.held(groups, req) {
		req.Ops[i].add(n)
	}
}

// held returns how much of each op is held.
func (l *LeasingStore) held(groups []group, req *Request) []int64 {
	held := make([]int64, len(req.Ops))
	for i := range groups {
		g := &groups[i]
		g.mu.Lock()
		if h := l.holders[g.index].of[g.name]; h != nil {
			at := l.clock()
			for j := range g.ops {
				if s := h.find(g.ops[j].Rule, j); s != nil && s.rule.same(g.ops[j].Rule, at) {
					held[g.first+j] = s.units(at)
				}
			}
		}
		g.mu.Unlock()
	}
	return held
}
