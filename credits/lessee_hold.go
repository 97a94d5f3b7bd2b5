package credits

import (
	"context"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// A localHold is a hold that a lease pays.
type localHold struct {
	lease    *heldLease
	hold     Hold
	left     Amount
	at       time.Time
	until    time.Time  // zero: for ever
	end      HoldStatus // HoldOpen while it is
	captured Amount     // by the final capture
	rest     Amount     // given back by its end
	flushes  int        // since the end
}

// Hold sets credits aside, from a lease when there is one that has them, and
// otherwise through the ledger: [ErrInsufficient]. It needs an ID.
func (l *Lessee) Hold(ctx context.Context, h Hold) (Receipt, error) {
	const op = "credits.Hold"
	f := errors.Faults{Op: op}
	if h.check(&f, &l.terms); f.Err() != nil {
		return Receipt{}, f.Err()
	}
	const tries = 3
	key := purseKey{h.Account, h.Key, h.Operation}
	for range tries {
		if r, held, err := l.hold(&h, l.opt.Now()); held || err != nil {
			return r, errors.Wrap(op, err)
		}
		if fetched, err := l.fetch(ctx, key, h.Amount, h.Amount); err != nil {
			return Receipt{}, errors.Wrap(op, err)
		} else if !fetched {
			break
		}
	}
	return l.direct(ctx, key, h.Amount, func(ctx context.Context) (Receipt, error) { return l.lessor.Hold(ctx, h) })
}

// HoldDirect is Hold through the ledger, whatever leases have: for a hold that
// another process, or somebody after Close, is to settle.
func (l *Lessee) HoldDirect(ctx context.Context, h Hold) (Receipt, error) {
	f := errors.Faults{Op: "credits.Hold"}
	if h.check(&f, &l.terms); f.Err() != nil {
		return Receipt{}, f.Err()
	}
	return l.direct(ctx, purseKey{h.Account, h.Key, h.Operation}, h.Amount, func(ctx context.Context) (Receipt, error) { return l.lessor.Hold(ctx, h) })
}

func (l *Lessee) hold(h *Hold, now time.Time) (Receipt, bool, error) {
	s := l.shard(h.Account)
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.holds[holdKey{h.Account, h.ID}]; known != nil {
		if known.hold != *h {
			return Receipt{}, false, refuse(ErrIntent, KindHold.String()+" "+quote(string(h.ID)))
		}
		return known.receipt(KindHold, h.Amount, true), true, nil
	}
	p := s.purses[purseKey{h.Account, h.Key, h.Operation}]
	if p == nil {
		return Receipt{}, false, nil
	}
	if p.unsettled(h.ID) != nil {
		return Receipt{}, false, refuse(ErrIntent, KindDebit.String()+" "+quote(string(h.ID)))
	}
	lease := p.pays(h.Amount, now)
	if lease == nil || h.Overrun != OverrunRefused || h.Late != LateRefused || !l.room() {
		return Receipt{}, false, nil
	}
	lease.free -= h.Amount
	lease.held += h.Amount
	l.unsettled.Add(1)
	p.noted(h.Amount)
	local := &localHold{lease: lease, hold: *h, left: h.Amount, at: now, until: l.terms.deadline(h.TTL, now), end: HoldOpen}
	if s.holds == nil {
		s.holds = make(map[holdKey]*localHold)
	}
	s.holds[holdKey{h.Account, h.ID}] = local
	return local.receipt(KindHold, h.Amount, false), true, nil
}

// held refuses an id for a spend when it is that of a hold that is open here.
func (s *lesseeShard) held(account AccountID, id OpID) error {
	if h := s.holds[holdKey{account, id}]; h != nil && h.end == HoldOpen {
		return refuse(ErrIntent, KindHold.String()+" "+quote(string(id)))
	}
	return nil
}

func (h *localHold) receipt(k Kind, amount Amount, replayed bool) Receipt {
	return Receipt{Account: h.hold.Account, Op: h.hold.ID, Kind: k, At: micros(h.at), Amount: amount, Hold: h.end, Deadline: h.until, Replayed: replayed}
}

// finish ends a hold: what is left goes back to the lease.
func (h *localHold) finish(l *Lessee, end HoldStatus, captured Amount) {
	h.end, h.captured, h.rest = end, captured, h.left-captured
	h.lease.held -= h.left
	h.lease.free += h.rest
	h.left = 0
	if end != HoldCaptured { // whose spend takes its place
		l.unsettled.Add(-1)
	}
	if l.ended.Add(1) > int64(l.opt.MaxUnsettled) { // it is not remembered
		l.ended.Add(-1)
		delete(h.lease.purse.shard.holds, holdKey{h.hold.Account, h.hold.ID})
	}
}

// open says why nothing more can be done with h, or nil.
func (h *localHold) open(l *Lessee, now time.Time) error {
	if h.end == HoldOpen && isDue(h.until, now) {
		h.finish(l, HoldTimedOut, 0)
	}
	switch h.end {
	case HoldOpen:
		return nil
	case HoldTimedOut:
		return refuse(ErrTimedOut, "its deadline was "+h.until.Format(time.RFC3339))
	case HoldCaptured:
		return refuse(ErrSettled, "it was captured at "+h.captured.String()+" credits")
	}
	return refuse(ErrSettled, "it was released")
}

// Capture spends what a hold of this lessee, or one of the ledger, has set aside.
// It refuses as [Ledger.Capture] does.
func (l *Lessee) Capture(ctx context.Context, c Capture) (Receipt, error) {
	const op = "credits.Capture"
	f := errors.Faults{Op: op}
	if c.check(&f, &l.terms); f.Err() != nil {
		return Receipt{}, f.Err()
	}
	r, mark, local, err := l.capture(&c, l.opt.Now())
	switch {
	case err != nil:
		return Receipt{}, errors.Wrap(op, err)
	case !local:
		return l.lessor.Capture(ctx, c)
	}
	return r, l.durable(ctx, mark)
}

func (l *Lessee) capture(c *Capture, now time.Time) (r Receipt, mark int64, local bool, err error) {
	s := l.shard(c.Account)
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.holds[holdKey{c.Account, c.Hold}]
	if h == nil {
		return r, 0, false, nil
	}
	spend := LeaseSpend{ID: h.hold.ID, Amount: c.Amount, Price: h.hold.Price, Note: h.hold.Note}
	if c.All {
		spend.Amount = h.left
	}
	if c.Keep {
		spend.ID, spend.Note = c.ID, c.Note
		if err := s.held(c.Account, c.ID); err != nil {
			return r, 0, true, err
		}
		if known := h.lease.purse.unsettled(c.ID); known != nil {
			if *known != spend {
				return r, 0, true, refuse(ErrIntent, KindDebit.String()+" "+quote(string(c.ID)))
			}
			r = h.receipt(KindCapture, c.Amount, true)
			r.Op = c.ID
			return r, l.markNow(), true, nil
		}
	} else if h.end == HoldCaptured && (c.All && h.rest == 0 || !c.All && c.Amount == h.captured) {
		return h.receipt(KindCapture, h.captured, true), l.markNow(), true, nil
	}
	if err := h.open(l, now); err != nil {
		return r, 0, true, err
	}
	if spend.Amount > h.left {
		return r, 0, true, refuse(ErrOverHold, spend.Amount.String()+" credits asked for, "+h.left.String()+" held")
	}
	var ok bool
	if mark, ok = l.journal(h.lease, spend, false); !ok {
		return r, 0, true, errJournal
	}
	if c.Keep {
		h.left -= spend.Amount
		h.lease.held -= spend.Amount
		l.unsettled.Add(1)
	} else {
		h.finish(l, HoldCaptured, spend.Amount)
	}
	r = h.receipt(KindCapture, spend.Amount, false)
	r.Op = spend.ID
	return r, mark, true, nil
}

var errJournal error = &errors.Error{Code: errors.Unavailable, Msg: "the journal of the lease cannot be written; the hold stays as it is"}

// Release ends a hold of this lessee, or one of the ledger, and gives back what
// it still sets aside. It refuses as [Ledger.Release] does.
func (l *Lessee) Release(ctx context.Context, c Release) (Receipt, error) {
	const op = "credits.Release"
	f := errors.Faults{Op: op}
	if c.check(&f, &l.terms); f.Err() != nil {
		return Receipt{}, f.Err()
	}
	s := l.shard(c.Account)
	s.mu.Lock()
	h := s.holds[holdKey{c.Account, c.Hold}]
	if h == nil {
		s.mu.Unlock()
		return l.lessor.Release(ctx, c)
	}
	defer s.mu.Unlock()
	if h.end == HoldReleased {
		return h.receipt(KindRelease, h.rest, true), nil
	}
	if err := h.open(l, l.opt.Now()); err != nil {
		return Receipt{}, errors.Wrap(op, err)
	}
	h.finish(l, HoldReleased, 0)
	return h.receipt(KindRelease, h.rest, false), nil
}

// Extend puts off the deadline of a hold of this lessee, or of one of the ledger,
// and never brings it forward. It refuses as [Ledger.Extend] does.
func (l *Lessee) Extend(ctx context.Context, c Extend) (Receipt, error) {
	const op = "credits.Extend"
	f := errors.Faults{Op: op}
	if c.check(&f, &l.terms); f.Err() != nil {
		return Receipt{}, f.Err()
	}
	s := l.shard(c.Account)
	s.mu.Lock()
	h := s.holds[holdKey{c.Account, c.Hold}]
	if h == nil {
		s.mu.Unlock()
		return l.lessor.Extend(ctx, c)
	}
	defer s.mu.Unlock()
	now := l.opt.Now()
	if err := h.open(l, now); err != nil {
		return Receipt{}, errors.Wrap(op, err)
	}
	until := l.terms.putOff(c.TTL, h.at, now)
	longer := !h.until.IsZero() && until.After(h.until)
	if longer {
		h.until = until
	}
	return h.receipt(KindHold, h.hold.Amount, !longer), nil
}
