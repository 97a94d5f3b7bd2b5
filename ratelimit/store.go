package ratelimit

import (
	"context"

	"github.com/keytoll/keytoll/errors"
)

// A Store keeps the cells and makes the decisions of a [Limiter]. It must be
// safe for concurrent use. Implementations prove themselves with the suite in
// package ratelimittest.
type Store interface {
	// Apply carries out the request as one atomic step, at one time of the
	// store's own clock, and fills in its outcomes. Requests behave as if they
	// were carried out one after the other.
	//
	// State is kept for each combination of the op's Key with the name and the
	// algorithm of its Rule, apart from every other combination: a [Log] where
	// the Rule is Logged, else a [Cell]. A combination never seen has the zero
	// one. Keys are any bytes. What the state becomes is computed by the methods
	// of [Rule], or exactly as they do; [Request.Run] does all of it for a store
	// that brings state and time together in this process.
	//
	// An op passes when the outcome of its cost has a RetryAfter of 0; a request
	// passes when every op does whose Rule is not Shadow.
	//
	//   - ModeTake: when the request passes, every op that passes is taken, Allowed
	//     is true and each Outcome is that of the cost taken. Otherwise nothing
	//     changes and Allowed is false. Each Outcome of a cost that was not taken
	//     is that of [Rule.Peek] or [Rule.PeekLog]. A take gets an ID that no
	//     other take of this store has; ID is zero when nothing was spent:
	//     refused, or all costs 0, or only shadow limits had costs and refused
	//     them.
	//   - ModeTakeUpTo: as ModeTake with the greatest cost that passes, from 1 to
	//     that of the ops, which all have the same: their Cost becomes what was
	//     taken, or 1 when that is refused. With a Cost of 0 it is ModeTake.
	//   - ModePeek: as ModeTake would answer, with nothing changed; Allowed says
	//     whether the request would pass, and each Outcome is that of Peek.
	//   - ModeCharge: every cost is taken, whether it passes or not, as
	//     [Rule.Charge] and [Rule.ChargeLog] do. ID becomes that of a take, or
	//     zero when all costs are 0.
	//   - ModeSettle: each op becomes what [Rule.Settle] or [Rule.SettleLog]
	//     makes of it, once for each ID: a later settlement of the same ID
	//     changes nothing. The store remembers the ID at least until the latest
	//     Until of the ops, and for [Request.Hold] from now.
	//   - ModeRenew: when every op's log holds ID ([Rule.RenewLog]), all are
	//     renewed and Allowed is true; otherwise nothing changes and Allowed is
	//     false. The ops are of Concurrency limits.
	//   - ModeRelease: what ID holds in each op's log is given back, as
	//     [Rule.SettleLog] does with a cost and an actual of 0; no ID is
	//     remembered. The ops are of Concurrency limits.
	//   - ModeReset: each op's state is forgotten.
	//
	// A store may forget a state from the time its Expires says. Before that time
	// it forgets none; it answers [ErrFull] instead when it has no room.
	//
	// An error means that nothing changed as far as the store knows, and that
	// no outcome may be read. A context that is done is an error before
	// anything changes. The store keeps nothing of the request after returning,
	// except copies of the keys.
	//
	// A store over several machines may be unable to decide about several keys
	// in one step. It must then say so in its documentation, and never let pass
	// what one step would not: a take that is refused in the end gives back what
	// it took so far.
	//
	// The limiter guarantees: 1 to MaxOps ops, no two of one combination, no
	// nil Rule, none of Unlimited or DenyAll, no empty key, no negative cost, a
	// Mode of the eight.
	Apply(ctx context.Context, req *Request) error
}

// A Mode says what a [Request] does.
type Mode uint8

const (
	ModeTake     Mode = iota // take every cost, or nothing
	ModeTakeUpTo             // take as much of the costs as passes
	ModePeek                 // tell what ModeTake would answer
	ModeCharge               // take every cost, passing or not
	ModeSettle               // bring what a take took to what it came to
	ModeRenew                // prolong leases
	ModeRelease              // end leases
	ModeReset                // forget what was used
)

// A Request is what a [Limiter] asks of its [Store].
type Request struct {
	Mode     Mode
	ID       ID    // of the decision: out for ModeTake, ModeTakeUpTo and ModeCharge, in for ModeSettle, ModeRenew and ModeRelease
	Allowed  bool  // out, for ModeTake, ModeTakeUpTo, ModePeek and ModeRenew
	Degraded bool  // out: the answer is not the store's but that of a policy for when it fails
	Now      int64 // out: the time of the decision, in microseconds since the Unix epoch
	Ops      []Op
}

// An Op is the part of a [Request] that concerns one subject under one limit.
type Op struct {
	Rule *Rule
	Key  string
	Cost int64 // for all but ModeRenew, ModeRelease and ModeReset

	Actual      int64 // for ModeSettle: what the cost came to
	Until, Rest int64 // for ModeSettle: what [Rule.Settle] takes

	Outcome Outcome // out, for ModeTake, ModeTakeUpTo and ModePeek
}

// Hold returns for how many microseconds from now on a settlement must be
// remembered, beside the Until of its ops: where it charges more than was
// taken, until that and a whole quota have come back, and a minute at least;
// where it settles a lease, which may have been renewed, for one Period; 0 where
// it only gives back.
func (req *Request) Hold() int64 {
	hold := int64(0)
	for i := range req.Ops {
		op := &req.Ops[i]
		if more := op.Actual - op.Cost; more > 0 {
			hold = max(hold, 60e6, op.Rule.fill+op.Rule.owed(more))
		} else if op.Rule.Logged() {
			hold = max(hold, op.Rule.fill)
		}
	}
	return hold
}

// ErrFull is returned when a store has no room to track another subject, or to
// remember another refund. The subjects it tracks are still decided.
var ErrFull error = &errors.Error{Code: errors.Unavailable, Msg: "no room to track another rate-limited subject; try again later"}

// ErrLapsed is returned when a lease that was to be renewed has ended: it ran
// out, was released, or is of another store.
var ErrLapsed error = &errors.Error{Code: errors.NotFound, Msg: "the lease has ended; take a new one"}
