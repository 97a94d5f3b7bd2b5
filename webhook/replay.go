package webhook

import (
	"context"
	"time"
)

// A ReplayStore remembers which messages were handled and which are being
// handled, so that each is handled once however often it arrives. A key is in
// one of three states: free, in flight (claimed by an owner until its lease
// ends) or done (until its time to keep ends).
//
// [Verifier.Handler] promises its store: keys of 1 to 512 bytes of visible
// ASCII, owners of 1 to 64 such bytes that are new for every request, and leases
// and times to keep of whole milliseconds, 1 or more.
//
// A store promises, and webhooktest.RunReplay tests:
//
//   - Time is the store's own, so that several processes agree. A lease or a time
//     to keep that begins at t ends at t plus its length: from that instant on
//     the key is free.
//   - Keys and owners are compared byte for byte.
//   - Each method is atomic with respect to all others.
//   - A call whose context is over changes nothing, and its error matches that of
//     the context.
//   - It may be used by any number of goroutines.
//   - Any other error means that the store could not decide; the code is
//     Unavailable, or Corrupt for what it did not write itself. The caller then
//     does not handle the message.
type ReplayStore interface {
	// Claim asks for key on behalf of owner.
	//
	// A free key becomes in flight for owner, for lease: [ClaimGranted]. A key in
	// flight for the same owner stays so, and its lease begins anew, be it shorter:
	// ClaimGranted. A key in flight for another owner, or done, does not change in any way:
	// [ClaimInFlight] or [ClaimDone]. Of any number of claims on a free key by different
	// owners, exactly one is granted.
	Claim(ctx context.Context, key, owner string, lease time.Duration) (ClaimState, error)

	// Done makes key done for keep, whatever state it was in: the message has
	// been handled, even if a lease ended meanwhile. A key that is done already
	// keeps the later of the two ends.
	Done(ctx context.Context, key string, keep time.Duration) error

	// Release makes key free if it is in flight for owner. In every other case
	// it changes nothing and returns nil.
	Release(ctx context.Context, key, owner string) error
}

// A ClaimState is the answer to a claim. Its zero value is no answer, and
// grants nothing.
type ClaimState uint8

const (
	ClaimGranted  ClaimState = 1 // the caller handles the message, then calls Done or Release
	ClaimInFlight ClaimState = 2 // another owner is handling it
	ClaimDone     ClaimState = 3 // it has been handled
)

// String returns "granted", "in flight" or "done", and "none" for any other
// value.
func (s ClaimState) String() string {
	switch s {
	case ClaimGranted:
		return "granted"
	case ClaimInFlight:
		return "in flight"
	case ClaimDone:
		return "done"
	}
	return "none"
}
