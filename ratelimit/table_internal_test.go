package ratelimit

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// audit fails the test unless every table of the store is whole, no larger than
// a bounded step may look at, and the store counts what all of them take.
func (m *MemoryStore) audit(t *testing.T) {
	t.Helper()
	total := int64(shardCount * shardBytes)
	for i := range m.shards {
		sh := &m.shards[i]
		if len(sh.dir) != 1<<sh.depth {
			t.Fatalf("shard %d: %d places for tables, depth %d", i, len(sh.dir), sh.depth)
		}
		total += int64(cap(sh.dir)) * pointerBytes
		for at := 0; at < len(sh.dir); {
			tab := sh.dir[at]
			span := 1 << (sh.depth - tab.depth)
			for j := range span {
				if sh.dir[at+j] != tab {
					t.Fatalf("shard %d: place %d has another table than %d", i, at+j, at)
				}
			}
			tab.audit(t, uint64(at/span))
			total += tab.bytes()
			at += span
		}
	}
	if free := m.free.Load(); total != m.bytes-free || free < 0 {
		t.Fatalf("the tables take %d bytes, the store counts %d of %d", total, m.bytes-free, m.bytes)
	}
}

func (t *table) bytes() int64 {
	n := int64(tableBytes + cap(t.slots)*slotBytes + cap(t.wide)*wideBytes)
	for i := range t.wide {
		n += int64(cap(t.wide[i].entries)) * entryBytes
	}
	return n
}

func (t *table) audit(tb *testing.T, prefix uint64) {
	tb.Helper()
	if n := len(t.slots); n > t.of.most || n != cap(t.slots) || int(t.used) > max(room(n), 0) {
		tb.Fatalf("%d slots of %d, %d used", n, cap(t.slots), t.used)
	}
	used, wides := 0, map[uint64]bool{}
	for i := range t.slots {
		s := &t.slots[i]
		if s.id == 0 {
			if *s != (slot{}) {
				tb.Fatalf("empty slot %d is %x", i, *s)
			}
			continue
		}
		used++
		if at := t.find(name{s.id, s.head & restMask}); at != i {
			tb.Fatalf("slot %d is found at %d", i, at)
		}
		if s.id>>(64-t.depth) != prefix {
			tb.Fatalf("slot %d with id %x lies in table %x of depth %d", i, s.id, prefix, t.depth)
		}
		if s.kind() == kindWide {
			if wides[s.body[0]] {
				tb.Fatalf("wide state %d is in two slots", s.body[0])
			}
			wides[s.body[0]] = true
		}
	}
	for at := t.spare; at != 0; at = int32(t.wide[at-1].ends) {
		if wides[uint64(at-1)] {
			tb.Fatalf("wide state %d is in use and spare, or spare twice", at-1)
		}
		wides[uint64(at-1)] = true
	}
	if used != int(t.used) || len(wides) != len(t.wide) {
		tb.Fatalf("%d slots used, %d counted; %d wide states, %d known", used, t.used, len(t.wide), len(wides))
	}
}

// anyNumber returns numbers of every size and sign, bounds among them.
func anyNumber(r *rand.Rand) int64 {
	n := int64(r.Uint64() >> r.IntN(64))
	switch r.IntN(8) {
	case 0:
		return [...]int64{0, 1, -1, math.MaxInt64, math.MinInt64, maxNow, MaxCount, -MaxCount}[r.IntN(8)]
	case 1:
		return 1<<r.IntN(63) - 1
	case 2:
		return -n
	}
	return n
}

func testTable(tb testing.TB) (*MemoryStore, *table) {
	tb.Helper()
	m, err := NewMemoryStore(nil)
	if err != nil {
		tb.Fatal(err)
	}
	m.shards[0].dir[0] = m.newTable(0, 64, 0)
	return m, m.shards[0].dir[0]
}

// Whatever the numbers of a cell are, it is read as it was written.
func TestCellsReadBackAsWritten(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	defer func() {
		if t.Failed() {
			t.Log("seed", seed)
		}
	}()
	r := rand.New(rand.NewPCG(seed, 0))
	m, tab := testTable(t)
	packed := 0
	want := map[name]Cell{}
	for i := range 200_000 {
		n := name{id: r.Uint64N(24)<<58 | 1, rest: r.Uint64() & restMask & 1 << 63}
		c := Cell{At: anyNumber(r), Used: anyNumber(r), Part: anyNumber(r), Expires: anyNumber(r)}
		if i%2 == 0 { // what limits mostly make
			c.At = m.base + r.Int64N(1<<timeBits)
			c.Expires = c.At + r.Int64N(1<<r.IntN(spanBits+1))
			c.Used = r.Int64N(1 << r.IntN(usedBits+1))
			c.Part = r.Int64N(1 << r.IntN(partBits+1))
			if i%4 == 0 {
				c.Part = c.At - c.Part
			}
		}
		at := tab.find(n)
		switch {
		case at < 0 && len(want) < 40:
			at = tab.add(slot{id: n.id, head: n.rest})
		case at < 0:
			continue
		case i%5 == 0:
			tab.remove(at)
			delete(want, n)
			continue
		}
		if !tab.setCell(at, c, false) {
			t.Fatal("no room")
		}
		want[n] = c
		if tab.slots[at].kind() != kindWide {
			packed++
		}
		if i%100 == 0 && !tab.rebuild(64) {
			t.Fatal("no room for another table")
		}
		for n, c := range want {
			if got := tab.cell(tab.find(n)); got != c {
				t.Fatalf("step %d: %v is %+v, want %+v", i, n, got, c)
			}
			break // any one
		}
	}
	for n, c := range want {
		if got := tab.cell(tab.find(n)); got != c {
			t.Errorf("%v is %+v, want %+v", n, got, c)
		}
	}
	if packed < 50_000 {
		t.Errorf("%d cells were packed, want most of those that limits make", packed)
	}
	m.audit(t)
}

// Every algorithm's state at ordinary limits fits into a slot.
func TestOrdinaryCellsFit(t *testing.T) {
	t.Parallel()
	for _, l := range []Limit{
		{Count: 60, Period: time.Minute},
		{Count: 1000, Period: 24 * time.Hour},
		{Count: 1e9, Period: 365 * 24 * time.Hour, Burst: 1e8},
		{Algorithm: FixedWindow, Count: 1e11, Period: 365 * 24 * time.Hour},
		{Algorithm: SlidingWindow, Count: 1e11, Period: 180 * 24 * time.Hour},
		{Algorithm: Calendar, Count: 1e11, Every: Month},
		{Algorithm: Calendar, Count: 1e11, Every: Year},
	} {
		l.Name = "l"
		set, err := NewLimits(l)
		if err != nil {
			t.Fatal(err)
		}
		m, _ := testTable(t)
		for _, after := range []time.Duration{0, time.Hour, 2 * 365 * 24 * time.Hour} {
			rule := set.Rule(0)
			now := m.base + after.Microseconds()
			c, _ := rule.Take(Cell{}, max(rule.quota/3, 1), now)
			c, _ = rule.Take(c, 1, now+1e6)
			var s slot
			if !s.pack(c, m.base) {
				t.Errorf("%+v after %v: %+v does not fit", l, after, c)
			} else if got := s.cell(m.base); got != c {
				t.Errorf("%+v after %v: %+v is read as %+v", l, after, c, got)
			}
		}
	}
}

// keysOf returns n keys whose subjects lie in the shard of that index.
func (m *MemoryStore) keysOf(index, n int) []string {
	var keys []string
	for i := uint64(0); len(keys) < n; i++ {
		key := string(binary.BigEndian.AppendUint64(nil, i))
		if _, w1 := m.hash(key); shardOf(w1) == index {
			keys = append(keys, key)
		}
	}
	return keys
}

// moving takes from key and returns how many slots of the shard lie in tables
// that this made, and so were moved at most.
func moving(sh *shard, take func()) (moved int) {
	before := map[*slot]bool{}
	for _, t := range sh.dir {
		before[t.first()] = true
	}
	take()
	for _, t := range sh.dir {
		if first := t.first(); first != nil && !before[first] {
			before[first] = true
			moved += len(t.slots)
		}
	}
	return moved
}

func (t *table) first() *slot {
	if len(t.slots) == 0 {
		return nil
	}
	return &t.slots[0]
}

// No decision moves or looks at more than the slots of a few tables of bounded
// size: while a store fills up, when it is full, and when it gives memory back.
// One shard may have all the memory.
func TestDecisionsAreBoundedSteps(t *testing.T) {
	t.Parallel()
	for _, bytes := range []int64{minBytes, 1 << 20, 64 << 20} {
		t.Run(fmt.Sprint(bytes>>10, " KiB"), func(t *testing.T) {
			t.Parallel()
			boundedSteps(t, bytes)
		})
	}
}

func boundedSteps(t *testing.T, bytes int64) {
	const (
		most  = 2 * mostSlots // a table split, and one tidied
		shard = 7
	)
	now := time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)
	m, err := NewMemoryStore(&MemoryOptions{MaxBytes: bytes, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	limits, err := NewLimits(Limit{Name: "m", Count: 1e12, Period: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	l, err := NewLimiter(m, limits, nil)
	if err != nil {
		t.Fatal(err)
	}
	sh := &m.shards[shard]
	keys := m.keysOf(shard, 30_000)
	took, full, moved := 0, 0, 0
	take := func(key string) {
		switch res, err := l.Take(t.Context(), key, 1); {
		case errors.Is(err, ErrFull):
			full++
		case err != nil:
			t.Fatal(err)
		case res.Allowed:
			took++
		}
	}
	for _, key := range keys {
		moved = max(moved, moving(sh, func() { take(key) }))
	}
	m.audit(t) // which bounds each table
	if tables := len(sh.dir); tables < 2 || moved < m.most || moved > most {
		t.Errorf("a decision moved up to %d slots, want %d to %d; there are %d tables", moved, m.most, most, tables)
	}
	if room := int(m.free.Load()) / 64; took+full != len(keys) || full > 0 && room > 2*m.most {
		t.Errorf("%d keys are tracked, %d found no room while there is some for %d", took, full, room)
	}

	now = now.Add(time.Hour)
	took, full, moved = 0, 0, 0
	for sh.seq%tidyPeriod != 0 {
		take(keys[0])
	}
	for range 4 * len(sh.dir) {
		for range tidyPeriod - 1 {
			take(keys[0])
		}
		moved = max(moved, moving(sh, func() { take(keys[0]) }))
	}
	m.audit(t)
	if moved > most || full > 0 {
		t.Errorf("a decision moved up to %d slots; %d found no room", moved, full)
	}
	if n := len(sh.dir); n != 1 || len(sh.dir[0].slots) > 4*firstSlots {
		t.Errorf("the shard still has %d tables after the crowd has left, the first of %d slots", n, len(sh.dir[0].slots))
	}
}

// All states of one subject stay together, so nothing can split a table that
// holds no other: it is full, and not split for ever.
func TestSubjectUnderVeryManyLimitsIsFull(t *testing.T) {
	t.Parallel()
	m, _ := testTable(t)
	l, err := NewLimiter(m, Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; n < 2*mostSlots && err == nil; n++ {
		limits, e := NewLimits(Limit{Name: fmt.Sprint("l", n), Count: 1, Period: time.Hour})
		if e != nil {
			t.Fatal(e)
		}
		_, err = l.TakeAll(t.Context(), Charge{Key: "k", Limits: limits, Cost: 1})
	}
	m.audit(t)
	if err == nil || n < room(m.most) {
		t.Errorf("a subject is tracked under %d limits, error %v", n, err)
	}
}
