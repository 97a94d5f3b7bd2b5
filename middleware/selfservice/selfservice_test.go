package selfservice_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/middlewaretest"
	"github.com/keytoll/keytoll/middleware/selfservice"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/scopes"
)

// A desk is the handlers behind a gate, beside an operation that costs something.
type desk struct {
	*middlewaretest.Fixture
	testing.TB
	image http.Handler
	http.Handler
}

func open(tb testing.TB, edit func(*selfservice.Options)) *desk {
	tb.Helper()
	d := &desk{TB: tb, Fixture: middlewaretest.New(tb, &middlewaretest.Options{Keys: apikey.Options{
		SealingKeys: []apikey.SealingKey{{Version: 1, Secret: []byte(strings.Repeat("k", 32))}},
	}})}
	minute := ratelimit.Limit{Name: "minute", Count: 60, Period: time.Minute, Unit: "images"}
	d.image = d.Gate.Handler(middleware.Operation{
		Name: "image", Scopes: scopes.All("image:generate"), Price: middleware.Fixed(5 * credits.Credit),
		Limits: []middleware.Limit{
			{Limit: minute},
			{Limit: ratelimit.Limit{Name: "day", Algorithm: ratelimit.FixedWindow, Count: 1000, Period: 24 * time.Hour}, Subject: middleware.PerOwner},
			{Limit: ratelimit.Limit{Name: "at-once", Algorithm: ratelimit.Concurrency, Count: 3, Period: time.Minute}},
			{Limit: ratelimit.Limit{Name: "everybody", Count: 1e6, Period: time.Second}, Subject: middleware.PerOperation},
			{Limit: ratelimit.Limit{Name: "trial", Count: 1, Period: time.Hour, Shadow: true}},
		},
	})(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	d.Gate.Handler(middleware.Operation{ // shares a limit
		Name: "upscale", Scopes: scopes.All("image:generate"), Price: middleware.Free(), Limits: []middleware.Limit{{Limit: minute}},
	})
	d.Gate.Handler(middleware.Operation{
		Name: "audio", Scopes: scopes.All("audio:generate"), Price: middleware.Free(),
		Limits: []middleware.Limit{{Limit: ratelimit.Limit{Name: "audio", Count: 1, Period: time.Minute}}},
	})
	o := &selfservice.Options{Usage: scopes.None(), Rotate: scopes.None(), Now: d.Clock.Now}
	if edit != nil {
		edit(o)
	}
	h, err := selfservice.New(d.Keys, d.Gate, o)
	d.check(err)
	mux := d.Gate.Mux()
	for _, rt := range h.Routes("/v1/key") {
		mux.Handle(rt.Pattern, rt.Operation, rt.Handler)
	}
	mux.Public("GET /v1/key/openapi.json", h.Description("/v1/key"))
	d.Handler = mux
	return d
}

func (d *desk) check(err error) {
	d.TB.Helper()
	if err != nil {
		d.TB.Fatal(err)
	}
}

// key issues a key of acme with these scopes.
func (d *desk) key(list string) apikey.Issued {
	set, err := scopes.Parse(list)
	d.check(err)
	return d.Issue(apikey.Spec{Owner: "acme", Environment: "live", Scopes: set})
}

// do sends a request with a key.
func (d *desk) do(method, path, body string, k apikey.Issued) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+k.Secret.Reveal())
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w
}

// read checks the status of an answer and reads it.
func (d *desk) read(w *httptest.ResponseRecorder, status int, v any) {
	d.TB.Helper()
	if w.Code != status {
		d.TB.Fatalf("status %d, body %s; want %d", w.Code, w.Body, status)
	}
	if got := w.Header().Get("Cache-Control"); got != "no-store" {
		d.TB.Errorf("Cache-Control %q", got)
	}
	if v != nil {
		d.check(json.Unmarshal(w.Body.Bytes(), v))
	}
}

func (d *desk) refused(w *httptest.ResponseRecorder, status int, code string) {
	d.TB.Helper()
	var p struct {
		Code      string
		Status    int
		RequestID string `json:"request_id"`
	}
	d.read(w, status, &p)
	if p.Code != code || p.Status != status || p.RequestID == "" || p.RequestID != w.Header().Get("X-Request-Id") {
		d.TB.Errorf("refused with %s; want %q", w.Body, code)
	}
}

// use makes an image.
func (d *desk) use(k apikey.Issued) {
	d.TB.Helper()
	r := httptest.NewRequest("POST", "/v1/images", nil)
	r.Header.Set("Authorization", "Bearer "+k.Secret.Reveal())
	w := httptest.NewRecorder()
	d.image.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		d.TB.Fatalf("an image: %d %s", w.Code, w.Body)
	}
}

type view struct {
	ID, Name, Owner, Status, Start, Last4, Meter string
	Scopes                                       []string
	Settings                                     map[string]int64
	RotationDue                                  bool `json:"rotation_due"`
	Credits                                      *struct{ Available, Held string }
	Budgets                                      []struct {
		Amount, Used, Remaining, Every string
		ResetsAt                       time.Time `json:"resets_at"`
	}
	Limits []struct {
		Name, Subject, Unit string
		Quota, Remaining    int64
		Window              float64 `json:"window_seconds"`
		Reset               float64 `json:"reset_seconds"`
	}
}

func TestAKeySeesItselfAndWhatItHasLeft(t *testing.T) {
	d := open(t, func(o *selfservice.Options) { o.RotateEvery = 24 * time.Hour })
	k := d.key("image:generate")
	for _, b := range []credits.Budget{
		{ID: "cap", Key: k.Key.Meter, Amount: 20 * credits.Credit, Every: credits.Day},
		{ID: "all", Amount: 900 * credits.Credit, Every: credits.Month},
		{ID: "other", Key: "key_other", Amount: 7 * credits.Credit},
	} {
		b.Account = "acme"
		_, err := d.Ledger.SetBudget(t.Context(), b)
		d.check(err)
	}
	d.use(k)
	var v view
	d.read(d.do("GET", "/v1/key", "", k), http.StatusOK, &v)
	if v.ID != k.Key.ID || v.Owner != "acme" || v.Status != "active" || !slices.Equal(v.Scopes, []string{"image:generate"}) || v.RotationDue {
		t.Errorf("the key is %+v", v)
	}
	if v.Credits == nil || v.Credits.Available != "995" || v.Credits.Held != "0" {
		t.Errorf("credits %+v", v.Credits)
	}
	if len(v.Budgets) != 2 || v.Budgets[0].Remaining != "895" || v.Budgets[1].Remaining != "15" || v.Budgets[1].Used != "5" || v.Budgets[1].ResetsAt.IsZero() {
		t.Errorf("budgets %+v", v.Budgets)
	}
	got := make(map[string]string)
	for _, l := range v.Limits {
		if _, twice := got[l.Name]; twice {
			t.Errorf("%s is there twice", l.Name)
		}
		got[l.Name] = fmt.Sprint(l.Subject, " ", l.Remaining, "/", l.Quota, " ", l.Unit, " in ", l.Window, " resets ", l.Reset)
	}
	want := map[string]string{
		"minute": "key 59/60 images in 60 resets 1", "day": "owner 999/1000 requests in 86400 resets 43200",
		"at-once": "key 3/3 requests in 0 resets 0", "selfservice": "key 59/60 requests in 60 resets 1",
	}
	for name, text := range want {
		if got[name] != text {
			t.Errorf("limit %s: %q, want %q", name, got[name], text)
		}
	}
	if len(got) != len(want) {
		t.Errorf("limits %v: those of others, in shadow, or of operations that the key may not call", got)
	}
	d.Advance(23 * time.Hour)
	d.read(d.do("GET", "/v1/key", "", k), http.StatusOK, &v)
	if v.RotationDue {
		t.Error("due too early")
	}
	d.Advance(time.Hour)
	d.read(d.do("GET", "/v1/key", "", k), http.StatusOK, &v)
	if !v.RotationDue {
		t.Error("not due in time")
	}
}

// Looking costs nothing and is possible when all that may be used is used up.
func TestLookingCostsNothing(t *testing.T) {
	d := open(t, nil)
	k := d.key("image:generate")
	for range 60 {
		d.use(k)
	}
	var first, second view
	d.read(d.do("GET", "/v1/key", "", k), http.StatusOK, &first)
	d.read(d.do("GET", "/v1/key", "", k), http.StatusOK, &second)
	if first.Credits.Available != "700" || second.Credits.Available != "700" {
		t.Errorf("credits %v and %v", first.Credits, second.Credits)
	}
	for i, l := range first.Limits {
		if l.Name == "minute" && (l.Remaining != 0 || second.Limits[i].Remaining != 0) {
			t.Errorf("left %+v, %+v", l, second.Limits[i])
		}
	}
}

func TestWhatTheAccountHasNeedsAScope(t *testing.T) {
	d := open(t, func(o *selfservice.Options) { o.Account = scopes.All("credits:read") })
	k, rich := d.key("image:generate"), d.key("credits:read")
	for _, b := range []credits.Budget{{ID: "cap", Key: k.Key.Meter, Amount: credits.Credit}, {ID: "all", Amount: credits.Credit}} {
		b.Account = "acme"
		_, err := d.Ledger.SetBudget(t.Context(), b)
		d.check(err)
	}
	var v view
	d.read(d.do("GET", "/v1/key", "", k), http.StatusOK, &v)
	if v.Credits != nil || len(v.Budgets) != 1 {
		t.Errorf("without the scope: %+v, %+v", v.Credits, v.Budgets)
	}
	d.read(d.do("GET", "/v1/key", "", rich), http.StatusOK, &v)
	if v.Credits == nil || len(v.Budgets) != 1 || v.Budgets[0].Every != "total" {
		t.Errorf("with the scope: %+v, %+v", v.Credits, v.Budgets)
	}
}

func TestUsageIsOfThisKeyAndItsPredecessors(t *testing.T) {
	d := open(t, nil)
	k, other := d.key("image:generate"), d.key("image:generate")
	d.use(k)
	d.use(other)
	d.use(other)
	d.Advance(time.Hour)
	var next struct{ Key string }
	d.read(d.do("POST", "/v1/key/rotate", "", k), http.StatusOK, &next)
	young := apikey.Issued{Secret: apikey.NewSecret(next.Key)}
	d.use(young)
	d.Advance(time.Minute)
	var u struct {
		By, Zone string
		From, To time.Time
		Rows     []struct {
			Start, End            time.Time
			Key, Operation, Spent string
			Calls                 int64
		}
	}
	d.read(d.do("GET", "/v1/key/usage?by=hour&group=operation&zone=Asia/Kolkata", "", young), http.StatusOK, &u)
	if len(u.Rows) != 2 || u.Zone != "Asia/Kolkata" || u.By != "hour" {
		t.Fatalf("usage %+v", u)
	}
	for _, r := range u.Rows {
		if r.Key != "" || r.Operation != "image" || r.Spent != "5" || r.Calls != 1 || r.Start.Minute() != 30 || r.End.Sub(r.Start) != time.Hour {
			t.Errorf("row %+v", r)
		}
	}
	for _, query := range []string{"?by=second", "?by=hour&from=2020-01-01T00:00:00Z", "?key=" + other.Key.Meter, "?zone=Nowhere", "?from=x", "?by=day&by=hour"} {
		d.refused(d.do("GET", "/v1/key/usage"+query, "", young), http.StatusBadRequest, "invalid_request")
	}
}

func TestWhatIsNotStatedIsNotServed(t *testing.T) {
	d := open(t, func(o *selfservice.Options) { o.Usage, o.Rotate = scopes.Requirement{}, scopes.Requirement{} })
	k := d.key("image:generate")
	for path, method := range map[string]string{"/v1/key/usage": "GET", "/v1/key/rotate": "POST"} {
		if w := d.do(method, path, "", k); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	w := d.do("GET", "/v1/key/openapi.json", "", apikey.Issued{})
	if w.Code != http.StatusOK || strings.Contains(w.Body.String(), "rotateKey") || !strings.Contains(w.Body.String(), "viewKey") {
		t.Errorf("described: %d %s", w.Code, w.Body)
	}
}

func TestEachRouteAsksForItsScope(t *testing.T) {
	d := open(t, func(o *selfservice.Options) {
		o.View, o.Usage = scopes.All("key:view"), scopes.All("usage:read")
		o.Rotate, o.Revoke = scopes.All("key:rotate"), scopes.All("key:revoke")
	})
	k := d.key("image:generate")
	for _, r := range [][2]string{{"GET", ""}, {"GET", "/usage"}, {"POST", "/rotate"}, {"DELETE", ""}} {
		d.refused(d.do(r[0], "/v1/key"+r[1], "", k), http.StatusForbidden, "insufficient_scope")
	}
	if got, err := d.Keys.Get(t.Context(), k.Key.ID); err != nil || got.Version != 1 {
		t.Errorf("the key is %+v, %v", got, err)
	}
}

func TestRotationIsOnceAndWithinBounds(t *testing.T) {
	d := open(t, func(o *selfservice.Options) { o.Grace, o.MaxGrace = time.Hour, 2*time.Hour })
	k := d.Issue(apikey.Spec{Owner: "acme", Environment: "live", Secrets: []string{"webhook"}})
	for _, body := range []string{`{"grace_seconds":7201}`, `{"grace_seconds":-1}`, `{"grace_seconds":"1"}`, `{"grace":1}`, `[]`, `{} {}`, `{"grace_seconds":null}`} {
		d.refused(d.do("POST", "/v1/key/rotate", body, k), http.StatusBadRequest, "invalid_request")
	}
	var won, lost atomic.Int64
	var next struct {
		ID, Key  string
		Secrets  []struct{ Name, Secret string }
		Previous struct {
			ID        string
			ExpiresAt time.Time `json:"expires_at"`
		}
	}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			switch w := d.do("POST", "/v1/key/rotate", "", k); w.Code {
			case http.StatusOK:
				won.Add(1)
				d.read(w, http.StatusOK, &next)
			default:
				lost.Add(1)
				d.refused(w, http.StatusConflict, "already_rotated")
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || lost.Load() != 15 {
		t.Fatalf("%d won and %d lost", won.Load(), lost.Load())
	}
	if next.Previous.ID != k.Key.ID || !next.Previous.ExpiresAt.Equal(d.Clock.Now().Add(time.Hour)) || len(next.Secrets) != 1 || !strings.HasPrefix(next.Secrets[0].Secret, "whsec_") {
		t.Errorf("rotated to %+v", next)
	}
	young := apikey.Issued{Secret: apikey.NewSecret(next.Key)}
	d.read(d.do("GET", "/v1/key", "", k), http.StatusOK, nil)
	d.Advance(time.Hour)
	d.refused(d.do("GET", "/v1/key", "", k), http.StatusUnauthorized, "expired_key")
	d.read(d.do("GET", "/v1/key", "", young), http.StatusOK, nil)
	page, err := d.Keys.Events(t.Context(), apikey.EventQuery{Owner: "acme", Key: k.Key.ID, Kind: apikey.EventRotated})
	if err != nil || len(page.Events) != 1 || page.Events[0].Actor.ID != k.Key.ID || !page.Events[0].Actor.IP.IsValid() {
		t.Errorf("noted %+v, %v", page.Events, err)
	}
}

func TestAKeyEndsItselfAndNoOther(t *testing.T) {
	d := open(t, nil)
	k, other := d.key(""), d.key("")
	if w := d.do("DELETE", "/v1/key", "", k); w.Code != http.StatusNoContent {
		t.Fatalf("revoked: %d %s", w.Code, w.Body)
	}
	d.refused(d.do("GET", "/v1/key", "", k), http.StatusUnauthorized, "revoked_key")
	d.read(d.do("GET", "/v1/key", "", other), http.StatusOK, nil)
}

// No answer but that to a rotation holds a key's text, and nothing tells of another
// key of the account.
func TestNoAnswerTellsASecretOrAnotherKey(t *testing.T) {
	d := open(t, nil)
	other := d.Issue(apikey.Spec{Owner: "acme", Name: "the other one", Environment: "live"})
	k := d.key("image:generate")
	d.use(k)
	var next struct{ Key string }
	rotated := d.do("POST", "/v1/key/rotate", "", k)
	d.read(rotated, http.StatusOK, &next)
	young := apikey.Issued{Secret: apikey.NewSecret(next.Key)}
	secrets := []string{k.Secret.Reveal(), other.Secret.Reveal()}
	var outputs []string
	for _, holder := range []apikey.Issued{k, young} {
		for _, r := range [][3]string{
			{"GET", "", ""}, {"GET", "/usage", ""}, {"GET", "/usage?by=" + next.Key, ""}, {"GET", "/openapi.json", ""},
			{"POST", "/rotate", `{"grace_seconds":"` + next.Key + `"}`}, {"POST", "/rotate", next.Key}, {"GET", "?" + next.Key + "=1", ""}, {"GET", "/usage?zone=" + next.Key, ""},
		} {
			w := d.do(r[0], "/v1/key"+r[1], r[2], holder)
			outputs = append(outputs, fmt.Sprint(w.Header(), w.Body))
		}
	}
	outputs = append(outputs, fmt.Sprint(d.do("POST", "/v1/key/rotate", "", k).Body, d.do("DELETE", "/v1/key", "", young).Body))
	for _, text := range outputs {
		for _, secret := range append(secrets, next.Key, other.Key.ID, other.Key.Name, other.Key.Last4) {
			if strings.Contains(text, secret) {
				t.Errorf("%s stands in %s", secret, text)
			}
		}
	}
	for _, secret := range secrets {
		if strings.Contains(rotated.Body.String(), secret) {
			t.Errorf("a rotation shows the old key: %s", rotated.Body)
		}
	}
}

func TestNewTellsEveryFault(t *testing.T) {
	_, err := selfservice.New(nil, nil, &selfservice.Options{Grace: -1, RotateEvery: -1, Routes: []*middleware.Route{nil}, Account: scopes.All("*")})
	for _, says := range []string{"keys is nil", "gate is nil", "Grace", "RotateEvery", "Routes", "*"} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q is missing in %v", says, err)
		}
	}
	d := open(t, nil)
	_, err = selfservice.New(d.Keys, d.Gate, &selfservice.Options{View: scopes.All("*"), Revoke: scopes.All("a b")})
	if errors.CodeOf(err) != errors.Invalid || !strings.Contains(err.Error(), "key.view") || !strings.Contains(err.Error(), "key.revoke") {
		t.Errorf("wrong scopes: %v", err)
	}
}
