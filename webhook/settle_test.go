package webhook_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

// noon is when tests of senders begin.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// newSender returns a sender of the options on a store in memory. Its clock and
// its luck are fixed unless o says otherwise.
func newSender(tb testing.TB, o webhook.SenderOptions) *webhook.Sender {
	tb.Helper()
	return must(webhook.NewSender(webhook.NewMemoryStore(nil), []webhook.SealingKey{webhook.GenerateSealingKey(1)}, fixed(o)))(tb)
}

func fixed(o webhook.SenderOptions) *webhook.SenderOptions {
	if o.Now == nil {
		o.Now = func() time.Time { return noon }
	}
	if o.Random == nil {
		o.Random = func() uint64 { return 1 }
	}
	return &o
}

// A bench is one delivery to one endpoint, on which attempts are decided.
type bench struct {
	tb       testing.TB
	sender   *webhook.Sender
	now      time.Time
	endpoint *webhook.Endpoint
	delivery webhook.Delivery
	url      string // that attempts were made to
}

func newBench(tb testing.TB, o webhook.SenderOptions) *bench {
	tb.Helper()
	b := &bench{
		tb: tb, sender: newSender(tb, o), now: noon,
		endpoint: &webhook.Endpoint{ID: "ep_1", Account: "acme", State: webhook.EndpointActive, Settings: webhook.Settings{URL: "https://example.com"}},
		url:      "https://example.com",
	}
	b.renew()
	return b
}

// renew puts a message in place that was never attempted.
func (b *bench) renew() {
	b.delivery = webhook.Delivery{
		Endpoint: "ep_1", Message: "msg_1", Account: "acme", Type: "image.created", Seq: 1,
		State: webhook.DeliveryPending, Due: b.now, CreatedAt: b.now,
	}
}

// claim is what a store does to a delivery that it hands out.
func (b *bench) claim() {
	b.delivery.State, b.delivery.Token, b.delivery.Lease = webhook.DeliverySending, "token", b.now.Add(2*time.Minute)
	b.delivery.Tries++
	b.delivery.Attempt++
}

// try claims the delivery, decides that a came of it, and checks that deciding
// again on the same rows comes to the same.
func (b *bench) try(a webhook.Attempt) []webhook.SenderEvent {
	b.tb.Helper()
	b.claim()
	return b.settle(a)
}

func (b *bench) settle(a webhook.Attempt) []webhook.SenderEvent {
	b.tb.Helper()
	a.Endpoint, a.Message, a.Number = b.delivery.Endpoint, b.delivery.Message, b.delivery.Tries
	decide := func(e *webhook.Endpoint) (webhook.Delivery, []webhook.SenderEvent) {
		c := webhook.Case{Settlement: &webhook.Settlement{Endpoint: a.Endpoint, Message: a.Message, Token: "token", URL: b.url, Attempt: a}, Endpoint: e, Delivery: b.delivery}
		events := b.sender.Decide(b.now, &c)
		return c.Delivery, events
	}
	twin := *b.endpoint
	once, toldOnce := decide(&twin)
	delivery, events := decide(b.endpoint)
	e := b.endpoint
	if once != delivery || twin.Health != e.Health || twin.State != e.State || twin.Reason != e.Reason || !slices.Equal(kinds(toldOnce), kinds(events)) {
		b.tb.Fatalf("deciding twice on the same rows differs:\n%v %v %v\n%v %v %v", once, twin, toldOnce, delivery, *e, events)
	}
	b.delivery = delivery
	return events
}

func kinds(events []webhook.SenderEvent) []string {
	names := make([]string, len(events))
	for i, e := range events {
		names[i] = e.Kind.String()
	}
	return names
}

func wantKinds(tb testing.TB, events []webhook.SenderEvent, want ...string) {
	tb.Helper()
	if got := kinds(events); !slices.Equal(got, want) {
		tb.Errorf("told %v, want %v", got, want)
	}
}

func find(events []webhook.SenderEvent, kind webhook.SenderEventKind) webhook.SenderEvent {
	for _, e := range events {
		if e.Kind == kind {
			return e
		}
	}
	return webhook.SenderEvent{}
}

func TestWhatAnAttemptLeadsTo(t *testing.T) {
	const (
		pending   = webhook.DeliveryPending
		delivered = webhook.DeliveryDelivered
		dead      = webhook.DeliveryDead
		dropped   = webhook.DeliveryDropped
	)
	step := [2]time.Duration{4 * time.Second, 6 * time.Second} // the first of the schedule
	busy := [2]time.Duration{60 * time.Second, 90 * time.Second}
	exactly := func(d time.Duration) [2]time.Duration { return [2]time.Duration{d, d} }
	for _, tt := range []struct {
		name    string
		attempt webhook.Attempt
		state   webhook.DeliveryState
		wait    [2]time.Duration // of what is pending, at least and at most
		pause   time.Duration    // of the whole endpoint
		failed  bool             // counts against the endpoint
		reason  webhook.DisableReason
		told    []string
	}{
		{name: "200", attempt: webhook.Attempt{Status: 200}, state: delivered, told: []string{"message_delivered"}},
		{
			name: "200 that asks to be disabled", attempt: webhook.Attempt{Status: 200, Control: webhook.ControlDisable},
			state: delivered, reason: webhook.DisabledByReceiver, told: []string{"message_delivered", "endpoint_disabled"},
		},
		{name: "200 that aborts what is delivered", attempt: webhook.Attempt{Status: 200, Control: webhook.ControlAbort}, state: delivered, told: []string{"message_delivered"}},
		{name: "200 with Retry-After", attempt: webhook.Attempt{Status: 200, RetryAfter: time.Hour}, state: delivered, told: []string{"message_delivered"}},
		{
			name: "302", attempt: webhook.Attempt{Status: 302, Failure: webhook.FailedRedirect, Location: "https://example.org"},
			state: pending, wait: step, failed: true, told: []string{"attempt_failed"},
		},
		{name: "400", attempt: webhook.Attempt{Status: 400, Failure: webhook.FailedStatus}, state: pending, wait: step, failed: true, told: []string{"attempt_failed"}},
		{name: "408", attempt: webhook.Attempt{Status: 408, Failure: webhook.FailedStatus}, state: pending, wait: step, failed: true, told: []string{"attempt_failed"}},
		{name: "500", attempt: webhook.Attempt{Status: 500, Failure: webhook.FailedStatus}, state: pending, wait: step, failed: true, told: []string{"attempt_failed"}},
		{
			name: "410", attempt: webhook.Attempt{Status: 410, Failure: webhook.FailedGone},
			state: pending, failed: true, reason: webhook.DisabledByGone, told: []string{"attempt_failed", "endpoint_disabled"},
		},
		{name: "429 without Retry-After", attempt: webhook.Attempt{Status: 429, Failure: webhook.FailedBusy}, state: pending, wait: busy, failed: true, told: []string{"attempt_failed"}},
		{name: "502", attempt: webhook.Attempt{Status: 502, Failure: webhook.FailedBusy}, state: pending, wait: busy, failed: true, told: []string{"attempt_failed"}},
		{name: "a timeout", attempt: webhook.Attempt{Failure: webhook.FailedTimeout}, state: pending, wait: busy, failed: true, told: []string{"attempt_failed"}},
		{
			name: "429 with Retry-After", attempt: webhook.Attempt{Status: 429, Failure: webhook.FailedBusy, RetryAfter: 10 * time.Minute},
			state: pending, wait: exactly(10 * time.Minute), pause: 10 * time.Minute, failed: true, told: []string{"attempt_failed", "endpoint_blocked"},
		},
		{
			name: "a Retry-After shorter than the schedule", attempt: webhook.Attempt{Status: 503, Failure: webhook.FailedBusy, RetryAfter: time.Second},
			state: pending, wait: busy, pause: time.Second, failed: true, told: []string{"attempt_failed", "endpoint_blocked"},
		},
		{
			name: "a Retry-After of a year", attempt: webhook.Attempt{Status: 503, Failure: webhook.FailedBusy, RetryAfter: 365 * 24 * time.Hour},
			state: pending, wait: exactly(24 * time.Hour), pause: 24 * time.Hour, failed: true, told: []string{"attempt_failed", "endpoint_blocked"},
		},
		{
			name: "a Retry-After below zero", attempt: webhook.Attempt{Status: 503, Failure: webhook.FailedBusy, RetryAfter: -time.Hour},
			state: pending, wait: busy, failed: true, told: []string{"attempt_failed"},
		},
		{name: "a name that does not resolve", attempt: webhook.Attempt{Failure: webhook.FailedLookup}, state: pending, wait: step, failed: true, told: []string{"attempt_failed"}},
		{name: "no connection", attempt: webhook.Attempt{Failure: webhook.FailedConnect}, state: pending, wait: step, failed: true, told: []string{"attempt_failed"}},
		{name: "no trusted TLS", attempt: webhook.Attempt{Failure: webhook.FailedTLS}, state: pending, wait: step, failed: true, told: []string{"attempt_failed"}},
		{name: "an answer that is not HTTP", attempt: webhook.Attempt{Failure: webhook.FailedAnswer}, state: pending, wait: step, failed: true, told: []string{"attempt_failed"}},
		{name: "an address that is refused", attempt: webhook.Attempt{Failure: webhook.FailedRefused}, state: dead, failed: true, told: []string{"message_exhausted"}},
		{name: "a configuration that cannot work", attempt: webhook.Attempt{Failure: webhook.FailedConfig}, state: dead, failed: true, told: []string{"message_exhausted"}},
		{name: "keys that the host cannot open", attempt: webhook.Attempt{Failure: webhook.FailedKeys}, state: pending, wait: step, told: []string{"attempt_failed"}},
		{name: "processes that died over it", attempt: webhook.Attempt{Failure: webhook.FailedLost}, state: dead, told: []string{"message_exhausted"}},
		{
			name: "400 that aborts the message", attempt: webhook.Attempt{Status: 400, Failure: webhook.FailedStatus, Control: webhook.ControlAbort},
			state: dropped, told: []string{"message_dropped"},
		},
		{
			name: "503 that aborts the message and asks for a pause", attempt: webhook.Attempt{Status: 503, Failure: webhook.FailedBusy, Control: webhook.ControlAbort, RetryAfter: time.Minute},
			state: dropped, pause: time.Minute, told: []string{"message_dropped", "endpoint_blocked"},
		},
		{
			name: "500 that asks to be disabled", attempt: webhook.Attempt{Status: 500, Failure: webhook.FailedStatus, Control: webhook.ControlDisable},
			state: pending, failed: true, reason: webhook.DisabledByReceiver, told: []string{"attempt_failed", "endpoint_disabled"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, webhook.SenderOptions{})
			events := b.try(tt.attempt)
			wantKinds(t, events, tt.told...)
			d, e := b.delivery, b.endpoint
			if d.State != tt.state || d.Failure != tt.attempt.Failure || d.Token != "" || !d.Lease.IsZero() || d.Tries != 1 {
				t.Errorf("the delivery is %+v, want %v without a claim", d, tt.state)
			}
			if ended := tt.state.Ended(); ended != d.EndedAt.Equal(noon) {
				t.Errorf("it ended at %v", d.EndedAt)
			}
			if wait := d.Due.Sub(noon); tt.state == pending && (wait < tt.wait[0] || wait > tt.wait[1]) {
				t.Errorf("the next attempt is due after %v, want %v to %v", wait, tt.wait[0], tt.wait[1])
			}
			if tt.pause == 0 && e.Health.BlockedUntil != (time.Time{}) || tt.pause > 0 && !e.Health.BlockedUntil.Equal(noon.Add(tt.pause)) {
				t.Errorf("the endpoint is blocked until %v, want a pause of %v", e.Health.BlockedUntil, tt.pause)
			}
			if got := e.Health.Failures == 1; got != tt.failed {
				t.Errorf("it has %d failures", e.Health.Failures)
			}
			if !tt.failed && tt.pause == 0 && e.Health != (webhook.Health{}) {
				t.Errorf("its health was written: %+v", e.Health)
			}
			if e.Reason != tt.reason || (e.State == webhook.EndpointDisabled) != (tt.reason != 0) || e.UpdatedAt.IsZero() == (tt.reason != 0) {
				t.Errorf("the endpoint is %v for %v since %v, want reason %v", e.State, e.Reason, e.UpdatedAt, tt.reason)
			}
			for _, got := range events {
				ofMessage := got.Kind <= webhook.MessageDropped
				if got.Account != "acme" || got.Endpoint != "ep_1" || (got.Message == "msg_1") != ofMessage || (got.Type == "image.created") != ofMessage || got.Attempt.Number != 1 {
					t.Errorf("the event is %+v", got)
				}
			}
			if until := find(events, webhook.AttemptFailed).Until; tt.state == pending && tt.reason == 0 && !until.Equal(d.Due) {
				t.Errorf("told that the next attempt is at %v, and it is at %v", until, d.Due)
			}
		})
	}
}

func TestADeliveryThatIsGivenBackIsAsBeforeItsClaim(t *testing.T) {
	b := newBench(t, webhook.SenderOptions{})
	b.try(webhook.Attempt{Failure: webhook.FailedConnect})
	b.now = b.now.Add(time.Minute)
	b.delivery.Manual = true
	before, health := b.delivery, b.endpoint.Health
	b.claim()
	c := webhook.Case{Settlement: &webhook.Settlement{Endpoint: "ep_1", Message: "msg_1", Token: "token"}, Endpoint: b.endpoint, Delivery: b.delivery}
	if events := b.sender.Decide(b.now, &c); len(events) != 0 {
		t.Errorf("told %v", kinds(events))
	}
	before.Due = b.now
	if c.Delivery != before || b.endpoint.Health != health {
		t.Errorf("it is\n%+v, want\n%+v", c.Delivery, before)
	}
}

func TestALateOutcomeChangesNothing(t *testing.T) {
	b := newBench(t, webhook.SenderOptions{})
	b.claim()
	for _, a := range []webhook.Attempt{{Number: 1}, {Number: 1, Failure: webhook.FailedGone}, {}} {
		c := webhook.Case{Settlement: &webhook.Settlement{Attempt: a}, Endpoint: b.endpoint, Delivery: b.delivery, Late: true}
		if events := b.sender.Decide(b.now, &c); len(events) != 0 || c.Delivery != b.delivery || b.endpoint.Health != (webhook.Health{}) || b.endpoint.State != webhook.EndpointActive {
			t.Errorf("%+v changed something: %v %+v %+v", a, kinds(events), c.Delivery, b.endpoint)
		}
	}
}

// Waits of the standard schedule, and that it ends: ten attempts.
func TestTheStandardScheduleHasTenAttempts(t *testing.T) {
	b := newBench(t, webhook.SenderOptions{})
	want := []time.Duration{
		5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
		10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
	}
	for i, step := range want {
		b.try(webhook.Attempt{Failure: webhook.FailedConnect})
		wait := b.delivery.Due.Sub(b.now)
		if b.delivery.State != webhook.DeliveryPending || wait < step-step/5 || wait > step+step/5 {
			t.Fatalf("after attempt %d: %v, due after %v, want %v and a fifth", i+1, b.delivery.State, wait, step)
		}
		b.now = b.delivery.Due
	}
	events := b.try(webhook.Attempt{Failure: webhook.FailedConnect})
	if b.delivery.State != webhook.DeliveryDead || b.delivery.Tries != 10 {
		t.Errorf("after %d attempts it is %v", b.delivery.Tries, b.delivery.State)
	}
	if find(events, webhook.MessageExhausted).Message != "msg_1" {
		t.Errorf("told %v", kinds(events))
	}
}

// A worker that dies over a message takes an attempt of its schedule with it, or
// one message could take all workers down for ever.
func TestAMessageThatKillsItsWorkersIsGivenUp(t *testing.T) {
	elsewhere := noon.Add(time.Nanosecond).In(time.FixedZone("", 3600))
	b := newBench(t, webhook.SenderOptions{Now: func() time.Time { return elsewhere }})
	for n := 1; ; n++ {
		b.claim()
		a, lost := b.sender.Lost(&webhook.Claimed{Delivery: b.delivery, Endpoint: b.endpoint})
		if lost != (n > 10) {
			t.Fatalf("claim %d: lost %t", n, lost)
		}
		if !lost {
			continue
		}
		if a.Failure != webhook.FailedLost || a.Number != n || a.Endpoint != "ep_1" || a.Message != "msg_1" || a.At != noon || a.Detail == "" {
			t.Errorf("the attempt is %+v", a)
		}
		wantKinds(t, b.settle(a), "message_exhausted")
		if b.delivery.State != webhook.DeliveryDead || b.endpoint.Health != (webhook.Health{}) {
			t.Errorf("%+v %+v", b.delivery, b.endpoint.Health)
		}
		return
	}
}

func TestAScheduleOfTheEndpointTakesThePlaceOfTheSenders(t *testing.T) {
	b := newBench(t, webhook.SenderOptions{})
	b.endpoint.Settings.Schedule = []time.Duration{time.Hour}
	b.try(webhook.Attempt{Failure: webhook.FailedConnect})
	if wait := b.delivery.Due.Sub(b.now); wait < 48*time.Minute || wait > 72*time.Minute {
		t.Errorf("due after %v, want an hour and a fifth", wait)
	}
	b.try(webhook.Attempt{Failure: webhook.FailedConnect})
	if b.delivery.State != webhook.DeliveryDead {
		t.Errorf("after the second of two attempts it is %v", b.delivery.State)
	}
}

func TestARetryOfTheHostIsHeldInBounds(t *testing.T) {
	for _, tt := range []struct {
		wait, after, want time.Duration
	}{
		{wait: -time.Hour, want: 0},
		{wait: 1<<63 - 1, want: webhook.MaxWait},
		{wait: -1 << 63, want: 0},
		{wait: time.Second, after: time.Minute, want: time.Minute},
		{wait: time.Hour, after: time.Minute, want: time.Hour},
		{wait: time.Second + time.Nanosecond, want: time.Second},
	} {
		b := newBench(t, webhook.SenderOptions{Retry: func(webhook.FailedAttempt) (time.Duration, bool) { return tt.wait, true }})
		b.try(webhook.Attempt{Failure: webhook.FailedBusy, RetryAfter: tt.after})
		if got := b.delivery.Due.Sub(b.now); got != tt.want {
			t.Errorf("a wait of %v, asked for %v: due after %v, want %v", tt.wait, tt.after, got, tt.want)
		}
	}
	b := newBench(t, webhook.SenderOptions{Retry: func(webhook.FailedAttempt) (time.Duration, bool) { return time.Hour, false }})
	if b.try(webhook.Attempt{Failure: webhook.FailedBusy, RetryAfter: time.Hour}); b.delivery.State != webhook.DeliveryDead {
		t.Errorf("with no other attempt it is %v", b.delivery.State)
	}
}

func TestARetryLearnsWhatFailed(t *testing.T) {
	var got webhook.FailedAttempt
	b := newBench(t, webhook.SenderOptions{Retry: func(f webhook.FailedAttempt) (time.Duration, bool) { got = f; return 0, true }})
	b.endpoint.Settings.Schedule = []time.Duration{time.Second}
	b.try(webhook.Attempt{Failure: webhook.FailedBusy, Status: 429, RetryAfter: time.Minute})
	want := webhook.FailedAttempt{
		Account: "acme", Endpoint: "ep_1", Type: "image.created", Attempt: 1, Failure: webhook.FailedBusy, Status: 429,
		RetryAfter: time.Minute, Schedule: []time.Duration{time.Second}, Random: got.Random,
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("asked of %+v, want %+v", got, want)
	}
	first := got.Random
	if b.try(webhook.Attempt{Failure: webhook.FailedBusy}); got.Random == first {
		t.Error("the second attempt has the luck of the first")
	}
}

// Neither uses up what the schedule makes by itself, nor is passed over: defects
// of another delivery engine.
func TestAManualResendLeavesTheScheduleItsAttempts(t *testing.T) {
	b := newBench(t, webhook.SenderOptions{Retry: webhook.Schedule([]time.Duration{time.Second, time.Second})})
	b.delivery.Manual = true
	wantKinds(t, b.try(webhook.Attempt{Failure: webhook.FailedConnect}), "attempt_failed")
	if b.delivery.Manual {
		t.Error("the next attempt counts as asked for too")
	}
	for n := 1; b.delivery.State == webhook.DeliveryPending; n++ {
		b.try(webhook.Attempt{Failure: webhook.FailedConnect})
		if ended := b.delivery.State == webhook.DeliveryDead; ended != (n == 3) {
			t.Fatalf("after the manual attempt and %d others it is %v", n, b.delivery.State)
		}
	}
	if b.delivery.Tries != 4 {
		t.Errorf("%d attempts, want 4", b.delivery.Tries)
	}
}

// An endpoint that is deleted while an attempt runs leaves no delivery behind
// that fails for ever.
func TestADeletedEndpointIsNoPoison(t *testing.T) {
	b := newBench(t, webhook.SenderOptions{})
	b.endpoint.State = webhook.EndpointDeleted
	wantKinds(t, b.try(webhook.Attempt{Failure: webhook.FailedConnect}), "message_dropped")
	if b.delivery.State != webhook.DeliveryDropped || b.endpoint.State != webhook.EndpointDeleted {
		t.Errorf("%+v", b.delivery)
	}
	b.renew()
	wantKinds(t, b.try(webhook.Attempt{Failure: webhook.FailedGone}), "message_dropped")
	if b.endpoint.State != webhook.EndpointDeleted {
		t.Errorf("the endpoint is %v", b.endpoint.State)
	}
}

// What fails at an endpoint that somebody else has disabled stays held for the
// reason that is there.
func TestAReasonStays(t *testing.T) {
	b := newBench(t, webhook.SenderOptions{})
	b.endpoint.State, b.endpoint.Reason = webhook.EndpointDisabled, webhook.DisabledByHost
	wantKinds(t, b.try(webhook.Attempt{Failure: webhook.FailedGone}), "attempt_failed")
	if b.endpoint.Reason != webhook.DisabledByHost || b.delivery.State != webhook.DeliveryPending {
		t.Errorf("%v, %v", b.endpoint.Reason, b.delivery.State)
	}
}

// What the last attempt of a schedule finds gone is not given up: it is held with
// the rest, and has its schedule before it when the endpoint is enabled.
func TestWhatDisablesLosesNothing(t *testing.T) {
	b := newBench(t, webhook.SenderOptions{Retry: webhook.Schedule(nil)})
	b.try(webhook.Attempt{Failure: webhook.FailedGone})
	if b.delivery.State != webhook.DeliveryPending || b.delivery.Attempt != 0 || !b.delivery.Due.Equal(b.now) {
		t.Errorf("%+v", b.delivery)
	}
}

func TestTenThousandMessagesThatFailInASecondComeBackSpreadOut(t *testing.T) {
	for _, tt := range []struct {
		failure     webhook.Failure
		least, most time.Duration
	}{
		{webhook.FailedConnect, 4 * time.Second, 6 * time.Second},
		{webhook.FailedBusy, 60 * time.Second, 90 * time.Second},
	} {
		t.Run(tt.failure.String(), func(t *testing.T) {
			const messages, parts = 10_000, 20
			var counts [parts]int
			b := newBench(t, webhook.SenderOptions{})
			for i := range messages {
				b.renew()
				b.delivery.Message = "order-" + strconv.Itoa(i) // ids that differ in little
				b.endpoint.Health = webhook.Health{}
				b.try(webhook.Attempt{Failure: tt.failure})
				wait := b.delivery.Due.Sub(b.now)
				if wait < tt.least || wait > tt.most {
					t.Fatalf("%s waits %v, want %v to %v", b.delivery.Message, wait, tt.least, tt.most)
				}
				counts[min(parts-1, int(parts*(wait-tt.least)/(tt.most-tt.least)))]++
			}
			for i, n := range counts {
				// Six standard deviations about what an even spread puts there.
				if n < messages/parts-131 || n > messages/parts+131 {
					t.Errorf("part %d of %d holds %d of %d", i, parts, n, messages)
				}
			}
		})
	}
}
