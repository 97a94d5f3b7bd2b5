package main

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/examples/systems/internal/host"
	"github.com/keytoll/keytoll/examples/systems/internal/wire"
)

type body map[string]any

func works(s *wire.Stage, key string, want int) wire.Answer {
	s.Helper()
	a := s.Do(wire.Post("/v1/ai/mystic", `{"num_images":1}`, header, key))
	if a.Status != want {
		s.Errorf("the key: %d %s, want %d", a.Status, a.Body, want)
	}
	return a
}

func TestEveryKeyStateInTheDataPlane(t *testing.T) {
	s := wire.Open(t, magnific())
	works(s, s.Key("active"), 200)
	works(s, s.Key("inactive"), 401)
	works(s, s.Key("limited"), 403)
	works(s, s.Unknown(""), 401)
	if a := s.Do(resourcesAs(s, "limited")); a.Status != 200 {
		t.Errorf("what needs no model: %d", a.Status)
	}
}

// The header's name stands in the challenge's words, in any case on the wire.
func TestTheKeyStandsInItsOwnHeader(t *testing.T) {
	s := wire.Open(t, magnific())
	if a := s.Do(wire.Get("/v1/resources", "X-Magnific-API-Key", s.Key("active"))); a.Status != 200 {
		t.Errorf("another case: %d", a.Status)
	}
	if a := s.Do(wire.Get("/v1/resources", "Authorization", "Bearer "+s.Key("active"))); a.Status != 401 || !strings.Contains(a.Body, header) {
		t.Errorf("another header: %d %s", a.Status, a.Body)
	}
}

// An unknown route is 404 whoever asks, and costs nobody anything.
func TestWhatDoesNotExistIsNotCharged(t *testing.T) {
	s := wire.Open(t, magnific())
	for _, r := range []wire.Request{wire.Get("/v1/nothing"), wire.Get("/v1/nothing", header, s.Key("active")), wire.Get("/v1/ai/mystic", header, s.Key("active"))} {
		if a := s.Do(r); a.Status != 404 && a.Status != 405 {
			t.Errorf("%s: %d", r.Path, a.Status)
		}
	}
	if a := s.Do(resourcesAs(s, "active")); !strings.Contains(a.Header.Get("RateLimit"), `"key-burst";r=249`) || s.Balance().Consumed != 0 {
		t.Errorf("charged: %s", a.Header.Get("RateLimit"))
	}
}

func TestAStoreThatFailsHoldsNothing(t *testing.T) {
	s := wire.Open(t, magnific())
	s.Limits.Down.Store(true)
	works(s, s.Key("active"), 500)
	if b := s.Balance(); b.Held != 0 || b.Consumed != 0 {
		t.Errorf("balance %+v", b.Totals)
	}
}

func TestCreationShowsTwoSecretsOnce(t *testing.T) {
	s := wire.Open(t, magnific())
	desk := s.Desk()
	desk.Refused("POST", "", body{}, 400, "invalid_request") // no name
	key := desk.Create(body{"name": "Shop", "scopes": []string{"models:image"}})
	if len(key.Secrets) != 1 || key.Secrets[0].Name != "webhook" || !strings.HasPrefix(key.Secrets[0].Secret, "whsec_") {
		t.Fatalf("%d secrets beside the key", len(key.Secrets))
	}
	for _, path := range []string{"", "/" + key.Key.ID} {
		if a := desk.Send("GET", path, nil); strings.Contains(a.Body, key.Secret) || strings.Contains(a.Body, "whsec_") {
			t.Errorf("%q shows a secret again", path)
		}
	}
	bound, err := s.Keys.OpenSecrets(t.Context(), key.Key.ID, "webhook") // for who signs the webhooks
	s.Must(err)
	if "whsec_"+bound[0].Secret.Reveal() != key.Secrets[0].Secret {
		t.Error("webhooks are signed with another secret")
	}
	if text := fmt.Sprintf("%v %+v %#v", bound, bound, bound); strings.Contains(text, bound[0].Secret.Reveal()) {
		t.Error("a printed secret shows")
	}
}

func TestRenamingKeepsSecretAndHistory(t *testing.T) {
	s := wire.Open(t, magnific())
	desk := s.Desk()
	works(s, s.Key("active"), 200)
	id := desk.List()["Heroes Test"].ID
	desk.Ask("PATCH", "/"+id, body{"name": "Villains Test"}, 200, nil)
	works(s, s.Key("active"), 200)
	if got := spent(s, desk.List()["Villains Test"].Meter); got != 10 {
		t.Errorf("history of %v credits, want 10", got)
	}
}

// spent is what the key of that meter has spent, in whole credits.
func spent(s *wire.Stage, meter string) credits.Amount {
	s.Helper()
	rows, err := s.Ledger.Usage(s.Context(), credits.UsageQuery{Account: host.Demo, Key: meter})
	s.Must(err)
	if len(rows) == 0 {
		return 0
	}
	return rows[0].Spent / credits.Credit
}

func TestKeysAreSwitchedOffAndOn(t *testing.T) {
	s := wire.Open(t, magnific())
	desk := s.Desk()
	path := "/" + desk.List()["Heroes Test"].ID
	works(s, s.Key("active"), 200)
	desk.Ask("POST", path+"/disable", nil, 200, nil)
	works(s, s.Key("active"), 401)
	desk.Ask("POST", path+"/enable", nil, 200, nil)
	works(s, s.Key("active"), 200)
	if got := spent(s, desk.List()["Heroes Test"].Meter); got != 10 {
		t.Errorf("history of %v credits", got)
	}
}

func TestDeletionNeedsConfirmationAndKeepsTheLedger(t *testing.T) {
	s := wire.Open(t, magnific())
	desk := s.Desk()
	key := desk.List()["Heroes Test"]
	works(s, s.Key("active"), 200)
	desk.Refused("DELETE", "/"+key.ID, nil, 400, "confirmation_required")
	desk.Refused("DELETE", "/"+key.ID+"?confirm=yes", nil, 409, "confirmation_mismatch")
	works(s, s.Key("active"), 200)
	desk.Ask("DELETE", "/"+key.ID+"?confirm=Heroes+Test", nil, 204, nil)
	works(s, s.Key("active"), 401)
	if got := spent(s, key.Meter); got != 10 {
		t.Errorf("history of %v credits", got)
	}
}

// Five are five, whoever races for the last, and an inactive one that comes back is
// one of them.
func TestFiveActiveKeysAndTheWayToMore(t *testing.T) {
	s := wire.Open(t, magnific())
	desk := s.Desk() // two are active, one is not
	var made, refused atomic.Int64
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			switch desk.Send("POST", "", body{"name": fmt.Sprintf("Key %d", i)}).Status {
			case 201:
				made.Add(1)
			case 403:
				refused.Add(1)
			}
		})
	}
	all.Wait()
	if made.Load() != 3 || refused.Load() != 13 {
		t.Errorf("%d made and %d refused beside two", made.Load(), refused.Load())
	}
	p := desk.Refused("POST", "", body{"name": "Sixth"}, 403, "key_limit")
	if p.Limit != 5 || p.Plan != "business" || !strings.Contains(p.Upgrade, "Enterprise") {
		t.Errorf("%+v", p)
	}
	back := "/" + desk.List()["Rotated Out"].ID + "/enable"
	desk.Refused("POST", back, nil, 403, "key_limit")
	works(s, s.Key("inactive"), 401)
	desk.Ask("POST", "/"+desk.List()["Audio Only"].ID+"/disable", nil, 200, nil)
	desk.Ask("POST", back, nil, 200, nil)
	works(s, s.Key("inactive"), 200)
	desk.Refused("POST", "", body{"name": "Sixth"}, 403, "key_limit")
}

func TestEnterpriseHasAsManyAsItWants(t *testing.T) {
	s := wire.Open(t, magnific())
	desk := s.DeskOf("acct_big", "enterprise-api")
	for i := range 12 {
		desk.Create(body{"name": fmt.Sprintf("Key %d", i)})
	}
}

func TestOnlyPayingPlansMakeKeys(t *testing.T) {
	s := wire.Open(t, magnific())
	p := s.DeskOf("acct_free", "free").Refused("POST", "", body{"name": "None"}, 403, "not_in_plan")
	if !strings.Contains(p.Detail, "upgrade to Business") {
		t.Errorf("%+v", p)
	}
	// Enterprise has asked, and the representative has not enabled it yet.
	desk := s.DeskOf("acct_big", "enterprise")
	desk.Refused("POST", "", body{"name": "Early"}, 403, "not_in_plan")
	s.Must(s.SetPlan(t.Context(), "acct_big", "enterprise-api"))
	desk.Create(body{"name": "Enabled"})
}

// Who has no plan any more has keys, and nothing that they open.
func TestAPlanThatEndsTakesAccessAway(t *testing.T) {
	s := wire.Open(t, magnific())
	s.Must(s.SetPlan(t.Context(), host.Demo, "free"))
	a := works(s, s.Key("active"), 403)
	if !strings.Contains(a.Body, "business") || s.Accounts.Plan(host.Demo) != "free" {
		t.Errorf("%s", a.Body)
	}
	s.Must(s.SetPlan(t.Context(), host.Demo, "business"))
	if a := works(s, s.Key("active"), 200); a.Header.Get("Cache-Control") != "private" {
		t.Errorf("Cache-Control %q", a.Header.Get("Cache-Control"))
	}
}

func TestModelFamiliesAreEditedLater(t *testing.T) {
	s := wire.Open(t, magnific())
	desk := s.Desk()
	path := "/" + desk.List()["Audio Only"].ID
	works(s, s.Key("limited"), 403)
	desk.Ask("PATCH", path, body{"scopes": []string{"models:audio", "models:image"}}, 200, nil)
	works(s, s.Key("limited"), 200)
	desk.Ask("PATCH", path, body{"scopes": []string{"models:3d"}}, 200, nil)
	works(s, s.Key("limited"), 403)
}

func TestRegenerationKeepsAllButTheText(t *testing.T) {
	s := wire.Open(t, magnific())
	desk := s.Desk()
	before := desk.List()["Heroes Test"]
	var young wire.Issued
	desk.Ask("POST", "/"+before.ID+"/regenerate", nil, 200, &young)
	works(s, s.Key("active"), 401)
	works(s, young.Secret, 200)
	if after := desk.List()["Heroes Test"]; after.ID != before.ID || after.Meter != before.Meter || strings.Join(after.Scopes, " ") != strings.Join(before.Scopes, " ") {
		t.Errorf("%+v, before %+v", after, before)
	}
}

func TestAccessIsRemovedAtOnceAndGivenBack(t *testing.T) {
	s := wire.Open(t, magnific())
	works(s, s.Key("active"), 200)
	_, err := s.Keys.SuspendOwner(t.Context(), host.Demo, "scraping")
	s.Must(err)
	works(s, s.Key("active"), 403)
	owner, err := s.Keys.Owner(t.Context(), host.Demo)
	s.Must(err)
	page, err := s.Keys.Events(t.Context(), apikey.EventQuery{Owner: host.Demo, Kind: apikey.EventOwnerSuspended})
	s.Must(err)
	if len(page.Events) != 1 || page.Events[0].Note != "scraping" {
		t.Errorf("%+v, events %+v", owner, page.Events)
	}
	_, err = s.Keys.RestoreOwner(t.Context(), host.Demo, "appeal")
	s.Must(err)
	works(s, s.Key("active"), 200)
}

func TestPeopleOfOneOrganisationShareItsKeys(t *testing.T) {
	s := wire.Open(t, magnific())
	colleague := s.DeskOf(host.Demo, "business")
	key := colleague.Create(body{"name": "Shared", "scopes": []string{"models:image"}})
	if _, there := s.Desk().List()["Shared"]; !there {
		t.Error("a colleague does not see it")
	}
	works(s, key.Secret, 200)
	if s.Balance().Consumed != 5*credits.Credit {
		t.Error("another pool paid")
	}
	if other := s.DeskOf("acct_other", "business").List(); len(other) != 0 {
		t.Errorf("another organisation sees %v", other)
	}
}

// The pool of the month comes on the day the subscription began, once, and that of
// the year likewise.
func TestThePoolIsGrantedByTheMonthOrTheYear(t *testing.T) {
	s := wire.Open(t, magnific())
	s.DeskOf("acct_year", "business-yearly")
	available := func(account credits.AccountID) credits.Amount {
		b, err := s.Ledger.Balance(t.Context(), account)
		s.Must(err)
		return b.Available / credits.Credit
	}
	for range 3 {
		if available(host.Demo) != 90_000 || available("acct_year") != 1_080_000 {
			t.Errorf("%v and %v", available(host.Demo), available("acct_year"))
		}
		s.Clock.Add(31 * 24 * time.Hour)
	}
	s.DeskOf("acct_custom", "enterprise-api")
	if available("acct_custom") != 5_000_000 {
		t.Errorf("enterprise has %v", available("acct_custom"))
	}
}
