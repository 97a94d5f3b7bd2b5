package redisstore_test

import (
	"context"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"weak"

	"github.com/redis/go-redis/v9"

	"github.com/keytoll/keytoll/stores/redisstore"
	"github.com/keytoll/keytoll/stores/redisstore/redistest"
)

// A gate is a driver's hook that lets no single command pass before it opens.
type gate struct {
	arrived chan struct{}
	open    chan struct{}
}

func newGate() *gate { return &gate{make(chan struct{}, 100), make(chan struct{})} }

func (g *gate) DialHook(next redis.DialHook) redis.DialHook { return next }

func (g *gate) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		g.arrived <- struct{}{}
		<-g.open
		return next(ctx, cmd)
	}
}

func (g *gate) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// crowd makes callers of their own occupy client until the gate opens.
func (g *gate) crowd(t *testing.T, client redisstore.Client) (left *sync.WaitGroup) {
	left = new(sync.WaitGroup)
	for range 4 {
		left.Go(func() { _, _ = client.EvalSHA(t.Context(), "none", []string{"k"}, "") })
		<-g.arrived
	}
	return left
}

// over is a context whose end is known only to those who ask.
type over struct{ context.Context }

func (over) Err() error            { return context.Canceled }
func (over) Done() <-chan struct{} { return nil }

// Whoever is not sent any more hears why, and no empty answer.
func TestCallerWhoWasLeftBehindIsToldSo(t *testing.T) {
	server, g := redistest.Start(t).Client(t), newGate()
	server.AddHook(g)
	client := redisstore.Coalesced(server)
	first := g.crowd(t, client)
	var rest sync.WaitGroup
	rest.Go(func() {
		if reply, err := client.EvalSHA(over{t.Context()}, "none", []string{"k"}, ""); err != context.Canceled { //nolint:errorlint // it is the context's own
			t.Errorf("EvalSHA = %q, %v; want %v", reply, err, context.Canceled)
		}
	})
	rest.Go(func() {
		if _, err := client.EvalSHA(t.Context(), "none", []string{"k"}, ""); !redis.HasErrorPrefix(err, "NOSCRIPT") {
			t.Errorf("EvalSHA = %v, want the server's own NOSCRIPT", err)
		}
	})
	close(g.open)
	first.Wait()
	rest.Wait()
}

// Behind a server that hangs nothing piles up of callers who have left.
func TestCallersWhoLeaveAreForgotten(t *testing.T) {
	server, g := redistest.Start(t).Client(t), newGate()
	server.AddHook(g)
	client := redisstore.Coalesced(server)
	first := g.crowd(t, client)
	type mark struct{ _ [64]byte }
	left := make([]weak.Pointer[mark], 100)
	for i := range left {
		m := new(mark)
		left[i] = weak.Make(m)
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), mark{}, m))
		cancel()
		if _, err := client.EvalSHA(ctx, "none", []string{"k"}, ""); err != context.Canceled { //nolint:errorlint // it is the context's own
			t.Errorf("EvalSHA = %v, want %v", err, context.Canceled)
		}
	}
	runtime.GC()
	kept := 0
	for _, m := range left {
		if m.Value() != nil {
			kept++
		}
	}
	if kept > 1 { // which a register may still hold
		t.Errorf("of %d callers who left %d are kept", len(left), kept)
	}
	close(g.open)
	first.Wait()
}

// Lines that went dead cost the callers who were on them their deadline, and
// nobody who comes later.
func TestDeadPipelinesLetGoWithTheirCallers(t *testing.T) {
	server := redistest.Start(t)
	silent, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	var mended atomic.Bool
	driver := once(t, redis.Options{
		Addr: silent.Addr().String(), ReadTimeout: time.Hour, DisableIdentity: true, Protocol: 2,
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if mended.Load() {
				addr = server.Addr()
			}
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		},
	})
	client := redisstore.Coalesced(driver)
	soon := func(of time.Duration) {
		ctx, cancel := context.WithTimeout(t.Context(), of)
		defer cancel()
		if _, err := client.EvalSHA(ctx, "none", []string{"k"}, ""); err == nil {
			t.Error("EvalSHA over a silent line was answered")
		}
	}
	var all sync.WaitGroup
	for range 4 * 64 { // those who wait fill all pipelines
		all.Go(func() { soon(50 * time.Millisecond) })
		all.Go(func() { soon(150 * time.Millisecond) })
	}
	all.Wait()
	mended.Store(true)
	for range 60 { // each line that the driver still has to the silent one costs a call, of at most its time
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err = client.EvalSHA(ctx, "none", []string{"k"}, "")
		cancel()
		if redis.HasErrorPrefix(err, "NOSCRIPT") {
			return
		}
	}
	t.Errorf("EvalSHA over a mended line = %v, want the server's NOSCRIPT", err)
}
