package middleware

import (
	"context"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/scopes"
)

// An Operation is what a route does, as far as the gate cares. Its zero value
// is refused at start-up: scopes and price must be stated, even when they are
// scopes.None() and Free().
type Operation struct {
	// Name is required and names one operation in one gate: 1 to 128 letters,
	// digits and the characters . _ - / : { } (so that a pattern or an RPC's full
	// name will do). It stands in the ledger, in events and in metrics.
	Name string
	// Scopes is what a key must be granted.
	Scopes scopes.Requirement
	// Allow, unless nil, is asked after Scopes, for rules of the host's own: whether
	// the plan includes the operation, or a service was switched on for the account.
	// An error of code [errors.Forbidden] refuses with its message, any other as a
	// store that cannot decide. It must be safe for concurrent use.
	Allow func(ctx context.Context, key apikey.Key) error
	// Price is what a call costs at most.
	Price Price
	// Limits are decided together: one call takes what it costs of each, or nothing
	// of any. A call that is refused for want of credits gives them back.
	Limits []Limit
	// MaxWait, unless 0, lets a call that the limits refuse wait in line for them, so
	// long at most, before it is refused: see [ratelimit.Limiter.WaitAll]. Nothing is
	// held meanwhile but the connection. A wait that is known to be longer, or longer
	// than the deadline of the call, is not begun.
	MaxWait time.Duration
	// Unit and Units say what a call uses besides being a request, "images" for
	// example: Units tells how many of a request, 0 or more, for the limits whose
	// Unit is this, and for the price [PerUnit]. It is asked once, after Allow, under
	// the rules of [Quoted]. [JSONUnits] reads a number of the body.
	Unit  string
	Units func(r *http.Request) (int64, error)
	// UnitsOf is Units for transports whose requests are messages, such as RPCs. Make
	// it with [UnitsOf].
	UnitsOf func(ctx context.Context, message any) (int64, error)
	// Idempotency heeds the field Idempotency-Key (draft-ietf-httpapi-idempotency-key):
	// a request that is sent again under the same key is not done again; its sender is
	// given the first answer. It needs Options.Idempotency.
	Idempotency Idempotency
	// FreshKey asks the key store, whatever the cache of [apikey.Options] keeps: for
	// what cannot be taken back, such as handing out another key.
	FreshKey bool
	// Settle overrides [DefaultSettlement], ending by ending.
	Settle Settlement
	// HoldTTL overrides Options.HoldTTL when it is not 0. Where an ending keeps
	// the hold, it must outlast the job that will settle it.
	HoldTTL time.Duration
	// Overrun says what is charged when [Pass.Charge], or a job, states more than is
	// held: what is held and no more (the zero value), as much more as the account
	// has, or that and a debt of at most DebtLimit, which refuses its next calls
	// until it is paid. Late says whether a hold that has timed out can still be
	// charged. See [credits.Hold].
	Overrun   credits.Overrun
	DebtLimit credits.Amount
	Late      credits.Late
}

// A Route is an [Operation] that a gate has checked and prepared. It never
// changes and is safe for concurrent use.
type Route struct {
	gate    *Gate
	op      Operation
	groups  []group // by subject, PerOperation last
	states  int     // how many states a decision about groups has
	visible int     // how many of them, from the first, clients are told of
	policy  string
	settle  actionTable
	byIP    bool // a limit counts the client's address
	leases  bool // a limit gives leases, which end with the pass
}

// Operation returns the name of the route's operation.
func (rt *Route) Operation() string { return rt.op.Name }

// Scopes returns what a key must be granted.
func (rt *Route) Scopes() scopes.Requirement { return rt.op.Scopes }

// Price returns what a call costs at most.
func (rt *Route) Price() Price { return rt.op.Price }

// Limits yields the limits as they are declared, defaults filled in, grouped by
// subject as those of [Pass.Limits] are.
func (rt *Route) Limits() iter.Seq[Limit] {
	return func(yield func(Limit) bool) {
		for i := range rt.groups {
			for l := range rt.groups[i].defined() {
				if !yield(l) {
					return
				}
			}
		}
	}
}

// Routes returns the routes of the gate, by name.
func (g *Gate) Routes() []*Route {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.SortedFunc(maps.Values(g.routes), func(a, b *Route) int { return strings.Compare(a.op.Name, b.op.Name) })
}

// Check reports everything that is wrong with op at once, and registers
// nothing. Besides op itself it looks at the gate: a price needs a ledger, and
// a name that is taken must mean the same.
func (g *Gate) Check(op Operation) error {
	_, err := g.prepare(op, false)
	return err
}

// Route checks and registers op. Its error is that of [Gate.Check]. An
// operation may be registered again as long as it is the same.
func (g *Gate) Route(op Operation) (*Route, error) { return g.prepare(op, true) }

const maxOperationName = 128

func saneName(s string) bool {
	if s == "" || len(s) > maxOperationName {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		case c == '.', c == '_', c == '-', c == '/', c == ':', c == '{', c == '}':
		default:
			return false
		}
	}
	return true
}

func (g *Gate) prepare(op Operation, register bool) (*Route, error) {
	f := errors.Faults{Op: "middleware.Operation(" + op.Name + ")"}
	if !saneName(op.Name) {
		f.Add("name %q: give 1 to %d letters, digits and . _ - / : { }", op.Name, maxOperationName)
	}
	if op.Scopes.IsZero() {
		f.Add("the scopes are not stated; give scopes.All(...), or scopes.None() to let any key pass")
	} else {
		joinParts(&f, op.Scopes.Validate())
	}
	op.Price.check(&f)
	op.Price.checkList(&f, &op)
	if (op.Unit == "") == op.measures() {
		f.Add("Unit is %q and Units is set: %t; give both or neither", op.Unit, op.measures())
	}
	if op.Price.kind == perUnit && !op.measures() {
		f.Add("the price is %v and nothing tells how many; set Unit and Units", op.Price)
	}
	if op.Price.kind > free && g.ledger == nil {
		f.Add("the price is %v and the gate has no ledger; set Options.Credits", op.Price)
	}
	if int(op.Idempotency) >= len(idempotencies) {
		f.Add("Idempotency is %v; give IdempotencyOff, IdempotencyOptional or IdempotencyRequired", op.Idempotency)
	}
	if op.Idempotency != IdempotencyOff && g.once == nil {
		f.Add("Idempotency is %v and nothing keeps answers; set Options.Idempotency", op.Idempotency)
	}
	if op.MaxWait < 0 {
		f.Add("MaxWait is %v; give 0 (no waiting) or more", op.MaxWait)
	}
	op.checkOverrun(&f)
	if op.HoldTTL < 0 {
		f.Add("HoldTTL is %v; give 0 (the gate's default) or more", op.HoldTTL)
	}
	if op.HoldTTL == 0 {
		op.HoldTTL = g.opt.HoldTTL
	}
	rt := &Route{gate: g, op: op, groups: compileLimits(&f, &op), settle: op.Settle.table(&f)}
	rt.op.Limits, rt.op.Settle = nil, nil // the caller's; groups and settle hold them
	rt.policy = policy(rt.groups)
	for i := range rt.groups {
		gr := &rt.groups[i]
		rt.states += gr.limits.Len()
		if gr.subject != PerOperation {
			rt.visible = rt.states
		}
		rt.byIP = rt.byIP || gr.subject == PerIP
		rt.leases = rt.leases || gr.leases()
	}
	if rt.states > ratelimit.MaxOps {
		f.Add("%d limits; give at most %d", rt.states, ratelimit.MaxOps)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.checkNames(&f, rt)
	if err := f.Err(); err != nil {
		return nil, err
	}
	if register {
		g.routes[op.Name] = rt
		for i := range rt.groups {
			for l := range rt.groups[i].defined() {
				g.limits[l.Name] = l
			}
		}
	}
	return rt, nil
}

// measures reports whether something tells how many units a call uses.
func (op *Operation) measures() bool { return op.Units != nil || op.UnitsOf != nil }

// gateIP marks, in Gate.limits, the limits of Options.IPLimits.
const gateIP Subject = subjects

// checkNames requires that g.mu is held.
func (g *Gate) checkNames(f *errors.Faults, rt *Route) {
	for i := range rt.groups {
		for l := range rt.groups[i].defined() {
			has, taken := g.limits[l.Name]
			switch {
			case !taken || has == l:
			case has.Subject == gateIP:
				f.Add("limit %q: the name is one of Options.IPLimits; give it another name", l.Name)
			default:
				f.Add("limit %q: another operation defines it otherwise; give both one definition, or two names", l.Name)
			}
		}
	}
	if has := g.routes[rt.op.Name]; has != nil && !has.same(rt) {
		f.Add("another operation has this name and differs in scopes, price, overrun, limits, settlement or another field; give each its own name")
	}
}

// same reports whether two routes mean the same, as far as can be told: two
// functions count as the same.
func (rt *Route) same(o *Route) bool {
	return rt.op.Scopes.String() == o.op.Scopes.String() && rt.op.Price.kind == o.op.Price.kind &&
		rt.op.Price.amount == o.op.Price.amount && rt.op.HoldTTL == o.op.HoldTTL &&
		rt.op.Overrun == o.op.Overrun && rt.op.DebtLimit == o.op.DebtLimit && rt.op.Late == o.op.Late &&
		rt.op.FreshKey == o.op.FreshKey && rt.settle == o.settle && rt.op.MaxWait == o.op.MaxWait &&
		rt.op.Idempotency == o.op.Idempotency &&
		rt.op.Unit == o.op.Unit && (rt.op.Allow == nil) == (o.op.Allow == nil) &&
		slices.Equal(slices.Collect(rt.Limits()), slices.Collect(o.Limits()))
}

// joinParts adds every fault of err, an error about a part of what f is about,
// under the name of the whole: of twenty operations it is one.
func joinParts(f *errors.Faults, err error) {
	if many, ok := err.(interface{ Unwrap() []error }); ok { // a list of faults, taken apart
		for _, fault := range many.Unwrap() {
			joinParts(f, fault)
		}
		return
	}
	f.Join(errors.Wrap(f.Op, err))
}
