package scopes

import (
	"slices"
	"strings"
)

// Intersect returns what both s and other grant, no more and no less: s, bounded
// by a ceiling that was lowered since. It returns s itself, and does not
// allocate, when other covers s. Should the result need more than [MaxScopes],
// or a scope longer than [MaxBytes], those beyond are left out.
func (s Set) Intersect(other Set) Set {
	if other.Covers(s) {
		return s
	}
	var list []string
	for p := range split(s.text) {
		if other.covers(p) {
			list = append(list, p)
			continue
		}
		for o := range split(other.text) {
			if both, ok := meet(p, o); ok {
				list = append(list, both)
			}
		}
	}
	slices.Sort(list)
	list = slices.Compact(list)
	return join(list[:min(len(list), MaxScopes)])
}

// meet returns the one pattern that matches what both p and o match, if there is
// anything of the sort. Segments are compared in pairs: of "*" and a literal the
// literal remains, and a last "*" leaves the whole rest of the other.
func meet(p, o string) (string, bool) {
	var both []string
	for {
		ps, prest, pmore := strings.Cut(p, ":")
		os, orest, omore := strings.Cut(o, ":")
		switch {
		case ps == "*" && !pmore:
			return meeting(append(both, o))
		case os == "*" && !omore:
			return meeting(append(both, p))
		case ps == "*":
			both = append(both, os)
		case os == "*", ps == os:
			both = append(both, ps)
		default:
			return "", false
		}
		if !pmore || !omore {
			if pmore || omore {
				return "", false
			}
			return meeting(both)
		}
		p, o = prest, orest
	}
}

func meeting(segments []string) (string, bool) {
	pattern := strings.Join(segments, ":")
	return pattern, len(pattern) <= MaxBytes
}
