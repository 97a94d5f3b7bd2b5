package credits

import (
	"context"
	"iter"
	"time"
)

// A Store keeps accounts, lots, ops and entries, and gives exclusive, atomic
// access to them. It holds no rule: what a command does is decided by the
// ledger, in the function that it hands to Update. Implementations must be
// safe for concurrent use and pass creditstest.Run.
//
// Four kinds of rows are kept: [Account] by its ID, [Lot] by (Account, ID), [Op] by
// (Account, ID) and [Entry] by (Account, Seq). All ids compare byte by byte.
// Instants are UTC with microseconds; the zero time means "none" and must come
// back as the zero time. Nothing is ever deleted.
//
// An error of the store that is not one of fn is returned as it is; the ledger
// gives it the code Unavailable when it has none. Context errors must stay
// reachable by errors.Is.
type Store interface {
	// Update calls fn with the state of the named accounts and then writes what
	// fn changed, all or nothing.
	//
	// The ledger guarantees: needs is not empty, sorted by Account, names no
	// account twice and holds valid ids; fn does no I/O, changes nothing but the
	// states, does not keep them, and may be called again with freshly loaded
	// states (after an optimistic conflict or a serialization failure). Neither
	// needs nor what it refers to may be kept after Update returns; and fn must
	// neither run then nor be called any more, even when the context is done.
	//
	// The store guarantees: from before the first row is read until the writes
	// are visible, no other Update of any of these accounts reads or writes (or
	// the outcome is as if; lock accounts in the order of needs). states[i] is
	// loaded as needs[i] asks, see [Need]. now is the store's own clock, one
	// authority for all processes that share the store; it may go backwards,
	// which the ledger heeds.
	//
	// When fn returns an error, nothing is written and Update returns that error
	// unchanged. When it returns nil, the store writes, for each state: the
	// account if AccountChange says so, each row of Lots and Ops whose Change
	// says so, and all Entries; see [State]. It returns nil only after that is
	// durable to the degree the store promises; then every later call sees it.
	// A state without changes must cause no write.
	//
	// A context that is done before fn was called means: an error, and nothing
	// written. After an error that is not fn's, it may be unknown whether the
	// writes took effect; a retry of the same command finds out.
	Update(ctx context.Context, needs []Need, fn func(now time.Time, states []*State) error) error

	// View calls fn as Update does, with the states of a moment, and never
	// writes: changes that fn makes to them are dropped. Each state is consistent
	// within itself. It need not exclude updates.
	View(ctx context.Context, needs []Need, fn func(now time.Time, states []*State) error) error

	// Entries returns entries of one account, at most q.Limit, in the order of q.
	// An unknown account has none: an empty list and no error. The caller owns
	// the slice.
	Entries(ctx context.Context, q EntryQuery) ([]Entry, error)

	// Accounts returns the ids after the given one, byte by byte, in ascending
	// order, at most limit. The empty id is before all others.
	Accounts(ctx context.Context, after AccountID, limit int) ([]AccountID, error)

	// Inspect calls fn with every row of one account as of one moment, for audits
	// that compare them with each other. An unknown account has a zero Account
	// with only its ID set, and no rows. fn's error is returned unchanged.
	Inspect(ctx context.Context, account AccountID, fn func(Snapshot) error) error
}

// A Need says which rows of one account a command decides on. Loading more than
// is asked for is allowed, less is not; no row may be in a State twice. At
// the store's time now, these are needed:
//
//   - the account, or a zero one with only its ID set;
//   - the ops named in Ops and Targets that exist, and every op that is due: its
//     [Op.Due] is not zero and not after now;
//   - every lot that is due: its [Lot.Due] is not zero and not after now;
//   - every lot named by the Parts of an op in Targets or of an op that is due;
//   - of the lots that are not due and have Totals.Available above 0, those that
//     come first by [Lot.Rank], up to and including the one with which the sum
//     of their Totals.Available reaches Spend; all of them when it never does,
//     and none when Spend is 0.
//
// In SQL that is one round: the account's row, locked; then, in statements of
// their own, so that they see what the lock waited for, the ops and the lots
// (with an index on due, and one on rank where available > 0).
type Need struct {
	Account AccountID
	Ops     []OpID // idempotency records to look at
	Targets []OpID // holds to settle, ops to refund
	Spend   Amount // how much the command may take from available lots
}

// spend asks for lots to take amount from; no account has more than MaxAmount.
func (n *Need) spend(amount Amount) { n.Spend += min(amount, MaxAmount-n.Spend) }

// A Change says what the store must do with a row after fn returned nil.
type Change uint8

const (
	Unchanged Change = 0 // as it was loaded: write nothing
	Added     Change = 1 // new: insert it; that a row of its key is there already is a fault of the store
	Updated   Change = 2 // loaded, and now different: write it over the old one
)

// An Account is the row of one account. Version counts the updates that changed
// anything and grows by one with each: a store that works optimistically
// compares it with the one it loaded.
type Account struct {
	ID      AccountID
	Version int64
	Seq     int64     // of the last entry
	LastLot LotID     // the highest in use
	At      time.Time // of the last change; time never goes below it
	Totals  Totals    // the sum over its lots
}

// A LotRow is a lot in a [State].
type LotRow struct {
	Lot    Lot
	Change Change
}

// An OpRow is an op in a [State].
type OpRow struct {
	Op     Op
	Change Change
}

// A State is the part of one account that a command works on. The store fills
// Account, Lots and Ops, with every Change at [Unchanged] and Entries empty. After
// fn has returned nil it writes, row by row:
//
//   - Account, if AccountChange is Added or Updated;
//   - of Lots and Ops each row that is Added or Updated. What an update can
//     change in a lot is Totals; in an op it is Parts, Hold and the Settled
//     fields; the columns that hold Due and Rank follow from the row;
//   - every entry of Entries, which are new and in order of Seq.
//
// The rows that the store filled in keep their places; added ones follow them.
// A State belongs to one call at a time. [State.Reset] makes it ready for
// another.
type State struct {
	Account       Account
	AccountChange Change
	Lots          []LotRow
	Ops           []OpRow
	Entries       []Entry

	lotIndex map[LotID]int // where a lot is, once there are many
}

// Reset empties s for the given account and keeps its memory.
func (s *State) Reset(account AccountID) {
	clear(s.Lots)
	clear(s.Ops)
	clear(s.Entries)
	clear(s.lotIndex)
	s.Account = Account{ID: account}
	s.AccountChange = Unchanged
	s.Lots, s.Ops, s.Entries = s.Lots[:0], s.Ops[:0], s.Entries[:0]
}

// An EntryQuery asks for a stretch of one account's journal.
type EntryQuery struct {
	Account AccountID
	// After is the Seq to go on from, exclusive: in ascending order entries above
	// it are returned, in descending order entries below it. 0 is the beginning:
	// the first entry, or with Descending the last.
	After      int64
	Descending bool
	Limit      int // 1 or more
}

// A Snapshot is every row of one account as of one moment. The sequences can be
// ranged over once each, one at a time, until fn returns; after a pair with an
// error there is no other.
type Snapshot struct {
	Account Account
	Lots    iter.Seq2[Lot, error]   // by ID
	Ops     iter.Seq2[Op, error]    // in any order
	Entries iter.Seq2[Entry, error] // by Seq
}
