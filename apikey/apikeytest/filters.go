package apikeytest

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// around are the instants at which a boundary shows, and never.
var around = [...]time.Time{{}, begin.Add(-time.Microsecond), begin, begin.Add(time.Microsecond)}

// bounded inserts records that differ in the instant that set is given, and
// returns nil if q selects exactly those with these numbers of around.
func bounded(ctx context.Context, s apikey.Store, set func(*apikey.Record, time.Time), q apikey.Query, numbers ...int) error {
	for i, at := range around {
		rec := bare(i)
		set(&rec, at)
		if err := insert(ctx, s, rec); err != nil {
			return err
		}
	}
	q.States, q.Limit = allStates, 10
	return listed(ctx, s, q, numbers...)
}

var filterChecks = []check{
	{"to a store an empty owner is every owner, and AnyOwner means nothing", func(ctx context.Context, s apikey.Store) error {
		every, one := everything(10), everything(10)
		every.AnyOwner, one.AnyOwner, one.Owner = true, true, record(1).Key.Owner
		return errors.Join(
			insert(ctx, s, record(1), record(2)), listed(ctx, s, everything(10), 2, 1), listed(ctx, s, every, 2, 1), listed(ctx, s, one, 1),
		)
	}},
	{"a query with ExpiresBefore selects keys that have an end before that instant", func(ctx context.Context, s apikey.Store) error {
		return bounded(ctx, s, func(rec *apikey.Record, at time.Time) { rec.Key.ExpiresAt = at }, apikey.Query{ExpiresBefore: begin}, 1)
	}},
	{"a query with UnusedSince selects keys made, and last used if ever, before that instant", func(ctx context.Context, s apikey.Store) error {
		err := bounded(ctx, s, func(rec *apikey.Record, at time.Time) {
			rec.Key.CreatedAt, rec.Key.LastUsedAt = rec.Key.CreatedAt.Add(-time.Hour), at
		}, apikey.Query{UnusedSince: begin}, 1, 0)
		young, old := bare(11), bare(12) // made at that instant, and just before it; both never used
		young.Key.CreatedAt, old.Key.CreatedAt = begin, begin.Add(-time.Microsecond)
		q := everything(10)
		q.UnusedSince = begin
		err = errors.Join(err, insert(ctx, s, young, old), listed(ctx, s, q, 12, 1, 0))
		used := apikey.Use{ID: bare(0).Key.ID, At: begin.Add(time.Hour)}
		return errors.Join(err, want("Touch", s.Touch(ctx, []apikey.Use{used}), nil), listed(ctx, s, q, 12, 1))
	}},
	{"a query with SecretBefore selects keys whose text was made before that instant", func(ctx context.Context, s apikey.Store) error {
		return bounded(ctx, s, func(rec *apikey.Record, at time.Time) {
			if rec.Key.SecretAt = at; at.IsZero() {
				rec.Key.SecretAt = begin.Add(-time.Hour)
			}
		}, apikey.Query{SecretBefore: begin}, 1, 0)
	}},
	{"a query with Unreplaced leaves out keys that have a successor", func(ctx context.Context, s apikey.Store) error {
		one := bare(1)
		one.Key.Successor = "0"
		q := everything(10)
		q.Unreplaced = true
		return errors.Join(insert(ctx, s, one, bare(2)), listed(ctx, s, q, 2), listed(ctx, s, everything(10), 2, 1))
	}},
	{"a listing SoonestFirst is by expiry, then ID, without keys that never expire", func(ctx context.Context, s apikey.Store) error {
		for i, at := range []int{3, 0, 1, 2, 1, 0, 1} { // seconds after begin; 0 is never
			rec := bare(20 - i)
			if at > 0 {
				rec.Key.ExpiresAt = begin.Add(time.Duration(at) * time.Second)
			}
			if err := insert(ctx, s, rec); err != nil {
				return err
			}
		}
		q := everything(10)
		q.Order = apikey.SoonestFirst
		few, owner, none := q, q, q
		few.Limit, owner.Owner, none.Owner = 2, "o", "nobody"
		return errors.Join(
			listed(ctx, s, q, 14, 16, 18, 17, 20), listed(ctx, s, few, 14, 16), listed(ctx, s, owner, 14, 16, 18, 17, 20), listed(ctx, s, none),
		)
	}},
	{"a page SoonestFirst follows a position where no record is", func(ctx context.Context, s apikey.Store) error {
		for n := 1; n < 6; n += 2 {
			rec := bare(n)
			rec.Key.ExpiresAt = begin.Add(time.Duration(n) * time.Second)
			if err := insert(ctx, s, rec); err != nil {
				return err
			}
		}
		q := everything(10)
		q.Order = apikey.SoonestFirst
		at := func(n int, id string) apikey.Query {
			q := q
			q.After = apikey.Cursor{At: begin.Add(time.Duration(n) * time.Second), ID: id}
			return q
		}
		return errors.Join(
			listed(ctx, s, at(0, "key"), 1, 3, 5), listed(ctx, s, at(3, "a"), 3, 5), listed(ctx, s, at(3, "z"), 5),
			listed(ctx, s, at(4, "key"), 5), listed(ctx, s, at(9, "key")),
		)
	}},
	{"where instants are equal, IDs are sorted byte by byte", func(ctx context.Context, s apikey.Store) error {
		var ids []string
		for i, text := range odd {
			rec := bare(i)
			rec.Key.ID, rec.Key.CreatedAt, rec.Key.ExpiresAt = "k"+text, begin, begin.Add(time.Hour)
			ids = append(ids, rec.Key.ID)
			if err := insert(ctx, s, rec); err != nil {
				return err
			}
		}
		slices.Sort(ids)
		for _, order := range []apikey.Order{apikey.SoonestFirst, apikey.NewestFirst} {
			q := everything(100)
			q.Order = order
			list, err := s.List(ctx, q)
			if err != nil {
				return err
			}
			var got []string
			for _, rec := range list {
				got = append(got, rec.Key.ID)
			}
			if !slices.Equal(got, ids) {
				return fmt.Errorf("order %d: %q, want %q", order, got, ids)
			}
			slices.Reverse(ids)
		}
		return nil
	}},
	{"a query selects the records that Query.Selects says, whatever its conditions", queryModel},
}

// queryModel compares random queries with what Selects says.
func queryModel(ctx context.Context, s apikey.Store) error {
	const seed = 22
	r := rand.New(rand.NewPCG(seed, seed))
	owners, environments := []string{"o", "p", "q"}, []string{"", "live"}
	at := func() time.Time { return begin.Add(time.Duration(r.IntN(8)) * time.Second) }
	maybe := func() time.Time {
		if r.IntN(3) == 0 {
			return time.Time{}
		}
		return at()
	}
	decisions := map[string]apikey.Owner{"o": {ID: "o", Epoch: 2, Version: 1}, "p": {ID: "p", Epoch: 3, Suspended: true, Version: 1}, "q": {ID: "q", Epoch: 1}}
	var stored []apikey.Record
	for n := range 80 {
		rec := bare(n)
		k := &rec.Key
		k.Owner, k.Environment, k.State, rec.Epoch = oneOf(r, owners), oneOf(r, environments), oneOf(r, allStates), 1+r.Int64N(3)
		k.CreatedAt, k.SecretAt, k.ExpiresAt, k.LastUsedAt = at(), at(), maybe(), maybe()
		if r.IntN(3) == 0 {
			k.Successor = "key_x"
		}
		rec.Owner = decisions[k.Owner]
		stored = append(stored, rec)
	}
	o, p := decisions["o"], decisions["p"]
	if err := errors.Join(insert(ctx, s, stored...), decide(ctx, s, o), decide(ctx, s, p)); err != nil {
		return err
	}
	for step := range 100 {
		q := apikey.Query{Order: apikey.Order(r.IntN(2)), Limit: oneOf(r, []int{1, 5, 100})}
		for len(q.States) == 0 || r.IntN(2) == 0 {
			q.States = append(q.States, oneOf(r, allStates))
		}
		set := func(one *time.Time) {
			if r.IntN(4) == 0 {
				*one = at()
			}
		}
		set(&q.LiveAt)
		set(&q.ExpiresBefore)
		set(&q.UnusedSince)
		set(&q.SecretBefore)
		if r.IntN(2) == 0 {
			q.Owner = oneOf(r, owners)
		}
		q.Environment, q.Unreplaced = oneOf(r, environments), r.IntN(3) == 0
		if r.IntN(3) == 0 {
			if after := oneOf(r, stored); q.Order == apikey.NewestFirst || !after.Key.ExpiresAt.IsZero() {
				q.After = position(q.Order, after)
			}
		}
		var should []int
		for _, rec := range sorted(q.Order, stored) {
			later := q.After.IsZero() || compare(q.Order, position(q.Order, rec), q.After) > 0
			if q.Selects(&rec) && later && len(should) < q.Limit {
				should = append(should, slices.IndexFunc(stored, func(other apikey.Record) bool { return other.Key.ID == rec.Key.ID }))
			}
		}
		if err := listed(ctx, s, q, should...); err != nil {
			return fmt.Errorf("seed %d, query %d: %w", seed, step, err)
		}
	}
	return nil
}

// position returns where rec stands in listings of this order.
func position(order apikey.Order, rec apikey.Record) apikey.Cursor {
	if order == apikey.SoonestFirst {
		return apikey.Cursor{At: rec.Key.ExpiresAt, ID: rec.Key.ID}
	}
	return apikey.Cursor{At: rec.Key.CreatedAt, ID: rec.Key.ID}
}

func compare(order apikey.Order, a, b apikey.Cursor) int {
	if order == apikey.NewestFirst {
		a, b = b, a
	}
	return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.ID, b.ID))
}

func sorted(order apikey.Order, recs []apikey.Record) []apikey.Record {
	recs = slices.Clone(recs)
	slices.SortFunc(recs, func(a, b apikey.Record) int { return compare(order, position(order, a), position(order, b)) })
	return recs
}
