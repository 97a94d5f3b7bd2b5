package benchcmp_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/stores/pgstore"
	"github.com/keytoll/keytoll/stores/pgstore/pgtest"
	"github.com/keytoll/keytoll/stores/sqlitestore"
	"github.com/keytoll/keytoll/webhook"
)

const (
	receivers  = 200     // endpoints, each with a port of its own
	publishers = 64      // that publish at once, before the clock runs
	payload    = 1 << 10 // bytes
)

// BenchmarkDelivery delivers messages that wait to receivers of this process: the
// claim, the signature, the exchange over HTTP and the note of what came of it.
// One operation is one delivery.
func BenchmarkDelivery(b *testing.B) {
	for _, s := range queues {
		b.Run("store="+s.name, func(b *testing.B) { deliver(b, s.open(b)) })
	}
}

// BenchmarkClaim claims deliveries of 200 endpoints and settles them, 64 at a time,
// beside more and more that are due. One operation is one claim and its settlement.
func BenchmarkClaim(b *testing.B) {
	waiting := []int{1_000, 10_000, 100_000}
	if *large {
		waiting = append(waiting, 1_000_000)
	}
	for _, s := range queues {
		for _, n := range waiting {
			b.Run(fmt.Sprintf("store=%s/waiting=%d", s.name, n), func(b *testing.B) { claimBeside(b, s.open(b), n) })
		}
	}
}

// queues are all stores of what is to be delivered.
var queues = [...]struct {
	name string
	open func(b *testing.B) webhook.Store
}{
	{"memory", func(*testing.B) webhook.Store {
		return webhook.NewMemoryStore(&webhook.MemoryStoreOptions{MaxBytes: 1 << 40})
	}},
	{"sqlite", func(b *testing.B) webhook.Store {
		db, err := sqlitestore.Open(filepath.Join(b.TempDir(), "webhooks.db"), nil)
		must(b, err)
		b.Cleanup(func() { must(b, db.Close(context.WithoutCancel(b.Context()))) })
		must(b, db.Migrate(b.Context()))
		return db.Webhooks()
	}},
	{"postgres", func(b *testing.B) webhook.Store {
		db, err := pgstore.Open(pgtest.Start(b).URL(), nil)
		must(b, err)
		b.Cleanup(func() { must(b, db.Close(context.WithoutCancel(b.Context()))) })
		must(b, db.Migrate(b.Context()))
		return db.Webhooks(nil)
	}},
}

// claimBeside measures claims and settlements while n deliveries are due: those
// that were claimed go to the end of what waits.
func claimBeside(b *testing.B, store webhook.Store, n int) {
	const batch = 64
	for i := range receivers {
		must(b, store.Change(b.Context(), fmt.Sprintf("ep_%03d", i), func(now time.Time, e *webhook.Endpoint) error {
			e.Account, e.State, e.CreatedAt, e.UpdatedAt = "acct", webhook.EndpointActive, now, now
			e.Settings.URL = "https://example.com/hook"
			return nil
		}))
	}
	var all sync.WaitGroup
	for k := range 8 {
		all.Go(func() {
			for i := k; i < n/receivers; i += 8 {
				_, err := store.Publish(b.Context(), webhook.Message{
					ID: fmt.Sprint("msg_", i), Account: "acct", Type: "image.created", ContentType: "application/json", Payload: make([]byte, payload),
				})
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	after := ""
	calls := 0
	for b.Loop() {
		got, err := store.Claim(b.Context(), webhook.Claim{Token: fmt.Sprint("token_", calls), Limit: batch, Lease: time.Minute, After: after})
		must(b, err)
		if len(got.Deliveries) != batch {
			b.Fatalf("%d deliveries were claimed, want %d", len(got.Deliveries), batch)
		}
		settlements := make([]webhook.Settlement, len(got.Deliveries))
		for i := range got.Deliveries {
			d := &got.Deliveries[i].Delivery
			settlements[i] = webhook.Settlement{Endpoint: d.Endpoint, Message: d.Message, Token: d.Token, Attempt: webhook.Attempt{Number: d.Tries, At: d.Lease, Status: 204}}
		}
		must(b, store.Settle(b.Context(), settlements, func(now time.Time, cases []webhook.Case) error {
			for i := range cases {
				d := &cases[i].Delivery
				d.State, d.Token, d.Lease, d.Due = webhook.DeliveryPending, "", time.Time{}, now
			}
			return nil
		}))
		after = got.Last
		calls++
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(calls*batch), "ns/delivery")
}

// counted tells when so many messages were delivered.
type counted struct {
	left atomic.Int64
	done chan struct{}
	errs chan error
}

// WebhookSent implements [webhook.SenderObserver].
func (c *counted) WebhookSent(_ context.Context, e webhook.SenderEvent) {
	if e.Kind != webhook.MessageDelivered {
		c.errs <- fmt.Errorf("%v: %v %s", e.Kind, e.Err, e.Attempt.Detail)
		return
	}
	if c.left.Add(-1) == 0 {
		close(c.done)
	}
}

func deliver(b *testing.B, store webhook.Store) {
	transport, err := webhook.NewSafeTransport(&webhook.SafeTransportOptions{
		AllowPrefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, AnyPort: true, AllowHTTP: true,
	})
	must(b, err)
	b.Cleanup(transport.CloseIdleConnections)
	c := &counted{done: make(chan struct{}), errs: make(chan error, 1000)}
	sealing := []webhook.SealingKey{webhook.GenerateSealingKey(1)}
	sender, err := webhook.NewSender(store, sealing, &webhook.SenderOptions{Transport: transport, Observer: c})
	must(b, err)
	for i, url := range receive(b) {
		_, err := sender.CreateEndpoint(b.Context(), webhook.EndpointSpec{Account: fmt.Sprint("acct_", i), Settings: webhook.Settings{URL: url}})
		must(b, err)
	}
	publishAll(b, sender, b.N)
	c.left.Store(int64(b.N))
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	var running sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	begun := time.Now()
	running.Go(func() { _ = sender.Run(ctx) })
	select {
	case <-c.done:
	case err := <-c.errs:
		b.Fatal(err)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/time.Since(begun).Seconds(), "deliveries/s")
	stop()
	running.Wait()
}

// receive starts the receivers, and returns their addresses.
func receive(b *testing.B) []string {
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	})}
	b.Cleanup(func() { _ = server.Close() })
	urls := make([]string, receivers)
	for i := range urls {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(b, err)
		urls[i] = "http://" + l.Addr().String()
		go func() { _ = server.Serve(l) }()
	}
	return urls
}

// publishAll publishes n messages, evenly for all accounts.
func publishAll(b *testing.B, sender *webhook.Sender, n int) {
	body := make([]byte, payload)
	for i := range body {
		body[i] = 'x'
	}
	var next atomic.Int64
	var all sync.WaitGroup
	for range publishers {
		all.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				_, err := sender.Publish(b.Context(), webhook.Message{Account: fmt.Sprint("acct_", i%receivers), Type: "image.created", Payload: body})
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}
