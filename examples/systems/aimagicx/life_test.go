package main

import (
	"encoding/json"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/examples/systems/internal/host"
	"github.com/keytoll/keytoll/examples/systems/internal/wire"
	"github.com/keytoll/keytoll/scopes"
)

type body map[string]any

func works(s *wire.Stage, key string, want int) wire.Answer {
	s.Helper()
	a := s.Do(chatAs("Bearer " + key))
	if a.Status != want {
		s.Errorf("the key: %d %s, want %d", a.Status, a.Body, want)
	}
	return a
}

func TestEveryKeyStateInTheDataPlane(t *testing.T) {
	s := wire.Open(t, system())
	works(s, s.Key("active"), 200)
	works(s, s.Key("limited"), 403)
	works(s, s.Key("expired"), 401)
	works(s, s.Key("revoked"), 401)
	works(s, s.Unknown(""), 401)
}

func TestKeysLookAsTheDocumentSays(t *testing.T) {
	s := wire.Open(t, system())
	key := s.Desk().Create(body{"name": "New", "scopes": []string{"chat:completions"}})
	if !regexp.MustCompile(`^mgx-sk-[a-z0-9]{32}$`).MatchString(key.Secret) {
		t.Error("the key has another form")
	}
	if a := s.Desk().Send("GET", "/"+key.Key.ID, nil); strings.Contains(a.Body, key.Secret) {
		t.Error("the key is shown twice")
	}
	works(s, key.Secret, 200)
}

func TestTheDashboardIsTheAccountsOwn(t *testing.T) {
	s := wire.Open(t, system())
	if s.Page(host.Demo) != "/home/acct_demo/api-keys" {
		t.Errorf("dashboard %s", s.Page(host.Demo))
	}
	header := []string{"Authorization", "Bearer " + s.Dashboard.Reveal()}
	if a := s.Do(wire.Get("/home/acct_other/api-keys", header...)); a.Status != 404 {
		t.Errorf("another account's: %d %s", a.Status, a.Body)
	}
	if a := s.Do(wire.Get(s.Page(host.Demo), header...)); a.Status != 200 {
		t.Errorf("its own: %d", a.Status)
	}
}

func TestAnExpirationPeriodIsATimeFromNow(t *testing.T) {
	s := wire.Open(t, system())
	key := s.Desk().Create(body{"name": "Thirty days", "expires_in_seconds": 30 * 24 * 3600, "scopes": []string{"chat:completions"}})
	if !key.Key.ExpiresAt.Equal(s.Clock.Now().Add(30 * 24 * time.Hour)) {
		t.Errorf("expires at %v", key.Key.ExpiresAt)
	}
	s.Clock.Add(30*24*time.Hour - time.Second)
	works(s, key.Secret, 200)
	s.Clock.Add(time.Second)
	works(s, key.Secret, 401)
}

var nine = []string{
	"chat:completions", "models:read", "tools:read", "usage:read", "account:read", "credits:read", "credits:purchase", "image:generate", "logo:generate",
}

func TestNineScopesOnAllAPIPlans(t *testing.T) {
	sys := system()
	var listed []string
	for _, d := range sys.Scopes {
		listed = append(listed, d.Name)
		if d.Description == "" || !slices.Equal(d.Plans, []string{"api", "api-enterprise"}) {
			t.Errorf("%+v", d)
		}
	}
	if !slices.Equal(listed, nine) {
		t.Errorf("scopes %v", listed)
	}
	s := wire.Open(t, sys)
	for _, plan := range []string{"api", "api-enterprise"} {
		desk := s.DeskOf("acct_"+plan, plan)
		works(s, desk.Create(body{"name": "All", "scopes": nine}).Secret, 200)
		desk.Refused("POST", "", body{"name": "Old", "scopes": []string{"chat:write"}}, 400, "unknown_scope")
	}
	s.DeskOf("acct_web", "web").Refused("POST", "", body{"name": "None", "scopes": nine[:1]}, 403, "not_in_plan")
}

// A downgrade is felt at the next use, and undone by going back.
func TestScopesFollowThePlan(t *testing.T) {
	s := wire.Open(t, system())
	s.Must(s.SetPlan(t.Context(), host.Demo, "web"))
	works(s, s.Key("active"), 403)
	s.Must(s.SetPlan(t.Context(), host.Demo, "api"))
	works(s, s.Key("active"), 200)
}

// A key that an older system granted chat:write keeps it, is shown it, and may not
// hand it on.
func TestAnUnlistedScopeSurvives(t *testing.T) {
	s := wire.Open(t, system())
	desk := s.Desk()
	old := desk.List()["Development Testing"]
	if !slices.Equal(old.Scopes, []string{"chat:write", "models:read"}) {
		t.Errorf("scopes %v", old.Scopes)
	}
	a := works(s, s.Key("limited"), 403)
	if got := a.Header["X-Api-Key-Scopes"]; len(got) != 1 || got[0] != "chat:write,models:read" {
		t.Errorf("header %v", got)
	}
	desk.Ask("PATCH", "/"+old.ID, body{"scopes": []string{"chat:write", "models:read", "chat:completions"}}, 200, nil)
	works(s, s.Key("limited"), 200)
	legacy, err := scopes.Of("chat:write")
	s.Must(err)
	if _, err := s.Keys.Create(t.Context(), apikey.Spec{Owner: host.Demo, Name: "Heir", Scopes: legacy}); err == nil {
		t.Error("chat:write is granted anew")
	}
}

// The headers are on answers after proof, and on no others.
func TestFiveHeadersAfterProof(t *testing.T) {
	s := wire.Open(t, system())
	own := []string{"X-Api-Key-Id", "X-Api-Key-Name", "X-Api-Key-Scopes", "X-Ratelimit-Remaining"}
	for _, state := range []string{"expired", "revoked"} {
		a := works(s, s.Key(state), 401)
		for _, name := range own {
			if len(a.Header[name]) > 0 {
				t.Errorf("%s: %s on a 401", state, name)
			}
		}
	}
	a := works(s, s.Key("active"), 200)
	for _, a := range []wire.Answer{a, works(s, s.Key("limited"), 403)} {
		for _, name := range append(own, "X-Request-Id") {
			if len(a.Header[name]) != 1 {
				t.Errorf("%d: %s: %v", a.Status, name, a.Header[name])
			}
		}
	}
	if !strings.HasPrefix(a.Header.Get("X-Api-Key-Id"), "key_") || a.Header.Get("X-Api-Key-Name") != "Production App" {
		t.Errorf("header %v", a.Header)
	}
}

// A name goes into a header, whatever people call their keys.
func TestNamesAreSafeInTheHeader(t *testing.T) {
	s := wire.Open(t, system())
	key := s.Desk().Create(body{"name": "Äpfel: 100%", "scopes": []string{"chat:completions"}})
	if got := works(s, key.Secret, 200).Header.Get("X-Api-Key-Name"); got != "%C3%84pfel: 100%25" {
		t.Errorf("header %q", got)
	}
	s.Desk().Refused("POST", "", body{"name": "a\r\nX-Admin: yes"}, 400, "invalid_request")
}

// What a client reads of any refusal is error.error.message.
func TestEveryRefusalIsTheEnvelope(t *testing.T) {
	s := wire.Open(t, system())
	_, err := s.Keys.SuspendOwner(t.Context(), host.Demo, "audit")
	s.Must(err)
	suspended := works(s, s.Key("active"), 403)
	_, err = s.Keys.RestoreOwner(t.Context(), host.Demo, "")
	s.Must(err)
	s.Limits.Down.Store(true)
	broken := works(s, s.Key("active"), 503)
	s.Limits.Down.Store(false)
	large := s.Do2(wire.Post("/api/v1/chat", strings.Repeat("x", 2<<20), "Authorization", "Bearer "+s.Key("active")))
	own := s.Do(wire.Get("/api/v1/account/usage?by=never", "Authorization", "Bearer "+s.Key("active"))) // the handler refuses
	for _, a := range []wire.Answer{suspended, broken, large, own, s.Do(chatAs()), works(s, s.Key("limited"), 403)} {
		var e struct {
			Success *bool
			Error   struct {
				Code, Message string
				Status        int
			}
		}
		s.Must(json.Unmarshal([]byte(a.Body), &e))
		if e.Success == nil || *e.Success || e.Error.Status != a.Status || e.Error.Message == "" || e.Error.Code == "" || a.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	}
}

func TestRotationHasNoGapAndIsReminded(t *testing.T) {
	s := wire.Open(t, system())
	desk := s.Desk()
	const age = 90 * 24 * time.Hour
	if s.Clock.Add(age); !desk.List()["Production App"].RotationDue {
		t.Error("not due after 90 days")
	}
	for want := range 2 { // once, not each time that somebody looks
		reminded, err := s.Keys.Remind(t.Context(), &apikey.RemindOptions{Rotate: []time.Duration{age}})
		s.Must(err)
		if (len(reminded) > 0) != (want == 0) {
			t.Errorf("reminded %d times", len(reminded))
		}
	}
	var young wire.Issued
	desk.Ask("POST", "/"+desk.List()["Production App"].ID+"/rotate", body{"grace_seconds": 60}, 201, &young)
	works(s, s.Key("active"), 200)
	works(s, young.Secret, 200)
	s.Clock.Add(time.Minute)
	works(s, s.Key("active"), 401)
	works(s, young.Secret, 200)
}

// What a key may ask about itself and its account has scopes of its own.
func TestReadsAreGuardedByTheirScopes(t *testing.T) {
	s := wire.Open(t, system())
	desk := s.Desk()
	works(s, s.Key("active"), 200)
	ask := func(method, path, scope string) (open, closed wire.Answer) {
		t.Helper()
		send := func(scopes ...string) wire.Answer {
			key := desk.Create(body{"name": method + path + strings.Join(scopes, ","), "scopes": scopes})
			return s.Do(wire.Request{Method: method, Path: path, Header: [][2]string{{"Authorization", "Bearer " + key.Secret}}})
		}
		return send(scope), send("chat:completions")
	}
	for _, tt := range []struct{ method, path, scope, says string }{
		{"GET", "/api/v1/account", "account:read", `"owner": "acct_demo"`},
		{"GET", "/api/v1/account/usage", "usage:read", `"rows": [`},
		{"GET", "/api/v1/credits", "credits:read", `{"available":"9999"}`},
		{"POST", "/api/v1/credits", "credits:purchase", `{"available":"10099"}`},
	} {
		open, closed := ask(tt.method, tt.path, tt.scope)
		if open.Status != 200 || !strings.Contains(open.Body, tt.says) {
			t.Errorf("%s %s: %d %s", tt.method, tt.path, open.Status, open.Body)
		}
		if closed.Status != 403 || !strings.Contains(closed.Body, "'"+tt.scope+"'") {
			t.Errorf("%s %s without its scope: %d %s", tt.method, tt.path, closed.Status, closed.Body)
		}
	}
	all := s.Do(wire.Get("/api/v1/account", "Authorization", "Bearer "+s.Key("active")))
	alone, _ := ask("GET", "/api/v1/account", "account:read")
	if !strings.Contains(all.Body, `"credits": {`) || strings.Contains(alone.Body, `"credits": {`) {
		t.Errorf("credits are told to %s, and to %s", all.Body, alone.Body)
	}
}

// What the document says is audited: keys made and deleted, permissions changed,
// failures, and use from places that are new.
func TestFiveKindsOfEventsAreAudited(t *testing.T) {
	s := wire.Open(t, system())
	desk := s.Desk()
	key := desk.Create(body{"name": "Audited", "scopes": []string{"chat:completions"}})
	desk.Ask("PATCH", "/"+key.Key.ID, body{"scopes": []string{"models:read"}}, 200, nil)
	for _, from := range []string{"192.0.2.1", "192.0.2.9", "203.0.113.7"} {
		_, err := s.Keys.Verify(t.Context(), key.Secret, &apikey.VerifyOptions{IP: netip.MustParseAddr(from)})
		s.Must(err)
		s.Must(s.Keys.Flush(t.Context()))
		s.Clock.Add(time.Minute)
	}
	for range 100 {
		if _, err := s.Keys.Verify(t.Context(), s.Unknown(""), nil); err == nil {
			t.Fatal("an unknown key is proven")
		}
	}
	s.Must(s.Keys.Flush(t.Context()))
	desk.Ask("DELETE", "/"+key.Key.ID+"?confirm=Audited", nil, 204, nil)

	count := map[apikey.EventKind]int{}
	page, err := s.Keys.Events(t.Context(), apikey.EventQuery{AnyOwner: true, Limit: 1000})
	s.Must(err)
	for _, e := range page.Events {
		if e.Key == key.Key.ID || e.Kind == apikey.EventFailures {
			count[e.Kind]++
		}
	}
	for kind, want := range map[apikey.EventKind]int{
		apikey.EventCreated: 1, apikey.EventScopesChanged: 1, apikey.EventNewPlace: 2, apikey.EventDeleted: 1, apikey.EventFailures: 1,
	} {
		if count[kind] != want {
			t.Errorf("%d events of %s, want %d: %v", count[kind], kind, want, count)
		}
	}
	_, err = s.Keys.VerifyEvents(t.Context(), host.Demo, nil)
	s.Must(err)
}

// They are written for everybody, and shown to who has the plan.
func TestAuditLogsAreForEnterprise(t *testing.T) {
	s := wire.Open(t, system())
	s.Must(s.SetPlan(t.Context(), host.Demo, "api"))
	desk := s.Desk()
	id := desk.Create(body{"name": "Audited", "scopes": []string{"chat:completions"}}).Key.ID
	for _, path := range []string{"/events", "/" + id + "/events"} {
		if p := desk.Refused("GET", path, nil, 403, "not_in_plan"); !strings.Contains(p.Upgrade, "Enterprise") {
			t.Errorf("%+v", p)
		}
	}
	s.Must(s.SetPlan(t.Context(), host.Demo, "api-enterprise"))
	var log struct{ Events []apikey.Event }
	desk.Ask("GET", "/"+id+"/events", nil, 200, &log)
	if len(log.Events) != 1 || log.Events[0].Kind != apikey.EventCreated || log.Events[0].Actor.ID != "user_of_acct_demo" {
		t.Errorf("%+v", log)
	}
}
