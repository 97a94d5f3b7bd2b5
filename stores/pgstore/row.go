package pgstore

import (
	"encoding"
	"encoding/binary"
	"strings"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// Columns of the table keys, in its order. A row comes as one value, which costs
// the server and the driver less than forty.
const (
	keyID = iota
	keyHandle
	keyDigestVersion
	keyDigest
	keyImportedScheme
	keyImportedEncoded
	keyLabel
	keyEpoch
	keyIntent
	keySealed
	keyRemindedExpiry
	keyRemindedAge
	keyOwner
	keyName
	keyEnvironment
	keyScopes
	keyMetadata
	keySettings
	keyNetworks
	keyCreatedAt
	keySecretAt
	keyExpiresAt
	keyLastUsedAt
	keyState
	keyRevokedReason
	keyStart
	keyLast4
	keyMeter
	keyPredecessor
	keySuccessor
	keyVersion
	keyColumns // their number
)

// Columns of the table owners, in its order.
const (
	ownerID = iota
	ownerEpoch
	ownerRevokedReason
	ownerSuspended
	ownerSuspendedReason
	ownerChangedAt
	ownerVersion
	ownerEvents
	ownerHead
	ownerColumns // their number
)

// split takes a row in binary form apart into its columns, nil for null: the
// number of columns, and of each its type, its length and its value. A later
// version of the tables may have more columns at the end.
func split(row []byte, columns [][]byte) error {
	if len(row) < 4 || int(binary.BigEndian.Uint32(row)) < len(columns) {
		return errRow
	}
	row = row[4:]
	for i := range columns {
		if len(row) < 8 {
			return errRow
		}
		size := int(int32(binary.BigEndian.Uint32(row[4:])))
		row = row[8:]
		if size < 0 {
			columns[i] = nil
			continue
		}
		if len(row) < size {
			return errRow
		}
		columns[i], row = row[:size:size], row[size:]
	}
	return nil
}

var errRow error = &errors.Error{Code: errors.Corrupt, Msg: "a stored row is not one of this version's tables"}

// record returns the record in a row of keys and one of owners, which it shares
// nothing with.
func record(columns [][]byte) (apikey.Record, error) {
	var k [keyColumns][]byte
	var o [ownerColumns][]byte
	if len(columns) != 2 {
		return apikey.Record{}, errRow
	}
	if err := errors.Join(split(columns[0], k[:]), split(columns[1], o[:])); err != nil {
		return apikey.Record{}, err
	}
	var rec apikey.Record
	key := &rec.Key
	copyTexts(
		text{&key.ID, k[keyID]}, text{&rec.Handle, k[keyHandle]}, text{&rec.Imported.Scheme, k[keyImportedScheme]},
		text{&rec.Imported.Encoded, k[keyImportedEncoded]}, text{&rec.Label, k[keyLabel]}, text{&key.Owner, k[keyOwner]},
		text{&key.Name, k[keyName]}, text{&key.Environment, k[keyEnvironment]}, text{&key.RevokedReason, k[keyRevokedReason]},
		text{&key.Start, k[keyStart]}, text{&key.Last4, k[keyLast4]}, text{&key.Meter, k[keyMeter]},
		text{&key.Predecessor, k[keyPredecessor]}, text{&key.Successor, k[keySuccessor]},
		text{&rec.Owner.RevokedReason, o[ownerRevokedReason]}, text{&rec.Owner.SuspendedReason, o[ownerSuspendedReason]},
	)
	rec.Digest.Version = uint32(number(k[keyDigestVersion]))
	copy(rec.Digest.Sum[:], k[keyDigest])
	rec.Epoch = number(k[keyEpoch])
	copy(rec.Intent[:], k[keyIntent])
	if sealed := k[keySealed]; sealed != nil {
		rec.Sealed = append(make([]byte, 0, len(sealed)), sealed...)
	}
	rec.Reminded.Expiry = time.Duration(number(k[keyRemindedExpiry])) * time.Microsecond
	rec.Reminded.Age = time.Duration(number(k[keyRemindedAge])) * time.Microsecond
	key.CreatedAt, key.SecretAt = instant(k[keyCreatedAt]), instant(k[keySecretAt])
	key.ExpiresAt, key.LastUsedAt = instant(k[keyExpiresAt]), instant(k[keyLastUsedAt])
	key.Version = number(k[keyVersion])
	decided(&rec.Owner, key.Owner, &o)
	return rec, parse(key, &k)
}

// decided sets what of an owner is not text.
func decided(into *apikey.Owner, id string, o *[ownerColumns][]byte) {
	into.ID, into.Epoch, into.Suspended = id, number(o[ownerEpoch]), truth(o[ownerSuspended])
	into.ChangedAt, into.Version, into.Events = instant(o[ownerChangedAt]), number(o[ownerVersion]), number(o[ownerEvents])
	copy(into.Head[:], o[ownerHead])
}

// parse sets what of a key has a text form of its own.
func parse(key *apikey.Key, k *[keyColumns][]byte) error {
	for _, column := range [...]struct {
		number int
		name   string
		empty  string
		into   encoding.TextUnmarshaler
	}{
		{keyScopes, "scopes", "", &key.Scopes},
		{keyMetadata, "metadata", "{}", &key.Metadata},
		{keySettings, "settings", "{}", &key.Settings},
		{keyNetworks, "networks", "", &key.Networks},
	} {
		if string(k[column.number]) == column.empty {
			continue
		}
		if err := column.into.UnmarshalText(k[column.number]); err != nil {
			return unreadable("API key", column.name, err)
		}
	}
	if err := key.State.UnmarshalText(k[keyState]); err != nil {
		return unreadable("API key", "state", err)
	}
	return nil
}

// unreadable says that what is stored is not what this package stores.
func unreadable(what, column string, err error) error {
	return &errors.Error{Code: errors.Corrupt, Msg: "a stored " + what + " cannot be read", Err: &errors.Error{Op: "column " + column, Err: err}}
}

// A text is where the text of a column goes.
type text struct {
	to   *string
	from []byte
}

// copyTexts copies texts into one piece of memory.
func copyTexts(texts ...text) {
	size := 0
	for _, t := range texts {
		size += len(t.from)
	}
	var all strings.Builder
	all.Grow(size)
	for _, t := range texts {
		all.Write(t.from)
	}
	rest := all.String()
	for _, t := range texts {
		*t.to, rest = rest[:len(t.from)], rest[len(t.from):]
	}
}

func truth(column []byte) bool { return len(column) == 1 && column[0] == 1 }
