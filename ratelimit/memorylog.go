package ratelimit

import (
	"math"
	"slices"
)

// step carries out a request on the kept states of its ops, or changes nothing
// when there is no room for one of them.
func (m *MemoryStore) step(req *Request, places []place, now int64) error {
	var few [fewOps]Kept
	kept := few[:min(len(places), fewOps)]
	if len(places) > fewOps {
		kept = make([]Kept, len(places))
	}
	ok := m.prepareLogs(req, places, now)
	for i := range places {
		if p := &places[i]; req.Ops[i].Rule.Logged() {
			kept[i].Log = m.log(p)
		} else {
			m.load(p)
			kept[i].Cell = p.was
		}
	}
	origin := places[0].index
	var fresh ID
	m.nextID(origin, &fresh)
	ok = ok && m.stepKept(req, places, kept, now, fresh)
	for i := range places {
		if req.Ops[i].Rule.Logged() {
			m.keepLog(&places[i], kept[i].Log)
		}
	}
	if !ok {
		req.Allowed = false
		return ErrFull
	}
	if req.ID == fresh {
		m.freshID(origin, &fresh, now)
	}
	return nil
}

// stepKept is step for states that are loaded, of which logs have room to grow.
func (m *MemoryStore) stepKept(req *Request, places []place, kept []Kept, now int64, fresh ID) bool {
	var before [][]Entry
	if req.Mode == ModeSettle {
		before = make([][]Entry, len(kept))
		for i := range kept {
			before[i] = slices.Clone(kept[i].Log.Entries)
		}
	}
	changed := req.Run(kept, now, fresh)
	cells := uint64(0)
	for i := range places {
		if !req.Ops[i].Rule.Logged() {
			places[i].next = kept[i].Cell
			cells |= changed & (1 << i)
		}
	}
	if m.save(places, cells, now) {
		return true
	}
	for i := range places {
		op, l := &req.Ops[i], &kept[i].Log
		switch {
		case changed&(1<<i) == 0 || !op.Rule.Logged():
		case before != nil:
			l.Entries = append(l.Entries[:0], before[i]...)
		default:
			op.Rule.SettleLog(l, fresh, op.Cost, 0, now)
			l.At = m.log(&places[i]).At
		}
	}
	return false
}

// log returns the log of p. Its entries stay those of the store.
func (m *MemoryStore) log(p *place) Log {
	t := m.shards[p.index].table(p.id)
	at := t.find(p.name)
	if at < 0 {
		return Log{}
	}
	w := &t.wide[t.slots[at].body[0]]
	return Log{At: w.cell.At, Entries: w.entries}
}

// prepareLogs gives each log that the request charges room for one more entry,
// and reports whether there was any. What is prepared is not swept until keepLog
// has seen it.
func (m *MemoryStore) prepareLogs(req *Request, places []place, now int64) bool {
	for i := range places {
		if op := &req.Ops[i]; op.Rule.Logged() && !m.prepareLog(req, op, &places[i], now) {
			return false
		}
	}
	return true
}

func (m *MemoryStore) prepareLog(req *Request, op *Op, p *place, now int64) bool {
	sh := &m.shards[p.index]
	l := m.log(p)
	live, _ := l.live(l.at(now))
	if t := sh.table(p.id); len(live) < cap(l.Entries) {
		t.wide[t.slots[t.find(p.name)].body[0]].ends = math.MaxInt64
		return true
	}
	if !req.charges(op, &l, now) {
		return true
	}
	t := sh.table(p.id)
	at := t.find(p.name)
	if at < 0 {
		if t = m.makeRoom(sh, p.id, now-m.base); t == nil {
			return false
		}
		at = t.add(slot{id: p.id, head: p.rest})
	}
	w := t.widen(at, false)
	if w == nil {
		t.remove(at)
		return false
	}
	w.ends = math.MaxInt64
	entries, ok := alloc[Entry](m, len(live)+max(len(live)/4, 1), entryBytes, false)
	if ok {
		m.free.Add(int64(cap(w.entries)) * entryBytes)
		w.entries = append(entries, live...)
	}
	return ok
}

// charges reports whether the request adds an entry to the log of op, if no
// other op refuses it.
func (req *Request) charges(op *Op, l *Log, now int64) bool {
	switch req.Mode {
	case ModeTake:
		return op.Cost > 0 && op.Rule.TakeLog(l, op.Cost, now).RetryAfter == 0
	case ModeTakeUpTo:
		return op.Cost > 0 && op.Rule.TakeLog(l, 1, now).RetryAfter == 0
	case ModeCharge:
		return op.Cost > 0
	case ModeSettle:
		return op.Actual > op.Cost && l.find(req.ID, now) < 0
	}
	return false
}

// keepLog makes l the log of p, if there is one, and removes it when it is
// empty.
func (m *MemoryStore) keepLog(p *place, l Log) {
	t := m.shards[p.index].table(p.id)
	at := t.find(p.name)
	switch {
	case at < 0:
	case len(l.Entries) == 0:
		t.remove(at)
	default:
		w := &t.wide[t.slots[at].body[0]]
		if n := len(l.Entries); cap(l.Entries) > 4*n {
			if fewer, ok := alloc[Entry](m, n+1, entryBytes, false); ok {
				l.Entries = append(fewer, l.Entries...)
				m.free.Add(int64(cap(w.entries)) * entryBytes)
			}
		}
		w.cell.At, w.entries, w.ends = l.At, l.Entries, l.Expires()-m.base
	}
}

// settle is step for a settlement, which counts once.
func (m *MemoryStore) settle(req *Request, places []place, now int64) error {
	until := now + req.Hold()
	for i := range req.Ops {
		until = max(until, req.Ops[i].Until)
	}
	if until <= now {
		return nil // time has given everything back
	}
	if first, err := m.remember(req.ID, until, now); !first {
		return err
	}
	err := m.step(req, places, now)
	if err != nil {
		m.forgetMark(req.ID)
	}
	return err
}
