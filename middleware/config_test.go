package middleware_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/scopes"
)

func mentions(t *testing.T, err error, wants ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if errors.CodeOf(err) != errors.Invalid {
		t.Errorf("code %v, want invalid", errors.CodeOf(err))
	}
	for _, want := range wants {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
}

func TestNewGateReportsEveryFault(t *testing.T) {
	_, err := middleware.NewGate(nil, &middleware.Options{
		MaxBody: -1, HoldTTL: -1, StoreTimeout: -1, SettleTimeout: -1, RetryJitter: -1,
		IPLimits:       []ratelimit.Limit{{Name: "ip"}},
		FailedAuth:     ratelimit.Limit{Name: "guess", Count: -1, Period: time.Minute},
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")},
		Profile: middleware.Profile{
			Credentials: []middleware.Location{{}, middleware.Header("X Key"), middleware.Header("x-key"), middleware.InsecureQuery("a b"), middleware.Bearer(), middleware.Bearer()},
			Realm:       `a"b`,
			Answers: map[middleware.Verdict]middleware.Answer{
				middleware.VerdictAllowed: {Status: 400}, middleware.VerdictMissing: {Status: 200}, middleware.VerdictReplayed: {Code: "again"},
				middleware.VerdictUnknown: {Message: "no {such} key"},
			},
			Fields: []middleware.Field{{"X Y", middleware.FieldKeyID}, {"X-A", 0}, {"X-B", 99}, {"x-a", middleware.FieldKeyName}, {"set-cookie", middleware.FieldKeyID}, {"X-Key", middleware.FieldKeyID}},
		},
	})
	mentions(t, err, "keys is nil", "MaxBody is -1", "HoldTTL is", "StoreTimeout is", "SettleTimeout is", `limit "ip"`, `limit "guess"`, "trusts everyone",
		"location is not set", `"X Key" is not a header name`, `"Authorization: Bearer" is given twice`, "realm", "answer of allowed", "answer of idem_replayed", "status 200", "{such} stands for nothing",
		`field "X Y"`, `field "X-A": value 0`, `field "X-B": value 99`, `field "x-a": the name is given twice`,
		`field "set-cookie": HTTP`, `field "X-Key": keys stand there`, "RetryJitter is", `parameter "a b"`)
}

func TestCheckReportsEveryFault(t *testing.T) {
	h := build(t, blueprint{options: func(o *middleware.Options) {
		o.Credits = nil
		o.IPLimits = []ratelimit.Limit{{Name: "address", Count: 1, Period: time.Minute}}
	}})
	mentions(t, h.gate.Check(middleware.Operation{}), `name ""`, "scopes are not stated", "price is not stated")
	err := h.gate.Check(middleware.Operation{
		Name: "a b", Scopes: scopes.All("a:*"), Price: middleware.Fixed(credits.Credit), HoldTTL: -1, MaxWait: -1, Unit: "images",
		Limits: []middleware.Limit{
			{Limit: ratelimit.Limit{Name: "zero", Period: time.Minute}},
			{Limit: ratelimit.Limit{Name: "who", Count: 1, Period: time.Minute}, Subject: 9},
			perMinute("twice", 1), {Limit: perMinute("twice", 1).Limit, Subject: middleware.PerOwner},
			perMinute("address", 1),
		},
		Settle: middleware.Settlement{99: middleware.Capture, middleware.EndSuccess: 9},
	})
	mentions(t, err, `name "a b"`, "wildcard", "has no ledger", "HoldTTL", "MaxWait", "give both or neither", `limit "zero"`, "is no subject", `"twice": the name is used twice`,
		"ending(99) is no ending", "action(9) is no action")
	for _, price := range []middleware.Price{middleware.Fixed(0), middleware.Fixed(-1), middleware.Quoted(nil), {}} {
		mentions(t, h.gate.Check(middleware.Operation{Name: "x", Scopes: scopes.None(), Price: price}), "price")
	}
	op := open()
	op.Limits = []middleware.Limit{perMinute("address", 1)}
	mentions(t, h.gate.Check(op), "Options.IPLimits")
}

// A program has many operations, and at start-up one line to find the wrong one.
func TestEveryFaultNamesItsOperation(t *testing.T) {
	h := build(t, blueprint{})
	err := h.gate.Check(middleware.Operation{
		Name: "images", Scopes: scopes.All("a b", "c d"), Price: middleware.Free(), MaxWait: -1,
		Limits: []middleware.Limit{{}, {Subject: middleware.PerOwner}},
	})
	mentions(t, err, "scopes", "MaxWait", "count", "period")
	for line := range strings.Lines(err.Error()) {
		if !strings.HasPrefix(line, "middleware.Operation(images): ") {
			t.Errorf("a fault of which operation? %s", line)
		}
	}
}

func TestNamesMeanOneThing(t *testing.T) {
	h := build(t, blueprint{})
	op := open()
	op.Limits = []middleware.Limit{perMinute("minute", 10)}
	must(t, h.gate.Check(op))
	_, err := h.gate.Route(op)
	must(t, err)
	_, err = h.gate.Route(op) // the same again
	must(t, err)

	same := op
	same.Name = "other" // shares the window
	must(t, h.gate.Check(same))
	for what, limit := range map[string]middleware.Limit{
		"count": perMinute("minute", 11), "subject": {Limit: perMinute("minute", 10).Limit, Subject: middleware.PerOwner},
	} {
		other := same
		other.Limits = []middleware.Limit{limit}
		if err := h.gate.Check(other); err == nil {
			t.Errorf("another %s under the same limit name is accepted", what)
		}
	}
	for what, change := range map[string]func(*middleware.Operation){
		"price":    func(op *middleware.Operation) { op.Price = middleware.Fixed(1) },
		"scopes":   func(op *middleware.Operation) { op.Scopes = scopes.All("a:b") },
		"limits":   func(op *middleware.Operation) { op.Limits = nil },
		"max wait": func(op *middleware.Operation) { op.MaxWait = time.Second },
		"a limit of another name": func(op *middleware.Operation) {
			op.Limits = []middleware.Limit{{Limit: perMinute("renamed", 10).Limit, Setting: "per_minute"}}
		},
		"settlement": func(op *middleware.Operation) {
			op.Settle = middleware.Settlement{middleware.EndSuccess: middleware.Release}
		},
	} {
		other := op
		change(&other)
		if err := h.gate.Check(other); err == nil || !strings.Contains(err.Error(), "another operation has this name") {
			t.Errorf("another %s under the same name: %v", what, err)
		}
	}
}

func TestHandlerPanicsAtStartUp(t *testing.T) {
	h := build(t, blueprint{})
	for name, f := range map[string]func(){
		"a wrong operation": func() { h.gate.Handler(middleware.Operation{Name: "x"}) },
		"a nil handler":     func() { h.gate.Handler(open())(nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s is accepted", name)
				}
			}()
			f()
		}()
	}
}

func TestOptionsAreCopied(t *testing.T) {
	locations := []middleware.Location{middleware.Header("X-One")}
	answers := map[middleware.Verdict]middleware.Answer{middleware.VerdictMissing: {Status: 418}}
	fields := []middleware.Field{{"X-Trace", middleware.FieldRequestID}}
	h := build(t, blueprint{options: func(o *middleware.Options) {
		o.Profile.Credentials, o.Profile.Answers, o.Profile.Realm = locations, answers, "pictures"
		o.Profile.Fields = fields
	}})
	locations[0] = middleware.Header("X-Two")
	answers[middleware.VerdictMissing] = middleware.Answer{Status: 403}
	fields[0].Name = "X-Other"
	handler := h.gate.Handler(open())(says(200))
	if w := h.call(handler, raw("X-One", h.key("").Secret.Reveal())); w.Code != 200 {
		t.Errorf("status %d", w.Code)
	}
	w := h.call(handler)
	if w.Header().Get("X-Trace") == "" {
		t.Error("the answer has no X-Trace")
	}
	if got := w.Header().Get("WWW-Authenticate"); w.Code != 418 || got != `ApiKey realm="pictures"` {
		t.Errorf("status %d, challenge %s", w.Code, got)
	}
}

func TestStableNames(t *testing.T) {
	var verdicts []string
	for v := middleware.VerdictUndecided; !strings.HasPrefix(v.String(), "verdict("); v++ {
		verdicts = append(verdicts, v.String())
		if v != middleware.VerdictAllowed && v != middleware.VerdictReplayed && v.Status() < 400 {
			t.Errorf("%v has status %d", v, v.Status())
		}
	}
	want := "undecided allowed missing malformed unknown disabled expired revoked environment ip_denied scope_denied ip_limited auth_limited rate_limited credit_denied too_large price_refused store_error canceled misconfigured suspended budget_denied concurrency_limited plan_denied idem_missing idem_malformed idem_running idem_conflict idem_opaque idem_replayed foreign"
	if got := strings.Join(verdicts, " "); got != want {
		t.Errorf("verdicts\n%s\nwant\n%s", got, want)
	}
	var endings []string
	for e := middleware.EndUnknown; !strings.HasPrefix(e.String(), "ending("); e++ {
		endings = append(endings, e.String())
	}
	if got := strings.Join(endings, " "); got != "unknown success accepted redirect client_error server_error panic partial_panic hijack client_gone timeout probe" {
		t.Errorf("endings %s", got)
	}
	actions := []string{middleware.Release.String(), middleware.Capture.String(), middleware.Keep.String(), middleware.Action(9).String()}
	if !slices.Equal(actions, []string{"release", "capture", "keep", "action(9)"}) {
		t.Errorf("actions %q", actions)
	}
}
