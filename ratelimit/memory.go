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

	logs   map[[2]uint64]Log
	logged int // bytes of logs

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
	case n == 1:
		var places [1]place
		var kept [1]Kept
		return m.run(req, places[:0], kept[:])
	case n <= 4:
		var places [4]place
		var kept [4]Kept
		return m.run(req, places[:0], kept[:n])
	case n <= fewOps:
		var places [fewOps]place
		var kept [fewOps]Kept
		return m.run(req, places[:0], kept[:n])
	default:
		return m.run(req, make([]place, 0, n), make([]Kept, n))
	}
}

// run locates the ops in places, which is empty and has room for them, and
// carries them out under the locks of their shards.
func (m *MemoryStore) run(req *Request, places []place, kept []Kept) error {
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
	if req.Mode == ModeSettle { // remembered where the take began
		origin, _ = m.origin(req.ID)
	}
	if single && places[0].index == origin {
		mu := &places[0].sh.mu
		mu.Lock()
		defer mu.Unlock()
		return m.carryOut(req, places, kept)
	}
	var order [fewOps + 1]int
	held := m.lock(places, append(order[:0], origin))
	defer m.unlock(held)
	return m.carryOut(req, places, kept)
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
func (m *MemoryStore) carryOut(req *Request, places []place, kept []Kept) error {
	now := m.micros()
	if req.Mode == ModeSettle {
		until := req.settledUntil(now)
		if until <= max(now, 0) {
			return nil // time has given everything back, or stands before 1970
		}
		if first, err := m.remember(req.ID, until, now); !first {
			return err
		}
	}
	for i := range places {
		p := &places[i]
		p.slot = p.sh.tab.find(p.w0, p.w1)
		kept[i] = m.load(p, req.Ops[i].Rule)
	}
	var fresh ID
	if req.Mode == ModeTake || req.Mode == ModeTakeUpTo || req.Mode == ModeCharge {
		fresh = m.id(places[0].sh, places[0].index)
	}
	changed := req.Run(kept, now, fresh)
	if req.Mode == ModeReset || changed == 0 {
		for i := range places {
			if changed != 0 {
				m.forget(&places[i], req.Ops[i].Rule)
			}
		}
		return nil
	}
	if !m.reserve(req, places, kept, changed, now) {
		req.Allowed, req.ID = false, ID{}
		return ErrFull
	}
	for i := range places {
		if changed&(1<<i) != 0 {
			m.save(&places[i], req.Ops[i].Rule, kept[i])
		}
	}
	return nil
}

// settledUntil returns the time until which the settlement can act, 0 when it
// cannot any more.
func (req *Request) settledUntil(now int64) int64 {
	until := now + req.Hold()
	for i := range req.Ops {
		op := &req.Ops[i]
		until = max(until, op.Until)
		if op.Rule.Logged() { // a lease may have been renewed
			until = max(until, now+op.Rule.fill)
		}
	}
	return until
}

func (m *MemoryStore) load(p *place, r *Rule) Kept {
	if r.Logged() {
		l := p.sh.logs[[2]uint64{p.w0, p.w1}]
		l.Entries = slices.Clone(l.Entries)
		return Kept{Log: l}
	}
	if p.slot < 0 {
		return Kept{}
	}
	return Kept{Cell: p.sh.tab.slots[p.slot].cell}
}

func (m *MemoryStore) save(p *place, r *Rule, k Kept) {
	if r.Logged() {
		if len(k.Log.Entries) == 0 {
			m.forget(p, r)
			return
		}
		if p.sh.logs == nil {
			p.sh.logs = make(map[[2]uint64]Log)
		}
		p.sh.logged += logBytes(k.Log) - logBytes(p.sh.logs[[2]uint64{p.w0, p.w1}])
		p.sh.logs[[2]uint64{p.w0, p.w1}] = k.Log
		return
	}
	at := p.sh.tab.find(p.w0, p.w1)
	switch {
	case at >= 0 && k.Cell == Cell{}:
		p.sh.tab.remove(at)
	case at >= 0:
		p.sh.tab.slots[at].cell = k.Cell
	case k.Cell != Cell{}:
		p.sh.tab.add(slot{p.w0, p.w1, k.Cell})
	}
}

func (m *MemoryStore) forget(p *place, r *Rule) {
	if r.Logged() {
		p.sh.logged -= logBytes(p.sh.logs[[2]uint64{p.w0, p.w1}])
		delete(p.sh.logs, [2]uint64{p.w0, p.w1})
		return
	}
	if at := p.sh.tab.find(p.w0, p.w1); at >= 0 { // removing moves slots
		p.sh.tab.remove(at)
	}
}

// logBytes is what a log costs, with its place in the map.
func logBytes(l Log) int {
	if len(l.Entries) == 0 {
		return 0
	}
	return 128 + 32*cap(l.Entries)
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
	passes := op.Outcome.RetryAfter == 0
	if req.Allowed = passes || op.Rule.limit.Shadow; !passes || op.Cost == 0 {
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

// reserve makes room for the slots and logs that are to be saved, and reports
// whether there was any. What expired goes first: a sweep could drop it unseen,
// and more slots would then be added than were counted.
func (m *MemoryStore) reserve(req *Request, places []place, kept []Kept, changed uint64, now int64) bool {
	for i := range places {
		p := &places[i]
		if p.slot = p.sh.tab.find(p.w0, p.w1); p.slot >= 0 && p.sh.tab.slots[p.slot].cell.Expires <= now {
			p.sh.tab.remove(p.slot)
			p.slot = -1
		}
	}
	missing := func(i int) bool {
		return changed&(1<<i) != 0 && !req.Ops[i].Rule.Logged() && places[i].slot < 0 && kept[i].Cell != Cell{}
	}
	for i := range places {
		sh := places[i].sh
		if req.Ops[i].Rule.Logged() && !m.roomForLog(sh, kept[i].Log, now) {
			return false
		}
		if !missing(i) {
			continue
		}
		n := 0 // in the same shard; those before i have their room
		for j := i; j < len(places); j++ {
			if places[j].sh == sh && missing(j) {
				n++
			}
		}
		if !sh.tab.reserve(n, m.slots, now) {
			return false
		}
	}
	return true
}

// roomForLog reports whether a log fits beside the others, of which it drops
// those that expired.
func (m *MemoryStore) roomForLog(sh *shard, l Log, now int64) bool {
	if sh.logged+logBytes(l) <= m.slots*slotBytes {
		return true
	}
	for k, other := range sh.logs {
		if other.Expires() <= now {
			sh.logged -= logBytes(other)
			delete(sh.logs, k)
		}
	}
	return sh.logged+logBytes(l) <= m.slots*slotBytes
}
