package pgstore

import (
	"cmp"
	"context"
	"slices"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/keytoll/keytoll/apikey"
)

// keys implements [apikey.Store].
type keys struct{ db *DB }

var _ apikey.Store = keys{}

// Keys returns the store of API keys. It works as long as db is open.
func (db *DB) Keys() apikey.Store { return keys{db} }

// ByHandle implements [apikey.Store].
func (k keys) ByHandle(ctx context.Context, handle string) (apikey.Record, error) {
	return k.one(ctx, k.db.sql.byHandle, handle)
}

// ByID implements [apikey.Store].
func (k keys) ByID(ctx context.Context, id string) (apikey.Record, error) {
	return k.one(ctx, k.db.sql.byID, id)
}

func (k keys) one(ctx context.Context, query, name string) (rec apikey.Record, err error) {
	if err := ctx.Err(); err != nil {
		return rec, err
	}
	if !storable(name) {
		return rec, apikey.ErrNotFound // and none need be asked
	}
	n, err := k.db.read(ctx, k.db.mode, query, func(_ int, columns [][]byte) (err error) {
		rec, err = record(columns)
		return err
	}, name)
	switch {
	case err != nil:
		return apikey.Record{}, err
	case n == 0:
		return apikey.Record{}, apikey.ErrNotFound
	}
	return rec, nil
}

// List implements [apikey.Store].
func (k keys) List(ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !storable(q.Owner) || !storable(q.Environment) || !storable(q.After.ID) {
		return nil, nil
	}
	query, args := k.db.sql.list(&q)
	var list []apikey.Record
	n, err := k.db.read(ctx, k.db.planned, query, func(row int, columns [][]byte) error {
		rec, err := record(columns)
		list = append(list[:row], rec)
		return err
	}, args...)
	if err != nil {
		return nil, err
	}
	return list[:n], nil
}

// Owner implements [apikey.Store].
func (k keys) Owner(ctx context.Context, id string) (apikey.Owner, error) {
	if err := ctx.Err(); err != nil {
		return apikey.Owner{}, err
	}
	if !storable(id) {
		return apikey.Owner{ID: id, Epoch: 1}, nil
	}
	var o apikey.Owner
	n, err := k.db.read(ctx, k.db.mode, k.db.sql.owner, func(_ int, columns [][]byte) error {
		var c [ownerColumns][]byte
		if err := split(columns[0], c[:]); err != nil {
			return err
		}
		o = apikey.Owner{RevokedReason: string(c[ownerRevokedReason]), SuspendedReason: string(c[ownerSuspendedReason])}
		decided(&o, id, &c)
		return nil
	}, id)
	switch {
	case err != nil:
		return apikey.Owner{}, err
	case n == 0:
		return apikey.Owner{ID: id, Epoch: 1}, nil
	}
	return o, nil
}

// Census implements [apikey.Store].
func (k keys) Census(ctx context.Context) ([]apikey.Count, error) {
	var counts []apikey.Count
	n, err := k.db.read(ctx, k.db.planned, k.db.sql.census, func(row int, c [][]byte) error {
		counts = append(counts[:row], apikey.Count{Version: uint32(number(c[0])), Scheme: string(c[1]), Keys: number(c[2])})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return counts[:n], nil
}

// Touch implements [apikey.Store], in one round trip and one transaction.
func (k keys) Touch(ctx context.Context, uses []apikey.Use) error {
	if len(uses) == 0 {
		return ctx.Err()
	}
	// All locks are taken in one order. Those of one key stay in theirs: a restamp
	// may rest on the one before.
	uses = slices.SortedStableFunc(slices.Values(uses), func(a, b apikey.Use) int { return cmp.Compare(a.ID, b.ID) })
	n := len(uses)
	ids, ats := make([]string, n), make([]pgtype.Timestamptz, n)
	wasVersions, wasDigests := make([]*int64, n), make([][]byte, n)
	wasSchemes, wasEncodeds := make([]*string, n), make([]*string, n)
	versions, digests := make([]*int64, n), make([][]byte, n)
	for i := range uses {
		ids[i], ats[i] = uses[i].ID, nullable(uses[i].At)
		if r := uses[i].Restamp; r != nil {
			wasVersions[i], wasDigests[i] = new(int64(r.Was.Version)), r.Was.Sum[:]
			wasSchemes[i], wasEncodeds[i] = &r.Imported.Scheme, &r.Imported.Encoded
			versions[i], digests[i] = new(int64(r.Digest.Version)), r.Digest.Sum[:]
		}
	}
	return k.db.write(ctx, k.db.sql.touch, ids, ats, wasVersions, wasDigests, wasSchemes, wasEncodeds, versions, digests)
}
