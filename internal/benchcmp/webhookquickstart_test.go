package benchcmp_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What the quickstart delivers the official JavaScript library accepts, with the
// secret that the quickstart shows.
func TestOfficialJavaScriptLibraryAcceptsWhatTheQuickstartDelivers(t *testing.T) {
	js := startScript(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	type delivery struct {
		header http.Header
		body   []byte
	}
	arrived := make(chan delivery, 1)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		arrived <- delivery{r.Header, body}
	}))
	t.Cleanup(receiver.Close)
	line := startQuickstart(t, "-webhook", receiver.URL)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+line.Addr+"/v1/images", strings.NewReader(`{"prompt":"a lighthouse, Zoë 🚀 <&>"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+line.Key)
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("the quickstart answers %s, %v", res.Status, err)
	}
	select {
	case d := <-arrived:
		if a := js.ask(t, line.WebhookSecret, d.header, string(d.body)); a.Error != "" {
			t.Errorf("it refuses %s: %s", d.body, a.Error)
		}
		if a := js.ask(t, line.WebhookSecret, d.header, string(d.body)+" "); a.Error == "" {
			t.Errorf("it accepts %s when it was changed", d.body)
		}
	case <-ctx.Done():
		t.Fatal("the quickstart has delivered nothing")
	}
}

// A quickstartLine is what the quickstart prints when it is ready.
type quickstartLine struct {
	Addr          string `json:"addr"`
	Key           string `json:"key"`
	WebhookSecret string `json:"webhook_secret"`
}

// startQuickstart builds the quickstart and runs it until the test ends.
func startQuickstart(t *testing.T, args ...string) (line quickstartLine) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "quickstart")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./quickstart")
	build.Dir = filepath.Join("..", "..", "examples")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	c := exec.CommandContext(t.Context(), binary, append([]string{"-json", "-addr", "127.0.0.1:0"}, args...)...)
	c.Stderr = t.Output()
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Wait() }) // it was killed
	if err := json.NewDecoder(out).Decode(&line); err != nil {
		t.Fatalf("the quickstart does not say where it listens: %v", err)
	}
	return line
}
