package apikeytest

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/apikey"
)

// A broken store is a memory store with one fault. Nil fields are sound.
type broken struct {
	*apikey.MemoryStore
	apply    func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error
	byHandle func(m *apikey.MemoryStore, ctx context.Context, handle string) (apikey.Record, error)
	byID     func(m *apikey.MemoryStore, ctx context.Context, id string) (apikey.Record, error)
	list     func(m *apikey.MemoryStore, ctx context.Context, q apikey.Query) ([]apikey.Record, error)
	owner    func(m *apikey.MemoryStore, ctx context.Context, id string) (apikey.Owner, error)
	events   func(m *apikey.MemoryStore, ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error)
	census   func(m *apikey.MemoryStore, ctx context.Context) ([]apikey.Count, error)
	touch    func(m *apikey.MemoryStore, ctx context.Context, uses []apikey.Use) error

	// What goes in, or comes out of every method that returns the like, otherwise
	// than it should.
	change     func(m *apikey.MemoryStore, c *apikey.Change)
	use        func(m *apikey.MemoryStore, u *apikey.Use)
	query      func(q *apikey.Query)
	eventQuery func(q *apikey.EventQuery)
	record     func(rec *apikey.Record)
	event      func(e *apikey.Event)
}

func (b *broken) Apply(ctx context.Context, c apikey.Change) error {
	if b.change != nil {
		c.Insert, c.Update, c.Events = slices.Clone(c.Insert), slices.Clone(c.Update), slices.Clone(c.Events)
		if c.Cap != nil {
			c.Cap = new(*c.Cap)
		}
		if c.Owner != nil {
			c.Owner = new(*c.Owner)
		}
		b.change(b.MemoryStore, &c)
	}
	if b.apply != nil {
		return b.apply(b.MemoryStore, ctx, c)
	}
	return b.MemoryStore.Apply(ctx, c)
}

func (b *broken) read(rec apikey.Record, err error) (apikey.Record, error) {
	if b.record != nil && err == nil {
		b.record(&rec)
	}
	return rec, err
}

func (b *broken) ByHandle(ctx context.Context, handle string) (apikey.Record, error) {
	if b.byHandle != nil {
		return b.read(b.byHandle(b.MemoryStore, ctx, handle))
	}
	return b.read(b.MemoryStore.ByHandle(ctx, handle))
}

func (b *broken) ByID(ctx context.Context, id string) (apikey.Record, error) {
	if b.byID != nil {
		return b.read(b.byID(b.MemoryStore, ctx, id))
	}
	return b.read(b.MemoryStore.ByID(ctx, id))
}

func (b *broken) List(ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
	if b.query != nil {
		b.query(&q)
	}
	list := b.list
	if list == nil {
		list = (*apikey.MemoryStore).List
	}
	recs, err := list(b.MemoryStore, ctx, q)
	for i := range recs {
		recs[i], _ = b.read(recs[i], nil)
	}
	return recs, err
}

func (b *broken) Owner(ctx context.Context, id string) (apikey.Owner, error) {
	if b.owner != nil {
		return b.owner(b.MemoryStore, ctx, id)
	}
	return b.MemoryStore.Owner(ctx, id)
}

func (b *broken) Events(ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
	if b.eventQuery != nil {
		b.eventQuery(&q)
	}
	events := b.events
	if events == nil {
		events = (*apikey.MemoryStore).Events
	}
	list, err := events(b.MemoryStore, ctx, q)
	for i := range list {
		if b.event != nil {
			b.event(&list[i])
		}
	}
	return list, err
}

func (b *broken) Census(ctx context.Context) ([]apikey.Count, error) {
	if b.census != nil {
		return b.census(b.MemoryStore, ctx)
	}
	return b.MemoryStore.Census(ctx)
}

func (b *broken) Touch(ctx context.Context, uses []apikey.Use) error {
	if b.use != nil {
		uses = slices.Clone(uses)
		for i := range uses {
			if uses[i].Restamp != nil {
				uses[i].Restamp = new(*uses[i].Restamp)
			}
			b.use(b.MemoryStore, &uses[i])
		}
	}
	if b.touch != nil {
		return b.touch(b.MemoryStore, ctx, uses)
	}
	return b.MemoryStore.Touch(ctx, uses)
}

// A fault is a broken store, and the sentences, by how they begin, that must
// each reject it.
type fault struct {
	name   string
	caught []string
	store  broken
}

func caught(sentences ...string) []string { return sentences }

// gap gives way, for others to come in between.
func gap() {
	for range 100 {
		runtime.Gosched()
	}
}

// faults returns all broken stores, on memory stores of their own.
func faults() []fault {
	all := slices.Concat(recordFaults(), touchFaults(), ownerFaults(), labelFaults(), capFaults(), eventFaults(), eventQueryFaults(), listFaults())
	for i := range all {
		all[i].store.MemoryStore = apikey.NewMemoryStore()
	}
	return all
}

func sentence(t *testing.T, begins string) check {
	t.Helper()
	var is []check
	for _, c := range checks() {
		if strings.HasPrefix(c.sentence, begins) {
			is = append(is, c)
		}
	}
	if len(is) != 1 {
		t.Fatalf("%d checks begin with %q, want 1", len(is), begins)
	}
	return is[0]
}

func TestSuiteRejectsBrokenStores(t *testing.T) {
	for i, f := range faults() {
		for _, begins := range f.caught {
			t.Run(f.name+"/"+begins, func(t *testing.T) {
				for range 20 { // a fault that shows only when two meet may need more than one chance
					if sentence(t, begins).run(t.Context(), &faults()[i].store) != nil {
						return
					}
				}
				t.Error("not rejected")
			})
		}
	}
}

// No sentence is there that could not fail.
func TestEverySentenceRejectsABrokenStore(t *testing.T) {
	rejects := map[string]bool{}
	for _, f := range faults() {
		for _, begins := range f.caught {
			rejects[sentence(t, begins).sentence] = true
		}
	}
	for _, c := range checks() {
		if !rejects[c.sentence] {
			t.Errorf("no broken store is rejected by %q", c.sentence)
		}
	}
}

func TestSuiteAcceptsTheMemoryStore(t *testing.T) {
	Run(t, func(*testing.T) apikey.Store { return apikey.NewMemoryStore() })
}

func TestSentencesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range checks() {
		if seen[c.sentence] {
			t.Errorf("two checks are called %q", c.sentence)
		}
		seen[c.sentence] = true
	}
}
