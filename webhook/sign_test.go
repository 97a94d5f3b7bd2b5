package webhook_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	kterrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/webhook"
)

func TestSignUsesEveryLiveKeyNewestFirst(t *testing.T) {
	keys := must(webhook.NewKeys(
		webhook.Key{ID: "new", Secret: must(webhook.SecretFromString(testSecret))(t)},
		webhook.Key{ID: "old", Secret: must(webhook.SecretFromString(otherSecret))(t), NotAfter: t0},
	))(t)
	signer := must(webhook.NewSigner(keys))(t)
	sign := func(at time.Time) string {
		return string(must(signer.AppendSignature(nil, testID, at, []byte(testBody)))(t))
	}
	const first = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	if got := sign(t0); got != first {
		t.Errorf("at the end of the old key: %q, want the new one alone, %q", got, first)
	}
	before := t0.Add(-time.Nanosecond)
	entries := strings.Split(sign(before), " ")
	if len(entries) != 2 || entries[0] == entries[1] {
		t.Fatalf("just before the end of the old key: %q, want two signatures", entries)
	}
	for i, secret := range []string{testSecret, otherSecret} {
		if got := string(must(newSigner(t, secret).AppendSignature(nil, testID, before, []byte(testBody)))(t)); got != entries[i] {
			t.Errorf("signature %d is not that of key %d", i, i)
		}
	}
}

func TestSignReplacesHeadersAndSharesNoValues(t *testing.T) {
	signer := newSigner(t, testSecret)
	h := http.Header{}
	h.Add("Webhook-Id", "a")
	h.Add("Webhook-Id", "b")
	for range 2 {
		if err := signer.Sign(h, testID, t0, []byte(testBody)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"} {
		if len(h[name]) != 1 || cap(h[name]) != 1 {
			t.Errorf("%s has %d values in room for %d, want 1 in 1", name, len(h[name]), cap(h[name]))
		}
	}
}

func TestSignRefusesWhatCannotBeVerified(t *testing.T) {
	signer := newSigner(t, testSecret)
	for name, tt := range map[string]struct {
		id string
		at time.Time
	}{
		"empty id":       {"", t0},
		"dot in id":      {"msg_1.1614265999", t0},
		"space in id":    {"msg 1", t0},
		"newline in id":  {"msg_1\n", t0},
		"letters beyond": {"msg_é", t0},
		"long id":        {strings.Repeat("m", 257), t0},
		"zero time":      {testID, time.Time{}},
		"the epoch":      {testID, time.Unix(0, 0)},
		"before it":      {testID, time.Unix(-1, 0)},
		"too far":        {testID, time.Unix(100_000_000_000, 0)},
	} {
		h := http.Header{}
		err := signer.Sign(h, tt.id, tt.at, nil)
		wantIs(t, err, webhook.ErrMessage)
		if len(h) != 0 {
			t.Errorf("%s: headers were set: %v", name, h)
		}
		dst, err := signer.AppendSignature([]byte("x"), tt.id, tt.at, nil)
		wantIs(t, err, webhook.ErrMessage)
		if string(dst) != "x" {
			t.Errorf("%s: dst = %q", name, dst)
		}
	}
	if err := signer.Sign(http.Header{}, strings.Repeat("m", 256), time.Unix(99_999_999_999, 0), nil); err != nil {
		t.Errorf("the longest id and the last instant: %v", err)
	}
}

func TestASignerWithoutALiveKeyRefuses(t *testing.T) {
	var zero webhook.Signer
	wantIs(t, zero.Sign(http.Header{}, testID, t0, nil), webhook.ErrNoKeys)
	expired := must(webhook.NewKeys(webhook.Key{Secret: webhook.GenerateSecret(), NotAfter: t0}))(t)
	signer := must(webhook.NewSigner(expired))(t)
	wantIs(t, signer.Sign(http.Header{}, testID, t0, nil), webhook.ErrNoKeys)
	if err := signer.Sign(http.Header{}, testID, t0.Add(-time.Second), nil); err != nil {
		t.Error(err)
	}
}

func TestConstructorsReportEveryFaultAtOnce(t *testing.T) {
	_, err := webhook.NewSigner(webhook.Keys{})
	wantFaults(t, err, "keys: none")
	_, err = webhook.NewVerifier(webhook.Keys{}, &webhook.VerifierOptions{BaseURL: "example.com", Tolerance: -1, MaxBody: -1})
	wantFaults(t, err, "base URL:", "keys: none", "tolerance is -1ns; give 1s to 24h0m0s", "max body is -1 bytes")
	_, err = webhook.NewVerifier(keysOf(t, testSecret), &webhook.VerifierOptions{Tolerance: 25 * time.Hour, MaxBody: 1<<30 + 1})
	wantFaults(t, err, "tolerance is 25h0m0s", "max body is 1073741825")
	_, err = webhook.NewMemoryReplayStore(&webhook.MemoryReplayOptions{MaxKeys: -1, EvictAfter: -1})
	wantFaults(t, err, "max keys is -1", "evict after is -1ns")
	for _, prefix := range []string{"-", "web_hook-", "web hook-", "webhook:-", "wébhook-", strings.Repeat("w", 80) + "-"} {
		_, err := webhook.NewKeys(webhook.Key{Secret: webhook.GenerateSecret(), Scheme: webhook.Standard(prefix)})
		wantFaults(t, err, "id header:", "timestamp header:", "signature header:")
	}
}

func wantFaults(t *testing.T, err error, texts ...string) {
	t.Helper()
	if kterrors.CodeOf(err) != kterrors.Invalid {
		t.Errorf("error = %v, want code invalid", err)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("no %q in\n%v", text, err)
		}
	}
}

func TestAPrefixNamesTheHeaders(t *testing.T) {
	keys := must(webhook.NewKeys(webhook.Key{Secret: must(webhook.SecretFromString(testSecret))(t), Scheme: webhook.Standard("svix-")}))(t)
	signer := must(webhook.NewSigner(keys))(t)
	verifier := must(webhook.NewVerifier(keys, &webhook.VerifierOptions{Now: clockAt(testTime)}))(t)
	h := http.Header{}
	if err := signer.Sign(h, testID, t0, []byte(testBody)); err != nil {
		t.Fatal(err)
	}
	if h.Get("svix-id") != testID || h.Get("webhook-id") != "" {
		t.Errorf("headers = %v", h)
	}
	if _, err := verifier.Verify(h, []byte(testBody)); err != nil {
		t.Error(err)
	}
	_, err := newVerifier(t, testSecret).Verify(h, []byte(testBody))
	wantIs(t, err, webhook.ErrMissing)
}

func TestKeysAreReplacedWhileInUse(t *testing.T) {
	signer, verifier := newSigner(t, testSecret), newVerifier(t, testSecret)
	both := keysOf(t, otherSecret, testSecret)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				h := http.Header{}
				if err := signer.Sign(h, testID, t0, []byte(testBody)); err != nil {
					t.Error(err)
				}
				if _, err := verifier.Verify(h, []byte(testBody)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 50 {
		// The receiver takes the new key before the sender does, as it has to be.
		for _, err := range []error{verifier.SetKeys(both), signer.SetKeys(both), signer.SetKeys(keysOf(t, testSecret)), verifier.SetKeys(keysOf(t, testSecret))} {
			if err != nil {
				t.Error(err)
			}
		}
	}
	wg.Wait()
	wantIs(t, signer.SetKeys(webhook.Keys{}), webhook.ErrNoKeys)
	wantIs(t, verifier.SetKeys(webhook.Keys{}), webhook.ErrNoKeys)
	wantIs(t, new(webhook.Verifier).SetKeys(both), webhook.ErrNoKeys)
	wantIs(t, new(webhook.Signer).SetKeys(both), webhook.ErrNoKeys)
	if err := signer.Sign(http.Header{}, testID, t0, nil); err != nil {
		t.Errorf("after a refused SetKeys: %v", err)
	}
}

func TestNewIDsAreValidAndDiffer(t *testing.T) {
	a, b := webhook.NewID(), webhook.NewID()
	if a == b || !strings.HasPrefix(a, "msg_") || len(a) != 30 {
		t.Errorf("NewID = %q, %q", a, b)
	}
	if err := newSigner(t, testSecret).Sign(http.Header{}, a, t0, nil); err != nil {
		t.Error(err)
	}
}
