package credits

import "strconv"

// A Bucket is one side of a move. Numbers and names are stored in journals and
// never change meaning.
type Bucket uint8

const (
	BucketIssued    Bucket = 1 // the world outside: what was ever granted comes from here
	BucketPending   Bucket = 2 // granted, and not effective yet
	BucketAvailable Bucket = 3 // can be spent now
	BucketHeld      Bucket = 4 // set aside by open holds
	BucketConsumed  Bucket = 5 // spent
	BucketExpired   Bucket = 6 // lapsed unspent
)

var buckets = [...]string{"bucket(0)", "issued", "pending", "available", "held", "consumed", "expired"}

// String returns the stable name of b.
func (b Bucket) String() string {
	if int(b) < len(buckets) {
		return buckets[b]
	}
	return "bucket(" + strconv.Itoa(int(b)) + ")"
}

// Totals says where the credits of an account, or of one lot, are now. Issued
// is the sum of all others, and no field is ever negative: that is the
// double-entry sum of zero, with Issued on the other side.
type Totals struct {
	Issued    Amount // granted, less what was re-granted to another lot by a refund
	Pending   Amount // not effective yet
	Available Amount // can be spent now
	Held      Amount // set aside by open holds
	Consumed  Amount // spent, less what was refunded
	Expired   Amount // lapsed unspent
}

// Balanced reports whether Issued equals the sum of the other fields and no
// field is negative.
func (t Totals) Balanced() bool {
	sum := Amount(0)
	for _, part := range [...]Amount{t.Pending, t.Available, t.Held, t.Consumed, t.Expired} {
		next, ok := sum.Add(part)
		if part < 0 || !ok {
			return false
		}
		sum = next
	}
	return sum == t.Issued
}

// move takes amount from one bucket to another. Issued counts in the opposite
// direction: it grows when credit leaves it.
func (t *Totals) move(from, to Bucket, amount Amount) {
	t.add(from, -amount)
	t.add(to, amount)
}

func (t *Totals) add(b Bucket, amount Amount) {
	switch b {
	case BucketIssued:
		t.Issued -= amount
	case BucketPending:
		t.Pending += amount
	case BucketAvailable:
		t.Available += amount
	case BucketHeld:
		t.Held += amount
	case BucketConsumed:
		t.Consumed += amount
	case BucketExpired:
		t.Expired += amount
	}
}
