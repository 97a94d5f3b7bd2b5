package middleware

import (
	"context"
	"time"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
)

// A Hold names credits that are set aside. It is a plain value, as JSON in a queue
// for example: whoever has it and the ledger settles it, in another process if
// need be, by exactly one of Capture, Release and its time-out. The zero Hold is
// that of a call that costs nothing, be it that it was charged before under the same
// Idempotency-Key.
type Hold struct {
	Account credits.AccountID `json:"account"`
	ID      credits.OpID      `json:"id"`
	Amount  credits.Amount    `json:"amount"`
}

// Capture charges amount, 0 or more, and gives the rest back. More than is held
// is charged as Operation.Overrun says, and refused without one; what was charged
// is in the receipt. A retry replays the first result. It refuses as
// [credits.Ledger.Capture] does; the zero Hold captures 0 and nothing else.
func (h Hold) Capture(ctx context.Context, ledger *credits.Ledger, amount credits.Amount) (credits.Receipt, error) {
	if h == (Hold{}) && amount == 0 {
		return credits.Receipt{}, nil
	}
	return ledger.Capture(ctx, credits.Capture{Account: h.Account, Hold: h.ID, Amount: amount})
}

// Release charges nothing and gives all back. It refuses as
// [credits.Ledger.Release] does; of the zero Hold there is nothing to give.
func (h Hold) Release(ctx context.Context, ledger *credits.Ledger) (credits.Receipt, error) {
	if h == (Hold{}) {
		return credits.Receipt{}, nil
	}
	return ledger.Release(ctx, credits.Release{Account: h.Account, Hold: h.ID})
}

// Extend lets the hold last until ttl from now, or longer if it does already, for
// a job that takes longer than was thought; 0 is the ledger's own HoldTTL. It
// refuses as [credits.Ledger.Extend] does.
func (h Hold) Extend(ctx context.Context, ledger *credits.Ledger, ttl time.Duration) (credits.Receipt, error) {
	if h == (Hold{}) {
		return credits.Receipt{}, nil
	}
	return ledger.Extend(ctx, credits.Extend{Account: h.Account, Hold: h.ID, TTL: ttl})
}

// Hold returns what is set aside for the pass; false when nothing is, because
// the call is free. The pass still settles it, unless an ending keeps it: a job
// takes it over with [Pass.Detach].
func (p *Pass) Hold() (Hold, bool) {
	if p.held == 0 {
		return Hold{}, false
	}
	return Hold{Account: p.account, ID: p.jobID(), Amount: p.held}, true
}

// jobID returns the name under which the ledger itself knows the pass's hold, or
// will when it is kept.
func (p *Pass) jobID() credits.OpID {
	if p.leased {
		return p.holdID + "/job"
	}
	return p.holdID
}

// Detach takes the hold out of the pass's hands: however the call ends, by panic
// too, [Pass.End] leaves it alone, and whoever gets the value settles it. When
// nobody does, it times out and nothing is charged: Operation.HoldTTL must outlast
// the job, or the job must extend it. Detaching again returns the same value.
//
// With Options.Leases the ledger is asked to hold the same amount itself, and only
// then the lease gets its own back; ctx bounds that. An error means that the hold
// is the pass's as before. It has code Conflict when the call has ended, is metered
// or was stated a charge.
func (p *Pass) Detach(ctx context.Context) (Hold, error) {
	const op = "middleware.Detach"
	if !p.state.CompareAndSwap(passOpen, passDetaching) {
		switch state := p.state.Load(); {
		case state == passDetached:
			h, _ := p.Hold()
			return h, nil
		case state == passEnded:
			return Hold{}, errors.Wrap(op, errEnded)
		}
		return Hold{}, &errors.Error{Code: errors.Conflict, Op: op, Msg: "Charge has stated what the call costs, or another Detach is under way; call one of them"}
	}
	err := p.detach(ctx)
	if err == nil && !p.state.CompareAndSwap(passDetaching, passDetached) { // End was faster
		if p.leased {
			p.abandon(ctx, p.account, p.jobID())
		}
		return Hold{}, errors.Wrap(op, errEnded)
	}
	if err != nil {
		p.state.CompareAndSwap(passDetaching, passOpen)
		return Hold{}, errors.Wrap(op, err)
	}
	if p.leased {
		p.giveUpLeased(ctx)
	}
	h, _ := p.Hold()
	return h, nil
}

// detach does what it takes for another process to settle the hold.
func (p *Pass) detach(ctx context.Context) error {
	if p.meter.Load() != nil {
		return &errors.Error{Code: errors.Conflict, Msg: "the call is metered, and charged what it has used; a job needs a call of its own"}
	}
	if !p.leased {
		return nil
	}
	err := p.holdAtLedger(ctx)
	if err != nil && errors.CodeOf(err) != errors.Insufficient {
		p.abandon(ctx, p.account, p.jobID())
	}
	return err
}

// holdAtLedger has the ledger itself hold what a lease holds for the pass.
func (p *Pass) holdAtLedger(ctx context.Context) error {
	for again := false; ; again = true {
		r, err := p.gate.opt.Leases.HoldDirect(ctx, p.hold(p.account, p.jobID(), p.held))
		switch {
		case err == nil && r.Hold != credits.HoldOpen:
			return &errors.Error{Code: errors.Conflict, Msg: "the ledger's hold for the job has ended already"}
		case err == nil || again || errors.CodeOf(err) != errors.Unavailable:
			return err
		}
	}
}

// giveUpLeased returns what the lease holds: in memory, so that it cannot fail but
// by a time-out, which does the same.
func (p *Pass) giveUpLeased(ctx context.Context) {
	_, _ = p.gate.payer.Release(ctx, credits.Release{Account: p.account, Hold: p.holdID})
}
