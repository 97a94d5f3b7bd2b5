package main_test

import (
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/keytoll/keytoll/stores/pgstore/pgtest"
	"github.com/keytoll/keytoll/stores/redisstore/redistest"
)

// Two processes over one store of keys are one service to whoever holds a key.
func TestFleetSharesKeys(t *testing.T) {
	t.Parallel()
	for name, args := range map[string]func(t *testing.T) []string{
		"PostgreSQL": func(t *testing.T) []string {
			return []string{"-postgres", pgtest.Database(t)}
		},
		"PostgreSQL and Redis": func(t *testing.T) []string {
			return []string{"-postgres", pgtest.Database(t), "-redis", "redis://" + redistest.StartOwn(t).Addr()}
		},
		"a file and Redis": func(t *testing.T) []string {
			return []string{"-db", filepath.Join(t.TempDir(), "fleet.db"), "-redis", "redis://" + redistest.StartOwn(t).Addr()}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shared := args(t)
			a, b := start(t, shared...), start(t, shared...)
			for _, key := range []string{a.Key, b.Key} {
				a.must(t, http.MethodGet, "/v1/models", key, "").want(t, http.StatusOK)
				b.must(t, http.MethodGet, "/v1/models", key, "").want(t, http.StatusOK)
			}
			a.must(t, http.MethodDelete, "/v1/key", b.Key, "").want(t, http.StatusNoContent)
			a.must(t, http.MethodGet, "/v1/models", b.Key, "").wantProblem(t, http.StatusUnauthorized, "revoked_key", b.Key)
			t.Logf("refused by the other process %v after the answer to DELETE", b.untilRefused(t, b.Key))
			b.must(t, http.MethodGet, "/v1/models", a.Key, "").want(t, http.StatusOK)
		})
	}
}

// A process that no longer hears of changes, and is not told that the line is
// cut either, refuses a revoked key all the same when the bound is over.
func TestFleetRefusesARevokedKeyWithTheLineCut(t *testing.T) {
	t.Parallel()
	line := redistest.StartOwn(t)
	shared := []string{"-postgres", pgtest.Database(t), "-redis", "redis://" + line.Addr()}
	a, b := start(t, shared...), start(t, shared...)
	b.must(t, http.MethodGet, "/v1/models", a.Key, "").want(t, http.StatusOK)
	line.Pause()
	a.must(t, http.MethodDelete, "/v1/key", a.Key, "").want(t, http.StatusNoContent)
	a.must(t, http.MethodGet, "/v1/models", a.Key, "").wantProblem(t, http.StatusUnauthorized, "revoked_key", a.Key)
	t.Logf("refused by the other process %v after the answer to DELETE", b.untilRefused(t, a.Key))
}

// With its store down the service cannot know a key that it does not have in
// mind, and says so; it never calls it invalid.
func TestFleetOutlivesPostgres(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	a := start(t, "-postgres", server.URL())
	b := start(t, "-postgres", server.URL())
	a.must(t, http.MethodGet, "/v1/models", a.Key, "").want(t, http.StatusOK)
	server.Kill()
	b.must(t, http.MethodGet, "/v1/models", a.Key, "").wantProblem(t, http.StatusServiceUnavailable, "unavailable", a.Key)
	server.Restart()
	deadline := time.Now().Add(patience)
	for status := 0; status != http.StatusOK; {
		status = b.must(t, http.MethodGet, "/v1/key", a.Key, "").status
		if status == http.StatusUnauthorized || time.Now().After(deadline) {
			t.Fatalf("after the restart: %d, want 200", status)
		}
	}
	if code := a.terminate(t); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

// untilRefused returns how long it takes until key is refused.
func (p *process) untilRefused(t *testing.T, key string) time.Duration {
	t.Helper()
	begun := time.Now()
	for {
		switch status := p.must(t, http.MethodGet, "/v1/key", key, "").status; {
		case status == http.StatusUnauthorized:
			return time.Since(begun)
		case status != http.StatusOK && status != http.StatusTooManyRequests:
			t.Fatalf("the revoked key: %d, want 200 and then 401", status)
		case time.Since(begun) > patience:
			t.Fatalf("the revoked key still works after %v", patience)
		}
	}
}
