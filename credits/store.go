package credits

import (
	"context"
	"iter"
	"time"
)

// A Store keeps what a ledger is made of, see below, and gives exclusive, atomic
// access to them. It holds no rule: what a command does is decided by the
// ledger, in the function that it hands to Update. Implementations must be
// safe for concurrent use and pass creditstest.Run.
//
// Six kinds of rows are kept: [Account] by its ID, [Lot], [Op], [Budget] and
// [Schedule] by (Account, ID), and [Entry] by (Account, Seq). All ids compare
// byte by byte. Instants are UTC with microseconds; the zero time means "none" and
// must come back as the zero time. Nothing is ever deleted but what a [Change]
// removes.
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
	// account if AccountChange says so, each row of Lots, Ops, Budgets and
	// Schedules whose Change says so, and all Entries; see [State]. It returns nil
	// only after that is durable to the degree the store promises; then every later
	// call sees it. A state without changes must cause no write. An op may be added
	// to an account that does not change, and even to one that has no row.
	//
	// A context that is done before fn was called means: an error, and nothing
	// written. After an error that is not fn's, it may be unknown whether the
	// writes took effect; a retry of the same command finds out. One of code
	// Corrupt is about rows that cannot be read or written: nothing was written.
	Update(ctx context.Context, needs []Need, fn func(now time.Time, states []*State) error) error

	// View calls fn as Update does, with the states of a moment, and never
	// writes: changes that fn makes to them are dropped. Each state is consistent
	// within itself. It need not exclude updates.
	View(ctx context.Context, needs []Need, fn func(now time.Time, states []*State) error) error

	// Entries returns entries of one account, at most q.Limit, in the order of q.
	// An unknown account has none: an empty list and no error. The caller owns
	// the slice.
	Entries(ctx context.Context, q EntryQuery) ([]Entry, error)

	// Accounts returns the ids after the given one of the accounts that have a row,
	// byte by byte, in ascending order, at most limit. The empty id is before all
	// others.
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
//   - what is due: every op, lot and schedule whose Due is not zero and not after
//     now, or not after Until where that is later. When Limit is not 0, only the
//     first Limit of each kind, by Due and then by ID; and if any was left out,
//     [State.More] is set;
//   - the ops named in Ops and Targets that exist; and with Prunable set the first
//     Limit ops, by Prunable and then by ID, whose [Op.Prunable] is not zero and
//     not after it;
//   - every lot named by the Parts of an op in Targets, of an op that is due, and
//     of one that is loaded to be pruned; lot 0 included, if it exists;
//   - lot 0, if it exists, whenever the account has a debt;
//   - every budget named by the Charges of those same ops, if it exists; every
//     budget whose Key and Operation are one of Scopes; and those named in Budgets;
//   - the schedules named in Schedules, and those that a due lot names;
//   - for each of Spends, of the lots that are not due by now, have Totals.Available
//     above 0 and whose Only has the spend's Operation, those that come first by
//     [Lot.Rank], up to and including the one with which the sum of their
//     Totals.Available reaches Amount; all of them when it never does, and none
//     when Amount is 0;
//   - the rows that List asks for.
//
// In SQL that is one round: the account's row, locked; then, in statements of
// their own, so that they see what the lock waited for, the ops, lots, budgets
// and schedules (with an index on due, and one on rank where available > 0).
type Need struct {
	Account   AccountID
	Ops       []OpID // idempotency records to look at
	Targets   []OpID // holds and leases to settle, ops to refund
	Spends    []Spend
	Scopes    []Scope
	Budgets   []BudgetID
	Schedules []ScheduleID
	Until     time.Time // zero: no later than now
	Limit     int       // 0: no limit
	Prunable  time.Time // zero: none
	List      List
}

// A Spend is how much a command may take from the available lots that can be
// spent on an operation. No two of a [Need] have the same Operation.
type Spend struct {
	Operation string
	Amount    Amount
}

// spend asks for lots to take amount from; no account has more than MaxAmount.
func (n *Need) spend(operation string, amount Amount) {
	for i := range n.Spends {
		if s := &n.Spends[i]; s.Operation == operation {
			s.Amount += min(amount, MaxAmount-s.Amount)
			return
		}
	}
	n.Spends = append(n.Spends, Spend{operation, min(amount, MaxAmount)})
}

// A Rows is a kind of rows that a [List] can ask for.
type Rows uint8

const (
	NoRows       Rows = 0
	LotRows      Rows = 1 // by ID; lot 0, if it exists, is the first
	OpRows       Rows = 2 // by ID
	OpenRows     Rows = 3 // ops whose Hold is HoldOpen or HoldSuspense, by ID
	TargetRows   Rows = 4 // ops whose Target is the list's Target, by ID
	BudgetRows   Rows = 5 // by ID
	ScheduleRows Rows = 6 // by ID
)

// A List asks for a stretch of the rows of one kind: at most Limit, in ascending
// order of ID, from the first after After. In a state they may be mixed with
// others.
type List struct {
	Rows   Rows
	After  string // an OpID, BudgetID or ScheduleID; empty: from the beginning
	Lot    LotID  // for LotRows, in the place of After; -1: from the beginning
	Target OpID   // for TargetRows
	Limit  int    // 1 or more
}

// A Change says what the store must do with a row after fn returned nil.
type Change uint8

const (
	Unchanged Change = 0 // as it was loaded: write nothing
	Added     Change = 1 // new: insert it; that a row of its key is there already is a fault of the store
	Updated   Change = 2 // loaded, and now different: write it over the old one
	Removed   Change = 3 // loaded, and to be deleted: an op that is pruned, a budget or a schedule that is taken away
	Dropped   Change = 4 // made and taken away again within one call: write nothing
)

// An Account is the row of one account. Version counts the updates that changed
// anything and grows by one with each: a store that works optimistically
// compares it with the one it loaded.
type Account struct {
	ID         AccountID
	Version    int64
	Seq        int64     // of the last entry
	Head       Hash      // of the last entry
	LastLot    LotID     // the highest in use
	At         time.Time // of the last change; time never goes below it
	Totals     Totals    // the sum over its lots, lot 0 included
	Holds      int64     // open holds, without leases
	Leases     int64     // open leases
	Budgets    int64     // budgets; when it is 0 a store need not look for any
	RecalledAt time.Time // leases that were made before are to be returned; zero: none
	PrunedTo   time.Time // ids that carry an earlier time are not known any more; zero: all are
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

// A BudgetRow is a budget in a [State].
type BudgetRow struct {
	Budget Budget
	Change Change
}

// A ScheduleRow is a schedule in a [State].
type ScheduleRow struct {
	Schedule Schedule
	Change   Change
}

// A State is the part of one account that a command works on. The store fills
// Account, Lots, Ops, Budgets, Schedules and More, with every Change at
// [Unchanged] and Entries empty. After fn has returned nil it writes, row by row:
//
//   - Account, if AccountChange is Added or Updated;
//   - each row that is Added or Updated, and deletes what is Removed. What an
//     update can change in a lot is Totals and Pruned, and in lot 0 Priority,
//     Category, Only and ExpiresAt; in an op Parts, Charges, Terms, Hold, Deadline
//     and the Settled fields; in a budget and in a schedule everything but the key.
//     The columns that hold Due, Rank and Prunable follow from the row;
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
	Budgets       []BudgetRow
	Schedules     []ScheduleRow
	Entries       []Entry
	More          bool // rows that are due were left out, because of Need.Limit

	lotIndex    rowIndex[LotID]    // where a lot is, once there are many
	opIndex     rowIndex[OpID]     // where an op is, once there are many
	budgetIndex rowIndex[BudgetID] // where a budget is, once there are many
	scopeIndex  scopeIndex         // where the budgets of a scope are, once there are many
	order       burnOrder
	zones       *zones    // of the ledger that works on it
	limit       int       // of what is due, how much one update may post; 0: all
	posted      bool      // that much was posted, and there is more
	passed      time.Time // until then all that is due was posted; zero: it is not known
	dropped     bool      // what is done to it is not going to be written, and needs no hashes
}

// Reset empties s for the given account and keeps its memory.
func (s *State) Reset(account AccountID) {
	clear(s.Lots)
	clear(s.Ops)
	clear(s.Entries)
	clear(s.Budgets)
	clear(s.Schedules)
	clear(s.lotIndex)
	clear(s.opIndex)
	clear(s.budgetIndex)
	s.scopeIndex.reset()
	s.Account = Account{ID: account}
	s.AccountChange, s.More = Unchanged, false
	s.zones, s.limit, s.posted, s.dropped, s.passed = nil, 0, false, false, time.Time{}
	s.order = burnOrder{list: s.order.list[:0]}
	s.Lots, s.Ops, s.Entries = s.Lots[:0], s.Ops[:0], s.Entries[:0]
	s.Budgets, s.Schedules = s.Budgets[:0], s.Schedules[:0]
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
	Account   Account
	Lots      iter.Seq2[Lot, error]      // by ID
	Ops       iter.Seq2[Op, error]       // in any order
	Budgets   iter.Seq2[Budget, error]   // by ID
	Schedules iter.Seq2[Schedule, error] // by ID
	Entries   iter.Seq2[Entry, error]    // by Seq
}
