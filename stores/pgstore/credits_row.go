package pgstore

import (
	"encoding"
	"encoding/binary"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// The numbers of columns of the tables of credits, in their order in the schema.
const (
	accountColumns     = 20
	opColumns          = 26
	lotColumns         = 21
	lotColumnsOfTable  = lotColumns + 1 // with spendable, which follows from available
	budgetColumns      = 15
	scheduleColumns    = 16
	entryColumns       = 13
	totalsColumns      = 9
	accountTotals      = 6  // the column of an account's first amount
	lotTotals          = 10 // the column of a lot's first amount
	largestTableOfRows = opColumns
)

// micros returns an instant from a bigint of microseconds; the zero time for null.
func micros(column []byte) time.Time {
	if len(column) != 8 {
		return time.Time{}
	}
	return time.UnixMicro(number(column)).UTC()
}

// small returns a smallint from its binary form.
func small(column []byte) int {
	if len(column) != 2 {
		return 0
	}
	return int(int16(binary.BigEndian.Uint16(column)))
}

// amounts returns the totals in nine columns.
func amounts(c [][]byte) credits.Totals {
	at := func(i int) credits.Amount { return credits.Amount(number(c[i])) }
	return credits.Totals{
		Issued: at(0), Pending: at(1), Available: at(2), Held: at(3), Leased: at(4), Consumed: at(5), Expired: at(6), Suspense: at(7), Debt: at(8),
	}
}

// readAccount reads a row of accounts, but for its ID.
func readAccount(row []byte, a *credits.Account) error {
	var c [accountColumns][]byte
	if err := split(row, c[:]); err != nil {
		return err
	}
	a.Version, a.Seq, a.LastLot, a.At = number(c[1]), number(c[2]), credits.LotID(number(c[4])), micros(c[5])
	copy(a.Head[:], c[3])
	a.Totals = amounts(c[accountTotals:])
	a.Holds, a.Leases, a.Budgets = number(c[15]), number(c[16]), number(c[17])
	a.RecalledAt, a.PrunedTo = micros(c[18]), micros(c[19])
	return nil
}

// readLot reads a row of lots, but for its account.
func readLot(row []byte, l *credits.Lot) error {
	var c [lotColumns][]byte
	if err := split(row, c[:]); err != nil {
		return err
	}
	copyTexts(text{(*string)(&l.Op), c[2]}, text{(*string)(&l.Schedule), c[3]}, text{(*string)(&l.Only), c[6]})
	l.ID, l.Priority, l.Category = credits.LotID(number(c[1])), small(c[4]), credits.Category(small(c[5]))
	l.EffectiveAt, l.ExpiresAt, l.Pruned = micros(c[7]), micros(c[8]), credits.Amount(number(c[9]))
	l.Totals = amounts(c[lotTotals:])
	return nil
}

// readOp reads a row of ops, but for its account.
func readOp(row []byte, o *credits.Op) error {
	var c [opColumns][]byte
	if err := split(row, c[:]); err != nil {
		return err
	}
	copyTexts(
		text{(*string)(&o.ID), c[1]}, text{(*string)(&o.Target), c[7]}, text{&o.Key, c[13]}, text{&o.Operation, c[14]},
		text{&o.Price, c[15]}, text{&o.Note, c[16]},
	)
	o.Kind, o.Hold, o.Denied = credits.Kind(small(c[2])), credits.HoldStatus(small(c[3])), credits.Source(small(c[17]))
	copy(o.Intent[:], c[4])
	o.At, o.Amount, o.Seq = micros(c[5]), credits.Amount(number(c[6])), number(c[12])
	o.Deadline, o.SettledAt = micros(c[18]), micros(c[19])
	o.SettledAmount, o.SettledRest, o.SettledSeq = credits.Amount(number(c[20])), credits.Amount(number(c[21])), number(c[22])
	for _, f := range [...]struct {
		name string
		text []byte
		into encoding.TextUnmarshaler
	}{
		{"parts", c[8], &o.Parts}, {"charges", c[9], &o.Charges}, {"terms", c[10], &o.Terms},
		{"totals", c[11], &o.Totals}, {"settled_totals", c[23], &o.SettledTotals},
	} {
		if len(f.text) == 0 {
			continue
		}
		if err := f.into.UnmarshalText(f.text); err != nil {
			return unreadable("operation", f.name, err)
		}
	}
	return nil
}

// readBudget reads a row of budgets, but for its account.
func readBudget(row []byte, b *credits.Budget) error {
	var c [budgetColumns][]byte
	if err := split(row, c[:]); err != nil {
		return err
	}
	copyTexts(
		text{(*string)(&b.ID), c[1]}, text{&b.Key, c[2]}, text{&b.Operation, c[3]}, text{&b.Zone, c[6]},
		text{(*string)(&b.Thresholds), c[8]},
	)
	b.Amount, b.Every, b.Soft = credits.Amount(number(c[4])), credits.Span(small(c[5])), truth(c[7])
	b.Start, b.End = micros(c[9]), micros(c[10])
	b.Base, b.Used, b.Held = credits.Amount(number(c[11])), credits.Amount(number(c[12])), credits.Amount(number(c[13]))
	b.Fired = uint16(number(c[14]))
	return nil
}

// readSchedule reads a row of schedules, but for its account.
func readSchedule(row []byte, s *credits.Schedule) error {
	var c [scheduleColumns][]byte
	if err := split(row, c[:]); err != nil {
		return err
	}
	copyTexts(text{(*string)(&s.ID), c[1]}, text{&s.Zone, c[6]}, text{(*string)(&s.Only), c[13]})
	s.Amount, s.Unit, s.Every = credits.Amount(number(c[2])), credits.Unit(small(c[3])), int(number(c[4]))
	s.Anchor, s.Until, s.CatchUp = micros(c[5]), micros(c[7]), credits.CatchUp(small(c[8]))
	s.Lifetime, s.Rollover = time.Duration(number(c[9])), credits.Amount(number(c[10]))
	s.Priority, s.Category = small(c[11]), credits.Category(small(c[12]))
	s.Next, s.NextAt = number(c[14]), micros(c[15])
	return nil
}

// readEntry reads a row of entries, but for its account.
func readEntry(row []byte, e *credits.Entry) error {
	var c [entryColumns][]byte
	if err := split(row, c[:]); err != nil {
		return err
	}
	copyTexts(text{(*string)(&e.Op), c[6]}, text{&e.Key, c[9]}, text{&e.Operation, c[10]}, text{&e.Price, c[11]})
	e.Seq, e.At, e.Kind = number(c[1]), micros(c[2]), credits.Kind(small(c[3]))
	e.From, e.To = credits.Bucket(small(c[4])), credits.Bucket(small(c[5]))
	e.Lot, e.Amount = credits.LotID(number(c[7])), credits.Amount(number(c[8]))
	copy(e.Hash[:], c[12])
	return nil
}

// accountOf returns the account of a row, which every table has in its first
// column.
func accountOf(row []byte) ([]byte, error) {
	var c [1][]byte
	err := split(row, c[:])
	return c[0], err
}
