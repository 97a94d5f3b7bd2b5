package credits

import (
	"strconv"
	"time"
)

// A HoldStatus is how far a hold or a lease has come. The zero value is neither.
// Once it has left HoldOpen it does not change again, but for a lease that goes
// from HoldSuspense to HoldReleased, and a hold that a late capture takes from
// HoldTimedOut to HoldCaptured.
type HoldStatus uint8

const (
	HoldNone     HoldStatus = 0 // the op is not a hold
	HoldOpen     HoldStatus = 1
	HoldCaptured HoldStatus = 2
	HoldReleased HoldStatus = 3
	HoldTimedOut HoldStatus = 4
	HoldSuspense HoldStatus = 5 // of a lease: it has lapsed, and what was spent of it is not known
)

var holdStatuses = [...]string{"none", "open", "captured", "released", "timed_out", "suspense"}

// String returns the stable name of s.
func (s HoldStatus) String() string {
	if int(s) < len(holdStatuses) {
		return holdStatuses[s]
	}
	return "hold_status(" + strconv.Itoa(int(s)) + ")"
}

// An Op is the record of one command that carried an id: a grant, a hold, a
// capture that kept the rest, a debit, a refund, a lease, or what was spent of a
// lease. It is what a retry is answered from, and for holds and leases it is the
// hold or the lease itself: its one terminal record is the Settled fields.
// Instants are UTC, microseconds.
type Op struct {
	Account   AccountID
	ID        OpID
	Kind      Kind       // KindGrant, KindHold, KindCapture, KindDebit, KindRefund, KindLease or KindResolve
	Hold      HoldStatus // of a hold or a lease; HoldNone of all others
	Intent    [32]byte   // SHA-256 of what the caller asked for
	At        time.Time
	Amount    Amount
	Target    OpID    // of a capture its hold, of a refund what it refunds, of a debit the lease it was spent from; else empty
	Parts     Parts   // what it did with which lots; what is Captured of a lease's is told, and can be refunded, by the ops whose Target it is
	Charges   Charges // the budgets that it counts against
	Terms     Terms   // of a hold or a lease: what was agreed when it was made
	Totals    Totals  // of the account, right after
	Seq       int64   // the account's last entry, right after
	Key       string
	Operation string
	Price     string // version of the price table
	Note      string
	Denied    Source // of a debit that was refused, and stays so: by what; SourceNone: it was accepted

	Deadline      time.Time // of a hold or a lease: it ends by itself at this instant; zero: never
	SettledAt     time.Time // zero while it is open
	SettledAmount Amount    // captured by the terminal step; earlier captures are records of their own
	SettledRest   Amount    // given back by the terminal step, or, when that is a late capture, by the time-out before
	SettledSeq    int64     // the account's last entry, right after the terminal step
	SettledTotals Totals    // of the account, right after the terminal step

	// Of a debit that was refused: SettledAmount is what Denied had available,
	// SettledRest what of the missing may come back of holds and leases,
	// SettledAt when there was to be room, Deadline when the next grant was to take
	// effect; and Charges names the budget that had no room.
}

// Due returns the instant at which o changes by itself: the Deadline of an open
// hold or lease. Zero: never. Stores keep Due as a column.
func (o *Op) Due() time.Time {
	if o.Hold == HoldOpen {
		return o.Deadline
	}
	return time.Time{}
}

// held returns how much of o is still set aside.
func (o *Op) held() Amount {
	sum := Amount(0)
	for i := range o.Parts.n {
		sum += o.Parts.at(i).Held()
	}
	return sum
}

// refundable returns how much of o was spent and not refunded.
func (o *Op) refundable() Amount {
	sum := Amount(0)
	for i := range o.Parts.n {
		p := o.Parts.at(i)
		sum += p.Captured - p.Refunded
	}
	return sum
}

// Prunable returns the instant before which nobody knew o's id, when its record
// may be dropped without the danger that a late retry does the command again:
// the time that a version 7 UUID (RFC 9562, section 5.7) says it was made at.
// Zero: never, because the id says no time, or the op is still open. Stores keep
// Prunable as a column.
func (o *Op) Prunable() time.Time {
	if o.Hold == HoldOpen || o.Hold == HoldSuspense {
		return time.Time{}
	}
	return o.ID.madeAt()
}
