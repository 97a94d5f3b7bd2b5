package credits

import (
	"strconv"
	"time"
)

// A HoldStatus is how far a hold has come. The zero value is no hold at all.
// Once it has left HoldOpen it never changes again.
type HoldStatus uint8

const (
	HoldNone     HoldStatus = 0 // the op is not a hold
	HoldOpen     HoldStatus = 1
	HoldCaptured HoldStatus = 2
	HoldReleased HoldStatus = 3
	HoldTimedOut HoldStatus = 4
)

var holdStatuses = [...]string{"none", "open", "captured", "released", "timed_out"}

// String returns the stable name of s.
func (s HoldStatus) String() string {
	if int(s) < len(holdStatuses) {
		return holdStatuses[s]
	}
	return "hold_status(" + strconv.Itoa(int(s)) + ")"
}

// An Op is the record of one accepted command that carried an id: a grant, a
// hold, a capture that kept the rest, a debit or a refund. It is what a retry
// is answered from, and for holds it is the hold itself: its one terminal
// record is the Settled fields. Instants are UTC, microseconds.
type Op struct {
	Account   AccountID
	ID        OpID
	Kind      Kind       // KindGrant, KindHold, KindCapture, KindDebit or KindRefund
	Hold      HoldStatus // of a hold; HoldNone of all others
	Intent    [32]byte   // SHA-256 of what the caller asked for
	At        time.Time
	Amount    Amount
	Target    OpID // of a capture its hold, of a refund what it refunds; else empty
	Parts     Parts
	Totals    Totals // of the account, right after
	Seq       int64  // the account's last entry, right after
	Key       string
	Operation string
	Note      string

	Deadline      time.Time // of a hold: it times out at this instant; zero: never
	SettledAt     time.Time // zero while it is open
	SettledAmount Amount    // captured by the terminal step; earlier captures are records of their own
	SettledRest   Amount    // given back by the terminal step
	SettledTotals Totals    // of the account, right after the terminal step
}

// Due returns the instant at which o changes by itself: the Deadline of an open
// hold. Zero: never. Stores keep Due as a column.
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
