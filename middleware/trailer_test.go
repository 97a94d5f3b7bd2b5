package middleware_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/middleware"
)

// What is taken from a request's header does not come behind its body instead, in a
// trailer that a proxy or a server further in may take for header fields.
func TestTrailersHoldNothingOfTheGates(t *testing.T) {
	for _, version := range []int{1, 2} {
		h := build(t, blueprint{options: func(o *middleware.Options) {
			o.MaxBody = 1 << 10
			o.Profile.Credentials = []middleware.Location{middleware.Header("X-API-Key"), middleware.Bearer()}
			o.Profile.Fields = []middleware.Field{{Name: "X-Key-Id", Value: middleware.FieldKeyID}}
		}})
		var before []string
		var after http.Header
		server := httptest.NewUnstartedServer(h.gate.Handler(open())(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			before = before[:0]
			for name := range r.Trailer {
				before = append(before, name)
			}
			if body, err := io.ReadAll(r.Body); err != nil || string(body) != "body" {
				t.Errorf("body %q, %v", body, err)
			}
			after = r.Trailer
		})))
		server.EnableHTTP2 = version == 2
		server.StartTLS()
		t.Cleanup(server.Close)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, struct{ io.Reader }{strings.NewReader("body")})
		must(t, err)
		r.Header.Set("Authorization", "Bearer "+h.key("").Secret.Reveal())
		r.Trailer = http.Header{"X-Sum": {"7"}, "X-Key-Id": {"key_admin"}, "X_key_id": {"key_admin"}, "X-Api-Key": {"s3cr3t"}, "X_api_key": {"s3cr3t"}}
		if version == 1 { // HTTP/2 of net/http refuses it
			r.Trailer.Set("Authorization", "Bearer s3cr3t")
		}
		answer, err := server.Client().Do(r)
		must(t, err)
		must(t, answer.Body.Close())
		if answer.StatusCode != 200 || answer.ProtoMajor != version {
			t.Fatalf("status %d by HTTP/%d", answer.StatusCode, answer.ProtoMajor)
		}
		if !slices.Equal(before, []string{"X-Sum"}) || len(after) != 1 || after.Get("X-Sum") != "7" {
			t.Errorf("HTTP/%d: the handler is promised %q and sees %v", version, before, after)
		}
	}
}
