package webhook_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

var (
	success = webhook.Attempt{Status: 200}
	failure = webhook.Attempt{Status: 500, Failure: webhook.FailedStatus}
)

// next makes an attempt at a message of its own, after so long.
func (b *bench) next(after time.Duration, a webhook.Attempt) []webhook.SenderEvent {
	b.tb.Helper()
	b.now = b.now.Add(after)
	b.renew()
	return b.try(a)
}

func (b *bench) times(n int, a webhook.Attempt) (last []webhook.SenderEvent) {
	b.tb.Helper()
	for range n {
		last = b.next(time.Millisecond, a)
	}
	return last
}

// wantBlocked checks for how long nothing is sent from now on.
func (b *bench) wantBlocked(d time.Duration) {
	b.tb.Helper()
	room := b.endpoint.Room(b.now, 0)
	if (room == 0) != (d > 0) {
		b.tb.Errorf("there is room for %d, want a block of %v", room, d)
	}
	if d > 0 && b.endpoint.Health.BlockedUntil.Sub(b.now) != d {
		b.tb.Errorf("blocked for %v, want %v", b.endpoint.Health.BlockedUntil.Sub(b.now), d)
	}
}

func TestAHealthyEndpointIsNotWritten(t *testing.T) {
	b := newBench(t, webhook.SenderOptions{})
	before := *b.endpoint
	b.times(100, success)
	if b.endpoint.Health != before.Health || b.endpoint.State != before.State || !b.endpoint.UpdatedAt.Equal(before.UpdatedAt) {
		t.Errorf("a hundred successes made it %+v", b.endpoint)
	}
}

func TestFiveFailuresInARowOpenTheBreaker(t *testing.T) {
	b := newBench(t, webhook.SenderOptions{})
	b.times(4, failure)
	b.wantBlocked(0)
	events := b.times(1, failure)
	b.wantBlocked(30 * time.Second)
	if e := find(events, webhook.EndpointWasBlocked); !e.Until.Equal(b.now.Add(30*time.Second)) || e.Message != "" {
		t.Errorf("told %+v", e)
	}
}

func TestASuccessInBetweenKeepsTheBreakerClosed(t *testing.T) {
	b := newBench(t, webhook.SenderOptions{})
	for range 3 {
		b.times(4, failure)
		b.now = b.now.Add(5 * time.Minute) // out of the window
		b.times(1, success)
	}
	b.wantBlocked(0)
}

func TestHalfOfTenAttemptsOpenTheBreaker(t *testing.T) {
	for _, tt := range []struct {
		name    string
		failed  int
		ok      int
		gap     time.Duration
		blocked bool
	}{
		{"five of nine", 5, 4, time.Second, false},
		{"five of ten", 5, 5, time.Second, true},
		{"four of ten", 4, 6, time.Second, false},
		{"five of ten in more than five minutes", 5, 5, 34 * time.Second, false},
		{"five of ten in just under five minutes", 5, 5, 33 * time.Second, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, webhook.SenderOptions{})
			failed, ok := tt.failed, tt.ok
			// A failure first, since that begins the window, and one last, since a
			// success opens nothing.
			for turn := 0; failed+ok > 0; turn++ {
				if ok > 0 && (turn%2 == 1 || failed == 1) {
					ok--
					b.next(tt.gap, success)
				} else {
					failed--
					b.next(tt.gap, failure)
				}
			}
			if got := b.endpoint.Room(b.now, 0) == 0; got != tt.blocked {
				t.Errorf("blocked %t, want %t: %+v", got, tt.blocked, b.endpoint.Health)
			}
		})
	}
}

func TestTheWindowIsOverAfterFiveMinutes(t *testing.T) {
	for _, tt := range []struct {
		after   time.Duration
		blocked bool
	}{{5*time.Minute - time.Microsecond, true}, {5 * time.Minute, false}} {
		b := newBench(t, webhook.SenderOptions{})
		for range 4 {
			b.next(0, failure)
			b.next(0, success)
		}
		b.next(0, success)
		b.next(tt.after, failure) // the fifth of ten
		if got := b.endpoint.Room(b.now, 0) == 0; got != tt.blocked {
			t.Errorf("half of ten within %v: blocked %t, want %t", tt.after, got, tt.blocked)
		}
	}
}

// Each opening lasts twice as long as the one before, up to fifteen minutes, and in
// between one attempt at a time probes.
func TestTheBreakerOpensForLongerEachTime(t *testing.T) {
	b := newBench(t, webhook.SenderOptions{DisableAfter: -1})
	b.times(5, failure)
	for i, seconds := range []int{30, 60, 120, 240, 480, 900, 900, 900} {
		want := time.Duration(seconds) * time.Second
		b.wantBlocked(want)
		b.now = b.now.Add(want - 1)
		b.wantBlocked(1)
		b.now = b.now.Add(1)
		if room, more := b.endpoint.Room(b.now, 0), b.endpoint.Room(b.now, 1); room != 1 || more != 0 {
			t.Fatalf("half open there is room for %d, and beside one for %d", room, more)
		}
		events := b.next(0, failure)
		if find(events, webhook.EndpointWasBlocked).Kind == 0 {
			t.Errorf("opening %d: told %v", i+2, kinds(events))
		}
	}
	b.endpoint.Health.Trips = 1 << 40
	b.now = b.now.Add(15 * time.Minute)
	b.next(0, failure)
	b.wantBlocked(15 * time.Minute)
}

func TestOneSuccessResetsEverything(t *testing.T) {
	b := newBench(t, webhook.SenderOptions{})
	b.endpoint.Settings.Rate = 100
	b.endpoint.Claimed(b.now, 1)
	paced := b.endpoint.Health.PacedUntil
	b.times(5, failure)
	b.now = b.now.Add(30 * time.Second)
	b.times(1, failure)
	b.now = b.now.Add(time.Minute)
	b.times(1, success)
	if want := (webhook.Health{PacedUntil: paced}); b.endpoint.Health != want {
		t.Errorf("after a success the health is %+v, want %+v", b.endpoint.Health, want)
	}
	if room := b.endpoint.Room(b.now, 0); room != webhook.DefaultMaxInFlight {
		t.Errorf("there is room for %d", room)
	}
}

// Attempts that were running when the breaker opened say nothing new.
func TestFailuresThatWereUnderWayOpenTheBreakerOnce(t *testing.T) {
	b := newBench(t, webhook.SenderOptions{})
	b.times(8, failure)
	if b.endpoint.Health.Trips != 1 {
		t.Errorf("eight failures at once opened it %d times", b.endpoint.Health.Trips)
	}
	events := b.times(1, failure)
	if find(events, webhook.EndpointWasBlocked).Kind != 0 {
		t.Errorf("told again: %v", kinds(events))
	}
}

// A success that was under way closes the breaker, and does not end a pause that
// the receiver asked for.
func TestASuccessDoesNotEndAPauseThatWasAskedFor(t *testing.T) {
	b := newBench(t, webhook.SenderOptions{})
	b.times(5, failure)
	b.times(1, success)
	b.wantBlocked(0)

	asked := webhook.Attempt{Status: 429, Failure: webhook.FailedBusy, RetryAfter: 10 * time.Minute}
	b.times(5, asked)
	until := b.now.Add(10 * time.Minute)
	if b.endpoint.Health.Trips != 1 {
		t.Fatalf("%+v", b.endpoint.Health)
	}
	b.times(1, success)
	if h := b.endpoint.Health; !h.BlockedUntil.Equal(until) || h.Trips != 0 || h.Failures != 0 {
		t.Errorf("after a success: %+v, want blocked until %v", h, until)
	}
	b.now = until
	b.wantBlocked(0)
	b.times(1, success)
	if b.endpoint.Health != (webhook.Health{}) {
		t.Errorf("after the pause: %+v", b.endpoint.Health)
	}
}

func TestTheLongerPauseHolds(t *testing.T) {
	pause := func(d time.Duration) webhook.Attempt {
		return webhook.Attempt{Status: 503, Failure: webhook.FailedBusy, RetryAfter: d}
	}
	b := newBench(t, webhook.SenderOptions{})
	b.next(0, pause(time.Hour))
	wantKinds(t, b.next(0, pause(time.Minute)), "attempt_failed") // no second report
	b.wantBlocked(time.Hour)
	b.next(0, success) // one that was under way
	b.wantBlocked(time.Hour)
	b.next(0, pause(2*time.Hour))
	b.wantBlocked(2 * time.Hour)
	// The breaker does not shorten it either.
	b.times(5, failure)
	if got := b.endpoint.Health.BlockedUntil.Sub(noon); got != 2*time.Hour {
		t.Errorf("blocked for %v", got)
	}
}

// Waiting for the breaker uses up no attempts: nothing is claimed, so nothing is
// settled. What it costs is one attempt for each opening.
func TestABlockedEndpointHasNoRoom(t *testing.T) {
	b := newBench(t, webhook.SenderOptions{})
	b.times(5, failure)
	if ready := b.endpoint.ReadyAt(); b.endpoint.Room(b.now, 0) != 0 || !ready.Equal(b.endpoint.Health.BlockedUntil) {
		t.Errorf("room for %d, ready at %v", b.endpoint.Room(b.now, 0), ready)
	}
}

func TestAnEndpointIsReportedFailingOnceUntilItRecovers(t *testing.T) {
	b := newBench(t, webhook.SenderOptions{})
	fourth := func() (all []webhook.SenderEvent) {
		b.renew()
		for range 4 {
			b.now = b.delivery.Due
			all = b.try(failure)
		}
		return all
	}
	if e := find(fourth(), webhook.EndpointIsFailing); e.Message != "" || e.Endpoint != "ep_1" || e.Attempt.Number != 4 {
		t.Errorf("told %+v at the fourth failure of a message", e)
	}
	wantKinds(t, fourth(), "attempt_failed", "endpoint_blocked") // and not that it fails, again
	b.now = b.delivery.Due
	wantKinds(t, b.next(0, success), "message_delivered", "endpoint_recovered")
	wantKinds(t, b.next(0, success), "message_delivered")
	if e := fourth(); find(e, webhook.EndpointIsFailing).Kind == 0 {
		t.Errorf("not told after it had recovered: %v", kinds(e))
	}
}

// Four messages that fail once each are no failing endpoint.
func TestFailuresOfManyMessagesAreNotReportedAsOne(t *testing.T) {
	b := newBench(t, webhook.SenderOptions{})
	for range 20 {
		if e := b.next(time.Minute, failure); find(e, webhook.EndpointIsFailing).Kind != 0 {
			t.Fatalf("told %v", kinds(e))
		}
	}
}

// A count of failures in a row would disable a busy endpoint in a second.
func TestABusyEndpointIsNotDisabledInSeconds(t *testing.T) {
	b := newBench(t, webhook.SenderOptions{})
	b.times(5_000, failure)
	if b.endpoint.State != webhook.EndpointActive {
		t.Errorf("after %v of failures it is %v", b.now.Sub(noon), b.endpoint.State)
	}
}

func TestDaysOfFailuresAloneDisable(t *testing.T) {
	const day = 24 * time.Hour
	for _, tt := range []struct {
		name string
		opts webhook.SenderOptions
		at   []time.Duration // of attempts; negative ones succeed
		want bool
	}{
		{name: "five days", at: []time.Duration{0, day, 2 * day, 3 * day, 4 * day, 5 * day}, want: true},
		{name: "a moment less", at: []time.Duration{0, day, 2 * day, 3 * day, 4 * day, 5*day - 1}},
		{name: "a success in between", at: []time.Duration{0, day, -2 * day, 3 * day, 4 * day, 5 * day, 6 * day}},
		{name: "five days after the success", at: []time.Duration{0, -2 * day, 3 * day, 5 * day, 7 * day, 8 * day}, want: true},
		{name: "two failures far apart", at: []time.Duration{0, 6 * day}},
		{name: "failures two days apart", at: []time.Duration{0, 2 * day, 4 * day, 6 * day}, want: true},
		{name: "failures more than two days apart", at: []time.Duration{0, 2*day + 1, 4*day + 2, 6*day + 3, 8*day + 4}},
		{name: "never", opts: webhook.SenderOptions{DisableAfter: -1}, at: []time.Duration{0, day, 2 * day, 3 * day, 4 * day, 5 * day, 6 * day}},
		{name: "an hour", opts: webhook.SenderOptions{DisableAfter: time.Hour}, at: []time.Duration{0, 30 * time.Minute, time.Hour}, want: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, tt.opts)
			var events []webhook.SenderEvent
			for _, at := range tt.at {
				if b.endpoint.State != webhook.EndpointActive {
					t.Fatalf("disabled after %v", b.now.Sub(noon))
				}
				b.now = noon.Add(max(at, -at))
				if b.renew(); at < 0 {
					events = b.try(success)
				} else {
					events = b.try(failure)
				}
			}
			disabled := b.endpoint.State == webhook.EndpointDisabled
			if disabled != tt.want || disabled != (b.endpoint.Reason == webhook.DisabledByFailures) {
				t.Fatalf("it is %v for %q, want disabled %t", b.endpoint.State, b.endpoint.Reason, tt.want)
			}
			if tt.want && (find(events, webhook.EndpointWasDisabled).Reason != webhook.DisabledByFailures || !b.endpoint.UpdatedAt.Equal(b.now) || b.delivery.State != webhook.DeliveryPending) {
				t.Errorf("told %v; %+v", kinds(events), b.delivery)
			}
		})
	}
}

// A clock that jumps ahead makes no time of failures, and one that is set back
// makes no time for which an endpoint is left alone.
func TestClockJumps(t *testing.T) {
	t.Run("ahead between two failures", func(t *testing.T) {
		b := newBench(t, webhook.SenderOptions{})
		b.next(0, failure)
		b.next(365*24*time.Hour, failure)
		if b.endpoint.State != webhook.EndpointActive {
			t.Errorf("it is %v", b.endpoint.State)
		}
	})
	t.Run("back after failures", func(t *testing.T) {
		b := newBench(t, webhook.SenderOptions{})
		b.times(3, failure)
		b.next(-365*24*time.Hour, failure)
		h := b.endpoint.Health
		if !h.FailingSince.Equal(b.now) || !h.WindowAt.Equal(b.now) || h.Attempts != 1 {
			t.Errorf("the health is of the future: %+v", h)
		}
		b.next(time.Second, success)
	})
	t.Run("back while a pause is asked for", func(t *testing.T) {
		b := newBench(t, webhook.SenderOptions{})
		b.next(365*24*time.Hour, webhook.Attempt{Failure: webhook.FailedBusy, RetryAfter: time.Hour})
		b.now = noon
		b.wantBlocked(0)
		b.next(0, webhook.Attempt{Failure: webhook.FailedBusy, RetryAfter: time.Minute})
		b.wantBlocked(time.Minute)
	})
	t.Run("back while a pause is asked for, and the breaker opens", func(t *testing.T) {
		b := newBench(t, webhook.SenderOptions{})
		b.next(365*24*time.Hour, webhook.Attempt{Failure: webhook.FailedBusy, RetryAfter: time.Hour})
		b.now = noon
		b.times(4, failure)
		b.wantBlocked(30 * time.Second)
		if b.times(1, success); b.endpoint.Health != (webhook.Health{}) {
			t.Errorf("after a success: %+v", b.endpoint.Health)
		}
	})
	t.Run("back while the breaker is open", func(t *testing.T) {
		b := newBench(t, webhook.SenderOptions{})
		b.now = noon.Add(365 * 24 * time.Hour)
		b.times(5, failure)
		b.now = noon
		b.wantBlocked(0)
		b.next(0, failure)
		b.wantBlocked(time.Minute)
	})
	t.Run("back while a rate paces", func(t *testing.T) {
		b := newBench(t, webhook.SenderOptions{})
		b.endpoint.Settings.Rate = 1
		b.endpoint.Claimed(noon.Add(time.Hour), b.endpoint.Room(noon.Add(time.Hour), 0))
		if room := b.endpoint.Room(noon, 0); room != 1 {
			t.Errorf("there is room for %d", room)
		}
	})
}

// The pace is held over any number of claims: never more begin in a second than the
// rate and what may bunch up.
func TestARateIsHeldExactly(t *testing.T) {
	for _, rate := range []int{1, 3, 10, 1000, webhook.MaxRate} {
		random := rand.New(rand.NewPCG(7, uint64(rate)))
		e := webhook.Endpoint{State: webhook.EndpointActive, Settings: webhook.Settings{Rate: rate, MaxInFlight: webhook.MaxMaxInFlight}}
		const seconds = 20
		begun := 0
		for now := noon; now.Before(noon.Add(seconds * time.Second)); now = now.Add(time.Duration(1+random.IntN(50_000)) * time.Microsecond) {
			n := e.Room(now, 0)
			if n > 1 {
				n -= random.IntN(n) // a claimer does not always take all
			}
			e.Claimed(now, n)
			begun += n
		}
		if most := rate*seconds + rate/10 + 1; begun > most || begun < rate*seconds/2 {
			t.Errorf("rate %d: %d began in %d s, want up to %d", rate, begun, seconds, most)
		}
	}
}
