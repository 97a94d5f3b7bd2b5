package middleware_test

import (
	"net/http/httptest"
	"testing"

	"github.com/keytoll/keytoll/middleware"
)

// What Put places is found, and nothing that stood there before.
func TestACredentialIsPutWhereItIsLookedFor(t *testing.T) {
	for _, l := range []middleware.Location{
		middleware.Bearer(), middleware.BearerOnly(), middleware.BearerOrBare(), middleware.Header("x-api-key"), middleware.InsecureQuery("key"),
	} {
		t.Run(l.String(), func(t *testing.T) {
			h := build(t, blueprint{options: func(o *middleware.Options) { o.Profile.Credentials = []middleware.Location{l} }})
			r := httptest.NewRequest("GET", "/v1?key=a&b=c&key=%64", nil)
			r.Header.Add("Authorization", "Bearer a")
			r.Header.Add("Authorization", "b")
			r.Header.Add("X-Api-Key", "c")
			l.Put(r, "not it")
			l.Put(r, h.key("").Secret.Reveal())
			w := httptest.NewRecorder()
			h.gate.Handler(open())(says(200)).ServeHTTP(w, r)
			if w.Code != 200 || r.RequestURI != r.URL.RequestURI() {
				t.Errorf("status %d, URI %s: %s", w.Code, r.RequestURI, w.Body)
			}
		})
	}
}
