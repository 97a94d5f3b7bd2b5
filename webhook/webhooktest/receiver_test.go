package webhooktest_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/keytoll/keytoll/webhook"
	"github.com/keytoll/keytoll/webhook/webhooktest"
)

func pair(t *testing.T) (*webhook.Signer, *webhook.Verifier) {
	t.Helper()
	keys, err := webhook.NewKeys(webhook.Key{ID: "k", Secret: webhook.GenerateSecret()})
	if err != nil {
		t.Fatal(err)
	}
	signer, err := webhook.NewSigner(keys)
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

func TestReceiverLetsGoOfAGateWhenTheSenderHangsUp(t *testing.T) {
	signer, verifier := pair(t)
	for name, answer := range map[string]webhooktest.Answer{
		"before the header": {Gate: make(chan struct{})},
		"before the body":   {BodyGate: make(chan struct{})},
	} {
		t.Run(name, func(t *testing.T) {
			r := webhooktest.NewReceiver(t, verifier, answer)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			req := webhooktest.NewRequest(t, signer, webhooktest.Message{URL: r.URL()}).WithContext(ctx)
			go func() {
				_, _ = r.Wait(t.Context(), 1)
				cancel()
			}()
			res, err := send(t, r, req)
			if err == nil {
				_, err = io.ReadAll(res.Body)
			}
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
}

func TestReceiverEndsWithWhoeverWaitsAtAGate(t *testing.T) {
	signer, verifier := pair(t)
	failed := make(chan error, 1)
	t.Run("receiver", func(t *testing.T) {
		r := webhooktest.NewReceiver(t, verifier, webhooktest.Answer{Gate: make(chan struct{})})
		req := webhooktest.NewRequest(t, signer, webhooktest.Message{URL: r.URL()}).WithContext(context.Background())
		go func() {
			res, err := r.Client().Do(req)
			if err == nil {
				_ = res.Body.Close()
			}
			failed <- err
		}()
		if _, err := r.Wait(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
	})
	if err := <-failed; err == nil {
		t.Error("a request that waited at a gate was answered by a receiver that ended")
	}
}

func TestReceiverOpensItsGates(t *testing.T) {
	signer, verifier := pair(t)
	first, second := make(chan struct{}), make(chan struct{})
	r := webhooktest.NewReceiver(t, verifier, webhooktest.Answer{Gate: first, BodyGate: second, Body: "late"})
	got := make(chan string, 2)
	req := webhooktest.NewRequest(t, signer, webhooktest.Message{URL: r.URL()})
	go func() {
		res, err := send(t, r, req)
		if err != nil {
			got <- err.Error()
			return
		}
		got <- res.Status
		body, err := io.ReadAll(res.Body)
		got <- fmt.Sprintf("%s %v", body, err)
	}()
	if _, err := r.Wait(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if len(got) != 0 {
		t.Errorf("answered before the gate: %s", <-got)
	}
	first <- struct{}{}
	if header := <-got; header != "200 OK" {
		t.Errorf("header: %s", header)
	}
	if len(got) != 0 {
		t.Errorf("the body came before its gate: %s", <-got)
	}
	close(second)
	if body := <-got; body != "late <nil>" {
		t.Errorf("body: %s", body)
	}
}

func TestReceiverBreaksOffInTheBody(t *testing.T) {
	signer, verifier := pair(t)
	r := webhooktest.NewReceiver(t, verifier, webhooktest.Answer{Body: "abcd", Break: true})
	res, err := send(t, r, webhooktest.NewRequest(t, signer, webhooktest.Message{URL: r.URL()}))
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("%v, %v", res, err)
	}
	if body, err := io.ReadAll(res.Body); string(body) != "ab" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%q, %v", body, err)
	}
}

func TestReceiverWithTLSShowsWhatTheSenderShowed(t *testing.T) {
	signer, verifier := pair(t)
	r := webhooktest.NewTLSReceiver(t, verifier)
	if pool := x509.NewCertPool(); !pool.AppendCertsFromPEM([]byte(r.RootCAs())) {
		t.Errorf("RootCAs = %q", r.RootCAs())
	}
	client := r.Transport(t).Client(0)
	res, err := client.Do(webhooktest.NewRequest(t, signer, webhooktest.Message{URL: r.URL() + "/hook"}))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	got := r.Received()
	if len(got) != 1 || got[0].Err != nil || got[0].TLS == nil || got[0].TLS.Version < tls.VersionTLS12 || "https://"+got[0].Host != r.URL() {
		t.Errorf("%+v", got)
	}
	if plain := webhooktest.NewReceiver(t, verifier); plain.RootCAs() != "" {
		t.Error("a receiver without TLS has authorities")
	}
}

func TestReceiverAcceptsNothingBeforeItHasAVerifier(t *testing.T) {
	signer, verifier := pair(t)
	r := webhooktest.NewReceiver(t, nil, webhooktest.Answer{Status: 202})
	for i, want := range []int{401, 202} {
		res, err := send(t, r, webhooktest.NewRequest(t, signer, webhooktest.Message{URL: r.URL()}))
		if err != nil || res.StatusCode != want {
			t.Errorf("delivery %d: %v, %v, want %d", i, res, err, want)
		}
		r.SetVerifier(verifier)
	}
	if got := r.Received(); len(got) != 2 || got[0].Err == nil || got[1].Err != nil {
		t.Errorf("%+v", got)
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

func TestExampleOfAReceiver(t *testing.T) { messageArrivesAtLast(t) }
