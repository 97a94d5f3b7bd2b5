package webhook_test

import (
	"encoding/base64"
	"errors"
	"math/big"
	"net/http"
	"regexp"
	"slices"
	"strconv"
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

// naiveList returns how a list of hexadecimal signatures ought to be judged,
// in which t begins the timestamp.
func naiveList(list, separator, t, entry, want string) error {
	if len(list) > 4096 {
		return webhook.ErrMalformed
	}
	entries := strings.Split(list, separator)
	if len(entries) > 16 {
		return webhook.ErrMalformed
	}
	timestamps, signatures := 0, 0
	for _, e := range entries {
		switch {
		case strings.HasPrefix(e, t):
			timestamps++
			if timestamps > 1 || !naiveTimestamp.MatchString(e[len(t):]) {
				return webhook.ErrMalformed
			}
		case strings.HasPrefix(e, entry):
			signatures++
			if !naiveHex.MatchString(e[len(entry):]) {
				return webhook.ErrMalformed
			}
		case !naivePair.MatchString(e):
			return webhook.ErrMalformed
		}
	}
	switch {
	case timestamps == 0:
		return webhook.ErrMissing
	case signatures == 0:
		return webhook.ErrSignature
	case !slices.Contains(entries, t+"1614265330"):
		return errAnyTime
	case !slices.Contains(entries, entry+want):
		return webhook.ErrSignature
	}
	return nil
}

var (
	naiveHex  = regexp.MustCompile(`\A[0-9a-f]{64}\z`)
	naivePair = regexp.MustCompile(`\A[a-z0-9]{1,16}=[\x21-\x2b\x2d-\x3c\x3e-\x7e]+\z`)
	// errAnyTime: another timestamp, which is too old, too new or not signed.
	errAnyTime = errors.New("any of the three")
)

func FuzzSignatureLists(f *testing.F) {
	type list struct {
		verifier                    *webhook.Verifier
		separator, t, entry, header string
		mac                         string
	}
	var lists []list
	for _, s := range []webhook.Scheme{webhook.Stripe(), webhook.Paddle()} {
		keys := oneKey(f, s, must(webhook.SecretFromRaw(rawSecret))(f))
		value := string(must(must(webhook.NewSigner(keys))(f).AppendSignature(nil, testID, t0, []byte(testBody)))(f))
		mac := value[strings.LastIndex(value, "=")+1:]
		lists = append(lists, list{must(webhook.NewVerifier(keys, &webhook.VerifierOptions{Now: clockAt(testTime)}))(f), s.Separator, s.TimestampEntry, s.Entry, s.SignatureHeader, mac})
		for _, text := range []string{
			value, value + s.Separator, value + s.Separator + "v0=x", "v9=a=b" + s.Separator + value, value + s.Separator + s.TimestampEntry + "1", s.TimestampEntry + s.Separator + value,
			s.Entry + mac, s.Entry + strings.ToUpper(mac) + s.Separator + s.TimestampEntry + "1614265330", " " + value, value + " ", s.TimestampEntry + "1614265331" + s.Separator + s.Entry + mac,
			s.TimestampEntry + "01614265330" + s.Separator + s.Entry + mac, strings.Repeat(s.Entry+mac+s.Separator, 15) + s.TimestampEntry + "1614265330", strings.Repeat(s.Entry+mac+s.Separator, 16) + s.TimestampEntry + "1614265330",
		} {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, l := range lists {
			_, err := l.verifier.Verify(http.Header{l.header: {text}}, []byte(testBody))
			want := naiveList(text, l.separator, l.t, l.entry, l.mac)
			if errors.Is(want, errAnyTime) && (errors.Is(err, webhook.ErrTooOld) || errors.Is(err, webhook.ErrTooNew) || errors.Is(err, webhook.ErrSignature)) {
				continue
			}
			if !errors.Is(err, want) {
				t.Errorf("%s %q: %v, want %v", l.header, text, err, want)
			}
		}
	})
}

// A scheme that is accepted verifies what it signs, and what it hashes can be
// taken apart in one way only.
func FuzzScheme(f *testing.F) {
	for _, s := range slices.Concat(known(), described()) {
		f.Add(s.Signed, s.Entry, s.PublicEntry, s.TimestampEntry, s.Separator, s.Encoding, s.Hash, "id-1", uint32(testTime), []byte("1.2:3,4"))
	}
	f.Add("{id}{timestamp}{body}", "", "", "", "", "hex", "", "1", uint32(1), []byte("1"))
	f.Add("{body}1{timestamp}", "", "", "t=", ",", "hex", "", "1", uint32(11), []byte("1"))
	f.Add("{timestamp}.{body}.{id}", "v=", "", "", ";", "base64", "sha512", "a", uint32(7), []byte(".a.a"))
	f.Fuzz(func(t *testing.T, signed, entry, public, timestamp, separator, encoding, hash, id string, seconds uint32, body []byte) {
		s := webhook.Scheme{Name: "fuzz", Signed: signed, SignatureHeader: "X-Sig", IDHeader: "X-Id", Entry: entry, PublicEntry: public, TimestampEntry: timestamp, Separator: separator, Encoding: encoding, Hash: hash}
		if timestamp == "" && strings.Contains(signed, "{timestamp}") {
			s.TimestampHeader = "X-Time"
		}
		keys, err := webhook.NewKeys(webhook.Key{Secret: must(webhook.SecretFromRaw(rawSecret))(t), Scheme: s})
		if err != nil || strings.HasPrefix(signed, "(") || signed == webhook.Twilio().Signed || seconds == 0 || !naiveID.MatchString(id) {
			return
		}
		at := time.Unix(int64(seconds), 0)
		h := http.Header{}
		if err := must(webhook.NewSigner(keys))(t).Sign(h, id, at, body); err != nil {
			t.Fatalf("%+v: %v", s, err)
		}
		verifier := must(webhook.NewVerifier(keys, &webhook.VerifierOptions{Now: clockAt(int64(seconds))}))(t)
		if _, err := verifier.Verify(h, body); err != nil {
			t.Fatalf("%+v does not verify %v: %v", s, h, err)
		}
		text := strings.NewReplacer("{id}", id, "{timestamp}", strconv.FormatInt(int64(seconds), 10), "{body}", string(body)).Replace(signed)
		greedy := regexp.QuoteMeta(signed)
		for place, values := range map[string]string{"{id}": "[A-Za-z0-9_-]{1,256}", "{timestamp}": "[1-9][0-9]{0,10}", "{body}": ".*"} {
			greedy = strings.ReplaceAll(greedy, regexp.QuoteMeta(place), "("+values+")")
		}
		lazy := strings.NewReplacer("{1,256}", "{1,256}?", "{0,10}", "{0,10}?", ".*", ".*?").Replace(greedy)
		one := regexp.MustCompile(`(?s)\A` + greedy + `\z`).FindStringSubmatch(text)
		two := regexp.MustCompile(`(?s)\A` + lazy + `\z`).FindStringSubmatch(text)
		if one == nil || !slices.Equal(one, two) {
			t.Errorf("%q under %q reads as %q and as %q", text, signed, one, two)
		}
	})
}
