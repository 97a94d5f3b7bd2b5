package apikeytest

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// later returns the instant after at.
func later(at time.Time) time.Time {
	if at.IsZero() {
		return at
	}
	return at.Add(time.Microsecond)
}

func listFaults() []fault {
	told := 0
	return []fault{
		{"pages by time alone", caught("pages never repeat or skip a record, also where times are equal"), broken{
			list: func(m *apikey.MemoryStore, ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
				if !q.After.IsZero() {
					q.After.ID = ""
				}
				return m.List(ctx, q)
			},
		}},
		{"lists oldest first", caught("a listing is newest first"), broken{
			list: func(m *apikey.MemoryStore, ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
				list, err := m.List(ctx, q)
				slices.Reverse(list)
				return list, err
			},
		}},
		{"filters after the limit", caught("the conditions of a query hold together"), broken{
			list: func(m *apikey.MemoryStore, ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
				wide := q
				wide.Owner, wide.Environment, wide.States = "", "", allStates
				list, err := m.List(ctx, wide)
				return slices.DeleteFunc(list, func(rec apikey.Record) bool { return !q.Selects(&rec) }), err
			},
		}},
		{"takes expiry as the last instant", caught("a query with LiveAt"), broken{
			list: func(m *apikey.MemoryStore, ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
				if !q.LiveAt.IsZero() {
					q.LiveAt = q.LiveAt.Add(-time.Microsecond)
				}
				return m.List(ctx, q)
			},
		}},
		{"ignores the limit", caught("a listing is newest first"), broken{
			list: func(m *apikey.MemoryStore, ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
				q.Limit = 1000
				return m.List(ctx, q)
			},
		}},
		{"matches owners as patterns", caught("a query selects by owner, byte by byte"), broken{
			list: func(m *apikey.MemoryStore, ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
				if q.Owner == "t%" {
					q.Owner = ""
				}
				return m.List(ctx, q)
			},
		}},
		{"does not find keys of nobody", caught("a listing of nothing is empty"), broken{
			list: func(m *apikey.MemoryStore, ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
				list, err := m.List(ctx, q)
				if err == nil && len(list) == 0 {
					return nil, apikey.ErrNotFound
				}
				return list, err
			},
		}},
		{"lists half a record", caught("a listing returns whole records"), broken{
			list: func(m *apikey.MemoryStore, ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
				list, err := m.List(ctx, q)
				for i := range list {
					list[i].Sealed = nil
				}
				return list, err
			},
		}},
		{"folds the case of environments", caught("a query selects by environment"), broken{
			list: listedBy(func(q *apikey.Query, rec apikey.Record) bool {
				return strings.EqualFold(rec.Key.Environment, q.Environment) || q.Environment == ""
			}),
		}},
		{"takes one state", caught("a query selects by state"), broken{query: func(q *apikey.Query) { q.States = q.States[:1] }}},
		{"pages by counting", caught("pages never repeat or skip a record while", "pages SoonestFirst never repeat or skip a record while"), broken{
			list: func(m *apikey.MemoryStore, ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
				whole := q
				whole.After, whole.Limit = apikey.Cursor{}, 1000
				list, err := m.List(ctx, whole)
				if q.After.IsZero() {
					told = 0
				}
				list = list[min(told, len(list)):]
				list = list[:min(q.Limit, len(list))]
				told += len(list)
				return list, err
			},
		}},
		{"pages by expiry alone", caught("pages SoonestFirst never repeat or skip a record, also"), broken{
			query: func(q *apikey.Query) {
				if q.Order == apikey.SoonestFirst && q.After.ID != "" {
					q.After.ID = "~"
				}
			},
		}},
		{"pages from a record alone", caught("a page follows a position", "a page SoonestFirst follows"), broken{
			list: func(m *apikey.MemoryStore, ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
				if _, err := m.ByID(ctx, q.After.ID); !q.After.IsZero() && errors.Is(err, apikey.ErrNotFound) {
					return nil, nil
				}
				return m.List(ctx, q)
			},
		}},
		{"asks for AnyOwner", caught("to a store an empty owner is every owner"), broken{
			list: listedBy(func(q *apikey.Query, rec apikey.Record) bool {
				return q.AnyOwner || rec.Key.Owner == q.Owner
			}),
		}},
		{"takes never for an early end", caught("a query with ExpiresBefore"), broken{
			list: listedBy(func(q *apikey.Query, rec apikey.Record) bool {
				return rec.Key.ExpiresAt.IsZero() || q.Selects(&rec)
			}),
		}},
		{"includes the instant of ExpiresBefore", caught("a query with ExpiresBefore"), broken{
			query: func(q *apikey.Query) { q.ExpiresBefore = later(q.ExpiresBefore) },
		}},
		{"takes a new key for an unused one", caught("a query with UnusedSince"), broken{
			list: listedBy(func(q *apikey.Query, rec apikey.Record) bool {
				return q.Selects(&rec) || rec.Key.LastUsedAt.IsZero()
			}),
		}},
		{"takes a key never used for no unused one", caught("a query with UnusedSince"), broken{
			list: listedBy(func(q *apikey.Query, rec apikey.Record) bool {
				return q.Selects(&rec) && (q.UnusedSince.IsZero() || !rec.Key.LastUsedAt.IsZero())
			}),
		}},
		{"includes the instant of UnusedSince", caught("a query with UnusedSince"), broken{
			query: func(q *apikey.Query) { q.UnusedSince = later(q.UnusedSince) },
		}},
		{"includes the instant of SecretBefore", caught("a query with SecretBefore"), broken{
			query: func(q *apikey.Query) { q.SecretBefore = later(q.SecretBefore) },
		}},
		{"shows what was replaced", caught("a query with Unreplaced"), broken{query: func(q *apikey.Query) { q.Unreplaced = false }}},
		{"knows one order", caught("a listing SoonestFirst is by expiry"), broken{query: func(q *apikey.Query) { q.Order = apikey.NewestFirst }}},
		{"lists what never expires last", caught("a listing SoonestFirst is by expiry"), broken{
			list: func(m *apikey.MemoryStore, ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
				list, err := m.List(ctx, q)
				if q.Order == apikey.SoonestFirst {
					q.Order = apikey.NewestFirst
					rest, _ := m.List(ctx, q)
					list = append(list, slices.DeleteFunc(rest, func(rec apikey.Record) bool { return !rec.Key.ExpiresAt.IsZero() })...)
				}
				return list, err
			},
		}},
		{"sorts IDs as a dictionary does", caught("where instants are equal"), broken{
			list: func(m *apikey.MemoryStore, ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
				list, err := m.List(ctx, q)
				slices.SortStableFunc(list, func(a, b apikey.Record) int {
					return strings.Compare(strings.ToLower(b.Key.ID), strings.ToLower(a.Key.ID))
				})
				return list, err
			},
		}},
	}
}
