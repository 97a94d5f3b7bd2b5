package credits

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/keytoll/keytoll/errors"
)

var (
	errNothing error = &errors.Error{Code: errors.Canceled, Op: "credits.Batcher", Msg: "every update of the batch was refused"}
	errUnclean error = &errors.Error{Code: errors.Corrupt, Op: "credits.Batcher", Msg: "an update of the batch was neither done nor refused"}
)

// run runs the updates as one, and in halves when one of them is at fault.
func (b *batch) run(ctx context.Context, updates []*waiting) {
	for _, w := range updates {
		w.err, w.panicked = errDied, nil
	}
	m := b.merge
	m.begin(updates)
	err := b.store.Update(ctx, m.needs, m.run)
	m.end()
	switch {
	case err == nil || err == errNothing: //nolint:errorlint // it is returned unchanged
		// Each has its own outcome.
	case len(updates) == 1:
		if w := updates[0]; err != errUnclean { //nolint:errorlint // it is returned unchanged
			w.err = err
		}
	case errors.CodeOf(err) == errors.Corrupt:
		half := len(updates) / 2
		b.run(ctx, updates[:half])
		b.run(ctx, updates[half:])
	default:
		for _, w := range updates {
			w.err = err
		}
	}
}

// A merge is some updates made one. It is used again for the next.
type merge struct {
	updates  []*waiting
	needs    []Need
	run      func(time.Time, []*State) error // decide
	accounts []AccountID
	index    map[AccountID]int // of needs
	scopes   map[scopeOf]struct{}
	states   []*State // of one update
}

// A scopeOf is a scope that one of the needs asks for.
type scopeOf struct {
	need int
	Scope
}

// begin merges the needs of the updates.
func (m *merge) begin(updates []*waiting) {
	if m.index == nil {
		m.index, m.scopes = make(map[AccountID]int), make(map[scopeOf]struct{})
		m.run = m.decide
	}
	m.updates = updates
	for _, w := range updates {
		for i := range w.needs {
			m.accounts = append(m.accounts, w.needs[i].Account)
		}
	}
	slices.Sort(m.accounts)
	m.accounts = slices.Compact(m.accounts)
	for i, account := range m.accounts {
		m.index[account] = i
		m.needs = slices.Grow(m.needs, 1)[:i+1] // with the memory of an earlier batch
		m.needs[i].Account, m.needs[i].Limit = account, -1
	}
	for _, w := range updates {
		for i := range w.needs {
			m.add(&w.needs[i])
		}
	}
	for i := range m.needs {
		m.needs[i].tidy()
	}
	clear(m.scopes)
}

// end forgets the updates, which the batcher must not keep.
func (m *merge) end() {
	for i := range m.needs {
		n := &m.needs[i]
		clear(n.Ops)
		clear(n.Targets)
		clear(n.Spends)
		clear(n.Scopes)
		clear(n.Budgets)
		clear(n.Schedules)
		*n = Need{
			Ops: n.Ops[:0], Targets: n.Targets[:0], Spends: n.Spends[:0], Scopes: n.Scopes[:0],
			Budgets: n.Budgets[:0], Schedules: n.Schedules[:0],
		}
	}
	clear(m.accounts)
	clear(m.index)
	clear(m.states)
	m.updates, m.needs, m.accounts, m.states = nil, m.needs[:0], m.accounts[:0], m.states[:0]
}

// add merges one need with those of its account. A Limit of -1 is none yet.
func (m *merge) add(other *Need) {
	at := m.index[other.Account]
	n := &m.needs[at]
	n.Ops = append(n.Ops, other.Ops...)
	n.Targets = append(n.Targets, other.Targets...)
	n.Budgets = append(n.Budgets, other.Budgets...)
	n.Schedules = append(n.Schedules, other.Schedules...)
	for _, s := range other.Scopes { // there are many, and mostly the same
		key := scopeOf{at, s}
		if _, ok := m.scopes[key]; !ok {
			m.scopes[key] = struct{}{}
			n.Scopes = append(n.Scopes, s)
		}
	}
	for _, s := range other.Spends {
		n.spend(s.Operation, s.Amount)
	}
	switch {
	case n.Limit < 0:
		n.Limit = other.Limit
	case other.Limit == 0 || n.Limit == 0:
		n.Limit = 0
	default:
		n.Limit = max(n.Limit, other.Limit)
	}
}

// tidy drops what is asked for twice. Spends may take from the same lots, so each
// must find enough for all.
func (n *Need) tidy() {
	n.Ops, n.Targets = distinct(n.Ops), distinct(n.Targets)
	n.Budgets, n.Schedules = distinct(n.Budgets), distinct(n.Schedules)
	if len(n.Spends) > 1 {
		all := Amount(0)
		for _, s := range n.Spends {
			all += min(s.Amount, MaxAmount-all)
		}
		for i := range n.Spends {
			n.Spends[i].Amount = all
		}
	}
}

// distinct returns the ids in order, each once.
func distinct[ID cmp.Ordered](ids []ID) []ID {
	if len(ids) < 2 {
		return ids
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// decide runs each update on the states it asked for.
func (m *merge) decide(now time.Time, states []*State) error {
	accepted := false
	for _, w := range m.updates {
		m.states = m.states[:0]
		for i := range w.needs {
			m.states = append(m.states, states[m.index[w.needs[i].Account]])
		}
		w.decide(now, m.states)
		if w.panicked != nil || !clean(w.err) {
			return errUnclean
		}
		accepted = accepted || w.err == nil
	}
	if !accepted {
		return errNothing
	}
	return nil
}

// decide calls w's function, whose panic is its caller's.
func (w *waiting) decide(now time.Time, states []*State) {
	w.err, w.panicked = errDied, nil
	defer func() { w.panicked = recover() }()
	w.err = w.fn(now, states)
}

// clean reports whether an update that ended like this has left the states as
// they were, or as they shall be.
func clean(err error) bool {
	switch errors.CodeOf(err) {
	case errors.Corrupt:
		return false
	case errors.Unknown:
		if _, ok := errors.AsType[*moreError](err); ok || err == nil {
			return true
		}
		_, ok := errors.AsType[*zoneError](err)
		return ok
	}
	return true
}
