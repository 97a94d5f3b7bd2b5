package rpcgate_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	kterrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/idempotency"
	"github.com/keytoll/keytoll/middleware/middlewaretest"
	"github.com/keytoll/keytoll/middleware/rpcgate"
	"github.com/keytoll/keytoll/scopes"
)

const draw = "/images.v1.Images/Draw"

func priced() middleware.Operation {
	return middleware.Operation{Scopes: scopes.All("image:generate"), Price: middleware.Fixed(5 * credits.Credit)}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// build returns a fixture and a gate in front of draw.
func build(t *testing.T, o *middlewaretest.Options) (*middlewaretest.Fixture, *rpcgate.Gate) {
	t.Helper()
	f := middlewaretest.New(t, o)
	g, err := rpcgate.New(f.Gate, rpcgate.Operations{draw: priced()}, nil)
	must(t, err)
	return f, g
}

// begin begins a call with the key of a state.
func begin(ctx context.Context, f *middlewaretest.Fixture, g *rpcgate.Gate, s middlewaretest.State) (*rpcgate.Call, *rpcgate.Refusal) {
	r := &http.Request{Header: make(http.Header)}
	f.Authorize(r, s)
	return g.Begin(ctx, rpcgate.Request{Method: draw, Remote: "192.0.2.1:1", Values: r.Header.Values})
}

// Numbers, names and statuses of google/rpc/code.proto.
func TestCodes(t *testing.T) {
	want := `0 ok 200, 1 canceled 499, 2 unknown 500, 3 invalid_argument 400, 4 deadline_exceeded 504, 5 not_found 404, 6 already_exists 409, ` +
		`7 permission_denied 403, 8 resource_exhausted 429, 9 failed_precondition 400, 10 aborted 409, 11 out_of_range 400, 12 unimplemented 501, ` +
		`13 internal 500, 14 unavailable 503, 15 data_loss 500, 16 unauthenticated 401, 17 code(17) 500`
	var got []string
	for c := range rpcgate.Unauthenticated + 2 {
		got = append(got, fmt.Sprintf("%d %v %d", c, c, c.Status()))
	}
	if all := strings.Join(got, ", "); all != want {
		t.Errorf("codes\n%s\nwant\n%s", all, want)
	}
}

// Whatever status the profile gives a verdict has a code.
func TestCodesOfStatuses(t *testing.T) {
	for status, want := range map[int]rpcgate.Code{
		400: rpcgate.InvalidArgument, 401: rpcgate.Unauthenticated, 402: rpcgate.FailedPrecondition, 403: rpcgate.PermissionDenied,
		404: rpcgate.NotFound, 405: rpcgate.InvalidArgument, 409: rpcgate.Aborted, 410: rpcgate.NotFound, 412: rpcgate.FailedPrecondition,
		413: rpcgate.ResourceExhausted, 418: rpcgate.InvalidArgument, 422: rpcgate.InvalidArgument, 428: rpcgate.FailedPrecondition,
		429: rpcgate.ResourceExhausted, 499: rpcgate.Canceled, 500: rpcgate.Internal, 501: rpcgate.Unimplemented, 502: rpcgate.Internal,
		503: rpcgate.Unavailable, 504: rpcgate.DeadlineExceeded, 599: rpcgate.Internal,
	} {
		f, g := build(t, &middlewaretest.Options{Gate: middleware.Options{Profile: middleware.Profile{
			Answers: map[middleware.Verdict]middleware.Answer{middleware.VerdictMissing: {Status: status}},
		}}})
		if _, r := begin(t.Context(), f, g, middlewaretest.None); r == nil || r.Code != want {
			t.Errorf("%d is %v, want %v", status, r, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	f, g := build(t, &middlewaretest.Options{Keys: apikey.Options{}})
	cancel()
	if _, r := begin(ctx, f, g, middlewaretest.Active); r == nil || r.Code != rpcgate.Canceled || r.Pushback() != "-1" {
		t.Errorf("a call that was given up: %+v", r)
	}
}

// What a handler hands on of this library's errors is told by code and message, and
// without the cause.
func TestErrorsOfHandlers(t *testing.T) {
	f, g := build(t, nil)
	call, r := begin(t.Context(), f, g, middlewaretest.Active)
	if r != nil {
		t.Fatal(r)
	}
	defer call.End(t.Context())
	cause := errors.New("dial tcp 10.9.8.7: refused")
	for code, want := range map[kterrors.Code]rpcgate.Code{
		kterrors.Unknown: rpcgate.Unknown, kterrors.Invalid: rpcgate.InvalidArgument, kterrors.NotFound: rpcgate.NotFound,
		kterrors.Exists: rpcgate.AlreadyExists, kterrors.Conflict: rpcgate.Aborted, kterrors.Unauthenticated: rpcgate.Unauthenticated,
		kterrors.Forbidden: rpcgate.PermissionDenied, kterrors.Exhausted: rpcgate.ResourceExhausted, kterrors.Insufficient: rpcgate.FailedPrecondition,
		kterrors.Canceled: rpcgate.Canceled, kterrors.DeadlineExceeded: rpcgate.DeadlineExceeded, kterrors.Unavailable: rpcgate.Unavailable,
		kterrors.Corrupt: rpcgate.DataLoss, 99: rpcgate.Unknown,
	} {
		r, ok := call.Told(fmt.Errorf("drawing: %w", &kterrors.Error{Code: code, Op: "a.B", Msg: "no", Err: cause}))
		if !ok || r.Code != want || strings.Contains(r.Error()+r.Message, "10.9.8.7") {
			t.Errorf("%v is told as %+v, want %v", code, r, want)
			continue
		}
		if r.Denial == nil {
			if r.Details() != nil || r.Pushback() != "-1" || r.Unwrap() != nil || len(maps.Collect(r.Fields())) > 0 {
				t.Errorf("%v has details %v, pushback %s, fields", code, r.Details(), r.Pushback())
			}
		}
	}
	for _, err := range []error{nil, cause, context.Canceled, io.EOF} {
		if r, ok := call.Told(err); ok {
			t.Errorf("%v is told as %+v", err, r)
		}
	}
	denial := &middleware.Denial{Verdict: middleware.VerdictPlanDenied, Status: 403}
	if r, ok := call.Told(fmt.Errorf("inside: %w", denial)); !ok || r.Code != rpcgate.PermissionDenied || !errors.Is(r, denial) {
		t.Errorf("a denial is told as %+v", r)
	}
	call.Return(rpcgate.Internal)
}

// Clients that repeat calls by themselves wait long enough, and not for ever.
func TestPushback(t *testing.T) {
	for wait, want := range map[time.Duration]string{
		0: "-1", 1: "1", time.Millisecond: "1", time.Millisecond + 1: "2", time.Minute: "60000", time.Minute + 1: "-1", -1: "-1",
	} {
		r := rpcgate.Refusal{Denial: &middleware.Denial{RetryAfter: wait}}
		if got := r.Pushback(); got != want {
			t.Errorf("%v is told as %s ms, want %s", wait, got, want)
		}
	}
}

// Details are valid whatever the host's words are.
func TestDetailsAreText(t *testing.T) {
	r := rpcgate.Refusal{Denial: &middleware.Denial{
		Verdict: middleware.VerdictRateLimited, Code: "a\xff", Limits: []string{"l\xfe"}, Upgrade: "u\xfd", RetryAfter: 90*time.Second + 1, ClearsAt: time.Unix(1, 0),
	}}
	details := r.Details()
	if len(details) != 3 {
		t.Fatalf("%d details", len(details))
	}
	for _, d := range details {
		if d.Type != "type.googleapis.com/google.rpc.RetryInfo" && !utf8.Valid(d.Value) {
			t.Errorf("%s is %q", d.Type, d.Value)
		}
	}
	if got, want := string(details[1].Value), "\n\x04\x08\x5a\x10\x01"; got != want {
		t.Errorf("a wait of 90.000000001 s is %q, want %q", got, want)
	}
	if !strings.Contains(string(details[0].Value), "1970-01-01T00:00:01Z") {
		t.Errorf("info %q", details[0].Value)
	}
}

// Answers of net/http alone are given again, so nobody is promised that here.
func TestIdempotencyIsOfHTTP(t *testing.T) {
	f := middlewaretest.New(t, &middlewaretest.Options{Gate: middleware.Options{Idempotency: &middleware.IdempotencyOptions{Store: memory(t)}}})
	op := priced()
	op.Idempotency = middleware.IdempotencyRequired
	_, err := rpcgate.New(f.Gate, rpcgate.Operations{draw: op}, nil)
	if err == nil || !strings.Contains(err.Error(), "leave it off") {
		t.Errorf("the faults say %v", err)
	}
}

func memory(t *testing.T) idempotency.Store {
	t.Helper()
	store, err := idempotency.NewMemoryStore(nil)
	must(t, err)
	return store
}

// A method of a service that has an operation is guarded by that, one with its own by
// its own, and one with none not at all.
func TestMethodsAndServices(t *testing.T) {
	f := middlewaretest.New(t, nil)
	g, err := rpcgate.New(f.Gate, rpcgate.Operations{"/images.v1.Images/": priced(), draw: {Name: "drawing", Scopes: scopes.None(), Price: middleware.Free()}},
		&rpcgate.Options{Public: []string{"/images.v1.Images/Ping", "/health/"}})
	must(t, err)
	must(t, g.Check(rpcgate.Method{Name: draw}, rpcgate.Method{Name: "/images.v1.Images/Other", Streams: true}, rpcgate.Method{Name: "/images.v1.Images/Ping"}, rpcgate.Method{Name: "/health/Check"}))
	for method, want := range map[string]string{
		draw: "drawing", "/images.v1.Images/Other": "/images.v1.Images/", "/images.v1.Images/Ping": "public", "/health/Watch": "public",
		"/other/Method": "internal", "": "internal", "/": "internal", "images.v1.Images/Draw": "internal", "/images.v1.Images": "internal",
	} {
		call, r := g.Begin(t.Context(), rpcgate.Request{Method: method, Values: func(string) []string { return nil }})
		got := "public"
		if r != nil {
			got = r.Denial.Operation
			if r.Code == rpcgate.Internal {
				got = "internal"
			}
		}
		if got != want || call != nil {
			t.Errorf("%q is %s, want %s", method, got, want)
		}
	}
}

// One answer names it all: also of a method whose operation is wrong, that it has two.
func TestFaultsAreAllNamed(t *testing.T) {
	f := middlewaretest.New(t, nil)
	_, err := rpcgate.New(f.Gate, rpcgate.Operations{draw: {}}, &rpcgate.Options{Public: []string{draw}})
	for _, says := range []string{"the scopes are not stated", "the price is not stated", "is public and has an operation"} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q is missing in %v", says, err)
		}
	}
}

// What a stream is told of sending and receiving says whether its client is there.
func TestWhoIsLost(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	failed := errors.New("no")
	for _, tt := range []struct {
		name   string
		note   func(*rpcgate.Call)
		code   rpcgate.Code
		ending middleware.Ending
	}{
		{"nothing happened", func(*rpcgate.Call) {}, rpcgate.Internal, middleware.EndServerError},
		{"a message was too large", func(c *rpcgate.Call) { c.Sent(t.Context(), failed, rpcgate.ResourceExhausted) }, rpcgate.ResourceExhausted, middleware.EndClientError},
		{"the connection was gone before the context said so", func(c *rpcgate.Call) { c.Sent(t.Context(), failed, rpcgate.Unavailable) }, rpcgate.Unavailable, middleware.EndClientGone},
		{"sending was canceled", func(c *rpcgate.Call) { c.Sent(t.Context(), failed, rpcgate.Canceled) }, rpcgate.Internal, middleware.EndClientGone},
		{"sending failed when the client was gone", func(c *rpcgate.Call) { c.Sent(canceled, failed, rpcgate.Unknown) }, rpcgate.Unknown, middleware.EndClientGone},
		{"receiving failed when the client was gone", func(c *rpcgate.Call) { c.Received(canceled, failed, rpcgate.Unknown) }, rpcgate.Unknown, middleware.EndClientGone},
		{"the client had sent everything", func(c *rpcgate.Call) { c.Received(canceled, io.EOF, rpcgate.Unknown) }, rpcgate.Internal, middleware.EndServerError},
		{"the client closed when everything was done", func(c *rpcgate.Call) { c.Sent(t.Context(), nil, rpcgate.OK) }, rpcgate.OK, middleware.EndSuccess},
	} {
		f, g := build(t, nil)
		call, r := begin(t.Context(), f, g, middlewaretest.Active)
		if r != nil {
			t.Fatal(r)
		}
		tt.note(call)
		call.Return(tt.code)
		call.End(t.Context())
		call.End(t.Context()) // once is enough
		if got := f.LastSettlement().Ending; got != tt.ending {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.ending)
		}
	}
}
