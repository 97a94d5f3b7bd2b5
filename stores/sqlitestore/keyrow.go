package sqlitestore

import (
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

	// A record with what was decided about its owner, packed in one text, because
	// the driver spends more on naming and describing a column than on reading it:
	// numbers, the lengths of the texts, blobs, each with a space behind it and
	// empty when null, and then the texts.
	keyColumns = `concat(
		k.digest_version, ' ', k.secret_at, ' ', k.expires_at, ' ', k.reminded_expiry, ' ', k.reminded_age, ' ',
		k.version, ' ', k.created_at, ' ', k.last_used_at, ' ', k.epoch, ' ',
		o.epoch, ' ', o.suspended, ' ', o.changed_at, ' ', o.version, ' ', o.events, ' ',
		octet_length(k.id), ' ', octet_length(k.handle), ' ', octet_length(k.imported_scheme), ' ',
		octet_length(k.imported_encoded), ' ', octet_length(k.label), ' ', octet_length(k.name), ' ',
		octet_length(k.environment), ' ', octet_length(k.scopes), ' ', octet_length(k.metadata), ' ',
		octet_length(k.settings), ' ', octet_length(k.networks), ' ', octet_length(k.state), ' ',
		octet_length(k.revoked_reason), ' ', octet_length(k.start), ' ', octet_length(k.last4), ' ',
		octet_length(k.meter), ' ', octet_length(k.predecessor), ' ', octet_length(k.successor), ' ',
		octet_length(k.owner), ' ', octet_length(o.revoked_reason), ' ', octet_length(o.suspended_reason), ' ',
		hex(k.digest), ' ', hex(k.intent), ' ', hex(k.sealed), ' ', hex(o.head), ' ',
		k.id, k.handle, k.imported_scheme, k.imported_encoded, k.label, k.name, k.environment, k.scopes, k.metadata,
		k.settings, k.networks, k.state, k.revoked_reason, k.start, k.last4, k.meter, k.predecessor, k.successor,
		k.owner, o.revoked_reason, o.suspended_reason) AS record`
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
	if len(rec.Sealed) > 0 {
		sealed = rec.Sealed
	}
	return append(make([]any, 0, 31), // room for insertKey's
		k.ID, rec.Handle, int64(rec.Digest.Version), rec.Digest.Sum[:], rec.Imported.Scheme, rec.Imported.Encoded,
		rec.Label, k.Name, k.Environment, texts[0], texts[1], texts[2], texts[3], micros(k.SecretAt),
		nullable(k.ExpiresAt), texts[4], k.RevokedReason, k.Start, k.Last4, k.Meter, k.Predecessor, k.Successor,
		intent, sealed, rec.Reminded.Expiry.Microseconds(), rec.Reminded.Age.Microseconds(), k.Version,
	), nil
}

// readRecord takes keyColumns apart. The texts of the record share its memory.
func readRecord(text string) (apikey.Record, error) {
	var rec apikey.Record
	k, o, p := &rec.Key, &rec.Owner, packed{rest: text}
	rec.Digest.Version = uint32(p.number())
	k.SecretAt, k.ExpiresAt = p.instant(), p.instant()
	rec.Reminded.Expiry = time.Duration(p.number()) * time.Microsecond
	rec.Reminded.Age = time.Duration(p.number()) * time.Microsecond
	k.Version, k.CreatedAt, k.LastUsedAt, rec.Epoch = p.number(), p.instant(), p.instant(), p.number()
	o.Epoch, o.Suspended, o.ChangedAt, o.Version, o.Events = p.number(), p.number() == 1, p.instant(), p.number(), p.number()
	var scopes, metadata, settings, networks, state string
	texts := [...]*string{
		&k.ID, &rec.Handle, &rec.Imported.Scheme, &rec.Imported.Encoded, &rec.Label, &k.Name, &k.Environment, &scopes, &metadata,
		&settings, &networks, &state, &k.RevokedReason, &k.Start, &k.Last4, &k.Meter, &k.Predecessor, &k.Successor,
		&k.Owner, &o.RevokedReason, &o.SuspendedReason,
	}
	var lengths [len(texts)]int64
	for i := range lengths {
		lengths[i] = p.number()
	}
	p.bytes(rec.Digest.Sum[:])
	p.bytes(rec.Intent[:])
	rec.Sealed = p.blob()
	p.bytes(o.Head[:])
	for i, text := range texts {
		*text = p.text(lengths[i])
	}
	o.ID = k.Owner
	if p.err != nil || p.rest != "" {
		return rec, &errors.Error{Code: errors.Corrupt, Msg: "a stored API key cannot be read", Err: p.err}
	}
	for _, column := range []struct {
		name, text string
		into       encoding.TextUnmarshaler
	}{
		{"scopes", scopes, &k.Scopes},
		{"metadata", metadata, &k.Metadata},
		{"settings", settings, &k.Settings},
		{"networks", networks, &k.Networks},
		{"state", state, &k.State},
	} {
		if err := column.into.UnmarshalText([]byte(column.text)); err != nil {
			return rec, &errors.Error{Code: errors.Corrupt, Msg: "a stored API key cannot be read", Err: &errors.Error{Op: "column " + column.name, Err: err}}
		}
	}
	return rec, nil
}
