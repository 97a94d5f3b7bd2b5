package sqlitestore

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// listed begins the tables of a query for each of a list, which a loop over it
// finds one by one.
const listed = ` FROM (SELECT value AS listed FROM json_each(?2)) CROSS JOIN `

// A loader fills one state. The sets are of what is in it already.
type loader struct {
	ctx        context.Context //nolint:containedctx // of one call of load
	s          *session
	st         *credits.State
	need       *credits.Need
	now, until int64

	lots      set[credits.LotID]
	ops       set[credits.OpID]
	budgets   set[credits.BudgetID]
	schedules set[credits.ScheduleID]
}

// A set holds ids.
type set[ID comparable] map[ID]struct{}

// add reports whether id is new.
func (s *set[ID]) add(id ID) bool {
	if _, ok := (*s)[id]; ok {
		return false
	}
	if *s == nil {
		*s = make(set[ID])
	}
	(*s)[id] = struct{}{}
	return true
}

func (l *loader) begin(ctx context.Context, s *session, st *credits.State, n *credits.Need, now time.Time) {
	st.Reset(n.Account)
	l.forget()
	l.ctx, l.s, l.st, l.need = ctx, s, st, n
	l.now, l.until = micros(now), micros(now)
	if n.Until.After(now) {
		l.until = micros(n.Until)
	}
}

// forget drops what the last call left.
func (l *loader) forget() {
	clear(l.lots)
	clear(l.ops)
	clear(l.budgets)
	clear(l.schedules)
	l.ctx, l.s, l.st, l.need = nil, nil, nil, nil
}

// load does what the need says, in its order. An account that has no row may
// have ops all the same, and nothing else.
func (l *loader) load() error {
	due, found, err := loadAccount(l.ctx, l.s, &l.st.Account, l.until)
	if err == nil {
		err = l.loadOps(due.ops)
	}
	if err == nil && found {
		err = l.loadDueLots(due.lots)
	}
	if err == nil && found {
		err = l.loadBudgets()
	}
	if err == nil && found {
		err = l.loadSchedules(due.schedules)
	}
	if err == nil && found {
		err = l.loadSpends()
	}
	if err == nil {
		err = l.list(&l.need.List)
	}
	return err
}

// loadOps adds the ops that are due, asked for and prunable, with the lots and
// the budgets of all but those that are only asked for.
func (l *loader) loadOps(due bool) error {
	n := l.need
	if due {
		if err := l.bounded(opsDue, l.until, l.addOp); err != nil {
			return err
		}
	}
	if err := l.opsNamed(n.Targets); err != nil {
		return err
	}
	if !n.Prunable.IsZero() {
		if err := l.texts(opsPrunable, l.addOp, micros(n.Prunable), limit(n.Limit)); err != nil {
			return err
		}
	}
	var lots, budgets []any
	for i := range l.st.Ops {
		for p := range l.st.Ops[i].Op.Parts.All() {
			lots = append(lots, int64(p.Lot))
		}
		for c := range l.st.Ops[i].Op.Charges.All() {
			budgets = append(budgets, string(c.Budget))
		}
	}
	if err := l.lotsNamed(once(lots)); err != nil {
		return err
	}
	if err := l.named(budgetsByID, l.addBudget, once(budgets)); err != nil {
		return err
	}
	return l.opsKnown()
}

// once returns the ids, each once: many ops took from one lot.
func once(ids []any) []any {
	if len(ids) < 2 {
		return ids
	}
	seen := make(set[any])
	return slices.DeleteFunc(ids, func(id any) bool { return !seen.add(id) })
}

// opsNamed adds the ops of these ids that exist.
func (l *loader) opsNamed(ids []credits.OpID) error {
	var missing []any
	for _, id := range ids {
		if _, ok := l.ops[id]; !ok {
			missing = append(missing, string(id))
		}
	}
	if len(missing) == 1 {
		return l.texts(opByID, l.addOp, missing[0])
	}
	return l.named(opsByID, l.addOp, missing)
}

// opsKnown adds the ops that are named in the need as idempotency records. Most
// of them are not there.
func (l *loader) opsKnown() error {
	var known []credits.OpID
	found := func(id string) error {
		known = append(known, credits.OpID(id))
		return nil
	}
	var err error
	if ids := l.need.Ops; len(ids) == 1 {
		err = l.texts(opKnown, found, string(ids[0]))
	} else {
		missing := make([]any, len(ids))
		for i, id := range ids {
			missing[i] = string(id)
		}
		err = l.named(opsKnown, found, missing)
	}
	if err != nil {
		return err
	}
	return l.opsNamed(known)
}

func (l *loader) loadDueLots(due bool) error {
	if due {
		if err := l.bounded(lotsDue, l.until, l.addLot); err != nil {
			return err
		}
		var schedules []any
		for i := range l.st.Lots {
			if id := l.st.Lots[i].Lot.Schedule; id != "" {
				schedules = append(schedules, string(id))
			}
		}
		if err := l.named(schedulesByID, l.addSchedule, schedules); err != nil {
			return err
		}
	}
	if l.st.Account.Totals.Debt > 0 {
		return l.lotsNamed([]any{int64(0)})
	}
	return nil
}

// lotsNamed adds the lots of these ids.
func (l *loader) lotsNamed(ids []any) error {
	if len(ids) == 1 {
		return l.texts(lotByID, l.addLot, ids[0])
	}
	return l.named(lotsByID, l.addLot, ids)
}

func (l *loader) loadBudgets() error {
	if l.st.Account.Budgets == 0 {
		return nil
	}
	scopes := make([]any, len(l.need.Scopes))
	for i, s := range l.need.Scopes {
		scopes[i] = [...]string{s.Key, s.Operation}
	}
	if err := l.named(budgetsByScope, l.addBudget, scopes); err != nil {
		return err
	}
	ids := make([]any, len(l.need.Budgets))
	for i, id := range l.need.Budgets {
		ids[i] = string(id)
	}
	return l.named(budgetsByID, l.addBudget, ids)
}

func (l *loader) loadSchedules(due bool) error {
	if due {
		if err := l.bounded(schedulesDue, l.until, l.addSchedule); err != nil {
			return err
		}
	}
	ids := make([]any, len(l.need.Schedules))
	for i, id := range l.need.Schedules {
		ids[i] = string(id)
	}
	return l.named(schedulesByID, l.addSchedule, ids)
}

// loadSpends reads the lots in the order in which they burn, once for all
// spends, until each has what it asks for.
func (l *loader) loadSpends() error {
	type wish struct {
		operation string
		rest      credits.Amount
	}
	var few [2]wish
	wishes := few[:0]
	for _, s := range l.need.Spends {
		if s.Amount > 0 {
			wishes = append(wishes, wish{s.Operation, s.Amount})
		}
	}
	if len(wishes) == 0 || l.st.Account.Totals.Available == 0 {
		return nil
	}
	err := l.texts(lotsBurn, func(text string) error {
		lot, err := unpackLot(l.st.Account.ID, text)
		if err != nil {
			return err
		}
		wanted, open := false, false
		for i := range wishes {
			w := &wishes[i]
			if w.rest > 0 && lot.Only.Has(w.operation) {
				wanted = true
				w.rest -= min(w.rest, lot.Totals.Available)
			}
			open = open || w.rest > 0
		}
		if wanted && l.lots.add(lot.ID) {
			l.st.Lots = append(l.st.Lots, credits.LotRow{Lot: lot})
		}
		if !open {
			return errEnough
		}
		return nil
	}, l.now)
	return err
}

// list adds the rows that q asks for.
func (l *loader) list(q *credits.List) error {
	switch q.Rows {
	case credits.LotRows:
		return l.texts(lotsAfter, l.addLot, int64(q.Lot), q.Limit)
	case credits.OpRows:
		return l.texts(opsAfter, l.addOp, q.After, q.Limit)
	case credits.OpenRows:
		return l.texts(opsOpen, l.addOp, q.After, q.Limit)
	case credits.TargetRows:
		return l.texts(opsOfTarget, l.addOp, q.After, q.Limit, string(q.Target))
	case credits.BudgetRows:
		return l.texts(budgetsAfter, l.addBudget, q.After, q.Limit)
	case credits.ScheduleRows:
		return l.texts(schedulesAfter, l.addSchedule, q.After, q.Limit)
	}
	return nil
}

// texts calls add for each row of a query of the account.
func (l *loader) texts(query string, add func(text string) error, args ...any) error {
	return l.s.texts(l.ctx, query, append([]any{string(l.need.Account)}, args...), add)
}

// bounded calls add for each row that is due, or for as many as the need allows,
// and notes that there are more.
func (l *loader) bounded(query string, until int64, add func(text string) error) error {
	most, n := l.need.Limit, 0
	return l.texts(query, func(text string) error {
		if n++; most > 0 && n > most {
			l.st.More = true
			return errEnough
		}
		return add(text)
	}, until, limit(most)+min(most, 1))
}

// limit is n as SQL has it.
func limit(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

// named calls add for each row of a query whose second argument is a list.
func (l *loader) named(query string, add func(text string) error, list []any) error {
	if len(list) == 0 {
		return nil
	}
	text, err := json.Marshal(list)
	if err != nil {
		return err
	}
	return l.texts(query, add, string(text))
}

func (l *loader) addLot(text string) error {
	lot, err := unpackLot(l.need.Account, text)
	if err == nil && l.lots.add(lot.ID) {
		l.st.Lots = append(l.st.Lots, credits.LotRow{Lot: lot})
	}
	return err
}

func (l *loader) addOp(text string) error {
	op, err := unpackOp(l.need.Account, text)
	if err == nil && l.ops.add(op.ID) {
		l.st.Ops = append(l.st.Ops, credits.OpRow{Op: op})
	}
	return err
}

func (l *loader) addBudget(text string) error {
	b, err := unpackBudget(l.need.Account, text)
	if err == nil && l.budgets.add(b.ID) {
		l.st.Budgets = append(l.st.Budgets, credits.BudgetRow{Budget: b})
	}
	return err
}

func (l *loader) addSchedule(text string) error {
	c, err := unpackSchedule(l.need.Account, text)
	if err == nil && l.schedules.add(c.ID) {
		l.st.Schedules = append(l.st.Schedules, credits.ScheduleRow{Schedule: c})
	}
	return err
}
