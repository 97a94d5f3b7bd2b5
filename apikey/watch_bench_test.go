package apikey_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	"github.com/keytoll/keytoll/apikey"
)

// BenchmarkWatching is to be read within one run: what counting refusals and
// noting sightings add to a Verify, on one processor and on all of them at one
// key.
func BenchmarkWatching(b *testing.B) {
	f := newFormat(b, "gx", &apikey.FormatOptions{NoChecksum: true})
	for _, bench := range []struct {
		name    string
		options apikey.Options
		token   func(key string) string
	}{
		{"malformed/uncounted", apikey.Options{Failures: &apikey.FailureOptions{Off: true}}, func(string) string { return "garbage" }},
		{"malformed/counted", apikey.Options{}, func(string) string { return "garbage" }},
		{"wrong/uncounted", apikey.Options{Failures: &apikey.FailureOptions{Off: true}}, func(key string) string { return key[:len(key)-8] + "wrongone" }},
		{"wrong/counted", apikey.Options{}, func(key string) string { return key[:len(key)-8] + "wrongone" }},
		{"right/unseen", apikey.Options{}, func(key string) string { return key }},
		{"right/seen", apikey.Options{Detector: &watcher{}}, func(key string) string { return key }},
	} {
		bench.options.Peppers = []apikey.Pepper{pepper}
		s := newService(b, apikey.NewMemoryStore(), f, &bench.options)
		var tokens []string
		for _, key := range issue(b, s, 100) {
			tokens = append(tokens, bench.token(key))
		}
		o := &apikey.VerifyOptions{IP: netip.MustParseAddr("203.0.113.7")}
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				_, _ = s.Verify(b.Context(), tokens[i*71%100], o)
			}
		})
		b.Run(fmt.Sprint(bench.name, "/one-key-parallel"), func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					_, _ = s.Verify(context.Background(), tokens[0], o)
				}
			})
		})
	}
}
