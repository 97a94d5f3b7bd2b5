package webhook_test

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	kterrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/webhook"
)

func TestEveryFaultOfAnEndpointIsNamed(t *testing.T) {
	o := open(t, webhook.SenderOptions{MaxTimeout: 30 * time.Second})
	_, err := o.CreateEndpoint(t.Context(), webhook.EndpointSpec{
		ID: "ep 1", Account: "", Settings: webhook.Settings{
			URL: "ftp://user@example.com/" + strings.Repeat("a", webhook.MaxURL) + "#x", Events: []string{"image.*", "*", "a*"},
			Headers: map[string]string{"Webhook-Id": "x", "X-A": "a\r\nb"}, MaxInFlight: webhook.MaxMaxInFlight + 1, Rate: -1,
			Ordered: true, Timeout: 31 * time.Second, Schedule: []time.Duration{time.Second, 0, 8 * 24 * time.Hour},
			TLS:  webhook.TLSSettings{RootCAs: "none", Certificate: "none", Least: tls.VersionTLS11},
			Note: strings.Repeat("n", webhook.MaxNote+1),
		},
	})
	wantFaults(t, err, `ID "ep 1"`, `Account ""`, "URL: 2", "URL: it has a fragment", "URL: the address", `Events[1] "*"`, `Events[2] "a*"`, "Webhook-Id", `"X-A"`,
		"MaxInFlight is 1001; give 0 to 1000", "Ordered sends one at a time", "Rate is -1", "Timeout is 31s; give 1s to 30s",
		"Schedule[1] is 0s", "Schedule[2] is 192h0m0s", "TLS.RootCAs", "TLS.Certificate", "TLS.Least", "Note")
	if text := err.Error(); strings.Contains(text, "Events[0]") || strings.Contains(text, "Schedule[0]") {
		t.Errorf("names what is in order:\n%v", text)
	}
	_, err = o.CreateEndpoint(t.Context(), webhook.EndpointSpec{Account: "a", Settings: webhook.Settings{
		URL: "https://example.com/\xff", Events: make([]string, webhook.MaxFilters+1), Schedule: make([]time.Duration, webhook.MaxSteps+1),
		Note: "a\x00b", TLS: webhook.TLSSettings{RootCAs: "\x00"},
	}})
	wantFaults(t, err, "URL: not UTF-8; write other bytes as %XX", "Events: 101 filters; give up to 100", "Schedule: 65 steps; give up to 64", "Note", "TLS: RootCAs or")
}

// What can be seen of an address without looking its name up is said early.
func TestAnAddressThatIsRefusedIsNoEndpoint(t *testing.T) {
	o := open(t, webhook.SenderOptions{})
	for _, address := range []string{
		"", "example.com", "http://example.com", "https://", "https://user:secret@example.com/",
		"https://127.0.0.1/", "https://[::1]/", "https://169.254.169.254/latest", "https://example.com:22/",
	} {
		_, err := o.CreateEndpoint(t.Context(), webhook.EndpointSpec{Account: "acme", Settings: webhook.Settings{URL: address}})
		if kterrors.CodeOf(err) != kterrors.Invalid || !errors.Is(err, webhook.ErrRefused) || strings.Contains(fmt.Sprint(err), "secret") {
			t.Errorf("%q: %v", address, err)
		}
		if text := fmt.Sprint(err); strings.Count(text, "webhook.") != 1 {
			t.Errorf("%q: %s says it more than once", address, text)
		}
	}
}

func TestCreatingAnEndpointAgainDoesNothing(t *testing.T) {
	o := open(t, webhook.SenderOptions{})
	spec := webhook.EndpointSpec{ID: "ep_1", Account: "acme", Settings: webhook.Settings{
		URL: "https://example.com/", Events: []string{"image.*"}, Headers: map[string]string{"X-A": "1"}, Schedule: []time.Duration{time.Hour},
	}}
	first := must(o.CreateEndpoint(t.Context(), spec))(t)
	if e := first.Endpoint; e.ID != "ep_1" || e.Account != "acme" || e.State != webhook.EndpointActive || !e.CreatedAt.Equal(o.clock.Now()) || !e.UpdatedAt.Equal(e.CreatedAt) ||
		first.Replayed || first.Secret.IsZero() {
		t.Errorf("%+v", first)
	}
	o.clock.Advance(time.Hour)
	again := must(o.CreateEndpoint(t.Context(), spec))(t)
	if !again.Replayed || !again.Secret.Equal(first.Secret) || !again.Endpoint.UpdatedAt.Equal(first.Endpoint.UpdatedAt) {
		t.Errorf("again: %+v", again)
	}
	spec.Keys = must(o.EndpointKeys(t.Context(), "ep_1"))(t)
	if again := must(o.CreateEndpoint(t.Context(), spec))(t); !again.Replayed {
		t.Error("with the same keys it is not the same")
	}
	for name, change := range map[string]func(*webhook.EndpointSpec){
		"account": func(s *webhook.EndpointSpec) { s.Account = "other" },
		"url":     func(s *webhook.EndpointSpec) { s.Settings.URL = "https://example.org/" },
		"events":  func(s *webhook.EndpointSpec) { s.Settings.Events = nil },
		"headers": func(s *webhook.EndpointSpec) { s.Settings.Headers = map[string]string{"X-A": "2"} },
		"note":    func(s *webhook.EndpointSpec) { s.Settings.Note = "another" },
		"keys":    func(s *webhook.EndpointSpec) { s.Keys = keysOf(t, testSecret) },
	} {
		other := spec
		change(&other)
		_, err := o.CreateEndpoint(t.Context(), other)
		if !errors.Is(err, webhook.ErrExists) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	if err := o.DeleteEndpoint(t.Context(), "ep_1"); err != nil {
		t.Fatal(err)
	}
	_, err := o.CreateEndpoint(t.Context(), spec)
	wantIs(t, err, webhook.ErrExists)

	// Nor does one come back that has nothing to erase.
	made := o.hire(t, "ep_2", webhook.Settings{}).Endpoint
	if err := o.DeleteEndpoint(t.Context(), "ep_2"); err != nil {
		t.Fatal(err)
	}
	_, err = o.CreateEndpoint(t.Context(), webhook.EndpointSpec{ID: "ep_2", Account: "acme", Settings: made.Settings})
	wantIs(t, err, webhook.ErrExists)
}

func TestAnEndpointGetsAnIDAndASecretOfItsOwn(t *testing.T) {
	o := open(t, webhook.SenderOptions{})
	a, b := o.hire(t, "", webhook.Settings{}), o.hire(t, "", webhook.Settings{})
	if !strings.HasPrefix(a.Endpoint.ID, "ep_") || a.Endpoint.ID == b.Endpoint.ID || a.Secret.Equal(b.Secret) || a.Secret.Kind() != webhook.SecretEncoded {
		t.Errorf("%+v, %+v", a.Endpoint.ID, b.Endpoint.ID)
	}
	keys := must(o.EndpointKeys(t.Context(), a.Endpoint.ID))(t)
	for k := range keys.All() {
		if !k.Secret.Equal(a.Secret) || keys.Len() != 1 {
			t.Errorf("it has %d keys, the first %+v", keys.Len(), k)
		}
	}
}

func TestSettingsAreNotShared(t *testing.T) {
	o := open(t, webhook.SenderOptions{})
	s := webhook.Settings{Events: []string{"a"}, Headers: map[string]string{"X-A": "1"}, Schedule: []time.Duration{time.Hour}}
	spoil := func(s webhook.Settings) { s.Events[0], s.Headers["X-A"], s.Schedule[0] = "b", "2", time.Minute }
	want := `[a] map[X-A:1] [1h0m0s]`
	check := func() {
		t.Helper()
		e := must(o.Endpoint(t.Context(), "ep_1"))(t)
		if got := fmt.Sprint(e.Settings.Events, e.Settings.Headers, e.Settings.Schedule); got != want {
			t.Errorf("the settings are %s, want %s", got, want)
		}
	}
	made := o.hire(t, "ep_1", s)
	spoil(s)
	spoil(made.Endpoint.Settings)
	check()
	var kept *webhook.Settings
	updated := must(o.UpdateEndpoint(t.Context(), "ep_1", func(s *webhook.Settings) error {
		s.Note, kept = "changed", s
		return nil
	}))(t)
	spoil(*kept)
	spoil(updated.Settings)
	check()
	if _, err := o.UpdateEndpoint(t.Context(), "ep_1", func(s *webhook.Settings) error { spoil(*s); return errors.New("no") }); err == nil {
		t.Error("an error of fn's is none")
	}
	check()
}

func TestUpdateEndpoint(t *testing.T) {
	o := open(t, webhook.SenderOptions{})
	made := o.hire(t, "ep_1", webhook.Settings{Rate: 10}).Endpoint
	o.clock.Advance(time.Hour)
	same := must(o.UpdateEndpoint(t.Context(), "ep_1", func(s *webhook.Settings) error { s.Rate = 10; return nil }))(t)
	if !same.UpdatedAt.Equal(made.UpdatedAt) {
		t.Error("nothing changed, and it was written")
	}
	faulty := func(s *webhook.Settings) error { s.Rate, s.Note = -1, "half"; return nil }
	_, err := o.UpdateEndpoint(t.Context(), "ep_1", faulty)
	wantFaults(t, err, "Rate is -1")
	if text := fmt.Sprint(err); strings.Count(text, "webhook.UpdateEndpoint: ") != 1 {
		t.Errorf("%s; want the operation named once", text)
	}
	reason := errors.New("not allowed")
	_, err = o.UpdateEndpoint(t.Context(), "ep_1", func(*webhook.Settings) error { return reason })
	wantIs(t, err, reason)
	_, err = o.UpdateEndpoint(t.Context(), "ep_1", nil)
	wantFaults(t, err, "fn: nil")
	if e := must(o.Endpoint(t.Context(), "ep_1"))(t); e.Settings.Note != "" || !e.UpdatedAt.Equal(made.UpdatedAt) {
		t.Errorf("a refused update left %+v", e)
	}
	e := must(o.UpdateEndpoint(t.Context(), "ep_1", func(s *webhook.Settings) error { s.Rate = 20; return nil }))(t)
	if e.Settings.Rate != 20 || !e.UpdatedAt.Equal(o.clock.Now()) || !e.CreatedAt.Equal(made.CreatedAt) {
		t.Errorf("%+v", e)
	}
}

// What was found out about one receiver does not hold the next one back.
func TestANewAddressIsANewReceiver(t *testing.T) {
	o := open(t, webhook.SenderOptions{})
	o.hire(t, "ep_1", webhook.Settings{})
	o.publish(t, "msg_1")
	o.settle(t, o.claim(t), webhook.Attempt{Failure: webhook.FailedBusy, RetryAfter: time.Hour})
	e := must(o.UpdateEndpoint(t.Context(), "ep_1", func(s *webhook.Settings) error { s.Note = "x"; return nil }))(t)
	if e.Health.BlockedUntil.IsZero() {
		t.Fatal("a note ended the pause")
	}
	e = must(o.UpdateEndpoint(t.Context(), "ep_1", func(s *webhook.Settings) error { s.URL = "https://example.org"; return nil }))(t)
	if e.Health != (webhook.Health{}) {
		t.Errorf("after a change of address: %+v", e.Health)
	}
}

func TestNobodyIsFound(t *testing.T) {
	o := open(t, webhook.SenderOptions{})
	o.hire(t, "ep_deleted", webhook.Settings{})
	if err := errors.Join(o.DeleteEndpoint(t.Context(), "ep_deleted"), o.DeleteEndpoint(t.Context(), "ep_deleted")); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"ep_none", "", "ep 1", "ep_1'--", strings.Repeat("e", 65), "ep_deleted"} {
		ctx := t.Context()
		_, get := o.Endpoint(ctx, id)
		_, update := o.UpdateEndpoint(ctx, id, func(*webhook.Settings) error { return errors.New("called") })
		_, disable := o.DisableEndpoint(ctx, id)
		_, enable := o.EnableEndpoint(ctx, id)
		_, keys := o.EndpointKeys(ctx, id)
		_, rotate := o.RotateSecret(ctx, id, webhook.Key{}, 0)
		_, certificate := o.SetClientCertificate(ctx, id, "", "")
		_, recovered := o.RecoverSince(ctx, id, noon, 1)
		errs := []error{get, update, disable, enable, keys, rotate, certificate, recovered, o.Resend(ctx, id, "msg_1")}
		if id != "ep_deleted" {
			errs = append(errs, o.DeleteEndpoint(ctx, id))
		}
		for i, err := range errs {
			if !errors.Is(err, webhook.ErrNotFound) || kterrors.CodeOf(err) != kterrors.NotFound {
				t.Errorf("%q, call %d: %v", id, i, err)
			}
		}
	}
	if len(o.events) != 0 {
		t.Errorf("told %v", kinds(o.events))
	}
}

func TestADisabledEndpointHoldsAndAnEnabledOneLetsGo(t *testing.T) {
	o := open(t, webhook.SenderOptions{})
	o.hire(t, "ep_1", webhook.Settings{})
	o.publish(t, "msg_1")
	e := must(o.DisableEndpoint(t.Context(), "ep_1"))(t)
	if e.State != webhook.EndpointDisabled || e.Reason != webhook.DisabledByHost {
		t.Errorf("%+v", e)
	}
	must(o.DisableEndpoint(t.Context(), "ep_1"))(t)
	o.publish(t, "msg_2") // what happens meanwhile is not lost
	if got := o.claim(t); len(got) != 0 {
		t.Errorf("claimed %d while disabled", len(got))
	}
	wantKinds(t, o.events, "endpoint_disabled")
	if o.Woken(); o.events[0].Reason != webhook.DisabledByHost || o.events[0].Account != "acme" {
		t.Errorf("told %+v", o.events[0])
	}
	if e := must(o.EnableEndpoint(t.Context(), "ep_1"))(t); e.State != webhook.EndpointActive || e.Reason != 0 || !o.Woken() {
		t.Errorf("%+v", e)
	}
	if got := o.claim(t); len(got) != 2 {
		t.Errorf("claimed %d when enabled", len(got))
	}
}

func TestEnablingEndsWhateverHeldBack(t *testing.T) {
	o := open(t, webhook.SenderOptions{})
	o.hire(t, "ep_1", webhook.Settings{})
	o.publish(t, "msg_1", "msg_2")
	claimed := o.claim(t)
	o.settle(t, claimed[:1], webhook.Attempt{Status: 410, Failure: webhook.FailedGone})
	o.settle(t, claimed[1:], webhook.Attempt{Status: 429, Failure: webhook.FailedBusy, RetryAfter: time.Hour})
	if e := must(o.Endpoint(t.Context(), "ep_1"))(t); e.Reason != webhook.DisabledByGone || e.Health.Failures != 2 {
		t.Fatalf("%+v", e)
	}
	if e := must(o.EnableEndpoint(t.Context(), "ep_1"))(t); e.Health != (webhook.Health{}) || e.Reason != 0 {
		t.Errorf("%+v", e)
	}
	if got := o.claim(t); len(got) != 1 || got[0].Delivery.Message != claimed[0].Delivery.Message {
		t.Errorf("claimed %+v", got)
	}
	before := must(o.Endpoint(t.Context(), "ep_1"))(t).UpdatedAt
	o.clock.Advance(time.Hour)
	if e := must(o.EnableEndpoint(t.Context(), "ep_1"))(t); !e.UpdatedAt.Equal(before) {
		t.Error("enabling an active one was written")
	}
}

// A host's word stands above what deliveries found out: what enables again by
// itself what failed would otherwise undo it.
func TestTheHostsReasonReplacesAnother(t *testing.T) {
	o := open(t, webhook.SenderOptions{})
	o.hire(t, "ep_1", webhook.Settings{})
	o.publish(t, "msg_1")
	o.settle(t, o.claim(t), webhook.Attempt{Failure: webhook.FailedGone})
	if e := must(o.DisableEndpoint(t.Context(), "ep_1"))(t); e.Reason != webhook.DisabledByHost {
		t.Errorf("%v", e.Reason)
	}
	wantKinds(t, o.events) // it was disabled before
}

func TestADeletedEndpointKeepsNothing(t *testing.T) {
	o := open(t, webhook.SenderOptions{})
	o.hire(t, "ep_1", webhook.Settings{Headers: map[string]string{"Authorization": "Bearer canary"}})
	o.publish(t, "msg_1")
	if err := o.DeleteEndpoint(t.Context(), "ep_1"); err != nil {
		t.Fatal(err)
	}
	rows := must(o.store.Endpoints(t.Context(), webhook.EndpointQuery{ID: "ep_1", Limit: 1}))(t)
	if len(rows) != 1 || rows[0].State != webhook.EndpointDeleted || len(rows[0].Sealed) != 0 || len(rows[0].Settings.Headers) != 0 {
		t.Errorf("%+v", rows)
	}
	o.publish(t, "msg_2")
	if got := o.claim(t); len(got) != 0 {
		t.Errorf("claimed %+v", got)
	}
	if page := must(o.Deliveries(t.Context(), webhook.DeliveryQuery{Message: "msg_2"}))(t); len(page.Deliveries) != 0 {
		t.Errorf("filed for a deleted endpoint: %+v", page)
	}
}

func TestEndpointsComeInPages(t *testing.T) {
	o := open(t, webhook.SenderOptions{})
	var want []string
	for i := range 7 {
		id := "ep_" + strconv.Itoa(i)
		o.hire(t, id, webhook.Settings{})
		want = append(want, id)
	}
	must(o.CreateEndpoint(t.Context(), webhook.EndpointSpec{ID: "ep_other", Account: "other", Settings: webhook.Settings{URL: "https://example.com"}}))(t)
	for _, limit := range []int{1, 3, 7, 8} {
		var got []string
		for after, pages := "", 0; ; pages++ {
			p := must(o.Endpoints(t.Context(), webhook.EndpointQuery{Account: "acme", After: after, Limit: limit}))(t)
			for _, e := range p.Endpoints {
				got = append(got, e.ID)
			}
			if after = p.Next; after == "" {
				if need := (7 + limit - 1) / limit; pages+1 != need {
					t.Errorf("limit %d: %d pages, want %d", limit, pages+1, need)
				}
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("limit %d: %v", limit, got)
		}
	}
	if p := must(o.Endpoints(t.Context(), webhook.EndpointQuery{}))(t); len(p.Endpoints) != 8 {
		t.Errorf("all: %d", len(p.Endpoints))
	}
	_, err := o.Endpoints(t.Context(), webhook.EndpointQuery{Account: "a b", ID: "ep/1", After: "\x00", Limit: 501})
	wantFaults(t, err, `Account "a b"`, `ID "ep/1", After "\x00"`, "Limit is 501; give 0 to 500")
	if err := o.DeleteEndpoint(t.Context(), "ep_other"); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]int{"ep_3": 1, "ep_other": 0, "ep_none": 0} {
		if p := must(o.Endpoints(t.Context(), webhook.EndpointQuery{ID: id}))(t); len(p.Endpoints) != want {
			t.Errorf("of the ID %s there are %d", id, len(p.Endpoints))
		}
	}
}

func TestPrivateKeysOfClientsDoNotPrint(t *testing.T) {
	spec := webhook.EndpointSpec{ID: "ep_1", ClientKey: "canary"}
	data := must(json.Marshal(spec))(t)
	for _, text := range []string{fmt.Sprint(spec), fmt.Sprintf("%+v %#v %q %x", spec, spec, spec.ClientKey, spec.ClientKey), string(data), fmt.Sprint(spec.ClientKey.LogValue())} {
		if strings.Contains(text, "canary") || strings.Contains(text, "63616e617279") {
			t.Errorf("prints its key: %s", text)
		}
	}
}
