package sqlitestore

import (
	"context"
	"database/sql"
	"encoding"
	"math"
	"slices"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// keys implements [apikey.Store].
type keys struct{ db *DB }

var _ apikey.Store = keys{}

// Keys returns the file's store of API keys. It works as long as db is open.
func (db *DB) Keys() apikey.Store { return keys{db} }

const (
	keyColumns = `id, handle, digest_version, digest, owner, name, environment, scopes, metadata, settings,
		networks, created_at, expires_at, last_used_at, state, revoked_reason, start, last4, meter,
		predecessor, successor, version`

	insertKey = `INSERT INTO keys (` + keyColumns + `)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22)`

	// last_used_at, ?14, moves by touchKey alone.
	updateKey = `UPDATE keys SET handle = ?2, digest_version = ?3, digest = ?4, owner = ?5, name = ?6,
		environment = ?7, scopes = ?8, metadata = ?9, settings = ?10, networks = ?11, created_at = ?12,
		expires_at = ?13, state = ?15, revoked_reason = ?16, start = ?17, last4 = ?18, meter = ?19,
		predecessor = ?20, successor = ?21, version = ?22
		WHERE id = ?1 AND version = ?22 - 1`

	countKey = `SELECT count(*) FROM keys WHERE id = ?1`

	touchKey = `UPDATE keys SET last_used_at = ?2
		WHERE id = ?1 AND (last_used_at IS NULL OR last_used_at < ?2)`

	keyByHandle = `SELECT ` + keyColumns + ` FROM keys WHERE handle = ?1`
	keyByID     = `SELECT ` + keyColumns + ` FROM keys WHERE id = ?1`

	// The position ?1, ?2 is exclusive. ?3 to ?6 are states, ?7 the environment
	// and ?8 the instant of LiveAt; ?9 is the limit and ?10 the owner.
	listKeys = `SELECT ` + keyColumns + ` FROM keys
		WHERE (created_at, id) < (?1, ?2)` + keyFilter + `
		ORDER BY created_at DESC, id DESC LIMIT ?9`
	listKeysOfOwner = `SELECT ` + keyColumns + ` FROM keys
		WHERE owner = ?10 AND (created_at, id) < (?1, ?2)` + keyFilter + `
		ORDER BY created_at DESC, id DESC LIMIT ?9`
	keyFilter = ` AND state IN (?3, ?4, ?5, ?6) AND (?7 = '' OR environment = ?7)
		AND (?8 IS NULL OR expires_at IS NULL OR expires_at > ?8)`
)

// Apply implements [apikey.Store].
func (k keys) Apply(ctx context.Context, c apikey.Change) error {
	if len(c.Insert)+len(c.Update) == 0 {
		return ctx.Err()
	}
	return k.db.write(ctx, func(s *session) error {
		ctx := context.WithoutCancel(ctx)
		for i := range c.Insert {
			row, err := keyRow(&c.Insert[i])
			if err == nil {
				err = s.exec(ctx, insertKey, row...)
			}
			if err != nil {
				return exists(err)
			}
		}
		for i := range c.Update {
			if err := k.update(ctx, s, &c.Update[i]); err != nil {
				return exists(err)
			}
		}
		return nil
	})
}

// update replaces one record if it is of the version before.
func (keys) update(ctx context.Context, s *session, rec *apikey.Record) error {
	row, err := keyRow(rec)
	if err != nil {
		return err
	}
	n, err := s.change(ctx, updateKey, row...)
	if err != nil || n == 1 {
		return err
	}
	if err := s.row(ctx, countKey, []any{rec.Key.ID}, &n); err != nil {
		return err
	}
	if n == 0 {
		return apikey.ErrNotFound
	}
	return apikey.ErrConflict
}

// exists turns a broken UNIQUE constraint into the contract's answer.
func exists(err error) error {
	if isTaken(err) {
		return apikey.ErrExists
	}
	return err
}

// ByHandle implements [apikey.Store].
func (k keys) ByHandle(ctx context.Context, handle string) (apikey.Record, error) {
	return k.one(ctx, keyByHandle, handle)
}

// ByID implements [apikey.Store].
func (k keys) ByID(ctx context.Context, id string) (apikey.Record, error) {
	return k.one(ctx, keyByID, id)
}

func (k keys) one(ctx context.Context, query, name string) (apikey.Record, error) {
	var rec apikey.Record
	err := k.db.read(ctx, func(s *session) error {
		ctx := context.WithoutCancel(ctx) // one row by an index: over before anybody could stop it
		var row keyScan
		if err := s.row(ctx, query, []any{name}, row.into(&rec)...); err != nil {
			return err
		}
		return row.finish(&rec)
	})
	switch {
	case err == nil:
		return rec, nil
	case isNoRows(err):
		err = apikey.ErrNotFound
	}
	return apikey.Record{}, err
}

// List implements [apikey.Store].
func (k keys) List(ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
	query, args := listQuery(&q)
	var list []apikey.Record
	err := k.db.read(ctx, func(s *session) error {
		return s.rows(ctx, query, args, func(rows *sql.Rows) error {
			var rec apikey.Record
			var row keyScan
			if err := rows.Scan(row.into(&rec)...); err != nil {
				return fault(ctx, err)
			}
			if err := row.finish(&rec); err != nil {
				return err
			}
			list = append(list, rec)
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// listQuery returns the statement for q, and its arguments.
func listQuery(q *apikey.Query) (string, []any) {
	at, id := int64(math.MaxInt64), ""
	if !q.After.IsZero() {
		at, id = micros(q.After.CreatedAt), q.After.ID
		if q.After.CreatedAt.Nanosecond()%1000 != 0 {
			at, id = at+1, "" // between two microseconds: everything of the first comes after it
		}
	}
	var states [4]any
	for i, s := range []apikey.State{apikey.StateActive, apikey.StateDisabled, apikey.StateRevoked, apikey.StateDeleted} {
		if states[i] = ""; slices.Contains(q.States, s) {
			states[i] = s.String()
		}
	}
	args := []any{at, id, states[0], states[1], states[2], states[3], q.Environment, nullable(q.LiveAt), q.Limit}
	if q.Owner == "" {
		return listKeys, args
	}
	return listKeysOfOwner, append(args, q.Owner)
}

// Touch implements [apikey.Store].
func (k keys) Touch(ctx context.Context, uses []apikey.Use) error {
	if len(uses) == 0 {
		return ctx.Err()
	}
	return k.db.write(ctx, func(s *session) error {
		ctx := context.WithoutCancel(ctx)
		for _, use := range uses {
			if use.At.IsZero() {
				continue // never is not after anything
			}
			if err := s.exec(ctx, touchKey, use.ID, micros(use.At)); err != nil {
				return err
			}
		}
		return nil
	})
}

// keyRow returns the values of keyColumns.
func keyRow(rec *apikey.Record) ([]any, error) {
	k := &rec.Key
	var texts [5]string
	for i, v := range []encoding.TextMarshaler{k.Scopes, k.Metadata, k.Settings, k.Networks, k.State} {
		text, err := v.MarshalText()
		if err != nil {
			return nil, err
		}
		texts[i] = string(text)
	}
	return []any{
		k.ID, rec.Handle, int64(rec.Digest.Version), rec.Digest.Sum[:], k.Owner, k.Name, k.Environment,
		texts[0], texts[1], texts[2], texts[3], micros(k.CreatedAt), nullable(k.ExpiresAt), nullable(k.LastUsedAt),
		texts[4], k.RevokedReason, k.Start, k.Last4, k.Meter, k.Predecessor, k.Successor, k.Version,
	}, nil
}

// A keyScan holds the columns that a record has in another form.
type keyScan struct {
	digest                                      []byte
	scopes, metadata, settings, networks, state string
	created                                     int64
	expires, used                               sql.NullInt64
}

// into returns where to scan keyColumns to.
func (row *keyScan) into(rec *apikey.Record) []any {
	k := &rec.Key
	return []any{
		&k.ID, &rec.Handle, &rec.Digest.Version, &row.digest, &k.Owner, &k.Name, &k.Environment,
		&row.scopes, &row.metadata, &row.settings, &row.networks, &row.created, &row.expires, &row.used,
		&row.state, &k.RevokedReason, &k.Start, &k.Last4, &k.Meter, &k.Predecessor, &k.Successor, &k.Version,
	}
}

// finish completes rec from what was scanned.
func (row *keyScan) finish(rec *apikey.Record) error {
	k := &rec.Key
	copy(rec.Digest.Sum[:], row.digest)
	k.CreatedAt, k.ExpiresAt, k.LastUsedAt = instant(row.created), optional(row.expires), optional(row.used)
	for _, column := range []struct {
		name, text string
		into       encoding.TextUnmarshaler
	}{
		{"scopes", row.scopes, &k.Scopes},
		{"metadata", row.metadata, &k.Metadata},
		{"settings", row.settings, &k.Settings},
		{"networks", row.networks, &k.Networks},
		{"state", row.state, &k.State},
	} {
		if err := column.into.UnmarshalText([]byte(column.text)); err != nil {
			return &errors.Error{Code: errors.Corrupt, Msg: "a stored API key cannot be read", Err: &errors.Error{Op: "column " + column.name, Err: err}}
		}
	}
	return nil
}
