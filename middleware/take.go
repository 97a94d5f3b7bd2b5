package middleware

import (
	"context"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/ratelimit"
)

// limit takes one unit of every limit of the route, or none of any.
func (g *Gate) limit(ctx context.Context, p *Pass) *Denial {
	groups := p.route.groups
	if len(groups) == 0 {
		return nil
	}
	var room [maxGroups]ratelimit.Charge
	charges := room[:0]
	for i := range groups {
		charge, err := p.chargeOf(&groups[i])
		if err != nil {
			return undecided(ctx, err)
		}
		charges = append(charges, charge)
	}
	err := ctx.Err()
	if wait := p.route.op.MaxWait; wait > 0 {
		p.limits, err = g.wait(ctx, p, wait, charges)
	} else if err == nil {
		p.limits, err = g.limiter.TakeAll(p.taking(), charges...)
	}
	if err != nil {
		return undecided(ctx, err)
	}
	if p.limits.Allowed {
		return nil
	}
	d := &Denial{Verdict: VerdictRateLimited, policy: p.route.policy}
	visible := p.route.visible
	if p.limits.Degraded {
		visible = 0 // what remains is not known
	}
	d.refusedBy(&p.limits, visible)
	if busy(&p.limits) {
		d.Verdict, d.RetryAfter = VerdictBusy, heldRetry
	}
	return d
}

// errWaited is the cause of the end of a wait that was long enough.
var errWaited = errors.New("the wait is over")

// wait takes the charges as soon as they pass, and at the latest, or not, when
// the wait is over.
func (g *Gate) wait(ctx context.Context, p *Pass, most time.Duration, charges []ratelimit.Charge) (ratelimit.Result, error) {
	waiting, cancel := context.WithTimeoutCause(ctx, most, errWaited)
	defer cancel()
	result, err := g.limiter.WaitAll(waiting, charges...)
	if errors.Is(err, errWaited) {
		return g.limiter.TakeAll(p.taking(), charges...) // says which limits refuse, or that one has just let go
	}
	return result, err
}

// busy reports whether what runs at once stands in the way, and nothing else.
func busy(result *ratelimit.Result) bool {
	refused := false
	for s := range result.Refused() {
		if s.Limit.Algorithm != ratelimit.Concurrency {
			return false
		}
		refused = true
	}
	return refused
}

// chargeOf returns what the call costs the subject of g.
func (p *Pass) chargeOf(g *group) (ratelimit.Charge, error) {
	limits, err := g.limitsOf(&p.key)
	charge := ratelimit.Charge{Key: p.subject(g.subject), Limits: limits, Cost: 1}
	if g.measured {
		charge.Cost = p.units
	}
	return charge, err
}

// subject returns the name under which the pass is counted.
func (p *Pass) subject(s Subject) string {
	switch s {
	case PerOwner:
		return p.key.Owner
	case PerIP:
		return p.bucket()
	case PerOperation:
		return p.route.op.Name
	}
	return p.key.Meter
}

// giveBack returns what the limits took. A store that is down keeps it until
// the window passes.
func (p *Pass) giveBack(ctx context.Context) error {
	if len(p.route.groups) == 0 {
		return nil
	}
	settling := detached{parent: ctx, timeout: p.gate.opt.SettleTimeout}
	defer settling.stop()
	return p.gate.limiter.Refund(&settling, p.limits.Reservation)
}

// release ends the leases of the pass.
func (p *Pass) release(ctx context.Context) error {
	var room [maxGroups]ratelimit.Charge
	charges := room[:0]
	for i := range p.route.groups {
		if g := &p.route.groups[i]; g.leases() {
			charge, err := p.chargeOf(g)
			if err != nil {
				return err
			}
			charges = append(charges, charge)
		}
	}
	return p.gate.limiter.ReleaseAll(ctx, p.limits.Reservation.ID(), charges...)
}
