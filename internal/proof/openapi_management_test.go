package proof_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware/management"
	"github.com/keytoll/keytoll/scopes"
	"github.com/keytoll/keytoll/stores/sqlitestore"
)

// session lets the account of the path manage itself, and others do what their
// names say.
func session(r *http.Request) (management.Caller, error) {
	switch user := r.Header.Get("X-User"); user {
	case "acme":
		return management.Caller{Owner: r.PathValue("account"), Actor: apikey.Actor{ID: user}, Verbs: management.Everyday | management.Owners}, nil
	case "banned":
		return management.Caller{}, &errors.Error{Code: errors.Forbidden, Msg: "no"}
	case "down":
		return management.Caller{}, &errors.Error{Code: errors.Unavailable}
	}
	return management.Caller{}, errors.New("no session")
}

// A page is the management of keys on SQLite, and its description.
type page struct{ *description }

func openPage(t *testing.T) page {
	t.Helper()
	c := newClock()
	db, err := sqlitestore.Open(filepath.Join(t.TempDir(), "keys.db"), &sqlitestore.Options{Now: c.now, Synchronous: sqlitestore.Normal})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	format, err := apikey.NewFormat("kt", nil)
	if err != nil {
		t.Fatal(err)
	}
	everything, err := scopes.Of("*")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := apikey.NewService(db.Keys(), format, &apikey.Options{
		Now:         c.now,
		SealingKeys: []apikey.SealingKey{{Version: 1, Secret: bytes.Repeat([]byte{1}, 32)}},
		Policy: func(context.Context, string) (apikey.Policy, error) {
			return apikey.Policy{
				Plan: "Business", MayCreate: true, UniqueNames: true, Scopes: everything,
				Settings: []apikey.Setting{{Name: "rpm", Default: 60, Min: 1, Max: 10_000}},
			}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ledger, err := credits.NewLedger(db.Credits(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.Grant(t.Context(), credits.Grant{Account: "acme", ID: "g", Amount: 100 * credits.Credit}); err != nil {
		t.Fatal(err)
	}
	h, err := management.New(keys, &management.Options{
		Authenticate: session, Prefix: "/home/{account}/api-keys", Verbs: management.Everyday | management.Owners,
		Editable: management.EditableFields, Credits: ledger, Secrets: []string{"webhook"}, RotateEvery: 90 * 24 * time.Hour, Now: c.now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	p := page{describe(t, h.OpenAPI(), h)}
	k := p.make(`{"name":"spender","credit_cap":{"amount":"50","every":"month","zone":"Europe/Berlin"}}`)
	if _, err := ledger.Debit(t.Context(), credits.Debit{Account: "acme", ID: "d", Amount: credits.Credit, Key: k, Operation: "image"}); err != nil {
		t.Fatal(err)
	}
	return p
}

const home = "/home/{account}/api-keys"

// do makes a request of an operation, for a key where the path has one.
func (p page) do(method, operation, key, query, body string, status int, edit ...string) []byte {
	p.Helper()
	path := strings.NewReplacer("{account}", "acme", "{key}", key).Replace(operation) + query
	header := http.Header{"X-User": {"acme"}}
	if method != http.MethodGet && method != http.MethodDelete {
		header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(edit); i += 2 {
		if header.Del(edit[i]); edit[i+1] != "" {
			header.Set(edit[i], edit[i+1])
		}
	}
	return p.send(operation, try{method, path, body, header}, status)
}

// make makes a key and returns its id.
func (p page) make(body string) string {
	p.Helper()
	var made struct{ Key struct{ ID string } }
	text := p.do("POST", home, "", "", body, http.StatusCreated)
	if err := json.Unmarshal(text, &made); err != nil {
		p.Fatal(err)
	}
	return made.Key.ID
}

// TestManagementAnswersAsItIsDescribed holds every answer of the handler against
// its own description, and finds an answer for everything that is described.
func TestManagementAnswersAsItIsDescribed(t *testing.T) {
	p := openPage(t)
	names := 0
	fresh := func() string {
		names++
		return p.make(fmt.Sprintf(`{"name":"key %d","scopes":["image:generate"],"settings":{"rpm":100},"networks":["10.0.0.0/8"],"expires_in_seconds":86400}`, names))
	}
	verbs := []string{"disable", "enable", "rotate", "clone", "regenerate", "revoke"}

	// What succeeds.
	k := fresh()
	p.do("GET", home, "", "?limit=1&state=active,disabled&expired=false", "", http.StatusOK)
	p.do("POST", home, "", "", `{"name":"twice"}`, http.StatusCreated, "Idempotency-Key", "once")
	p.do("POST", home, "", "", `{"name":"twice"}`, http.StatusOK, "Idempotency-Key", "once")
	p.do("GET", home+"/{key}", k, "", "", http.StatusOK)
	p.do("PATCH", home+"/{key}", k, "", `{"name":"renamed","scopes":[],"settings":{"rpm":5},"networks":[]}`, http.StatusOK, "If-Match", `"1"`)
	p.do("PUT", home+"/{key}/credit-cap", k, "", `{"amount":"2.5","every":"day"}`, http.StatusOK)
	p.do("GET", home+"/{key}", k, "", "", http.StatusOK)
	p.do("DELETE", home+"/{key}/credit-cap", k, "", "", http.StatusNoContent)
	p.do("GET", home+"/events", "", "?limit=2&kind=key.created", "", http.StatusOK)
	p.do("GET", home+"/{key}/events", k, "", "", http.StatusOK)
	p.do("GET", home+"/usage", "", "?by=hour&group=operation&zone=Asia/Tokyo", "", http.StatusOK)
	p.do("GET", home+"/{key}/usage", k, "?by=month&from=2027-01-01T00:00:00Z&to=2027-02-01T00:00:00Z", "", http.StatusOK)
	for _, verb := range verbs {
		status := http.StatusOK
		if verb == "rotate" || verb == "clone" {
			status = http.StatusCreated
		}
		body := map[string]string{"rotate": `{"grace_seconds":60}`, "clone": `{"name":"a copy"}`, "revoke": `{"reason":"leaked"}`}[verb]
		if body == "" {
			body = "{}"
		}
		p.do("POST", home+"/{key}/"+verb, fresh(), "", body, status)
	}
	gone := fresh()
	p.do("DELETE", home+"/{key}", gone, "?confirm="+gone, "", http.StatusNoContent)

	// What is refused for one reason.
	p.do("POST", home, "", "", `{"name":"renamed"}`, http.StatusConflict)
	p.do("POST", home, "", "", `{"name":"other"}`, http.StatusUnprocessableEntity, "Idempotency-Key", "once")
	p.do("PATCH", home+"/{key}", k, "", `{"name":"twice"}`, http.StatusConflict)
	p.do("DELETE", home+"/{key}", k, "?confirm=other", "", http.StatusConflict)
	ended := fresh()
	p.do("POST", home+"/{key}/revoke", ended, "", `{}`, http.StatusOK)
	for _, verb := range []string{"disable", "enable", "rotate", "clone", "regenerate"} {
		p.do("POST", home+"/{key}/"+verb, ended, "", "{}", http.StatusConflict)
	}
	for _, decision := range []string{"suspend", "restore", "revoke"} {
		p.do("POST", home+"/owner/"+decision, "", "", `{"reason":"unpaid"}`, http.StatusOK)
		p.do("GET", home+"/owner", "", "", "", http.StatusOK)
	}

	// What is refused alike everywhere.
	k = fresh()
	for documented := range p.left {
		method, rest, _ := strings.Cut(documented, " ")
		operation, status, _ := strings.Cut(rest, " ")
		body := ""
		if method != http.MethodGet && method != http.MethodDelete {
			body = "{}"
		}
		switch status {
		case "400":
			if body != "" {
				p.do(method, operation, k, "", "[]", http.StatusBadRequest)
			} else {
				p.do(method, operation, k, "?nope=1", "", http.StatusBadRequest)
			}
		case "401":
			p.do(method, operation, k, "", body, http.StatusUnauthorized, "X-User", "")
		case "403":
			p.do(method, operation, k, "", body, http.StatusForbidden, "X-User", "banned")
		case "404":
			p.do(method, operation, "key_00000000000000000000", "", body, http.StatusNotFound)
		case "412":
			p.do(method, operation, k, "", body, http.StatusPreconditionFailed, "If-Match", `"99"`)
		case "413":
			p.do(method, operation, k, "", `{"name":"`+strings.Repeat("x", 1<<17)+`"}`, http.StatusRequestEntityTooLarge)
		case "415":
			p.do(method, operation, k, "", body, http.StatusUnsupportedMediaType, "Content-Type", "text/plain")
		case "default":
			p.do(method, operation, k, "", body, http.StatusServiceUnavailable, "X-User", "down")
		}
	}
	p.complete()
}
