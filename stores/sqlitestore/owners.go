package sqlitestore

import (
	"context"
	"database/sql"

	"github.com/keytoll/keytoll/apikey"
)

const (
	ownerColumns = `o.id, o.epoch, o.revoked_reason, o.suspended, o.suspended_reason, o.changed_at, o.version, o.events, o.head`

	ownerByID = `SELECT ` + ownerColumns + ` FROM owners o WHERE o.id = ?1`

	// An owner of whom nothing is known gets a row that says so.
	meetOwner = `INSERT INTO owners (id) VALUES (?1) ON CONFLICT (id) DO NOTHING`

	decideOwner = `UPDATE owners SET epoch = ?2, revoked_reason = ?3, suspended = ?4, suspended_reason = ?5,
		changed_at = ?6, version = ?7
		WHERE id = ?1 AND version = ?7 - 1`
)

// Owner implements [apikey.Store].
func (k keys) Owner(ctx context.Context, id string) (apikey.Owner, error) {
	var owner apikey.Owner
	err := k.db.read(ctx, func(s *session) error {
		var row ownerScan
		if err := s.row(context.WithoutCancel(ctx), ownerByID, []any{id}, row.into(&owner)...); err != nil {
			return err
		}
		row.finish(&owner)
		return nil
	})
	switch {
	case err == nil:
		return owner, nil
	case isNoRows(err):
		return apikey.Owner{ID: id, Epoch: 1}, nil
	}
	return apikey.Owner{}, err
}

// meet makes sure that every owner of c has a row.
func (keys) meet(ctx context.Context, s *session, c *apikey.Change) error {
	known := make(map[string]bool)
	row := func(id string) error {
		if known[id] {
			return nil
		}
		known[id] = true
		return s.exec(ctx, meetOwner, id)
	}
	if c.Owner != nil {
		if err := row(c.Owner.ID); err != nil {
			return err
		}
	}
	for i := range c.Insert {
		if err := row(c.Insert[i].Key.Owner); err != nil {
			return err
		}
	}
	for i := range c.Events {
		if err := row(c.Events[i].Owner); err != nil {
			return err
		}
	}
	return nil
}

// decide replaces what was decided about an owner if it is of the version before.
func (keys) decide(ctx context.Context, s *session, o *apikey.Owner) error {
	if o == nil {
		return nil
	}
	n, err := s.change(ctx, decideOwner, o.ID, o.Epoch, o.RevokedReason, o.Suspended, o.SuspendedReason, nullable(o.ChangedAt), o.Version)
	if err == nil && n == 0 {
		err = apikey.ErrConflict
	}
	return err
}

// An ownerScan holds the columns that an owner has in another form.
type ownerScan struct {
	changed sql.NullInt64
	head    []byte
}

// into returns where to scan ownerColumns to.
func (row *ownerScan) into(o *apikey.Owner) []any {
	return []any{&o.ID, &o.Epoch, &o.RevokedReason, &o.Suspended, &o.SuspendedReason, &row.changed, &o.Version, &o.Events, &row.head}
}

// finish completes o from what was scanned.
func (row *ownerScan) finish(o *apikey.Owner) {
	o.ChangedAt = optional(row.changed)
	copy(o.Head[:], row.head)
}
