package apikey

import (
	"cmp"
	"context"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// FailureOptions say when refusals of [Service.Verify] become events of the kind
// [EventFailures]. The zero value is ready for use.
//
// Refusals are counted in memory, in this process, at no cost worth naming, and
// told by [Service.Flush]. Wrong secrets for a key that exists are told of that
// key and its owner; all the rest, by cause, in one event without owner or key.
// So many events are the most in one interval, whatever is thrown at Verify:
// MostKeys and one.
//
// The counts are kept for up to 512 keys. When wrong secrets come for more at
// once, those that come most stay, and the others are counted with the rest.
// What is not told when the process ends is lost; what a store's error left open
// may be told twice.
type FailureOptions struct {
	// Off counts and tells nothing.
	Off bool
	// Every is the length of an interval; one hour when zero. A key is told of at
	// most once in each, and so is the rest: as soon as there is enough to tell,
	// and what follows at the end.
	Every time.Duration
	// Least is the number in one interval that is worth an event; 100 when zero.
	Least int
	// MostKeys is the greatest number of keys that are told of in one interval,
	// those with most failures first; 16 when zero. Others are counted with the
	// rest.
	MostKeys int
}

// causes are the refusals that are counted, with what events call them.
var causes = [...]struct {
	err  error
	name string
}{
	{errMalformed, "malformed"},
	causeUnknown: {errNoHandle, "unknown"},
	causeWrong:   {errWrongSecret, "wrong secret"},
	{errDeleted, "deleted"},
	{errPepperGone, "without pepper"},
	{errBadImport, "unreadable"},
	{errSchemeGone, "without scheme"},
	{errRevoked, "revoked"},
	{errExpired, "expired"},
	{errDisabled, "disabled"},
	{errSuspended, "suspended"},
	{errEnvironment, "other environment"},
	{errNetwork, "other network"},
}

const (
	causeUnknown = 1
	causeWrong   = 2
	failureSets  = 64
	failureWays  = 8 // keys in a set
)

// failures counts refusals. Its size is fixed, a refusal allocates nothing, and
// nobody waits for anybody: who finds a set locked counts with the rest.
type failures struct {
	every    time.Duration
	least    int64
	mostKeys int
	seed     maphash.Seed
	rest     [len(causes)]paddedCount
	sets     [failureSets]failureSet

	// For the time they take: what is counted in sets, and the decoy.
	attributed paddedCount
	strangers  failureSet

	// For tell alone, which is never called twice at once.
	since time.Time // the beginning of the interval
	room  int       // the number of keys that may still be told of in it
	told  bool      // whether the rest was
}

type paddedCount struct {
	atomic.Int64
	_ [56]byte // keeps neighbours off one cache line
}

type failureSet struct {
	mu   sync.Mutex
	keys [failureWays]failedKey
}

// A failedKey is the count of one key. Votes are those of Misra and Gries: a
// failure of a key that has no place takes one from all in the set, and the place
// of one without votes is free. So a key that has more than a ninth of a set's
// failures keeps its place.
type failedKey struct {
	id, owner   string
	count, vote int64
	told        bool // in this interval
}

// newFailures returns nil for nothing to count.
func newFailures(faults *errors.Faults, o *FailureOptions, now time.Time) *failures {
	if o == nil {
		o = &FailureOptions{}
	}
	if o.Every < 0 {
		faults.Add("Failures.Every is %v; give more than 0, or 0 for one hour", o.Every)
	}
	if o.Least < 0 {
		faults.Add("Failures.Least is %d; give 1 or more, or 0 for 100", o.Least)
	}
	if o.MostKeys < 0 || o.MostKeys >= touchSize {
		faults.Add("Failures.MostKeys is %d; give 1 to %d, or 0 for 16", o.MostKeys, touchSize-1)
	}
	if o.Off {
		return nil
	}
	most := cmp.Or(o.MostKeys, 16)
	return &failures{
		every: cmp.Or(o.Every, time.Hour), least: int64(cmp.Or(o.Least, 100)), mostKeys: most, seed: maphash.MakeSeed(),
		since: now, room: most,
	}
}

// refuse counts what Verify refuses with, and returns it. Rec is that of the
// handle where there is one.
func (s *Service) refuse(err error, rec *Record) error {
	if s.failures != nil {
		s.failures.note(err, rec)
	}
	return err
}

func (f *failures) note(err error, rec *Record) {
	known, unknown := err == errWrongSecret, err == errNoHandle //nolint:errorlint // these values themselves
	if known || unknown {
		f.guess(known, &rec.Key)
		return
	}
	for i := range causes {
		if causes[i].err == err { //nolint:errorlint // these values themselves
			f.rest[i].Add(1)
			return
		}
	}
}

// guess counts a wrong secret for k, or with the rest where k has no place; or an
// unknown handle, with like work for a decoy, so that time does not tell them
// apart.
func (f *failures) guess(known bool, k *Key) {
	set, count := &f.sets[maphash.String(f.seed, k.ID)%failureSets], &f.rest[causeWrong]
	if !known {
		set, count = &f.strangers, &f.rest[causeUnknown]
	}
	if f.attribute(set, k) && known {
		count = &f.attributed
	}
	count.Add(1)
}

// attribute counts a wrong secret for k in its set, unless it has no place.
func (f *failures) attribute(set *failureSet, k *Key) bool {
	if !set.mu.TryLock() {
		return false
	}
	defer set.mu.Unlock()
	free := -1
	for i := range set.keys {
		switch one := &set.keys[i]; {
		case one.id == k.ID:
			one.count++
			one.vote++
			return true
		case one.vote <= 0:
			free = i
		}
	}
	if free < 0 {
		for i := range set.keys {
			set.keys[i].vote--
		}
		return false
	}
	f.addWrong(set.keys[free].count)
	set.keys[free] = failedKey{id: k.ID, owner: k.Owner, count: 1, vote: 1}
	return true
}

// addWrong counts wrong secrets with the rest.
func (f *failures) addWrong(n int64) { f.rest[causeWrong].Add(n) }

// tell writes what is worth it, and forgets it when it is written.
func (f *failures) tell(ctx context.Context, now time.Time, apply func(context.Context, Change) error) error {
	over := now.Before(f.since) || now.Sub(f.since) >= f.every
	if over {
		f.since, f.room, f.told = now, f.mostKeys, false
	}
	keys := f.takeKeys(over)
	rest, sum := f.takeRest(over)
	written := false
	defer func() { // neither an error nor a panic of the store loses anything
		if !written {
			f.giveBack(keys, rest)
		}
	}()
	events := make([]Event, 0, len(keys)+1)
	for _, k := range keys {
		events = append(events, Event{Owner: k.owner, At: now, Kind: EventFailures, Key: k.id, Note: causes[causeWrong].name, Count: k.count})
	}
	if sum > 0 {
		events = append(events, Event{At: now, Kind: EventFailures, Note: breakdown(rest), Count: sum})
	}
	if len(events) == 0 {
		written = true
		return nil
	}
	if err := apply(ctx, Change{Events: events}); err != nil {
		return err
	}
	written = true
	f.room -= len(keys)
	f.told = f.told || sum > 0
	return nil
}

// takeKeys takes the counts of the keys that are to be told of, most failures
// first. At the end of an interval the counts of all others go to the rest.
func (f *failures) takeKeys(over bool) []failedKey {
	if f.room == 0 && !over {
		return nil
	}
	var keys []failedKey
	for i := range f.sets {
		keys = f.sets[i].take(keys, f, over)
	}
	slices.SortFunc(keys, func(a, b failedKey) int { return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.id, b.id)) })
	told := keys[:min(len(keys), f.room)]
	for _, k := range told {
		f.at(k.id, func(k *failedKey) { k.told = true })
	}
	for _, k := range keys[len(told):] {
		if over || !f.at(k.id, func(own *failedKey) { own.count += k.count }) {
			f.addWrong(k.count)
		}
	}
	return told
}

func (s *failureSet) take(keys []failedKey, f *failures, over bool) []failedKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.keys {
		k := &s.keys[i]
		k.told = k.told && !over
		switch {
		case k.count >= f.least && !k.told:
			keys = append(keys, *k)
			k.count = 0
		case over:
			f.addWrong(k.count)
			*k = failedKey{}
		}
	}
	return keys
}

// at changes the place of a key, if it still has one.
func (f *failures) at(id string, change func(*failedKey)) bool {
	set := &f.sets[maphash.String(f.seed, id)%failureSets]
	set.mu.Lock()
	defer set.mu.Unlock()
	for i := range set.keys {
		if set.keys[i].id == id {
			change(&set.keys[i])
			return true
		}
	}
	return false
}

// takeRest takes what is to be told without a key, and its sum: nothing when that
// was told in this interval. At the end of an interval too little is dropped.
func (f *failures) takeRest(over bool) (rest [len(causes)]int64, sum int64) {
	if f.told {
		return rest, 0
	}
	for i := range f.rest {
		sum += f.rest[i].Load()
	}
	if sum < f.least && !over {
		return rest, 0
	}
	enough := sum >= f.least
	sum = 0
	for i := range f.rest {
		if n := f.rest[i].Swap(0); enough {
			rest[i] = n
			sum += n
		}
	}
	return rest, sum
}

func (f *failures) giveBack(keys []failedKey, rest [len(causes)]int64) {
	for _, taken := range keys {
		if !f.at(taken.id, func(k *failedKey) { k.count, k.told = k.count+taken.count, false }) {
			f.addWrong(taken.count)
		}
	}
	for i := range rest {
		f.rest[i].Add(rest[i])
	}
}

// breakdown writes counts by cause.
func breakdown(rest [len(causes)]int64) string {
	var parts []string
	for i, n := range rest {
		if n > 0 {
			parts = append(parts, causes[i].name+" "+strconv.FormatInt(n, 10))
		}
	}
	return strings.Join(parts, ", ")
}
