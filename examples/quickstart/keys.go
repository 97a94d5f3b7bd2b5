package main

import (
	"errors"
	"net/http"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
)

// Grace is how long a rotated key goes on, unless the request says otherwise.
const (
	defaultGrace = 10 * time.Minute
	maxGrace     = 30 * 24 * time.Hour
)

// keyView is what a key may see of itself.
type keyView struct {
	ID        string        `json:"id"`
	Name      string        `json:"name"`
	Owner     string        `json:"owner"`
	Start     string        `json:"start"`
	Last4     string        `json:"last4"`
	Status    apikey.Status `json:"status"`
	Scopes    []string      `json:"scopes"`
	CreatedAt time.Time     `json:"created_at"`
	ExpiresAt time.Time     `json:"expires_at,omitzero"`
	Credits   creditView    `json:"credits"`
	Limits    []limitView   `json:"limits"`
}

type creditView struct {
	Available credits.Amount `json:"available"`
	Held      credits.Amount `json:"held"`
}

type limitView struct {
	Name      string  `json:"name"`
	Unit      string  `json:"unit"`
	Quota     int64   `json:"quota"`
	Window    float64 `json:"window_seconds"`
	Remaining int64   `json:"remaining"`
	Reset     float64 `json:"reset_seconds"` // until the whole quota is free
}

// showKey answers with the key's own view of itself.
func (a *app) showKey(w http.ResponseWriter, r *http.Request) {
	pass, _ := middleware.PassFrom(r.Context())
	key := pass.Key()
	balance, err := pass.Balance(r.Context())
	if err != nil {
		a.fail(w, r, err)
		return
	}
	view := keyView{
		ID: key.ID, Name: key.Name, Owner: key.Owner, Start: key.Start, Last4: key.Last4,
		Status: key.Status(a.now()), Scopes: []string{}, CreatedAt: key.CreatedAt, ExpiresAt: key.ExpiresAt,
		Credits: creditView{balance.Available, balance.Held},
	}
	for scope := range key.Scopes.All() {
		view.Scopes = append(view.Scopes, scope)
	}
	seen := make(map[string]bool) // operations may share a limit
	for _, route := range a.routes {
		result, err := pass.Peek(r.Context(), route)
		if err != nil {
			a.fail(w, r, err)
			return
		}
		for s := range result.States() {
			if seen[s.Limit.Name] {
				continue
			}
			seen[s.Limit.Name] = true
			view.Limits = append(view.Limits, limitView{
				Name: s.Limit.Name, Unit: s.Limit.Unit, Quota: s.Quota, Window: s.Window.Seconds(),
				Remaining: s.Remaining, Reset: s.ResetAfter.Seconds(),
			})
		}
	}
	writeJSON(w, view)
}

// rotateKey answers with a new key that inherits everything. The old one works
// until the grace is over.
func (a *app) rotateKey(w http.ResponseWriter, r *http.Request) {
	in := struct {
		GraceSeconds *int64 `json:"grace_seconds"`
	}{}
	if !readJSON(w, r, &in) {
		return
	}
	grace := defaultGrace
	if in.GraceSeconds != nil {
		if *in.GraceSeconds < 0 || *in.GraceSeconds > int64(maxGrace/time.Second) {
			problem(w, r, http.StatusBadRequest, "invalid_request", "grace_seconds: give 0 to 2592000, or leave it out for 600")
			return
		}
		grace = time.Duration(*in.GraceSeconds) * time.Second
	}
	pass, _ := middleware.PassFrom(r.Context())
	old := pass.Key()
	// Reckoned before the change, so that the old key lives no shorter than told.
	// To look afterwards might fail, and lose the new key's only showing.
	until := a.now().Add(grace).UTC().Truncate(time.Microsecond)
	if !old.ExpiresAt.IsZero() && old.ExpiresAt.Before(until) {
		until = old.ExpiresAt
	}
	issued, err := a.keys.Rotate(r.Context(), old.ID, grace)
	switch {
	case errors.Is(err, apikey.ErrRotated):
		problem(w, r, http.StatusConflict, "already_rotated", "this key has a successor already; use that one")
		return
	case err != nil:
		a.fail(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	type previous struct {
		ID        string    `json:"id"`
		ExpiresAt time.Time `json:"expires_at"`
	}
	writeJSON(w, struct {
		ID       string   `json:"id"`
		Key      string   `json:"key"`
		Previous previous `json:"previous"`
	}{issued.Key.ID, issued.Secret.Reveal(), previous{old.ID, until}})
}

// revokeKey ends the key that asks, at once and for good.
func (a *app) revokeKey(w http.ResponseWriter, r *http.Request) {
	pass, _ := middleware.PassFrom(r.Context())
	if _, err := a.keys.Revoke(r.Context(), pass.Key().ID, "revoked by its holder"); err != nil {
		a.fail(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
