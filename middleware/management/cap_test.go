package management_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware/management"
)

// fund gives acme credits, and returns what spends one of them under a meter.
func (d *desk) fund() func(id, meter string) error {
	d.Helper()
	_, err := d.ledger.Grant(d.Context(), credits.Grant{Account: "acme", ID: "g", Amount: 1000 * credits.Credit})
	if err != nil {
		d.Fatal(err)
	}
	return func(id, meter string) error {
		_, err := d.ledger.Debit(d.Context(), credits.Debit{Account: "acme", ID: credits.OpID(id), Amount: credits.Credit, Key: meter, Operation: "image"})
		return err
	}
}

type bound struct {
	Amount, Every, Zone, Used, Remaining string
	ResetsAt                             time.Time `json:"resets_at"`
}

func TestACreditCapBoundsTheKeyFromItsFirstInstant(t *testing.T) {
	d := open(t, nil, nil)
	spend := d.fund()
	k := d.create(`{"environment":"live","credit_cap":{"amount":"2","every":"month","zone":"Europe/Berlin"}}`)
	for i, want := range []error{nil, nil, credits.ErrInsufficient} {
		if err := spend(string(rune('a'+i)), k.Key.Meter); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("spend %d: %v, want %v", i, err, want)
		}
	}
	var shown struct {
		Cap bound `json:"credit_cap"`
	}
	d.do("GET", "/"+k.Key.ID, "").into(http.StatusOK, &shown)
	want := bound{"2", "month", "Europe/Berlin", "2", "0", time.Date(2026, 3, 31, 22, 0, 0, 0, time.UTC)}
	if shown.Cap != want {
		t.Errorf("shown %+v, want %+v", shown.Cap, want)
	}
	// Rotation neither doubles nor ends it, and it can be raised and lowered.
	var next issued
	d.do("POST", "/"+k.Key.ID+"/rotate", "").into(http.StatusCreated, &next)
	if err := spend("d", next.Key.Meter); !errors.Is(err, credits.ErrInsufficient) {
		t.Errorf("the successor spends more: %v", err)
	}
	var moved bound
	d.do("PUT", "/"+next.Key.ID+"/credit-cap", `{"amount":"3","every":"month","zone":"Europe/Berlin"}`).into(http.StatusOK, &moved)
	if moved.Used != "2" || moved.Remaining != "1" {
		t.Errorf("raised to %+v", moved)
	}
	if err := spend("e", next.Key.Meter); err != nil {
		t.Errorf("after it was raised: %v", err)
	}
	d.do("PUT", "/"+next.Key.ID+"/credit-cap", `{"amount":"1","every":"month","zone":"Europe/Berlin"}`).into(http.StatusOK, &moved)
	if err := spend("f", next.Key.Meter); !errors.Is(err, credits.ErrInsufficient) || moved.Remaining != "0" {
		t.Errorf("after it was lowered: %v, %+v", err, moved)
	}
	d.do("DELETE", "/"+next.Key.ID+"/credit-cap", "").into(http.StatusNoContent, nil)
	d.do("DELETE", "/"+next.Key.ID+"/credit-cap", "").into(http.StatusNoContent, nil)
	if err := spend("last", next.Key.Meter); err != nil {
		t.Errorf("after it was removed: %v", err)
	}
}

// A key without its cap could spend all that the account has, so there is none.
func TestNoKeyIsMadeWithoutItsCap(t *testing.T) {
	d := open(t, nil, nil)
	d.down.Store(true)
	for _, id := range []string{"", "once"} {
		edit := func(*http.Request) {}
		if id != "" {
			edit = header("Idempotency-Key", id)
		}
		d.do("POST", "", `{"environment":"live","credit_cap":{"amount":"2"}}`, edit).refused(http.StatusServiceUnavailable, "unavailable")
	}
	page, err := d.keys.List(t.Context(), apikey.Query{Owner: "acme"})
	if err != nil || len(page.Keys) > 0 {
		t.Errorf("there are keys: %+v, %v", page.Keys, err)
	}
	d.down.Store(false)
	var k issued
	d.do("POST", "", `{"environment":"live","credit_cap":{"amount":"2"}}`, header("Idempotency-Key", "once")).into(http.StatusCreated, &k)
	// What was made is not bounded anew by the request that is made again.
	d.do("PUT", "/"+k.Key.ID+"/credit-cap", `{"amount":"7"}`).into(http.StatusOK, nil)
	d.do("POST", "", `{"environment":"live","credit_cap":{"amount":"2"}}`, header("Idempotency-Key", "once")).into(http.StatusOK, nil)
	var shown struct {
		Cap bound `json:"credit_cap"`
	}
	d.do("GET", "/"+k.Key.ID, "").into(http.StatusOK, &shown)
	if shown.Cap.Amount != "7" {
		t.Errorf("the cap is %+v", shown.Cap)
	}
}

func TestACapOfAKeyThatIsRefusedIsTakenBack(t *testing.T) {
	d := open(t, &apikey.Options{Policy: plan}, nil)
	d.create(`{"name":"a","environment":"live"}`)
	d.do("POST", "", `{"name":"a","environment":"live","credit_cap":{"amount":"2"}}`).refused(http.StatusConflict, "name_taken")
	page, err := d.ledger.Budgets(t.Context(), credits.ListQuery{Account: "acme"})
	if err != nil || len(page.Budgets) > 0 {
		t.Errorf("left are %+v, %v", page.Budgets, err)
	}
}

func TestACloneSpendsNoMoreThanTheOriginal(t *testing.T) {
	d := open(t, nil, nil)
	spend := d.fund()
	k := d.create(`{"name":"a","environment":"live","scopes":["x:y"],"credit_cap":{"amount":"1","every":"day"}}`)
	if err := spend("a", k.Key.Meter); err != nil {
		t.Fatal(err)
	}
	var c issued
	d.do("POST", "/"+k.Key.ID+"/clone", `{"name":"b"}`).into(http.StatusCreated, &c)
	if c.Key.Name != "b" || c.Key.Scopes[0] != "x:y" || c.Key.Meter == k.Key.Meter {
		t.Errorf("the clone is %+v", c.Key)
	}
	for i, want := range []error{nil, credits.ErrInsufficient} {
		if err := spend(string(rune('b'+i)), c.Key.Meter); want != nil && !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("spend %d of the clone: %v", i, err)
		}
	}
	d.down.Store(true)
	a := d.do("POST", "/"+k.Key.ID+"/clone", `{"name":"c"}`)
	a.refused(http.StatusServiceUnavailable, "unavailable")
	page, err := d.keys.List(t.Context(), apikey.Query{Owner: "acme", States: []apikey.State{apikey.StateActive}})
	if err != nil || len(page.Keys) != 2 {
		t.Errorf("keys that work: %+v, %v", page.Keys, err)
	}
}

func TestUsageIsTheKeysOwn(t *testing.T) {
	has := management.Features{Usage: true, Audit: true, Upgrade: "https://example.com/upgrade"}
	d := open(t, nil, func(o *management.Options) {
		o.Features = func(_ context.Context, owner string) (management.Features, error) {
			if owner != "acme" {
				t.Errorf("asked for %q", owner)
			}
			return has, nil
		}
	})
	spend := d.fund()
	a, b := d.create(`{"environment":"live"}`), d.create(`{"environment":"live"}`)
	for id, meter := range map[string]string{"1": a.Key.Meter, "2": a.Key.Meter, "3": b.Key.Meter} {
		if err := spend(id, meter); err != nil {
			t.Fatal(err)
		}
	}
	type usage struct {
		By, Zone string
		Rows     []struct {
			Key, Operation, Spent string
			Calls                 int64
		}
	}
	var all, one usage
	d.clock.add(time.Hour)
	d.do("GET", "/usage?group=operation", "").into(http.StatusOK, &all)
	if len(all.Rows) != 2 || all.By != "day" || all.Zone != "UTC" || all.Rows[0].Operation != "image" {
		t.Errorf("all: %+v", all)
	}
	d.do("GET", "/"+a.Key.ID+"/usage?by=hour", "").into(http.StatusOK, &one)
	if len(one.Rows) != 1 || one.Rows[0].Key != a.Key.Meter || one.Rows[0].Spent != "2" || one.Rows[0].Calls != 2 || one.Rows[0].Operation != "" {
		t.Errorf("one: %+v", one)
	}
	// What the plan does not include.
	has.Usage, has.Audit = false, false
	for _, path := range []string{"/usage", "/" + a.Key.ID + "/usage", "/events", "/" + a.Key.ID + "/events"} {
		if p := d.do("GET", path, "").refused(http.StatusForbidden, "not_in_plan"); p.Upgrade != has.Upgrade {
			t.Errorf("upgrade %q", p.Upgrade)
		}
	}
	// It was noted all the same.
	has.Audit = true
	var log struct {
		Events []struct {
			Kind  string
			Key   string
			Actor struct{ ID string }
		}
		Next string
	}
	d.do("GET", "/events?limit=1", "").into(http.StatusOK, &log)
	if len(log.Events) != 1 || log.Events[0].Key != b.Key.ID || log.Events[0].Kind != "key.created" || log.Events[0].Actor.ID != "acme" || log.Next == "" {
		t.Errorf("events %+v", log)
	}
	next := log.Next
	d.do("GET", "/"+a.Key.ID+"/events", "").into(http.StatusOK, &log)
	if len(log.Events) != 1 || log.Events[0].Key != a.Key.ID {
		t.Errorf("events of one key: %+v", log)
	}
	log.Next, log.Events = "", nil
	d.do("GET", "/events?cursor="+next, "").into(http.StatusOK, &log)
	if len(log.Events) != 1 || log.Events[0].Key != a.Key.ID || log.Next != "" {
		t.Errorf("the next page: %+v", log)
	}
}

// Where the host makes the account of the owner and the environment, no environment
// that a request names makes another owner's account of them.
func TestNoEnvironmentLeadsToAnotherAccount(t *testing.T) {
	d := open(t, nil, func(o *management.Options) {
		o.Account = func(k apikey.Key) credits.AccountID {
			return credits.AccountID(k.Owner + ":" + k.Environment)
		}
	})
	rival := credits.AccountID("acme:emea:live")
	for _, err := range []error{
		errOf(d.ledger.Grant(t.Context(), credits.Grant{Account: rival, ID: "g", Amount: credits.Credit})),
		errOf(d.ledger.Debit(t.Context(), credits.Debit{Account: rival, ID: "s", Amount: credits.Credit, Key: "theirs", Operation: "image"})),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	d.clock.add(time.Hour)
	d.do("GET", "/usage?environment=emea:live", "").refused(http.StatusBadRequest, "invalid_request")
	d.do("GET", "/usage?environment=a23456789012345678", "").refused(http.StatusBadRequest, "invalid_request")
	d.do("POST", "", `{"environment":"emea:live","credit_cap":{"amount":"2"}}`, header("Idempotency-Key", "1")).refused(http.StatusBadRequest, "invalid_request")
	if page, err := d.ledger.Budgets(t.Context(), credits.ListQuery{Account: rival}); err != nil || len(page.Budgets) > 0 {
		t.Errorf("the rival's budgets: %+v, %v", page, err)
	}
	var own struct{ Rows []any }
	d.do("GET", "/usage?environment=live", "").into(http.StatusOK, &own)
	if len(own.Rows) > 0 {
		t.Errorf("rows %v", own.Rows)
	}
}

func errOf(_ any, err error) error { return err }

func TestWithoutALedgerThereAreNoCredits(t *testing.T) {
	d := open(t, nil, func(o *management.Options) { o.Credits = nil })
	k := d.create(`{"environment":"live"}`)
	d.do("GET", "/usage", "").refused(http.StatusNotFound, "key_not_found")
	d.do("GET", "/"+k.Key.ID+"/usage", "").refused(http.StatusNotFound, "not_found")
	d.do("POST", "", `{"environment":"live","credit_cap":{"amount":"1"}}`).refused(http.StatusBadRequest, "invalid_request")
	var text map[string]json.RawMessage
	d.do("GET", "/"+k.Key.ID, "").into(http.StatusOK, &text)
	if _, there := text["credit_cap"]; there {
		t.Error("a cap is shown")
	}
}
