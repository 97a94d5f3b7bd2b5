package otelgate

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/keytoll/keytoll/middleware"
)

// traceDecision tells the current span what was decided.
func (o *Observer) traceDecision(ctx context.Context, d *middleware.Decision) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	outcome := d.Verdict.String()
	span.SetAttributes(operationKey.String(d.Operation), outcomeKey.String(outcome), attribute.String("keytoll.request.id", d.RequestID))
	if len(d.Limits) > 0 {
		span.SetAttributes(attribute.StringSlice("keytoll.limits", d.Limits))
	}
	if d.Degraded {
		span.SetAttributes(attribute.Bool("keytoll.degraded", true))
	}
	if d.Held > 0 {
		span.SetAttributes(attribute.Int64("keytoll.credits.held", int64(d.Held)))
	}
	if d.Original != "" {
		span.SetAttributes(attribute.String("keytoll.original", string(d.Original)))
	}
	if o.keyID && d.KeyID != "" {
		span.SetAttributes(attribute.String("keytoll.key.id", d.KeyID))
	}
	if o.owner && d.Owner != "" {
		span.SetAttributes(attribute.String("enduser.pseudo.id", d.Owner))
	}
	if d.Verdict.Status() >= http.StatusInternalServerError && d.Verdict != middleware.VerdictCanceled {
		span.SetAttributes(attribute.String("error.type", outcome))
		span.SetStatus(codes.Error, outcome)
	}
}

// traceSettlement tells the current span how the call was settled. The answer is
// given: its status stays.
func (o *Observer) traceSettlement(ctx context.Context, s *middleware.Settled) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(endingKey.String(s.Ending.String()), actionKey.String(action(s)))
	if s.Charged > 0 {
		span.SetAttributes(attribute.Int64("keytoll.credits.captured", int64(s.Charged)))
	}
	if s.Kept != middleware.KeptNothing {
		span.SetAttributes(keptKey.String(s.Kept.String()))
	}
	if s.Err != nil {
		span.SetAttributes(attribute.Bool("keytoll.settle.failed", true))
	}
}
