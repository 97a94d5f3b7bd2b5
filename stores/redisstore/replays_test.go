package redisstore_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/stores/redisstore"
	"github.com/keytoll/keytoll/stores/redisstore/redistest"
	"github.com/keytoll/keytoll/webhook"
	"github.com/keytoll/keytoll/webhook/webhooktest"
)

func newReplays(t testing.TB, client redisstore.Client, prefix string) *redisstore.ReplayStore {
	t.Helper()
	s, err := redisstore.NewReplays(client, &redisstore.ReplaysOptions{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// claims wants an answer to a claim for an hour.
func claims(t testing.TB, s webhook.ReplayStore, key, owner string, want webhook.ClaimState) {
	t.Helper()
	if got, err := s.Claim(t.Context(), key, owner, time.Hour); err != nil || got != want {
		t.Errorf("Claim(%q, %q) = %v, %v; want %v", key, owner, got, err, want)
	}
}

func noError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func TestReplays(t *testing.T) {
	t.Parallel() // for the most part they wait
	client := redistest.Start(t).Client(t)
	webhooktest.RunReplay(t, func(t *testing.T) webhook.ReplayStore {
		return newReplays(t, redisstore.GoRedis(client), prefix())
	})
}

func TestReplaysInACluster(t *testing.T) {
	t.Parallel() // for the most part they wait
	client := redistest.StartCluster(t).Client(t)
	forgetful(t, client)
	webhooktest.RunReplay(t, func(t *testing.T) webhook.ReplayStore {
		return newReplays(t, redisstore.GoRedis(client), prefix())
	})
}

func TestReplaysOfCallersWhoGoTogether(t *testing.T) {
	t.Parallel() // for the most part they wait
	client := redistest.Start(t).Client(t)
	webhooktest.RunReplay(t, func(t *testing.T) webhook.ReplayStore {
		return newReplays(t, redisstore.Coalesced(client), prefix())
	})
}

func TestNewReplaysNamesEveryFault(t *testing.T) {
	_, err := redisstore.NewReplays(nil, &redisstore.ReplaysOptions{Prefix: "a{b}"})
	for _, want := range []string{"client is nil", `Prefix is "a{b}"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v; want %q in it", err, want)
		}
	}
	if _, err := redisstore.NewReplays(redisstore.GoRedis(redis.NewRing(&redis.RingOptions{})), nil); err == nil || !strings.Contains(err.Error(), "redis.Ring") {
		t.Errorf("of a ring: %v", err)
	}
}

// What is at rest is fixed: servers of two versions share it.
func TestReplayKeysArePinned(t *testing.T) {
	client := redistest.StartOwn(t).Client(t)
	s, err := redisstore.NewReplays(redisstore.GoRedis(client), nil)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"billing.msg_1":         "wh:billing.msg_1",
		"{a}":                   "wh:{a%7D",
		"a%7D":                  "wh:a%257D",
		strings.Repeat("k", 64): "wh:" + strings.Repeat("k", 64),
		strings.Repeat("k", 65): "wh:%h85zcJYR1jJnPgcH0HSVy9U4XBmr__J0Y",
	} {
		before := millis(t, client)
		claims(t, s, key, "owner", webhook.ClaimGranted)
		after := millis(t, client)
		value := client.Get(t.Context(), want).Val()
		var end float64
		var owner string
		if n, err := fmt.Sscanf(value, "f%f %s", &end, &owner); n != 2 || owner != "owner" || !strings.Contains(value, ".") {
			t.Errorf("%q holds %q, %v; there are %q", want, value, err, client.Keys(t.Context(), "*").Val())
		}
		if begin := end - 3600e3; begin < before-0.001 || begin > after+0.001 {
			t.Errorf("%q ends an hour after %f, which is not between %f and %f", want, begin, before, after)
		}
		noError(t, s.Done(t.Context(), key, time.Hour))
		if value := client.Get(t.Context(), want).Val(); !strings.HasPrefix(value, "d1") || len(value) != len("d1767225600000.125") {
			t.Errorf("%q holds %q", want, value)
		}
		noError(t, client.FlushDB(t.Context()).Err())
	}
}

// millis is the server's time in milliseconds.
func millis(t *testing.T, client *redis.Client) float64 {
	t.Helper()
	now, err := client.Time(t.Context()).Result()
	noError(t, err)
	return float64(now.UnixMicro()) / 1000
}

// A server that keeps a key for longer than it counts, as a replica may, decides
// nothing by that.
func TestReplaysDoNotRelyOnExpiry(t *testing.T) {
	client := redistest.StartOwn(t).Client(t)
	s := newReplays(t, redisstore.GoRedis(client), "p:")
	now := millis(t, client)
	for _, text := range []string{"d%.3f", "f%.3f other"} {
		noError(t, client.Set(t.Context(), "p:k", fmt.Sprintf(text, now), 0).Err())
		claims(t, s, "k", "a", webhook.ClaimGranted)
		if ttl := client.PTTL(t.Context(), "p:k").Val(); ttl <= 0 {
			t.Errorf("%s: the key that was claimed lives for %v", text, ttl)
		}
	}
	noError(t, client.Set(t.Context(), "p:k", fmt.Sprintf("d%.3f", now+3600e3), 0).Err())
	claims(t, s, "k", "a", webhook.ClaimDone)
}

// Whatever is stored has an end, a little later than needed, and keys have a
// length that no sender decides.
func TestReplaysLeaveNothingBehind(t *testing.T) {
	client := redistest.StartOwn(t).Client(t)
	s := newReplays(t, redisstore.GoRedis(client), prefix())
	for i, key := range []string{"a", strings.Repeat("b", 512), strings.Repeat("}", 64)} {
		claims(t, s, key, "owner", webhook.ClaimGranted)
		if i > 0 {
			noError(t, s.Done(t.Context(), key, time.Hour))
		}
	}
	for _, key := range client.Keys(t.Context(), "*").Val() {
		if ttl := client.PTTL(t.Context(), key).Val(); ttl <= 0 || ttl > time.Hour+2*time.Millisecond {
			t.Errorf("%q lives for %v", key, ttl)
		}
		if len(key) > 64+3*64 {
			t.Errorf("a key has %d bytes", len(key))
		}
	}
	claims(t, s, "released", "owner", webhook.ClaimGranted)
	noError(t, s.Release(t.Context(), "released", "owner"))
	if n := client.DBSize(t.Context()).Val(); n != 3 {
		t.Errorf("there are %d keys, want 3", n)
	}
}

// A server that is killed and comes back with what it had written: what was
// handled is not handled again, what was in flight stays so until its lease ends.
func TestReplaysOutliveTheServer(t *testing.T) {
	server := redistest.StartOwn(t, "--appendonly", "yes", "--appendfsync", "always")
	s := newReplays(t, redisstore.GoRedis(once(t, redis.Options{Addr: server.Addr(), DialerRetries: 1})), prefix())
	claims(t, s, "handled", "a", webhook.ClaimGranted)
	noError(t, s.Done(t.Context(), "handled", time.Hour))
	claims(t, s, "flight", "a", webhook.ClaimGranted)
	server.Kill()
	for what, err := range map[string]error{
		"Claim":   func() error { _, err := s.Claim(t.Context(), "k", "a", time.Hour); return err }(),
		"Done":    s.Done(t.Context(), "flight", time.Hour),
		"Release": s.Release(t.Context(), "flight", "a"),
	} {
		if errors.CodeOf(err) != errors.Unavailable {
			t.Errorf("%s while the server is away: %v, want unavailable", what, err)
		}
	}
	server.Restart()
	claims(t, s, "handled", "b", webhook.ClaimDone)
	claims(t, s, "flight", "b", webhook.ClaimInFlight)
	claims(t, s, "flight", "a", webhook.ClaimGranted)
}

// lossyReplays returns a store whose connections lose answers while lose is above
// 0, one each.
func lossyReplays(t *testing.T, lose *atomic.Int64) *redisstore.ReplayStore {
	t.Helper()
	server := redistest.Start(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		return &lossy{Conn: conn, lose: lose}, err
	}})
	t.Cleanup(func() { client.Close() })
	s := newReplays(t, redisstore.GoRedis(client), prefix())
	claims(t, s, "known", "a", webhook.ClaimGranted) // so that the server knows the script
	return s
}

// One lost answer is nobody's trouble, because what was carried out already
// changes nothing the second time.
func TestReplaysSurviveALostAnswer(t *testing.T) {
	var lose atomic.Int64
	s := lossyReplays(t, &lose)
	lose.Store(1)
	claims(t, s, "k", "a", webhook.ClaimGranted)
	claims(t, s, "k", "b", webhook.ClaimInFlight)
	lose.Store(1)
	noError(t, s.Done(t.Context(), "k", time.Hour))
	claims(t, s, "k", "a", webhook.ClaimDone)
	claims(t, s, "l", "a", webhook.ClaimGranted)
	lose.Store(1)
	noError(t, s.Release(t.Context(), "l", "a"))
	claims(t, s, "l", "b", webhook.ClaimGranted)
	if lose.Load() > 0 {
		t.Error("no answer was lost")
	}
}

// Where all answers are lost the caller has an error; the claim that it may have
// is its own still.
func TestTheSameOwnerClaimsAgainAfterAnError(t *testing.T) {
	var lose atomic.Int64
	s := lossyReplays(t, &lose)
	lose.Store(2)
	if state, err := s.Claim(t.Context(), "k", "a", time.Hour); errors.CodeOf(err) != errors.Unavailable || state != 0 {
		t.Errorf("Claim = %v, %v; want unavailable", state, err)
	}
	lose.Store(0)
	claims(t, s, "k", "b", webhook.ClaimInFlight)
	claims(t, s, "k", "a", webhook.ClaimGranted)
	noError(t, s.Release(t.Context(), "k", "a"))
	claims(t, s, "k", "b", webhook.ClaimGranted)
}

// The server forgets the script before every call.
func TestReplayScriptIsForgotten(t *testing.T) {
	forgetful(t, redistest.StartOwn(t).Client(t))
}

func forgetful(t *testing.T, client redis.UniversalClient) {
	t.Helper()
	s := newReplays(t, redisstore.GoRedis(client), prefix())
	forget := func() { noError(t, client.ScriptFlush(t.Context()).Err()) }
	for i := range 20 {
		key := fmt.Sprintf("k%d", i)
		forget()
		claims(t, s, key, "a", webhook.ClaimGranted)
		forget()
		noError(t, s.Release(t.Context(), key, "a"))
		forget()
		claims(t, s, key, "b", webhook.ClaimGranted)
		forget()
		noError(t, s.Done(t.Context(), key, time.Hour))
		forget()
		claims(t, s, key, "a", webhook.ClaimDone)
	}
}

// What somebody else wrote is neither a free key nor a done one, and stays.
func TestReplaysRefuseStrangeKeys(t *testing.T) {
	client := redistest.StartOwn(t).Client(t)
	s := newReplays(t, redisstore.GoRedis(client), "p:")
	for name, write := range map[string]func() error{
		"a list":               func() error { return client.RPush(t.Context(), "p:k", "x").Err() },
		"a hash":               func() error { return client.HSet(t.Context(), "p:k", "f", "v").Err() },
		"an empty text":        func() error { return client.Set(t.Context(), "p:k", "", 0).Err() },
		"another text":         func() error { return client.Set(t.Context(), "p:k", "1", 0).Err() },
		"a flight of nobody":   func() error { return client.Set(t.Context(), "p:k", "f1767225600000.125", 0).Err() },
		"a done one of owner":  func() error { return client.Set(t.Context(), "p:k", "d1767225600000.125 a", 0).Err() },
		"an end without parts": func() error { return client.Set(t.Context(), "p:k", "d1767225600000", 0).Err() },
	} {
		noError(t, client.FlushDB(t.Context()).Err())
		noError(t, write())
		before := client.Dump(t.Context(), "p:k").Val()
		state, err := s.Claim(t.Context(), "k", "a", time.Hour)
		for _, err := range []error{err, s.Done(t.Context(), "k", time.Hour), s.Release(t.Context(), "k", "a")} {
			if errors.CodeOf(err) != errors.Corrupt || !strings.Contains(fmt.Sprint(err), "a key holds something else") || state != 0 {
				t.Errorf("%s: %v, %v; want corrupt", name, state, err)
			}
		}
		if after := client.Dump(t.Context(), "p:k").Val(); after != before {
			t.Errorf("%s was changed", name)
		}
	}
}

// A server that is full, and does not evict, says so: the message is not handled
// unguarded, and no key is given up.
func TestReplaysOnAFullServer(t *testing.T) {
	server := redistest.StartOwn(t, "--maxmemory-policy", "noeviction")
	client := server.Client(t)
	s := newReplays(t, redisstore.GoRedis(client), prefix())
	noError(t, s.Done(t.Context(), "handled", time.Hour))
	noError(t, client.ConfigSet(t.Context(), "maxmemory", "1").Err())
	if state, err := s.Claim(t.Context(), "k", "a", time.Hour); !errors.Is(err, webhook.ErrFull) || errors.CodeOf(err) != errors.Unavailable || state != 0 {
		t.Errorf("Claim = %v, %v; want that it is full", state, err)
	}
	noError(t, client.ConfigSet(t.Context(), "maxmemory", "0").Err())
	claims(t, s, "handled", "a", webhook.ClaimDone)
}

// A server that evicts forgets what was handled: why the documentation asks for
// noeviction.
func TestReplaysAreForgottenByAServerThatEvicts(t *testing.T) {
	for _, policy := range []string{"allkeys-lru", "volatile-ttl"} {
		client := redistest.StartOwn(t, "--maxmemory-policy", policy).Client(t)
		s := newReplays(t, redisstore.GoRedis(client), prefix())
		noError(t, s.Done(t.Context(), "handled", time.Hour))
		noError(t, client.ConfigSet(t.Context(), "maxmemory", "1").Err())
		_, _ = s.Claim(t.Context(), "other", "a", time.Hour) // makes the server look for room
		noError(t, client.ConfigSet(t.Context(), "maxmemory", "0").Err())
		claims(t, s, "handled", "a", webhook.ClaimGranted)
	}
}

// A server that hangs costs a caller its deadline and no more.
func TestReplaysOverASilentServer(t *testing.T) {
	server := redistest.StartOwn(t)
	s := newReplays(t, redisstore.GoRedis(once(t, redis.Options{Addr: server.Addr(), ReadTimeout: time.Minute})), prefix())
	claims(t, s, "k", "a", webhook.ClaimGranted)
	server.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if state, err := s.Claim(ctx, "k", "a", time.Hour); err == nil || state != 0 || ctx.Err() == nil && errors.CodeOf(err) != errors.Unavailable {
		t.Errorf("Claim = %v, %v; want an error", state, err)
	}
	server.Resume()
	claims(t, s, "k", "b", webhook.ClaimInFlight)
}

// A server that answers nonsense decides nothing.
func TestReplaysBelieveNoOtherAnswer(t *testing.T) {
	s := newReplays(t, says("granted?"), "")
	state, err := s.Claim(t.Context(), "k", "a", time.Hour)
	for _, err := range []error{err, s.Done(t.Context(), "k", time.Hour), s.Release(t.Context(), "k", "a")} {
		if errors.CodeOf(err) != errors.Corrupt || state != 0 {
			t.Errorf("%v, %v; want corrupt", state, err)
		}
	}
}

// says is a client whose server answers every script alike.
type says string

func (s says) EvalSHA(context.Context, string, []string, string) (string, error) {
	return string(s), nil
}
func (s says) Eval(context.Context, string, []string, string) (string, error) { return string(s), nil }
func (says) Cluster() bool                                                    { return false }

func BenchmarkReplays(b *testing.B) {
	client := redistest.Start(b).Client(b)
	for name, wrap := range map[string]func(redis.UniversalClient) redisstore.Client{"one by one": redisstore.GoRedis, "coalesced": redisstore.Coalesced} {
		b.Run(name, func(b *testing.B) {
			webhooktest.BenchReplay(b, func(b *testing.B) webhook.ReplayStore { return newReplays(b, wrap(client), prefix()) })
		})
	}
}

// Two servers that receive share what was handled: of many deliveries of one
// message at once exactly one is handled, none while Redis is away, and what was
// turned away then is handled when it comes again.
func TestTwoReceiversHandleAMessageOnce(t *testing.T) {
	server := redistest.StartOwn(t, "--appendonly", "yes", "--appendfsync", "always")
	keys, err := webhook.NewKeys(webhook.Key{Secret: webhook.GenerateSecret()})
	noError(t, err)
	signer, err := webhook.NewSigner(keys)
	noError(t, err)
	var handled atomic.Int64
	var receivers []http.Handler
	for range 2 {
		verifier, err := webhook.NewVerifier(keys, nil)
		noError(t, err)
		h, err := verifier.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { handled.Add(1) }), &webhook.HandlerOptions{
			Replay: newReplays(t, redisstore.Coalesced(once(t, redis.Options{Addr: server.Addr(), DialerRetries: 1})), "wh:"), Source: "s",
		})
		noError(t, err)
		receivers = append(receivers, h)
	}
	deliver := func(i int, id string) int {
		out := httptest.NewRecorder()
		receivers[i%2].ServeHTTP(out, webhooktest.NewRequest(t, signer, webhooktest.Message{ID: id, Body: []byte("{}")}))
		return out.Code
	}
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() {
			if code := deliver(i, "msg_1"); code != http.StatusOK && code != http.StatusConflict {
				t.Errorf("status %d", code)
			}
		})
	}
	all.Wait()
	if n := handled.Load(); n != 1 {
		t.Errorf("one message was handled %d times", n)
	}
	server.Kill()
	for i := range 2 {
		if code := deliver(i, "msg_2"); code != http.StatusServiceUnavailable || handled.Load() != 1 {
			t.Errorf("while Redis is away: status %d, %d handled", code, handled.Load())
		}
	}
	server.Restart()
	for i, want := range []int64{2, 2} {
		if code := deliver(i, "msg_2"); code != http.StatusOK || handled.Load() != want {
			t.Errorf("afterwards: status %d, %d handled", code, handled.Load())
		}
		deliver(i, "msg_1")
	}
	if n := handled.Load(); n != 2 {
		t.Errorf("%d were handled, want 2", n)
	}
}
