package redisstore_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/apikey/apikeytest"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/stores/redisstore"
	"github.com/keytoll/keytoll/stores/redisstore/redistest"
)

// channel returns a name that no other test uses, for a server that tests share.
func channel(t testing.TB) string {
	return fmt.Sprintf("keytoll:test:%d:%p", time.Now().UnixNano(), t)
}

func newFeed(t testing.TB, client redis.UniversalClient, o *redisstore.FeedOptions) *redisstore.Feed {
	t.Helper()
	f, err := redisstore.NewFeed(client, o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFeed(t *testing.T) {
	server := redistest.Start(t)
	apikeytest.RunFeed(t, func(t *testing.T) (a, b apikey.Feed) {
		o := &redisstore.FeedOptions{Channel: channel(t)}
		return newFeed(t, server.Client(t), o), newFeed(t, server.Client(t), o)
	})
}

func TestFeedInACluster(t *testing.T) {
	cluster := redistest.StartCluster(t)
	apikeytest.RunFeed(t, func(t *testing.T) (a, b apikey.Feed) {
		o := &redisstore.FeedOptions{Channel: channel(t)}
		return newFeed(t, cluster.Client(t), o), newFeed(t, cluster.Client(t), o)
	})
}

// A client of the older protocol, with the driver's own timeouts.
func TestFeedOverRESP2(t *testing.T) {
	server := redistest.Start(t)
	apikeytest.RunFeed(t, func(t *testing.T) (a, b apikey.Feed) {
		options := *server.Client(t).Options()
		options.Protocol, options.ContextTimeoutEnabled = 2, false
		client := redis.NewClient(&options)
		t.Cleanup(func() { client.Close() })
		o := &redisstore.FeedOptions{Channel: channel(t)}
		return newFeed(t, client, o), newFeed(t, client, o)
	})
}

// A listening is a running Listen.
type listening struct {
	stop  context.CancelFunc
	alive chan time.Time     // every Alive for which there is room
	heard chan apikey.Notice // every notice
	ended chan error         // what Listen returned
}

func listen(t testing.TB, f apikey.Feed) *listening {
	t.Helper()
	l := &listening{alive: make(chan time.Time, 1), heard: make(chan apikey.Notice, 10000), ended: make(chan error, 1)}
	ctx, stop := context.WithCancel(t.Context())
	l.stop = stop
	var running sync.WaitGroup
	running.Go(func() {
		l.ended <- f.Listen(ctx, apikey.Listener{
			Now:   time.Now,
			Heard: func(n apikey.Notice) { l.heard <- n },
			Alive: func(at time.Time) {
				select {
				case l.alive <- at:
				default:
				}
			},
		})
	})
	t.Cleanup(func() { stop(); running.Wait() })
	l.proven(t)
	return l
}

// proven waits for an Alive of an instant after this call.
func (l *listening) proven(t testing.TB) {
	t.Helper()
	asked, late := time.Now(), time.After(20*time.Second)
	for {
		select {
		case at := <-l.alive:
			if at.After(asked) {
				return
			}
		case err := <-l.ended:
			t.Fatalf("Listen returned %v", err)
		case <-late:
			t.Fatal("no Alive for 20 seconds")
		}
	}
}

// broken waits until Listen returns because the line broke, and returns how
// long that took.
func (l *listening) broken(t testing.TB) time.Duration {
	t.Helper()
	begin := time.Now()
	select {
	case err := <-l.ended:
		if errors.CodeOf(err) != errors.Unavailable || !strings.HasPrefix(err.Error(), "redisstore.Listen: ") {
			t.Fatalf("Listen returned %v, want unavailable", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("Listen goes on for 20 seconds")
	}
	return time.Since(begin)
}

func (l *listening) hears(t testing.TB, want apikey.Notice) {
	t.Helper()
	select {
	case got := <-l.heard:
		if got != want {
			t.Fatalf("heard %+v, want %+v", got, want)
		}
	case err := <-l.ended:
		t.Fatalf("Listen returned %v", err)
	case <-time.After(20 * time.Second):
		t.Fatalf("%+v was not heard for 20 seconds", want)
	}
}

func announce(t testing.TB, f apikey.Feed, notices ...apikey.Notice) {
	t.Helper()
	if err := f.Announce(t.Context(), notices); err != nil {
		t.Fatal(err)
	}
}

func TestKilledServerEndsListen(t *testing.T) {
	server := redistest.StartOwn(t)
	f := newFeed(t, server.Client(t), nil)
	l := listen(t, f)
	server.Kill()
	if took := l.broken(t); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	if err := f.Listen(t.Context(), apikey.Listener{Now: time.Now}); errors.CodeOf(err) != errors.Unavailable {
		t.Errorf("Listen without a server = %v, want unavailable", err)
	}
	if err := f.Announce(t.Context(), []apikey.Notice{{Handle: "h"}}); errors.CodeOf(err) != errors.Unavailable {
		t.Errorf("Announce without a server = %v, want unavailable", err)
	}
	server.Restart()
	l = listen(t, f)
	announce(t, f, apikey.Notice{Handle: "h"})
	l.hears(t, apikey.Notice{Handle: "h"})
}

// A server that is stopped keeps its connections open and its port listening:
// nothing but the missing heartbeat tells.
func TestHalfOpenLineEndsListen(t *testing.T) {
	const within = 500 * time.Millisecond
	for name, honest := range map[string]bool{"contexts reach the driver": true, "the driver's own timeouts": false} {
		t.Run(name, func(t *testing.T) {
			server := redistest.StartOwn(t)
			options := *server.Client(t).Options()
			options.ContextTimeoutEnabled, options.ReadTimeout = honest, time.Second
			client := redis.NewClient(&options)
			t.Cleanup(func() { client.Close() })
			f := newFeed(t, client, &redisstore.FeedOptions{Every: 50 * time.Millisecond, Within: within})
			l := listen(t, f)
			server.Pause()
			defer server.Resume()
			bound := within + 50*time.Millisecond
			if !honest {
				bound += options.ReadTimeout
			}
			if took := l.broken(t); took > bound+2*time.Second { // for a slow machine
				t.Errorf("it took %v, want %v", took, bound)
			}
			begin := time.Now()
			if err := f.Listen(t.Context(), apikey.Listener{Now: time.Now}); errors.CodeOf(err) != errors.Unavailable {
				t.Errorf("Listen = %v, want unavailable", err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			if err := f.Announce(ctx, []apikey.Notice{{Handle: "h"}}); err == nil {
				t.Error("Announce on a stopped server succeeds")
			}
			t.Logf("a Listen and an Announce on a stopped server took %v", time.Since(begin))
		})
	}
}

// A line can die alone, while the server answers everybody else.
func TestDeadSubscriptionEndsListen(t *testing.T) {
	server := redistest.Start(t)
	options := *server.Client(t).Options()
	dead := make(chan struct{})
	options.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return &line{Conn: c, dead: dead, closed: make(chan struct{})}, err
	}
	client := redis.NewClient(&options)
	t.Cleanup(func() { client.Close() })
	const within = 500 * time.Millisecond
	l := listen(t, newFeed(t, client, &redisstore.FeedOptions{Channel: channel(t), Every: 50 * time.Millisecond, Within: within}))
	close(dead)
	if took := l.broken(t); took > within+2*time.Second { // for a slow machine
		t.Errorf("it took %v, want %v", took, within)
	}
}

// A line brings nothing of what is subscribed to once it is dead, until it is
// closed.
type line struct {
	net.Conn
	dead       chan struct{}
	subscribed atomic.Bool
	closed     chan struct{}
	once       sync.Once
}

func (l *line) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("subscribe")) {
		l.subscribed.Store(true)
	}
	return l.Conn.Write(b)
}

func (l *line) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	select {
	case <-l.dead:
		if l.subscribed.Load() {
			<-l.closed
			return 0, net.ErrClosed
		}
	default:
	}
	return n, err
}

func (l *line) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Conn.Close()
}

func TestKilledSubscriptionEndsListen(t *testing.T) {
	server := redistest.StartOwn(t)
	client := server.Client(t)
	l := listen(t, newFeed(t, client, nil))
	if n, err := client.ClientKillByFilter(t.Context(), "TYPE", "pubsub").Result(); err != nil || n != 1 {
		t.Fatalf("CLIENT KILL ended %d subscriptions: %v", n, err)
	}
	l.broken(t)
}

// A server cuts off a listener that lets too much pile up.
func TestListenerThatFallsBehindIsToldSo(t *testing.T) {
	server := redistest.StartOwn(t, "--client-output-buffer-limit", "pubsub 1mb 1mb 0")
	client := server.Client(t)
	f := newFeed(t, client, &redisstore.FeedOptions{Within: time.Minute})
	busy, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	alive := make(chan struct{}, 1000)
	ended := make(chan error, 1)
	go func() {
		ended <- f.Listen(t.Context(), apikey.Listener{
			Now:   time.Now,
			Heard: func(apikey.Notice) { once.Do(func() { close(busy); <-release }) },
			Alive: func(time.Time) { alive <- struct{}{} },
		})
	}()
	<-alive
	announce(t, f, apikey.Notice{Handle: "h"})
	<-busy
	notices := make([]apikey.Notice, 1000)
	for i := range notices {
		notices[i].Owner = strings.Repeat("o", apikey.MaxOwner)
	}
	for connected := int64(1); connected > 0; { // it takes none of it off the line
		announce(t, f, notices...)
		subs, err := client.PubSubNumSub(t.Context(), redisstore.DefaultChannel).Result()
		if err != nil {
			t.Fatal(err)
		}
		connected = subs[redisstore.DefaultChannel]
	}
	close(release)
	if err := <-ended; errors.CodeOf(err) != errors.Unavailable {
		t.Errorf("Listen = %v, want unavailable", err)
	}
}

// A listener that is slow, and not too slow, hears everything.
func TestSlowListenerHearsEverything(t *testing.T) {
	server := redistest.Start(t)
	f := newFeed(t, server.Client(t), &redisstore.FeedOptions{Channel: channel(t), Within: time.Minute})
	first, release := make(chan struct{}), make(chan struct{})
	alive := make(chan struct{}, 1000)
	ctx, stop := context.WithCancel(t.Context())
	var heard []apikey.Notice
	ended := make(chan error, 1)
	const all = 5000
	go func() {
		ended <- f.Listen(ctx, apikey.Listener{
			Now: time.Now,
			Heard: func(n apikey.Notice) {
				if heard = append(heard, n); len(heard) == 1 {
					close(first)
					<-release
				}
				if len(heard) == all {
					stop()
				}
			},
			Alive: func(time.Time) { alive <- struct{}{} },
		})
	}()
	<-alive
	announce(t, f, apikey.Notice{Handle: "0"})
	<-first
	for n := 1; n < all; {
		var batch []apikey.Notice
		for ; n < all && len(batch) < 1000; n++ {
			batch = append(batch, apikey.Notice{Handle: fmt.Sprint(n)})
		}
		announce(t, f, batch...)
	}
	close(release)
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatalf("Listen = %v", err)
	}
	for i, n := range heard {
		if n.Handle != fmt.Sprint(i) {
			t.Fatalf("notice %d is %+v", i, n)
		}
	}
}

func TestForeignMessagesAreIgnored(t *testing.T) {
	server := redistest.Start(t)
	client, name := server.Client(t), channel(t)
	f := newFeed(t, client, &redisstore.FeedOptions{Channel: name})
	l := listen(t, f)
	for _, m := range []string{"", "hello", "keytoll", strings.Repeat("\xff", 1<<20), "{}", "\x00"} {
		if err := client.Publish(t.Context(), name, m).Err(); err != nil {
			t.Fatal(err)
		}
	}
	announce(t, f, apikey.Notice{Owner: "acct_1"})
	l.hears(t, apikey.Notice{Owner: "acct_1"})
	l.proven(t)
}

// What says that it is a notice and cannot be read may have been one.
func TestUnreadableNoticesEndListen(t *testing.T) {
	server := redistest.Start(t)
	client, name := server.Client(t), channel(t)
	f := newFeed(t, client, &redisstore.FeedOptions{Channel: name})
	for _, m := range []string{
		"keytoll/2:", "keytoll/1:", "keytoll/1:h", "keytoll/1:h\x00\x00", "keytoll/1:h\x00\x05four",
		"keytoll/1:x\x00\x01a", "keytoll/1:h\x00\x01ab", "keytoll/1:h\xff\xffa",
		"keytoll/1:" + strings.Repeat("h\x00\x01a", 1<<15),
	} {
		l := listen(t, f)
		if err := client.Publish(t.Context(), name, m).Err(); err != nil {
			t.Fatal(err)
		}
		l.broken(t)
		if len(l.heard) != 0 {
			t.Errorf("%.20q was heard as %+v", m, <-l.heard)
		}
	}
}

func TestChannelsDoNotMix(t *testing.T) {
	server := redistest.Start(t)
	a := newFeed(t, server.Client(t), &redisstore.FeedOptions{Channel: channel(t) + ":a"})
	b := newFeed(t, server.Client(t), &redisstore.FeedOptions{Channel: channel(t) + ":b"})
	l := listen(t, b)
	announce(t, a, apikey.Notice{Handle: "of another store"})
	announce(t, b, apikey.Notice{Handle: "own"})
	l.hears(t, apikey.Notice{Handle: "own"})
}

func TestAnnounceIsOneRoundTrip(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client(t)
	var trips counter
	client.AddHook(&trips)
	f := newFeed(t, client, &redisstore.FeedOptions{Channel: channel(t)})
	notices := make([]apikey.Notice, 1000)
	for i := range notices {
		notices[i].Owner = strings.Repeat("o", apikey.MaxOwner)
	}
	announce(t, f, notices...)
	announce(t, f)
	if trips.pipelines != 1 || trips.commands != 0 {
		t.Errorf("%d pipelines and %d commands, want one pipeline", trips.pipelines, trips.commands)
	}
}

type counter struct{ commands, pipelines int }

func (*counter) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *counter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "publish" {
			c.commands++
		}
		return next(ctx, cmd)
	}
}

func (c *counter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			if cmd.Name() == "publish" {
				c.pipelines++
				break
			}
		}
		return next(ctx, cmds)
	}
}

func TestAnnounceRefusesWhatCannotBeSent(t *testing.T) {
	f := newFeed(t, redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"}), nil)
	if err := f.Announce(t.Context(), []apikey.Notice{{Handle: strings.Repeat("h", 2000)}}); errors.CodeOf(err) != errors.Invalid {
		t.Errorf("Announce = %v, want invalid", err)
	}
	if f.Lossless() {
		t.Error("the feed says that it is lossless")
	}
}

func TestNewFeedReportsEveryFault(t *testing.T) {
	_, err := redisstore.NewFeed(nil, &redisstore.FeedOptions{Channel: "{a} b", Every: time.Hour, Within: -1})
	for _, want := range []string{"redisstore.NewFeed", "client is nil", "Channel", "Every is 1h0m0s", "Within is -1ns"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewFeed = %v, want %q in it", err, want)
		}
	}
	for name, client := range map[string]redis.UniversalClient{
		"redis.Ring":          redis.NewRing(&redis.RingOptions{}),
		"reads from replicas": redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}, RouteByLatency: true}),
	} {
		if _, err := redisstore.NewFeed(client, nil); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("NewFeed = %v, want %q in it", err, name)
		}
		client.Close()
	}
}
