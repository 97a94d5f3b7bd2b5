package webhooktest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/keytoll/keytoll/webhook"
	"github.com/keytoll/keytoll/webhook/webhooktest"
)

func pair(t *testing.T) (*webhook.Signer, *webhook.Verifier) {
	t.Helper()
	keys, err := webhook.NewKeys(webhook.Key{ID: "k", Secret: webhook.GenerateSecret()})
	if err != nil {
		t.Fatal(err)
	}
	signer, err := webhook.NewSigner(keys, nil)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := webhook.NewVerifier(keys, nil)
	if err != nil {
		t.Fatal(err)
	}
	return signer, verifier
}

func send(t *testing.T, r *webhooktest.Receiver, req *http.Request) (*http.Response, error) {
	t.Helper()
	res, err := r.Client().Do(req)
	if err == nil {
		t.Cleanup(func() { _ = res.Body.Close() })
	}
	return res, err
}

func TestReceiverVerifiesRecordsAndFollowsItsScript(t *testing.T) {
	signer, verifier := pair(t)
	r := webhooktest.NewReceiver(t, verifier,
		webhooktest.Answer{Status: 503, Header: http.Header{"Retry-After": {"7"}}, Body: "later"},
		webhooktest.Answer{Abort: true})
	body := []byte{0xff, 0xfe, 0}
	message := webhooktest.Message{URL: r.URL() + "/hook", ID: "msg_1", Body: body, Header: http.Header{"X-Custom": {"1"}}}

	res, err := send(t, r, webhooktest.NewRequest(t, signer, message))
	if err != nil || res.StatusCode != 503 || res.Header.Get("Retry-After") != "7" {
		t.Fatalf("first: %v, %v", res, err)
	}
	if text, _ := io.ReadAll(res.Body); string(text) != "later" {
		t.Errorf("first body: %q", text)
	}

	forged := webhooktest.NewRequest(t, signer, message)
	forged.Header.Set("webhook-id", "msg_2")
	if res, err := send(t, r, forged); err != nil || res.StatusCode != 401 {
		t.Errorf("forged: %v, %v", res, err)
	}

	// net/http repeats a request on a reused connection that was dropped only if
	// it may; a POST may not.
	if res, err := send(t, r, webhooktest.NewRequest(t, signer, message)); err == nil {
		t.Errorf("aborted: %v", res)
	}
	if res, err := send(t, r, webhooktest.NewRequest(t, signer, message)); err != nil || res.StatusCode != 204 {
		t.Errorf("after the script: %v, %v", res, err)
	}
	r.Script(webhooktest.Answer{Status: 410})
	if res, err := send(t, r, webhooktest.NewRequest(t, signer, message)); err != nil || res.StatusCode != 410 {
		t.Errorf("appended: %v, %v", res, err)
	}

	got, err := r.Wait(t.Context(), 5)
	if err != nil || len(got) != 5 || len(r.Received()) != 5 {
		t.Fatalf("%d deliveries, %v", len(got), err)
	}
	for i, d := range got {
		if d.Method != http.MethodPost || d.Path != "/hook" || !bytes.Equal(d.Body, body) || d.Header.Get("X-Custom") != "1" {
			t.Errorf("delivery %d: %+v", i, d)
		}
		if i == 1 {
			if !errors.Is(d.Err, webhook.ErrSignature) || d.Answer.Status != 401 || d.Verified != (webhook.Verified{}) {
				t.Errorf("the forged one: %+v", d)
			}
		} else if d.Err != nil || d.Verified.ID != "msg_1" || d.Verified.KeyID != "k" {
			t.Errorf("delivery %d: %+v, %v", i, d.Verified, d.Err)
		}
	}
}

func TestReceiverWaitsNoLongerThanItsContext(t *testing.T) {
	_, verifier := pair(t)
	r := webhooktest.NewReceiver(t, verifier)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := r.Wait(ctx, 1); !errors.Is(err, context.Canceled) || len(got) != 0 {
		t.Errorf("Wait = %v, %v", got, err)
	}
	if _, err := r.Wait(ctx, 0); err != nil {
		t.Error(err)
	}
}

func TestReceiverCutsADelayWhenTheSenderHangsUp(t *testing.T) {
	signer, verifier := pair(t)
	r := webhooktest.NewReceiver(t, verifier, webhooktest.Answer{Delay: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	req := webhooktest.NewRequest(t, signer, webhooktest.Message{URL: r.URL()}).WithContext(ctx)
	go func() {
		_, _ = r.Wait(t.Context(), 1)
		cancel()
	}()
	if res, err := send(t, r, req); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", res, err)
	}
}

func TestNewRequestFillsIn(t *testing.T) {
	signer, verifier := pair(t)
	req := webhooktest.NewRequest(t, signer, webhooktest.Message{Body: []byte("{}")})
	got, err := verifier.VerifyRequest(req)
	if err != nil || got.ID == "" || req.Header.Get("Content-Type") != "application/json" || req.ContentLength != 2 {
		t.Errorf("%+v, %v, %v", got, err, req.Header)
	}
}
