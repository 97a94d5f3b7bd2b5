package apikeytest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

var allStates = []apikey.State{apikey.StateActive, apikey.StateDisabled, apikey.StateRevoked, apikey.StateDeleted}

func everything(limit int) apikey.Query { return apikey.Query{States: allStates, Limit: limit} }

var listChecks = []check{
	{"a listing is newest first, and by ID where times are equal", func(ctx context.Context, s apikey.Store) error {
		for _, n := range []int{5, 1, 9, 3, 7, 2} {
			rec := record(n)
			if n > 4 {
				rec.Key.CreatedAt = record(4).Key.CreatedAt
			}
			if err := insert(ctx, s, rec); err != nil {
				return err
			}
		}
		return errors.Join(
			listed(ctx, s, everything(10), 9, 7, 5, 3, 2, 1),
			listed(ctx, s, everything(2), 9, 7),
		)
	}},
	{"a listing of nothing is empty", func(ctx context.Context, s apikey.Store) error {
		nobody := everything(10)
		nobody.Owner = "nobody"
		before := errors.Join(listed(ctx, s, everything(10)), listed(ctx, s, nobody))
		return errors.Join(before, insert(ctx, s, record(1)), listed(ctx, s, nobody))
	}},
	{"a listing returns whole records", func(ctx context.Context, s apikey.Store) error {
		if err := insert(ctx, s, record(1)); err != nil {
			return err
		}
		list, err := s.List(ctx, everything(10))
		if err != nil || len(list) != 1 {
			return fmt.Errorf("List = %d records, %v; want 1", len(list), err)
		}
		return same(list[0], record(1))
	}},
	{"a query selects by owner, byte by byte", func(ctx context.Context, s apikey.Store) error {
		return oddFilter(ctx, s, func(k *apikey.Key, q *apikey.Query, text string) { k.Owner, q.Owner = text, text })
	}},
	{"a query selects by environment, byte by byte", func(ctx context.Context, s apikey.Store) error {
		return oddFilter(ctx, s, func(k *apikey.Key, q *apikey.Query, text string) { k.Environment, q.Environment = text, text })
	}},
	{"a query selects by state", func(ctx context.Context, s apikey.Store) error {
		for i, state := range allStates {
			rec := as(state, record(i+1))
			if err := insert(ctx, s, rec); err != nil {
				return err
			}
		}
		states := func(of ...apikey.State) apikey.Query { return apikey.Query{States: of, Limit: 10} }
		return errors.Join(
			listed(ctx, s, states(apikey.StateActive), 1),
			listed(ctx, s, states(apikey.StateDeleted, apikey.StateDisabled), 4, 2),
			listed(ctx, s, states(apikey.StateRevoked, apikey.StateRevoked), 3),
			listed(ctx, s, states(apikey.StateActive, apikey.StateDisabled, apikey.StateRevoked), 3, 2, 1),
		)
	}},
	{"a query with LiveAt leaves out what is expired at that instant", func(ctx context.Context, s apikey.Store) error {
		instant := begin.Add(time.Hour)
		for i, at := range []time.Time{{}, instant.Add(-time.Microsecond), instant, instant.Add(time.Microsecond)} {
			rec := record(i + 1)
			rec.Key.ExpiresAt = at
			if err := insert(ctx, s, rec); err != nil {
				return err
			}
		}
		q := everything(10)
		q.LiveAt = instant
		return errors.Join(listed(ctx, s, q, 4, 1), listed(ctx, s, everything(10), 4, 3, 2, 1))
	}},
	{"the conditions of a query hold together", func(ctx context.Context, s apikey.Store) error {
		var recs []apikey.Record
		for n := range 32 {
			rec := record(n)
			rec.Key.Owner, rec.Key.Environment, rec.Key.State, rec.Key.ExpiresAt = "a", "live", apikey.StateActive, time.Time{}
			if n&1 != 0 {
				rec.Key.Owner = "b"
			}
			if n&2 != 0 {
				rec.Key.Environment = "test"
			}
			if n&4 != 0 {
				rec.Key.State = apikey.StateDisabled
			}
			if n&8 != 0 {
				rec.Key.ExpiresAt = begin
			}
			recs = append(recs, rec)
		}
		if err := insert(ctx, s, recs...); err != nil {
			return err
		}
		q := apikey.Query{Owner: "a", Environment: "test", States: []apikey.State{apikey.StateDisabled}, LiveAt: begin, Limit: 3}
		all := listed(ctx, s, q, 22, 6)
		q.After = apikey.Cursor{At: record(22).Key.CreatedAt, ID: record(22).Key.ID}
		return errors.Join(all, listed(ctx, s, q, 6))
	}},
	{"pages never repeat or skip a record, also where times are equal", func(ctx context.Context, s apikey.Store) error {
		return paged(ctx, s, apikey.NewestFirst, func(int) error { return nil })
	}},
	{"pages never repeat or skip a record while others come and change", func(ctx context.Context, s apikey.Store) error {
		return paged(ctx, s, apikey.NewestFirst, others(ctx, s))
	}},
	{"pages SoonestFirst never repeat or skip a record, also where times are equal", func(ctx context.Context, s apikey.Store) error {
		return paged(ctx, s, apikey.SoonestFirst, func(int) error { return nil })
	}},
	{"pages SoonestFirst never repeat or skip a record while others come and change", func(ctx context.Context, s apikey.Store) error {
		return paged(ctx, s, apikey.SoonestFirst, others(ctx, s))
	}},
	{"a page follows a position where no record is", func(ctx context.Context, s apikey.Store) error {
		if err := insert(ctx, s, record(1), record(3)); err != nil {
			return err
		}
		q := everything(10)
		q.After = apikey.Cursor{At: record(2).Key.CreatedAt, ID: record(2).Key.ID}
		end, top := q, q
		end.After.At, top.After.At = begin.Add(-time.Hour), begin.Add(time.Hour)
		return errors.Join(listed(ctx, s, q, 1), listed(ctx, s, end), listed(ctx, s, top, 3, 1))
	}},
}

// listed returns nil if s lists exactly the records with these numbers.
func listed(ctx context.Context, s apikey.Store, q apikey.Query, numbers ...int) error {
	list, err := s.List(ctx, q)
	if err != nil {
		return fmt.Errorf("List(%+v): %w", q, err)
	}
	var got, want []string
	for _, rec := range list {
		got = append(got, rec.Key.ID)
	}
	for _, n := range numbers {
		want = append(want, record(n).Key.ID)
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("List(%+v) = %q, want %q", q, got, want)
	}
	return nil
}

// lists returns nil if s lists exactly these records.
func lists(ctx context.Context, s apikey.Store, q apikey.Query, recs ...apikey.Record) error {
	list, err := s.List(ctx, q)
	if err != nil {
		return fmt.Errorf("List(%+v): %w", q, err)
	}
	if len(list) != len(recs) {
		return fmt.Errorf("List(%+v) = %d records, want %d", q, len(list), len(recs))
	}
	for i := range recs {
		if err := same(list[i], recs[i]); err != nil {
			return fmt.Errorf("List(%+v), record %d: %w", q, i, err)
		}
	}
	return nil
}

// oddFilter gives each odd text to one record and asks for it alone.
func oddFilter(ctx context.Context, s apikey.Store, set func(*apikey.Key, *apikey.Query, string)) error {
	var ignored apikey.Query
	var recs []apikey.Record
	for i, text := range odd {
		rec := record(i)
		set(&rec.Key, &ignored, "t"+text)
		recs = append(recs, rec)
	}
	if err := insert(ctx, s, recs...); err != nil {
		return err
	}
	for i, text := range odd {
		q := everything(100)
		set(new(apikey.Key), &q, "t"+text)
		if err := listed(ctx, s, q, i); err != nil {
			return err
		}
	}
	return nil
}

// others has records come and change beside those that paged lists.
func others(ctx context.Context, s apikey.Store) func(page int) error {
	return func(page int) error {
		after, before := record(500+page), record(400+page)
		before.Key.CreatedAt, before.Key.ExpiresAt = begin.Add(-time.Hour), begin
		changed, err := s.ByID(ctx, record(1).Key.ID)
		if err != nil {
			return err
		}
		changed = next(changed)
		changed.Key.Name = fmt.Sprintf("changed %d", page)
		return errors.Join(insert(ctx, s, after, before), update(ctx, s, changed),
			s.Touch(ctx, []apikey.Use{{ID: record(2).Key.ID, At: begin.Add(time.Duration(page) * time.Hour)}}))
	}
}

// paged lists 30 records, three to an instant, in pages of 4, and calls between
// after each page.
func paged(ctx context.Context, s apikey.Store, order apikey.Order, between func(page int) error) error {
	var want []string
	var recs []apikey.Record
	for n := range 30 {
		rec := record(n)
		rec.Key.CreatedAt, rec.Key.ExpiresAt = record(n/3).Key.CreatedAt, record(n/3).Key.ExpiresAt
		recs, want = append(recs, rec), append(want, rec.Key.ID)
	}
	if err := insert(ctx, s, recs...); err != nil {
		return err
	}
	if order == apikey.NewestFirst {
		slices.Reverse(want)
	}
	q := everything(4)
	q.Order = order
	var got []string
	for page := 0; ; page++ {
		list, err := s.List(ctx, q)
		if err != nil {
			return err
		}
		for _, rec := range list {
			if slices.Contains(want, rec.Key.ID) {
				got = append(got, rec.Key.ID)
			}
			q.After = position(order, rec)
		}
		if len(list) < q.Limit {
			break
		}
		if page > 100 {
			return errors.New("paging does not end")
		}
		if page < 5 {
			if err := between(page); err != nil {
				return err
			}
		}
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("pages bring %q, want %q", got, want)
	}
	return nil
}
