package credits

import (
	"slices"
	"time"
)

// A purse is what a lessee has in hand for one account, key and operation. It is
// guarded by its shard's lock.
type purse struct {
	key     purseKey
	shard   *lesseeShard
	current *heldLease            // that is spent from; nil: none
	leases  []*heldLease          // all that are not closed, current included
	trip    chan struct{}         // closed when the acquisition that is under way is over; nil: there is none
	recent  map[OpID]recentlyPaid // spends that are not settled, by ids that callers chose

	spent    Amount    // since the last flush
	rate     Amount    // spent in a flush, lately
	largest  Amount    // of the spends lately
	idle     int       // flushes without a spend
	direct   time.Time // no lease is asked for until then
	recalled time.Time // when others' leases were last recalled
}

// A recentlyPaid is where an unsettled spend is.
type recentlyPaid struct {
	lease *heldLease
	seq   int64 // in the order of the lease's spends
}

// A heldLease is a lease that this lessee owns. Always
//
//	what it was made with = free + held + spent, settled or not + returned
type heldLease struct {
	purse    *purse
	id       OpID
	owner    string
	epoch    int64
	until    time.Time    // by this instance's clock, when it is not spent from any more; its margin is off
	deadline time.Time    // by the ledger's clock
	free     Amount       // neither spent nor held
	held     Amount       // by local holds
	spends   []LeaseSpend // from head on those that are answered, and not known to be in the ledger
	head     int
	settled  int64         // how many spends were before those
	returned Amount        // given up, told or not
	told     Amount        // of returned
	settling chan struct{} // closed when the settlement that is under way is over; nil: there is none
	since    time.Time     // when it was asked for
	retired  bool          // not spent from any more: to be closed
	asking   bool          // the acquisition is under way: nothing is told about it yet
	doubtful bool          // whether the ledger has made it is not known
	inexact  bool          // what was answered of it is not all in unsettled: the rest is not ours to return
	fixed    bool          // it cannot be put off
	gone     bool          // closed
}

// alive reports whether a lease may be spent from: by monotonic time, and by the
// time on the wall, which goes on while the machine is suspended.
func (h *heldLease) alive(now time.Time) bool {
	return now.Before(h.until) && now.UnixNano() < h.until.UnixNano()
}

// unsettled returns the spends that are answered, and not known to be in the
// ledger.
func (h *heldLease) unsettled() []LeaseSpend { return h.spends[h.head:] }

// dropSpends forgets the first n unsettled spends, which the ledger has judged.
func (h *heldLease) dropSpends(n int) {
	for i := range h.unsettled()[:n] {
		s := &h.spends[h.head+i]
		if at, ok := h.purse.recent[s.ID]; ok && at.lease == h {
			delete(h.purse.recent, s.ID)
		}
		*s = LeaseSpend{}
	}
	h.settled += int64(n)
	if h.head += n; h.head > len(h.spends)/2 { // so each is moved once, about
		left := copy(h.spends, h.unsettled())
		clear(h.spends[left:])
		h.spends, h.head = h.spends[:left], 0
	}
}

// pays returns the lease that pays an amount now, or nil.
func (p *purse) pays(amount Amount, now time.Time) *heldLease {
	if h := p.current; h != nil && h.free >= amount && h.alive(now) {
		return h
	}
	return nil
}

// retire takes the current lease, if any, out of use.
func (p *purse) retire() {
	if p.current != nil {
		p.current.retired = true
		p.current = nil
	}
}

// noted counts a spend, for the size of leases.
func (p *purse) noted(amount Amount) {
	p.spent += min(amount, MaxAmount-p.spent)
	p.largest = max(p.largest, amount)
}

// size returns how much to ask for, and the least that is worth it, when amount
// is to be paid: what two flushes take, and so many of the largest spends.
func (p *purse) size(amount Amount, spends int) (most, least Amount) {
	largest := max(p.largest, amount, Micro)
	rate := max(p.rate, p.spent)
	most = min(max(2*min(rate, MaxAmount/2), largest), MaxAmount)
	if largest > MaxAmount/Amount(spends) {
		return most, MaxAmount
	}
	return most, largest * Amount(spends)
}

// beat ends one interval between flushes.
func (p *purse) beat() {
	p.idle++
	if p.spent > 0 {
		p.idle = 0
	}
	p.rate = max(p.spent, p.rate/2+p.spent/2) // up at once, down by and by
	p.largest -= p.largest / 8
	p.spent = 0
}

// drop forgets a lease that is closed.
func (p *purse) drop(h *heldLease) {
	h.gone = true
	p.leases = slices.DeleteFunc(p.leases, func(x *heldLease) bool { return x == h })
	if p.current == h {
		p.current = nil
	}
}

// unsettled returns the spend of that id that is not settled yet, or nil.
func (p *purse) unsettled(id OpID) *LeaseSpend {
	r, ok := p.recent[id]
	if !ok {
		return nil
	}
	return &r.lease.unsettled()[r.seq-r.lease.settled]
}

// purse returns the purse of that key, or makes it; nil when there are as many as
// may be. The shard is locked.
func (l *Lessee) purse(s *lesseeShard, key purseKey) *purse {
	if p := s.purses[key]; p != nil || l.purses.Load() >= int64(l.opt.MaxUnsettled) {
		return p
	}
	return l.newPurse(s, key)
}

func (l *Lessee) newPurse(s *lesseeShard, key purseKey) *purse {
	if s.purses == nil {
		s.purses = make(map[purseKey]*purse)
	}
	p := &purse{key: key, shard: s, recent: make(map[OpID]recentlyPaid)}
	s.purses[key] = p
	s.order = append(s.order, p)
	l.purses.Add(1)
	return p
}

// tidy forgets the purses that have been idle, and have nothing. The shard is
// locked.
func (l *Lessee) tidy(s *lesseeShard) {
	const idle = 8 // flushes
	s.order = slices.DeleteFunc(s.order, func(p *purse) bool {
		if p.idle <= idle || len(p.leases) > 0 || p.trip != nil {
			return false
		}
		delete(s.purses, p.key)
		l.purses.Add(-1)
		return true
	})
}

// settlement returns what there is to tell the ledger about h; false: nothing. It
// gives up what is free of a lease that is retired. With renew, a lease that is
// used and ends soon is put off.
func (h *heldLease) settlement(l *Lessee, now time.Time, renew bool) (SettleLease, bool) {
	if h.asking {
		return SettleLease{}, false
	}
	unsettled := h.unsettled()
	n := min(len(unsettled), MaxLeaseSpends)
	c := SettleLease{Account: h.purse.key.account, Lease: h.id, Owner: h.owner, Epoch: h.epoch, Spends: unsettled[:n:n]}
	if h.retired && !h.inexact {
		h.returned += h.free
		h.free = 0
		c.Close = n == len(unsettled) && h.held == 0
	}
	c.Return = h.returned
	if used := !h.retired || h.held > 0; renew && used && !h.fixed && h.until.Sub(now) < (l.opt.TTL-l.opt.Margin)/2 {
		c.TTL = l.opt.TTL
	}
	return c, n > 0 || c.Close || c.TTL > 0 || h.returned > h.told
}
