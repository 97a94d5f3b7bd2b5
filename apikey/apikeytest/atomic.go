package apikeytest

import (
	"context"
	"fmt"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// rich returns a change that touches all that a change can touch, of a store
// that holds what richBefore brings: an update that gives up its label and its
// handle, an insert that takes the label, a decision, a cap and events.
func rich() apikey.Change {
	o, old, heir := owner("o", 1), labeled(1, ""), labeled(3, "ci")
	o.Epoch = 1
	old.Key.Version, old.Key.Successor, old.Handle = 2, heir.Key.ID, "another handle"
	return apikey.Change{
		Update: []apikey.Record{old}, Insert: []apikey.Record{heir}, Owner: &o,
		Cap:    &apikey.Cap{Owner: "o", Most: 2, States: []apikey.State{apikey.StateActive}, LiveAt: begin},
		Events: []apikey.Event{event("o", 10), event("p", 11), event("o", 12)},
	}
}

func richBefore(ctx context.Context, s apikey.Store) error {
	return apply(ctx, s, apikey.Change{
		Insert: []apikey.Record{labeled(1, "ci"), labeled(2, "cd")}, Events: []apikey.Event{event("o", 1), event("p", 2)},
	})
}

var atomicChecks = []check{
	{"a change comes true with all that it brings", func(ctx context.Context, s apikey.Store) error {
		c := rich()
		old, heir := c.Update[0], c.Insert[0]
		old.Owner, heir.Owner = *c.Owner, *c.Owner
		return errors.Join(
			richBefore(ctx, s), apply(ctx, s, c), holds(ctx, s, old), holds(ctx, s, heir), decided(ctx, s, *c.Owner),
			recorded(ctx, s, "o", event("o", 1), event("o", 10), event("o", 12)), recorded(ctx, s, "p", event("p", 2), event("p", 11)),
		)
	}},
	{"a change that is refused, for whatever reason, leaves everything as it was", func(ctx context.Context, s apikey.Store) error {
		if err := richBefore(ctx, s); err != nil {
			return err
		}
		over, cancel := context.WithCancel(ctx)
		cancel()
		for _, tt := range []struct {
			why   string
			is    error
			spoil func(c *apikey.Change)
		}{
			{"an update of a record that is absent", apikey.ErrNotFound, func(c *apikey.Change) { c.Update = append(c.Update, next(bare(9))) }},
			{"an update of another version", apikey.ErrConflict, func(c *apikey.Change) { c.Update = append(c.Update, next(next(labeled(2, "cd")))) }},
			{"an update to a handle that is taken", apikey.ErrExists, func(c *apikey.Change) { c.Update[0].Handle = bare(2).Handle }},
			{"an update to a label that is taken", apikey.ErrNameTaken, func(c *apikey.Change) { c.Update[0].Label, c.Insert[0].Label = "cd", "" }},
			{"an insert of an ID that is taken", apikey.ErrExists, func(c *apikey.Change) { c.Insert[0].Key.ID = bare(2).Key.ID }},
			{"an insert of a handle that is taken", apikey.ErrExists, func(c *apikey.Change) { c.Insert[0].Handle = bare(2).Handle }},
			{"an insert of a label that is taken", apikey.ErrNameTaken, func(c *apikey.Change) { c.Insert[0].Label = "cd" }},
			{"a decision of another version", apikey.ErrConflict, func(c *apikey.Change) { c.Owner.Version = 2 }},
			{"a cap without room", apikey.ErrKeyLimit, func(c *apikey.Change) { c.Cap.Most = 1 }},
		} {
			c := rich()
			tt.spoil(&c)
			if err := refused(ctx, s, c, tt.is, "o", "p"); err != nil {
				return fmt.Errorf("%s: %w", tt.why, err)
			}
		}
		err := unchanged(ctx, s, []string{"o", "p"}, func() error {
			return want("Apply", s.Apply(over, rich()), context.Canceled)
		})
		// What was refused stands in the way of nothing.
		return errors.Join(err, apply(ctx, s, rich()), recorded(ctx, s, "o", event("o", 1), event("o", 10), event("o", 12)))
	}},
}
