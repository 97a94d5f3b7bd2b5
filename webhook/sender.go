package webhook

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// Defaults and bounds of a [Sender].
const (
	DefaultConcurrency  = 256
	DefaultLease        = 2 * time.Minute
	DefaultPoll         = time.Second
	DefaultDrain        = 20 * time.Second
	DefaultDisableAfter = 5 * 24 * time.Hour
	MaxConcurrency      = 10_000
	MaxKeepBody         = 16 << 10

	// leaseMargin is what a lease has to outlast the longest attempt by, so that
	// its end can be noted.
	leaseMargin = 15 * time.Second
)

// SenderOptions adjusts a [Sender].
type SenderOptions struct {
	// Retry says when a failed attempt is made again. Default: that of
	// [StandardSchedule].
	Retry Retry
	// MaxPayload is the most bytes of a payload, 1 to [MaxPayload]. Default
	// [DefaultMaxPayload].
	MaxPayload int
	// Keys sign every message, beside the keys of its endpoint: a key pair of the
	// host's, perhaps in a key management service. Together they are one set, see
	// [NewKeys]; where they cannot be, nothing is sent, and the observer is told.
	// Default none.
	Keys Keys
	// Transport makes the connections. Default: one of [NewSafeTransport] without
	// options.
	Transport *SafeTransport
	// Concurrency bounds the attempts that this process makes at once, and with them
	// the messages that it holds in memory: 1 to [MaxConcurrency]. Default
	// [DefaultConcurrency].
	Concurrency int
	// MaxTimeout is the longest [Settings.Timeout] that an endpoint may have:
	// [MinTimeout] to [MaxTimeout]. Default [MaxTimeout].
	MaxTimeout time.Duration
	// Lease is how long a delivery belongs to a process that died while making an
	// attempt: at least MaxTimeout and 15 seconds, at most a day. Default
	// [DefaultLease].
	Lease time.Duration
	// Poll is the longest that a delivery waits to be seen which another process
	// published: a millisecond to a minute. Default [DefaultPoll].
	Poll time.Duration
	// Drain is how long [Sender.Run] lets attempts finish that run when its context
	// ends, up to an hour. Default [DefaultDrain].
	Drain time.Duration
	// DisableAfter disables an endpoint that has done nothing but fail for so long,
	// with no two failures more than two days apart. At least an hour. Default
	// [DefaultDisableAfter]; negative: never.
	DisableAfter time.Duration
	// KeepBody is how many bytes of an answer an [Attempt] keeps, up to
	// [MaxKeepBody]. Default 0: what receivers answer, and with it what a forged
	// address would give away, is not shown to anybody.
	KeepBody int
	// UserAgent is sent with every attempt: up to 256 bytes of printable ASCII.
	// Default "keytoll-webhook".
	UserAgent string
	// Observer learns what became of deliveries. Default nil: nobody does.
	Observer SenderObserver
	// Now is the clock for signatures and for the attempts' At. Default time.Now.
	Now func() time.Time
	// Random is where jitter comes from. Default crypto/rand.
	Random func() uint64
}

// A Sender keeps endpoints, publishes messages, and delivers them: each to every
// endpoint of its account that takes it, at least once, signed when it is sent.
//
// A Sender may be used by any number of goroutines, and any number of them in any
// number of processes may share a [Store]. It starts no goroutine: deliveries are
// made while [Sender.Run] runs, and one on which Run is never called publishes
// only. The zero value is not usable; call [NewSender].
type Sender struct {
	store        Store
	sealer       *sealer
	courier      *courier
	retry        Retry
	observer     SenderObserver
	now          func() time.Time
	random       func() uint64
	seed         uint64 // of luck
	maxPayload   int
	concurrency  int
	maxTimeout   time.Duration
	lease        time.Duration
	poll         time.Duration
	drain        time.Duration
	disableAfter time.Duration // 0: never
	wake         chan struct{} // of capacity 1: something is due
	running      atomic.Bool   // there is a Run
}

// NewSender makes a Sender on a store. sealing holds the keys of the host under
// which secrets of endpoints are kept, the one to seal with first: at least one.
// opts may be nil. Every fault is reported at once.
func NewSender(store Store, sealing []SealingKey, opts *SenderOptions) (*Sender, error) {
	var o SenderOptions
	if opts != nil {
		o = *opts
	}
	o.fill()
	faults := errors.Faults{Op: "webhook.NewSender"}
	if store == nil {
		faults.Add("store: nil; give one, such as that of NewMemoryStore")
	}
	sealer := newSealer(&faults, sealing)
	if o.Transport == nil {
		made, err := NewSafeTransport(nil)
		faults.Join(err)
		o.Transport = made
	}
	o.check(&faults)
	if err := faults.Err(); err != nil {
		return nil, err
	}
	return &Sender{
		store: store, sealer: sealer, courier: newCourier(&o), retry: o.Retry, observer: o.Observer,
		now: o.Now, random: o.Random, seed: o.Random(), maxPayload: o.MaxPayload, concurrency: o.Concurrency,
		maxTimeout: o.MaxTimeout, lease: o.Lease, poll: o.Poll,
		drain: o.Drain, disableAfter: max(0, o.DisableAfter), wake: make(chan struct{}, 1),
	}, nil
}

// fill puts the defaults in place of what is zero.
func (o *SenderOptions) fill() {
	orDefault(&o.MaxPayload, DefaultMaxPayload)
	orDefault(&o.Concurrency, DefaultConcurrency)
	orDefault(&o.MaxTimeout, MaxTimeout)
	orDefault(&o.Lease, DefaultLease)
	orDefault(&o.Poll, DefaultPoll)
	orDefault(&o.Drain, DefaultDrain)
	orDefault(&o.DisableAfter, DefaultDisableAfter)
	orDefault(&o.UserAgent, "keytoll-webhook")
	if o.Retry == nil {
		o.Retry = Schedule(StandardSchedule())
	}
	if o.Now == nil {
		o.Now = time.Now //nolint:forbidigo // the one default clock
	}
	if o.Random == nil {
		o.Random = randomNumber
	}
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func randomNumber() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // documented never to fail
	return binary.NativeEndian.Uint64(b[:])
}

// check notes what is out of range.
func (o *SenderOptions) check(faults *errors.Faults) {
	within(faults, "MaxPayload", o.MaxPayload, 1, MaxPayload)
	within(faults, "Concurrency", o.Concurrency, 1, MaxConcurrency)
	within(faults, "KeepBody", o.KeepBody, 0, MaxKeepBody)
	within(faults, "MaxTimeout", o.MaxTimeout, MinTimeout, MaxTimeout)
	within(faults, "Poll", o.Poll, time.Millisecond, time.Minute)
	within(faults, "Drain", o.Drain, time.Microsecond, time.Hour)
	if least := o.MaxTimeout + leaseMargin; o.Lease < least || o.Lease > 24*time.Hour || o.Lease%time.Microsecond != 0 {
		faults.Add("Lease is %v; give MaxTimeout and %v at least, which is %v, and 24h at most, in whole microseconds", o.Lease, leaseMargin, least)
	}
	if o.DisableAfter > 0 && o.DisableAfter < time.Hour {
		faults.Add("DisableAfter is %v; give an hour or more, or a negative one for never", o.DisableAfter)
	}
	if o.Transport.guard == nil {
		faults.Add("Transport: a zero SafeTransport; make one with NewSafeTransport")
	}
	if n := o.Keys.Len(); n >= MaxKeys {
		faults.Add("Keys: %d; give up to %d, since an endpoint has some of its own, and %d at most sign", n, MaxKeys-1, MaxKeys)
	}
	publicFaults(faults, o.Keys)
	if !printable(o.UserAgent, 256) {
		faults.Add("UserAgent: not up to 256 bytes of printable ASCII")
	}
}

// within notes a fault when value is not one from least to most.
func within[T int | time.Duration](faults *errors.Faults, name string, value, least, most T) {
	if value < least || value > most {
		faults.Add("%s is %v; give %v to %v", name, value, least, most)
	}
}

// printable reports whether s is up to limit bytes of ASCII that can be seen, and
// spaces.
func printable(s string, limit int) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return len(s) <= limit
}

// Wake makes [Sender.Run] look for deliveries now and not at its next poll, in
// this process. What publishes does it by itself; it is for callers whose
// transaction with a [Sender.PublishIn] has just been committed.
func (s *Sender) Wake() {
	select {
	case s.wake <- struct{}{}:
	default: // somebody did already
	}
}

// tell tells the observer, if there is one.
func (s *Sender) tell(ctx context.Context, events ...SenderEvent) {
	if s.observer == nil {
		return
	}
	for _, e := range events {
		s.observer.WebhookSent(ctx, e)
	}
}
