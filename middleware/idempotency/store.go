package idempotency

import (
	"context"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// ErrLost says that a claim is not the caller's any more: its lease ran out and
// another took it over, or what it stood for was forgotten.
var ErrLost error = &errors.Error{Code: errors.Conflict, Msg: "the claim of this request is not held any more"}

// A Key names what is done once: a hash of who asks, for what operation, under
// which Idempotency-Key. It tells nothing of them.
type Key [32]byte

// A Fingerprint is a hash of everything that makes a request what it is.
type Fingerprint [32]byte

// A Token names one claim: 128 random bits. The zero Token names none.
type Token [16]byte

// A Claim asks to do what Key names.
type Claim struct {
	Key         Key
	Fingerprint Fingerprint
	Token       Token         // of this claim; not zero
	Lease       time.Duration // after which another may take the claim over; more than 0
	Keep        time.Duration // after the lease, how long a claim that nobody finished is remembered; 0 or more
}

// A State is how far what a Key names has come.
type State uint8

const (
	Claimed  State = 1 // it is the caller's to do
	Running  State = 2 // somebody else does it
	Mismatch State = 3 // the key stands for a request with another fingerprint
	Done     State = 4 // it has been done
)

// Found is the answer to a claim. Its slice is the caller's own.
type Found struct {
	State  State
	Stale  Token         // with Claimed: the claim that was taken over; zero: there was none
	Wait   time.Duration // with Running: until the lease ends
	Answer []byte        // with Done: what Finish was given
}

// A Store keeps claims and answers. It decides by its own clock, the same for all
// its callers; each method is atomic. Errors of other than the codes named here
// mean that nothing is known to have changed. It is safe for concurrent use.
type Store interface {
	// Claim makes the key the caller's to do when nothing is kept for it, or what
	// was kept is over; that is Claimed. The claim that is there is answered
	// Mismatch when its fingerprint is another, whatever else holds; Claimed again
	// when its token is the same; Running while its lease lasts; and is taken over
	// after that, which is Claimed with its token as Stale. An answer that is there
	// is Done or Mismatch. A store that has no room for another key refuses with
	// code Exhausted, and forgets nothing that is not over.
	Claim(ctx context.Context, c Claim) (Found, error)
	// Finish keeps answer in the place of the claim that has this token, for keep
	// from now. It may come after the lease, as long as nobody took the claim over.
	// The same again is nil and changes nothing. ErrLost when the claim is another's
	// or is gone. answer is copied; it may be empty.
	Finish(ctx context.Context, key Key, token Token, answer []byte, keep time.Duration) error
	// Abandon forgets the claim that has this token, so that the next may begin
	// anew. It does nothing to an answer, and to a claim of another token.
	Abandon(ctx context.Context, key Key, token Token) error
}
