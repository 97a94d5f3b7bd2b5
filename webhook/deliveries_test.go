package webhook_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	kterrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/webhook"
)

// row returns the delivery of a message to ep_1.
func (o *office) row(tb testing.TB, message string) webhook.Delivery {
	tb.Helper()
	p := must(o.Deliveries(tb.Context(), webhook.DeliveryQuery{Endpoint: "ep_1", Message: message}))(tb)
	if len(p.Deliveries) != 1 {
		tb.Fatalf("%d deliveries of %s", len(p.Deliveries), message)
	}
	return p.Deliveries[0]
}

// bring brings the delivery of a new message to a state.
func (o *office) bring(tb testing.TB, message string, to webhook.DeliveryState) {
	tb.Helper()
	o.publish(tb, message)
	switch to {
	case webhook.DeliveryPending:
	case webhook.DeliverySending:
		o.claim(tb)
	case webhook.DeliveryDelivered:
		o.settle(tb, o.claim(tb), success)
	case webhook.DeliveryDead:
		o.settle(tb, o.claim(tb), webhook.Attempt{Failure: webhook.FailedRefused})
	case webhook.DeliveryDropped:
		o.settle(tb, o.claim(tb), webhook.Attempt{Failure: webhook.FailedStatus, Control: webhook.ControlAbort})
	}
	if d := o.row(tb, message); d.State != to {
		tb.Fatalf("%s is %v, want %v", message, d.State, to)
	}
}

// Another engine passed a second resend over without a word.
func TestAResendIsNeverPassedOver(t *testing.T) {
	for _, state := range []webhook.DeliveryState{webhook.DeliveryDelivered, webhook.DeliveryDead, webhook.DeliveryDropped} {
		t.Run(state.String(), func(t *testing.T) {
			o := open(t, webhook.SenderOptions{})
			o.hire(t, "ep_1", webhook.Settings{})
			o.bring(t, "msg_1", state)
			for n := range 3 {
				o.Woken()
				o.clock.Advance(time.Minute)
				if err := o.Resend(t.Context(), "ep_1", "msg_1"); err != nil {
					t.Fatal(err)
				}
				d := o.row(t, "msg_1")
				if d.State != webhook.DeliveryPending || !d.Due.Equal(o.clock.Now()) || !d.Manual || d.Attempt != 0 || d.Tries != n+1 || d.Failure != 0 || !d.EndedAt.IsZero() {
					t.Errorf("resent: %+v", d)
				}
				if !o.Woken() {
					t.Error("nobody was woken")
				}
				claimed := o.claim(t)
				if len(claimed) != 1 {
					t.Fatalf("claimed %d", len(claimed))
				}
				o.settle(t, claimed, success)
			}
		})
	}
}

func TestAResendTakesThePlaceOfTheNextAttempt(t *testing.T) {
	o := open(t, webhook.SenderOptions{})
	o.hire(t, "ep_1", webhook.Settings{})
	o.publish(t, "msg_1")
	for range 3 {
		claimed := o.claim(t)
		o.settle(t, claimed, failure)
		o.clock.Advance(o.row(t, "msg_1").Due.Sub(o.clock.Now()))
	}
	o.settle(t, o.claim(t), failure) // the next is hours ahead
	if err := o.Resend(t.Context(), "ep_1", "msg_1"); err != nil {
		t.Fatal(err)
	}
	o.settle(t, o.claim(t), failure)
	d := o.row(t, "msg_1")
	if d.Manual || d.Attempt != 0 || d.Tries != 5 || d.Due.Sub(o.clock.Now()) > 6*time.Second {
		t.Errorf("after the manual attempt: %+v", d)
	}
	if got := o.claim(t); len(got) != 0 {
		t.Errorf("there are %d attempts at once", len(got))
	}
}

func TestResendSaysWhyNot(t *testing.T) {
	o := open(t, webhook.SenderOptions{})
	o.hire(t, "ep_1", webhook.Settings{})
	o.bring(t, "msg_1", webhook.DeliverySending)
	wantIs(t, o.Resend(t.Context(), "ep_1", "msg_1"), webhook.ErrInFlight)
	wantIs(t, o.Resend(t.Context(), "ep_1", "msg_2"), webhook.ErrNotFound)
	wantIs(t, o.Resend(t.Context(), "ep_1", "msg.2"), webhook.ErrNotFound)
	wantIs(t, o.Resend(t.Context(), "ep_2", "msg_1"), webhook.ErrNotFound)
	o.publish(t, "msg_3") // due already
	if err := o.Resend(t.Context(), "ep_1", "msg_3"); err != nil || !o.Woken() {
		t.Errorf("of what is due: %v", err)
	}
	if err := o.DeleteEndpoint(t.Context(), "ep_1"); err != nil {
		t.Fatal(err)
	}
	wantIs(t, o.Resend(t.Context(), "ep_1", "msg_3"), webhook.ErrNotFound)
}

// A store in which deliveries are claimed and end between two looks.
type restless struct {
	webhook.Store

	moves int
}

func (s *restless) Move(context.Context, webhook.Move) (int, error) {
	s.moves++
	return 0, nil
}

func (s *restless) Deliveries(context.Context, webhook.DeliveryQuery) ([]webhook.Delivery, error) {
	return []webhook.Delivery{{State: webhook.DeliveryDead}}, nil
}

func TestAResendOfWhatDoesNotHoldStillEnds(t *testing.T) {
	o := open(t, webhook.SenderOptions{})
	o.hire(t, "ep_1", webhook.Settings{})
	store := &restless{Store: o.store}
	s := must(webhook.NewSender(store, deskSealing, nil))(t)
	wantIs(t, s.Resend(t.Context(), "ep_1", "msg_1"), webhook.ErrInFlight)
	if store.moves != 3 {
		t.Errorf("tried %d times", store.moves)
	}
}

// Nobody has to find out which events were lost while an endpoint was disabled.
func TestEverythingSinceAnInstantIsRecovered(t *testing.T) {
	o := open(t, webhook.SenderOptions{})
	o.hire(t, "ep_1", webhook.Settings{})
	o.hire(t, "ep_2", webhook.Settings{Events: []string{"none"}})
	o.bring(t, "msg_old", webhook.DeliveryDead)
	o.clock.Advance(time.Hour)
	since := o.clock.Now()
	for i := range 3 {
		o.bring(t, "msg_dead"+strconv.Itoa(i), webhook.DeliveryDead)
		must(o.EnableEndpoint(t.Context(), "ep_1"))(t) // the breaker is not what this is about
		o.clock.Advance(time.Second)
	}
	o.bring(t, "msg_dropped", webhook.DeliveryDropped)
	o.bring(t, "msg_delivered", webhook.DeliveryDelivered)
	o.Woken()
	again := func(limit, want int) {
		t.Helper()
		if n, err := o.RecoverSince(t.Context(), "ep_1", since, limit); n != want || err != nil {
			t.Errorf("recovered %d, %v, want %d", n, err, want)
		}
	}
	again(1, 1)
	if d := o.row(t, "msg_dead0"); d.State != webhook.DeliveryPending || d.Attempt != 0 || d.Manual || !o.Woken() {
		t.Errorf("the oldest: %+v", d)
	}
	again(2, 2)
	again(10_000, 1)
	again(10_000, 0)
	if n, err := o.RecoverSince(t.Context(), "ep_2", since, 1); n != 0 || err != nil {
		t.Errorf("of another endpoint: %d, %v", n, err)
	}
	if d := o.row(t, "msg_old"); d.State != webhook.DeliveryDead {
		t.Errorf("from before: %v", d.State)
	}
	if d := o.row(t, "msg_delivered"); d.State != webhook.DeliveryDelivered {
		t.Errorf("a delivered one: %v", d.State)
	}
	for _, limit := range []int{0, -1, 10_001} {
		_, err := o.RecoverSince(t.Context(), "ep_1", since, limit)
		wantFaults(t, err, "limit is "+strconv.Itoa(limit)+"; give 1 to 10000")
	}
}

// A store that fails when it has moved some.
type failing struct {
	webhook.Store

	after int
}

func (s *failing) Move(ctx context.Context, m webhook.Move) (int, error) {
	if s.after--; s.after < 0 {
		return 0, &kterrors.Error{Code: kterrors.Unavailable, Msg: "down"}
	}
	return s.Store.Move(ctx, m)
}

func TestWorkInPortionsSaysHowMuchIsDone(t *testing.T) {
	o := open(t, webhook.SenderOptions{})
	o.hire(t, "ep_1", webhook.Settings{})
	must(o.DisableEndpoint(t.Context(), "ep_1"))(t)
	for i := range 1200 {
		o.publish(t, "msg_"+strconv.Itoa(i))
	}
	s := must(webhook.NewSender(&failing{Store: o.store, after: 2}, deskSealing, nil))(t)
	if n, err := s.Discard(t.Context(), "ep_1", "", 1200); n != 1000 || kterrors.CodeOf(err) != kterrors.Unavailable {
		t.Errorf("discarded %d, %v; want 1000 and an error", n, err)
	}
	if n, err := o.Discard(t.Context(), "ep_1", "", 1200); n != 200 || err != nil {
		t.Errorf("discarded %d, %v; want the other 200", n, err)
	}
	if n, err := o.RecoverSince(t.Context(), "ep_1", time.Time{}, 1100); n != 1100 || err != nil {
		t.Errorf("recovered %d, %v", n, err)
	}
}

func TestDiscardDropsWhatWaits(t *testing.T) {
	o := open(t, webhook.SenderOptions{})
	o.hire(t, "ep_1", webhook.Settings{})
	o.bring(t, "msg_dead", webhook.DeliveryDead)
	o.bring(t, "msg_delivered", webhook.DeliveryDelivered)
	o.bring(t, "msg_sending", webhook.DeliverySending)
	must(o.DisableEndpoint(t.Context(), "ep_1"))(t)
	o.publish(t, "msg_1", "msg_2", "msg_3")
	if n, err := o.Discard(t.Context(), "ep_1", "msg_2", 10); n != 1 || err != nil || o.row(t, "msg_2").State != webhook.DeliveryDropped {
		t.Errorf("discarded %d, %v", n, err)
	}
	if n, err := o.Discard(t.Context(), "ep_1", "msg_2", 10); n != 0 || err != nil {
		t.Errorf("again: %d, %v", n, err)
	}
	if n, err := o.Discard(t.Context(), "ep_1", "", 1); n != 1 || err != nil || o.row(t, "msg_1").State != webhook.DeliveryDropped || o.row(t, "msg_3").State != webhook.DeliveryPending {
		t.Errorf("the oldest: %d, %v", n, err)
	}
	if n, err := o.Discard(t.Context(), "ep_1", "", 10); n != 1 || err != nil {
		t.Errorf("the rest: %d, %v", n, err)
	}
	for message, want := range map[string]webhook.DeliveryState{
		"msg_dead": webhook.DeliveryDead, "msg_delivered": webhook.DeliveryDelivered, "msg_sending": webhook.DeliverySending, "msg_3": webhook.DeliveryDropped,
	} {
		if d := o.row(t, message); d.State != want {
			t.Errorf("%s is %v, want %v", message, d.State, want)
		}
	}
	_, err := o.Discard(t.Context(), "ep 1", "", 1)
	wantIs(t, err, webhook.ErrNotFound)
	_, err = o.Discard(t.Context(), "ep_1", "msg.1", 1)
	wantIs(t, err, webhook.ErrNotFound)
	if n, err := o.RecoverSince(t.Context(), "ep_1", time.Time{}, 10); n != 4 || err != nil {
		t.Errorf("brought back %d, %v", n, err)
	}
}

func TestDeliveriesComeInPages(t *testing.T) {
	o := open(t, webhook.SenderOptions{})
	o.hire(t, "ep_1", webhook.Settings{})
	o.hire(t, "ep_2", webhook.Settings{})
	var want []string
	for i := range 7 {
		o.publish(t, "msg_"+strconv.Itoa(i))
		want = slices.Insert(want, 0, "msg_"+strconv.Itoa(i))
	}
	for _, limit := range []int{1, 3, 7, 8} {
		var got []string
		for before := int64(0); ; {
			p := must(o.Deliveries(t.Context(), webhook.DeliveryQuery{Endpoint: "ep_1", Before: before, Limit: limit}))(t)
			for _, d := range p.Deliveries {
				got = append(got, d.Message)
			}
			if before = p.Next; before == 0 {
				break
			}
			if len(p.Deliveries) != limit || len(got) == len(want) {
				t.Errorf("limit %d: a page of %d, and there is more", limit, len(p.Deliveries))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("limit %d: %v", limit, got)
		}
	}
	if p := must(o.Deliveries(t.Context(), webhook.DeliveryQuery{Message: "msg_3"}))(t); len(p.Deliveries) != 2 || p.Next != 0 {
		t.Errorf("of a message: %+v", p)
	}
	_, err := o.Deliveries(t.Context(), webhook.DeliveryQuery{States: []webhook.DeliveryState{0, 6}, Before: -1, Limit: -1})
	_, bad := o.Deliveries(t.Context(), webhook.DeliveryQuery{Endpoint: "ep\x00", Message: "msg.1"})
	wantFaults(t, bad, `Endpoint "ep\x00", Message "msg.1"`)
	wantFaults(t, err, "neither Endpoint nor Message", "States[0] is 0", "States[1] is 6", "Before is -1", "Limit is -1; give 0 to 500")
}

func TestAttemptsAndMessagesAreThereToRead(t *testing.T) {
	o := open(t, webhook.SenderOptions{})
	o.hire(t, "ep_1", webhook.Settings{})
	o.publish(t, "msg_1")
	for range 3 {
		o.settle(t, o.claim(t), failure)
		o.clock.Advance(time.Hour)
	}
	if list := must(o.Attempts(t.Context(), "ep_1", "msg_1", 1, 1))(t); len(list) != 1 || list[0].Number != 2 || list[0].Status != 500 {
		t.Errorf("%+v", list)
	}
	if list := must(o.Attempts(t.Context(), "ep_1", "msg_1", 0, 0))(t); len(list) != 3 {
		t.Errorf("%+v", list)
	}
	if list := must(o.Attempts(t.Context(), "ep\x00", "msg_1", 0, 0))(t); len(list) != 0 {
		t.Errorf("%+v", list)
	}
	if list := must(o.Attempts(t.Context(), "ep_1", "msg_2", 0, 0))(t); len(list) != 0 {
		t.Errorf("%+v", list)
	}
	_, err := o.Attempts(t.Context(), "ep_1", "msg_1", -1, 501)
	wantFaults(t, err, "after is -1", "Limit is 501")
	if m := must(o.Message(t.Context(), "msg_1"))(t); m.Type != "image.created" || string(m.Payload) != "{}" {
		t.Errorf("%+v", m)
	}
	for _, id := range []string{"msg_2", "", "msg.1"} {
		_, err = o.Message(t.Context(), id)
		wantIs(t, err, webhook.ErrNotFound)
	}
}

func TestPruneRemovesWhatHasEnded(t *testing.T) {
	o := open(t, webhook.SenderOptions{})
	o.hire(t, "ep_1", webhook.Settings{})
	for i := range 3 {
		o.bring(t, "msg_"+strconv.Itoa(i), webhook.DeliveryDelivered)
	}
	o.publish(t, "msg_waits")
	o.clock.Advance(time.Hour)
	before := o.clock.Now()
	for _, want := range []int{2, 1, 0} {
		if n, err := o.Prune(t.Context(), before, 2); n != want || err != nil {
			t.Errorf("removed %d, %v, want %d", n, err, want)
		}
	}
	if _, err := o.Message(t.Context(), "msg_waits"); err != nil {
		t.Errorf("what waits: %v", err)
	}
	_, err := o.Prune(t.Context(), before, 0)
	wantFaults(t, err, "limit is 0")
}

// What a store fails with is told, and is no other answer.
func TestAFailingStoreIsSeen(t *testing.T) {
	o := open(t, webhook.SenderOptions{})
	o.hire(t, "ep_1", webhook.Settings{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, publish := o.Publish(ctx, webhook.Message{Account: "acme", Type: "a"})
	_, create := o.CreateEndpoint(ctx, webhook.EndpointSpec{Account: "acme", Settings: webhook.Settings{URL: "https://example.com"}})
	_, update := o.UpdateEndpoint(ctx, "ep_1", func(*webhook.Settings) error { return nil })
	_, get := o.Endpoint(ctx, "ep_1")
	_, list := o.Endpoints(ctx, webhook.EndpointQuery{})
	_, reseal := o.Reseal(ctx)
	_, recovered := o.RecoverSince(ctx, "ep_1", noon, 1)
	_, discard := o.Discard(ctx, "ep_1", "", 1)
	_, deliveries := o.Deliveries(ctx, webhook.DeliveryQuery{Endpoint: "ep_1"})
	_, attempts := o.Attempts(ctx, "ep_1", "msg_1", 0, 0)
	_, message := o.Message(ctx, "msg_1")
	_, prune := o.Prune(ctx, noon, 1)
	for i, err := range []error{
		publish, create, update, get, list, reseal, recovered, discard, deliveries, attempts, message, prune,
		o.Resend(ctx, "ep_1", "msg_1"), o.DeleteEndpoint(ctx, "ep_1"),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("call %d: %v", i, err)
		}
	}
}
