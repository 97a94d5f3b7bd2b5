package otelgate_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/middlewaretest"
	"github.com/keytoll/keytoll/middleware/otelgate"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/scopes"
)

// A bench is a fixture whose gate tells an observer, and what a collector sees of
// it.
type bench struct {
	*middlewaretest.Fixture
	t        *testing.T
	observer *otelgate.Observer
	reader   *sdk.ManualReader
}

func newBench(t *testing.T, o otelgate.Options) *bench {
	t.Helper()
	b := &bench{t: t, reader: sdk.NewManualReader()}
	o.MeterProvider = sdk.NewMeterProvider(sdk.WithReader(b.reader))
	var err error
	if b.observer, err = otelgate.New(&o); err != nil {
		t.Fatal(err)
	}
	b.Fixture = middlewaretest.New(t, &middlewaretest.Options{Gate: middleware.Options{Observer: b.observer}})
	return b
}

// images costs 5 credits, and is allowed three times a minute. One in shadow would
// have refused the second.
func images() middleware.Operation {
	window := ratelimit.Limit{Algorithm: ratelimit.FixedWindow, Period: time.Minute}
	minute, shadow := window, window
	minute.Name, minute.Count = "minute", 3
	shadow.Name, shadow.Count, shadow.Shadow = "trial", 1, true
	return middleware.Operation{
		Name: "images.create", Scopes: scopes.All("image:generate"), Price: middleware.Fixed(5 * credits.Credit),
		Limits: []middleware.Limit{{Limit: minute}, {Limit: shadow}},
	}
}

func answers(status int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
}

// metrics returns what a collector sees now.
func (b *bench) metrics() []metricdata.Metrics {
	b.t.Helper()
	var all metricdata.ResourceMetrics
	if err := b.reader.Collect(b.t.Context(), &all); err != nil {
		b.t.Fatal(err)
	}
	var list []metricdata.Metrics
	for _, scope := range all.ScopeMetrics {
		if scope.Scope.Name != "github.com/keytoll/keytoll/middleware/otelgate" {
			b.t.Errorf("scope %q", scope.Scope.Name)
		}
		list = append(list, scope.Metrics...)
	}
	return list
}

// points returns the kind of a metric, and its points as text by attributes.
func points(t *testing.T, m metricdata.Metrics) (kind string, values map[string]int64, keys []string) {
	t.Helper()
	values = make(map[string]int64)
	note := func(set attribute.Set, n int64) {
		var text []string
		for _, kv := range set.ToSlice() {
			name := strings.TrimPrefix(string(kv.Key), "keytoll.")
			text = append(text, name+"="+kv.Value.String())
			if !slices.Contains(keys, name) {
				keys = append(keys, name)
			}
		}
		values[strings.Join(text, " ")] += n
	}
	switch data := m.Data.(type) {
	case metricdata.Sum[int64]:
		kind = "updown"
		if data.IsMonotonic {
			kind = "counter"
		}
		for _, p := range data.DataPoints {
			note(p.Attributes, p.Value)
		}
	case metricdata.Histogram[float64]:
		kind = "histogram"
		for _, p := range data.DataPoints {
			note(p.Attributes, int64(p.Count))
		}
	default:
		t.Fatalf("%s is a %T", m.Name, m.Data)
	}
	slices.Sort(keys)
	return kind, values, keys
}

// everything makes each instrument say something.
func (b *bench) everything() {
	api := b.Gate.Handler(images())
	for _, status := range []int{200, 202, 500} {
		b.Do(api(answers(status)), middlewaretest.Active, "POST", "/v1/images/4711")
	}
	for _, s := range middlewaretest.States() {
		b.Do(api(answers(200)), s, "POST", "/v1/images/4711") // the active key has used up its minute
	}
	free := b.Gate.Handler(middleware.Operation{Name: "models.list", Scopes: scopes.None(), Price: middleware.Free()})
	b.Do(free(answers(200)), middlewaretest.Active, "GET", "/v1/models")
	more := b.Gate.Handler(middleware.Operation{Name: "chat", Scopes: scopes.None(), Price: middleware.Fixed(credits.Credit)})
	b.Do(more(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		pass, _ := middleware.PassFrom(r.Context())
		_ = pass.Charge(3 * credits.Credit / 2)
	})), middlewaretest.Active, "POST", "/v1/chat")
	once := middleware.Operation{Name: "once", Scopes: scopes.None(), Price: middleware.Fixed(credits.Credit), Idempotency: middleware.IdempotencyRequired}
	for range 2 {
		r := b.Request(middlewaretest.Active, "POST", "/v1/once", nil)
		r.Header.Set("Idempotency-Key", "a")
		b.Serve(b.Gate.Handler(once)(answers(200)), r)
	}
	// What only happens beyond holds, and when stores fail.
	b.observer.Settled(b.t.Context(), middleware.Settled{
		Operation: "chat", Hold: "h", Held: 5, Asked: 7, Charged: 7, Ending: middleware.EndServerError, Action: middleware.Capture,
	})
	b.observer.Decided(b.t.Context(), middleware.Decision{Operation: "images.create", Verdict: middleware.VerdictAllowed, Degraded: true, Held: 7})
	b.observer.Settled(b.t.Context(), middleware.Settled{
		Operation: "images.create", Hold: "h", Held: 7, Asked: 7, Ending: middleware.EndSuccess, Action: middleware.Capture, Err: context.DeadlineExceeded,
	})
}

// The table in the package's comment says what a collector sees, word for word.
func TestTheTableOfMetricsIsTrue(t *testing.T) {
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`(?m)^//\t(keytoll\..*)$`).FindAllStringSubmatch(string(text), -1)
	b := newBench(t, otelgate.Options{KeyID: true, Owner: true})
	b.everything()
	var table, got []string
	for _, row := range want {
		cells := regexp.MustCompile(`  +`).Split(row[1], -1)
		if len(cells) != 5 {
			t.Fatalf("row %q has %d cells", row[1], len(cells))
		}
		keys := strings.Split(cells[3], ", ")
		slices.Sort(keys)
		cells[3] = strings.Join(keys, ", ")
		table = append(table, strings.Join(cells, " | "))
	}
	for _, m := range b.metrics() {
		kind, _, keys := points(t, m)
		got = append(got, strings.Join([]string{m.Name, kind, m.Unit, strings.Join(keys, ", "), m.Description}, " | "))
	}
	slices.Sort(table)
	slices.Sort(got)
	if !slices.Equal(table, got) {
		t.Errorf("the table says\n%s\nand a collector sees\n%s", strings.Join(table, "\n"), strings.Join(got, "\n"))
	}
}

func TestWhatIsCounted(t *testing.T) {
	b := newBench(t, otelgate.Options{})
	b.everything()
	got := make(map[string]map[string]int64)
	for _, m := range b.metrics() {
		_, got[m.Name], _ = points(t, m)
	}
	for _, tt := range []struct {
		metric, attributes string
		want               int64
	}{
		{"keytoll.decisions", "operation=images.create outcome=allowed", 4},
		{"keytoll.decision.duration", "operation=images.create outcome=allowed", 4},
		{"keytoll.decisions", "operation=images.create outcome=rate_limited", 1},
		{"keytoll.decisions", "operation=images.create outcome=unknown", 1},
		{"keytoll.decisions", "operation=images.create outcome=missing", 1},
		{"keytoll.limit.refusals", "limit=minute operation=images.create shadow=false", 1},
		{"keytoll.limit.refusals", "limit=trial operation=images.create shadow=true", 3},
		{"keytoll.limit.degraded", "operation=images.create", 1},
		{"keytoll.passes.open", "operation=images.create", 0},
		{"keytoll.passes.open", "operation=models.list", 0},
		{"keytoll.holds.open", "operation=images.create", 0},
		{"keytoll.settlements", "action=capture ending=success operation=images.create", 2},
		{"keytoll.settlements", "action=keep ending=accepted operation=images.create", 1},
		{"keytoll.settlements", "action=release ending=server_error operation=images.create", 1},
		{"keytoll.settlements", "action=none ending=success operation=models.list", 1},
		{"keytoll.settle.failures", "action=capture ending=success operation=images.create", 1},
		{"keytoll.credits.held", "operation=images.create", 15_000_007},
		{"keytoll.credits.captured", "ending=success operation=images.create", 5_000_000},
		{"keytoll.credits.kept", "ending=accepted operation=images.create", 5_000_000},
		{"keytoll.credits.released", "ending=server_error operation=images.create", 5_000_000},
		{"keytoll.credits.released", "ending=success operation=images.create", 0},
		{"keytoll.credits.uncovered", "ending=success operation=chat", 500_000},
		{"keytoll.decisions", "operation=once outcome=idem_replayed", 1},
		{"keytoll.idempotency.answers", "kept=answer operation=once", 1},
		{"keytoll.credits.captured", "ending=server_error operation=chat", 7},
		{"keytoll.credits.released", "ending=server_error operation=chat", 0},
	} {
		value, ok := got[tt.metric][tt.attributes]
		if !ok || value != tt.want {
			t.Errorf("%s{%s} is %d (there: %t), want %d of %v", tt.metric, tt.attributes, value, ok, tt.want, got[tt.metric])
		}
	}
}

// What a failure left open is neither charged nor uncovered: the hold may still be
// settled, or time out.
func TestAFailureIsNotCountedAsACharge(t *testing.T) {
	b := newBench(t, otelgate.Options{})
	b.observer.Settled(t.Context(), middleware.Settled{
		Operation: "chat", Hold: "h", Held: 5, Asked: 7, Ending: middleware.EndSuccess, Action: middleware.Capture, Err: context.DeadlineExceeded,
	})
	for _, m := range b.metrics() {
		switch m.Name {
		case "keytoll.credits.captured", "keytoll.credits.released", "keytoll.credits.uncovered":
			t.Errorf("%s is %+v", m.Name, m.Data)
		}
	}
}

// While calls run, they are counted as open.
func TestOpenPassesAndHolds(t *testing.T) {
	b := newBench(t, otelgate.Options{})
	now := func(name string) (n int64) {
		for _, m := range b.metrics() {
			if m.Name == name {
				_, values, _ := points(t, m)
				n = values["operation=images.create"]
			}
		}
		return n
	}
	b.Do(b.Gate.Handler(images())(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if passes, holds := now("keytoll.passes.open"), now("keytoll.holds.open"); passes != 1 || holds != 1 {
			t.Errorf("%d passes and %d holds are open", passes, holds)
		}
	})), middlewaretest.Active, "POST", "/")
	if passes, holds := now("keytoll.passes.open"), now("keytoll.holds.open"); passes != 0 || holds != 0 {
		t.Errorf("%d passes and %d holds stayed open", passes, holds)
	}
}

// Nothing that grows with the number of customers or requests is an attribute of a
// metric, whatever spans are told.
func TestMetricsHaveNoIdentities(t *testing.T) {
	b := newBench(t, otelgate.Options{KeyID: true, Owner: true})
	b.everything()
	var text strings.Builder
	for _, m := range b.metrics() {
		_, values, _ := points(t, m)
		fmt.Fprintln(&text, m.Name, values)
	}
	if !strings.Contains(text.String(), "images.create") {
		t.Fatalf("nothing to search: %s", &text)
	}
	key := b.Key(middlewaretest.Active)
	for _, d := range b.Decisions() {
		if d.RequestID != "" && strings.Contains(text.String(), d.RequestID) {
			t.Errorf("request id %s", d.RequestID)
		}
	}
	for _, identity := range []string{key.Key.ID, key.Key.Owner, key.Key.Start, "192.0.2", "/v1", "4711", string(b.Account(middlewaretest.Active)), key.Secret.Reveal()} {
		if strings.Contains(text.String(), identity) {
			t.Errorf("%q is in the metrics", identity)
		}
	}
	before := len(b.metrics())
	for range 3 { // more customers make no more points
		issued := b.Issue(apikey.Spec{Owner: "other", Environment: "live"})
		r := b.Request(middlewaretest.None, "POST", "/v1/other", nil)
		r.Header.Set("Authorization", "Bearer "+issued.Secret.Reveal())
		b.Serve(b.Gate.Handler(images())(answers(200)), r)
	}
	total := func() (n int) {
		for _, m := range b.metrics() {
			_, values, _ := points(t, m)
			n += len(values)
		}
		return n
	}
	points := total()
	b.everything()
	if total() != points || len(b.metrics()) != before {
		t.Errorf("%d points, and then %d", points, total())
	}
}

// A provider that refuses instruments is told of by the name of each.
type refusing struct{ noop.MeterProvider }

func (refusing) Meter(string, ...metric.MeterOption) metric.Meter { return refusingMeter{} }

type refusingMeter struct{ noop.Meter }

func (refusingMeter) Int64Counter(name string, _ ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	return nil, errors.New("no " + name)
}

func (refusingMeter) Float64Histogram(name string, _ ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	return nil, errors.New("no " + name)
}

func TestAProviderThatRefuses(t *testing.T) {
	_, err := otelgate.New(&otelgate.Options{MeterProvider: refusing{}})
	for _, name := range []string{"keytoll.decisions", "keytoll.decision.duration", "keytoll.credits.kept"} {
		if err == nil || !strings.Contains(err.Error(), "no "+name) {
			t.Errorf("%v does not tell of %s", err, name)
		}
	}
}

// The global provider of a program that set none costs nothing and fails nothing.
func TestTheGlobalProvider(t *testing.T) {
	o, err := otelgate.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	f := middlewaretest.New(t, &middlewaretest.Options{Gate: middleware.Options{Observer: o}})
	f.Do(f.Gate.Handler(images())(answers(200)), middlewaretest.Active, "POST", "/")
	f.WantCharged(5 * credits.Credit)
}
