package webhooktest_test

import (
	"bytes"
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/webhook"
	"github.com/keytoll/keytoll/webhook/webhooktest"
)

// This test of a sender has a receiver that drops the first connection, redirects
// the second attempt and takes the third.
func ExampleReceiver() {
	test := messageArrivesAtLast
	_ = test // called by the testing package

	// Output:
}

func messageArrivesAtLast(t *testing.T) {
	receiver := webhooktest.NewReceiver(t, nil,
		webhooktest.Answer{Abort: true},
		webhooktest.Answer{Status: 307, Header: http.Header{"Location": {"http://127.0.0.1:1/"}}},
		webhooktest.Answer{Status: 200, Body: "thanks"},
	)
	sender, err := webhook.NewSender(webhook.NewMemoryStore(nil),
		[]webhook.SealingKey{{Version: 1, Secret: bytes.Repeat([]byte("k"), 32)}},
		&webhook.SenderOptions{
			Transport: receiver.Transport(t),
			Retry:     func(webhook.FailedAttempt) (time.Duration, bool) { return 0, true },
		})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = sender.Run(ctx) })
	defer running.Wait()
	defer stop()

	made, err := sender.CreateEndpoint(ctx, webhook.EndpointSpec{Account: "acme", Settings: webhook.Settings{URL: receiver.URL() + "/hook"}})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := webhook.NewKeys(webhook.Key{Secret: made.Secret})
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := webhook.NewVerifier(keys, nil)
	if err != nil {
		t.Fatal(err)
	}
	receiver.SetVerifier(verifier)

	if _, err := sender.Publish(ctx, webhook.Message{ID: "msg_1", Account: "acme", Type: "image.created", Payload: []byte(`{}`)}); err != nil {
		t.Fatal(err)
	}
	got, err := receiver.Wait(ctx, 3)
	if err != nil {
		t.Fatal(err)
	}
	for _, delivery := range got {
		if delivery.Err != nil || delivery.Verified.ID != "msg_1" {
			t.Errorf("%+v", delivery)
		}
	}
}
