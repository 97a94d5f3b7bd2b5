package webhook

import (
	"time"
)

// Defaults and bounds of a [Sender].
const (
	DefaultConcurrency  = 64
	DefaultLease        = 2 * time.Minute
	DefaultPoll         = time.Second
	DefaultDrain        = 20 * time.Second
	DefaultDisableAfter = 5 * 24 * time.Hour
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
	// [DefaultPayload].
	MaxPayload int
	// Keys sign every message, beside the keys of its endpoint: a key pair of the
	// host's, perhaps in a key management service. Default none.
	Keys Keys
	// Transport makes the connections. Default: one of [NewSafeTransport] without
	// options.
	Transport *SafeTransport
	// Concurrency bounds the attempts that this process makes at once. Default
	// [DefaultConcurrency].
	Concurrency int
	// MaxTimeout is the longest [Settings.Timeout] that an endpoint may have, up to
	// [MaxTimeout]. Default [MaxTimeout].
	MaxTimeout time.Duration
	// Lease is how long a delivery belongs to a process that died while making an
	// attempt: at least MaxTimeout and 15 seconds. Default [DefaultLease].
	Lease time.Duration
	// Poll is the longest that a delivery waits to be seen which another process
	// published. Default [DefaultPoll].
	Poll time.Duration
	// Drain is how long [Sender.Run] lets attempts finish that run when its context
	// ends. Default [DefaultDrain].
	Drain time.Duration
	// DisableAfter disables an endpoint that has done nothing but fail for so long,
	// with no two failures more than two days apart. At least an hour. Default
	// [DefaultDisableAfter]; negative: never.
	DisableAfter time.Duration
	// KeepBody is how many bytes of an answer an [Attempt] keeps, up to
	// [MaxKeepBody]. Default 0: what receivers answer, and with it what a forged
	// address would give away, is not shown to anybody.
	KeepBody int
	// UserAgent is sent with every attempt. Default "keytoll-webhook".
	UserAgent string
	// Observer learns what became of deliveries. Default nil: nobody does.
	Observer SenderObserver
	// Now is the clock for signatures and for the attempts' At. Default time.Now.
	Now    func() time.Time
	Random func() uint64
}
