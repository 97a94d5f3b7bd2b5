// Package webhooktest helps to test what package webhook is used for.
//
//   - [NewRequest] builds a signed request, to hand to a handler or to send.
//   - [Receiver] is an HTTP server that verifies what it gets, records it and
//     answers from a script: with failures, pauses, broken and hanging connections.
//   - [RunReplay] is the contract of [webhook.ReplayStore] as a test suite, and
//     [BenchReplay] its benchmarks.
//
// These two lines test a store of replay keys:
//
//	webhooktest.RunReplay(t, func(t *testing.T) webhook.ReplayStore { return open(t) })
//	webhooktest.BenchReplay(b, func(b *testing.B) webhook.ReplayStore { return open(b) })
//
// # Time
//
// Leases end by the store's own clock. A store that also implements [Advancer]
// has that clock moved by the suite, and its ends are checked to the
// millisecond; with any other store the suite waits for leases of one second, all
// of them at the same time, and leaves slack for a slow machine.
//
// # Concurrency
//
// A [Receiver] may be used by any number of goroutines.
package webhooktest
