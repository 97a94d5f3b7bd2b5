package connectgate_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	"github.com/keytoll/keytoll/credits"
	kterrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/connectgate"
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
func refused(t *testing.T, a answer, code connect.Code, reason string) details {
	t.Helper()
	e, ok := kterrors.AsType[*connect.Error](a.err)
	if !ok || e.Code() != code || e.Message() == "" {
		t.Fatalf("error %v, want %v", a.err, code)
	}
	var d details
	for _, detail := range e.Details() {
		value, err := detail.Value()
		must(t, err)
		switch m := value.(type) {
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
	if id := e.Meta()["X-Request-Id"]; len(id) != 1 || id[0] == "" || d.info.Metadata["request_id"] != id[0] {
		t.Errorf("request id %q, and %q in the details", id, d.info.Metadata["request_id"])
	}
	if (d.retry != nil) != (e.Meta().Get("Retry-After") != "") {
		t.Errorf("Retry-After %q with %v", e.Meta().Get("Retry-After"), d.retry)
	}
	if code == connect.CodeUnauthenticated && e.Meta().Get("Ratelimit")+e.Meta().Get("Ratelimit-Policy") != "" {
		t.Error("limit fields before a key was proven")
	}
	return d
}

func never(t *testing.T) func(context.Context, *connect.Request[number]) error {
	return func(context.Context, *connect.Request[number]) error {
		t.Error("the handler ran")
		return nil
	}
}

// Every state of a key is refused for what it is, by every protocol, and nothing is held.
func TestRefusalsOfKeys(t *testing.T) {
	h := build(t, blueprint{fixture: &middlewaretest.Options{Gate: middleware.Options{FailedAuth: ratelimit.Limit{Name: "failed", Count: 100, Period: time.Minute}}}})
	h.unary = never(t)
	each(t, func(t *testing.T, tr transport) {
		client, _ := h.client(t, tr, generate)
		for s, want := range map[middlewaretest.State]struct {
			code   connect.Code
			reason string
		}{
			middlewaretest.None:             {connect.CodeUnauthenticated, "missing_key"},
			middlewaretest.Malformed:        {connect.CodeUnauthenticated, "invalid_key"},
			middlewaretest.Unknown:          {connect.CodeUnauthenticated, "invalid_key"},
			middlewaretest.Expired:          {connect.CodeUnauthenticated, "expired_key"},
			middlewaretest.Revoked:          {connect.CodeUnauthenticated, "revoked_key"},
			middlewaretest.Disabled:         {connect.CodeUnauthenticated, "disabled_key"},
			middlewaretest.OtherEnvironment: {connect.CodeUnauthenticated, "wrong_environment"},
			middlewaretest.Suspended:        {connect.CodePermissionDenied, "suspended_account"},
			middlewaretest.OtherNetwork:     {connect.CodePermissionDenied, "ip_not_allowed"},
			middlewaretest.Scopeless:        {connect.CodePermissionDenied, "insufficient_scope"},
			middlewaretest.Poor:             {connect.CodeFailedPrecondition, "insufficient_credits"},
		} {
			h.Reset()
			a := callOf(t.Context(), client, h.request(s))
			d := refused(t, a, want.code, want.reason)
			// net/http sends no challenge in a trailer, where gRPC would have it.
			if challenge := a.fields.Get("Www-Authenticate"); challenge == "" && want.code == connect.CodeUnauthenticated && tr.name != "grpc over h2c" {
				t.Errorf("no challenge to a key that is %v", s)
			}
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
		}
	})
	h.WantBalance(1000*credits.Credit, 0)
}

// Streams are refused when they begin.
func TestStreamsAreRefused(t *testing.T) {
	h := build(t, blueprint{})
	h.stream = func(context.Context, *connect.ServerStream[number]) error {
		t.Error("the handler ran")
		return nil
	}
	each(t, func(t *testing.T, tr transport) {
		client, _ := h.client(t, tr, stream)
		in, err := client.CallServerStream(t.Context(), h.request(middlewaretest.None))
		must(t, err)
		if in.Receive() {
			t.Error("a message came")
		}
		refused(t, answer{err: in.Err()}, connect.CodeUnauthenticated, "missing_key")
		_ = in.Close()
	})
	h.WantEndings()
}

// What Connect says over plain HTTP is what HTTP says: a status, a challenge, when to
// come again, and that nobody may keep it.
func TestRefusalsOverPlainHTTP(t *testing.T) {
	op := priced()
	op.Limits = []middleware.Limit{perMinute("minute", 1)}
	h := build(t, blueprint{op: &op})
	ask := func(s middlewaretest.State, method string) *http.Response {
		t.Helper()
		url, body := h.server.URL+generate, io.Reader(strings.NewReader(`"7"`))
		if method == http.MethodGet {
			url, body = url+"?connect=v1&encoding=json&message=%227%22", nil
		}
		r, err := http.NewRequestWithContext(t.Context(), method, url, body)
		must(t, err)
		r.Header.Set("Content-Type", "application/json")
		h.authorize(r.Header, s)
		resp, err := http.DefaultClient.Do(r)
		must(t, err)
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		return resp
	}
	resp := ask(middlewaretest.None, http.MethodPost)
	if resp.StatusCode != 401 || resp.Header.Get("Www-Authenticate") != `Bearer realm="api"` || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	resp = ask(middlewaretest.Active, http.MethodGet)
	if resp.StatusCode != 200 || resp.Header.Get("Cache-Control") != "private" || resp.Header.Get("Ratelimit") != `"minute";r=0;t=60` || len(resp.Header["X-Request-Id"]) != 1 {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	resp = ask(middlewaretest.Active, http.MethodGet)
	if resp.StatusCode != 429 || resp.Header.Get("Retry-After") != "60" || resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("Ratelimit") != `"minute";r=0;t=60` {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
}

// What a handler says of caching stands.
func TestHandlersSayWhatMayBeKept(t *testing.T) {
	h := build(t, blueprint{})
	h.unary = func(ctx context.Context, _ *connect.Request[number]) error {
		info, _ := connect.CallInfoForHandlerContext(ctx)
		info.ResponseHeader().Set("Cache-Control", "max-age=60")
		return nil
	}
	a := h.call(t.Context(), t, transports[2], h.request(middlewaretest.Active))
	must(t, a.err)
	if got := a.fields["Cache-Control"]; !slices.Equal(got, []string{"max-age=60"}) {
		t.Errorf("Cache-Control %q", got)
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
		header http.Header
		code   connect.Code // 0 passes
	}{
		{"bearer", http.Header{"Authorization": {"bearer " + key}}, 0},
		{"a field of its own", http.Header{"X-Api-Key": {key}}, 0},
		{"beside another scheme", http.Header{"X-Api-Key": {key}, "Authorization": {"Basic eDp5"}}, 0},
		{"twice the same", http.Header{"X-Api-Key": {key, key}}, connect.CodeUnauthenticated},
		{"two of one name", http.Header{"Authorization": {"Bearer " + key, "Bearer x"}}, connect.CodeUnauthenticated},
		{"in two places", http.Header{"Authorization": {"Bearer " + key}, "X-Api-Key": {key}}, connect.CodeUnauthenticated},
		{"in a field that looks like it", http.Header{"X_api_key": {key}}, connect.CodeUnauthenticated},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h.unary = func(ctx context.Context, r *connect.Request[number]) error {
				info, _ := connect.CallInfoForHandlerContext(ctx)
				for name, values := range r.Header() {
					if strings.Contains(strings.Join(values, " "), key) {
						t.Errorf("the handler was given the key in %s", name)
					}
				}
				if info.RequestHeader().Get("X-Api-Key") != "" {
					t.Error("the handler was given the key by its context")
				}
				if got := r.Header().Get("Authorization"); tt.name == "beside another scheme" && got != "Basic eDp5" {
					t.Errorf("somebody else's authorization is %q", got)
				}
				if pass, ok := middleware.PassFrom(ctx); !ok || pass.Key().Owner != "acme" || pass.Operation() != all {
					t.Error("no pass in the context")
				}
				return nil
			}
			each(t, func(t *testing.T, tr transport) {
				r := connect.NewRequest(&number{})
				maps.Copy(r.Header(), tt.header)
				a := h.call(t.Context(), t, tr, r)
				if a.err != nil && connect.CodeOf(a.err) != tt.code || a.err == nil && tt.code != 0 {
					t.Errorf("error %v, want %v", a.err, tt.code)
				}
			})
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
		h.unary = func(_ context.Context, r *connect.Request[number]) error {
			for _, name := range []string{"X-Key-Id", "X_key_id", "Ratelimit", "Ratelimit-Policy", "X-Request-Id", "Authorization"} {
				if got := r.Header()[name]; got != nil {
					t.Errorf("the handler was given %s: %q", name, got)
				}
			}
			if got := r.Header()["X-Other"]; !slices.Equal(got, []string{"a", "b"}) {
				t.Errorf("what is not the gate's is %q", got)
			}
			return nil
		}
		r := h.request(middlewaretest.Active)
		for _, name := range []string{"X-Key-Id", "X_key_id", "Ratelimit", "X-Request-Id"} {
			r.Header().Set(name, "root")
		}
		r.Header()["X-Other"] = []string{"a", "b"}
		r.Header().Set("X-Forwarded-For", "198.51.100.1, 203.0.113.9")
		a := h.call(t.Context(), t, transports[0], r)
		must(t, a.err)
		if got := a.fields["X-Key-Id"]; len(got) != 1 || got[0] != h.Key(middlewaretest.Active).Key.ID {
			t.Errorf("key id %q", got)
		}
		if got := h.LastDecision().IP.String(); got != want {
			t.Errorf("address %s, want %s", got, want)
		}
	}
}

// A stream's header is as clean, and its client as known.
func TestWhatStreamsAreGiven(t *testing.T) {
	h := build(t, blueprint{})
	h.stream = func(ctx context.Context, out *output) error {
		info, _ := connect.CallInfoForHandlerContext(ctx)
		for _, name := range []string{"Authorization", "X-Request-Id"} {
			if got := info.RequestHeader()[name]; got != nil {
				t.Errorf("the handler was given %s: %q", name, got)
			}
		}
		if pass, ok := middleware.PassFrom(ctx); !ok || pass.ClientIP().String() != "127.0.0.1" {
			t.Error("no pass, or of another address")
		}
		send(t, out, 1)
		return nil
	}
	each(t, func(t *testing.T, tr transport) {
		client, _ := h.client(t, tr, stream)
		r := h.request(middlewaretest.Active)
		r.Header().Set("X-Request-Id", "mine")
		in, err := client.CallServerStream(t.Context(), r)
		must(t, err)
		if !in.Receive() || in.Receive() || in.Err() != nil {
			t.Errorf("the stream ended by %v", in.Err())
		}
		_ = in.Close()
	})
}

func perMinute(name string, n int64) middleware.Limit {
	return middleware.Limit{Limit: ratelimit.Limit{Name: name, Algorithm: ratelimit.FixedWindow, Count: n, Period: time.Minute}}
}

// What is used up stands in the details, with the exact time after which it passes.
func TestRateLimit(t *testing.T) {
	each(t, func(t *testing.T, tr transport) {
		op := priced()
		op.Limits = []middleware.Limit{perMinute("minute", 1)}
		h := build(t, blueprint{op: &op})
		h.Clock.Advance(500 * time.Millisecond)
		a := h.call(t.Context(), t, tr, h.request(middlewaretest.Active))
		must(t, a.err)
		if a.fields.Get("Ratelimit") != `"minute";r=0;t=60` || a.fields.Get("Ratelimit-Policy") == "" || a.fields.Get("X-Request-Id") == "" {
			t.Errorf("header %v", a.fields)
		}
		d := refused(t, h.call(t.Context(), t, tr, h.request(middlewaretest.Active)), connect.CodeResourceExhausted, "rate_limited")
		if d.retry == nil || d.quota == nil || d.quota.Violations[0].Subject != "minute" {
			t.Fatalf("details %v", d)
		}
		h.Advance(d.retry.RetryDelay.AsDuration() - time.Microsecond)
		refused(t, h.call(t.Context(), t, tr, h.request(middlewaretest.Active)), connect.CodeResourceExhausted, "rate_limited")
		h.Advance(time.Microsecond)
		must(t, h.call(t.Context(), t, tr, h.request(middlewaretest.Active)).err)
		h.WantCharged(10 * credits.Credit)
	})
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

// A store that fails closes the gate, and its words reach nobody.
func TestStoresDown(t *testing.T) {
	var down atomic.Bool
	clock := middlewaretest.NewClock(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC))
	book, err := credits.NewLedger(brokenCredits{credits.NewMemoryStore(&credits.MemoryOptions{Now: clock.Now}), &down}, nil)
	must(t, err)
	h := build(t, blueprint{fixture: &middlewaretest.Options{Clock: clock, Gate: middleware.Options{Credits: book}}})
	each(t, func(t *testing.T, tr transport) {
		down.Store(true)
		a := h.call(t.Context(), t, tr, h.request(middlewaretest.Active))
		down.Store(false)
		if d := refused(t, a, connect.CodeUnavailable, "unavailable"); d.retry.GetRetryDelay().AsDuration() != time.Second {
			t.Errorf("wait %v", d.retry)
		}
		if text := fmt.Sprint(a.err, a.fields); strings.Contains(text, "10.9.8.7") {
			t.Errorf("the client was told %s", text)
		}
	})
	h.WantBalance(1000*credits.Credit, 0)
}

func TestAnswersAndCodes(t *testing.T) {
	h := build(t, blueprint{
		fixture: &middlewaretest.Options{Gate: middleware.Options{Profile: middleware.Profile{Answers: map[middleware.Verdict]middleware.Answer{
			middleware.VerdictScopeDenied: {Status: 404, Code: "no_such_procedure", Message: "there is none"},
		}}}},
		options: &connectgate.Options{Codes: map[middleware.Verdict]rpcgate.Code{middleware.VerdictCreditDenied: rpcgate.ResourceExhausted}},
	})
	a := h.call(t.Context(), t, transports[0], h.request(middlewaretest.Scopeless))
	if e, _ := kterrors.AsType[*connect.Error](a.err); connect.CodeOf(a.err) != connect.CodeNotFound || e.Message() != "there is none" {
		t.Errorf("error %v", a.err)
	}
	refused(t, h.call(t.Context(), t, transports[0], h.request(middlewaretest.Poor)), connect.CodeResourceExhausted, "insufficient_credits")
}

func TestPublicProceduresNeedNoKey(t *testing.T) {
	h := build(t, blueprint{})
	client, _ := h.client(t, transports[0], ping)
	for _, s := range []middlewaretest.State{middlewaretest.None, middlewaretest.Malformed, middlewaretest.Active} {
		must(t, callOf(t.Context(), client, h.request(s)).err)
	}
	h.WantVerdicts()
}

// A procedure that nobody has priced is refused, and the observer told.
func TestProceduresWithoutAnOperation(t *testing.T) {
	h := build(t, blueprint{})
	guard, err := connectgate.New(h.Gate, connectgate.Operations{"/images.v1.Images/Misspelt": priced()}, nil)
	must(t, err)
	described := services(t)
	err = guard.Check(described.Get(0), described.Get(1))
	for _, want := range []string{generate, stream, upload, talk, ping, "Misspelt"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the check says %v, and not %s", err, want)
		}
	}
	mux := http.NewServeMux()
	mux.Handle(generate, connect.NewUnaryHandler(generate, h.work, connect.WithInterceptors(guard)))
	h.server.Config.Handler = mux
	h.unary = never(t)
	a := h.call(t.Context(), t, transports[0], h.request(middlewaretest.Active))
	if connect.CodeOf(a.err) != connect.CodeInternal || strings.Contains(a.err.Error(), "operation") {
		t.Errorf("error %v", a.err)
	}
	if d := h.LastDecision(); d.Verdict != middleware.VerdictMisconfigured || d.Err == nil || !strings.Contains(d.Err.Error(), generate) {
		t.Errorf("decision %+v", d)
	}
}

// Every fault of New and Check is named, all at once.
func TestFaultsAtStartUp(t *testing.T) {
	if _, err := connectgate.New(nil, nil, nil); err == nil {
		t.Error("no gate is a gate")
	}
	quoted := priced()
	quoted.Price = middleware.QuotedOf(func(context.Context, *number) (credits.Amount, error) { return 1, nil })
	guard, err := connectgate.New(middlewaretest.New(t, nil).Gate, connectgate.Operations{all: quoted}, &connectgate.Options{Public: []string{ping}})
	must(t, err)
	described := services(t)
	err = guard.Check(described.Get(0), described.Get(1))
	for _, want := range []string{stream, upload, talk} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the check does not say %q:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), generate) {
		t.Errorf("the check says %v", err)
	}
}

// Prices and units are told of the message.
func TestPricesOfMessages(t *testing.T) {
	h := build(t, blueprint{ops: connectgate.Operations{generate: {
		Scopes: scopes.None(), Price: middleware.PerUnit(2 * credits.Credit), Unit: "images",
		UnitsOf: middleware.UnitsOf(func(_ context.Context, n *number) (int64, error) { return n.GetValue(), nil }),
	}}})
	each(t, func(t *testing.T, tr transport) {
		h.Reset()
		must(t, h.call(t.Context(), t, tr, h.request(middlewaretest.Active)).err)
		h.WantCharged(14 * credits.Credit)
		if got := h.LastDecision().Operation; got != generate {
			t.Errorf("operation %s", got)
		}
	})
}

// A client that is given the interceptor is left alone.
func TestClientsAreLeftAlone(t *testing.T) {
	h := build(t, blueprint{})
	h.talk = func(_ context.Context, both *connect.BidiStream[number, number]) error {
		n, err := both.Receive()
		if err != nil {
			return err
		}
		return both.Send(n)
	}
	client, _ := h.client(t, transports[0], generate, connect.WithInterceptors(h.guard))
	must(t, callOf(t.Context(), client, h.request(middlewaretest.Active)).err)
	client, _ = h.client(t, transports[1], talk, connect.WithInterceptors(h.guard))
	both := client.CallBidiStream(t.Context())
	h.authorize(both.RequestHeader(), middlewaretest.Active)
	must(t, both.Send(&number{Value: 3}))
	n, err := both.Receive()
	must(t, err)
	must(t, both.CloseRequest())
	must(t, both.CloseResponse())
	if n.GetValue() != 3 {
		t.Errorf("got %v", n)
	}
	h.WantVerdicts(middleware.VerdictAllowed, middleware.VerdictAllowed)
}

// No output holds a key: not an answer, an event, an error, or the handler's header.
func TestNoSecretInAnyOutput(t *testing.T) {
	h := build(t, blueprint{})
	var all strings.Builder
	h.unary = func(ctx context.Context, r *connect.Request[number]) error {
		pass, _ := middleware.PassFrom(ctx)
		fmt.Fprintf(&all, "%v %v %+v\n", r.Header(), ctx, pass.Key())
		return nil
	}
	h.hook = func(err error) { fmt.Fprintf(&all, "%v %+v\n", err, err) }
	client, _ := h.client(t, transports[0], generate)
	var secrets []string
	for s := range middlewaretest.Poor + 1 {
		secret := h.Key(s).Secret.Reveal()
		secrets = append(secrets, secret, secret[:20], secret[len(secret)-20:])
		for _, credential := range []string{"Bearer " + secret, "Bearer " + secret + "x", "Bearer " + secret + " " + secret} {
			r := connect.NewRequest(&number{})
			r.Header().Set("Authorization", credential)
			a := callOf(t.Context(), client, r)
			fmt.Fprintf(&all, "%+v %v\n", a.err, a.fields)
			if e, ok := kterrors.AsType[*connect.Error](a.err); ok {
				for _, d := range e.Details() {
					fmt.Fprintf(&all, "%q\n", d.Bytes())
				}
			}
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
