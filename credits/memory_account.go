package credits

import (
	"bytes"
	"iter"
	"maps"
	"slices"
	"time"
)

// A memoryAccount is all rows of one account, with the orders in which the core
// asks for lots and ops: by burn order, and by when they are due.
type memoryAccount struct {
	row       Account
	debt      *memoryLot   // lot 0, or nil
	lots      []*memoryLot // by ID, which counts from 1
	ops       map[OpID]*memoryOp
	budgets   map[BudgetID]*memoryBudget
	scopes    map[Scope][]*memoryBudget
	schedules map[ScheduleID]*memorySchedule
	burn      []*memoryLot // what has something available, by Rank
	dueLots   dueHeap[*memoryLot]
	dueOps    dueHeap[*memoryOp]
	prunable  dueHeap[prunableOp]
	dueTimes  dueHeap[*memorySchedule]
	journal   memoryJournal
}

type memoryLot struct {
	lot  Lot
	rank Rank
	slot int32 // in the State of the call that runs, plus 1
	heap int32 // in dueLots, plus 1
}

type memoryOp struct {
	op    Op
	slot  int32
	heap  int32 // in dueOps, plus 1
	prune int32 // in prunable, plus 1
}

type memoryBudget struct {
	budget Budget
	slot   int32
}

type memorySchedule struct {
	schedule Schedule
	slot     int32
	heap     int32 // in dueTimes, plus 1
}

// A prunableOp is an op in the order in which ops can be pruned.
type prunableOp struct{ *memoryOp }

func (l *memoryLot) place() *int32                    { return &l.heap }
func (l *memoryLot) less(m *memoryLot) bool           { return l.lot.ID < m.lot.ID }
func (o *memoryOp) place() *int32                     { return &o.heap }
func (o *memoryOp) less(p *memoryOp) bool             { return o.op.ID < p.op.ID }
func (o prunableOp) place() *int32                    { return &o.prune }
func (o prunableOp) less(p prunableOp) bool           { return o.op.ID < p.op.ID }
func (s *memorySchedule) place() *int32               { return &s.heap }
func (s *memorySchedule) less(t *memorySchedule) bool { return s.schedule.ID < t.schedule.ID }

func newMemoryAccount() *memoryAccount {
	return &memoryAccount{ops: make(map[OpID]*memoryOp)}
}

// lot returns the lot of that ID, or nil.
func (a *memoryAccount) lot(id LotID) *memoryLot {
	switch {
	case id == 0:
		return a.debt
	case id < 0 || id > LotID(len(a.lots)):
		return nil
	}
	return a.lots[id-1]
}

// lotsAfter yields the lots above an ID, by ID; above -1 they are all.
func (a *memoryAccount) lotsAfter(id LotID) iter.Seq[*memoryLot] {
	return func(yield func(*memoryLot) bool) {
		if id < 0 && a.debt != nil && !yield(a.debt) {
			return
		}
		for _, l := range a.lots[min(max(id, 0), LotID(len(a.lots))):] {
			if !yield(l) {
				return
			}
		}
	}
}

// put files a lot that is new or has changed. listed says whether it is in the
// burn order now.
func (a *memoryAccount) put(lot *memoryLot, listed bool) {
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

// putOp files an op that is new or has changed.
func (a *memoryAccount) putOp(o *memoryOp) {
	a.dueOps.set(o, o.op.Due())
	a.prunable.set(prunableOp{o}, o.op.Prunable())
}

// dropOp forgets an op.
func (a *memoryAccount) dropOp(o *memoryOp) {
	a.dueOps.set(o, time.Time{})
	a.prunable.set(prunableOp{o}, time.Time{})
	delete(a.ops, o.op.ID)
}

// putBudget files a budget that is new or has changed, and dropBudget forgets
// one.
func (a *memoryAccount) putBudget(b *memoryBudget) {
	if a.budgets == nil {
		a.budgets, a.scopes = make(map[BudgetID]*memoryBudget), make(map[Scope][]*memoryBudget)
	}
	a.budgets[b.budget.ID] = b
	s := Scope{b.budget.Key, b.budget.Operation}
	a.scopes[s] = append(a.scopes[s], b)
}

func (a *memoryAccount) dropBudget(b *memoryBudget) {
	delete(a.budgets, b.budget.ID)
	s := Scope{b.budget.Key, b.budget.Operation}
	if a.scopes[s] = slices.DeleteFunc(a.scopes[s], func(c *memoryBudget) bool { return c == b }); len(a.scopes[s]) == 0 {
		delete(a.scopes, s)
	}
}

func (a *memoryAccount) putSchedule(s *memorySchedule) {
	if a.schedules == nil {
		a.schedules = make(map[ScheduleID]*memorySchedule)
	}
	a.schedules[s.schedule.ID] = s
	a.dueTimes.set(s, s.schedule.Due())
}

func (a *memoryAccount) dropSchedule(s *memorySchedule) {
	a.dueTimes.set(s, time.Time{})
	delete(a.schedules, s.schedule.ID)
}

// snapshot yields the account's rows; it is locked while they are read.
func (a *memoryAccount) snapshot() Snapshot {
	return Snapshot{
		Account: a.row,
		Lots: func(yield func(Lot, error) bool) {
			a.lotsAfter(-1)(func(l *memoryLot) bool { return yield(l.lot, nil) })
		},
		Ops: func(yield func(Op, error) bool) {
			for _, o := range a.ops {
				if !yield(o.op, nil) {
					return
				}
			}
		},
		Budgets: func(yield func(Budget, error) bool) {
			for _, id := range slices.Sorted(maps.Keys(a.budgets)) {
				if !yield(a.budgets[id].budget, nil) {
					return
				}
			}
		},
		Schedules: func(yield func(Schedule, error) bool) {
			for _, id := range slices.Sorted(maps.Keys(a.schedules)) {
				if !yield(a.schedules[id].schedule, nil) {
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
