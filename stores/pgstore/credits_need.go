package pgstore

import (
	"encoding/binary"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/keytoll/keytoll/credits"
)

// wanted is what needs ask for, as the function credits_read takes it.
type wanted struct {
	given                                     [8]byte
	accounts, untils, limits, prunables       array
	opAccounts, opIDs                         array
	targetAccounts, targetIDs                 array
	scopeAccounts, scopeKeys, scopeOperations array
	budgetAccounts, budgetIDs                 array
	scheduleAccounts, scheduleIDs             array
	spendAccounts, spendOperations, spendSums array
	listAccounts, listRows, listAfters        array
	listLots, listTargets, listLimits         array
}

// An arrayArgument is an array with the type of its elements.
type arrayArgument struct {
	array *array
	kind  uint32
}

// list returns the arrays in the order of the function's arguments.
func (w *wanted) list() [24]arrayArgument {
	return [...]arrayArgument{
		{&w.accounts, pgtype.TextOID}, {&w.untils, pgtype.Int8OID}, {&w.limits, pgtype.Int8OID}, {&w.prunables, pgtype.Int8OID},
		{&w.opAccounts, pgtype.TextOID}, {&w.opIDs, pgtype.TextOID},
		{&w.targetAccounts, pgtype.TextOID}, {&w.targetIDs, pgtype.TextOID},
		{&w.scopeAccounts, pgtype.TextOID}, {&w.scopeKeys, pgtype.TextOID}, {&w.scopeOperations, pgtype.TextOID},
		{&w.budgetAccounts, pgtype.TextOID}, {&w.budgetIDs, pgtype.TextOID},
		{&w.scheduleAccounts, pgtype.TextOID}, {&w.scheduleIDs, pgtype.TextOID},
		{&w.spendAccounts, pgtype.TextOID}, {&w.spendOperations, pgtype.TextOID}, {&w.spendSums, pgtype.Int8OID},
		{&w.listAccounts, pgtype.TextOID}, {&w.listRows, pgtype.Int8OID}, {&w.listAfters, pgtype.TextOID},
		{&w.listLots, pgtype.Int8OID}, {&w.listTargets, pgtype.TextOID}, {&w.listLimits, pgtype.Int8OID},
	}
}

// gather takes what needs ask for.
func (w *wanted) gather(needs []credits.Need) {
	for _, a := range w.list() {
		a.array.reset()
	}
	for i := range needs {
		n := &needs[i]
		account := string(n.Account)
		w.accounts.text(account)
		w.untils.instant(n.Until)
		w.limits.number(int64(n.Limit))
		w.prunables.instant(n.Prunable)
		for _, id := range n.Ops {
			w.opAccounts.text(account)
			w.opIDs.text(string(id))
		}
		for _, id := range n.Targets {
			w.targetAccounts.text(account)
			w.targetIDs.text(string(id))
		}
		for _, s := range n.Scopes {
			w.scopeAccounts.text(account)
			w.scopeKeys.text(s.Key)
			w.scopeOperations.text(s.Operation)
		}
		for _, id := range n.Budgets {
			w.budgetAccounts.text(account)
			w.budgetIDs.text(string(id))
		}
		for _, id := range n.Schedules {
			w.scheduleAccounts.text(account)
			w.scheduleIDs.text(string(id))
		}
		for _, s := range n.Spends {
			w.spendAccounts.text(account)
			w.spendOperations.text(s.Operation)
			w.spendSums.number(int64(s.Amount))
		}
		if l := &n.List; l.Rows != credits.NoRows {
			w.listAccounts.text(account)
			w.listRows.number(int64(l.Rows))
			w.listAfters.text(l.After)
			w.listLots.number(int64(l.Lot))
			w.listTargets.text(string(l.Target))
			w.listLimits.number(int64(l.Limit))
		}
	}
}

// arguments returns what the function takes; now is the time, or zero for the
// server's.
func (w *wanted) arguments(now time.Time) [][]byte {
	list := w.list()
	all := make([][]byte, 1, 1+len(list))
	if !now.IsZero() {
		binary.BigEndian.PutUint64(w.given[:], uint64(now.UnixMicro()))
		all[0] = w.given[:]
	}
	for _, a := range list {
		all = append(all, a.array.of(a.kind))
	}
	return all
}
