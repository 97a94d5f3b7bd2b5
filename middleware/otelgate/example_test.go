package otelgate_test

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/otelgate"
	"github.com/keytoll/keytoll/scopes"
)

func Example() {
	// What a program has: a reader that an exporter asks, and keys.
	reader := sdk.NewManualReader()
	provider := sdk.NewMeterProvider(sdk.WithReader(reader))
	format, err := apikey.NewFormat("acme", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	keys, err := apikey.NewService(apikey.NewMemoryStore(), format, nil)
	if err != nil {
		fmt.Println(err)
		return
	}

	telemetry, err := otelgate.New(&otelgate.Options{MeterProvider: provider})
	if err != nil {
		fmt.Println(err)
		return
	}
	gate, err := middleware.NewGate(keys, &middleware.Options{Observer: telemetry})
	if err != nil {
		fmt.Println(err)
		return
	}
	route, err := gate.Route(middleware.Operation{Name: "models.list", Scopes: scopes.None(), Price: middleware.Free()})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = gate.Begin(context.Background(), middleware.Attempt{Route: route})
	fmt.Println(err)

	var seen metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &seen); err != nil {
		fmt.Println(err)
		return
	}
	for _, m := range seen.ScopeMetrics[0].Metrics {
		if sum, ok := m.Data.(metricdata.Sum[int64]); ok {
			for _, p := range sum.DataPoints {
				fmt.Println(m.Name, p.Attributes.Encoded(attribute.DefaultEncoder()), p.Value)
			}
		}
	}
	// Output:
	// middleware.Begin: missing
	// keytoll.decisions keytoll.operation=models.list,keytoll.outcome=missing 1
}

// What other instrumentation recorded passes through Redact before it leaves the
// program.
func ExampleRedact() {
	format, err := apikey.NewFormat("acme", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	keys, err := apikey.NewService(apikey.NewMemoryStore(), format, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	gate, err := middleware.NewGate(keys, &middleware.Options{Profile: middleware.Profile{
		Credentials: []middleware.Location{middleware.Header("X-API-Key"), middleware.InsecureQuery("key")},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	redact := otelgate.Redact(gate)
	for _, kv := range []attribute.KeyValue{
		attribute.String("url.query", "q=cats&key=acme_secret"),
		attribute.StringSlice("http.request.header.x-api-key", []string{"acme_secret"}),
		attribute.StringSlice("http.request.header.accept", []string{"image/png"}),
	} {
		kv = redact(kv)
		fmt.Println(kv.Key, kv.Value.String())
	}
	// Output:
	// url.query q=cats&key=REDACTED
	// http.request.header.x-api-key ["REDACTED"]
	// http.request.header.accept ["image/png"]
}
