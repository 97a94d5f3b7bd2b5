package middleware

import (
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
)

// The states of a pass, besides a charge that was stated. It goes from open to
// ended, and on the way may be detached for good.
const (
	passOpen      = 0
	chargeNothing = 1 // as Charge(0)
	passEnded     = -1
	passDetached  = -2
	passDetaching = -3 // Detach is asking the ledger
)

// over reports whether the pass has ended.
func (p *Pass) over() bool { return p.state.Load() == passEnded }

// settledBy says why a pass in that state has no credits to charge any more; nil
// when it has.
func settledBy(state int64) error {
	switch {
	case state == passEnded:
		return errEnded
	case state < passOpen:
		return errDetached
	}
	return nil
}

var (
	errEnded    error = &errors.Error{Code: errors.Conflict, Msg: "the call has been settled already"}
	errDetached error = &errors.Error{Code: errors.Conflict, Msg: "the call's hold was handed over by Detach; settle it there"}
)

// Charge states what the call costs in the end, 0 or more; the last statement
// counts. It wins over the settlement by status, and over [Pass.Meter]: 0 charges
// nothing even for a 200, and 3 charges 3 even for a 500.
//
// More than what is held is charged as Operation.Overrun says. Without one, and
// where nothing is held, what is held is charged, and the error, of code
// Insufficient, says so. After
// the pass has ended, and after [Pass.Detach], the error has code Conflict, and
// nothing was stated: of a Charge and an End at once, either the statement is
// charged or this error is returned. A call that was charged before its answer was
// lost, under the same Idempotency-Key, is charged nothing more, without an error.
func (p *Pass) Charge(amount credits.Amount) error {
	const op = "middleware.Charge"
	switch {
	case amount < 0:
		return &errors.Error{Code: errors.Invalid, Op: op, Msg: "the amount is " + amount.String() + "; give 0 or more"}
	case amount > credits.MaxAmount:
		amount = credits.MaxAmount
	}
	for {
		was := p.state.Load()
		if err := settledBy(was); err != nil {
			return errors.Wrap(op, err)
		}
		if p.state.CompareAndSwap(was, int64(amount)+1) {
			break
		}
	}
	if p.paid() {
		return nil
	}
	if held := p.set(); amount > held && (p.route.op.Overrun == credits.OverrunRefused || held == 0) {
		return &errors.Error{
			Code: errors.Insufficient, Op: op,
			Msg: amount.String() + " credits are more than the " + held.String() + " held; those are charged",
		}
	}
	return nil
}

// set returns how much is set aside for the pass, by its meter too.
func (p *Pass) set() credits.Amount {
	if m := p.meter.Load(); m != nil {
		return m.reserved()
	}
	return p.held
}
