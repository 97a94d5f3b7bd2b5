package connectgate_test

import (
	"net/http"
	"testing"

	"connectrpc.com/connect"

	"github.com/keytoll/keytoll/middleware/middlewaretest"
)

// A call of one message over loopback: with nothing in front of the procedure, and with
// a key, a scope, a limit, a hold and its capture.
func BenchmarkUnary(b *testing.B) {
	op := priced()
	op.Limits = append(op.Limits, perMinute("minute", 1<<40))
	for _, bare := range []bool{true, false} {
		name := "gate"
		if bare {
			name = "bare"
		}
		b.Run(name, func(b *testing.B) {
			h := build(b, blueprint{op: &op, fixture: &middlewaretest.Options{Balance: 1 << 60}})
			if bare {
				mux := http.NewServeMux()
				mux.Handle(generate, connect.NewUnaryHandler(generate, h.work))
				h.server.Config.Handler = mux
			}
			client, _ := h.client(b, transports[0], generate)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := client.CallUnary(b.Context(), h.request(middlewaretest.Active)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
