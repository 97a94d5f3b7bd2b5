package apikey_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/apikey/legacy"
	"github.com/keytoll/keytoll/errors"
)

// An oldSystem is one whose keys are imported.
type oldSystem struct {
	name   string
	legacy apikey.Legacy
	text   string
	handle string // what ImportRow.Handle gives
	encode func(t testing.TB, secret string) string
}

// oldSystems are the schemes, as systems in the wild used them.
func oldSystems() []oldSystem {
	sum := func(text string) []byte { s := sha256.Sum256([]byte(text)); return s[:] }
	return []oldSystem{
		{"SHA-256 in hex, found by it", hexed(), "old_00000000000000000000000000000abc", "",
			func(_ testing.TB, secret string) string { return hex.EncodeToString(sum(secret)) }},
		{"SHA-256 in base64", apikey.Legacy{Name: "b64", Shape: apikey.Shape{MinLength: 64, Alphabet: letters}, Scheme: legacy.SHA256Base64{}},
			strings.Repeat("AbCdEfGh", 8), "",
			func(_ testing.TB, secret string) string { return base64.StdEncoding.EncodeToString(sum(secret)) }},
		{"SHA-256 in base64url", apikey.Legacy{Name: "b64url", Shape: apikey.Shape{MinLength: 64, Alphabet: letters}, Scheme: legacy.SHA256Base64URL{}},
			strings.Repeat("AbCdEfGh", 8), "",
			func(_ testing.TB, secret string) string { return base64.RawURLEncoding.EncodeToString(sum(secret)) }},
		{"id|secret, of which the secret is hashed", apikey.Legacy{
			Name: "bar", Shape: apikey.Shape{MinLength: 42, MaxLength: 60},
			Matches: func(text string) bool { return strings.Count(text, "|") == 1 },
			Handle:  func(text string) string { id, _, _ := strings.Cut(text, "|"); return id },
			Secret:  func(text string) string { _, secret, _ := strings.Cut(text, "|"); return secret },
			Scheme:  legacy.SHA256Hex{},
		}, "1234|" + strings.Repeat("aB3", 14), "1234",
			func(_ testing.TB, secret string) string {
				_, secret, _ = strings.Cut(secret, "|")
				return hex.EncodeToString(sum(secret))
			}},
		{"prefix.secret under bcrypt", apikey.Legacy{
			Name: "bcrypt", Shape: apikey.Shape{MinLength: 41},
			Handle: func(text string) string { id, _, _ := strings.Cut(text, "."); return id }, Scheme: legacy.Bcrypt{},
		}, "abcd1234." + strings.Repeat("s", 32), "abcd1234",
			func(t testing.TB, secret string) string {
				return string(must(bcrypt.GenerateFromPassword([]byte(secret), bcrypt.MinCost))(t))
			}},
		{"prefix.secret under argon2id", apikey.Legacy{
			Name: "argon2id", Shape: apikey.Shape{MinLength: 41},
			Handle: func(text string) string { id, _, _ := strings.Cut(text, "."); return id }, Scheme: legacy.Argon2id{},
		}, "abcd1234." + strings.Repeat("s", 32), "abcd1234",
			func(_ testing.TB, secret string) string {
				salt := []byte("saltsaltsaltsalt")
				b64 := base64.RawStdEncoding.EncodeToString
				return "$argon2id$v=19$m=64,t=1,p=1$" + b64(salt) + "$" + b64(argon2.IDKey([]byte(secret), salt, 1, 64, 1, 32))
			}},
	}
}

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// moved returns a service into which the key of an old system was imported.
func moved(t testing.TB, store apikey.Store, sys oldSystem, o apikey.Options) (*apikey.Service, apikey.Key) {
	t.Helper()
	o.Legacy = append(o.Legacy, sys.legacy)
	s := newService(t, store, nil, &o)
	return s, importRows(t, s, apikey.ImportRow{
		Spec: apikey.Spec{Owner: "a"}, Scheme: sys.legacy.Name, Encoded: sys.encode(t, sys.text), Handle: sys.handle,
	})[0].Key
}

func TestKeysOfOldSystemsWork(t *testing.T) {
	for _, sys := range oldSystems() {
		t.Run(sys.name, func(t *testing.T) {
			store := apikey.NewMemoryStore()
			s, key := moved(t, store, sys, apikey.Options{Peppers: []apikey.Pepper{pepper}})
			for _, when := range []string{"at first", "once more", "flushed"} {
				got, err := s.Verify(t.Context(), sys.text, nil)
				if err != nil || got.ID != key.ID {
					t.Fatalf("%s: Verify = %s, %v", when, got.ID, err)
				}
				if got, err := s.Identify(t.Context(), sys.text); err != nil || got.ID != key.ID {
					t.Errorf("%s: Identify = %s, %v", when, got.ID, err)
				}
				for what, wrong := range map[string]string{
					"last character": sys.text[:len(sys.text)-1] + "d", "case": swapCase(sys.text), "longer": sys.text + "a",
					"shorter": sys.text[:len(sys.text)-1], "space": sys.text + " ", "twice": sys.text + sys.text,
				} {
					if _, err := s.Verify(t.Context(), wrong, nil); errors.CodeOf(err) != errors.Unauthenticated || errors.MessageOf(err) != "the API key is not valid" {
						t.Errorf("%s, wrong %s: %v", when, what, err)
					}
					if _, err := s.Identify(t.Context(), wrong); errors.CodeOf(err) != errors.Unauthenticated {
						t.Errorf("%s, wrong %s: Identify: %v", when, what, err)
					}
				}
				if when == "once more" {
					if err := s.Flush(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			}
			rec := must(store.ByID(t.Context(), key.ID))(t)
			if rec.Imported != (apikey.Imported{}) || rec.Digest.Version != pepper.Version || rec.Key.Version != 2 {
				t.Errorf("after its first use it is kept as %+v under pepper %d, version %d", rec.Imported, rec.Digest.Version, rec.Key.Version)
			}
			// Its scheme is not needed any more.
			without := sys.legacy
			without.Scheme = nil
			later := newService(t, store, nil, &apikey.Options{Peppers: []apikey.Pepper{pepper}, Legacy: []apikey.Legacy{without}})
			if got, err := later.Verify(t.Context(), sys.text, nil); err != nil || got.ID != key.ID {
				t.Errorf("without the scheme: %s, %v", got.ID, err)
			}
		})
	}
}

func swapCase(s string) string {
	if up := strings.ToUpper(s); up != s {
		return up
	}
	return strings.ToLower(s)
}

// A stored digest that leaked, presented as a key, must not authenticate: nor what
// the key is found by, nor anything else that is stored. (soundspan had a fallback
// that let it.)
func TestLeakedImportIsNoKey(t *testing.T) {
	for _, sys := range oldSystems() {
		t.Run(sys.name, func(t *testing.T) {
			// As loose a shape as there can be.
			loose := sys
			loose.legacy.Shape = apikey.Shape{MinLength: 8, MaxLength: 255}
			if sys.legacy.Name == "bcrypt" {
				loose.legacy.Shape.MaxLength = legacy.MaxBcryptText
			}
			store := apikey.NewMemoryStore()
			s, key := moved(t, store, loose, apikey.Options{})
			for _, when := range []string{"before", "after"} {
				rec := must(store.ByID(t.Context(), key.ID))(t)
				if (rec.Imported == apikey.Imported{}) == (when == "before") {
					t.Fatalf("%s the first use: %+v", when, rec.Imported)
				}
				encoded := sys.encode(t, sys.text)
				raw := sha256.Sum256([]byte(sys.text))
				for what, leaked := range map[string]string{
					"digest": encoded, "trimmed": strings.TrimRight(encoded, "="), "lower": strings.ToLower(encoded), "upper": strings.ToUpper(encoded),
					"prefixed": sys.legacy.Shape.Prefix + encoded, "behind the handle": sys.handle + "|" + encoded, "behind the id": sys.handle + "." + encoded,
					"own digest": hex.EncodeToString(rec.Digest.Sum[:]), "bytes": string(raw[:]), "hex": hex.EncodeToString(raw[:]),
					"stored handle": rec.Handle, "handle": sys.handle, "id": key.ID, "scheme and digest": sys.legacy.Name + encoded,
				} {
					if _, err := s.Verify(t.Context(), leaked, nil); errors.CodeOf(err) != errors.Unauthenticated {
						t.Errorf("%s the first use: %s: %v", when, what, err)
					}
				}
				if when == "before" {
					must(s.Verify(t.Context(), sys.text, nil))(t)
					if err := s.Flush(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

// Where a text is both, it is a key of the format first.
func TestFormatIsReadBeforeLegacy(t *testing.T) {
	f := newFormat(t, "old", &apikey.FormatOptions{Alphabet: "0123456789abcdef", NoID: true, NoChecksum: true})
	store := apikey.NewMemoryStore()
	s := newService(t, store, f, &apikey.Options{Legacy: []apikey.Legacy{hexed()}})
	made := create(t, s, apikey.Spec{}) // has the shape of the old ones
	text, encoded := old(1)
	imported := importRows(t, s, apikey.ImportRow{Spec: apikey.Spec{Owner: "a"}, Scheme: "sha256", Encoded: encoded})[0].Key
	byText := importRows(t, s, apikey.ImportRow{Spec: apikey.Spec{Owner: "a"}, Text: apikey.NewSecret(generate(t, f, ""))})[0].Key
	for token, want := range map[string]apikey.Key{made.Secret.Reveal(): made.Key, text: imported} {
		if got, err := s.Verify(t.Context(), token, nil); err != nil || got.ID != want.ID {
			t.Errorf("Verify = %s, %v; want %s", got.ID, err, want.ID)
		}
		if got, err := s.Identify(t.Context(), token); err != nil || got.ID != want.ID {
			t.Errorf("Identify = %s, %v; want %s", got.ID, err, want.ID)
		}
	}
	if _, err := s.Verify(t.Context(), generate(t, f, ""), nil); !errors.Is(err, apikey.ErrUnknown) {
		t.Errorf("a text that is neither: %v", err)
	}
	if rec := must(store.ByID(t.Context(), byText.ID))(t); rec.Imported.Scheme != "" || byText.Start != "old_" {
		t.Errorf("a text that both read was not imported as one of the format: %+v", rec)
	}
	// Both know the same text: the format's counts.
	both := generate(t, f, "")
	sum := sha256.Sum256([]byte(both))
	second := importRows(t, s, apikey.ImportRow{Spec: apikey.Spec{Owner: "second"}, Scheme: "sha256", Encoded: hex.EncodeToString(sum[:])},
		apikey.ImportRow{Spec: apikey.Spec{Owner: "first"}, Text: apikey.NewSecret(both)})
	if got, err := s.Verify(t.Context(), both, nil); err != nil || got.Owner != "first" {
		t.Errorf("a text that both know: %s, %v", got.Owner, err)
	}
	// One that was deleted is not looked for elsewhere.
	if err := s.Delete(t.Context(), second[1].Key.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Verify(t.Context(), both, nil); !errors.Is(err, apikey.ErrUnprovable) {
		t.Errorf("a deleted key of the format: %v", err)
	}
}

// Several old systems whose keys look alike.
func TestEachLegacyIsTriedInItsOrder(t *testing.T) {
	shape := apikey.Shape{MinLength: 40, MaxLength: 40}
	var all []apikey.Legacy
	for _, name := range []string{"one", "two", "three"} {
		all = append(all, apikey.Legacy{Name: name, Shape: shape, Scheme: legacy.SHA256Hex{}})
	}
	all = append(all, apikey.Legacy{Name: "none", Shape: shape, Handle: func(string) string { return "" }})
	lookups := 0
	store := &scripted{apikey.NewMemoryStore(), func(verb string) error {
		if verb == "ByHandle" {
			lookups++
		}
		return nil
	}}
	s := newService(t, store, nil, &apikey.Options{Legacy: all})
	for i, l := range all[:3] {
		text := fmt.Sprintf("%040d", i)
		sum := sha256.Sum256([]byte(text))
		importRows(t, s, apikey.ImportRow{Spec: apikey.Spec{Owner: l.Name}, Scheme: l.Name, Encoded: hex.EncodeToString(sum[:])})
		lookups = 0
		if key, err := s.Verify(t.Context(), text, nil); err != nil || key.Owner != l.Name || lookups != i+1 {
			t.Errorf("%s: %s, %v, after %d look-ups", l.Name, key.Owner, err, lookups)
		}
	}
	lookups = 0
	if _, err := s.Verify(t.Context(), strings.Repeat("x", 40), nil); !errors.Is(err, apikey.ErrUnknown) || lookups != 3 {
		t.Errorf("unknown: %v, after %d look-ups", err, lookups)
	}
	lookups = 0
	for _, garbage := range []string{"", strings.Repeat("x", 39), strings.Repeat("x", 41), strings.Repeat("x", 39) + "\n", strings.Repeat("x", 1<<20)} {
		if _, err := s.Verify(t.Context(), garbage, nil); !errors.Is(err, apikey.ErrMalformed) || lookups != 0 {
			t.Errorf("%.50q: %v, after %d look-ups", garbage, err, lookups)
		}
	}
}

// A length check in front of the schemes refused older, valid keys in better-auth.
// Here lengths are the shape's own, up to the bound that all texts have.
func TestLongLegacyTextsWork(t *testing.T) {
	for _, n := range []int{8, 62, 63, 200, apikey.MaxTokenLength} {
		text := strings.Repeat("k", n-1) + "!"
		sum := sha256.Sum256([]byte(text))
		s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Legacy: []apikey.Legacy{{
			Name: "long", Shape: apikey.Shape{MinLength: 8, MaxLength: apikey.MaxTokenLength}, Scheme: legacy.SHA256Hex{},
		}}})
		importRows(t, s, apikey.ImportRow{Spec: apikey.Spec{Owner: "a"}, Scheme: "long", Encoded: hex.EncodeToString(sum[:])})
		for range 2 {
			if _, err := s.Verify(t.Context(), text, nil); err != nil {
				t.Errorf("%d bytes: %v", n, err)
			}
			if err := s.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Verify(t.Context(), text+"x", nil); err == nil {
			t.Errorf("%d bytes and one more: accepted", n)
		}
	}
}

// What a row of the store holds is not trusted: a forged or damaged digest, or
// one of a scheme that is not there, proves nothing and costs nothing.
func TestDamagedImportsProveNothing(t *testing.T) {
	for _, sys := range oldSystems() {
		for what, damaged := range map[string]apikey.Imported{
			"empty": {Scheme: sys.legacy.Name}, "noise": {Scheme: sys.legacy.Name, Encoded: "\x00\xff"},
			"costly bcrypt":   {Scheme: sys.legacy.Name, Encoded: "$2a$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"},
			"costly argon2id": {Scheme: sys.legacy.Name, Encoded: "$argon2id$v=19$m=4194304,t=9999,p=255$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
			"another scheme":  {Scheme: "another", Encoded: sys.encode(t, sys.text)},
		} {
			store := apikey.NewMemoryStore()
			s, key := moved(t, store, sys, apikey.Options{})
			rec := must(store.ByID(t.Context(), key.ID))(t)
			rec.Imported = damaged
			rec.Key.Version++
			if err := store.Apply(t.Context(), apikey.Change{Update: []apikey.Record{rec}}); err != nil {
				t.Fatal(err)
			}
			_, err := s.Verify(t.Context(), sys.text, nil)
			if !errors.Is(err, apikey.ErrUnprovable) || errors.MessageOf(err) != "the API key is not valid" {
				t.Errorf("%s, %s: %v", sys.name, what, err)
			}
		}
	}
}

// A deleted key that was imported leaves nothing that proves it.
func TestDeleteWipesTheImport(t *testing.T) {
	sys := oldSystems()[0]
	store := apikey.NewMemoryStore()
	s, key := moved(t, store, sys, apikey.Options{})
	if err := s.Delete(t.Context(), key.ID); err != nil {
		t.Fatal(err)
	}
	if rec := must(store.ByID(t.Context(), key.ID))(t); rec.Imported != (apikey.Imported{}) {
		t.Errorf("left: %+v", rec.Imported)
	}
	if _, err := s.Verify(t.Context(), sys.text, nil); !errors.Is(err, apikey.ErrUnprovable) {
		t.Errorf("Verify = %v", err)
	}
	// Not even if the store brings it back.
	rec := must(store.ByID(t.Context(), key.ID))(t)
	rec.Imported = apikey.Imported{Scheme: sys.legacy.Name, Encoded: sys.encode(t, sys.text)}
	rec.Key.Version++
	if err := store.Apply(t.Context(), apikey.Change{Update: []apikey.Record{rec}}); err != nil {
		t.Fatal(err)
	}
	for what, token := range map[string]string{"right": sys.text, "wrong": sys.text[:35] + "d"} {
		if _, err := s.Verify(t.Context(), token, nil); !errors.Is(err, apikey.ErrUnknown) {
			t.Errorf("a tombstone with a digest, %s text: %v", what, err)
		}
	}
}

// What is not of the shape is refused without asking the store, as it is for the
// format.
func TestShapesRefuseWithoutALookUp(t *testing.T) {
	store := &scripted{apikey.NewMemoryStore(), func(verb string) error {
		if verb == "ByHandle" {
			t.Error("asked the store")
		}
		return nil
	}}
	odd := apikey.Legacy{Name: "odd", Shape: apikey.Shape{MinLength: 20}, Matches: func(text string) bool { return text[0] != 'n' }}
	s := newService(t, store, nil, &apikey.Options{Legacy: []apikey.Legacy{hexed(), odd}})
	right, _ := old(1)
	for _, text := range []string{
		"", "old_", "new_" + right[4:], "OLD_" + right[4:], " " + right[1:], right[:35], right + "0", right[:35] + "g", right[:35] + "A", right[:35] + "\x00",
		"not a key of twenty!", "none_of_twenty_bytes", strings.Repeat(right, 1000),
	} {
		if _, err := s.Verify(t.Context(), text, nil); !errors.Is(err, apikey.ErrMalformed) {
			t.Errorf("%.40q: %v, want ErrMalformed", text, err)
		}
	}
}

func TestNewServiceReportsEveryFaultOfLegacy(t *testing.T) {
	good := func(name string) apikey.Legacy {
		return apikey.Legacy{Name: name, Shape: apikey.Shape{MinLength: 8}}
	}
	many := make([]apikey.Legacy, 17)
	for i := range many {
		many[i] = good(fmt.Sprint("n", i))
	}
	for name, tt := range map[string]struct {
		o    apikey.Options
		want []string
	}{
		"names": {apikey.Options{Legacy: []apikey.Legacy{good(""), good("-x"), good("a b"), good("a"), good("a"), good(strings.Repeat("a", 65))}},
			[]string{`legacy[0]: name ""`, `legacy[1]: name "-x"`, `legacy[2]: name "a b"`, `legacy[4]: name "a" is given twice`, `legacy[5]: name`}},
		"shapes": {apikey.Options{Legacy: []apikey.Legacy{
			{Name: "none"}, {Name: "short", Shape: apikey.Shape{MinLength: 7}}, {Name: "long", Shape: apikey.Shape{MinLength: 8, MaxLength: 256}},
			{Name: "turned", Shape: apikey.Shape{MinLength: 20, MaxLength: 19}}, {Name: "prefix", Shape: apikey.Shape{Prefix: "12345678", MinLength: 8}},
			{Name: "space", Shape: apikey.Shape{Prefix: "a b", MinLength: 8}}, {Name: "alphabet", Shape: apikey.Shape{Alphabet: "aa", MinLength: 8}},
			{Name: "alphabet2", Shape: apikey.Shape{Alphabet: "a\n", MinLength: 8}},
		}}, []string{"legacy[0]: texts of 0 to 0 bytes", "legacy[1]: texts of 7", "legacy[2]: texts of 8 to 256", "legacy[3]: texts of 20 to 19",
			"legacy[4]: prefix", "legacy[5]: prefix", "legacy[6]: alphabet", "legacy[7]: alphabet"}},
		"schemes": {apikey.Options{Legacy: []apikey.Legacy{
			{Name: "salted", Shape: apikey.Shape{MinLength: 8}, Scheme: legacy.Bcrypt{}},
			{Name: "long", Shape: apikey.Shape{MinLength: 8, MaxLength: 73}, Scheme: legacy.Bcrypt{}, Handle: strings.ToLower},
		}}, []string{"legacy[0]: digests of its scheme do not tell", "legacy[1]: texts of up to 73 bytes, of which its scheme reads 72"}},
		"too many": {apikey.Options{Legacy: many}, []string{"there are 17 Legacy; give 16 or less"}},
		"bounds":   {apikey.Options{SlowProofs: -1, SlowWaiting: -2}, []string{"SlowProofs is -1", "SlowWaiting is -2"}},
	} {
		_, err := apikey.NewService(apikey.NewMemoryStore(), newFormat(t, "gx", nil), &tt.o)
		for _, want := range tt.want {
			if err == nil || !strings.Contains(err.Error(), want) || errors.CodeOf(err) != errors.Invalid {
				t.Errorf("%s: the error lacks %q: %v", name, want, err)
			}
		}
	}
}

// Legacy costs nothing where there is none, and no more than its shape where a
// text is not of it.
func TestVerifyOfTheFormatStaysFreeOfAllocations(t *testing.T) {
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Legacy: []apikey.Legacy{hexed()}})
	token := create(t, s, apikey.Spec{}).Secret.Reveal()
	garbage := strings.Repeat("x", 60)
	must(s.Verify(t.Context(), token, nil))(t)
	for name, token := range map[string]string{"key": token, "garbage": garbage, "1 MiB": strings.Repeat("x", 1<<20)} {
		ctx := context.WithoutCancel(t.Context())
		if n := testing.AllocsPerRun(100, func() { _, _ = s.Verify(ctx, token, nil) }); n != 0 && !raceEnabled {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
