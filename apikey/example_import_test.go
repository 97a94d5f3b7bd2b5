package apikey_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/apikey/legacy"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/scopes"
)

// Keys that a program of one's own made before keep working: their table holds
// SHA-256 digests, and nobody needs a new key.
func ExampleService_Import_fromExistingTable() {
	ctx := context.Background()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

	// SELECT id, user_id, label, key_sha256, disabled, created_at FROM api_keys
	digest := func(text string) string { sum := sha256.Sum256([]byte(text)); return hex.EncodeToString(sum[:]) }
	table := []struct {
		id, user, label, sha256 string
		disabled                bool
		created                 time.Time
	}{
		{"17", "u_1", "Production", digest("acme-0123456789abcdef0123456789abcdef"), false, now.AddDate(-2, 0, 0)},
		{"18", "u_1", "Old laptop", digest("acme-1123456789abcdef0123456789abcdef"), true, now.AddDate(-1, 0, 0)},
		{"19", "u_2", "", "not a digest", false, now.AddDate(0, -1, 0)},
	}

	format, err := apikey.NewFormat("acme", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	keys, err := apikey.NewService(apikey.NewMemoryStore(), format, &apikey.Options{
		Now: func() time.Time { return now },
		Legacy: []apikey.Legacy{{
			Name:   "acme-2024",
			Shape:  apikey.Shape{Prefix: "acme-", MinLength: 37, Alphabet: "0123456789abcdef"},
			Scheme: legacy.SHA256Hex{},
		}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	granted, err := scopes.Parse("image:generate")
	if err != nil {
		fmt.Println(err)
		return
	}
	rows := make([]apikey.ImportRow, len(table))
	for i, old := range table {
		state := apikey.StateActive
		if old.disabled {
			state = apikey.StateDisabled
		}
		rows[i] = apikey.ImportRow{
			// With a request ID the import can be run again, from the beginning.
			Spec:   apikey.Spec{Owner: old.user, Name: old.label, Scopes: granted, RequestID: "api_keys/" + old.id},
			Scheme: "acme-2024", Encoded: old.sha256, CreatedAt: old.created, State: state,
		}
	}
	results, err := keys.Import(ctx, rows)
	for i, r := range results {
		fmt.Println(table[i].id, table[i].user, r.Outcome)
		if r.Err != nil {
			fmt.Println("  ", r.Err)
		}
	}
	fmt.Println("error:", err)

	key, err := keys.Verify(ctx, "acme-0123456789abcdef0123456789abcdef", nil)
	fmt.Println(key.Owner, key.Name, key.CreatedAt.Year(), err)
	_, err = keys.Verify(ctx, "acme-1123456789abcdef0123456789abcdef", nil)
	fmt.Println(err)
	// Output:
	// 17 u_1 imported
	// 18 u_1 imported
	// 19 u_2 refused
	//    apikey.Import: scheme "acme-2024": the digest has 12 characters; give 64 hexadecimal digits
	// error: <nil>
	// u_1 Production 2024 <nil>
	// apikey.Verify: the API key is disabled
}

// A table of bcrypt hashes has a column that a key is looked up by: here the part
// before the point. The first use of each key costs one bcrypt, and none after it
// does.
func ExampleService_Import_bcrypt() {
	ctx := context.Background()
	format, err := apikey.NewFormat("acme", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	keys, err := apikey.NewService(apikey.NewMemoryStore(), format, &apikey.Options{
		Legacy: []apikey.Legacy{{
			Name:   "acme-2022",
			Shape:  apikey.Shape{Prefix: "old_", MinLength: 30},
			Handle: func(text string) string { id, _, _ := strings.Cut(strings.TrimPrefix(text, "old_"), "."); return id },
			Scheme: legacy.Bcrypt{},
		}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	// SELECT lookup, user_id, key_bcrypt FROM api_keys
	results, err := keys.Import(ctx, []apikey.ImportRow{{
		Spec:   apikey.Spec{Owner: "u_1", RequestID: "api_keys/f00d"},
		Scheme: "acme-2022", Handle: "f00d",
		Encoded: "$2a$04$STKwp2uVHAXytq9C8/vJDut/FUn0QCVSTK6yeree.NZ4VWPWvX88q",
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(results[0].Outcome, results[0].Err)
	for range 2 {
		key, err := keys.Verify(ctx, "old_f00d.0123456789abcdefghijk", nil)
		fmt.Println(key.Owner, err)
		if err := keys.Flush(ctx); err != nil { // FlushEvery does it by itself
			fmt.Println(err)
		}
		counts, err := keys.Census(ctx)
		fmt.Printf("scheme %q: %d, %v\n", counts[0].Scheme, counts[0].Keys, err)
	}
	_, err = keys.Verify(ctx, "old_f00d.0123456789abcdefghijX", nil)
	fmt.Println(errors.MessageOf(err))
	// Output:
	// imported <nil>
	// u_1 <nil>
	// scheme "": 1, <nil>
	// u_1 <nil>
	// scheme "": 1, <nil>
	// the API key is not valid
}

// A pepper is adopted, and later another, without anybody's key dying: each moves
// with its next use, and the census says when an old pepper can go.
func ExampleService_Census_adoptingAPepper() {
	ctx := context.Background()
	store := apikey.NewMemoryStore()
	format, err := apikey.NewFormat("gx", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	start := func(peppers ...apikey.Pepper) *apikey.Service {
		keys, err := apikey.NewService(store, format, &apikey.Options{Peppers: peppers})
		if err != nil {
			fmt.Println(err)
		}
		return keys
	}
	// In earnest: 32 bytes of crypto/rand, kept where the host keeps its secrets.
	first := apikey.Pepper{Version: 1, Secret: bytes.Repeat([]byte("one pepper......"), 2)}
	second := apikey.Pepper{Version: 2, Secret: bytes.Repeat([]byte("another pepper.."), 2)}

	var tokens []string
	keys := start() // no pepper yet
	for range 3 {
		issued, err := keys.Create(ctx, apikey.Spec{Owner: "acct_42"})
		if err != nil {
			fmt.Println(err)
			return
		}
		tokens = append(tokens, issued.Secret.Reveal())
	}
	use := func(keys *apikey.Service, tokens ...string) {
		for _, token := range tokens {
			if _, err := keys.Verify(ctx, token, nil); err != nil {
				fmt.Println(err)
			}
		}
		if err := keys.Flush(ctx); err != nil { // FlushEvery does it by itself
			fmt.Println(err)
		}
		counts, err := keys.Census(ctx)
		var all []string
		for _, c := range counts {
			all = append(all, fmt.Sprintf("%d under pepper %d", c.Keys, c.Version))
		}
		fmt.Println(strings.Join(all, ", "), err)
	}
	use(keys)
	keys = start(apikey.Pepper{}, first) // every process of a fleet knows it before one uses it
	use(keys, tokens...)
	keys = start(first) // adopted
	use(keys, tokens[:2]...)
	keys = start(second, first) // rotated: the new one first, the old one kept
	use(keys, tokens...)
	keys = start(second) // nothing is left under the old one
	use(keys, tokens...)
	// Output:
	// 3 under pepper 0 <nil>
	// 3 under pepper 0 <nil>
	// 1 under pepper 0, 2 under pepper 1 <nil>
	// 3 under pepper 2 <nil>
	// 3 under pepper 2 <nil>
}
