package ratelimit

import (
	"iter"
	"math"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// An Algorithm says how a [Limit] counts. The package documentation states
// exactly what each admits.
type Algorithm uint8

const (
	// TokenBucket refills continuously: Count tokens a Period, up to Burst. It
	// is GCRA with exact arithmetic, and the default.
	TokenBucket Algorithm = iota
	// FixedWindow admits Count in each window of one Period. Windows are
	// aligned to the Unix epoch, so a window of 24 hours is a UTC day.
	FixedWindow
	// SlidingWindow weighs the window before with the share of it that one
	// Period back from now still covers.
	SlidingWindow
	// SlidingLog remembers each take for one Period: at most Count in any
	// trailing Period, for quotas small enough to keep a log of.
	SlidingLog
	// Calendar admits Count in each day, week, month or year of a time zone.
	Calendar
	// Concurrency admits Count at once. What a take gets is a lease: it ends
	// when it is released, or one Period after it was taken or last renewed.
	Concurrency
	// Unlimited lets every cost pass and counts nothing.
	Unlimited
	// DenyAll refuses every cost but 0, for ever.
	DenyAll

	algorithms
)

// String returns the algorithm's name in snake case.
func (a Algorithm) String() string {
	if a >= algorithms {
		return "unknown"
	}
	return [algorithms]string{
		"token_bucket", "fixed_window", "sliding_window", "sliding_log", "calendar", "concurrency", "unlimited", "deny_all",
	}[a]
}

// Bounds of a [Limit] and of a call. Within them no arithmetic of this package
// can overflow.
const (
	MaxCount  = 1 << 53                    // of Count, Burst and one cost
	MaxPeriod = 100 * 365 * 24 * time.Hour // of Period, and of the time an empty bucket takes to fill
	MaxName   = 64                         // bytes of a limit's name and of its unit
	MaxOps    = 64                         // limits decided in one call, over all its charges
	MaxLog    = 10_000                     // of the Count of a limit that keeps a log: SlidingLog and Concurrency
)

// A Limit is one rule about how much a subject may use in which time.
type Limit struct {
	// Name tells the limit from the others of its set, and names it in results
	// and headers: 1 to 64 letters, digits, '.', '_' or '-'.
	Name string
	// Algorithm is how it counts; the zero value is [TokenBucket].
	Algorithm Algorithm
	// Count is how much each Period allows: 1 to [MaxCount], for SlidingLog and
	// Concurrency 1 to [MaxLog]. Unlimited and DenyAll have none.
	Count int64
	// Period is a whole number of microseconds, from one to [MaxPeriod]; for
	// Concurrency it is the life of a lease that is not renewed. Calendar,
	// Unlimited and DenyAll have none.
	Period time.Duration
	// Burst is how much a token bucket holds at most; 0 means Count. The other
	// algorithms have none.
	Burst int64
	// Every is the window of a Calendar limit; the others have none.
	Every Span
	// Zone is the time zone whose days, weeks, months and years a Calendar limit
	// follows; nil means UTC. The others have none.
	Zone *time.Location
	// Shadow makes the limit decide and count without ever denying: it takes
	// what passes it, a cost it would refuse takes nothing from it, and
	// [Result.Shadowed] tells.
	Shadow bool
	// Unit is what is counted, in results and headers; "" means "requests". It
	// is made of the same characters as Name.
	Unit string
}

// A Rule is a [Limit] that was validated and prepared for deciding. Rules are
// made by [NewLimits], never change, and are safe for concurrent use. Only
// stores need them.
type Rule struct {
	limit    Limit    // defaults filled in
	calendar *windows // of a Calendar limit
	period   int64    // microseconds; of a Calendar limit the longest its windows get
	quota    int64    // the most that can be free at once
	fill     int64    // microseconds in which nothing used becomes everything free, rounded up
	most     int64    // the most units an overdrawn token bucket owes
	small    bool     // quota*period, and one count more, fit in an int64
	tag      uint64   // of algorithm and name

	byCount, byPeriod divisor
}

// Limit returns what the rule was made from, defaults filled in.
func (r *Rule) Limit() Limit { return r.limit }

// Quota returns the most that can be free at once: Burst for a token bucket,
// Count for the windows.
func (r *Rule) Quota() int64 { return r.quota }

// Window returns the time in which a whole quota comes back, rounded up to
// microseconds: Period, for a token bucket Burst/Count of a Period, and for a
// calendar the longest its windows get, to the day.
func (r *Rule) Window() time.Duration { return micros(r.fill) }

// Shadow reports whether the rule decides without denying.
func (r *Rule) Shadow() bool { return r.limit.Shadow }

// Logged reports whether the rule's state is a [Log] instead of a [Cell].
func (r *Rule) Logged() bool {
	return r.limit.Algorithm == SlidingLog || r.limit.Algorithm == Concurrency
}

// cells reports whether the rule's state is a [Cell].
func (r *Rule) cells() bool { return r.limit.Algorithm < Unlimited && !r.Logged() }

// stateless reports whether the rule decides without any state; no store meets
// such a rule.
func (r *Rule) stateless() bool { return r.limit.Algorithm >= Unlimited }

// Limits is a set of limits, validated and immutable; copies share it. The zero
// value holds none, and a decision about no limit at all is refused with an
// error.
type Limits struct{ set *ruleSet }

type ruleSet struct {
	rules     []Rule
	stateless bool // one of them is
}

// NewLimits returns the set of the given limits, in that order. It reports
// everything that is wrong with them in one error.
func NewLimits(limits ...Limit) (Limits, error) {
	f := errors.Faults{Op: "ratelimit.NewLimits"}
	if len(limits) == 0 {
		f.Add("no limits; give 1 or more")
	}
	if len(limits) > MaxOps {
		f.Add("%d limits; give at most %d", len(limits), MaxOps)
	}
	set := &ruleSet{rules: make([]Rule, 0, len(limits))}
	seen := make(map[string]bool, len(limits))
	for i, l := range limits {
		if l.Name != "" && seen[l.Name] {
			f.Add("limit %q: the name is used twice; give each limit its own", l.Name)
		}
		seen[l.Name] = true
		if l.check(&f, i) {
			set.rules = append(set.rules, compile(l))
			set.stateless = set.stateless || l.Algorithm >= Unlimited
		}
	}
	if err := f.Err(); err != nil {
		return Limits{}, err
	}
	return Limits{set}, nil
}

// Len returns how many limits the set holds.
func (s Limits) Len() int {
	if s.set == nil {
		return 0
	}
	return len(s.set.rules)
}

// At returns the i-th limit, from 0 to below Len, defaults filled in.
func (s Limits) At(i int) Limit { return s.set.rules[i].limit }

// Rule returns the i-th limit, from 0 to below Len, as stores need it. It
// belongs to the set and never changes.
func (s Limits) Rule(i int) *Rule { return &s.set.rules[i] }

// Lookup returns the limit of that name, defaults filled in.
func (s Limits) Lookup(name string) (Limit, bool) {
	for l := range s.All() {
		if l.Name == name {
			return l, true
		}
	}
	return Limit{}, false
}

// All yields the limits in the order given, defaults filled in.
func (s Limits) All() iter.Seq[Limit] {
	return func(yield func(Limit) bool) {
		for i := range s.Len() {
			if !yield(s.set.rules[i].limit) {
				return
			}
		}
	}
}

// micros returns a wait as a Duration, the longest when it is longer, as after a
// clock that went back by centuries.
func micros(us int64) time.Duration {
	if us > math.MaxInt64/int64(time.Microsecond) {
		return math.MaxInt64
	}
	return time.Duration(us) * time.Microsecond
}
