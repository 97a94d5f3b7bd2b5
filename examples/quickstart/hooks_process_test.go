package main_test

import (
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/stores/pgstore/pgtest"
	"github.com/keytoll/keytoll/webhook"
)

// What was announced while the receiver was down, and the service killed, arrives
// once both are back: signed with the same secret, under the ids of before.
func TestWebhooksOutliveReceiverAndProcess(t *testing.T) {
	t.Parallel()
	for name, args := range map[string]func(t *testing.T) []string{
		"a file": func(t *testing.T) []string { return []string{"-db", filepath.Join(t.TempDir(), "x.db")} },
		"PostgreSQL": func(t *testing.T) []string {
			return []string{"-postgres", pgtest.Database(t), "-sealing", filepath.Join(t.TempDir(), "key")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var verifier atomic.Pointer[webhook.Verifier] // nil while the receiver is down
			arrived := make(chan string, 64)
			receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				v := verifier.Load()
				if v == nil {
					panic(http.ErrAbortHandler)
				}
				verified, err := v.VerifyRequest(r)
				if err != nil {
					t.Errorf("a delivery does not verify: %v", err)
				}
				arrived <- verified.ID
			}))
			t.Cleanup(receiver.Close)
			args := append(args(t), "-webhook", receiver.URL)
			first := start(t, args...)
			const images = 3
			for range images {
				first.image(t, first.Key).want(t, http.StatusOK)
			}
			// Killed within an attempt it would have to wait for the lease: what becomes of
			// that is for the tests of the stores.
			for deadline := time.Now().Add(patience); strings.Count(first.stderr.String(), "event=attempt_failed") < images; {
				if time.Now().After(deadline) {
					t.Fatalf("the receiver that is down was not tried within %v:\n%s", patience, first.stderr)
				}
				first.must(t, http.MethodGet, "/v1/models", first.Key, "")
			}
			first.kill()
			second := start(t, args...)
			if second.WebhookSecret != first.WebhookSecret {
				t.Error("the secret of webhooks has changed with a restart")
			}
			second.image(t, second.Key).want(t, http.StatusOK)
			verifier.Store(verifierOf(t, second.WebhookSecret))
			ids := make(map[string]bool)
			patience := time.After(2 * patience)
			for len(ids) < images+1 {
				select {
				case id := <-arrived:
					ids[id] = true
				case <-patience:
					t.Fatalf("%d messages arrived, want %d", len(ids), images+1)
				}
			}
		})
	}
}

// verifierOf makes a verifier of the secret that a process has shown.
func verifierOf(t *testing.T, text string) *webhook.Verifier {
	t.Helper()
	secret, err := webhook.SecretFromString(text)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := webhook.NewKeys(webhook.Key{Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	v, err := webhook.NewVerifier(keys, nil)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// A start with another sealing key cannot sign as the one before did, and says which
// file it looked into.
func TestAnotherSealingKeyIsNamed(t *testing.T) {
	t.Parallel()
	file, other := filepath.Join(t.TempDir(), "x.db"), filepath.Join(t.TempDir(), "other.sealing")
	first := start(t, "-db", file, "-webhook", "http://127.0.0.1:1/")
	if code := first.terminate(t); code != 0 {
		t.Fatalf("exit code %d, want 0", code)
	}
	cmd := exec.CommandContext(t.Context(), binary, "-addr", "127.0.0.1:0", "-db", file, "-webhook", "http://127.0.0.1:1/", "-sealing", other)
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(string(out), other+" is not the one of earlier starts") {
		t.Errorf("exit code %d, want 1, with the file of the key in:\n%s", code, out)
	}
}
