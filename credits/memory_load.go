package credits

import (
	"maps"
	"slices"
	"time"
)

// A memoryLoad is one account's part of a call: what it loaded, row by row.
type memoryLoad struct {
	home      *memoryShard
	account   *memoryAccount // nil: there is none yet
	lots      []*memoryLot
	ops       []*memoryOp
	budgets   []*memoryBudget
	schedules []*memorySchedule
}

// load fills st as n asks.
func (l *memoryLoad) load(st *State, n *Need, now time.Time) {
	a := l.account
	if a == nil {
		return
	}
	st.Account = a.row
	until := now
	if n.Until.After(now) {
		until = n.Until
	}
	l.loadDue(st, until, n.Limit)
	for _, id := range n.Targets {
		l.addOp(st, a.ops[id], true)
	}
	if !n.Prunable.IsZero() {
		ops, _ := a.prunable.until(n.Prunable, n.Limit)
		for _, o := range ops {
			l.addOp(st, o.memoryOp, true)
		}
	}
	for _, id := range n.Ops {
		l.addOp(st, a.ops[id], false)
	}
	if a.row.Totals.Debt > 0 {
		l.addLot(st, a.debt)
	}
	for _, s := range n.Scopes {
		for _, b := range a.scopes[s] {
			l.addBudget(st, b)
		}
	}
	for _, id := range n.Budgets {
		l.addBudget(st, a.budgets[id])
	}
	for _, id := range n.Schedules {
		l.addSchedule(st, a.schedules[id])
	}
	for i := range n.Spends {
		l.loadSpend(st, &n.Spends[i], now)
	}
	if n.List.Rows != NoRows {
		l.list(st, &n.List)
	}
}

func (l *memoryLoad) loadDue(st *State, until time.Time, limit int) {
	a := l.account
	ops, moreOps := a.dueOps.until(until, limit)
	for _, o := range ops {
		l.addOp(st, o, true)
	}
	lots, moreLots := a.dueLots.until(until, limit)
	for _, lot := range lots {
		l.addLot(st, lot)
		if lot.lot.Schedule != "" {
			l.addSchedule(st, a.schedules[lot.lot.Schedule])
		}
	}
	schedules, moreSchedules := a.dueTimes.until(until, limit)
	for _, s := range schedules {
		l.addSchedule(st, s)
	}
	st.More = moreOps || moreLots || moreSchedules
}

func (l *memoryLoad) loadSpend(st *State, s *Spend, now time.Time) {
	sum := Amount(0)
	for _, lot := range l.account.burn {
		if sum >= s.Amount {
			break
		}
		if !isDue(lot.lot.ExpiresAt, now) && lot.lot.Only.Has(s.Operation) {
			l.addLot(st, lot)
			sum += lot.lot.Totals.Available
		}
	}
}

// list adds the rows that q asks for.
func (l *memoryLoad) list(st *State, q *List) {
	a := l.account
	n := 0
	switch q.Rows {
	case LotRows:
		for lot := range a.lotsAfter(q.Lot) {
			if n++; n > q.Limit {
				break
			}
			l.addLot(st, lot)
		}
	case OpRows, OpenRows, TargetRows:
		ids := make([]OpID, 0, len(a.ops))
		for id, o := range a.ops {
			if string(id) > q.After && q.wants(&o.op) {
				ids = append(ids, id)
			}
		}
		slices.Sort(ids)
		for _, id := range ids[:min(q.Limit, len(ids))] {
			l.addOp(st, a.ops[id], false)
		}
	case BudgetRows:
		for _, id := range slices.Sorted(maps.Keys(a.budgets)) {
			if string(id) > q.After && n < q.Limit {
				l.addBudget(st, a.budgets[id])
				n++
			}
		}
	case ScheduleRows:
		for _, id := range slices.Sorted(maps.Keys(a.schedules)) {
			if string(id) > q.After && n < q.Limit {
				l.addSchedule(st, a.schedules[id])
				n++
			}
		}
	}
}

// wants reports whether an op is one of those that q lists.
func (q *List) wants(o *Op) bool {
	switch q.Rows {
	case OpenRows:
		return o.Hold == HoldOpen || o.Hold == HoldSuspense
	case TargetRows:
		return o.Target == q.Target
	}
	return true
}

// addOp puts o into st once, with the lots and the budgets of its parts if they
// are wanted.
func (l *memoryLoad) addOp(st *State, o *memoryOp, whole bool) {
	if o == nil {
		return
	}
	if o.slot == 0 {
		st.Ops = append(st.Ops, OpRow{Op: o.op})
		l.ops = append(l.ops, o)
		o.slot = int32(len(st.Ops))
	}
	if !whole {
		return
	}
	for i := range o.op.Parts.n {
		l.addLot(st, l.account.lot(o.op.Parts.at(i).Lot))
	}
	for c := range o.op.Charges.All() {
		l.addBudget(st, l.account.budgets[c.Budget])
	}
}

func (l *memoryLoad) addLot(st *State, lot *memoryLot) {
	if lot != nil && lot.slot == 0 {
		st.Lots = append(st.Lots, LotRow{Lot: lot.lot})
		l.lots = append(l.lots, lot)
		lot.slot = int32(len(st.Lots))
	}
}

func (l *memoryLoad) addBudget(st *State, b *memoryBudget) {
	if b != nil && b.slot == 0 {
		st.Budgets = append(st.Budgets, BudgetRow{Budget: b.budget})
		l.budgets = append(l.budgets, b)
		b.slot = int32(len(st.Budgets))
	}
}

func (l *memoryLoad) addSchedule(st *State, s *memorySchedule) {
	if s != nil && s.slot == 0 {
		st.Schedules = append(st.Schedules, ScheduleRow{Schedule: s.schedule})
		l.schedules = append(l.schedules, s)
		s.slot = int32(len(st.Schedules))
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
	for _, b := range l.budgets {
		b.slot = 0
	}
	for _, s := range l.schedules {
		s.slot = 0
	}
	clear(l.lots)
	clear(l.ops)
	clear(l.budgets)
	clear(l.schedules)
	*l = memoryLoad{lots: l.lots[:0], ops: l.ops[:0], budgets: l.budgets[:0], schedules: l.schedules[:0]}
}

// store writes what changed in st, whose first rows are the loaded ones.
func (l *memoryLoad) store(st *State) {
	if !st.changed() {
		return // and no account is made by it
	}
	a := l.account
	if a == nil {
		a = newMemoryAccount()
		a.row.ID = st.Account.ID
		l.home.accounts[st.Account.ID] = a
	}
	if st.AccountChange != Unchanged {
		a.row = st.Account
	}
	for i := range st.Lots {
		l.storeLot(a, &st.Lots[i], i)
	}
	for i := range st.Ops {
		switch row := &st.Ops[i]; row.Change {
		case Added:
			o := &memoryOp{op: row.Op}
			a.ops[row.Op.ID] = o
			a.putOp(o)
		case Updated:
			l.ops[i].op = row.Op
			a.putOp(l.ops[i])
		case Removed:
			a.dropOp(l.ops[i])
		}
	}
	for i := range st.Budgets {
		switch row := &st.Budgets[i]; row.Change {
		case Added:
			a.putBudget(&memoryBudget{budget: row.Budget})
		case Updated:
			a.dropBudget(l.budgets[i]) // its scope may be another one now
			l.budgets[i].budget = row.Budget
			a.putBudget(l.budgets[i])
		case Removed:
			a.dropBudget(l.budgets[i])
		}
	}
	for i := range st.Schedules {
		switch row := &st.Schedules[i]; row.Change {
		case Added:
			a.putSchedule(&memorySchedule{schedule: row.Schedule})
		case Updated:
			l.schedules[i].schedule = row.Schedule
			a.putSchedule(l.schedules[i])
		case Removed:
			a.dropSchedule(l.schedules[i])
		}
	}
	a.journal.append(st.Entries)
}

func (l *memoryLoad) storeLot(a *memoryAccount, row *LotRow, i int) {
	switch row.Change {
	case Added:
		lot := &memoryLot{lot: row.Lot, rank: row.Lot.Rank()}
		if row.Lot.ID == 0 {
			a.debt = lot
			return
		}
		a.lots = append(a.lots, lot)
		a.put(lot, false)
	case Updated:
		lot := l.lots[i]
		before := lot.lot.Totals.Available > 0
		lot.lot = row.Lot
		if row.Lot.ID != 0 {
			a.put(lot, before)
		}
	}
}

// changed reports whether there is anything to write.
func (s *State) changed() bool {
	writes := func(c Change) bool { return c != Unchanged && c != Dropped }
	return s.AccountChange != Unchanged || len(s.Entries) > 0 ||
		slices.ContainsFunc(s.Ops, func(r OpRow) bool { return writes(r.Change) }) ||
		slices.ContainsFunc(s.Lots, func(r LotRow) bool { return writes(r.Change) }) ||
		slices.ContainsFunc(s.Budgets, func(r BudgetRow) bool { return writes(r.Change) }) ||
		slices.ContainsFunc(s.Schedules, func(r ScheduleRow) bool { return writes(r.Change) })
}
