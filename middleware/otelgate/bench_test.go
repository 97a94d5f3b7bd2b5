package otelgate_test

import (
	"testing"

	sdk "go.opentelemetry.io/otel/sdk/metric"

	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/otelgate"
)

// BenchmarkObserver is what one call that is charged costs besides the gate.
func BenchmarkObserver(b *testing.B) {
	o, err := otelgate.New(&otelgate.Options{MeterProvider: sdk.NewMeterProvider(sdk.WithReader(sdk.NewManualReader()))})
	if err != nil {
		b.Fatal(err)
	}
	d := middleware.Decision{Operation: "image", Verdict: middleware.VerdictAllowed, Held: 5, Took: 1500}
	s := middleware.Settled{Operation: "image", Hold: "h", Ending: middleware.EndSuccess, Action: middleware.Capture, Held: 5, Asked: 5, Charged: 5}
	b.ReportAllocs()
	for b.Loop() {
		o.Decided(b.Context(), d)
		o.Settled(b.Context(), s)
	}
}
