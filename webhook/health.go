package webhook

import "time"

// The breaker of an endpoint.
const (
	breakerRow     = 5                // failures in a row that open it
	breakerSample  = 10               // or so many attempts in a window, half of them failed
	breakerWindow  = 5 * time.Minute  // from a failure on
	breakerOpen    = 30 * time.Second // twice as long each time it opens again
	breakerLongest = 15 * time.Minute

	// failingGap is how far apart two failures may be and still tell of one time in
	// which nothing worked.
	failingGap = 48 * time.Hour
)

// Health is what deliveries found out about an endpoint. It is comparable: a
// [Store] writes it only when it changed.
type Health struct {
	// BlockedUntil: no attempt before it, by a Retry-After or the breaker.
	BlockedUntil time.Time
	// AskedUntil is what of it the receiver asked for by Retry-After.
	AskedUntil time.Time
	// PacedUntil is the theoretical arrival time of the next attempt, by Rate.
	PacedUntil time.Time
	// Trips counts the openings of the breaker since the last success. While it is
	// not 0, one attempt at a time probes.
	Trips int
	// Failures counts failed attempts since the last success.
	Failures int
	// WindowAt begins the breaker's window, which opens with a failure; Attempts
	// and Missed are the attempts and the failures in it.
	WindowAt         time.Time
	Attempts, Missed int
	// FailingSince and FailedAt are the first and the last failure since the last
	// success, or since a time of more than two days without any attempt.
	FailingSince, FailedAt time.Time
	// Told is set once it was reported that the endpoint is failing.
	Told bool
}

// blocked reports whether no attempt may begin at now.
func (h *Health) blocked(now time.Time) bool { return ahead(now, h.BlockedUntil) }

// asked returns AskedUntil, or the zero time when that is over.
func (h *Health) asked(now time.Time) time.Time {
	if ahead(now, h.AskedUntil) {
		return h.AskedUntil
	}
	return time.Time{}
}

// ahead reports whether the end of a block is still to come. Nothing blocks for
// longer than MaxRetryAfter: an instant beyond that was noted before the clock was
// set back, and means nothing.
func ahead(now, until time.Time) bool { return now.Before(until) && until.Sub(now) <= MaxRetryAfter }

// windowed reports whether the breaker's window is open.
func (h *Health) windowed(now time.Time) bool {
	return !h.WindowAt.IsZero() && !now.Before(h.WindowAt) && now.Sub(h.WindowAt) < breakerWindow
}

// succeed notes a success. It closes the breaker and forgets all failures, but for
// their share of a window that has not led to anything, and what the receiver has
// asked for. Of an endpoint without failures it changes nothing.
func (h *Health) succeed(now time.Time) {
	after := Health{PacedUntil: h.PacedUntil, BlockedUntil: h.asked(now), AskedUntil: h.asked(now)}
	if h.Trips == 0 && h.windowed(now) {
		after.WindowAt, after.Attempts, after.Missed = h.WindowAt, h.Attempts+1, h.Missed
	}
	*h = after
}

// fail notes a failure, and opens the breaker when it is one too many.
func (h *Health) fail(now time.Time) {
	if !h.windowed(now) {
		h.WindowAt, h.Attempts, h.Missed = now, 0, 0
	}
	h.Attempts++
	h.Missed++
	h.Failures++
	if h.FailingSince.IsZero() || now.Before(h.FailingSince) || now.Sub(h.FailedAt) > failingGap {
		h.FailingSince = now
	}
	h.FailedAt = now
	switch {
	case h.Trips > 0 && h.blocked(now):
		return // open: the attempt began before
	case h.Trips > 0, h.Failures >= breakerRow, h.Attempts >= breakerSample && 2*h.Missed >= h.Attempts:
	default:
		return
	}
	open := min(breakerOpen<<min(h.Trips, 10), breakerLongest)
	h.Trips++
	h.BlockedUntil = later(h.asked(now), now.Add(open))
}

// pause notes that the receiver asked to be left alone for so long.
func (h *Health) pause(now time.Time, wait time.Duration) {
	if wait <= 0 {
		return
	}
	h.AskedUntil = later(h.asked(now), now.Add(min(wait, MaxRetryAfter).Truncate(time.Microsecond)))
	if !h.blocked(now) || h.BlockedUntil.Before(h.AskedUntil) {
		h.BlockedUntil = h.AskedUntil
	}
}
