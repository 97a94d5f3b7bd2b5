package secretscan_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware/secretscan"
)

func toPEM(t testing.TB, public any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// document lists keys as GitHub does.
func document(t testing.TB, keys map[string]string) string {
	t.Helper()
	var listed []map[string]any
	for name, key := range keys {
		listed = append(listed, map[string]any{"key_identifier": name, "key": key, "is_current": false})
	}
	text, err := json.Marshal(map[string]any{"public_keys": listed})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestParseKeys(t *testing.T) {
	key := newKey(t, elliptic.P256())
	edwards, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := secretscan.ParseKeys([]byte(document(t, map[string]string{
		"good": toPEM(t, &key.PublicKey), "curve": toPEM(t, &newKey(t, elliptic.P384()).PublicKey), "kind": toPEM(t, edwards),
		"garbage": "garbage", "": toPEM(t, &key.PublicKey), strings.Repeat("n", 1000): toPEM(t, &key.PublicKey),
		"der": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
	})))
	if err != nil || len(keys) != 1 || !keys["good"].Equal(&key.PublicKey) {
		t.Errorf("keys %v, %v; want the good one", keys, err)
	}
	many := map[string]string{}
	for i := range 101 {
		many[strings.Repeat("n", i+1)] = "x"
	}
	for _, text := range []string{"", "null", "[]", "{}", `{"public_keys":[]}`, document(t, map[string]string{"x": "y"}), document(t, many)} {
		if keys, err := secretscan.ParseKeys([]byte(text)); errors.CodeOf(err) != errors.Invalid || keys != nil {
			t.Errorf("%.30s = %v, %v; want invalid", text, keys, err)
		}
	}
	if _, err := keys.Key(t.Context(), "other"); !errors.Is(err, secretscan.ErrNoKey) {
		t.Errorf("an unknown name = %v", err)
	}
}

// GitHub, as far as its keys go.
type github struct {
	*httptest.Server
	mu      sync.Mutex
	answer  func(w http.ResponseWriter, r *http.Request)
	fetches int
	at      time.Time
}

func newGitHub(t testing.TB) *github {
	g := &github{at: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}
	g.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		g.fetches++
		answer := g.answer
		g.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(g.Close)
	return g
}

func (g *github) says(status int, text string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answer = func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(text))
	}
}

func (g *github) asked() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.fetches
}

func (g *github) now() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.at
}

func (g *github) advance(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.at = g.at.Add(d)
}

func (g *github) source(t testing.TB) *secretscan.GitHubKeys {
	t.Helper()
	keys, err := secretscan.NewGitHubKeys(g.Client(), &secretscan.GitHubKeysOptions{URL: g.URL + "/keys", Now: g.now})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestGitHubKeys(t *testing.T) {
	g, a, b := newGitHub(t), newKey(t, elliptic.P256()), newKey(t, elliptic.P256())
	keys := g.source(t)
	for _, step := range []struct {
		name    string
		advance time.Duration
		status  int
		listed  map[string]string
		ask     string
		want    *ecdsa.PublicKey
		err     error // with no key
		fetches int   // since the beginning
	}{
		{"nothing to be had yet", 0, 500, nil, "a", nil, nil, 1},
		{"not asked again at once", 59 * time.Second, 200, map[string]string{"a": toPEM(t, &a.PublicKey)}, "a", nil, nil, 1},
		{"a minute later", time.Second, 200, map[string]string{"a": toPEM(t, &a.PublicKey)}, "a", &a.PublicKey, nil, 2},
		{"kept", 12*time.Hour - 1, 500, nil, "a", &a.PublicKey, nil, 2},
		{"an unknown name asks", 0, 200, map[string]string{"a": toPEM(t, &a.PublicKey)}, "b", nil, secretscan.ErrNoKey, 3},
		{"and not again at once", 59 * time.Second, 200, map[string]string{"b": toPEM(t, &b.PublicKey)}, "b", nil, nil, 3},
		{"a minute later it is there", time.Second, 200, map[string]string{"b": toPEM(t, &b.PublicKey)}, "b", &b.PublicKey, nil, 4},
		{"and what is no longer listed is gone", 0, 200, nil, "a", nil, nil, 4},
		{"from half its age on it is fetched anew", 12 * time.Hour, 500, nil, "b", &b.PublicKey, nil, 5},
		{"not at once again", 0, 500, nil, "b", &b.PublicKey, nil, 5},
		{"until its age is over", 12*time.Hour - 1, 500, nil, "b", &b.PublicKey, nil, 6},
		{"then nothing is believed", 1, 200, map[string]string{"b": toPEM(t, &b.PublicKey)}, "b", nil, nil, 6},
		{"until it is fetched", time.Minute, 200, map[string]string{"b": toPEM(t, &b.PublicKey)}, "b", &b.PublicKey, nil, 7},
	} {
		g.advance(step.advance)
		g.says(step.status, document(t, step.listed))
		key, err := keys.Key(t.Context(), step.ask)
		switch {
		case step.want != nil && (err != nil || !key.Equal(step.want)):
			t.Fatalf("%s: %v, %v; want the key", step.name, key, err)
		case step.want == nil && step.err == nil && errors.CodeOf(err) != errors.Unavailable:
			t.Fatalf("%s: %v, %v; want unavailable", step.name, key, err)
		case step.want == nil && step.err != nil && !errors.Is(err, step.err):
			t.Fatalf("%s: %v, %v; want %v", step.name, key, err, step.err)
		case g.asked() != step.fetches:
			t.Fatalf("%s: fetched %d times, want %d", step.name, g.asked(), step.fetches)
		}
	}
}

// A fetch that fails more slowly than they may follow each other takes nothing
// away from keys that are still believed.
func TestKeysAreBelievedAfterASlowFailure(t *testing.T) {
	g, key := newGitHub(t), newKey(t, elliptic.P256())
	keys, err := secretscan.NewGitHubKeys(g.Client(), &secretscan.GitHubKeysOptions{URL: g.URL + "/keys", Every: time.Second, Now: g.now})
	if err != nil {
		t.Fatal(err)
	}
	g.says(200, document(t, map[string]string{"a": toPEM(t, &key.PublicKey)}))
	if _, err := keys.Key(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	g.advance(13 * time.Hour)
	g.mu.Lock()
	g.answer = func(w http.ResponseWriter, _ *http.Request) {
		g.advance(5 * time.Second)
		w.WriteHeader(http.StatusInternalServerError)
	}
	g.mu.Unlock()
	if got, err := keys.Key(t.Context(), "a"); err != nil || !key.PublicKey.Equal(got) || g.asked() != 2 {
		t.Errorf("Key = %v, %v after %d fetches; want the key, after 2", got, err, g.asked())
	}
}

func TestGitHubAnswersThatAreNotBelieved(t *testing.T) {
	key := newKey(t, elliptic.P256())
	good := document(t, map[string]string{"a": toPEM(t, &key.PublicKey)})
	for name, answer := range map[string]func(w http.ResponseWriter, r *http.Request){
		"too large": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(good + strings.Repeat(" ", 64<<10)))
		},
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/elsewhere" {
				_, _ = w.Write([]byte(good))
				return
			}
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		},
		"another status": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusAccepted)
			_, _ = w.Write([]byte(good))
		},
		"cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10000")
			_, _ = w.Write([]byte(good))
		},
		"no JSON": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
	} {
		t.Run(name, func(t *testing.T) {
			g := newGitHub(t)
			g.answer = answer
			if key, err := g.source(t).Key(t.Context(), "a"); errors.CodeOf(err) != errors.Unavailable {
				t.Errorf("Key = %v, %v; want unavailable", key, err)
			}
		})
	}
}

// Many requests cause one fetch, which does not end with the request that began
// it.
func TestOneFetchForAll(t *testing.T) {
	g, key := newGitHub(t), newKey(t, elliptic.P256())
	asked, release := make(chan struct{}), make(chan struct{})
	g.answer = func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-release
		_, _ = w.Write([]byte(document(t, map[string]string{"a": toPEM(t, &key.PublicKey)})))
	}
	keys := g.source(t)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	ask := func(ctx context.Context) {
		if _, err := keys.Key(ctx, "a"); err != nil {
			t.Errorf("Key = %v", err)
		}
	}
	wg.Go(func() { ask(ctx) })
	<-asked
	cancel()
	over, stop := context.WithCancel(t.Context())
	stop()
	if _, err := keys.Key(over, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("Key = %v, want the context's end", err)
	}
	for range 8 {
		wg.Go(func() { ask(t.Context()) })
	}
	close(release)
	wg.Wait()
	if g.asked() != 1 {
		t.Errorf("fetched %d times", g.asked())
	}
}

func TestFetchIsBounded(t *testing.T) {
	g := newGitHub(t)
	g.answer = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	keys, err := secretscan.NewGitHubKeys(g.Client(), &secretscan.GitHubKeysOptions{URL: g.URL, Timeout: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Key(t.Context(), "a"); errors.CodeOf(err) != errors.Unavailable {
		t.Errorf("Key = %v, want unavailable", err)
	}
}

func TestNewGitHubKeysReportsEveryFault(t *testing.T) {
	_, err := secretscan.NewGitHubKeys(nil, &secretscan.GitHubKeysOptions{URL: "http://api.github.com", MaxAge: -1, Every: -1, Timeout: -1})
	for _, want := range []string{"client is nil", "https", "MaxAge", "Every", "Timeout"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewGitHubKeys = %v, want %q in it", err, want)
		}
	}
	if _, err := secretscan.NewGitHubKeys(&http.Client{}, nil); err != nil {
		t.Error(err)
	}
}
