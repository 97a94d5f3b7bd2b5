package apikeytest

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

func ownerFaults() []fault {
	forged := map[string]apikey.Owner{}
	return []fault{
		{"has no epoch for a new owner", caught("an owner of whom nothing is known"), broken{
			owner: func(m *apikey.MemoryStore, ctx context.Context, id string) (apikey.Owner, error) {
				o, err := m.Owner(ctx, id)
				if o.Version == 0 {
					o.Epoch = 0
				}
				return o, err
			},
		}},
		{"does not find a new owner", caught("an owner of whom nothing is known"), broken{
			owner: func(m *apikey.MemoryStore, ctx context.Context, id string) (apikey.Owner, error) {
				o, err := m.Owner(ctx, id)
				if err == nil && o.Version == 0 {
					return apikey.Owner{}, apikey.ErrNotFound
				}
				return o, err
			},
		}},
		{"keeps decisions to the second", caught("a decision about an owner comes back"), broken{
			change: func(_ *apikey.MemoryStore, c *apikey.Change) {
				if c.Owner != nil {
					c.Owner.ChangedAt = c.Owner.ChangedAt.Truncate(time.Second)
				}
			},
		}},
		{"keeps epochs in 32 bits", caught("a decision about an owner comes back"), broken{
			change: func(_ *apikey.MemoryStore, c *apikey.Change) {
				if c.Owner != nil {
					c.Owner.Epoch = int64(int32(c.Owner.Epoch))
				}
			},
		}},
		{"decides what is not empty", caught("a decision replaces the one before"), broken{
			change: func(m *apikey.MemoryStore, c *apikey.Change) {
				if c.Owner != nil {
					old, _ := m.Owner(context.Background(), c.Owner.ID)
					c.Owner.RevokedReason = cmp.Or(c.Owner.RevokedReason, old.RevokedReason)
				}
			},
		}},
		{"believes in the head it is given", caught("Events and Head of a decision"), broken{
			change: func(_ *apikey.MemoryStore, c *apikey.Change) {
				if c.Owner != nil {
					forged[c.Owner.ID] = *c.Owner
				}
			},
			owner: func(m *apikey.MemoryStore, ctx context.Context, id string) (apikey.Owner, error) {
				o, err := m.Owner(ctx, id)
				if f, ok := forged[id]; ok {
					o.Events, o.Head = f.Events, f.Head
				}
				return o, err
			},
		}},
		{"folds the case of owners", caught("owners are told apart byte by byte"), broken{
			change: func(_ *apikey.MemoryStore, c *apikey.Change) {
				if c.Owner != nil {
					c.Owner.ID = strings.ToLower(c.Owner.ID)
				}
			},
			owner: func(m *apikey.MemoryStore, ctx context.Context, id string) (apikey.Owner, error) {
				o, err := m.Owner(ctx, strings.ToLower(id))
				o.ID = id
				return o, err
			},
		}},
		{"decides at any version", caught("a decision of another version", "of concurrent decisions"), broken{
			apply: func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error {
				for {
					err := m.Apply(ctx, c)
					if c.Owner == nil || !errors.Is(err, apikey.ErrConflict) {
						return err
					}
					old, _ := m.Owner(ctx, c.Owner.ID)
					c.Owner = new(*c.Owner)
					c.Owner.Version = old.Version + 1
				}
			},
		}},
		{"joins no owner to a listing", caught("every record that is read"), broken{
			list: func(m *apikey.MemoryStore, ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
				list, err := m.List(ctx, q)
				for i := range list {
					list[i].Owner = apikey.Owner{ID: list[i].Key.Owner, Epoch: 1}
				}
				return list, err
			},
		}},
		{"joins no owner to a look-up", caught("every record that is read"), broken{
			byHandle: func(m *apikey.MemoryStore, ctx context.Context, handle string) (apikey.Record, error) {
				rec, err := m.ByHandle(ctx, handle)
				rec.Owner = apikey.Owner{ID: rec.Key.Owner, Epoch: 1}
				return rec, err
			},
		}},
		{"begins each key in the first epoch", caught("an insert without an epoch", "an epoch that the store fills in"), broken{
			change: func(_ *apikey.MemoryStore, c *apikey.Change) {
				for i := range c.Insert {
					c.Insert[i].Epoch = max(c.Insert[i].Epoch, 1)
				}
			},
		}},
		{"fills in the epoch before the change", caught("an insert without an epoch", "an epoch that the store fills in"), broken{
			change: func(m *apikey.MemoryStore, c *apikey.Change) {
				for i, rec := range c.Insert {
					o, _ := m.Owner(context.Background(), rec.Key.Owner)
					c.Insert[i].Epoch = cmp.Or(rec.Epoch, o.Epoch)
				}
			},
		}},
		{"brings what it updates into the present epoch", caught("to an update the epoch"), broken{
			record: func(rec *apikey.Record) {
				if rec.Key.Version > 1 {
					rec.Epoch = rec.Owner.Epoch
				}
			},
		}},
		{"lists by the state that it stored", caught("an epoch that is over makes keys revoked", "a query selects the records that Query.Selects says"), broken{
			list: listedBy(func(q *apikey.Query, rec apikey.Record) bool {
				rec.Owner.Epoch = 0
				return q.Selects(&rec)
			}),
		}},
		{"revokes tombstones", caught("an epoch that is over makes keys revoked"), broken{
			list: listedBy(func(q *apikey.Query, rec apikey.Record) bool {
				if rec.Epoch < rec.Owner.Epoch {
					rec.Key.State = apikey.StateRevoked
				}
				return q.Selects(&rec)
			}),
		}},
		{"reads a record and then its owner", caught("a record and what was decided about its owner"), broken{
			byID: func(m *apikey.MemoryStore, ctx context.Context, id string) (apikey.Record, error) {
				rec, err := m.ByID(ctx, id)
				gap()
				rec.Owner, _ = m.Owner(ctx, rec.Key.Owner)
				return rec, err
			},
		}},
	}
}

// listedBy returns a List that selects otherwise; it pages and sorts well.
func listedBy(selects func(q *apikey.Query, rec apikey.Record) bool) func(*apikey.MemoryStore, context.Context, apikey.Query) ([]apikey.Record, error) {
	return func(m *apikey.MemoryStore, ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
		wide := apikey.Query{States: allStates, Order: q.Order, After: q.After, Limit: 1000}
		list, err := m.List(ctx, wide)
		list = slices.DeleteFunc(list, func(rec apikey.Record) bool { return !selects(&q, rec) })
		return list[:min(len(list), q.Limit)], err
	}
}

// clash returns an Apply that refuses a change one of whose records clashes, in
// the eyes of a broken store, with one that is there.
func clash(with func(rec, other apikey.Record) bool) func(*apikey.MemoryStore, context.Context, apikey.Change) error {
	return func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error {
		there, err := m.List(ctx, everything(1000))
		if err != nil {
			return err
		}
		for _, rec := range slices.Concat(c.Update, c.Insert) {
			if slices.ContainsFunc(there, func(other apikey.Record) bool { return with(rec, other) }) {
				return apikey.ErrNameTaken
			}
		}
		return m.Apply(ctx, c)
	}
}

func labelFaults() []fault {
	labels := map[string]string{} // of records, by ID and version
	var taken []apikey.Record
	return []fault{
		{"looks at no label", caught(
			"an insert whose label is taken", "an update whose label is taken", "each owner, and each epoch", "an epoch that the store fills in",
			"labels are compared byte by byte", "a label that was given up", "an insert may take the label", "an update may take the label",
		), broken{
			change: func(_ *apikey.MemoryStore, c *apikey.Change) {
				for _, recs := range [][]apikey.Record{c.Update, c.Insert} {
					for i := range recs {
						labels[recs[i].Key.ID] = recs[i].Label
						recs[i].Label = ""
					}
				}
			},
			record: func(rec *apikey.Record) { rec.Label = labels[rec.Key.ID] },
		}},
		{"looks at labels and then writes", caught("of concurrent inserts with one label", "of concurrent updates to one label"), broken{
			apply: func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error {
				err := m.Apply(ctx, c)
				if errors.Is(err, apikey.ErrNameTaken) { // as if the first had not been there when it looked
					for i := range c.Insert {
						c.Insert[i].Label = ""
					}
					for i := range c.Update {
						c.Update[i].Label = ""
					}
					return m.Apply(ctx, c)
				}
				return err
			},
		}},
		{"has labels for all owners together", caught("each owner, and each epoch"), broken{
			apply: clash(func(rec, other apikey.Record) bool {
				return rec.Label != "" && rec.Label == other.Label && rec.Key.Owner != other.Key.Owner
			}),
		}},
		{"has labels for all epochs together", caught("each owner, and each epoch", "an epoch that the store fills in"), broken{
			apply: clash(func(rec, other apikey.Record) bool {
				return rec.Label != "" && rec.Label == other.Label && rec.Epoch != other.Epoch
			}),
		}},
		{"folds the case of labels", caught("labels are compared byte by byte"), broken{
			apply: func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error {
				for i, rec := range c.Insert {
					if slices.ContainsFunc(c.Insert[:i], func(o apikey.Record) bool { return rec.Label != "" && strings.EqualFold(rec.Label, o.Label) }) {
						return apikey.ErrNameTaken
					}
				}
				return m.Apply(ctx, c)
			},
		}},
		{"takes no label for a label", caught("records without a label"), broken{
			apply: clash(func(rec, other apikey.Record) bool {
				return rec.Label == "" && other.Label == "" && rec.Key.ID != other.Key.ID
			}),
		}},
		{"lets a key stand in its own way", caught("an update may keep its label"), broken{
			apply: clash(func(rec, other apikey.Record) bool {
				return rec.Label != "" && rec.Label == other.Label && rec.Key.ID == other.Key.ID
			}),
		}},
		{"frees no label", caught("a label that was given up", "an insert may take the label"), broken{
			apply: func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error {
				for _, rec := range c.Insert {
					if rec.Label != "" && slices.ContainsFunc(taken, func(o apikey.Record) bool { return o.Label == rec.Label }) {
						return apikey.ErrNameTaken
					}
				}
				taken = append(taken, c.Insert...)
				return m.Apply(ctx, c)
			},
		}},
		{"inserts before it updates", caught("an insert may take the label"), broken{
			apply: func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error {
				for _, rec := range c.Insert {
					there, err := m.List(ctx, everything(1000))
					if err != nil || slices.ContainsFunc(there, func(o apikey.Record) bool { return rec.Label != "" && o.Label == rec.Label }) {
						return errors.Join(err, apikey.ErrNameTaken)
					}
				}
				return m.Apply(ctx, c)
			},
		}},
		{"updates one after the other", caught("an update may take the label"), broken{
			apply: func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error {
				for _, rec := range c.Update {
					if err := m.Apply(ctx, apikey.Change{Update: []apikey.Record{rec}}); err != nil {
						return err
					}
				}
				c.Update = nil
				return m.Apply(ctx, c)
			},
		}},
	}
}

func capFaults() []fault {
	var last *apikey.Cap
	// fewer makes room in a cap smaller by what does not count, or larger by what
	// does.
	fewer := func(m *apikey.MemoryStore, c *apikey.Change, wrong func(c *apikey.Cap, rec apikey.Record) bool) {
		if c.Cap == nil {
			return
		}
		there, _ := m.List(context.Background(), everything(1000))
		for _, rec := range there {
			if wrong(c.Cap, rec) {
				c.Cap.Most--
			}
		}
	}
	return []fault{
		{"has no caps", caught(
			"a change for which a cap has no room", "all records of one change count", "a record counts in the states", "what counts is what the same change leaves",
			"of concurrent inserts as many", "of concurrent updates as many", "of concurrent changes under caps",
		), broken{
			change: func(_ *apikey.MemoryStore, c *apikey.Change) { c.Cap = nil },
		}},
		{"has room for one less", caught("a change for which a cap has no room", "of concurrent inserts as many"), broken{
			change: func(_ *apikey.MemoryStore, c *apikey.Change) {
				if c.Cap != nil {
					c.Cap.Most--
				}
			},
		}},
		{"has room for one more", caught("of concurrent inserts as many", "of concurrent updates as many", "of concurrent changes under caps"), broken{
			change: func(_ *apikey.MemoryStore, c *apikey.Change) {
				if c.Cap != nil {
					c.Cap.Most++
				}
			},
		}},
		{"counts one insert for all", caught("all records of one change count"), broken{
			change: func(_ *apikey.MemoryStore, c *apikey.Change) {
				if c.Cap != nil {
					c.Cap.Most += max(0, len(c.Insert)-1)
				}
			},
		}},
		{"remembers a cap", caught("a change without a cap"), broken{
			change: func(_ *apikey.MemoryStore, c *apikey.Change) {
				if c.Cap == nil {
					c.Cap = last
				}
				last = c.Cap
			},
		}},
		{"counts every state", caught("a record counts in the states"), broken{
			change: func(_ *apikey.MemoryStore, c *apikey.Change) {
				if c.Cap != nil {
					c.Cap.States = allStates
				}
			},
		}},
		{"counts what is expired", caught("a record that is expired at LiveAt"), broken{
			change: func(_ *apikey.MemoryStore, c *apikey.Change) {
				if c.Cap != nil {
					c.Cap.LiveAt = time.Time{}
				}
			},
		}},
		{"counts what expires at that instant", caught("a record that is expired at LiveAt"), broken{
			change: func(_ *apikey.MemoryStore, c *apikey.Change) {
				if c.Cap != nil && !c.Cap.LiveAt.IsZero() {
					c.Cap.LiveAt = c.Cap.LiveAt.Add(-time.Microsecond)
				}
			},
		}},
		{"counts what was replaced", caught("a record with a successor"), broken{
			change: func(m *apikey.MemoryStore, c *apikey.Change) {
				fewer(m, c, func(_ *apikey.Cap, rec apikey.Record) bool { return rec.Key.Successor != "" })
			},
		}},
		{"counts by the state that it stored", caught("a record whose epoch is over counts"), broken{
			change: func(m *apikey.MemoryStore, c *apikey.Change) {
				fewer(m, c, func(c *apikey.Cap, rec apikey.Record) bool {
					return slices.Contains(c.States, rec.Key.State) && !slices.Contains(c.States, rec.State())
				})
			},
		}},
		{"counts what is there before the change", caught("what counts is what the same change leaves", "a record with a successor"), broken{
			apply: func(m *apikey.MemoryStore, ctx context.Context, c apikey.Change) error {
				if c.Cap != nil {
					before := *c.Cap
					before.Most -= len(c.Insert)
					if err := m.Apply(ctx, apikey.Change{Cap: &before}); err != nil {
						return err
					}
					c.Cap = nil
				}
				return m.Apply(ctx, c)
			},
		}},
		{"counts the keys of all", caught("the keys of other owners"), broken{
			change: func(m *apikey.MemoryStore, c *apikey.Change) {
				fewer(m, c, func(c *apikey.Cap, rec apikey.Record) bool { return rec.Key.Owner != c.Owner })
			},
		}},
		{"counts the keys of owners like it", caught("the keys of other owners"), broken{
			change: func(m *apikey.MemoryStore, c *apikey.Change) {
				fewer(m, c, func(c *apikey.Cap, rec apikey.Record) bool {
					return rec.Key.Owner != c.Owner && strings.EqualFold(rec.Key.Owner, c.Owner)
				})
			},
		}},
	}
}
