package middleware

import (
	"iter"
	"slices"
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
//
// A call costs one unit of a limit, and Operation.Units of those whose Unit is
// Operation.Unit.
type Limit struct {
	ratelimit.Limit
	Subject Subject
	// Setting, unless empty, names the setting of the key ([apikey.Key.Settings])
	// that stands in the place of Count, where the key has it: 0 and less refuses
	// every call, and what is more than a limit can count is the most it can.
	// Limits that keys share, PerOperation and PerIP, have none.
	//
	// Counts that change, or differ among the keys of one owner, share what was used.
	// A token bucket keeps it only as far as it holds so much, and forgets the rest:
	// so one with a Setting must have a Burst, which stays, and whatever the setting
	// must be full again within [ratelimit.MaxPeriod].
	Setting string
}

// group are the limits of one subject that a call costs equally much.
type group struct {
	subject  Subject
	measured bool // a call costs Operation.Units
	limits   ratelimit.Limits
	declared []Limit
	variants *variants // nil when no limit has a setting
}

// defined yields the limits as they are declared, with the defaults filled in.
func (g *group) defined() iter.Seq[Limit] {
	return func(yield func(Limit) bool) {
		for i, l := range g.declared {
			if l.Limit = g.limits.Rule(i).Limit(); !yield(l) {
				return
			}
		}
	}
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

// compileLimits sorts limits by subject and cost, keeping their order within one.
func compileLimits(f *errors.Faults, op *Operation) []group {
	var by [maxGroups][]Limit
	seen := make(map[string]bool, len(op.Limits))
	for _, l := range op.Limits {
		if int(l.Subject) >= subjects {
			f.Add("limit %q: %v is no subject; give PerKey, PerOwner, PerIP or PerOperation", l.Name, l.Subject)
			continue
		}
		if l.Setting != "" && l.Subject != PerKey && l.Subject != PerOwner {
			f.Add("limit %q: its %v has no settings; leave Setting empty, or count PerKey or PerOwner", l.Name, l.Subject)
		}
		if l.Setting != "" && l.Algorithm == ratelimit.TokenBucket {
			checkBurst(f, &l)
		}
		if seen[l.Name] && l.Name != "" {
			f.Add("limit %q: the name is used twice in one operation; give each limit its own", l.Name)
		}
		seen[l.Name] = true
		i := 2 * int(l.Subject)
		if op.measures() && l.Unit == op.Unit {
			i++
		}
		by[i] = append(by[i], l)
	}
	var groups []group
	for i, list := range by {
		if len(list) == 0 {
			continue
		}
		g := group{subject: Subject(i / 2), measured: i%2 == 1, declared: list}
		var err error
		if g.limits, err = compile(list, nil); err != nil {
			joinParts(f, err)
			continue
		}
		if slices.ContainsFunc(list, func(l Limit) bool { return l.Setting != "" }) {
			if len(list) > maxCounts {
				f.Add("there are %d limits of one %v, and some have a Setting; give at most %d", len(list), g.subject, maxCounts)
			}
			g.variants = &variants{}
		}
		groups = append(groups, g)
	}
	return groups
}

// checkBurst adds what is wrong with a token bucket whose count comes from the key.
func checkBurst(f *errors.Faults, l *Limit) {
	switch {
	case l.Burst == 0:
		f.Add("limit %q: its bucket would hold as much as the setting says, and forget what was used beyond that; give a Burst, or another algorithm such as SlidingWindow", l.Name)
	case l.Period > 0 && l.Burst > int64(ratelimit.MaxPeriod/l.Period):
		f.Add("limit %q: a setting of 1 would take longer than %v to fill the bucket; give a Burst of at most %d", l.Name, ratelimit.MaxPeriod, int64(ratelimit.MaxPeriod/l.Period))
	}
}

// maxGroups is how many charges one call makes at most: two for each subject.
const maxGroups = 2 * subjects

// policy renders RateLimit-Policy for the limits that clients are told of; "" when
// it is not the same for every key.
func policy(groups []group) string {
	var b []byte
	for i := range groups {
		g := &groups[i]
		if g.subject == PerOperation {
			continue
		}
		if g.variants != nil {
			return ""
		}
		for i := range g.limits.Len() {
			rule := g.limits.Rule(i)
			if l := rule.Limit(); told(l) {
				b = appendPolicy(appendSeparator(b, 0), l, rule.Quota(), rule.Window())
			}
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
