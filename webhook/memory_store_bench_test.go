package webhook_test

import (
	"testing"

	"github.com/keytoll/keytoll/webhook"
	"github.com/keytoll/keytoll/webhook/webhooktest"
)

func BenchmarkMemoryStore(b *testing.B) {
	webhooktest.Bench(b, func(*testing.B) webhook.Store {
		return webhook.NewMemoryStore(&webhook.MemoryStoreOptions{MaxBytes: 1 << 40})
	})
}
