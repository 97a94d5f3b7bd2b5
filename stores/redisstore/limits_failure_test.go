package redisstore_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/stores/redisstore"
	"github.com/keytoll/keytoll/stores/redisstore/redistest"
)

// quota is what everybody races for: two limits, which must stay equal.
const quota = 300

func limiterOver(t testing.TB, client redisstore.Client, prefix string) *ratelimit.Limiter {
	t.Helper()
	s, err := redisstore.NewLimits(client, &redisstore.LimitsOptions{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	return limiterOf(t, s,
		ratelimit.Limit{Name: "bucket", Count: quota, Period: 1000 * 24 * time.Hour},
		ratelimit.Limit{Name: "log", Algorithm: ratelimit.SlidingLog, Count: quota, Period: 1000 * 24 * time.Hour})
}

func limiterOf(t testing.TB, s ratelimit.Store, limits ...ratelimit.Limit) *ratelimit.Limiter {
	t.Helper()
	set, err := ratelimit.NewLimits(limits...)
	if err != nil {
		t.Fatal(err)
	}
	l, err := ratelimit.NewLimiter(s, set, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// once returns a client that sends nothing twice.
func once(t testing.TB, o redis.Options) *redis.Client {
	t.Helper()
	o.MaxRetries, o.ContextTimeoutEnabled = -1, true
	c := redis.NewClient(&o)
	t.Cleanup(func() { c.Close() })
	return c
}

// drain has callers take one by one until each has been refused, and returns how
// many takes passed and how many failed.
func drain(ctx context.Context, l *ratelimit.Limiter, callers int, progress func(passed int64)) (passed, failed int64) {
	var won, lost atomic.Int64
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for ctx.Err() == nil {
				r, err := l.Take(ctx, "everybody", 1)
				switch {
				case err != nil:
					lost.Add(1)
				case !r.Allowed:
					return
				default:
					progress(won.Add(1))
				}
			}
		})
	}
	all.Wait()
	return won.Load(), lost.Load()
}

// equal wants that both limits have the same left.
func equal(t *testing.T, l *ratelimit.Limiter) {
	t.Helper()
	r, err := l.Peek(t.Context(), "everybody", 0)
	if err != nil {
		t.Fatal(err)
	}
	var left []int64
	for s := range r.States() {
		left = append(left, s.Remaining)
	}
	if left[0] != left[1] {
		t.Errorf("one limit has %d left and the other %d: something was spent by halves", left[0], left[1])
	}
}

const childVariable = "KEYTOLL_TEST_LIMITS_CHILD"

// Two processes that share a limit admit exactly what it allows.
func TestTwoProcessesTakeExactlyTheLimit(t *testing.T) {
	total := twoProcesses(t, func(client redisstore.Client, prefix string) *ratelimit.Limiter {
		return limiterOver(t, client, prefix)
	})
	if total != quota {
		t.Errorf("two processes took %d; want %d", total, quota)
	}
}

// twoProcesses has two processes with limiters of their own drain the limit, and
// returns how much they took. It calls open in the children, where it does not
// return.
func twoProcesses(t *testing.T, open func(client redisstore.Client, prefix string) *ratelimit.Limiter) (total int) {
	t.Helper()
	if args := os.Getenv(childVariable); args != "" {
		addr, prefix, _ := strings.Cut(args, " ")
		client := redis.NewClient(&redis.Options{Addr: addr})
		defer client.Close()
		l := open(redisstore.GoRedis(client), prefix)
		begin := func(n int64) {
			if n == 1 { // wait until the other process has taken as well
				fmt.Println("began")
				_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
			}
		}
		passed, failed := drain(t.Context(), l, 4, begin)
		fmt.Printf("took %d failed %d\n", passed, failed)
		t.SkipNow()
	}
	server, prefix := redistest.Start(t), prefix()
	var children []*bufio.Scanner
	var starts []func()
	for range 2 {
		c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
		c.Env = append(os.Environ(), childVariable+"="+server.Addr()+" "+prefix)
		in, err := c.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Wait() })
		children = append(children, bufio.NewScanner(out))
		starts = append(starts, func() { _, _ = in.Write([]byte("\n")) })
	}
	for _, lines := range children {
		for lines.Scan() && lines.Text() != "began" {
			t.Log(lines.Text())
		}
	}
	for _, start := range starts {
		start()
	}
	for _, lines := range children {
		for lines.Scan() {
			if text, ok := strings.CutPrefix(lines.Text(), "took "); ok {
				took, failed, _ := strings.Cut(text, " failed ")
				n, err := strconv.Atoi(took)
				if err != nil || n == 0 || failed != "0" {
					t.Errorf("a process says %q; want that it took some and nothing failed", lines.Text())
				}
				total += n
			}
		}
	}
	return total
}

// A server that dies and comes back with what it had written: no take that
// passed is forgotten, none counts twice, and none by halves.
func TestServerDiesAndComesBack(t *testing.T) {
	server := redistest.StartOwn(t, "--appendonly", "yes", "--appendfsync", "always")
	l := limiterOver(t, redisstore.GoRedis(once(t, redis.Options{Addr: server.Addr()})), prefix())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	half := make(chan struct{})
	var killed sync.WaitGroup
	killed.Go(func() {
		<-half
		server.Kill()
		server.Restart()
	})
	passed, failed := drain(ctx, l, 8, func(n int64) {
		if n == quota/2 {
			close(half)
		}
	})
	killed.Wait()
	if ctx.Err() != nil {
		t.Fatal("the takes did not end")
	}
	if passed > quota || passed < quota-8 {
		t.Errorf("%d takes passed, %d failed; want %d, less the up to 8 that were on their way", passed, failed, quota)
	}
	equal(t, l)
}

// The server forgets the script again and again while many ask.
func TestScriptIsForgottenUnderLoad(t *testing.T) {
	server := redistest.StartOwn(t)
	for name, client := range map[string]redisstore.Client{
		"one by one": redisstore.GoRedis(once(t, redis.Options{Addr: server.Addr()})),
		"coalesced":  redisstore.Coalesced(once(t, redis.Options{Addr: server.Addr()})),
	} {
		t.Run(name, func(t *testing.T) {
			other := server.Client(t)
			l := limiterOver(t, client, prefix())
			passed, failed := drain(t.Context(), l, 16, func(int64) {
				if err := other.ScriptFlush(t.Context()).Err(); err != nil {
					t.Error(err)
				}
			})
			if passed != quota || failed != 0 {
				t.Errorf("%d takes passed, %d failed; want %d, 0", passed, failed, quota)
			}
			equal(t, l)
		})
	}
}

// A replica takes over in the middle, in order: exactly the quota passes, and
// callers fail at most a few times each.
func TestReplicaIsPromoted(t *testing.T) {
	first := redistest.StartOwn(t)
	host, port, err := net.SplitHostPort(first.Addr())
	if err != nil {
		t.Fatal(err)
	}
	second := redistest.StartOwn(t, "--replicaof", host+" "+port)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	old := first.Client(t)
	for !strings.Contains(old.Info(ctx, "replication").Val(), "state=online") {
		if ctx.Err() != nil {
			t.Fatal("the replica does not come up")
		}
	}
	var master atomic.Pointer[string]
	at := first.Addr()
	master.Store(&at)
	client := once(t, redis.Options{Addr: at, Dialer: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, *master.Load())
	}})
	l := limiterOver(t, redisstore.GoRedis(client), prefix())
	half := make(chan struct{})
	var promoted sync.WaitGroup
	promoted.Go(func() {
		<-half
		if err := old.Do(ctx, "failover").Err(); err != nil {
			t.Error(err)
			return
		}
		for !strings.Contains(second.Client(t).Info(ctx, "replication").Val(), "role:master") {
			if ctx.Err() != nil {
				return
			}
		}
		to := second.Addr()
		master.Store(&to)
	})
	passed, failed := drain(ctx, l, 8, func(n int64) {
		if n == quota/2 {
			close(half)
		}
	})
	promoted.Wait()
	if passed > quota || passed < quota-8 {
		t.Errorf("%d takes passed, %d failed; want %d, less the up to 8 that were on their way", passed, failed, quota)
	}
	equal(t, l)
}

// A server that does not answer costs a caller its deadline and no more, and
// what it did when it woke up is whole.
func TestDeadlineOverASilentServer(t *testing.T) {
	for name, wrap := range map[string]func(redis.UniversalClient) redisstore.Client{"one by one": redisstore.GoRedis, "coalesced": redisstore.Coalesced} {
		t.Run(name, func(t *testing.T) {
			server := redistest.StartOwn(t)
			l := limiterOver(t, wrap(once(t, redis.Options{Addr: server.Addr(), ReadTimeout: time.Minute})), prefix())
			if _, err := l.Take(t.Context(), "everybody", 1); err != nil {
				t.Fatal(err)
			}
			server.Pause()
			over, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			var all sync.WaitGroup
			for range 16 {
				all.Go(func() {
					ctx, cancel := context.WithTimeout(over, 5*time.Millisecond)
					defer cancel()
					if _, err := l.Take(ctx, "everybody", 1); err == nil {
						t.Error("a take passed on a silent server")
					}
				})
			}
			all.Wait()
			if over.Err() != nil {
				t.Error("callers waited longer than their deadline")
			}
			server.Resume()
			equal(t, l)
			r, err := l.Peek(t.Context(), "everybody", 0)
			if err != nil || r.Remaining < quota-17 {
				t.Errorf("%d left, %v; want at least %d", r.Remaining, err, quota-17)
			}
		})
	}
}

// An interruption comes between the steps of a take over several slots.
type interruption struct {
	redisstore.Client
	steps atomic.Int64
	at    int64
	do    func() error
}

func (c *interruption) EvalSHA(ctx context.Context, hash string, keys []string, arg string) (string, error) {
	if c.steps.Add(1) == c.at {
		if err := c.do(); err != nil {
			return "", err
		}
	}
	return c.Client.EvalSHA(ctx, hash, keys, arg)
}

// What a take over several slots took is given back when a later slot fails or
// refuses, or the caller is gone.
func TestTakeOverSeveralSlotsGivesBack(t *testing.T) {
	client := redistest.StartCluster(t).Client(t)
	set, err := ratelimit.NewLimits(
		ratelimit.Limit{Name: "bucket", Count: 10, Period: 1000 * 24 * time.Hour},
		ratelimit.Limit{Name: "window", Algorithm: ratelimit.SlidingWindow, Count: 10, Period: 1000 * 24 * time.Hour},
		ratelimit.Limit{Name: "leases", Algorithm: ratelimit.Concurrency, Count: 10, Period: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the line broke")
	for name, fault := range map[string]struct {
		do     func(other *ratelimit.Limiter, gone context.CancelFunc) error
		failed bool
	}{
		"a later slot fails": {func(*ratelimit.Limiter, context.CancelFunc) error { return broken }, true},
		"the caller is gone": {func(_ *ratelimit.Limiter, gone context.CancelFunc) error { gone(); return nil }, true},
		"a later slot refuses": {func(other *ratelimit.Limiter, _ context.CancelFunc) error {
			r, err := other.TakeAll(t.Context(), ratelimit.Charge{Key: "c", Cost: 10})
			if err == nil && !r.Allowed {
				err = broken
			}
			return err
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := prefix()
			plain, err := redisstore.NewLimits(redisstore.GoRedis(client), &redisstore.LimitsOptions{Prefix: p})
			if err != nil {
				t.Fatal(err)
			}
			other, err := ratelimit.NewLimiter(plain, set, nil)
			if err != nil {
				t.Fatal(err)
			}
			ctx, gone := context.WithCancel(t.Context())
			defer gone()
			// Two looks, then the takes of a, b and c.
			c := &interruption{Client: redisstore.GoRedis(client), at: 5, do: func() error { return fault.do(other, gone) }}
			s, err := redisstore.NewLimits(c, &redisstore.LimitsOptions{Prefix: p})
			if err != nil {
				t.Fatal(err)
			}
			l, err := ratelimit.NewLimiter(s, set, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range []string{"a", "b", "c"} { // so that the server knows the script
				if _, err := other.Peek(ctx, key, 1); err != nil {
					t.Fatal(err)
				}
			}
			r, err := l.TakeAll(ctx, ratelimit.Charge{Key: "a", Cost: 3}, ratelimit.Charge{Key: "b", Cost: 4}, ratelimit.Charge{Key: "c", Cost: 5})
			if (err != nil) != fault.failed || r.Allowed {
				t.Errorf("allowed is %t, error %v; want a failure: %t", r.Allowed, err, fault.failed)
			}
			for _, key := range []string{"a", "b"} {
				r, err := other.Peek(t.Context(), key, 10)
				if err != nil || !r.Allowed {
					t.Errorf("of 10 of %q %d are left: %v", key, r.Remaining, err)
				}
			}
		})
	}
}

// Redis 6.2 and 7 word the errors of scripts differently, and mean the same.
func TestErrorsOfScriptsMeanTheSameOnEveryServer(t *testing.T) {
	const before = "ERR Error running script (call to f_1f): @user_script:41: "
	server := redistest.Start(t).Client(t)
	for said, want := range map[string]struct {
		code errors.Code
		full bool
	}{
		"OOM command not allowed when used memory > 'maxmemory'. script: 1f, on @user_script:41.":           {errors.Unavailable, true},
		before + "@user_script: 41: -OOM command not allowed when used memory > 'maxmemory'. ":              {errors.Unavailable, true},
		"WRONGTYPE Operation against a key holding the wrong kind of value script: 1f, on @user_script:41.": {errors.Corrupt, false},
		before + "WRONGTYPE Operation against a key holding the wrong kind of value":                        {errors.Corrupt, false},
		before + "@user_script: 41: -READONLY You can't write against a read only replica. ":                {errors.Unavailable, false},
		"TRYAGAIN Multiple keys request during rehashing of slot":                                           {errors.Unavailable, false},
	} {
		c := &interruption{Client: redisstore.GoRedis(server), at: 1, do: func() error { return errors.New(said) }}
		_, err := limiterOver(t, c, prefix()).Take(t.Context(), "k", 1)
		if errors.CodeOf(err) != want.code || errors.Is(err, ratelimit.ErrFull) != want.full {
			t.Errorf("%q became %v", said, err)
		}
	}
}
