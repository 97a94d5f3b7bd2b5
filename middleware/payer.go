package middleware

import (
	"context"
	"time"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
)

// A payer sets credits aside and settles them.
type payer interface {
	Hold(ctx context.Context, h credits.Hold) (credits.Receipt, error)
	Capture(ctx context.Context, c credits.Capture) (credits.Receipt, error)
	Release(ctx context.Context, r credits.Release) (credits.Receipt, error)
	Extend(ctx context.Context, e credits.Extend) (credits.Receipt, error)
}

var (
	_ payer = (*credits.Ledger)(nil)
	_ payer = (*credits.Lessee)(nil)
)

// hold returns the command that sets amount aside under id, on the terms of the
// pass's operation.
func (p *Pass) hold(account credits.AccountID, id credits.OpID, amount credits.Amount) credits.Hold {
	op := &p.route.op
	return credits.Hold{
		Account: account, ID: id, Amount: amount, TTL: op.HoldTTL, Key: p.key.Meter, Operation: op.Name, Price: p.priced,
		Overrun: op.Overrun, DebtLimit: op.DebtLimit, Late: op.Late,
	}
}

// checkOverrun adds what is wrong with what happens beyond the hold.
func (op *Operation) checkOverrun(f *errors.Faults) {
	if op.Overrun > credits.OverrunDebt {
		f.Add("Overrun is %d; give OverrunRefused, OverrunCapped or OverrunDebt", op.Overrun)
	}
	if op.DebtLimit < 0 || op.DebtLimit > credits.MaxAmount {
		f.Add("DebtLimit is %v; give 0 to %v", op.DebtLimit, credits.MaxAmount)
	}
	if op.DebtLimit != 0 && op.Overrun != credits.OverrunDebt {
		f.Add("DebtLimit is %v without OverrunDebt; give both or none", op.DebtLimit)
	}
	if op.Late > credits.LateCharged {
		f.Add("Late is %d; give LateRefused or LateCharged", op.Late)
	}
	if op.Price.kind == free && (op.Overrun != 0 || op.Late != 0) {
		f.Add("Overrun or Late is set and the operation is free; give it a price, or leave them out")
	}
}

// keepTerms notes when the pass's own hold times out, and who can settle it: a
// hold that a lease pays has no lots.
func (p *Pass) keepTerms(r *credits.Receipt) {
	p.heldAt, p.heldFor = r.At.UnixMicro(), lifetime(r)
	p.leased = p.gate.opt.Leases != nil && r.Parts.Len() == 0
}

// lifetime returns for how long a hold was made; 0: for ever.
func lifetime(r *credits.Receipt) time.Duration {
	if r.Deadline.IsZero() {
		return 0
	}
	return r.Deadline.Sub(r.At)
}

// abandon gives up a hold of which nobody knows whether the store has it. If it
// does and the release cannot be made either, it times out by itself.
func (p *Pass) abandon(ctx context.Context, account credits.AccountID, id credits.OpID) {
	settling := detached{parent: ctx, timeout: p.gate.opt.SettleTimeout}
	defer settling.stop()
	_, _ = p.gate.payer.Release(&settling, credits.Release{Account: account, Hold: id})
}
