package rpcgate

import (
	"context"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
)

// A Refusal is how a call is told that it was refused.
type Refusal struct {
	Code    Code
	Message string             // for the client
	Denial  *middleware.Denial // the cause

	domain string
}

// Error returns the message for the client, for frameworks that send what errors say.
// Operators find more in the Denial.
func (r *Refusal) Error() string { return r.Message }

// Unwrap returns the Denial.
func (r *Refusal) Unwrap() error { return r.Denial }

// Refused returns the refusal that err tells of: a [middleware.Denial] that a handler
// returned, so that what it was refused is told as the gate's own refusals are. What
// was told so already is not told again.
func (g *Gate) Refused(err error) (*Refusal, bool) {
	if _, told := errors.AsType[*Refusal](err); told {
		return nil, false
	}
	if d, ok := errors.AsType[*middleware.Denial](err); ok && d != nil {
		return g.refusal(d), true
	}
	return nil, false
}

// refusalOf returns the refusal for an error of the gate.
func (g *Gate) refusalOf(ctx context.Context, err error) *Refusal {
	if r, ok := g.Refused(err); ok {
		return r
	}
	return g.refusal(g.gate.Unguarded(ctx, err))
}

func (g *Gate) refusal(d *middleware.Denial) *Refusal {
	code, ok := g.codes[d.Verdict]
	switch {
	case ok:
	case d.Verdict == middleware.VerdictCanceled:
		code = Canceled
	default:
		code = codeOf(d.Status)
	}
	return &Refusal{Code: code, Message: d.Detail(), Denial: d, domain: g.gate.Realm()}
}

// Fields yields the header fields of the answer: the request id, the limits that
// refused, Retry-After and the challenge.
func (r *Refusal) Fields() iter.Seq2[string, string] { return r.Denial.Fields() }

// Pushback returns what grpc-retry-pushback-ms tells a client that repeats calls by
// itself (gRFC A6): the least milliseconds to wait, or "-1" where waiting is not
// known to help.
func (r *Refusal) Pushback() string {
	wait := r.Denial.RetryAfter
	if wait <= 0 {
		return "-1"
	}
	return strconv.FormatInt(int64((wait-1)/time.Millisecond)+1, 10)
}

// Details returns what the refusal tells beside its message, as messages of package
// google.rpc (google/rpc/error_details.proto).
func (r *Refusal) Details() []Detail {
	d := r.Denial
	details := []Detail{errorInfo(d.Code, r.domain, map[string]string{
		"operation": d.Operation, "request_id": d.RequestID, "upgrade": d.Upgrade,
		"missing_scopes": strings.Join(d.Missing, " "), "granted_scopes": strings.Join(d.Granted, " "),
		"limit_source": sourceOf(d), "clears_at": clearsAt(d),
	})}
	if d.RetryAfter > 0 {
		details = append(details, retryInfo(d.RetryAfter))
	}
	if subjects := violated(d); len(subjects) > 0 {
		details = append(details, quotaFailure(subjects, d.Detail()))
	}
	return details
}

// violated returns the names of what is used up.
func violated(d *middleware.Denial) []string {
	switch d.Verdict {
	case middleware.VerdictCreditDenied, middleware.VerdictBudgetDenied:
		return []string{sourceOf(d)}
	case middleware.VerdictAuthLimited:
		return []string{d.Code}
	case middleware.VerdictRateLimited, middleware.VerdictIPLimited, middleware.VerdictBusy:
		return d.Limits
	}
	return nil
}

func sourceOf(d *middleware.Denial) string {
	if d.Source == credits.SourceNone {
		return ""
	}
	return d.Source.String()
}

func clearsAt(d *middleware.Denial) string {
	if d.ClearsAt.IsZero() {
		return ""
	}
	return d.ClearsAt.UTC().Format(time.RFC3339)
}
