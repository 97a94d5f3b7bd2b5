// Prometheus tells what a gate decides and charges where Prometheus asks for it:
// the metrics of package otelgate, exported at /metrics.
//
//	go run ./examples/prometheus
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/examples/internal/recipe"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/otelgate"
	"github.com/keytoll/keytoll/scopes"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "the `address` to listen on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *addr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, addr string) error {
	handler, secret, err := newAPI(ctx)
	if err != nil {
		return err
	}
	server := &http.Server{Addr: addr, Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	fmt.Printf("curl -i -X POST http://%[1]s/v1/images -H 'Authorization: Bearer %[2]s'\ncurl http://%[1]s/metrics\n", addr, secret.Reveal())
	if err := server.ListenAndServe(); ctx.Err() == nil {
		return fmt.Errorf("%w; -addr HOST:PORT listens elsewhere", err)
	}
	return nil
}

// newAPI returns a route that costs 5 credits, and what Prometheus reads. In
// production /metrics is on a port of its own, that customers do not reach.
func newAPI(ctx context.Context) (http.Handler, apikey.Secret, error) {
	registry := prometheus.NewRegistry()
	reader, err := exporter.New(exporter.WithRegisterer(registry))
	if err != nil {
		return nil, apikey.Secret{}, err
	}
	telemetry, err := otelgate.New(&otelgate.Options{MeterProvider: metric.NewMeterProvider(metric.WithReader(reader))})
	if err != nil {
		return nil, apikey.Secret{}, err
	}
	gate, secret, err := recipe.Open(ctx, telemetry)
	if err != nil {
		return nil, apikey.Secret{}, err
	}
	mux := gate.Mux()
	mux.HandleFunc("POST /v1/images", middleware.Operation{
		Name:   "images.create",
		Scopes: scopes.All("image:generate"),
		Price:  middleware.Fixed(5 * credits.Credit),
	}, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "an image") })
	mux.Public("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return mux, secret, nil
}
