package benchcmp_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkGateWire is one request over loopback, with 64 connections that are
// kept: what all of them get done in a second, and how long one takes.
func BenchmarkGateWire(b *testing.B) {
	const n = 10_000
	for _, p := range gatePeers {
		b.Run("peer="+p.name, func(b *testing.B) {
			handler, keys := p.build(b, n, http.HandlerFunc(answer))
			server := httptest.NewServer(handler)
			b.Cleanup(server.Close)
			load(b, server.Listener.Addr().String(), keys)
		})
	}
}

// answer is what the handler of a small API gives.
func answer(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"id":"img_1","status":"done"}`)
}

// load has callers send b.N requests together, with keys drawn at random.
func load(b *testing.B, addr string, keys []string) {
	b.Helper()
	texts := make([]string, len(keys))
	for i, key := range keys {
		texts[i] = "POST /v1/images HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\nAuthorization: Bearer " + key + "\r\nContent-Length: 0\r\n\r\n"
	}
	mustVary(b, len(texts), func(i int) string { return texts[i] })
	callers := make([]*caller, most)
	for i := range callers {
		callers[i] = dial(b, addr)
		if err := callers[i].ask(texts[i]); err != nil { // what a first call sets up is not measured
			b.Fatal(err)
		}
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	took := make([][]time.Duration, len(callers))
	b.ResetTimer()
	var wg sync.WaitGroup
	for i, c := range callers {
		wg.Go(func() {
			for d := (draw{n: len(texts), state: mix(uint64(i))}); left.Add(-1) >= 0; {
				start := time.Now()
				if err := c.ask(texts[d.next()]); err != nil {
					b.Error(err)
					return
				}
				took[i] = append(took[i], time.Since(start))
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	all := slices.Sorted(slices.Values(slices.Concat(took...)))
	for _, percent := range []int{50, 99} {
		b.ReportMetric(float64(all[(len(all)-1)*percent/100].Nanoseconds()), fmt.Sprintf("p%d-ns", percent))
	}
}

// A caller is one connection that asks, and reads no more of an answer than it
// must: the work to be measured is the server's.
type caller struct {
	conn net.Conn
	in   *bufio.Reader
}

func dial(tb testing.TB, addr string) *caller {
	tb.Helper()
	conn, err := new(net.Dialer).DialContext(tb.Context(), "tcp", addr)
	must(tb, err)
	tb.Cleanup(func() { _ = conn.Close() })
	return &caller{conn, bufio.NewReader(conn)}
}

// ask sends one request and reads its answer, which must be a 200 with a length.
func (c *caller) ask(text string) error {
	if _, err := io.WriteString(c.conn, text); err != nil {
		return err
	}
	status, err := c.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(string(status), "HTTP/1.1 200 ") {
		return fmt.Errorf("the answer is %q", status)
	}
	length := 0
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if size, ok := strings.CutPrefix(string(line), "Content-Length: "); ok {
			if _, err := fmt.Sscan(size, &length); err != nil {
				return err
			}
		}
	}
	_, err = c.in.Discard(length)
	return err
}
