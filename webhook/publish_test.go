package webhook_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

// An office is a sender that does not run, on a store whose clock the test moves.
type office struct {
	*webhook.Sender

	store  *webhook.MemoryStore
	clock  *handClock
	events []webhook.SenderEvent
}

// WebhookSent implements [webhook.SenderObserver].
func (o *office) WebhookSent(_ context.Context, e webhook.SenderEvent) {
	o.events = append(o.events, e)
}

func open(tb testing.TB, opts webhook.SenderOptions) *office {
	tb.Helper()
	o := &office{clock: newHandClock()}
	o.store = webhook.NewMemoryStore(&webhook.MemoryStoreOptions{Now: o.clock.Now})
	opts.Now, opts.Observer = o.clock.Now, o
	o.Sender = must(webhook.NewSender(o.store, deskSealing, fixed(opts)))(tb)
	return o
}

// hire makes an endpoint of the account "acme".
func (o *office) hire(tb testing.TB, id string, s webhook.Settings) webhook.CreatedEndpoint {
	tb.Helper()
	if s.URL == "" {
		s.URL = "https://example.com/" + id
	}
	return must(o.CreateEndpoint(tb.Context(), webhook.EndpointSpec{ID: id, Account: "acme", Settings: s}))(tb)
}

func (o *office) publish(tb testing.TB, ids ...string) {
	tb.Helper()
	for _, id := range ids {
		must(o.Publish(tb.Context(), webhook.Message{ID: id, Account: "acme", Type: "image.created", Payload: []byte(`{}`)}))(tb)
	}
}

// claim claims what is due.
func (o *office) claim(tb testing.TB) []webhook.Claimed {
	tb.Helper()
	claims := must(o.store.Claim(tb.Context(), webhook.Claim{Token: webhook.NewID(), Limit: 1000, Lease: webhook.DefaultLease}))(tb)
	return claims.Deliveries
}

// settle says of what was claimed that a came of it, and returns what that leads
// to.
func (o *office) settle(tb testing.TB, claimed []webhook.Claimed, a webhook.Attempt) (events []webhook.SenderEvent) {
	tb.Helper()
	var list []webhook.Settlement
	for _, c := range claimed {
		a.Endpoint, a.Message, a.Number, a.At = c.Delivery.Endpoint, c.Delivery.Message, c.Delivery.Tries, o.clock.Now()
		list = append(list, webhook.Settlement{Endpoint: a.Endpoint, Message: a.Message, Token: c.Delivery.Token, URL: c.Endpoint.Settings.URL, Attempt: a})
	}
	err := o.store.Settle(tb.Context(), list, func(now time.Time, cases []webhook.Case) error {
		for i := range cases {
			events = append(events, o.Decide(now, &cases[i])...)
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return events
}

func TestEveryFaultOfAMessageIsNamed(t *testing.T) {
	o := open(t, webhook.SenderOptions{MaxPayload: 10})
	_, err := o.Publish(t.Context(), webhook.Message{
		ID: "msg.1", Account: "a b", Type: "image..created", Endpoint: "ep/1", ContentType: "json\r\nx: y", Payload: make([]byte, 11),
	})
	wantFaults(t, err, `ID "msg.1"`, `Account "a b"`, `Type "image..created"`, `Endpoint "ep/1"`, "ContentType", "Payload: 11 bytes; give up to 10")
	_, err = o.Publish(t.Context(), webhook.Message{})
	wantFaults(t, err, "Account", "Type")
	_, err = o.PublishIn(t.Context(), nil, webhook.Message{Account: "acme", Type: "a"})
	wantFaults(t, err, "outbox: nil")
	if o.Woken() {
		t.Error("a message that was refused woke the sender")
	}
}

func TestWhatAMessageMayBe(t *testing.T) {
	o := open(t, webhook.SenderOptions{})
	for _, m := range []webhook.Message{
		{Type: "a"},
		{Type: "image.created.v1-beta_2"},
		{Type: strings.Repeat("a", webhook.MaxType)},
		{Type: "a", ID: strings.Repeat("i", 256)},
		{Type: "a", ContentType: "application/cloudevents+json; charset=utf-8"},
		{Type: "a", Payload: []byte{0xff, 0}},
	} {
		m.Account = "acme"
		if _, err := o.Publish(t.Context(), m); err != nil {
			t.Errorf("%+v: %v", m, err)
		}
	}
	for _, m := range []webhook.Message{
		{Type: strings.Repeat("a", webhook.MaxType+1)},
		{Type: ".a"}, {Type: "a."}, {Type: "a.*"}, {Type: "*"}, {Type: "ä"},
		{Type: "a", ID: strings.Repeat("i", 257)},
		{Type: "a", ContentType: "json"}, {Type: "a", ContentType: "text/plain; charset=\"\u00e4\""},
		{Type: "a", Account: strings.Repeat("a", 129)}, {Type: "a", Account: "a\n"},
	} {
		if m.Account == "" {
			m.Account = "acme"
		}
		if _, err := o.Publish(t.Context(), m); err == nil {
			t.Errorf("%+v was published", m)
		}
	}
}

func TestPublishingAgainDoesNothing(t *testing.T) {
	o := open(t, webhook.SenderOptions{})
	o.hire(t, "ep_1", webhook.Settings{})
	m := webhook.Message{ID: "msg_1", Account: "acme", Type: "image.created", Payload: []byte("{}")}
	first := must(o.Publish(t.Context(), m))(t)
	if first.ID != "msg_1" || first.Deliveries != 1 || first.Replayed || !first.At.Equal(o.clock.Now()) || !o.Woken() {
		t.Errorf("%+v", first)
	}
	m.ContentType = "application/json" // what it was by default
	again := must(o.Publish(t.Context(), m))(t)
	if first.Replayed = true; again != first {
		t.Errorf("again: %+v, want %+v", again, first)
	}
	m.Payload = []byte("{ }")
	_, err := o.Publish(t.Context(), m)
	wantIs(t, err, webhook.ErrIntent)
	if got := must(o.Message(t.Context(), "msg_1"))(t); string(got.Payload) != "{}" || got.ContentType != "application/json" {
		t.Errorf("stored is %+v", got)
	}
	if p := must(o.Publish(t.Context(), webhook.Message{Account: "acme", Type: "a"}))(t); !strings.HasPrefix(p.ID, "msg_") {
		t.Errorf("by default the ID is %q", p.ID)
	}
}

func TestAMessageGoesToTheEndpointThatItNames(t *testing.T) {
	o := open(t, webhook.SenderOptions{})
	o.hire(t, "ep_1", webhook.Settings{Events: []string{"other"}})
	o.hire(t, "ep_2", webhook.Settings{})
	m := webhook.Message{ID: "msg_1", Account: "acme", Type: "ping", Endpoint: "ep_1"}
	if p := must(o.Publish(t.Context(), m))(t); p.Deliveries != 1 {
		t.Errorf("%+v", p)
	}
	m.ID, m.Endpoint = "msg_2", "ep_3"
	_, err := o.Publish(t.Context(), m)
	wantIs(t, err, webhook.ErrNotFound)
	m.Account, m.Endpoint = "other", "ep_1"
	_, err = o.Publish(t.Context(), m)
	wantIs(t, err, webhook.ErrNotFound)
}

// An outbox remembers what it was given.
type outbox struct {
	got []webhook.Message
	err error
}

func (o *outbox) Publish(_ context.Context, m webhook.Message) (webhook.Publication, error) {
	o.got = append(o.got, m)
	return webhook.Publication{ID: m.ID}, o.err
}

func TestPublishInGoesWhereItIsTold(t *testing.T) {
	o := open(t, webhook.SenderOptions{})
	var out outbox
	p := must(o.PublishIn(t.Context(), &out, webhook.Message{Account: "acme", Type: "a"}))(t)
	if len(out.got) != 1 || out.got[0].ID != p.ID || out.got[0].ContentType != "application/json" {
		t.Errorf("the outbox got %+v", out.got)
	}
	_, err := o.Message(t.Context(), p.ID)
	wantIs(t, err, webhook.ErrNotFound)
	out.err = errors.New("the transaction is over")
	_, err = o.PublishIn(t.Context(), &out, webhook.Message{Account: "acme", Type: "a"})
	wantIs(t, err, out.err)
}
