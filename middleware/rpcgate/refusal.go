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
type Refusal struct { //nolint:errname // a refusal, as a Denial is a denial
	Code    Code
	Message string             // for the client
	Denial  *middleware.Denial // the cause; nil where a handler failed otherwise

	domain string
}

// Error returns the message for the client, for frameworks that send what errors say.
// Operators find more in the Denial.
func (r *Refusal) Error() string { return r.Message }

// Unwrap returns the Denial.
func (r *Refusal) Unwrap() error {
	if r.Denial == nil {
		return nil
	}
	return r.Denial
}

// Told returns the refusal that a handler's error tells of, unless the error has a
// status of the framework's already. What the gate refused to the handler, as the
// meter does, is told as the gate's own refusals are; and other errors of this
// library's packages by their code and the part of them that is for clients.
func (c *Call) Told(err error) (*Refusal, bool) {
	if d, ok := c.pass.Denial(err); ok {
		return c.gate.refusal(d), true
	}
	if e, ok := errors.AsType[*errors.Error](err); !ok || e == nil {
		return nil, false
	}
	code := Unknown
	if n := int(errors.CodeOf(err)); n < len(statuses) {
		code = statuses[n]
	}
	return &Refusal{Code: code, Message: errors.MessageOf(err)}, true
}

// statuses are the codes of package errors as statuses.
var statuses = [...]Code{
	errors.Invalid: InvalidArgument, errors.NotFound: NotFound, errors.Exists: AlreadyExists, errors.Conflict: Aborted,
	errors.Unauthenticated: Unauthenticated, errors.Forbidden: PermissionDenied, errors.Exhausted: ResourceExhausted,
	errors.Insufficient: FailedPrecondition, errors.Canceled: Canceled, errors.DeadlineExceeded: DeadlineExceeded,
	errors.Unavailable: Unavailable, errors.Corrupt: DataLoss, errors.Unknown: Unknown,
}

// refusalOf returns the refusal for an error of the gate.
func (g *Gate) refusalOf(ctx context.Context, err error) *Refusal {
	if d, ok := errors.AsType[*middleware.Denial](err); ok {
		return g.refusal(d)
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
func (r *Refusal) Fields() iter.Seq2[string, string] {
	if r.Denial == nil {
		return func(func(string, string) bool) {}
	}
	return r.Denial.Fields()
}

// maxPushback is how long a client is asked to wait without telling anybody.
const maxPushback = time.Minute

// Pushback returns what grpc-retry-pushback-ms tells a client that repeats calls by
// itself (gRFC A6): the least milliseconds to wait, or "-1", not to repeat it, where
// waiting is not known to help or takes more than a minute.
func (r *Refusal) Pushback() string {
	if r.Denial == nil || r.Denial.RetryAfter <= 0 || r.Denial.RetryAfter > maxPushback {
		return "-1"
	}
	wait := r.Denial.RetryAfter
	return strconv.FormatInt(int64((wait-1)/time.Millisecond)+1, 10)
}

// Details returns what the refusal tells beside its message, as messages of package
// google.rpc (google/rpc/error_details.proto).
func (r *Refusal) Details() []Detail {
	d := r.Denial
	if d == nil {
		return nil
	}
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
