package webhook_test

import (
	"encoding/base64"
	"errors"
	"math/big"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

// The references below say in regular expressions what the parsers say in
// loops; whatever one accepts the other must.
var (
	naiveEntry     = regexp.MustCompile(`\A[a-z0-9]{1,16},[\x21-\x2b\x2d-\x7e]+\z`)
	naiveV1        = regexp.MustCompile(`\Av1,[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=\z`)
	naiveTimestamp = regexp.MustCompile(`\A[1-9][0-9]{0,10}\z`)
	naiveID        = regexp.MustCompile(`\A[A-Za-z0-9_-]{1,256}\z`)
	naiveSecret    = regexp.MustCompile(`\Awhsec_(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)?\z`)
)

// naiveHeader returns how the signature header ought to be judged for a
// message whose right entry is want.
func naiveHeader(list, want string) error {
	entries := strings.Split(list, " ")
	if len(list) > 4096 || len(entries) > 16 {
		return webhook.ErrMalformed
	}
	found := false
	for _, e := range entries {
		if !naiveEntry.MatchString(e) || strings.HasPrefix(e, "v1,") && !naiveV1.MatchString(e) {
			return webhook.ErrMalformed
		}
		found = found || e == want
	}
	if !found {
		return webhook.ErrSignature
	}
	return nil
}

func FuzzSignatureHeader(f *testing.F) {
	sum := testSignature[3:]
	for _, list := range []string{
		testSignature, "v1," + sum + ",junk", "v1a,x " + testSignature, testSignature + " ", " " + testSignature, testSignature + "  " + testSignature,
		"v1," + sum[:43], "v1," + sum[:42] + "\n=", "v1," + sum[:len(sum)-2] + "F=", strings.Repeat(testSignature+" ", 15) + testSignature, strings.Repeat(testSignature+" ", 17),
		"", ",", " ", "v1", "v1,", "v2,\x7f", "v2,\xff", strings.Repeat(",", 5000), "V1," + sum,
	} {
		f.Add(list)
	}
	verifier := newVerifier(f, testSecret)
	f.Fuzz(func(t *testing.T, list string) {
		h := headers(testID, testTime, "")
		h["Webhook-Signature"] = []string{list}
		_, err := verifier.Verify(h, []byte(testBody))
		if want := naiveHeader(list, testSignature); !errors.Is(err, want) {
			t.Errorf("header %q: %v, want %v", list, err, want)
		}
	})
}

func FuzzTimestamp(f *testing.F) {
	for _, s := range []string{"1614265330", "+1614265330", "01614265330", "1614265330abc", ".9", "0", "1", "99999999999", "100000000000", "", "-1", " 1", "１"} {
		f.Add(s)
	}
	verifier := newVerifier(f, testSecret)
	signer := newSigner(f, testSecret)
	f.Fuzz(func(t *testing.T, timestamp string) {
		want := webhook.ErrMalformed
		signature := testSignature
		if naiveTimestamp.MatchString(timestamp) {
			n, _ := new(big.Int).SetString(timestamp, 10)
			switch diff := new(big.Int).Sub(big.NewInt(testTime), n); {
			case diff.Cmp(big.NewInt(300)) > 0:
				want = webhook.ErrTooOld
			case diff.Cmp(big.NewInt(-300)) < 0:
				want = webhook.ErrTooNew
			default:
				want = nil
			}
			// Whatever verifies was signed under the very text of the header.
			signature = string(must(signer.AppendSignature(nil, testID, time.Unix(n.Int64(), 0), []byte(testBody)))(t))
		}
		h := headers(testID, testTime, signature)
		h["Webhook-Timestamp"] = []string{timestamp}
		if _, err := verifier.Verify(h, []byte(testBody)); !errors.Is(err, want) {
			t.Errorf("timestamp %q: %v, want %v", timestamp, err, want)
		}
	})
}

func FuzzSecret(f *testing.F) {
	for _, s := range []string{testSecret, "v1," + testSecret, testSecret + "\n", "whsec_", "", "whsec_YQ==", whsec(23), whsec(24), whsec(64), whsec(65), whsec(32)[:49], "whsec_" + strings.Repeat("A", 31) + "B", "whsec_AAAA\n" + strings.Repeat("A", 31)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		secret, err := webhook.SecretFromString(text)
		n, canonical := 0, false
		if naiveSecret.MatchString(text) {
			key, err := base64.StdEncoding.DecodeString(text[6:])
			n, canonical = len(key), err == nil && base64.StdEncoding.EncodeToString(key) == text[6:]
		}
		if want := canonical && n >= 24 && n <= 64; want != (err == nil) && (!want || !strings.Contains(err.Error(), "can be guessed")) {
			t.Errorf("SecretFromString(%q) = %v; %d bytes, canonical: %v", text, err, n, canonical)
		}
		if err != nil {
			if !errors.Is(err, webhook.ErrSecret) || !secret.IsZero() {
				t.Errorf("SecretFromString(%q) = %v", text, err)
			}
			return
		}
		if secret.Reveal() != text {
			t.Errorf("%q reveals %q", text, secret.Reveal())
		}
	})
}

// What is signed verifies, under the same key and no other, and nothing else
// does.
func FuzzSignThenVerify(f *testing.F) {
	f.Add("msg_1", int64(testTime), []byte("{}"), byte(1))
	f.Add("msg_1.1", int64(0), []byte{0xff}, byte(0))
	f.Add("", int64(-1), []byte(nil), byte(255))
	signer := newSigner(f, testSecret)
	f.Fuzz(func(t *testing.T, id string, seconds int64, body []byte, flip byte) {
		h := http.Header{}
		err := signer.Sign(h, id, time.Unix(seconds, 0), body)
		if ok := naiveID.MatchString(id) && seconds >= 1 && seconds <= 99_999_999_999; ok != (err == nil) {
			t.Fatalf("Sign(%q, %d) = %v", id, seconds, err)
		}
		if err != nil {
			return
		}
		opts := &webhook.VerifierOptions{Now: clockAt(seconds)}
		verifier := must(webhook.NewVerifier(keysOf(t, testSecret), opts))(t)
		if got, err := verifier.Verify(h, body); err != nil || got.ID != id || got.Timestamp.Unix() != seconds {
			t.Fatalf("Verify = %+v, %v", got, err)
		}
		if _, err := must(webhook.NewVerifier(keysOf(t, otherSecret), opts))(t).Verify(h, body); !errors.Is(err, webhook.ErrSignature) {
			t.Errorf("under another key: %v", err)
		}
		changed := append(append([]byte(nil), body...), flip)
		if flip != 0 && len(body) > 0 {
			changed = changed[:len(body)]
			changed[int(flip)%len(body)] ^= flip
		}
		if _, err := verifier.Verify(h, changed); !errors.Is(err, webhook.ErrSignature) {
			t.Errorf("with another body: %v", err)
		}
	})
}
