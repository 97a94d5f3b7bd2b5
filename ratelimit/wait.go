package ratelimit

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// answerWithin is how long Wait awaits the answer of a store, whatever becomes of
// the caller.
const answerWithin = 5 * time.Second

// Wait takes cost from every limit of the limiter for the subject key, as
// [Limiter.Take] does, as soon as it passes.
//
// It is fair: those who wait for one key are served in the order they came, a
// small cost behind a large one too. Take does not wait in line and may
// overtake. Only who is first asks the store, once, and again after exactly the
// RetryAfter that it was told, or when this limiter gives back, releases or
// resets something of the key. What other limiters give back is not heard.
//
// It is bounded. A refused [Result], without an error and with nothing taken,
// comes at once when waiting is in vain: RetryAfter is [Never], or the wait
// that is known now does not end before ctx's deadline or within
// [Options].MaxWait, or [Options].MaxWaiters wait already. How long a lease of
// a [Concurrency] limit will be held is not known, so it may be waited for. A
// wait that turns out longer ends with a refused Result after MaxWait, and when
// ctx is done with an error that is both ctx's error and its cause. A Result
// that is refused because of those ahead names as RetryAfter the least that is
// known, and may have no State that is refused.
//
// Nothing is lost: either the cost was taken and Wait says so, or it was not. So
// a store that was asked is awaited whatever becomes of ctx, for 5 seconds at
// most. The line is this limiter's own: those of other processes ask the store
// beside it. Wait starts no goroutine.
func (l *Limiter) Wait(ctx context.Context, key string, cost int64) (Result, error) {
	return l.wait(ctx, "ratelimit.Wait", []Charge{{Key: key, Cost: cost}})
}

// WaitAll is Wait for several subjects: it takes every charge in one atomic
// step as soon as all pass, and waits in line for each key that it charges. Two
// calls never wait for each other, whatever the order of their charges.
func (l *Limiter) WaitAll(ctx context.Context, charges ...Charge) (Result, error) {
	return l.wait(ctx, "ratelimit.WaitAll", charges)
}

func (l *Limiter) wait(ctx context.Context, op string, charges []Charge) (res Result, err error) {
	began := systemTime()
	keys, inVain, err := l.prospect(charges)
	switch {
	case err != nil:
		return res, errors.Wrap(op, err)
	case ctx.Err() != nil:
		return res, errors.Wrap(op, ended(ctx))
	case inVain:
		return l.turnAway(ctx, op, charges, time.Time{})
	case len(keys) == 0:
		return l.ask(ctx, op, charges)
	}
	w, behind, at := l.line.join(keys, l.maxWaiters)
	switch {
	case w == nil && behind:
		return l.turnAway(ctx, op, charges, at)
	case w == nil:
		return l.ask(ctx, op, charges)
	}
	defer l.line.leave(w)
	for {
		nap := time.Duration(math.MaxInt64)
		if first, at := l.line.place(w); !first {
			if p := l.patience(ctx, began); p <= 0 || until(at) > p {
				return l.turnAway(ctx, op, charges, at)
			}
		} else {
			res, err = l.ask(ctx, op, charges)
			if err != nil || res.Allowed || res.RetryAfter <= 0 {
				return res, err
			}
			least := res.known()
			if p := l.patience(ctx, began); p <= 0 || least > p {
				if ctx.Err() != nil {
					return Result{}, errors.Wrap(op, ended(ctx))
				}
				return res, nil
			}
			nap = res.RetryAfter
			l.line.waits(w, systemTime().Add(least))
		}
		if l.maxWait < math.MaxInt64 {
			nap = min(nap, l.maxWait+until(began))
		}
		if err := w.sleep(ctx, nap); err != nil {
			return Result{}, errors.Wrap(op, err)
		}
	}
}

// sleep waits for w's turn to look again, at most so long.
func (w *waiter) sleep(ctx context.Context, most time.Duration) error {
	var over <-chan time.Time
	if most < math.MaxInt64 {
		timer := time.NewTimer(most) //nolint:forbidigo // stopped when the sleep is over
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-w.turn:
	case <-over:
	case <-ctx.Done():
		return ended(ctx)
	}
	return nil
}

// prospect returns the keys to wait in line for, and whether waiting is in
// vain whatever is free.
func (l *Limiter) prospect(charges []Charge) (keys []string, inVain bool, err error) {
	req := l.request(ModePeek)
	defer l.release(req)
	if req.Ops, err = l.lay(req.Ops, charges); err != nil {
		return nil, false, err
	}
	for i := range req.Ops {
		op := &req.Ops[i]
		if r := op.Rule; op.Cost == 0 || r.limit.Shadow || r.limit.Algorithm == Unlimited {
			continue
		}
		inVain = inVain || op.Cost > op.Rule.quota // a DenyAll limit's is 0
		if !slices.Contains(keys, op.Key) {
			keys = append(keys, op.Key)
		}
	}
	return keys, inVain, nil
}

// ask takes the charges if they pass now. Only the memory store, which does not
// wait for anything, hears that ctx is done.
func (l *Limiter) ask(ctx context.Context, op string, charges []Charge) (res Result, err error) {
	if l.memory == nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), answerWithin)
		defer cancel()
	}
	err = l.decide(ctx, op, ModeTake, charges, &res)
	return res, err
}

// turnAway refuses without having asked to take: who is ahead waits until at.
func (l *Limiter) turnAway(ctx context.Context, op string, charges []Charge, at time.Time) (res Result, err error) {
	if err := l.decide(ctx, op, ModePeek, charges, &res); err != nil {
		return res, err
	}
	res.Allowed = false
	if res.RetryAfter != Never {
		behind := (until(at) + time.Microsecond - 1).Truncate(time.Microsecond)
		res.RetryAfter = max(res.RetryAfter, behind, time.Microsecond)
	}
	return res, nil
}

// known returns the least wait that waiting will take for sure: a lease may end
// at any time.
func (r *Result) known() time.Duration {
	least := time.Duration(0)
	for s := range r.Refused() {
		if s.Limit.Algorithm != Concurrency {
			least = max(least, s.RetryAfter)
		}
	}
	return least
}

// patience returns the longest wait that still serves a call which began then.
func (l *Limiter) patience(ctx context.Context, began time.Time) time.Duration {
	p := l.maxWait + until(began)
	if l.maxWait == math.MaxInt64 {
		p = math.MaxInt64
	}
	if d, ok := ctx.Deadline(); ok {
		p = min(p, until(d)-1)
	}
	return p
}

// ended returns the error of a context that is done.
func ended(ctx context.Context) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, ctx.Err()) {
		return cause
	}
	return errors.Join(ctx.Err(), cause)
}

// until returns how far off an instant of the clock that timers run by is.
func until(at time.Time) time.Duration {
	return time.Until(at) //nolint:forbidigo // of a context's deadline or a timer, which know no other clock
}
