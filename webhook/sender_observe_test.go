package webhook_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

// One record for each event, at a level that says whether somebody has to look.
func TestSlogSenderObserverWritesOneRecordForEachEvent(t *testing.T) {
	var out bytes.Buffer
	observer := webhook.NewSlogSenderObserver(slog.New(slog.NewTextHandler(&out, nil)))
	for kind, level := range map[webhook.SenderEventKind]slog.Level{
		webhook.MessageDelivered: slog.LevelInfo, webhook.EndpointRecovered: slog.LevelInfo,
		webhook.AttemptFailed: slog.LevelWarn, webhook.MessageDropped: slog.LevelWarn,
		webhook.EndpointIsFailing: slog.LevelWarn, webhook.EndpointWasBlocked: slog.LevelWarn,
		webhook.MessageExhausted: slog.LevelError, webhook.EndpointWasDisabled: slog.LevelError, webhook.SenderTrouble: slog.LevelError,
	} {
		out.Reset()
		observer.WebhookSent(t.Context(), webhook.SenderEvent{Kind: kind})
		if want := fmt.Sprintf("level=%v msg=\"webhook delivery\" event=%v", level, kind); strings.Count(out.String(), "\n") != 1 || !strings.Contains(out.String(), want) {
			t.Errorf("%v: %q, want one line with %q", kind, out.String(), want)
		}
	}
	out.Reset()
	observer.WebhookSent(t.Context(), webhook.SenderEvent{
		Kind: webhook.AttemptFailed, Account: "acct_1", Endpoint: "ep_1", Message: "msg_1", Type: "image.created",
		Attempt: webhook.Attempt{
			Number: 3, Took: time.Second, Status: 503, Failure: webhook.FailedBusy, Detail: "it is busy",
			Body: []byte("of the receiver"), Location: "https://elsewhere.example/",
		},
		Until: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC), Err: errors.New("the store"),
	})
	for _, want := range []string{
		"account=acct_1 endpoint=ep_1 message=msg_1 type=image.created", "attempt=3 took=1s status=503 failure=busy", `detail="it is busy"`,
		"until=2026-11-21T12:00:00", `error="the store"`,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in %s", want, out.String())
		}
	}
	for _, unwanted := range []string{"of the receiver", "elsewhere"} {
		if strings.Contains(out.String(), unwanted) {
			t.Errorf("what a receiver wrote is in the log: %s", out.String())
		}
	}
	out.Reset()
	observer.WebhookSent(t.Context(), webhook.SenderEvent{Kind: webhook.AttemptFailed, Attempt: webhook.Attempt{Number: 1}})
	if strings.Contains(out.String(), "status") {
		t.Errorf("an attempt without an answer has a status: %s", out.String())
	}
	webhook.NewSlogSenderObserver(nil).WebhookSent(t.Context(), webhook.SenderEvent{}) // discarded
}
