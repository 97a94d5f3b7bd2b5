package middleware_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/scopes"
)

// Two services over one store stand for two processes. What one revokes, the
// cache of the other still has, until the bound is over; an operation with
// FreshKey does not go by it.
func TestFreshKeyDoesNotGoByTheCache(t *testing.T) {
	var store apikey.Store
	h := build(t, blueprint{
		keys:  func(s apikey.Store) apikey.Store { store = s; return s },
		cache: &apikey.CacheOptions{Bound: 10 * time.Second},
	})
	format, err := apikey.NewFormat("kt", nil)
	must(t, err)
	elsewhere, err := apikey.NewService(store, format, &apikey.Options{Now: h.clock.now})
	must(t, err)
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	usual := middleware.Operation{Name: "usual", Scopes: scopes.None(), Price: middleware.Free()}
	grave := middleware.Operation{Name: "grave", Scopes: scopes.None(), Price: middleware.Free(), FreshKey: true}
	issued := h.key("")
	status := func(op middleware.Operation) int { return h.call(h.gate.Handler(op)(ok), bearer(issued)).Code }
	if usual, grave := status(usual), status(grave); usual != 200 || grave != 200 {
		t.Fatalf("before: %d and %d, want 200", usual, grave)
	}
	_, err = elsewhere.Revoke(t.Context(), issued.Key.ID, "leaked")
	must(t, err)
	if got := status(usual); got != 200 {
		t.Errorf("the cached key: %d, want 200 within the bound", got)
	}
	if got := status(grave); got != 401 {
		t.Errorf("with FreshKey: %d, want 401 at once", got)
	}
	h.clock.add(10 * time.Second)
	if got := status(usual); got != 401 {
		t.Errorf("after the bound: %d, want 401", got)
	}
}
