package middlewaretest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/middlewaretest"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/scopes"
)

// A fake is a test that may fail.
type fake struct {
	testing.TB
	mu    sync.Mutex
	said  []string
	fatal bool
}

func (*fake) Helper()        {}
func (*fake) Cleanup(func()) {}

func (f *fake) say(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.said = append(f.said, text)
}

func (f *fake) Error(args ...any)                 { f.say(fmt.Sprint(args...)) }
func (f *fake) Errorf(format string, args ...any) { f.say(fmt.Sprintf(format, args...)) }

func (f *fake) Fatal(args ...any) {
	f.say(fmt.Sprint(args...))
	f.fatal = true
	runtime.Goexit()
}

func (f *fake) Fatalf(format string, args ...any) { f.Fatal(fmt.Sprintf(format, args...)) }

// failing runs a test that must fail, and say each of these.
func failing(t *testing.T, run func(tb testing.TB), fatal bool, says ...string) {
	t.Helper()
	f := &fake{TB: t}
	var wg sync.WaitGroup
	wg.Go(func() { run(f) })
	wg.Wait()
	said := strings.Join(f.said, "\n")
	if said == "" || f.fatal != fatal {
		t.Errorf("the test said %q and was ended: %t, want %t", said, f.fatal, fatal)
	}
	for _, want := range says {
		if !strings.Contains(said, want) {
			t.Errorf("the test says\n%s\nand not %q", said, want)
		}
	}
}

func images() middleware.Operation {
	return middleware.Operation{
		Name: "images.create", Scopes: scopes.All("image:generate"), Price: middleware.Fixed(5 * credits.Credit),
		Limits: []middleware.Limit{{Limit: ratelimit.Limit{Name: "minute", Algorithm: ratelimit.FixedWindow, Count: 2, Period: time.Minute}}},
	}
}

func answers(status int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
}

// Each state is refused for what it is, or passes.
func TestAKeyInEveryState(t *testing.T) {
	for _, o := range []*middlewaretest.Options{
		nil,
		{Gate: middleware.Options{Profile: middleware.Profile{Credentials: []middleware.Location{middleware.Header("X-API-Key"), middleware.Bearer()}}}},
		{Gate: middleware.Options{Profile: middleware.Profile{Credentials: []middleware.Location{middleware.InsecureQuery("key")}}}},
		{Gate: middleware.Options{Profile: middleware.Profile{Credentials: []middleware.Location{middleware.BearerOrBare()}}}},
	} {
		f := middlewaretest.New(t, o)
		api := f.Gate.Handler(images())(answers(http.StatusOK))
		var want []middleware.Verdict
		for _, s := range middlewaretest.States() {
			w := f.Do(api, s, "POST", "/v1/images?a=b")
			want = append(want, s.Verdict())
			if (w.Code == http.StatusOK) != (s == middlewaretest.Active) {
				t.Errorf("%v: status %d", s, w.Code)
			}
		}
		f.WantVerdicts(want...)
	}
}

func TestStatesHaveNames(t *testing.T) {
	seen := make(map[string]bool)
	for _, s := range middlewaretest.States() {
		if seen[s.String()] || s.Verdict() == middleware.VerdictUndecided {
			t.Errorf("state %d is %q, %v", s, s, s.Verdict())
		}
		seen[s.String()] = true
	}
	if s := middlewaretest.State(99); s.String() != "state(99)" || s.Verdict() != middleware.VerdictUndecided {
		t.Errorf("%v, %v", s, s.Verdict())
	}
}

// A test of a handler: what is charged, what is not, and what a limit does when
// time passes.
func TestWhatATestSees(t *testing.T) {
	f := middlewaretest.New(t, &middlewaretest.Options{Balance: 12 * credits.Credit})
	status := http.StatusOK
	api := f.Gate.Handler(images())(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil || string(text) != "a cat" {
			t.Errorf("body %q, %v", text, err)
		}
		w.WriteHeader(status)
	}))
	call := func() int {
		return f.Serve(api, f.Request(middlewaretest.Active, "POST", "/v1/images", strings.NewReader("a cat"))).Code
	}
	if got := call(); got != http.StatusOK {
		t.Fatalf("status %d", got)
	}
	f.WantCharged(5 * credits.Credit)
	status = http.StatusBadGateway
	call()
	f.WantEndings(middleware.EndSuccess, middleware.EndServerError)
	f.WantCharged(5 * credits.Credit)
	if got := call(); got != http.StatusTooManyRequests {
		t.Errorf("the third call in a minute: status %d", got)
	}
	if d := f.LastDecision(); !slices.Equal(d.Limits, []string{"minute"}) {
		t.Errorf("limits %v", d.Limits)
	}
	f.Advance(time.Minute)
	f.Reset()
	status = http.StatusAccepted
	call()
	f.WantVerdicts(middleware.VerdictAllowed)
	if s := f.LastSettlement(); s.Action != middleware.Keep {
		t.Errorf("action %v", s.Action)
	}
	f.WantBalance(2*credits.Credit, 5*credits.Credit)
	if got := call(); got != http.StatusPaymentRequired {
		t.Errorf("without credits: status %d", got)
	}
	if n := len(f.Decisions()); n != 2 || len(f.Settlements()) != 1 {
		t.Errorf("%d decisions, %d settlements", n, len(f.Settlements()))
	}
}

// What tests expect and do not get is a failure that shows what there was.
func TestWhatFailsATest(t *testing.T) {
	with := func(check func(f *middlewaretest.Fixture)) func(testing.TB) {
		return func(tb testing.TB) {
			f := middlewaretest.New(tb, nil)
			api := f.Gate.Handler(images())(answers(http.StatusInternalServerError))
			f.Do(api, middlewaretest.Active, "POST", "/")
			f.Do(api, middlewaretest.Poor, "POST", "/")
			check(f)
		}
	}
	empty := func(check func(f *middlewaretest.Fixture)) func(testing.TB) {
		return func(tb testing.TB) { check(middlewaretest.New(tb, nil)) }
	}
	for name, tt := range map[string]struct {
		run   func(testing.TB)
		fatal bool
		says  []string
	}{
		"verdicts": {with(func(f *middlewaretest.Fixture) { f.WantVerdicts(middleware.VerdictAllowed) }), false,
			[]string{"verdicts [allowed credit_denied], want [allowed]", "images.create credit_denied: ", "settled req_"}},
		"endings": {with(func(f *middlewaretest.Fixture) { f.WantEndings(middleware.EndSuccess) }), false,
			[]string{"endings [server_error], want [success]", "images.create server_error (status 500), release of 5 held: 0 charged"}},
		"charges": {with(func(f *middlewaretest.Fixture) { f.WantCharged(5 * credits.Credit) }), false,
			[]string{"0 credits charged, want 5", "allowed, 5 held"}},
		"balance": {with(func(f *middlewaretest.Fixture) { f.WantBalance(1, 0) }), false,
			[]string{"account acme has 1000 credits and 0 held, want 0.000001 and 0", "decided req_"}},
		"no decision":       {empty(func(f *middlewaretest.Fixture) { f.LastDecision() }), true, []string{"did the request reach the gate"}},
		"no settlement":     {empty(func(f *middlewaretest.Fixture) { f.LastSettlement() }), true, []string{"nothing was settled", "nothing was recorded"}},
		"no such key":       {empty(func(f *middlewaretest.Fixture) { f.Key(middlewaretest.Unknown) }), true, []string{"no key that is unknown; give one of Active to Poor"}},
		"no such method":    {empty(func(f *middlewaretest.Fixture) { f.Request(middlewaretest.Active, "PO ST", "/", nil) }), true, []string{`"PO ST"`, "make no request"}},
		"no such target":    {empty(func(f *middlewaretest.Fixture) { f.Request(middlewaretest.Active, "POST", "v1", nil) }), true, []string{`"v1"`, "make no request"}},
		"a bad spec":        {empty(func(f *middlewaretest.Fixture) { f.Issue(apikey.Spec{}) }), true, []string{"owner"}},
		"time goes back":    {empty(func(f *middlewaretest.Fixture) { f.Advance(-time.Second) }), true, []string{"goes back"}},
		"no patterns":       {empty(func(f *middlewaretest.Fixture) { f.WantPriced(answers(200)) }), false, []string{"got no pattern"}},
		"pattern without /": {empty(func(f *middlewaretest.Fixture) { f.WantPriced(answers(200), "POST") }), false, []string{`"POST" has no path`}},
	} {
		t.Run(name, func(t *testing.T) { failing(t, tt.run, tt.fatal, tt.says...) })
	}
}

func TestSettlementThatFailed(t *testing.T) {
	failing(t, func(tb testing.TB) {
		r := middlewaretest.NewRecorder(tb)
		r.Settled(t.Context(), middleware.Settled{RequestID: "r", Operation: "x", Hold: "h", Held: 5, Err: context.DeadlineExceeded})
		r.WantCharged(0)
	}, false, "the hold h of operation x could not be settled: context deadline exceeded")
}

func TestBadOptionsEndTheTest(t *testing.T) {
	now := func() time.Time { return time.Time{} }
	granted, err := scopes.Of("a")
	if err != nil {
		t.Fatal(err)
	}
	narrow, err := apikey.NewFormat("kt", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		o    middlewaretest.Options
		says []string
	}{
		"several at once": {middlewaretest.Options{Gate: middleware.Options{Now: now}, Key: apikey.Spec{Scopes: granted}, Balance: -1},
			[]string{"a Now is set; leave it nil, and give a Clock", "Key has networks, an end, scopes", "Balance is -0.000001"}},
		"the gate's own":   {middlewaretest.Options{Gate: middleware.Options{MaxBody: -1}}, []string{"MaxBody is -1"}},
		"the keys' own":    {middlewaretest.Options{Keys: apikey.Options{MaxPending: -1}}, []string{"MaxPending"}},
		"scopes":           {middlewaretest.Options{Scopes: []string{"a b"}}, []string{"a b"}},
		"an environment":   {middlewaretest.Options{Gate: middleware.Options{Environment: "moon"}}, []string{"moon"}},
		"what policy bans": {middlewaretest.Options{Keys: apikey.Options{Policy: func(context.Context, string) (apikey.Policy, error) { return apikey.Policy{}, nil }}}, []string{"middlewaretest: apikey"}},
		"a policy's refusal": {middlewaretest.Options{Keys: apikey.Options{Policy: func(context.Context, string) (apikey.Policy, error) {
			return apikey.Policy{}, context.Canceled
		}}}, []string{"middlewaretest: "}},
	} {
		t.Run(name, func(t *testing.T) {
			failing(t, func(tb testing.TB) { middlewaretest.New(tb, &tt.o) }, true, tt.says...)
		})
	}
	failing(t, func(tb testing.TB) {
		middlewaretest.New(tb, &middlewaretest.Options{Format: narrow}).Key(middlewaretest.OtherEnvironment)
	}, true, "no key that is other environment; give Options.Format two environments")
	failing(t, func(tb testing.TB) {
		one := func(apikey.Key) credits.AccountID { return "one" }
		f := middlewaretest.New(tb, &middlewaretest.Options{Gate: middleware.Options{Account: one}})
		f.WantBalance(1000*credits.Credit, 0)
		f.Key(middlewaretest.Poor)
	}, true, "no key that is poor; let Options.Gate.Account tell owners apart")
}

// What the host gives is used, and told.
func TestTheHostsOwnParts(t *testing.T) {
	clock := middlewaretest.NewClock(time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC))
	ledger, err := credits.NewLedger(credits.NewMemoryStore(&credits.MemoryOptions{Now: clock.Now}), nil)
	if err != nil {
		t.Fatal(err)
	}
	store, err := ratelimit.NewMemoryStore(&ratelimit.MemoryOptions{Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	told := middlewaretest.NewRecorder(t)
	settings, err := apikey.NewSettings(map[string]int64{"per_minute": 1})
	if err != nil {
		t.Fatal(err)
	}
	f := middlewaretest.New(t, &middlewaretest.Options{
		Gate: middleware.Options{
			Credits: ledger, Limits: store, Observer: told, Environment: "dev",
			Account: func(k apikey.Key) credits.AccountID { return credits.AccountID("account-of-" + k.Owner) },
		},
		Key: apikey.Spec{Owner: "o", Name: "n", Settings: settings}, Scopes: []string{"image:*"}, Clock: clock,
	})
	key := f.Key(middlewaretest.Active).Key
	if f.Ledger != ledger || key.Owner != "o" || key.Name != "n" || key.Environment != "dev" || key.Scopes.String() != "image:*" || f.Account(middlewaretest.Active) != "account-of-o" {
		t.Errorf("key %+v, account %s", key, f.Account(middlewaretest.Active))
	}
	op := images()
	op.Limits[0].Setting = "per_minute"
	api := f.Gate.Handler(op)(answers(http.StatusOK))
	f.Do(api, middlewaretest.Active, "POST", "/")
	f.Do(api, middlewaretest.Active, "POST", "/")
	told.WantVerdicts(middleware.VerdictAllowed, middleware.VerdictRateLimited)
	told.WantCharged(5 * credits.Credit)
	if at := f.LastDecision().Time; !at.Equal(clock.Now()) || at.Year() != 2027 {
		t.Errorf("decided at %v", at)
	}
	own := f.Issue(apikey.Spec{Owner: "o", Environment: "dev", Scopes: key.Scopes})
	r := f.Request(middlewaretest.None, "POST", "/", nil)
	r.Header.Set("Authorization", "Bearer "+own.Secret.Reveal())
	if w := f.Serve(api, r); w.Code != http.StatusOK {
		t.Errorf("a key of the test's own: status %d", w.Code)
	}
	if ip := f.LastDecision().IP; ip != netip.MustParseAddr("192.0.2.1") {
		t.Errorf("address %v", ip)
	}
}

// A route that the gate does not guard is found, whatever the router is.
func TestWantPricedFindsOpenRoutes(t *testing.T) {
	mux := func(f *middlewaretest.Fixture) *http.ServeMux {
		guard := f.Gate.Handler(images())
		m := http.NewServeMux()
		m.Handle("POST /v1/images", guard(answers(200)))
		m.Handle("GET /v1/images/{id}/files/{rest...}", guard(answers(200)))
		m.Handle("GET other.example/v1/{id}", guard(answers(200)))
		m.Handle("GET /v1/end/{$}", guard(answers(200)))
		m.Handle("GET /v1/open", answers(200))
		return m
	}
	f := middlewaretest.New(t, nil)
	f.WantPriced(mux(f), "POST /v1/images", "GET /v1/images/{id}/files/{rest...}", "GET other.example/v1/{id}", "GET /v1/end/{$}")
	f.WantPriced(f.Gate.Handler(images())(answers(200)), "/v1/users/:id", "PUT /v1/users/:id/*", "/{name:[0-9]+}/{a}-{b}", "/*rest")
	flooded := middlewaretest.New(t, &middlewaretest.Options{Gate: middleware.Options{IPLimits: []ratelimit.Limit{{Name: "ip", Count: 1, Period: time.Minute}}}})
	flooded.WantPriced(mux(flooded), "POST /v1/images", "POST /v1/images")
	failing(t, func(tb testing.TB) {
		f := middlewaretest.New(tb, nil)
		f.WantPriced(mux(f), "POST /v1/images", "GET /v1/open", "DELETE /v1/images", "/v2")
	}, false, "GET /v1/open answered 200 without a key, and the gate was not asked; put Gate.Handler in front of it",
		"DELETE /v1/images answered 405", "or correct the pattern", "/v2 answered 404")
}

// A mux of the gate tells its routes by itself, and what is public is said.
func TestAMuxIsWalked(t *testing.T) {
	build := func(f, g *middlewaretest.Fixture) *middleware.Mux {
		m := f.Gate.Mux()
		m.Handle("POST /v1/images/{id}", images(), answers(200))
		m.Handle("GET /{rest...}", middleware.Operation{Name: "rest", Scopes: scopes.None(), Price: middleware.Free()}, answers(200))
		m.Public("GET /healthz", answers(204))
		g.WantPriced(m)
		g.WantPublic(m, "GET /healthz")
		return m
	}
	f := middlewaretest.New(t, nil)
	m := build(f, f)
	failing(t, func(tb testing.TB) { middlewaretest.New(tb, nil).WantPublic(m, "GET /ready") }, false,
		"GET /healthz is public; mount it with Mux.Handle", "GET /ready is not public; mount it with Mux.Public")
	failing(t, func(tb testing.TB) { build(f, middlewaretest.New(tb, nil)) }, false,
		"POST /v1/images/{id} answered 401 without a key, and the gate was not asked")
	failing(t, func(tb testing.TB) { f := middlewaretest.New(tb, nil); f.WantPriced(f.Gate.Mux()) }, false, "got no pattern")
}

// Requests may come from any number of goroutines.
func TestAtOnce(t *testing.T) {
	f := middlewaretest.New(t, nil)
	op := images()
	op.Limits = nil
	api := f.Gate.Handler(op)(answers(http.StatusOK))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { f.Do(api, middlewaretest.Active, "POST", "/") })
	}
	wg.Wait()
	f.WantCharged(40 * credits.Credit)
	f.WantBalance(960*credits.Credit, 0)
}
