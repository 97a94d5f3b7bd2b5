package credits_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// rows is the contents of one account, made by hand: what an audit reads.
type rows struct {
	credits.Store
	account   credits.Account
	lots      []credits.Lot
	ops       []credits.Op
	budgets   []credits.Budget
	schedules []credits.Schedule
	entries   []credits.Entry
}

func (s *rows) Accounts(_ context.Context, after credits.AccountID, _ int) ([]credits.AccountID, error) {
	if after == "" {
		return []credits.AccountID{s.account.ID}, nil
	}
	return nil, nil
}

func (s *rows) Inspect(_ context.Context, id credits.AccountID, fn func(credits.Snapshot) error) error {
	if id != s.account.ID {
		s = &rows{account: credits.Account{ID: id}}
	}
	return fn(credits.Snapshot{
		Account: s.account, Lots: each(s.lots), Ops: each(s.ops), Budgets: each(s.budgets), Schedules: each(s.schedules), Entries: each(s.entries),
	})
}

func each[T any](list []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, row := range list {
			if !yield(row, nil) {
				return
			}
		}
	}
}

// move appends an entry, an hour after the one before when the op is another.
func (s *rows) move(kind credits.Kind, op credits.OpID, lot credits.LotID, amount credits.Amount, from, to credits.Bucket) {
	at := epoch
	if n := len(s.entries); n > 0 {
		if at = s.entries[n-1].At; s.entries[n-1].Op != op {
			at = at.Add(time.Hour)
		}
	}
	s.entries = append(s.entries, credits.Entry{
		Account: s.account.ID, Seq: int64(len(s.entries) + 1), At: at, Kind: kind, From: from, To: to, Op: op, Lot: lot, Amount: amount,
		Key: "k", Operation: "o", Price: "p",
	})
}

// seal makes lots, account and hashes agree with the entries.
func (s *rows) seal() *rows {
	s.chain()
	sums := make(map[credits.LotID]*buckets)
	var all buckets
	for _, e := range s.entries {
		if sums[e.Lot] == nil {
			sums[e.Lot] = new(buckets)
		}
		for _, b := range []*buckets{&all, sums[e.Lot]} {
			b[e.From] -= e.Amount
			b[e.To] += e.Amount
		}
		s.account.At = e.At
	}
	for i := range s.lots {
		s.lots[i].Account = s.account.ID
		if b := sums[s.lots[i].ID]; b != nil {
			s.lots[i].Totals = b.totals()
		}
		s.account.LastLot = s.lots[i].ID
	}
	s.account.Totals = all.totals()
	for i := range s.ops {
		s.ops[i].Account = s.account.ID
	}
	return s
}

// chain gives every entry the hash that it must have, worked out from the
// documentation a second time.
func (s *rows) chain() {
	s.account.Head = credits.Hash{}
	for i := range s.entries {
		e := &s.entries[i]
		h := sha256.New()
		h.Write([]byte{1})
		h.Write(s.account.Head[:])
		for _, n := range []int64{e.Seq, e.At.UnixMicro(), int64(e.Kind), int64(e.From), int64(e.To), int64(e.Lot), int64(e.Amount)} {
			_ = binary.Write(h, binary.BigEndian, n)
		}
		for _, text := range []string{string(e.Account), string(e.Op), e.Key, e.Operation, e.Price} {
			_ = binary.Write(h, binary.BigEndian, uint32(len(text)))
			h.Write([]byte(text))
		}
		h.Sum(e.Hash[:0])
		s.account.Head = e.Hash
	}
	s.account.Seq = int64(len(s.entries))
}

func (s *rows) op(id credits.OpID) *credits.Op {
	return &s.ops[slices.IndexFunc(s.ops, func(o credits.Op) bool { return o.ID == id })]
}

func (s *rows) entry(kind credits.Kind, op credits.OpID) *credits.Entry {
	return &s.entries[slices.IndexFunc(s.entries, func(e credits.Entry) bool { return e.Kind == kind && e.Op == op })]
}

func part(lot credits.LotID, amount, captured, released, refunded credits.Amount) credits.Part {
	return credits.Part{Lot: lot, Amount: amount, Captured: captured, Released: released, Refunded: refunded}
}

// everything is a sound account in which every kind of entry, every kind of op
// and every bucket occurs.
func everything() *rows {
	const (
		issued, pending, available, held = credits.BucketIssued, credits.BucketPending, credits.BucketAvailable, credits.BucketHeld
		consumed, expired, leased        = credits.BucketConsumed, credits.BucketExpired, credits.BucketLeased
		suspense, debt                   = credits.BucketSuspense, credits.BucketDebt
	)
	s := &rows{account: credits.Account{ID: acme, Version: 1, Holds: 1, Leases: 1, Budgets: 2}}
	charged := credits.NewCharges(credits.Charge{Budget: "month", Start: epoch}, credits.Charge{Budget: "gone", Start: epoch})
	old := credits.NewCharges(credits.Charge{Budget: "month", Start: epoch.AddDate(0, -1, 0)})
	op := func(o credits.Op, parts ...credits.Part) {
		o.Parts = credits.NewParts(parts...)
		s.ops = append(s.ops, o)
	}

	s.move(credits.KindGrant, "g1", 1, 100, issued, available)
	op(credits.Op{ID: "g1", Kind: credits.KindGrant, Amount: 100}, part(1, 100, 0, 0, 0))
	s.move(credits.KindGrant, "g2", 2, 50, issued, pending)
	op(credits.Op{ID: "g2", Kind: credits.KindGrant, Amount: 50}, part(2, 50, 0, 0, 0))
	s.move(credits.KindEffect, "g2", 2, 50, pending, available)

	// A hold, captured in two steps; the rest goes back.
	s.move(credits.KindHold, "h1", 1, 20, available, held)
	s.move(credits.KindCapture, "c1", 1, 5, held, consumed)
	s.move(credits.KindCapture, "h1", 1, 10, held, consumed)
	s.move(credits.KindRelease, "h1", 1, 5, held, available)
	op(credits.Op{ID: "c1", Kind: credits.KindCapture, Amount: 5, Target: "h1"}, part(1, 5, 0, 0, 0))
	op(credits.Op{ID: "h1", Kind: credits.KindHold, Hold: credits.HoldCaptured, Amount: 20, SettledAt: epoch, SettledAmount: 10, SettledRest: 5, Charges: charged}, part(1, 20, 15, 5, 0))

	// A debit, refunded in part; one of another window; one that was refused.
	s.move(credits.KindDebit, "d1", 1, 10, available, consumed)
	s.move(credits.KindRefund, "r1", 1, 4, consumed, available)
	op(credits.Op{ID: "d1", Kind: credits.KindDebit, Amount: 10, Charges: charged}, part(1, 10, 10, 0, 4))
	op(credits.Op{ID: "r1", Kind: credits.KindRefund, Amount: 4, Target: "d1"}, part(1, 4, 0, 0, 0))
	s.move(credits.KindDebit, "d0", 1, 1, available, consumed)
	op(credits.Op{ID: "d0", Kind: credits.KindDebit, Amount: 1, Charges: old}, part(1, 1, 1, 0, 0))
	op(credits.Op{ID: "no", Kind: credits.KindDebit, Amount: 1000, Denied: credits.SourceBalance})

	// A lease that lapses, is heard of late, resolved in part, and one that is open.
	s.move(credits.KindLease, "l1", 1, 20, available, leased)
	s.move(credits.KindDebit, "s1", 1, 6, leased, consumed)
	s.move(credits.KindLapse, "l1", 1, 14, leased, suspense)
	s.move(credits.KindDebit, "s2", 1, 2, suspense, consumed)
	s.move(credits.KindReturn, "l1", 1, 3, suspense, available)
	op(credits.Op{ID: "l1", Kind: credits.KindLease, Hold: credits.HoldSuspense, Amount: 20, Charges: charged}, part(1, 20, 8, 3, 0))
	op(credits.Op{ID: "s1", Kind: credits.KindDebit, Amount: 6, Target: "l1", Charges: charged}, part(1, 6, 6, 0, 0))
	op(credits.Op{ID: "s2", Kind: credits.KindDebit, Amount: 2, Target: "l1", Charges: charged}, part(1, 2, 2, 0, 0))
	s.move(credits.KindLease, "l2", 2, 8, available, leased)
	op(credits.Op{ID: "l2", Kind: credits.KindLease, Hold: credits.HoldOpen, Amount: 8}, part(2, 8, 0, 0, 0))

	// A period's grant, whose rest rolls over in part.
	s.move(credits.KindGrant, "@plan#0", 3, 10, issued, available)
	s.move(credits.KindRoll, "@plan#1", 3, 4, available, issued)
	s.move(credits.KindRoll, "@plan#1", 4, 4, issued, available)
	s.move(credits.KindExpire, "@plan#0", 3, 6, available, expired)

	// All is spent, but for a hold that stays open; a capture runs into debt, a grant
	// repays, and what was repaid is refunded to a lot of its own.
	s.move(credits.KindHold, "h2", 2, 7, available, held)
	op(credits.Op{ID: "h2", Kind: credits.KindHold, Hold: credits.HoldOpen, Amount: 7, Charges: charged}, part(2, 7, 0, 0, 0))
	rest := credits.Amount(100 - 15 - 6 - 1 - 20 + 3)
	s.move(credits.KindDebit, "d2", 1, rest, available, consumed)
	s.move(credits.KindDebit, "d2", 2, 35, available, consumed)
	s.move(credits.KindDebit, "d2", 4, 4, available, consumed)
	op(credits.Op{ID: "d2", Kind: credits.KindDebit, Amount: rest + 39}, part(1, rest, rest, 0, 0), part(2, 35, 35, 0, 0), part(4, 4, 4, 0, 0))
	s.move(credits.KindCapture, "h3", 0, 8, debt, consumed)
	s.move(credits.KindGrant, "g5", 5, 5, issued, available)
	s.move(credits.KindRepay, "g5", 5, 5, available, issued)
	s.move(credits.KindRepay, "g5", 0, 5, issued, debt)
	op(credits.Op{ID: "g5", Kind: credits.KindGrant, Amount: 5}, part(5, 5, 0, 0, 0))
	s.move(credits.KindRefund, "r3", 0, 3, consumed, debt)
	s.move(credits.KindRefund, "r3", 0, 2, consumed, issued)
	s.move(credits.KindRefund, "r3", 6, 2, issued, available)
	op(credits.Op{ID: "r3", Kind: credits.KindRefund, Amount: 5, Target: "h3"}, part(0, 3, 3, 0, 0), part(6, 2, 0, 0, 0))
	op(credits.Op{
		ID: "h3", Kind: credits.KindHold, Hold: credits.HoldCaptured, SettledAt: epoch, SettledAmount: 8, Terms: credits.Terms{Overrun: credits.OverrunDebt, DebtLimit: 9},
	}, part(0, 8, 8, 0, 5))

	// In the end it owes, and has what cannot repay.
	s.move(credits.KindDebit, "d3", 6, 2, available, consumed)
	op(credits.Op{ID: "d3", Kind: credits.KindDebit, Amount: 2}, part(6, 2, 2, 0, 0))
	s.move(credits.KindCapture, "h4", 0, 1, debt, consumed)
	op(credits.Op{
		ID: "h4", Kind: credits.KindHold, Hold: credits.HoldCaptured, SettledAt: epoch, SettledAmount: 1, Terms: credits.Terms{Overrun: credits.OverrunDebt, DebtLimit: 9},
	}, part(0, 1, 1, 0, 0))
	s.move(credits.KindGrant, "g7", 7, 9, issued, available)
	op(credits.Op{ID: "g7", Kind: credits.KindGrant, Amount: 9}, part(7, 9, 0, 0, 0))

	for id := range credits.LotID(8) {
		s.lots = append(s.lots, credits.Lot{ID: id, Op: credits.OpID("made " + strconv.Itoa(int(id)))})
	}
	s.lots[7].Only = credits.Only("image")
	s.budgets = []credits.Budget{
		{Account: acme, ID: "month", Amount: 1000, Every: credits.Month, Start: epoch, Used: 15 + 6 + 8 + 100, Base: 100, Held: 7 + 9},
		{Account: acme, ID: "new", Amount: 1000, Every: credits.Day, Start: epoch},
	}
	s.schedules = []credits.Schedule{{Account: acme, ID: "plan", Amount: 10, Unit: credits.Months, Every: 1, Anchor: epoch, Next: 1}}
	return s.seal()
}
