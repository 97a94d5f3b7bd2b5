package webhooktest_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/keytoll/keytoll/webhook"
	"github.com/keytoll/keytoll/webhook/webhooktest"
)

// A test of code that sends: the receiver is down at first, and asks for a
// pause.
func ExampleReceiver() {
	test := func(t *testing.T) {
		keys, err := webhook.NewKeys(webhook.Key{Secret: webhook.GenerateSecret()})
		if err != nil {
			t.Fatal(err)
		}
		verifier, err := webhook.NewVerifier(keys, nil)
		if err != nil {
			t.Fatal(err)
		}
		receiver := webhooktest.NewReceiver(t, verifier,
			webhooktest.Answer{Abort: true},
			webhooktest.Answer{Status: 503, Header: http.Header{"Retry-After": {"120"}}},
			webhooktest.Answer{Status: 200},
		)

		// Here the code under test delivers to receiver.URL(), by a sender
		// whose Transport is receiver.Transport(t).

		got, err := receiver.Wait(t.Context(), 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, delivery := range got {
			fmt.Println(delivery.Verified.ID, delivery.Answer.Status, delivery.Err)
		}
	}
	_ = test // the testing package calls it
	// Output:
}
