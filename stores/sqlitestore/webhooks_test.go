package sqlitestore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/keytoll/keytoll/stores/sqlitestore"
	"github.com/keytoll/keytoll/webhook"
	"github.com/keytoll/keytoll/webhook/webhooktest"
)

// timedWebhooks is a store with the clock that it goes by.
type timedWebhooks struct {
	*sqlitestore.WebhookStore
	*clock
}

// One file serves them all, emptied each time: opening one takes longer than most of
// what is tested.
func TestWebhooksKeepTheContract(t *testing.T) {
	c := newClock()
	db := open(t, &sqlitestore.Options{Now: c.now, Synchronous: sqlitestore.Normal})
	webhooktest.Run(t, func(t *testing.T) webhook.Store {
		emptyWebhooks(t, db)
		return timedWebhooks{db.Webhooks(), c}
	})
}

// emptyWebhooks removes all that is to be delivered, and was.
func emptyWebhooks(t testing.TB, db *sqlitestore.DB) {
	t.Helper()
	err := db.Write(t.Context(), func(exec sqlitestore.Exec) error {
		for _, table := range []string{"attempts", "deliveries", "messages", "endpoints"} {
			if err := exec("DELETE FROM webhook_" + table); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// addEndpoints makes active endpoints of the account "a".
func addEndpoints(t testing.TB, w *sqlitestore.WebhookStore, ids ...string) {
	t.Helper()
	for _, id := range ids {
		change(t, w, id, func(e *webhook.Endpoint) { e.Settings.URL = "https://" + id + ".example" })
	}
}

// change changes an endpoint, and makes it first if it is not there.
func change(t testing.TB, w *sqlitestore.WebhookStore, id string, fn func(e *webhook.Endpoint)) {
	t.Helper()
	err := w.Change(t.Context(), id, func(now time.Time, e *webhook.Endpoint) error {
		if e.State == 0 {
			e.Account, e.State, e.CreatedAt = "a", webhook.EndpointActive, now
		}
		e.UpdatedAt = now
		fn(e)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func messageOf(id string) webhook.Message {
	return webhook.Message{ID: id, Account: "a", Type: "image.created", ContentType: "application/json", Payload: []byte(`{"id":"` + id + `"}`)}
}

// publish publishes messages of these ids and returns the last publication.
func publish(t testing.TB, o webhook.Outbox, ids ...string) (p webhook.Publication) {
	t.Helper()
	for _, id := range ids {
		var err error
		if p, err = o.Publish(t.Context(), messageOf(id)); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// claim claims all that is due, up to a limit.
func claim(t testing.TB, w *sqlitestore.WebhookStore, token string, limit int) webhook.Claims {
	t.Helper()
	got, err := w.Claim(t.Context(), webhook.Claim{Token: token, Limit: limit, Lease: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// names returns what was claimed, as endpoint/message.
func names(c webhook.Claims) []string {
	var list []string
	for _, d := range c.Deliveries {
		list = append(list, d.Delivery.Endpoint+"/"+d.Delivery.Message)
	}
	return list
}

func wantClaimed(t testing.TB, got webhook.Claims, want ...string) {
	t.Helper()
	if !slices.Equal(names(got), want) {
		t.Errorf("claimed %v, want %v", names(got), want)
	}
}

// deliver settles what was claimed as delivered.
func deliver(ctx context.Context, w *sqlitestore.WebhookStore, c webhook.Claims) error {
	var list []webhook.Settlement
	for _, d := range c.Deliveries {
		list = append(list, webhook.Settlement{
			Endpoint: d.Delivery.Endpoint, Message: d.Delivery.Message, Token: d.Delivery.Token,
			Attempt: webhook.Attempt{Number: d.Delivery.Tries, At: c.Now, Status: 200},
		})
	}
	return w.Settle(ctx, list, func(now time.Time, cases []webhook.Case) error {
		for i := range cases {
			if c := &cases[i]; !c.Late {
				c.Delivery.State, c.Delivery.Token, c.Delivery.Lease, c.Delivery.EndedAt = webhook.DeliveryDelivered, "", time.Time{}, now
			}
		}
		return nil
	})
}

// rowsOf counts the rows of a table.
func rowsOf(t testing.TB, db *sqlitestore.DB, table string) int64 {
	t.Helper()
	n, err := db.Int(context.Background(), "SELECT count(*) FROM "+table)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// What waits comes in the order of the endpoints, round after round.
func TestClaimsOfManyEndpointsReadOnFromPageToPage(t *testing.T) {
	w := open(t, &sqlitestore.Options{Synchronous: sqlitestore.Normal}).Webhooks()
	var ids, want []string
	for i := range 300 { // more than a page
		ids = append(ids, fmt.Sprintf("e%04d", i))
		want = append(want, ids[i]+"/m")
	}
	addEndpoints(t, w, ids...)
	publish(t, w, "m")
	got, err := w.Claim(t.Context(), webhook.Claim{Token: "t", Limit: 100, Lease: time.Minute, After: "e0249"})
	if err != nil {
		t.Fatal(err)
	}
	wantClaimed(t, got, append(slices.Clone(want[250:]), want[:50]...)...)
	if got.Last != "e0049" || !got.Next.Equal(got.Now) {
		t.Errorf("Last %q, Next %v; want that of the last and now", got.Last, got.Next)
	}
	got, err = w.Claim(t.Context(), webhook.Claim{Token: "u", Limit: 1000, Lease: time.Minute, After: got.Last})
	if err != nil {
		t.Fatal(err)
	}
	wantClaimed(t, got, want[50:250]...)
	if got.Last != "e0049" {
		t.Errorf("Last %q, want the one that the round ends with", got.Last)
	}
}

// beforeItsTurn has do done after call has looked, and before it writes.
func beforeItsTurn(t *testing.T, db *sqlitestore.DB, call func() error, do ...string) {
	t.Helper()
	done := make(chan error, 1)
	err := db.Write(t.Context(), func(exec sqlitestore.Exec) error {
		go func() { done <- call() }()
		db.WaitQueued(1)
		for _, text := range do {
			if err := exec(text); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, <-done); err != nil {
		t.Error(err)
	}
}

// A claim looks before it waits for the writer, and counts on nothing that it saw.
func TestAClaimSeesWhatHappenedWhileItWaited(t *testing.T) {
	for name, what := range map[string]string{
		"disabled": `UPDATE webhook_endpoints SET state = 2`, "ended": `UPDATE webhook_deliveries SET state = 5`,
		"claimed": `UPDATE webhook_deliveries SET state = 2, token = 'u', lease = 9999999999999999`,
	} {
		t.Run(name, func(t *testing.T) {
			db := open(t, nil)
			addEndpoints(t, db.Webhooks(), "e")
			publish(t, db.Webhooks(), "m")
			var got webhook.Claims
			beforeItsTurn(t, db, func() (err error) {
				got, err = db.Webhooks().Claim(t.Context(), webhook.Claim{Token: "t", Limit: 1, Lease: time.Minute})
				return err
			}, what)
			wantClaimed(t, got)
		})
	}
}

// What is resent while Prune waits for the writer is not old any more.
func TestPruneLeavesWhatIsResentWhileItWaits(t *testing.T) {
	db := open(t, nil)
	w := db.Webhooks()
	addEndpoints(t, w, "e")
	publish(t, w, "resent", "old")
	if err := deliver(t.Context(), w, claim(t, w, "t", 2)); err != nil {
		t.Fatal(err)
	}
	pruned := 0
	beforeItsTurn(t, db, func() (err error) {
		pruned, err = w.Prune(t.Context(), time.Now().Add(time.Hour), 10)
		return err
	}, `UPDATE webhook_deliveries SET state = 1 WHERE message = 1`)
	if _, err := w.Message(t.Context(), "resent"); err != nil || pruned != 1 {
		t.Errorf("pruned %d, and the message that was resent: %v", pruned, err)
	}
	wantClaimed(t, claim(t, w, "t", 2), "e/resent")
	sound(t, db)
}
