package apikey

import (
	"strconv"

	"github.com/keytoll/keytoll/errors"
)

// A State is what was decided about a key. Numbers and names never change
// meaning: they are stored. The zero value, and every number this version does
// not know, refuses.
type State uint8

const (
	StateUnknown  State = 0 // never stored; refuses
	StateActive   State = 1 // usable until it expires
	StateDisabled State = 2 // switched off; may be enabled again
	StateRevoked  State = 3 // switched off for good; still shown
	StateDeleted  State = 4 // a tombstone: keeps its ID for ledgers and logs, has no digest
)

// states is indexed by State.
var states = [...]string{"unknown", "active", "disabled", "revoked", "deleted"}

// String returns the state's stable name, or "state(N)" for a number that this
// version does not know.
func (s State) String() string {
	if int(s) < len(states) {
		return states[s]
	}
	return "state(" + strconv.Itoa(int(s)) + ")"
}

// MarshalText returns the state's name; it fails for [StateUnknown] and for
// numbers this version does not know, which must not be stored.
func (s State) MarshalText() ([]byte, error) {
	if s == StateUnknown || int(s) >= len(states) {
		return nil, &errors.Error{Code: errors.Invalid, Op: "apikey.State", Msg: s.String() + " cannot be written; give a known state"}
	}
	return []byte(states[s]), nil
}

// UnmarshalText reads what [State.MarshalText] wrote.
func (s *State) UnmarshalText(text []byte) error {
	for i, name := range states {
		if i > 0 && name == string(text) {
			*s = State(i)
			return nil
		}
	}
	return &errors.Error{
		Code: errors.Invalid, Op: "apikey.State",
		Msg: "state " + quote(clip(string(text))) + ": give active, disabled, revoked or deleted",
	}
}

// A Status is how a key stands at one instant, derived by [Key.Status] for
// lists and badges. It is never stored.
type Status string

const (
	StatusUnknown   Status = "unknown"   // the record's state is not one of this version
	StatusActive    Status = "active"    // Verify accepts it, from its networks
	StatusDisabled  Status = "disabled"  // switched off; may be enabled again
	StatusSuspended Status = "suspended" // all keys of its owner are stopped
	StatusExpired   Status = "expired"   // its time is over
	StatusRotated   Status = "rotated"   // its time is over and a successor took its place
	StatusRevoked   Status = "revoked"   // switched off for good
	StatusDeleted   Status = "deleted"   // a tombstone
)
