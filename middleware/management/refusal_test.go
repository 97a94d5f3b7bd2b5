package management_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware/management"
	"github.com/keytoll/keytoll/scopes"
)

func TestWhoIsNotKnownLearnsNothing(t *testing.T) {
	d := open(t, nil, nil)
	k := d.create(`{"name":"a","environment":"live"}`)
	for _, tt := range []struct {
		user   string
		status int
		code   string
	}{
		{"", http.StatusUnauthorized, "unauthenticated"},
		{"banned", http.StatusForbidden, "forbidden"},
		{"other", http.StatusNotFound, "not_found"},
		{"down", http.StatusServiceUnavailable, "unavailable"},
		{"nobody", http.StatusInternalServerError, "internal"},
	} {
		for _, path := range []string{"", "/" + k.Key.ID, "/openapi.json", "/nothing/here", "/key_x/y/z"} {
			a := d.do("GET", path, "", header("X-User", tt.user))
			p := a.refused(tt.status, tt.code)
			if strings.Contains(p.Detail, "s3cr3t") || strings.Contains(p.Detail, "sessions are down") {
				t.Errorf("the cause is told: %s", a.Body)
			}
			if got := a.Header().Get("WWW-Authenticate"); (got != "") != (tt.status == http.StatusUnauthorized) {
				t.Errorf("%q: challenge %q", tt.user, got)
			}
		}
	}
	if log := d.log.String(); !strings.Contains(log, "sessions are down") || !strings.Contains(log, "neither an owner nor an error") {
		t.Errorf("operators are not told: %s", log)
	}
}

func TestACallerThatGaveUpIsNotAFault(t *testing.T) {
	d := open(t, nil, func(o *management.Options) {
		o.Authenticate = func(r *http.Request) (management.Caller, error) { return management.Caller{}, r.Context().Err() }
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d.do("GET", "", "", func(r *http.Request) { *r = *r.WithContext(ctx) }).refused(http.StatusServiceUnavailable, "canceled")
	if d.log.Len() > 0 {
		t.Errorf("logged %s", d.log)
	}
}

func TestAnotherOwnersKeyIsAsOneThatNeverWas(t *testing.T) {
	d := open(t, nil, func(o *management.Options) { o.Verbs |= management.Owners })
	issued, err := d.keys.Create(t.Context(), apikey.Spec{Owner: "rival", Name: "theirs", Environment: "live"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ method, path, body string }{
		{"GET", "", ""},
		{"PATCH", "", `{"name":"mine"}`},
		{"DELETE", "?confirm=theirs", ""},
		{"GET", "/events", ""},
		{"GET", "/usage", ""},
		{"PUT", "/credit-cap", `{"amount":"1"}`},
		{"DELETE", "/credit-cap", ""},
		{"POST", "/disable", ""},
		{"POST", "/enable", ""},
		{"POST", "/rotate", ""},
		{"POST", "/clone", ""},
		{"POST", "/regenerate", ""},
		{"POST", "/revoke", ""},
	} {
		var bodies []string
		for _, id := range []string{issued.Key.ID, "key_00000000000000000000", "key_%00%ff", strings.Repeat("k", 300)} {
			a := d.do(tt.method, "/"+id+tt.path, tt.body)
			p := a.refused(http.StatusNotFound, "key_not_found")
			bodies = append(bodies, strings.Replace(a.Body.String(), p.RequestID, "", 1))
		}
		for _, b := range bodies[1:] {
			if b != bodies[0] {
				t.Errorf("%s %s tells them apart: %s and %s", tt.method, tt.path, bodies[0], b)
			}
		}
	}
	if k, err := d.keys.Get(t.Context(), issued.Key.ID); err != nil || !k.Equal(issued.Key) {
		t.Errorf("the rival's key became %+v, %v", k, err)
	}
}

func TestBodiesThatAreNotExactlyRightChangeNothing(t *testing.T) {
	everything := must(scopes.Parse("*"))(t)
	registry := must(scopes.NewRegistry(scopes.Definition{Name: "a:read"}, scopes.Definition{Name: "b:read", Plans: []string{"Enterprise"}}))(t)
	d := open(t, &apikey.Options{Registry: registry, Policy: func(ctx context.Context, owner string) (apikey.Policy, error) {
		p, err := plan(ctx, owner)
		p.Scopes = everything
		return p, err
	}}, func(o *management.Options) { o.Secrets = []string{"webhook"} })
	k := d.create(`{"name":"a","environment":"live"}`)
	const invalid = "invalid_request"
	for _, tt := range []struct {
		body   string
		status int
		code   string
		says   string
	}{
		{``, 400, invalid, "environment"},
		{`{"environment":"live"}`, 400, invalid, "name is empty"},
		{`[]`, 400, invalid, "not a JSON object"},
		{`null`, 400, invalid, "not a JSON object"},
		{`"x"`, 400, invalid, "not a JSON object"},
		{`{`, 400, invalid, "not JSON"},
		{`{"name":"x"`, 400, invalid, "not JSON"},
		{`{"name":"x",}`, 400, invalid, "not JSON"},
		{`{"name":"x"}{}`, 400, invalid, "follows"},
		{`{"name":"x"} x`, 400, invalid, "follows"},
		{`{"name":"x","name":"y"}`, 400, invalid, "twice"},
		{`{"NAME":"x"}`, 400, invalid, "not one that this takes"},
		{`{"owner":"rival","name":"x"}`, 400, invalid, `"owner" is not one that this takes; give no others than name, `},
		{`{"name":null}`, 400, invalid, "null"},
		{`{"name":7}`, 400, invalid, "name: a number does not fit; give a string"},
		{`{"name":"x","environment":"live","settings":{"rpm":"60"}}`, 400, invalid, "a string does not fit"},
		{`{"name":"x","environment":"live","settings":{"rpm":1.5}}`, 400, invalid, "give a whole number"},
		{`{"name":"x","environment":"live","settings":{"rpm":1e99}}`, 400, invalid, "give a whole number"},
		{`{"name":"x","environment":"live","settings":{"rpm":1,"rpm":2}}`, 400, invalid, "twice"},
		{`{"name":"x","environment":"live","settings":{"rpm":10001}}`, 400, invalid, "give 1 to 10000"},
		{`{"name":"x","environment":"live","settings":{"other":1}}`, 400, invalid, "not one of the plan's"},
		{`{"name":"x","environment":"moon"}`, 400, invalid, "environment"},
		{`{"name":"x","environment":"live","scopes":["a:read a"]}`, 400, invalid, "scope"},
		{`{"name":"x","environment":"live","scopes":["c:read"]}`, 400, "unknown_scope", "c:read"},
		{`{"name":"x","environment":"live","scopes":["b:read"]}`, 403, "scope_not_in_plan", "Enterprise"},
		{`{"name":"x","environment":"live","networks":["10.0.0.1/8"]}`, 400, invalid, "10.0.0.0/8"},
		{`{"name":"x","environment":"live","networks":"10.0.0.0/8"}`, 400, invalid, "give an array"},
		{`{"name":"x","environment":"live","expires_at":"tomorrow"}`, 400, invalid, "RFC 3339"},
		{`{"name":"x","environment":"live","expires_at":"2020-01-01T00:00:00Z"}`, 400, invalid, "not after now"},
		{`{"name":"x","environment":"live","expires_in_seconds":0}`, 400, invalid, "expires_in_seconds"},
		{`{"name":"x","environment":"live","expires_in_seconds":9223372036854775807}`, 400, invalid, "expires_in_seconds"},
		{`{"name":"x","environment":"live","expires_in_seconds":1,"expires_at":"2027-01-01T00:00:00Z"}`, 400, invalid, "give one"},
		{`{"name":"x","environment":"live","secrets":["other"]}`, 400, invalid, "secrets"},
		{`{"name":"x","environment":"live","secrets":["webhook","webhook"]}`, 400, invalid, "webhook"},
		{`{"name":"x","environment":"live","credit_cap":{}}`, 400, invalid, "amount"},
		{`{"name":"x","environment":"live","credit_cap":{"amount":5}}`, 400, invalid, "give a string"},
		{`{"name":"x","environment":"live","credit_cap":{"amount":"-5"}}`, 400, invalid, "negative"},
		{`{"name":"x","environment":"live","credit_cap":{"amount":"5","every":"hour"}}`, 400, invalid, "every"},
		{`{"name":"x","environment":"live","credit_cap":{"amount":"5","every":"day","zone":"Moon/Base"}}`, 400, invalid, "Moon/Base"},
		{`{"name":"x","environment":"live","credit_cap":{"amount":"5","soft":true}}`, 400, invalid, "not one that this takes"},
		{`{"name":"a","environment":"live"}`, 409, "name_taken", `"a"`},
		{"{\"name\":\"\xff\"}", 400, invalid, "UTF-8"},
		{`{"name":"a\u0000b","environment":"live"}`, 400, invalid, "control characters"},
		{`{"name":"` + strings.Repeat("x", 256) + `","environment":"live"}`, 400, invalid, "255"},
		{`{"name":"` + strings.Repeat("x", 1<<16) + `"}`, 413, "body_too_large", "64 KiB"},
		{`{"networks":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + `}`, 400, invalid, "too deep"},
		{`{"name":"","environment":"moon","settings":{"x":1}}`, 400, invalid, ""},
	} {
		p := d.do("POST", "", tt.body).refused(tt.status, tt.code)
		if !strings.Contains(p.Detail, tt.says) {
			t.Errorf("%.80s: %q, want %q", tt.body, p.Detail, tt.says)
		}
	}
	p := d.do("POST", "", `{"name":"\u0001","environment":"moon"}`).refused(http.StatusBadRequest, invalid)
	if len(p.Errors) != 2 {
		t.Errorf("of two faults %q are told", p.Errors)
	}
	for _, tt := range []struct{ method, path, body, code string }{
		{"PATCH", "/" + k.Key.ID, `{"expires_at":"2027-01-01T00:00:00Z"}`, "not_editable"},
		{"PATCH", "/" + k.Key.ID, `{"environment":"test"}`, invalid},
		{"PATCH", "/" + k.Key.ID, `{"settings":{"rpm":0}}`, invalid},
		{"POST", "/" + k.Key.ID + "/rotate", `{"grace_seconds":-1}`, invalid},
		{"POST", "/" + k.Key.ID + "/rotate", `{"grace_seconds":2592001}`, invalid},
		{"POST", "/" + k.Key.ID + "/revoke", `{"reason":"` + strings.Repeat("x", 501) + `"}`, invalid},
		{"POST", "/" + k.Key.ID + "/disable", `{"x":1}`, invalid},
		{"POST", "/" + k.Key.ID + "/clone", `{"name":"a"}`, "name_taken"},
		{"GET", "?limit=0", "", invalid},
		{"GET", "?limit=1001", "", invalid},
		{"GET", "?cursor=%21", "", invalid},
		{"GET", "?state=gone", "", invalid},
		{"GET", "?expired=maybe", "", invalid},
		{"GET", "?owner=rival", "", invalid},
		{"GET", "?limit=1&limit=2", "", invalid},
		{"GET", "?state=revoked;x", "", invalid},
		{"GET", "?environment=%zz", "", invalid},
		{"GET", "/events?cursor=x", "", invalid},
		{"GET", "/events?kind=%00", "", invalid},
		{"GET", "/usage?by=second", "", invalid},
		{"GET", "/usage?from=2020-01-01T00:00:00Z", "", invalid},
		{"GET", "/usage?to=2020-01-01T00:00:00Z&from=2021-01-01T00:00:00Z", "", invalid},
		{"GET", "/usage?zone=../etc/passwd", "", invalid},
		{"GET", "/usage?zone=Local", "", invalid},
		{"GET", "/usage?group=owner", "", invalid},
	} {
		a := d.do(tt.method, tt.path, tt.body)
		if a.Code != http.StatusBadRequest && a.Code != http.StatusForbidden && a.Code != http.StatusConflict {
			t.Errorf("%s: status %d", a.what, a.Code)
		}
		a.refused(a.Code, tt.code)
	}
	page, err := d.keys.List(t.Context(), apikey.Query{Owner: "acme"})
	if err != nil || len(page.Keys) != 1 || !page.Keys[0].Equal(must(d.keys.Get(t.Context(), k.Key.ID))(t)) || page.Keys[0].Version != 1 {
		t.Errorf("afterwards %+v, %v", page.Keys, err)
	}
	if d.log.Len() > 0 {
		t.Errorf("the server is not at fault: %s", d.log)
	}
}

func TestReadOnlyUnlessOpened(t *testing.T) {
	d := open(t, nil, func(o *management.Options) { o.Verbs = 0 })
	issued, err := d.keys.Create(t.Context(), apikey.Spec{Owner: "acme", Environment: "live"})
	if err != nil {
		t.Fatal(err)
	}
	id := issued.Key.ID
	d.do("GET", "", "").into(http.StatusOK, nil)
	d.do("GET", "/"+id, "").into(http.StatusOK, nil)
	a := d.do("POST", "", `{"environment":"live"}`)
	a.refused(http.StatusMethodNotAllowed, "method_not_allowed")
	if got := a.Header().Get("Allow"); got != "GET" {
		t.Errorf("Allow %q", got)
	}
	for _, verb := range []string{"disable", "enable", "rotate", "clone", "regenerate", "revoke"} {
		d.do("POST", "/"+id+"/"+verb, "").refused(http.StatusNotFound, "not_found")
	}
	d.do("DELETE", "/"+id+"?confirm="+id, "").refused(http.StatusMethodNotAllowed, "method_not_allowed")
	d.do("PUT", "/"+id+"/credit-cap", `{"amount":"5"}`).refused(http.StatusNotFound, "not_found")
	if strings.Contains(string(d.about), "revokeKey") || !strings.Contains(string(d.about), "listKeys") {
		t.Error("the description tells of what is not offered")
	}
}

func TestAViewerOnlyLooks(t *testing.T) {
	d := open(t, nil, func(o *management.Options) { o.Verbs |= management.Owners })
	k := d.create(`{"environment":"live"}`)
	as := header("X-User", "viewer")
	d.do("GET", "/"+k.Key.ID, "", as).into(http.StatusOK, nil)
	for path, method := range map[string]string{
		"": "POST", "/" + k.Key.ID: "PATCH", "/" + k.Key.ID + "?confirm=" + k.Key.ID: "DELETE", "/" + k.Key.ID + "/revoke": "POST",
		"/" + k.Key.ID + "/credit-cap": "PUT", "/owner/suspend": "POST",
	} {
		d.do(method, path, "{}", as).refused(http.StatusForbidden, "forbidden")
	}
}

// A page of another origin makes the browser of somebody who is signed in send
// what a form can send, and what a script can without asking.
func TestPagesOfOtherOriginsChangeNothing(t *testing.T) {
	d := open(t, nil, nil)
	k := d.create(`{"environment":"live"}`)
	path := "/" + k.Key.ID + "/revoke"
	form := header("Content-Type", "text/plain")
	d.do("POST", path, `{}`, form).refused(http.StatusUnsupportedMediaType, "unsupported_media_type")
	d.do("POST", path, ``, func(r *http.Request) { r.Header.Del("Content-Type") }).refused(http.StatusUnsupportedMediaType, "unsupported_media_type")
	d.do("POST", path, ``, header("Content-Type", "application/json", "application/json")).refused(http.StatusUnsupportedMediaType, "unsupported_media_type")
	for _, from := range []func(*http.Request){
		header("Sec-Fetch-Site", "cross-site"), header("Sec-Fetch-Site", "same-site"), header("Origin", "https://evil.example"), header("Origin", "null"),
	} {
		d.do("POST", path, `{}`, from).refused(http.StatusForbidden, "cross_origin")
		d.do("DELETE", "/"+k.Key.ID+"?confirm="+k.Key.ID, "", from).refused(http.StatusForbidden, "cross_origin")
		d.do("GET", "", "", from).into(http.StatusOK, nil)
	}
	d.do("POST", path, `{}`, header("Sec-Fetch-Site", "same-origin")).into(http.StatusOK, nil)
}

func TestNewTellsEveryFault(t *testing.T) {
	_, err := management.New(nil, &management.Options{
		Prefix: "keys/", Verbs: 1 << 15, Editable: 1 << 7, Grace: 2, MaxGrace: 1, RotateEvery: -1,
	})
	for _, says := range []string{"keys is nil", "Authenticate is nil", "prefix", "Verbs", "Editable", "Grace", "RotateEvery"} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q is missing in %v", says, err)
		}
	}
	if errors.CodeOf(err) != errors.Invalid {
		t.Errorf("code %v", errors.CodeOf(err))
	}
	if _, err := management.New(nil, nil); err == nil {
		t.Error("nil options are accepted, though nobody authenticates")
	}
	bare := must(apikey.NewService(apikey.NewMemoryStore(), must(apikey.NewFormat("kt", nil))(t), nil))(t)
	_, err = management.New(bare, &management.Options{Authenticate: account, Secrets: []string{"a", "a"}})
	for _, says := range []string{"SealingKeys", `"a" for the second time`} { // and not only to whoever makes the first key
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q is missing in %v", says, err)
		}
	}
	for _, prefix := range []string{"x", "/", "/a/", "/{key}", "/{a}/{a}", "/{a...}", "/a//b", "/a b", "/..", "/{}"} {
		_, err := management.New(bare, &management.Options{Authenticate: account, Prefix: prefix})
		if errors.CodeOf(err) != errors.Invalid {
			t.Errorf("prefix %q: %v", prefix, err)
		}
	}
}

func TestMountedAnywhere(t *testing.T) {
	keys := open(t, nil, nil).keys
	if _, err := keys.Create(t.Context(), apikey.Spec{Owner: "a/b", Name: "mine", Environment: "live"}); err != nil {
		t.Fatal(err)
	}
	whose := func(r *http.Request) (management.Caller, error) {
		return management.Caller{Owner: r.PathValue("account")}, nil
	}
	mounted := func(prefix string, verbs management.Verbs) http.Handler {
		return must(management.New(keys, &management.Options{Prefix: prefix, Authenticate: whose, Verbs: verbs, Log: slog.New(slog.DiscardHandler)}))(t)
	}
	serve := http.NewServeMux()
	serve.Handle("/home/{account}/api-keys/", mounted("/home/{account}/api-keys", 0))
	stripped := http.NewServeMux()
	stripped.Handle("/x/{account}/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.StripPrefix("/x/"+r.PathValue("account"), mounted("", 0)).ServeHTTP(w, r)
	}))
	for path, h := range map[string]http.Handler{
		"/home/a%2Fb/api-keys/": serve, "/home/a%2Fb/api-keys": mounted("/home/{account}/api-keys", 0),
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "mine") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	if _, err := keys.Create(t.Context(), apikey.Spec{Owner: "acme", Name: "ours", Environment: "live"}); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	stripped.ServeHTTP(w, httptest.NewRequest("GET", "/x/acme/", nil))
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "ours") {
		t.Errorf("stripped: %d %s", w.Code, w.Body)
	}
	w = httptest.NewRecorder()
	mounted("/home/{account}/api-keys", 0).ServeHTTP(w, httptest.NewRequest("GET", "/elsewhere/acme/api-keys", nil))
	if w.Code == http.StatusOK {
		t.Errorf("elsewhere: %d %s", w.Code, w.Body)
	}
}
