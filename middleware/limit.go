package middleware

import (
	"strconv"

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
//
// Clients are not told of limits in Shadow, nor of those that count nothing. A
// lease of a Concurrency limit is held from the decision until [Pass.End], and
// ends by itself after the limit's Period: make that longer than any handler
// runs.
type Limit struct {
	ratelimit.Limit
	Subject Subject
}

// group are the limits of one subject.
type group struct {
	subject Subject
	limits  ratelimit.Limits
}

// leases reports whether one of the limits gives leases.
func (g *group) leases() bool {
	for l := range g.limits.All() {
		if l.Algorithm == ratelimit.Concurrency {
			return true
		}
	}
	return false
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
		for i := range g.limits.Len() {
			rule := g.limits.Rule(i)
			l := rule.Limit()
			if !told(l) {
				continue
			}
			if len(b) > 0 {
				b = append(b, ", "...)
			}
			if l.Algorithm == ratelimit.Concurrency {
				b = appendPolicy(b, rule.Quota(), 0, l.Name, atOnce(l.Unit))
				continue
			}
			b = appendPolicy(b, rule.Quota(), rule.Window(), l.Name, l.Unit)
		}
	}
	return string(b)
}

// told reports whether clients are told of a limit of theirs.
func told(l ratelimit.Limit) bool {
	return !l.Shadow && l.Algorithm != ratelimit.Unlimited && l.Algorithm != ratelimit.DenyAll
}

// atOnce returns the unit of a limit of what runs at once, as the draft of the
// RateLimit fields names it for requests.
func atOnce(unit string) string {
	if unit == "requests" {
		return "concurrent-requests"
	}
	return unit
}

// noLeases notes a fault when a limit gives leases that nobody would end.
func noLeases(f *errors.Faults, option string, limits ...ratelimit.Limit) {
	for _, l := range limits {
		if l.Algorithm == ratelimit.Concurrency {
			f.Add("%s %q: nobody ends its leases; give a limit that is no Concurrency", option, l.Name)
		}
	}
}
