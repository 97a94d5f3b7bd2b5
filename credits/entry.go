package credits

import (
	"strconv"
	"time"
)

// A Kind says what an entry or an op record is about. Numbers and names are
// stored in journals and never change meaning.
type Kind uint8

const (
	KindGrant   Kind = 1  // issued -> available, or -> pending when it takes effect later
	KindEffect  Kind = 2  // pending -> available, at the lot's EffectiveAt
	KindHold    Kind = 3  // available -> held
	KindCapture Kind = 4  // held -> consumed; what it takes beyond the hold available -> consumed, and debt -> consumed of lot 0
	KindRelease Kind = 5  // held -> available, or -> expired when the lot has expired meanwhile
	KindTimeout Kind = 6  // the same, at the hold's Deadline
	KindDebit   Kind = 7  // available -> consumed; of a lease leased -> consumed, or suspense -> consumed
	KindRefund  Kind = 8  // consumed -> available; for an expired lot consumed -> issued -> available of a new lot; for a debt consumed -> debt of lot 0
	KindExpire  Kind = 9  // available -> expired, at the lot's ExpiresAt
	KindLease   Kind = 10 // available -> leased
	KindReturn  Kind = 11 // by its owner: leased or suspense -> available, or -> expired when the lot has expired meanwhile
	KindLapse   Kind = 12 // leased -> suspense, at the lease's Deadline
	KindResolve Kind = 13 // by an operator: suspense -> available, consumed or expired
	KindRepay   Kind = 14 // available -> issued of the lot that pays; issued -> debt of lot 0
	KindRoll    Kind = 15 // available -> issued of a lot that ends; issued -> available of the one that goes on with it
)

var kinds = [...]string{
	"kind(0)", "grant", "effect", "hold", "capture", "release", "timeout", "debit", "refund", "expire",
	"lease", "return", "lapse", "resolve", "repay", "roll",
}

// String returns the stable name of k.
func (k Kind) String() string {
	if int(k) < len(kinds) {
		return kinds[k]
	}
	return "kind(" + strconv.Itoa(int(k)) + ")"
}

// An Entry is one line of an account's journal: Amount moved between two
// buckets of one lot. Entries are written once and never changed. All entries
// of an account, replayed in order, give its lots and its totals; and each
// carries a hash of itself and of the one before it, so that no line can be
// changed, taken out or put in without changing all that follow.
type Entry struct {
	Account   AccountID
	Seq       int64     // 1, 2, 3, ... within the account, without gaps
	At        time.Time // when it took effect, UTC, microseconds; never before the entry before it
	Kind      Kind
	From, To  Bucket
	Op        OpID   // the command: for captures, releases and time-outs the hold; for effect and expiry the op that made the lot
	Lot       LotID  // 0: the debt of the account, which no lot backs
	Amount    Amount // more than 0
	Key       string // as the hold or the debit said, refunds of them included; else empty
	Operation string // the same
	Price     string // the same: the version of the price table that Amount was worked out by
	Hash      Hash   // of this entry and of the Hash before it
}
