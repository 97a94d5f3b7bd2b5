package middleware

import (
	"math/bits"
	"strconv"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/ratelimit"
)

// A Subject is who shares a limit.
type Subject uint8

const (
	// PerKey counts each key apart. A rotated key goes on where its predecessor
	// stood, because both have one Key.Meter.
	PerKey Subject = iota
	// PerOwner counts all keys of one owner together.
	PerOwner
	// PerIP counts each client address apart, IPv6 by its /64.
	PerIP
	// PerOperation counts everybody's calls of the operation together. Clients
	// are told of it only when it refuses.
	PerOperation

	subjects = iota
)

var subjectNames = [...]string{"key", "owner", "ip", "operation"}

// String returns the subject's stable name.
func (s Subject) String() string {
	if int(s) < len(subjectNames) {
		return subjectNames[s]
	}
	return "subject(" + strconv.Itoa(int(s)) + ")"
}

// A Limit is a rate limit with its subject. Its name is its identity in one
// gate: operations that list a limit of the same name share its windows, so
// they must define it alike.
type Limit struct {
	ratelimit.Limit
	Subject Subject
}

// group are the limits of one subject.
type group struct {
	subject Subject
	limits  ratelimit.Limits
}

// compileLimits sorts limits by subject, keeping their order within one.
func compileLimits(f *errors.Faults, limits []Limit) []group {
	var by [subjects][]ratelimit.Limit
	seen := make(map[string]bool, len(limits))
	for _, l := range limits {
		if int(l.Subject) >= subjects {
			f.Add("limit %q: %v is no subject; give PerKey, PerOwner, PerIP or PerOperation", l.Name, l.Subject)
			continue
		}
		if seen[l.Name] && l.Name != "" {
			f.Add("limit %q: the name is used twice in one operation; give each limit its own", l.Name)
		}
		seen[l.Name] = true
		by[l.Subject] = append(by[l.Subject], l.Limit)
	}
	var groups []group
	for s, list := range by {
		if len(list) == 0 {
			continue
		}
		compiled, err := ratelimit.NewLimits(list...)
		if err != nil {
			f.Join(err)
			continue
		}
		groups = append(groups, group{Subject(s), compiled})
	}
	return groups
}

// policy renders RateLimit-Policy for the limits that clients are told of.
func policy(groups []group) string {
	var b []byte
	for _, g := range groups {
		if g.subject == PerOperation {
			continue
		}
		for l := range g.limits.All() {
			if len(b) > 0 {
				b = append(b, ", "...)
			}
			quota, window := l.Count, l.Period
			if l.Algorithm == ratelimit.TokenBucket && l.Burst != 0 {
				quota, window = l.Burst, refill(l)
			}
			b = appendPolicy(b, quota, window, l.Name, l.Unit)
		}
	}
	return string(b)
}

// refill returns the time in which an empty bucket is full again, Burst/Count of
// a Period, rounded up to microseconds.
func refill(l ratelimit.Limit) time.Duration {
	hi, lo := bits.Mul64(uint64(l.Burst), uint64(l.Period/time.Microsecond))
	us, rest := bits.Div64(hi, lo, uint64(l.Count)) // NewLimits bounds the quotient
	if rest > 0 {
		us++
	}
	return time.Duration(us) * time.Microsecond
}
