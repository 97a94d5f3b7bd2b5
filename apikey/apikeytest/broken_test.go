package apikeytest

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// A broken store is a memory store with one fault. Nil fields are sound.
type broken struct {
	*apikey.MemoryStore
	apply    func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error
	byHandle func(m *apikey.MemoryStore, ctx context.Context, handle string) (apikey.Record, error)
	byID     func(m *apikey.MemoryStore, ctx context.Context, id string) (apikey.Record, error)
	list     func(m *apikey.MemoryStore, ctx context.Context, q apikey.Query) ([]apikey.Record, error)
	touch    func(m *apikey.MemoryStore, ctx context.Context, uses []apikey.Use) error
}

func (b *broken) Apply(ctx context.Context, c apikey.Change) error {
	if b.apply != nil {
		return b.apply(b.MemoryStore, ctx, c)
	}
	return b.MemoryStore.Apply(ctx, c)
}

func (b *broken) ByHandle(ctx context.Context, handle string) (apikey.Record, error) {
	if b.byHandle != nil {
		return b.byHandle(b.MemoryStore, ctx, handle)
	}
	return b.MemoryStore.ByHandle(ctx, handle)
}

func (b *broken) ByID(ctx context.Context, id string) (apikey.Record, error) {
	if b.byID != nil {
		return b.byID(b.MemoryStore, ctx, id)
	}
	return b.MemoryStore.ByID(ctx, id)
}

func (b *broken) List(ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
	if b.list != nil {
		return b.list(b.MemoryStore, ctx, q)
	}
	return b.MemoryStore.List(ctx, q)
}

func (b *broken) Touch(ctx context.Context, uses []apikey.Use) error {
	if b.touch != nil {
		return b.touch(b.MemoryStore, ctx, uses)
	}
	return b.MemoryStore.Touch(ctx, uses)
}

// Each broken store must fail at least the check that begins so.
var brokenStores = []struct {
	name   string
	caught string
	store  broken
}{
	{"applies a change piece by piece", "a change that is refused in part", broken{
		apply: func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error {
			for _, rec := range c.Insert {
				if err := m.Apply(ctx, apikey.Change{Insert: []apikey.Record{rec}}); err != nil {
					return err
				}
			}
			for _, rec := range c.Update {
				if err := m.Apply(ctx, apikey.Change{Update: []apikey.Record{rec}}); err != nil {
					return err
				}
			}
			return nil
		},
	}},
	{"lets readers see a part", "no reader ever sees a part", broken{
		apply: func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error {
			if len(c.Insert) > 0 || len(c.Update) != 2 {
				return m.Apply(ctx, c)
			}
			for _, i := range []int{1, 0} { // the first record ahead of the second
				if err := m.Apply(ctx, apikey.Change{Update: c.Update[i : i+1]}); err != nil {
					return err
				}
				time.Sleep(10 * time.Microsecond) //nolint:forbidigo // the fault itself: a gap for readers to fall into
			}
			return nil
		},
	}},
	{"the last writer wins", "of concurrent updates", broken{
		apply: func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error {
			for {
				err := m.Apply(ctx, c)
				if !errors.Is(err, apikey.ErrConflict) {
					return err
				}
				c.Update = slices.Clone(c.Update)
				for i := range c.Update {
					if rec, err := m.ByID(ctx, c.Update[i].Key.ID); err == nil {
						c.Update[i].Key.Version = rec.Key.Version + 1
					}
				}
			}
		},
	}},
	{"inserts over what is there", "an insert whose ID is taken", broken{
		apply: func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error {
			for _, rec := range c.Insert {
				if old, err := m.ByID(ctx, rec.Key.ID); err == nil {
					rec.Key.Version = old.Key.Version + 1
					return m.Apply(ctx, apikey.Change{Update: []apikey.Record{rec}})
				}
			}
			return m.Apply(ctx, c)
		},
	}},
	{"takes as much as one statement takes", "a change brings up to a thousand records", broken{
		apply: func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error {
			if len(c.Insert)+len(c.Update) > 999 {
				return errors.New("too many SQL variables")
			}
			return m.Apply(ctx, c)
		},
	}},
	{"frees the handle of a tombstone", "the ID and handle of a tombstone", broken{
		apply: func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error {
			c.Update = slices.Clone(c.Update)
			for i := range c.Update {
				if c.Update[i].Key.State == apikey.StateDeleted {
					c.Update[i].Handle = "free " + c.Update[i].Handle
				}
			}
			return m.Apply(ctx, c)
		},
	}},
	{"inserts what it should update", "an update of an absent record", broken{
		apply: func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error {
			err := m.Apply(ctx, c)
			if errors.Is(err, apikey.ErrNotFound) && len(c.Insert) == 0 {
				return m.Apply(ctx, apikey.Change{Insert: c.Update})
			}
			return err
		},
	}},
	{"writes LastUsedAt with the record", "an update never moves LastUsedAt", broken{
		apply: func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error {
			err := m.Apply(ctx, c)
			for _, rec := range c.Update {
				if err == nil {
					err = m.Touch(ctx, uses(rec.Key.LastUsedAt, rec))
				}
			}
			return err
		},
	}},
	{"folds case", "handles and IDs are compared byte by byte", broken{
		byHandle: func(m *apikey.MemoryStore, ctx context.Context, handle string) (apikey.Record, error) {
			rec, err := m.ByHandle(ctx, strings.ToLower(handle))
			if err != nil {
				return m.ByHandle(ctx, handle)
			}
			return rec, nil
		},
	}},
	{"has its own not found", "an absent record is ErrNotFound", broken{
		byHandle: func(m *apikey.MemoryStore, ctx context.Context, handle string) (apikey.Record, error) {
			rec, err := m.ByHandle(ctx, handle)
			if errors.Is(err, apikey.ErrNotFound) {
				return rec, errors.New("no rows in result set")
			}
			return rec, err
		},
	}},
	{"finds an empty record", "an absent record is ErrNotFound", broken{
		byID: func(m *apikey.MemoryStore, ctx context.Context, id string) (apikey.Record, error) {
			rec, err := m.ByID(ctx, id)
			if errors.Is(err, apikey.ErrNotFound) {
				return apikey.Record{}, nil
			}
			return rec, err
		},
	}},
	{"hides tombstones", "a record is found whatever its state", broken{
		byID: func(m *apikey.MemoryStore, ctx context.Context, id string) (apikey.Record, error) {
			rec, err := m.ByID(ctx, id)
			if err == nil && rec.Key.State == apikey.StateDeleted {
				return apikey.Record{}, apikey.ErrNotFound
			}
			return rec, err
		},
	}},
	{"keeps milliseconds", "times come back in UTC to the microsecond", broken{
		byID: func(m *apikey.MemoryStore, ctx context.Context, id string) (apikey.Record, error) {
			rec, err := m.ByID(ctx, id)
			rec.Key.ExpiresAt = rec.Key.ExpiresAt.Truncate(time.Millisecond)
			return rec, err
		},
	}},
	{"keeps never as 1970", "a record with nothing in it", broken{
		byID: func(m *apikey.MemoryStore, ctx context.Context, id string) (apikey.Record, error) {
			rec, err := m.ByID(ctx, id)
			if err == nil && rec.Key.ExpiresAt.IsZero() {
				rec.Key.ExpiresAt = time.Unix(0, 0).UTC()
			}
			return rec, err
		},
	}},
	{"trims text", "text comes back byte by byte", broken{
		byHandle: func(m *apikey.MemoryStore, ctx context.Context, handle string) (apikey.Record, error) {
			rec, err := m.ByHandle(ctx, handle)
			rec.Key.Name = strings.TrimSpace(rec.Key.Name)
			return rec, err
		},
	}},
	{"pages by time alone", "pages never repeat or skip a record, also where times are equal", broken{
		list: func(m *apikey.MemoryStore, ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
			if !q.After.IsZero() {
				q.After.ID = ""
			}
			return m.List(ctx, q)
		},
	}},
	{"lists oldest first", "a listing is newest first", broken{
		list: func(m *apikey.MemoryStore, ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
			list, err := m.List(ctx, q)
			slices.Reverse(list)
			return list, err
		},
	}},
	{"filters after the limit", "the conditions of a query hold together", broken{
		list: func(m *apikey.MemoryStore, ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
			wide := q
			wide.Owner, wide.Environment, wide.States = "", "", allStates
			list, err := m.List(ctx, wide)
			return slices.DeleteFunc(list, func(rec apikey.Record) bool { return !q.Selects(&rec) }), err
		},
	}},
	{"takes expiry as the last instant", "a query with LiveAt", broken{
		list: func(m *apikey.MemoryStore, ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
			if !q.LiveAt.IsZero() {
				q.LiveAt = q.LiveAt.Add(-time.Microsecond)
			}
			return m.List(ctx, q)
		},
	}},
	{"ignores the limit", "a listing is newest first", broken{
		list: func(m *apikey.MemoryStore, ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
			q.Limit = 1000
			return m.List(ctx, q)
		},
	}},
	{"matches owners as patterns", "a query selects by owner, byte by byte", broken{
		list: func(m *apikey.MemoryStore, ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
			if q.Owner == "t%" {
				q.Owner = ""
			}
			return m.List(ctx, q)
		},
	}},
	{"touches back", "Touch never moves LastUsedAt back", broken{}}, // see rewind
	{"touch counts as a change", "Touch moves LastUsedAt forward and changes nothing else", broken{
		touch: func(m *apikey.MemoryStore, ctx context.Context, uses []apikey.Use) error {
			for _, use := range uses {
				if rec, err := m.ByID(ctx, use.ID); err == nil {
					_ = m.Apply(ctx, apikey.Change{Update: []apikey.Record{next(rec)}})
				}
			}
			return m.Touch(ctx, uses)
		},
	}},
	{"touch stops at an unknown ID", "Touch skips unknown IDs", broken{
		touch: func(m *apikey.MemoryStore, ctx context.Context, uses []apikey.Use) error {
			for i, use := range uses {
				if _, err := m.ByID(ctx, use.ID); errors.Is(err, apikey.ErrNotFound) {
					return m.Touch(ctx, uses[:i])
				}
			}
			return m.Touch(ctx, uses)
		},
	}},
	{"drops the context", "a call whose context is over", broken{
		apply: func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error {
			return m.Apply(context.WithoutCancel(ctx), c)
		},
	}},
	{"answers nothing", "a record comes back as it was given", broken{
		byHandle: func(*apikey.MemoryStore, context.Context, string) (apikey.Record, error) {
			return apikey.Record{}, errors.New("connection refused")
		},
	}},
}

// rewind is the store that touches back: a memory store cannot be made to, so
// it keeps the last use of each key itself.
type rewind struct {
	*apikey.MemoryStore
	at map[string]time.Time
}

func (r rewind) Touch(ctx context.Context, uses []apikey.Use) error {
	for _, use := range uses {
		r.at[use.ID] = use.At
	}
	return r.MemoryStore.Touch(ctx, uses)
}

func (r rewind) ByHandle(ctx context.Context, handle string) (apikey.Record, error) {
	rec, err := r.MemoryStore.ByHandle(ctx, handle)
	if at, ok := r.at[rec.Key.ID]; ok {
		rec.Key.LastUsedAt = at
	}
	return rec, err
}

func TestSuiteRejectsBrokenStores(t *testing.T) {
	for _, tt := range brokenStores {
		t.Run(tt.name, func(t *testing.T) {
			for _, c := range checks() {
				if !strings.HasPrefix(c.sentence, tt.caught) {
					continue
				}
				if err := c.run(t.Context(), onMemory(tt.name, tt.store)); err == nil {
					t.Errorf("not rejected by %q", c.sentence)
				}
				return
			}
			t.Errorf("no check is called %q", tt.caught)
		})
	}
}

// onMemory puts a broken store on an empty memory store.
func onMemory(name string, b broken) apikey.Store {
	if name == "touches back" {
		return rewind{apikey.NewMemoryStore(), map[string]time.Time{}}
	}
	b.MemoryStore = apikey.NewMemoryStore()
	return &b
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
