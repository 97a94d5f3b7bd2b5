package apikey

import (
	"time"

	"github.com/keytoll/keytoll/scopes"
)

// A Key is all that is known of an API key but its secret. It is a plain value:
// copying it is cheap, sharing it is safe, and changing a copy changes nothing
// else. Times are UTC with microsecond precision.
type Key struct {
	// ID is the key's public name, "key_" and 20 characters. It never changes, is
	// not part of the key's text, and proves nothing.
	ID string `json:"id"`
	// Owner is whom the host gave the key to: an account, an organisation, a user.
	Owner string `json:"owner"`
	// Name is the owner's label. It may be empty, and is not unique unless the
	// owner's [Policy] asks for that.
	Name string `json:"name"`
	// Environment is one of the format's labels, or "".
	Environment string `json:"environment,omitempty"`

	Scopes   scopes.Set `json:"scopes"`
	Metadata Metadata   `json:"metadata"`
	Settings Settings   `json:"settings"`
	// Networks, unless empty, are the only places the key may be used from.
	Networks Networks `json:"networks"`

	CreatedAt time.Time `json:"created_at"`
	// SecretAt is when the key's present text was made: CreatedAt, unless it was
	// regenerated since.
	SecretAt time.Time `json:"secret_at"`
	// ExpiresAt is the first instant at which the key no longer works; the zero
	// time means never.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	// LastUsedAt is when the key was last proven, to the precision of
	// [Options.LastUsedEvery]; the zero time means never.
	LastUsedAt time.Time `json:"last_used_at,omitzero"`

	State State `json:"state"`
	// Suspended says that all keys of the owner were stopped when this was read.
	Suspended bool `json:"suspended,omitempty"`
	// RevokedReason is what the host gave to [Service.Revoke], or to
	// [Service.RevokeOwner].
	RevokedReason string `json:"revoked_reason,omitempty"`

	// Start and Last4 are what may be shown of the key's text: the prefix with up
	// to four characters of the public id, and the last four characters.
	Start string `json:"start"`
	Last4 string `json:"last4"`

	// Meter is the identity that limits and credits are counted under: the ID of
	// the first key of a chain of rotations, so that a rotation neither doubles
	// nor resets them.
	Meter string `json:"meter"`
	// Predecessor and Successor are the IDs of the keys that this one replaced and
	// was replaced by, or "".
	Predecessor string `json:"predecessor,omitempty"`
	Successor   string `json:"successor,omitempty"`

	// Version counts the changes, from 1. Use does not change it, but for the one
	// after which the key is proven by another digest.
	Version int64 `json:"version"`
}

// Expired reports whether the key's time is over at now: a key works strictly
// before ExpiresAt.
func (k Key) Expired(now time.Time) bool { return k.expired(now) }

func (k *Key) expired(now time.Time) bool { return !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt) }

// Status says how the key stands at now. What cannot be undone comes before
// what can: deleted, revoked, rotated or expired, disabled, suspended, active.
func (k Key) Status(now time.Time) Status { return k.status(now) }

func (k *Key) status(now time.Time) Status {
	switch k.State {
	case StateDeleted:
		return StatusDeleted
	case StateRevoked:
		return StatusRevoked
	case StateActive, StateDisabled:
		switch {
		case k.expired(now):
			if k.Successor != "" {
				return StatusRotated
			}
			return StatusExpired
		case k.State == StateDisabled:
			return StatusDisabled
		case k.Suspended:
			return StatusSuspended
		}
		return StatusActive
	}
	return StatusUnknown
}

// Equal reports whether k and o hold the same, comparing times as instants.
func (k Key) Equal(o Key) bool {
	return k.ID == o.ID && k.Owner == o.Owner && k.Name == o.Name && k.Environment == o.Environment &&
		k.Scopes.Equal(o.Scopes) && k.Metadata.Equal(o.Metadata) && k.Settings.Equal(o.Settings) && k.Networks.Equal(o.Networks) &&
		k.CreatedAt.Equal(o.CreatedAt) && k.SecretAt.Equal(o.SecretAt) && k.ExpiresAt.Equal(o.ExpiresAt) && k.LastUsedAt.Equal(o.LastUsedAt) &&
		k.State == o.State && k.Suspended == o.Suspended && k.RevokedReason == o.RevokedReason && k.Start == o.Start && k.Last4 == o.Last4 &&
		k.Meter == o.Meter && k.Predecessor == o.Predecessor && k.Successor == o.Successor && k.Version == o.Version
}
