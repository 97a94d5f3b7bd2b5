package webhook_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

// A reading is what a plain reading of the rules says of one endpoint: it keeps
// every attempt, and looks at them all.
type reading struct {
	list   []entry
	opened time.Time // until when the breaker is open
	trips  int
	from   int // the first attempt that counts for the window
}

type entry struct {
	at     time.Time
	failed bool
}

// add notes an attempt, and says whether the breaker opens.
func (j *reading) add(at time.Time, failed bool) bool {
	j.list = append(j.list, entry{at, failed})
	if !failed {
		if j.trips > 0 {
			j.from = len(j.list)
		}
		j.trips, j.opened = 0, time.Time{}
		return false
	}
	if j.trips > 0 && at.Before(j.opened) {
		return false
	}
	if j.trips == 0 && j.row() < 5 && !j.half(at) {
		return false
	}
	open := 30 * time.Second
	for range j.trips {
		open = min(2*open, 15*time.Minute)
	}
	j.trips++
	j.opened, j.from = at.Add(open), len(j.list)
	return true
}

// row counts the failures since the last success.
func (j *reading) row() (n int) {
	for i := len(j.list) - 1; i >= 0 && j.list[i].failed; i-- {
		n++
	}
	return n
}

// half reports whether the window that is open now has ten attempts, half of them
// failed.
func (j *reading) half(now time.Time) bool {
	var begun time.Time
	attempts, missed := 0, 0
	for _, e := range j.list[j.from:] {
		if begun.IsZero() || e.at.Sub(begun) >= 5*time.Minute {
			if begun, attempts, missed = (time.Time{}), 0, 0; !e.failed {
				continue
			}
			begun = e.at
		}
		if attempts++; e.failed {
			missed++
		}
	}
	return attempts >= 10 && 2*missed >= attempts
}

// since returns when the failures began that disable an endpoint in the end.
func (j *reading) since() (first time.Time) {
	for i := len(j.list) - 1; i >= 0 && j.list[i].failed; i-- {
		if !first.IsZero() && first.Sub(j.list[i].at) > 48*time.Hour {
			break
		}
		first = j.list[i].at
	}
	return first
}

// seeds returns the seeds to run: a few, or the one in KEYTOLL_TEST_SEED.
func seeds(t *testing.T) []uint64 {
	t.Helper()
	if text := os.Getenv("KEYTOLL_TEST_SEED"); text != "" {
		return []uint64{must(strconv.ParseUint(text, 10, 64))(t)}
	}
	return []uint64{1, 2, 3, 4, rand.Uint64()}
}

// Whatever receivers answer and whenever, the health of their endpoint is what a
// plain reading of the rules makes of it.
func TestHealthAgreesWithAPlainReading(t *testing.T) {
	for _, seed := range seeds(t) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			for range 12 {
				b := newBench(t, webhook.SenderOptions{})
				j := new(reading)
				failing := random.Float64()
				gaps := []time.Duration{time.Millisecond, 10 * time.Second, time.Minute, 10 * time.Minute, 10 * time.Hour, 30 * time.Hour}
				gaps = gaps[:1+random.IntN(len(gaps))]
				for step := 0; step < 300 && b.endpoint.State == webhook.EndpointActive; step++ {
					b.now = b.now.Add(time.Duration(random.Int64N(int64(gaps[random.IntN(len(gaps))])))).Truncate(time.Microsecond)
					a := success
					failed := random.Float64() < failing
					if failed {
						a = failure
					}
					events := b.next(0, a)
					opened := j.add(b.now, failed)
					h := b.endpoint.Health
					if h.Trips != j.trips || !h.BlockedUntil.Equal(j.opened) || h.Failures != j.row() || !h.FailingSince.Equal(j.since()) {
						t.Fatalf("step %d: health %+v, want %d trips, open until %v, %d failures since %v", step, h, j.trips, j.opened, j.row(), j.since())
					}
					if told := find(events, webhook.EndpointWasBlocked).Kind != 0; opened && !told && j.trips == 1 {
						t.Fatalf("step %d: the breaker opened, and nobody was told", step)
					}
					days := failed && b.now.Sub(j.since()) >= webhook.DefaultDisableAfter
					if disabled := b.endpoint.State == webhook.EndpointDisabled; disabled != days {
						t.Fatalf("step %d: disabled %t after %v of failures", step, disabled, b.now.Sub(j.since()))
					}
				}
			}
		})
	}
}

// Whatever receivers answer, workers die of and operators do, every message is
// delivered, or ended for a reason that a row tells; and once all is well, and what
// was given up is recovered, every one is delivered.
func TestNoMessageIsLost(t *testing.T) {
	met, list := map[string]int{}, seeds(t)
	for _, seed := range list {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { loseNothing(t, rand.New(rand.NewPCG(seed, 2)), met) })
	}
	t.Log(met)
	for _, what := range []string{
		"message_delivered", "attempt_failed", "message_exhausted", "message_dropped", "endpoint_failing", "endpoint_recovered",
		"endpoint_blocked", "endpoint_disabled", "resent", "died", "lost",
	} {
		if met[what] == 0 && len(list) > 1 {
			t.Errorf("the usual seeds never met %s", what)
		}
	}
}

func loseNothing(t *testing.T, random *rand.Rand, met map[string]int) {
	o := open(t, webhook.SenderOptions{DisableAfter: 24 * time.Hour})
	endpoints := []string{"ep_1", "ep_2", "ep_3"}
	o.hire(t, "ep_1", webhook.Settings{})
	o.hire(t, "ep_2", webhook.Settings{Ordered: true, Schedule: []time.Duration{time.Second, time.Minute}})
	o.hire(t, "ep_3", webhook.Settings{Rate: 5, MaxInFlight: 2})
	answers := []webhook.Attempt{
		success, success, success, failure, {Failure: webhook.FailedTimeout}, {Failure: webhook.FailedBusy, RetryAfter: time.Minute},
		{Failure: webhook.FailedGone}, {Failure: webhook.FailedStatus, Control: webhook.ControlAbort}, {Failure: webhook.FailedStatus, Control: webhook.ControlDisable},
		{Failure: webhook.FailedRefused}, {Failure: webhook.FailedKeys}, {Status: 200, Control: webhook.ControlDisable}, {Failure: webhook.FailedConnect},
	}
	published := 0
	var running []webhook.Claimed
	for range 1500 {
		switch endpoint := endpoints[random.IntN(len(endpoints))]; random.IntN(12) {
		case 0, 1:
			o.publish(t, "msg_"+strconv.Itoa(published))
			published++
		case 2, 3, 4:
			for _, c := range o.claim(t) {
				if a, lost := o.Lost(&c); lost {
					met["lost"]++
					o.settle(t, []webhook.Claimed{c}, a)
				} else {
					running = append(running, c)
				}
			}
		case 5, 6, 7:
			for ; len(running) > 0 && random.IntN(3) > 0; running = running[1:] {
				for _, e := range o.settle(t, running[:1], answers[random.IntN(len(answers))]) {
					met[e.Kind.String()]++
				}
			}
		case 8: // a worker dies: its lease has to end
			met["died"] += len(running) - len(running)/2
			running = running[:len(running)/2]
			o.clock.Advance(webhook.DefaultLease)
		case 9:
			o.clock.Advance(time.Duration(random.Int64N(int64([]time.Duration{time.Second, time.Minute, 10 * time.Hour}[random.IntN(3)]))))
		case 10:
			if random.IntN(2) == 0 {
				must(o.EnableEndpoint(t.Context(), endpoint))(t)
			} else if random.IntN(4) == 0 {
				must(o.DisableEndpoint(t.Context(), endpoint))(t)
			}
		case 11:
			if err := o.Resend(t.Context(), endpoint, "msg_"+strconv.Itoa(random.IntN(published+1))); err == nil {
				met["resent"]++
			} // else it is in flight, or not there
		}
	}
	check(t, o, endpoints, published)
	for range 2 * published {
		for _, endpoint := range endpoints {
			must(o.EnableEndpoint(t.Context(), endpoint))(t)
			must(o.RecoverSince(t.Context(), endpoint, time.Time{}, 10_000))(t)
		}
		o.settle(t, o.claim(t), success)
		o.clock.Advance(7 * time.Minute)
	}
	o.clock.Advance(48 * time.Hour)
	for claimed := o.claim(t); len(claimed) > 0; claimed = o.claim(t) {
		o.settle(t, claimed, success)
		o.clock.Advance(time.Second)
	}
	for _, endpoint := range endpoints {
		p := must(o.Deliveries(t.Context(), webhook.DeliveryQuery{Endpoint: endpoint, States: []webhook.DeliveryState{
			webhook.DeliveryPending, webhook.DeliverySending, webhook.DeliveryDead, webhook.DeliveryDropped,
		}}))(t)
		if len(p.Deliveries) > 0 {
			t.Errorf("all is well, and %s is without %d of %d messages: %+v", endpoint, len(p.Deliveries), published, p.Deliveries[0])
		}
		if e := must(o.Endpoint(t.Context(), endpoint))(t); e.Health != (webhook.Health{PacedUntil: e.Health.PacedUntil}) {
			t.Errorf("all is well, and %s is %+v", endpoint, e.Health)
		}
	}
}

// check checks what holds of every delivery at any time.
func check(t *testing.T, o *office, endpoints []string, published int) {
	t.Helper()
	now := o.clock.Now()
	for _, endpoint := range endpoints {
		total := 0
		for before := int64(0); ; {
			p := must(o.Deliveries(t.Context(), webhook.DeliveryQuery{Endpoint: endpoint, Before: before, Limit: 500}))(t)
			for _, d := range p.Deliveries {
				total++
				ok := d.State.Ended() == !d.EndedAt.IsZero() && d.Tries >= d.Attempt && d.Attempt >= 0 && (d.State == webhook.DeliverySending) == (d.Token != "")
				switch d.State {
				case webhook.DeliveryPending:
					ok = ok && !d.Due.IsZero() && d.Due.Before(now.Add(webhook.MaxWait+1))
				case webhook.DeliveryDelivered:
					ok = ok && d.Failure == 0
				case webhook.DeliveryDead, webhook.DeliveryDropped:
					ok = ok && d.Failure != 0
				}
				if !ok {
					t.Fatalf("%+v", d)
				}
			}
			if before = p.Next; before == 0 {
				break
			}
		}
		if total != published {
			t.Errorf("%s has %d deliveries of %d messages", endpoint, total, published)
		}
		if e := must(o.Endpoint(t.Context(), endpoint))(t); e.Health.BlockedUntil.Sub(now) > 24*time.Hour || (e.State == webhook.EndpointDisabled) != (e.Reason != 0) {
			t.Errorf("%+v", e)
		}
	}
}
