package ratelimit

// A Policy says what a [GuardedStore] answers while its store fails. It has
// security weight, so there is no default: the zero Policy is refused.
type Policy uint8

const (
	// Closed refuses: every request is an error of code Unavailable. It is for
	// limits that keep somebody out, such as those on failed log-ins.
	Closed Policy = 1 + iota
	// Open lets pass and counts nothing, except what no wait would let pass. It is
	// for limits of fairness, where a wrong refusal is worse than an excess.
	Open
	// Local decides in this process, by this node's share of each limit. It is
	// for limits that bound a cost.
	Local
)

// String returns the policy's name in lower case.
func (p Policy) String() string {
	if p < Closed || p > Local {
		return "unknown"
	}
	return [...]string{Closed: "closed", Open: "open", Local: "local"}[p]
}
