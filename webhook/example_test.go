package webhook_test

import (
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/webhook"
)

// Signing: once for each attempt, when it is sent.
func Example_sign() {
	secret, err := webhook.SecretFromString("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		log.Fatal(err)
	}
	keys, err := webhook.NewKeys(webhook.Key{ID: "2026-01", Secret: secret})
	if err != nil {
		log.Fatal(err)
	}
	signer, err := webhook.NewSigner(keys)
	if err != nil {
		log.Fatal(err)
	}

	body := []byte(`{"test": 2432232314}`)
	header := http.Header{}
	if err := signer.Sign(header, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), body); err != nil {
		log.Fatal(err)
	}
	fmt.Println(header.Get("webhook-id"))
	fmt.Println(header.Get("webhook-timestamp"))
	fmt.Println(header.Get("webhook-signature"))
	fmt.Println(secret)
	// Output:
	// msg_p5jXN8AQM9LWM0D4loKWxJek
	// 1614265330
	// v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=
	// [redacted]
}

// A secret is replaced without a moment in which messages are refused: the
// receiver takes both secrets first, then the sender changes, and the old one
// ends by itself.
func Example_rotation() {
	now := time.Unix(1614265330, 0)
	old := webhook.Key{ID: "old", Secret: webhook.GenerateSecret()}
	next := webhook.Key{ID: "next", Secret: webhook.GenerateSecret()}
	body := []byte(`{"type":"order.paid"}`)

	before, err := webhook.NewKeys(old)
	if err != nil {
		log.Fatal(err)
	}
	both, err := before.Rotate(next, now, 24*time.Hour)
	if err != nil {
		log.Fatal(err)
	}
	clock := now
	verifier, err := webhook.NewVerifier(both, &webhook.VerifierOptions{Now: func() time.Time { return clock }})
	if err != nil {
		log.Fatal(err)
	}

	for _, step := range []struct {
		keys webhook.Keys // of the sender
		at   time.Time
	}{{before, now}, {both, now.Add(time.Hour)}, {before, now.Add(24 * time.Hour)}} {
		signer, err := webhook.NewSigner(step.keys)
		if err != nil {
			log.Fatal(err)
		}
		header := http.Header{}
		if err := signer.Sign(header, webhook.NewID(), step.at, body); err != nil {
			log.Fatal(err)
		}
		clock = step.at
		got, err := verifier.Verify(header, body)
		fmt.Println(strings.Count(header.Get("webhook-signature"), "v1,"), "signed, matched", got.KeyID, errors.Is(err, webhook.ErrKeyExpired))
	}
	// Output:
	// 1 signed, matched old false
	// 2 signed, matched next false
	// 1 signed, matched  true
}

// A receiver that handles every message once.
func ExampleVerifier_Handler() {
	keys, err := webhook.NewKeys(webhook.Key{Secret: webhook.GenerateSecret()})
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := webhook.NewVerifier(keys, nil)
	if err != nil {
		log.Fatal(err)
	}
	replays, err := webhook.NewMemoryReplayStore(nil)
	if err != nil {
		log.Fatal(err)
	}

	handler, err := verifier.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		message, _ := webhook.FromContext(r.Context())
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		fmt.Printf("handling %s: %s\n", message.ID, body)
		w.WriteHeader(http.StatusNoContent)
	}), &webhook.HandlerOptions{
		Replay:   replays,
		Source:   "orders",
		Observer: webhook.NewSlogObserver(slog.New(slog.DiscardHandler)),
	})
	if err != nil {
		log.Fatal(err)
	}

	signer, err := webhook.NewSigner(keys)
	if err != nil {
		log.Fatal(err)
	}
	for _, body := range []string{`{"n":1}`, `{"n":1}`, `{"n":2}`} {
		r := httptest.NewRequest(http.MethodPost, "/hook", strings.NewReader(body))
		if err := signer.Sign(r.Header, "msg_1", time.Now(), []byte(`{"n":1}`)); err != nil {
			log.Fatal(err)
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Println(w.Code)
	}
	// Output:
	// handling msg_1: {"n":1}
	// 204
	// 200
	// 401
}

// Verifying decoded and encoded again is the commonest mistake: the bytes
// differ, if only by a space.
func ExampleVerifier_Verify_incorrect() {
	keys, err := webhook.NewKeys(webhook.Key{Secret: webhook.GenerateSecret()})
	if err != nil {
		log.Fatal(err)
	}
	signer, err := webhook.NewSigner(keys)
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := webhook.NewVerifier(keys, nil)
	if err != nil {
		log.Fatal(err)
	}

	header := http.Header{}
	if err := signer.Sign(header, webhook.NewID(), time.Now(), []byte(`{"a": 1}`)); err != nil {
		log.Fatal(err)
	}
	_, err = verifier.Verify(header, []byte(`{"a":1}`))
	fmt.Println(errors.MessageOf(err))
	// Output:
	// no signature matches; check that both sides hold the same secret, and that the body is the bytes as received
}
