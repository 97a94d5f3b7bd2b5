package middleware

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
)

// A Meter counts what a call uses while it runs, for streams whose cost is known
// only as they go. Make one with [Pass.Meter]; it is safe for concurrent use.
//
// What is counted is held already: first against the price, and when that is used
// up against another hold of twice the size, and so on, so that a stream makes few
// of them. What is not used of the last goes back at the end.
type Meter struct {
	pass    *Pass
	account credits.AccountID
	turn    chan struct{} // of one: who asks the ledger

	mu    sync.Mutex
	used  credits.Amount // counted; guarded by mu
	held  credits.Amount // by all holds; guarded by mu
	holds []meterHold    // guarded by mu
	due   time.Time      // when the holds are put off; the zero time: never. Guarded by mu

	next  credits.Amount // the size of the next hold; of who has the turn
	named int            // how many ids of holds were used; of who has the turn
	lost  int            // of how many of them the ledger could not tell; of who has the turn
}

// A meterHold is one of the holds of a meter.
type meterHold struct {
	id       credits.OpID
	amount   credits.Amount
	life     time.Duration // from when it is made, or put off; 0: for ever
	deadline time.Time     // by the ledger's clock, when it times out
	until    time.Time     // the same by the gate's clock
	since    time.Time     // when it was made or put off, by the gate's clock
}

// maxMeterHolds bounds the holds of one meter. Doubling reaches MaxAmount from the
// smallest amount before that.
const maxMeterHolds = 64

// maxMeterLost bounds the holds of one meter of which the ledger could not tell, so
// that who takes over a call that died finds all of them by their numbers.
const maxMeterLost = 3

// renewals is after what part of their life holds are put off.
const renewals = 2

// Meter returns the meter of the pass, always the same. From the first call on
// the pass is charged what the meter has counted, however it ends, by panic, by a
// client that leaves, with 5xx: an own count of 0 charges 0. Only a [Pass.Charge]
// wins over it.
func (p *Pass) Meter() *Meter {
	if m := p.meter.Load(); m != nil {
		return m
	}
	m := &Meter{pass: p, account: p.account, turn: make(chan struct{}, 1), held: p.held}
	m.next = min(2*p.held, credits.MaxAmount)
	if p.held > 0 {
		m.named, m.holds = 1, []meterHold{p.meterHold()}
		m.due = m.holds[0].due()
	} else if p.gate.ledger != nil {
		m.account = p.gate.accountOf(p.key)
	}
	if !p.meter.CompareAndSwap(nil, m) {
		return p.meter.Load()
	}
	return m
}

// meterHold returns the pass's own hold. How old it is, the clocks of the gate and
// of the ledger tell together; when they are further apart than half of its life, it
// counts as one that is to be put off at once.
func (p *Pass) meterHold() meterHold {
	now, made := p.gate.opt.Now(), time.UnixMicro(p.heldAt)
	h := meterHold{id: p.holdID, amount: p.held, life: p.heldFor, deadline: made.Add(p.heldFor)}
	age := now.Sub(made)
	switch {
	case age < -h.life/renewals || age > h.life:
		age = h.life / renewals
	case age < 0:
		age = 0
	}
	h.since = now.Add(-age)
	h.until = h.since.Add(h.life)
	return h
}

// due returns when the hold is to be put off, the zero time: never.
func (h *meterHold) due() time.Time {
	if h.life == 0 {
		return time.Time{}
	}
	return h.until.Add(-h.life / renewals)
}

// renewed notes what became of an attempt at now to put the hold off, and returns
// when to make the next: not at the deadline's heels, nor after it.
func (h *meterHold) renewed(r *credits.Receipt, err error, now time.Time) time.Time {
	const retries = 8 // in a life
	if err == nil {
		// Unless the ledger says otherwise, it lasts its whole life from now.
		longer := r.Deadline.Sub(h.deadline)
		if longer < now.Sub(h.since)-h.life/retries {
			h.until = h.until.Add(longer)
		} else {
			h.until = now.Add(h.life)
		}
		h.deadline, h.since = r.Deadline, now
	}
	next := now.Add(h.life / retries)
	if due := h.due(); due.After(next) {
		next = due
	}
	if next.After(h.until) && h.until.After(now) {
		next = h.until
	}
	return next
}

// Add counts amount, 0 or more, as used. Call it before the client gets what it
// pays for. An error means that amount is not counted, and the stream has to stop:
//
//   - of code Insufficient, a [*credits.DeniedError] as a rule: the account, or a
//     budget, has no more
//   - of code Conflict: the call has ended, or its hold was handed over
//   - of code Invalid: amount is negative, or the operation is Free
//   - any other: the ledger could not decide, or ctx was done before it had
//
// Most calls cost no trip to the ledger, and ctx bounds those that do. Add puts off
// the deadlines of the holds too, so a stream may be silent for half of
// Operation.HoldTTL; one that is longer calls Add with 0 from time to time. What
// has timed out all the same is held anew, if there are credits for it.
func (m *Meter) Add(ctx context.Context, amount credits.Amount) error {
	const op = "middleware.Meter.Add"
	switch {
	case amount < 0:
		return &errors.Error{Code: errors.Invalid, Op: op, Msg: "the amount is " + amount.String() + "; give 0 or more"}
	case amount > credits.MaxAmount:
		return &errors.Error{Code: errors.Insufficient, Op: op, Msg: amount.String() + " credits are more than an account can have"}
	}
	if m.pass.paid() {
		return nil
	}
	if counted, err := m.count(amount, m.pass.gate.opt.Now()); counted || err != nil {
		return errors.Wrap(op, err)
	}
	if m.pass.route.op.Price.kind == free {
		return &errors.Error{Code: errors.Invalid, Op: op, Msg: "operation " + m.pass.route.op.Name + " is free; give it a price, and it can be metered"}
	}
	select {
	case m.turn <- struct{}{}:
	case <-ctx.Done():
		return errors.Wrap(op, ctx.Err())
	}
	defer func() { <-m.turn }()
	return errors.Wrap(op, m.reserve(ctx, amount))
}

// Used returns what was counted so far.
func (m *Meter) Used() credits.Amount {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used
}

// reserved returns what is held.
func (m *Meter) reserved() credits.Amount {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held
}

// count counts amount when it is held already, and no deadline is near then.
func (m *Meter) count(amount credits.Amount, now time.Time) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := settledBy(m.pass.state.Load()); err != nil {
		return false, err
	}
	if m.held-m.used < amount || !m.due.IsZero() && !now.Before(m.due) {
		return false, nil
	}
	m.used += amount
	return true, nil
}

// reserve has the ledger do what it takes for amount to be counted. The turn is
// the caller's.
func (m *Meter) reserve(ctx context.Context, amount credits.Amount) error {
	if err := m.extend(ctx); err != nil {
		return err
	}
	for {
		// Others count meanwhile, so what is made room for may be theirs.
		counted, err := m.count(amount, time.Time{})
		if counted || err != nil {
			return err
		}
		if err := m.grow(ctx, amount); err != nil {
			return err
		}
	}
}

// meterHoldID names the nth hold of a meter, from 1 on, which is that of the price
// where there is one.
func meterHoldID(id credits.OpID, n int) credits.OpID {
	if n == 1 {
		return id
	}
	return id + "/" + credits.OpID(strconv.Itoa(n))
}

// grow makes one more hold, so that amount can be counted.
func (m *Meter) grow(ctx context.Context, amount credits.Amount) error {
	m.mu.Lock()
	need, holds := amount-(m.held-m.used), len(m.holds)
	m.mu.Unlock()
	if need <= 0 {
		return nil
	}
	if m.lost == maxMeterLost {
		return &errors.Error{Code: errors.Unavailable, Msg: "the ledger could not tell too often during this call; stop it, and begin another"}
	}
	if holds == maxMeterHolds || need > credits.MaxAmount {
		return &errors.Error{Code: errors.Insufficient, Msg: "the call has used up what one call can hold"}
	}
	p, size := m.pass, min(max(m.next, need), credits.MaxAmount)
	h := meterHold{id: meterHoldID(p.holdID, m.named+1)}
	for {
		now := p.gate.opt.Now()
		r, err := p.gate.payer.Hold(ctx, p.hold(m.account, h.id, size))
		denied, isDenied := errors.AsType[*credits.DeniedError](err)
		switch {
		case err == nil && r.Replayed:
			m.named++
			return &errors.Error{Code: errors.Conflict, Msg: "the id of the meter's hold was used before"}
		case err == nil:
			m.named++
			m.next = min(2*max(m.next, size), credits.MaxAmount)
			h.amount, h.life, h.deadline = size, lifetime(&r), r.Deadline
			h.since, h.until = now, now.Add(h.life)
			return m.keep(ctx, h)
		case isDenied && size > need && denied.Available >= need && denied.Available < size:
			size = denied.Available // the last of what there is
		case isDenied || errors.CodeOf(err) == errors.Invalid:
			return err
		default: // the ledger may have it all the same
			m.named++
			m.lost++
			p.abandon(ctx, m.account, h.id)
			return err
		}
	}
}

// keep adds a hold that was made, unless the call has ended meanwhile.
func (m *Meter) keep(ctx context.Context, h meterHold) error {
	m.mu.Lock()
	err := settledBy(m.pass.state.Load())
	if err == nil {
		m.holds = append(m.holds, h)
		m.held += h.amount
		m.due = earlier(m.due, h.due())
	}
	m.mu.Unlock()
	if err != nil {
		m.pass.abandon(ctx, m.account, h.id)
	}
	return err
}

// extend puts the deadlines of the holds off, when one is near. A ledger that
// cannot do it is asked again before the deadline, and is an error after it.
func (m *Meter) extend(ctx context.Context) error {
	p := m.pass
	now := p.gate.opt.Now()
	m.mu.Lock()
	near := !m.due.IsZero() && !now.Before(m.due)
	holds := append([]meterHold(nil), m.holds...)
	m.mu.Unlock()
	if !near {
		return nil
	}
	var due time.Time
	var lost credits.Amount
	kept := holds[:0]
	for _, h := range holds {
		if h.life == 0 {
			kept = append(kept, h)
			continue
		}
		r, err := p.gate.payer.Extend(ctx, credits.Extend{Account: m.account, Hold: h.id, TTL: p.route.op.HoldTTL})
		switch {
		case errors.Is(err, credits.ErrTimedOut):
			lost += h.amount
			continue
		case err != nil && (errors.CodeOf(err) != errors.Unavailable || !now.Before(h.until)):
			return err
		}
		due = earlier(due, h.renewed(&r, err, now))
		kept = append(kept, h)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.holds, m.held, m.due = kept, m.held-lost, due
	return settledBy(p.state.Load())
}

// earlier returns the earlier of two times, of which the zero time is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// settle ends the holds: what was counted, or stated, is charged from the first
// on, and what is left goes back.
func (m *Meter) settle(s *Settled, state int64) {
	p := m.pass
	m.mu.Lock()
	s.Held, s.Asked = m.held, m.used
	holds := m.holds // nobody counts or adds any more
	m.mu.Unlock()
	if state > passOpen {
		s.Asked = credits.Amount(state - 1)
	}
	if len(holds) > 0 {
		s.Action, s.Account, s.Hold = Capture, m.account, holds[0].id
	}
	rest := s.Asked
	var timedOut error
	for i, h := range holds {
		ask, last := min(rest, h.amount), i == len(holds)-1
		if last {
			ask = rest
		}
		charged, err := p.capture(m.account, h.id, h.amount, ask)
		s.Charged += charged
		if errors.Is(err, credits.ErrTimedOut) && !last {
			timedOut = errors.Join(timedOut, err)
			continue // later ones may have room for it
		}
		rest -= ask
		s.Err = errors.Join(s.Err, err)
	}
	if s.Charged < s.Asked {
		s.Err = errors.Join(timedOut, s.Err)
	}
}
