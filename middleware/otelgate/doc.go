// Package otelgate tells OpenTelemetry what a gate decides and charges: counts
// that a dashboard can add up, and attributes on the span that is there already.
//
//	telemetry, err := otelgate.New(nil) // the program's global providers
//	if err != nil {
//		return err
//	}
//	gate, err := middleware.NewGate(keys, &middleware.Options{
//		Observer: middleware.Observers{telemetry, middleware.NewSlogObserver(log)},
//	})
//
// # Metrics
//
// The scope is the import path of this package. Names, units and attributes never
// change meaning.
//
//	name                         kind       unit           attributes                 description
//	keytoll.decisions            counter    {decision}     operation, outcome         Attempts that the gate decided.
//	keytoll.decision.duration    histogram  s              operation, outcome         How long the gate took to decide.
//	keytoll.limit.refusals       counter    {refusal}      operation, limit, shadow   Limits that refused, or would have in shadow.
//	keytoll.limit.degraded       counter    {decision}     operation                  Decisions by policy, while the store of limits failed.
//	keytoll.passes.open          updown     {pass}         operation                  Calls that were allowed and are not over.
//	keytoll.holds.open           updown     {hold}         operation                  Calls that hold credits and are not over.
//	keytoll.settlements          counter    {settlement}   operation, ending, action  Calls that are over.
//	keytoll.settle.failures      counter    {settlement}   operation, ending, action  Calls whose hold, leases or answer could not be settled.
//	keytoll.idempotency.answers  counter    {answer}       operation, kept            Answers to calls with an Idempotency-Key.
//	keytoll.credits.held         counter    {microcredit}  operation                  Credits that calls held, counted when they are over.
//	keytoll.credits.captured     counter    {microcredit}  operation, ending          Credits that were charged.
//	keytoll.credits.released     counter    {microcredit}  operation, ending          Credits that were held and not charged.
//	keytoll.credits.kept         counter    {microcredit}  operation, ending          Credits that stay held for a job to settle.
//	keytoll.credits.uncovered    counter    {microcredit}  operation, ending          Credits that were to be charged and could not be.
//
// Attributes have the prefix "keytoll.": keytoll.operation is the name of an
// operation, keytoll.outcome a [middleware.Verdict], keytoll.limit the name of a
// limit, keytoll.shadow whether it is one in Shadow, keytoll.ending a
// [middleware.Ending], keytoll.action a [middleware.Action], or none where nothing
// was held, keytoll.kept a [middleware.Kept]. All of them are from closed sets that
// the program defines. Keys, owners, accounts, addresses and paths are never
// attributes of a metric.
//
// Blocked guesses are decisions of the outcome auth_limited, floods those of
// ip_limited, replays those of idem_replayed, and so on. What was held is what was
// captured, released and kept, and what failures left open; what is captured by
// [middleware.Operation] Overrun comes on top. A credit is 1,000,000 microcredits,
// which are whole numbers, and exact.
//
// # Spans
//
// No span is started. The one in the context, such as that of otelhttp around the
// gate, is given these attributes, where they apply: keytoll.operation,
// keytoll.outcome, keytoll.request.id, keytoll.limits, keytoll.degraded,
// keytoll.credits.held, keytoll.original, the hold of the call that a replay
// repeats, and when the call is over keytoll.ending, keytoll.action,
// keytoll.credits.captured, keytoll.kept and keytoll.settle.failed. Whose key it was is told only
// when [Options] say so. Refusals leave the status of the span unset, as the
// conventions for HTTP want it of 4xx. What the gate could not decide, a 5xx, makes
// it an error, with the outcome as error.type.
//
// # Security
//
// The gate never tells a credential. Other instrumentation may record headers and
// URLs: [Redact] takes the gate's credentials out of such attributes.
//
// # Concurrency
//
// An [Observer] is safe for concurrent use. It starts no goroutine, and waits for
// nobody.
package otelgate
