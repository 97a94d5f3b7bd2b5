package webhook

import (
	"strings"
	"time"
)

// An Endpoint is where messages of an account go, and how: one row of a [Store].
// Instants are UTC with microseconds; the zero time means "none".
type Endpoint struct {
	// ID names the endpoint: 1 to 64 characters of A-Z, a-z, 0-9, '_' and '-'.
	ID string
	// Account is whose messages go here: 1 to 128 bytes of visible ASCII.
	Account string
	// Settings are what the account chooses.
	Settings Settings
	// Sealed holds the keys that sign and the client's private key, sealed for
	// this ID. Only a [Sender] with the sealing key can read it.
	Sealed []byte
	// State says whether deliveries are made.
	State EndpointState
	// Reason says why the endpoint is disabled; 0 in every other state.
	Reason DisableReason
	// CreatedAt and UpdatedAt are when the row was made and when Settings, Sealed or
	// State changed last, by the store's clock.
	CreatedAt, UpdatedAt time.Time
	// Health is what deliveries found out about the receiver.
	Health Health
}

// An EndpointState says whether an endpoint gets deliveries. Numbers never
// change meaning.
type EndpointState uint8

const (
	EndpointActive   EndpointState = 1 // messages are filed and delivered
	EndpointDisabled EndpointState = 2 // messages are filed and held
	EndpointDeleted  EndpointState = 3 // no message is filed, none delivered; a tombstone
)

// A DisableReason says what disabled an endpoint. Numbers never change meaning.
type DisableReason uint8

const (
	DisabledByHost     DisableReason = 1 // [Sender.DisableEndpoint]
	DisabledByGone     DisableReason = 2 // it answered 410
	DisabledByReceiver DisableReason = 3 // it answered with "webhook-delivery: disable"
	DisabledByFailures DisableReason = 4 // nothing but failures for [SenderOptions.DisableAfter]
)

// endpointStates and disableReasons are indexed by their types, and are never
// written to.
var (
	endpointStates = [...]string{"unknown", "active", "disabled", "deleted"}
	disableReasons = [...]string{"", "host", "gone", "receiver", "failures"}
)

// String returns the state's stable name.
func (s EndpointState) String() string { return nameOf(endpointStates[:], int(s)) }

// String returns the reason's stable name; "" for none.
func (r DisableReason) String() string { return nameOf(disableReasons[:], int(r)) }

// slack is how far attempts may bunch up under [Settings.Rate].
const slack = 100 * time.Millisecond

// Takes reports whether messages of this type go to e. A filter is a type, or
// the beginning of types followed by ".*": "image.*" takes "image.created" and
// "image.created.late", and not "image".
func (e *Endpoint) Takes(kind string) bool {
	if len(e.Settings.Events) == 0 {
		return true
	}
	for _, filter := range e.Settings.Events {
		if prefix, ok := strings.CutSuffix(filter, "*"); filter == kind || ok && len(kind) > len(prefix) && strings.HasPrefix(kind, prefix) {
			return true
		}
	}
	return false
}

// Room returns how many attempts may begin at now while inFlight are running: 0
// to MaxInFlight. A [Store] asks it when it claims.
func (e *Endpoint) Room(now time.Time, inFlight int) int {
	if e.State != EndpointActive || e.Health.blocked(now) {
		return 0
	}
	room := e.Settings.MaxInFlight
	if room == 0 {
		room = DefaultMaxInFlight
	}
	if e.Settings.Ordered || e.Health.Trips > 0 {
		room = 1
	}
	room = max(0, room-inFlight)
	if e.Settings.Rate > 0 {
		ahead := now.Add(slack).Sub(e.paced(now))
		if ahead < 0 {
			return 0
		}
		room = min(room, int(ahead/e.interval())+1)
	}
	return room
}

// ReadyAt returns the first instant at which time alone lets an attempt begin;
// zero when nothing but a change of e does. A [Store] asks it when Room is 0.
func (e *Endpoint) ReadyAt() time.Time {
	if e.State != EndpointActive {
		return time.Time{}
	}
	if e.Settings.Rate == 0 {
		return e.Health.BlockedUntil
	}
	return later(e.Health.BlockedUntil, e.Health.PacedUntil.Add(-slack))
}

// Claimed notes that n attempts begin at now. A [Store] calls it when it claims.
func (e *Endpoint) Claimed(now time.Time, n int) {
	if e.Settings.Rate > 0 {
		e.Health.PacedUntil = e.paced(now).Add(time.Duration(n) * e.interval())
	}
}

// paced returns PacedUntil, or now when that is over. Claims leave it no further
// ahead than slack and an interval: one that is was noted before the clock was set
// back or Rate was raised, and means nothing.
func (e *Endpoint) paced(now time.Time) time.Time {
	if e.Health.PacedUntil.Sub(now) > slack+e.interval() {
		return now
	}
	return later(e.Health.PacedUntil, now)
}

// interval is how far apart Rate puts attempts.
func (e *Endpoint) interval() time.Duration {
	return (time.Second / time.Duration(e.Settings.Rate)).Truncate(time.Microsecond)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
