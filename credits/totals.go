package credits

import (
	"strconv"
	"strings"

	"github.com/keytoll/keytoll/errors"
)

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
	BucketLeased    Bucket = 7 // handed to an instance that spends it from its memory
	BucketSuspense  Bucket = 8 // of a lease that ended without its owner's word: nobody's until that is heard
	BucketDebt      Bucket = 9 // the other world: what was spent beyond all lots comes from here
)

var buckets = [...]string{
	"bucket(0)", "issued", "pending", "available", "held", "consumed", "expired", "leased", "suspense", "debt",
}

// String returns the stable name of b.
func (b Bucket) String() string {
	if int(b) < len(buckets) {
		return buckets[b]
	}
	return "bucket(" + strconv.Itoa(int(b)) + ")"
}

// Totals says where the credits of an account, or of one lot, are now. Issued
// and Debt are the two sources; their sum is the sum of all others, and no field
// is ever negative: that is the double-entry sum of zero, with the sources on
// the other side.
type Totals struct {
	Issued    Amount // granted, less what was re-granted to another lot or has repaid a debt
	Pending   Amount // not effective yet
	Available Amount // can be spent now
	Held      Amount // set aside by open holds
	Leased    Amount // handed out by open leases
	Consumed  Amount // spent, less what was refunded
	Expired   Amount // lapsed unspent
	Suspense  Amount // of leases whose owner has not spoken in time
	Debt      Amount // spent beyond all lots and not repaid yet; only of accounts and of lot 0
}

// amounts returns the fields in the order in which they are stored.
func (t *Totals) amounts() [9]*Amount {
	return [...]*Amount{&t.Issued, &t.Pending, &t.Available, &t.Held, &t.Leased, &t.Consumed, &t.Expired, &t.Suspense, &t.Debt}
}

// Balanced reports whether Issued and Debt together equal the sum of the other
// fields and no field is negative.
func (t Totals) Balanced() bool {
	sum := Amount(0)
	for _, part := range [...]Amount{t.Pending, t.Available, t.Held, t.Leased, t.Consumed, t.Expired, t.Suspense} {
		next, ok := sum.Add(part)
		if part < 0 || !ok {
			return false
		}
		sum = next
	}
	sources, ok := t.Issued.Add(t.Debt)
	return ok && t.Issued >= 0 && t.Debt >= 0 && sum == sources
}

// move takes amount from one bucket to another. The sources count in the
// opposite direction: they grow when credit leaves them.
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
	case BucketLeased:
		t.Leased += amount
	case BucketSuspense:
		t.Suspense += amount
	case BucketDebt:
		t.Debt -= amount
	}
}

// AppendText appends the compact form that [Totals.UnmarshalText] reads: the
// nine amounts in micro-credits, in the order of the fields, joined by ":".
func (t Totals) AppendText(b []byte) ([]byte, error) {
	for i, a := range t.amounts() {
		if i > 0 {
			b = append(b, ':')
		}
		b = strconv.AppendInt(b, int64(*a), 10)
	}
	return b, nil
}

// MarshalText returns the compact form, for a column of a store.
func (t Totals) MarshalText() ([]byte, error) { return t.AppendText(nil) }

// UnmarshalText reads the compact form. Text that [Totals.MarshalText] could not
// have written is an error of code Corrupt. Empty text is the zero value.
func (t *Totals) UnmarshalText(text []byte) error {
	*t = Totals{}
	if len(text) == 0 {
		return nil
	}
	fields := t.amounts()
	n := 0
	for field := range strings.SplitSeq(string(text), ":") {
		x, err := strconv.ParseInt(field, 10, 64)
		if err != nil || n == len(fields) || x < 0 || strconv.FormatInt(x, 10) != field {
			return errTotals
		}
		*fields[n] = Amount(x)
		n++
	}
	if n != len(fields) {
		return errTotals
	}
	return nil
}

var errTotals error = &errors.Error{Code: errors.Corrupt, Op: "credits.Totals", Msg: "stored totals cannot be read"}
