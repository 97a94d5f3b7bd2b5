// Package idempotency remembers what was answered under an Idempotency-Key
// (draft-ietf-httpapi-idempotency-key-header), so that a request that is sent again
// is not done again.
//
// Most programs only make a store, and let package middleware do the rest:
//
//	store, err := idempotency.NewMemoryStore(nil) // one instance; others are in stores/
//	if err != nil {
//		return err
//	}
//	gate, err := middleware.NewGate(keys, &middleware.Options{
//		Idempotency: &middleware.IdempotencyOptions{Store: store},
//	})
//
// # Parts
//
//   - [ParseHeader] reads the field's value.
//   - [KeyOf] and [FingerprintOf] hash who asks for what, and what a request is.
//   - [Store] decides who does it: exactly one at a time. [MemoryStore] is one, and
//     package idempotencytest tests others.
//   - [Answer] is what is kept: bytes with a version and a checksum.
//
// # Claims
//
// Whoever is to do a request claims its key, does it, and finishes the claim with the
// answer, or abandons it. A claim has a lease: when its caller dies, another may take
// it over after that. A lease must therefore outlast the work. Who outlives it finds
// out only when it finishes: [ErrLost].
//
// Who takes a claim over is told of every attempt before its own, as [Found] says. An
// attempt may have left something behind elsewhere, a hold of credits for example:
// named by First and the number of the attempt, it can be found and settled before
// the work is done again.
//
// # Errors
//
// Errors have the codes of package errors. [ErrMissing] and [ErrMalformed] are about
// the field, [ErrTooLarge] about a body, [ErrLost] and code Exhausted about a store,
// [ErrCorrupt] about what came back from one.
//
// # Security
//
// Stores see hashes of who asks and of what was asked, and answers as they are: their
// bodies and the fields that may be given again. An operation whose answer holds a
// secret, such as a new key, is better not kept. A key is only as wide as the parts
// that [KeyOf] was given: without who asks among them, one client is given the
// answer of another.
//
// # Concurrency
//
// Stores are safe for concurrent use; the other types are values.
//
// # Time
//
// Stores decide by their own clock, one for all their callers. [MemoryStore] runs no
// goroutine; what is over is freed by later calls.
//
// # What it does not do
//
// It does not make the work itself atomic: a handler that dies halfway is run again
// from its beginning. Give what it calls an idempotency key too, one made of its own.
package idempotency
