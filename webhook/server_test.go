package webhook_test

import (
	"bufio"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/webhook"
	"github.com/keytoll/keytoll/webhook/webhooktest"
)

// A site is a guarded handler behind a real server.
type site struct {
	*httptest.Server

	seen chan webhook.Reception // what the observer was told, in order
}

// onServers runs test against a site of HTTP/1.1 and one of HTTP/2.
func onServers(t *testing.T, next http.HandlerFunc, test func(t *testing.T, s site)) {
	t.Helper()
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			s := site{seen: make(chan webhook.Reception, 100)}
			s.Server = httptest.NewUnstartedServer(must(verifierWithCap(t, 1000).Handler(next, &webhook.HandlerOptions{
				Replay:   must(webhook.NewMemoryReplayStore(nil))(t),
				Observer: observerFunc(func(r webhook.Reception) { s.seen <- r }),
			}))(t))
			s.Config.ErrorLog = log.New(io.Discard, "", 0) // panics are meant
			if s.EnableHTTP2 = http2; http2 {
				s.StartTLS()
			} else {
				s.Start()
			}
			t.Cleanup(s.Close)
			test(t, s)
		})
	}
}

type observerFunc func(webhook.Reception)

func (f observerFunc) WebhookReceived(_ context.Context, r webhook.Reception) { f(r) }

// send delivers one message and returns the status, or 0 when there was none.
// A body that is not a known kind of reader goes out in chunks.
func (s site) send(ctx context.Context, t *testing.T, m webhooktest.Message, wrap func(io.Reader) io.Reader) int {
	t.Helper()
	m.URL, m.At = s.URL, t0
	r := webhooktest.NewRequest(t, newSigner(t, testSecret), m).WithContext(ctx)
	if wrap != nil {
		r.Body, r.ContentLength, r.GetBody = io.NopCloser(wrap(r.Body)), -1, nil
	}
	res, err := s.Client().Do(r)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	if (res.ProtoMajor == 2) != s.EnableHTTP2 {
		t.Errorf("spoke %s", res.Proto)
	}
	return res.StatusCode
}

func TestServersHandleIdenticalDeliveriesOnce(t *testing.T) {
	const deliveries = 64
	var calls atomic.Int64
	others := make(chan struct{})
	onServers(t, func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		<-others // all but this one have been answered
		w.WriteHeader(http.StatusNoContent)
	}, func(t *testing.T, s site) {
		calls.Store(0)
		statuses := make(chan int, deliveries)
		var wg sync.WaitGroup
		for range deliveries {
			wg.Go(func() {
				statuses <- s.send(t.Context(), t, webhooktest.Message{ID: testID, Body: []byte(testBody)}, nil)
			})
		}
		for range deliveries - 1 {
			if got := <-statuses; got != http.StatusConflict {
				t.Errorf("status %d while one delivery is being handled", got)
			}
		}
		others <- struct{}{}
		if got := <-statuses; got != http.StatusNoContent {
			t.Errorf("status %d of the delivery that was handled", got)
		}
		wg.Wait()
		if got := s.send(t.Context(), t, webhooktest.Message{ID: testID, Body: []byte(testBody)}, nil); got != http.StatusOK || calls.Load() != 1 {
			t.Errorf("status %d afterwards, handled %d times", got, calls.Load())
		}
	})
}

// Neither a sender who leaves nor a handler that panics loses the message.
func TestServersHandleAgainWhatWasNotAnswered(t *testing.T) {
	begun := make(chan struct{})
	for name, next := range map[string]http.HandlerFunc{
		"the sender leaves": func(_ http.ResponseWriter, r *http.Request) {
			begun <- struct{}{}
			<-r.Context().Done() // as a query does, and then the handler returns
		},
		"the handler panics": func(w http.ResponseWriter, _ *http.Request) {
			begun <- struct{}{}
			w.WriteHeader(http.StatusOK)
			panic("broken")
		},
	} {
		t.Run(name, func(t *testing.T) {
			var first sync.Once
			again := status(http.StatusAccepted)
			var handler http.HandlerFunc = func(w http.ResponseWriter, r *http.Request) {
				h := again
				first.Do(func() { h = next })
				h(w, r)
			}
			onServers(t, handler, func(t *testing.T, s site) {
				first = sync.Once{}
				message := webhooktest.Message{ID: testID, Body: []byte(testBody)}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				go func() {
					<-begun
					if name == "the sender leaves" {
						cancel()
					}
				}()
				if got := s.send(ctx, t, message, nil); got != 0 {
					t.Errorf("status %d of a delivery without an answer", got)
				}
				if got := <-s.seen; got.Outcome != webhook.OutcomeFailed {
					t.Errorf("observed %+v", got)
				}
				if got := s.send(t.Context(), t, message, nil); got != http.StatusAccepted {
					t.Errorf("status %d of the retry", got)
				}
			})
		})
	}
}

func TestServersCapBodiesOfAnyFraming(t *testing.T) {
	onServers(t, status(http.StatusNoContent), func(t *testing.T, s site) {
		for _, tt := range []struct{ size, status int }{{0, 204}, {1000, 204}, {1001, 413}, {100_000, 413}} {
			for framing, wrap := range map[string]func(io.Reader) io.Reader{
				"length":  nil,
				"chunked": func(r io.Reader) io.Reader { return io.MultiReader(r) },
			} {
				m := webhooktest.Message{ID: webhook.NewID(), Body: []byte(strings.Repeat("b", tt.size))}
				if got := s.send(t.Context(), t, m, wrap); got != tt.status {
					t.Errorf("%s, %d bytes: status %d, want %d", framing, tt.size, got, tt.status)
				}
			}
		}
	})
}

// Who asks before sending a body is not told to go on when the headers are no
// good; who breaks off is no message.
func TestServerSeesWhatComesOverTheWire(t *testing.T) {
	const good = "webhook-id: " + testID + "\r\nWEBHOOK-timestamp: 1614265330\r\nWebhook-Signature: " + testSignature + "\r\n"
	for name, tt := range map[string]struct {
		request, answer string // of which the answer is the first line
		outcome         webhook.Outcome
	}{
		"headers in any case":        {good + "Content-Length: 20\r\n\r\n" + testBody, "HTTP/1.1 204 No Content", webhook.OutcomeAccepted},
		"expectation, good headers":  {good + "Expect: 100-continue\r\nContent-Length: 20\r\n\r\n" + testBody, "HTTP/1.1 100 Continue", webhook.OutcomeAccepted},
		"expectation, bad headers":   {"Webhook-Id: evil\r\n" + good + "Expect: 100-continue\r\nContent-Length: 20\r\n\r\n", "HTTP/1.1 401 Unauthorized", webhook.OutcomeRefused},
		"expectation, too large":     {good + "Expect: 100-continue\r\nContent-Length: 1001\r\n\r\n", "HTTP/1.1 413 Request Entity Too Large", webhook.OutcomeTooLarge},
		"two ids in two cases":       {"WEBHOOK-ID: evil\r\n" + good + "Content-Length: 20\r\n\r\n" + testBody, "HTTP/1.1 401 Unauthorized", webhook.OutcomeRefused},
		"an id that is folded":       {strings.Replace(good, testID, testID+"\r\n more", 1) + "Content-Length: 20\r\n\r\n" + testBody, "HTTP/1.1 401 Unauthorized", webhook.OutcomeRefused},
		"an id in the trailer":       {strings.Replace(good, "webhook-id", "x-id", 1) + "Transfer-Encoding: chunked\r\nTrailer: Webhook-Id\r\n\r\n14\r\n" + testBody + "\r\n0\r\nWebhook-Id: " + testID + "\r\n\r\n", "HTTP/1.1 401 Unauthorized", webhook.OutcomeRefused},
		"chunks that are none":       {good + "Transfer-Encoding: chunked\r\n\r\nzz\r\n" + testBody, "HTTP/1.1 400 Bad Request", webhook.OutcomeUnreadable},
		"a body that breaks off":     {good + "Content-Length: 20\r\n\r\n" + testBody[:10], "HTTP/1.1 400 Bad Request", webhook.OutcomeUnreadable},
		"a body longer than it says": {good + "Content-Length: 19\r\n\r\n" + testBody, "HTTP/1.1 401 Unauthorized", webhook.OutcomeRefused},
	} {
		t.Run(name, func(t *testing.T) {
			seen := make(chan webhook.Reception, 10)
			server := httptest.NewServer(must(verifierWithCap(t, 1000).Handler(status(http.StatusNoContent), &webhook.HandlerOptions{
				Observer: observerFunc(func(r webhook.Reception) { seen <- r }),
			}))(t))
			t.Cleanup(server.Close)
			conn, err := net.DialTimeout("tcp", server.Listener.Addr().String(), time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\n"+tt.request); err != nil {
				t.Fatal(err)
			}
			if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(conn).ReadString('\n')
			if got := strings.TrimSpace(line); got != tt.answer {
				t.Errorf("answer %q, %v; want %q", got, err, tt.answer)
			}
			if got := <-seen; got.Outcome != tt.outcome {
				t.Errorf("observed %+v", got)
			}
		})
	}
}
