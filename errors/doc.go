// Package errors holds the one error type of this module and its closed set
// of codes.
//
// Most programs never import it: every sentinel lives in the package that
// returns it ([apikey.ErrExpired], [credits.ErrInsufficient], ...) and works
// with the standard library's errors.Is. This package is for code that treats
// all domains alike: mapping errors to HTTP answers, logs and metrics.
//
//	switch errors.CodeOf(err) {
//	case errors.Insufficient:
//		// ask for payment
//	case errors.Unavailable:
//		// try again later
//	}
//
// It forwards [New], [Is], [AsType], [Join] and [Unwrap] of the standard
// library, so that one package called errors serves a whole file.
//
// # What a client may read
//
// [Error.Msg] and [MessageOf] are safe to show to a client: they never hold a
// secret, a driver's text or another tenant's data. [Error.Err] and the text
// of Error are for operators.
//
// # Concurrency
//
// An [Error] is never changed after it was made; sharing one between
// goroutines is safe. A [Faults] belongs to one goroutine.
//
// [apikey.ErrExpired]: https://pkg.go.dev/github.com/keytoll/keytoll/apikey#ErrExpired
// [credits.ErrInsufficient]: https://pkg.go.dev/github.com/keytoll/keytoll/credits#ErrInsufficient
package errors
