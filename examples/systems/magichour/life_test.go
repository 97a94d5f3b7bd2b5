package main

import (
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/examples/systems/internal/host"
	"github.com/keytoll/keytoll/examples/systems/internal/wire"
)

type body map[string]any

func works(s *wire.Stage, key string, want int) {
	s.Helper()
	if a := s.Do(generate("Bearer " + key)); a.Status != want {
		s.Errorf("the key: %d %s, want %d", a.Status, a.Body, want)
	}
}

func TestEveryKeyStateInTheDataPlane(t *testing.T) {
	s := wire.Open(t, system())
	works(s, s.Key("active"), 200)
	works(s, s.Key("limited"), 403)
	works(s, s.Key("revoked"), 401)
	works(s, s.Unknown(""), 401)
}

func TestFreeAccountsMakeKeys(t *testing.T) {
	s := wire.Open(t, system())
	key := s.DeskOf("acct_free", "free").Create(body{"name": "Production App", "scopes": []string{"image:generate"}})
	works(s, key.Secret, 200)
}

func TestAKeyHasANameAndPermissions(t *testing.T) {
	s := wire.Open(t, system())
	desk := s.Desk()
	desk.Refused("POST", "", body{"scopes": []string{"image:generate"}}, 400, "invalid_request")
	desk.Refused("POST", "", body{"name": "Odd", "scopes": []string{"everything:do"}}, 400, "unknown_scope")
	works(s, desk.Create(body{"name": "Mobile App 2", "scopes": []string{"video:generate"}}).Secret, 403)
}

// The list has what the document shows, and never the key.
func TestTheListShowsNameLastFourAndCreated(t *testing.T) {
	s := wire.Open(t, system())
	desk := s.Desk()
	s.Clock.Add(time.Hour)
	key := desk.Create(body{"name": "New", "scopes": []string{"image:generate"}})
	got := desk.List()["New"]
	if got.Last4 != key.Secret[len(key.Secret)-4:] || !got.CreatedAt.Equal(s.Clock.Now()) {
		t.Errorf("%+v", got)
	}
	if a := desk.Send("GET", "", nil); strings.Contains(a.Body, key.Secret) {
		t.Error("the list shows a key")
	}
}

// To delete is to revoke, once it was confirmed.
func TestDeletingIsRevoking(t *testing.T) {
	s := wire.Open(t, system())
	desk := s.Desk()
	id := desk.List()["Production App"].ID
	desk.Refused("DELETE", "/"+id, nil, 400, "confirmation_required")
	desk.Refused("DELETE", "/"+id+"?confirm=another", nil, 409, "confirmation_mismatch")
	works(s, s.Key("active"), 200)
	desk.Ask("DELETE", "/"+id+"?confirm="+id, nil, 204, nil)
	works(s, s.Key("active"), 401)
	if _, there := desk.List()["Production App"]; there {
		t.Error("it is listed still")
	}
}

func TestRotationIsACloneThatOverlaps(t *testing.T) {
	s := wire.Open(t, system())
	desk := s.Desk()
	old := desk.List()["Production App"]
	if s.Clock.Add(90 * 24 * time.Hour); !desk.List()["Production App"].RotationDue {
		t.Error("not due after 90 days")
	}
	var heir wire.Issued
	desk.Ask("POST", "/"+old.ID+"/clone", body{"name": "Production App 2"}, 201, &heir)
	if strings.Join(heir.Key.Scopes, " ") != strings.Join(old.Scopes, " ") {
		t.Errorf("permissions %v, want %v", heir.Key.Scopes, old.Scopes)
	}
	works(s, s.Key("active"), 200)
	works(s, heir.Secret, 200)
	desk.Ask("DELETE", "/"+old.ID+"?confirm="+old.ID, nil, 204, nil)
	works(s, s.Key("active"), 401)
	works(s, heir.Secret, 200)
}

func TestUnusedKeysAreFound(t *testing.T) {
	s := wire.Open(t, system())
	s.Clock.Add(24 * time.Hour)
	works(s, s.Key("active"), 200)
	s.Must(s.Keys.Flush(t.Context()))
	page, err := s.Keys.Unused(t.Context(), s.Clock.Now(), apikey.Query{Owner: host.Demo})
	s.Must(err)
	var names []string
	for _, k := range page.Keys {
		names = append(names, k.Name)
	}
	if got := strings.Join(names, ","); strings.Contains(got, "Production App") || !strings.Contains(got, "Mobile App") {
		t.Errorf("unused: %s", got)
	}
}

// What is charged is charged to the key that asked, and to the pool of the plan.
func TestCreditsAreCountedByKey(t *testing.T) {
	s := wire.Open(t, system())
	other := s.Desk().Create(body{"name": "Other", "scopes": []string{"image:generate"}})
	works(s, s.Key("active"), 200)
	works(s, s.Key("active"), 200)
	works(s, other.Secret, 200)
	works(s, s.Key("limited"), 403)
	rows, err := s.Ledger.Usage(t.Context(), credits.UsageQuery{Account: host.Demo, ByKey: true})
	s.Must(err)
	spent := map[string]credits.Amount{}
	for _, row := range rows {
		spent[row.Key] = row.Spent / credits.Credit
	}
	if spent[s.Known("active").Meter] != 10 || spent[other.Key.Meter] != 5 || len(spent) != 2 {
		t.Errorf("spent %v", spent)
	}
	if b := s.Balance(); b.Available != 99_985*credits.Credit {
		t.Errorf("available %v", b.Available)
	}
}

// A leak: every key of the account ends at once, and a new one is made.
func TestAllKeysEndAtOnce(t *testing.T) {
	s := wire.Open(t, system())
	_, err := s.Keys.RevokeOwner(t.Context(), host.Demo, "compromised")
	s.Must(err)
	works(s, s.Key("active"), 401)
	s.Clock.Add(time.Second)
	works(s, s.Desk().Create(body{"name": "Fresh", "scopes": []string{"image:generate"}}).Secret, 200)
}

// Subscribers see their keys, and what those used is for usage-based pricing.
func TestUsageIsShownOnUsageBasedPlansOnly(t *testing.T) {
	s := wire.Open(t, system())
	works(s, s.Key("active"), 200)
	s.Clock.Add(time.Minute)
	var usage struct {
		Rows []struct{ Key, Operation, Spent string }
	}
	desk := s.Desk()
	desk.Ask("GET", "/usage?group=operation", nil, 200, &usage)
	if len(usage.Rows) != 1 || usage.Rows[0].Key != s.Known("active").Meter || usage.Rows[0].Spent != "5" || usage.Rows[0].Operation != "ai-image-generator" {
		t.Errorf("%+v", usage)
	}
	for _, plan := range []string{"free", "subscription"} {
		s.Must(s.SetPlan(t.Context(), host.Demo, plan))
		for _, path := range []string{"/usage", "/" + s.Known("active").ID + "/usage"} {
			if p := desk.Refused("GET", path, nil, 403, "not_in_plan"); !strings.Contains(p.Upgrade, "usage-based") {
				t.Errorf("%+v", p)
			}
		}
		if len(desk.List()) != 3 {
			t.Error("the keys themselves are hidden")
		}
	}
}
