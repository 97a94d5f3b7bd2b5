package main_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
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
		"PostgreSQL and Redis": postgresAndRedis,
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

// Two processes over one store of limits count together, exactly: what both
// served is what each says is used, and a burst is given once.
func TestFleetSharesLimits(t *testing.T) {
	t.Parallel()
	for name, args := range map[string]func(t *testing.T) []string{
		"a file":               func(t *testing.T) []string { return []string{"-db", filepath.Join(t.TempDir(), "fleet.db")} },
		"PostgreSQL":           func(t *testing.T) []string { return []string{"-postgres", pgtest.Database(t)} },
		"PostgreSQL and Redis": postgresAndRedis,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shared := args(t)
			a, b := start(t, shared...), start(t, shared...)
			var served atomic.Int64
			var images sync.WaitGroup
			for i := range 16 {
				images.Go(func() {
					if [...]*process{a, b}[i%2].image(t, a.Key).status == http.StatusOK {
						served.Add(1)
					}
				})
			}
			images.Wait()
			if served.Load() != 16 {
				t.Fatalf("%d images served, want 16", served.Load())
			}
			for _, p := range []*process{a, b} {
				if used := p.self(t, a.Key).used(t); used != 16 {
					t.Errorf("one process says that %d images were used, want 16", used)
				}
			}
			// 20 at once, and one more each second.
			served.Store(0)
			begun := time.Now()
			var models sync.WaitGroup
			for i := range 60 {
				models.Go(func() {
					if [...]*process{a, b}[i%2].must(t, http.MethodGet, "/v1/models", a.Key, "").status == http.StatusOK {
						served.Add(1)
					}
				})
			}
			models.Wait()
			most := 20 + int64(time.Since(begun)/time.Second) + 1
			if n := served.Load(); n < 20 || n > most {
				t.Errorf("%d calls passed, want 20 to %d", n, most)
			}
		})
	}
}

// Two processes over one store of credits spend one account together: of more
// calls than it can pay exactly as many succeed as it can, and nothing is left.
func TestFleetSpendsOneAccountToNothing(t *testing.T) {
	t.Parallel()
	for name, args := range map[string]func(t *testing.T) []string{
		"a file":     func(t *testing.T) []string { return []string{"-db", filepath.Join(t.TempDir(), "fleet.db")} },
		"PostgreSQL": func(t *testing.T) []string { return []string{"-postgres", pgtest.Database(t)} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shared := args(t)
			a, b := start(t, shared...), start(t, shared...)
			const payable = 20 // of 100 credits at 5
			var served, refused atomic.Int64
			var calls sync.WaitGroup
			for i := range 2 * payable {
				calls.Go(func() {
					switch status := [...]*process{a, b}[i%2].image(t, a.Key).status; status {
					case http.StatusOK:
						served.Add(1)
					case http.StatusPaymentRequired:
						refused.Add(1)
					default:
						t.Errorf("status %d, want 200 or 402", status)
					}
				})
			}
			calls.Wait()
			// A call that comes while others hold the last credits is refused for now: what they
			// did not use is there for the next.
			for served.Load() < payable && a.image(t, a.Key).status == http.StatusOK {
				served.Add(1)
			}
			if served.Load() != payable || refused.Load() == 0 {
				t.Errorf("%d images served and %d refused, want %d served", served.Load(), refused.Load(), payable)
			}
			for _, p := range []*process{a, b} {
				if c := p.self(t, a.Key).Credits; c.Available != "0" || c.Held != "0" {
					t.Errorf("one process says that the account has %+v, want nothing", c)
				}
			}
		})
	}
}

func postgresAndRedis(t *testing.T) []string {
	return []string{"-postgres", pgtest.Database(t), "-redis", "redis://" + redistest.StartOwn(t).Addr()}
}

// With Redis alone each process has keys of its own, and the limits of an owner
// are one all the same.
func TestRedisAloneSharesLimits(t *testing.T) {
	t.Parallel()
	line := redistest.StartOwn(t)
	a, b := start(t, "-redis", "redis://"+line.Addr()), start(t, "-redis", "redis://"+line.Addr())
	for range 3 {
		a.image(t, a.Key).want(t, http.StatusOK)
		b.image(t, b.Key).want(t, http.StatusOK)
	}
	for _, p := range []*process{a, b} {
		if used := p.self(t, p.Key).used(t); used != 6 {
			t.Errorf("one process says that %d images were used, want 6", used)
		}
	}
}

// Without Redis an instance goes on with its share of each limit: half of 20
// calls at once. It goes back to Redis when that is there again.
func TestFleetOutlivesRedis(t *testing.T) {
	t.Parallel()
	line := redistest.StartOwn(t)
	a := start(t, "-redis", "redis://"+line.Addr())
	a.must(t, http.MethodGet, "/v1/models", a.Key, "").want(t, http.StatusOK)
	line.Kill()
	served, begun := int64(1), time.Now()
	for range 40 {
		switch status := a.must(t, http.MethodGet, "/v1/models", a.Key, "").status; status {
		case http.StatusOK:
			served++
		case http.StatusTooManyRequests:
		default:
			t.Fatalf("status %d without Redis, want 200 or 429", status)
		}
	}
	most := 10 + int64(time.Since(begun)/time.Second) + 1
	if served < 10 || served > most {
		t.Errorf("%d calls passed, want 10 to %d", served, most)
	}
	line.Restart()
	for deadline := time.Now().Add(patience); !strings.Contains(a.stderr.String(), "rate limit store answers again"); {
		if time.Now().After(deadline) {
			t.Fatalf("not back at Redis after %v:\n%s", patience, a.stderr)
		}
		a.must(t, http.MethodGet, "/v1/models", a.Key, "")
	}
}

// A Redis that takes calls and answers none holds nobody for as long as its
// driver would wait, which is three seconds a try.
func TestSilentRedisHoldsNobody(t *testing.T) {
	t.Parallel()
	line := redistest.StartOwn(t)
	a := start(t, "-redis", "redis://"+line.Addr())
	a.must(t, http.MethodGet, "/v1/models", a.Key, "").want(t, http.StatusOK)
	line.Pause()
	for range 3 {
		begun := time.Now()
		a.must(t, http.MethodGet, "/v1/models", a.Key, "").want(t, http.StatusOK)
		if took := time.Since(begun); took >= 3*time.Second {
			t.Fatalf("answered after %v, want about 250 ms: the deadline of the guard", took)
		}
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
