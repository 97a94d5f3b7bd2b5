package scopes

import "slices"

// maxChoices bounds the work of Missing, which a denied request may cause: with
// each member a group joins at most its square of lists. A requirement of
// people's making has a handful of ways to be met.
const maxChoices = 32

// Missing returns the shortest list of scopes that, granted besides s, would
// meet r: in the order of r, the first where several are as short. It returns
// nil when s meets r already, and an empty list that is not nil when no set
// can. The caller owns the slice.
//
// Beyond 32 different ways to meet a group only the 32 shortest are followed:
// the list still suffices, but a shorter one may exist.
func (r Requirement) Missing(s Set) []string {
	if r.Met(s) {
		return nil
	}
	ways := r.ways(s)
	if len(ways) == 0 {
		return []string{}
	}
	return ways[0]
}

// ways returns the lists of scopes that would meet r besides s, shortest
// first; none when nothing can. The lists may share their elements.
func (r Requirement) ways(s Set) [][]string {
	if r.Met(s) {
		return [][]string{nil}
	}
	var ways [][]string
	switch r.kind {
	case one:
		return [][]string{{r.name}}
	case some:
		for _, m := range r.of {
			ways = append(ways, m.ways(s)...)
		}
	case all:
		for i, m := range r.of {
			if i == 0 {
				ways = m.ways(s)
			} else {
				ways = product(ways, m.ways(s))
			}
		}
	}
	return shortest(ways)
}

// product joins each list of a with each of b.
func product(a, b [][]string) [][]string {
	both := make([][]string, 0, len(a)*len(b))
	for _, x := range a {
		for _, y := range b {
			way := slices.Clone(x)
			for _, name := range y {
				if !slices.Contains(way, name) {
					way = append(way, name)
				}
			}
			both = append(both, way)
		}
	}
	return shortest(both)
}

// shortest sorts ways by length, keeping the order of equals, and drops what
// is beyond the bound.
func shortest(ways [][]string) [][]string {
	slices.SortStableFunc(ways, func(a, b []string) int { return len(a) - len(b) })
	return ways[:min(len(ways), maxChoices)]
}
