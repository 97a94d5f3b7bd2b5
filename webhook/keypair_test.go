package webhook_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	kterrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/webhook"
)

const (
	vectorPrivate = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
	vectorPublic  = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
)

func TestAKeyPairSignsAndItsPublicHalfVerifies(t *testing.T) {
	private, public := webhook.GenerateKeyPair()
	otherPrivate, _ := webhook.GenerateKeyPair()
	h := http.Header{}
	if err := must(webhook.NewSigner(oneKey(t, webhook.Scheme{}, private)))(t).Sign(h, testID, t0, []byte(testBody)); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		secret webhook.Secret
		err    error
	}{
		"public":          {public, nil},
		"private":         {private, nil},
		"another pair":    {otherPrivate.Public(), webhook.ErrSignature},
		"a shared secret": {webhook.GenerateSecret(), webhook.ErrSignature},
	} {
		verifier := must(webhook.NewVerifier(oneKey(t, webhook.Scheme{}, tt.secret), &webhook.VerifierOptions{Now: clockAt(testTime)}))(t)
		_, err := verifier.Verify(h, []byte(testBody))
		if tt.err == nil && err != nil || !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", name, err, tt.err)
		}
	}
}

// The public half must not become a shared secret: whoever holds it, and it is
// no secret, could sign.
func TestDefectPublicKeyAsSharedSecret(t *testing.T) {
	_, public := webhook.GenerateKeyPair()
	text := strings.Replace(public.Reveal(), "whpk_", "whsec_", 1)
	forged := http.Header{}
	if err := newSigner(t, text).Sign(forged, testID, t0, []byte(testBody)); err != nil {
		t.Fatal(err)
	}
	verifier := must(webhook.NewVerifier(oneKey(t, webhook.Scheme{}, public), &webhook.VerifierOptions{Now: clockAt(testTime)}))(t)
	_, err := verifier.Verify(forged, []byte(testBody))
	wantIs(t, err, webhook.ErrSignature)
	if !strings.Contains(err.Error(), `no entry that begins with "v1a,"`) {
		t.Errorf("%v does not say what was missed", err)
	}
	forged.Set("Webhook-Signature", strings.Replace(forged.Get("Webhook-Signature"), "v1,", "v1a,", 1))
	_, err = verifier.Verify(forged, []byte(testBody))
	wantIs(t, err, webhook.ErrMalformed)
}

func TestHalvesOfAPairAreOneKey(t *testing.T) {
	private := must(webhook.PrivateKeyFromString(vectorPrivate))(t)
	public := must(webhook.PublicKeyFromString(vectorPublic))(t)
	if !private.Public().Equal(public) || private.Equal(public) || public.Equal(private) || !private.Equal(private) {
		t.Error("Equal has to tell the halves apart, and find the public half of the private one")
	}
	if private.Reveal() != vectorPrivate || public.Reveal() != vectorPublic || private.Kind() != webhook.SecretPrivate || public.Kind() != webhook.SecretPublic {
		t.Error("a half does not survive its text")
	}
	if !webhook.GenerateSecret().Public().IsZero() || !(webhook.Secret{}).Public().IsZero() {
		t.Error("a secret that is shared has a public half")
	}
	_, err := webhook.NewKeys(webhook.Key{ID: "a", Secret: private}, webhook.Key{ID: "b", Secret: public})
	wantFaults(t, err, `the secret is that of key "a"`)
	names := map[string]bool{}
	for _, s := range []webhook.Secret{private, public} {
		for k := range must(webhook.NewKeys(webhook.Key{Secret: s}))(t).All() {
			names[k.ID] = true
		}
	}
	if len(names) != 1 {
		t.Errorf("both sides derive the names %v", names)
	}
}

func TestASignerWantsKeysThatSign(t *testing.T) {
	private, public := webhook.GenerateKeyPair()
	only := oneKey(t, webhook.Scheme{}, public)
	_, err := webhook.NewSigner(only)
	wantFaults(t, err, `key "k" is the public half of a pair`)
	signer := must(webhook.NewSigner(oneKey(t, webhook.Scheme{}, private)))(t)
	wantFaults(t, signer.SetKeys(only), `key "k" is the public half of a pair`)
	if err := signer.Sign(http.Header{}, testID, t0, nil); err != nil {
		t.Errorf("after a refused SetKeys: %v", err)
	}
}

func TestSharedAndPairedKeysSignTogether(t *testing.T) {
	private, public := webhook.GenerateKeyPair()
	shared := must(webhook.SecretFromString(testSecret))(t)
	signer := must(webhook.NewSigner(must(webhook.NewKeys(webhook.Key{ID: "s", Secret: shared}, webhook.Key{ID: "p", Secret: private}))(t)))(t)
	h := http.Header{}
	if err := signer.Sign(h, testID, t0, []byte(testBody)); err != nil {
		t.Fatal(err)
	}
	if got := h.Get("Webhook-Signature"); !strings.HasPrefix(got, testSignature+" v1a,") {
		t.Errorf("signatures = %q", got)
	}
	both := must(webhook.NewKeys(webhook.Key{ID: "p", Secret: public}, webhook.Key{ID: "s", Secret: shared}))(t)
	for want, keys := range map[string]webhook.Keys{"s": must(webhook.NewKeys(webhook.Key{ID: "s", Secret: shared}))(t), "p": both} {
		verifier := must(webhook.NewVerifier(keys, &webhook.VerifierOptions{Now: clockAt(testTime)}))(t)
		if got, err := verifier.Verify(h, []byte(testBody)); err != nil || got.KeyID != want {
			t.Errorf("%+v, %v; want key %q", got, err, want)
		}
	}
}

// Signatures that a receiver has no key for are passed over, though their
// base64 ends with the character that entries begin with.
func TestSignaturesOfTheOtherKindArePassedOver(t *testing.T) {
	scheme := webhook.Scheme{Name: "own", Signed: "{timestamp}.{body}", SignatureHeader: "X-Sig", TimestampEntry: "t=", Entry: "h=", PublicEntry: "p=", Separator: ",", Encoding: "base64"}
	private, public := webhook.GenerateKeyPair()
	shared := webhook.GenerateSecret()
	h := http.Header{}
	both := must(webhook.NewKeys(webhook.Key{Secret: shared, Scheme: scheme}, webhook.Key{Secret: private, Scheme: scheme}))(t)
	if err := must(webhook.NewSigner(both))(t).Sign(h, testID, t0, []byte(testBody)); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []webhook.Secret{shared, public} {
		verifier := must(webhook.NewVerifier(oneKey(t, scheme, secret), &webhook.VerifierOptions{Now: clockAt(testTime)}))(t)
		if _, err := verifier.Verify(h, []byte(testBody)); err != nil {
			t.Errorf("%v: %v", secret.Kind(), err)
		}
	}
}

// Each Ed25519 signature costs as much as the MAC of 50 KB: a stranger may not
// ask for many.
func TestPairsAndTheirSignaturesAreBounded(t *testing.T) {
	pair := func() webhook.Key { private, _ := webhook.GenerateKeyPair(); return webhook.Key{Secret: private} }
	if _, err := webhook.NewKeys(pair(), pair(), pair(), pair()); err != nil {
		t.Error(err)
	}
	_, err := webhook.NewKeys(pair(), pair(), pair(), pair(), pair())
	wantFaults(t, err, "more than 4 key pairs of one scheme")

	signer := must(webhook.NewSigner(oneKey(t, webhook.Scheme{}, must(webhook.PrivateKeyFromString(vectorPrivate))(t))))(t)
	verifier := must(webhook.NewVerifier(oneKey(t, webhook.Scheme{}, must(webhook.PublicKeyFromString(vectorPublic))(t)), &webhook.VerifierOptions{Now: clockAt(testTime)}))(t)
	good := string(must(signer.AppendSignature(nil, testID, t0, []byte(testBody)))(t))
	wrong := "v1a," + strings.Repeat("A", 86) + "=="
	for _, list := range []string{strings.Repeat(wrong+" ", 3) + good, good + strings.Repeat(" "+wrong, 3)} {
		if _, err := verifier.Verify(headers(testID, testTime, list), []byte(testBody)); err != nil {
			t.Errorf("one of 4: %v", err)
		}
	}
	_, err = verifier.Verify(headers(testID, testTime, strings.Repeat(wrong+" ", 4)+good), []byte(testBody))
	wantIs(t, err, webhook.ErrMalformed)
}

func TestKeysOfPairsAreRefusedWithHelp(t *testing.T) {
	seed := base64.StdEncoding.EncodeToString(make([]byte, 64))
	private, err := base64.StdEncoding.DecodeString(vectorPrivate[5:])
	if err != nil {
		t.Fatal(err)
	}
	private[63] ^= 1
	for _, tt := range []struct {
		parse      func(string) (webhook.Secret, error)
		name       string
		text, help string
	}{
		{webhook.PrivateKeyFromString, "empty", "", "empty"},
		{webhook.PrivateKeyFromString, "public", vectorPublic, "call PublicKeyFromString"},
		{webhook.PublicKeyFromString, "private", vectorPrivate, `give receivers the public half, "whpk_"`},
		{webhook.PublicKeyFromString, "shared", testSecret, "call SecretFromString"},
		{webhook.SecretFromString, "private", vectorPrivate, "Ed25519"},
		{webhook.PrivateKeyFromString, "seed alone", "whsk_" + base64.StdEncoding.EncodeToString(private[:32]), "has 32 bytes; give 64"},
		{webhook.PublicKeyFromString, "too long", "whpk_" + seed, "has 64 bytes; give 32"},
		{webhook.PublicKeyFromString, "far too long", "whpk_" + strings.Repeat("A", 1<<20), "far more than 32 bytes"},
		{webhook.PrivateKeyFromString, "zeros", "whsk_" + seed, "can be guessed"},
		{webhook.PrivateKeyFromString, "halves of two", "whsk_" + base64.StdEncoding.EncodeToString(private), "is not the public key of the first"},
		{webhook.PublicKeyFromString, "line break", vectorPublic + "\n", "trim"},
		{webhook.PublicKeyFromString, "unpadded", strings.TrimRight(vectorPublic, "="), "unpadded"},
		{webhook.PublicKeyFromString, "no prefix", vectorPublic[5:], `does not begin with "whpk_"`},
	} {
		s, err := tt.parse(tt.text)
		wantIs(t, err, webhook.ErrSecret)
		if !s.IsZero() || !strings.Contains(kterrors.MessageOf(err), tt.help) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.help)
		}
		if len(tt.text) > 30 && strings.Contains(fmt.Sprint(err), tt.text[8:20]) {
			t.Errorf("%s: the error repeats the key: %v", tt.name, err)
		}
	}
}

// Under a public key of small order anybody finds signatures: what an empty
// secret is to HMAC.
func TestDefectPublicKeyOfSmallOrder(t *testing.T) {
	points := []string{ // the eight points, and the encodings that are not canonical
		"0100000000000000000000000000000000000000000000000000000000000000", "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"0000000000000000000000000000000000000000000000000000000000000000", "0000000000000000000000000000000000000000000000000000000000000080",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"0100000000000000000000000000000000000000000000000000000000000080", "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	}
	forgeable := 0
	for _, text := range points {
		key, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		// R the neutral element and S zero: right whenever the hash is a multiple
		// of the order, at the latest after a few messages.
		signature := append([]byte{1}, make([]byte, 63)...)
		for i := range byte(100) {
			if ed25519.Verify(key, []byte{i}, signature) {
				forgeable++
				break
			}
		}
		_, err = webhook.PublicKeyFromString("whpk_" + base64.StdEncoding.EncodeToString(key))
		if !errors.Is(err, webhook.ErrSecret) {
			t.Errorf("%s is accepted: %v", text, err)
		}
		if _, err := webhook.SecretFromSigner(elsewhere{public: ed25519.PublicKey(key)}); err == nil {
			t.Errorf("%s is accepted of a signer", text)
		}
	}
	if forgeable < 8 {
		t.Errorf("only %d of the points are forgeable: the test is wrong", forgeable)
	}
}

// An elsewhere signs as a key management service does.
type elsewhere struct {
	public crypto.PublicKey
	sign   func(message []byte, opts crypto.SignerOpts) ([]byte, error)
}

func (e elsewhere) Public() crypto.PublicKey { return e.public }

func (e elsewhere) Sign(_ io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	return e.sign(message, opts)
}

func TestAKeyHeldElsewhereSigns(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	secret := must(webhook.SecretFromSigner(elsewhere{public, func(message []byte, opts crypto.SignerOpts) ([]byte, error) {
		asked++
		if opts.HashFunc() != 0 {
			t.Errorf("asked to sign a hash, %v", opts.HashFunc())
		}
		return private.Sign(rand.Reader, message, opts)
	}}))(t)
	if secret.Kind() != webhook.SecretSigner || secret.Reveal() != "" || secret.Public().IsZero() {
		t.Errorf("kind %v reveals %q", secret.Kind(), secret.Reveal())
	}
	_, err = webhook.ParseSecret(secret.Kind(), secret.Reveal())
	wantIs(t, err, webhook.ErrSecret)

	keys := oneKey(t, webhook.Scheme{}, secret)
	h := http.Header{}
	if err := must(webhook.NewSigner(keys))(t).Sign(h, testID, t0, []byte(testBody)); err != nil || asked != 1 {
		t.Fatal(err, asked)
	}
	want := "v1a," + base64.StdEncoding.EncodeToString(ed25519.Sign(private, fmt.Appendf(nil, "%s.%d.%s", testID, testTime, testBody)))
	if got := h.Get("Webhook-Signature"); got != want {
		t.Errorf("signature %q, want %q", got, want)
	}
	for _, s := range []webhook.Secret{secret, secret.Public()} {
		verifier := must(webhook.NewVerifier(oneKey(t, webhook.Scheme{}, s), &webhook.VerifierOptions{Now: clockAt(testTime)}))(t)
		if _, err := verifier.Verify(h, []byte(testBody)); err != nil {
			t.Error(err)
		}
	}

	var out bytes.Buffer
	held := must(webhook.SecretFromSigner(private))(t)
	type holder struct{ private webhook.Secret }
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		for _, v := range []any{held, &held, holder{held}, &holder{held}, oneKey(t, webhook.Scheme{}, held)} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
	}
	for _, canary := range []string{fmt.Sprintf("%x", []byte(private[:6])), strings.Trim(fmt.Sprint([]byte(private[:6])), "[]")} {
		if strings.Contains(out.String(), canary) {
			t.Errorf("%q is printed", canary)
		}
	}
}

func TestAKeyHeldElsewhereThatFails(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	down := errors.New("connection refused")
	for name, tt := range map[string]struct {
		sign func([]byte, crypto.SignerOpts) ([]byte, error)
		is   error
		code kterrors.Code
	}{
		"unreachable": {func([]byte, crypto.SignerOpts) ([]byte, error) { return nil, down }, down, kterrors.Unavailable},
		"prehashed": {func(m []byte, _ crypto.SignerOpts) ([]byte, error) {
			sum := crypto.SHA512.New()
			sum.Write(m)
			return private.Sign(nil, sum.Sum(nil), crypto.SHA512)
		}, webhook.ErrMessage, kterrors.Invalid},
		"nothing": {func([]byte, crypto.SignerOpts) ([]byte, error) { return nil, nil }, webhook.ErrMessage, kterrors.Invalid},
	} {
		keys := must(webhook.NewKeys(webhook.Key{Secret: webhook.GenerateSecret()}, webhook.Key{ID: "kms", Secret: must(webhook.SecretFromSigner(elsewhere{public, tt.sign}))(t)}))(t)
		h := http.Header{}
		err := must(webhook.NewSigner(keys))(t).Sign(h, testID, t0, []byte(testBody))
		if !errors.Is(err, tt.is) || kterrors.CodeOf(err) != tt.code || !strings.Contains(err.Error(), `key "kms"`) || len(h) != 0 {
			t.Errorf("%s: %v with headers %v", name, err, h)
		}
		if dst, err := must(webhook.NewSigner(keys))(t).AppendSignature([]byte("x"), testID, t0, nil); string(dst) != "x" || !errors.Is(err, tt.is) {
			t.Errorf("%s: dst = %q, %v", name, dst, err)
		}
	}
}

func TestSecretFromSignerRefuses(t *testing.T) {
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, signer := range map[string]crypto.Signer{"nil": nil, "another kind": other, "no key": elsewhere{}, "a short one": elsewhere{public: ed25519.PublicKey("short")}} {
		s, err := webhook.SecretFromSigner(signer)
		wantIs(t, err, webhook.ErrSecret)
		if !s.IsZero() || !strings.Contains(kterrors.MessageOf(err), "give one that holds an Ed25519 key") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What nobody drew at random is refused in every form, and what somebody did
// is not.
func TestGuessableSecretsAreRefused(t *testing.T) {
	counting := make([]byte, 40)
	for i := range counting {
		counting[i] = byte(250 - 7*i)
	}
	for _, key := range []string{
		strings.Repeat("a", 24), strings.Repeat("\x00", 32), strings.Repeat("ab", 12), strings.Repeat("abcde", 5), strings.Repeat("password", 4),
		strings.Repeat("0123456789ab", 2), "abcdefghijklmnopqrstuvwxyz", "zyxwvutsrqponmlkjihgfedcba", string(counting), strings.Repeat("change-me!", 3) + "change",
	} {
		_, rawErr := webhook.SecretFromRaw(key)
		_, encodedErr := webhook.SecretFromString("whsec_" + base64.StdEncoding.EncodeToString([]byte(key)))
		for _, err := range []error{rawErr, encodedErr} {
			if !errors.Is(err, webhook.ErrSecret) || !strings.Contains(kterrors.MessageOf(err), "can be guessed; use one from GenerateSecret") {
				t.Errorf("%q: %v", key, err)
			}
		}
	}
	key := make([]byte, 12)
	for range 2000 {
		_, _ = rand.Read(key)
		if _, err := webhook.SecretFromRaw(hex.EncodeToString(key)); err != nil {
			t.Errorf("%x: %v", key, err)
		}
	}
}

func TestParseSecretMakesItAgain(t *testing.T) {
	private, public := webhook.GenerateKeyPair()
	raw := must(webhook.SecretFromRaw("whsec_" + rawSecret))(t)
	kinds := []string{}
	for _, s := range []webhook.Secret{webhook.GenerateSecret(), raw, private, public} {
		again, err := webhook.ParseSecret(s.Kind(), s.Reveal())
		if err != nil || !again.Equal(s) || again.Kind() != s.Kind() {
			t.Errorf("%v: %v", s.Kind(), err)
		}
		kinds = append(kinds, s.Kind().String())
	}
	if !slices.Equal(kinds, []string{"encoded", "raw", "private", "public"}) || webhook.SecretKind(0).String() != "none" || webhook.SecretKind(99).String() != "unknown" {
		t.Errorf("kinds %q", kinds)
	}
}
