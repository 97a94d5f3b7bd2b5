package middleware_test

import (
	"context"
	"maps"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/scopes"
)

// What a transport reads with Gate.Attempt is what Gate.Handler reads.
func TestAttemptOfHeaderFields(t *testing.T) {
	h := build(t, blueprint{options: func(o *middleware.Options) {
		o.TrustRequestID = true
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
		o.Profile.Credentials = []middleware.Location{middleware.Bearer(), middleware.Header("X-API-Key"), middleware.InsecureQuery("key")}
		o.Profile.Fields = append(middleware.DefaultFields(), middleware.Field{Name: "X-Key-Id", Value: middleware.FieldKeyID})
	}})
	route, err := h.gate.Route(open())
	must(t, err)
	for _, tt := range []struct {
		name       string
		header     http.Header
		credential string
		malformed  bool
		ip, id     string
		hides      string
	}{
		{"nothing", http.Header{}, "", false, "10.0.0.1", "", ""},
		{"a bearer", http.Header{"Authorization": {"bearer abc"}}, "abc", false, "10.0.0.1", "", "Authorization authorization AUTHORIZATION"},
		{"a header of its own", http.Header{"X-Api-Key": {"abc"}, "Authorization": {"Basic x"}}, "abc", false, "10.0.0.1", "", "x-api-key x_api_key"},
		{"two lines", http.Header{"X-Api-Key": {"abc", "abc"}}, "", true, "10.0.0.1", "", "x-api-key authorization"},
		{"two places", http.Header{"X-Api-Key": {"abc"}, "Authorization": {"Bearer abc"}}, "", true, "10.0.0.1", "", "x-api-key authorization"},
		{"behind a proxy", http.Header{"X-Forwarded-For": {"198.51.100.9, 203.0.113.7", "10.1.1.1"}}, "", false, "203.0.113.7", "", ""},
		{"with a request id", http.Header{"X-Request-Id": {"mine"}}, "", false, "10.0.0.1", "mine", ""},
		{"with two", http.Header{"X-Request-Id": {"mine", "yours"}}, "", false, "10.0.0.1", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := h.gate.Attempt(route, "10.0.0.1:999", func(name string) []string { return tt.header[name] })
			if a.Credential != tt.credential || a.Malformed != tt.malformed || a.IP.String() != tt.ip || a.RequestID != tt.id || a.Route != route {
				t.Errorf("got %q, malformed %t, from %v, id %q", a.Credential, a.Malformed, a.IP, a.RequestID)
			}
			hidden := append(strings.Fields(tt.hides), "x-key-id", "X_Key_ID", "ratelimit", "x-request-id")
			for _, name := range []string{
				"authorization", "AUTHORIZATION", "Authorization", "x-api-key", "x_api_key", "x-key-id", "X_Key_ID", "ratelimit", "x-request-id",
				"", "key", "x-key", "grpc-timeout", "x-forwarded-for",
			} {
				want := name == "x_api_key" // whatever the credential is
				for _, one := range hidden {
					want = want || strings.EqualFold(strings.ReplaceAll(one, "_", "-"), strings.ReplaceAll(name, "_", "-"))
				}
				if got := a.Hides(name); got != want {
					t.Errorf("hides %q: %t, want %t", name, got, want)
				}
			}
		})
	}
	if bare := (middleware.Attempt{}); bare.Hides("authorization") {
		t.Error("an attempt of nobody hides something")
	}
}

// What a transport tells by Fields is what Gate.Handler sets.
func TestFieldsOfPassAndDenial(t *testing.T) {
	h := build(t, blueprint{options: func(o *middleware.Options) {
		o.NewRequestID = func() string { return "one" }
	}})
	op := open()
	op.Limits = []middleware.Limit{perMinute("minute", 2)}
	route, err := h.gate.Route(op)
	must(t, err)
	issued := h.key("")
	attempt := middleware.Attempt{Route: route, Credential: issued.Secret.Reveal()}
	handler := h.gate.Handler(op)(says(200))
	told := h.call(handler, bearer(issued)).Header()
	pass, err := h.gate.Begin(t.Context(), attempt)
	must(t, err)
	got := maps.Collect(pass.Fields())
	must(t, pass.End(t.Context(), middleware.Outcome{Status: 200, Completed: true}))
	want := map[string]string{"X-Request-Id": "one", "Ratelimit-Policy": told.Get("Ratelimit-Policy"), "Ratelimit": `"minute";r=0;t=60`}
	if !maps.Equal(got, want) {
		t.Errorf("an allowed call tells %v, want %v", got, want)
	}
	told = h.call(handler, bearer(issued)).Header()
	_, err = h.gate.Begin(t.Context(), attempt)
	denial, ok := errors.AsType[*middleware.Denial](err)
	if !ok || denial.Verdict != middleware.VerdictRateLimited {
		t.Fatalf("the third call: %v", err)
	}
	n := 0
	for name, value := range denial.Fields() {
		if n++; told.Get(name) != value {
			t.Errorf("%s is %q, and %q over HTTP", name, value, told.Get(name))
		}
	}
	if n != 4 {
		t.Errorf("%d fields, want the id, Retry-After, the policy and what is left", n)
	}
	for range denial.Fields() {
		break // stops where it is told to
	}
	for range (&middleware.Denial{}).Fields() {
		t.Error("a denial of nobody tells fields")
	}
}

func TestWithin(t *testing.T) {
	h, other := build(t, blueprint{}), build(t, blueprint{})
	h.grant(10)
	route, err := h.gate.Route(priced())
	must(t, err)
	second, err := h.gate.Route(open())
	must(t, err)
	foreign, err := other.gate.Route(open())
	must(t, err)
	pass, err := h.gate.Begin(t.Context(), middleware.Attempt{Route: route, Credential: h.key("image:generate").Secret.Reveal()})
	must(t, err)
	inside := middleware.NewContext(t.Context(), pass)
	for _, tt := range []struct {
		name   string
		ctx    context.Context
		route  *middleware.Route
		within bool
		fails  bool
	}{
		{"outside", t.Context(), route, false, false},
		{"the same operation", inside, route, true, false},
		{"another operation", inside, second, false, true},
		{"another gate", inside, foreign, false, false},
	} {
		if within, err := tt.route.Within(tt.ctx); within != tt.within || (err != nil) != tt.fails {
			t.Errorf("%s: within %t, %v", tt.name, within, err)
		}
	}
	must(t, pass.End(t.Context(), middleware.Outcome{Status: 200, Completed: true}))
	if within, err := second.Within(inside); within || err != nil {
		t.Errorf("after the end: within %t, %v", within, err)
	}
	d := h.gate.Unguarded(t.Context(), errors.New("nobody priced it"))
	if last := h.journal.last(); d.Verdict != middleware.VerdictMisconfigured || d.Status != 500 || last.Verdict != d.Verdict || last.RequestID != d.RequestID || last.Err == nil {
		t.Errorf("unguarded: %+v, the observer was told %+v", d, last)
	}
}

type order struct{ images int64 }

// Prices and units are told of a message where a transport has one.
func TestPriceOfAMessage(t *testing.T) {
	h := build(t, blueprint{})
	h.grant(100)
	quoted := middleware.Operation{Name: "quoted", Scopes: scopes.None(), Price: middleware.QuotedOf(func(_ context.Context, o *order) (credits.Amount, error) {
		if o.images == 0 {
			return 0, &errors.Error{Code: errors.Invalid, Msg: "order an image"}
		}
		return credits.Amount(o.images) * credits.Credit, nil
	})}
	counted := middleware.Operation{
		Name: "counted", Scopes: scopes.None(), Price: middleware.PerUnit(2 * credits.Credit),
		Unit: "images", UnitsOf: middleware.UnitsOf(func(_ context.Context, o *order) (int64, error) { return o.images, nil }),
	}
	secret := h.key("").Secret.Reveal()
	for _, tt := range []struct {
		name    string
		op      middleware.Operation
		message any
		verdict middleware.Verdict
		held    credits.Amount
	}{
		{"quoted", quoted, &order{3}, middleware.VerdictAllowed, 3},
		{"refused by the quote", quoted, &order{0}, middleware.VerdictPriceRefused, 0},
		{"another type", quoted, order{3}, middleware.VerdictMisconfigured, 0},
		{"no message", quoted, nil, middleware.VerdictMisconfigured, 0},
		{"by units", counted, &order{4}, middleware.VerdictAllowed, 8},
		{"no units", counted, &order{0}, middleware.VerdictAllowed, 0},
		{"no message to count", counted, nil, middleware.VerdictMisconfigured, 0},
		{"less than nothing", counted, &order{-1}, middleware.VerdictMisconfigured, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			route, err := h.gate.Route(tt.op)
			must(t, err)
			must(t, route.CheckMessages())
			if !route.OfMessage() {
				t.Error("the route says that it needs no message")
			}
			pass, err := h.gate.Begin(t.Context(), middleware.Attempt{Route: route, Credential: secret, Message: tt.message})
			if last := h.journal.last(); last.Verdict != tt.verdict || last.Held != tt.held*credits.Credit {
				t.Errorf("%v, %v held, %v", last.Verdict, last.Held, err)
			}
			if err == nil {
				must(t, pass.End(t.Context(), middleware.Outcome{Completed: true, Status: 500}))
			}
		})
	}
}

// Each transport refuses at start-up what it has no means to ask.
func TestFunctionsOfTheOtherTransport(t *testing.T) {
	h := build(t, blueprint{})
	request := middleware.Operation{
		Name: "request", Scopes: scopes.None(), Unit: "images",
		Units: func(*http.Request) (int64, error) { return 1, nil },
		Price: middleware.Quoted(func(*http.Request) (credits.Amount, error) { return 1, nil }),
	}
	message := middleware.Operation{
		Name: "message", Scopes: scopes.None(), Unit: "images",
		UnitsOf: middleware.UnitsOf(func(context.Context, *order) (int64, error) { return 1, nil }),
		Price:   middleware.QuotedOf(func(context.Context, *order) (credits.Amount, error) { return 1, nil }),
	}
	route, err := h.gate.Route(request)
	must(t, err)
	if err := route.CheckMessages(); err == nil || !strings.Contains(err.Error(), "QuotedOf") || !strings.Contains(err.Error(), "UnitsOf") {
		t.Errorf("messages for an operation of requests: %v", err)
	}
	if route.OfMessage() {
		t.Error("an operation of requests wants a message")
	}
	func() {
		defer func() {
			err, _ := recover().(error)
			if err == nil || !strings.Contains(err.Error(), "Quoted(func)") || !strings.Contains(err.Error(), "set Units") {
				t.Errorf("requests for an operation of messages: %v", err)
			}
		}()
		h.gate.Handler(message)
	}()
	for _, nothing := range []middleware.Operation{
		{Name: "nothing", Scopes: scopes.None(), Price: middleware.QuotedOf[*order](nil)},
		{Name: "nothing", Scopes: scopes.None(), Price: middleware.Free(), Unit: "images", UnitsOf: middleware.UnitsOf[*order](nil)},
	} {
		if h.gate.Check(nothing) == nil {
			t.Error("an operation that asks nobody is taken")
		}
	}
}
