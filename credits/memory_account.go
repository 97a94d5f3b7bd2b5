package credits

import (
	"bytes"
	"slices"
	"time"
)

// A memoryAccount is all rows of one account, with the two orders in which the
// core asks for lots and ops: by burn order, and by when they are due.
type memoryAccount struct {
	row     Account
	lots    []*memoryLot // by ID, which counts from 1
	ops     map[OpID]*memoryOp
	burn    []*memoryLot // what has something available, by Rank
	dueLots dueHeap[*memoryLot]
	dueOps  dueHeap[*memoryOp]
	journal memoryJournal
}

type memoryLot struct {
	lot  Lot
	rank Rank
	slot int32 // in the State of the call that runs, plus 1
	heap int32 // in dueLots, plus 1
}

type memoryOp struct {
	op   Op
	slot int32
	heap int32 // in dueOps, plus 1
}

func (l *memoryLot) place() *int32 { return &l.heap }
func (o *memoryOp) place() *int32  { return &o.heap }

func newMemoryAccount() *memoryAccount {
	return &memoryAccount{ops: make(map[OpID]*memoryOp)}
}

// A memoryLoad is one account's part of a call: what it loaded, row by row.
type memoryLoad struct {
	home    *memoryShard
	account *memoryAccount // nil: there is none yet
	lots    []*memoryLot
	ops     []*memoryOp
}

// load fills st as n asks.
func (l *memoryLoad) load(st *State, n *Need, now time.Time) {
	a := l.account
	if a == nil {
		return
	}
	st.Account = a.row
	for o := range a.dueOps.until(now) {
		l.addOp(st, o, true)
	}
	for _, id := range n.Targets {
		l.addOp(st, a.ops[id], true)
	}
	for _, id := range n.Ops {
		l.addOp(st, a.ops[id], false)
	}
	for lot := range a.dueLots.until(now) {
		l.addLot(st, lot)
	}
	sum := Amount(0)
	for _, lot := range a.burn {
		if sum >= n.Spend {
			break
		}
		if !isDue(lot.lot.ExpiresAt, now) {
			l.addLot(st, lot)
			sum += lot.lot.Totals.Available
		}
	}
}

// addOp puts o into st once, with the lots of its parts if they are wanted.
func (l *memoryLoad) addOp(st *State, o *memoryOp, withLots bool) {
	if o == nil {
		return
	}
	if o.slot == 0 {
		st.Ops = append(st.Ops, OpRow{Op: o.op})
		l.ops = append(l.ops, o)
		o.slot = int32(len(st.Ops))
	}
	if withLots {
		for i := range o.op.Parts.n {
			l.addLot(st, l.account.lots[o.op.Parts.at(i).Lot-1])
		}
	}
}

func (l *memoryLoad) addLot(st *State, lot *memoryLot) {
	if lot.slot == 0 {
		st.Lots = append(st.Lots, LotRow{Lot: lot.lot})
		l.lots = append(l.lots, lot)
		lot.slot = int32(len(st.Lots))
	}
}

// reset forgets the call.
func (l *memoryLoad) reset() {
	for _, lot := range l.lots {
		lot.slot = 0
	}
	for _, o := range l.ops {
		o.slot = 0
	}
	clear(l.lots)
	clear(l.ops)
	*l = memoryLoad{lots: l.lots[:0], ops: l.ops[:0]}
}

// store writes what changed in st, whose first rows are the loaded ones.
func (l *memoryLoad) store(st *State) {
	if st.AccountChange == Unchanged {
		return
	}
	a := l.account
	if a == nil {
		a = newMemoryAccount()
		l.home.accounts[st.Account.ID] = a
	}
	a.row = st.Account
	for i := range st.Lots {
		switch row := &st.Lots[i]; row.Change {
		case Added:
			lot := &memoryLot{lot: row.Lot, rank: row.Lot.Rank()}
			a.lots = append(a.lots, lot)
			a.index(lot, false)
		case Updated:
			lot := l.lots[i]
			before := lot.lot.Totals.Available > 0
			lot.lot = row.Lot
			a.index(lot, before)
		}
	}
	for i := range st.Ops {
		switch row := &st.Ops[i]; row.Change {
		case Added:
			o := &memoryOp{op: row.Op}
			a.ops[row.Op.ID] = o
			a.dueOps.set(o, row.Op.Due())
		case Updated:
			o := l.ops[i]
			o.op = row.Op
			a.dueOps.set(o, o.op.Due())
		}
	}
	a.journal.append(st.Entries)
}

// index files lot in the orders it belongs to. listed says whether it is in the
// burn order now.
func (a *memoryAccount) index(lot *memoryLot, listed bool) {
	a.dueLots.set(lot, lot.lot.Due())
	if listed == (lot.lot.Totals.Available > 0) {
		return
	}
	i, _ := slices.BinarySearchFunc(a.burn, lot, compareRank)
	switch {
	case !listed:
		a.burn = slices.Insert(a.burn, i, lot)
	case i == 0: // the usual one to run out
		a.burn[0] = nil
		a.burn = a.burn[1:]
	default:
		a.burn = slices.Delete(a.burn, i, i+1)
	}
}

func compareRank(a, b *memoryLot) int { return bytes.Compare(a.rank[:], b.rank[:]) }

// snapshot yields the account's rows; it is locked while they are read.
func (a *memoryAccount) snapshot() Snapshot {
	return Snapshot{
		Account: a.row,
		Lots: func(yield func(Lot, error) bool) {
			for _, l := range a.lots {
				if !yield(l.lot, nil) {
					return
				}
			}
		},
		Ops: func(yield func(Op, error) bool) {
			for _, o := range a.ops {
				if !yield(o.op, nil) {
					return
				}
			}
		},
		Entries: func(yield func(Entry, error) bool) {
			for i := range a.journal.n {
				if !yield(*a.journal.at(i), nil) {
					return
				}
			}
		},
	}
}
