package credits

import (
	"context"

	"github.com/keytoll/keytoll/errors"
)

// A LeaseJournal remembers what a [Lessee] has answered until the ledger knows
// it, so that a crash loses nothing. [OpenLeaseJournal] makes one in a file.
//
// One lessee uses a journal at a time. Records come in the order in which they
// happened, from several goroutines, and a record becomes durable no later than
// those after it. An error of any method means that the journal cannot be trusted
// to remember any more: the lessee takes no more leases.
type LeaseJournal interface {
	// Unfinished returns the leases of earlier runs that were not Closed, with
	// the spends that were not Settled. It is called once, before the others.
	Unfinished() []JournaledLease

	// Acquiring notes that a lease is about to be asked for. Its Spends are empty.
	Acquiring(lease JournaledLease) (mark int64, err error)

	// Spent notes a spend that is about to be answered. It must be quick: the
	// lessee holds a lock.
	Spent(lease OpID, spend LeaseSpend) (mark int64, err error)

	// Settled notes that the first n spends of the lease that were not settled
	// before are in the ledger. That it is lost does no harm.
	Settled(lease OpID, n int) error

	// Closed notes that nothing is left to tell of a lease. That it is lost does
	// no harm.
	Closed(lease OpID) error

	// Mark is the mark of the latest record. Marks grow.
	Mark() int64

	// Sync returns when all records up to mark are durable.
	Sync(ctx context.Context, mark int64) error

	// Relaxed reports whether spends are answered before they are durable, and
	// synced with each flush. Then what a crash leaves of a lease cannot be
	// returned, because some of it may be spent: it goes to suspense.
	Relaxed() bool
}

// A JournaledLease is a lease as a journal knows it.
type JournaledLease struct {
	Account        AccountID
	Lease          OpID
	Owner          string
	Epoch          int64
	Key, Operation string
	Exact          bool         // every answered spend was durable before
	Spends         []LeaseSpend // that may not be in the ledger yet, in their order
}

var errJournalTaken error = &errors.Error{
	Code: errors.Conflict, Msg: "another process has the journal of leases open; give each lessee a journal of its own",
}
