// Package creditstest proves that a [credits.Store] keeps its contract.
//
//	func TestConformance(t *testing.T) {
//		creditstest.Run(t, func(t *testing.T) credits.Store { return open(t) })
//	}
//
//	func BenchmarkStore(b *testing.B) {
//		creditstest.Bench(b, func(b *testing.B) credits.Store { return open(b) })
//	}
//
// Each subtest of [Run] is a sentence of the contract in the comments of
// [credits.Store], [credits.Need] and [credits.State], or a promise of the ledger
// that a store can break. The constructor is called once for each and must
// return a store without accounts; what it opens it closes with t.Cleanup.
//
// Test a store twice: by [RunStill] as its users get it, and by [Run] with a
// clock that the test moves, which implements [Clock]. Where a server decides at
// its own time, give the store an option to take the time from the test.
//
// The parts that Run is made of are there for a store's own tests: [Random] makes
// commands of every verb from a seed, [Faulty] is a store that fails as it is
// told, and [Equal] compares all rows of an account in two stores.
package creditstest
