package ratelimit

import "slices"

// A Log is what a store keeps for one subject under a [SlidingLog] or a
// [Concurrency] limit. The zero Log is the same as an absent one: nothing used.
// An entry counts until its Until; a store keeps it at least as long.
type Log struct {
	At      int64   // the latest time the log has seen, in microseconds since the Unix epoch
	Entries []Entry // in the order of Until; those of one Until in the order they came
}

// An Entry is what one take has in use.
type Entry struct {
	ID    ID    // of the take
	Until int64 // the time from which the entry does not count, in microseconds since the Unix epoch
	Units int64 // 1 or more
}

// Expires returns the time from which the log is as good as absent.
func (l *Log) Expires() int64 {
	if len(l.Entries) == 0 {
		return 0
	}
	return l.Entries[len(l.Entries)-1].Until
}

// at returns the time at which the log decides at the time now.
func (l *Log) at(now int64) int64 {
	if now >= l.Expires() { // as good as absent, so it has seen no time
		return now
	}
	return max(now, l.At)
}

// TakeLog tells what taking cost at the time now would say, and changes
// nothing. A now before the log's time mints nothing: the decision is made at
// the log's time, and the waits are counted from now.
func (r *Rule) TakeLog(l *Log, cost, now int64) Outcome {
	now = min(max(now, 0), maxNow)
	at := l.at(now)
	entries, used := l.live(at)
	var o Outcome
	switch {
	case cost > r.quota:
		o.RetryAfter = never
	case cost > 0 && cost > r.quota-used:
		for i, left := 0, used; cost > r.quota-left; i++ {
			left -= entries[i].Units
			o.RetryAfter = entries[i].Until - now
		}
	default:
		used += cost
	}
	o.Remaining = max(r.quota-used, 0)
	if len(entries) > 0 {
		o.ResetAfter = entries[len(entries)-1].Until - now
	}
	if o.RetryAfter == 0 && cost > 0 {
		o.ResetAfter = max(o.ResetAfter, at+r.period-now)
	}
	return o
}

// PeekLog is what TakeLog tells, with Remaining and ResetAfter as they are
// before the cost.
func (r *Rule) PeekLog(l *Log, cost, now int64) Outcome {
	o := r.TakeLog(l, cost, now)
	if o.RetryAfter == 0 && cost > 0 {
		o = r.TakeLog(l, 0, now)
	}
	return o
}

// ChargeLog notes cost as taken at the time now by the decision id, whether it
// passes or not, and drops what does not count any more.
func (r *Rule) ChargeLog(l *Log, id ID, cost, now int64) {
	if cost <= 0 {
		return
	}
	now = min(max(now, 0), maxNow)
	l.At = l.at(now)
	entries, used := l.live(l.At)
	l.Entries = append(l.Entries[:0], entries...)
	if cost = min(cost, MaxCount-used); cost > 0 {
		l.insert(Entry{ID: id, Until: l.At + r.period, Units: cost})
	}
}

// SettleLog brings what the take id of cost has in use to actual: 0 gives it
// back, and with it a lease. A lease that is over stays so; of any other take
// that is over, what actual exceeds the cost by is charged as [Rule.ChargeLog]
// does. It reports whether the log changed.
func (r *Rule) SettleLog(l *Log, id ID, cost, actual, now int64) bool {
	i := l.find(id, now)
	switch {
	case i < 0 && (actual <= cost || r.limit.Algorithm == Concurrency):
		return false
	case i < 0:
		r.ChargeLog(l, id, actual-cost, now)
	case l.Entries[i].Units == actual:
		return false
	case actual <= 0:
		l.Entries = slices.Delete(l.Entries, i, i+1)
	default:
		_, used := l.live(l.at(now))
		e := &l.Entries[i]
		e.Units = min(actual, e.Units+MaxCount-used)
	}
	return true
}

// RenewLog lets the lease id of a [Concurrency] limit count for one Period from
// the time now, and reports whether it still counted.
func (r *Rule) RenewLog(l *Log, id ID, now int64) bool {
	i := l.find(id, now)
	if i < 0 {
		return false
	}
	l.At = l.at(now)
	e := l.Entries[i]
	e.Until = max(e.Until, l.At+r.period)
	l.Entries = slices.Delete(l.Entries, i, i+1)
	l.insert(e)
	return true
}

// live returns the entries that count at a time, and the sum of their units.
func (l *Log) live(at int64) (entries []Entry, used int64) {
	entries = l.Entries
	for len(entries) > 0 && entries[0].Until <= at {
		entries = entries[1:]
	}
	for i := range entries {
		used += entries[i].Units
	}
	return entries, used
}

// find returns the index of the entry of id if it counts, else -1.
func (l *Log) find(id ID, now int64) int {
	at := l.at(now)
	return slices.IndexFunc(l.Entries, func(e Entry) bool { return e.ID == id && e.Until > at })
}

func (l *Log) insert(e Entry) {
	i := len(l.Entries)
	for i > 0 && l.Entries[i-1].Until > e.Until {
		i--
	}
	l.Entries = slices.Insert(l.Entries, i, e)
}
