package sqlitestore

import (
	"context"
	"database/sql"
	"slices"

	"github.com/keytoll/keytoll/apikey"
)

// keys implements [apikey.Store].
type keys struct{ db *DB }

var _ apikey.Store = keys{}

// Keys returns the file's store of API keys. It works as long as db is open.
func (db *DB) Keys() apikey.Store { return keys{db} }

const (
	keyByHandle = `SELECT ` + keyColumns + keyTables + `WHERE k.handle = ?1`
	keyByID     = `SELECT ` + keyColumns + keyTables + `WHERE k.id = ?1`

	hasKey    = `SELECT count(*) FROM keys WHERE id = ?1`
	hasHandle = `SELECT count(*) FROM keys WHERE handle = ?1 AND id <> ?2`
	dropLabel = `UPDATE keys SET label = '' WHERE id = ?1 AND label <> ''`

	// What a Cap counts of owner ?1: keys of this epoch by their state, one of ?3
	// to ?6, and those of earlier ones, which are revoked, one of ?7 to ?10.
	countKeys = `SELECT
		(SELECT count(*) FROM keys WHERE owner = ?1 AND state IN (?3, ?4, ?5, ?6) AND successor = ''
			AND epoch >= (SELECT epoch FROM owners WHERE id = ?1) AND (?2 IS NULL OR expires_at IS NULL OR expires_at > ?2)) +
		(SELECT count(*) FROM keys WHERE owner = ?1 AND state IN (?7, ?8, ?9, ?10) AND successor = ''
			AND epoch < (SELECT epoch FROM owners WHERE id = ?1) AND (?2 IS NULL OR expires_at IS NULL OR expires_at > ?2))`

	census = `SELECT digest_version, imported_scheme, count(*) FROM keys WHERE state <> 'deleted'
		GROUP BY digest_version, imported_scheme`

	touchKey = `UPDATE keys SET last_used_at = ?2
		WHERE id = ?1 AND (last_used_at IS NULL OR last_used_at < ?2)`

	restampKey = `UPDATE keys SET digest_version = ?2, digest = ?3, imported_scheme = '', imported_encoded = '',
		version = version + 1
		WHERE id = ?1 AND digest_version = ?4 AND digest = ?5 AND imported_scheme = ?6 AND imported_encoded = ?7
		AND state <> 'deleted'`
)

// Apply implements [apikey.Store].
func (k keys) Apply(ctx context.Context, c apikey.Change) error {
	if len(c.Insert)+len(c.Update)+len(c.Events) == 0 && c.Owner == nil && c.Cap == nil {
		return ctx.Err()
	}
	return k.db.write(ctx, func(s *session) error {
		ctx := context.WithoutCancel(ctx)
		if err := k.meet(ctx, s, &c); err != nil {
			return err
		}
		if err := k.decide(ctx, s, c.Owner); err != nil { // before an insert asks for the epoch
			return err
		}
		if err := k.update(ctx, s, c.Update); err != nil {
			return err
		}
		if err := k.insert(ctx, s, c.Insert); err != nil {
			return err
		}
		if err := k.fits(ctx, s, c.Cap); err != nil {
			return err
		}
		return k.append(ctx, s, c.Events)
	})
}

// update replaces records that are of the version before.
func (k keys) update(ctx context.Context, s *session, recs []apikey.Record) error {
	if len(recs) > 1 { // they may swap their labels
		for i := range recs {
			if err := s.exec(ctx, dropLabel, recs[i].Key.ID); err != nil {
				return err
			}
		}
	}
	for i := range recs {
		rec := &recs[i]
		row, err := keyRow(rec)
		if err != nil {
			return err
		}
		n, err := s.change(ctx, updateKey, row...)
		if err != nil {
			return k.clash(ctx, s, rec, err)
		}
		if n == 1 {
			continue
		}
		if err := s.row(ctx, hasKey, []any{rec.Key.ID}, &n); err != nil {
			return err
		}
		if n == 0 {
			return apikey.ErrNotFound
		}
		return apikey.ErrConflict
	}
	return nil
}

// insert adds records.
func (k keys) insert(ctx context.Context, s *session, recs []apikey.Record) error {
	for i := range recs {
		rec := &recs[i]
		row, err := keyRow(rec)
		if err != nil {
			return err
		}
		row = append(row, rec.Key.Owner, micros(rec.Key.CreatedAt), nullable(rec.Key.LastUsedAt), rec.Epoch)
		err = s.exec(ctx, insertKey, row...)
		if isTaken(err) {
			var n int
			if err := s.row(ctx, hasKey, []any{rec.Key.ID}, &n); err != nil {
				return err
			}
			if n > 0 {
				return apikey.ErrExists
			}
		}
		if err != nil {
			return k.clash(ctx, s, rec, err)
		}
	}
	return nil
}

// clash turns a broken UNIQUE constraint into the contract's answer: if it is not
// the handle, it is the label.
func (keys) clash(ctx context.Context, s *session, rec *apikey.Record, err error) error {
	if !isTaken(err) {
		return err
	}
	var n int
	if err := s.row(ctx, hasHandle, []any{rec.Handle, rec.Key.ID}, &n); err != nil {
		return err
	}
	if n > 0 {
		return apikey.ErrExists
	}
	return apikey.ErrNameTaken
}

// fits returns nil if no more records count than c allows.
func (keys) fits(ctx context.Context, s *session, c *apikey.Cap) error {
	if c == nil {
		return nil
	}
	var past []apikey.State // states in which keys of an earlier epoch count
	if slices.Contains(c.States, apikey.StateRevoked) {
		past = []apikey.State{apikey.StateActive, apikey.StateDisabled, apikey.StateRevoked}
	}
	if slices.Contains(c.States, apikey.StateDeleted) {
		past = append(past, apikey.StateDeleted)
	}
	args := appendStates([]any{c.Owner, nullable(c.LiveAt)}, c.States)
	var n int
	if err := s.row(ctx, countKeys, appendStates(args, past), &n); err != nil {
		return err
	}
	if n > c.Most {
		return apikey.ErrKeyLimit
	}
	return nil
}

// appendStates appends four arguments: the names of the states that are among
// those given, and of no state in the place of the others.
func appendStates(args []any, among []apikey.State) []any {
	for _, s := range []apikey.State{apikey.StateActive, apikey.StateDisabled, apikey.StateRevoked, apikey.StateDeleted} {
		name := ""
		if slices.Contains(among, s) {
			name = s.String()
		}
		args = append(args, name)
	}
	return args
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
		var text string
		err := s.row(ctx, query, []any{name}, &text)
		if err == nil {
			rec, err = readRecord(text)
		}
		return err
	})
	switch {
	case err == nil:
		return rec, nil
	case isNoRows(err):
		err = apikey.ErrNotFound
	}
	return apikey.Record{}, err
}

// Census implements [apikey.Store].
func (k keys) Census(ctx context.Context) ([]apikey.Count, error) {
	var counts []apikey.Count
	err := k.db.read(ctx, func(s *session) error {
		return s.rows(ctx, census, nil, func(rows *sql.Rows) error {
			var c apikey.Count
			if err := rows.Scan(&c.Version, &c.Scheme, &c.Keys); err != nil {
				return fault(ctx, err)
			}
			counts = append(counts, c)
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return counts, nil
}

// Touch implements [apikey.Store].
func (k keys) Touch(ctx context.Context, uses []apikey.Use) error {
	if len(uses) == 0 {
		return ctx.Err()
	}
	return k.db.write(ctx, func(s *session) error {
		ctx := context.WithoutCancel(ctx)
		for _, use := range uses {
			if !use.At.IsZero() { // never is not after anything
				if err := s.exec(ctx, touchKey, use.ID, micros(use.At)); err != nil {
					return err
				}
			}
			if r := use.Restamp; r != nil {
				err := s.exec(ctx, restampKey, use.ID, int64(r.Digest.Version), r.Digest.Sum[:],
					int64(r.Was.Version), r.Was.Sum[:], r.Imported.Scheme, r.Imported.Encoded)
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
}
