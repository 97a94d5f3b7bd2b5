package apikey

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// An EventKind says what happened. Names never change meaning: they are stored.
type EventKind string

// What happens to keys and their owners.
const (
	EventCreated         EventKind = "key.created"
	EventImported        EventKind = "key.imported"
	EventRenamed         EventKind = "key.renamed"
	EventScopesChanged   EventKind = "key.scopes_changed"
	EventSettingsChanged EventKind = "key.settings_changed"
	EventMetadataChanged EventKind = "key.metadata_changed"
	EventNetworksChanged EventKind = "key.networks_changed"
	EventExpiryChanged   EventKind = "key.expiry_changed"
	EventEnabled         EventKind = "key.enabled"
	EventDisabled        EventKind = "key.disabled"
	EventRotated         EventKind = "key.rotated"
	EventRegenerated     EventKind = "key.regenerated"
	EventSecretAdded     EventKind = "key.secret_added"   // a secret bound to the key
	EventSecretRotated   EventKind = "key.secret_rotated" // the same
	EventRevoked         EventKind = "key.revoked"
	EventDeleted         EventKind = "key.deleted"
	EventExpiring        EventKind = "key.expiring"     // a reminder
	EventRotationDue     EventKind = "key.rotation_due" // a reminder
	EventLeaked          EventKind = "key.leaked"
	EventFailures        EventKind = "key.failures" // a burst of failed proofs
	EventNewPlace        EventKind = "key.new_place"
	EventUnusual         EventKind = "key.unusual"
	EventOwnerRevoked    EventKind = "owner.revoked"
	EventOwnerSuspended  EventKind = "owner.suspended"
	EventOwnerRestored   EventKind = "owner.restored"
)

// An Event tells of a change, and is written in the same transaction. It holds
// no secret.
type Event struct {
	Owner string    `json:"owner"` // "" for what concerns no owner in particular
	Seq   int64     `json:"seq"`   // 1, 2, 3, ... of the owner; set by the store
	At    time.Time `json:"at"`
	Kind  EventKind `json:"kind"`
	Key   string    `json:"key,omitempty"` // the key's ID
	Actor Actor     `json:"actor,omitzero"`
	// Changes are the fields that have another value now.
	Changes []FieldChange `json:"changes,omitempty"`
	// Note is the reason that was given, the place seen, or the like.
	Note string `json:"note,omitempty"`
	// Count is how many times it happened, where it may be more than once.
	Count int64 `json:"count,omitempty"`
	// Sum chains the event to the owner's one before; set by the store.
	Sum [32]byte `json:"-"`
}

// A FieldChange is the value of one field before and after, as text.
type FieldChange struct {
	Field  string `json:"field"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// An Actor is who made a change: whatever the host calls its users, and where
// the request came from.
type Actor struct {
	ID string     `json:"id,omitempty"`
	IP netip.Addr `json:"ip,omitzero"`
}

type actorKey struct{}

// WithActor returns a context whose changes are on this actor's account.
func WithActor(ctx context.Context, a Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, a)
}

// ActorFrom returns the actor of ctx; the zero Actor without one.
func ActorFrom(ctx context.Context) Actor {
	a, _ := ctx.Value(actorKey{}).(Actor)
	return a
}

// Body returns a digest of all that the event says, its place in the chain, Seq
// and Sum, apart.
func (e *Event) Body() [32]byte {
	b := []byte("keytoll/event/v1\x00")
	text := func(s string) {
		b = binary.BigEndian.AppendUint64(b, uint64(len(s)))
		b = append(b, s...)
	}
	text(e.Owner)
	text(string(e.Kind))
	text(e.Key)
	text(e.Actor.ID)
	if e.Actor.IP.IsValid() {
		text(e.Actor.IP.String())
	} else {
		text("")
	}
	text(e.Note)
	b = binary.BigEndian.AppendUint64(b, uint64(e.At.UnixMicro()))
	b = binary.BigEndian.AppendUint64(b, uint64(e.Count))
	b = binary.BigEndian.AppendUint64(b, uint64(len(e.Changes)))
	for _, c := range e.Changes {
		text(c.Field)
		text(c.Before)
		text(c.After)
	}
	return sha256.Sum256(b)
}

// Link returns the Sum of the event with this Seq that comes after one with the
// Sum before, which is zero for the first: SHA-256 of before, of Seq as eight
// bytes, most significant first, and of Body.
func (e *Event) Link(before [32]byte) [32]byte {
	body := e.Body()
	b := make([]byte, 0, 72)
	b = append(b, before[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Seq))
	return sha256.Sum256(append(b, body[:]...))
}

// An EventQuery selects events. What is left zero does not restrict, except as
// said.
type EventQuery struct {
	// Owner selects the events of one owner, in the order of their Seq; to a [Store]
	// an empty Owner is the owner with no name. [Service.Events] refuses it unless
	// AnyOwner is set.
	Owner string
	// AnyOwner selects the events of all owners, in the order of their At, then
	// Owner, then Seq. Owner then means nothing.
	AnyOwner bool
	Key      string
	Kind     EventKind
	// Until, unless zero, leaves out events of this instant and later.
	Until time.Time
	// OldestFirst reverses the order, which is newest first.
	OldestFirst bool
	// After continues where an earlier page ended: only events that come after this
	// position, which itself is left out. Of one owner's events Seq alone is the
	// position.
	After EventCursor
	// Limit is the greatest number of events, 1 to 1000. [Service.Events] takes 0
	// as 100, and asks a [Store] for one more than the page.
	Limit int
}

// An EventCursor is a position in a listing of events. The zero value is the
// beginning.
type EventCursor struct {
	At    time.Time
	Owner string
	Seq   int64
}

// IsZero reports whether c is the beginning of a listing.
func (c EventCursor) IsZero() bool { return c.Seq == 0 && c.Owner == "" && c.At.IsZero() }

// MarshalText returns c as text that is safe in a URL; "" for the beginning. It
// holds the owner's name and grants nothing.
func (c EventCursor) MarshalText() ([]byte, error) {
	if c.IsZero() {
		return nil, nil
	}
	plain := strconv.FormatInt(c.At.UnixMicro(), 10) + " " + strconv.FormatInt(c.Seq, 10) + " " + c.Owner
	return base64.RawURLEncoding.AppendEncode(nil, []byte(plain)), nil
}

// String returns the text of [EventCursor.MarshalText].
func (c EventCursor) String() string {
	text, _ := c.MarshalText() // never fails
	return string(text)
}

// UnmarshalText replaces c with what [EventCursor.MarshalText] wrote, and refuses
// anything else.
func (c *EventCursor) UnmarshalText(text []byte) error {
	bad := &errors.Error{Code: errors.Invalid, Op: "apikey.EventCursor", Msg: "the cursor is not one that a listing of events returned; start again without"}
	if len(text) == 0 {
		*c = EventCursor{}
		return nil
	}
	if len(text) > 512 {
		return bad
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(string(text))
	if err != nil {
		return bad
	}
	parts := strings.SplitN(string(raw), " ", 3)
	if len(parts) != 3 || !plain(parts[2], MaxOwner) {
		return bad
	}
	micros, err := strconv.ParseInt(parts[0], 10, 64)
	seq, err2 := strconv.ParseInt(parts[1], 10, 64)
	read := EventCursor{At: time.UnixMicro(micros).UTC(), Owner: parts[2], Seq: seq}
	if err != nil || err2 != nil || read.String() != string(text) {
		return bad
	}
	*c = read
	return nil
}

// Selects reports whether q selects e, and e comes after q.After; the limit
// apart. It is the meaning of an EventQuery, for stores that filter in Go.
func (q *EventQuery) Selects(e *Event) bool {
	switch {
	case !q.AnyOwner && e.Owner != q.Owner, q.Key != "" && e.Key != q.Key, q.Kind != "" && e.Kind != q.Kind:
		return false
	case !q.Until.IsZero() && !e.At.Before(q.Until):
		return false
	}
	if q.After.IsZero() {
		return true
	}
	after := q.oldest(e, &Event{At: q.After.At, Owner: q.After.Owner, Seq: q.After.Seq})
	return q.OldestFirst && after > 0 || !q.OldestFirst && after < 0
}

// oldest is negative when a stands before b, oldest first.
func (q *EventQuery) oldest(a, b *Event) int {
	if !q.AnyOwner {
		return cmp.Compare(a.Seq, b.Seq)
	}
	return oldestEvent(a, b)
}

func oldestEvent(a, b *Event) int {
	return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Seq, b.Seq))
}
