package sqlitestore

import (
	"bytes"
	"database/sql"
	"encoding"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

const (
	insertKey = `INSERT INTO keys (id, handle, digest_version, digest, imported_scheme, imported_encoded, label, name,
		environment, scopes, metadata, settings, networks, secret_at, expires_at, state, revoked_reason, start, last4,
		meter, predecessor, successor, intent, sealed, reminded_expiry, reminded_age, version,
		owner, created_at, last_used_at, epoch)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22,
		?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, coalesce(nullif(?31, 0), (SELECT epoch FROM owners WHERE id = ?28)))`

	// An owner, a creation and an epoch are for ever; last_used_at moves by
	// touchKey alone.
	updateKey = `UPDATE keys SET handle = ?2, digest_version = ?3, digest = ?4, imported_scheme = ?5,
		imported_encoded = ?6, label = ?7, name = ?8, environment = ?9, scopes = ?10, metadata = ?11, settings = ?12,
		networks = ?13, secret_at = ?14, expires_at = ?15, state = ?16, revoked_reason = ?17, start = ?18, last4 = ?19,
		meter = ?20, predecessor = ?21, successor = ?22, intent = ?23, sealed = ?24, reminded_expiry = ?25,
		reminded_age = ?26, version = ?27
		WHERE id = ?1 AND version = ?27 - 1`

	// A record with what was decided about its owner.
	keyColumns = `k.id, k.handle, k.digest_version, k.digest, k.imported_scheme, k.imported_encoded, k.label, k.name,
		k.environment, k.scopes, k.metadata, k.settings, k.networks, k.secret_at, k.expires_at, k.state,
		k.revoked_reason, k.start, k.last4, k.meter, k.predecessor, k.successor, k.intent, k.sealed,
		k.reminded_expiry, k.reminded_age, k.version, k.owner, k.created_at, k.last_used_at, k.epoch, ` + ownerColumns
	keyTables = ` FROM keys k CROSS JOIN owners o ON o.id = k.owner ` // the owner is looked up for each key, not the other way round
)

// keyRow returns the arguments of updateKey, in an order that insertKey goes on
// from.
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
	var intent, sealed any
	if rec.Intent != [32]byte{} {
		intent = rec.Intent[:]
	}
	if rec.Sealed != nil {
		sealed = rec.Sealed
	}
	return append(make([]any, 0, 31), // room for insertKey's
		k.ID, rec.Handle, int64(rec.Digest.Version), rec.Digest.Sum[:], rec.Imported.Scheme, rec.Imported.Encoded,
		rec.Label, k.Name, k.Environment, texts[0], texts[1], texts[2], texts[3], micros(k.SecretAt),
		nullable(k.ExpiresAt), texts[4], k.RevokedReason, k.Start, k.Last4, k.Meter, k.Predecessor, k.Successor,
		intent, sealed, rec.Reminded.Expiry.Microseconds(), rec.Reminded.Age.Microseconds(), k.Version,
	), nil
}

// A keyScan holds the columns that a record has in another form.
type keyScan struct {
	digest, intent, sealed                      []byte
	scopes, metadata, settings, networks, state string
	created, secret                             int64
	expires, used                               sql.NullInt64
	remindedExpiry, remindedAge                 int64
	owner                                       ownerScan
}

// into returns where to scan keyColumns to.
func (row *keyScan) into(rec *apikey.Record) []any {
	k := &rec.Key
	return append([]any{
		&k.ID, &rec.Handle, &rec.Digest.Version, &row.digest, &rec.Imported.Scheme, &rec.Imported.Encoded, &rec.Label, &k.Name,
		&k.Environment, &row.scopes, &row.metadata, &row.settings, &row.networks, &row.secret, &row.expires, &row.state,
		&k.RevokedReason, &k.Start, &k.Last4, &k.Meter, &k.Predecessor, &k.Successor, &row.intent, &row.sealed,
		&row.remindedExpiry, &row.remindedAge, &k.Version, &k.Owner, &row.created, &row.used, &rec.Epoch,
	}, row.owner.into(&rec.Owner)...)
}

// finish completes rec from what was scanned.
func (row *keyScan) finish(rec *apikey.Record) error {
	k := &rec.Key
	copy(rec.Digest.Sum[:], row.digest)
	copy(rec.Intent[:], row.intent)
	rec.Sealed = bytes.Clone(row.sealed)
	rec.Reminded.Expiry = time.Duration(row.remindedExpiry) * time.Microsecond
	rec.Reminded.Age = time.Duration(row.remindedAge) * time.Microsecond
	k.CreatedAt, k.SecretAt = instant(row.created), instant(row.secret)
	k.ExpiresAt, k.LastUsedAt = optional(row.expires), optional(row.used)
	row.owner.finish(&rec.Owner)
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
