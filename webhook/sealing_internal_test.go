package webhook

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/internal/seal"
)

func sealing(versions ...uint32) []SealingKey {
	var keys []SealingKey
	for _, v := range versions {
		keys = append(keys, SealingKey{Version: v, Secret: bytes.Repeat([]byte{byte(v)}, seal.Size)})
	}
	return keys
}

func testSealer(t testing.TB, versions ...uint32) *sealer {
	t.Helper()
	faults := errors.Faults{Op: "test"}
	s := newSealer(&faults, sealing(versions...))
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	return s
}

// text seals any text for an endpoint.
func (s *sealer) text(t testing.TB, id, text string) []byte {
	t.Helper()
	sealed, err := s.box.Seal(id, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func testSecrets(t testing.TB) endpointSecrets {
	t.Helper()
	one, err := SecretFromString("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	two, err := SecretFromRaw("a raw secret \xff\xfe of any bytes, whsec_")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := NewKeys(
		Key{ID: "new", Secret: one},
		Key{Secret: two, NotAfter: time.Date(2026, 11, 21, 23, 0, 0, 1234, time.FixedZone("", 3600))})
	if err != nil {
		t.Fatal(err)
	}
	return endpointSecrets{Keys: keys, ClientKey: "-----BEGIN PRIVATE KEY-----\n"}
}

// wantSecrets reports how two differ.
func wantSecrets(t testing.TB, got, want endpointSecrets) {
	t.Helper()
	same := slices.EqualFunc(got.Keys.list, want.Keys.list, func(a, b Key) bool {
		return a.ID == b.ID && a.Scheme == b.Scheme && a.Secret.Kind() == b.Secret.Kind() && a.Secret.Equal(b.Secret) && a.Secret.Reveal() == b.Secret.Reveal() && a.NotAfter.Equal(b.NotAfter) && a.NotAfter.IsZero() == b.NotAfter.IsZero()
	})
	if !same || got.ClientKey != want.ClientKey {
		t.Errorf("%v is not %v", got.Keys.list, want.Keys.list)
	}
}

func TestSecretsOfAnEndpointComeBackAsTheyWere(t *testing.T) {
	s, want := testSealer(t, 1), testSecrets(t)
	sealed, err := s.seal("ep_1", want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.open("ep_1", sealed)
	if err != nil {
		t.Fatal(err)
	}
	wantSecrets(t, got, want)
	for _, word := range []string{"whsec_", "raw secret", "PRIVATE", "new"} {
		if bytes.Contains(sealed, []byte(word)) {
			t.Errorf("%q can be read in what is sealed", word)
		}
	}
}

// So do both halves of a key pair, and schemes other than the usual one. A key
// that is held elsewhere has nothing to seal.
func TestKeysOfEveryKindAndSchemeAreSealed(t *testing.T) {
	s := testSealer(t, 1)
	private, _ := GenerateKeyPair()
	_, public := GenerateKeyPair()
	raw, err := SecretFromRaw("8f742231b10e8888abcd99yyyzzz85a5")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := NewKeys(
		Key{ID: "private", Secret: private}, Key{ID: "public", Secret: public},
		Key{ID: "brand", Secret: GenerateSecret(), Scheme: Standard("svix-")}, Key{ID: "slack", Secret: raw, Scheme: Slack()},
		Key{ID: "rfc", Secret: GenerateSecret(), Scheme: HTTPSignatures()})
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := s.seal("ep", endpointSecrets{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.open("ep", sealed)
	if err != nil {
		t.Fatal(err)
	}
	wantSecrets(t, got, endpointSecrets{Keys: keys})

	elsewhere, err := SecretFromSigner(ed25519.NewKeyFromSeed([]byte("0a1b2c3d4e5f60718293a4b5c6d7e8f9")))
	if err != nil {
		t.Fatal(err)
	}
	keys, err = NewKeys(Key{ID: "kms", Secret: elsewhere})
	if err != nil {
		t.Fatal(err)
	}
	if sealed, err = s.seal("ep", endpointSecrets{Keys: keys}); errors.CodeOf(err) != errors.Invalid || !strings.Contains(fmt.Sprint(err), `"kms" is held elsewhere`) || sealed != nil {
		t.Errorf("a key that is held elsewhere: %v, want invalid", err)
	}
}

// What was sealed once opens for ever.
func TestSealedFormOfAnEndpointIsPinned(t *testing.T) {
	s := testSealer(t, 1)
	got, err := s.open("ep_1", s.text(t, "ep_1", "\x01"+`{"keys":[{"id":"new","kind":1,"text":"d2hzZWNfTWZLUTlyOEdLWXFyVHdqVVBEOElMUFpJbzJMYUxhU3c="},`+
		`{"id":"key_0380a723","text":"YSByYXcgc2VjcmV0IP/+IG9mIGFueSBieXRlcywgd2hzZWNf","kind":2,"scheme":{"name":"standard","signed":"{id}.{timestamp}.{body}","id_header":"Webhook-Id","timestamp_header":"Webhook-Timestamp",`+
		`"signature_header":"Webhook-Signature","entry":"v1,","public_entry":"v1a,","separator":" ","encoding":"base64","hash":"sha256"},"not_after":"2026-11-21T22:00:00.000001234Z"}],`+
		`"client_key":"LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCg=="}`))
	if err != nil {
		t.Fatal(err)
	}
	wantSecrets(t, got, testSecrets(t))
}

// Who can write to the database can neither change an endpoint's secrets nor
// give it those of another.
func TestSealOfAnotherEndpointIsCorrupt(t *testing.T) {
	s := testSealer(t, 2, 1)
	sealed, err := s.seal("ep_1", testSecrets(t))
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Clone(sealed)
	changed[len(changed)-1] ^= 1
	for what, open := range map[string]func() (endpointSecrets, error){
		"moved":           func() (endpointSecrets, error) { return s.open("ep_2", sealed) },
		"changed":         func() (endpointSecrets, error) { return s.open("ep_1", changed) },
		"nothing":         func() (endpointSecrets, error) { return s.open("ep_1", nil) },
		"without its key": func() (endpointSecrets, error) { return testSealer(t, 3).open("ep_1", sealed) },
	} {
		got, err := open()
		if errors.CodeOf(err) != errors.Corrupt || got.Keys.Len() != 0 || got.ClientKey != "" {
			t.Errorf("%s: %v, want corrupt", what, err)
		}
	}
	_, err = testSealer(t, 3).open("ep_1", sealed)
	if !strings.Contains(fmt.Sprint(err), "version 2, which is not one of sealing (3)") || strings.Contains(errors.MessageOf(err), "version") {
		t.Errorf("operators read %v, clients %q", err, errors.MessageOf(err))
	}
}

// What is authentic and makes no sense is refused too.
func TestSealedNonsenseOfAnEndpointIsCorrupt(t *testing.T) {
	s := testSealer(t, 1)
	const key = `{"id":"a","kind":1,"text":"d2hzZWNfTWZLUTlyOEdLWXFyVHdqVVBEOElMUFpJbzJMYUxhU3c="}`
	if _, err := s.open("ep", s.text(t, "ep", "\x01"+`{"keys":[`+key+`]}`)); err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{
		"nothing":               "",
		"a form of the future":  "\x02" + `{"keys":[` + key + `]}`,
		"no form":               `{"keys":[` + key + `]}`,
		"no text":               "\x01",
		"cut off":               "\x01" + `{"keys":[` + key + `]`,
		"more behind it":        "\x01" + `{"keys":[` + key + `]}{}`,
		"an unknown field":      "\x01" + `{"keys":[` + key + `],"more":1}`,
		"no keys":               "\x01" + `{"keys":[]}`,
		"null":                  "\x01null",
		"another kind":          "\x01[]",
		"a key without a name":  "\x01" + `{"keys":[{"id":"","kind":1,"text":"d2hzZWNfTWZLUTlyOEdLWXFyVHdqVVBEOElMUFpJbzJMYUxhU3c="}]}`,
		"a name that is none":   "\x01" + `{"keys":[{"id":"a b","kind":1,"text":"d2hzZWNfTWZLUTlyOEdLWXFyVHdqVVBEOElMUFpJbzJMYUxhU3c="}]}`,
		"a secret that is none": "\x01" + `{"keys":[{"id":"a","kind":1,"text":"d2hzZWNf"}]}`,
		"no secret":             "\x01" + `{"keys":[{"id":"a"}]}`,
		"a secret of no kind":   "\x01" + `{"keys":[{"id":"a","text":"d2hzZWNfTWZLUTlyOEdLWXFyVHdqVVBEOElMUFpJbzJMYUxhU3c="}]}`,
		"a scheme that is none": "\x01" + `{"keys":[{"id":"a","kind":1,"scheme":{"name":"x"},"text":"d2hzZWNfTWZLUTlyOEdLWXFyVHdqVVBEOElMUFpJbzJMYUxhU3c="}]}`,
		"a key twice":           "\x01" + `{"keys":[` + key + `,` + key + `]}`,
		"too many keys":         "\x01" + `{"keys":[` + strings.Repeat(key+",", MaxKeys) + key + `]}`,
		"an end that is none":   "\x01" + `{"keys":[{"id":"a","kind":1,"text":"d2hzZWNfTWZLUTlyOEdLWXFyVHdqVVBEOElMUFpJbzJMYUxhU3c=","not_after":"soon"}]}`,
	} {
		got, err := s.open("ep", s.text(t, "ep", text))
		if errors.CodeOf(err) != errors.Corrupt || got.Keys.Len() != 0 || !strings.Contains(fmt.Sprint(err), "the endpoint's seal: ") {
			t.Errorf("%s: %v, want corrupt with words", what, err)
		}
	}
}

func TestWhatCannotBeSealedIsRefused(t *testing.T) {
	s := testSealer(t, 1)
	if _, err := s.seal("ep", endpointSecrets{}); errors.CodeOf(err) != errors.Invalid || !errors.Is(err, ErrNoKeys) {
		t.Errorf("without a key: %v", err)
	}
	keys, err := NewKeys(Key{Secret: GenerateSecret(), NotAfter: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.seal("ep", endpointSecrets{Keys: keys}); errors.CodeOf(err) != errors.Invalid || !strings.Contains(fmt.Sprint(err), "year 10000") {
		t.Errorf("with an end that is no date: %v", err)
	}
}

func TestSealingKeysOfASenderAreReplaced(t *testing.T) {
	old, both := testSealer(t, 1), testSealer(t, 2, 1)
	sealed, err := old.seal("ep", testSecrets(t))
	if err != nil {
		t.Fatal(err)
	}
	if old.stale(sealed) || !both.stale(sealed) {
		t.Error("stale is what another key would seal now")
	}
	got, err := both.open("ep", sealed)
	if err != nil {
		t.Fatal(err)
	}
	again, err := both.seal("ep", got)
	if err != nil || both.stale(again) {
		t.Fatalf("sealed anew: %v, stale is %t", err, both.stale(again))
	}
	got, err = testSealer(t, 2).open("ep", again)
	if err != nil {
		t.Fatal(err)
	}
	wantSecrets(t, got, testSecrets(t))
}

func TestSealingKeysOfASenderAreChecked(t *testing.T) {
	none := errors.Faults{Op: "test"}
	newSealer(&none, nil)
	some := errors.Faults{Op: "test"}
	newSealer(&some, []SealingKey{{Version: 0, Secret: make([]byte, 32)}, {Version: 1, Secret: make([]byte, 16)}, {Version: 1, Secret: make([]byte, 32)}})
	for want, err := range map[string]error{
		"sealing: no key":                      none.Err(),
		"sealing[0]: version is 0":             some.Err(),
		"sealing[1]: the secret has 16 bytes":  some.Err(),
		"sealing[2]: version 1 is given twice": some.Err(),
	} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

// Whatever an endpoint seals, reading it is an error with words, or it is sealed
// the same again.
func FuzzUnsealEndpoint(f *testing.F) {
	s := testSealer(f, 1)
	x := testSecrets(f)
	text, err := x.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("\x01" + `{"keys":[{"id":"a","text":"","kind":5}],"client_key":null}`))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := s.open("ep", s.text(t, "ep", string(text)))
		if err != nil {
			if errors.CodeOf(err) != errors.Corrupt || got.Keys.Len() != 0 {
				t.Errorf("%q: %v, want corrupt", text, err)
			}
			return
		}
		sealed, err := s.seal("ep", got)
		if err != nil {
			t.Fatal(err)
		}
		again, err := s.open("ep", sealed)
		if err != nil {
			t.Fatal(err)
		}
		wantSecrets(t, again, got)
	})
}
