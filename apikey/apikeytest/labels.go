package apikeytest

import (
	"context"
	"fmt"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// labeled returns the n-th record with nothing but a label, owner "o", epoch 1.
func labeled(n int, label string) apikey.Record {
	rec := bare(n)
	rec.Label = label
	return rec
}

// relabeled returns rec one version on with another label.
func relabeled(rec apikey.Record, label string) apikey.Record {
	rec = next(rec)
	rec.Label = label
	return rec
}

func inserts(recs ...apikey.Record) apikey.Change { return apikey.Change{Insert: recs} }
func updates(recs ...apikey.Record) apikey.Change { return apikey.Change{Update: recs} }

var labelChecks = []check{
	{"an insert whose label is taken is ErrNameTaken and changes nothing", func(ctx context.Context, s apikey.Store) error {
		return errors.Join(
			insert(ctx, s, labeled(1, "ci")),
			refused(ctx, s, inserts(labeled(2, "else"), labeled(3, "ci")), apikey.ErrNameTaken, "o"),
			refused(ctx, s, inserts(labeled(2, "twice"), labeled(3, "twice")), apikey.ErrNameTaken, "o"),
		)
	}},
	{"an update whose label is taken is ErrNameTaken and changes nothing", func(ctx context.Context, s apikey.Store) error {
		one, two := labeled(1, "ci"), labeled(2, "")
		return errors.Join(
			insert(ctx, s, one, two, labeled(3, "other")),
			refused(ctx, s, updates(relabeled(two, "ci")), apikey.ErrNameTaken, "o"),
			refused(ctx, s, updates(relabeled(two, "same"), relabeled(one, "same")), apikey.ErrNameTaken, "o"),
			refused(ctx, s, apikey.Change{Update: updates(relabeled(two, "new")).Update, Insert: inserts(labeled(4, "new")).Insert}, apikey.ErrNameTaken, "o"),
		)
	}},
	{"an update may keep its label", func(ctx context.Context, s apikey.Store) error {
		one, two := labeled(1, "ci"), labeled(2, "cd")
		return errors.Join(insert(ctx, s, one, two), update(ctx, s, next(one), next(two)), holds(ctx, s, next(one)), holds(ctx, s, next(two)))
	}},
	{"records without a label have none in common", func(ctx context.Context, s apikey.Store) error {
		one, two := labeled(1, "a"), labeled(2, "b")
		one.Key.Name, two.Key.Name = "the same", "the same"
		three := labeled(3, "")
		three.Key.Name = "the same"
		return errors.Join(
			insert(ctx, s, one, two, three, labeled(4, ""), labeled(5, "")),
			update(ctx, s, relabeled(one, ""), relabeled(two, "")),
			holds(ctx, s, relabeled(one, "")), holds(ctx, s, relabeled(two, "")), holds(ctx, s, three),
		)
	}},
	{"labels are compared byte by byte", func(ctx context.Context, s apikey.Store) error {
		var recs []apikey.Record
		for i, text := range odd {
			recs = append(recs, labeled(i, "l"+text))
		}
		if err := insert(ctx, s, recs...); err != nil {
			return err
		}
		var faults []error
		for i, text := range odd {
			faults = append(faults, holds(ctx, s, recs[i]),
				want(fmt.Sprintf("a second %q", text), s.Apply(ctx, inserts(labeled(100+i, "l"+text))), apikey.ErrNameTaken))
		}
		return errors.Join(faults...)
	}},
	{"each owner, and each epoch, has labels of its own", func(ctx context.Context, s apikey.Store) error {
		other, later := labeled(2, "ci"), labeled(3, "ci")
		other.Key.Owner, later.Epoch = "p", 2
		again := labeled(4, "ci")
		again.Epoch = 2
		return errors.Join(
			insert(ctx, s, labeled(1, "ci")), insert(ctx, s, other, later), holds(ctx, s, other), holds(ctx, s, later),
			refused(ctx, s, inserts(again), apikey.ErrNameTaken, "o"),
		)
	}},
	{"an epoch that the store fills in is the one whose labels count", func(ctx context.Context, s apikey.Store) error {
		filled := func(n int, label string) apikey.Record {
			rec := labeled(n, label)
			rec.Epoch = 0
			return rec
		}
		second, third := apikey.Owner{ID: "o", Epoch: 2, Version: 1}, apikey.Owner{ID: "o", Epoch: 3, Version: 2}
		return errors.Join(
			insert(ctx, s, filled(1, "ci")),
			refused(ctx, s, inserts(filled(2, "ci")), apikey.ErrNameTaken, "o"),
			decide(ctx, s, second), insert(ctx, s, filled(3, "ci")),
			refused(ctx, s, inserts(filled(4, "ci")), apikey.ErrNameTaken, "o"),
			apply(ctx, s, apikey.Change{Owner: &third, Insert: []apikey.Record{filled(5, "ci")}}),
			refused(ctx, s, inserts(filled(6, "ci")), apikey.ErrNameTaken, "o"),
		)
	}},
	{"a label that was given up is free", func(ctx context.Context, s apikey.Store) error {
		one, two, dead := labeled(1, "a"), labeled(2, "b"), relabeled(labeled(3, "c"), "")
		dead.Key.State = apikey.StateDeleted
		return errors.Join(
			insert(ctx, s, one, two, labeled(3, "c")),
			update(ctx, s, relabeled(one, "a2"), relabeled(two, ""), dead),
			insert(ctx, s, labeled(4, "a"), labeled(5, "b"), labeled(6, "c")),
			holds(ctx, s, labeled(4, "a")), holds(ctx, s, relabeled(one, "a2")),
			refused(ctx, s, inserts(labeled(7, "a2")), apikey.ErrNameTaken, "o"),
		)
	}},
	{"an insert may take the label that an update of the same change gives up", func(ctx context.Context, s apikey.Store) error {
		old, heir := labeled(1, "ci"), labeled(2, "ci")
		for n := 3; n < 6; n++ {
			if n == 3 {
				if err := insert(ctx, s, old); err != nil {
					return err
				}
			}
			after := relabeled(old, "")
			after.Key.Successor = heir.Key.ID
			c := apikey.Change{Update: []apikey.Record{after}, Insert: []apikey.Record{heir}}
			if err := errors.Join(apply(ctx, s, c), holds(ctx, s, after), holds(ctx, s, heir)); err != nil {
				return err
			}
			old, heir = heir, labeled(n, "ci")
		}
		return refused(ctx, s, inserts(labeled(9, "ci")), apikey.ErrNameTaken, "o")
	}},
	{"an update may take the label that another of the same change gives up, and two may swap", func(ctx context.Context, s apikey.Store) error {
		one, two, three := labeled(1, "a"), labeled(2, "b"), labeled(3, "c")
		if err := insert(ctx, s, one, two, three); err != nil {
			return err
		}
		for _, turn := range [][3]string{{"b", "a", "c"}, {"a", "b", "c"}, {"c", "a", "b"}, {"b", "c", "a"}, {"d", "b", ""}, {"b", "", "d"}} {
			one, two, three = relabeled(one, turn[0]), relabeled(two, turn[1]), relabeled(three, turn[2])
			err := errors.Join(update(ctx, s, one, two, three), holds(ctx, s, one), holds(ctx, s, two), holds(ctx, s, three))
			if err != nil {
				return fmt.Errorf("labels %q: %w", turn, err)
			}
		}
		return errors.Join(insert(ctx, s, labeled(4, "a")), refused(ctx, s, inserts(labeled(5, "d")), apikey.ErrNameTaken, "o"))
	}},
	{"of concurrent inserts with one label exactly one succeeds", func(ctx context.Context, s apikey.Store) error {
		for round := range 3 {
			err := race(apikey.ErrNameTaken, func(n int) error {
				return s.Apply(ctx, inserts(labeled(100*round+n, fmt.Sprintf("round %d", round))))
			})
			if err != nil {
				return err
			}
		}
		return nil
	}},
	{"of concurrent updates to one label exactly one succeeds", func(ctx context.Context, s apikey.Store) error {
		var recs []apikey.Record
		for n := range racers {
			recs = append(recs, labeled(n, ""))
		}
		return errors.Join(insert(ctx, s, recs...), race(apikey.ErrNameTaken, func(n int) error {
			return s.Apply(ctx, updates(relabeled(recs[n], "the one")))
		}))
	}},
}
