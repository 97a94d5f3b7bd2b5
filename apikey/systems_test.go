package apikey_test

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// The keys of five public systems, as far as their documents say how they look,
// each one Format value.
var systems = []struct {
	name         string
	prefix       string
	options      *apikey.FormatOptions
	environments []string
	shape        string   // what keys look like
	regexp       string   // Format.Regexp
	fake         string   // Format.Fake of the first environment
	start        string   // what a dashboard shows, as a regular expression
	works        []string // keys from the document that have the shape
	refused      []string // what stands for a key in the document, and what is close to one
}{
	{
		name: "Magnific", prefix: "mag", environments: []string{""}, // its document shows no key
		shape: `mag_[0-9A-Za-z]{54}`, regexp: `mag_[0-9A-Za-z]{54}`, fake: "mag_" + strings.Repeat("x", 48), start: `mag_[0-9A-Za-z]{4}`,
	},
	{
		name: "Magica", prefix: "gx", environments: []string{""},
		shape: `gx_[0-9A-Za-z]{54}`, regexp: `gx_[0-9A-Za-z]{54}`, fake: "gx_" + strings.Repeat("x", 48), start: `gx_[0-9A-Za-z]{4}`,
		refused: []string{"gx_your_api_key", "gx_...", "gx_"},
	},
	{
		name: "MediaMagic", prefix: "sk", options: &apikey.FormatOptions{Environments: []string{"live", "test"}}, environments: []string{"live", "test"},
		shape: `sk_(live|test)_[0-9A-Za-z]{54}`, regexp: `(?:sk_live_|sk_test_)[0-9A-Za-z]{54}`, fake: "sk_live_" + strings.Repeat("x", 48), start: `sk_(live|test)_[0-9A-Za-z]{4}`,
		refused: []string{"sk_live_your_api_key", "sk_test_your_api_key", "sk_prod_" + strings.Repeat("a1", 27), "sk_" + strings.Repeat("a1", 27)},
	},
	{
		name: "Magic Hour", prefix: "mhk", environments: []string{""}, // its document shows no key, and only the last four of one
		shape: `mhk_[0-9A-Za-z]{54}`, regexp: `mhk_[0-9A-Za-z]{54}`, fake: "mhk_" + strings.Repeat("x", 48), start: `mhk_[0-9A-Za-z]{4}`,
	},
	{
		name: "AI Magicx", prefix: "mgx-sk", environments: []string{""}, options: &apikey.FormatOptions{
			Separator: "-", Alphabet: "abcdefghijklmnopqrstuvwxyz0123456789", SecretLength: 32, NoID: true, NoChecksum: true,
		},
		shape: `mgx-sk-[a-z0-9]{32}`, regexp: `mgx-sk-[0-9a-z]{32}`, fake: "mgx-sk-" + strings.Repeat("x", 32), start: `mgx-sk-`,
		works: []string{"mgx-sk-a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6"},
		refused: []string{"mgx-sk-your-api-key", "mgx-sk-[unique-identifier]", "mgx-sk-...", "mgx-sk", "mgx-sk_" + strings.Repeat("a1", 16),
			"mgx-sk-A1B2C3D4E5F6G7H8I9J0K1L2M3N4O5P6", "mgx-" + strings.Repeat("a1", 16)},
	},
}

func TestTheFiveSystemsAreFormats(t *testing.T) {
	for _, sys := range systems {
		t.Run(sys.name, func(t *testing.T) {
			f := newFormat(t, sys.prefix, sys.options)
			if f.Regexp() != sys.regexp {
				t.Errorf("Regexp = %s, want %s", f.Regexp(), sys.regexp)
			}
			if fake := f.Fake(sys.environments[0]); !strings.HasPrefix(fake, sys.fake) || !regexp.MustCompile(`^`+sys.shape+`$`).MatchString(fake) {
				t.Errorf("Fake = %s, want %s...", fake, sys.fake)
			}
			s := newService(t, apikey.NewMemoryStore(), f, &apikey.Options{Peppers: []apikey.Pepper{pepper}})
			for _, environment := range sys.environments {
				issued := create(t, s, apikey.Spec{Environment: environment})
				text := issued.Secret.Reveal()
				if !regexp.MustCompile(`^` + sys.shape + `$`).MatchString(text) {
					t.Errorf("a key looks like %s, want %s", text, sys.shape)
				}
				if key, err := s.Verify(t.Context(), text, nil); err != nil || key.Environment != environment {
					t.Errorf("Verify = %q, %v", key.Environment, err)
				}
				if !regexp.MustCompile(`^`+sys.start+`$`).MatchString(issued.Key.Start) || issued.Key.Last4 != text[len(text)-4:] {
					t.Errorf("shown as %s...%s, want %s", issued.Key.Start, issued.Key.Last4, sys.start)
				}
				rotated := must(s.Rotate(t.Context(), issued.Key.ID, time.Hour))(t)
				if !regexp.MustCompile(`^` + sys.shape + `$`).MatchString(rotated.Secret.Reveal()) {
					t.Errorf("rotated it looks like %s", rotated.Secret.Reveal())
				}
			}
			for _, text := range sys.works {
				if _, err := f.Parse(text); err != nil {
					t.Errorf("%s is refused", text)
				}
			}
			for _, text := range sys.refused {
				if _, err := f.Parse(text); err == nil {
					t.Errorf("%s is accepted", text)
				}
			}
		})
	}
}

// Defects of other systems, by name. Each of them cost somebody keys, or secrets.

// Base64url holds the separator: two projects shipped 11.8 % dead keys, split at
// the wrong one (thoughtbox#430, rallly#2605). Here no alphabet holds a mark, and
// keys are read by fixed widths.
func TestSeparatorsInTheBodyCannotHappen(t *testing.T) {
	const base64url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for _, alphabet := range []string{base64url, base64url[:62] + "_", base64url[:62] + ".", base64url[:62] + "~"} {
		if _, err := apikey.NewFormat("k", &apikey.FormatOptions{Alphabet: alphabet}); err == nil {
			t.Errorf("alphabet %s is accepted", alphabet)
		}
	}
	for _, separator := range []string{"_", "-", ".", "~", "__", "-_.~"} {
		f := newFormat(t, "my"+separator+"key", &apikey.FormatOptions{Separator: separator, Environments: []string{"live"}})
		for range 2000 {
			key := generate(t, f, "live")
			if parts, err := f.Parse(key); err != nil || parts.Environment != "live" || len(parts.ID) != 16 {
				t.Fatalf("Parse(%q) = %+v, %v", key, parts, err)
			}
		}
	}
}

// Split at the first separator, a key of my_company became one of my (unkey's
// reroll); split at the last, a prefix lost its environment.
func TestPrefixesThatHoldTheSeparatorStayWhole(t *testing.T) {
	for _, prefix := range []string{"my_company", "sk_live", "a_b_c_d", "x_" + "y"} {
		for _, environments := range [][]string{nil, {"live", "test"}} {
			f := newFormat(t, prefix, &apikey.FormatOptions{Environments: environments})
			s := newService(t, apikey.NewMemoryStore(), f, nil)
			environment, head := "", prefix+"_"
			if environments != nil {
				environment, head = "test", prefix+"_test_"
			}
			issued := create(t, s, apikey.Spec{Environment: environment})
			heir := must(s.Rotate(t.Context(), issued.Key.ID, time.Hour))(t)
			for _, i := range []apikey.Issued{issued, heir} {
				text := i.Secret.Reveal()
				if !strings.HasPrefix(text, head) || i.Key.Environment != environment || !strings.HasPrefix(i.Key.Start, head) {
					t.Errorf("prefix %s: %s of environment %q", prefix, text, i.Key.Environment)
				}
				if _, err := s.Verify(t.Context(), text, nil); err != nil {
					t.Errorf("prefix %s: %v", prefix, err)
				}
			}
		}
	}
}

// Live keys were taken for test keys because "_live_" was looked for in texts that
// began with sk_live (flowglad#1226). The environment stands in one place, whole.
func TestEnvironmentIsNoSubstring(t *testing.T) {
	f := newFormat(t, "sk_live", &apikey.FormatOptions{Environments: []string{"test", "live", "liv", "live2", "e", "Test"}})
	for _, environment := range f.Environments() {
		for range 50 {
			if parts, err := f.Parse(generate(t, f, environment)); err != nil || parts.Environment != environment {
				t.Fatalf("Parse = %+v, %v; want %s", parts, err, environment)
			}
		}
	}
	bare := newFormat(t, "sk_live", nil)
	if parts, err := bare.Parse(generate(t, bare, "")); err != nil || parts.Environment != "" {
		t.Errorf("Parse = %+v, %v; want no environment", parts, err)
	}
}

// The environment is bound into what is proven, not only into the text: one that
// the record, or the text, claims falsely opens nothing.
func TestEnvironmentIsProven(t *testing.T) {
	for _, o := range []apikey.FormatOptions{{}, {NoChecksum: true}, {NoChecksum: true, NoID: true}} {
		store := apikey.NewMemoryStore()
		s := newService(t, store, sk(t, o), nil)
		issued := create(t, s, apikey.Spec{Environment: "test"})
		text := issued.Secret.Reveal()
		dressed := strings.Replace(text, "_test_", "_live_", 1)
		if _, err := s.Verify(t.Context(), dressed, nil); errors.CodeOf(err) != errors.Unauthenticated {
			t.Errorf("%+v: dressed as live: %v", o, err)
		}
		rec := must(store.ByID(t.Context(), issued.Key.ID))(t)
		rec.Key.Environment = "live" // in the store, by whatever fault
		rec.Key.Version++
		if err := store.Apply(t.Context(), apikey.Change{Update: []apikey.Record{rec}}); err != nil {
			t.Fatal(err)
		}
		for _, asked := range []string{"", "live", "test"} {
			if _, err := s.Verify(t.Context(), text, &apikey.VerifyOptions{Environment: asked}); !errors.Is(err, apikey.ErrEnvironment) {
				t.Errorf("%+v: the record says live, and %q is asked for: %v", o, asked, err)
			}
		}
		if _, err := s.Verify(t.Context(), dressed, nil); errors.CodeOf(err) != errors.Unauthenticated {
			t.Errorf("%+v: dressed as live, of a record that says live: %v", o, err)
		}
	}
}

// A length check refused older keys when new ones became longer (better-auth#6258,
// rybbit#772). Former formats go on working, and new keys are of the present one.
func TestKeysOfFormerFormatsGoOnWorking(t *testing.T) {
	store := apikey.NewMemoryStore()
	short := newFormat(t, "sk", &apikey.FormatOptions{IDLength: 8, SecretLength: 24, NoChecksum: true, Environments: []string{"live"}})
	other := newFormat(t, "key", &apikey.FormatOptions{NoID: true, Separator: "-"})
	present := sk(t, apikey.FormatOptions{SecretLength: 64})
	texts := map[string]string{}
	for i, f := range []*apikey.Format{short, other} {
		environment := map[int]string{0: "live"}[i]
		issued := create(t, newService(t, store, f, nil), apikey.Spec{Environment: environment})
		texts[issued.Secret.Reveal()] = issued.Key.ID
	}
	s := newService(t, store, present, &apikey.Options{Former: []*apikey.Format{short, other}})
	for text, id := range texts {
		if key, err := s.Verify(t.Context(), text, nil); err != nil || key.ID != id {
			t.Errorf("%s: %s, %v", text, key.ID, err)
		}
		if key, err := s.Identify(t.Context(), text); err != nil || key.ID != id {
			t.Errorf("%s: Identify = %s, %v", text, key.ID, err)
		}
		if _, err := s.Verify(t.Context(), text[:len(text)-1]+"?", nil); !errors.Is(err, apikey.ErrMalformed) {
			t.Errorf("%s with a wrong end: %v", text, err)
		}
		if _, err := newService(t, store, present, nil).Verify(t.Context(), text, nil); !errors.Is(err, apikey.ErrMalformed) {
			t.Errorf("%s without its format: %v", text, err)
		}
	}
	issued := create(t, s, apikey.Spec{Environment: "test"})
	if _, err := present.Parse(issued.Secret.Reveal()); err != nil {
		t.Errorf("a new key is not of the present format: %v", err)
	}
	heir := must(s.Import(t.Context(), []apikey.ImportRow{{Spec: apikey.Spec{Owner: "a"}, Text: apikey.NewSecret(generate(t, short, "live"))}}))(t)[0]
	if heir.Err != nil || len(heir.Key.Start) != len("sk_live_")+4 || heir.Key.Environment != "live" {
		t.Errorf("imported by text: %+v", heir)
	}
	for _, former := range [][]*apikey.Format{{nil}, {new(apikey.Format)}, make([]*apikey.Format, 17)} {
		if _, err := apikey.NewService(store, present, &apikey.Options{Former: former}); errors.CodeOf(err) != errors.Invalid {
			t.Errorf("former %v: %v", former, err)
		}
	}
}

// Before a format had environments, one may have stood in its prefix, so that the
// texts read as keys of that environment now. They go on working, and can be
// replaced, and are in no environment still.
func TestKeysOfAFormerPrefixThatReadsAsAnEnvironment(t *testing.T) {
	for _, o := range []apikey.FormatOptions{{}, {NoID: true}} {
		store := apikey.NewMemoryStore()
		former := newFormat(t, "sk_live", &o)
		issued := create(t, newService(t, store, former, nil), apikey.Spec{})
		s := newService(t, store, sk(t, o), &apikey.Options{Former: []*apikey.Format{former}})
		works := func(issued apikey.Issued) {
			t.Helper()
			if key, err := s.Verify(t.Context(), issued.Secret.Reveal(), nil); err != nil || key.ID != issued.Key.ID {
				t.Errorf("%s, %v", key.ID, err)
			}
			for _, environment := range []string{"live", "test"} {
				_, err := s.Verify(t.Context(), issued.Secret.Reveal(), &apikey.VerifyOptions{Environment: environment})
				if !errors.Is(err, apikey.ErrEnvironment) {
					t.Errorf("as a key of %s: %v", environment, err)
				}
			}
		}
		works(issued)
		works(must(s.Regenerate(t.Context(), issued.Key.ID))(t))
		refused(t, s, apikey.ErrUnknown, issued.Secret.Reveal())
		works(must(s.Rotate(t.Context(), issued.Key.ID, 0))(t))
	}
}

// alphabets of all sizes that leave another rest of 256.
var alphabets = []string{
	"0123456789", "0123456789abcdef", "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "abcdefghijklmnopqrstuvwxyz0123456789",
	"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz", "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
}

// b % 62 makes eight characters come 25 % more often (Grafana's generator). Of the
// 256 values of a byte each character has the same number here, exactly, and the
// rest are drawn again: with bytes that are uniform and independent, so are the
// characters.
func TestEachCharacterHasTheSameBytes(t *testing.T) {
	for _, alphabet := range alphabets {
		k := len(alphabet)
		f := newFormat(t, "k", &apikey.FormatOptions{Alphabet: alphabet, SecretLength: 40, NoID: true, NoChecksum: true})
		bytesOf, again := map[byte]int{}, 0
		for b := range 256 {
			// b, and then bytes of which the first is the last character: that is the
			// second character only if b made the first.
			deck := []byte{byte(b), byte(k - 1)}
			for i := range 62 {
				deck = append(deck, byte(i%(k-1)))
			}
			secret, err := f.Generate("", strings.NewReader(string(deck)))
			if err != nil {
				t.Fatal(err)
			}
			body := strings.TrimPrefix(secret.Reveal(), "k_")
			switch {
			case body[1] == alphabet[k-1]:
				bytesOf[body[0]]++
			case body[0] == alphabet[k-1] && body[1] == alphabet[0]:
				again++
			default:
				t.Fatalf("byte %d of alphabet %s gives %s", b, alphabet, body)
			}
		}
		if again != 256%k || len(bytesOf) != k {
			t.Errorf("alphabet %s: %d bytes are drawn again, want %d; %d characters", alphabet, again, 256%k, len(bytesOf))
		}
		for c, n := range bytesOf {
			if n != 256/k {
				t.Errorf("alphabet %s: %c has %d bytes, want %d", alphabet, c, n, 256/k)
			}
		}
	}
}

// The same, as a statistic: with a source of a fixed seed, chi-squared of every
// character, and of every pair of neighbours, is what chance makes of it.
func TestKeysAreUniform(t *testing.T) {
	const seed, keys = 7, 3000
	for _, alphabet := range alphabets {
		source := rand.NewChaCha8([32]byte{seed})
		f := newFormat(t, "k", &apikey.FormatOptions{Alphabet: alphabet, SecretLength: 100, NoChecksum: true, IDLength: 20})
		single, pairs := map[string]int{}, map[string]int{}
		for range keys {
			secret, err := f.Generate("", source)
			if err != nil {
				t.Fatal(err)
			}
			body := strings.TrimPrefix(secret.Reveal(), "k_")
			for i := range len(body) {
				single[body[i:i+1]]++
				if i%2 == 0 {
					pairs[body[i:i+2]]++
				}
			}
		}
		for name, tt := range map[string]struct {
			count      map[string]int
			cells, all int
		}{
			"characters": {single, len(alphabet), keys * 120},
			"pairs":      {pairs, len(alphabet) * len(alphabet), keys * 60},
		} {
			// Chi-squared of n cells has the mean n-1 and the variance 2(n-1).
			expected, sum := float64(tt.all)/float64(tt.cells), 0.0
			for _, n := range tt.count {
				sum += (float64(n) - expected) * (float64(n) - expected) / expected
			}
			sum += float64(tt.cells-len(tt.count)) * expected
			if z := (sum - float64(tt.cells-1)) / math.Sqrt(2*float64(tt.cells-1)); math.Abs(z) > 4 {
				t.Errorf("seed %d, alphabet %s: %s are %.1f standard deviations from chance", seed, alphabet, name, z)
			}
		}
	}
}

// A source that gives a byte at a time, or an error with its last, is read whole.
func TestGenerateReadsSlowSources(t *testing.T) {
	f := newFormat(t, "k", nil)
	secret, err := f.Generate("", oneByte{rand.NewChaCha8([32]byte{1})})
	if err != nil {
		t.Fatal(err)
	}
	again, err := f.Generate("", rand.NewChaCha8([32]byte{1}))
	if err != nil || again.Reveal() != secret.Reveal() {
		t.Errorf("%s and %s, %v", secret.Reveal(), again.Reveal(), err)
	}
	if _, err := f.Generate("", io.LimitReader(rand.NewChaCha8([32]byte{1}), 63)); errors.CodeOf(err) != errors.Unavailable {
		t.Errorf("a source that ends: %v", err)
	}
}

type oneByte struct{ io.Reader }

func (r oneByte) Read(p []byte) (int, error) { return r.Reader.Read(p[:1]) }

// Keys do not come twice, and differ from the first characters on: their handles
// spread, and a person can tell them apart (unkey moved its version mark for it).
func TestKeysDifferFromTheStart(t *testing.T) {
	f := newFormat(t, "k", nil)
	texts, starts := map[string]bool{}, map[string]bool{}
	for range 2000 {
		key := generate(t, f, "")
		texts[key], starts[key[:6]] = true, true
	}
	if len(texts) != 2000 || len(starts) < 1990 {
		t.Errorf("%d keys, %d starts of 2000", len(texts), len(starts))
	}
}

// The floor: the least secret of each alphabet that holds 128 bits, and no less.
func TestEntropyFloor(t *testing.T) {
	for _, alphabet := range alphabets {
		least := int(math.Ceil(apikey.MinEntropy / math.Log2(float64(len(alphabet)))))
		if _, err := apikey.NewFormat("k", &apikey.FormatOptions{Alphabet: alphabet, SecretLength: least}); err != nil {
			t.Errorf("%d characters of %d: %v", least, len(alphabet), err)
		}
		_, err := apikey.NewFormat("k", &apikey.FormatOptions{Alphabet: alphabet, SecretLength: least - 1})
		if want := fmt.Sprintf("give %d or more characters for 128 bits", least); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d characters of %d: %v, want %q", least-1, len(alphabet), err, want)
		}
	}
}

// The longest key there can be is read, and what is a byte longer is not.
func TestTheLongestKey(t *testing.T) {
	long := strings.Repeat("e", 16)
	f := newFormat(t, strings.Repeat("p", 32), &apikey.FormatOptions{
		Environments: []string{long, "e"}, Separator: "----", IDLength: 64, SecretLength: 128,
	})
	key := generate(t, f, long)
	if _, err := f.Parse(key); err != nil || len(key) > apikey.MaxTokenLength {
		t.Errorf("%d bytes: %v", len(key), err)
	}
	for _, text := range []string{key + "0", key[:len(key)-1], strings.Repeat(key, 1<<12)} {
		if _, err := f.Parse(text); !errors.Is(err, apikey.ErrMalformed) {
			t.Errorf("%d bytes: %v", len(text), err)
		}
	}
}
