package credits

import (
	"encoding/binary"
	"strconv"
	"time"
)

// A Category is where the credit of a lot came from. Among lots of the same
// priority and expiry, Promo burns before Plan, and Plan before Paid.
type Category uint8

const (
	Paid  Category = 0 // bought; the default
	Plan  Category = 1 // part of a subscription
	Promo Category = 2 // given
)

var categories = [...]string{"paid", "plan", "promo"}

// String returns the stable name of c.
func (c Category) String() string {
	if int(c) < len(categories) {
		return categories[c]
	}
	return "category(" + strconv.Itoa(int(c)) + ")"
}

// MaxPriority bounds the priority of a grant on both sides of 0.
const MaxPriority = 1000

// A Lot is what is left of one grant, and where the rest of it is. It can be
// spent in [EffectiveAt, ExpiresAt).
//
// Lot 0 is no grant: it is the account's debt, made by the first overrun. It
// has nothing available, ever. Its Priority, Category, Only and ExpiresAt are
// those of the lot that repaid last, because what is refunded of a debt that was
// repaid becomes a lot of these terms.
type Lot struct {
	Account     AccountID
	ID          LotID
	Op          OpID       // the grant that made it, or the refund, or the "@schedule#n" of a schedule
	Schedule    ScheduleID // whose grant it is, and who may roll its rest over; else empty
	Priority    int        // -MaxPriority to MaxPriority; lower burns first
	Category    Category
	Only        Operations // what it can be spent on; empty: everything
	EffectiveAt time.Time  // UTC, microseconds
	ExpiresAt   time.Time  // UTC, microseconds; zero: never
	Pruned      Amount     // of Totals.Consumed, what ops have spent whose records were pruned
	Totals      Totals
}

// A Rank is a lot's place in the burn order: of two lots of an account the one
// whose Rank is less, compared byte by byte, is spent first. It is total and
// never changes in a lot's life: priority, then lots with Only before those
// for everything, then expiry with "never" last, then Promo, Plan, Paid, then the
// earlier EffectiveAt, then the lower ID.
type Rank [28]byte

// Rank returns l's place in the burn order. Stores keep it as a column of
// bytes and sort by it.
func (l *Lot) Rank() Rank {
	var r Rank
	binary.BigEndian.PutUint16(r[0:], uint16(l.Priority+1<<15))
	if l.Only == "" {
		r[2] = 1
	}
	expires := ^uint64(0)
	if !l.ExpiresAt.IsZero() {
		expires = uint64(l.ExpiresAt.UnixMicro()) + 1<<63
	}
	binary.BigEndian.PutUint64(r[3:], expires)
	r[11] = ^byte(l.Category)
	binary.BigEndian.PutUint64(r[12:], uint64(l.EffectiveAt.UnixMicro())+1<<63)
	binary.BigEndian.PutUint64(r[20:], uint64(l.ID))
	return r
}

// Due returns the instant at which l changes by itself: EffectiveAt while it is
// pending, ExpiresAt while some of it is available. Zero: never as it stands.
// What a hold has set aside is not available, so it does not expire. Stores
// keep Due as a column.
func (l *Lot) Due() time.Time {
	switch {
	case l.Totals.Pending > 0:
		return l.EffectiveAt
	case l.Totals.Available > 0:
		return l.ExpiresAt
	}
	return time.Time{}
}

// expired reports whether l can no longer be spent at now.
func (l *Lot) expired(now time.Time) bool {
	return !l.ExpiresAt.IsZero() && !now.Before(l.ExpiresAt)
}
