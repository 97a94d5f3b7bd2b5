package apikeytest

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

func recordFaults() []fault {
	var kept []apikey.Record
	former := map[string]string{}
	return []fault{
		{"applies a change piece by piece", caught("a change that is refused in part"), broken{
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
		{"lets readers see a part", caught("no reader ever sees a part"), broken{
			apply: func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error {
				if len(c.Insert) > 0 || len(c.Update) != 2 {
					return m.Apply(ctx, c)
				}
				for _, i := range []int{1, 0} { // the first record ahead of the second
					if err := m.Apply(ctx, apikey.Change{Update: c.Update[i : i+1]}); err != nil {
						return err
					}
					gap()
				}
				return nil
			},
		}},
		{"the last writer wins", caught("of concurrent updates of one version", "an update of another version"), broken{
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
		{"inserts over what is there", caught("an insert whose ID is taken"), broken{
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
		{"takes as much as one statement takes", caught("a change brings up to a thousand records"), broken{
			apply: func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error {
				if len(c.Insert)+len(c.Update) > 999 {
					return errors.New("too many SQL variables")
				}
				return m.Apply(ctx, c)
			},
		}},
		{"frees the handle of a tombstone", caught("the ID and handle of a tombstone"), broken{
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
		{"inserts what it should update", caught("an update of an absent record"), broken{
			apply: func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error {
				err := m.Apply(ctx, c)
				if errors.Is(err, apikey.ErrNotFound) && len(c.Insert) == 0 {
					return m.Apply(ctx, apikey.Change{Insert: c.Update})
				}
				return err
			},
		}},
		{"writes LastUsedAt with the record", caught("an update never moves LastUsedAt"), broken{
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
		{"folds case", caught("handles and IDs are compared byte by byte"), broken{
			byHandle: func(m *apikey.MemoryStore, ctx context.Context, handle string) (apikey.Record, error) {
				rec, err := m.ByHandle(ctx, strings.ToLower(handle))
				if err != nil {
					return m.ByHandle(ctx, handle)
				}
				return rec, nil
			},
		}},
		{"has its own not found", caught("an absent record is ErrNotFound"), broken{
			byHandle: func(m *apikey.MemoryStore, ctx context.Context, handle string) (apikey.Record, error) {
				rec, err := m.ByHandle(ctx, handle)
				if errors.Is(err, apikey.ErrNotFound) {
					return rec, errors.New("no rows in result set")
				}
				return rec, err
			},
		}},
		{"finds an empty record", caught("an absent record is ErrNotFound"), broken{
			byID: func(m *apikey.MemoryStore, ctx context.Context, id string) (apikey.Record, error) {
				rec, err := m.ByID(ctx, id)
				if errors.Is(err, apikey.ErrNotFound) {
					return apikey.Record{}, nil
				}
				return rec, err
			},
		}},
		{"hides tombstones", caught("a record is found whatever its state"), broken{
			byID: func(m *apikey.MemoryStore, ctx context.Context, id string) (apikey.Record, error) {
				rec, err := m.ByID(ctx, id)
				if err == nil && rec.Key.State == apikey.StateDeleted {
					return apikey.Record{}, apikey.ErrNotFound
				}
				return rec, err
			},
		}},
		{"keeps milliseconds", caught("times come back in UTC to the microsecond"), broken{
			byID: func(m *apikey.MemoryStore, ctx context.Context, id string) (apikey.Record, error) {
				rec, err := m.ByID(ctx, id)
				rec.Key.ExpiresAt = rec.Key.ExpiresAt.Truncate(time.Millisecond)
				return rec, err
			},
		}},
		{"keeps never as 1970", caught("a record with nothing in it"), broken{
			byID: func(m *apikey.MemoryStore, ctx context.Context, id string) (apikey.Record, error) {
				rec, err := m.ByID(ctx, id)
				if err == nil && rec.Key.ExpiresAt.IsZero() {
					rec.Key.ExpiresAt = time.Unix(0, 0).UTC()
				}
				return rec, err
			},
		}},
		{"trims text", caught("text comes back byte by byte"), broken{
			byHandle: func(m *apikey.MemoryStore, ctx context.Context, handle string) (apikey.Record, error) {
				rec, err := m.ByHandle(ctx, handle)
				rec.Key.Name = strings.TrimSpace(rec.Key.Name)
				return rec, err
			},
		}},
		{"drops the context", caught("a call whose context is over"), broken{
			apply: func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error {
				return m.Apply(context.WithoutCancel(ctx), c)
			},
		}},
		{"answers nothing", caught("a record comes back as it was given"), broken{
			byHandle: func(*apikey.MemoryStore, context.Context, string) (apikey.Record, error) {
				return apikey.Record{}, errors.New("connection refused")
			},
		}},
		{"keeps no secrets as an empty one", caught("Sealed comes back byte by byte"), broken{
			record: func(rec *apikey.Record) { rec.Sealed = append([]byte{}, rec.Sealed...) },
		}},
		{"ends bytes at a zero", caught("Sealed comes back byte by byte"), broken{
			record: func(rec *apikey.Record) {
				if before, _, cut := bytes.Cut(rec.Sealed, []byte{0}); cut {
					rec.Sealed = before
				}
			},
		}},
		{"keeps 31 bytes of a hash", caught("the hash of what a create asked for"), broken{
			record: func(rec *apikey.Record) { rec.Intent[31] = 0 },
		}},
		{"keeps durations in milliseconds", caught("reminders come back to the microsecond"), broken{
			record: func(rec *apikey.Record) {
				rec.Reminded.Expiry, rec.Reminded.Age = rec.Reminded.Expiry.Truncate(time.Millisecond), rec.Reminded.Age.Truncate(time.Millisecond)
			},
		}},
		{"shows suspension itself", caught("Key.Suspended is not stored"), broken{
			record: func(rec *apikey.Record) { rec.Key.Suspended = rec.Owner.Suspended },
		}},
		{"hides that something was taken", caught("an insert whose ID", "an insert whose handle", "of concurrent inserts of one handle", "an update to a handle that another"), broken{
			apply: func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error {
				if err := m.Apply(ctx, c); !errors.Is(err, apikey.ErrExists) {
					return err
				}
				return nil
			},
		}},
		{"inserts before it updates", caught("an insert may take a handle"), broken{
			apply: func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error {
				for _, rec := range c.Insert {
					if _, err := m.ByHandle(ctx, rec.Handle); err == nil {
						return apikey.ErrExists
					}
				}
				return m.Apply(ctx, c)
			},
		}},
		{"takes every update to free its handle", caught("a handle that an update of the same change keeps"), broken{
			change: func(m *apikey.MemoryStore, c *apikey.Change) {
				for i := range c.Update {
					for _, rec := range c.Insert {
						if rec.Handle == c.Update[i].Handle {
							c.Update[i].Handle = "free " + rec.Handle
						}
					}
				}
			},
		}},
		{"keeps 200 characters of a name", caught("the largest record that the service gives"), broken{
			record: func(rec *apikey.Record) { rec.Key.Name = rec.Key.Name[:min(len(rec.Key.Name), 200)] },
		}},
		{"cannot send notices", caught("a change that brings notices alone"), broken{
			apply: func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error {
				if len(c.Notices) > 0 {
					return errors.New("no feed")
				}
				return m.Apply(ctx, c)
			},
		}},
		{"has nothing to do for nothing", caught("a change that brings nothing succeeds"), broken{
			apply: func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error {
				if len(c.Insert)+len(c.Update)+len(c.Events) == 0 && c.Owner == nil {
					return errors.New("no rows affected")
				}
				return m.Apply(ctx, c)
			},
		}},
		{"keeps the caller's records", caught("a store keeps its own copy of what it is given"), broken{
			apply: func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error {
				kept = c.Insert
				return m.Apply(ctx, c)
			},
			byHandle: func(m *apikey.MemoryStore, ctx context.Context, handle string) (apikey.Record, error) {
				rec, err := m.ByHandle(ctx, handle)
				rec.Key.Name = kept[0].Key.Name
				return rec, err
			},
		}},
		{"updates what is not empty", caught("an update replaces the whole record"), broken{
			change: func(m *apikey.MemoryStore, c *apikey.Change) {
				for i, rec := range c.Update {
					if old, err := m.ByID(context.Background(), rec.Key.ID); err == nil && rec.Key.Name == "" {
						c.Update[i].Key.Name = old.Key.Name
					}
				}
			},
		}},
		{"takes any version", caught("an update of another version"), broken{
			change: func(m *apikey.MemoryStore, c *apikey.Change) {
				for i, rec := range c.Update {
					if old, err := m.ByID(context.Background(), rec.Key.ID); err == nil {
						c.Update[i].Key.Version = old.Key.Version + 1
					}
				}
			},
		}},
		{"finds a key by a handle it had", caught("an update may bring a new handle"), broken{
			apply: func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error {
				for _, rec := range c.Update {
					if old, err := m.ByID(ctx, rec.Key.ID); err == nil && old.Handle != rec.Handle {
						former[old.Handle] = rec.Handle
					}
				}
				return m.Apply(ctx, c)
			},
			byHandle: func(m *apikey.MemoryStore, ctx context.Context, handle string) (apikey.Record, error) {
				if now, ok := former[handle]; ok {
					return m.ByHandle(ctx, now)
				}
				return m.ByHandle(ctx, handle)
			},
		}},
		{"inserts or updates", caught("inserts and updates of one change come true at once"), broken{
			change: func(_ *apikey.MemoryStore, c *apikey.Change) {
				if len(c.Update) > 0 {
					c.Insert = nil
				}
			},
		}},
		{"writes events for new keys alone", caught("a change comes true with all that it brings", "an event and the change that it tells of"), broken{
			change: func(_ *apikey.MemoryStore, c *apikey.Change) {
				if len(c.Update) > 0 {
					c.Events = nil
				}
			},
		}},
		{"writes events of what was refused", caught("a change that is refused, for whatever reason"), broken{
			apply: func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error {
				err := m.Apply(ctx, c)
				if err != nil {
					_ = m.Apply(ctx, apikey.Change{Events: c.Events})
				}
				return err
			},
		}},
		{"decides about owners first", caught("a change that is refused, for whatever reason"), broken{
			apply: func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error {
				if c.Owner != nil {
					if err := m.Apply(ctx, apikey.Change{Owner: c.Owner}); err != nil {
						return err
					}
				}
				c.Owner = nil
				return m.Apply(ctx, c)
			},
		}},
		{"counts keys whatever the context", caught("a call whose context is over"), broken{
			census: func(m *apikey.MemoryStore, ctx context.Context) ([]apikey.Count, error) {
				return m.Census(context.WithoutCancel(ctx))
			},
		}},
		{"reads events whatever the context", caught("a call whose context is over"), broken{
			events: func(m *apikey.MemoryStore, ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
				return m.Events(context.WithoutCancel(ctx), q)
			},
		}},
	}
}
