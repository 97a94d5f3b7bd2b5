package ratelimit

import (
	"context"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// MemoryOptions configures a [MemoryStore]. Nil means all defaults.
type MemoryOptions struct {
	// MaxBytes bounds the memory of all tracked state; the default is 64 MiB,
	// which tracks about a million subjects under one limit each. When no more
	// fits and a short sweep finds nothing that has expired, decisions about
	// subjects that are not tracked yet fail with ErrFull, while tracked ones go
	// on: forgetting a subject early would hand it a fresh quota. Refunds are
	// remembered in the same memory, at best 192 in the room of one subject, but
	// never in its last eighth: there they fail with ErrFull, change nothing and
	// may be tried again.
	MaxBytes int64
	// Now tells the time. The default reads the clock once, at construction,
	// and then counts monotonic time, so that setting the machine's clock
	// changes no decision.
	Now func() time.Time
}

const (
	defaultBytes = 64 << 20
	shardCount   = 256
	minBytes     = shardCount * firstSlots * slotBytes
)

// A MemoryStore is a [Store] in this process's memory. It starts no goroutine:
// state that has expired is swept in small steps as new state arrives. It is
// safe for concurrent use and must not be copied.
type MemoryStore struct {
	now   func() time.Time // nil: the monotonic clock
	base  time.Time        // what the monotonic clock counts from
	micro int64            // base in microseconds since the Unix epoch
	slots int              // most slots of one shard
	seeds [2]maphash.Seed
	nonce [2]uint64

	shards [shardCount]shard
}

var _ Store = (*MemoryStore)(nil)

type shard struct {
	mu  sync.Mutex
	tab table
	seq uint64 // of the decisions that started in this shard

	_ [64]byte // keep neighbours' locks off this cache line
}

// NewMemoryStore returns an empty store.
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
		base:  systemTime(),
		slots: int(min(opts.MaxBytes/slotBytes/shardCount, 1<<31)),
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
	}
	m.micro = m.base.UnixMicro()
	m.nonce[0], m.nonce[1] = m.hash("")
	return m, nil
}

//nolint:forbidigo // the one default clock
func systemTime() time.Time { return time.Now() }

// micros reads the store's clock.
func (m *MemoryStore) micros() int64 {
	if m.now != nil {
		return m.now().UnixMicro()
	}
	return m.micro + int64(time.Since(m.base)/time.Microsecond) //nolint:forbidigo // monotonic: part of the default clock
}

func (m *MemoryStore) hash(key string) (w0, w1 uint64) {
	return maphash.String(m.seeds[0], key), maphash.String(m.seeds[1], key)
}

// A place is where an op's state is, or would be.
type place struct {
	sh     *shard
	index  int // of its shard
	w0, w1 uint64
	slot   int // -1: absent
	next   Cell
}

// Apply implements [Store]. It locks the shards of all subjects in ascending
// order, reads the clock under the locks, and never waits for anything else.
func (m *MemoryStore) Apply(ctx context.Context, req *Request) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	switch n := len(req.Ops); {
	case n == 1 && req.Mode == ModeTake:
		return m.takeOne(req)
	case n == 1:
		var one [1]place
		return m.run(req, one[:0])
	case n <= 4:
		var few [4]place
		return m.run(req, few[:0])
	case n <= fewOps:
		var few [fewOps]place
		return m.run(req, few[:0])
	default:
		return m.run(req, make([]place, 0, n))
	}
}

// run locates the ops in places, which is empty and has room for them, and
// carries them out under the locks of their shards.
func (m *MemoryStore) run(req *Request, places []place) error {
	var k0, k1 uint64
	single := true
	for i := range req.Ops {
		op := &req.Ops[i]
		if i == 0 || op.Key != req.Ops[i-1].Key {
			k0, k1 = m.hash(op.Key)
		}
		index := int(k0 % shardCount)
		places = append(places, place{sh: &m.shards[index], index: index, w0: k0, w1: k1 ^ op.Rule.tag})
		single = single && places[0].index == index
	}
	origin := places[0].index
	if req.Mode == ModeRefund { // remembered where the take began
		origin, _ = m.origin(req.ID)
	}
	if single && places[0].index == origin {
		mu := &places[0].sh.mu
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

// carryOut requires that all shards of places are locked, and for a refund that
// of the id's origin.
func (m *MemoryStore) carryOut(req *Request, places []place) error {
	now := m.micros()
	req.Now = now
	for i := range places {
		p := &places[i]
		p.slot = p.sh.tab.find(p.w0, p.w1)
	}
	switch req.Mode {
	case ModeTake, ModePeek:
		return m.take(req, places, now)
	case ModeRefund:
		return m.refund(req, places, now)
	case ModeReset:
		for i := range places {
			p := &places[i]
			if at := p.sh.tab.find(p.w0, p.w1); at >= 0 { // removing moves slots
				p.sh.tab.remove(at)
			}
		}
	}
	return nil
}

// cell returns the state at p.
func (p *place) cell() Cell {
	if p.slot < 0 {
		return Cell{}
	}
	return p.sh.tab.slots[p.slot].cell
}

func (m *MemoryStore) take(req *Request, places []place, now int64) error {
	req.Allowed, req.ID = true, ID{}
	spends, absent := false, 0
	for i := range places {
		op, p := &req.Ops[i], &places[i]
		p.next, op.Outcome = op.Rule.Take(p.cell(), op.Cost, now)
		req.Allowed = req.Allowed && op.Outcome.RetryAfter == 0
		if op.Cost > 0 {
			spends = true
			if p.slot < 0 {
				absent++
			}
		}
	}
	if !req.Allowed || req.Mode == ModePeek {
		for i := range places {
			if op := &req.Ops[i]; op.Outcome.RetryAfter == 0 && op.Cost > 0 {
				op.Outcome = op.Rule.Peek(places[i].cell(), op.Cost, now)
			}
		}
		return nil
	}
	if absent > 0 && !m.reserve(req, places, now) {
		return ErrFull
	}
	for i := range places {
		op, p := &req.Ops[i], &places[i]
		if op.Cost == 0 {
			continue
		}
		if p.slot >= 0 {
			p.sh.tab.slots[p.slot].cell = p.next
		} else {
			p.sh.tab.add(slot{p.w0, p.w1, p.next})
		}
	}
	if spends {
		req.ID = m.id(places[0].sh, places[0].index)
	}
	return nil
}

// takeOne is take for a single op, the most common request, without the detour
// over places.
func (m *MemoryStore) takeOne(req *Request) error {
	op := &req.Ops[0]
	w0, w1 := m.hash(op.Key)
	w1 ^= op.Rule.tag
	index := int(w0 % shardCount)
	sh := &m.shards[index]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	req.Now, req.ID = m.micros(), ID{}
	var c Cell
	at := sh.tab.find(w0, w1)
	if at >= 0 {
		c = sh.tab.slots[at].cell
	}
	c, op.Outcome = op.Rule.Take(c, op.Cost, req.Now)
	req.Allowed = op.Outcome.RetryAfter == 0
	if !req.Allowed || op.Cost == 0 {
		return nil
	}
	if at >= 0 {
		sh.tab.slots[at].cell = c
	} else {
		if !sh.tab.reserve(1, m.slots, req.Now) {
			return ErrFull
		}
		sh.tab.add(slot{w0, w1, c})
	}
	req.ID = m.id(sh, index)
	return nil
}

// reserve makes room for the slots that a take needs, and looks all slots up
// again, because making room moves them. What expired goes first: a sweep could
// drop it unseen, and the take would then add more slots than were counted.
func (m *MemoryStore) reserve(req *Request, places []place, now int64) bool {
	for i := range places {
		p := &places[i]
		if p.slot = p.sh.tab.find(p.w0, p.w1); p.slot >= 0 && p.cell().Expires <= now {
			p.sh.tab.remove(p.slot)
			p.slot = -1
		}
	}
	missing := func(i int) bool { return places[i].slot < 0 && req.Ops[i].Cost > 0 }
	ok := true
	for i := range places {
		if !missing(i) {
			continue
		}
		n := 0 // in the same shard; those before i have their room
		for j := i; j < len(places); j++ {
			if places[j].sh == places[i].sh && missing(j) {
				n++
			}
		}
		ok = ok && places[i].sh.tab.reserve(n, m.slots, now)
	}
	for i := range places {
		p := &places[i]
		p.slot = p.sh.tab.find(p.w0, p.w1)
	}
	return ok
}

func (m *MemoryStore) refund(req *Request, places []place, now int64) error {
	until := int64(0)
	for i := range req.Ops {
		until = max(until, req.Ops[i].Until)
	}
	if max(now, 0) >= until { // time has given everything back, or stands before 1970
		return nil
	}
	if first, err := m.remember(req.ID, until, now); !first {
		return err
	}
	for i := range places {
		op, p := &req.Ops[i], &places[i]
		if p.slot = p.sh.tab.find(p.w0, p.w1); p.slot < 0 {
			continue
		}
		c := op.Rule.Refund(p.cell(), op.Cost, op.Until, op.Rest, now)
		if c == (Cell{}) {
			p.sh.tab.remove(p.slot)
			continue
		}
		p.sh.tab.slots[p.slot].cell = c
	}
	return nil
}
