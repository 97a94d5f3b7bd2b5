package webhooktest

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

// Bench measures the store made by open: what a publication costs, and what a claim
// of 16 deliveries and their settlement cost beside 10^3 and 10^5 due deliveries of
// 1, 200 and 10^4 endpoints. With KEYTOLL_BENCH_ROWS=million it does so for 10^6
// too. The backlog is that of endpoints with no room, as a receiver that is down
// leaves it, beside 16 that deliver at once: what waits must not matter to these.
func Bench(b *testing.B, open func(b *testing.B) webhook.Store) {
	b.Helper()
	for _, endpoints := range []int{1, 200} {
		b.Run(fmt.Sprintf("publish to %d", endpoints), func(b *testing.B) { benchPublish(b, open(b), endpoints) })
	}
	rows := []int{1_000, 100_000}
	if os.Getenv("KEYTOLL_BENCH_ROWS") == "million" { //nolint:forbidigo // how much to measure is not the caller's code's choice
		rows = append(rows, 1_000_000)
	}
	for _, endpoints := range []int{1, 200, 10_000} {
		for _, n := range rows {
			if n >= endpoints {
				b.Run(fmt.Sprintf("claim and settle 16 beside %d of %d endpoints", n, endpoints), func(b *testing.B) {
					benchClaim(b, open(b), endpoints, n, false)
				})
			}
		}
	}
	for _, n := range rows {
		b.Run(fmt.Sprintf("claim and settle 16 out of %d of 200 endpoints", n), func(b *testing.B) { benchClaim(b, open(b), 200, n, true) })
	}
	b.Run("claim nothing of 10000 endpoints", func(b *testing.B) {
		s := open(b)
		benchEndpoints(b, s, "e", 10_000, nil)
		b.ResetTimer()
		for i := 0; b.Loop(); i++ {
			if got := benchTake(b, s, i, 16, ""); len(got.Deliveries) > 0 {
				b.Fatalf("Claim gave %d", len(got.Deliveries))
			}
		}
	})
}

func benchEndpoints(b *testing.B, s webhook.Store, prefix string, n int, edit func(e *webhook.Endpoint)) {
	b.Helper()
	ids := numbered(prefix, n)
	err := together(b.Context(), 8, func(ctx context.Context, i int) error {
		for ; i < n; i += 8 {
			if err := changeEndpoint(ctx, s, ids[i], edit); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

func benchMessage(id string) webhook.Message {
	m := message(id)
	m.Payload = make([]byte, 1024)
	return m
}

func benchPublish(b *testing.B, s webhook.Store, endpoints int) {
	b.Helper()
	benchEndpoints(b, s, "e", endpoints, nil)
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		if _, err := s.Publish(b.Context(), benchMessage(fmt.Sprintf("m%d", i))); err != nil {
			b.Fatal(err)
		}
	}
}

func benchTake(b *testing.B, s webhook.Store, i, limit int, after string) webhook.Claims {
	b.Helper()
	got, err := s.Claim(b.Context(), webhook.Claim{Token: fmt.Sprintf("token_%d", i), Limit: limit, Lease: long, After: after})
	if err != nil {
		b.Fatal(err)
	}
	return got
}

// benchClaim claims and settles beside a backlog, or out of it.
func benchClaim(b *testing.B, s webhook.Store, endpoints, rows int, out bool) {
	b.Helper()
	ctx := b.Context()
	const healthy = 16
	benchEndpoints(b, s, "dead", endpoints, nil)
	messages := rows / endpoints
	var next atomic.Int64
	if err := together(ctx, 8, func(ctx context.Context, _ int) error {
		for k := next.Add(1); k <= int64(messages); k = next.Add(1) {
			if _, err := s.Publish(ctx, benchMessage(fmt.Sprintf("backlog%d", k))); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	if !out {
		benchEndpoints(b, s, "dead", endpoints, func(e *webhook.Endpoint) {
			e.Settings.MaxInFlight, e.Settings.Events = 1, []string{"nothing"}
		})
		for i, after := 0, ""; ; i++ { // each of them has one in flight, and so no room
			got := benchTake(b, s, -1-i, 1000, after)
			if after = got.Last; len(got.Deliveries) == 0 {
				break
			}
		}
		benchEndpoints(b, s, "well", healthy, nil)
	}
	b.ReportAllocs()
	b.ResetTimer()
	after := ""
	for i := 0; b.Loop(); i++ {
		if !out {
			b.StopTimer()
			if _, err := s.Publish(ctx, benchMessage(fmt.Sprintf("m%d", i))); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
		got := benchTake(b, s, i, healthy, after)
		if after = got.Last; len(got.Deliveries) != healthy {
			b.Fatalf("Claim gave %d, want %d", len(got.Deliveries), healthy)
		}
		if err := s.Settle(ctx, settlementsOf(got.Deliveries), func(now time.Time, cases []webhook.Case) error {
			for i := range cases {
				if out { // what was taken out goes to the end of what waits
					wake(-time.Microsecond)(now, &cases[i])
				} else {
					end(delivered)(now, &cases[i])
				}
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
}
