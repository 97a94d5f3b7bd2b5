package credits

import (
	"context"
	"log/slog"
	"strconv"
	"time"
)

// A LeaseObserver is told what happens to the leases of a [Lessee], once for each
// turn, on the goroutine that brought it about, and by several at once. It must
// not block; it may use the lessee.
type LeaseObserver interface {
	// LeaseTurned is called with the context of the call that brought the turn about,
	// which may be done.
	LeaseTurned(ctx context.Context, t LeaseTurn)
}

// A LeaseTurnKind is what happened.
type LeaseTurnKind uint8

const (
	LeaseTaken     LeaseTurnKind = 1 // a lease was made: spends are paid from memory
	LeaseDirect    LeaseTurnKind = 2 // none is to be had, for the reason in Err, or too short a one: spends go to the ledger for a while
	LeaseRecalled  LeaseTurnKind = 3 // somebody misses what the lease has; it goes back
	LeaseLapsed    LeaseTurnKind = 4 // the lease ended before its owner was heard; it is settled from suspense
	LeaseRefused   LeaseTurnKind = 5 // a spend that was answered is not in the ledger, for the reason in Err
	LeaseUnsettled LeaseTurnKind = 6 // a flush failed, for the reason in Err; the next one goes on
)

var leaseTurns = [...]string{"lease_turn(0)", "taken", "direct", "recalled", "lapsed", "refused", "unsettled"}

// String returns the stable name of k.
func (k LeaseTurnKind) String() string {
	if int(k) < len(leaseTurns) {
		return leaseTurns[k]
	}
	return "lease_turn(" + strconv.Itoa(int(k)) + ")"
}

// A LeaseTurn is one thing that happened to a lease.
type LeaseTurn struct {
	Kind           LeaseTurnKind
	Account        AccountID
	Key, Operation string
	Lease          OpID
	Spend          OpID   // with LeaseRefused
	Amount         Amount // of the lease that was taken, or of the spend that was refused
	At             time.Time
	Err            error
}

// NewSlogLeaseObserver returns a LeaseObserver that writes one record for each
// turn: at Error when a spend was refused, at Warn when a lease lapsed or a flush
// failed, and at Info otherwise. A nil logger discards them.
func NewSlogLeaseObserver(logger *slog.Logger) LeaseObserver {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return slogLeaseObserver{logger}
}

type slogLeaseObserver struct{ logger *slog.Logger }

// LeaseTurned implements [LeaseObserver].
func (o slogLeaseObserver) LeaseTurned(ctx context.Context, t LeaseTurn) {
	level := slog.LevelInfo
	switch t.Kind {
	case LeaseRefused:
		level = slog.LevelError
	case LeaseLapsed, LeaseUnsettled:
		level = slog.LevelWarn
	}
	attrs := []slog.Attr{slog.String("turn", t.Kind.String())}
	for _, a := range []slog.Attr{
		slog.String("account", string(t.Account)), slog.String("key", t.Key), slog.String("operation", t.Operation),
		slog.String("lease", string(t.Lease)), slog.String("spend", string(t.Spend)),
	} {
		if a.Value.String() != "" {
			attrs = append(attrs, a)
		}
	}
	if t.Amount > 0 {
		attrs = append(attrs, slog.String("amount", t.Amount.String()))
	}
	if t.Err != nil {
		attrs = append(attrs, slog.String("error", t.Err.Error()))
	}
	o.logger.LogAttrs(ctx, level, "credit lease", attrs...)
}

// tell tells the observer, if there is one.
func (l *Lessee) tell(ctx context.Context, t LeaseTurn) {
	if o := l.opt.Observer; o != nil {
		o.LeaseTurned(ctx, t)
	}
}
