package otelgate_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/middlewaretest"
	"github.com/keytoll/keytoll/middleware/otelgate"
	"github.com/keytoll/keytoll/scopes"
)

// traced serves one request inside of a span, as instrumentation of servers does,
// and returns the spans that ended.
func (b *bench) traced(handler http.Handler, s middlewaretest.State) []sdktrace.ReadOnlySpan {
	b.t.Helper()
	spans := tracetest.NewSpanRecorder()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("server")
	outer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, span := tracer.Start(r.Context(), "POST /v1/images")
		defer span.End()
		handler.ServeHTTP(w, r.WithContext(ctx))
	})
	b.Do(outer, s, "POST", "/v1/images")
	return spans.Ended()
}

func told(span sdktrace.ReadOnlySpan) string {
	var all []string
	for _, kv := range span.Attributes() {
		all = append(all, string(kv.Key)+"="+kv.Value.String())
	}
	return strings.Join(all, " ")
}

func TestWhatTheSpanIsTold(t *testing.T) {
	failing := middleware.Operation{
		Name: "down", Scopes: scopes.None(), Price: middleware.Free(),
		Allow: func(context.Context, apikey.Key) error {
			return &errors.Error{Code: errors.Unavailable, Msg: "the plans are down"}
		},
	}
	for _, tt := range []struct {
		name    string
		state   middlewaretest.State
		options otelgate.Options
		op      middleware.Operation
		status  int
		want    string // after operation, outcome and request id
		code    codes.Code
	}{
		{"allowed", middlewaretest.Active, otelgate.Options{}, images(), 200,
			"keytoll.operation=images.create keytoll.outcome=allowed keytoll.request.id=ID keytoll.credits.held=5000000 keytoll.ending=success keytoll.action=capture keytoll.credits.captured=5000000", codes.Unset},
		{"whose", middlewaretest.Active, otelgate.Options{KeyID: true, Owner: true}, images(), 500,
			"keytoll.operation=images.create keytoll.outcome=allowed keytoll.request.id=ID keytoll.credits.held=5000000 keytoll.key.id=KEY enduser.pseudo.id=acme keytoll.ending=server_error keytoll.action=release", codes.Unset},
		{"a refusal is no error", middlewaretest.Scopeless, otelgate.Options{}, images(), 200,
			"keytoll.operation=images.create keytoll.outcome=scope_denied keytoll.request.id=ID", codes.Unset},
		{"nobody is nobody", middlewaretest.None, otelgate.Options{KeyID: true, Owner: true}, images(), 200,
			"keytoll.operation=images.create keytoll.outcome=missing keytoll.request.id=ID", codes.Unset},
		{"what could not be decided is one", middlewaretest.Active, otelgate.Options{}, failing, 200,
			"keytoll.operation=down keytoll.outcome=store_error keytoll.request.id=ID error.type=store_error", codes.Error},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, tt.options)
			ended := b.traced(b.Gate.Handler(tt.op)(answers(tt.status)), tt.state)
			if len(ended) != 1 {
				t.Fatalf("%d spans; the gate starts none", len(ended))
			}
			want := strings.NewReplacer("ID", b.LastDecision().RequestID, "KEY", b.Key(middlewaretest.Active).Key.ID).Replace(tt.want)
			if got := told(ended[0]); got != want || ended[0].Status().Code != tt.code {
				t.Errorf("status %v, told\n%s\nwant %v\n%s", ended[0].Status(), got, tt.code, want)
			}
		})
	}
}

// What stores fail at, and what limits refused, stands on the span.
func TestTheSpanOfTrouble(t *testing.T) {
	b := newBench(t, otelgate.Options{})
	spans := tracetest.NewSpanRecorder()
	ctx, span := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("t").Start(t.Context(), "s")
	b.observer.Decided(ctx, middleware.Decision{Verdict: middleware.VerdictRateLimited, Limits: []string{"minute", "day"}, Degraded: true, Original: "o"})
	b.observer.Settled(ctx, middleware.Settled{Hold: "h", Held: 5, Action: middleware.Capture, Kept: middleware.KeptOpaque, Err: context.DeadlineExceeded})
	b.observer.Decided(ctx, middleware.Decision{Verdict: middleware.VerdictCanceled})
	span.End()
	got := told(spans.Ended()[0])
	for _, want := range []string{`keytoll.limits=["minute","day"]`, "keytoll.degraded=true", "keytoll.settle.failed=true", "keytoll.original=o", "keytoll.kept=opaque", "keytoll.action=capture"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not told: %s", want, got)
		}
	}
	if status := spans.Ended()[0].Status(); status.Code != codes.Unset {
		t.Errorf("a client that left makes the status %v", status)
	}
}

// No span that the gate or its surroundings tell holds a credential, once what
// other instrumentation recorded went through Redact.
func TestRedact(t *testing.T) {
	f := middlewaretest.New(t, &middlewaretest.Options{Gate: middleware.Options{Profile: middleware.Profile{
		Credentials: []middleware.Location{middleware.Header("X-API-Key"), middleware.Bearer(), middleware.InsecureQuery("key")},
	}}})
	secret := f.Key(middlewaretest.Active).Secret.Reveal()
	redact := otelgate.Redact(f.Gate)
	for _, tt := range []struct {
		key  attribute.Key
		in   attribute.Value
		want string
	}{
		{"http.request.header.x-api-key", attribute.StringSliceValue([]string{secret}), `["REDACTED"]`},
		{"http.request.header.x_api_key", attribute.StringSliceValue([]string{secret}), `["REDACTED"]`},
		{"http.request.header.authorization", attribute.StringSliceValue([]string{"Bearer " + secret}), `["REDACTED"]`},
		{"http.request.header.accept", attribute.StringSliceValue([]string{"text/html"}), `["text/html"]`},
		{"url.full", attribute.StringValue("https://a.example/v1?a=b&key=" + secret + "&c=d"), "https://a.example/v1?a=b&key=REDACTED&c=d"},
		{"http.url", attribute.StringValue("https://a.example/v1?key=" + secret), "https://a.example/v1?key=REDACTED"},
		{"http.target", attribute.StringValue("/v1?key=" + secret), "/v1?key=REDACTED"},
		{"url.full", attribute.StringValue("https://a.example:port/?key=" + secret), "REDACTED"},
		{"url.query", attribute.StringValue("k%65y=" + secret + "&a=b"), "key=REDACTED&a=b"},
		{"url.query", attribute.StringValue(""), ""},
		{"http.request.header.referer", attribute.StringSliceValue([]string{"https://a.example/?key=" + secret, "x"}), `["https://a.example/?key=REDACTED","x"]`},
		{"url.path", attribute.StringValue("/v1"), "/v1"},
	} {
		if got := redact(tt.key.String("")); got.Key != tt.key {
			t.Errorf("%s became %s", tt.key, got.Key)
		}
		if got := redact(attribute.KeyValue{Key: tt.key, Value: tt.in}); got.Value.String() != tt.want {
			t.Errorf("%s is %s, want %s", tt.key, got.Value.String(), tt.want)
		}
	}
	plain := otelgate.Redact(middlewaretest.New(t, nil).Gate)
	if got := plain(attribute.String("url.full", "/v1?key=a")); got.Value.AsString() != "/v1?key=a" {
		t.Errorf("a parameter that holds no credential: %s", got.Value.AsString())
	}
}

// Nothing that is told holds a secret.
func TestNoSecretIsTold(t *testing.T) {
	b := newBench(t, otelgate.Options{KeyID: true, Owner: true})
	var text strings.Builder
	for _, s := range middlewaretest.States() {
		for _, span := range b.traced(b.Gate.Handler(images())(answers(200)), s) {
			fmt.Fprintln(&text, told(span), span.Events(), span.Status())
		}
	}
	for _, m := range b.metrics() {
		fmt.Fprintf(&text, "%+v\n", m)
	}
	if n := strings.Count(text.String(), "\n"); n < 15 {
		t.Fatalf("%d lines to search", n)
	}
	for s := middlewaretest.Active; s <= middlewaretest.Poor; s++ {
		secret := b.Key(s).Secret.Reveal()
		if strings.Contains(text.String(), secret[:24]) || strings.Contains(text.String(), secret[len(secret)-24:]) {
			t.Errorf("the key that is %v is told", s)
		}
	}
}
