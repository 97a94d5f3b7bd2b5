package apikey_test

import (
	"bytes"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// formats are the shapes seen in the wild that one Format value must express.
var formats = []struct {
	name         string
	prefix       string
	options      *apikey.FormatOptions
	environments []string
	example      string // what a key looks like, as a regular expression
}{
	{"magica", "gx", nil, []string{""}, `^gx_[0-9A-Za-z]{54}$`},
	{"mediamagic", "sk", &apikey.FormatOptions{Environments: []string{"live", "test"}}, []string{"live", "test"}, `^sk_(live|test)_[0-9A-Za-z]{54}$`},
	{"ai magicx", "mgx-sk", &apikey.FormatOptions{
		Separator: "-", Alphabet: "abcdefghijklmnopqrstuvwxyz0123456789", NoID: true, NoChecksum: true,
	}, []string{""}, `^mgx-sk-[a-z0-9]{32}$`},
	{"magnific", "mag_api", &apikey.FormatOptions{SecretLength: 40}, []string{""}, `^mag_api_[0-9A-Za-z]{62}$`},
	{"magic hour", "mhk_live", nil, []string{""}, `^mhk_live_[0-9A-Za-z]{54}$`},
	{"hex", "acme", &apikey.FormatOptions{Alphabet: "0123456789abcdef"}, []string{""}, `^acme_[0-9a-f]{56}$`},
	{"prefix full of separators", "a_b_c", &apikey.FormatOptions{Environments: []string{"b", "c", "live", "prod"}}, []string{"b", "c", "live", "prod"}, `^a_b_c_(b|c|live|prod)_[0-9A-Za-z]{54}$`},
	{"two-byte separator", "x", &apikey.FormatOptions{Separator: "--", NoChecksum: true}, []string{""}, `^x--[0-9A-Za-z]{48}$`},
	{"checksum without id", "ghp", &apikey.FormatOptions{NoID: true, SecretLength: 30}, []string{""}, `^ghp_[0-9A-Za-z]{36}$`},
	{"short id", "seam", &apikey.FormatOptions{IDLength: 8, SecretLength: 24}, []string{""}, `^seam_[0-9A-Za-z]{38}$`},
	{"digits", "pin", &apikey.FormatOptions{Alphabet: "0123456789", SecretLength: 39}, []string{""}, `^pin_[0-9]{65}$`},
}

func newFormat(t testing.TB, prefix string, o *apikey.FormatOptions) *apikey.Format {
	t.Helper()
	f, err := apikey.NewFormat(prefix, o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func generate(t testing.TB, f *apikey.Format, environment string) string {
	t.Helper()
	secret, err := f.Generate(environment, nil)
	if err != nil {
		t.Fatal(err)
	}
	return secret.Reveal()
}

func TestFormatsRoundTrip(t *testing.T) {
	for _, tt := range formats {
		t.Run(tt.name, func(t *testing.T) {
			f := newFormat(t, tt.prefix, tt.options)
			scanner := regexp.MustCompile(f.Regexp())
			for _, env := range tt.environments {
				for range 50 {
					key := generate(t, f, env)
					if !regexp.MustCompile(tt.example).MatchString(key) {
						t.Fatalf("key %q does not look like %s", key, tt.example)
					}
					parts, err := f.Parse(key)
					if err != nil || parts.Environment != env {
						t.Fatalf("Parse(%q) = %+v, %v; want environment %q", key, parts, err, env)
					}
					if noID := tt.options != nil && tt.options.NoID; (parts.ID == "") != noID {
						t.Fatalf("Parse(%q): id %q", key, parts.ID)
					}
					if found := scanner.FindString(`token="` + key + `",`); found != key {
						t.Fatalf("Regexp %s found %q in a text with %q", f.Regexp(), found, key)
					}
				}
			}
		})
	}
}

func TestParseRefusesWhatTheFormatDoesNotMake(t *testing.T) {
	for _, tt := range formats {
		t.Run(tt.name, func(t *testing.T) {
			f := newFormat(t, tt.prefix, tt.options)
			key := generate(t, f, tt.environments[0])
			bad := map[string]string{
				"empty":            "",
				"prefix alone":     tt.prefix,
				"one byte short":   key[:len(key)-1],
				"one byte long":    key + "a",
				"leading space":    " " + key,
				"trailing newline": key + "\n",
				"space inside":     key[:len(key)-9] + " " + key[len(key)-8:],
				"NUL inside":       key[:len(key)-9] + "\x00" + key[len(key)-8:],
				"not ASCII":        key[:len(key)-9] + "\xc3" + key[len(key)-8:],
				"separator inside": key[:len(key)-9] + "_" + key[len(key)-8:],
				"other prefix":     "z" + key[1:],
				"twice":            key + key,
				"1 MiB":            strings.Repeat(key, 1<<20/len(key)),
				"1 MiB of NUL":     strings.Repeat("\x00", 1<<20),
			}
			for _, env := range tt.environments {
				bad["fake "+env] = f.Fake(env)
			}
			for name, token := range bad {
				if parts, err := f.Parse(token); !errors.Is(err, apikey.ErrMalformed) || parts != (apikey.Parts{}) {
					t.Errorf("%s: Parse(%.80q) = %+v, %v; want ErrMalformed", name, token, parts, err)
				}
			}
		})
	}
}

// A checksum of 32 bits lets no single wrong character pass.
func TestChecksumRefusesEveryTypingError(t *testing.T) {
	f := newFormat(t, "gx", &apikey.FormatOptions{Environments: []string{"live"}})
	key := []byte(generate(t, f, "live"))
	for i := range key {
		right := key[i]
		for _, c := range []byte("0Aaz9Z_") {
			if c == right {
				continue
			}
			key[i] = c
			if _, err := f.Parse(string(key)); err == nil {
				t.Errorf("Parse accepts %q, wrong at %d", key, i)
			}
		}
		key[i] = right
	}
	for i := range len(key) - 1 { // neighbours swapped
		if key[i] == key[i+1] {
			continue
		}
		key[i], key[i+1] = key[i+1], key[i]
		if _, err := f.Parse(string(key)); err == nil {
			t.Errorf("Parse accepts %q, swapped at %d", key, i)
		}
		key[i], key[i+1] = key[i+1], key[i]
	}
}

func TestEnvironmentSwapFailsTheChecksum(t *testing.T) {
	f := newFormat(t, "sk", &apikey.FormatOptions{Environments: []string{"live", "test"}})
	swapped := strings.Replace(generate(t, f, "test"), "_test_", "_live_", 1)
	if _, err := f.Parse(swapped); !errors.Is(err, apikey.ErrMalformed) {
		t.Errorf("Parse of a test key dressed as live = %v, want ErrMalformed", err)
	}
}

// The environment is a field at a fixed place, never a substring.
func TestEnvironmentIsNotReadFromThePrefix(t *testing.T) {
	f := newFormat(t, "my_live", &apikey.FormatOptions{Environments: []string{"test", "live"}})
	if parts, err := f.Parse(generate(t, f, "test")); err != nil || parts.Environment != "test" {
		t.Errorf("Parse = %+v, %v; want environment test", parts, err)
	}
}

func TestNewFormatReportsEveryFault(t *testing.T) {
	_, err := apikey.NewFormat("gx_", &apikey.FormatOptions{
		Environments: []string{"li ve", "a", "a"}, SecretLength: 20, IDLength: 3,
	})
	for _, want := range []string{
		`prefix "gx_" ends in the separator, which is added to it; give "gx"`,
		`environment "li ve": give 1 to 16 letters and digits`,
		`environment "a" is given twice`,
		`secret length 20 holds 119 random bits; give 22 or more characters for 128 bits`,
		`id length is 3; give 8 to 64`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q: %v", want, err)
		}
	}
	if errors.CodeOf(err) != errors.Invalid {
		t.Errorf("code %v, want invalid", errors.CodeOf(err))
	}
}

func TestNewFormatRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		prefix string
		o      apikey.FormatOptions
	}{
		"empty prefix":          {"", apikey.FormatOptions{}},
		"prefix with a space":   {"a b", apikey.FormatOptions{}},
		"prefix with a newline": {"a\n", apikey.FormatOptions{}},
		"prefix from a mark":    {"-a", apikey.FormatOptions{}},
		"long prefix":           {strings.Repeat("a", 33), apikey.FormatOptions{}},
		"odd separator":         {"a", apikey.FormatOptions{Separator: "|"}},
		"long separator":        {"a", apikey.FormatOptions{Separator: "-----"}},
		"empty environment":     {"a", apikey.FormatOptions{Environments: []string{""}}},
		"repeating alphabet":    {"a", apikey.FormatOptions{Alphabet: "01234567890"}},
		"short alphabet":        {"a", apikey.FormatOptions{Alphabet: "012345678", SecretLength: 64}},
		"alphabet with marks":   {"a", apikey.FormatOptions{Alphabet: "0123456789-_"}},
		"little entropy":        {"a", apikey.FormatOptions{SecretLength: 21}},
		"negative secret":       {"a", apikey.FormatOptions{SecretLength: -1}},
		"endless secret":        {"a", apikey.FormatOptions{SecretLength: 129}},
		"id length without id":  {"a", apikey.FormatOptions{NoID: true, IDLength: 16}},
		"longer than the bound": {strings.Repeat("a", 32), apikey.FormatOptions{SecretLength: 128, IDLength: 64, Environments: []string{"abcdefghijklmnop"}, Separator: "----", Alphabet: "0123456789"}},
	} {
		if f, err := apikey.NewFormat(tt.prefix, &tt.o); err == nil || f != nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestZeroFormatRefuses(t *testing.T) {
	var f apikey.Format
	if _, err := f.Parse(""); !errors.Is(err, apikey.ErrMalformed) {
		t.Errorf("Parse = %v", err)
	}
	if _, err := f.Generate("", nil); err == nil {
		t.Error("Generate succeeds")
	}
	if got := f.Fake(""); got != "" {
		t.Errorf("Fake = %q", got)
	}
	if regexp.MustCompile(f.Regexp()).MatchString("anything at all") {
		t.Error("Regexp finds something")
	}
}

func TestFakeLooksLikeAKeyAndNeverIsOne(t *testing.T) {
	for _, tt := range formats {
		f := newFormat(t, tt.prefix, tt.options)
		for _, env := range tt.environments {
			fake := f.Fake(env)
			if !regexp.MustCompile(tt.example).MatchString(fake) || fake != f.Fake(env) {
				t.Errorf("%s: fake %q", tt.name, fake)
			}
		}
		if got := f.Fake("no such label"); got != "" {
			t.Errorf("%s: Fake of an unknown environment = %q", tt.name, got)
		}
	}
}

func TestGenerateIsUnbiased(t *testing.T) {
	f := newFormat(t, "k", &apikey.FormatOptions{NoID: true, NoChecksum: true, SecretLength: 128})
	// With b % 62 eight characters would come 25 % more often than they should.
	every := rand.NewChaCha8([32]byte{1})
	count := map[rune]int{}
	drawn := 0
	for range 2000 {
		s, err := f.Generate("", every)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range strings.TrimPrefix(s.Reveal(), "k_") {
			count[c]++
			drawn++
		}
	}
	if len(count) != 62 {
		t.Fatalf("%d characters, want 62", len(count))
	}
	for c, n := range count {
		if share := float64(n) * 62 / float64(drawn); share < 0.9 || share > 1.1 {
			t.Errorf("character %c comes %.2f times as often as it should", c, share)
		}
	}
}

func TestGenerateRefusesABrokenSource(t *testing.T) {
	f := newFormat(t, "k", nil)
	for name, r := range map[string]*bytes.Reader{
		"empty": bytes.NewReader(nil),
		"zeros": bytes.NewReader(make([]byte, 1<<20)),
		"stuck": bytes.NewReader(bytes.Repeat([]byte{0xff}, 1<<20)),
	} {
		if s, err := f.Generate("", r); errors.CodeOf(err) != errors.Unavailable || !s.IsZero() {
			t.Errorf("%s: %v, want unavailable", name, err)
		}
	}
	if _, err := f.Generate("live", nil); errors.CodeOf(err) != errors.Invalid {
		t.Errorf("unknown environment: %v, want invalid", err)
	}
}

func TestParseAllocatesNothing(t *testing.T) {
	f := newFormat(t, "sk", &apikey.FormatOptions{Environments: []string{"live", "test"}})
	for name, token := range map[string]string{
		"key": generate(t, f, "test"), "garbage": strings.Repeat("x", 64), "fake": f.Fake("live"), "1 MiB": strings.Repeat("x", 1<<20),
	} {
		if n := testing.AllocsPerRun(100, func() { _, _ = f.Parse(token) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
