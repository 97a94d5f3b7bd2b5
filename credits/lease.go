package credits

import (
	"context"
	"strings"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// Bounds of leases.
const (
	// MaxLeaseTTL is the longest that a lease can last without being put off.
	MaxLeaseTTL = 24 * time.Hour
	// MaxLeaseSpends is how many spends one SettleLease may carry.
	MaxLeaseSpends = 1000

	defaultLeaseTTL = time.Minute
)

// An AcquireLease hands credits to an instance that spends them from its memory
// and tells the ledger later, with [SettleLease]: the rights to spend move, so no
// instance has to ask another one. What a lease has can neither be spent by
// others nor expire, and it counts against budgets like a hold.
//
// It takes up to Want of what is available for the operation, at most one Share-th
// of all that the account has available and of what each budget has room for, and
// at least Min, or is refused.
// [Lessee] does all this; the commands are for those who write another one.
type AcquireLease struct {
	Account   AccountID
	ID        OpID          // names the lease from now on
	Owner     string        // who alone may settle it, with Epoch; an id
	Epoch     int64         // 0 or more: tells instances of one owner apart
	Key       string        // whose spends it is for; may be empty
	Operation string        // which spends it is for; may be empty
	Min       Amount        // more than 0
	Want      Amount        // Min or more
	Share     int64         // 0 and 1: all that is available may be taken
	TTL       time.Duration // zero: 1 minute; at most MaxLeaseTTL. Neither a lot that it took from nor the window of a budget ends before the lease does
}

// A SettleLease is the owner's word on a lease: what was spent of it, what goes
// back, and whether it goes on. It may be sent again, late and out of order:
// each spend is filed once, under its own id, and what goes back is counted from
// the beginning. So nothing is spent or returned twice.
//
// After the Deadline of a lease its rest is in suspense, from where the owner can
// still spend and give back: what it answered in time is filed whenever its word
// arrives. But an operator may have been faster, with [ResolveLease].
type SettleLease struct {
	Account AccountID
	Lease   OpID
	Owner   string        // as in AcquireLease
	Epoch   int64         // as in AcquireLease
	Spends  []LeaseSpend  // up to MaxLeaseSpends
	Return  Amount        // what goes back to the lots of the lease in all, what has gone back before included; 0: nothing more
	Close   bool          // the rest goes back, and the lease ends
	TTL     time.Duration // puts the deadline off, to so much after now, as far as AcquireLease could; zero: it stays. Not of a lease that was recalled
}

// A LeaseSpend is one request that was paid from a lease: it becomes a debit of
// the lease's Key and Operation. It is the same command as a [Debit] with these
// fields, so whichever of the two comes first pays, and the other replays.
type LeaseSpend struct {
	ID     OpID
	Amount Amount // 0 or more
	Price  string // as in Hold
	Note   string // up to MaxNoteBytes
}

// A ResolveLease is an operator's decision about the suspense of a lease, when
// its owner will not be heard of again. Let nobody resolve a lease whose owner
// may still run: what it has spent of it and not told is what suspense is for.
type ResolveLease struct {
	Account AccountID
	ID      OpID
	Lease   OpID
	Amount  Amount // more than 0, up to what is in suspense; 0 with All
	All     bool   // all that is in suspense
	To      Bucket // BucketAvailable: nobody spent it; BucketConsumed: somebody did; BucketExpired: neither, but it is gone
	Note    string // why; 1 to MaxNoteBytes
}

// A recallLeases asks the owners of an account's open leases to give back what
// they do not need at once. They learn of it with their next command.
type recallLeases struct{ Account AccountID }

// A LeaseReceipt says where a lease is after a command.
type LeaseReceipt struct {
	Account  AccountID
	Lease    OpID
	At       time.Time // when it was made
	Now      time.Time // the store's clock when it answered, on a replay too
	Deadline time.Time
	Amount   Amount // that it was made with
	Rest     Amount // of it, what was neither spent nor given back
	Hold     HoldStatus
	Recalled bool         // give back what is not needed
	Spends   []LeaseFiled // of a settlement, what came of each of its spends, in their order
	Totals   Totals       // of the account, right after; on a replay as last written, without what is due and not posted yet
	Replayed bool         // nothing was done now
}

// A LeaseFiled says what came of one spend.
type LeaseFiled struct {
	ID       OpID
	Replayed bool  // it had been filed before
	Err      error // nil: it is filed. ErrIntent, ErrOverLease, ErrSettled, ErrKeyTooOld, or the *DeniedError of a Debit with this id
}

var (
	_ command = (*acquisition)(nil)
	_ command = (*settlement)(nil)
	_ command = (*ResolveLease)(nil)
	_ command = (*recallLeases)(nil)
)

// What leases are refused with.
var (
	// ErrNotOwner: the lease is another owner's, or of another epoch.
	ErrNotOwner error = &errors.Error{Code: errors.Forbidden, Msg: "the lease is another owner's"}
	// ErrOverLease: the spend is more than the lease still has.
	ErrOverLease error = &errors.Error{Code: errors.Conflict, Msg: "the spend is more than the lease has"}
	// ErrLeaseOpen: the lease is not in suspense, so its owner alone decides.
	ErrLeaseOpen error = &errors.Error{Code: errors.Conflict, Msg: "the lease is open: its owner decides"}
)

// An acquisition is an AcquireLease with the place for its result.
type acquisition struct {
	AcquireLease
	receipt LeaseReceipt
}

func (c *acquisition) check(f *errors.Faults, _ *settings) {
	checkID(f, "Account", string(c.Account))
	checkNewID(f, c.ID)
	checkOwner(f, c.Owner, c.Epoch)
	checkText(f, "Key", c.Key, MaxIDBytes)
	checkText(f, "Operation", c.Operation, MaxIDBytes)
	if why := c.Min.check(Micro); why != "" {
		f.Add("Min %s", why)
	}
	if why := c.Want.check(c.Min); why != "" {
		f.Add("Want %s, and Min or more", why)
	}
	if c.Share < 0 {
		f.Add("Share is %d; give 0 or more", c.Share)
	}
	checkLeaseTTL(f, c.TTL)
}

func checkOwner(f *errors.Faults, owner string, epoch int64) {
	checkID(f, "Owner", owner)
	if epoch < 0 {
		f.Add("Epoch is %d; give 0 or more", epoch)
	}
}

func checkLeaseTTL(f *errors.Faults, ttl time.Duration) {
	if ttl != 0 && (ttl < time.Microsecond || ttl > MaxLeaseTTL) {
		f.Add("TTL is %v; give 1µs to %v, or 0", ttl, MaxLeaseTTL)
	}
}

// A settlement is a SettleLease with the place for its result.
type settlement struct {
	SettleLease
	receipt LeaseReceipt
}

func (c *settlement) check(f *errors.Faults, _ *settings) {
	checkID(f, "Account", string(c.Account))
	checkID(f, "Lease", string(c.Lease))
	checkOwner(f, c.Owner, c.Epoch)
	if why := c.Return.check(0); why != "" {
		f.Add("Return %s", why)
	}
	checkLeaseTTL(f, c.TTL)
	if len(c.Spends) > MaxLeaseSpends {
		f.Add("Spends has %d; give at most %d", len(c.Spends), MaxLeaseSpends)
		return
	}
	for i := range c.Spends {
		s := &c.Spends[i]
		if badID(string(s.ID)) != "" || strings.HasPrefix(string(s.ID), reservedPrefix) || s.Amount.check(0) != "" || badText(s.Price, MaxIDBytes) != "" || badText(s.Note, MaxNoteBytes) != "" {
			f.Add("Spends[%d] is not what a Debit could be: %s of %v credits", i, quote(string(s.ID)), s.Amount)
		}
	}
}

func (c *ResolveLease) check(f *errors.Faults, _ *settings) {
	checkID(f, "Account", string(c.Account))
	checkNewID(f, c.ID)
	checkID(f, "Lease", string(c.Lease))
	checkText(f, "Note", c.Note, MaxNoteBytes)
	if c.Note == "" {
		f.Add("Note is empty; say why")
	}
	switch c.To {
	case BucketAvailable, BucketConsumed, BucketExpired:
	default:
		f.Add("To is %v; give BucketAvailable, BucketConsumed or BucketExpired", c.To)
	}
	checkAmountOrAll(f, c.Amount, c.All)
}

func (c *recallLeases) check(f *errors.Faults, _ *settings) {
	checkID(f, "Account", string(c.Account))
}

// AcquireLease makes a lease, or refuses: [ErrInsufficient], with a [DeniedError]
// that tells what had less than Min, its share alone counted. A refusal writes
// nothing. A retry gets the lease as it is now.
func (l *Ledger) AcquireLease(ctx context.Context, a AcquireLease) (LeaseReceipt, error) {
	cmd := &acquisition{AcquireLease: a}
	err := l.lease(ctx, "credits.AcquireLease", cmd)
	return cmd.receipt, err
}

// SettleLease carries out the owner's word. It returns [ErrNotFound] and
// [ErrNotOwner], and does nothing then. What is wrong with single spends is told
// in the receipt, and does not keep the rest from being done: a spend that is
// known under another intent is [ErrIntent], one that the lease cannot pay
// [ErrOverLease], and one that comes when the lease is closed [ErrSettled].
func (l *Ledger) SettleLease(ctx context.Context, s SettleLease) (LeaseReceipt, error) {
	cmd := &settlement{SettleLease: s}
	err := l.lease(ctx, "credits.SettleLease", cmd)
	return cmd.receipt, err
}

// ResolveLease moves what is in suspense where r says, and to expired what goes
// back to a lot that has expired. It returns [ErrNotFound], [ErrLeaseOpen],
// [ErrSettled] when nothing is in suspense any more, and [ErrOverLease] when it
// is less.
func (l *Ledger) ResolveLease(ctx context.Context, r ResolveLease) (Receipt, error) {
	c := l.calls.Get().(*call)
	c.cmd = &r
	return l.do(ctx, "credits.ResolveLease", c)
}

// RecallLeases asks the owners of the account's open leases to give back what
// they do not need at once. Without open leases it writes nothing.
func (l *Ledger) RecallLeases(ctx context.Context, account AccountID) error {
	return l.lease(ctx, "credits.RecallLeases", &recallLeases{account})
}

// lease runs a command whose result is not a Receipt.
func (l *Ledger) lease(ctx context.Context, op string, cmd command) error {
	c := l.calls.Get().(*call)
	c.cmd = cmd
	_, err := l.do(ctx, op, c)
	return err
}
