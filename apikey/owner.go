package apikey

import "time"

// An Owner is what was decided about all keys of one owner.
type Owner struct {
	ID string
	// Epoch begins at 1 and is raised by [Service.RevokeOwner]: keys of an earlier
	// one are revoked, with RevokedReason.
	Epoch         int64
	RevokedReason string
	// Suspended stops all keys of the owner until they are restored.
	Suspended       bool
	SuspendedReason string
	// ChangedAt is when the last of this was decided; the zero time means never.
	ChangedAt time.Time
	// Version counts the decisions; 0 before the first.
	Version int64

	// Events is the number of events of the owner, and Head the Sum of the last:
	// what an auditor notes elsewhere, to find out later whether the past was
	// rewritten. Both are the store's to keep.
	Events int64
	Head   [32]byte
}

// State returns the effective state of the key: revoked when the epoch that it
// was made in is over. A tombstone stays one.
func (r *Record) State() State { return effective(r, &r.Owner) }

// effective is the State of r under what was decided about its owner.
func effective(r *Record, o *Owner) State {
	if r.Epoch < o.Epoch && r.Key.State != StateDeleted {
		return StateRevoked
	}
	return r.Key.State
}

// settle brings what was decided about the owner into the key.
func (r *Record) settle() {
	if state := r.State(); state != r.Key.State {
		r.Key.State, r.Key.RevokedReason = state, r.Owner.RevokedReason
	}
	r.Key.Suspended = r.Owner.Suspended
}
