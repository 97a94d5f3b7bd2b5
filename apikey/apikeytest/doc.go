// Package apikeytest proves an [apikey.Store] against its contract, and
// measures it.
//
// It is all the behavioural test a store needs:
//
//	func TestStore(t *testing.T) {
//		apikeytest.Run(t, func(t *testing.T) apikey.Store { return open(t) })
//	}
//
//	func BenchmarkStore(b *testing.B) {
//		apikeytest.Bench(b, func(b *testing.B) apikey.Store { return open(b) })
//	}
//
// Every subtest is a sentence of the contract. It imports nothing but the
// standard library and this module, so that a store anywhere can use it.
package apikeytest
