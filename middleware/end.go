package middleware

import (
	"context"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
)

// End settles the pass by the way the work ended: see [Settlement], and
// [Pass.Charge], which wins over it. Only the first call does anything; the
// others return nil.
//
// It works when ctx is cancelled already, as the context of a request is when
// its client has left: ctx gives its values, and Options.SettleTimeout the time
// allowed. An error means that the hold could not be settled, or the leases of
// its limits not ended; they stay until their deadlines, and the Observer is
// told.
func (p *Pass) End(ctx context.Context, o Outcome) error {
	if !p.ended.CompareAndSwap(false, true) {
		return nil
	}
	s := Settled{Ending: o.Ending(), Status: o.Status}
	p.settling.parent, p.settling.timeout = ctx, p.gate.opt.SettleTimeout
	if p.held > 0 {
		s.Action, s.Asked = p.route.settle[s.Ending], p.held
		if stated := p.charge.Load(); stated > 0 {
			s.Action, s.Asked = Capture, credits.Amount(stated-1)
		}
		s.Charged, s.Err = p.settle(s.Action, min(s.Asked, p.held))
		if s.Action != Capture {
			s.Asked = 0
		}
	}
	if p.route.leases {
		s.Err = errors.Join(s.Err, p.release(&p.settling))
	}
	p.settling.stop()
	p.gate.settled(ctx, p, &s)
	return errors.Wrap("middleware.End", s.Err)
}

// settle carries the action out and returns what was charged. A store that could
// not answer is asked once more: both commands replay when they took effect.
func (p *Pass) settle(action Action, amount credits.Amount) (charged credits.Amount, err error) {
	if action == Keep {
		return 0, nil
	}
	for range 2 {
		if action == Capture && amount > 0 {
			_, err = p.gate.ledger.Capture(&p.settling, credits.Capture{Account: p.account, Hold: p.holdID, Amount: amount})
			charged = amount
		} else {
			_, err = p.gate.ledger.Release(&p.settling, credits.Release{Account: p.account, Hold: p.holdID})
		}
		if err == nil {
			return charged, nil
		}
		if errors.CodeOf(err) != errors.Unavailable {
			break
		}
	}
	return 0, err
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
	if p.held > 0 {
		s.Account, s.Hold, s.Held = p.account, p.holdID, p.held
	}
	observer.Settled(ctx, *s)
}
