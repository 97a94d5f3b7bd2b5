package proof_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/idempotency"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/scopes"
)

const (
	placeVariable = "KEYTOLL_PROOF_PLACE"
	lifeVariable  = "KEYTOLL_PROOF_LIFE"

	orders = 24 // requests, each under an Idempotency-Key of its own
	stuck  = 4  // one of so many does not end in the first life
)

// A process is killed while some requests are between hold and settlement, and again
// when one was charged and not yet answered. Clients send everything again until they
// are answered. In the end each request is charged once, whatever it took, and
// nothing is held.
func TestAProcessThatIsKilledChargesEachRequestOnce(t *testing.T) {
	if text := os.Getenv(placeVariable); text != "" {
		var at place
		must(t, json.Unmarshal([]byte(text), &at))
		live(t, at, os.Getenv(lifeVariable))
		return
	}
	for _, p := range places {
		if p.name == "memory" { // which dies with the process
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			at := p.make(t)
			i := newInstance(t, at.open(t))
			f := newFleet(t, i).of(t, orders, middleware.Operation{Name: "order", Scopes: scopes.None(), Price: middleware.Fixed(price)}, nil)
			send := func(n int) answer { return f.call(0, "/order", fmt.Sprintf("order-%d", n)) }

			first := f.begin(at, "first")
			var clients sync.WaitGroup
			answered := make(chan struct{}, orders)
			for n := range orders {
				clients.Go(func() {
					a := send(n)
					if answered <- struct{}{}; (a.status == 200) == (n%stuck == 0) {
						t.Errorf("order %d was told %+v", n, a)
					}
				})
			}
			for range orders / stuck {
				<-first.lines // that it is stuck
			}
			for range orders - orders/stuck {
				<-answered
			}
			first.kill()
			clients.Wait()

			second := f.begin(at, "second")
			f.until("the process killed itself", func() bool { return send(0).status == 0 })
			second.kill()

			f.begin(at, "third")
			for n := range orders {
				f.until("the order is answered", func() bool { return send(n).status == 200 })
				if a := send(n); !a.replayed || a.body != fmt.Sprintf("order-%d", n) {
					t.Errorf("order %d was told %+v", n, a)
				}
			}
			f.charged(orders)
		})
	}
}

// A life is a process that serves orders.
type life struct {
	cmd   *exec.Cmd
	lines chan string // what it says
}

// begin starts a process, to which the fleet's client goes from then on.
func (f *fleet) begin(at place, name string) *life {
	f.Helper()
	text, err := json.Marshal(at)
	must(f, err)
	c := &life{exec.CommandContext(f.Context(), os.Args[0], "-test.run=^TestAProcessThatIsKilledChargesEachRequestOnce$"), make(chan string, 4*orders)}
	c.cmd.Env = append(os.Environ(), placeVariable+"="+string(text), lifeVariable+"="+name)
	c.cmd.Stderr = os.Stderr
	_, err = c.cmd.StdinPipe() // which the process reads until this one is gone
	must(f, err)
	out, err := c.cmd.StdoutPipe()
	must(f, err)
	must(f, c.cmd.Start())
	f.Cleanup(c.kill)
	go func() {
		defer close(c.lines)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			c.lines <- lines.Text()
		}
	}()
	address, ok := <-c.lines
	if !ok || !strings.HasPrefix(address, "http://") {
		f.Fatalf("the process says %q, not where it is", address)
	}
	f.instances[0].url = address
	return c
}

// kill ends the process as it is, and waits for that.
func (c *life) kill() {
	_ = c.cmd.Process.Kill() // an error means that it has ended already
	for range c.lines {      // what it said before
	}
	_ = c.cmd.Wait() // likewise
}

// live is the process.
func live(t *testing.T, at place, name string) {
	k := at.open(t)
	if name == "second" {
		k.answers = deadly{k.answers}
	}
	i := newInstance(t, k, func(o *middleware.Options) {
		o.Idempotency.Lease = 300 * time.Millisecond // so long those who ask again wait after a kill
		o.Idempotency.Replays = ratelimit.Limit{Count: 1e9, Period: time.Second}
	})
	i.handle(middleware.Operation{Name: "order", Scopes: scopes.None(), Price: middleware.Fixed(price), Idempotency: middleware.IdempotencyRequired},
		func(w http.ResponseWriter, r *http.Request) {
			key := r.Header.Get(idempotency.HeaderKey)
			n, err := strconv.Atoi(strings.TrimPrefix(key, "order-"))
			must(t, err)
			if name == "first" && n%stuck == 0 {
				fmt.Println("stuck")
				select {}
			}
			fmt.Fprint(w, key)
		})
	fmt.Println(i.serve(t, i.mux).url)
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent is gone
	os.Exit(0)
}

// A deadly store kills the process when it is to keep an answer: what was done is
// charged by then.
type deadly struct{ idempotency.Store }

func (deadly) Finish(context.Context, idempotency.Key, idempotency.Token, []byte, time.Duration) error {
	p, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = p.Kill()
	}
	return err
}
