package secretscan_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware/secretscan"
)

// A store fails as it is told.
type store struct {
	*apikey.MemoryStore
	mu   sync.Mutex
	down func(verb string) error
}

func (s *store) fails(verb string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down == nil {
		return nil
	}
	return s.down(verb)
}

func (s *store) set(down func(verb string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

func (s *store) Apply(ctx context.Context, c apikey.Change) error {
	if err := s.fails("Apply"); err != nil {
		return err
	}
	return s.MemoryStore.Apply(ctx, c)
}

func (s *store) ByHandle(ctx context.Context, handle string) (apikey.Record, error) {
	if err := s.fails("ByHandle"); err != nil {
		return apikey.Record{}, err
	}
	return s.MemoryStore.ByHandle(ctx, handle)
}

// A scene is a service with an intake in front of it, and a partner who signs.
type scene struct {
	t       testing.TB
	store   *store
	service *apikey.Service
	key     *ecdsa.PrivateKey
	intake  *secretscan.Intake
	reports chan secretscan.Report
}

const keyName = "bcb53661c06b4728e59d897fb6165d5c9cda0fd9cdf9d09ead458168deb7518c"

func newKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newScene(t testing.TB, policy secretscan.Policy, o *secretscan.Options) *scene {
	t.Helper()
	s := &scene{t: t, store: &store{MemoryStore: apikey.NewMemoryStore()}, key: newKey(t, elliptic.P256()), reports: make(chan secretscan.Report, 1000)}
	format, err := apikey.NewFormat("sk", nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.service, err = apikey.NewService(s.store, format, nil); err != nil {
		t.Fatal(err)
	}
	var own secretscan.Options
	if o != nil {
		own = *o
	}
	own.Handled = func(_ context.Context, r secretscan.Report) { s.reports <- r }
	if policy == nil {
		policy = always(apikey.LeakRevoke)
	}
	if s.intake, err = secretscan.NewIntake(s.service, secretscan.StaticKeys{keyName: &s.key.PublicKey}, policy, &own); err != nil {
		t.Fatal(err)
	}
	return s
}

func always(a apikey.LeakAction) secretscan.Policy {
	return func(apikey.Key) apikey.LeakDecision {
		return apikey.LeakDecision{Action: a, Within: time.Hour}
	}
}

func (s *scene) create() apikey.Issued {
	s.t.Helper()
	issued, err := s.service.Create(s.t.Context(), apikey.Spec{Owner: "acct_1"})
	if err != nil {
		s.t.Fatal(err)
	}
	return issued
}

func (s *scene) state(id string) apikey.State {
	s.t.Helper()
	k, err := s.service.Get(s.t.Context(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	return k.State
}

// events returns how many events a key has.
func (s *scene) events(id string) int {
	s.t.Helper()
	page, err := s.service.Events(s.t.Context(), apikey.EventQuery{AnyOwner: true, Key: id, Limit: 1000})
	if err != nil {
		s.t.Fatal(err)
	}
	return len(page.Events)
}

func sign(t testing.TB, key *ecdsa.PrivateKey, body []byte) string {
	t.Helper()
	sum := sha256.Sum256(body)
	der, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

// request returns a signed request.
func (s *scene) request(body string) *http.Request {
	s.t.Helper()
	r := httptest.NewRequestWithContext(s.t.Context(), http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("Github-Public-Key-Identifier", keyName)
	r.Header.Set("Github-Public-Key-Signature", sign(s.t, s.key, []byte(body)))
	return r
}

func (s *scene) serve(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.intake.ServeHTTP(w, r)
	return w
}

// send delivers items and returns the answer.
func (s *scene) send(items ...any) *httptest.ResponseRecorder {
	s.t.Helper()
	body, err := json.Marshal(items)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.serve(s.request(string(body)))
}

func item(token, url string) map[string]any {
	return map[string]any{"token": token, "type": "acme_api_token", "url": url, "source": "Content"}
}

// labels returns the answer's labels by hash.
func labels(t testing.TB, w *httptest.ResponseRecorder) map[string]string {
	t.Helper()
	var answers []struct {
		Hash  string `json:"token_hash"`
		Raw   string `json:"token_raw"`
		Type  string `json:"token_type"`
		Label string `json:"label"`
	}
	d := json.NewDecoder(bytes.NewReader(w.Body.Bytes()))
	d.DisallowUnknownFields()
	if err := d.Decode(&answers); err != nil || w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("the answer is %d %s, %v", w.Code, w.Body, err)
	}
	all := map[string]string{}
	for _, a := range answers {
		all[a.Hash+a.Raw] = a.Type + " " + a.Label
	}
	return all
}

func hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

func TestReportDoesWhatThePolicySays(t *testing.T) {
	for action, want := range map[apikey.LeakAction]apikey.State{
		apikey.LeakNote: apikey.StateActive, apikey.LeakExpire: apikey.StateActive,
		apikey.LeakDisable: apikey.StateDisabled, apikey.LeakRevoke: apikey.StateRevoked,
	} {
		t.Run(string(action), func(t *testing.T) {
			var told []secretscan.Notice
			s := newScene(t, always(action), &secretscan.Options{Notify: func(_ context.Context, n secretscan.Notice) { told = append(told, n) }})
			issued := s.create()
			const url = "https://github.com/octocat/Hello-World/blob/123/foo/bar.txt"
			got := labels(t, s.send(item(issued.Secret.Reveal(), url)))
			if got[hash(issued.Secret.Reveal())] != "acme_api_token true_positive" || len(got) != 1 {
				t.Errorf("answer %v", got)
			}
			key, err := s.service.Get(t.Context(), issued.Key.ID)
			if err != nil || key.State != want || key.ExpiresAt.IsZero() == (action == apikey.LeakExpire) {
				t.Errorf("the key is %+v, %v; want %v", key, err, want)
			}
			page, err := s.service.Events(t.Context(), apikey.EventQuery{Owner: "acct_1", Kind: apikey.EventLeaked})
			if err != nil || len(page.Events) != 1 || page.Events[0].Note != "github/content "+url || page.Events[0].Actor.ID != "github" {
				t.Errorf("events %+v, %v", page.Events, err)
			}
			if len(told) != 1 || !told[0].Key.Equal(key) || told[0].Decision.Action != action || told[0].URL != url || told[0].Source != "github/content" || told[0].Type != "acme_api_token" {
				t.Errorf("told %+v", told)
			}
			if r := <-s.reports; r != (secretscan.Report{Status: 200, Items: 1, True: 1, First: 1}) {
				t.Errorf("report %+v", r)
			}
		})
	}
}

// A bad item must not stop the batch: one that could not be read used to cost
// all others.
func TestOneBadItemStopsNoOther(t *testing.T) {
	s := newScene(t, nil, nil)
	good, disabled, deleted := s.create(), s.create(), s.create()
	if _, err := s.service.Disable(t.Context(), disabled.Key.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.service.Delete(t.Context(), deleted.Key.ID); err != nil {
		t.Fatal(err)
	}
	unknown, err := s.service.Format().Generate("", nil)
	if err != nil {
		t.Fatal(err)
	}
	got := labels(t, s.send(
		nil, 7, "text", []any{}, map[string]any{}, map[string]any{"token": 7}, map[string]any{"token": nil}, map[string]any{"token": []any{}, "url": "u"},
		item("sk_not_a_key", ""), item(unknown.Reveal(), "u"), item(deleted.Secret.Reveal(), "u"),
		item(disabled.Secret.Reveal(), "u"), item(strings.Repeat("x", 100000), "u"),
		map[string]any{"token": good.Secret.Reveal(), "type": "t\n", "url": strings.Repeat("u", 5000), "source": "Not a source", "new_member": []int{1}},
	))
	want := map[string]string{
		hash("sk_not_a_key"): "acme_api_token false_positive", hash(unknown.Reveal()): "acme_api_token false_positive",
		hash(disabled.Secret.Reveal()): "acme_api_token true_positive", hash(strings.Repeat("x", 100000)): "acme_api_token false_positive",
		hash(good.Secret.Reveal()): "t\n true_positive",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("answer %v, want %v", got, want)
	}
	if s.state(good.Key.ID) != apikey.StateRevoked || s.state(disabled.Key.ID) != apikey.StateRevoked {
		t.Error("a key behind the bad items works on")
	}
	if r := <-s.reports; r != (secretscan.Report{Status: 200, Items: 14, True: 2, False: 3, Bad: 8, Undecided: 1, First: 2}) {
		t.Errorf("report %+v", r)
	}
	page, err := s.service.Events(t.Context(), apikey.EventQuery{Owner: "acct_1", Key: good.Key.ID, Kind: apikey.EventLeaked})
	if err != nil || len(page.Events) != 1 || page.Events[0].Note != "github/unknown" {
		t.Errorf("events %+v, %v", page.Events, err)
	}
}

// Partners send again what they were not answered in time; each repetition used
// to be another mail.
func TestDeliveriesOfOneLeakAreTold(t *testing.T) {
	told := make(chan secretscan.Notice, 100)
	s := newScene(t, always(apikey.LeakDisable), &secretscan.Options{Notify: func(_ context.Context, n secretscan.Notice) { told <- n }})
	a, b := s.create(), s.create()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			w := s.send(item(a.Secret.Reveal(), "u"), item(b.Secret.Reveal(), "u"), item(a.Secret.Reveal(), "u"))
			if w.Code != http.StatusOK {
				t.Errorf("the answer is %d %s", w.Code, w.Body)
			}
		})
	}
	wg.Wait()
	if len(told) != 2 || s.events(a.Key.ID) != 3 || s.events(b.Key.ID) != 3 {
		t.Errorf("told %d times, with %d and %d events; want 2, 3 and 3", len(told), s.events(a.Key.ID), s.events(b.Key.ID))
	}
	s.send(item(a.Secret.Reveal(), "elsewhere"))
	if len(told) != 3 {
		t.Errorf("another place was told %d times", len(told)-2)
	}
}

func TestStoreThatFailsLosesNothing(t *testing.T) {
	told := 0
	s := newScene(t, nil, &secretscan.Options{Notify: func(context.Context, secretscan.Notice) { told++ }})
	var items []any
	var issued []apikey.Issued
	for range 5 {
		issued = append(issued, s.create())
		items = append(items, item(issued[len(issued)-1].Secret.Reveal(), "u"))
	}
	for _, verb := range []string{"ByHandle", "Apply"} {
		calls := 0
		s.store.set(func(v string) error {
			if v != verb {
				return nil
			}
			if calls++; calls == 2 { // the second key's turn
				return nil
			}
			return errors.New("down")
		})
		w := s.send(items...)
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Fatalf("the answer is %d %v", w.Code, w.Header())
		}
		if r := <-s.reports; r.Status != 503 || errors.CodeOf(r.Err) != errors.Unavailable {
			t.Errorf("report %+v", r)
		}
	}
	if s.state(issued[1].Key.ID) != apikey.StateRevoked {
		t.Error("a key that could be revoked works on because others could not")
	}
	s.store.set(nil)
	if got := labels(t, s.send(items...)); len(got) != 5 {
		t.Errorf("answer %v", got)
	}
	for _, i := range issued {
		if s.state(i.Key.ID) != apikey.StateRevoked || s.events(i.Key.ID) != 3 {
			t.Errorf("key %s is %v with %d events", i.Key.ID, s.state(i.Key.ID), s.events(i.Key.ID))
		}
	}
	if told != 5 {
		t.Errorf("told %d times, want 5", told)
	}
}

// A policy that does not decide must not look like one that lets things be.
func TestPolicyThatDoesNotDecide(t *testing.T) {
	s := newScene(t, always(""), nil)
	issued := s.create()
	if w := s.send(item(issued.Secret.Reveal(), "u")); w.Code != http.StatusServiceUnavailable {
		t.Errorf("the answer is %d", w.Code)
	}
	if r := <-s.reports; errors.CodeOf(r.Err) != errors.Invalid {
		t.Errorf("report %+v", r)
	}
}

// A key that leaked is dealt with, whatever else the partner says of it, or in
// another form than once.
func TestRemarksInAnotherFormLeaveNoKeyWorking(t *testing.T) {
	for name, value := range map[string]any{"a number": 7, "nothing": nil, "an array": []any{"u"}, "an object": map[string]any{"href": "u"}} {
		s := newScene(t, nil, nil)
		issued := s.create()
		token := issued.Secret.Reveal()
		got := labels(t, s.send(map[string]any{"token": token, "type": value, "url": value, "source": value}))
		if got[hash(token)] != " true_positive" || s.state(issued.Key.ID) != apikey.StateRevoked {
			t.Errorf("%s: answer %v, and the key is %v", name, got, s.state(issued.Key.ID))
		}
	}
}

// A panic of the policy leaves one key to the next delivery, and loses no word of
// the others: these are told of once, and a repetition is not the first.
func TestPolicyThatPanics(t *testing.T) {
	var told []string
	bad := ""
	s := newScene(t, func(k apikey.Key) apikey.LeakDecision {
		if k.ID == bad {
			panic("no")
		}
		return apikey.LeakDecision{Action: apikey.LeakRevoke}
	}, &secretscan.Options{Notify: func(_ context.Context, n secretscan.Notice) { told = append(told, n.URL) }})
	one, two, three := s.create(), s.create(), s.create()
	bad = two.Key.ID
	w := s.send(item(one.Secret.Reveal(), "a"), item(two.Secret.Reveal(), "b"), item(three.Secret.Reveal(), "c"))
	if r := <-s.reports; w.Code != http.StatusServiceUnavailable || r.Err == nil || !strings.Contains(r.Err.Error(), "policy panicked: no") || fmt.Sprint(told) != "[a c]" {
		t.Errorf("answer %d, told %q, report %+v", w.Code, told, r)
	}
	if s.state(two.Key.ID) != apikey.StateActive || s.state(three.Key.ID) != apikey.StateRevoked {
		t.Errorf("the keys are %v and %v", s.state(two.Key.ID), s.state(three.Key.ID))
	}
}

// Handled may run where no server catches a panic, which would end the program.
func TestHandledThatPanics(t *testing.T) {
	s := newScene(t, nil, nil)
	for _, notify := range []func(context.Context, secretscan.Notice){nil, func(context.Context, secretscan.Notice) {}} {
		intake, err := secretscan.NewIntake(s.service, secretscan.StaticKeys{keyName: &s.key.PublicKey}, always(apikey.LeakRevoke),
			&secretscan.Options{Notify: notify, Handled: func(context.Context, secretscan.Report) { panic("no") }})
		if err != nil {
			t.Fatal(err)
		}
		s.intake = intake
		if w := s.send(item(s.create().Secret.Reveal(), "u")); w.Code != http.StatusOK {
			t.Errorf("answer %d", w.Code)
		}
		if err := intake.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// A partner that hangs up must not leave keys working.
func TestPartnerThatGivesUp(t *testing.T) {
	s := newScene(t, nil, nil)
	issued := s.create()
	body, err := json.Marshal([]any{item(issued.Secret.Reveal(), "u")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.serve(s.request(string(body)).WithContext(ctx))
	if s.state(issued.Key.ID) != apikey.StateRevoked {
		t.Error("the key works on")
	}
}

func TestWorkIsBounded(t *testing.T) {
	s := newScene(t, nil, &secretscan.Options{Timeout: time.Nanosecond})
	issued := s.create()
	if w := s.send(item(issued.Secret.Reveal(), "u")); w.Code != http.StatusServiceUnavailable {
		t.Errorf("the answer is %d", w.Code)
	}
	if r := <-s.reports; !errors.Is(r.Err, context.DeadlineExceeded) {
		t.Errorf("report %+v", r)
	}
}

func TestSlowNotifyDoesNotHoldUpTheAnswer(t *testing.T) {
	release, told := make(chan struct{}), make(chan bool, 2)
	s := newScene(t, nil, &secretscan.Options{NotifyWithin: time.Millisecond, Notify: func(ctx context.Context, _ secretscan.Notice) {
		<-release
		_, bounded := ctx.Deadline()
		told <- ctx.Err() == nil && bounded
	}})
	issued := s.create()
	ctx, cancel := context.WithCancel(t.Context())
	body, err := json.Marshal([]any{item(issued.Secret.Reveal(), "u")})
	if err != nil {
		t.Fatal(err)
	}
	if w := s.serve(s.request(string(body)).WithContext(ctx)); w.Code != http.StatusOK {
		t.Errorf("the answer is %d", w.Code)
	}
	cancel() // the request is over, what it tells is not
	over, stop := context.WithCancel(t.Context())
	stop()
	if err := s.intake.Close(over); !errors.Is(err, context.Canceled) {
		t.Errorf("Close = %v while something is told", err)
	}
	if w := s.send(item(issued.Secret.Reveal(), "v")); w.Code != http.StatusServiceUnavailable {
		t.Errorf("the answer of a closed intake is %d", w.Code)
	}
	close(release)
	for range 2 {
		if err := s.intake.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(told) != 1 || !<-told {
		t.Error("Close did not wait for what was told, or it was cut short")
	}
	if r := <-s.reports; r.First != 1 || r.Err != nil {
		t.Errorf("report %+v", r)
	}
}

func TestNotifyThatPanics(t *testing.T) {
	var told []string
	s := newScene(t, nil, &secretscan.Options{Notify: func(_ context.Context, n secretscan.Notice) {
		if told = append(told, n.URL); n.URL == "a" {
			panic("no")
		}
	}})
	w := s.send(item(s.create().Secret.Reveal(), "a"), item(s.create().Secret.Reveal(), "b"))
	if err := s.intake.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := <-s.reports; w.Code != http.StatusOK || fmt.Sprint(told) != "[a b]" || r.Err == nil || !strings.Contains(r.Err.Error(), "Notify panicked: no") {
		t.Errorf("answer %d, told %q, report %+v", w.Code, told, r)
	}
}

func TestRawTokensOnRequest(t *testing.T) {
	s := newScene(t, nil, &secretscan.Options{RawTokens: true})
	if got := labels(t, s.send(item("sk_x", "u"))); got["sk_x"] != "acme_api_token false_positive" {
		t.Errorf("answer %v", got)
	}
}

func TestNewIntakeReportsEveryFault(t *testing.T) {
	_, err := secretscan.NewIntake(nil, nil, nil, &secretscan.Options{Partner: "Git Hub", MaxBody: -1, Timeout: -1})
	for _, want := range []string{"service is nil", "source is nil", "policy is nil", "Partner", "MaxBody", "Timeout"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewIntake = %v, want %q in it", err, want)
		}
	}
}

// A whole flow shows the token to nobody.
func TestCanary(t *testing.T) {
	var said strings.Builder
	note := func(v any) { fmt.Fprintf(&said, "%+v %#v\n", v, v) }
	s := newScene(t, always(apikey.LeakNote), &secretscan.Options{Notify: func(_ context.Context, n secretscan.Notice) { note(n) }})
	issued := s.create()
	token := issued.Secret.Reveal()
	for _, i := range []any{
		item(token, "https://a.example/?q="+token),
		map[string]any{"token": token, "type": token, "url": "https://b.example/" + token, "source": token},
		map[string]any{"token": []string{token}},
		item(token+"x", token),
	} {
		w := s.send(i)
		note(w.Header())
		if i, ok := i.(map[string]any); !ok || i["type"] != token { // what the partner calls it is said back
			note(w.Body.String())
		}
	}
	for _, body := range []string{`[{"token":"` + token, `{"token":"` + token + `"}`, `[] ` + token} {
		note(s.serve(s.request(body)).Body.String())
	}
	s.store.set(func(string) error { return errors.New("down") })
	note(s.send(item(token, token)).Body.String())
	s.store.set(nil)
	close(s.reports)
	for r := range s.reports {
		note(r)
		note(r.Err)
	}
	page, err := s.service.Events(t.Context(), apikey.EventQuery{Owner: "acct_1"})
	if err != nil {
		t.Fatal(err)
	}
	note(page)
	if len(page.Events) < 3 || strings.Contains(said.String(), token) || strings.Contains(said.String(), token[10:30]) {
		t.Errorf("the token is in what was said:\n%s", said.String())
	}
}
