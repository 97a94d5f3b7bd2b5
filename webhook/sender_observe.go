package webhook

import (
	"context"
	"log/slog"
	"time"
)

// A SenderObserver is told what becomes of deliveries, after it was stored. It is
// called on the goroutine that stored it, must not block, and must be safe for
// concurrent use. A process that dies between storing and telling tells nobody, nor
// does one that the store's answer does not reach: what happened is in the store all
// the same.
type SenderObserver interface {
	// WebhookSent is called once for each event, after it was stored.
	WebhookSent(ctx context.Context, e SenderEvent)
}

// A SenderEvent is one thing that happened.
type SenderEvent struct {
	Kind     SenderEventKind
	Account  string
	Endpoint string
	Message  string  // "" for what happened to the endpoint as a whole
	Type     string  // of the message
	Attempt  Attempt // zero unless one was made
	// Reason says why, for EndpointWasDisabled.
	Reason DisableReason
	// Until is when the next attempt may begin, for AttemptFailed and
	// EndpointWasBlocked.
	Until time.Time
	// Err is what failed, for SenderTrouble. It holds no secret.
	Err error
}

// A SenderEventKind says what happened. Numbers and names never change meaning.
type SenderEventKind uint8

const (
	MessageDelivered    SenderEventKind = 1 // the receiver took it
	AttemptFailed       SenderEventKind = 2 // another attempt will be made
	MessageExhausted    SenderEventKind = 3 // given up: it is dead until somebody resends it
	MessageDropped      SenderEventKind = 4 // the receiver asked not to be sent it again
	EndpointIsFailing   SenderEventKind = 5 // the fourth failure in a row of one message; once until it recovers
	EndpointRecovered   SenderEventKind = 6 // the first success after that
	EndpointWasBlocked  SenderEventKind = 7 // it asked for a pause, or the breaker opened
	EndpointWasDisabled SenderEventKind = 8 // messages are held from now on
	SenderTrouble       SenderEventKind = 9 // the store failed, or a message could not be signed; deliveries are late, none is lost
)

// senderEvents is indexed by SenderEventKind, and is never written to.
var senderEvents = [...]string{
	"unknown", "message_delivered", "attempt_failed", "message_exhausted", "message_dropped",
	"endpoint_failing", "endpoint_recovered", "endpoint_blocked", "endpoint_disabled", "sender_trouble",
}

// String returns the kind's stable name in snake case.
func (k SenderEventKind) String() string { return nameOf(senderEvents[:], int(k)) }

// NewSlogSenderObserver returns a SenderObserver that writes one record for each
// event: Info for what went well, Warn for what failed, Error for an endpoint that
// was disabled, a message that was given up, and trouble of the host's own. A nil
// logger discards them.
func NewSlogSenderObserver(logger *slog.Logger) SenderObserver {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return slogSenderObserver{logger}
}

type slogSenderObserver struct{ logger *slog.Logger }

// WebhookSent implements [SenderObserver].
func (o slogSenderObserver) WebhookSent(ctx context.Context, e SenderEvent) {
	level := slog.LevelWarn
	switch e.Kind {
	case MessageDelivered, EndpointRecovered:
		level = slog.LevelInfo
	case MessageExhausted, EndpointWasDisabled, SenderTrouble:
		level = slog.LevelError
	}
	attrs := []slog.Attr{slog.String("event", e.Kind.String())}
	add := func(name, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(name, value))
		}
	}
	add("account", e.Account)
	add("endpoint", e.Endpoint)
	add("message", e.Message)
	add("type", e.Type)
	if e.Attempt.Number > 0 {
		attrs = append(attrs, slog.Int("attempt", e.Attempt.Number), slog.Duration("took", e.Attempt.Took))
		if e.Attempt.Status != 0 {
			attrs = append(attrs, slog.Int("status", e.Attempt.Status))
		}
		add("failure", e.Attempt.Failure.String())
		add("detail", e.Attempt.Detail)
	}
	if e.Kind == EndpointWasDisabled {
		add("reason", e.Reason.String())
	}
	if !e.Until.IsZero() {
		attrs = append(attrs, slog.Time("until", e.Until))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.String("error", e.Err.Error()))
	}
	o.logger.LogAttrs(ctx, level, "webhook delivery", attrs...)
}
