package pgstore

import (
	"encoding"
	"strings"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// recordColumns are what record reads, texts first.
const recordColumns = `k.id, k.handle, k.imported_scheme, k.imported_encoded, k.label, k.owner, k.name, k.environment, k.revoked_reason,
	k.start, k.last4, k.meter, k.predecessor, k.successor, o.revoked_reason, o.suspended_reason,
	k.digest_version, k.digest, k.epoch, k.intent, k.sealed, k.reminded_expiry, k.reminded_age,
	k.scopes, k.metadata, k.settings, k.networks, k.created_at, k.secret_at, k.expires_at, k.last_used_at, k.state, k.version,
	o.epoch, o.suspended, o.changed_at, o.version, o.events, o.head`

// texts is the number of columns at the beginning that are text and stay it.
const texts = 16

// record returns the record in columns, which it shares nothing with.
func record(columns [][]byte) (apikey.Record, error) {
	t := textsOf(columns[:texts])
	c := columns[texts:]
	rec := apikey.Record{
		Handle:   t[1],
		Digest:   apikey.Digest{Version: uint32(number(c[0]))},
		Imported: apikey.Imported{Scheme: t[2], Encoded: t[3]},
		Label:    t[4],
		Epoch:    number(c[2]),
		Reminded: apikey.Reminded{Expiry: time.Duration(number(c[5])) * time.Microsecond, Age: time.Duration(number(c[6])) * time.Microsecond},
		Key: apikey.Key{
			ID: t[0], Owner: t[5], Name: t[6], Environment: t[7], RevokedReason: t[8], Start: t[9], Last4: t[10],
			Meter: t[11], Predecessor: t[12], Successor: t[13],
			CreatedAt: instant(c[11]), SecretAt: instant(c[12]), ExpiresAt: instant(c[13]), LastUsedAt: instant(c[14]),
			Version: number(c[16]),
		},
		Owner: apikey.Owner{
			ID: t[5], RevokedReason: t[14], SuspendedReason: t[15], Epoch: number(c[17]), Suspended: truth(c[18]),
			ChangedAt: instant(c[19]), Version: number(c[20]), Events: number(c[21]),
		},
	}
	copy(rec.Digest.Sum[:], c[1])
	copy(rec.Intent[:], c[3])
	copy(rec.Owner.Head[:], c[22])
	if c[4] != nil {
		rec.Sealed = append(make([]byte, 0, len(c[4])), c[4]...)
	}
	for _, column := range [...]struct {
		name  string
		text  []byte
		empty string
		into  encoding.TextUnmarshaler
	}{
		{"scopes", c[7], "", &rec.Key.Scopes},
		{"metadata", c[8], "{}", &rec.Key.Metadata},
		{"settings", c[9], "{}", &rec.Key.Settings},
		{"networks", c[10], "", &rec.Key.Networks},
		{"state", c[15], "", &rec.Key.State},
	} {
		if string(column.text) == column.empty && column.name != "state" {
			continue
		}
		if err := column.into.UnmarshalText(column.text); err != nil {
			return apikey.Record{}, unreadable("API key", column.name, err)
		}
	}
	return rec, nil
}

// unreadable says that what is stored is not what this package stores.
func unreadable(what, column string, err error) error {
	return &errors.Error{Code: errors.Corrupt, Msg: "a stored " + what + " cannot be read", Err: &errors.Error{Op: "column " + column, Err: err}}
}

// textsOf returns columns as text, in one piece of memory.
func textsOf(columns [][]byte) [texts]string {
	size := 0
	for _, c := range columns {
		size += len(c)
	}
	var all strings.Builder
	all.Grow(size)
	for _, c := range columns {
		all.Write(c)
	}
	var t [texts]string
	rest := all.String()
	for i, c := range columns {
		t[i], rest = rest[:len(c)], rest[len(c):]
	}
	return t
}

func truth(column []byte) bool { return len(column) == 1 && column[0] == 1 }
