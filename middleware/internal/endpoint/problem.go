package endpoint

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/scopes"
)

// A Problem is a refusal as clients read it: the problem details of RFC 9457, with
// the members code and request_id that the gate's have.
type Problem struct { //nolint:errname // what RFC 9457 calls it
	Title     string   `json:"title" doc:"The phrase of the status."`
	Status    int      `json:"status" doc:"The status of the answer."`
	Detail    string   `json:"detail" doc:"What was wrong and what would be right, for people."`
	Code      string   `json:"code" doc:"What was wrong, for programs. Codes never change meaning."`
	RequestID string   `json:"request_id" doc:"The id of the request, as in X-Request-Id."`
	Errors    []string `json:"errors,omitempty" doc:"Every fault, where there are several."`
	Limit     int      `json:"limit,omitempty" doc:"How many keys the plan allows."`
	Plan      string   `json:"plan,omitempty" doc:"The account's plan."`
	Upgrade   string   `json:"upgrade,omitempty" doc:"What leads to a plan with more."`

	retry bool   // it may help to ask again a second later
	allow string // the field Allow
	cause error  // for operators
}

// Error describes the problem for operators.
func (p *Problem) Error() string {
	if p.cause != nil {
		return p.cause.Error()
	}
	return p.Detail
}

// Unwrap returns the cause.
func (p *Problem) Unwrap() error { return p.cause }

// Report tells log, or slog.Default when it is nil, of what the server is at fault
// for.
func (p *Problem) Report(ctx context.Context, log *slog.Logger, operation string) {
	if p.Status < http.StatusInternalServerError || p.Code == "canceled" {
		return
	}
	if log == nil {
		log = slog.Default() //nolint:forbidigo // as net/http does with panics
	}
	log.ErrorContext(ctx, "request failed", "operation", operation, "request_id", p.RequestID, "code", p.Code, "error", p.Error())
}

// Refuse returns the refusal of that status and code.
func Refuse(status int, code, detail string) *Problem {
	return &Problem{Status: status, Code: code, Detail: detail}
}

// Invalid returns the refusal of a request that can never be right.
func Invalid(detail string) *Problem { return Refuse(http.StatusBadRequest, "invalid_request", detail) }

// A known is how a sentinel of package apikey or scopes is told.
type known struct {
	is     error
	status int
	code   string
}

// Explain returns how err is told to a client: err itself if it is a [*Problem],
// and otherwise what its sentinels and its code say. Causes that clients need not
// know stay inside.
func Explain(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	p := &Problem{Detail: errors.MessageOf(err), cause: err}
	if limit, ok := errors.AsType[*apikey.LimitError](err); ok {
		p.Limit, p.Plan, p.Upgrade = limit.Limit, limit.Plan, limit.UpgradeHint
	}
	for _, k := range [...]known{
		{apikey.ErrNotFound, http.StatusNotFound, "key_not_found"},
		{apikey.ErrNameTaken, http.StatusConflict, "name_taken"},
		{apikey.ErrKeyLimit, http.StatusForbidden, "key_limit"},
		{apikey.ErrMayNotCreate, http.StatusForbidden, "not_in_plan"},
		{scopes.ErrPlan, http.StatusForbidden, "scope_not_in_plan"},
		{scopes.ErrUnknown, http.StatusBadRequest, "unknown_scope"},
		{apikey.ErrIntent, http.StatusUnprocessableEntity, "idempotency_key_reused"},
		{apikey.ErrConflict, http.StatusConflict, "version_conflict"},
		{apikey.ErrRotated, http.StatusConflict, "already_rotated"},
		{apikey.ErrRevoked, http.StatusConflict, "revoked_key"},
		{apikey.ErrExpired, http.StatusConflict, "expired_key"},
	} {
		if errors.Is(err, k.is) {
			p.Status, p.Code = k.status, k.code
			return p
		}
	}
	p.byCode(err)
	return p
}

// byCode tells an error that has no sentinel of its own here.
func (p *Problem) byCode(err error) {
	switch errors.CodeOf(err) {
	case errors.Invalid:
		p.Status, p.Code = http.StatusBadRequest, "invalid_request"
		if p.Errors = messages(nil, err); len(p.Errors) > 1 {
			p.Detail = strings.Join(p.Errors, "; ")
		} else {
			p.Errors = nil
		}
	case errors.NotFound:
		p.Status, p.Code = http.StatusNotFound, "not_found"
	case errors.Exists, errors.Conflict:
		p.Status, p.Code = http.StatusConflict, "conflict"
	case errors.Forbidden:
		p.Status, p.Code = http.StatusForbidden, "forbidden"
	case errors.Unauthenticated:
		p.Status, p.Code = http.StatusUnauthorized, "unauthenticated"
	case errors.Unavailable, errors.DeadlineExceeded:
		p.Status, p.Code, p.retry = http.StatusServiceUnavailable, "unavailable", true
		p.Detail = "the request cannot be decided now; try again"
	case errors.Canceled:
		p.Status, p.Code, p.Detail = http.StatusServiceUnavailable, "canceled", "the request was given up"
	default:
		p.Status, p.Code, p.Detail = http.StatusInternalServerError, "internal", "something went wrong here"
	}
	if p.Detail == "" {
		p.Detail = http.StatusText(p.Status)
	}
}

// messages appends every message of code Invalid in err's tree.
func messages(list []string, err error) []string {
	switch e := err.(type) { //nolint:errorlint // this is the walk
	case nil:
	case *errors.Error:
		if e.Msg != "" {
			return append(list, e.Msg)
		}
		return messages(list, e.Err)
	case interface{ Unwrap() []error }:
		for _, branch := range e.Unwrap() {
			list = messages(list, branch)
		}
	case interface{ Unwrap() error }:
		return messages(list, e.Unwrap())
	}
	return list
}

// Hint sets the header fields that say what would help.
func (p *Problem) Hint(h http.Header) {
	if p.allow != "" {
		h.Set("Allow", p.allow)
	}
	if p.retry {
		h.Set("Retry-After", "1")
	}
}

// Write answers with p.
func (p *Problem) Write(w http.ResponseWriter) {
	h := w.Header()
	p.Title = http.StatusText(p.Status)
	p.Hint(h)
	h.Set("Cache-Control", "no-store")
	write(w, p.Status, "application/problem+json", p)
}

// WriteJSON answers with v.
func WriteJSON(w http.ResponseWriter, status int, v any) { write(w, status, "application/json", v) }

func write(w http.ResponseWriter, status int, contentType string, v any) {
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	if err := out.Encode(v); err != nil {
		b.Reset()
		b.WriteString("{}\n")
		status = http.StatusInternalServerError
	}
	writeText(w, status, contentType, b.Bytes())
}

// WriteText answers with text.
func WriteText(w http.ResponseWriter, contentType string, text []byte) {
	writeText(w, http.StatusOK, contentType, text)
}

func writeText(w http.ResponseWriter, status int, contentType string, text []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text) // the client may be gone; nothing to do about it
}
