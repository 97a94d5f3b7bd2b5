package webhook

import (
	"context"
	"log/slog"
)

// An Observer is told what became of every message that reached a handler of
// [Verifier.Handler]: the detail that its answers keep from the sender. It is
// called once per request, on the request's goroutine, and must be safe for
// concurrent use. Methods for other events will come as further interfaces.
type Observer interface {
	// WebhookReceived is called after the answer was chosen, with the context of
	// the request, which may be over.
	WebhookReceived(ctx context.Context, r Reception)
}

// A Reception is one request and how it ended.
type Reception struct {
	Outcome  Outcome
	Status   int      // of the answer; 0 when the handler chose none: it panicked, or the sender was gone
	Verified Verified // zero unless the signature was valid
	// Err is why the message was not accepted, or what the replay store failed with
	// afterwards. It holds no secret. May be nil.
	Err error
}

// An Outcome is how a received message ended. Numbers and names never change
// meaning.
type Outcome uint8

const (
	OutcomeAccepted    Outcome = 1 // verified, and the handler answered 2xx
	OutcomeFailed      Outcome = 2 // verified, and the handler panicked, answered something else, or nothing to a sender who was gone
	OutcomeRefused     Outcome = 3 // not verified: 401
	OutcomeTooLarge    Outcome = 4 // the body is over MaxBody: 413
	OutcomeUnreadable  Outcome = 5 // the body broke off: 400
	OutcomeDuplicate   Outcome = 6 // handled before: 200 without calling the handler
	OutcomeInFlight    Outcome = 7 // being handled by another request: 409
	OutcomeUnavailable Outcome = 8 // the replay store could not decide: 503
)

// outcomes is indexed by Outcome, and is never written to.
var outcomes = [...]string{"unknown", "accepted", "failed", "refused", "too_large", "unreadable", "duplicate", "in_flight", "unavailable"}

// String returns the outcome's stable name in snake case.
func (o Outcome) String() string { return nameOf(outcomes[:], int(o)) }

// NewSlogObserver returns an Observer that writes one record for each message:
// accepted and duplicate ones at Info, those in flight, failed or refused at
// Warn, and any with which the replay store had trouble at Error. A nil logger
// discards them.
func NewSlogObserver(logger *slog.Logger) Observer {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return slogObserver{logger}
}

type slogObserver struct{ logger *slog.Logger }

// WebhookReceived implements [Observer].
func (o slogObserver) WebhookReceived(ctx context.Context, r Reception) {
	level := slog.LevelWarn
	switch r.Outcome {
	case OutcomeAccepted, OutcomeDuplicate:
		level = slog.LevelInfo
	case OutcomeUnavailable:
		level = slog.LevelError
	}
	switch r.Outcome {
	case OutcomeRefused, OutcomeTooLarge, OutcomeUnreadable:
	default:
		if r.Err != nil {
			level = slog.LevelError // the replay store could not decide, or not take note
		}
	}
	attrs := []slog.Attr{slog.String("outcome", r.Outcome.String()), slog.Int("status", r.Status)}
	if r.Verified.ID != "" {
		attrs = append(attrs, slog.String("id", r.Verified.ID))
	}
	if !r.Verified.Timestamp.IsZero() {
		attrs = append(attrs, slog.Time("timestamp", r.Verified.Timestamp))
	}
	if r.Verified.KeyID != "" {
		attrs = append(attrs, slog.String("scheme", r.Verified.Scheme), slog.String("key", r.Verified.KeyID))
	}
	if r.Err != nil {
		attrs = append(attrs, slog.String("error", r.Err.Error()))
	}
	o.logger.LogAttrs(ctx, level, "webhook received", attrs...)
}
