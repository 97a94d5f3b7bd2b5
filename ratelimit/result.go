package ratelimit

import (
	"iter"
	"math"
	"time"
)

// Never is the RetryAfter of a cost that no waiting helps: it is more than the
// limit can ever have free.
const Never time.Duration = -1

// A Charge is what one call costs one subject.
type Charge struct {
	// Key names the subject: any bytes, 1 to [Options].MaxKeyBytes of them.
	// Subjects of different kinds must not share keys under limits of the same
	// name: give each kind limits of its own names, or keys their own prefix.
	Key string
	// Limits are what the subject is held to; the zero value means the
	// limiter's own.
	Limits Limits
	// Cost is how much of each limit is used, 0 or more. A cost of 0 always
	// passes and spends nothing.
	Cost int64
}

// A Result is the answer to a take or a peek. The zero value refuses. It
// belongs to the caller; copies are independent.
type Result struct {
	// Allowed says that every limit let its cost pass.
	Allowed bool
	// Degraded says that the store failed and a policy for that case answered
	// instead; how much remains is then not known for certain.
	Degraded bool
	// Limit and Key say which limit of which subject the next three fields
	// speak for: when refused, of the refusing limits the one with the longest
	// RetryAfter; when allowed, the one with the least Remaining.
	Limit string
	Key   string
	// Remaining is how many units are free now: after the cost when it was
	// taken, before it when not.
	Remaining int64
	// RetryAfter is the least wait, in whole microseconds, after which this
	// very cost passes if nothing else is taken meanwhile: 0 when Allowed, and
	// [Never] when it is more than the limit can ever have free.
	RetryAfter time.Duration
	// ResetAfter is the wait after which the whole quota is free, if nothing
	// else is taken meanwhile.
	ResetAfter time.Duration
	// Taken is how much [Limiter.TakeUpTo] took: 1 or more when Allowed, unless 0
	// was asked for, else 0. The other verbs leave it 0.
	Taken int64
	// Reservation takes the costs back: see [Limiter.Refund].
	Reservation Reservation
}

// A State is what one limit said about one subject.
type State struct {
	Limit      Limit // as decided by, defaults filled in
	Key        string
	Cost       int64
	Allowed    bool          // whether this limit let the cost pass
	Quota      int64         // the most that can be free: Burst of a token bucket, else Count
	Window     time.Duration // in which a whole quota comes back: Period when Burst is Count
	Remaining  int64         // as in Result
	RetryAfter time.Duration // as in Result
	ResetAfter time.Duration // as in Result
}

// fewOuts and fewCharges are kept inside a Reservation without allocating. It is
// copied with every Result, so they are no more than most decisions need.
const (
	fewOuts    = 6
	fewCharges = 4
)

// A Reservation names what a decision took, completely: it can be stored in a
// struct, copied, and refunded at any later time by any limiter of the same
// store. It stays in its process: another one, which may be told its ID, can
// renew and release leases and nothing else. The zero value, which every refused
// decision has, refunds nothing.
type Reservation struct {
	id      ID
	now     int64
	ncharge int32
	nout    int32
	more    *bigReservation // when either array is too short
	charges [fewCharges]Charge
	outs    [fewOuts]out
}

type bigReservation struct {
	charges []Charge
	outs    []out
}

// An out is an [Outcome] in three words.
type out struct {
	remaining, resetAfter int64

	rest int64 // Rest where the cost passed; where not, RetryAfter negated, or neverRest
}

const neverRest = math.MinInt64

func (o *Outcome) out() out {
	rest := o.Rest
	switch {
	case o.RetryAfter == never:
		rest = neverRest
	case o.RetryAfter != 0:
		rest = -o.RetryAfter
	}
	return out{o.Remaining, o.ResetAfter, rest}
}

func (o *out) passed() bool { return o.rest >= 0 }

func (o *out) retryAfter() time.Duration {
	switch {
	case o.rest >= 0:
		return 0
	case o.rest == neverRest:
		return Never
	}
	return micros(-o.rest)
}

// ID returns the decision's id, zero for one that spent nothing.
func (r *Reservation) ID() ID { return r.id }

func (r *Reservation) parts() ([]Charge, []out) {
	if r.more != nil {
		return r.more.charges, r.more.outs
	}
	return r.charges[:r.ncharge], r.outs[:r.nout]
}

// Len returns how many states the result has: one for each limit of each
// charge.
func (r *Result) Len() int {
	_, outs := r.Reservation.parts()
	return len(outs)
}

// States yields what each limit said, in the order of the charges and of their
// limits. It does not allocate.
func (r *Result) States() iter.Seq[State] {
	return func(yield func(State) bool) { r.each(everyState, yield) }
}

// Refused yields the states of the limits that did not let their cost pass.
func (r *Result) Refused() iter.Seq[State] {
	return func(yield func(State) bool) { r.each(refusedStates, yield) }
}

// Shadowed yields the states of the shadow limits that would not have let their
// cost pass.
func (r *Result) Shadowed() iter.Seq[State] {
	return func(yield func(State) bool) { r.each(shadowedStates, yield) }
}

const (
	everyState = iota
	refusedStates
	shadowedStates
)

func (r *Result) each(which int, yield func(State) bool) {
	charges, outs := r.Reservation.parts()
	i := 0
	for c := range charges {
		for k := range charges[c].Limits.Len() {
			o := &outs[i]
			i++
			rule := &charges[c].Limits.set.rules[k]
			if which != everyState && (o.passed() || rule.limit.Shadow != (which == shadowedStates)) {
				continue
			}
			if !yield(state(&charges[c], rule, o)) {
				return
			}
		}
	}
}

func state(c *Charge, rule *Rule, o *out) State {
	return State{
		Limit: rule.limit, Key: c.Key, Cost: c.Cost,
		Allowed: o.passed(),
		Quota:   rule.quota, Window: rule.Window(),
		Remaining: o.remaining, RetryAfter: o.retryAfter(), ResetAfter: micros(o.resetAfter),
	}
}

func wait(us int64) time.Duration {
	if us == never {
		return Never
	}
	return micros(us)
}
