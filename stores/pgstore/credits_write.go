package pgstore

import (
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/keytoll/keytoll/credits"
)

// changed are the rows that an update writes, by table and by what becomes of
// them.
type changed struct {
	accounts, ops, lots, budgets, schedules changedRows
	entries                                 table
	accountPlaces, lotPlaces                array // of those that are different
}

// changedRows are rows of one table that are new, different, and gone.
type changedRows struct{ added, updated, removed table }

func (r *changedRows) reset(columns uint32) {
	for _, t := range [...]*table{&r.added, &r.updated, &r.removed} {
		t.reset()
		t.columns = columns
	}
}

// of returns where rows of a change go, nil where they go nowhere.
func (r *changedRows) of(c credits.Change) *table {
	switch c {
	case credits.Added:
		return &r.added
	case credits.Updated:
		return &r.updated
	case credits.Removed:
		return &r.removed
	}
	return nil
}

func (r *changedRows) rows() uint32 { return r.added.n + r.updated.n + r.removed.n }

// gather takes what changed in states, whose rows were at those places. It returns
// whether there is anything.
func (c *changed) gather(states []*credits.State, at []places) (bool, error) {
	c.accounts.reset(accountColumns)
	c.ops.reset(opColumns)
	c.lots.reset(lotColumnsOfTable)
	c.budgets.reset(budgetColumns)
	c.schedules.reset(scheduleColumns)
	c.entries.reset()
	c.entries.columns = entryColumns
	c.accountPlaces.reset()
	c.lotPlaces.reset()
	for n, st := range states {
		if t := c.accounts.of(st.AccountChange); t != nil {
			writeAccount(t, &st.Account)
		}
		if st.AccountChange == credits.Updated {
			c.accountPlaces.place(at[n].account)
		}
		for i := range st.Ops {
			if t := c.ops.of(st.Ops[i].Change); t != nil {
				if err := writeOp(t, &st.Ops[i].Op); err != nil {
					return false, err
				}
			}
		}
		for i := range st.Lots {
			if t := c.lots.of(st.Lots[i].Change); t != nil {
				writeLot(t, &st.Lots[i].Lot)
			}
			if st.Lots[i].Change == credits.Updated {
				c.lotPlaces.place(at[n].lot(i))
			}
		}
		for i := range st.Budgets {
			if t := c.budgets.of(st.Budgets[i].Change); t != nil {
				writeBudget(t, &st.Budgets[i].Budget)
			}
		}
		for i := range st.Schedules {
			if t := c.schedules.of(st.Schedules[i].Change); t != nil {
				writeSchedule(t, &st.Schedules[i].Schedule)
			}
		}
		for i := range st.Entries {
			writeEntry(&c.entries, &st.Entries[i])
		}
	}
	rows := c.accounts.rows() + c.ops.rows() + c.lots.rows() + c.budgets.rows() + c.schedules.rows() + c.entries.n
	return rows > 0, nil
}

// arguments returns what the function credits_write takes.
func (c *changed) arguments(types *rowTypes) [][]byte {
	return [][]byte{
		c.accounts.added.of(types.accounts), c.accounts.updated.of(types.accounts), c.accountPlaces.of(pgtype.TIDOID),
		c.ops.added.of(types.ops), c.ops.updated.of(types.ops), c.ops.removed.of(types.ops),
		c.lots.added.of(types.lots), c.lots.updated.of(types.lots), c.lotPlaces.of(pgtype.TIDOID),
		c.budgets.added.of(types.budgets), c.budgets.updated.of(types.budgets), c.budgets.removed.of(types.budgets),
		c.schedules.added.of(types.schedules), c.schedules.updated.of(types.schedules), c.schedules.removed.of(types.schedules),
		c.entries.of(types.entries),
	}
}

func writeTotals(t *table, n credits.Totals) {
	for _, a := range [totalsColumns]credits.Amount{
		n.Issued, n.Pending, n.Available, n.Held, n.Leased, n.Consumed, n.Expired, n.Suspense, n.Debt,
	} {
		t.number(int64(a))
	}
}

func writeAccount(t *table, a *credits.Account) {
	t.begin()
	t.text(string(a.ID))
	t.number(a.Version)
	t.number(a.Seq)
	t.bytes(a.Head[:])
	t.number(int64(a.LastLot))
	t.number(a.At.UnixMicro())
	writeTotals(t, a.Totals)
	t.number(a.Holds)
	t.number(a.Leases)
	t.number(a.Budgets)
	t.instant(a.RecalledAt)
	t.instant(a.PrunedTo)
	t.end()
}

func writeLot(t *table, l *credits.Lot) {
	rank := l.Rank()
	t.begin()
	t.text(string(l.Account))
	t.number(int64(l.ID))
	t.text(string(l.Op))
	t.text(string(l.Schedule))
	t.small(l.Priority)
	t.small(int(l.Category))
	t.text(string(l.Only))
	t.number(l.EffectiveAt.UnixMicro())
	t.instant(l.ExpiresAt)
	t.number(int64(l.Pruned))
	writeTotals(t, l.Totals)
	t.bytes(rank[:])
	t.instant(l.Due())
	t.truth(l.Totals.Available > 0)
	t.end()
}

// Its forms are given by reference, which copies nothing to the heap.
func writeOp(t *table, o *credits.Op) error {
	t.begin()
	t.text(string(o.Account))
	t.text(string(o.ID))
	t.small(int(o.Kind))
	t.small(int(o.Hold))
	t.bytes(o.Intent[:])
	t.number(o.At.UnixMicro())
	t.number(int64(o.Amount))
	t.text(string(o.Target))
	if err := t.form(&o.Parts); err != nil {
		return err
	}
	if err := t.form(&o.Charges); err != nil {
		return err
	}
	if err := t.form(&o.Terms); err != nil {
		return err
	}
	if err := t.form(&o.Totals); err != nil {
		return err
	}
	t.number(o.Seq)
	for _, s := range [...]string{o.Key, o.Operation, o.Price, o.Note} {
		t.text(s)
	}
	t.small(int(o.Denied))
	t.instant(o.Deadline)
	t.instant(o.SettledAt)
	t.number(int64(o.SettledAmount))
	t.number(int64(o.SettledRest))
	t.number(o.SettledSeq)
	if o.SettledTotals == (credits.Totals{}) {
		t.text("")
	} else if err := t.form(&o.SettledTotals); err != nil {
		return err
	}
	t.instant(o.Due())
	t.instant(o.Prunable())
	t.end()
	return nil
}

func writeBudget(t *table, b *credits.Budget) {
	t.begin()
	for _, s := range [...]string{string(b.Account), string(b.ID), b.Key, b.Operation} {
		t.text(s)
	}
	t.number(int64(b.Amount))
	t.small(int(b.Every))
	t.text(b.Zone)
	t.truth(b.Soft)
	t.text(string(b.Thresholds))
	t.instant(b.Start)
	t.instant(b.End)
	t.number(int64(b.Base))
	t.number(int64(b.Used))
	t.number(int64(b.Held))
	t.number(int64(b.Fired))
	t.end()
}

func writeSchedule(t *table, s *credits.Schedule) {
	t.begin()
	t.text(string(s.Account))
	t.text(string(s.ID))
	t.number(int64(s.Amount))
	t.small(int(s.Unit))
	t.number(int64(s.Every))
	t.number(s.Anchor.UnixMicro())
	t.text(s.Zone)
	t.instant(s.Until)
	t.small(int(s.CatchUp))
	t.number(int64(s.Lifetime / time.Nanosecond))
	t.number(int64(s.Rollover))
	t.small(s.Priority)
	t.small(int(s.Category))
	t.text(string(s.Only))
	t.number(s.Next)
	t.instant(s.NextAt)
	t.end()
}

func writeEntry(t *table, e *credits.Entry) {
	t.begin()
	t.text(string(e.Account))
	t.number(e.Seq)
	t.number(e.At.UnixMicro())
	t.small(int(e.Kind))
	t.small(int(e.From))
	t.small(int(e.To))
	t.text(string(e.Op))
	t.number(int64(e.Lot))
	t.number(int64(e.Amount))
	t.text(e.Key)
	t.text(e.Operation)
	t.text(e.Price)
	t.bytes(e.Hash[:])
	t.end()
}
