package middleware

import (
	"context"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
)

// End settles the pass by the way the work ended: see [Settlement], and what wins
// over it: [Pass.Charge], [Pass.Meter], [Pass.Detach]. Only the first call does
// anything; the others return nil.
//
// It works when ctx is cancelled already, as the context of a request is when
// its client has left: ctx gives its values, and Options.SettleTimeout the time
// allowed. An error means that the hold could not be settled, or the leases of
// its limits not ended; they stay until their deadlines, and the Observer is
// told.
func (p *Pass) End(ctx context.Context, o Outcome) error {
	state := p.state.Swap(passEnded)
	if state == passEnded {
		return nil
	}
	s := Settled{Ending: o.Ending(), Status: o.Status, Held: p.held}
	p.settling.parent, p.settling.timeout = ctx, p.gate.opt.SettleTimeout
	if p.held > 0 {
		s.Account, s.Hold = p.account, p.holdID
	}
	if state != passDetached && p.outlived() {
		state = chargeNothing
	}
	switch m := p.meter.Load(); {
	case state == passDetached:
		s.Action = Keep
		if h, held := p.Hold(); held {
			s.Hold = h.ID
		}
	case m != nil:
		m.settle(&s, state)
	case p.held > 0:
		s.Action, s.Asked = p.route.settle[s.Ending], p.held
		if state > passOpen {
			s.Action, s.Asked = Capture, credits.Amount(state-1)
		}
		p.settleHold(&s)
	}
	if p.route.leases {
		s.Err = errors.Join(s.Err, p.release(&p.settling))
	}
	if p.claim() != nil {
		p.conclude(&p.settling, &s, o)
	}
	p.settling.stop()
	p.gate.settled(ctx, p, &s)
	return errors.Wrap("middleware.End", s.Err)
}

// settleHold carries the action out on the pass's one hold.
func (p *Pass) settleHold(s *Settled) {
	switch {
	case s.Action == Capture:
		s.Charged, s.Err = p.capture(p.account, p.holdID, p.held, s.Asked)
		return
	case s.Action == Keep && p.leased: // whoever settles it has only the ledger
		if s.Err = p.holdAtLedger(&p.settling); s.Err == nil {
			s.Hold = p.jobID()
			p.giveUpLeased(&p.settling)
		}
	case s.Action == Release:
		_, s.Err = p.capture(p.account, p.holdID, p.held, 0)
	}
	s.Asked = 0
}

// capture charges what was asked for of a hold, and of more than it has what the
// operation's Overrun allows; 0 releases it. It returns what was charged.
func (p *Pass) capture(account credits.AccountID, id credits.OpID, held, asked credits.Amount) (credits.Amount, error) {
	if asked > held && p.route.op.Overrun == credits.OverrunRefused {
		asked = held
	}
	r, err := p.settle(account, id, asked)
	if asked > held && errors.Is(err, credits.ErrOverHold) { // not even as a debt
		r, err = p.settle(account, id, held)
	}
	if err != nil || asked == 0 {
		return 0, err
	}
	return r.Amount, nil
}

// settle ends a hold. A store that could not answer is asked once more: both
// commands replay when they took effect.
func (p *Pass) settle(account credits.AccountID, id credits.OpID, amount credits.Amount) (r credits.Receipt, err error) {
	for range 2 {
		if amount > 0 {
			r, err = p.gate.payer.Capture(&p.settling, credits.Capture{Account: account, Hold: id, Amount: amount})
		} else {
			r, err = p.gate.payer.Release(&p.settling, credits.Release{Account: account, Hold: id})
		}
		if err == nil || errors.CodeOf(err) != errors.Unavailable {
			break
		}
	}
	return r, err
}

// settled tells the observer. Without one only failures are told.
func (g *Gate) settled(ctx context.Context, p *Pass, s *Settled) {
	observer := g.opt.Observer
	if observer == nil {
		if s.Err == nil {
			return
		}
		observer = &SlogObserver{}
	}
	s.Time, s.RequestID, s.Operation, s.KeyID = g.opt.Now(), p.requestID, p.route.op.Name, p.key.ID
	observer.Settled(ctx, *s)
}
