package apikey

import (
	"cmp"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// A Query selects keys. What is left zero does not restrict, except as said.
type Query struct {
	// Owner selects one owner's keys. [Service.List] refuses an empty Owner unless
	// AnyOwner is set, so that forgetting it cannot show everybody's; to a [Store]
	// an empty Owner is every owner, and AnyOwner means nothing.
	Owner    string
	AnyOwner bool
	// Environment selects the keys of one environment.
	Environment string
	// States selects by effective state: a key whose owner's epoch is over counts
	// as revoked. [Service.List] fills an empty list with active, disabled and
	// revoked, so a [Store] is always given at least one.
	States []State
	// LiveAt, unless zero, leaves out keys that are expired at this instant.
	LiveAt time.Time
	// ExpiresBefore, unless zero, selects keys that have an end before this instant.
	ExpiresBefore time.Time
	// UnusedSince, unless zero, selects keys that were made, and last used if ever,
	// before this instant.
	UnusedSince time.Time
	// SecretBefore, unless zero, selects keys whose text was made before this
	// instant.
	SecretBefore time.Time
	// Unreplaced leaves out keys that have a successor.
	Unreplaced bool
	// Order is [NewestFirst] unless set.
	Order Order
	// After continues where an earlier page ended: only keys that come after this
	// position, which itself is left out.
	After Cursor
	// Limit is the greatest number of keys, 1 to 1000. [Service.List] takes 0 as
	// 100, and asks a [Store] for one more than the page, to know if it is the last.
	Limit int
}

// An Order says how a listing is sorted.
type Order uint8

const (
	// NewestFirst sorts by Key.CreatedAt and then Key.ID, both descending.
	NewestFirst Order = 0
	// SoonestFirst sorts by Key.ExpiresAt and then Key.ID, both ascending, and
	// leaves out keys that never expire.
	SoonestFirst Order = 1
)

// position returns where k stands in listings of this order.
func (o Order) position(k *Key) Cursor {
	if o == SoonestFirst {
		return Cursor{At: k.ExpiresAt, ID: k.ID}
	}
	return Cursor{At: k.CreatedAt, ID: k.ID}
}

// compare is negative when a stands before b.
func (o Order) compare(a, b Cursor) int {
	if o != SoonestFirst {
		a, b = b, a
	}
	if d := a.At.Compare(b.At); d != 0 {
		return d
	}
	return cmp.Compare(a.ID, b.ID)
}

// Selects reports whether q selects rec, paging and sorting apart. It is the
// meaning of a Query, for stores that filter in Go.
func (q *Query) Selects(rec *Record) bool {
	return q.selects(&rec.Key, rec.State(), rec.Key.LastUsedAt)
}

// selects is Selects of a key in this effective state that was last used then.
func (q *Query) selects(k *Key, state State, used time.Time) bool {
	switch {
	case q.Owner != "" && k.Owner != q.Owner, q.Environment != "" && k.Environment != q.Environment:
	case !q.LiveAt.IsZero() && k.expired(q.LiveAt):
	case !q.ExpiresBefore.IsZero() && (k.ExpiresAt.IsZero() || !k.ExpiresAt.Before(q.ExpiresBefore)):
	case !q.UnusedSince.IsZero() && !(k.CreatedAt.Before(q.UnusedSince) && used.Before(q.UnusedSince)):
	case !q.SecretBefore.IsZero() && !k.SecretAt.Before(q.SecretBefore):
	case q.Unreplaced && k.Successor != "":
	case q.Order == SoonestFirst && k.ExpiresAt.IsZero():
	default:
		return slices.Contains(q.States, state)
	}
	return false
}

// A Cursor is a position in a listing. The zero value is the beginning. Its text
// can go to a client and come back: it holds the instant that the listing is
// sorted by and a key's ID, and grants nothing.
type Cursor struct {
	At time.Time
	ID string
}

// IsZero reports whether c is the beginning of a listing.
func (c Cursor) IsZero() bool { return c.ID == "" && c.At.IsZero() }

// MarshalText returns c as text that is safe in a URL; "" for the beginning.
func (c Cursor) MarshalText() ([]byte, error) {
	if c.IsZero() {
		return nil, nil
	}
	plain := strconv.FormatInt(c.At.UnixMicro(), 10) + " " + c.ID
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
	read := Cursor{At: time.UnixMicro(micros).UTC(), ID: id}
	if read.String() != string(text) {
		return bad
	}
	*c = read
	return nil
}
