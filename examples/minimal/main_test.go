package main

import (
	"net/http/httptest"
	"testing"
)

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
