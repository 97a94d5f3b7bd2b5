package webhook_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	kterrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/webhook"
	"github.com/keytoll/keytoll/webhook/webhooktest"
)

// A desk is a sender that runs on a store whose clock the test moves.
type desk struct {
	*webhook.Sender

	store  webhook.Store
	clock  *handClock
	events chan webhook.SenderEvent
	ended  chan struct{} // closed when Run has returned
	stop   context.CancelFunc
}

// A handClock goes on when the test says so.
type handClock struct {
	mu  sync.Mutex
	now time.Time
}

func newHandClock() *handClock {
	return &handClock{now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
}

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// WebhookSent implements [webhook.SenderObserver].
func (d *desk) WebhookSent(_ context.Context, e webhook.SenderEvent) { d.events <- e }

var deskSealing = []webhook.SealingKey{{Version: 1, Secret: []byte("0123456789abcdef0123456789abcdef")}}

// run makes a sender of opts on the store, and lets it run until the test ends
// or stop is called. A nil store is one of its own.
func run(t *testing.T, store webhook.Store, clock *handClock, opts webhook.SenderOptions) *desk {
	t.Helper()
	if store == nil {
		store = webhook.NewMemoryStore(&webhook.MemoryStoreOptions{Now: clock.Now})
	}
	d := &desk{store: store, clock: clock, events: make(chan webhook.SenderEvent, 10_000), ended: make(chan struct{})}
	opts.Now, opts.Observer = clock.Now, d
	opts.Poll = 5 * time.Millisecond // of true time: what the clock of the store brings is seen then
	d.Sender = must(webhook.NewSender(store, deskSealing, &opts))(t)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	d.stop = stop
	go func() {
		defer close(d.ended)
		if err := d.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { stop(); <-d.ended })
	return d
}

// hire makes an endpoint for the receiver, which then verifies with its key.
func (d *desk) hire(t *testing.T, r *webhooktest.Receiver, s webhook.Settings) string {
	t.Helper()
	s.URL = r.URL()
	made := must(d.CreateEndpoint(t.Context(), webhook.EndpointSpec{Account: "acct", Settings: s}))(t)
	keys := must(webhook.NewKeys(webhook.Key{Secret: made.Secret}))(t)
	r.SetVerifier(must(webhook.NewVerifier(keys, &webhook.VerifierOptions{Now: d.clock.Now}))(t))
	return made.Endpoint.ID
}

func (d *desk) publish(t *testing.T, id string) {
	t.Helper()
	if _, err := d.Publish(t.Context(), webhook.Message{ID: id, Account: "acct", Type: "image.created", Payload: []byte(`{"n":1}`)}); err != nil {
		t.Fatal(err)
	}
}

// wait returns the next event of this kind; others are passed over.
func (d *desk) wait(t *testing.T, kind webhook.SenderEventKind) webhook.SenderEvent {
	t.Helper()
	for {
		select {
		case e := <-d.events:
			if e.Kind == kind {
				return e
			}
		case <-t.Context().Done():
			t.Fatalf("no event %v", kind)
		}
	}
}

// row returns the one delivery of the message.
func (d *desk) row(t *testing.T, message string) webhook.Delivery {
	t.Helper()
	rows, err := d.store.Deliveries(t.Context(), webhook.DeliveryQuery{Message: message, Limit: 10})
	if err != nil || len(rows) != 1 {
		t.Fatalf("deliveries of %s: %v, %v; want one", message, rows, err)
	}
	return rows[0]
}

// The id of a message stays; the time and with it the signature are those of the
// attempt.
func TestARetryHasTheSameIDAndANewTimestamp(t *testing.T) {
	receiver := webhooktest.NewReceiver(t, nil, webhooktest.Answer{Status: 500})
	d := run(t, nil, newHandClock(), webhook.SenderOptions{Transport: receiver.Transport(t)})
	d.hire(t, receiver, webhook.Settings{})
	d.publish(t, "msg_1")
	if e := d.wait(t, webhook.AttemptFailed); e.Attempt.Status != 500 || e.Until.Sub(d.clock.Now()) > 10*time.Second {
		t.Errorf("event %+v", e)
	}
	d.clock.Advance(10 * time.Second)
	d.wait(t, webhook.MessageDelivered)
	got := must(receiver.Wait(t.Context(), 2))(t)
	first, second := got[0], got[1]
	if first.Err != nil || second.Err != nil {
		t.Fatalf("the deliveries do not verify: %v, %v", first.Err, second.Err)
	}
	if first.Verified.ID != "msg_1" || second.Verified.ID != "msg_1" {
		t.Errorf("ids %q and %q", first.Verified.ID, second.Verified.ID)
	}
	if d := second.Verified.Timestamp.Sub(first.Verified.Timestamp); d != 10*time.Second {
		t.Errorf("the second attempt is signed %v after the first, want 10s", d)
	}
	if row := d.row(t, "msg_1"); row.State != webhook.DeliveryDelivered || row.Tries != 2 {
		t.Errorf("delivery %+v", row)
	}
}

// A deaf store takes no settlements: what was sent stays claimed, as when the
// process is killed between the answer and its note.
type deafStore struct{ webhook.Store }

func (s deafStore) Settle(context.Context, []webhook.Settlement, func(time.Time, []webhook.Case) error) error {
	return &kterrors.Error{Code: kterrors.Unavailable, Msg: "nobody hears"}
}

func TestWorkerKilledBetweenSendAndAckIsRedelivered(t *testing.T) {
	clock := newHandClock()
	store := webhook.NewMemoryStore(&webhook.MemoryStoreOptions{Now: clock.Now})
	receiver := webhooktest.NewReceiver(t, nil)
	opts := webhook.SenderOptions{Transport: receiver.Transport(t), Drain: time.Millisecond}
	dying := run(t, deafStore{store}, clock, opts)
	dying.hire(t, receiver, webhook.Settings{})
	dying.publish(t, "msg_1")
	must(receiver.Wait(t.Context(), 1))(t)
	dying.stop()
	<-dying.ended
	// Nobody else makes the attempt before the lease is over.
	claim := webhook.Claim{Token: "other", Limit: 1, Lease: time.Minute}
	if claims := must(store.Claim(t.Context(), claim))(t); len(claims.Deliveries) != 0 || claims.Next.Sub(clock.Now()) != webhook.DefaultLease {
		t.Errorf("%d deliveries, next %v", len(claims.Deliveries), claims.Next)
	}
	clock.Advance(webhook.DefaultLease)
	next := run(t, store, clock, opts)
	next.wait(t, webhook.MessageDelivered)
	got := must(receiver.Wait(t.Context(), 2))(t)
	if a, b := got[0].Verified, got[1].Verified; a.ID != "msg_1" || b.ID != a.ID || !b.Timestamp.After(a.Timestamp) {
		t.Errorf("attempts %+v and %+v; want one id and two times", a, b)
	}
	if row := next.row(t, "msg_1"); row.Tries != 2 {
		t.Errorf("%d tries, want 2: the lost one counts", row.Tries)
	}
}

func TestRunWaitsForWhatIsBeingSent(t *testing.T) {
	gate := make(chan struct{})
	receiver := webhooktest.NewReceiver(t, nil, webhooktest.Answer{Gate: gate})
	d := run(t, nil, newHandClock(), webhook.SenderOptions{Transport: receiver.Transport(t)})
	d.hire(t, receiver, webhook.Settings{})
	d.publish(t, "msg_1")
	must(receiver.Wait(t.Context(), 1))(t)
	d.publish(t, "msg_2")
	must(receiver.Wait(t.Context(), 2))(t)
	d.stop()
	d.publish(t, "msg_3") // too late: it waits for the next run
	close(gate)
	<-d.ended
	for id, want := range map[string]webhook.DeliveryState{
		"msg_1": webhook.DeliveryDelivered, "msg_2": webhook.DeliveryDelivered, "msg_3": webhook.DeliveryPending,
	} {
		if row := d.row(t, id); row.State != want {
			t.Errorf("%s is %v, want %v", id, row.State, want)
		}
	}
}

// A late store hands claims out when too little of their lease is left.
type lateStore struct {
	webhook.Store

	settled chan webhook.Settlement
}

func (s lateStore) Claim(ctx context.Context, c webhook.Claim) (webhook.Claims, error) {
	claims, err := s.Store.Claim(ctx, c)
	if len(claims.Deliveries) > 0 {
		late, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		<-late.Done()
	}
	return claims, err
}

func (s lateStore) Settle(ctx context.Context, list []webhook.Settlement, fn func(time.Time, []webhook.Case) error) error {
	select {
	case s.settled <- list[0]:
	default: // one is enough
	}
	return s.Store.Settle(ctx, list, fn)
}

// The time for an attempt counts from before its claim: one that would run when
// somebody else may make it again is not begun, and has cost its message nothing.
func TestAnAttemptIsOverBeforeItsLeaseIs(t *testing.T) {
	receiver := webhooktest.NewReceiver(t, nil)
	transport := receiver.Transport(t)
	synctest.Test(t, func(t *testing.T) {
		clock := newHandClock()
		store := lateStore{webhook.NewMemoryStore(&webhook.MemoryStoreOptions{Now: clock.Now}), make(chan webhook.Settlement, 1)}
		d := run(t, store, clock, webhook.SenderOptions{Transport: transport, MaxTimeout: time.Second, Lease: 16 * time.Second})
		d.hire(t, receiver, webhook.Settings{})
		d.publish(t, "msg_1")
		if got := <-store.settled; got.Attempt.Number != 0 {
			t.Errorf("an attempt was made after its time: %+v", got.Attempt)
		}
		d.stop()
		<-d.ended
		transport.CloseIdleConnections() // of requests that should not have been made
		if row := d.row(t, "msg_1"); row.State != webhook.DeliveryPending || row.Tries != 0 {
			t.Errorf("delivery %+v; want it pending, untried", row)
		}
	})
	if got := receiver.Received(); len(got) != 0 {
		t.Errorf("%d requests were sent", len(got))
	}
}

// What the drain cuts short has cost its message nothing.
func TestRunGivesBackWhatTheDrainCutsShort(t *testing.T) {
	receiver := webhooktest.NewReceiver(t, nil, webhooktest.Answer{Gate: make(chan struct{})})
	d := run(t, nil, newHandClock(), webhook.SenderOptions{Transport: receiver.Transport(t), Drain: time.Millisecond})
	d.hire(t, receiver, webhook.Settings{})
	d.publish(t, "msg_1")
	must(receiver.Wait(t.Context(), 1))(t)
	d.stop()
	<-d.ended
	if row := d.row(t, "msg_1"); row.State != webhook.DeliveryPending || row.Tries != 0 || row.Attempt != 0 || row.Due.After(d.clock.Now()) {
		t.Errorf("delivery %+v; want it pending, due, untried", row)
	}
}

func TestASenderRunsOnce(t *testing.T) {
	receiver := webhooktest.NewReceiver(t, nil)
	d := run(t, nil, newHandClock(), webhook.SenderOptions{Transport: receiver.Transport(t)})
	d.hire(t, receiver, webhook.Settings{})
	d.publish(t, "msg_1")
	d.wait(t, webhook.MessageDelivered) // it does run
	if err := d.Run(t.Context()); kterrors.CodeOf(err) != kterrors.Conflict {
		t.Errorf("a second Run: %v, want a conflict", err)
	}
	d.stop()
	<-d.ended
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Run(over); err != nil {
		t.Errorf("Run after Run: %v", err)
	}
}

// A zero Sender would wait for its context, and look as if it delivered.
func TestAZeroSenderDoesNotRun(t *testing.T) {
	var s webhook.Sender
	if err := s.Run(t.Context()); kterrors.CodeOf(err) != kterrors.Conflict {
		t.Errorf("a zero Sender runs: %v", err)
	}
}

// A flaky store fails every other call of the loop, before or after it took
// effect.
type flakyStore struct {
	webhook.Store

	mu    sync.Mutex
	calls int
}

func (s *flakyStore) call(do func() error) error {
	s.mu.Lock()
	s.calls++
	n := s.calls
	s.mu.Unlock()
	if n%3 == 1 {
		return &kterrors.Error{Code: kterrors.Unavailable, Msg: "not reached"}
	}
	err := do()
	if n%3 == 2 {
		err = &kterrors.Error{Code: kterrors.Unavailable, Msg: "the answer was lost"}
	}
	return err
}

func (s *flakyStore) Settle(ctx context.Context, list []webhook.Settlement, fn func(time.Time, []webhook.Case) error) error {
	return s.call(func() error { return s.Store.Settle(ctx, list, fn) })
}

// A store that fails delays what is sent, and no message is lost or counted twice.
func TestAStoreThatFailsLosesNothing(t *testing.T) {
	clock := newHandClock()
	receiver := webhooktest.NewReceiver(t, nil)
	d := run(t, &flakyStore{Store: webhook.NewMemoryStore(&webhook.MemoryStoreOptions{Now: clock.Now})}, clock,
		webhook.SenderOptions{Transport: receiver.Transport(t)})
	endpoint := d.hire(t, receiver, webhook.Settings{})
	const n = 20
	for i := range n {
		d.publish(t, fmt.Sprintf("msg_%d", i))
	}
	d.wait(t, webhook.SenderTrouble)
	for i := range n {
		id := fmt.Sprintf("msg_%d", i)
		for d.row(t, id).State != webhook.DeliveryDelivered {
			<-d.events // each settlement that is heard of, and each trouble
		}
		attempts := must(d.store.Attempts(t.Context(), endpoint, id, 0, 10))(t)
		if len(attempts) != 1 {
			t.Errorf("%s: %d attempts in the log, want 1", id, len(attempts))
		}
	}
}

// A receiver that hangs has its share of attempts, and nobody else waits for it.
func TestAReceiverThatHangsDelaysNobody(t *testing.T) {
	const most, waiting, healthy = 4, 500, 100
	hanging := webhooktest.NewReceiver(t, nil)
	for range waiting {
		hanging.Script(webhooktest.Answer{Gate: make(chan struct{})})
	}
	well := webhooktest.NewReceiver(t, nil)
	d := run(t, nil, newHandClock(), webhook.SenderOptions{Transport: well.Transport(t), Drain: time.Millisecond})
	d.hire(t, hanging, webhook.Settings{MaxInFlight: most, Events: []string{"slow"}})
	for i := range waiting {
		_, err := d.Publish(t.Context(), webhook.Message{ID: fmt.Sprintf("slow_%d", i), Account: "acct", Type: "slow", Payload: []byte("{}")})
		if err != nil {
			t.Fatal(err)
		}
	}
	must(hanging.Wait(t.Context(), most))(t)
	d.hire(t, well, webhook.Settings{Events: []string{"image.*"}})
	for i := range healthy {
		d.publish(t, fmt.Sprintf("msg_%d", i))
	}
	for range healthy {
		d.wait(t, webhook.MessageDelivered)
	}
	if n := len(hanging.Received()); n != most {
		t.Errorf("the receiver that hangs had %d requests at once, want its cap of %d", n, most)
	}
}

// Two senders keep to the cap of an endpoint together, and send nothing twice.
func TestSendersShareTheWork(t *testing.T) {
	const most, n = 3, 60
	clock := newHandClock()
	store := webhook.NewMemoryStore(&webhook.MemoryStoreOptions{Now: clock.Now})
	gate := make(chan struct{})
	receiver := webhooktest.NewReceiver(t, nil, webhooktest.Answer{Gate: gate}, webhooktest.Answer{Gate: gate}, webhooktest.Answer{Gate: gate})
	opts := webhook.SenderOptions{Transport: receiver.Transport(t)}
	a, b := run(t, store, clock, opts), run(t, store, clock, opts)
	a.hire(t, receiver, webhook.Settings{MaxInFlight: most})
	for i := range n {
		a.publish(t, fmt.Sprintf("msg_%d", i))
	}
	must(receiver.Wait(t.Context(), most))(t)
	if claims := must(store.Claim(t.Context(), webhook.Claim{Token: "third", Limit: 100, Lease: time.Minute}))(t); len(claims.Deliveries) != 0 {
		t.Errorf("a third claimer was given %d deliveries beyond the cap", len(claims.Deliveries))
	}
	close(gate)
	got := must(receiver.Wait(t.Context(), n))(t)
	for i := range n {
		for id := fmt.Sprintf("msg_%d", i); a.row(t, id).State != webhook.DeliveryDelivered; {
			select {
			case <-a.events:
			case <-b.events:
			}
		}
	}
	seen := make(map[string]bool)
	for _, d := range got {
		if seen[d.Verified.ID] {
			t.Errorf("%s arrived twice", d.Verified.ID)
		}
		seen[d.Verified.ID] = true
	}
	if n := len(receiver.Received()); n != len(seen) {
		t.Errorf("%d requests for %d messages", n, len(seen))
	}
}

// What one account published never goes to another, whatever became of the ID of
// its endpoint meanwhile.
func TestAMessageOfAnotherAccountIsNotSent(t *testing.T) {
	clock := newHandClock()
	store := webhook.NewMemoryStore(&webhook.MemoryStoreOptions{Now: clock.Now})
	receiver := webhooktest.NewReceiver(t, nil)
	d := run(t, store, clock, webhook.SenderOptions{Transport: receiver.Transport(t)})
	id := d.hire(t, receiver, webhook.Settings{})
	must(d.DisableEndpoint(t.Context(), id))(t)
	d.publish(t, "msg_1")
	err := store.Change(t.Context(), id, func(_ time.Time, e *webhook.Endpoint) error {
		e.Account, e.State = "other", webhook.EndpointActive
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	d.Wake()
	if e := d.wait(t, webhook.MessageExhausted); e.Attempt.Failure != webhook.FailedConfig || e.Attempt.Status != 0 || e.Attempt.Number != 1 {
		t.Errorf("%+v", e)
	}
	if n := len(receiver.Received()); n != 0 {
		t.Errorf("the receiver of another account got %d requests", n)
	}
}

// Keys that cannot be opened are the host's fault: the message waits for the host.
func TestKeysThatCannotBeOpenedCostNoMessage(t *testing.T) {
	clock := newHandClock()
	store := webhook.NewMemoryStore(&webhook.MemoryStoreOptions{Now: clock.Now})
	receiver := webhooktest.NewReceiver(t, nil)
	d := run(t, store, clock, webhook.SenderOptions{Transport: receiver.Transport(t)})
	id := d.hire(t, receiver, webhook.Settings{})
	var right []byte
	swap := func(sealed []byte) {
		err := store.Change(t.Context(), id, func(_ time.Time, e *webhook.Endpoint) error {
			right, e.Sealed = e.Sealed, sealed
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	swap([]byte("\x01\x00\x00\x00\x07 sealed under a key that is not there"))
	d.publish(t, "msg_1")
	d.wait(t, webhook.SenderTrouble)
	if e := d.wait(t, webhook.AttemptFailed); e.Attempt.Failure != webhook.FailedKeys {
		t.Errorf("failure %v, want keys", e.Attempt.Failure)
	}
	swap(right)
	clock.Advance(time.Minute)
	d.wait(t, webhook.MessageDelivered)
}
