package apikey

import (
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/scopes"
)

// Bounds of what the host names.
const (
	MaxOwner     = 255 // bytes of Spec.Owner
	MaxName      = 255 // bytes of Spec.Name
	MaxRequestID = 255 // bytes of Spec.RequestID
	MaxReason    = 500 // bytes of the reason given to Revoke and its like
)

// A Spec says what key [Service.Create] shall make.
type Spec struct {
	// Owner is required: 1 to [MaxOwner] bytes of UTF-8 without control characters.
	Owner string
	// Name is a label, up to [MaxName] bytes of UTF-8 without control characters.
	Name string
	// Environment is one of the format's labels, required where it has any.
	Environment string
	// Scopes are what the key may do; the zero value grants nothing.
	Scopes   scopes.Set
	Metadata Metadata
	Settings Settings
	// Networks, unless empty, are the only places the key may be used from.
	Networks Networks
	// ExpiresAt is the first instant at which the key does not work, in the future
	// and before the year 10000, kept to the microsecond below. TTL says the same
	// as a time from now. Both zero: the key never expires.
	ExpiresAt time.Time
	TTL       time.Duration
	// RequestID, unless empty, is an ID that the caller gives this request, 1 to
	// [MaxRequestID] bytes of UTF-8 without control characters: asking again for
	// the same makes nothing new. The answer is then the key as it is now, with
	// Issued.Replayed set and without the secret, which was shown once: a caller
	// that lost it rotates, regenerates or deletes the key. Asking for something
	// else with the ID is [ErrIntent], and when the key was deleted [ErrNotFound].
	// IDs of different owners have nothing to do with each other.
	RequestID string
	// Secrets names further secrets that are made with the key, such as "webhook"
	// for one to sign with: up to [MaxSecrets] names, each once and of 1 to
	// [MaxSecretName] bytes of UTF-8 without control characters. They are shown in
	// Issued.Secrets, and opened again by [Service.OpenSecrets]. They need
	// [Options.SealingKeys].
	Secrets []string
}

// Changes say what [Service.Update] shall change: a nil field leaves things as
// they are, and a pointer to a zero value clears them.
//
//	keys.Update(ctx, id, apikey.Changes{Name: new("Production"), ExpiresAt: new(time.Time{})})
type Changes struct {
	Name     *string
	Scopes   *scopes.Set
	Metadata *Metadata
	Settings *Settings
	Networks *Networks
	// ExpiresAt must lie in the future, or be zero for never. That of a rotated
	// key can only move to an earlier instant.
	ExpiresAt *time.Time
	// Version, unless zero, is the version the caller looked at: a key that has
	// moved on since is [ErrConflict].
	Version int64
}

// checkSpec checks and settles what a key of format shall be.
func (s *Service) checkSpec(op string, format *Format, spec *Spec, now time.Time) error {
	faults := errors.Faults{Op: op}
	checkOwner(&faults, spec.Owner)
	if !plain(spec.RequestID, MaxRequestID) {
		faults.Add("request ID %q: give at most %d bytes of UTF-8 without control characters", clip(spec.RequestID), MaxRequestID)
	}
	checkName(&faults, spec.Name)
	s.checkSecrets(&faults, spec.Secrets)
	if _, ok := format.head(spec.Environment); !ok {
		faults.Add("%s", format.environmentFault(clip(spec.Environment)))
	}
	switch {
	case spec.TTL < 0:
		faults.Add("TTL is %v; give more than 0, or 0 for a key that never expires", spec.TTL)
	case spec.TTL != 0 && !spec.ExpiresAt.IsZero():
		faults.Add("both ExpiresAt and TTL are given; give one")
	case spec.TTL > 0:
		spec.ExpiresAt = now.Add(spec.TTL)
	}
	spec.ExpiresAt = toMicros(spec.ExpiresAt)
	checkExpiry(&faults, spec.ExpiresAt, now)
	return faults.Err()
}

func (c *Changes) check(op string, now time.Time) error {
	faults := errors.Faults{Op: op}
	if c.Name != nil {
		checkName(&faults, *c.Name)
	}
	if c.ExpiresAt != nil {
		c.ExpiresAt = new(toMicros(*c.ExpiresAt))
		checkExpiry(&faults, *c.ExpiresAt, now)
	}
	if c.Version < 0 {
		faults.Add("version is %d; give the version of the key that was read, or 0 for any", c.Version)
	}
	return faults.Err()
}

// tries is how often the changes are tried: what may take something away insists.
func (c *Changes) tries() int {
	if c.Scopes != nil || c.Settings != nil || c.Networks != nil || c.ExpiresAt != nil {
		return insistence
	}
	return attempts
}

// apply brings the changes to k and reports whether anything is different.
func (c *Changes) apply(k *Key) (changed bool) {
	before := *k
	set(&k.Name, c.Name)
	set(&k.Scopes, c.Scopes)
	set(&k.Metadata, c.Metadata)
	set(&k.Settings, c.Settings)
	set(&k.Networks, c.Networks)
	set(&k.ExpiresAt, c.ExpiresAt)
	return !k.Equal(before)
}

func set[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

func checkOwner(faults *errors.Faults, owner string) {
	if owner == "" || !plain(owner, MaxOwner) {
		faults.Add("owner %q: give 1 to %d bytes of UTF-8 without control characters", clip(owner), MaxOwner)
	}
}

func checkName(faults *errors.Faults, name string) {
	if !plain(name, MaxName) {
		faults.Add("name %q: give at most %d bytes of UTF-8 without control characters", clip(name), MaxName)
	}
}

func checkExpiry(faults *errors.Faults, at, now time.Time) {
	switch {
	case at.IsZero():
	case !at.After(now):
		faults.Add("expiry %s is not after now, %s; give a later time, or the zero time for never", stamp(at), stamp(now))
	case at.Year() > 9999:
		faults.Add("expiry is in the year %d; give one before 10000, or the zero time for never", at.Year())
	}
}

func stamp(at time.Time) string { return at.UTC().Format(time.RFC3339Nano) }

// toMicros returns at as it is stored; the zero time stays zero.
func toMicros(at time.Time) time.Time {
	if at.IsZero() {
		return time.Time{}
	}
	return at.UTC().Truncate(time.Microsecond)
}
