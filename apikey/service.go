package apikey

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/internal/seal"
	"github.com/keytoll/keytoll/scopes"
)

// Options adjust a [Service]. The zero value is ready for use.
type Options struct {
	// Peppers are the current pepper, first, and those retired. Without any, keys
	// are proven by plain SHA-256; keys made so keep working when a pepper is
	// adopted, and keys made under a pepper that is left out here stop. In a fleet
	// a new pepper is given to all processes behind the current one first, and then
	// put before it; the old one can go when [Service.Census] counts no key under it.
	// Where there is no current one yet, the zero Pepper stands for it.
	Peppers []Pepper
	// Former are formats in which keys of this store were made before: they go on
	// working. A text is read as one of the service's own format first. New texts
	// are of that too, but where it lacks the environment of the key that they are
	// for: then of the first here that has it. There are at most 16.
	Former []*Format
	// Legacy are ways in which other systems made keys: keys of theirs can be
	// imported, and then work here. There are at most 16.
	Legacy []Legacy
	// SlowProofs is the greatest number of proofs by a slow scheme of Legacy that
	// run at once, and with it the processors and the memory that they can take:
	// half of GOMAXPROCS, but one at least, when zero.
	SlowProofs int
	// SlowWaiting is how many more may wait for that; 256 when zero. Beyond it
	// Verify is [errors.Unavailable], to whoever waits for the key for which most do.
	SlowWaiting int
	// SealingKeys are the current sealing key, first, and those retired, for the
	// secrets that are bound to keys ([Spec.Secrets]). Without any, such secrets
	// cannot be made or opened. One may be left out when [Service.Reseal] has seen
	// every key.
	SealingKeys []SealingKey
	// Now is the clock; time.Now when nil.
	Now func() time.Time
	// Rand is the source of new keys; crypto/rand when nil. It must be safe for
	// concurrent use.
	Rand io.Reader
	// LastUsedEvery is the precision of Key.LastUsedAt: a use is noted when the one
	// stored is at least this much older. One minute when zero.
	LastUsedEvery time.Duration
	// FlushEvery, if not zero, starts a goroutine that writes noted uses to the
	// store at this interval, until Close. When zero, only Flush and Close write.
	FlushEvery time.Duration
	// Failed, unless nil, is told of what fails where nobody else hears of it, in
	// the goroutine that met it: writes of FlushEvery, with the error that Flush
	// returns, and CacheOptions.Feed. All of it is tried again or made up for in
	// time. It must not call Close.
	Failed func(error)
	// MaxPending is the greatest number of keys whose use is noted and not yet
	// written, about 100 bytes each; 65536 when zero. When it is reached, uses of
	// further keys go unnoted until the next write. The same holds, with a count of
	// their own and about 400 bytes each, for digests that are to be renewed.
	MaxPending int
	// Failures say when refusals of Verify are told in events; nil is the defaults.
	Failures *FailureOptions
	// Detector, unless nil, is told at each Flush from where keys were used, and what
	// it finds becomes events. When nil, nothing of that is noted.
	Detector Detector
	// MaxSightings is the greatest number of pairs of a key and an address that are
	// noted for Detector between two writes, about 200 bytes each; 65536 when zero.
	// Further ones go unseen until the next write.
	MaxSightings int
	// Policy, unless nil, says what an owner's plan allows: it is asked when a key
	// is made or given something, and at each Verify, after proof. An error of it
	// refuses, as [errors.Unavailable]. It must be safe for concurrent use.
	Policy func(ctx context.Context, owner string) (Policy, error)
	// Registry, unless nil, lists the scopes that can be granted, and the plans that
	// include them, which count where Policy names a plan. Scopes that keys have and
	// it does not list stay.
	Registry *scopes.Registry
	// Cache, unless nil, keeps what Verify looks up. When nil, each Verify is one
	// call of the store.
	Cache *CacheOptions
}

// A Service makes, proves and manages the keys of one format in one store. It
// is safe for concurrent use. Close it to keep the last uses.
type Service struct {
	store  Store
	format *Format
	ring   *keyring
	// formats begin with the present one, and the former ones follow.
	formats []*Format
	legacy  []*reader
	slow    *gate
	sealer  *seal.Box
	now     func() time.Time
	rand    io.Reader
	uses    *uses
	decoy   *node        // stands for a record that is not there
	memory  *MemoryStore // the store, if it is one
	cache   *cache       // nil without one

	failures  *failures     // nil where they are not counted
	sightings *sightings    // nil without a detector
	telling   chan struct{} // holds one while events of theirs are written

	policy   func(ctx context.Context, owner string) (Policy, error)
	registry *scopes.Registry
}

// NewService returns a service for the keys of format in store, both required.
// Nil options are the defaults. The error names every fault at once.
func NewService(store Store, format *Format, o *Options) (*Service, error) {
	if o == nil {
		o = &Options{}
	}
	faults := errors.Faults{Op: "apikey.NewService"}
	if store == nil {
		faults.Add("store is nil; give one, such as NewMemoryStore()")
	}
	if format == nil || format.tail() == 0 {
		faults.Add("format is empty; give one made by NewFormat")
	}
	s := &Service{store: store, format: format, rand: o.Rand, now: o.Now, policy: o.Policy, registry: o.Registry}
	if s.now == nil {
		s.now = time.Now //nolint:forbidigo // the one default clock
	}
	s.memory, _ = store.(*MemoryStore)
	s.ring = newKeyring(&faults, o.Peppers)
	s.formats = append([]*Format{format}, o.Former...)
	for i, f := range o.Former {
		if f == nil || f.tail() == 0 {
			faults.Add("former[%d] is empty; give a format made by NewFormat", i)
		}
	}
	if len(o.Former) > maxLegacies {
		faults.Add("there are %d former formats; give %d or less, since each may cost a look-up", len(o.Former), maxLegacies)
	}
	s.legacy = newReaders(&faults, o.Legacy)
	s.slow = newGate(&faults, o)
	s.sealer = newSealer(&faults, o.SealingKeys)
	for _, d := range []struct {
		name string
		is   time.Duration
	}{{"LastUsedEvery", o.LastUsedEvery}, {"FlushEvery", o.FlushEvery}} {
		if d.is < 0 {
			faults.Add("%s is %v; give 0 or more", d.name, d.is)
		}
	}
	if o.MaxPending < 0 {
		faults.Add("MaxPending is %d; give 0 or more", o.MaxPending)
	}
	s.failures = newFailures(&faults, o.Failures, s.clock())
	s.sightings = newSightings(&faults, o)
	s.telling = make(chan struct{}, 1)
	s.cache = newCache(&faults, o.Cache)
	if err := faults.Err(); err != nil {
		return nil, err
	}
	s.decoy = newDecoy(format, s.ring)
	s.uses = newUses(store, o)
	if o.FlushEvery > 0 {
		s.uses.start(o.FlushEvery, s.Flush, o.Failed)
	}
	if s.cache != nil && s.cache.hearing != nil {
		s.cache.hearing.now, s.cache.hearing.failed = s.now, o.Failed
		s.cache.hearing.listen(s.cache)
	}
	return s, nil
}

// Format returns the format of the service's keys.
func (s *Service) Format() *Format { return s.format }

// regexps returns a regular expression for the keys of all formats.
func (s *Service) regexps() string {
	all := make([]string, len(s.formats))
	for i, f := range s.formats {
		all[i] = f.Regexp()
	}
	return strings.Join(all, "|")
}

// clock returns the present instant as it is stored.
func (s *Service) clock() time.Time { return s.now().UTC().Truncate(time.Microsecond) }

// byID returns the record with this ID, its owner's decisions included.
func (s *Service) byID(ctx context.Context, id string) (Record, error) {
	rec, err := s.store.ByID(ctx, id)
	if err != nil {
		return Record{}, err
	}
	rec.settle()
	return rec, nil
}

// apply makes a change come true, and tells who may hold what it replaced.
func (s *Service) apply(ctx context.Context, c Change) (err error) {
	c.Notices = notices(&c)
	err = errors.New("the store panicked")
	defer func() { s.changed(ctx, &c, err) }()
	return s.store.Apply(ctx, c)
}

// Get returns the key with this ID, tombstones included, or [ErrNotFound].
func (s *Service) Get(ctx context.Context, id string) (Key, error) {
	rec, err := s.byID(ctx, id)
	if err != nil {
		return Key{}, s.fault(ctx, "apikey.Get", err)
	}
	s.uses.overlay(&rec.Key)
	return rec.Key, nil
}

// A Page is a part of a listing. Next, given as Query.After, continues it; it
// is zero on the last page.
type Page struct {
	Keys []Key
	Next Cursor
}

// List returns the keys that q selects, newest first. An empty Owner without
// AnyOwner, a Limit outside 0 to 1000 and unknown states are [errors.Invalid].
func (s *Service) List(ctx context.Context, q Query) (Page, error) {
	return s.list(ctx, "apikey.List", q)
}

func (s *Service) list(ctx context.Context, op string, q Query) (Page, error) {
	faults := errors.Faults{Op: op}
	checkPage(&faults, q.Owner, q.AnyOwner, q.Limit, "keys")
	for i, state := range q.States {
		if _, err := state.MarshalText(); err != nil {
			faults.Add("states[%d] is %v; give active, disabled, revoked or deleted", i, state)
		}
	}
	if err := faults.Err(); err != nil {
		return Page{}, err
	}
	if q.Limit == 0 {
		q.Limit = 100
	}
	if len(q.States) == 0 {
		q.States = []State{StateActive, StateDisabled, StateRevoked}
	}
	limit := q.Limit
	q.Limit++ // one more tells whether a page follows
	records, err := s.store.List(ctx, q)
	if err != nil {
		return Page{}, s.fault(ctx, op, err)
	}
	var page Page
	if len(records) > limit {
		records = records[:limit]
		last := records[limit-1].Key
		page.Next = q.Order.position(&last)
	}
	page.Keys = make([]Key, len(records))
	for i := range records {
		records[i].settle()
		page.Keys[i] = records[i].Key
		s.uses.overlay(&page.Keys[i])
	}
	return page, nil
}

// fault gives a store's error its operation and code. What the contract names
// passes, the context's own end passes, and everything else means that the
// store could not decide.
func (s *Service) fault(ctx context.Context, op string, err error) error {
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrExists), errors.Is(err, ErrConflict),
		errors.Is(err, ErrNameTaken), errors.Is(err, ErrKeyLimit), errors.CodeOf(err) == errors.Corrupt:
		return errors.Wrap(op, err)
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return &errors.Error{Op: op, Msg: "the caller gave up or its time is over", Err: err}
	}
	return &errors.Error{Code: errors.Unavailable, Op: op, Msg: "the key store cannot answer now; try again later", Err: err}
}
