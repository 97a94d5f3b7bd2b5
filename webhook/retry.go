package webhook

import (
	"math/bits"
	"slices"
	"time"
)

// MaxWait is the longest wait between two attempts, and the longest step of a
// schedule.
const MaxWait = 7 * 24 * time.Hour

// busyWait is the least wait after an answer that asks to slow down, or none in
// time. The spread of jitter takes a fifth of it: a minute is what is left.
const busyWait = 75 * time.Second

// A Retry says how long after a failed attempt the next may be made, and whether
// one is to be made at all. It is a pure function: equal arguments, equal answers.
// It may be called for an attempt whose outcome nobody knows, to learn whether
// there would be another: with Failure 0.
//
// The sender holds every wait between 0 and [MaxWait], and above what the receiver
// asked for. It asks no Retry about failures that nothing can mend.
type Retry func(f FailedAttempt) (wait time.Duration, again bool)

// A FailedAttempt is what a [Retry] decides on.
type FailedAttempt struct {
	Account, Endpoint, Type string
	Attempt                 int // 1 for the first since the schedule began
	Failure                 Failure
	Status                  int
	RetryAfter              time.Duration   // asked for by the receiver; the sender waits at least that long whatever is answered
	Schedule                []time.Duration // of the endpoint; empty: none of its own
	Random                  uint64          // for jitter
}

// StandardSchedule returns the waits that Standard Webhooks recommends, after
// which a message is given up: 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h.
func StandardSchedule() []time.Duration {
	return []time.Duration{
		5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
		10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
	}
}

// Schedule returns a Retry that waits delays[0] after the first attempt, delays[1]
// after the second, and so on, and gives up after one attempt more than there are
// delays. The schedule of an endpoint, where it has one, takes their place. A delay
// under 0 is taken as 0, one over [MaxWait] as MaxWait.
//
// Each wait is drawn evenly from the fifth below to the fifth above its delay, so
// that messages which failed together do not come back together. After
// [FailedBusy] and [FailedTimeout] it is a minute at least.
func Schedule(delays []time.Duration) Retry {
	delays = slices.Clone(delays)
	return func(f FailedAttempt) (time.Duration, bool) {
		steps := delays
		if len(f.Schedule) > 0 {
			steps = f.Schedule
		}
		if f.Attempt < 1 || f.Attempt > len(steps) {
			return 0, false
		}
		wait := min(max(0, steps[f.Attempt-1]), MaxWait)
		if f.Failure == FailedBusy || f.Failure == FailedTimeout {
			wait = max(wait, busyWait)
		}
		return jitter(wait, f.Random), true
	}
}

// jitter returns a duration between four fifths and six fifths of d, evenly by
// random. d is 0 to MaxWait.
func jitter(d time.Duration, random uint64) time.Duration {
	below := d / 5
	part, _ := bits.Mul64(random, uint64(2*below)+1) // 0 to 2*below
	return d - below + time.Duration(part)
}
