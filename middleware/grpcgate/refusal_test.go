package grpcgate_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/keytoll/keytoll/credits"
	kterrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/grpcgate"
	"github.com/keytoll/keytoll/middleware/middlewaretest"
	"github.com/keytoll/keytoll/middleware/rpcgate"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/scopes"
)

// details are what a refusal tells, decoded by the official messages.
type details struct {
	info  *errdetails.ErrorInfo
	retry *errdetails.RetryInfo
	quota *errdetails.QuotaFailure
}

// refused checks that an answer is a well-formed refusal.
func refused(t *testing.T, a answer, code codes.Code, reason string) details {
	t.Helper()
	s := status.Convert(a.err)
	if s.Code() != code || s.Message() == "" {
		t.Errorf("status %v %q, want %v", s.Code(), s.Message(), code)
	}
	var d details
	for _, detail := range s.Details() {
		switch m := detail.(type) {
		case *errdetails.ErrorInfo:
			d.info = m
		case *errdetails.RetryInfo:
			d.retry = m
		case *errdetails.QuotaFailure:
			d.quota = m
		default:
			t.Errorf("detail %v", detail)
		}
	}
	if d.info == nil || d.info.Reason != reason || d.info.Domain != "api" {
		t.Fatalf("error info %v, want %s of api", d.info, reason)
	}
	if id := a.trailer.Get("x-request-id"); len(id) != 1 || id[0] == "" || d.info.Metadata["request_id"] != id[0] {
		t.Errorf("request id %q, and %q in the details", id, d.info.Metadata["request_id"])
	}
	if len(a.header) > 0 {
		t.Errorf("header %v before a refusal, which no client would repeat then", a.header)
	}
	pushback := a.trailer.Get("grpc-retry-pushback-ms")
	if len(pushback) != 1 || (pushback[0] == "-1") != (d.retry == nil || d.retry.RetryDelay.AsDuration() > time.Minute) {
		t.Errorf("pushback %q with %v", pushback, d.retry)
	}
	if (s.Code() == codes.Unauthenticated) != (len(a.trailer.Get("www-authenticate")) == 1) && s.Code() != codes.PermissionDenied {
		t.Errorf("challenge %q", a.trailer.Get("www-authenticate"))
	}
	if s.Code() == codes.Unauthenticated && len(a.trailer.Get("ratelimit"))+len(a.trailer.Get("ratelimit-policy")) > 0 {
		t.Error("limit fields before a key was proven")
	}
	return d
}

func never(t *testing.T) func(context.Context) error {
	return func(context.Context) error {
		t.Error("the handler ran")
		return nil
	}
}

// Every state of a key is refused for what it is, and nothing is held.
func TestRefusalsOfKeys(t *testing.T) {
	h := build(t, blueprint{})
	h.unary = never(t)
	for s, want := range map[middlewaretest.State]struct {
		code   codes.Code
		reason string
	}{
		middlewaretest.None:             {codes.Unauthenticated, "missing_key"},
		middlewaretest.Malformed:        {codes.Unauthenticated, "invalid_key"},
		middlewaretest.Unknown:          {codes.Unauthenticated, "invalid_key"},
		middlewaretest.Expired:          {codes.Unauthenticated, "expired_key"},
		middlewaretest.Revoked:          {codes.Unauthenticated, "revoked_key"},
		middlewaretest.Disabled:         {codes.Unauthenticated, "disabled_key"},
		middlewaretest.OtherEnvironment: {codes.Unauthenticated, "wrong_environment"},
		middlewaretest.Suspended:        {codes.PermissionDenied, "suspended_account"},
		middlewaretest.OtherNetwork:     {codes.PermissionDenied, "ip_not_allowed"},
		middlewaretest.Scopeless:        {codes.PermissionDenied, "insufficient_scope"},
		middlewaretest.Poor:             {codes.FailedPrecondition, "insufficient_credits"},
	} {
		t.Run(s.String(), func(t *testing.T) {
			h.Reset()
			d := refused(t, h.call(h.with(t.Context(), s)), want.code, want.reason)
			h.WantVerdicts(s.Verdict())
			h.WantEndings()
			switch s {
			case middlewaretest.Scopeless:
				if d.info.Metadata["missing_scopes"] != "image:generate" {
					t.Errorf("details %v", d.info)
				}
			case middlewaretest.Poor:
				if d.retry != nil || d.quota == nil || d.quota.Violations[0].Subject != "balance" || d.info.Metadata["limit_source"] != "balance" {
					t.Errorf("details %v", d)
				}
			default:
			}
			if s != middlewaretest.Poor && (d.quota != nil || d.retry != nil) {
				t.Errorf("details %v, %v", d.quota, d.retry)
			}
		})
	}
	h.WantBalance(1000*credits.Credit, 0)
}

// Streams are refused when they begin, before any of their messages.
func TestStreamsAreRefused(t *testing.T) {
	h := build(t, blueprint{})
	h.stream = func(output) error {
		t.Error("the handler ran")
		return nil
	}
	in, err := h.client.StreamingOutputCall(t.Context(), &grpc_testing.StreamingOutputCallRequest{})
	must(t, err)
	_, err = drain(in)
	refused(t, answer{err: err, trailer: in.Trailer()}, codes.Unauthenticated, "missing_key")
	h.WantVerdicts(middleware.VerdictMissing)
	h.WantEndings()
}

// Until a key is proven, all refusals are the same but for the request id.
func TestBeforeProofAllRefusalsAreOne(t *testing.T) {
	h := build(t, blueprint{fixture: &middlewaretest.Options{Gate: middleware.Options{NewRequestID: func() string { return "one" }}}})
	secret := h.Key(middlewaretest.Active).Secret.Reveal()
	var first string
	for _, credential := range []string{
		"Bearer not-a-key", "Bearer " + secret[:len(secret)-1], "Bearer " + secret + "x", "Bearer ", "Bearer " + strings.Repeat("x", 4000), "Bearer \x80",
	} {
		a := h.call(metadata.AppendToOutgoingContext(t.Context(), "authorization", credential))
		if credential == "Bearer \x80" && status.Code(a.err) == codes.Internal {
			continue // the client did not send that
		}
		text := fmt.Sprint(status.Convert(a.err).Proto(), a.trailer, a.header)
		if first == "" {
			first = text
		}
		if text != first {
			t.Errorf("%.20q is refused by\n%s\nand others by\n%s", credential, text, first)
		}
	}
}

// One call has one credential, in one place and on one line.
func TestCredentials(t *testing.T) {
	h := build(t, blueprint{fixture: &middlewaretest.Options{Gate: middleware.Options{Profile: middleware.Profile{
		Credentials: []middleware.Location{middleware.Bearer(), middleware.Header("X-API-Key")},
	}}}})
	key := h.Key(middlewaretest.Active).Secret.Reveal()
	for _, tt := range []struct {
		name   string
		fields []string
		code   codes.Code
	}{
		{"bearer", []string{"authorization", "bearer " + key}, codes.OK},
		{"a field of its own", []string{"x-api-key", key}, codes.OK},
		{"beside another scheme", []string{"x-api-key", key, "authorization", "Basic eDp5"}, codes.OK},
		{"twice the same", []string{"x-api-key", key, "x-api-key", key}, codes.Unauthenticated},
		{"two of one name", []string{"authorization", "Bearer " + key, "authorization", "Bearer x"}, codes.Unauthenticated},
		{"in two places", []string{"authorization", "Bearer " + key, "x-api-key", key}, codes.Unauthenticated},
		{"in a field that looks like it", []string{"x_api_key", key}, codes.Unauthenticated},
		{"in two words", []string{"x-api-key", key + " " + key}, codes.Unauthenticated},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h.unary = func(ctx context.Context) error {
				fields, _ := metadata.FromIncomingContext(ctx)
				for name, values := range fields {
					if strings.Contains(strings.Join(values, " "), key) {
						t.Errorf("the handler was given the key in %s", name)
					}
				}
				if basic := fields.Get("authorization"); tt.name == "beside another scheme" && !slices.Equal(basic, []string{"Basic eDp5"}) {
					t.Errorf("somebody else's authorization is %q", basic)
				}
				if pass, ok := middleware.PassFrom(ctx); !ok || pass.Key().Owner != "acme" || pass.Operation() != all {
					t.Error("no pass in the context")
				}
				return nil
			}
			if a := h.call(metadata.AppendToOutgoingContext(t.Context(), tt.fields...)); status.Code(a.err) != tt.code {
				t.Errorf("status %v, want %v", a.err, tt.code)
			}
		})
	}
}

// What looks like the gate's own fields does not reach the handler, and the address
// is the proxy's word only where the proxy is trusted.
func TestSpoofs(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		o := &middlewaretest.Options{}
		o.Gate.Profile.Fields = append(middleware.DefaultFields(), middleware.Field{Name: "X-Key-Id", Value: middleware.FieldKeyID})
		want := "127.0.0.1"
		if trusted {
			o.Gate.TrustedProxies, want = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, "203.0.113.9"
		}
		h := build(t, blueprint{fixture: o})
		h.unary = func(ctx context.Context) error {
			fields, _ := metadata.FromIncomingContext(ctx)
			for _, name := range []string{"x-key-id", "x_key_id", "ratelimit", "ratelimit-policy", "x-request-id", "authorization"} {
				if got := fields.Get(name); got != nil {
					t.Errorf("the handler was given %s: %q", name, got)
				}
			}
			if got := fields.Get("x-other"); !slices.Equal(got, []string{"a", "b"}) {
				t.Errorf("what is not the gate's is %q", got)
			}
			return nil
		}
		a := h.call(h.with(t.Context(), middlewaretest.Active, "x-key-id", "root", "x_key_id", "root", "ratelimit", "x", "x-request-id", "mine",
			"x-other", "a", "x-other", "b", "x-forwarded-for", "198.51.100.1, 203.0.113.9"))
		must(t, a.err)
		if got := a.header.Get("x-key-id"); len(got) != 1 || got[0] != h.Key(middlewaretest.Active).Key.ID {
			t.Errorf("key id %q", got)
		}
		if got := h.LastDecision().IP.String(); got != want {
			t.Errorf("address %s, want %s", got, want)
		}
	}
}

// A stream's metadata is as clean, and its client as known.
func TestWhatStreamsAreGiven(t *testing.T) {
	h := build(t, blueprint{})
	h.stream = func(out output) error {
		fields, _ := metadata.FromIncomingContext(out.Context())
		for _, name := range []string{"authorization", "x-request-id"} {
			if got := fields.Get(name); got != nil {
				t.Errorf("the handler was given %s: %q", name, got)
			}
		}
		if pass, ok := middleware.PassFrom(out.Context()); !ok || pass.ClientIP().String() != "127.0.0.1" {
			t.Error("no pass, or of another address")
		}
		send(t, out, 1)
		return nil
	}
	in, err := h.client.StreamingOutputCall(h.with(t.Context(), middlewaretest.Active, "x-request-id", "mine"), &grpc_testing.StreamingOutputCallRequest{})
	must(t, err)
	if n, err := drain(in); n != 1 || err != nil {
		t.Errorf("%d messages, %v", n, err)
	}
}

func perMinute(name string, n int64) middleware.Limit {
	return middleware.Limit{Limit: ratelimit.Limit{Name: name, Algorithm: ratelimit.FixedWindow, Count: n, Period: time.Minute}}
}

// What limits have left stands in the header of what passes; what is used up, in the
// details of what does not, with the exact time after which it passes.
func TestRateLimit(t *testing.T) {
	op := priced()
	op.Limits = []middleware.Limit{perMinute("minute", 2)}
	h := build(t, blueprint{op: &op})
	h.Clock.Advance(500 * time.Millisecond)
	a := h.active(t)
	if got := a.header.Get("ratelimit"); !slices.Equal(got, []string{`"minute";r=1;t=60`}) || len(a.header.Get("x-request-id")) != 1 || len(a.header.Get("ratelimit-policy")) != 1 {
		t.Errorf("header %v", a.header)
	}
	h.active(t)
	a = h.call(h.with(t.Context(), middlewaretest.Active))
	d := refused(t, a, codes.ResourceExhausted, "rate_limited")
	if d.retry == nil || d.quota == nil || len(d.quota.Violations) != 1 || d.quota.Violations[0].Subject != "minute" || d.quota.Violations[0].Description == "" {
		t.Fatalf("details %v", d)
	}
	if got := a.trailer.Get("ratelimit"); !slices.Equal(got, []string{`"minute";r=0;t=60`}) {
		t.Errorf("trailer %v", a.trailer)
	}
	h.Advance(d.retry.RetryDelay.AsDuration() - time.Nanosecond*1000)
	refused(t, h.call(h.with(t.Context(), middlewaretest.Active)), codes.ResourceExhausted, "rate_limited")
	h.Advance(time.Microsecond)
	h.active(t)
}

// A client whose retry policy names the code waits as long as it is told, and gives
// up at once where waiting does not help.
func TestRetryPolicyOfClients(t *testing.T) {
	const policy = `{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 3, "initialBackoff": "60s", "maxBackoff": "60s",
		"backoffMultiplier": 1, "retryableStatusCodes": ["RESOURCE_EXHAUSTED", "FAILED_PRECONDITION"]}}]}`
	op := priced()
	op.Limits = []middleware.Limit{{Limit: ratelimit.Limit{Name: "moment", Algorithm: ratelimit.FixedWindow, Count: 1, Period: 5 * time.Millisecond}}}
	h := build(t, blueprint{op: &op, dial: []grpc.DialOption{grpc.WithDefaultServiceConfig(policy)}})
	h.hook = func(err error) {
		if err != nil {
			h.Clock.Advance(5 * time.Millisecond)
		}
	}
	h.active(t)
	h.active(t) // refused first
	h.WantVerdicts(middleware.VerdictAllowed, middleware.VerdictRateLimited, middleware.VerdictAllowed)
	h.Reset()
	if a := h.call(h.with(t.Context(), middlewaretest.Poor)); status.Code(a.err) != codes.FailedPrecondition {
		t.Errorf("status %v", a.err)
	}
	h.WantVerdicts(middleware.VerdictCreditDenied)
}

// A brokenLimits store answers nothing.
type brokenLimits struct {
	ratelimit.Store
	down *atomic.Bool
}

func (s brokenLimits) Apply(ctx context.Context, r *ratelimit.Request) error {
	if s.down.Load() {
		return &kterrors.Error{Code: kterrors.Unavailable, Err: errors.New("dial tcp 10.9.8.7: refused")}
	}
	return s.Store.Apply(ctx, r)
}

// A brokenCredits store answers nothing.
type brokenCredits struct {
	credits.Store
	down *atomic.Bool
}

func (s brokenCredits) Update(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	if s.down.Load() {
		return &kterrors.Error{Code: kterrors.Unavailable, Err: errors.New("dial tcp 10.9.8.7: refused")}
	}
	return s.Store.Update(ctx, needs, fn)
}

// stores returns options whose stores can be broken.
func stores(tb testing.TB, limits, ledger *atomic.Bool) *middlewaretest.Options {
	clock := middlewaretest.NewClock(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC))
	memory, err := ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{Now: clock.Now})
	must(tb, err)
	book, err := credits.NewLedger(brokenCredits{credits.NewMemoryStore(&credits.MemoryOptions{Now: clock.Now}), ledger}, nil)
	must(tb, err)
	return &middlewaretest.Options{Clock: clock, Gate: middleware.Options{Limits: brokenLimits{memory, limits}, Credits: book}}
}

// A store that fails closes the gate, and its words reach nobody.
func TestStoresDown(t *testing.T) {
	var limits, ledger atomic.Bool
	op := priced()
	op.Limits = []middleware.Limit{perMinute("minute", 2)}
	h := build(t, blueprint{op: &op, fixture: stores(t, &limits, &ledger)})
	for _, down := range []*atomic.Bool{&limits, &ledger} {
		down.Store(true)
		a := h.call(h.with(t.Context(), middlewaretest.Active))
		if d := refused(t, a, codes.Unavailable, "unavailable"); d.retry.GetRetryDelay().AsDuration() != time.Second {
			t.Errorf("wait %v", d.retry)
		}
		if text := fmt.Sprint(a, status.Convert(a.err).Proto()); strings.Contains(text, "10.9.8.7") {
			t.Errorf("the client was told %s", text)
		}
		down.Store(false)
	}
	h.active(t)
	h.active(t) // the refused calls used up nothing
	h.WantCharged(10 * credits.Credit)
}

// The wrong key too often, and too many calls of one address.
func TestAddressIsLimited(t *testing.T) {
	h := build(t, blueprint{fixture: &middlewaretest.Options{Gate: middleware.Options{
		FailedAuth: ratelimit.Limit{Name: "failed", Algorithm: ratelimit.FixedWindow, Count: 1, Period: time.Minute},
		IPLimits:   []ratelimit.Limit{{Name: "flood", Algorithm: ratelimit.FixedWindow, Count: 3, Period: time.Minute}},
	}}})
	refused(t, h.call(h.with(t.Context(), middlewaretest.Malformed)), codes.Unauthenticated, "invalid_key")
	for range 2 {
		d := refused(t, h.call(h.with(t.Context(), middlewaretest.Malformed)), codes.ResourceExhausted, "too_many_failures")
		if d.retry == nil || len(d.quota.GetViolations()) != 1 {
			t.Errorf("details %v", d)
		}
	}
	d := refused(t, h.call(h.with(t.Context(), middlewaretest.Active)), codes.ResourceExhausted, "ip_limited")
	if d.retry == nil || d.quota.GetViolations()[0].GetSubject() != "flood" {
		t.Errorf("details %v", d)
	}
}

// As many calls at once as are allowed: the next is told to come again soon.
func TestTooManyAtOnce(t *testing.T) {
	op := priced()
	op.Limits = []middleware.Limit{{Limit: ratelimit.Limit{Name: "at_once", Algorithm: ratelimit.Concurrency, Count: 1, Period: time.Minute}}}
	h := build(t, blueprint{op: &op})
	entered, leave := make(chan struct{}), make(chan struct{})
	h.unary = func(context.Context) error {
		entered <- struct{}{}
		<-leave
		return nil
	}
	first := make(chan error, 1)
	go func() { first <- h.call(h.with(t.Context(), middlewaretest.Active)).err }()
	<-entered
	d := refused(t, h.call(h.with(t.Context(), middlewaretest.Active)), codes.ResourceExhausted, "too_many_at_once")
	if d.retry == nil || d.quota.GetViolations()[0].GetSubject() != "at_once" {
		t.Errorf("details %v", d)
	}
	close(leave)
	must(t, <-first)
	h.unary = nil
	h.active(t)
}

// What the profile and the options say of a verdict is said here too.
func TestAnswersAndCodes(t *testing.T) {
	h := build(t, blueprint{
		fixture: &middlewaretest.Options{Gate: middleware.Options{Profile: middleware.Profile{Answers: map[middleware.Verdict]middleware.Answer{
			middleware.VerdictScopeDenied: {Status: 404, Code: "no_such_method", Message: "there is none"},
		}}}},
		options: &grpcgate.Options{Codes: map[middleware.Verdict]rpcgate.Code{middleware.VerdictCreditDenied: rpcgate.ResourceExhausted}},
	})
	a := h.call(h.with(t.Context(), middlewaretest.Scopeless))
	if status.Code(a.err) != codes.NotFound || status.Convert(a.err).Message() != "there is none" {
		t.Errorf("status %v", a.err)
	}
	refused(t, h.call(h.with(t.Context(), middlewaretest.Poor)), codes.ResourceExhausted, "insufficient_credits")
}

func TestPublicMethodsNeedNoKey(t *testing.T) {
	h := build(t, blueprint{})
	for _, s := range []middlewaretest.State{middlewaretest.None, middlewaretest.Malformed, middlewaretest.Active} {
		if _, err := h.health.Check(h.with(t.Context(), s), &grpc_health_v1.HealthCheckRequest{}); err != nil {
			t.Errorf("%v: %v", s, err)
		}
	}
	h.WantVerdicts()
}

// A method that nobody has priced is refused, and the observer told, whatever the key.
func TestMethodsWithoutAnOperation(t *testing.T) {
	h := build(t, blueprint{})
	guard, err := grpcgate.New(h.Gate, grpcgate.Operations{unary: priced()}, &grpcgate.Options{Public: []string{"/grpc.health.v1.Health/"}})
	must(t, err)
	err = guard.Check(h.server.GetServiceInfo())
	for _, method := range []string{stream, upload, "/grpc.testing.TestService/EmptyCall"} {
		if err == nil || !strings.Contains(err.Error(), method) {
			t.Errorf("the check says %v, and not %s", err, method)
		}
	}
	if strings.Contains(err.Error(), unary+`"`) || strings.Contains(err.Error(), "Health") {
		t.Errorf("the check says %v", err)
	}
	_, err = guard.Unary(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: "/grpc.testing.TestService/EmptyCall"}, func(context.Context, any) (any, error) {
		t.Error("the handler ran")
		return nil, nil
	})
	if status.Code(err) != codes.Internal || strings.Contains(status.Convert(err).Message(), "EmptyCall") {
		t.Errorf("status %v", err)
	}
	if d := h.LastDecision(); d.Verdict != middleware.VerdictMisconfigured || d.Err == nil || !strings.Contains(d.Err.Error(), "EmptyCall") {
		t.Errorf("decision %+v", d)
	}
	if _, ok := kterrors.AsType[*middleware.Denial](err); !ok {
		t.Error("an interceptor further out finds no denial")
	}
}

// Every fault of New and Check is named, all at once.
func TestFaultsAtStartUp(t *testing.T) {
	h := build(t, blueprint{})
	if _, err := grpcgate.New(nil, nil, nil); err == nil {
		t.Error("no gate is a gate")
	}
	request := priced()
	request.Price = middleware.Quoted(nil)
	_, err := grpcgate.New(h.Gate, grpcgate.Operations{"Service/Method": priced(), "/a.B/C": {}, "/a.B/D": request, "/a.B/E": priced()}, &grpcgate.Options{
		Public: []string{"health", "/a.B/E", "/a/b/c", "//x"},
		Codes:  map[middleware.Verdict]rpcgate.Code{middleware.VerdictUnknown: rpcgate.OK, middleware.VerdictAllowed: rpcgate.Internal, middleware.VerdictRevoked: 17, 200: rpcgate.Internal},
	})
	for _, want := range []string{
		`"Service/Method"`, "the scopes are not stated", "Quoted(nil)", `"health"`, `"/a.B/E" is public`, `"/a/b/c"`, `"//x"`, "unknown: ok", "allowed:", "revoked: code(17)", "verdict(200)",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the faults do not say %q:\n%v", want, err)
		}
	}
	quoted := priced()
	quoted.Price = middleware.QuotedOf(func(context.Context, *grpc_testing.SimpleRequest) (credits.Amount, error) { return 1, nil })
	guard, err := grpcgate.New(middlewaretest.New(t, nil).Gate, grpcgate.Operations{all: quoted, "/grpc.testing.TestService/Misspelt": priced()}, &grpcgate.Options{Public: []string{"/grpc.health.v1.Health/", "/grpc.reflection.v1.ServerReflection/"}})
	must(t, err)
	err = guard.Check(h.server.GetServiceInfo())
	for _, want := range []string{stream, upload, "Misspelt", "ServerReflection"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the check does not say %q:\n%v", want, err)
		}
	}
}

// No output holds a key: not an answer, an event, an error, or the handler's metadata.
func TestNoSecretInAnyOutput(t *testing.T) {
	h := build(t, blueprint{})
	var all strings.Builder
	h.unary = func(ctx context.Context) error {
		fields, _ := metadata.FromIncomingContext(ctx)
		pass, _ := middleware.PassFrom(ctx)
		fmt.Fprintf(&all, "%v %v %+v\n", fields, ctx, pass.Key())
		return nil
	}
	h.hook = func(err error) { fmt.Fprintf(&all, "%v %+v %#v\n", err, err, err) }
	var secrets []string
	for s := range middlewaretest.Poor + 1 {
		secret := h.Key(s).Secret.Reveal()
		secrets = append(secrets, secret, secret[:20], secret[len(secret)-20:])
		for _, credential := range []string{"Bearer " + secret, "Bearer " + secret + "x", "Bearer " + secret + " " + secret} {
			a := h.call(metadata.AppendToOutgoingContext(t.Context(), "authorization", credential))
			fmt.Fprintf(&all, "%+v %v\n", a, status.Convert(a.err).Proto())
		}
	}
	fmt.Fprintf(&all, "%+v %+v\n", h.Decisions(), h.Settlements())
	if all.Len() < 1000 {
		t.Fatalf("only %d bytes to search", all.Len())
	}
	for _, secret := range secrets {
		if strings.Contains(all.String(), secret) {
			t.Errorf("%.6s... is in the output", secret)
		}
	}
}

// Prices and units are told of the message.
func TestPricesOfMessages(t *testing.T) {
	quoted := middleware.Operation{Scopes: scopes.None(), Price: middleware.QuotedOf(func(_ context.Context, m *grpc_testing.SimpleRequest) (credits.Amount, error) {
		if m.GetResponseSize() == 0 {
			return 0, &kterrors.Error{Code: kterrors.Invalid, Msg: "ask for something"}
		}
		return credits.Amount(m.GetResponseSize()) * credits.Credit, nil
	})}
	h := build(t, blueprint{ops: grpcgate.Operations{unary: quoted}})
	_, err := h.client.UnaryCall(h.with(t.Context(), middlewaretest.Active), &grpc_testing.SimpleRequest{ResponseSize: 7})
	must(t, err)
	h.WantCharged(7 * credits.Credit)
	_, err = h.client.UnaryCall(h.with(t.Context(), middlewaretest.Active), &grpc_testing.SimpleRequest{})
	if s := status.Convert(err); s.Code() != codes.InvalidArgument || s.Message() != "ask for something" {
		t.Errorf("status %v", s)
	}
	var names []string
	for _, d := range h.Decisions() {
		names = append(names, d.Operation)
	}
	if !slices.Equal(names, []string{unary, unary}) {
		t.Errorf("operations %v", names)
	}
}
