package otelgate

import (
	"context"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
)

const scope = "github.com/keytoll/keytoll/middleware/otelgate"

// Options of an [Observer]. The zero value, and nil, are the defaults.
type Options struct {
	// MeterProvider makes the instruments; nil is the program's global one.
	MeterProvider metric.MeterProvider
	// KeyID puts the id of the key on the span, as keytoll.key.id. It proves nothing,
	// and tells who calls.
	KeyID bool
	// Owner puts the owner of the key on the span, as enduser.pseudo.id. Where owners
	// are people, that is personal data.
	Owner bool
}

// An Observer is a [middleware.Observer] that tells OpenTelemetry. Make one with
// [New].
type Observer struct {
	keyID, owner bool

	decisions metric.Int64Counter
	duration  metric.Float64Histogram
	refusals  metric.Int64Counter
	degraded  metric.Int64Counter
	passes    metric.Int64UpDownCounter
	holds     metric.Int64UpDownCounter

	settlements, failures, answers            metric.Int64Counter
	held, captured, released, kept, uncovered metric.Int64Counter

	labels sync.Map // of label to metric.MeasurementOption; bounded as the attributes are
}

var _ middleware.Observer = (*Observer)(nil)

// New returns an observer. The error names every instrument that the provider
// refuses.
func New(o *Options) (*Observer, error) {
	if o == nil {
		o = &Options{}
	}
	provider := o.MeterProvider
	if provider == nil {
		provider = otel.GetMeterProvider()
	}
	f := errors.Faults{Op: "otelgate.New"}
	m := maker{provider.Meter(scope), &f}
	obs := &Observer{
		keyID: o.KeyID, owner: o.Owner,
		decisions: m.counter("keytoll.decisions", "{decision}", "Attempts that the gate decided."),
		refusals:  m.counter("keytoll.limit.refusals", "{refusal}", "Limits that refused, or would have in shadow."),
		degraded:  m.counter("keytoll.limit.degraded", "{decision}", "Decisions by policy, while the store of limits failed."),
		passes:    m.upDown("keytoll.passes.open", "{pass}", "Calls that were allowed and are not over."),
		holds:     m.upDown("keytoll.holds.open", "{hold}", "Calls that hold credits and are not over."),

		settlements: m.counter("keytoll.settlements", "{settlement}", "Calls that are over."),
		failures:    m.counter("keytoll.settle.failures", "{settlement}", "Calls whose hold, leases or answer could not be settled."),
		answers:     m.counter("keytoll.idempotency.answers", "{answer}", "Answers to calls with an Idempotency-Key."),
		held:        m.counter("keytoll.credits.held", microcredit, "Credits that calls held, counted when they are over."),
		captured:    m.counter("keytoll.credits.captured", microcredit, "Credits that were charged."),
		released:    m.counter("keytoll.credits.released", microcredit, "Credits that were held and not charged."),
		kept:        m.counter("keytoll.credits.kept", microcredit, "Credits that stay held for a job to settle."),
		uncovered:   m.counter("keytoll.credits.uncovered", microcredit, "Credits that were to be charged and could not be."),
	}
	var err error
	obs.duration, err = m.meter.Float64Histogram("keytoll.decision.duration", metric.WithUnit("s"),
		metric.WithDescription("How long the gate took to decide."),
		// From a decision in memory to one that waits for a store.
		metric.WithExplicitBucketBoundaries(0.00001, 0.00005, 0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5))
	f.Join(err)
	if err := f.Err(); err != nil {
		return nil, err
	}
	return obs, nil
}

const microcredit = "{microcredit}"

// A maker makes instruments and notes what is wrong with them.
type maker struct {
	meter  metric.Meter
	faults *errors.Faults
}

func (m maker) counter(name, unit, description string) metric.Int64Counter {
	c, err := m.meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
	m.faults.Join(err)
	return c
}

func (m maker) upDown(name, unit, description string) metric.Int64UpDownCounter {
	c, err := m.meter.Int64UpDownCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
	m.faults.Join(err)
	return c
}

// Names of attributes.
const (
	operationKey = attribute.Key("keytoll.operation")
	outcomeKey   = attribute.Key("keytoll.outcome")
	limitKey     = attribute.Key("keytoll.limit")
	shadowKey    = attribute.Key("keytoll.shadow")
	endingKey    = attribute.Key("keytoll.ending")
	actionKey    = attribute.Key("keytoll.action")
	keptKey      = attribute.Key("keytoll.kept")
)

// A label is a set of attributes before it is made; what is "" is left out.
type label struct {
	operation, outcome, limit, ending, action, kept string

	shadow bool // with limit
}

// of returns the attributes of l, which are made once.
func (o *Observer) of(l label) metric.MeasurementOption {
	if known, ok := o.labels.Load(l); ok {
		if option, ok := known.(metric.MeasurementOption); ok {
			return option
		}
	}
	list := []attribute.KeyValue{operationKey.String(l.operation)}
	for _, a := range [...]struct {
		key   attribute.Key
		value string
	}{{outcomeKey, l.outcome}, {limitKey, l.limit}, {endingKey, l.ending}, {actionKey, l.action}, {keptKey, l.kept}} {
		if a.value != "" {
			list = append(list, a.key.String(a.value))
		}
	}
	if l.limit != "" {
		list = append(list, shadowKey.Bool(l.shadow))
	}
	option := metric.WithAttributeSet(attribute.NewSet(list...))
	o.labels.Store(l, option)
	return option
}

// Decided implements [middleware.Observer].
func (o *Observer) Decided(ctx context.Context, d middleware.Decision) {
	decided := o.of(label{operation: d.Operation, outcome: d.Verdict.String()})
	o.decisions.Add(ctx, 1, decided)
	o.duration.Record(ctx, d.Took.Seconds(), decided)
	for _, name := range d.Limits {
		o.refusals.Add(ctx, 1, o.of(label{operation: d.Operation, limit: name}))
	}
	for _, name := range d.Shadowed {
		o.refusals.Add(ctx, 1, o.of(label{operation: d.Operation, limit: name, shadow: true}))
	}
	operation := o.of(label{operation: d.Operation})
	if d.Degraded {
		o.degraded.Add(ctx, 1, operation)
	}
	if d.Verdict == middleware.VerdictAllowed {
		o.passes.Add(ctx, 1, operation)
		if d.Held > 0 {
			o.holds.Add(ctx, 1, operation)
		}
	}
	o.traceDecision(ctx, &d)
}

// action names what became of the hold.
func action(s *middleware.Settled) string {
	if s.Hold == "" {
		return "none"
	}
	return s.Action.String()
}

// Settled implements [middleware.Observer].
func (o *Observer) Settled(ctx context.Context, s middleware.Settled) {
	operation := o.of(label{operation: s.Operation})
	settled := o.of(label{operation: s.Operation, ending: s.Ending.String(), action: action(&s)})
	o.settlements.Add(ctx, 1, settled)
	o.passes.Add(ctx, -1, operation)
	if s.Err != nil {
		o.failures.Add(ctx, 1, settled)
	}
	if s.Kept != middleware.KeptNothing {
		o.answers.Add(ctx, 1, o.of(label{operation: s.Operation, kept: s.Kept.String()}))
	}
	if s.Hold != "" {
		o.holds.Add(ctx, -1, operation)
		o.count(ctx, &s, operation)
	}
	o.traceSettlement(ctx, &s)
}

// count tells where the credits of a hold went.
func (o *Observer) count(ctx context.Context, s *middleware.Settled, operation metric.MeasurementOption) {
	ended := o.of(label{operation: s.Operation, ending: s.Ending.String()})
	o.held.Add(ctx, int64(s.Held), operation)
	switch {
	case s.Action == middleware.Keep:
		o.kept.Add(ctx, int64(s.Held), ended)
	case s.Charged > 0 || s.Err == nil:
		o.captured.Add(ctx, int64(s.Charged), ended)
		o.released.Add(ctx, int64(max(0, s.Held-s.Charged)), ended)
	}
	if s.Err == nil && s.Asked > s.Charged {
		o.uncovered.Add(ctx, int64(s.Asked-s.Charged), ended)
	}
}
