// Package idempotency remembers what was answered under an Idempotency-Key
// (draft-ietf-httpapi-idempotency-key-header), so that a request that is sent
// again is not done again.
package idempotency
