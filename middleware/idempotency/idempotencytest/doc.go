// Package idempotencytest is the contract of [idempotency.Store] as a test suite,
// and its benchmarks. These lines test a store:
//
//	idempotencytest.Run(t, func(t *testing.T) idempotencytest.Fixture {
//		return idempotencytest.Fixture{Store: open(t)}
//	})
//	idempotencytest.Bench(b, func(b *testing.B) idempotency.Store { return open(b) })
//
// # Time
//
// Leases end by the store's own clock. Where a test can move that, the fixture says
// how; otherwise [Run] waits for leases of one second, all of them at the same
// time, and leaves slack for a slow machine.
package idempotencytest
