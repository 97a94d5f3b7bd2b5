package webhook_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	kterrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/webhook"
)

// whsec is the text of a secret of n bytes that uses the whole alphabet.
func whsec(n int) string {
	key := make([]byte, 0, 90)
	for i := range 30 {
		key = append(key, 0xfb, 0xef, byte(i*i))
	}
	return "whsec_" + base64.StdEncoding.EncodeToString(key[:n])
}

func TestSecretFromStringTakesTheStandardForm(t *testing.T) {
	for _, text := range []string{testSecret, otherSecret, whsec(24), whsec(25), whsec(32), whsec(63), whsec(64)} {
		s, err := webhook.SecretFromString(text)
		if err != nil || s.Reveal() != text || s.IsZero() {
			t.Errorf("SecretFromString of %d characters = %v; reveals the same: %v", len(text), err, s.Reveal() == text)
		}
	}
}

// Each refusal says what to change and does not repeat the secret.
func TestSecretFromStringRefusesAndHelps(t *testing.T) {
	good := whsec(32)
	for _, tt := range []struct{ name, text, help string }{
		{"empty", "", "empty"},
		{"only white space", "\n\n", "empty"},
		{"empty key", "whsec_", "empty"},
		{"one byte key", "whsec_YQ==", "has 1 bytes; give 24 to 64"},
		{"23 bytes", whsec(23), "has 23 bytes"},
		{"65 bytes", whsec(65), "has 65 bytes; give 24 to 64"},
		{"a lot", "whsec_" + strings.Repeat("A", 1<<20), "more than 64 bytes; give 24 to 64"},
		{"version in front", "v1," + good, `start at "whsec_"`},
		{"trailing newline", good + "\n", "trim"},
		{"leading space", " " + good, "trim"},
		{"carriage return", good + "\r\n", "trim"},
		{"line break within", good[:20] + "\n" + good[20:], "cut short or unpadded"},
		{"four line breaks within", good[:20] + "\n\n\n\n" + good[20:], "not standard base64"},
		{"URL-safe alphabet", strings.ReplaceAll(good, "+", "-"), "URL-safe"},
		{"unpadded", strings.TrimRight(good, "="), "unpadded"},
		{"stray trailing bits", good[:len(good)-2] + "/=", "not standard base64"},
		{"no prefix", strings.TrimPrefix(good, "whsec_"), `does not begin with "whsec_"`},
		{"other case of the prefix", "WHSEC_" + good[6:], `does not begin with "whsec_"`},
		{"Ed25519 private", "whsk_" + good[6:], "Ed25519"},
		{"Ed25519 public", "whpk_" + good[6:], "Ed25519"},
		{"not base64", "whsec_" + strings.Repeat("*", 44), "not standard base64"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := webhook.SecretFromString(tt.text)
			wantIs(t, err, webhook.ErrSecret)
			if !s.IsZero() {
				t.Error("a secret came with the error")
			}
			if kterrors.CodeOf(err) != kterrors.Invalid || !strings.Contains(kterrors.MessageOf(err), tt.help) {
				t.Errorf("error = %v, want one that says %q", err, tt.help)
			}
			if len(tt.text) > 20 && err != nil && strings.Contains(err.Error(), tt.text[7:20]) {
				t.Errorf("the error repeats the secret: %v", err)
			}
		})
	}
}

func TestSecretFromRawTakesTheTextAsItIs(t *testing.T) {
	raw := "the-text-of-a-raw-secret" // 24 bytes
	s := must(webhook.SecretFromRaw(raw))(t)
	if s.Reveal() != raw {
		t.Error("Reveal is not the raw text")
	}
	encoded := must(webhook.SecretFromString("whsec_" + base64.StdEncoding.EncodeToString([]byte(raw))))(t)
	if !s.Equal(encoded) {
		t.Error("the same key bytes are not Equal")
	}
	for _, bad := range []string{"", raw[1:], strings.Repeat(raw, 11)[:257], raw + "\n", " " + raw} {
		_, err := webhook.SecretFromRaw(bad)
		wantIs(t, err, webhook.ErrSecret)
	}
}

func TestGeneratedSecretsAreWholeAndDiffer(t *testing.T) {
	a, b := webhook.GenerateSecret(), webhook.GenerateSecret()
	if a.Equal(b) {
		t.Fatal("two generated secrets are equal")
	}
	if again := must(webhook.SecretFromString(a.Reveal()))(t); !again.Equal(a) {
		t.Error("a generated secret does not survive its text")
	}
	if len(a.Reveal()) != len("whsec_")+44 {
		t.Errorf("a generated secret has %d characters, want 32 bytes of base64", len(a.Reveal()))
	}
}

func TestEqualOfZeroSecrets(t *testing.T) {
	var zero webhook.Secret
	if !zero.Equal(webhook.Secret{}) || zero.Equal(webhook.GenerateSecret()) || webhook.GenerateSecret().Equal(zero) {
		t.Error("a zero secret has to equal zero secrets only")
	}
	if zero.Reveal() != "" || !zero.IsZero() {
		t.Error("a zero secret reveals something")
	}
}

// The canary goes through everything that prints.
func TestSecretNeverPrints(t *testing.T) {
	secret := must(webhook.SecretFromString(testSecret))(t)
	raw := must(webhook.SecretFromRaw("canary in a mine of coal"))(t)
	type holder struct {
		Public  webhook.Secret
		private webhook.Secret
		key     webhook.Key
	}
	h := holder{secret, secret, webhook.Key{ID: "k", Secret: raw}}
	keys := must(webhook.NewKeys(webhook.Key{ID: "k", Secret: secret}, webhook.Key{ID: "r", Secret: raw}))(t)
	signer := must(webhook.NewSigner(keys))(t)

	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%c", "%e", "%t", "%p", "%10s", "%T"} {
		for _, v := range []any{secret, &secret, raw, []webhook.Secret{secret}, map[string]webhook.Secret{"k": raw}, h, &h, keys, &keys} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
	}
	fmt.Fprintf(&out, "%v %+v", secret, errors.Join(fmt.Errorf("secret %v", secret)))
	fmt.Fprintf(&out, "%v", signer.SetKeys(webhook.Keys{}))
	encoded, err := json.Marshal(map[string]any{"s": secret, "h": h, "k": keys})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(encoded)
	for _, handler := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
		slog.New(handler).Info("x", "secret", secret, "raw", raw, "holder", h, "key", h.key)
	}
	for _, canary := range []string{testSecret[6:20], "canary", fmt.Sprintf("%x", "canary"), fmt.Sprintf("%X", "canary"),
		strings.Trim(fmt.Sprint([]byte("canary")), "[]"), fmt.Sprintf("%x", mustDecode(testSecret)[:6]), strings.Trim(fmt.Sprint(mustDecode(testSecret)[:6]), "[]")} {
		if strings.Contains(out.String(), canary) {
			t.Errorf("the output holds %q", canary)
		}
	}
	if strings.Count(out.String(), "[redacted]") < 50 {
		t.Errorf("only %d redactions in\n%s", strings.Count(out.String(), "[redacted]"), out.String())
	}
}

func mustDecode(text string) []byte {
	b, err := base64.StdEncoding.DecodeString(text[6:])
	if err != nil {
		panic(err)
	}
	return b
}
