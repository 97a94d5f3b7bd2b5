package scopes

import "strings"

// covers reports whether pattern p matches every concrete scope that pattern o
// matches; with a concrete o, whether p matches it. Both are well-formed.
//
// Segments are compared in pairs: "*" covers whatever stands opposite, a
// literal covers only itself, and a last "*" covers the whole rest, which is
// never empty. A literal in p opposite a "*" in o therefore covers nothing,
// and neither does a p that goes on where o has ended.
func covers(p, o string) bool {
	for {
		ps, prest, pmore := strings.Cut(p, ":")
		os, orest, omore := strings.Cut(o, ":")
		if ps == "*" {
			if !pmore {
				return true
			}
		} else if ps != os {
			return false
		}
		if !pmore || !omore {
			// The last segment of o must meet the last of p. If o ends in "*"
			// then so must p, and that was the first case.
			return !pmore && !omore
		}
		p, o = prest, orest
	}
}
