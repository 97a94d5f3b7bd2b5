package apikey

import (
	"context"
	"time"
)

// A Store keeps the records of keys, what was decided about their owners, and
// the events that tell of both. Implementations must be safe for concurrent
// use. The suite in package apikeytest proves one: each sentence here is a
// subtest there.
//
// The rules of keys live in [Service]; a store only keeps what it is given. It
// judges state and expiry only where a [Query] or a [Cap] asks for them. Text is
// compared byte by byte (no case folding, no normalization) and comes back as
// it was given. Instants come back as the same instants, in UTC, to the
// microsecond, and the zero time comes back zero. A call whose context is
// already over returns the context's error and changes nothing. Any error that
// is not one of those named here means that the store could not decide; the
// service reports it as [errors.Unavailable].
//
// The service, in turn, gives every store only records it has validated, never
// two records with one ID or one handle in one [Change], nor an Update to a handle
// that the same Change takes from another record, and at most a thousand records,
// uses, events or notices in one call. An Update never changes Key.Owner, Key.CreatedAt
// or Record.Epoch, an Owner's Epoch never falls, and Event.At is never zero. The
// service may change its slices after the call, and those that a store returned,
// but nobody ever changes the bytes of a Record.Sealed.
type Store interface {
	// Apply makes all of c come true at once, or nothing of it: no reader ever
	// sees a part. A Change that brings nothing succeeds.
	//
	// Updates come true before inserts. An Update replaces the whole record with
	// that ID except Key.LastUsedAt, which only Touch moves; it is ErrNotFound
	// without such a record, ErrConflict when the stored Key.Version is not the
	// new one less one, and ErrExists when it brings a handle that another record
	// has. Of concurrent Updates of one version exactly one succeeds. An Insert
	// whose ID is taken is ErrExists, and so is one whose handle is, unless an Update
	// of the same change gives it up; its Epoch, when 0, becomes the owner's, as this
	// very change leaves it. Either is ErrNameTaken when its Label, unless empty,
	// would after the change be that of another record of the same owner and the same
	// Epoch too: an insert may take a label that an update gives up, and two updates
	// may swap theirs. Where several of these hold, any of them is the answer.
	//
	// Change.Owner replaces what was decided about an owner; it is ErrConflict
	// when the stored Owner.Version is not the new one less one; of concurrent ones
	// of one version exactly one succeeds. Its Epoch counts for all records from
	// then on. Change.Cap, unless nil, is ErrKeyLimit when more records than it
	// allows would count after the change; of concurrent changes with one Cap no
	// more succeed than it has room for, and no fewer when nothing else stands
	// against them.
	//
	// Change.Events are appended to the events of their owners, in their order,
	// with the next Seq of each owner, from 1 and without a gap, and with the Sum
	// that Event.Link makes of the one before, whatever Seq and Sum they came with.
	// They need no key and no decision to be there; the empty owner has events like
	// any other.
	Apply(ctx context.Context, c Change) error

	// ByHandle returns the record with that handle, whatever its state, or
	// ErrNotFound. The handle may share memory with a secret: a store that keeps
	// it must keep a copy.
	ByHandle(ctx context.Context, handle string) (Record, error)

	// ByID returns the record with that ID, whatever its state, or ErrNotFound.
	ByID(ctx context.Context, id string) (Record, error)

	// List returns the records that q selects, in its order, at most q.Limit of
	// them; none is an empty list, not an error. Pages that follow q.After never
	// repeat or skip a record that was there, and in the same place, all the time.
	List(ctx context.Context, q Query) ([]Record, error)

	// Owner returns what was decided about an owner; one of whom nothing is known
	// has Epoch 1, Version 0 and no events, and is not an error.
	Owner(ctx context.Context, id string) (Owner, error)

	// Events returns the events that q selects, in its order, at most q.Limit of
	// them; none is an empty list, not an error. Pages that follow q.After never
	// repeat or skip an event that was there all the time.
	Events(ctx context.Context, q EventQuery) ([]Event, error)

	// Census counts the records that are not deleted by how their text is proven,
	// in no particular order, without a Count of 0.
	Census(ctx context.Context) ([]Count, error)

	// Touch notes uses. It moves Key.LastUsedAt of each key named forward to the
	// time given, and never back; the zero time moves nothing. A Restamp takes
	// effect, and adds one to Key.Version, only where digest and import are still
	// what it says they were. Unknown IDs are skipped. An ID may come more than
	// once: its latest time counts, and of several Restamps that fit one takes
	// effect.
	Touch(ctx context.Context, uses []Use) error
}

// A Record is a key as a store keeps it. In SQL:
//
//	Key.ID             TEXT     primary key
//	Handle             TEXT     unique, never null
//	Digest.Version     INTEGER  0 to 2^32-1
//	Digest.Sum         BLOB     32 bytes
//	Imported.Scheme, Imported.Encoded, Label
//	                   TEXT, empty and not null when there is none
//	Epoch              INTEGER  from 1
//	Intent             BLOB     32 bytes, or null for the zero value
//	Sealed             BLOB     null when there is none
//	Reminded.Expiry, Reminded.Age
//	                   INTEGER  microseconds
//	Key.Owner, Name, Environment, RevokedReason, Start, Last4, Meter,
//	  Predecessor, Successor    TEXT, empty and not null when there is none
//	Key.Scopes         TEXT     Set.MarshalText: names separated by spaces
//	Key.Metadata       TEXT     Metadata.MarshalText: a JSON object
//	Key.Settings       TEXT     Settings.MarshalText: a JSON object
//	Key.Networks       TEXT     Networks.MarshalText: CIDRs separated by spaces
//	Key.CreatedAt, Key.SecretAt
//	                   INTEGER  microseconds since 1970 UTC
//	Key.ExpiresAt      INTEGER  the same, null for the zero time (never)
//	Key.LastUsedAt     INTEGER  the same, null for the zero time (never)
//	Key.State          TEXT     State.MarshalText: active, disabled, revoked, deleted
//	Key.Version        INTEGER  from 1
//
// with indexes on (owner, created_at, id), (created_at, id) and, where there is
// an end, (expires_at, id), and with (owner, epoch, label) unique where there is
// a label. Key.Suspended is not stored and comes back false.
type Record struct {
	Key Key
	// Handle finds the record when the key's text is presented: the text's public
	// id, or a hash of the text for formats without one. It proves nothing.
	Handle string
	// Digest proves the key's text. It is wiped when the key is deleted.
	Digest Digest
	// Imported proves the text of a key that was made elsewhere, until its first
	// use makes it a Digest; the zero value otherwise, and when the key is deleted.
	Imported Imported
	// Label is Key.Name while that must be its owner's only one, else "".
	Label string
	// Epoch is the owner's when the key, or the first of its chain of rotations,
	// was made. A key whose epoch is over is revoked.
	Epoch int64
	// Intent is a hash of what a create with a request ID asked for.
	Intent [32]byte
	// Sealed holds the secrets bound to the key, encrypted; nil without any, and
	// never empty but not nil. Nobody changes its bytes: who wants others makes a
	// new slice.
	Sealed []byte
	// Reminded says which reminders were given.
	Reminded Reminded
	// Owner is what was decided about Key.Owner, as of the moment of reading; its
	// Events and Head may be left zero. Apply takes no notice of it.
	Owner Owner
}

// Imported is a digest that another system made, in the words of its scheme.
type Imported struct {
	Scheme  string // the name of a [Legacy]
	Encoded string
}

// Reminded holds the tightest thresholds that reminders were given for; zero is
// none yet.
type Reminded struct {
	Expiry time.Duration // before Key.ExpiresAt
	Age    time.Duration // after Key.SecretAt
}

// A Change is what [Store.Apply] makes come true as a whole.
type Change struct {
	Update []Record
	Insert []Record
	Owner  *Owner // unless nil, replaces the owner's, its Events and Head excepted
	Cap    *Cap
	Events []Event
	// Notices tell caches in other processes what to forget. A store that is a
	// [Feed] itself sends them when, and only if, the change comes true. Others
	// take no notice.
	Notices []Notice
}

// A Cap bounds how many keys of an owner may count. A record counts when its
// effective state is one of States, it has no successor, and it is not expired
// at LiveAt, if that is not zero.
type Cap struct {
	Owner  string
	Most   int // 0 or more
	States []State
	LiveAt time.Time
}

// Counts reports whether rec counts. It is the meaning of a Cap, for stores that
// count in Go.
func (c *Cap) Counts(rec *Record) bool { return c.counts(rec, &rec.Owner) }

// counts is Counts under what is decided about the owner.
func (c *Cap) counts(rec *Record, o *Owner) bool {
	q := Query{Owner: c.Owner, States: c.States, LiveAt: c.LiveAt, Unreplaced: true}
	// To a Query an empty owner is every owner; to a Cap it is the one without a name.
	return rec.Key.Owner == c.Owner && q.selects(&rec.Key, effective(rec, o), time.Time{})
}

// A Use says that a key was proven at an instant.
type Use struct {
	ID string
	At time.Time
	// Restamp, unless nil, brings the key's digest up to date.
	Restamp *Restamp
}

// A Restamp replaces how a key's text is proven: the digest, if digest and
// import are still what they were. The import is then over.
type Restamp struct {
	Was      Digest
	Imported Imported
	Digest   Digest
}

// A Count says how many keys are proven in one way.
type Count struct {
	Version uint32 // of the pepper; 0 is plain SHA-256
	Scheme  string // unless empty, the scheme of keys imported and not yet used
	Keys    int64
}
