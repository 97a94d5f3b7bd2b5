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

var states = [...]string{"unknown", "claimed", "running", "mismatch", "done"}

// String returns the state's stable name in snake case, or "unknown".
func (s State) String() string {
	if int(s) < len(states) {
		return states[s]
	}
	return states[0]
}

// Found is the answer to a claim. Its slice is the caller's own.
type Found struct {
	State State
	// First and Turn tell, with Claimed, what came before: First is the token of the
	// first of the claims that took one another over, the claim's own when it took
	// over none, and Turn how many they are before it. First and a number from 0 to
	// Turn name every attempt there was, for each of which its caller may have left
	// something behind elsewhere.
	First  Token
	Turn   int
	Wait   time.Duration // with Running: until the lease ends; more than 0
	Answer []byte        // with Done: what Finish was given
}

// Bounds of what a [Store] is asked for.
const (
	// MaxTime is the longest Lease, Keep and keep.
	MaxTime = 366 * 24 * time.Hour
	// MaxStored is the longest answer in bytes.
	MaxStored = 4 << 20
	// SmallAnswer is the length in bytes of an answer for which there is room
	// wherever there was room for its claim.
	SmallAnswer = 64
)

// A Store keeps claims and answers. It decides by its own clock, the same for all
// its callers, to the millisecond or finer; each method is atomic. A call whose
// context is over changes nothing, and fails with the context's error. Errors of
// other than the codes named here mean that what they left is not known. It is
// safe for concurrent use, and calls about different keys do not disturb each
// other. Package idempotencytest tests every sentence of this.
type Store interface {
	// Claim makes the key the caller's to do when nothing is kept for it, or what
	// was kept is over; that is Claimed. A claim is kept for its Lease and then its
	// Keep. The claim that is there is answered Mismatch when its fingerprint is
	// another, whatever else holds; Claimed again, with the same First and Turn, when
	// its token is the same, and its Lease and Keep begin anew; Running while its
	// lease lasts; and is taken over after that, which is Claimed with its First and
	// the next Turn. An answer that is there is Done, for every token, or Mismatch.
	// What is answered Mismatch, Running or Done is not changed. A store that has no
	// room for another key refuses with code Exhausted, and forgets nothing that is
	// not over.
	Claim(ctx context.Context, c Claim) (Found, error)
	// Finish keeps answer in the place of the claim that has this token, for keep
	// from now. It may come after the lease, as long as nobody took the claim over.
	// Again with the same token it is nil and changes nothing, whatever the answer.
	// ErrLost when the claim is another's or is gone. An answer for which there is no
	// room is refused with code Exhausted, and the claim stays as it is; one of at
	// most SmallAnswer bytes always has room. answer is copied; it may be empty.
	Finish(ctx context.Context, key Key, token Token, answer []byte, keep time.Duration) error
	// Abandon forgets the claim that has this token, its First and Turn too, so that
	// the next begins anew. It does nothing to an answer, to a claim of another
	// token, and to a key for which nothing is kept; that is no error.
	Abandon(ctx context.Context, key Key, token Token) error
}
