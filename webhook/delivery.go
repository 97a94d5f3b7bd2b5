package webhook

import "time"

// A Delivery is one message on its way to one endpoint: one row of a [Store],
// named by Endpoint and Message.
type Delivery struct {
	Endpoint string
	Message  string
	Account  string // of both
	Type     string // of the message
	// Seq grows with publication in one store. Of two messages for one endpoint
	// published one after the other, the later has the greater. The store sets it.
	Seq int64
	// State says where the delivery stands.
	State DeliveryState
	// Due is when the next attempt may begin, in the states Pending and Sending.
	Due time.Time
	// Tries counts attempts begun since the message was published, Attempt those
	// since the schedule began: a resend begins it anew.
	Tries, Attempt int
	// Token and Lease say who is making an attempt, and until when nobody else
	// does. Only in the state Sending.
	Token string
	Lease time.Time
	// Failure is how the last attempt failed; 0 when it did not.
	Failure Failure
	// Manual is set while an attempt was asked for by [Sender.Resend].
	Manual bool
	// CreatedAt is when the message was published for this endpoint; EndedAt is
	// when the delivery came to Delivered, Dead or Dropped.
	CreatedAt, EndedAt time.Time
}

// A DeliveryState says where a delivery stands. Numbers never change meaning.
type DeliveryState uint8

const (
	DeliveryPending   DeliveryState = 1 // waits for Due; held while the endpoint is disabled
	DeliverySending   DeliveryState = 2 // an attempt is being made, until Lease
	DeliveryDelivered DeliveryState = 3 // the receiver answered 2xx
	DeliveryDead      DeliveryState = 4 // given up: the schedule is over, or nothing could mend it
	DeliveryDropped   DeliveryState = 5 // the receiver did not want it, or it was discarded
)

// Ended reports whether no further attempt is made by itself.
func (s DeliveryState) Ended() bool { return s >= DeliveryDelivered }

// An Attempt is what came of one try: one row of a [Store], named by Endpoint,
// Message and Number. A number that is missing belongs to an attempt whose process
// did not live to tell.
type Attempt struct {
	Endpoint string
	Message  string
	Number   int // 1 for the first; [Delivery.Tries] at the time
	At       time.Time
	Took     time.Duration
	Failure  Failure // 0: delivered
	Status   int     // of the answer; 0 without one
	// Detail says what went wrong, in words for the owner of the endpoint, up to 256
	// bytes. It holds nothing that the receiver sent.
	Detail string
	// Body is the beginning of the answer, when [SenderOptions.KeepBody] says so.
	Body []byte
	// RetryAfter is how long the receiver asked to be left alone; 0 if it did not.
	RetryAfter time.Duration
	// Control is what the receiver asked for in "webhook-delivery".
	Control Control
	// Location is where the receiver would have sent us, up to 1024 bytes.
	Location string
	// Address is the IP address and port that was dialled; "" without one.
	Address string
}

// A Failure says how an attempt failed. Numbers and names never change meaning.
type Failure uint8

const (
	FailedStatus   Failure = 1  // it answered neither 2xx nor one of those below
	FailedRedirect Failure = 2  // it answered 3xx, which is never followed
	FailedGone     Failure = 3  // it answered 410
	FailedBusy     Failure = 4  // it answered 429, 502, 503 or 504
	FailedTimeout  Failure = 5  // the time for the attempt was over
	FailedLookup   Failure = 6  // the name could not be resolved
	FailedConnect  Failure = 7  // no connection, or it broke
	FailedTLS      Failure = 8  // no trusted TLS connection
	FailedRefused  Failure = 9  // the address is not one to deliver to: no retry
	FailedConfig   Failure = 10 // the endpoint cannot be used as it is configured: no retry
	FailedAnswer   Failure = 11 // the answer was not HTTP, or its header was too long
	FailedLost     Failure = 12 // nothing was sent: every process that tried ended before it could tell; no retry
	FailedKeys     Failure = 13 // nothing was sent: the host could not open the keys of the endpoint, or not sign
)

// A Control is what a receiver asks for in the header "webhook-delivery" of its
// answer. Numbers never change meaning.
type Control uint8

const (
	ControlAbort   Control = 1 // "abort-message": do not send this message again
	ControlDisable Control = 2 // "disable": send nothing more to this endpoint
)

// deliveryStates, failures and controls are indexed by their types, and are never
// written to.
var (
	deliveryStates = [...]string{"unknown", "pending", "sending", "delivered", "dead", "dropped"}
	failures       = [...]string{"", "status", "redirect", "gone", "busy", "timeout", "lookup", "connect", "tls", "refused", "config", "answer", "lost", "keys"}
	controls       = [...]string{"", "abort-message", "disable"}
)

// String returns the state's stable name.
func (s DeliveryState) String() string { return nameOf(deliveryStates[:], int(s)) }

// String returns the failure's stable name; "" for none.
func (f Failure) String() string { return nameOf(failures[:], int(f)) }

// String returns what the receiver wrote; "" for nothing.
func (c Control) String() string { return nameOf(controls[:], int(c)) }

// nameOf returns names[i], or "unknown".
func nameOf(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return "unknown"
}
