package webhook_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/webhook"
)

func TestAFullMemoryStoreTakesMessagesAgainOnceItIsPruned(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	store := webhook.NewMemoryStore(&webhook.MemoryStoreOptions{MaxBytes: 10_000, Now: func() time.Time { return now }})
	publish := func(i int) error {
		_, err := store.Publish(t.Context(), webhook.Message{
			ID: fmt.Sprintf("m%d", i), Account: "acme", Type: "a.b", ContentType: "text/plain", Payload: make([]byte, 1000),
		})
		return err
	}
	n := 0
	for ; n < 100; n++ {
		if err := publish(n); err != nil {
			if errors.CodeOf(err) != errors.Unavailable {
				t.Fatalf("a full store: %v", err)
			}
			break
		}
	}
	if n < 5 || n > 10 {
		t.Fatalf("%d messages of 1000 bytes in a store of 10000", n)
	}
	if err := publish(0); err != nil {
		t.Errorf("a message that is there already, in a full store: %v", err)
	}
	now = now.Add(time.Hour)
	if removed, err := store.Prune(t.Context(), now, 3); removed != 3 || err != nil {
		t.Fatalf("Prune = %d, %v", removed, err)
	}
	if err := publish(n); err != nil {
		t.Errorf("after it was pruned: %v", err)
	}
}

func TestTheTimeOfAMemoryStoreDoesNotRunBackwards(t *testing.T) {
	now := time.Date(2027, 1, 31, 10, 0, 0, 123_456_789, time.FixedZone("east", 3600))
	store := webhook.NewMemoryStore(&webhook.MemoryStoreOptions{Now: func() time.Time { return now }})
	claim := func() time.Time {
		got, err := store.Claim(t.Context(), webhook.Claim{Token: "t", Limit: 1, Lease: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		return got.Now
	}
	first := claim()
	if want := time.Date(2027, 1, 31, 9, 0, 0, 123_456_000, time.UTC); !first.Equal(want) || first.Location() != time.UTC {
		t.Errorf("Now is %v, want %v", first, want)
	}
	now = now.Add(-time.Hour)
	if again := claim(); !again.Equal(first) {
		t.Errorf("Now is %v an hour back, want %v still", again, first)
	}
	now = now.Add(2 * time.Hour)
	if later := claim(); !later.Equal(first.Add(time.Hour)) {
		t.Errorf("Now is %v, want an hour after %v", later, first)
	}
}

func TestAMemoryStoreGetsAllItsRoomBack(t *testing.T) {
	store := webhook.NewMemoryStore(&webhook.MemoryStoreOptions{MaxBytes: 20_000})
	err := store.Change(t.Context(), "e", func(_ time.Time, e *webhook.Endpoint) error {
		e.Account, e.State = "acme", webhook.EndpointActive
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// fill returns how many messages with an attempt each the store holds.
	fill := func() int {
		for n := range 100 {
			id := fmt.Sprintf("m%d", n)
			if _, err := store.Publish(t.Context(), webhook.Message{ID: id, Account: "acme", Type: "a.b"}); err != nil {
				return n
			}
			late := webhook.Settlement{Endpoint: "e", Message: id, Attempt: webhook.Attempt{Number: 1, Body: make([]byte, 500)}}
			if err := store.Settle(t.Context(), []webhook.Settlement{late}, func(time.Time, []webhook.Case) error { return nil }); err != nil {
				t.Fatal(err)
			}
			move := webhook.Move{Endpoint: "e", From: []webhook.DeliveryState{webhook.DeliveryPending}, To: webhook.DeliveryDropped, Limit: 1}
			if _, err := store.Move(t.Context(), move); err != nil {
				t.Fatal(err)
			}
		}
		return 100
	}
	first := fill()
	for range 3 {
		if n, err := store.Prune(t.Context(), time.Now().Add(time.Hour), 1000); n != first || err != nil {
			t.Fatalf("Prune = %d, %v, want all %d", n, err, first)
		}
		if again := fill(); again != first {
			t.Fatalf("%d messages in a store that held %d before it was pruned", again, first)
		}
	}
}
