package main_test

import (
	"bytes"
	"encoding/json"
	"image/png"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The quickstart grants 100 credits and an image costs 5.
const affordable = 20

func TestImageIsServedAndCharged(t *testing.T) {
	t.Parallel()
	p := start(t)
	a := p.image(t, p.Key)
	a.want(t, http.StatusOK)
	if got := a.header.Get("Content-Type"); got != "image/png" {
		t.Errorf("Content-Type %q, want image/png", got)
	}
	img, err := png.Decode(bytes.NewReader(a.body))
	if err != nil {
		t.Fatalf("the body is not a PNG: %v", err)
	}
	if b := img.Bounds(); b.Dx() < 64 || b.Dy() < 64 {
		t.Errorf("the image measures %v, too small to look at", b)
	}
	for _, name := range []string{"X-Request-Id", "RateLimit", "RateLimit-Policy"} {
		if a.header.Get(name) == "" {
			t.Errorf("no %s in %v", name, a.header)
		}
	}
	if got := a.header.Get("Cache-Control"); !strings.Contains(got, "private") && !strings.Contains(got, "no-store") {
		t.Errorf("Cache-Control %q lets a shared cache keep one customer's image", got)
	}
	s := p.self(t, p.Key)
	if s.Credits.Available != "95" || s.Credits.Held != "0" {
		t.Errorf("credits %+v after one image, want 95 available and 0 held", s.Credits)
	}
	if !slices.Contains(s.Scopes, "image:generate") {
		t.Errorf("scopes %q, want image:generate among them", s.Scopes)
	}
	if used := s.used(t); used != 1 {
		t.Errorf("%d images counted after one", used)
	}
}

func TestModelsAreFree(t *testing.T) {
	t.Parallel()
	p := start(t)
	a := p.must(t, http.MethodGet, "/v1/models", p.Key, "")
	a.want(t, http.StatusOK)
	var body struct {
		Models []struct{ ID, Price string } `json:"models"`
	}
	a.decode(t, &body)
	if len(body.Models) == 0 || body.Models[0].ID == "" {
		t.Errorf("models %s, want at least one with an id", a.body)
	}
	if s := p.self(t, p.Key); s.Credits.Available != "100" {
		t.Errorf("credits %+v after a free call, want 100 available", s.Credits)
	}
}

func TestBurstIsRefusedAndRecoversAfterRetryAfter(t *testing.T) {
	t.Parallel()
	p := start(t)
	var refused answer
	for range 1000 {
		a := p.must(t, http.MethodGet, "/v1/models", p.Key, "")
		if a.status == http.StatusTooManyRequests {
			refused = a
			break
		}
		a.want(t, http.StatusOK)
	}
	refused.wantProblem(t, http.StatusTooManyRequests, "rate_limited", p.Key)
	seconds, err := strconv.Atoi(refused.header.Get("Retry-After"))
	if err != nil || seconds < 1 || seconds > 60 {
		t.Fatalf("Retry-After %q, want whole seconds that a test can wait", refused.header.Get("Retry-After"))
	}
	// The promise is made to a client that waits exactly this long, on the
	// server's own clock, so here the time has to pass.
	<-time.After(time.Duration(seconds) * time.Second)
	p.must(t, http.MethodGet, "/v1/models", p.Key, "").want(t, http.StatusOK)
}

func TestCreditsRunOut(t *testing.T) {
	t.Parallel()
	p := start(t)
	for range affordable {
		p.image(t, p.Key).want(t, http.StatusOK)
	}
	before := p.self(t, p.Key)
	a := p.image(t, p.Key)
	a.wantProblem(t, http.StatusPaymentRequired, "insufficient_credits", p.Key)
	if got := a.header.Get("Retry-After"); got != "" {
		t.Errorf("Retry-After %q on 402: waiting does not bring credits", got)
	}
	after := p.self(t, p.Key)
	if after.Credits.Available != "0" || after.Credits.Held != "0" {
		t.Errorf("credits %+v, want nothing left and nothing held", after.Credits)
	}
	if before.used(t) != affordable || after.used(t) != affordable {
		t.Errorf("%d, then %d images counted, want %d twice: a call refused for credits uses up no limit",
			before.used(t), after.used(t), affordable)
	}
	p.must(t, http.MethodGet, "/v1/models", p.Key, "").want(t, http.StatusOK)
}

func TestLastCreditsUnderParallelCalls(t *testing.T) {
	t.Parallel()
	p := start(t)
	const callers = 64
	var served, unpaid atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			a, err := p.call(http.MethodPost, "/v1/images", p.Key, `{"prompt":"race"}`)
			switch {
			case err != nil:
				t.Error(err)
			case a.status == http.StatusOK:
				served.Add(1)
			case a.status == http.StatusPaymentRequired:
				unpaid.Add(1)
			default:
				t.Errorf("status %d: %s", a.status, a.body)
			}
		})
	}
	wg.Wait()
	if served.Load() != affordable || unpaid.Load() != callers-affordable {
		t.Errorf("%d served and %d unpaid of %d, want exactly %d served", served.Load(), unpaid.Load(), callers, affordable)
	}
	if s := p.self(t, p.Key); s.Credits.Available != "0" || s.Credits.Held != "0" {
		t.Errorf("credits %+v, want nothing left and nothing held", s.Credits)
	}
}

func TestFailuresCostNothing(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.must(t, http.MethodPost, "/v1/images", p.Key, `{"prompt":"x","simulate":"failure"}`).want(t, http.StatusInternalServerError)
	if a, err := p.call(http.MethodPost, "/v1/images", p.Key, `{"prompt":"x","simulate":"panic"}`); err == nil {
		t.Errorf("a panic answered %d, want a connection that ends", a.status)
	}
	for _, body := range []string{`{"prompt":`, `{}`, `{"prompt":"x","simulate":"dance"}`, `{"prompt":"x"}{}`, `{"prompt":"` + strings.Repeat("x", 2000) + `"}`} {
		p.must(t, http.MethodPost, "/v1/images", p.Key, body).want(t, http.StatusBadRequest)
	}
	p.must(t, http.MethodPost, "/v1/images", p.Key, `{"prompt":"`+strings.Repeat("x", 1<<20)+`"}`).want(t, http.StatusRequestEntityTooLarge)
	if s := p.self(t, p.Key); s.Credits.Available != "100" || s.Credits.Held != "0" {
		t.Errorf("credits %+v after nothing but failures, want 100 available and 0 held", s.Credits)
	}
}

func TestUnknownRoutes(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.must(t, http.MethodGet, "/v1/nothing", p.Key, "").want(t, http.StatusNotFound)
	p.must(t, http.MethodGet, "/v1/images", p.Key, "").want(t, http.StatusMethodNotAllowed)
	if s := p.self(t, p.Key); s.Credits.Available != "100" {
		t.Errorf("credits %+v after unknown routes, want 100 available", s.Credits)
	}
}

// rotated is what POST /v1/key/rotate answers.
type rotated struct {
	ID       string `json:"id"`
	Key      string `json:"key"`
	Previous struct {
		ID        string    `json:"id"`
		ExpiresAt time.Time `json:"expires_at"`
	} `json:"previous"`
}

func TestRotateWithGrace(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.image(t, p.Key).want(t, http.StatusOK)
	a := p.must(t, http.MethodPost, "/v1/key/rotate", p.Key, `{"grace_seconds":600}`)
	a.want(t, http.StatusOK)
	if got := a.header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q on an answer with a secret, want no-store", got)
	}
	var r rotated
	a.decode(t, &r)
	if r.Key == "" || r.Key == p.Key || r.ID == r.Previous.ID {
		t.Fatalf("rotation answered %+v", r)
	}
	if old := p.self(t, p.Key).ExpiresAt; old.Before(r.Previous.ExpiresAt) || old.Sub(r.Previous.ExpiresAt) > patience {
		t.Errorf("the old key was said to expire at %v and expires at %v, want that or a little later", r.Previous.ExpiresAt, old)
	}
	p.image(t, p.Key).want(t, http.StatusOK)
	p.image(t, r.Key).want(t, http.StatusOK)
	s := p.self(t, r.Key)
	if s.Credits.Available != "85" || s.used(t) != 3 {
		t.Errorf("after three images through both keys: credits %+v, %d counted", s.Credits, s.used(t))
	}
	p.must(t, http.MethodPost, "/v1/key/rotate", p.Key, "").wantProblem(t, http.StatusConflict, "already_rotated", p.Key)

	a = p.must(t, http.MethodPost, "/v1/key/rotate", r.Key, `{"grace_seconds":0}`)
	a.want(t, http.StatusOK)
	p.image(t, r.Key).wantProblem(t, http.StatusUnauthorized, "expired_key", r.Key)
	var last rotated
	a.decode(t, &last)
	p.image(t, last.Key).want(t, http.StatusOK)
	for _, body := range []string{`{"grace_seconds":-1}`, `{"grace_seconds":1e12}`, `[]`} {
		p.must(t, http.MethodPost, "/v1/key/rotate", last.Key, body).want(t, http.StatusBadRequest)
	}
}

func TestSelfRevokeIsImmediate(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.must(t, http.MethodDelete, "/v1/key", p.Key, "").want(t, http.StatusNoContent)
	for range 8 {
		p.must(t, http.MethodGet, "/v1/models", p.Key, "").wantProblem(t, http.StatusUnauthorized, "revoked_key", p.Key)
	}
}

func TestFlags(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args []string
		code int
		says string
	}{
		"unknown flag":       {[]string{"-nonsense"}, 2, "Usage of quickstart"},
		"argument":           {[]string{"serve"}, 2, "unexpected argument"},
		"address":            {[]string{"-addr", "8080"}, 2, "HOST:PORT"},
		"webhook":            {[]string{"-webhook", "ftp://x"}, 2, "-webhook is not"},
		"postgres":           {[]string{"-postgres", "mysql://x"}, 2, "-postgres is not"},
		"redis":              {[]string{"-redis", "127.0.0.1:6379"}, 2, "-redis is not"},
		"no postgres there":  {[]string{"-postgres", "postgres://127.0.0.1:1/x", "-addr", "127.0.0.1:0"}, 1, "cannot start"},
		"no redis there":     {[]string{"-redis", "redis://127.0.0.1:1", "-db", filepath.Join(t.TempDir(), "x.db"), "-addr", "127.0.0.1:0"}, 1, "no answer from Redis"},
		"everything at once": {[]string{"-addr", "8080", "-webhook", "x", "-redis", "y"}, 2, "-webhook is not"},
		"help":               {[]string{"-help"}, 0, "Usage of quickstart"},
		"database":           {[]string{"-db", "/nonexistent/dir/x.db", "-addr", "127.0.0.1:0"}, 1, "cannot start"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), binary, tt.args...)
			out, _ := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code != tt.code || !strings.Contains(string(out), tt.says) {
				t.Errorf("exit code %d, want %d, with %q in:\n%s", code, tt.code, tt.says, out)
			}
		})
	}
}

func TestJSONLineIsAllThatIsPrinted(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(binary, "-json", "-addr", "127.0.0.1:0")
	var out lockedBuffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(patience)
	for !strings.HasSuffix(out.String(), "\n") {
		select {
		case <-deadline:
			t.Fatalf("no line within %v", patience)
		case <-time.After(time.Millisecond):
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	var line map[string]string
	if err := json.Unmarshal([]byte(out.String()), &line); err != nil {
		t.Fatalf("%q: %v", out.String(), err)
	}
	for _, name := range []string{"addr", "key", "webhook_secret"} {
		if line[name] == "" {
			t.Errorf("no %q in %q", name, out.String())
		}
	}
}
