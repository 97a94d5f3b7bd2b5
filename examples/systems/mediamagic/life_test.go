package main

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/examples/systems/internal/host"
	"github.com/keytoll/keytoll/examples/systems/internal/wire"
)

type body map[string]any

// sent holds a submission to its status and returns it.
func sent(s *wire.Stage, key string, status int) (got submission) {
	s.Helper()
	a := s.Do(submitAs(key))
	if a.Status != status {
		s.Fatalf("%d %s, want %d", a.Status, a.Body, status)
	}
	if status == 200 {
		s.Must(json.Unmarshal([]byte(a.Body), &got))
	}
	return got
}

func TestEveryKeyStateInTheDataPlane(t *testing.T) {
	s := wire.Open(t, system())
	sent(s, s.Key("active"), 200)
	sent(s, s.Key("sandbox"), 200)
	sent(s, s.Key("expired"), 401)
	sent(s, s.Key("revoked"), 401)
	sent(s, s.Unknown("test"), 401)
}

// Neither workspace nor environment is the client's to say.
func TestTheKeySaysWhichWorkspaceAndEnvironment(t *testing.T) {
	s := wire.Open(t, system())
	lie := `{"workspace":"ws_other","workspace_id":"ws_other","environment":"test"}`
	a := s.Do(wire.Post(path+"?workspace=ws_other", lie, "X-API-Key", s.Key("active"), "X-Workspace-ID", "ws_other"))
	if a.Status != 200 || !strings.Contains(a.Body, `"workspace":"acct_demo","environment":"live"`) {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	sent(s, s.Key("sandbox"), 200)
	for state, want := range map[string]string{"active": "sub_1", "sandbox": "sub_2"} {
		if a := s.Do(wire.Get(path, "X-API-Key", s.Key(state))); strings.Count(a.Body, "sub_") != 1 || !strings.Contains(a.Body, want) {
			t.Errorf("the %s key sees %s", state, a.Body)
		}
	}
	for id, state := range map[string]string{"sub_1": "sandbox", "sub_2": "active"} {
		if a := s.Do(wire.Get(path+"/"+id, "X-API-Key", s.Key(state))); a.Status != 401 { // as another workspace's
			t.Errorf("%s of the other environment: %d", id, a.Status)
		}
	}
	if a := s.Do(wire.Get(path+"/sub_1", "X-API-Key", s.Key("active"))); a.Status != 200 {
		t.Errorf("its own submission: %d %s", a.Status, a.Body)
	}
}

// A live key with the sandbox's prefix is no key at all.
func TestThePrefixIsProven(t *testing.T) {
	s := wire.Open(t, system())
	sent(s, strings.Replace(s.Key("active"), "sk_live_", "sk_test_", 1), 401)
	sent(s, strings.Replace(s.Key("sandbox"), "sk_test_", "sk_live_", 1), 401)
}

// What the document asks for cannot be told: names of header fields have no case
// (RFC 9110 section 5.1), and servers and proxies change it.
func TestTheHeaderIsTakenInAnyCase(t *testing.T) {
	s := wire.Open(t, system())
	for _, name := range []string{"X-API-Key", "x-api-key", "X-Api-Key", "X-API-KEY"} {
		if a := s.Do(wire.Post(path, "{}", name, s.Key("active"))); a.Status != 200 {
			t.Errorf("%s: %d", name, a.Status)
		}
	}
}

func TestKeysAreShownOnceAndSafeInAShell(t *testing.T) {
	s := wire.Open(t, system())
	desk := s.Desk()
	for environment, prefix := range map[string]string{"live": "sk_live_", "test": "sk_test_"} {
		key := desk.Create(body{"name": "Staging 2", "environment": environment})
		if !regexp.MustCompile(`^` + prefix + `[0-9A-Za-z]+$`).MatchString(key.Secret) {
			t.Errorf("a key of %s looks like another", environment)
		}
		if a := desk.Send("GET", "/"+key.Key.ID, nil); strings.Contains(a.Body, key.Secret) {
			t.Error("the key is shown twice")
		}
		if got := sent(s, key.Secret, 200); got.Environment != environment {
			t.Errorf("environment %s", got.Environment)
		}
	}
	desk.Refused("POST", "", body{"name": "None"}, 400, "invalid_request") // which environment?
}

func TestLimitsAreEachKeysOwn(t *testing.T) {
	s := wire.Open(t, system())
	s.Repeat(submitAs(s.Key("active")), 120)
	sent(s, s.Key("active"), 429)
	sent(s, s.Key("sandbox"), 200)
}

func TestKeysAreDueAfterAMonthAndRotatedWithoutAGap(t *testing.T) {
	s := wire.Open(t, system())
	desk := s.Desk()
	s.Clock.Add(30*24*time.Hour - time.Second)
	if desk.List()["Production"].RotationDue {
		t.Error("due too early")
	}
	s.Clock.Add(time.Second)
	if !desk.List()["Production"].RotationDue {
		t.Error("not due")
	}
	reminded, err := s.Keys.Remind(t.Context(), &apikey.RemindOptions{Rotate: []time.Duration{30 * 24 * time.Hour}})
	s.Must(err)
	if len(reminded) == 0 || reminded[0].Kind != apikey.EventRotationDue {
		t.Errorf("reminders %+v", reminded)
	}
	var young wire.Issued
	desk.Ask("POST", "/"+desk.List()["Production"].ID+"/rotate", body{"grace_seconds": 3600}, 201, &young)
	sent(s, s.Key("active"), 200)
	sent(s, young.Secret, 200)
	s.Clock.Add(time.Hour)
	sent(s, s.Key("active"), 401)
	sent(s, young.Secret, 200)
}

func TestUseIsSeenAndACompromisedKeyEndsAtOnce(t *testing.T) {
	s := wire.Open(t, system())
	desk := s.Desk()
	sent(s, s.Key("active"), 200)
	s.Must(s.Keys.Flush(t.Context()))
	shown := desk.List()
	if !shown["Production"].LastUsedAt.Equal(s.Clock.Now()) || !shown["Staging"].LastUsedAt.IsZero() {
		t.Errorf("last used %v and %v", shown["Production"].LastUsedAt, shown["Staging"].LastUsedAt)
	}
	desk.Ask("POST", "/"+shown["Production"].ID+"/revoke", body{"reason": "compromised"}, 200, nil)
	sent(s, s.Key("active"), 401)
	page, err := s.Keys.Events(t.Context(), apikey.EventQuery{Owner: host.Demo, Kind: apikey.EventRevoked, Limit: 1})
	s.Must(err)
	if e := page.Events[0]; e.Note != "compromised" || e.Key != shown["Production"].ID {
		t.Errorf("event %+v", e)
	}
}

// Development, staging and production may have prefixes of their own, too.
func TestEnvironmentsAreAList(t *testing.T) {
	sys := system()
	sys.Format = &apikey.FormatOptions{Environments: []string{"dev", "staging", "live", "test"}}
	s := wire.Open(t, sys)
	key := s.Desk().Create(body{"name": "Dev", "environment": "dev"})
	if got := sent(s, key.Secret, 200); got.Environment != "dev" || !strings.HasPrefix(key.Secret, "sk_dev_") {
		t.Errorf("environment %s", got.Environment)
	}
}
