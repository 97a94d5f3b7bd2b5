package pgstore

import (
	"encoding/binary"
	"sort"
	"sync"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// The kinds of rows that the function credits_read returns.
const (
	timeKind     = 0
	accountKind  = 1
	opKind       = 2
	lotKind      = 3
	budgetKind   = 4
	scheduleKind = 5
	dueKinds     = 10 // more, where a row comes because it is due
)

// rowTypes are the numbers that the database has for the types of the tables'
// rows.
type rowTypes struct{ accounts, ops, lots, budgets, schedules, entries uint32 }

// A workspace is the memory of one call of Update or View.
type workspace struct {
	wanted  wanted
	changed changed
	states  []*credits.State
	places  []places       // of the rows of each state
	needs   []credits.Need // of the call
	now     time.Time
	types   rowTypes
	at      int            // the state of the row before
	found   int64          // how many accounts have a row
	due     map[dueKey]int // how many rows came because they are due
	seen    struct {
		ops       map[seenKey[credits.OpID]]struct{}
		lots      map[seenKey[credits.LotID]]struct{}
		budgets   map[seenKey[credits.BudgetID]]struct{}
		schedules map[seenKey[credits.ScheduleID]]struct{}
	}
}

// places are where the rows of a state are that the update of one finds there.
type places struct {
	account place
	lots    []place // in the order of the state's
}

// lot returns the place of lot i, and of one that was not loaded the zero one,
// where nothing is found.
func (p *places) lot(i int) place {
	if i < len(p.lots) {
		return p.lots[i]
	}
	return place{}
}

// A seenKey is a row that was loaded, of the state of that number.
type seenKey[ID any] struct {
	state int
	id    ID
}

// A dueKey is a kind of rows of the state of that number.
type dueKey struct{ state, kind int }

// workspaces keeps them from call to call.
type workspaces struct{ pool sync.Pool }

// get returns a workspace for needs.
func (p *workspaces) get(needs []credits.Need) *workspace {
	w, _ := p.pool.Get().(*workspace)
	if w == nil {
		w = &workspace{due: make(map[dueKey]int)}
		w.seen.ops = make(map[seenKey[credits.OpID]]struct{})
		w.seen.lots = make(map[seenKey[credits.LotID]]struct{})
		w.seen.budgets = make(map[seenKey[credits.BudgetID]]struct{})
		w.seen.schedules = make(map[seenKey[credits.ScheduleID]]struct{})
	}
	for len(w.states) < len(needs) {
		w.states, w.places = append(w.states, new(credits.State)), append(w.places, places{})
	}
	w.needs = needs
	w.wanted.gather(needs)
	return w
}

// put takes a workspace back, without what it held.
func (p *workspaces) put(w *workspace) {
	w.empty()
	w.needs = nil
	p.pool.Put(w)
}

// empty makes room for the rows of another try.
func (w *workspace) empty() {
	for i, st := range w.states {
		id := credits.AccountID("")
		if i < len(w.needs) {
			id = w.needs[i].Account
		}
		st.Reset(id)
		w.places[i] = places{lots: w.places[i].lots[:0]}
	}
	w.now, w.types, w.at, w.found = time.Time{}, rowTypes{}, 0, 0
	clear(w.due)
	clear(w.seen.ops)
	clear(w.seen.lots)
	clear(w.seen.budgets)
	clear(w.seen.schedules)
}

// loaded returns the states of the call.
func (w *workspace) loaded() []*credits.State { return w.states[:len(w.needs)] }

// take takes a row of the function credits_read.
func (w *workspace) take(columns [][]byte) error {
	if len(columns) != 3 {
		return errRow
	}
	kind, row := small(columns[0]), columns[1]
	if kind == timeKind {
		return w.begin(row)
	}
	account, err := accountOf(row)
	if err != nil {
		return err
	}
	if !w.turn(account) {
		return errRow
	}
	st := w.states[w.at]
	id := st.Account.ID
	if kind > dueKinds {
		kind -= dueKinds
		key := dueKey{w.at, kind}
		w.due[key]++
		if most := w.needs[w.at].Limit; most > 0 && w.due[key] > most {
			st.More = true // it is left out
			return nil
		}
	}
	switch kind {
	case accountKind:
		w.found++
		copy(w.places[w.at].account[:], columns[2])
		return readAccount(row, &st.Account)
	case opKind:
		var o credits.OpRow
		if err := readOp(row, &o.Op); err != nil {
			return err
		}
		o.Op.Account = id
		if fresh(w.seen.ops, w.at, o.Op.ID) {
			st.Ops = append(st.Ops, o)
		}
	case lotKind:
		var l credits.LotRow
		if err := readLot(row, &l.Lot); err != nil {
			return err
		}
		l.Lot.Account = id
		if fresh(w.seen.lots, w.at, l.Lot.ID) {
			st.Lots = append(st.Lots, l)
			at := place{}
			copy(at[:], columns[2])
			w.places[w.at].lots = append(w.places[w.at].lots, at)
		}
	case budgetKind:
		var b credits.BudgetRow
		if err := readBudget(row, &b.Budget); err != nil {
			return err
		}
		b.Budget.Account = id
		if fresh(w.seen.budgets, w.at, b.Budget.ID) {
			st.Budgets = append(st.Budgets, b)
		}
	case scheduleKind:
		var s credits.ScheduleRow
		if err := readSchedule(row, &s.Schedule); err != nil {
			return err
		}
		s.Schedule.Account = id
		if fresh(w.seen.schedules, w.at, s.Schedule.ID) {
			st.Schedules = append(st.Schedules, s)
		}
	default:
		return errRow
	}
	return nil
}

// turn goes to the state of an account, which is mostly the next one.
func (w *workspace) turn(account []byte) bool {
	if string(account) == string(w.needs[w.at].Account) {
		return true
	}
	if next := w.at + 1; next < len(w.needs) && string(account) == string(w.needs[next].Account) {
		w.at = next
		return true
	}
	// These conversions, unlike those for a function that compares, copy nothing.
	at := sort.Search(len(w.needs), func(i int) bool { return string(w.needs[i].Account) >= string(account) })
	if at == len(w.needs) || string(account) != string(w.needs[at].Account) {
		return false
	}
	w.at = at
	return true
}

// begin takes the first row: the time, and the types of the tables.
func (w *workspace) begin(row []byte) error {
	if len(row) != 8+6*4 {
		return errRow
	}
	w.now = time.UnixMicro(int64(binary.BigEndian.Uint64(row))).UTC()
	for i, into := range [...]*uint32{
		&w.types.accounts, &w.types.ops, &w.types.lots, &w.types.budgets, &w.types.schedules, &w.types.entries,
	} {
		*into = binary.BigEndian.Uint32(row[8+4*i:])
	}
	return nil
}

// fresh notes a row and reports whether it was not noted before.
func fresh[ID comparable](seen map[seenKey[ID]]struct{}, state int, id ID) bool {
	key := seenKey[ID]{state, id}
	if _, ok := seen[key]; ok {
		return false
	}
	seen[key] = struct{}{}
	return true
}
