package ratelimit

import (
	"context"
	"maps"
	"math"
	"strings"
	"sync"
	"sync/atomic"
)

// A ledger holds what the store has still to be told of each subject under each
// limit, and which takes have something in a log.
type ledger struct {
	owing atomic.Int64 // len(accounts)

	mu       sync.Mutex
	accounts map[combination]*account
	takes    map[takeOf]*taken
	bytes    int64
	most     int64 // bytes
	times    int   // that tidy was called
}

type combination struct {
	key, name string
	algorithm Algorithm
}

func (op *Op) combination() combination {
	return combination{op.Key, op.Rule.limit.Name, op.Rule.limit.Algorithm}
}

// An account is what one subject owes under one limit.
type account struct {
	rule        *Rule
	units       int64         // taken here, and not charged to the store; where the limit has no log
	first       uint64        // the number of the earliest take in units
	takes       map[ID]*taken // taken or renewed here, and unknown to the store; where the limit has a log
	settlements []*settlement // that the store did not answer
	payment     *payment      // that is running
}

type takeOf struct {
	id ID
	of combination
}

// A taken is what a take has in a log.
type taken struct {
	here  ID // in the node's own store
	there ID // in the store; zero until it was charged
	units int64
	until int64
}

// A settlement is one that the store did not answer. Carrying it out again does
// no harm.
type settlement struct {
	mode  Mode
	id    ID // zero: one is drawn for it
	ops   []Op
	until int64 // it changes nothing from then on
	done  bool
	busy  bool // somebody carries it out
	size  int64
}

// A payment is what one account owed when somebody set out to pay it.
type payment struct {
	of      combination
	account *account
	op      Op // rule and key
	units   int64
	first   uint64
	takes   map[ID]*taken
	late    []*settlement
	over    chan struct{} // closed at the end
}

// What the parts cost in memory, about, without their keys.
const (
	accountBytes    = 200
	takenBytes      = 220
	settlementBytes = 200
	opBytes         = 160
)

func (l *ledger) open(most int64) {
	l.accounts, l.takes, l.most = make(map[combination]*account), make(map[takeOf]*taken), most
}

// of returns the account of op, a new one if need be. The ledger must be locked.
func (l *ledger) of(op *Op) *account {
	c := op.combination()
	a := l.accounts[c]
	if a == nil {
		a = &account{first: math.MaxUint64}
		c.key = strings.Clone(c.key)
		l.accounts[c] = a
		l.bytes += accountBytes + int64(len(c.key))
		l.owing.Store(int64(len(l.accounts)))
	}
	a.rule = op.Rule
	return a
}

// drop removes the account if it owes nothing. The ledger must be locked.
func (l *ledger) drop(c combination, a *account) {
	if a.units == 0 && len(a.takes) == 0 && len(a.settlements) == 0 && a.payment == nil && l.accounts[c] == a {
		delete(l.accounts, c)
		l.bytes -= accountBytes + int64(len(c.key))
		l.owing.Store(int64(len(l.accounts)))
	}
}

func (l *ledger) keep(of takeOf, t *taken) {
	if l.takes[of] == nil {
		l.bytes += takenBytes + int64(len(of.of.key))
		of.of.key = strings.Clone(of.of.key)
	}
	l.takes[of] = t
}

func (l *ledger) lose(of takeOf) {
	if l.takes[of] != nil {
		l.bytes -= takenBytes + int64(len(of.of.key))
		delete(l.takes, of)
	}
	if a := l.accounts[of.of]; a != nil {
		delete(a.takes, of.id)
		l.drop(of.of, a)
	}
}

// full makes a little room, and reports whether so many bytes are in use. The
// ledger must be locked.
func (l *ledger) full(most, now int64) bool {
	n := 0
	for of, t := range l.takes {
		if t.until <= now {
			l.lose(of)
		}
		if n++; n == 4 {
			break
		}
	}
	return l.bytes > most
}

// remember notes what a take that the store allowed has in logs.
func (l *local) remember(req *Request, here ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock()
	if l.full(l.most/2, now) { // the rest is for what is owed
		return // it is then in use here until it runs out by itself
	}
	for i := range req.Ops {
		if op := &req.Ops[i]; req.took(op) && op.Rule.Logged() {
			l.keep(takeOf{req.ID, op.combination()}, &taken{here: here, there: req.ID, units: op.Cost, until: now + op.Rule.period})
		}
	}
}

// owe notes what was taken here by the take id, and reports whether there was
// room.
func (l *local) owe(ctx context.Context, id, here ID, req *Request) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock()
	l.tidy(ctx, now)
	if l.full(l.most, now) && !l.knows(req) {
		return false
	}
	number := l.number(id)
	for i := range req.Ops {
		op := &req.Ops[i]
		if !req.took(op) {
			continue
		}
		a := l.of(op)
		if !op.Rule.Logged() {
			a.units, a.first = min(a.units+op.Cost, MaxCount), min(a.first, number)
			continue
		}
		l.oweTake(a, takeOf{id, op.combination()}, &taken{here: here, units: op.Cost, until: now + op.Rule.period})
	}
	return true
}

// knows reports whether what was taken needs no further room.
func (l *ledger) knows(req *Request) bool {
	for i := range req.Ops {
		if op := &req.Ops[i]; req.took(op) && (op.Rule.Logged() || l.accounts[op.combination()] == nil) {
			return false
		}
	}
	return true
}

func (l *ledger) oweTake(a *account, of takeOf, t *taken) {
	if a.takes == nil {
		a.takes = make(map[ID]*taken)
	}
	a.takes[of.id] = t
	l.keep(of, t)
}

// queue notes a settlement that the store did not answer, and reports whether
// there was room.
func (l *local) queue(ctx context.Context, mode Mode, id ID, ops []Op) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock()
	l.tidy(ctx, now)
	if l.full(l.most, now) {
		return false
	}
	s := &settlement{mode: mode, id: id, ops: append([]Op(nil), ops...), until: now, size: settlementBytes}
	req := Request{Mode: mode, Ops: s.ops}
	s.until += req.Hold()
	for i := range s.ops {
		op := &s.ops[i]
		op.Key = strings.Clone(op.Key)
		s.until = max(s.until, op.Until)
		s.size += opBytes + int64(len(op.Key))
		a := l.of(op)
		a.settlements = append(a.settlements, s)
	}
	l.bytes += s.size
	return true
}

// settled forgets a settlement. The ledger must be locked.
func (l *ledger) settled(s *settlement) {
	if !s.done {
		s.done = true
		l.bytes -= s.size
	}
}

// tidy looks at a few accounts every few times, and drops what time has paid.
// The ledger must be locked.
func (l *local) tidy(ctx context.Context, now int64) {
	if l.times++; l.times%8 != 0 && l.bytes < l.most {
		return
	}
	n := 0
	for c, a := range l.accounts {
		if a.payment == nil {
			l.age(ctx, c, a, now)
		}
		if n++; n == 16 {
			break
		}
	}
}

func (l *local) age(ctx context.Context, c combination, a *account, now int64) {
	late := a.settlements[:0]
	for _, s := range a.settlements {
		if s.until <= now {
			l.settled(s)
		}
		if !s.done {
			late = append(late, s)
		}
	}
	clear(a.settlements[len(late):])
	a.settlements = late
	for id, t := range a.takes {
		if t.until <= now {
			l.lose(takeOf{id, c})
		}
	}
	if a.units > 0 && l.inUse(ctx, a.rule, c.key) == 0 {
		a.units, a.first = 0, math.MaxUint64
	}
	l.drop(c, a)
}

// claim begins a payment of each account of the ops that nobody pays now, and
// returns a channel that is closed when one of the others is over.
func (l *local) claim(ctx context.Context, ops []Op) (mine []*payment, busy <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock()
	l.tidy(ctx, now)
	for i := range ops {
		op := &ops[i]
		c := op.combination()
		a := l.accounts[c]
		if a == nil {
			continue
		}
		if a.payment != nil {
			busy = a.payment.over
			continue
		}
		if l.age(ctx, c, a, now); l.accounts[c] != a {
			continue
		}
		a.payment = &payment{
			of: c, account: a, op: Op{Rule: op.Rule, Key: op.Key},
			units: a.units, first: a.first, takes: a.takes, late: a.settlements, over: make(chan struct{}),
		}
		a.units, a.first, a.takes, a.settlements = 0, math.MaxUint64, nil, nil
		mine = append(mine, a.payment)
	}
	return mine, busy
}

// finish ends payments: what was not paid is owed as before.
func (l *local) finish(mine []*payment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range mine {
		a := p.account
		if p.units > 0 {
			a.units, a.first = min(a.units+p.units, MaxCount), min(a.first, p.first)
		}
		if len(p.takes) > 0 {
			maps.Copy(p.takes, a.takes)
			a.takes = p.takes
		}
		for _, s := range p.late {
			if !s.done {
				a.settlements = append(a.settlements, s)
			}
		}
		a.payment = nil
		close(p.over)
		l.drop(p.of, a)
	}
}
