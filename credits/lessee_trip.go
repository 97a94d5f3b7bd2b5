package credits

import (
	"context"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// fetch has the purse of that key get a lease for a spend of amount, unless the
// current one can pay so much as enough. False means that none is to be had, or
// not worth it: the ledger shall decide. Callers at once share a trip. Its error
// is that of a context that ended before another caller's trip did.
func (l *Lessee) fetch(ctx context.Context, key purseKey, amount, enough Amount) (bool, error) {
	now := l.opt.Now()
	s := l.shard(key.account)
	s.mu.Lock()
	p := l.purse(s, key)
	if p == nil {
		s.mu.Unlock()
		return false, nil
	}
	if trip := p.trip; trip != nil {
		s.mu.Unlock()
		select {
		case <-trip:
			return true, nil // to see what it has brought
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	if p.pays(enough, now) != nil { // another caller's trip is over
		s.mu.Unlock()
		return true, nil
	}
	most, least := p.size(amount, l.opt.Least)
	if l.closed.Load() || now.Before(p.direct) || most < least || !l.room() {
		s.mu.Unlock()
		return false, nil
	}
	trip := make(chan struct{})
	p.trip = trip
	s.mu.Unlock()
	fetched := l.acquire(ctx, p, most, least, now)
	s.mu.Lock()
	p.trip = nil
	s.mu.Unlock()
	close(trip)
	return fetched, nil
}

// acquire takes a lease from the ledger and makes it the purse's current one.
func (l *Lessee) acquire(ctx context.Context, p *purse, most, least Amount, now time.Time) bool {
	s := p.shard
	h := &heldLease{
		purse: p, id: l.newID(now), owner: l.opt.Owner, epoch: l.epoch, since: now, until: now,
		asking: true, retired: true, doubtful: true,
	}
	c := AcquireLease{
		Account: p.key.account, ID: h.id, Owner: h.owner, Epoch: h.epoch, Key: p.key.key, Operation: p.key.operation,
		Min: least, Want: most, Share: shareOfInstance * int64(l.opt.Instances), TTL: l.opt.TTL,
	}
	if j := l.opt.Journal; j != nil {
		mark, err := j.Acquiring(JournaledLease{
			Account: c.Account, Lease: c.ID, Owner: c.Owner, Epoch: c.Epoch, Key: c.Key, Operation: c.Operation, Exact: !j.Relaxed(),
		})
		if err == nil {
			err = l.durable(ctx, mark)
		}
		if err != nil {
			l.broken.Store(ctx.Err() == nil || l.broken.Load())
			return false
		}
	}
	s.mu.Lock()
	p.leases = append(p.leases, h)
	s.mu.Unlock()
	r, err := l.lessor.AcquireLease(ctx, c)

	s.mu.Lock()
	h.asking = false
	turn := LeaseTurn{Kind: LeaseTaken, Account: c.Account, Key: c.Key, Operation: c.Operation, Lease: c.ID, Amount: r.Amount, At: now, Err: err}
	switch {
	case errors.Is(err, ErrInsufficient) || errors.CodeOf(err) == errors.Invalid:
		turn.Kind = LeaseDirect
		l.forget(h)
		p.direct = now.Add(l.cooldown)
	case err != nil: // nobody knows; settling it will tell
		turn.Kind = LeaseDirect
		p.direct = now.Add(l.cooldown)
	default:
		h.doubtful = false
		h.free = r.Rest
		h.until, h.deadline = l.end(now, r), r.Deadline
		if l.closed.Load() || !h.alive(l.opt.Now()) {
			turn.Kind = LeaseDirect
			p.direct = now.Add(l.cooldown) // what there is ends too soon
			break
		}
		p.retire()
		h.retired = false
		p.current = h
	}
	s.mu.Unlock()
	l.tell(ctx, turn)
	return turn.Kind == LeaseTaken
}

// end returns when a lease is not spent from any more, by this instance's clock
// as it was before the ledger was asked.
func (l *Lessee) end(before time.Time, r LeaseReceipt) time.Time {
	return before.Add(r.Deadline.Sub(r.Now) - l.opt.Margin)
}

// forget drops a lease of which nothing is left to tell. The shard is locked.
func (l *Lessee) forget(h *heldLease) {
	h.purse.drop(h)
	if j := l.opt.Journal; j != nil {
		if err := j.Closed(h.id); err != nil {
			l.broken.Store(true)
		}
	}
}

// direct has the ledger decide. When it refuses for what leases have, what this
// instance has is given back first, and then the others' leases are recalled.
func (l *Lessee) direct(ctx context.Context, key purseKey, amount Amount, do func(context.Context) (Receipt, error)) (Receipt, error) {
	r, err := do(ctx)
	denied, ok := errors.AsType[*DeniedError](err)
	if ok && denied.Transient && !denied.Replayed && l.giveBack(ctx, key.account) {
		r, err = do(ctx)
		denied, ok = errors.AsType[*DeniedError](err)
	}
	now := l.opt.Now()
	s := l.shard(key.account)
	switch {
	case ok && denied.Transient && denied.Leased > 0 && !denied.Replayed:
		if at := now.Add(2 * l.interval()); denied.ClearsAt.IsZero() || at.Before(denied.ClearsAt) {
			denied.ClearsAt = micros(at)
		}
		s.mu.Lock()
		p := l.purse(s, key)
		again := p == nil || now.Sub(p.recalled) >= l.interval()
		if again && p != nil {
			p.recalled = now
		}
		s.mu.Unlock()
		if again { // a failure is the next refusal's to mend
			_ = l.lessor.RecallLeases(ctx, key.account)
		}
	case err == nil:
		s.mu.Lock()
		if p := l.purse(s, key); p != nil {
			p.noted(amount)
			_, least := p.size(amount, l.opt.Least)
			if r.Totals.Available/Amount(shareOfInstance*l.opt.Instances) >= least {
				p.direct = time.Time{} // there is enough again
			}
		}
		s.mu.Unlock()
	}
	return r, err
}

// interval is how soon another instance hears of something, about.
func (l *Lessee) interval() time.Duration {
	if l.opt.Flush == ManualFlush {
		return time.Second
	}
	return l.opt.Flush
}

// giveBack returns what this lessee has of an account, and reports whether it had
// something.
func (l *Lessee) giveBack(ctx context.Context, account AccountID) bool {
	now := l.opt.Now()
	s := l.shard(account)
	var leases []*heldLease
	s.mu.Lock()
	for _, p := range s.order {
		if p.key.account == account {
			p.retire()
			p.direct = now.Add(l.cooldown)
			for _, h := range p.leases {
				if h.free > 0 || h.settling != nil {
					leases = append(leases, h)
				}
			}
		}
	}
	s.mu.Unlock()
	for _, h := range leases {
		if err := l.settle(ctx, h); err != nil {
			return false // then the ledger has not got it
		}
	}
	return len(leases) > 0
}
