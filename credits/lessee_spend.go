package credits

import (
	"context"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// Debit spends credits at once, from a lease when there is one that has them, and
// otherwise through the ledger: [ErrInsufficient]. With an empty ID it makes one,
// which is in the receipt.
func (l *Lessee) Debit(ctx context.Context, d Debit) (Receipt, error) {
	now := l.opt.Now()
	own := d.ID == ""
	if own {
		d.ID = l.newID(now)
	}
	r, mark, paid, err := l.spend(&d, own, now)
	if !paid && err == nil {
		return l.debit(ctx, d, own)
	}
	if err != nil {
		return Receipt{}, errors.Wrap("credits.Debit", err)
	}
	return r, l.durable(ctx, mark)
}

// debit is what Debit does when no lease in hand pays. It has a d of its own, so
// that the other one stays off the heap.
func (l *Lessee) debit(ctx context.Context, d Debit, own bool) (Receipt, error) {
	r, mark, paid, err := l.fetchAndSpend(ctx, &d, own)
	switch {
	case err != nil:
		return Receipt{}, errors.Wrap("credits.Debit", err)
	case paid:
		return r, l.durable(ctx, mark)
	}
	return l.direct(ctx, purseKey{d.Account, d.Key, d.Operation}, d.Amount, func(ctx context.Context) (Receipt, error) {
		return l.lessor.Pay(ctx, d)
	})
}

// fetchAndSpend pays from a lease that is acquired for it, if one is worth it.
func (l *Lessee) fetchAndSpend(ctx context.Context, d *Debit, own bool) (r Receipt, mark int64, paid bool, err error) {
	f := errors.Faults{Op: "credits.Debit"}
	if d.check(&f, &l.terms); f.Err() != nil {
		return r, 0, false, f.Err()
	}
	const tries = 3 // others may spend what was fetched
	for range tries {
		fetched, err := l.fetch(ctx, purseKey{d.Account, d.Key, d.Operation}, d.Amount, d.Amount)
		if !fetched || err != nil {
			return r, 0, false, err
		}
		if r, mark, paid, err = l.spend(d, own, l.opt.Now()); paid || err != nil {
			return r, mark, paid, err
		}
	}
	return r, 0, false, nil
}

// spend pays d from the current lease of its purse. Not paid and no error means
// that it is not for this lease to pay.
func (l *Lessee) spend(d *Debit, own bool, now time.Time) (r Receipt, mark int64, paid bool, err error) {
	s := l.shard(d.Account)
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.purses[purseKey{d.Account, d.Key, d.Operation}]
	if !own {
		if err := s.held(d.Account, d.ID); err != nil {
			return r, 0, false, err
		}
	}
	if p == nil {
		return r, 0, false, nil
	}
	if !own {
		if known := p.unsettled(d.ID); known != nil {
			if *known != (LeaseSpend{d.ID, d.Amount, d.Price, d.Note}) {
				return r, 0, false, refuse(ErrIntent, KindDebit.String()+" "+quote(string(d.ID)))
			}
			// What it was written with may still be on its way: whoever waits for
			// this waits for that.
			return Receipt{Account: d.Account, Op: d.ID, Kind: KindDebit, At: micros(now), Amount: d.Amount, Replayed: true}, l.markNow(), true, nil
		}
	}
	h := p.pays(d.Amount, now)
	if h == nil || !l.room() || !d.spendable() {
		return r, 0, false, nil
	}
	if mark, paid = l.journal(h, LeaseSpend{d.ID, d.Amount, d.Price, d.Note}, own); !paid {
		return r, 0, false, nil
	}
	h.free -= d.Amount
	l.unsettled.Add(1)
	p.noted(d.Amount)
	return Receipt{Account: d.Account, Op: d.ID, Kind: KindDebit, At: micros(now), Amount: d.Amount}, mark, true, nil
}

// room reports whether one more spend, or hold, may be paid from a lease. After
// Close none may, or a lease that Close has found no hold of would be left behind.
func (l *Lessee) room() bool {
	return l.unsettled.Load() < int64(l.opt.MaxUnsettled) && !l.broken.Load() && !l.closed.Load()
}

// spendable reports whether d can be filed as a spend. The rest of d is that of a
// purse, and was checked when that was made.
func (c *Debit) spendable() bool {
	return c.Amount >= 0 && c.Amount <= MaxAmount && badID(string(c.ID)) == "" && c.ID[0] != reservedPrefix[0] &&
		badText(c.Price, MaxIDBytes) == "" && badText(c.Note, MaxNoteBytes) == ""
}

// journal remembers a spend of h. The mark is what [Lessee.durable] waits for.
func (l *Lessee) journal(h *heldLease, spend LeaseSpend, own bool) (mark int64, ok bool) {
	if j := l.opt.Journal; j != nil {
		var err error
		if mark, err = j.Spent(h.id, spend); err != nil {
			l.broken.Store(true)
			return 0, false
		}
	}
	h.spends = append(h.spends, spend)
	if !own {
		h.purse.recent[spend.ID] = recentlyPaid{h, h.settled + int64(len(h.unsettled())) - 1}
	}
	return mark, true
}

// durable waits until what has that mark is, as the journal promises it. When
// that fails the spend may or may not be remembered, like any command whose
// answer is lost: its caller retries with the same id.
func (l *Lessee) durable(ctx context.Context, mark int64) error {
	if mark == 0 || l.opt.Journal.Relaxed() {
		return nil
	}
	if err := l.opt.Journal.Sync(ctx, mark); err != nil {
		if ctx.Err() == nil {
			l.broken.Store(true)
		}
		return atBoundary("credits.Lessee", err)
	}
	return nil
}

// markNow is the mark of everything journalled so far.
func (l *Lessee) markNow() int64 {
	if l.opt.Journal == nil {
		return 0
	}
	return l.opt.Journal.Mark()
}
