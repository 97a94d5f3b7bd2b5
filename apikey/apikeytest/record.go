package apikeytest

import (
	"bytes"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/scopes"
)

// begin has a fraction down to the microsecond.
var begin = time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)

// longAgo is past by every clock, that of a synctest bubble too.
var longAgo = time.Unix(0, 0)

// record returns the n-th record, with every field set and none like that of
// another. Higher n are newer.
func record(n int) apikey.Record {
	id := fmt.Sprintf("key_%020d", n)
	rec := apikey.Record{
		Handle: fmt.Sprintf("%016d", n),
		Digest: apikey.Digest{Version: math.MaxUint32 - uint32(n)},
		Key: apikey.Key{
			ID: id, Owner: fmt.Sprintf("acct_%d", n), Name: fmt.Sprintf("key number %d", n), Environment: "live",
			CreatedAt: begin.Add(time.Duration(n) * time.Second), SecretAt: begin.Add(time.Duration(n)*time.Second + time.Microsecond), ExpiresAt: begin.Add(time.Hour + time.Duration(n)*time.Microsecond),
			LastUsedAt: begin.Add(time.Minute + time.Duration(n)*time.Microsecond),
			State:      apikey.StateActive, RevokedReason: fmt.Sprintf("reason %d", n),
			Start: fmt.Sprintf("gx_live_%04d", n%10000), Last4: fmt.Sprintf("%04d", n%10000),
			Meter: fmt.Sprintf("meter_%d", n), Predecessor: fmt.Sprintf("pre_%d", n), Successor: fmt.Sprintf("suc_%d", n),
			Version: 1,
		},
	}
	for i := range rec.Digest.Sum {
		rec.Digest.Sum[i], rec.Intent[i] = byte(n+i*7), byte(n+i*5)
	}
	rec.Imported = apikey.Imported{Scheme: fmt.Sprintf("old%d", n), Encoded: fmt.Sprintf("$2a$10$%d", n)}
	rec.Label, rec.Epoch, rec.Sealed = fmt.Sprintf("label %d", n), 1, []byte{0, byte(n), 255}
	rec.Reminded = apikey.Reminded{Expiry: time.Duration(n+1) * time.Microsecond, Age: time.Hour}
	var err error
	if rec.Key.Scopes, err = scopes.Of("image:generate", fmt.Sprintf("models:m%d", n), "usage:*"); err == nil {
		rec.Key.Metadata, err = apikey.NewMetadata(map[string]string{"team": fmt.Sprintf("blue %d", n), "empty": ""})
	}
	if err == nil {
		rec.Key.Settings, err = apikey.NewSettings(map[string]int64{"per_minute": int64(n), "max": math.MaxInt64, "min": math.MinInt64})
	}
	if err == nil {
		rec.Key.Networks, err = apikey.ParseNetworks("10.0.0.0/8", "2001:db8::/32", fmt.Sprintf("192.0.2.%d", n%256))
	}
	if err != nil {
		panic(err) //nolint:forbidigo // a fault of this suite, not of a store
	}
	return rec
}

// bare returns the n-th record with nothing in it that may be empty.
func bare(n int) apikey.Record {
	rec := record(n)
	return apikey.Record{Handle: rec.Handle, Epoch: 1, Key: apikey.Key{
		ID: rec.Key.ID, Owner: "o", CreatedAt: rec.Key.CreatedAt, SecretAt: rec.Key.CreatedAt, State: apikey.StateActive, Version: 1,
	}}
}

// as returns rec in that state: a tombstone has nothing left that proves it.
func as(state apikey.State, rec apikey.Record) apikey.Record {
	if rec.Key.State = state; state == apikey.StateDeleted {
		rec.Digest, rec.Imported = apikey.Digest{}, apikey.Imported{}
	}
	return rec
}

// largest returns a record in which everything is as long as it may be, in
// characters of more than one byte where it may have them.
func largest() (apikey.Record, error) {
	rec := record(1)
	long := func(bytes int) string { return strings.Repeat("\u20ac", bytes/3) + strings.Repeat("x", bytes%3) }
	k := &rec.Key
	k.Owner, k.Name, k.RevokedReason = long(apikey.MaxOwner), long(apikey.MaxName), long(apikey.MaxReason)
	rec.Handle, rec.Label = long(apikey.MaxTokenLength), k.Name
	rec.Imported.Encoded, rec.Sealed = long(1024), bytes.Repeat([]byte{0, 255}, 8<<10)
	metadata, settings := map[string]string{}, map[string]int64{}
	for n := range apikey.MaxEntries {
		name := long(apikey.MaxEntryName)[3:] + fmt.Sprintf("%03d", n)
		metadata[name], settings[name] = long(apikey.MaxMetadataValue), math.MinInt64
	}
	var list []string
	var networks []netip.Prefix
	for n := range scopes.MaxScopes {
		list = append(list, fmt.Sprintf("%s:%03d", strings.Repeat("s", scopes.MaxBytes-4), n))
	}
	for n := range apikey.MaxNetworks {
		networks = append(networks, netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, byte(n)}), 128))
	}
	var errs [4]error
	k.Scopes, errs[0] = scopes.Of(list...)
	k.Metadata, errs[1] = apikey.NewMetadata(metadata)
	k.Settings, errs[2] = apikey.NewSettings(settings)
	k.Networks, errs[3] = apikey.NewNetworks(networks...)
	return rec, errors.Join(errs[:]...)
}

// next returns rec one version on.
func next(rec apikey.Record) apikey.Record {
	rec.Key.Version++
	return rec
}

// odd are texts that stores have been seen to change or to confuse.
var odd = []string{
	"", " ", "a ", " a", "a", "A", "ä", "ae", "a\u0308", "%", "_", "a%", `\`, `'`, `"`, "';--", "NULL", "null", "0", "00", "1e3",
	"a,b", "{a}", "\u2028", "\u200b", "日本語", "🔑", "ß", "ss", "ſ", "i", "ı", "a|b", "a\x7eb", "[]", "{}", "true",
}
