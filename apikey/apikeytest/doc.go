// Package apikeytest proves an [apikey.Store] and an [apikey.Feed] against their
// contracts, and measures stores.
//
// It is all the behavioural test a store needs:
//
//	func TestStore(t *testing.T) {
//		apikeytest.Run(t, func(t *testing.T) apikey.Store { return open(t) })
//	}
//
// and, if it is an [apikey.Feed] too, or for a feed beside a store:
//
//	func TestFeed(t *testing.T) {
//		apikeytest.RunFeed(t, func(t *testing.T) (a, b apikey.Feed) { return two(t) })
//	}
//
//	func BenchmarkStore(b *testing.B) {
//		apikeytest.Bench(b, func(b *testing.B) apikey.Store { return open(b) })
//	}
//
// Every subtest is a sentence of the contract. It imports nothing but the
// standard library and this module, so that a store anywhere can use it.
package apikeytest
