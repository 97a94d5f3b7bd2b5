// Package legacy proves keys that other systems made, by the digests that those
// systems kept: bcrypt, argon2id, and SHA-256 as hex or base64. They are the
// schemes of [apikey.Legacy], for [apikey.Service.Import]:
//
//	keys, err := apikey.NewService(store, format, &apikey.Options{Legacy: []apikey.Legacy{{
//		Name:   "sha256",
//		Shape:  apikey.Shape{Prefix: "old_", MinLength: 36, MaxLength: 36},
//		Scheme: legacy.SHA256Hex{},
//	}}})
//
// A key is proven so until its first use, which gives it a digest of the
// service's own.
//
// All schemes are values without state, safe for concurrent use. Their zero
// values are ready for use. Digests are compared in constant time. The slow ones
// bound what a stored digest may cost, so that a forged or damaged record can
// take neither memory nor time beyond that; what is over the bound is refused
// by Check, and proven by nothing.
//
// # Errors
//
// Check and Prove answer what they cannot read with [errors.Invalid], in words
// that repeat nothing of it. A text that does not fit a digest is no error.
package legacy

import "github.com/keytoll/keytoll/errors"

func fault(format string, args ...any) error {
	faults := errors.Faults{Op: "legacy"}
	faults.Add(format, args...)
	return faults.Err()
}
