package ratelimit

import (
	"math/bits"
	"strconv"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// check notes every fault of l, the i-th limit of its set, and reports whether
// there was none.
func (l Limit) check(f *errors.Faults, i int) bool {
	ok := true
	name := strconv.Quote(l.Name)
	if !isName(l.Name) {
		name = "#" + strconv.Itoa(i+1)
	}
	fault := func(format string, args ...any) {
		ok = false
		f.Add("limit "+name+": "+format, args...)
	}
	if !isName(l.Name) {
		fault("name is %q; give 1 to %d letters, digits, '.', '_' or '-'", clip(l.Name), MaxName)
	}
	if l.Unit != "" && !isName(l.Unit) {
		fault("unit is %q; give none or 1 to %d letters, digits, '.', '_' or '-'", clip(l.Unit), MaxName)
	}
	if l.Algorithm >= algorithms {
		fault("algorithm is %d; give one of the constants, such as TokenBucket", l.Algorithm)
		l.Algorithm = TokenBucket // as which the rest is checked
	}
	count, period := l.Algorithm.fields()
	switch {
	case count == 0 && l.Count != 0:
		fault("count is %d; %v has none, leave it 0", l.Count, l.Algorithm)
	case count != 0 && (l.Count < 1 || l.Count > count):
		fault("count is %d; give 1 to %d", l.Count, count)
	}
	switch {
	case !period && l.Period != 0:
		fault("period is %v; %v has none, leave it 0", l.Period, l.Algorithm)
	case period && (l.Period < time.Microsecond || l.Period > MaxPeriod || l.Period%time.Microsecond != 0):
		fault("period is %v; give whole microseconds, from 1µs to %v", l.Period, MaxPeriod)
	}
	switch {
	case l.Algorithm == Calendar && (l.Every < Day || l.Every > Year):
		fault("every is %d; give Day, Week, Month or Year", l.Every)
	case l.Algorithm != Calendar && (l.Every != 0 || l.Zone != nil):
		fault("every and zone are for a Calendar limit; leave them unset")
	}
	switch {
	case l.Burst < 0 || l.Burst > MaxCount:
		fault("burst is %d; give 0 (as Count) to %d", l.Burst, int64(MaxCount))
	case l.Burst != 0 && l.Algorithm != TokenBucket:
		fault("burst is %d; only a token bucket has one, leave it 0", l.Burst)
	case ok && l.Burst != 0 && !fills(l):
		fault("burst %d takes longer than %v to fill at %d per %v; give a smaller burst", l.Burst, MaxPeriod, l.Count, l.Period)
	}
	return ok
}

// fields says which fields a limit of the algorithm has: the most of Count, 0
// for none, and whether there is a Period.
func (a Algorithm) fields() (count int64, period bool) {
	f := [algorithms]struct {
		count  int64
		period bool
	}{
		TokenBucket:   {MaxCount, true},
		FixedWindow:   {MaxCount, true},
		SlidingWindow: {MaxCount, true},
		SlidingLog:    {MaxLog, true},
		Calendar:      {MaxCount, false},
		Concurrency:   {MaxLog, true},
	}[a]
	return f.count, f.period
}

// fills reports whether l's bucket fills within MaxPeriod.
func fills(l Limit) bool {
	hi, lo := bits.Mul64(uint64(l.Burst), uint64(l.Period.Microseconds()))
	mhi, mlo := bits.Mul64(uint64(MaxPeriod.Microseconds()), uint64(l.Count))
	return hi < mhi || hi == mhi && lo <= mlo
}

// compile prepares a limit without faults.
func compile(l Limit) Rule {
	if l.Unit == "" {
		l.Unit = "requests"
	}
	r := Rule{quota: l.Count, tag: tag(l.Algorithm, l.Name)}
	if l.Algorithm >= Unlimited {
		r.limit = l
		return r
	}
	r.period = l.Period.Microseconds()
	switch l.Algorithm {
	case TokenBucket:
		if l.Burst == 0 {
			l.Burst = l.Count
		}
		r.quota = l.Burst
	case Calendar:
		if l.Zone == nil {
			l.Zone = time.UTC
		}
		r.calendar = &windows{span: l.Every, zone: l.Zone}
		r.period = l.Every.longest().Microseconds()
	}
	hi, lo := bits.Mul64(uint64(r.quota), uint64(r.period))
	r.small = hi == 0 && lo < 1<<61
	r.fill = int64(divUp(hi, lo, uint64(l.Count)))
	hi, lo = bits.Mul64(uint64(MaxPeriod.Microseconds()), uint64(l.Count))
	if r.most = MaxCount; hi < uint64(r.period) {
		q, _ := bits.Div64(hi, lo, uint64(r.period))
		r.most = int64(min(q, MaxCount))
	}
	r.limit = l
	r.byCount, r.byPeriod = divisorOf(l.Count), divisorOf(r.period)
	return r
}

// divUp returns the 128-bit number (hi, lo) divided by y, rounded up. The
// quotient must fit in 63 bits.
func divUp(hi, lo, y uint64) uint64 {
	q, r := bits.Div64(hi, lo, y)
	if r > 0 {
		q++
	}
	return q
}

// tag hashes what, beside the subject's key, names a state: FNV-1a, then the
// finalizer of splitmix64, so that all 64 bits depend on every byte.
func tag(a Algorithm, name string) uint64 {
	h := uint64(14695981039346656037)
	h = (h ^ uint64(a)) * 1099511628211
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

func isName(s string) bool {
	if len(s) == 0 || len(s) > MaxName {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// clip keeps an error message short, whatever was given.
func clip(s string) string {
	if len(s) > MaxName {
		return s[:MaxName] + "..."
	}
	return s
}
