package webhook_test

import (
	"testing"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

func TestEveryFaultOfASenderIsNamed(t *testing.T) {
	keys := make([]webhook.Key, webhook.MaxKeys)
	for i := range keys {
		keys[i].Secret = webhook.GenerateSecret()
	}
	_, public := webhook.GenerateKeyPair()
	keys[0] = webhook.Key{ID: "public", Secret: public}
	_, err := webhook.NewSender(nil, nil, &webhook.SenderOptions{
		Transport: new(webhook.SafeTransport), MaxPayload: -1, Concurrency: webhook.MaxConcurrency + 1, KeepBody: webhook.MaxKeepBody + 1,
		MaxTimeout: time.Millisecond, Lease: time.Second, Poll: time.Hour, Drain: -1, DisableAfter: time.Minute, UserAgent: "a\r\nb",
		Keys: must(webhook.NewKeys(keys...))(t),
	})
	wantFaults(t, err, "store: nil", "sealing: no key", "Transport: a zero SafeTransport", "MaxPayload is -1; give 1 to 16777216",
		"Concurrency is 10001", "KeepBody is 16385", "MaxTimeout is 1ms; give 1s to 1m0s", "Lease is 1s", "Poll is 1h0m0s", "Drain is -1ns",
		"DisableAfter is 1m0s", "UserAgent", "Keys: 10; give up to 9", `key "public" is the public half`)
}

// A lease that ends before its attempt is over has the message sent twice at once.
func TestALeaseOutlastsTheLongestAttempt(t *testing.T) {
	store, sealing := webhook.NewMemoryStore(nil), []webhook.SealingKey{webhook.GenerateSealingKey(1)}
	for _, tt := range []struct {
		timeout, lease time.Duration
		ok             bool
	}{
		{30 * time.Second, 45 * time.Second, true},
		{30 * time.Second, 45*time.Second - time.Microsecond, false},
		{0, 75 * time.Second, true},
		{0, 75*time.Second - time.Microsecond, false},
		{0, 24 * time.Hour, true},
		{0, 24*time.Hour + time.Microsecond, false},
		{0, 90*time.Second + 1, false}, // less than a microsecond
	} {
		_, err := webhook.NewSender(store, sealing, &webhook.SenderOptions{MaxTimeout: tt.timeout, Lease: tt.lease})
		if tt.ok && err != nil {
			t.Errorf("timeout %v, lease %v: %v", tt.timeout, tt.lease, err)
		}
		if !tt.ok {
			wantFaults(t, err, "Lease is")
		}
	}
}

func TestASenderWithoutOptionsIsComplete(t *testing.T) {
	if _, err := webhook.NewSender(webhook.NewMemoryStore(nil), []webhook.SealingKey{webhook.GenerateSealingKey(1)}, nil); err != nil {
		t.Error(err)
	}
}
