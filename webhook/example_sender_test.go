package webhook_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/webhook"
)

// nearby is a transport for the receivers of these examples, which are on this
// machine. For receivers that customers name, leave the transport out.
func nearby() *webhook.SafeTransport {
	transport, err := webhook.NewSafeTransport(&webhook.SafeTransportOptions{
		AllowPrefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, AnyPort: true, AllowHTTP: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	return transport
}

// From a message to its receiver, through a queue. One that outlives the process
// takes a store on SQLite or PostgreSQL, and a sealing key that is kept.
func ExampleSender() {
	ctx, stop := context.WithCancel(context.Background())
	type request struct {
		header http.Header
		body   []byte
	}
	requests := make(chan request)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		requests <- request{r.Header, body}
	}))
	defer receiver.Close()

	sealing := []webhook.SealingKey{webhook.GenerateSealingKey(1)}
	sender, err := webhook.NewSender(webhook.NewMemoryStore(nil), sealing, &webhook.SenderOptions{Transport: nearby()})
	if err != nil {
		log.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- sender.Run(ctx) }()

	made, err := sender.CreateEndpoint(ctx, webhook.EndpointSpec{
		Account: "acct_1", Settings: webhook.Settings{URL: receiver.URL, Events: []string{"image.*"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	published, err := sender.Publish(ctx, webhook.Message{Account: "acct_1", Type: "image.created", Payload: []byte(`{"id":"img_1"}`)})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("goes to", published.Deliveries, "endpoint")

	got := <-requests
	keys, err := webhook.NewKeys(webhook.Key{Secret: made.Secret}) // at the receiver
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := webhook.NewVerifier(keys, nil)
	if err != nil {
		log.Fatal(err)
	}
	verified, err := verifier.Verify(got.header, got.body)
	fmt.Println(string(got.body), verified.ID == published.ID, err)

	stop()
	fmt.Println(<-ended)
	// Output:
	// goes to 1 endpoint
	// {"id":"img_1"} true <nil>
	// <nil>
}

// A receiver changes over from one scheme to another when it likes: for a month
// every message carries the signatures of both.
func ExampleSender_UpdateKeys() {
	ctx, stop := context.WithCancel(context.Background())
	headers := make(chan http.Header)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { headers <- r.Header }))
	defer receiver.Close()
	sender, err := webhook.NewSender(webhook.NewMemoryStore(nil), []webhook.SealingKey{webhook.GenerateSealingKey(1)}, &webhook.SenderOptions{Transport: nearby()})
	if err != nil {
		log.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- sender.Run(ctx) }()

	legacy, err := webhook.SecretFromRaw("whsec_Yp2VZ7rGq0wN4tKbXc9sLfJd3hAe6uMi")
	if err != nil {
		log.Fatal(err)
	}
	keys, err := webhook.NewKeys(webhook.Key{ID: "legacy", Secret: legacy, Scheme: webhook.Stripe()})
	if err != nil {
		log.Fatal(err)
	}
	_, err = sender.CreateEndpoint(ctx, webhook.EndpointSpec{ID: "ep_1", Account: "acct_1", Settings: webhook.Settings{URL: receiver.URL}, Keys: keys})
	if err != nil {
		log.Fatal(err)
	}
	_, err = sender.UpdateKeys(ctx, "ep_1", func(now time.Time, keys webhook.Keys) (webhook.Keys, error) {
		return keys.Rotate(webhook.Key{ID: "standard", Secret: webhook.GenerateSecret()}, now, 30*24*time.Hour)
	})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := sender.Publish(ctx, webhook.Message{Account: "acct_1", Type: "invoice.paid", Payload: []byte(`{}`)}); err != nil {
		log.Fatal(err)
	}
	header := <-headers
	fmt.Println(header.Get("Webhook-Signature") != "", header.Get("Stripe-Signature") != "")

	stop()
	fmt.Println(<-ended)
	// Output:
	// true true
	// <nil>
}

// Nothing is lost while an endpoint is disabled. What waits can be looked at,
// discarded, or let go.
func ExampleSender_DisableEndpoint() {
	ctx := context.Background()
	sender, err := webhook.NewSender(webhook.NewMemoryStore(nil), []webhook.SealingKey{webhook.GenerateSealingKey(1)}, nil)
	if err != nil {
		log.Fatal(err)
	}
	_, err = sender.CreateEndpoint(ctx, webhook.EndpointSpec{ID: "ep_1", Account: "acct_1", Settings: webhook.Settings{URL: "https://example.com/hooks"}})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := sender.DisableEndpoint(ctx, "ep_1"); err != nil {
		log.Fatal(err)
	}
	for _, id := range []string{"msg_1", "msg_2"} {
		if _, err := sender.Publish(ctx, webhook.Message{ID: id, Account: "acct_1", Type: "image.created"}); err != nil {
			log.Fatal(err)
		}
	}
	discarded, err := sender.Discard(ctx, "ep_1", "msg_1", 1)
	if err != nil {
		log.Fatal(err)
	}
	held, err := sender.Deliveries(ctx, webhook.DeliveryQuery{Endpoint: "ep_1", States: []webhook.DeliveryState{webhook.DeliveryPending}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(discarded, "discarded,", len(held.Deliveries), "held:", held.Deliveries[0].Message)

	endpoint, err := sender.EnableEndpoint(ctx, "ep_1")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(endpoint.State)
	// Output:
	// 1 discarded, 1 held: msg_2
	// active
}

// A request of the host's own to an address that somebody else has chosen, such as
// the picture of a profile.
func ExampleSafeTransport() {
	transport, err := webhook.NewSafeTransport(nil)
	if err != nil {
		log.Fatal(err)
	}
	res, err := transport.Client(10 * time.Second).Get("https://169.254.169.254/latest/meta-data/")
	if err == nil {
		res.Body.Close()
	}
	fmt.Println(errors.Is(err, webhook.ErrRefused), errors.MessageOf(err))
	// Output:
	// true the address is not public (link local and instance metadata, RFC 3927); give the endpoint an address that is public; this one is never delivered to
}
