package main

import (
	"net/http/httptest"
	"testing"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/middlewaretest"
)

// What a test of one's own handlers looks like.
func TestImagesAreCharged(t *testing.T) {
	f := middlewaretest.New(t, nil)
	api := routes(f.Gate)
	f.WantPriced(api, "POST /v1/images")
	f.Reset()
	for _, state := range []middlewaretest.State{middlewaretest.Active, middlewaretest.Expired, middlewaretest.Poor} {
		f.Do(api, state, "POST", "/v1/images")
	}
	f.WantVerdicts(middleware.VerdictAllowed, middleware.VerdictExpired, middleware.VerdictCreditDenied)
	f.WantCharged(5 * credits.Credit)
}

func TestMinimal(t *testing.T) {
	mux, key, err := newMux(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		header string
		status int
	}{{"Bearer " + key.Reveal(), 200}, {"", 401}, {"Bearer acme_nonsense", 401}} {
		r := httptest.NewRequest("POST", "/v1/images", nil)
		if tt.header != "" {
			r.Header.Set("Authorization", tt.header)
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		if w.Code != tt.status {
			t.Errorf("status %d, want %d: %s", w.Code, tt.status, w.Body)
		}
	}
}
