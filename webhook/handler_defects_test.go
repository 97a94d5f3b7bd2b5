package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keytoll/keytoll/webhook"
	"github.com/keytoll/keytoll/webhook/webhooktest"
)

// Each test of this file is a defect that receivers of webhooks have or had.

// unsigned are the schemes that sign no id, with the header in which they carry
// one all the same.
func unsigned() map[string]webhook.Scheme {
	schemes := map[string]webhook.Scheme{}
	for _, s := range []webhook.Scheme{webhook.GitHub(), webhook.Shopify(), webhook.Slack(), webhook.Stripe(), webhook.Paddle(), webhook.Twilio()} {
		schemes[s.Name] = s
	}
	return schemes
}

func rawKey(t testing.TB, id string, scheme webhook.Scheme) webhook.Key {
	t.Helper()
	return webhook.Key{ID: id, Secret: must(webhook.SecretFromRaw(rawSecret))(t), Scheme: scheme}
}

// standardKey is one of Standard Webhooks.
func standardKey(t testing.TB, id, secret string) webhook.Key {
	t.Helper()
	return webhook.Key{ID: id, Secret: must(webhook.SecretFromString(secret))(t)}
}

// A wire is a receiver and its sender, with one clock for all.
type wire struct {
	*rig

	signer *webhook.Signer
}

func newWire(t *testing.T, next http.HandlerFunc, keys ...webhook.Key) *wire {
	t.Helper()
	set := must(webhook.NewKeys(keys...))(t)
	w := &wire{rig: &rig{clock: t0}, signer: must(webhook.NewSigner(set))(t)}
	now := func() time.Time { return w.clock }
	verifier := must(webhook.NewVerifier(set, &webhook.VerifierOptions{Now: now, MaxBody: 1000, BaseURL: "http://webhook.test"}))(t)
	w.handler = must(verifier.Handler(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.calls++
		next(rw, r)
	}), &webhook.HandlerOptions{
		Replay:   must(webhook.NewMemoryReplayStore(&webhook.MemoryReplayOptions{Now: now, EvictAfter: webhook.DefaultReplayKeep}))(t),
		Observer: &w.journal,
	}))(t)
	return w
}

// sign returns one attempt at a message, made now.
func (w *wire) sign(t *testing.T, id, body string) *http.Request {
	t.Helper()
	return webhooktest.NewRequest(t, w.signer, webhooktest.Message{
		ID: id, At: w.clock, Body: []byte(body), Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
	})
}

// deliver hands a copy of r to the handler.
func (w *wire) deliver(t *testing.T, r *http.Request, change func(http.Header)) *http.Response {
	t.Helper()
	again := r.Clone(t.Context())
	again.Body = must(r.GetBody())(t)
	if change != nil {
		change(again.Header)
	}
	out := httptest.NewRecorder()
	w.handler.ServeHTTP(out, again)
	return out.Result()
}

func (w *wire) want(t *testing.T, outcomes ...string) {
	t.Helper()
	if got := w.journal.outcomes(); !slices.Equal(got, outcomes) {
		t.Errorf("observed %q, want %q", got, outcomes)
		for _, r := range w.journal.list {
			if r.Err != nil {
				t.Log(r.Err)
			}
		}
	}
}

// GitHub's and Shopify's delivery ids are outside the MAC, and Slack, Stripe,
// Paddle and Twilio have none in what they sign: a captured request with a new id
// was handled again, for ever.
func TestReplayWithANewUnsignedIDIsNotHandledAgain(t *testing.T) {
	for name, scheme := range unsigned() {
		t.Run(name, func(t *testing.T) {
			var w *wire
			var first *http.Request
			w = newWire(t, func(http.ResponseWriter, *http.Request) {
				if w.calls > 1 {
					return
				}
				res := w.deliver(t, first, func(h http.Header) { h.Set("X-Github-Delivery", "other") })
				if res.StatusCode != http.StatusConflict || res.Header.Get("Retry-After") == "" {
					t.Errorf("while it is handled: status %d", res.StatusCode)
				}
			}, rawKey(t, "raw", scheme))
			first = w.sign(t, "msg_1", "a=1")
			w.deliver(t, first, nil)
			for _, id := range []string{"", "msg_2", strings.Repeat("x", 5000)} {
				w.deliver(t, first, func(h http.Header) {
					for _, header := range []string{"X-Github-Delivery", "X-Shopify-Webhook-Id", "I-Twilio-Idempotency-Token", "Webhook-Id", "X-Request-Id"} {
						h.Del(header)
						if id != "" {
							h.Set(header, id)
						}
					}
				})
			}
			w.deliver(t, w.sign(t, "msg_1", "a=2"), nil) // another message, whatever its id says
			w.want(t, "in_flight", "accepted", "duplicate", "duplicate", "duplicate", "accepted")
		})
	}
}

// The specification's advice to save ids for five minutes stops replays, and has
// every retry of a message handled again that was processed but not acknowledged:
// senders go on for 75 hours and 35 minutes.
func TestDedupOutlastsTheRetryHorizon(t *testing.T) {
	w := newWire(t, status(204), standardKey(t, "", testSecret))
	w.deliver(t, w.sign(t, testID, testBody), nil)
	want := []string{"accepted"}
	for _, wait := range []time.Duration{5*time.Minute + 5*time.Second, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour} {
		w.clock = w.clock.Add(wait)
		if res := w.deliver(t, w.sign(t, testID, testBody), nil); res.StatusCode != http.StatusOK {
			t.Errorf("the attempt at %v: status %d, and the sender goes on", w.clock.Sub(t0), res.StatusCode)
		}
		want = append(want, "duplicate")
	}
	w.want(t, want...)
}

// octokit and others verified, or handed on, what a parser had made of the body.
func TestRawBodyIsNotLost(t *testing.T) {
	for name, body := range map[string]string{
		"two bytes that are no text": "\xff\xfe",
		"zeros":                      "a\x00\x00b",
		"characters beyond ASCII":    `{"name":"Zoë 🚀 <&>"}`,
		"spaces and order":           "{ \"b\" : 1,\r\n\t\"a\" : 1.0 }\n",
		"a number beyond doubles":    `{"id":9007199254740993}`,
		"nothing":                    "",
	} {
		var got []byte
		w := newWire(t, func(_ http.ResponseWriter, r *http.Request) {
			got, _ = io.ReadAll(r.Body)
			if r.ContentLength != int64(len(body)) {
				t.Errorf("%s: the length is %d, want %d", name, r.ContentLength, len(body))
			}
		}, standardKey(t, "", testSecret), rawKey(t, "github", webhook.GitHub()))
		w.deliver(t, w.sign(t, testID, body), nil)
		w.want(t, "accepted")
		if string(got) != body {
			t.Errorf("%s: the handler reads %q, want %q", name, got, body)
		}
	}
}

// quackback, githubhook and activepieces read whatever came before they looked at
// a signature.
func TestUnboundedBodyIsNotReadBeforeVerify(t *testing.T) {
	endless := strings.Repeat("b", 1<<20)
	for name, tt := range map[string]struct {
		length  int64
		spoil   func(http.Header)
		most    int
		outcome string
	}{
		"a length over the cap":          {1 << 20, nil, 0, "too_large"},
		"no length":                      {-1, nil, 1001, "too_large"},
		"a length that is not true":      {10, nil, 1001, "too_large"},
		"no signature":                   {-1, func(h http.Header) { clear(h) }, 0, "refused"},
		"a signature that cannot be one": {-1, func(h http.Header) { h.Set("Webhook-Signature", "v1,x"); h.Del("X-Hub-Signature-256") }, 0, "refused"},
		"an old timestamp":               {-1, func(h http.Header) { h.Set("Webhook-Timestamp", "1614000000"); h.Del("X-Hub-Signature-256") }, 0, "refused"},
	} {
		w := newWire(t, status(204), standardKey(t, "", testSecret), rawKey(t, "github", webhook.GitHub()))
		r := w.sign(t, testID, endless)
		p := &probe{Reader: strings.NewReader(endless)}
		r.Body, r.ContentLength = p, tt.length
		if tt.spoil != nil {
			tt.spoil(r.Header)
		}
		w.handler.ServeHTTP(httptest.NewRecorder(), r)
		if p.read > tt.most || w.calls != 0 {
			t.Errorf("%s: %d bytes were read, want %d at most", name, p.read, tt.most)
		}
		w.want(t, tt.outcome)
	}
}

// hatchet told the caller what was wrong with a signature: whoever forges reads
// the same in every case, and the host reads why.
func TestErrorDetailIsNotLeaked(t *testing.T) {
	bodies, reasons := map[string]bool{}, map[string]bool{}
	for name, scheme := range unsigned() {
		for _, spoil := range []func(http.Header){
			func(h http.Header) { clear(h) },
			func(h http.Header) { h.Set(scheme.SignatureHeader, "x") },
			func(h http.Header) { h.Add(scheme.SignatureHeader, h.Get(scheme.SignatureHeader)) },
		} {
			w := newWire(t, status(204), rawKey(t, "raw", scheme))
			r := w.sign(t, testID, "a=1")
			spoil(r.Header)
			out := httptest.NewRecorder()
			out.Header().Set("X-Request-Id", "req")
			w.handler.ServeHTTP(out, r)
			w.want(t, "refused")
			bodies[fmt.Sprint(out.Code, out.Header(), out.Body)] = true
			reason := w.journal.list[0].Err.Error()
			reasons[reason] = true
			if !strings.Contains(reason, http.CanonicalHeaderKey(scheme.SignatureHeader)) || strings.Contains(reason, rawSecret) {
				t.Errorf("%s: the host reads %q", name, reason)
			}
		}
	}
	if len(bodies) != 1 || len(reasons) < 6 {
		t.Errorf("callers read %q, hosts %q", slices.Collect(maps.Keys(bodies)), slices.Collect(maps.Keys(reasons)))
	}
}

// go-github took an unsigned message when it had no secret, and four libraries
// signed with an empty one. A handler cannot be made without a key, and one whose
// keys have ended refuses.
func TestHandlerWithoutALiveKeyRefuses(t *testing.T) {
	for _, err := range []error{
		second(webhook.NewVerifier(webhook.Keys{}, nil)),
		second(new(webhook.Verifier).Handler(status(204), nil)),
		second(webhook.SecretFromRaw("")),
		second(webhook.NewKeys(webhook.Key{Scheme: webhook.GitHub()})),
	} {
		if err == nil {
			t.Error("something was made without a secret")
		}
	}
	key := rawKey(t, "", webhook.GitHub())
	key.NotAfter = t0.Add(time.Second)
	w := newWire(t, status(204), key)
	r := w.sign(t, testID, testBody)
	w.clock = w.clock.Add(time.Second)
	w.deliver(t, r, nil)
	w.deliver(t, r, func(h http.Header) { clear(h) })
	w.want(t, "refused", "refused")
	if !errors.Is(w.journal.list[0].Err, webhook.ErrKeyExpired) {
		t.Errorf("the host reads %v", w.journal.list[0].Err)
	}
}

// Outpost had to sign twice to change its scheme without breaking receivers. A
// receiver with keys of both takes either, and names which.
func TestSchemeIsChangedWithoutBreakingReceivers(t *testing.T) {
	next, last := standardKey(t, "next", testSecret), rawKey(t, "last", webhook.Slack())
	w := newWire(t, status(204), next, last)
	for i, keys := range [][]webhook.Key{{last}, {next, last}, {next}} {
		w.signer = must(webhook.NewSigner(must(webhook.NewKeys(keys...))(t)))(t)
		w.deliver(t, w.sign(t, fmt.Sprintf("msg_%d", i), fmt.Sprintf("n=%d", i)), nil)
	}
	w.want(t, "accepted", "accepted", "accepted")
	for i, want := range []string{"last slack", "next standard", "next standard"} {
		if v := w.journal.list[i].Verified; v.KeyID+" "+v.Scheme != want {
			t.Errorf("message %d was proven by %q, want %q", i, v.KeyID+" "+v.Scheme, want)
		}
	}
}

// While a sender signs under two schemes, whoever captured a message can take
// the signatures of one away: what is left is right, and is no other message.
func TestStrippingOneOfTwoSchemesIsNoReplay(t *testing.T) {
	whole := func(http.Header) {}
	noStripe := func(h http.Header) { h.Del("Stripe-Signature") }
	noStandard := func(h http.Header) {
		for _, name := range []string{"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"} {
			h.Del(name)
		}
	}
	begin := func(t *testing.T, next http.HandlerFunc) (*wire, *http.Request) {
		t.Helper()
		w := newWire(t, next, standardKey(t, "standard", testSecret), rawKey(t, "stripe", webhook.Stripe()))
		return w, w.sign(t, testID, testBody)
	}
	for name, order := range map[string][]func(http.Header){
		"the whole first":    {whole, noStripe, noStandard, whole},
		"the stripped first": {noStandard, whole, noStripe, noStandard},
		"the other first":    {noStripe, whole, noStandard, noStripe},
	} {
		w, r := begin(t, status(204))
		for _, strip := range order {
			w.deliver(t, r, strip)
		}
		if w.calls != 1 {
			t.Errorf("%s: handled %d times", name, w.calls)
		}
		w.want(t, "accepted", "duplicate", "duplicate", "duplicate")
		// A retry of what was handled is known by its id, and then by all names.
		w.clock = w.clock.Add(time.Minute)
		retry := w.sign(t, testID, testBody)
		w.deliver(t, retry, whole)
		w.deliver(t, retry, noStandard)
		w.want(t, "accepted", "duplicate", "duplicate", "duplicate", "duplicate", "duplicate")
	}

	failing := true
	w, r := begin(t, func(rw http.ResponseWriter, _ *http.Request) {
		if failing {
			rw.WriteHeader(500)
		}
	})
	w.deliver(t, r, whole)
	failing = false
	w.deliver(t, r, noStandard) // neither name is left claimed
	w.want(t, "failed", "accepted")

	var busy *wire
	busy, r = begin(t, func(rw http.ResponseWriter, _ *http.Request) {
		if busy.calls > 1 {
			return
		}
		busy.deliver(t, r, whole)
		busy.deliver(t, r, noStandard)
		rw.WriteHeader(500)
	})
	busy.deliver(t, r, noStandard)
	busy.deliver(t, r, noStripe) // its id is not left claimed by the one that was turned away
	busy.want(t, "in_flight", "in_flight", "failed", "accepted")
}

// A signature may be written in the way of another scheme that hashes the same text
// with the same secret, as when a header gets a new name.
func TestASignatureRewrittenForAnotherSchemeIsNoReplay(t *testing.T) {
	raw := rawKey(t, "github", webhook.GitHub())
	shopify := raw
	shopify.ID, shopify.Scheme = "shopify", webhook.Shopify()
	w := newWire(t, status(204), raw, shopify)
	only := func(name string) func(http.Header) {
		return func(h http.Header) {
			for _, other := range []string{"X-Hub-Signature-256", "X-Shopify-Hmac-Sha256"} {
				if other != name {
					h.Del(other)
				}
			}
		}
	}
	r := w.sign(t, testID, testBody)
	w.deliver(t, r, only("X-Hub-Signature-256"))
	w.deliver(t, r, only("X-Shopify-Hmac-Sha256"))
	w.deliver(t, r, nil)
	w.want(t, "accepted", "duplicate", "duplicate")
}

// resend-laravel kept the id to itself, so that handlers had nothing stable to
// tell attempts by.
func TestStableIDIsExposedToTheHandler(t *testing.T) {
	var seen []string
	w := newWire(t, func(rw http.ResponseWriter, r *http.Request) {
		got, _ := webhook.FromContext(r.Context())
		seen = append(seen, got.ID+" "+got.Timestamp.Format(time.TimeOnly))
		rw.WriteHeader(500)
	}, standardKey(t, "", testSecret))
	w.deliver(t, w.sign(t, testID, testBody), nil)
	w.clock = w.clock.Add(time.Hour)
	w.deliver(t, w.sign(t, testID, testBody), nil)
	if want := []string{testID + " 15:02:10", testID + " 16:02:10"}; !slices.Equal(seen, want) {
		t.Errorf("the handler saw %q, want %q", seen, want)
	}
}

// Where a key is replaced, receivers took one secret and refused the other: both
// pass, and the observer learns when the old one is no longer used.
func TestRotationOnTheReceivingSideNamesTheKey(t *testing.T) {
	last, next := standardKey(t, "last", testSecret), standardKey(t, "next", otherSecret)
	w := newWire(t, status(204), next, last)
	for i, key := range []webhook.Key{last, next} {
		w.signer = must(webhook.NewSigner(must(webhook.NewKeys(key))(t)))(t)
		w.deliver(t, w.sign(t, fmt.Sprintf("msg_%d", i), testBody), nil)
		if got := w.journal.list[i]; got.Outcome != webhook.OutcomeAccepted || got.Verified.KeyID != key.ID {
			t.Errorf("observed %+v, want that %s matched", got, key.ID)
		}
	}
}

// A replay store that hangs must neither let messages through nor pile up
// requests.
func TestStoreThatHangsFailsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &hanging{}
		r := newRig(t, status(200), webhook.HandlerOptions{Replay: store})
		begin := time.Now()
		res := r.post(t, testID)
		if took := time.Since(begin); res.StatusCode != http.StatusServiceUnavailable || r.calls != 0 || took > time.Minute {
			t.Errorf("status %d after %v, %d calls", res.StatusCode, took, r.calls)
		}
		if got := r.journal.list[0]; got.Outcome != webhook.OutcomeUnavailable || !errors.Is(got.Err, context.DeadlineExceeded) {
			t.Errorf("observed %+v", got)
		}
		store.claim = webhook.ClaimGranted
		begin = time.Now()
		res = r.post(t, testID)
		if took := time.Since(begin); res.StatusCode != http.StatusOK || r.calls != 1 || took > time.Minute {
			t.Errorf("status %d after %v, %d calls", res.StatusCode, took, r.calls)
		}
		if got := r.journal.list[1]; got.Outcome != webhook.OutcomeAccepted || !errors.Is(got.Err, context.DeadlineExceeded) {
			t.Errorf("observed %+v", got)
		}
	})
}

// A hanging store answers nothing but claims, and those only when it is told to.
type hanging struct{ claim webhook.ClaimState }

func (h *hanging) Claim(ctx context.Context, _, _ string, _ time.Duration) (webhook.ClaimState, error) {
	if h.claim != 0 {
		return h.claim, nil
	}
	<-ctx.Done()
	return 0, ctx.Err()
}

func (*hanging) Done(ctx context.Context, _ string, _ time.Duration) error {
	<-ctx.Done()
	return ctx.Err()
}

func (*hanging) Release(ctx context.Context, _, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

// A store that forgets before Keep is over is no guard where nothing but it
// tells a replay.
func TestMemoryThatForgetsIsRefusedWithoutTimestamps(t *testing.T) {
	for _, tt := range []struct {
		scheme webhook.Scheme
		evict  time.Duration
		want   string
	}{
		{webhook.GitHub(), 0, "scheme github signs no timestamp"},
		{webhook.Shopify(), 0, "scheme shopify signs no timestamp"},
		{webhook.Twilio(), webhook.DefaultReplayKeep - 1, "scheme twilio signs no timestamp"},
		{webhook.GitHub(), webhook.DefaultReplayKeep, ""},
		{webhook.Stripe(), 0, ""},
		{webhook.Slack(), 0, ""},
		{webhook.HTTPSignatures(), 0, ""},
	} {
		verifier := must(webhook.NewVerifier(must(webhook.NewKeys(rawKey(t, "", tt.scheme)))(t), &webhook.VerifierOptions{BaseURL: "https://x.test"}))(t)
		store := must(webhook.NewMemoryReplayStore(&webhook.MemoryReplayOptions{EvictAfter: tt.evict}))(t)
		_, err := verifier.Handler(status(204), &webhook.HandlerOptions{Replay: store})
		if (err != nil) != (tt.want != "") || !strings.Contains(fmt.Sprint(err), tt.want) {
			t.Errorf("%s, %v: %v; want %q", tt.scheme.Name, tt.evict, err, tt.want)
		}
	}
}

// Two schemes that sign the same id are one key for the store.
func TestAMessageWithOneIDUnderTwoSchemesIsClaimedOnce(t *testing.T) {
	brand := standardKey(t, "brand", otherSecret)
	brand.Scheme = webhook.Standard("svix-")
	set := must(webhook.NewKeys(standardKey(t, "", testSecret), brand))(t)
	store := &faulty{state: webhook.ClaimGranted}
	handler := must(must(webhook.NewVerifier(set, &webhook.VerifierOptions{Now: clockAt(testTime)}))(t).Handler(status(204), &webhook.HandlerOptions{Replay: store}))(t)
	handler.ServeHTTP(httptest.NewRecorder(), webhooktest.NewRequest(t, must(webhook.NewSigner(set))(t), webhooktest.Message{ID: testID, At: t0}))
	if want := []string{"claim " + testID, "done " + testID}; !slices.Equal(store.keys, want) {
		t.Errorf("calls %q, want %q", store.keys, want)
	}
}
