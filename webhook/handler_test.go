package webhook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	kterrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/webhook"
	"github.com/keytoll/keytoll/webhook/webhooktest"
)

// A journal is an Observer that keeps what it is told.
type journal struct {
	mu   sync.Mutex
	list []webhook.Reception
}

func (j *journal) WebhookReceived(_ context.Context, r webhook.Reception) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.list = append(j.list, r)
}

func (j *journal) outcomes() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var list []string
	for _, r := range j.list {
		list = append(list, r.Outcome.String())
	}
	return list
}

// A rig is a handler with all its parts, and a clock for its replay store.
type rig struct {
	handler http.Handler
	journal journal
	calls   int
	clock   time.Time
}

func newRig(t *testing.T, next http.HandlerFunc, opts webhook.HandlerOptions) *rig {
	t.Helper()
	r := &rig{clock: t0}
	if opts.Replay == nil {
		opts.Replay = must(webhook.NewMemoryReplayStore(&webhook.MemoryReplayOptions{Now: func() time.Time { return r.clock }}))(t)
	}
	opts.Observer = &r.journal
	r.handler = must(verifierWithCap(t, 1000).Handler(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.calls++
		next(w, req)
	}), &opts))(t)
	return r
}

// post sends the message with the given id and returns the answer.
func (r *rig) post(t *testing.T, id string) *http.Response {
	t.Helper()
	w := httptest.NewRecorder()
	r.handler.ServeHTTP(w, webhooktest.NewRequest(t, newSigner(t, testSecret), webhooktest.Message{ID: id, At: t0, Body: []byte(testBody)}))
	return w.Result()
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func TestHandlerRefusesToExist(t *testing.T) {
	verifier := newVerifier(t, testSecret)
	for name, err := range map[string]error{
		"without a key":      second(new(webhook.Verifier).Handler(status(200), nil)),
		"without a verifier": second((*webhook.Verifier)(nil).Handler(status(200), nil)),
	} {
		if !errors.Is(err, webhook.ErrNoKeys) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := verifier.Handler(nil, &webhook.HandlerOptions{Source: "a b", Keep: 10*time.Minute - time.Millisecond, Lease: -1})
	wantFaults(t, err, "next is nil", `source "a b"`, "keep is 9m59.999s", "lease is -1ns")
	_, err = verifier.Handler(status(200), &webhook.HandlerOptions{Keep: time.Hour + 1, Lease: time.Hour + 1})
	wantFaults(t, err, "keep is 1h0m0.000000001s", "lease is 1h0m0.000000001s")
	precise := must(webhook.NewVerifier(keysOf(t, testSecret), &webhook.VerifierOptions{Tolerance: time.Hour + 1}))(t)
	_, err = precise.Handler(status(200), &webhook.HandlerOptions{Keep: 2 * time.Hour})
	wantFaults(t, err, "keep is 2h0m0s", "which is 2h0m0.001s")
	forgetful := must(webhook.NewMemoryReplayStore(&webhook.MemoryReplayOptions{EvictAfter: 9 * time.Minute}))(t)
	_, err = verifier.Handler(status(200), &webhook.HandlerOptions{Replay: forgetful})
	wantFaults(t, err, "a full memory store forgets after 9m0s", "which is 10m0s")
}

func TestHandlerPassesProofAndBodyOn(t *testing.T) {
	r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
		got, ok := webhook.FromContext(req.Context())
		body, err := io.ReadAll(req.Body)
		if !ok || got.ID != testID || !got.Timestamp.Equal(t0) || got.KeyID == "" || err != nil || string(body) != testBody {
			t.Errorf("the handler sees %+v, %v and %q, %v", got, ok, body, err)
		}
		w.WriteHeader(http.StatusAccepted)
	}, webhook.HandlerOptions{})
	if res := r.post(t, testID); res.StatusCode != http.StatusAccepted || r.calls != 1 {
		t.Errorf("status %d after %d calls", res.StatusCode, r.calls)
	}
	if _, ok := webhook.FromContext(t.Context()); ok {
		t.Error("a proof out of nowhere")
	}
}

// Whatever is wrong, the sender learns the same.
func TestHandlerAnswersDenialsAlike(t *testing.T) {
	r := newRig(t, func(http.ResponseWriter, *http.Request) {}, webhook.HandlerOptions{})
	first := ""
	for name, spoil := range map[string]func(*http.Request){
		"no headers":    func(r *http.Request) { r.Header = http.Header{} },
		"malformed":     func(r *http.Request) { r.Header.Set("webhook-signature", "v1,junk") },
		"old":           func(r *http.Request) { r.Header.Set("webhook-timestamp", "1614000000") },
		"from tomorrow": func(r *http.Request) { r.Header.Set("webhook-timestamp", "1615000000") },
		"other body":    func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("{}")) },
		"other id":      func(r *http.Request) { r.Header.Set("webhook-id", "msg_other") },
	} {
		req := signedRequest(t, testBody)
		spoil(req)
		w := httptest.NewRecorder()
		w.Header().Set("X-Request-Id", "req_1")
		r.handler.ServeHTTP(w, req)
		if w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") == "" || w.Header().Get("Content-Type") != "application/problem+json" || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: status %d, headers %v", name, w.Code, w.Header())
		}
		if first == "" {
			first = w.Body.String()
		}
		if w.Body.String() != first {
			t.Errorf("%s: %s differs from %s", name, w.Body, first)
		}
	}
	var problem struct {
		Title, Code, Detail string
		Status              int
		RequestID           string `json:"request_id"`
	}
	if err := json.Unmarshal([]byte(first), &problem); err != nil || problem.Status != 401 || problem.Code != "unauthenticated" || problem.RequestID != "req_1" {
		t.Errorf("problem %s: %v", first, err)
	}
	if r.calls != 0 {
		t.Errorf("the handler was called %d times", r.calls)
	}
	for _, got := range r.journal.list {
		if got.Outcome != webhook.OutcomeRefused || got.Status != 401 || kterrors.CodeOf(got.Err) != kterrors.Unauthenticated || got.Verified != (webhook.Verified{}) {
			t.Errorf("observed %+v", got)
		}
	}
}

func TestHandlerMakesARequestIDIfThereIsNone(t *testing.T) {
	r := newRig(t, status(200), webhook.HandlerOptions{})
	w := httptest.NewRecorder()
	r.handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil))
	if id := w.Header().Get("X-Request-Id"); len(id) < 20 || !strings.Contains(w.Body.String(), id) {
		t.Errorf("request id %q, body %s", id, w.Body)
	}
}

func TestHandlerAnswersBodiesItCannotTake(t *testing.T) {
	r := newRig(t, status(200), webhook.HandlerOptions{})
	w := httptest.NewRecorder()
	r.handler.ServeHTTP(w, signedRequest(t, strings.Repeat("b", 1001)))
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("over the cap: status %d", w.Code)
	}
	req := signedRequest(t, testBody)
	req.Body = io.NopCloser(brokenReader{})
	w = httptest.NewRecorder()
	r.handler.ServeHTTP(w, req)
	if w.Code != http.StatusBadRequest {
		t.Errorf("broken off: status %d", w.Code)
	}
	if got := r.journal.outcomes(); !slices.Equal(got, []string{"too_large", "unreadable"}) || r.calls != 0 {
		t.Errorf("observed %q", got)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("broken") }

func TestAHandledMessageIsNotHandledAgain(t *testing.T) {
	for name, next := range map[string]http.HandlerFunc{
		"says 200":     status(200),
		"says 204":     status(204),
		"says nothing": func(http.ResponseWriter, *http.Request) {},
		"writes":       func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok"); w.WriteHeader(500) },
		"flushes": func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush()
			w.WriteHeader(500)
		},
		"says 103 first": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); w.WriteHeader(202) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, next, webhook.HandlerOptions{})
			if res := r.post(t, testID); res.StatusCode/100 != 2 && res.StatusCode != 103 {
				t.Fatalf("status %d", res.StatusCode)
			}
			res := r.post(t, testID)
			body, _ := io.ReadAll(res.Body)
			if res.StatusCode != http.StatusOK || len(body) != 0 || r.calls != 1 {
				t.Errorf("the second time: status %d, body %q, %d calls", res.StatusCode, body, r.calls)
			}
			r.post(t, "msg_another")
			if got := r.journal.outcomes(); !slices.Equal(got, []string{"accepted", "duplicate", "accepted"}) {
				t.Errorf("observed %q", got)
			}
		})
	}
}

func TestAMessageIsRememberedForKeep(t *testing.T) {
	r := newRig(t, status(200), webhook.HandlerOptions{Keep: time.Hour})
	r.post(t, testID)
	r.clock = r.clock.Add(time.Hour - time.Millisecond)
	r.post(t, testID)
	r.clock = r.clock.Add(time.Millisecond)
	r.post(t, testID)
	if got := r.journal.outcomes(); !slices.Equal(got, []string{"accepted", "duplicate", "accepted"}) {
		t.Errorf("observed %q", got)
	}
}

func TestAFailedMessageIsHandledAgain(t *testing.T) {
	for _, code := range []int{101, 301, 400, 409, 410, 429, 500, 503} {
		failing := true
		r := newRig(t, func(w http.ResponseWriter, _ *http.Request) {
			if failing {
				w.WriteHeader(code)
			}
		}, webhook.HandlerOptions{})
		if res := r.post(t, testID); res.StatusCode != code {
			t.Errorf("status %d, want %d", res.StatusCode, code)
		}
		failing = false
		r.post(t, testID)
		if got := r.journal.outcomes(); !slices.Equal(got, []string{"failed", "accepted"}) || r.calls != 2 {
			t.Errorf("%d: observed %q", code, got)
		}
	}
}

func TestAMessageWhoseHandlerPanicsIsHandledAgain(t *testing.T) {
	panicking := true
	r := newRig(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(200) // not yet sent: the connection is cut instead
		if panicking {
			panic(http.ErrAbortHandler)
		}
	}, webhook.HandlerOptions{})
	func() {
		defer func() {
			if got, ok := recover().(error); !ok || !errors.Is(got, http.ErrAbortHandler) {
				t.Error("the panic did not go on")
			}
		}()
		r.post(t, testID)
	}()
	panicking = false
	r.post(t, testID)
	if got := r.journal.outcomes(); !slices.Equal(got, []string{"failed", "accepted"}) {
		t.Errorf("observed %q", got)
	}
}

func TestAMessageInFlightIsTurnedAway(t *testing.T) {
	var r *rig
	r = newRig(t, func(w http.ResponseWriter, _ *http.Request) {
		if r.calls > 1 {
			return
		}
		res := r.post(t, testID) // while this one is being handled
		if res.StatusCode != http.StatusConflict || res.Header.Get("Retry-After") != "5" {
			t.Errorf("in flight: status %d, headers %v", res.StatusCode, res.Header)
		}
		r.clock = r.clock.Add(webhook.DefaultReplayLease) // as if this process had died
		if res := r.post(t, testID); res.StatusCode != http.StatusOK || r.calls != 2 {
			t.Errorf("after the lease: status %d, %d calls", res.StatusCode, r.calls)
		}
		w.WriteHeader(500) // too late: the other has handled it
	}, webhook.HandlerOptions{})
	r.post(t, testID)
	r.post(t, testID)
	if got := r.journal.outcomes(); !slices.Equal(got, []string{"in_flight", "accepted", "failed", "duplicate"}) {
		t.Errorf("observed %q", got)
	}
}

func TestConcurrentDuplicatesAreHandledOnce(t *testing.T) {
	var mu sync.Mutex
	calls := 0
	handler := must(newVerifier(t, testSecret).Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		calls++
	}), &webhook.HandlerOptions{Replay: must(webhook.NewMemoryReplayStore(nil))(t)}))(t)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, signedRequest(t, testBody))
			if w.Code != http.StatusOK && w.Code != http.StatusConflict {
				t.Errorf("status %d", w.Code)
			}
		})
	}
	wg.Wait()
	if calls != 1 {
		t.Errorf("handled %d times", calls)
	}
}

func TestSourcesKeepTheirMessagesApart(t *testing.T) {
	store := must(webhook.NewMemoryReplayStore(nil))(t)
	for _, source := range []string{"", "billing", "mail", "mail.eu"} {
		r := newRig(t, status(200), webhook.HandlerOptions{Replay: store, Source: source})
		r.post(t, testID)
		r.post(t, testID)
		if got := r.journal.outcomes(); !slices.Equal(got, []string{"accepted", "duplicate"}) {
			t.Errorf("source %q: observed %q", source, got)
		}
	}
}

// A faulty store fails where it is told to.
type faulty struct {
	webhook.ReplayStore

	claim, done, release error
	state                webhook.ClaimState
	keys                 []string
	live                 []error // of the contexts of Done and Release
}

func (f *faulty) Claim(_ context.Context, key, owner string, lease time.Duration) (webhook.ClaimState, error) {
	f.keys = append(f.keys, "claim "+key)
	if owner == "" || lease <= 0 {
		f.keys = append(f.keys, "broken promise")
	}
	return f.state, f.claim
}

func (f *faulty) Done(ctx context.Context, key string, _ time.Duration) error {
	f.keys, f.live = append(f.keys, "done "+key), append(f.live, ctx.Err())
	return f.done
}

func (f *faulty) Release(ctx context.Context, key, _ string) error {
	f.keys, f.live = append(f.keys, "release "+key), append(f.live, ctx.Err())
	return f.release
}

// A promised store checks what the handler promises to every store.
type promised struct {
	webhook.ReplayStore

	t      *testing.T
	owners map[string]bool
	lease  time.Duration // the least that is right for the tolerance
}

func (p *promised) Claim(ctx context.Context, key, owner string, lease time.Duration) (webhook.ClaimState, error) {
	p.check("key", key, 512)
	p.check("owner", owner, 64)
	p.length("lease", lease)
	if lease < p.lease || lease > p.lease+time.Millisecond {
		p.t.Errorf("lease of %v, want %v", lease, p.lease)
	}
	if p.owners[owner] {
		p.t.Errorf("owner %q is not new", owner)
	}
	p.owners[owner] = true
	return p.ReplayStore.Claim(ctx, key, owner, lease)
}

func (p *promised) Done(ctx context.Context, key string, keep time.Duration) error {
	p.check("key", key, 512)
	p.length("time to keep", keep)
	return p.ReplayStore.Done(ctx, key, keep)
}

func (p *promised) check(what, s string, limit int) {
	if s == "" || len(s) > limit || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		p.t.Errorf("%s %q of %d bytes", what, s, len(s))
	}
}

func (p *promised) length(what string, d time.Duration) {
	if d < time.Millisecond || d%time.Millisecond != 0 {
		p.t.Errorf("%s of %v", what, d)
	}
}

func TestTheHandlerKeepsItsPromisesToTheStore(t *testing.T) {
	for _, tolerance := range []time.Duration{0, time.Second, time.Hour + 1, webhook.MaxTolerance} {
		verifier := must(webhook.NewVerifier(keysOf(t, testSecret), &webhook.VerifierOptions{Tolerance: tolerance, Now: clockAt(testTime)}))(t)
		store := &promised{must(webhook.NewMemoryReplayStore(&webhook.MemoryReplayOptions{EvictAfter: 2 * webhook.MaxTolerance}))(t), t, map[string]bool{}, max(webhook.DefaultReplayLease, 2*tolerance)}
		handler := must(verifier.Handler(status(200), &webhook.HandlerOptions{Replay: store, Source: strings.Repeat("s", 64)}))(t)
		for _, id := range []string{"m", strings.Repeat("m", 256), "m"} {
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, webhooktest.NewRequest(t, newSigner(t, testSecret), webhooktest.Message{ID: id, At: t0}))
			if w.Code != 200 {
				t.Errorf("status %d", w.Code)
			}
		}
	}
}

func TestAStoreThatCannotDecideFailsClosed(t *testing.T) {
	broken := errors.New("store down")
	for name, store := range map[string]*faulty{
		"an error":             {claim: broken},
		"an error and a state": {claim: broken, state: webhook.ClaimGranted},
		"an error, yet done":   {claim: broken, state: webhook.ClaimDone},
		"no state":             {},
		"an unknown state":     {state: 99},
	} {
		r := newRig(t, status(200), webhook.HandlerOptions{Replay: store})
		if res := r.post(t, testID); res.StatusCode != http.StatusServiceUnavailable || r.calls != 0 {
			t.Errorf("%s: status %d, %d calls", name, res.StatusCode, r.calls)
		}
		got := r.journal.list[0]
		if got.Outcome != webhook.OutcomeUnavailable || got.Err == nil || got.Verified.ID != testID {
			t.Errorf("%s: observed %+v", name, got)
		}
		want := []string{"claim " + testID}
		if store.claim != nil {
			want = append(want, "release "+testID) // perhaps only the answer was lost
		}
		if !slices.Equal(store.keys, want) {
			t.Errorf("%s: calls %q, want %q", name, store.keys, want)
		}
	}
}

func TestAStoreThatFailsAfterwardsIsReported(t *testing.T) {
	broken := errors.New("store down")
	store := &faulty{state: webhook.ClaimGranted, done: broken}
	r := newRig(t, status(200), webhook.HandlerOptions{Replay: store, Source: "s"})
	if res := r.post(t, testID); res.StatusCode != 200 {
		t.Errorf("status %d: the message was handled, whatever the store says", res.StatusCode)
	}
	if got := r.journal.list[0]; got.Outcome != webhook.OutcomeAccepted || !errors.Is(got.Err, broken) {
		t.Errorf("observed %+v", got)
	}
	if !slices.Equal(store.keys, []string{"claim s." + testID, "done s." + testID}) {
		t.Errorf("calls %q", store.keys)
	}
}

// A handler that finds its sender gone often returns without a word. That must
// not count as handled: the sender will try again.
func TestSettlingOutlivesTheSender(t *testing.T) {
	for name, tt := range map[string]struct {
		next    http.HandlerFunc
		outcome webhook.Outcome
		status  int
		call    string
	}{
		"answered 204":     {status(204), webhook.OutcomeAccepted, 204, "done "},
		"wrote":            {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }, webhook.OutcomeAccepted, 200, "done "},
		"answered 500":     {status(500), webhook.OutcomeFailed, 500, "release "},
		"answered nothing": {func(http.ResponseWriter, *http.Request) {}, webhook.OutcomeFailed, 0, "release "},
	} {
		store := &faulty{state: webhook.ClaimGranted}
		ctx, cancel := context.WithCancel(t.Context())
		r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
			cancel()
			tt.next(w, req)
		}, webhook.HandlerOptions{Replay: store})
		r.handler.ServeHTTP(httptest.NewRecorder(), signedRequest(t, testBody).WithContext(ctx))
		if got := r.journal.list[0]; got.Outcome != tt.outcome || got.Status != tt.status {
			t.Errorf("%s: observed %+v", name, got)
		}
		if want := []string{"claim " + testID, tt.call + testID}; !slices.Equal(store.keys, want) {
			t.Errorf("%s: calls %q, want %q", name, store.keys, want)
		}
		if !slices.Equal(store.live, []error{nil}) {
			t.Errorf("%s: settled with a context that is over: %v", name, store.live)
		}
	}
}

func TestSlogObserverTellsOperatorsWhatTheSenderIsNotTold(t *testing.T) {
	var out bytes.Buffer
	handler := must(newVerifier(t, testSecret).Handler(status(200), &webhook.HandlerOptions{
		Observer: webhook.NewSlogObserver(slog.New(slog.NewTextHandler(&out, nil))),
		Replay:   &faulty{state: webhook.ClaimGranted, done: errors.New("store down")},
	}))(t)
	handler.ServeHTTP(httptest.NewRecorder(), signedRequest(t, testBody))
	bad := signedRequest(t, testBody)
	bad.Header.Set("webhook-signature", "v1,junk")
	handler.ServeHTTP(httptest.NewRecorder(), bad)
	for _, want := range []string{"level=ERROR", "outcome=accepted", "id=" + testID, "timestamp=2021-02-25T15:02:10.000Z", "scheme=standard", "key=key_", "store down", "level=WARN", "outcome=refused", "44 characters of padded standard base64"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	if webhook.Outcome(0).String() != "unknown" || webhook.Outcome(200).String() != "unknown" || webhook.ClaimState(0).String() != "none" {
		t.Error("zero values have to name themselves")
	}
	for outcome, want := range map[webhook.Outcome][2]slog.Level{ // without and with an error
		webhook.OutcomeAccepted: {slog.LevelInfo, slog.LevelError}, webhook.OutcomeFailed: {slog.LevelWarn, slog.LevelError},
		webhook.OutcomeRefused: {slog.LevelWarn, slog.LevelWarn}, webhook.OutcomeTooLarge: {slog.LevelWarn, slog.LevelWarn},
		webhook.OutcomeUnreadable: {slog.LevelWarn, slog.LevelWarn}, webhook.OutcomeDuplicate: {slog.LevelInfo, slog.LevelError},
		webhook.OutcomeInFlight: {slog.LevelWarn, slog.LevelError}, webhook.OutcomeUnavailable: {slog.LevelError, slog.LevelError},
	} {
		for i, err := range []error{nil, errors.New("store down")} {
			out.Reset()
			webhook.NewSlogObserver(slog.New(slog.NewTextHandler(&out, nil))).WebhookReceived(t.Context(), webhook.Reception{Outcome: outcome, Err: err})
			if !strings.Contains(out.String(), "level="+want[i].String()+" ") {
				t.Errorf("%v with error %v: want level %v in %s", outcome, err, want[i], &out)
			}
		}
	}
	webhook.NewSlogObserver(nil).WebhookReceived(t.Context(), webhook.Reception{}) // discards
}
