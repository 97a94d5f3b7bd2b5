package middleware

import (
	"context"
	"slices"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware/clientip"
	"github.com/keytoll/keytoll/ratelimit"
)

// Begin decides one attempt, in the order that the package comment gives. The
// error is a [*Denial]; nothing is held then, and of limits only Options.IPLimits
// were used up. Otherwise the pass must be ended by [Pass.End], whatever
// happens: an operation with a price holds credits until then.
func (g *Gate) Begin(ctx context.Context, a Attempt) (*Pass, error) {
	if a.Route == nil || a.Route.gate != g {
		return nil, &errors.Error{Code: errors.Invalid, Op: "middleware.Begin", Msg: "the attempt's Route is not one of this gate; give what Gate.Route returned"}
	}
	p := &Pass{gate: g, route: a.Route}
	if d := g.begin(ctx, p, &a); d != nil {
		return nil, d
	}
	return p, nil
}

// begin fills p, and undoes what it did before it returns a denial, or panics
// because a function of the host's does.
func (g *Gate) begin(ctx context.Context, p *Pass, a *Attempt) *Denial {
	began := g.began()
	p.decides(ctx)
	done := false
	defer func() {
		if !done {
			p.deciding.stop()
			_ = p.undo(ctx) // what cannot be undone ends by its deadline
		}
	}()
	d := g.decide(ctx, p, a)
	if d != nil {
		done = true
		if err := p.undo(ctx); err != nil {
			d.err = errors.Join(d.err, err)
		}
		if g.opt.Profile.TellLimits {
			p.tellLimits(p.asking(), d)
		}
		p.name()
		g.tell(p, d)
	}
	p.deciding.stop()
	g.decidedSince(ctx, p, d, began)
	done = true
	return d
}

func (g *Gate) decide(ctx context.Context, p *Pass, a *Attempt) *Denial {
	p.identify(a.RequestID)
	p.ip = a.IP
	if p.route.byIP || g.ipLimits.Len() > 0 {
		p.ipBucket = clientip.Bucket(p.ip)
	}
	if a.tooLarge {
		return &Denial{Verdict: VerdictTooLarge}
	}
	if g.ipLimits.Len() > 0 {
		if d := g.limitIP(ctx, p); d != nil {
			return d
		}
	}
	if d := g.authenticate(ctx, p, a); d != nil {
		return d
	}
	if d := g.authorize(ctx, p); d != nil {
		return d
	}
	if d := g.claim(ctx, p, a); d != nil {
		return d
	}
	if d := p.measure(ctx, a); d != nil {
		return d
	}
	if d := g.limit(ctx, p); d != nil {
		return d
	}
	p.name()
	if c := p.claim(); c != nil {
		p.holdID = c.holdID(c.turn)
	}
	if d := g.hold(ctx, p, a); d != nil {
		return d
	}
	return g.stillClaimed(ctx, p)
}

// undo returns everything that a call took which is not going to be made. A store
// that is down keeps it until the window passes, or the deadline.
func (p *Pass) undo(ctx context.Context) error {
	if p.held > 0 {
		p.abandon(ctx, p.account, p.holdID)
		p.held = 0
	}
	var err error
	if p.limits.Allowed {
		err = p.giveBack(ctx)
	}
	if p.claim() != nil {
		err = errors.Join(err, p.unclaim(ctx))
	}
	return err
}

// decides has the stores asked on behalf of ctx.
func (p *Pass) decides(ctx context.Context) {
	p.deciding.parent, p.deciding.timeout = ctx, p.gate.opt.StoreTimeout
}

// asking returns the context of one question to a store, for which it has
// Options.StoreTimeout.
func (p *Pass) asking() context.Context {
	return p.deciding.next(true)
}

// taking is asking for what nobody can give back when the answer is lost: a client
// that leaves meanwhile does not end it.
func (p *Pass) taking() context.Context {
	return p.deciding.next(false)
}

// bucket returns the name under which the client's address is counted.
func (p *Pass) bucket() string {
	if p.ipBucket != "" {
		return p.ipBucket
	}
	return clientip.Bucket(p.ip)
}

// limitIP counts the attempt against Options.IPLimits.
func (g *Gate) limitIP(ctx context.Context, p *Pass) *Denial {
	result, err := g.flood.TakeAll(p.asking(), ratelimit.Charge{Key: p.bucket(), Limits: g.ipLimits, Cost: 1})
	switch {
	case errors.Is(err, ratelimit.ErrFull):
		return nil // refusing newcomers would do the flooder's work
	case err != nil:
		return undecided(ctx, err)
	case result.Allowed:
		return nil
	}
	d := &Denial{Verdict: VerdictIPLimited}
	visible := g.ipLimits.Len()
	if result.Degraded {
		visible = 0 // what remains is not known
	}
	d.refusedBy(&result, visible)
	return d
}

// authenticate proves the credential and sets p.key.
func (g *Gate) authenticate(ctx context.Context, p *Pass, a *Attempt) *Denial {
	if a.Credential == "" && !a.Malformed {
		return &Denial{Verdict: VerdictMissing, detail: g.required}
	}
	sane := !a.Malformed && saneCredential(a.Credential)
	var mark uint64
	known := false
	if sane {
		mark = g.guesses.mark(a.Credential)
		known = g.guesses.knows(mark)
	}
	if !known {
		if wait := g.guesses.locked(ctx, p.bucket()); wait > 0 {
			return &Denial{Verdict: VerdictAuthLimited, RetryAfter: wait}
		}
	}
	if !sane {
		g.guesses.count(ctx, p.bucket())
		return &Denial{Verdict: VerdictMalformed}
	}
	key, err := g.keys.Verify(p.asking(), a.Credential, &apikey.VerifyOptions{IP: p.ip, Environment: g.opt.Environment, Fresh: p.route.op.FreshKey})
	if err == nil {
		if !known {
			g.guesses.learn(mark)
		}
		p.key = key
		return nil
	}
	verdict := verdictOf(err)
	switch verdict {
	case VerdictMalformed, VerdictUnknown:
		g.guesses.forget(mark)
		g.guesses.count(ctx, p.bucket())
	case VerdictUndecided:
		return undecided(ctx, err)
	}
	return &Denial{Verdict: verdict, err: err}
}

// authorize asks for scopes, and for the host's own rules.
func (g *Gate) authorize(ctx context.Context, p *Pass) *Denial {
	op := &p.route.op
	if !op.Scopes.Met(p.key.Scopes) {
		d := &Denial{Verdict: VerdictScopeDenied, Missing: op.Scopes.Missing(p.key.Scopes)}
		if g.opt.Profile.TellScopes {
			d.Granted = slices.Collect(p.key.Scopes.All())
		}
		return d
	}
	if op.Allow == nil {
		return nil
	}
	switch err := op.Allow(ctx, p.key); {
	case err == nil:
		return nil
	case errors.CodeOf(err) == errors.Forbidden:
		return &Denial{Verdict: VerdictPlanDenied, detail: errors.MessageOf(err), err: err}
	default:
		return undecided(ctx, err)
	}
}

// measure asks how many units the call uses.
func (p *Pass) measure(ctx context.Context, a *Attempt) *Denial {
	p.units = 1
	op := &p.route.op
	if !op.measures() {
		return nil
	}
	n, d := ask(ctx, "Units", of(a.Units, op.UnitsOf, a.Message))
	if d == nil && n > ratelimit.MaxCount {
		return &Denial{Verdict: VerdictPriceRefused, detail: tooMuch}
	}
	p.units = n
	return d
}

const tooMuch = "the request asks for more than can be counted"

// verdictOf names an error of apikey.Service.Verify; VerdictUndecided when the
// service could not decide.
func verdictOf(err error) Verdict {
	switch {
	case errors.Is(err, apikey.ErrMalformed):
		return VerdictMalformed
	case errors.Is(err, apikey.ErrUnknown):
		return VerdictUnknown
	case errors.Is(err, apikey.ErrDisabled):
		return VerdictDisabled
	case errors.Is(err, apikey.ErrExpired):
		return VerdictExpired
	case errors.Is(err, apikey.ErrRevoked):
		return VerdictRevoked
	case errors.Is(err, apikey.ErrSuspended):
		return VerdictSuspended
	case errors.Is(err, apikey.ErrEnvironment):
		return VerdictEnvironment
	case errors.Is(err, apikey.ErrNetwork):
		return VerdictIPDenied
	}
	return VerdictUndecided
}

// storeRetry is what a client is told to wait when a store cannot decide.
const storeRetry = time.Second

// undecided is the denial for a store's error.
func undecided(ctx context.Context, err error) *Denial {
	switch {
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return &Denial{Verdict: VerdictCanceled, err: err}
	case errors.CodeOf(err) == errors.Invalid:
		return &Denial{Verdict: VerdictMisconfigured, err: err}
	}
	return &Denial{Verdict: VerdictStoreError, RetryAfter: storeRetry, err: err}
}

// heldRetry is what a client is told to wait when only the holds of running
// calls stand between it and its credits: they end sooner than they time out.
const heldRetry = time.Second

// hold sets the price aside.
func (g *Gate) hold(ctx context.Context, p *Pass, a *Attempt) *Denial {
	price, d := p.price(ctx, a)
	if d != nil {
		return d
	}
	if price == 0 || p.paid() {
		return nil
	}
	p.account = g.accountOf(p.key)
	hold := g.payer.Hold
	if p.claim() != nil && g.opt.Leases != nil {
		hold = g.opt.Leases.HoldDirect // who takes the claim over may be another process
	}
	receipt, err := hold(p.asking(), p.hold(p.account, p.holdID, price))
	switch {
	case err == nil && !receipt.Replayed:
		p.held = price
		p.keepTerms(&receipt)
		return nil
	case err == nil:
		return &Denial{Verdict: VerdictMisconfigured, err: errors.New("the hold's id was used before")}
	}
	if denied, ok := errors.AsType[*credits.DeniedError](err); ok {
		return unpaid(denied, err)
	}
	if errors.CodeOf(err) != errors.Invalid {
		p.abandon(ctx, p.account, p.holdID)
	}
	return undecided(ctx, err)
}

// unpaid is the denial for want of credits; err has denied in its tree.
func unpaid(denied *credits.DeniedError, err error) *Denial {
	d := &Denial{Verdict: VerdictCreditDenied, Source: denied.Source, ClearsAt: denied.ClearsAt, err: err}
	if denied.Budget != "" {
		d.Verdict = VerdictBudgetDenied
	}
	switch {
	case denied.Transient:
		d.RetryAfter = heldRetry
	case !denied.ClearsAt.IsZero():
		d.RetryAfter = denied.ClearsAt.Sub(denied.At)
	}
	return d
}

// price returns what the call costs at most.
func (p *Pass) price(ctx context.Context, a *Attempt) (credits.Amount, *Denial) {
	switch price := p.route.op.Price; price.kind {
	case perUnit:
		total, ok := price.amount.Mul(p.units)
		if !ok || total > credits.MaxAmount {
			return 0, &Denial{Verdict: VerdictPriceRefused, detail: tooMuch}
		}
		return total, nil
	case listedPrice:
		quote, d := p.listed()
		p.priced = quote.Price
		return quote.Amount, d
	case quotedPrice:
		return ask(ctx, "Quote", of(a.Quote, price.of, a.Message))
	default:
		return price.amount, nil
	}
}

// ask asks the function of that name what this very attempt comes to: 0 or more.
func ask[N ~int64](ctx context.Context, name string, f func(context.Context) (N, error)) (N, *Denial) {
	if f == nil {
		return 0, &Denial{Verdict: VerdictMisconfigured, err: errors.New("the operation needs " + name + " and the attempt has none")}
	}
	n, err := f(ctx)
	switch {
	case err == nil && n < 0:
		return 0, &Denial{Verdict: VerdictMisconfigured, err: errors.New(name + " says less than 0")}
	case err == nil:
		return n, nil
	case tooLarge(err):
		return 0, &Denial{Verdict: VerdictTooLarge, err: err}
	case errors.CodeOf(err) == errors.Invalid:
		return 0, &Denial{Verdict: VerdictPriceRefused, detail: errors.MessageOf(err), err: err}
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return 0, &Denial{Verdict: VerdictCanceled, err: err}
	}
	return 0, &Denial{Verdict: VerdictMisconfigured, err: err}
}
