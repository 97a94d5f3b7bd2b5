package main_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

func TestWebhookIsSignedAndRetried(t *testing.T) {
	t.Parallel()
	var verifier atomic.Pointer[webhook.Verifier]
	var attempts atomic.Int64
	type delivery struct {
		id   string
		body []byte
	}
	refused := make(chan string, 16)
	taken := make(chan delivery, 16)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		v, err := verifier.Load().Verify(r.Header, body)
		if err != nil {
			t.Errorf("the delivery does not verify: %v", err)
		}
		if attempts.Add(1) == 1 {
			refused <- v.ID
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		taken <- delivery{v.ID, body}
	}))
	t.Cleanup(receiver.Close)

	p := start(t, "-webhook", receiver.URL+"/hook")
	verifier.Store(verifierOf(t, p.WebhookSecret))

	p.image(t, p.Key).want(t, http.StatusOK)
	p.must(t, http.MethodPost, "/v1/images", p.Key, `{"prompt":"x","simulate":"failure"}`).want(t, http.StatusInternalServerError)
	first := <-refused
	select {
	case d := <-taken:
		if d.id != first {
			t.Errorf("the retry has id %q, the first attempt had %q", d.id, first)
		}
		var e struct {
			Type string    `json:"type"`
			At   time.Time `json:"timestamp"`
			Data struct {
				Prompt string `json:"prompt"`
				KeyID  string `json:"key_id"`
			} `json:"data"`
		}
		if err := json.Unmarshal(d.body, &e); err != nil {
			t.Fatal(err)
		}
		if e.Type != "image.created" || e.At.IsZero() || e.Data.Prompt != "a lighthouse at dusk" || e.Data.KeyID == "" {
			t.Errorf("event %s", d.body)
		}
	case <-time.After(patience):
		t.Fatal("no second attempt")
	}
	// SIGTERM delivers what waits: this event is queued when the signal comes.
	p.image(t, p.Key).want(t, http.StatusOK)
	if code := p.terminate(t); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if n := attempts.Load(); n != 3 {
		t.Errorf("%d attempts for two finished images, want 3: one refused, its retry, and the second image; failures send nothing", n)
	}
}
