package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/examples/systems/internal/host"
	"github.com/keytoll/keytoll/examples/systems/internal/wire"
)

type body map[string]any

func models(s *wire.Stage, key string) wire.Answer {
	s.Helper()
	return s.Do(wire.Get("/api/v1/models", "Authorization", "Bearer "+key))
}

// works holds a key to whether it works.
func works(s *wire.Stage, key string, want int) {
	s.Helper()
	if a := models(s, key); a.Status != want {
		s.Errorf("the key: %d %s, want %d", a.Status, a.Body, want)
	}
}

func TestEveryKeyStateInTheDataPlane(t *testing.T) {
	s := wire.Open(t, system())
	works(s, s.Key("active"), 200)
	works(s, s.Key("expired"), 401)
	works(s, s.Key("revoked"), 401)
	works(s, s.Unknown(""), 401)
}

func TestTheFullKeyIsShownOnce(t *testing.T) {
	s := wire.Open(t, system())
	desk := s.Desk()
	key := desk.Create(body{"name": "CI", "expires_at": s.Clock.Now().Add(time.Hour)})
	if !strings.HasPrefix(key.Secret, "gx_") || !strings.HasPrefix(key.Key.Start, "gx_") || key.Key.Name != "CI" || !key.Key.CreatedAt.Equal(s.Clock.Now()) {
		t.Errorf("%+v", key.Key)
	}
	works(s, key.Secret, 200)
	for _, path := range []string{"", "/" + key.Key.ID} {
		if a := desk.Send("GET", path, nil); a.Status != 200 || strings.Contains(a.Body, key.Secret) || !strings.Contains(a.Body, key.Key.ID) {
			t.Errorf("%s shows %d %s", path, a.Status, a.Body)
		}
	}
}

// Expired keys count until they are revoked, which is what cleans the list up.
func TestTenKeysAndNoMore(t *testing.T) {
	s := wire.Open(t, system())
	desk := s.Desk()
	for i := range 8 { // beside the active and the expired one
		desk.Create(body{"name": fmt.Sprintf("Service %d", i)})
	}
	p := desk.Refused("POST", "", body{"name": "Eleventh"}, 403, "key_limit")
	if p.Limit != 10 {
		t.Errorf("limit %d", p.Limit)
	}
	desk.Ask("POST", "/"+desk.List()["Contractor"].ID+"/revoke", nil, 200, nil)
	desk.Create(body{"name": "Eleventh"})
	desk.Refused("POST", "", body{"name": "Twelfth"}, 403, "key_limit")
}

func TestLabelsDifferUnderRace(t *testing.T) {
	s := wire.Open(t, system())
	desk := s.Desk()
	var made, taken atomic.Int64
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			switch a := desk.Send("POST", "", body{"name": "Twin"}); a.Status {
			case http.StatusCreated:
				made.Add(1)
			case http.StatusConflict:
				taken.Add(1)
			}
		})
	}
	all.Wait()
	if made.Load() != 1 || taken.Load() != 15 {
		t.Errorf("%d made, %d refused", made.Load(), taken.Load())
	}
	desk.Refused("PATCH", "/"+desk.List()["Twin"].ID, body{"name": "Production"}, 409, "name_taken")
	desk.Refused("POST", "", body{"name": ""}, 400, "invalid_request")
}

func TestLabelAndLimitsAreEditedAndNothingElse(t *testing.T) {
	s := wire.Open(t, system())
	desk := s.Desk()
	key := desk.Create(body{"name": "CI"})
	if key.Key.Settings["minute"] != 60 || key.Key.Settings["day"] != 1000 {
		t.Errorf("defaults %v", key.Key.Settings)
	}
	path := "/" + key.Key.ID
	for _, wrong := range []body{{"minute": 0}, {"minute": 10_001}, {"day": 0}, {"day": 100_001}, {"hour": 5}} {
		desk.Refused("PATCH", path, body{"settings": wrong}, 400, "invalid_request")
	}
	for _, right := range []body{{"minute": 1}, {"minute": 10_000}, {"day": 1}, {"day": 100_000}} {
		desk.Ask("PATCH", path, body{"settings": right}, 200, nil)
	}
	desk.Ask("PATCH", path, body{"name": "Continuous", "settings": body{"minute": 2, "day": 3}}, 200, nil)
	desk.Refused("PATCH", path, body{"expires_at": s.Clock.Now().Add(time.Hour)}, 403, "not_editable")
	desk.Refused("POST", "", body{"name": "Wide", "settings": body{"minute": 10_001}}, 400, "invalid_request")

	page, err := s.Keys.Events(t.Context(), apikey.EventQuery{Owner: host.Demo, Key: key.Key.ID, Kind: apikey.EventSettingsChanged, Limit: 1})
	s.Must(err)
	e := page.Events[0]
	if len(e.Changes) != 1 || !strings.Contains(e.Changes[0].Before, "100000") || strings.Contains(e.Changes[0].After, "100000") || e.Actor.ID == "" {
		t.Errorf("event %+v", e)
	}

	// Both windows hold, each by the key's own number, and the header tells of the
	// one with the least left.
	for _, step := range []struct {
		status    int
		remaining string
		wait      time.Duration
	}{{200, "1", 0}, {200, "0", 0}, {429, "0", time.Minute}, {200, "0", 0}, {429, "0", time.Minute}, {429, "0", 12 * time.Hour}, {200, "1", 0}} {
		a := models(s, key.Secret)
		if a.Status != step.status || a.Header["X-Ratelimit-Remaining"][0] != step.remaining {
			t.Errorf("%d with %s left, want %+v", a.Status, a.Header["X-Ratelimit-Remaining"], step)
		}
		s.Clock.Add(step.wait)
	}
	works(s, s.Key("active"), 200) // limits are each key's own
}

func TestAnExpiredKeyIsBadgedAndRevoked(t *testing.T) {
	s := wire.Open(t, system())
	desk := s.Desk()
	end := s.Clock.Now().Add(time.Hour)
	key := desk.Create(body{"name": "Contractor 2", "expires_at": end})
	s.Clock.Add(time.Hour - time.Microsecond)
	works(s, key.Secret, 200)
	s.Clock.Add(time.Microsecond)
	works(s, key.Secret, 401)
	if got := desk.List()["Contractor 2"]; got.Status != "expired" || !got.ExpiresAt.Equal(end) {
		t.Errorf("badge %+v", got)
	}
	desk.Ask("POST", "/"+key.Key.ID+"/revoke", nil, 200, nil)
	if got := desk.List()["Contractor 2"]; got.Status != "revoked" {
		t.Errorf("badge %+v", got)
	}
	if got := desk.List()["Production"]; got.Status != "active" || !got.ExpiresAt.IsZero() {
		t.Errorf("a key without an end: %+v", got)
	}
}

func TestRevocationIsImmediateAndOneKeysAlone(t *testing.T) {
	s := wire.Open(t, system())
	desk := s.Desk()
	key := desk.Create(body{"name": "Leaked"})
	works(s, key.Secret, 200)
	desk.Ask("POST", "/"+key.Key.ID+"/revoke", body{"reason": "compromised"}, 200, nil)
	works(s, key.Secret, 401)
	works(s, s.Key("active"), 200)
	desk.Refused("DELETE", "/"+key.Key.ID+"?confirm=Leaked", nil, 405, "method_not_allowed") // the page has no such button
}

// What is told outside as one message stands inside with its cause, under the same id.
func TestTheCauseIsKeptInside(t *testing.T) {
	s := wire.Open(t, system())
	for state, verdict := range map[string]string{"expired": "expired", "revoked": "revoked"} {
		a := models(s, s.Key(state))
		last := s.Log.Last()
		if last.Verdict.String() != verdict || !strings.HasPrefix(last.RequestID, "req_") ||
			!strings.Contains(a.Body, `"traceId":"`+last.RequestID+`"`) || a.Header.Get("X-Request-Id") != last.RequestID {
			t.Errorf("%s: %+v, and outside %s", state, last, a.Body)
		}
	}
}

// A key of another prefix reaches no store, and no endpoint is open.
func TestOtherPrefixesAndNoKeyAtAll(t *testing.T) {
	s := wire.Open(t, system())
	for _, r := range []wire.Request{
		wire.Get("/api/v1/models"), wire.Get("/api/v1/models", "X-API-Key", s.Key("active")),
		wire.Get("/api/v1/models", "Authorization", "Bearer "+strings.Replace(s.Key("active"), "gx_", "hx_", 1)),
	} {
		if a := s.Do(r); a.Status != 401 {
			t.Errorf("%v: %d", r, a.Status)
		}
	}
	if got := s.Log.Last().Verdict.String(); got != "malformed" {
		t.Errorf("another prefix is %s", got)
	}
}

func TestTheDashboardIsClosed(t *testing.T) {
	s := wire.Open(t, system())
	for _, header := range [][]string{nil, {"Authorization", "Bearer session_0"}, {"Authorization", "Bearer " + s.Key("active")}} {
		if a := s.Do(wire.Get(s.Page(host.Demo), header...)); a.Status != 401 || strings.Contains(a.Body, "Production") {
			t.Errorf("%v: %d %s", header, a.Status, a.Body)
		}
	}
	other := s.DeskOf("acct_other", "account")
	other.Refused("POST", "/"+s.Desk().List()["Production"].ID+"/revoke", nil, 404, "key_not_found")
	works(s, s.Key("active"), 200)
}
