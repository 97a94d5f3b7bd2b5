package management_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware/management"
	"github.com/keytoll/keytoll/scopes"
)

// A clock that tests move.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// A desk is a management handler on memory, and what tests look at.
type desk struct {
	testing.TB
	clock  *clock
	keys   *apikey.Service
	ledger *credits.Ledger
	down   atomic.Bool // nobody can write to the ledger
	log    *bytes.Buffer
	about  []byte // OpenAPI
	// between is run before the next change of a key, once.
	between atomic.Pointer[func()]
	http.Handler
}

// A keyStore lets something happen just before its next change.
type keyStore struct {
	apikey.Store
	desk *desk
}

func (s keyStore) Apply(ctx context.Context, c apikey.Change) error {
	if between := s.desk.between.Swap(nil); between != nil {
		(*between)()
	}
	return s.Store.Apply(ctx, c)
}

// A creditStore fails its writes while the desk says so.
type creditStore struct {
	credits.Store
	desk *desk
}

func (s creditStore) Update(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	if s.desk.down.Load() {
		return errors.New("dial tcp 10.0.0.7:5432: connection refused")
	}
	return s.Store.Update(ctx, needs, fn)
}

const prefix = "/home/{account}/api-keys"

// open returns a desk; edit, unless nil, changes its options.
func open(tb testing.TB, service *apikey.Options, edit func(*management.Options)) *desk {
	tb.Helper()
	d := &desk{TB: tb, clock: &clock{at: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}, log: &bytes.Buffer{}}
	format := must(apikey.NewFormat("kt", &apikey.FormatOptions{Environments: []string{"live", "test"}}))(tb)
	if service == nil {
		service = &apikey.Options{}
	}
	service.Now = d.clock.now
	service.SealingKeys = []apikey.SealingKey{{Version: 1, Secret: bytes.Repeat([]byte{1}, 32)}}
	d.keys = must(apikey.NewService(keyStore{apikey.NewMemoryStore(), d}, format, service))(tb)
	store := creditStore{credits.NewMemoryStore(&credits.MemoryOptions{Now: d.clock.now}), d}
	d.ledger = must(credits.NewLedger(store, nil))(tb)
	o := &management.Options{
		Authenticate: account, Prefix: prefix, Verbs: management.Everyday, Now: d.clock.now, Credits: d.ledger,
		Log: slog.New(slog.NewTextHandler(d.log, nil)),
	}
	if edit != nil {
		edit(o)
	}
	handler := must(management.New(d.keys, o))(tb)
	d.about = handler.OpenAPI()
	mux := http.NewServeMux()
	mux.Handle(prefix+"/", handler)
	mux.Handle(prefix, handler)
	d.Handler = mux
	return d
}

// account lets whoever says so manage the account of the path.
func account(r *http.Request) (management.Caller, error) {
	user := r.Header.Get("X-User")
	switch {
	case user == "":
		return management.Caller{}, errors.New("no session: cookie s3cr3t")
	case user == "nobody":
		return management.Caller{}, nil
	case user == "banned":
		return management.Caller{}, &errors.Error{Code: errors.Forbidden, Msg: "the user is banned"}
	case user == "down":
		return management.Caller{}, &errors.Error{Code: errors.Unavailable, Err: errors.New("sessions are down")}
	case user != r.PathValue("account") && user != "viewer":
		return management.Caller{}, &errors.Error{Code: errors.NotFound, Msg: "there is no such account"}
	}
	c := management.Caller{Owner: r.PathValue("account"), Actor: apikey.Actor{ID: user}}
	if user != "viewer" {
		c.Verbs = management.Everyday | management.Owners
	}
	return c, nil
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

// An answer is what the handler said.
type answer struct {
	*httptest.ResponseRecorder
	desk *desk
	what string
}

// do sends a request of the account acme.
func (d *desk) do(method, path, body string, edit ...func(*http.Request)) *answer {
	d.Helper()
	r := httptest.NewRequest(method, "/home/acme/api-keys"+path, strings.NewReader(body))
	r.Header.Set("X-User", "acme")
	if method != http.MethodGet && method != http.MethodDelete {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, e := range edit {
		e(r)
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return &answer{w, d, method + " " + path + " " + body}
}

func header(name string, values ...string) func(*http.Request) {
	return func(r *http.Request) { r.Header[http.CanonicalHeaderKey(name)] = values }
}

// into checks the status and reads the body.
func (a *answer) into(status int, v any) {
	a.desk.Helper()
	if a.Code != status {
		a.desk.Fatalf("%s: status %d, body %s; want %d", a.what, a.Code, a.Body, status)
	}
	if got := a.Header().Get("Cache-Control"); got != "no-store" {
		a.desk.Errorf("%s: Cache-Control %q", a.what, got)
	}
	if v != nil {
		if err := json.Unmarshal(a.Body.Bytes(), v); err != nil {
			a.desk.Fatalf("%s: body %s: %v", a.what, a.Body, err)
		}
	}
}

type problem struct {
	Status        int
	Title, Detail string
	Code          string
	RequestID     string `json:"request_id"`
	Errors        []string
	Limit         int
	Plan          string
	Upgrade       string
}

// refused checks that the answer is a well-formed refusal of that code.
func (a *answer) refused(status int, code string) problem {
	a.desk.Helper()
	var p problem
	a.into(status, &p)
	if p.Code != code || p.Status != status || p.Title != http.StatusText(status) || p.Detail == "" {
		a.desk.Errorf("%s: %s; want code %q", a.what, a.Body, code)
	}
	if got := a.Header().Get("Content-Type"); got != "application/problem+json" {
		a.desk.Errorf("%s: Content-Type %q", a.what, got)
	}
	if id := a.Header().Get("X-Request-Id"); id == "" || id != p.RequestID {
		a.desk.Errorf("%s: X-Request-Id %q, request_id %q", a.what, id, p.RequestID)
	}
	return p
}

type key struct {
	ID, Name, Owner, Environment, Start, Last4, Status string
	Scopes, Networks                                   []string
	Settings                                           map[string]int64
	CreatedAt                                          time.Time `json:"created_at"`
	SecretAt                                           time.Time `json:"secret_at"`
	ExpiresAt                                          time.Time `json:"expires_at"`
	RotationDue                                        bool      `json:"rotation_due"`
	RevokedReason                                      string    `json:"revoked_reason"`
	Predecessor, Successor, Meter                      string
	Version                                            int64
}

type issued struct {
	Key      key
	Secret   string
	Secrets  []struct{ Name, Secret string }
	Replayed bool
	Previous struct {
		ID        string
		ExpiresAt time.Time `json:"expires_at"`
	}
}

// create makes a key of acme.
func (d *desk) create(body string) issued {
	d.Helper()
	var k issued
	d.do("POST", "", body).into(http.StatusCreated, &k)
	return k
}

// plan is a policy of five keys.
func plan(context.Context, string) (apikey.Policy, error) {
	everything, err := scopes.Parse("*")
	return apikey.Policy{
		Plan: "Business", MayCreate: true, MaxKeys: 5, RequireName: true, UniqueNames: true,
		Scopes:      everything,
		Settings:    []apikey.Setting{{Name: "rpd", Default: 1000, Min: 1, Max: 100_000}, {Name: "rpm", Default: 60, Min: 1, Max: 10_000}},
		UpgradeHint: "Enterprise has no such limit: https://example.com/enterprise",
	}, err
}
