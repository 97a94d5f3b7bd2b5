// Package webhooktest helps to test what package webhook is used for.
//
//   - [NewRequest] builds a signed request, to hand to a handler or to send.
//   - [Receiver] is an HTTP server that verifies what it gets, records it and
//     answers from a script: with failures, pauses, broken and hanging connections.
//   - [Run] is the contract of [webhook.Store], the queue of a sender, as a test
//     suite, and [Bench] its benchmarks.
//   - [RunReplay] is the contract of [webhook.ReplayStore] as a test suite, and
//     [BenchReplay] its benchmarks.
//
// These lines test stores:
//
//	webhooktest.Run(t, func(t *testing.T) webhook.Store { return open(t) })
//	webhooktest.Bench(b, func(b *testing.B) webhook.Store { return open(b) })
//	webhooktest.RunReplay(t, func(t *testing.T) webhook.ReplayStore { return open(t) })
//	webhooktest.BenchReplay(b, func(b *testing.B) webhook.ReplayStore { return open(b) })
//
// # Time
//
// Leases end by the store's own clock. A store that also implements [Advancer]
// has that clock moved by the suite. With any other store [RunReplay] waits for
// leases of one second, all of them at the same time, and leaves slack for a slow machine;
// [Run] waits for some milliseconds here and there, and compares what it gets with
// the time that the store itself says it is.
//
// # Concurrency
//
// A [Receiver] may be used by any number of goroutines.
package webhooktest
