package apikey

import (
	"cmp"
	"context"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// A Store keeps key records. Implementations must be safe for concurrent use.
// The suite in package apikeytest proves one: each sentence here is a subtest
// there.
//
// The rules of keys live in [Service]; a store only keeps what it is given. It
// judges neither state nor expiry. Text is compared byte by byte (no case
// folding, no collation). Times come back as the same instants, in UTC, to the
// microsecond, and the zero time comes back zero. A call whose context is
// already over returns the context's error and changes nothing. Any error that
// is not one of those named here means that the store could not decide; the
// service reports it as [errors.Unavailable].
//
// The service, in turn, gives every store only records it has validated, never
// two records with one ID or one handle in one [Change], and at most a thousand
// records or uses in one call. It may change its slices after the call, and
// those that a store returned.
type Store interface {
	// Apply makes all of c come true at once, or nothing of it: no reader ever
	// sees a part. An Insert whose ID or handle is taken is ErrExists. An Update
	// replaces the whole record with that ID except Key.LastUsedAt, which only
	// Touch moves; it is ErrNotFound without such a record, ErrConflict when the
	// stored Key.Version is not the new one less one, and ErrExists when it
	// brings a handle that another record has. Of concurrent Updates of one
	// version exactly one succeeds. A Change that brings nothing succeeds.
	Apply(ctx context.Context, c Change) error

	// ByHandle returns the record with that handle, whatever its state, or
	// ErrNotFound. The handle may share memory with a secret: a store that keeps
	// it must keep a copy.
	ByHandle(ctx context.Context, handle string) (Record, error)

	// ByID returns the record with that ID, whatever its state, or ErrNotFound.
	ByID(ctx context.Context, id string) (Record, error)

	// List returns the records that q selects, newest first by Key.CreatedAt and
	// then by Key.ID, both descending, at most q.Limit of them; none is an empty
	// list, not an error. Pages that follow q.After never repeat or skip a record
	// that was there all the time.
	List(ctx context.Context, q Query) ([]Record, error)

	// Touch moves Key.LastUsedAt of each key named forward to the time given, and
	// never back. Unknown IDs are skipped, an ID may come more than once, and
	// Key.Version does not change.
	Touch(ctx context.Context, uses []Use) error
}

// A Record is a key as a store keeps it. In SQL:
//
//	Key.ID             TEXT     primary key
//	Handle             TEXT     unique, never null
//	Digest.Version     INTEGER  0 to 2^32-1
//	Digest.Sum         BLOB     32 bytes
//	Key.Owner, Name, Environment, RevokedReason, Start, Last4, Meter,
//	  Predecessor, Successor    TEXT, empty and not null when there is none
//	Key.Scopes         TEXT     Set.MarshalText: names separated by spaces
//	Key.Metadata       TEXT     Metadata.MarshalText: a JSON object
//	Key.Settings       TEXT     Settings.MarshalText: a JSON object
//	Key.Networks       TEXT     Networks.MarshalText: CIDRs separated by spaces
//	Key.CreatedAt      INTEGER  microseconds since 1970 UTC
//	Key.ExpiresAt      INTEGER  the same, null for the zero time (never)
//	Key.LastUsedAt     INTEGER  the same, null for the zero time (never)
//	Key.State          TEXT     State.MarshalText: active, disabled, revoked, deleted
//	Key.Version        INTEGER  from 1
//
// with an index on (owner, created_at, id) and one on (created_at, id).
type Record struct {
	Key Key
	// Handle finds the record when the key's text is presented: the text's public
	// id, or a hash of the text for formats without one. It proves nothing.
	Handle string
	// Digest proves the key's text. It is wiped when the key is deleted.
	Digest Digest
}

// A Change is what [Store.Apply] makes come true as a whole.
type Change struct {
	Insert []Record
	Update []Record
}

// A Use says that a key was proven at an instant.
type Use struct {
	ID string
	At time.Time
}

// A Query selects keys. What is left zero does not restrict, except as said.
type Query struct {
	// Owner selects one owner's keys. [Service.List] refuses an empty Owner unless
	// AnyOwner is set, so that forgetting it cannot show everybody's; to a [Store]
	// an empty Owner is every owner, and AnyOwner means nothing.
	Owner    string
	AnyOwner bool
	// Environment selects the keys of one environment.
	Environment string
	// States selects by state. [Service.List] fills an empty list with active,
	// disabled and revoked, so a [Store] is always given at least one.
	States []State
	// LiveAt, unless zero, leaves out keys that are expired at this instant.
	LiveAt time.Time
	// After continues where an earlier page ended: only keys that come after this
	// position, which itself is left out.
	After Cursor
	// Limit is the greatest number of keys, 1 to 1000. [Service.List] takes 0 as
	// 100, and asks a [Store] for one more than the page, to know if it is the last.
	Limit int
}

// Selects reports whether q selects k, paging and order apart. It is the
// meaning of a Query, for stores that filter in Go.
func (q *Query) Selects(k *Key) bool {
	if q.Owner != "" && k.Owner != q.Owner || q.Environment != "" && k.Environment != q.Environment {
		return false
	}
	if !q.LiveAt.IsZero() && k.expired(q.LiveAt) {
		return false
	}
	return slices.Contains(q.States, k.State)
}

// A Cursor is a position in a listing, newest first. The zero value is the
// beginning. Its text can go to a client and come back: it holds a creation
// time and a key's ID, and grants nothing.
type Cursor struct {
	CreatedAt time.Time
	ID        string
}

// IsZero reports whether c is the beginning of a listing.
func (c Cursor) IsZero() bool { return c.ID == "" && c.CreatedAt.IsZero() }

// compare is negative when c stands before o, newest first.
func (c Cursor) compare(o Cursor) int {
	if d := o.CreatedAt.Compare(c.CreatedAt); d != 0 {
		return d
	}
	return cmp.Compare(o.ID, c.ID)
}

// MarshalText returns c as text that is safe in a URL; "" for the beginning.
func (c Cursor) MarshalText() ([]byte, error) {
	if c.IsZero() {
		return nil, nil
	}
	plain := strconv.FormatInt(c.CreatedAt.UnixMicro(), 10) + " " + c.ID
	return base64.RawURLEncoding.AppendEncode(nil, []byte(plain)), nil
}

// String returns the text of [Cursor.MarshalText].
func (c Cursor) String() string {
	text, _ := c.MarshalText() // never fails
	return string(text)
}

// UnmarshalText replaces c with what [Cursor.MarshalText] wrote, and refuses
// anything else.
func (c *Cursor) UnmarshalText(text []byte) error {
	bad := &errors.Error{Code: errors.Invalid, Op: "apikey.Cursor", Msg: "the cursor is not one that a listing returned; start again without"}
	if len(text) == 0 {
		*c = Cursor{}
		return nil
	}
	if len(text) > 256 {
		return bad
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(string(text))
	if err != nil {
		return bad
	}
	digits, id, found := strings.Cut(string(raw), " ")
	micros, err := strconv.ParseInt(digits, 10, 64)
	if !found || err != nil || id == "" || !plain(id, 128) {
		return bad
	}
	read := Cursor{CreatedAt: time.UnixMicro(micros).UTC(), ID: id}
	if read.String() != string(text) {
		return bad
	}
	*c = read
	return nil
}
