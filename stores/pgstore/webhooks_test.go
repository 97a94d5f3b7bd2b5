package pgstore_test

import (
	"testing"

	"github.com/keytoll/keytoll/stores/pgstore"
	"github.com/keytoll/keytoll/webhook"
	"github.com/keytoll/keytoll/webhook/webhooktest"
)

// timedWebhooks is a store with the clock that it goes by.
type timedWebhooks struct {
	webhook.Store
	*clock
}

// Once at the strictest level by a clock of the test's, and once at the usual one by
// the server's.
func TestWebhooksKeepTheContract(t *testing.T) {
	d := newSharedDatabase(t, isolated("serializable"))
	whole := t
	webhooktest.Run(t, func(t *testing.T) webhook.Store {
		c := newClock()
		return timedWebhooks{d.lend(t, whole).Webhooks(&pgstore.WebhooksOptions{Now: c.now}), c}
	})
}

func TestWebhooksKeepTheContractByTheServersClock(t *testing.T) {
	d := newSharedDatabase(t, isolated("read committed"))
	whole := t
	webhooktest.Run(t, func(t *testing.T) webhook.Store { return d.lend(t, whole).Webhooks(nil) })
}
