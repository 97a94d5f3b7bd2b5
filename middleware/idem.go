package middleware

import (
	"strconv"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware/idempotency"
	"github.com/keytoll/keytoll/ratelimit"
)

// An Idempotency says what the field Idempotency-Key does to an operation. The zero
// value is IdempotencyOff. It is for [Gate.Handler] and what is built on it: messages of
// other transports have no such field.
type Idempotency uint8

const (
	IdempotencyOff      Idempotency = 0 // the field is the handler's, if anybody's
	IdempotencyOptional Idempotency = 1 // a request with it is done once
	IdempotencyRequired Idempotency = 2 // and one without it is refused
)

var idempotencies = [...]string{"off", "optional", "required"}

// String returns the stable name.
func (i Idempotency) String() string {
	if int(i) < len(idempotencies) {
		return idempotencies[i]
	}
	return "idempotency(" + strconv.Itoa(int(i)) + ")"
}

// IdempotencyOptions say how requests with an Idempotency-Key are done once.
type IdempotencyOptions struct {
	// Store keeps what was answered; required. It is asked once for every request with
	// the field, and once more when it is answered; between the two of who has outlived
	// its lease, is metered or charged late, whether the request is still its own.
	Store idempotency.Store
	// Keep is how long an answer is given again. 24 hours when 0.
	Keep time.Duration
	// Lease is after what time a request that has not been answered counts as dead, and
	// another with its key may be done. It must be longer than any handler takes, and
	// than Operation.MaxWait with it: of two that run after all, at most one is charged,
	// but both do the work. After a crash, clients are told 409 for as long. 5 minutes
	// when 0.
	Lease time.Duration
	// MaxRequest is the longest body in bytes of a request with the field. It is read
	// before the limits are asked, and kept in memory until the handler is done; what is
	// longer is refused with 413. 1 MiB when 0.
	MaxRequest int64
	// MaxAnswer is the longest body in bytes of an answer that is kept; a longer one
	// goes out as it is, and those who ask again are told 409. At most 3 MiB; 256 KiB
	// when 0.
	MaxAnswer int
	// Timeout bounds one question to Store before the call is settled. Before the handler
	// runs, a store that takes longer closes the operation: 503, after up to twice as
	// long, for what it was asked may have to be undone. 2 seconds when 0.
	Timeout time.Duration
	// Replays is how often one key may ask for what was done or is being done; it
	// uses nothing else up. It is counted in this process only. While it is used up,
	// the key's requests with the field are refused with 429. The zero value is 600 at
	// once and 600 a minute.
	Replays ratelimit.Limit
}

// largestAnswer is the most that MaxAnswer may be: what is left of MaxStored has room
// for the header.
const largestAnswer = 3 << 20

// defaultReplays is more than a client needs that retries, and less than hurts.
func defaultReplays() ratelimit.Limit {
	return ratelimit.Limit{Name: "replays", Count: 600, Period: time.Minute}
}

// once is what a gate has for requests that are done once.
type once struct {
	opt     IdempotencyOptions
	replays lock
	name    string // of the limit of replays
}

// newOnce returns nil for nil options.
func newOnce(f *errors.Faults, o *IdempotencyOptions, memory *ratelimit.MemoryOptions) *once {
	if o == nil {
		return nil
	}
	c := *o
	if c.Store == nil {
		f.Add("Idempotency.Store is nil; give an idempotency.Store, a MemoryStore for one instance")
	}
	if c.Keep == 0 {
		c.Keep = 24 * time.Hour
	}
	if c.Lease == 0 {
		c.Lease = 5 * time.Minute
	}
	if c.MaxRequest == 0 {
		c.MaxRequest = 1 << 20
	}
	if c.MaxAnswer == 0 {
		c.MaxAnswer = 256 << 10
	}
	if c.Timeout == 0 {
		c.Timeout = 2 * time.Second
	}
	for name, d := range map[string]time.Duration{"Keep": c.Keep, "Lease": c.Lease} {
		if d < time.Millisecond || d > idempotency.MaxTime {
			f.Add("Idempotency.%s is %v; give 0 (the default), or 1ms to %v", name, d, idempotency.MaxTime)
		}
	}
	if c.MaxRequest < 0 {
		f.Add("Idempotency.MaxRequest is %d; give 0 (1 MiB) or more bytes", c.MaxRequest)
	}
	if c.MaxAnswer < 0 || c.MaxAnswer > largestAnswer {
		f.Add("Idempotency.MaxAnswer is %d; give 0 (256 KiB), or 1 to %d bytes", c.MaxAnswer, largestAnswer)
	}
	if c.Timeout < 0 {
		f.Add("Idempotency.Timeout is %v; give 0 (2 s) or more", c.Timeout)
	}
	if c.Replays == (ratelimit.Limit{}) {
		c.Replays = defaultReplays()
	}
	if c.Replays.Name == "" {
		c.Replays.Name = defaultReplays().Name
	}
	noLeases(f, "Idempotency.Replays", c.Replays)
	replays, err := newLock(c.Replays, memory)
	f.Join(err)
	return &once{opt: c, replays: replays, name: c.Replays.Name}
}

// A Kept is what became of the answer to a request with an Idempotency-Key.
// Numbers and names never change meaning.
type Kept uint8

const (
	KeptNothing   Kept = 0 // there was no key, or the store failed: see Settled.Err
	KeptAnswer    Kept = 1 // it is given again to those who ask again
	KeptOpaque    Kept = 2 // it could not be kept, and those who ask again are told so
	KeptForgotten Kept = 3 // nothing was done or charged that counts: who asks again begins anew
)

var kepts = [...]string{"nothing", "answer", "opaque", "forgotten"}

// String returns the stable name.
func (k Kept) String() string {
	if int(k) < len(kepts) {
		return kepts[k]
	}
	return "kept(" + strconv.Itoa(int(k)) + ")"
}
