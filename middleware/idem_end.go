package middleware

import (
	"context"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware/idempotency"
)

// conclude ends the claim of a pass that was settled: what was done is kept, and
// what was not done may be done anew.
func (p *Pass) conclude(ctx context.Context, s *Settled, o Outcome) {
	c := p.claim()
	// What was charged, or may be, is done, however it ended; whether that is so when
	// the ledger could not tell is not known.
	owed := s.Charged > 0 || s.Held > 0 && (s.Action == Keep || s.Action == Capture && s.Err != nil)
	whole := o.Completed && !o.TimedOut && !o.Hijacked && o.Status >= 200 && (o.Wrote || !o.ClientGone)
	a := c.capture.answer(p, o, p.http.rec.inner.Header())
	var err error
	switch {
	case whole && (owed || o.Status < 500):
		s.Kept, err = c.finish(ctx, a)
	case owed || o.Hijacked || o.Ending() == EndHijack:
		s.Kept, err = c.finish(ctx, opaque(a))
	default:
		s.Kept = KeptForgotten
		err = c.drop(ctx)
	}
	if err != nil {
		s.Kept = KeptNothing
		s.Err = errors.Join(s.Err, errors.Wrap("middleware.Idempotency", err))
	}
}

// outlived reports whether a call has lost its claim meanwhile and would be charged
// all the same, because it is charged even after its hold has timed out, or its meter
// has made a hold since: whoever took it over found nothing that was paid, and pays.
// The others cannot be charged twice, for their holds were released.
func (p *Pass) outlived() bool {
	c, metered := p.claim(), p.meter.Load() != nil
	if c == nil || !metered && (p.held == 0 || p.route.op.Late != credits.LateCharged) {
		return false
	}
	asking := detached{parent: p.settling.parent, timeout: c.once.opt.Timeout} // and leaves time to settle
	defer asking.stop()
	found, err := c.once.opt.Store.Claim(&asking, c.claim(c.once.opt.Lease))
	return err == nil && !c.holds(&found)
}

// finish keeps the answer, or, if there is no room for it, that it was given.
func (c *claim) finish(ctx context.Context, a idempotency.Answer) (Kept, error) {
	data, err := a.MarshalBinary()
	if err == nil {
		err = c.keep(ctx, data)
	}
	if code := errors.CodeOf(err); !a.Opaque && (code == errors.Exhausted || code == errors.Invalid) {
		a = opaque(a) // Invalid: the handler has set fields that HTTP cannot send, or too many
		if data, err = a.MarshalBinary(); err == nil {
			err = c.keep(ctx, data)
		}
	}
	switch {
	case err != nil:
		return KeptNothing, err
	case a.Opaque:
		return KeptOpaque, nil
	}
	return KeptAnswer, nil
}

// keep puts data in the place of the claim. A store that could not answer is asked
// once more.
func (c *claim) keep(ctx context.Context, data []byte) (err error) {
	for range 2 {
		err = c.once.opt.Store.Finish(ctx, c.key, c.token, data, c.once.opt.Keep)
		if errors.CodeOf(err) != errors.Unavailable {
			break
		}
	}
	return err
}
