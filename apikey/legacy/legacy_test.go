package legacy_test

import (
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

const text = "old_3f9c1f1c0d5b4f7e9a6b2d8c4e1f0a7b"

func hashed(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}

func bcrypted(t testing.TB, text string) string {
	t.Helper()
	encoded, err := bcrypt.GenerateFromPassword([]byte(text), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

func argon2ided(text string, memory, time uint32, threads uint8) string {
	salt := []byte("somesaltsomesalt")
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", memory, time, threads, b64(salt), b64(argon2.IDKey([]byte(text), salt, time, memory, threads, 32)))
}

// schemes are all of them, with what each keeps of text.
func schemes(t testing.TB) map[string]struct {
	apikey.LegacyVerifier
	encode func(text string) string
} {
	return map[string]struct {
		apikey.LegacyVerifier
		encode func(text string) string
	}{
		"SHA256Hex":             {legacy.SHA256Hex{}, func(text string) string { return hex.EncodeToString(hashed(text)) }},
		"SHA256Hex, upper case": {legacy.SHA256Hex{}, func(text string) string { return strings.ToUpper(hex.EncodeToString(hashed(text))) }},
		"SHA256Base64":          {legacy.SHA256Base64{}, func(text string) string { return base64.StdEncoding.EncodeToString(hashed(text)) }},
		"SHA256Base64, bare":    {legacy.SHA256Base64{}, func(text string) string { return base64.RawStdEncoding.EncodeToString(hashed(text)) }},
		"SHA256Base64URL":       {legacy.SHA256Base64URL{}, func(text string) string { return base64.URLEncoding.EncodeToString(hashed(text)) }},
		"SHA256Base64URL, bare": {legacy.SHA256Base64URL{}, func(text string) string { return base64.RawURLEncoding.EncodeToString(hashed(text)) }},
		"Bcrypt":                {legacy.Bcrypt{}, func(text string) string { return bcrypted(t, text) }},
		"Argon2id":              {legacy.Argon2id{}, func(text string) string { return argon2ided(text, 64, 1, 2) }},
	}
}

func TestSchemesProveTheTextAndNothingElse(t *testing.T) {
	for name, s := range schemes(t) {
		t.Run(name, func(t *testing.T) {
			encoded := s.encode(text)
			if err := s.Check(encoded); err != nil {
				t.Fatal(err)
			}
			if ok, err := s.Prove(text, encoded); !ok || err != nil {
				t.Errorf("Prove of the text = %t, %v", ok, err)
			}
			for what, other := range map[string]string{
				"empty": "", "one letter off": text[:len(text)-1] + "c", "shorter": text[:len(text)-1], "longer": text + "0",
				"upper case": strings.ToUpper(text), "a space behind": text + " ", "a zero byte and itself": text + "\x00" + text,
				"the digest itself": encoded, "the bare digest": strings.TrimRight(encoded, "="),
				"the digest in bytes": string(hashed(text)), "the digest in hex": hex.EncodeToString(hashed(text)),
			} {
				if ok, err := s.Prove(other, encoded); ok || err != nil {
					t.Errorf("Prove of %s = %t, %v; want false", what, ok, err)
				}
			}
		})
	}
}

// What cannot be read is proven by nothing, is an error of the caller, and is
// not repeated.
func TestSchemesRefuseWhatIsNotTheirs(t *testing.T) {
	all := schemes(t)
	for name, s := range all {
		own := s.encode(text)
		bad := []string{
			"", " ", own[1:], own[:len(own)-2], own + "!", " " + own, own + "\n", "\n" + own, own[:9] + "\n" + own[9:],
			own[:20] + "\x00" + own[21:], own[:20] + "ä" + own[22:], strings.Repeat(own, 40), "$$$$$", own + "==",
		}
		for other, o := range all {
			if strings.TrimRight(other, ", abcdehlprsu") != strings.TrimRight(name, ", abcdehlprsu") {
				bad = append(bad, o.encode("-->>"+text))
			}
		}
		for _, encoded := range bad {
			if s.Check(encoded) == nil && strings.Contains(name, "Base64") {
				continue // base64 that has no character of either kind is both
			}
			err := s.Check(encoded)
			ok, err2 := s.Prove(text, encoded)
			if errors.CodeOf(err) != errors.Invalid || errors.CodeOf(err2) != errors.Invalid || ok {
				t.Errorf("%s: %q: Check = %v, Prove = %t, %v; want invalid", name, encoded, err, ok, err2)
				continue
			}
			if len(encoded) > 20 && strings.Contains(err.Error(), encoded[:20]) {
				t.Errorf("%s repeats what it cannot read: %v", name, err)
			}
		}
	}
}

// An alphabet that a digest is not in must not be read as if it were: one that
// differs in two characters would prove nothing, silently.
func TestBase64AlphabetsAreTold(t *testing.T) {
	var std, url string
	for i := 0; std == url; i++ {
		sum := hashed(fmt.Sprint(i))
		std, url = base64.StdEncoding.EncodeToString(sum), base64.URLEncoding.EncodeToString(sum)
	}
	if legacy.SHA256Base64URL.Check(legacy.SHA256Base64URL{}, std) == nil || legacy.SHA256Base64.Check(legacy.SHA256Base64{}, url) == nil {
		t.Errorf("%s and %s are taken for each other", std, url)
	}
}

func TestSumsAreWhatTheDigestHolds(t *testing.T) {
	for name, s := range schemes(t) {
		sums, ok := s.LegacyVerifier.(apikey.LegacySum)
		if ok == s.Slow() {
			t.Errorf("%s: slow %t, finds keys by their sum %t", name, s.Slow(), ok)
		}
		if !ok {
			continue
		}
		if sum, err := sums.Sum(s.encode(text)); err != nil || string(sum[:]) != string(hashed(text)) {
			t.Errorf("%s: Sum = %x, %v", name, sum, err)
		}
	}
}

// Bcrypt looks at 72 bytes: with one more, any ending would be let in.
func TestBcryptIsNotTruncated(t *testing.T) {
	var b legacy.Bcrypt
	whole := strings.Repeat("k", legacy.MaxBcryptText)
	encoded := bcrypted(t, whole)
	if ok, err := b.Prove(whole, encoded); !ok || err != nil {
		t.Errorf("72 bytes: %t, %v", ok, err)
	}
	if err := bcrypt.CompareHashAndPassword([]byte(encoded), []byte(whole+"anything")); err != nil {
		t.Error("bcrypt itself reads more than 72 bytes: the test tests nothing")
	}
	for _, longer := range []string{whole + "k", whole + "anything"} {
		if ok, err := b.Prove(longer, encoded); ok || err != nil {
			t.Errorf("%d bytes: %t, %v; want false", len(longer), ok, err)
		}
	}
}

func TestBcryptReadsTheVersionsInUse(t *testing.T) {
	encoded := bcrypted(t, text)
	for version, want := range map[string]bool{"$2a$": true, "$2b$": true, "$2y$": true, "$2x$": false, "$2$0": false, "$1a$": false, "$2z$": false} {
		as := version + encoded[4:]
		ok, err := legacy.Bcrypt{}.Prove(text, as)
		if ok != want || (err == nil) != want {
			t.Errorf("%s: %t, %v; want %t", version, ok, err, want)
		}
	}
}

// A forged or damaged record must not take the time of more than it may.
func TestCostsAreBounded(t *testing.T) {
	cheap := bcrypted(t, text)
	for _, tt := range []struct {
		name    string
		scheme  apikey.LegacyVerifier
		encoded string
		want    bool
	}{
		{"bcrypt of cost 4", legacy.Bcrypt{}, cheap, true},
		{"bcrypt at the bound", legacy.Bcrypt{MaxCost: 4}, cheap, true},
		{"bcrypt of cost 15", legacy.Bcrypt{}, strings.Replace(cheap, "$04$", "$15$", 1), false},
		{"bcrypt of cost 31", legacy.Bcrypt{MaxCost: 20}, strings.Replace(cheap, "$04$", "$31$", 1), false},
		{"bcrypt of cost 3", legacy.Bcrypt{}, strings.Replace(cheap, "$04$", "$03$", 1), false},
		{"bcrypt of cost 99", legacy.Bcrypt{}, strings.Replace(cheap, "$04$", "$99$", 1), false},
		{"bcrypt of cost +4", legacy.Bcrypt{}, strings.Replace(cheap, "$04$", "$+4$", 1), false},
		{"bcrypt without a bound", legacy.Bcrypt{MaxCost: 31}, cheap, false},
		{"argon2id within the bounds", legacy.Argon2id{}, argon2ided(text, 64, 2, 1), true},
		{"argon2id at other bounds", legacy.Argon2id{MaxMemory: 64, MaxTime: 2, MaxThreads: 1}, argon2ided(text, 64, 2, 1), true},
		{"argon2id of 64 GiB", legacy.Argon2id{}, argon2id("m=67108864,t=1,p=1"), false},
		{"argon2id of 64 MiB and 1 KiB", legacy.Argon2id{}, argon2id("m=65537,t=1,p=1"), false},
		{"argon2id of 2^32 KiB", legacy.Argon2id{}, argon2id("m=4294967296,t=1,p=1"), false},
		{"argon2id of 11 passes", legacy.Argon2id{}, argon2id("m=64,t=11,p=1"), false},
		{"argon2id of 4294967295 passes", legacy.Argon2id{}, argon2id("m=64,t=4294967295,p=1"), false},
		{"argon2id of 9 lanes", legacy.Argon2id{}, argon2id("m=128,t=1,p=9"), false},
		{"argon2id of 257 lanes", legacy.Argon2id{MaxThreads: 255}, argon2id("m=8192,t=1,p=257"), false},
		{"argon2id of no passes", legacy.Argon2id{}, argon2id("m=64,t=0,p=1"), false},
		{"argon2id of no lanes", legacy.Argon2id{}, argon2id("m=64,t=1,p=0"), false},
		{"argon2id of no memory", legacy.Argon2id{}, argon2id("m=0,t=1,p=1"), false},
		{"argon2id of less than 8 KiB a lane", legacy.Argon2id{}, argon2id("m=15,t=1,p=2"), false},
		{"argon2id in another order", legacy.Argon2id{}, argon2id("t=1,m=64,p=1"), false},
		{"argon2id with more", legacy.Argon2id{}, argon2id("m=64,t=1,p=1,keyid=x"), false},
		{"argon2id of -1", legacy.Argon2id{}, argon2id("m=-1,t=1,p=1"), false},
		{"argon2id of 064", legacy.Argon2id{}, argon2id("m=064,t=1,p=1"), false},
		{"argon2id of version 16", legacy.Argon2id{}, strings.Replace(argon2id("m=64,t=1,p=1"), "v=19", "v=16", 1), false},
		{"argon2id without a version", legacy.Argon2id{}, strings.Replace(argon2id("m=64,t=1,p=1"), "v=19$", "", 1), false},
		{"argon2i", legacy.Argon2id{}, strings.Replace(argon2id("m=64,t=1,p=1"), "argon2id", "argon2i", 1), false},
		{"argon2id with an empty hash", legacy.Argon2id{}, "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$", false},
		{"argon2id with a hash of 8 bytes", legacy.Argon2id{}, "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAA", false},
		{"argon2id with an empty salt", legacy.Argon2id{}, "$argon2id$v=19$m=64,t=1,p=1$$AAAAAAAAAAAAAAAAAAAAAA", false},
		{"argon2id with bad bounds", legacy.Argon2id{MaxMemory: 1 << 30}, argon2ided(text, 64, 1, 1), false},
	} {
		ok, err := tt.scheme.Prove(text, tt.encoded)
		if check := tt.scheme.Check(tt.encoded); ok != tt.want || (err == nil) != tt.want || (check == nil) != tt.want {
			t.Errorf("%s: Check = %v, Prove = %t, %v; want %t", tt.name, check, ok, err, tt.want)
		}
	}
}

// argon2id returns a digest of nothing with these parameters.
func argon2id(parameters string) string {
	return "$argon2id$v=19$" + parameters + "$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
}

// The digests of other implementations.
func TestKnownDigests(t *testing.T) {
	for _, tt := range []struct {
		scheme        apikey.LegacyVerifier
		text, encoded string
	}{
		// FIPS 180-4, "abc".
		{legacy.SHA256Hex{}, "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		{legacy.SHA256Base64{}, "abc", "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="},
		{legacy.SHA256Base64URL{}, "abc", "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"},
		// The test vectors of the C implementations of bcrypt (crypt_blowfish) and
		// argon2 (phc-winner-argon2, test.c).
		{legacy.Bcrypt{}, "U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"},
		{legacy.Argon2id{}, "password", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"},
	} {
		if ok, err := tt.scheme.Prove(tt.text, tt.encoded); !ok || err != nil {
			t.Errorf("%T: %q is not %s: %v", tt.scheme, tt.text, tt.encoded, err)
		}
	}
}

// Check and Prove agree on what can be read, and neither fails in any other way.
func FuzzSchemes(f *testing.F) {
	for _, s := range schemes(f) {
		f.Add(s.encode(text))
	}
	f.Add(argon2id("m=64,t=1,p=1"))
	f.Add("$2a$04$")
	all := []apikey.LegacyVerifier{
		legacy.SHA256Hex{}, legacy.SHA256Base64{}, legacy.SHA256Base64URL{}, legacy.Bcrypt{MaxCost: 4},
		legacy.Argon2id{MaxMemory: 64, MaxTime: 1, MaxThreads: 2},
	}
	f.Fuzz(func(t *testing.T, encoded string) {
		for _, s := range all {
			check := s.Check(encoded)
			if ok, err := s.Prove(encoded, encoded); ok || (err == nil) != (check == nil) {
				t.Fatalf("%T of %q: Check = %v, Prove of itself = %t, %v", s, encoded, check, ok, err)
			}
		}
	})
}
