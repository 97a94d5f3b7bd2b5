package webhooktest

import (
	"bytes"
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

// A Message is what [NewRequest] signs.
type Message struct {
	URL    string      // default "http://webhook.test/"
	ID     string      // default a new one
	At     time.Time   // of the attempt; default time.Now
	Header http.Header // further headers; may be nil
	Body   []byte      // sent and signed as it is
}

// NewRequest returns a POST of m, signed with every live key of signer. It can
// be sent by a client or given to a handler. A test that wants a bad request
// changes the headers or the body afterwards. A message that cannot be signed
// ends the test.
func NewRequest(tb testing.TB, signer *webhook.Signer, m Message) *http.Request {
	tb.Helper()
	if m.URL == "" {
		m.URL = "http://webhook.test/"
	}
	if m.ID == "" {
		m.ID = webhook.NewID()
	}
	if m.At.IsZero() {
		m.At = time.Now() //nolint:forbidigo // the one default clock
	}
	r, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, m.URL, bytes.NewReader(m.Body))
	if err != nil {
		tb.Fatalf("webhooktest.NewRequest: %v", err)
	}
	r.Header.Set("Content-Type", "application/json")
	maps.Copy(r.Header, m.Header.Clone())
	if err := signer.SignRequest(r, m.ID, m.At, m.Body); err != nil {
		tb.Fatalf("webhooktest.NewRequest: %v", err)
	}
	return r
}
