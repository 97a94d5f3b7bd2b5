package middlewaretest

import (
	"strconv"

	"github.com/keytoll/keytoll/middleware"
)

// A State is what is the matter with the key of a request.
type State uint8

// The states. Those up to [Poor] are keys that a [Fixture] holds.
const (
	Active           State = iota // everything is in order
	Expired                       // its time is over
	Revoked                       // switched off for good
	Disabled                      // switched off for now
	Suspended                     // all keys of its owner are stopped
	OtherEnvironment              // made for another environment
	OtherNetwork                  // usable from 198.51.100.0/24 only, where no request of a fixture comes from
	Scopeless                     // granted no scope
	Poor                          // in order, and its account has no credits
	Unknown                       // of the right form, and nobody's
	Malformed                     // no key at all: a text
	None                          // the request has no credential

	states = iota
)

var stateNames = [...]string{
	"active", "expired", "revoked", "disabled", "suspended", "other environment", "other network", "scopeless", "poor",
	"unknown", "malformed", "none",
}

// String returns the state for people.
func (s State) String() string {
	if int(s) < states {
		return stateNames[s]
	}
	return "state(" + strconv.Itoa(int(s)) + ")"
}

var stateVerdicts = [...]middleware.Verdict{
	middleware.VerdictAllowed, middleware.VerdictExpired, middleware.VerdictRevoked, middleware.VerdictDisabled, middleware.VerdictSuspended,
	middleware.VerdictEnvironment, middleware.VerdictIPDenied, middleware.VerdictScopeDenied, middleware.VerdictCreditDenied,
	middleware.VerdictUnknown, middleware.VerdictMalformed, middleware.VerdictMissing,
}

// Verdict returns what a gate says to a first request with a key in this state,
// for an operation that asks for a scope and has a price.
func (s State) Verdict() middleware.Verdict {
	if int(s) < states {
		return stateVerdicts[s]
	}
	return middleware.VerdictUndecided
}

// States returns all of them, for tables.
func States() []State {
	all := make([]State, states)
	for i := range all {
		all[i] = State(i)
	}
	return all
}
