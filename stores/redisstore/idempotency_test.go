package redisstore_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware/idempotency"
	"github.com/keytoll/keytoll/middleware/idempotency/idempotencytest"
	"github.com/keytoll/keytoll/stores/redisstore"
	"github.com/keytoll/keytoll/stores/redisstore/redistest"
)

func newIdempotency(t testing.TB, client redisstore.Client, prefix string) *redisstore.IdempotencyStore {
	t.Helper()
	s, err := redisstore.NewIdempotency(client, &redisstore.IdempotencyOptions{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// requestOf is a claim of the key by somebody, for a minute and then an hour.
func requestOf(key, who string) idempotency.Claim {
	c := idempotency.Claim{Key: sha256.Sum256([]byte(key)), Fingerprint: sha256.Sum256([]byte("print")), Lease: time.Minute, Keep: time.Hour}
	sum := sha256.Sum256([]byte(who))
	copy(c.Token[:], sum[:])
	return c
}

// asks wants an answer to a claim.
func asks(t testing.TB, s idempotency.Store, c idempotency.Claim, want idempotency.State) idempotency.Found {
	t.Helper()
	got, err := s.Claim(t.Context(), c)
	if err != nil || got.State != want {
		t.Errorf("Claim(%x) = %v, %v; want %v", c.Key[:4], got.State, err, want)
	}
	return got
}

func finish(t testing.TB, s idempotency.Store, c idempotency.Claim, answer string) {
	t.Helper()
	noError(t, s.Finish(t.Context(), c.Key, c.Token, []byte(answer), time.Hour))
}

func TestIdempotency(t *testing.T) {
	t.Parallel() // for the most part they wait
	client := redistest.Start(t).Client(t)
	idempotencytest.Run(t, func(t *testing.T) idempotencytest.Fixture {
		return idempotencytest.Fixture{Store: newIdempotency(t, redisstore.GoRedis(client), prefix())}
	})
}

func TestIdempotencyInACluster(t *testing.T) {
	t.Parallel() // for the most part they wait
	client := redistest.StartCluster(t).Client(t)
	idempotencytest.Run(t, func(t *testing.T) idempotencytest.Fixture {
		return idempotencytest.Fixture{Store: newIdempotency(t, redisstore.GoRedis(client), prefix())}
	})
}

func TestIdempotencyOfCallersWhoGoTogether(t *testing.T) {
	t.Parallel() // for the most part they wait
	client := redistest.Start(t).Client(t)
	idempotencytest.Run(t, func(t *testing.T) idempotencytest.Fixture {
		return idempotencytest.Fixture{Store: newIdempotency(t, redisstore.Coalesced(client), prefix())}
	})
}

func BenchmarkIdempotency(b *testing.B) {
	client := redistest.Start(b).Client(b)
	for name, wrap := range map[string]func(redis.UniversalClient) redisstore.Client{"one by one": redisstore.GoRedis, "coalesced": redisstore.Coalesced} {
		b.Run(name, func(b *testing.B) {
			idempotencytest.Bench(b, func(b *testing.B) idempotency.Store { return newIdempotency(b, wrap(client), prefix()) })
		})
	}
}

func TestNewIdempotencyNamesEveryFault(t *testing.T) {
	_, err := redisstore.NewIdempotency(nil, &redisstore.IdempotencyOptions{Prefix: "a{b}"})
	for _, want := range []string{"client is nil", `Prefix is "a{b}"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v; want %q in it", err, want)
		}
	}
}

// What is at rest is fixed: servers of two versions share it.
func TestIdempotencyKeysArePinned(t *testing.T) {
	client := redistest.StartOwn(t).Client(t)
	s, err := redisstore.NewIdempotency(redisstore.GoRedis(client), nil)
	noError(t, err)
	c := requestOf("k", "a")
	const key = "idem:glTDKakoUPbVOd03b0gW7idkUX2l4CNVFK9DMWRIDXo"
	begin := millis(t, client) * 1000
	asks(t, s, c, idempotency.Claimed)
	end := millis(t, client) * 1000
	var lease, over, turn int64
	var first, token, mark string
	value := client.Get(t.Context(), key).Val()
	if n, err := fmt.Sscanf(value, "c%d %d %d %s %s %s", &lease, &over, &turn, &first, &token, &mark); n != 6 {
		t.Fatalf("%q holds %q, %v; there are %q", key, value, err, client.Keys(t.Context(), "*").Val())
	}
	at := float64(lease - time.Minute.Microseconds())
	if at < begin-1 || at > end+1 || over-lease != time.Hour.Microseconds() || turn != 0 ||
		first != fmt.Sprintf("%x", c.Token) || token != first || mark != fmt.Sprintf("%x", c.Fingerprint) {
		t.Errorf("the claim is %q", value)
	}
	finish(t, s, c, "an\x00answer ")
	value = client.Get(t.Context(), key).Val()
	if !strings.HasPrefix(value, "d1") || !strings.HasSuffix(value, fmt.Sprintf(" %x %x an\x00answer ", c.Token, c.Fingerprint)) {
		t.Errorf("the answer is %q", value)
	}
}

// A server that keeps a key for longer than it counts, as a replica may, decides
// nothing by that.
func TestIdempotencyDoesNotRelyOnExpiry(t *testing.T) {
	client := redistest.StartOwn(t).Client(t)
	s := newIdempotency(t, redisstore.GoRedis(client), "p:")
	// What is kept begins with the instants at which it is over: they are put back
	// to 1970.
	instants := regexp.MustCompile(`^c\d+ \d+`)
	for _, answer := range []bool{false, true} {
		c := requestOf(fmt.Sprint(answer), "a")
		asks(t, s, c, idempotency.Claimed)
		past := "c1 2"
		if answer {
			noError(t, s.Finish(t.Context(), c.Key, c.Token, nil, time.Hour))
			instants, past = regexp.MustCompile(`^d\d+`), "d1"
		}
		key := client.Keys(t.Context(), "p:*").Val()[0]
		kept := client.Get(t.Context(), key).Val()
		old := instants.ReplaceAllString(kept, past)
		if old == kept {
			t.Fatalf("%q begins with no instant", kept)
		}
		noError(t, client.Set(t.Context(), key, old, 0).Err())
		if err := s.Finish(t.Context(), c.Key, c.Token, nil, time.Hour); !errors.Is(err, idempotency.ErrLost) {
			t.Errorf("Finish of what is over: %v, want ErrLost", err)
		}
		got := asks(t, s, requestOf(fmt.Sprint(answer), "b"), idempotency.Claimed)
		if got.First != requestOf("", "b").Token || got.Turn != 0 {
			t.Errorf("what is over was taken over: %x, %d", got.First, got.Turn)
		}
		noError(t, client.FlushDB(t.Context()).Err())
	}
}

// Whatever is stored has an end, a little later than needed.
func TestIdempotencyLeavesNothingBehind(t *testing.T) {
	client := redistest.StartOwn(t).Client(t)
	s := newIdempotency(t, redisstore.GoRedis(client), prefix())
	asks(t, s, requestOf("running", "a"), idempotency.Claimed)
	asks(t, s, requestOf("done", "a"), idempotency.Claimed)
	finish(t, s, requestOf("done", "a"), strings.Repeat("x", 1000))
	asks(t, s, requestOf("gone", "a"), idempotency.Claimed)
	noError(t, s.Abandon(t.Context(), requestOf("gone", "a").Key, requestOf("gone", "a").Token))
	keys := client.Keys(t.Context(), "*").Val()
	for _, key := range keys {
		if ttl := client.PTTL(t.Context(), key).Val(); ttl <= 0 || ttl > time.Hour+time.Minute+2*time.Millisecond {
			t.Errorf("%q lives for %v", key, ttl)
		}
	}
	if len(keys) != 2 {
		t.Errorf("there are %d keys, want 2", len(keys))
	}
}

// A server is killed between a claim and its answer, and comes back with what it
// had written: the claim is there, and nobody else was let in meanwhile.
func TestRequestsOutliveTheServer(t *testing.T) {
	server := redistest.StartOwn(t, "--appendonly", "yes", "--appendfsync", "always")
	s := newIdempotency(t, redisstore.GoRedis(once(t, redis.Options{Addr: server.Addr(), DialerRetries: 1})), prefix())
	k := requestOf("k", "a")
	asks(t, s, requestOf("done", "a"), idempotency.Claimed)
	finish(t, s, requestOf("done", "a"), "answer")
	asks(t, s, k, idempotency.Claimed)
	server.Kill()
	for what, err := range map[string]error{
		"Claim":   func() error { _, err := s.Claim(t.Context(), requestOf("k", "b")); return err }(),
		"Finish":  s.Finish(t.Context(), k.Key, k.Token, nil, time.Hour),
		"Abandon": s.Abandon(t.Context(), k.Key, k.Token),
	} {
		if errors.CodeOf(err) != errors.Unavailable {
			t.Errorf("%s while the server is away: %v, want unavailable", what, err)
		}
	}
	server.Restart()
	asks(t, s, requestOf("done", "b"), idempotency.Done)
	asks(t, s, requestOf("k", "b"), idempotency.Running)
	finish(t, s, k, "late")
	if got := asks(t, s, requestOf("k", "b"), idempotency.Done); string(got.Answer) != "late" {
		t.Errorf("the answer is %q", got.Answer)
	}
}

// One lost answer is nobody's trouble: what was carried out already says the same
// the second time, whose claim was taken over too.
func TestIdempotencySurvivesALostAnswer(t *testing.T) {
	var lose atomic.Int64
	server := redistest.Start(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		return &lossy{Conn: conn, lose: &lose}, err
	}})
	t.Cleanup(func() { client.Close() })
	s := newIdempotency(t, redisstore.GoRedis(client), prefix())
	a, b := requestOf("k", "a"), requestOf("k", "b")
	a.Lease = time.Microsecond
	asks(t, s, a, idempotency.Claimed) // so that the server knows the script
	for _, losses := range []int64{1, 2, 0} {
		lose.Store(losses)
		got, err := s.Claim(t.Context(), b)
		if losses == 2 {
			if errors.CodeOf(err) != errors.Unavailable || got.State != 0 {
				t.Errorf("Claim = %v, %v; want unavailable", got.State, err)
			}
			lose.Store(0)
			continue
		}
		if err != nil || got.State != idempotency.Claimed || got.First != a.Token || got.Turn != 1 {
			t.Errorf("Claim = %v of %x and %d, %v; want %x and 1", got.State, got.First, got.Turn, err, a.Token)
		}
	}
	lose.Store(1)
	finish(t, s, b, "answer")
	asks(t, s, a, idempotency.Done)
	asks(t, s, requestOf("l", "a"), idempotency.Claimed)
	lose.Store(1)
	noError(t, s.Abandon(t.Context(), requestOf("l", "a").Key, a.Token))
	asks(t, s, requestOf("l", "b"), idempotency.Claimed)
	if lose.Load() > 0 {
		t.Error("no answer was lost")
	}
}

// The server forgets the script before every call.
func TestIdempotencyScriptIsForgotten(t *testing.T) {
	client := redistest.StartOwn(t).Client(t)
	s := newIdempotency(t, redisstore.GoRedis(client), prefix())
	forget := func() { noError(t, client.ScriptFlush(t.Context()).Err()) }
	for i := range 5 {
		c := requestOf(fmt.Sprint(i), "a")
		forget()
		asks(t, s, c, idempotency.Claimed)
		forget()
		noError(t, s.Abandon(t.Context(), c.Key, c.Token))
		forget()
		asks(t, s, c, idempotency.Claimed)
		forget()
		finish(t, s, c, "answer")
		forget()
		asks(t, s, c, idempotency.Done)
	}
}

// What somebody else wrote is neither a free key nor a done one, and stays.
func TestIdempotencyRefusesStrangeKeys(t *testing.T) {
	client := redistest.StartOwn(t).Client(t)
	s := newIdempotency(t, redisstore.GoRedis(client), "p:")
	c := requestOf("k", "a")
	asks(t, s, c, idempotency.Claimed)
	key := client.Keys(t.Context(), "p:*").Val()[0]
	claim := client.Get(t.Context(), key).Val()
	finish(t, s, c, "")
	done := client.Get(t.Context(), key).Val()
	for name, write := range map[string]func() error{
		"a list":                func() error { return client.RPush(t.Context(), key, "x").Err() },
		"an empty text":         func() error { return client.Set(t.Context(), key, "", 0).Err() },
		"another text":          func() error { return client.Set(t.Context(), key, "1", 0).Err() },
		"a claim cut short":     func() error { return client.Set(t.Context(), key, claim[:len(claim)-1], 0).Err() },
		"a claim with more":     func() error { return client.Set(t.Context(), key, claim+"0", 0).Err() },
		"a claim below turn 0":  func() error { return client.Set(t.Context(), key, strings.Replace(claim, " 0 ", " -1 ", 1), 0).Err() },
		"an answer cut short":   func() error { return client.Set(t.Context(), key, strings.TrimSuffix(done, " "), 0).Err() },
		"a claim that is done":  func() error { return client.Set(t.Context(), key, "d"+claim[1:], 0).Err() },
		"an answer of no claim": func() error { return client.Set(t.Context(), key, "c"+done[1:], 0).Err() },
	} {
		noError(t, client.FlushDB(t.Context()).Err())
		noError(t, write())
		before := client.Dump(t.Context(), key).Val()
		got, err := s.Claim(t.Context(), c)
		for _, err := range []error{err, s.Finish(t.Context(), c.Key, c.Token, nil, time.Hour), s.Abandon(t.Context(), c.Key, c.Token)} {
			if errors.CodeOf(err) != errors.Corrupt || !strings.Contains(fmt.Sprint(err), "a key holds something else") || got.State != 0 {
				t.Errorf("%s: %v, %v; want corrupt", name, got.State, err)
			}
		}
		if after := client.Dump(t.Context(), key).Val(); after != before {
			t.Errorf("%s was changed", name)
		}
	}
}

// A server that is full, and does not evict, refuses newcomers and long answers,
// and keeps what it has: its claims can be taken over, finished with a short answer
// and given up, and its answers are given again.
func TestIdempotencyOfAFullServer(t *testing.T) {
	client := redistest.StartOwn(t, "--maxmemory-policy", "noeviction").Client(t)
	s := newIdempotency(t, redisstore.GoRedis(client), prefix())
	done, long, short, given, stale := requestOf("done", "a"), requestOf("long", "a"), requestOf("short", "a"), requestOf("given", "a"), requestOf("stale", "a")
	stale.Lease = time.Microsecond
	for _, c := range []idempotency.Claim{done, long, short, given, stale} {
		asks(t, s, c, idempotency.Claimed)
	}
	finish(t, s, done, "answer")
	noError(t, client.ConfigSet(t.Context(), "maxmemory", "1").Err())
	if got, err := s.Claim(t.Context(), requestOf("new", "a")); errors.CodeOf(err) != errors.Exhausted || got.State != 0 {
		t.Errorf("Claim = %v, %v; want Exhausted", got.State, err)
	}
	if err := s.Finish(t.Context(), long.Key, long.Token, make([]byte, idempotency.SmallAnswer+1), time.Hour); errors.CodeOf(err) != errors.Exhausted {
		t.Errorf("Finish with a long answer: %v; want Exhausted", err)
	}
	asks(t, s, requestOf("long", "b"), idempotency.Running)
	asks(t, s, long, idempotency.Claimed)
	asks(t, s, requestOf("done", "b"), idempotency.Done)
	if got := asks(t, s, requestOf("stale", "b"), idempotency.Claimed); got.First != stale.Token || got.Turn != 1 {
		t.Errorf("taken over: %x, %d", got.First, got.Turn)
	}
	finish(t, s, short, strings.Repeat("x", idempotency.SmallAnswer))
	finish(t, s, long, "")
	noError(t, s.Abandon(t.Context(), given.Key, given.Token))
	noError(t, client.ConfigSet(t.Context(), "maxmemory", "0").Err())
	asks(t, s, short, idempotency.Done)
	asks(t, s, long, idempotency.Done)
	asks(t, s, requestOf("given", "b"), idempotency.Claimed)
	asks(t, s, requestOf("new", "b"), idempotency.Claimed)
}

// A server that hangs costs a caller its deadline and no more.
func TestIdempotencyOverASilentServer(t *testing.T) {
	server := redistest.StartOwn(t)
	s := newIdempotency(t, redisstore.GoRedis(once(t, redis.Options{Addr: server.Addr(), ReadTimeout: time.Minute})), prefix())
	asks(t, s, requestOf("k", "a"), idempotency.Claimed)
	server.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if got, err := s.Claim(ctx, requestOf("k", "a")); err == nil || got.State != 0 || ctx.Err() == nil && errors.CodeOf(err) != errors.Unavailable {
		t.Errorf("Claim = %v, %v; want an error", got.State, err)
	}
	server.Resume()
	asks(t, s, requestOf("k", "b"), idempotency.Running)
}

// A server that answers nonsense decides nothing.
func TestIdempotencyBelievesNoOtherAnswer(t *testing.T) {
	c := requestOf("k", "a")
	for _, answer := range []string{"", "ok?", "claimed", "claimed 1", "claimed x 00000000000000000000000000000000", "claimed 1 0000000000000000000000000000000x", "running", "running x"} {
		s := newIdempotency(t, says(answer), "")
		got, err := s.Claim(t.Context(), c)
		for _, err := range []error{err, s.Finish(t.Context(), c.Key, c.Token, nil, time.Hour), s.Abandon(t.Context(), c.Key, c.Token)} {
			if errors.CodeOf(err) != errors.Corrupt || got.State != 0 {
				t.Errorf("%q: %v, %v; want corrupt", answer, got.State, err)
			}
		}
	}
}

// An answer of a great size, and one of all bytes, come back as they are.
func TestAnswersComeBackByteForByte(t *testing.T) {
	s := newIdempotency(t, redisstore.GoRedis(redistest.Start(t).Client(t)), prefix())
	for i, answer := range [][]byte{nil, {0}, []byte(" \x00 \xff\r\n"), bytes.Repeat([]byte{0, 1, 255}, 300_000)} {
		c := requestOf(fmt.Sprint(i), "a")
		asks(t, s, c, idempotency.Claimed)
		finish(t, s, c, string(answer))
		if got := asks(t, s, c, idempotency.Done); !bytes.Equal(got.Answer, answer) {
			t.Errorf("%d bytes came back as %d", len(answer), len(got.Answer))
		}
	}
}
