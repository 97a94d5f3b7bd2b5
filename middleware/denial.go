package middleware

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware/idempotency"
	"github.com/keytoll/keytoll/ratelimit"
)

// A Denial is the error with which the gate refuses an attempt. It never holds a
// credential. A client may be shown its fields and [Denial.Detail]; the text of
// Error is for operators.
//
// Use errors.AsType[*Denial] to find it, and [errors.CodeOf] for its code.
type Denial struct { //nolint:errname // a refusal is a denial in every package here
	Verdict   Verdict
	Status    int    // of the HTTP answer under the gate's profile
	Code      string // for clients: [Verdict.Code], unless the profile says otherwise
	RequestID string
	Operation string
	// RetryAfter is the time after which the same attempt may pass: the least, and
	// what Options.RetryJitter adds. 0 means that waiting is not known to help.
	RetryAfter time.Duration
	// Limits are the names of the limits that refused, in the order declared.
	Limits []string
	// Missing are the scopes that the key would need besides its own, and Granted,
	// where the profile tells them, its own.
	Missing []string
	Granted []string
	// Source says what had no room for the price, and ClearsAt when time alone makes
	// some; the zero time is not known.
	Source   credits.Source
	ClearsAt time.Time
	// Upgrade is what Options.Upgrade says of this refusal.
	Upgrade string

	pass     *Pass               // what was refused
	replay   *idempotency.Answer // what is given again
	original credits.OpID        // the hold of the call that was answered before

	policy string            // of the route, "" unless it refused by its limits
	states []ratelimit.State // for the limit fields of a 429
	detail string            // in place of the verdict's own; "" keeps that
	said   string            // in place of both, by the profile
	err    error             // the cause, for operators
}

// Error describes the denial for operators.
func (d *Denial) Error() string {
	text := "middleware.Begin: " + d.Verdict.String()
	if d.err != nil {
		text += ": " + d.err.Error()
	}
	return text
}

// Unwrap returns an error that has the verdict's code, the message of
// [Denial.Detail], and the cause in its tree.
func (d *Denial) Unwrap() error {
	code := d.Verdict.rule().code
	if c := errors.CodeOf(d.err); c != errors.Unknown && !d.Verdict.preProof() {
		code = c
	}
	return &errors.Error{Code: code, Msg: d.Detail(), Err: d.err}
}

// Detail returns a sentence for the client: the profile's, if it has one. It is
// the same for every request that the verdict's code is told for, unless a limit,
// a scope or a price is named.
func (d *Denial) Detail() string {
	switch {
	case d.said != "":
		return d.said
	case d.detail != "":
		return d.detail
	case len(d.Limits) > 0 && d.Verdict == VerdictRateLimited:
		return `rate limit "` + strings.Join(d.Limits, `", "`) + `" is used up`
	}
	return d.Verdict.rule().detail
}

// tell fills in what the profile and the host have to say of d.
func (g *Gate) tell(p *Pass, d *Denial) {
	d.pass, d.RequestID, d.Operation = p, p.requestID, p.route.op.Name
	if most := g.opt.RetryJitter; most > 0 && d.RetryAfter > 0 {
		more := time.Duration(g.opt.Random() % (uint64(most) + 1))
		d.RetryAfter += min(more, math.MaxInt64-d.RetryAfter)
	}
	a := g.opt.Profile.answer(d.Verdict)
	d.Status, d.Code = a.Status, a.Code
	if g.opt.Upgrade != nil && p.key.ID != "" && d.replay == nil {
		d.Upgrade = g.opt.Upgrade(p.key, d.Verdict)
	}
	if a.Message != "" {
		d.said = strings.NewReplacer(
			"{scope}", strings.Join(d.Missing, " "), "{limit}", strings.Join(d.Limits, ", "),
			"{retry_after}", strconv.FormatInt(d.RetrySeconds(), 10), "{upgrade}", d.Upgrade,
		).Replace(a.Message)
	}
}

// preProof reports whether v was reached before a secret was proven.
func (v Verdict) preProof() bool {
	return v == VerdictMissing || v == VerdictMalformed || v == VerdictUnknown || v == VerdictAuthLimited
}

// RetrySeconds returns RetryAfter in whole seconds, rounded up, so that a client
// that waits exactly that long passes; 0 when waiting is not known to help.
func (d *Denial) RetrySeconds() int64 { return seconds(d.RetryAfter) }

// seconds rounds d up; what is not positive is 0.
func seconds(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64((d-1)/time.Second) + 1
}

// refusedBy notes what result says about a refusal. Of its states only the
// first few that clients are told of are kept for the limit fields.
func (d *Denial) refusedBy(result *ratelimit.Result, visible int) {
	if result.RetryAfter > 0 {
		d.RetryAfter = result.RetryAfter
	}
	index := 0
	for s := range result.States() {
		if index++; index <= visible && told(s.Limit) {
			d.states = append(d.states, s)
		}
		if !s.Allowed && !s.Limit.Shadow {
			d.Limits = append(d.Limits, s.Limit.Name)
		}
	}
}
