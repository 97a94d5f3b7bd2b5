package creditstest

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// flaws are the faults that stores have had, or were near to having.
func flaws() []flaw {
	return slices.Concat(flawsOfUpdate(), flawsOfWriting(), flawsOfSharing(), flawsOfNeeds(), flawsOfDue(), flawsOfLists(), flawsOfReading(), flawsOfTime(), flawsOfLedgers())
}

func flawsOfUpdate() []flaw {
	return []flaw{
		{"makes up an account", "a new account is zero", "new", broken{loaded: func(_ credits.Need, s *credits.State) {
			s.Account.LastLot = max(s.Account.LastLot, 1)
		}}},
		{"makes an account by looking", "a new account is zero", "nothing was written", broken{decided: func(s *credits.State) {
			if s.AccountChange == credits.Unchanged && s.Account.Version == 0 && len(s.Ops) == 0 {
				s.Account.Version, s.AccountChange = 1, credits.Added
			}
		}}},
		{"keeps seconds", "every field", "lot", broken{decided: func(s *credits.State) {
			for i := range s.Lots {
				s.Lots[i].Lot.EffectiveAt = s.Lots[i].Lot.EffectiveAt.Truncate(time.Second)
				s.Lots[i].Lot.ExpiresAt = s.Lots[i].Lot.ExpiresAt.Truncate(time.Second)
			}
		}}},
		{"turns no expiry into 1970", "every field", "lot", broken{decided: func(s *credits.State) {
			for i := range s.Lots {
				if l := &s.Lots[i].Lot; l.ExpiresAt.IsZero() {
					l.ExpiresAt = time.Unix(0, 0).UTC()
				}
			}
		}}},
		{"turns 1970 into no instant", "every field", "budget", broken{decided: func(s *credits.State) {
			for i := range s.Budgets {
				if b := &s.Budgets[i].Budget; b.Start.Equal(time.Unix(0, 0)) {
					b.Start = time.Time{}
				}
			}
		}}},
		{"forgets the charges of ops", "every field", "op", broken{decided: func(s *credits.State) {
			for i := range s.Ops {
				s.Ops[i].Op.Charges = credits.Charges{}
			}
		}}},
		{"forgets the terms of ops", "every field", "op", broken{decided: func(s *credits.State) {
			for i := range s.Ops {
				s.Ops[i].Op.Terms = credits.Terms{}
			}
		}}},
		{"forgets what a schedule restricts", "every field", "schedule", broken{decided: func(s *credits.State) {
			for i := range s.Schedules {
				s.Schedules[i].Schedule.Only = ""
			}
		}}},
		{"forgets an account's recall", "every field", "account", broken{decided: func(s *credits.State) { s.Account.RecalledAt = time.Time{} }}},
		{"loses entries", "entries of every kind", "entry", broken{decided: func(s *credits.State) { s.Entries = nil }}},
		{"loses hashes", "entries of every kind", "entry", broken{decided: func(s *credits.State) {
			for i := range s.Entries {
				s.Entries[i].Hash = credits.Hash{}
			}
		}}},
		{"answers from a cache", "every later call", "Accounts right after", broken{accounts: func(ids []credits.AccountID) []credits.AccountID {
			return slices.DeleteFunc(ids, func(id credits.AccountID) bool { return id == "account 3" })
		}}},
		{"commits a refusal", "an error of fn", "error of fn", broken{outcome: func(error) error { return nil }}},
		{"wraps fn's error", "an error of fn", "error of fn", broken{outcome: func(err error) error {
			if err != nil {
				return fmt.Errorf("rolled back: %w", err)
			}
			return nil
		}}},
		{"writes one account of a refused update", "an error of fn", "", broken{alone: true}},
		{"writes the first account alone", "several accounts", "account", broken{decided: func(s *credits.State) {
			if s.Account.ID != "A" && s.AccountChange == credits.Updated {
				s.AccountChange, s.Lots, s.Entries = credits.Unchanged, nil, nil
			}
		}}},
		{"mixes ids of accounts", "rows of two accounts", "", broken{account: func(id credits.AccountID) credits.AccountID { return id[:1] }}},
		{"folds case", "ids are compared", "account", broken{account: func(id credits.AccountID) credits.AccountID {
			return credits.AccountID(strings.ToLower(string(id)))
		}}},
		{"trims spaces of ops", "ids are compared", "op", broken{need: func(n *credits.Need) {
			n.Ops = slices.Clone(n.Ops)
			for i := range n.Ops {
				n.Ops[i] = credits.OpID(strings.TrimRight(string(n.Ops[i]), " "))
			}
		}}},
		{"folds case of scopes", "ids are compared", "budgets", broken{need: func(n *credits.Need) {
			n.Scopes = slices.Clone(n.Scopes)
			for i := range n.Scopes {
				n.Scopes[i].Key = strings.ToLower(n.Scopes[i].Key)
			}
		}}},
		{"has a local clock of nanoseconds", "now is in UTC", "now is", broken{now: func(t time.Time) time.Time { return t.Add(1).In(time.FixedZone("x", 3600)) }}},
	}
}

// writesChange writes rows of one kind as if their change was another one.
func writesChange(lots, ops, budgets, schedules func(c credits.Change) credits.Change) broken {
	return broken{decided: func(s *credits.State) {
		for i := range s.Lots {
			if lots != nil {
				s.Lots[i].Change = lots(s.Lots[i].Change)
			}
		}
		for i := range s.Ops {
			if ops != nil {
				s.Ops[i].Change = ops(s.Ops[i].Change)
			}
		}
		for i := range s.Budgets {
			if budgets != nil {
				s.Budgets[i].Change = budgets(s.Budgets[i].Change)
			}
		}
		for i := range s.Schedules {
			if schedules != nil {
				s.Schedules[i].Change = schedules(s.Schedules[i].Change)
			}
		}
	}}
}

// instead returns a function that takes one change for another.
func instead(of, taken credits.Change) func(credits.Change) credits.Change {
	return func(c credits.Change) credits.Change {
		if c == of {
			return taken
		}
		return c
	}
}

func flawsOfWriting() []flaw {
	lost := instead(credits.Updated, credits.Unchanged)
	stays := instead(credits.Removed, credits.Unchanged)
	eager := instead(credits.Unchanged, credits.Updated)
	kept := instead(credits.Dropped, credits.Added)
	list := []flaw{
		{"forgets what was pruned of a lot", "everything that an update may change", "lot", broken{decided: func(s *credits.State) {
			for i := range s.Lots {
				if s.Lots[i].Change == credits.Updated {
					s.Lots[i].Lot.Pruned = 0
				}
			}
		}}},
		{"keeps the deadline of an op", "everything that an update may change", "op", broken{decided: func(s *credits.State) {
			for i := range s.Ops {
				if s.Ops[i].Change == credits.Updated {
					s.Ops[i].Op.Deadline = time.Time{}
				}
			}
		}}},
		{"keeps the scope of a budget", "everything that an update may change", "budget", broken{decided: func(s *credits.State) {
			for i := range s.Budgets {
				if s.Budgets[i].Change == credits.Updated {
					s.Budgets[i].Budget.Key = "key"
				}
			}
		}}},
		{"keeps the anchor of a schedule", "everything that an update may change", "schedule", broken{decided: func(s *credits.State) {
			for i := range s.Schedules {
				if s.Schedules[i].Change == credits.Updated {
					s.Schedules[i].Schedule.Anchor = time.Unix(0, 0).UTC()
				}
			}
		}}},
		{"keeps the terms of lot 0", "lot 0 is written", "lot", broken{decided: func(s *credits.State) {
			for i := range s.Lots {
				if s.Lots[i].Change == credits.Updated {
					s.Lots[i].Lot.Priority = 0
				}
			}
		}}},
		{"writes an unmarked account", "rows that are not marked", "account", broken{decided: func(s *credits.State) {
			if s.AccountChange == credits.Unchanged && s.Account.Version > 0 {
				s.AccountChange = credits.Updated
			}
		}}},
		{"only marks what it removes", "a removed row can be made again", "op 0188", broken{decided: func(s *credits.State) {
			for i := range s.Ops {
				if s.Ops[i].Change == credits.Added && s.Ops[i].Op.Note == "second" {
					s.Ops[i].Change = credits.Dropped
				}
			}
		}}},
		{"skips what hangs on an account that does not change", "rows are written though", "", broken{decided: func(s *credits.State) {
			if s.AccountChange == credits.Unchanged {
				s.Ops, s.Lots, s.Budgets, s.Schedules = nil, nil, nil, nil
			}
		}}},
		{"has ops of accounts alone", "an op may be added", "op denied", broken{decided: func(s *credits.State) {
			if s.AccountChange == credits.Unchanged && s.Account.Version == 0 {
				s.Ops = nil
			}
		}}},
		{"makes an account for an op", "an op may be added", "account", broken{decided: func(s *credits.State) {
			if s.AccountChange == credits.Unchanged && s.Account.Version == 0 && len(s.Ops) > 0 {
				s.Account.Version, s.AccountChange = 1, credits.Added
			}
		}}},
		{"removes the next one too", "removed rows are gone", "op o", broken{decided: func(s *credits.State) {
			for i := range s.Ops {
				if s.Ops[i].Op.ID == "o" && s.Ops[0].Change == credits.Removed {
					s.Ops[i].Change = credits.Removed
				}
			}
		}}},
	}
	for what, of := range map[string]func(func(credits.Change) credits.Change) broken{
		"lots":      func(c func(credits.Change) credits.Change) broken { return writesChange(c, nil, nil, nil) },
		"ops":       func(c func(credits.Change) credits.Change) broken { return writesChange(nil, c, nil, nil) },
		"budgets":   func(c func(credits.Change) credits.Change) broken { return writesChange(nil, nil, c, nil) },
		"schedules": func(c func(credits.Change) credits.Change) broken { return writesChange(nil, nil, nil, c) },
	} {
		row := strings.TrimSuffix(what, "s")
		list = append(list,
			flaw{"loses updates of " + what, "updated rows", row, of(lost)},
			flaw{"writes unmarked " + what, "rows that are not marked", row, of(eager)})
		if what == "lots" {
			continue
		}
		list = append(list,
			flaw{"does not remove " + what, "removed rows are gone", row, of(stays)},
			flaw{"writes dropped " + what, "dropped rows", row, of(kept)})
	}
	return list
}

func flawsOfSharing() []flaw {
	return []flaw{
		{"does not exclude", "updates of one account", "", broken{split: true}},
		{"does not exclude over several accounts", "updates of overlapping", "", broken{split: true}},
		{"reads rows one after the other", "each state that View shows", "different moments", broken{apart: true}},
		{"reads rows one after the other", "Inspect shows", "", broken{apart: true}},
		{"is deaf to the context", "a context that is done", "with a context that is done returned <nil>", broken{deaf: true}},
		{"leaves while fn runs", "fn has ended", "before fn did", broken{hasty: true}},
		{"hands out states of before", "needs are not kept", "of another call", broken{kept: new([]*credits.State)}},
	}
}

func flawsOfNeeds() []flaw {
	loads := func(f func(n credits.Need, s *credits.State)) broken { return broken{loaded: f} }
	asks := func(f func(n *credits.Need)) broken { return broken{need: f} }
	return []flaw{
		{"forgets ops that are targets", "ops that are named", "op 3", asks(func(n *credits.Need) { n.Targets = nil })},
		{"makes up ops", "ops that are named", "", loads(func(n credits.Need, s *credits.State) {
			for _, id := range n.Ops {
				if !slices.ContainsFunc(s.Ops, func(r credits.OpRow) bool { return r.Op.ID == id }) {
					s.Ops = append(s.Ops, credits.OpRow{Op: credits.Op{ID: id}})
				}
			}
		})},
		{"forgets named budgets", "budgets and schedules that are named", "budget", asks(func(n *credits.Need) { n.Budgets = nil })},
		{"forgets named schedules", "budgets and schedules that are named", "schedule", asks(func(n *credits.Need) { n.Schedules = nil })},
		{"forgets spent lots of targets", "lots of a target's parts", "lot", loads(func(_ credits.Need, s *credits.State) {
			dropLots(s, func(l *credits.Lot) bool { return l.ID > 0 && l.Totals.Available == 0 && l.Totals.Pending == 0 })
		})},
		{"forgets lot 0 of targets", "lots of a target's parts", "lot 0", loads(func(_ credits.Need, s *credits.State) {
			dropLots(s, func(l *credits.Lot) bool { return l.ID == 0 && l.Totals.Debt == 0 })
		})},
		{"loads the budgets of one target", "budgets of a target's charges", "budget", loads(func(_ credits.Need, s *credits.State) {
			s.Budgets = s.Budgets[:min(1, len(s.Budgets))]
		})},
		{"does not know debts", "lot 0 is loaded whenever", "lot 0", loads(func(_ credits.Need, s *credits.State) {
			dropLots(s, func(l *credits.Lot) bool { return l.ID == 0 })
		})},
		{"finds budgets by key alone", "budgets are loaded by the scopes", "budget", asks(func(n *credits.Need) {
			n.Scopes = slices.Clone(n.Scopes)
			for i := range n.Scopes {
				n.Scopes[i].Operation = ""
			}
		})},
		{"finds one budget of a scope", "budgets are loaded by the scopes", "budget all too", loads(func(_ credits.Need, s *credits.State) {
			s.Budgets = slices.DeleteFunc(s.Budgets, func(r credits.BudgetRow) bool { return r.Budget.ID == "all too" })
		})},
		{"does not prune", "ops that can be pruned", "op", asks(func(n *credits.Need) { n.Prunable = time.Time{} })},
		{"prunes before the instant alone", "ops that can be pruned", "op", asks(func(n *credits.Need) {
			if !n.Prunable.IsZero() {
				n.Prunable = n.Prunable.Add(-1 * time.Microsecond)
			}
		})},
		{"prunes the latest first", "ops that can be pruned", "op", loads(func(n credits.Need, s *credits.State) {
			if n.Limit == 1 {
				dropOps(s, func(o *credits.Op) bool { return o.ID == old1 })
			}
		})},
		{"forgets the lots of ops to prune", "lots and budgets of ops that are loaded to be pruned", "lot", loads(func(_ credits.Need, s *credits.State) { s.Lots = nil })},
		{"forgets the budgets of ops to prune", "lots and budgets of ops that are loaded to be pruned", "budget", loads(func(_ credits.Need, s *credits.State) { s.Budgets = nil })},
		{"loads lots twice", "a row that several rules", "twice", loads(func(_ credits.Need, s *credits.State) { s.Lots = slices.Concat(s.Lots, s.Lots) })},
		{"loads ops twice", "a row that several rules", "twice", loads(func(_ credits.Need, s *credits.State) { s.Ops = slices.Concat(s.Ops, s.Ops) })},
		{"loads budgets twice", "a row that several rules", "twice", loads(func(_ credits.Need, s *credits.State) { s.Budgets = slices.Concat(s.Budgets, s.Budgets) })},
		{"loads schedules twice", "a row that several rules", "twice", loads(func(_ credits.Need, s *credits.State) { s.Schedules = slices.Concat(s.Schedules, s.Schedules) })},
		{"stops one lot short", "available lots are loaded", "lot", loads(func(n credits.Need, s *credits.State) {
			if len(s.Lots) > 1 && len(n.Spends) > 0 {
				s.Lots = s.Lots[:len(s.Lots)-1]
			}
		})},
		{"counts due lots for a spend", "lots that are due or pending", "lot", loads(func(n credits.Need, s *credits.State) {
			dropLots(s, func(l *credits.Lot) bool { return len(n.Spends) > 0 && l.ID == 5 })
		})},
		{"knows no restriction", "a spend counts the lots", "lot", asks(func(n *credits.Need) {
			n.Spends = slices.Clone(n.Spends)
			for i := range n.Spends {
				n.Spends[i].Operation = ""
			}
		})},
		{"looks for an operation within names", "a spend counts the lots", "lot", loads(func(n credits.Need, s *credits.State) {
			dropLots(s, func(l *credits.Lot) bool { return len(n.Spends) > 0 && n.Spends[0].Operation == "im" && l.ID == 4 })
		})},
		{"loads for the first spend alone", "each of several spends", "lot", asks(func(n *credits.Need) { n.Spends = n.Spends[:min(1, len(n.Spends))] })},
		{"keeps the burn order of when lots were made", "what an update changed decides what a spend", "lot 3", loads(func(n credits.Need, s *credits.State) {
			dropLots(s, func(l *credits.Lot) bool { return len(n.Spends) > 0 && l.ID == 3 && l.Totals.Available == 10 })
		})},
	}
}

func flawsOfDue() []flaw {
	loads := func(f func(n credits.Need, s *credits.State)) broken { return broken{loaded: f} }
	return []flaw{
		{"forgets due ops", "ops that are due", "op", loads(func(_ credits.Need, s *credits.State) {
			dropOps(s, func(o *credits.Op) bool { return !o.Due().IsZero() })
		})},
		{"forgets due leases", "ops that are due", "op lease", loads(func(_ credits.Need, s *credits.State) {
			dropOps(s, func(o *credits.Op) bool { return o.Kind == credits.KindLease })
		})},
		{"forgets the budgets of due ops", "ops that are due", "budget", loads(func(_ credits.Need, s *credits.State) { s.Budgets = nil })},
		{"forgets the lots of due ops", "ops that are due", "lot", loads(func(_ credits.Need, s *credits.State) { s.Lots = nil })},
		{"forgets due lots", "lots that are due are loaded", "lot", loads(func(_ credits.Need, s *credits.State) {
			dropLots(s, func(l *credits.Lot) bool { return !l.Due().IsZero() })
		})},
		{"forgets lots that take effect", "lots that are due are loaded", "lot 5", loads(func(_ credits.Need, s *credits.State) {
			dropLots(s, func(l *credits.Lot) bool { return l.Totals.Pending > 0 })
		})},
		{"forgets the schedules of due lots", "lots that are due are loaded", "schedule", loads(func(_ credits.Need, s *credits.State) { s.Schedules = nil })},
		{"forgets due schedules", "schedules that are due", "schedule", loads(func(_ credits.Need, s *credits.State) { s.Schedules = nil })},
		{"does not look ahead", "with Until", "op 1", broken{need: func(n *credits.Need) { n.Until = time.Time{} }}},
		{"looks back", "with Until", "op 0", loads(func(n credits.Need, s *credits.State) {
			if !n.Until.IsZero() {
				dropOps(s, func(o *credits.Op) bool { return o.Due().After(n.Until) })
			}
		})},
		{"orders by ID alone", "with Limit the first", "lot", loads(func(n credits.Need, s *credits.State) {
			if n.Limit == 1 {
				dropLots(s, func(l *credits.Lot) bool { return l.ID == 10 })
			}
		})},
		{"orders by Due alone", "with Limit the first", "op 2", loads(func(n credits.Need, s *credits.State) {
			if n.Limit == 3 {
				dropOps(s, func(o *credits.Op) bool { return o.ID == "2" })
			}
		})},
		{"never says More", "More says", "More", loads(func(_ credits.Need, s *credits.State) { s.More = false })},
		{"says More when the limit is met", "More says", "More", loads(func(n credits.Need, s *credits.State) {
			s.More = s.More || n.Limit > 0 && len(s.Lots) == n.Limit
		})},
		{"keeps what was due when it was made", "what an update changed decides what is due", "op", loads(func(n credits.Need, s *credits.State) {
			if n.Limit == 1 {
				dropOps(s, func(o *credits.Op) bool { return o.ID == "1" })
			}
		})},
	}
}

func flawsOfLists() []flaw {
	asks := func(rows credits.Rows, f func(l *credits.List)) broken {
		return broken{need: func(n *credits.Need) {
			if n.List.Rows == rows {
				f(&n.List)
			}
		}}
	}
	none := func(l *credits.List) { l.Rows = credits.NoRows }
	short := func(l *credits.List) { l.Limit-- }
	first := func(l *credits.List) { l.After = "" }
	return []flaw{
		{"has no lot 0 in lists", "lots are listed", "lot 0", asks(credits.LotRows, func(l *credits.List) { l.Lot = max(l.Lot, 0) })},
		{"lists too few lots", "lots are listed", "lot", asks(credits.LotRows, short)},
		{"lists no ops", "ops are listed", "op", asks(credits.OpRows, none)},
		{"lists ops from the beginning", "ops are listed", "op", asks(credits.OpRows, first)},
		{"lists no open ops", "open ops", "op", asks(credits.OpenRows, none)},
		{"lists open holds without leases in suspense", "open ops", "op b", broken{loaded: func(_ credits.Need, s *credits.State) {
			dropOps(s, func(o *credits.Op) bool { return o.Hold == credits.HoldSuspense })
		}}},
		{"lists all ops for open ones", "open ops", "op", asks(credits.OpenRows, func(l *credits.List) { l.Rows = credits.OpRows })},
		{"lists no ops of targets", "ops of a target", "op", asks(credits.TargetRows, none)},
		{"folds case of targets", "ops of a target", "op", asks(credits.TargetRows, func(l *credits.List) { l.Target = "x" })},
		{"lists too few budgets", "budgets are listed", "budget", asks(credits.BudgetRows, short)},
		{"lists budgets from the beginning", "budgets are listed", "budget", asks(credits.BudgetRows, first)},
		{"lists too few schedules", "schedules are listed", "schedule", asks(credits.ScheduleRows, short)},
		{"lists schedules from the beginning", "schedules are listed", "schedule", asks(credits.ScheduleRows, first)},
	}
}

func flawsOfReading() []flaw {
	wraps := func(err error) error {
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		return nil
	}
	shared := make([]credits.Entry, 0, 8)
	return []flaw{
		{"writes what View changed", "View drops", "", broken{writes: true}},
		{"wraps the error of a view", "View drops", "error of fn", broken{viewed: wraps}},
		{"lists from the wrong place", "Entries lists", "entries of", broken{entries: func(q credits.EntryQuery) credits.EntryQuery {
			if q.After > 0 {
				q.After--
			}
			return q
		}}},
		{"lists one order", "Entries lists", "entries of", broken{entries: func(q credits.EntryQuery) credits.EntryQuery { q.Descending = false; return q }}},
		{"lends its own entries", "the caller owns", "entries after", broken{listed: func(list []credits.Entry) []credits.Entry {
			if len(shared) == 0 {
				shared = append(shared, list...)
			}
			return shared
		}}},
		{"lists accounts in any order", "Accounts lists", "accounts after", broken{accounts: func(ids []credits.AccountID) []credits.AccountID {
			slices.Reverse(ids)
			return ids
		}}},
		{"yields budgets in any order", "Inspect yields", "row", broken{snapshot: func(s *credits.Snapshot) { s.Budgets = reversed(s.Budgets) }}},
		{"yields schedules in any order", "Inspect yields", "row", broken{snapshot: func(s *credits.Snapshot) { s.Schedules = reversed(s.Schedules) }}},
		{"yields lots in any order", "Inspect yields", "row", broken{snapshot: func(s *credits.Snapshot) { s.Lots = reversed(s.Lots) }}},
		{"yields entries in any order", "Inspect yields", "row", broken{snapshot: func(s *credits.Snapshot) { s.Entries = reversed(s.Entries) }}},
		{"says that it knows no such account", "Inspect knows nothing", "not found", broken{shown: func(err error) error {
			if err == nil {
				return errors.New("not found")
			}
			return err
		}}},
		{"wraps the error of an inspection", "Inspect knows nothing", "error of fn", broken{shown: wraps}},
	}
}

// reversed yields the same, last first.
func reversed[R any](rows iter.Seq2[R, error]) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		var all []R
		for r, err := range rows {
			if err != nil {
				yield(r, err)
				return
			}
			all = append(all, r)
		}
		for _, r := range slices.Backward(all) {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func flawsOfTime() []flaw {
	return []flaw{
		{"has a clock of its own", "now is the store's clock", "moved", broken{stuck: true}},
		{"has a clock that stands", "the clock moves on its own", "stands still", broken{}},
		{"has a clock of seconds", "what is due is loaded from the very microsecond", "", broken{need: func(n *credits.Need) { n.Until = time.Date(2027, 1, 31, 10, 0, 2, 0, time.UTC) }}},
		{"takes expired lots", "a lot counts for a spend", "lot 2", broken{loaded: func(n credits.Need, s *credits.State) {
			dropLots(s, func(l *credits.Lot) bool { return len(n.Spends) > 0 && l.ID == 2 })
		}}},
		{"never times out", "a hold times out", "balance", broken{loaded: func(_ credits.Need, s *credits.State) {
			dropOps(s, func(o *credits.Op) bool { return !o.Due().IsZero() })
		}}},
	}
}

func flawsOfLedgers() []flaw {
	other := broken{loaded: func(n credits.Need, s *credits.State) {
		if len(n.Spends) > 0 && len(s.Lots) > 1 {
			s.Lots = s.Lots[1:]
		}
	}}
	forgets := broken{loaded: func(n credits.Need, s *credits.State) {
		if len(n.Targets) == 0 {
			s.Ops = nil
		}
	}}
	list := []flaw{
		{"does not exclude", "on the last credits", "", broken{split: true}},
		{"lets others in before it writes", "who decides while", "of two callers", broken{split: true}},
		{"does not exclude retries", "a command that many retry", "", broken{split: true}},
		{"does not exclude what grants a period", "periods of a schedule", "", broken{split: true}},
		{"does not exclude what ends a hold", "a hold that is captured and released", "", broken{split: true}},
		{"burns in another order", "random commands give", "", other},
		{"burns in another order, at any time", "random commands of every verb", "", other},
		{"shows halves to audits", "audits beside updates", "", broken{apart: true}},
	}
	for f, store := range map[Fault]broken{
		FailFirst: writesChange(instead(credits.Updated, credits.Unchanged), nil, nil, nil), FailDecided: {outcome: func(error) error { return nil }}, FailWritten: forgets,
		DecideTwice: {kept: new([]*credits.State)}, CancelDecided: {liar: true},
	} {
		for _, calls := range []string{"at every call", "at one call of all"} {
			list = append(list, flaw{
				fmt.Sprintf("does not stand %v, %s", f, calls), fmt.Sprintf("a command that meets a fault and is retried is done once: %v, %s", f, calls), "", store,
			})
		}
	}
	return list
}
