package apikeytest

import (
	"context"
	"slices"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

func touchFaults() []fault {
	var counted []apikey.Count
	last := map[string]time.Time{}
	return []fault{
		{"touches back", caught("Touch never moves LastUsedAt back"), broken{
			touch: func(m *apikey.MemoryStore, ctx context.Context, uses []apikey.Use) error {
				for _, use := range uses {
					last[use.ID] = use.At // a memory store cannot be made to
				}
				return m.Touch(ctx, uses)
			},
			record: func(rec *apikey.Record) {
				if at, ok := last[rec.Key.ID]; ok {
					rec.Key.LastUsedAt = at
				}
			},
		}},
		{"touch counts as a change", caught("Touch moves LastUsedAt forward and changes nothing else"), broken{
			touch: func(m *apikey.MemoryStore, ctx context.Context, uses []apikey.Use) error {
				for _, use := range uses {
					if rec, err := m.ByID(ctx, use.ID); err == nil {
						_ = m.Apply(ctx, apikey.Change{Update: []apikey.Record{next(rec)}})
					}
				}
				return m.Touch(ctx, uses)
			},
		}},
		{"touch stops at an unknown ID", caught("Touch skips unknown IDs", "restamps of unknown IDs"), broken{
			touch: func(m *apikey.MemoryStore, ctx context.Context, uses []apikey.Use) error {
				for i, use := range uses {
					if _, err := m.ByID(ctx, use.ID); errors.Is(err, apikey.ErrNotFound) {
						return m.Touch(ctx, uses[:i])
					}
				}
				return m.Touch(ctx, uses)
			},
		}},
		{"takes the first use of an ID", caught("Touch may name an ID more than once"), broken{
			touch: func(m *apikey.MemoryStore, ctx context.Context, uses []apikey.Use) error {
				seen := map[string]bool{}
				return m.Touch(ctx, slices.DeleteFunc(slices.Clone(uses), func(u apikey.Use) bool {
					again := seen[u.ID]
					seen[u.ID] = true
					return again
				}))
			},
		}},
		{"touches as much as one statement takes", caught("Touch takes no uses and a thousand", "Touch takes a thousand restamps"), broken{
			touch: func(m *apikey.MemoryStore, ctx context.Context, uses []apikey.Use) error {
				if len(uses) > 999 {
					return errors.New("too many SQL variables")
				}
				return m.Touch(ctx, uses)
			},
		}},
		{"touches by an update", caught("Touch and updates at once"), broken{
			touch: func(m *apikey.MemoryStore, ctx context.Context, uses []apikey.Use) error {
				for _, use := range uses {
					if rec, err := m.ByID(ctx, use.ID); err == nil {
						_ = m.Apply(ctx, apikey.Change{Update: []apikey.Record{next(rec)}})
					}
				}
				return m.Touch(ctx, uses)
			},
		}},
		{"takes the zero time for one", caught("the zero time of a use"), broken{
			use: func(_ *apikey.MemoryStore, u *apikey.Use) {
				if u.At.IsZero() {
					u.At = begin.Add(1000 * time.Hour)
				}
			},
		}},
		{"does not restamp", caught(
			"a restamp replaces the digest", "of several restamps of an ID", "restamps of unknown IDs", "Touch takes a thousand restamps",
			"an update of the version before a restamp", "of concurrent restamps", "restamps and updates at once", "Census follows what restamps",
		), broken{
			use: func(_ *apikey.MemoryStore, u *apikey.Use) { u.Restamp = nil },
		}},
		{"restamps whatever is there", caught("a restamp takes no effect", "of several restamps of an ID", "of concurrent restamps"), broken{
			touch: func(m *apikey.MemoryStore, ctx context.Context, uses []apikey.Use) error {
				for _, u := range uses {
					if rec, err := m.ByID(ctx, u.ID); err == nil && u.Restamp != nil {
						u.Restamp = &apikey.Restamp{Was: rec.Digest, Imported: rec.Imported, Digest: u.Restamp.Digest}
					}
					if err := m.Touch(ctx, []apikey.Use{u}); err != nil {
						return err
					}
				}
				return nil
			},
		}},
		{"looks at the digest and not at the import", caught("a restamp takes no effect"), broken{
			use: func(m *apikey.MemoryStore, u *apikey.Use) {
				if rec, err := m.ByID(context.Background(), u.ID); err == nil && u.Restamp != nil {
					u.Restamp.Imported = rec.Imported
				}
			},
		}},
		{"restamps or notes the use", caught("a use may bring both"), broken{
			use: func(_ *apikey.MemoryStore, u *apikey.Use) {
				if u.Restamp != nil {
					u.At = time.Time{}
				}
			},
		}},
		{"a use whose restamp does not fit is no use", caught("a restamp takes no effect"), broken{
			use: func(m *apikey.MemoryStore, u *apikey.Use) {
				if rec, err := m.ByID(context.Background(), u.ID); err == nil && u.Restamp != nil && rec.Digest != u.Restamp.Was {
					u.At = time.Time{}
				}
			},
		}},
		{"keeps the import after a restamp", caught("a restamp replaces the digest"), broken{
			record: func(rec *apikey.Record) {
				if rec.Key.Version > 1 && rec.Imported.Scheme == "" {
					rec.Imported.Scheme = "bcrypt"
				}
			},
		}},
		{"counts tombstones", caught("Census counts by version"), broken{
			census: func(m *apikey.MemoryStore, ctx context.Context) ([]apikey.Count, error) {
				counts, err := m.Census(ctx)
				dead, err2 := m.List(ctx, apikey.Query{States: []apikey.State{apikey.StateDeleted}, Limit: 1000})
				return append(counts, apikey.Count{Version: 99, Scheme: "gone", Keys: int64(len(dead))}), errors.Join(err, err2)
			},
		}},
		{"counts by version alone", caught("Census counts by version"), broken{
			census: func(m *apikey.MemoryStore, ctx context.Context) ([]apikey.Count, error) {
				counts, err := m.Census(ctx)
				for i := range counts {
					counts[i].Scheme = ""
				}
				return counts, err
			},
		}},
		{"counts once", caught("Census follows what restamps"), broken{
			census: func(m *apikey.MemoryStore, ctx context.Context) ([]apikey.Count, error) {
				if counted == nil {
					counted, _ = m.Census(ctx)
				}
				return slices.Clone(counted), nil
			},
		}},
	}
}
