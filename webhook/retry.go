package webhook

import "time"

// A Retry says how long after a failed attempt the next may be made, and whether
// one is to be made at all. It is a pure function: equal arguments, equal answers.
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
