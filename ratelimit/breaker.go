package ratelimit

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// A breaker keeps requests from a store that fails. It opens on the ratio of
// failures among the latest calls; once open, it lets one call at a time try
// after each cooldown, and closes after so many good ones in a row.
type breaker struct {
	samples, least, percent, probes int
	cooldown                        int64 // microseconds

	// calm: closed, and the latest calls were all good. A good call then changes
	// nothing, and takes no lock.
	calm  atomic.Bool
	epoch atomic.Uint64 // of turns; a call that began in an earlier one says nothing

	mu       sync.Mutex
	open     bool
	seen     int    // of the latest calls, up to samples
	bad      uint64 // which of them failed, the latest in bit 0
	retry    int64  // open: when the next call may try
	probing  bool   // open: a call is trying
	good     int    // open: tries in a row that were good
	since    int64  // of the last turn
	failures int64  // since the last turn
	cause    error  // the latest failure
	turns    []Turn // not told yet
	telling  bool   // the observer is being told

	// Of the policy, since the last turn.
	allowed, refused atomic.Int64
}

// A verdict is what a call says about its store.
type verdict uint8

const (
	nothing verdict = iota // it was given up, or its argument was wrong
	answered
	failed
)

// enter reports whether a call may be made at the time that clock tells, and
// the epoch to leave it with.
func (b *breaker) enter(clock func() int64) (epoch uint64, err error) {
	epoch = b.epoch.Load()
	if b.calm.Load() {
		return epoch, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	epoch = b.epoch.Load()
	if b.closedTo(clock) {
		return epoch, b.cause
	}
	b.probing = b.open
	return epoch, nil
}

// shut reports whether enter would let nobody in now.
func (b *breaker) shut(clock func() int64) bool {
	if b.calm.Load() {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closedTo(clock)
}

// closedTo is shut for one who has the lock.
func (b *breaker) closedTo(clock func() int64) bool {
	if !b.open {
		return false
	}
	now := clock()
	b.retry = min(b.retry, now+b.cooldown) // where the clock went back
	return b.probing || b.good == 0 && now < b.retry
}

// leave notes how a call ended, and reports whether that brought about a turn.
func (b *breaker) leave(epoch uint64, v verdict, err error, clock func() int64) (turned bool) {
	if v == answered && b.calm.Load() {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if v == failed {
		b.failures++
		b.cause = err
	}
	switch {
	case epoch != b.epoch.Load():
		return false
	case b.open:
		return b.tried(v, clock)
	case v == nothing:
		return false
	}
	b.seen = min(b.seen+1, b.samples)
	b.bad = b.bad << 1 & (1<<b.samples - 1)
	if v == failed {
		b.bad |= 1
	}
	n := bits.OnesCount64(b.bad)
	if v == failed && b.seen >= b.least && 100*n >= b.percent*b.seen {
		return b.turn(true, clock())
	}
	b.calm.Store(n == 0 && b.seen == b.samples)
	return false
}

// tried is leave while the breaker is open.
func (b *breaker) tried(v verdict, clock func() int64) (turned bool) {
	b.probing = false
	switch v {
	case answered:
		if b.good++; b.good >= b.probes {
			return b.turn(false, clock())
		}
	case failed:
		b.good = 0
		b.retry = clock() + b.cooldown
	}
	return false
}

func (b *breaker) turn(open bool, now int64) bool {
	t := Turn{
		Degraded: open, At: time.UnixMicro(now).UTC(), Lasted: micros(max(now-b.since, 0)),
		Failures: b.failures, Allowed: b.allowed.Swap(0), Refused: b.refused.Swap(0),
	}
	if open {
		t.Err = b.cause
	}
	b.turns = append(b.turns, t)
	b.calm.Store(false)
	b.epoch.Add(1)
	b.open, b.since, b.failures = open, now, 0
	b.seen, b.bad, b.good, b.probing = 0, 0, 0, false
	b.retry = now + b.cooldown
	return true
}

// next returns a turn to tell, unless another one is being told.
func (b *breaker) next() (t Turn, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.telling || len(b.turns) == 0 {
		return t, false
	}
	t, b.turns, b.telling = b.turns[0], b.turns[1:], true
	return t, true
}

// told ends what next began.
func (b *breaker) told() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.telling = false
}

// count counts a decision of the policy.
func (b *breaker) count(req *Request) {
	switch {
	case req.Mode == ModePeek:
	case req.Allowed:
		b.allowed.Add(1)
	default:
		b.refused.Add(1)
	}
}
