package webhook_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	kterrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/webhook"
)

const testSignature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

func TestVerifyNamesTheKeyThatMatched(t *testing.T) {
	keys := must(webhook.NewKeys(
		webhook.Key{ID: "new", Secret: must(webhook.SecretFromString(otherSecret))(t)},
		webhook.Key{ID: "old", Secret: must(webhook.SecretFromString(testSecret))(t), NotAfter: t0.Add(time.Hour)},
	))(t)
	now := t0
	verifier := must(webhook.NewVerifier(keys, &webhook.VerifierOptions{Now: func() time.Time { return now }, Tolerance: 2 * time.Hour}))(t)
	sign := func(secrets ...string) string {
		return string(must(newSigner(t, secrets...).AppendSignature(nil, testID, t0, []byte(testBody)))(t))
	}
	for _, tt := range []struct {
		name, signatures string
		after            time.Duration
		key              string
		err              error
	}{
		{"by the new key", sign(otherSecret), 0, "new", nil},
		{"by the old key", sign(testSecret), 0, "old", nil},
		{"by both", sign(otherSecret, testSecret), 0, "new", nil},
		{"by both, the other way round", sign(testSecret, otherSecret), 0, "new", nil},
		{"by the old key, last instant", sign(testSecret), time.Hour - 1, "old", nil},
		{"by the old key, when it ends", sign(testSecret), time.Hour, "", webhook.ErrKeyExpired},
		{"by both, when the old one has ended", sign(testSecret, otherSecret), time.Hour, "new", nil},
		{"by neither", sign(whsec(32)), 0, "", webhook.ErrSignature},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now = t0.Add(tt.after)
			got, err := verifier.Verify(headers(testID, testTime, tt.signatures), []byte(testBody))
			if tt.err != nil {
				wantIs(t, err, tt.err)
			} else if err != nil {
				t.Error(err)
			}
			if got.KeyID != tt.key {
				t.Errorf("key = %q, want %q", got.KeyID, tt.key)
			}
		})
	}
	now = t0.Add(time.Hour)
	_, err := verifier.Verify(headers(testID, testTime, sign(testSecret)), []byte(testBody))
	if err == nil || !strings.Contains(err.Error(), `key "old" expired at 2021-02-25T16:02:10Z`) {
		t.Errorf("the error does not say which key: %v", err)
	}
}

func TestVerifyToleratesBothSidesAlike(t *testing.T) {
	for _, tt := range []struct {
		tolerance, offset time.Duration // of now from the timestamp
		err               error
	}{
		{0, 0, nil},
		{0, 5 * time.Minute, nil},
		{0, 5*time.Minute + 1, webhook.ErrTooOld},
		{0, -5 * time.Minute, nil},
		{0, -5*time.Minute - 1, webhook.ErrTooNew},
		{0, 365 * 24 * time.Hour, webhook.ErrTooOld},
		{0, -365 * 24 * time.Hour, webhook.ErrTooNew}, // a year ahead
		{time.Second, time.Second, nil},
		{time.Second, time.Second + 1, webhook.ErrTooOld},
		{24 * time.Hour, -24 * time.Hour, nil},
		{24 * time.Hour, -24*time.Hour - 1, webhook.ErrTooNew},
	} {
		verifier := must(webhook.NewVerifier(keysOf(t, testSecret), &webhook.VerifierOptions{
			Tolerance: tt.tolerance, Now: func() time.Time { return t0.Add(tt.offset) },
		}))(t)
		_, err := verifier.Verify(headers(testID, testTime, testSignature), []byte(testBody))
		if tt.err == nil && err != nil || tt.err != nil && !kterrors.Is(err, tt.err) {
			t.Errorf("at %+v: %v, want %v", tt.offset, err, tt.err)
		}
	}
}

func TestVerifyReadsTheClockOnce(t *testing.T) {
	reads := 0
	verifier := must(webhook.NewVerifier(keysOf(t, testSecret), &webhook.VerifierOptions{Now: func() time.Time { reads++; return t0 }}))(t)
	if _, err := verifier.Verify(headers(testID, testTime, testSignature), []byte(testBody)); err != nil || reads != 1 {
		t.Errorf("%d reads, error %v", reads, err)
	}
}

// A timestamp so far off that the difference overflows a Duration.
func TestFarTimestampsAreRefused(t *testing.T) {
	verifier := newVerifier(t, testSecret)
	for timestamp, want := range map[string]error{"1": webhook.ErrTooOld, "99999999999": webhook.ErrTooNew} {
		h := headers(testID, 0, testSignature)
		h.Set("webhook-timestamp", timestamp)
		_, err := verifier.Verify(h, nil)
		wantIs(t, err, want)
		if strings.Contains(err.Error(), ": -") {
			t.Errorf("timestamp %s: a distance below zero: %v", timestamp, err)
		}
	}
}

// The same bytes are hashed for id "msg_1" with a body that begins with a
// timestamp and for id "msg_1.{timestamp}": the split must not be open.
func TestDefectBoundaryShift(t *testing.T) {
	const earlier = "1614265000"
	body := earlier + `.{"a":1}`
	signature := string(must(newSigner(t, testSecret).AppendSignature(nil, "msg_1", t0, []byte(body)))(t))
	verifier := newVerifier(t, testSecret)
	if _, err := verifier.Verify(headers("msg_1", testTime, signature), []byte(body)); err != nil {
		t.Fatal(err)
	}
	shifted := headers("msg_1.1614265330", 0, signature)
	shifted.Set("webhook-timestamp", earlier)
	_, err := verifier.Verify(shifted, []byte(`{"a":1}`))
	wantIs(t, err, webhook.ErrMalformed)
}

func TestDefectEmptyKey(t *testing.T) {
	for _, text := range []string{"", "whsec_", "\n\n", "whsec_YQ=="} {
		secret, err := webhook.SecretFromString(text)
		wantIs(t, err, webhook.ErrSecret)
		if _, err := webhook.NewKeys(webhook.Key{Secret: secret}); err == nil {
			t.Errorf("a key set holds the secret of %q", text)
		}
	}
	if _, err := webhook.NewKeys(); err == nil {
		t.Error("a key set holds nothing")
	}
	if _, err := webhook.NewVerifier(webhook.Keys{}, nil); err == nil {
		t.Error("a verifier has no key")
	}
	var zero webhook.Verifier
	_, err := zero.Verify(headers(testID, testTime, testSignature), []byte(testBody))
	wantIs(t, err, webhook.ErrNoKeys)
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
	_, err = zero.VerifyRequest(r)
	wantIs(t, err, webhook.ErrNoKeys)
}

func TestDefectTimestampMalleability(t *testing.T) {
	verifier := newVerifier(t, testSecret)
	for _, timestamp := range []string{
		"+1614265330", "-1614265330", "01614265330", "0001614265330", "0", "00", "1614265330abc", "1614265330.9", ".9", "1614265330\x00",
		" 1614265330", "1614265330 ", "1614265330,", "1_614_265_330", "1.614e9", "0x60379232", "１６１４２６５３３０", "161426533000", "99999999999999999999", "abc", "",
	} {
		h := headers(testID, testTime, testSignature)
		h["Webhook-Timestamp"] = []string{timestamp}
		_, err := verifier.Verify(h, []byte(testBody))
		if !kterrors.Is(err, webhook.ErrMalformed) {
			t.Errorf("timestamp %q: %v, want malformed", timestamp, err)
		}
	}
}

// Bodies are bytes: two that are not UTF-8 must not share a signature.
func TestDefectLossyBody(t *testing.T) {
	signature := string(must(newSigner(t, testSecret).AppendSignature(nil, testID, t0, []byte{0xff}))(t))
	verifier := newVerifier(t, testSecret)
	if _, err := verifier.Verify(headers(testID, testTime, signature), []byte{0xff}); err != nil {
		t.Error(err)
	}
	for _, other := range [][]byte{{0xfe}, []byte("\uFFFD"), nil} {
		_, err := verifier.Verify(headers(testID, testTime, signature), other)
		wantIs(t, err, webhook.ErrSignature)
	}
}

func TestDefectDuplicateHeaderLines(t *testing.T) {
	verifier := newVerifier(t, testSecret)
	for _, name := range []string{"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"} {
		good := headers(testID, testTime, testSignature)
		for _, second := range []string{good.Get(name), "evil", ""} {
			for _, lines := range [][]string{{good.Get(name), second}, {second, good.Get(name)}} {
				h := good.Clone()
				h[name] = lines
				_, err := verifier.Verify(h, []byte(testBody))
				wantIs(t, err, webhook.ErrMalformed)
			}
		}
		h := good.Clone()
		h.Set(name, good.Get(name)+", "+good.Get(name)) // as a proxy joins them
		_, err := verifier.Verify(h, []byte(testBody))
		wantIs(t, err, webhook.ErrMalformed)
	}
}

func TestDefectJunkInTheSignatureHeader(t *testing.T) {
	verifier := newVerifier(t, testSecret)
	sum := testSignature[3:]
	for _, signatures := range []string{
		"v1," + sum + ",junk", "v1," + sum + ",", "v1,," + sum, "v1 " + sum, "v1", "v1,", "," + sum, sum, ",", " ",
		"v1," + sum + "\t", "v1," + sum + "  v1," + sum, " v1," + sum, "v1," + sum + " ", "v1," + sum + "\nv1," + sum,
		"v1," + strings.TrimRight(sum, "="), "v1," + sum + "=", "v1," + sum[:43], "v1," + sum[:len(sum)-2] + "F=", // stray trailing bits
		"v1," + sum[:42] + "\n=", "v1," + sum[:40] + "\r\n\r\n", "v1," + strings.ReplaceAll(sum, "+", "-"), "v1," + sum[:43] + "é",
		"v1," + strings.Repeat("A", 44), "v1," + strings.Repeat("=", 44), "V1 ," + sum, "v 1," + sum, "v1," + sum + " v2", "v1,junk v1," + sum,
		"v1," + sum + " v1a,a,b", "v1," + sum + " v1a,\x00", strings.Repeat("v", 17) + ",a v1," + sum,
	} {
		_, err := verifier.Verify(headers(testID, testTime, signatures), []byte(testBody))
		if !kterrors.Is(err, webhook.ErrMalformed) {
			t.Errorf("signatures %q: %v, want malformed", signatures, err)
		}
	}
	for _, signatures := range []string{
		"v1a,ed25519 v1," + sum, "v1," + sum + " v2,whatever+it-is_", "v1," + strings.Repeat("A", 43) + "= v1," + sum,
	} {
		if _, err := verifier.Verify(headers(testID, testTime, signatures), []byte(testBody)); err != nil {
			t.Errorf("signatures %q: %v", signatures, err)
		}
	}
	_, err := verifier.Verify(headers(testID, testTime, "v1a,"+sum), []byte(testBody))
	wantIs(t, err, webhook.ErrSignature)
}

func TestSignatureEntriesAreBounded(t *testing.T) {
	verifier := newVerifier(t, testSecret)
	wrong := "v1," + strings.Repeat("A", 43) + "= "
	if _, err := verifier.Verify(headers(testID, testTime, strings.Repeat(wrong, 15)+testSignature), []byte(testBody)); err != nil {
		t.Errorf("the sixteenth of 16 entries: %v", err)
	}
	_, err := verifier.Verify(headers(testID, testTime, strings.Repeat(wrong, 16)+testSignature), []byte(testBody))
	wantIs(t, err, webhook.ErrMalformed)
	long := " v2," + strings.Repeat("x", 4096-len(testSignature)-4)
	if _, err := verifier.Verify(headers(testID, testTime, testSignature+long), []byte(testBody)); err != nil {
		t.Errorf("4096 bytes: %v", err)
	}
	_, err = verifier.Verify(headers(testID, testTime, testSignature+long+"x"), []byte(testBody))
	wantIs(t, err, webhook.ErrMalformed)
}

func TestIDsAreBounded(t *testing.T) {
	verifier := newVerifier(t, testSecret)
	for _, id := range []string{"", "a.b", "a b", "a\x00", "é", "a/b", strings.Repeat("m", 257), "a\n"} {
		h := headers("x", testTime, testSignature)
		h["Webhook-Id"] = []string{id}
		_, err := verifier.Verify(h, []byte(testBody))
		wantIs(t, err, webhook.ErrMalformed)
	}
}

// hostile are headers of about 1 MiB, which net/http lets through.
var hostile = map[string]string{
	"many entries":  strings.Repeat("v1,"+strings.Repeat("A", 43)+"= ", 20_000),
	"commas":        strings.Repeat(",", 900_000),
	"spaces":        strings.Repeat(" ", 900_000),
	"one long word": strings.Repeat("A", 1<<20),
	"one long v1":   "v1," + strings.Repeat("A", 1<<20),
}

func TestDefectHostileHeaderIsCheap(t *testing.T) {
	verifier := newVerifier(t, testSecret)
	for name, value := range hostile {
		for _, header := range []string{"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"} {
			h := headers(testID, testTime, testSignature)
			h[header] = []string{value}
			_, err := verifier.Verify(h, []byte(testBody))
			wantIs(t, err, webhook.ErrMalformed)
			if allocs := testing.AllocsPerRun(20, func() { _, _ = verifier.Verify(h, nil) }); allocs > 4 {
				t.Errorf("%s in %s: %v allocations to refuse it", name, header, allocs)
			}
		}
	}
}

func TestMissingHeadersAreNamed(t *testing.T) {
	verifier := newVerifier(t, testSecret)
	for _, name := range []string{"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"} {
		h := headers(testID, testTime, testSignature)
		h.Del(name)
		_, err := verifier.Verify(h, []byte(testBody))
		wantIs(t, err, webhook.ErrMissing)
		if !strings.Contains(kterrors.MessageOf(err), name) {
			t.Errorf("%v does not name %s", err, name)
		}
	}
	_, err := verifier.Verify(nil, nil)
	wantIs(t, err, webhook.ErrMissing)
}

func TestDenialsAreUnauthenticated(t *testing.T) {
	for _, err := range []error{webhook.ErrMissing, webhook.ErrMalformed, webhook.ErrTooOld, webhook.ErrTooNew, webhook.ErrSignature, webhook.ErrKeyExpired} {
		if kterrors.CodeOf(err) != kterrors.Unauthenticated {
			t.Errorf("%v has code %v", err, kterrors.CodeOf(err))
		}
	}
}

func TestSignAndVerifyAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget")
	}
	signer, verifier := newSigner(t, testSecret, otherSecret), newVerifier(t, testSecret, otherSecret)
	body := make([]byte, 1024)
	h := http.Header{}
	if err := signer.Sign(h, testID, t0, body); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 0, 256)
	if n := testing.AllocsPerRun(100, func() { buf, _ = signer.AppendSignature(buf[:0], testID, t0, body) }); n != 0 {
		t.Errorf("AppendSignature: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = verifier.Verify(h, body) }); n != 0 {
		t.Errorf("Verify: %v allocations", n)
	}
}
