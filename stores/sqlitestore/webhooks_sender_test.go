package sqlitestore_test

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/keytoll/keytoll/stores/sqlitestore"
	"github.com/keytoll/keytoll/webhook"
	"github.com/keytoll/keytoll/webhook/webhooktest"
)

// sender returns a sender to loopback addresses, with a clock that is so far ahead.
func sender(db *sqlitestore.DB, ahead time.Duration) (*webhook.Sender, error) {
	transport, err := webhook.NewSafeTransport(&webhook.SafeTransportOptions{
		AllowPrefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, AnyPort: true, AllowHTTP: true,
	})
	if err != nil {
		return nil, err
	}
	sealing := []webhook.SealingKey{{Version: 1, Secret: bytes.Repeat([]byte("0123456789abcdef"), 2)}}
	return webhook.NewSender(db.Webhooks(), sealing, &webhook.SenderOptions{
		Transport: transport, Poll: 5 * time.Millisecond, Now: func() time.Time { return time.Now().Add(ahead) },
	})
}

// send delivers what there is until it is killed, and says so once it publishes.
func send(ctx context.Context, db *sqlitestore.DB, id string) error {
	s, err := sender(db, 0)
	if err != nil {
		return err
	}
	if _, err := s.Publish(ctx, messageOf(id)); err != nil {
		return err
	}
	fmt.Println("published")
	return s.Run(ctx)
}

// A process is killed when the receiver has the message and before it could note
// that: the next one sends it again once the lease is over, under the same id and
// with a timestamp and a signature of its own, and then never more.
func TestASenderThatWasKilledBetweenSendAndSettleSendsAgain(t *testing.T) {
	path := newFile(t)
	db := openAt(t, path, nil)
	gate := make(chan struct{}) // nobody opens it
	receiver := webhooktest.NewReceiver(t, nil, webhooktest.Answer{Gate: gate})
	s, err := sender(db, 0)
	if err != nil {
		t.Fatal(err)
	}
	made, err := s.CreateEndpoint(t.Context(), webhook.EndpointSpec{Account: "a", Settings: webhook.Settings{URL: receiver.URL()}})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := webhook.NewKeys(webhook.Key{Secret: made.Secret})
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := webhook.NewVerifier(keys, nil)
	if err != nil {
		t.Fatal(err)
	}
	receiver.SetVerifier(verifier)
	if err := db.Close(t.Context()); err != nil {
		t.Fatal(err)
	}

	child := start(t, "send", path, "m1")
	child.release(t)
	if !child.lines.Scan() || child.lines.Text() != "published" {
		t.Fatalf("the child says %q", child.lines.Text())
	}
	wait, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := receiver.Wait(wait, 1); err != nil {
		t.Fatal(err)
	}
	if err := child.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.cmd.Wait()

	// Within the lease it belongs to the dead.
	db = openAt(t, path, nil)
	wantClaimed(t, claim(t, db.Webhooks(), "t", 10))
	list, err := db.Webhooks().Deliveries(t.Context(), webhook.DeliveryQuery{Message: "m1", Limit: 10})
	if err != nil || len(list) != 1 || list[0].State != webhook.DeliverySending || list[0].Tries != 1 {
		t.Fatalf("%+v, %v; want one that is being sent", list, err)
	}
	if err := db.Close(t.Context()); err != nil {
		t.Fatal(err)
	}

	db = openAt(t, path, &sqlitestore.Options{Now: func() time.Time { return time.Now().Add(time.Hour) }})
	if s, err = sender(db, time.Minute); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	got, err := receiver.Wait(wait, 2)
	stop() // it finishes what it has begun
	if ran := <-ended; err != nil || ran != nil {
		t.Fatal(err, ran)
	}
	first, again := got[0], got[1]
	if first.Err != nil || again.Err != nil || first.Verified.ID != "m1" || again.Verified.ID != "m1" || !bytes.Equal(first.Body, again.Body) {
		t.Errorf("%v %+v, then %v %+v; want the same message twice", first.Err, first.Verified, again.Err, again.Verified)
	}
	if !again.Verified.Timestamp.After(first.Verified.Timestamp) {
		t.Errorf("signed at %v, then at %v; want a new timestamp", first.Verified.Timestamp, again.Verified.Timestamp)
	}
	list, err = db.Webhooks().Deliveries(t.Context(), webhook.DeliveryQuery{Message: "m1", Limit: 10})
	if err != nil || len(list) != 1 || list[0].State != webhook.DeliveryDelivered || list[0].Tries != 2 {
		t.Errorf("%+v, %v; want one that was delivered by its second try", list, err)
	}
	attempts, err := db.Webhooks().Attempts(t.Context(), made.Endpoint.ID, "m1", 0, 10)
	if err != nil || len(attempts) != 1 || attempts[0].Number != 2 || attempts[0].Failure != 0 {
		t.Errorf("attempts %+v, %v; want the second alone", attempts, err)
	}
	if n := len(receiver.Received()); n != 2 {
		t.Errorf("%d were received", n)
	}
}
