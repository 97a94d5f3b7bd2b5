package ratelimit

// A stock is what this node holds of one limit of one subject: units that the
// inner store has charged already, and nobody has used yet. Times are those of
// [LeasingStore.clock].
//
// # Why nothing is admitted beyond the limit
//
// A window. What the store counts in a window is at least what was used in it
// and what is held of it, so what is used stays within the count, and when the
// window ends by the store's clock no node may use what it holds of it. The
// answer says after what time that is; counted from before the request was sent,
// by a clock taken to be fast ([drift]), it is not after the end. A sliding
// window also weighs the window before, with a weight that only falls: what
// passed when it was leased passes when it is used, and what was never used
// weighs too much, not too little.
//
// A bucket. The store refills what is held as if it had been used, so what is
// used late would come on top of it. That has a bound when units are used within
// a life of L after the store charged them: whatever is used in a span of time
// [a, b] was charged in [a-L, b]. So with A(a, b) for what was charged and not
// given back unused, and r for the rate, the debt of the ideal bucket that is
// charged at each use is
//
//	D'(b) = max over a of uses(a, b) - r*(b-a)
//	     <= max over a of A(a-L, b) - r*(b-(a-L)) + r*L
//	     <= D(b) + r*L
//
// where D is the debt of the store's bucket. Every request to the store
// therefore has a bucket smaller by [Rule.spare] units, and L is the time in
// which so many come back: D(b) <= Burst - r*L, so D'(b) <= Burst. This holds for
// any number of nodes. That the held units leak at each node, at the rate of the
// limit, would be safe too; but then N nodes lose up to N times what the store
// refills, and refuse when little is used.
//
// Costs that were given back: neither the store's history nor a node's lets more
// pass than the same one without that cost, in which all of this holds.
//
// A log and a lease of a Concurrency limit are not held in advance: the store
// would date a unit from when it was charged, so it would leave the log before
// one Period has passed since its use.
type stock struct {
	rule  *Rule
	asked *Rule // what the store is asked to hold the subject to
	most  int64 // units that may be held
	life  int64 // of held units of a bucket; a stock that lasts half of it lasts long enough
	size  int64 // of the next lease
	lots  [2]lot
	shut  int64 // of a shadow limit: until then the store would lend nothing
}

// A lot is what one lease brought. The second of a stock is the newer.
type lot struct {
	n          int64 // units left
	born, dies int64
	window     int64 // end of the window in the store's time
	free       int64 // of a window: what was free in the store then
	debt       Cell  // of a bucket: what was owed to the store then

	id                ID // zero when it was returned or no lease is behind it
	got, until, owing int64
}

// leasable reports whether units of the rule may be held in advance.
func (r *Rule) leasable() bool { return !r.Logged() && !r.stateless() }

// spare returns by how many units a leased bucket is smaller than its Burst, and
// a time in which no more than those come back.
func (r *Rule) spare(share int64) (units, life int64) {
	units = max(r.quota/share, 1)
	life, rest := r.refilled(units, 0)
	if rest > 0 {
		life--
	}
	return units, life
}

// same reports whether two rules decide alike about the instant at. A zone is
// known by its name and the window of that instant.
func (r *Rule) same(other *Rule, at int64) bool {
	if r == other {
		return true
	}
	a, b := &r.limit, &other.limit
	if a.Algorithm != b.Algorithm || a.Name != b.Name || a.Count != b.Count || a.Period != b.Period ||
		a.Burst != b.Burst || a.Every != b.Every || a.Shadow != b.Shadow {
		return false
	}
	return r.calendar == nil || a.Zone.String() == b.Zone.String() && r.window(at) == other.window(at)
}

func (s *stock) bucket() bool { return s.rule.limit.Algorithm == TokenBucket }

// units returns how many units are held at the time at.
func (s *stock) units(at int64) (n int64) {
	for i := range s.lots {
		if at < s.lots[i].dies {
			n += s.lots[i].n
		}
	}
	return n
}

// use spends cost of at least as many units and tells what the store would have.
func (s *stock) use(cost, at int64) Outcome {
	first := 1
	for i := range s.lots {
		if l := &s.lots[i]; at < l.dies && l.n > 0 && cost > 0 {
			first = min(first, i)
			n := min(l.n, cost)
			l.n -= n
			cost -= n
		}
	}
	return s.tell(first, at)
}

// tell returns what is known of the limit: what was free in the store at the last
// trip, and what is held. The cost was used from the lot of that index; it comes
// back when everything below it in the debt has.
func (s *stock) tell(index int, at int64) Outcome {
	l, last := &s.lots[index], &s.lots[1]
	if !s.bucket() {
		return Outcome{Remaining: min(last.free+s.units(at), s.rule.quota), ResetAfter: s.reset(at)}
	}
	var o Outcome
	r := s.asked
	used, part := r.debt(last.debt, at)
	if part > 0 {
		used++
	}
	o.Remaining = min(max(r.quota-used+s.units(at), 0), r.quota)
	if l != last {
		used, part = r.debt(l.debt, at)
	} else if part > 0 {
		used--
	}
	if used -= l.n; used < 0 {
		used, part = 0, 0
	}
	o.ResetAfter, o.Rest = r.refilled(used, part)
	return o
}

// reset returns the ResetAfter of a window of which units are held.
func (s *stock) reset(at int64) int64 {
	left := max(s.lots[1].dies-at, 0)
	if s.rule.limit.Algorithm == SlidingWindow {
		left += s.rule.period
	}
	return left
}

// put takes in what the store lent, at the time now of its own, at the request
// of op that was sent at the time sent.
func (s *stock) put(op *Op, id ID, now, sent, at int64) {
	o := &op.Outcome
	l := lot{n: op.Cost, born: sent, free: o.Remaining, id: id, got: op.Cost, until: now + o.ResetAfter, owing: o.Rest}
	if s.bucket() {
		l.dies = sent + s.life
		l.debt.At = sent
		l.debt.Used, l.debt.Part = s.asked.debtOf(o)
	} else {
		left := o.ResetAfter
		if s.rule.limit.Algorithm == SlidingWindow {
			left -= s.rule.period
		}
		l.window, l.dies = now+left, sent+left
		last := &s.lots[1]
		if last.window != l.window { // none of these is of this window
			s.lots = [2]lot{}
		} else if at < last.dies {
			l.dies = last.dies // what was told of the window stays true
		}
	}
	if s.lots[1].n > 0 && at < s.lots[1].dies {
		s.lots[0] = s.lots[1]
	}
	s.lots[1] = l
}

// grow sets the size of the next lease after one that is used up: it is to last
// for half a life at least.
func (s *stock) grow(at int64) {
	if l := &s.lots[1]; l.got > 0 && l.n == 0 && at-l.born < s.life/2 {
		s.size = min(2*s.size, s.most)
	}
}

// fade sets the size of the next lease after one that died: what was used of it.
// Of units that the store would take back nothing for nothing is left.
func (s *stock) fade(at int64) {
	for i := range s.lots {
		l := &s.lots[i]
		if l.n == 0 || at < l.dies {
			continue
		}
		s.size = max(min(s.size, l.got-l.n), 1)
		switch s.rule.limit.Algorithm {
		case TokenBucket:
			if used, part := s.asked.debt(l.debt, at); used|part != 0 {
				continue
			}
		case SlidingWindow:
			if at < l.dies+s.rule.period {
				continue
			}
		}
		l.n, l.id = 0, ID{}
	}
}

// refused notes that the store lent a shadow limit nothing.
func (s *stock) refused(o *Outcome, sent int64) {
	l := &s.lots[1]
	l.free = o.Remaining
	if s.bucket() {
		l.debt.At = sent
		l.debt.Used, l.debt.Part = s.asked.debtOf(o)
	}
	if s.shut = sent + o.RetryAfter; o.RetryAfter == never {
		s.shut = sent + s.rule.fill
	}
}

// debtOf returns the debt that an outcome of a bucket tells of, at most the
// quota.
func (r *Rule) debtOf(o *Outcome) (used, part int64) {
	if o.ResetAfter <= 0 {
		return 0, 0
	}
	if used, part = r.repaid(o.ResetAfter, o.Rest); used >= r.quota {
		return r.quota, 0
	}
	return used, part
}

// back gives units back that op, a settlement of a use of this stock, has left
// over, and returns how many are held then. Of a bucket those that time has not
// paid back are as if they were returned and leased anew.
func (s *stock) back(op *Op, at int64) int64 {
	n, l := op.Cost-op.Actual, &s.lots[1]
	switch {
	case !s.bucket():
		if at < l.dies && op.Until == at+s.reset(at) { // else its window has ended
			l.n += n
		}
	case at < op.Until:
		unpaid, _ := s.asked.debtOf(&Outcome{ResetAfter: op.Until - at, Rest: op.Rest})
		if n = min(n, unpaid); at >= l.dies {
			s.lots[0], *l = *l, lot{born: at, dies: at + s.life, debt: l.debt}
		}
		l.n += n
	}
	return s.units(at)
}

// give takes the units of a lot out, and returns the op of the settlement that
// returns them to the store.
func (s *stock) give(key string, l *lot) (Op, bool) {
	n := min(l.n, l.got)
	op := Op{Rule: s.asked, Key: key, Cost: l.got, Actual: l.got - n, Until: l.until, Rest: l.owing}
	l.n, l.id = 0, ID{}
	return op, n > 0
}
