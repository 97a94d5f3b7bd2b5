package apikey

import (
	"context"
	"strconv"
	"strings"
	"time"
)

// A field is one that events tell of: how it is called, and its text.
type field[T any] struct {
	name string
	// kind is of the event that tells of this field alone; "" for fields that only
	// change with others.
	kind EventKind
	text func(*T) string
}

// keyFields are those of a key, in the order of events. None holds a secret:
// start and last4 are what may be shown of it.
var keyFields = [...]field[Key]{
	{"name", EventRenamed, func(k *Key) string { return k.Name }},
	{"environment", "", func(k *Key) string { return k.Environment }},
	{"scopes", EventScopesChanged, func(k *Key) string { return k.Scopes.String() }},
	{"metadata", EventMetadataChanged, func(k *Key) string { return orEmpty(k.Metadata.Len(), k.Metadata.String) }},
	{"settings", EventSettingsChanged, func(k *Key) string { return orEmpty(k.Settings.Len(), k.Settings.String) }},
	{"networks", EventNetworksChanged, func(k *Key) string { return k.Networks.String() }},
	{"expires_at", EventExpiryChanged, func(k *Key) string {
		return orEmpty(k.ExpiresAt.Compare(time.Time{}), func() string { return stamp(k.ExpiresAt) })
	}},
	{"state", "", func(k *Key) string { return orEmpty(int(k.State), k.State.String) }},
	{"predecessor", "", func(k *Key) string { return k.Predecessor }},
	{"successor", "", func(k *Key) string { return k.Successor }},
	{"start", "", func(k *Key) string { return k.Start }},
	{"last4", "", func(k *Key) string { return k.Last4 }},
}

var ownerFields = [...]field[Owner]{
	{"epoch", "", func(o *Owner) string { return strconv.FormatInt(o.Epoch, 10) }},
	{"suspended", "", func(o *Owner) string { return strconv.FormatBool(o.Suspended) }},
}

// orEmpty spares events the text of what is not there.
func orEmpty(n int, text func() string) string {
	if n == 0 {
		return ""
	}
	return text()
}

// differences returns the fields in which was and is differ, with their kinds.
func differences[T any](fields []field[T], was, is *T) (changes []FieldChange, kinds []EventKind) {
	for _, f := range fields {
		if before, after := f.text(was), f.text(is); before != after {
			changes = append(changes, FieldChange{Field: f.name, Before: before, After: after})
			kinds = append(kinds, f.kind)
		}
	}
	return changes, kinds
}

// newEvent returns an event about a key, or about its owner when key is "".
func newEvent(ctx context.Context, kind EventKind, owner, key string, now time.Time) Event {
	return Event{Owner: owner, At: now, Kind: kind, Key: key, Actor: actor(ctx)}
}

// keyEvents returns the events of a change from was to is: one of that kind with
// all the fields, or, when kind is "", one for each field.
func keyEvents(ctx context.Context, kind EventKind, note string, was, is *Key, now time.Time) []Event {
	changes, kinds := differences(keyFields[:], was, is)
	whole := newEvent(ctx, kind, is.Owner, is.ID, now)
	whole.Note = note
	if kind != "" {
		whole.Changes = changes
		return []Event{whole}
	}
	events := make([]Event, len(changes))
	for i := range changes {
		events[i] = whole
		events[i].Kind, events[i].Changes = kinds[i], changes[i:i+1:i+1]
	}
	return events
}

// maxActor is the number of bytes kept of Actor.ID.
const maxActor = 255

// actor returns who is making a change, as every store can keep it: what the
// host calls its users must not stand in the way of a revocation.
func actor(ctx context.Context) Actor {
	a := ActorFrom(ctx)
	if !plain(a.ID, maxActor) {
		a.ID = strings.Map(func(r rune) rune {
			if r < ' ' || r >= 0x7f && r < 0xa0 {
				return -1
			}
			return r
		}, strings.ToValidUTF8(a.ID[:min(len(a.ID), maxActor)], ""))
	}
	if a.IP.IsValid() {
		a.IP = a.IP.Unmap().WithZone("")
	}
	return a
}
