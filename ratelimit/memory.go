package ratelimit

import (
	"context"
	"hash/maphash"
	"slices"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// MemoryOptions configures a [MemoryStore]. Nil means all defaults.
type MemoryOptions struct {
	// MaxBytes bounds the memory of all tracked state: 96 KiB or more; the default
	// is 64 MiB, which tracks about 1.6 million subjects under one limit each.
	// When no more fits and a short sweep finds nothing that has expired,
	// decisions about subjects that are not tracked yet fail with ErrFull, while
	// tracked ones go on: forgetting a subject early would hand it a fresh quota.
	// Refunds are remembered in the same memory, at best 128 in the room of one
	// subject, but never in its last eighth: there they fail with ErrFull, change
	// nothing and may be tried again.
	//
	// A subject under one limit takes 40 to 46 bytes once there are thousands,
	// and up to 80 more where a count goes beyond 2.7e11, a period beyond half a
	// year, or the life of the store beyond two. Under a SlidingLog or
	// Concurrency limit it takes those 80 more, and 32 to 40 for each take that
	// counts. A subject has room for the state of 104 limits of different names,
	// in a store of 8 MiB or more for that of 3328.
	MaxBytes int64
	// Now tells the time. The default reads the clock once, at construction,
	// and then counts monotonic time, so that setting the machine's clock
	// changes no decision.
	Now func() time.Time
}

const (
	defaultBytes = 64 << 20
	fewOps       = 8 // ops for which nothing is allocated
	shardBits    = 8
	shardCount   = 1 << shardBits
	minBytes     = shardCount * 384
)

// A MemoryStore is a [Store] in this process's memory. It starts no goroutine:
// state that has expired is swept in small steps as new state arrives and
// decisions are made. It is safe for concurrent use and must not be copied.
type MemoryStore struct {
	shards [shardCount]shard // first, so that each has a cache line of its own

	now   func() time.Time // nil: the monotonic clock
	start time.Time        // what the monotonic clock counts from
	base  int64            // the time at construction, in microseconds since the Unix epoch
	seeds [2]maphash.Seed
	odd   uint64 // spreads the tags of rules
	nonce [2]uint64
	bytes int64        // the most to use
	most  int          // slots of one table
	free  atomic.Int64 // of bytes
}

var _ Store = (*MemoryStore)(nil)

// NewMemoryStore returns an empty store. It reports everything that is wrong
// with o in one error.
func NewMemoryStore(o *MemoryOptions) (*MemoryStore, error) {
	var opts MemoryOptions
	if o != nil {
		opts = *o
	}
	f := errors.Faults{Op: "ratelimit.NewMemoryStore"}
	if opts.MaxBytes == 0 {
		opts.MaxBytes = defaultBytes
	}
	if opts.MaxBytes < minBytes {
		f.Add("MaxBytes is %d; give 0 (64 MiB) or at least %d", opts.MaxBytes, minBytes)
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	m := &MemoryStore{
		now:   opts.Now,
		start: systemTime(),
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		bytes: opts.MaxBytes,
	}
	m.most = int(min(max(m.bytes/slotBytes/64, leastSlots), mostSlots))
	m.base = m.start.UnixMicro()
	if m.now != nil {
		m.base = m.micros()
	}
	m.nonce[0], m.nonce[1] = m.hash("")
	m.odd = m.nonce[0] | 1
	m.free.Store(m.bytes - shardCount*(shardBytes+tableBytes+pointerBytes))
	tables, dir := make([]table, shardCount), make([]*table, shardCount)
	for i := range m.shards {
		tables[i].of, dir[i] = m, &tables[i]
		m.shards[i].dir = dir[i : i+1 : i+1]
	}
	return m, nil
}

//nolint:forbidigo // the one default clock
func systemTime() time.Time { return time.Now() }

// micros reads the store's clock, as far as states count: what is to be swept is
// known by the same time as what is in use.
func (m *MemoryStore) micros() int64 {
	if m.now != nil {
		return min(max(m.now().UnixMicro(), 0), maxNow)
	}
	return m.base + int64(time.Since(m.start)/time.Microsecond) //nolint:forbidigo // monotonic: part of the default clock
}

// hash returns 128 bits of which nobody outside the process can tell what key
// has them. One call would have 64 in truth, however many are made of them: not
// enough to tell 10^9 keys apart.
func (m *MemoryStore) hash(key string) (w0, w1 uint64) {
	return maphash.String(m.seeds[0], key), maphash.String(m.seeds[1], key)
}

// A name is what a slot keeps of the hash of a subject and a limit.
//
// Of the hash of a subject, 87 bits are used: 8 for the shard, 32 to find the
// slot and 47 to know it, so that among n subjects any two are taken for one
// with a probability below n*n/2^88: 10^-12 for ten million. The last are
// combined with as many bits of the rule's tag, which a secret odd factor
// spreads, so that two limits of one subject are taken for one with a
// probability of at most 2^-46, whoever chose their names.
type name struct{ id, rest uint64 }

func (m *MemoryStore) name(w0, w1 uint64, r *Rule) name {
	own := r.tag*m.odd>>restBits ^ w1
	return name{id: w0&^(1<<32-1) | own&(1<<32-1) | 1, rest: own >> 32 << (64 - restBits)}
}

// shardOf returns the index of the shard for a hash, from bits that no name has.
func shardOf(w1 uint64) int { return int(w1 >> (64 - shardBits)) }

// A place is where an op's state is, or would be.
type place struct {
	name
	index     int // of its shard
	slot      int // -1: absent
	was, next Cell
}

// Apply implements [Store]. It locks the shards of all subjects in ascending
// order, reads the clock under the locks, and never waits for anything else.
func (m *MemoryStore) Apply(ctx context.Context, req *Request) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	switch n := len(req.Ops); {
	case n == 1 && req.Mode == ModeTake && !req.Ops[0].Rule.Logged():
		return m.takeOne(req)
	case n <= 4:
		var places [4]place
		return m.run(req, places[:n])
	case n <= fewOps:
		var places [fewOps]place
		return m.run(req, places[:n])
	default:
		return m.run(req, make([]place, n))
	}
}

// takeOne is what decide does for a single op, the most common request.
func (m *MemoryStore) takeOne(req *Request) (err error) {
	op := &req.Ops[0]
	req.ID = ID{}
	req.Now, err = m.takeCell(op.Rule, op.Key, op.Cost, &op.Outcome, &req.ID)
	req.Allowed = err == nil && (op.Outcome.RetryAfter == 0 || op.Rule.limit.Shadow)
	return err
}

// takeCell takes cost from one cell if it passes. It sets the outcome, the id if
// something was taken, and returns the time of the decision.
func (m *MemoryStore) takeCell(r *Rule, key string, cost int64, o *Outcome, id *ID) (now int64, err error) {
	w0, w1 := m.hash(key)
	index, n := shardOf(w1), m.name(w0, w1, r)
	sh := &m.shards[index]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now = m.micros()
	t := sh.table(n.id)
	at := t.find(n)
	var c Cell
	if at >= 0 {
		c = t.cell(at)
	}
	c, *o = r.Take(c, cost, now)
	if o.RetryAfter != 0 || cost == 0 {
		return now, nil
	}
	if at >= 0 && !t.setCell(at, c, false) || at < 0 && !m.put(sh, n, c, now) {
		return now, ErrFull
	}
	m.freshID(index, id, now)
	return now, nil
}

// run locates the ops in places, of which there are as many, and carries them
// out under the locks of their shards.
func (m *MemoryStore) run(req *Request, places []place) error {
	var w0, w1 uint64
	single := true
	for i := range req.Ops {
		op, p := &req.Ops[i], &places[i]
		if i == 0 || op.Key != req.Ops[i-1].Key {
			w0, w1 = m.hash(op.Key)
		}
		p.name, p.index = m.name(w0, w1, op.Rule), shardOf(w1)
		single = single && places[0].index == p.index
	}
	origin := places[0].index
	if req.Mode == ModeSettle { // remembered where the take began
		origin, _ = m.origin(req.ID)
	}
	if single && places[0].index == origin {
		mu := &m.shards[origin].mu
		mu.Lock()
		defer mu.Unlock()
		return m.carryOut(req, places)
	}
	var order [fewOps + 1]int
	held := m.lock(places, append(order[:0], origin))
	defer m.unlock(held)
	return m.carryOut(req, places)
}

// lock locks the shards in held and those of places, each once.
func (m *MemoryStore) lock(places []place, held []int) []int {
	for i := range places {
		held = append(held, places[i].index)
	}
	slices.Sort(held)
	held = slices.Compact(held)
	for _, i := range held {
		m.shards[i].mu.Lock()
	}
	return held
}

func (m *MemoryStore) unlock(held []int) {
	for _, i := range held {
		m.shards[i].mu.Unlock()
	}
}

// carryOut requires that all shards of places are locked, and for a settlement
// that of the id's origin.
func (m *MemoryStore) carryOut(req *Request, places []place) error {
	now := m.micros()
	plain := req.Mode <= ModePeek && req.Mode != ModeTakeUpTo
	for i := range req.Ops {
		plain = plain && !req.Ops[i].Rule.Logged()
	}
	switch {
	case plain:
		return m.decide(req, places, now)
	case req.Mode == ModeSettle:
		return m.settle(req, places, now)
	default:
		return m.step(req, places, now)
	}
}

// decide is step for a take or a peek of cells alone, which needs no detour over
// their kept states.
func (m *MemoryStore) decide(req *Request, places []place, now int64) error {
	req.Now, req.Allowed, req.ID = now, true, ID{}
	for i := range places {
		op, p := &req.Ops[i], &places[i]
		m.load(p)
		p.next, op.Outcome = op.Rule.Take(p.was, op.Cost, now)
		req.Allowed = req.Allowed && (op.Outcome.RetryAfter == 0 || op.Rule.limit.Shadow)
	}
	take := req.Allowed && req.Mode == ModeTake
	changed := uint64(0)
	for i := range places {
		op := &req.Ops[i]
		switch {
		case op.Outcome.RetryAfter != 0 || op.Cost == 0:
		case take:
			changed |= 1 << i
		default:
			op.Outcome = op.Rule.Peek(places[i].was, op.Cost, now)
		}
	}
	if changed == 0 {
		return nil
	}
	if !m.save(places, changed, now) {
		req.Allowed = false
		return ErrFull
	}
	m.freshID(places[0].index, &req.ID, now)
	return nil
}

// load reads the cell of p.
func (m *MemoryStore) load(p *place) {
	t := m.shards[p.index].table(p.id)
	if p.slot, p.was = t.find(p.name), (Cell{}); p.slot >= 0 {
		p.was = t.cell(p.slot)
	}
}

// save makes next the cells of those places whose bit is set, or changes nothing
// when there is no room for one of them.
func (m *MemoryStore) save(places []place, changed uint64, now int64) bool {
	moved := false // so that the indexes of slots do not hold any more
	for i := range places {
		p := &places[i]
		sh := &m.shards[p.index]
		if changed&(1<<i) == 0 || p.next == (Cell{}) {
			continue
		}
		var ok bool
		if p.slot >= 0 && !moved {
			ok = sh.table(p.id).setCell(p.slot, p.next, false)
		} else {
			ok, moved = m.put(sh, p.name, p.next, now), true
		}
		if !ok {
			m.undo(places[:i], changed, now)
			return false
		}
	}
	for i := range places { // last, because what was removed may have no room to come back
		if p := &places[i]; changed&(1<<i) != 0 && p.next == (Cell{}) {
			m.remove(p)
		}
	}
	return true
}

// undo brings back the cells of those places whose bit is set and whose next was
// saved. What had expired, and may have been swept away, is as good as absent.
func (m *MemoryStore) undo(places []place, changed uint64, now int64) {
	for i := range places {
		p := &places[i]
		switch {
		case changed&(1<<i) == 0 || p.next == (Cell{}):
		case p.was.Expires <= now:
			m.remove(p)
		default:
			t := m.shards[p.index].table(p.id)
			t.setCell(t.find(p.name), p.was, true)
		}
	}
}

// put makes c the cell of that name, unless there is no room for it.
func (m *MemoryStore) put(sh *shard, n name, c Cell, now int64) bool {
	t := sh.table(n.id)
	if at := t.find(n); at >= 0 {
		return t.setCell(at, c, false)
	}
	if t = m.makeRoom(sh, n.id, now-m.base); t == nil {
		return false
	}
	at := t.add(slot{id: n.id, head: n.rest})
	if !t.setCell(at, c, false) {
		t.remove(at)
		return false
	}
	return true
}

func (m *MemoryStore) remove(p *place) {
	t := m.shards[p.index].table(p.id)
	if at := t.find(p.name); at >= 0 {
		t.remove(at)
	}
}
