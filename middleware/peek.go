package middleware

import (
	"context"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/ratelimit"
)

// Peek tells what the limits of rt, a route of the same gate, would say to the
// caller of p now, and takes nothing: for a view of what is left. Limits that
// clients are not told of ([PerOperation]) are left out; a route without any
// other gives a result that allows and has no states.
func (p *Pass) Peek(ctx context.Context, rt *Route) (ratelimit.Result, error) {
	const op = "middleware.Peek"
	if rt == nil || rt.gate != p.gate {
		return ratelimit.Result{}, &errors.Error{Code: errors.Invalid, Op: op, Msg: "the route is not one of this gate; give what Gate.Route returned"}
	}
	charges := make([]ratelimit.Charge, 0, maxGroups)
	for i := range rt.groups {
		if g := &rt.groups[i]; g.subject != PerOperation {
			charge, err := p.chargeOf(g)
			if err != nil {
				return ratelimit.Result{}, errors.Wrap(op, err)
			}
			charge.Cost = 1
			charges = append(charges, charge)
		}
	}
	if len(charges) == 0 {
		return ratelimit.Result{Allowed: true}, nil
	}
	result, err := p.gate.limiter.PeekAll(ctx, charges...)
	return result, errors.Wrap(op, err)
}

// tellLimits has a refusal of a proven key tell what its limits have left, where it
// does not yet. A store that cannot say leaves that out.
func (p *Pass) tellLimits(ctx context.Context, d *Denial) {
	if p.key.ID == "" || len(d.states) > 0 || d.Verdict.failure() {
		return
	}
	if result, err := p.Peek(ctx, p.route); err == nil && !result.Degraded {
		d.look(&result)
		d.policy = p.route.policy
	}
}
