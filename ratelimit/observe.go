package ratelimit

import (
	"context"
	"log/slog"
	"time"
)

// An Observer is told when a [GuardedStore] turns from its store to its policy
// and back: once for each turn, in their order, on the goroutine of a request,
// and never by two at once. It must not block; it may use the store.
type Observer interface {
	// StoreTurned is called with the context of the request that brought the turn
	// about, or of another one of the same moment; it may be done.
	StoreTurned(ctx context.Context, t Turn)
}

// A Turn is one change between a store and the policy for when it fails.
type Turn struct {
	Degraded bool // the policy answers from now on; false: the store does again
	Policy   Policy
	At       time.Time
	Lasted   time.Duration // how long it was the other way
	// What happened since the turn before. Single calls may fail, and then be
	// answered by the policy, without a turn.
	Failures int64 // calls of the store that failed
	Allowed  int64 // decisions of the policy that let pass
	Refused  int64 // decisions of the policy that refused, and errors for want of one
	Owing    int   // by Local: subjects, times limits, with something that the store was not told yet
	Err      error // the latest failure; nil when the store answers again
}

// NewSlogObserver returns an Observer that writes one record for each turn: at
// Error to the policy, at Info back to the store. A nil logger discards them.
func NewSlogObserver(logger *slog.Logger) Observer {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return slogObserver{logger}
}

type slogObserver struct{ logger *slog.Logger }

// StoreTurned implements [Observer].
func (o slogObserver) StoreTurned(ctx context.Context, t Turn) {
	level, text := slog.LevelInfo, "rate limit store answers again"
	attrs := []slog.Attr{
		slog.String("policy", t.Policy.String()), slog.Duration("lasted", t.Lasted),
		slog.Int64("failures", t.Failures), slog.Int64("allowed", t.Allowed), slog.Int64("refused", t.Refused),
		slog.Int("owing", t.Owing),
	}
	if t.Degraded {
		level, text = slog.LevelError, "rate limit store fails; its policy answers"
	}
	if t.Err != nil {
		attrs = append(attrs, slog.String("error", t.Err.Error()))
	}
	o.logger.LogAttrs(ctx, level, text, attrs...)
}
