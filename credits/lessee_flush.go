package credits

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// Flush settles what was spent, returns what is not needed, and renews what is.
// The lessee does it by itself unless LesseeOptions.Flush is [ManualFlush]. What
// it could not settle it keeps for the next time; its error is of code Unavailable
// then, as a rule.
func (l *Lessee) Flush(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return errors.Wrap("credits.Flush", ctx.Err())
	}
	defer func() { <-l.turn }()
	return errors.Wrap("credits.Flush", l.flush(ctx))
}

// Close settles everything, returns everything, and ends the goroutine. Holds
// that are open are released, so end the requests first. What is asked for from
// now on goes to the ledger. When Close fails, what it could not settle is kept:
// call it again. Without error nothing of this lessee is leased, and nothing is
// in suspense.
func (l *Lessee) Close(ctx context.Context) error {
	const op = "credits.Close"
	l.closed.Store(true)
	if l.stop != nil {
		l.stop()
		select {
		case <-l.stopped:
		case <-ctx.Done():
			return errors.Wrap(op, ctx.Err())
		}
	}
	for {
		if err := l.Flush(ctx); err != nil {
			return errors.Wrap(op, err)
		}
		trip, left := l.left()
		if trip == nil {
			if left > 0 {
				return &errors.Error{Code: errors.Unavailable, Op: op, Msg: "not known yet whether a lease was made; close again after its TTL"}
			}
			return nil
		}
		select { // an acquisition that began before
		case <-trip:
		case <-ctx.Done():
			return errors.Wrap(op, ctx.Err())
		}
	}
}

// left returns an acquisition that is under way, and how many leases are left.
func (l *Lessee) left() (trip chan struct{}, n int) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		for _, p := range s.order {
			n += len(p.leases)
			if p.trip != nil {
				trip = p.trip
			}
		}
		s.mu.Unlock()
	}
	return trip, n
}

func (l *Lessee) flush(ctx context.Context) error {
	now := l.opt.Now()
	var purses []*purse
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		s.expire(l, now)
		l.tidy(s)
		purses = append(purses, s.order...)
		s.mu.Unlock()
	}
	errs := make([]error, len(purses))
	var next atomic.Int64
	work := func() {
		for {
			i := int(next.Add(1)) - 1
			if i >= len(purses) {
				return
			}
			errs[i] = l.flushPurse(ctx, purses[i], now)
		}
	}
	if workers := min(l.opt.Workers, len(purses)); workers > 1 {
		var all sync.WaitGroup
		for range workers {
			all.Go(work)
		}
		all.Wait()
	} else {
		work()
	}
	if j := l.opt.Journal; j != nil {
		if err := j.Sync(ctx, j.Mark()); err != nil {
			if ctx.Err() == nil {
				l.broken.Store(true)
			}
			errs = append(errs, atBoundary("credits.Lessee", err))
		}
	}
	return errors.Join(errs...)
}

// expire ends holds that have timed out, or all when the lessee closes, and
// forgets those that ended a while ago.
func (s *lesseeShard) expire(l *Lessee, now time.Time) {
	const kept = 3 // flushes, for retries
	for key, h := range s.holds {
		switch {
		case h.end == HoldOpen && (l.closed.Load() || isDue(h.until, now)):
			h.finish(l, HoldTimedOut, 0)
		case h.end != HoldOpen:
			if h.flushes++; h.flushes > kept {
				delete(s.holds, key)
				l.ended.Add(-1)
			}
		}
	}
}

// flushPurse settles the leases of a purse and gets the next one when the current
// one will not last until the next flush.
func (l *Lessee) flushPurse(ctx context.Context, p *purse, now time.Time) error {
	s := p.shard
	const idle = 2 // flushes without a spend, after which a lease goes back
	s.mu.Lock()
	p.beat()
	if p.idle >= idle || l.closed.Load() || l.broken.Load() || p.current != nil && !p.current.alive(now) {
		p.retire()
	}
	leases := append([]*heldLease(nil), p.leases...)
	s.mu.Unlock()
	var errs []error
	for _, h := range leases {
		if err := l.settle(ctx, h); err != nil {
			errs = append(errs, err)
		}
	}
	s.mu.Lock()
	short, rate := p.current != nil && p.current.free < p.rate && p.trip == nil, p.rate
	s.mu.Unlock()
	if short && len(errs) == 0 {
		if _, err := l.fetch(ctx, p.key, 0, rate); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// settle tells the ledger everything about a lease.
func (l *Lessee) settle(ctx context.Context, h *heldLease) error {
	s := h.purse.shard
	for renew := true; ; {
		now := l.opt.Now()
		s.mu.Lock()
		if h.gone {
			s.mu.Unlock()
			return nil
		}
		if under := h.settling; under != nil {
			s.mu.Unlock()
			select {
			case <-under:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		c, news := h.settlement(l, now, renew)
		renew = renew && c.TTL == 0
		if !news {
			if h.inexact { // what was known is told; the rest is for an operator
				l.forget(h)
			}
			s.mu.Unlock()
			return nil
		}
		under := make(chan struct{})
		h.settling = under
		s.mu.Unlock()
		r, err := l.lessor.SettleLease(ctx, c)
		s.mu.Lock()
		turns, more, err := l.settled(h, &c, r, err, now)
		h.settling = nil
		s.mu.Unlock()
		close(under)
		for _, t := range turns {
			l.tell(ctx, t)
		}
		if err != nil || !more {
			return err
		}
	}
}

// settled takes in what the ledger said to c. More means that there may be more
// to tell now. The shard is locked.
func (l *Lessee) settled(h *heldLease, c *SettleLease, r LeaseReceipt, err error, now time.Time) (turns []LeaseTurn, more bool, _ error) {
	p := h.purse
	note := func(kind LeaseTurnKind, spend *LeaseSpend, err error) {
		t := LeaseTurn{Kind: kind, Account: c.Account, Key: p.key.key, Operation: p.key.operation, Lease: h.id, At: now, Err: err}
		if spend != nil {
			t.Spend, t.Amount = spend.ID, spend.Amount
		}
		turns = append(turns, t)
	}
	switch {
	case err == nil:
	case errors.Is(err, ErrNotFound) && h.doubtful && now.Sub(h.since) < l.opt.TTL && now.Sub(h.since) >= 0:
		return nil, false, nil // it may still be made: ask again with the next flush
	case errors.Is(err, ErrNotFound) && h.doubtful:
		l.forget(h)
		return nil, false, nil
	case errors.Is(err, ErrKeyTooOld): // it was closed long ago
		for i := range h.unsettled() {
			note(LeaseRefused, &h.unsettled()[i], err)
		}
		l.unsettled.Add(-int64(len(h.unsettled())))
		h.dropSpends(len(h.unsettled()))
		l.forget(h)
		return turns, false, nil
	default:
		return nil, false, err
	}
	h.doubtful = false
	h.told = max(h.told, c.Return)
	for i := range r.Spends {
		if f := &r.Spends[i]; f.Err != nil {
			note(LeaseRefused, &c.Spends[i], f.Err)
		}
	}
	if n := len(c.Spends); n > 0 {
		l.unsettled.Add(-int64(n))
		h.dropSpends(n)
		if j := l.opt.Journal; j != nil {
			if err := j.Settled(h.id, n); err != nil {
				l.broken.Store(true)
			}
		}
	}
	switch r.Hold {
	case HoldOpen:
		h.fixed = c.TTL > 0 && !r.Deadline.After(h.deadline)
		h.until, h.deadline = l.end(now, r), r.Deadline
	case HoldSuspense:
		if !h.retired {
			note(LeaseLapsed, nil, nil)
		}
	}
	if !h.retired && (r.Recalled || r.Hold != HoldOpen) {
		if r.Recalled {
			note(LeaseRecalled, nil, nil)
		}
		p.retire()
		p.direct = now.Add(l.cooldown)
	}
	if c.Close || r.Hold == HoldReleased && len(h.unsettled()) == 0 && h.held == 0 {
		l.forget(h)
	}
	return turns, true, nil
}

// recover takes over what an earlier run has left in the journal.
func (l *Lessee) recover() {
	if l.opt.Journal == nil {
		return
	}
	now := l.opt.Now()
	for _, j := range l.opt.Journal.Unfinished() {
		s := l.shard(j.Account)
		key := purseKey{j.Account, j.Key, j.Operation}
		p := s.purses[key]
		if p == nil {
			p = l.newPurse(s, key) // however many there are
		}
		h := &heldLease{
			purse: p, id: j.Lease, owner: j.Owner, epoch: j.Epoch, spends: slices.Clone(j.Spends), since: now, until: now,
			retired: true, doubtful: len(j.Spends) == 0, inexact: !j.Exact,
		}
		l.unsettled.Add(int64(len(j.Spends)))
		for i := range h.spends {
			p.recent[h.spends[i].ID] = recentlyPaid{h, int64(i)}
		}
		p.leases = append(p.leases, h)
	}
}
