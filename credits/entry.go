package credits

import (
	"strconv"
	"time"
)

// A Kind says what an entry or an op record is about. Numbers and names are
// stored in journals and never change meaning.
type Kind uint8

const (
	KindGrant   Kind = 1 // issued -> available, or -> pending when it takes effect later
	KindEffect  Kind = 2 // pending -> available, at the lot's EffectiveAt
	KindHold    Kind = 3 // available -> held
	KindCapture Kind = 4 // held -> consumed
	KindRelease Kind = 5 // held -> available, or -> expired when the lot has expired meanwhile
	KindTimeout Kind = 6 // the same, at the hold's Deadline
	KindDebit   Kind = 7 // available -> consumed
	KindRefund  Kind = 8 // consumed -> available; for an expired lot consumed -> issued -> available of a new lot
	KindExpire  Kind = 9 // available -> expired, at the lot's ExpiresAt
)

var kinds = [...]string{
	"kind(0)", "grant", "effect", "hold", "capture", "release", "timeout", "debit", "refund", "expire",
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
// of an account, replayed in order, give its lots and its totals.
type Entry struct {
	Account   AccountID
	Seq       int64     // 1, 2, 3, ... within the account, without gaps
	At        time.Time // when it took effect, UTC, microseconds; never before the entry before it
	Kind      Kind
	From, To  Bucket
	Op        OpID // the command: for captures, releases and time-outs the hold; for effect and expiry the op that made the lot
	Lot       LotID
	Amount    Amount // more than 0
	Key       string // as the hold or the debit said, refunds of them included; else empty
	Operation string // the same
}
