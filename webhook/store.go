package webhook

import (
	"context"
	"time"
)

// An Outbox takes messages in. Every [Store] is one; stores on SQL also make
// one of a transaction of the caller's, so that a message is published exactly
// when what it tells of is committed.
type Outbox interface {
	// Publish files m, once, and one pending delivery, due now, for each endpoint
	// of its account that is not deleted and takes it: whose [Endpoint.Takes] its Type,
	// or which is the one that m.Endpoint names. All of it is one atomic step, which
	// sees every endpoint change that returned before the call.
	//
	// The caller guarantees a valid message with an ID and a ContentType. The store
	// sets At. When a message of this ID is there already, nothing changes: if its
	// Account, Type, Endpoint, ContentType and Payload are the same, the answer is
	// that of the first publication with Replayed set, otherwise the error matches
	// [ErrIntent]. The payload is stored once, however many endpoints take it. An
	// m.Endpoint that does not exist, is deleted, or is another account's is
	// [ErrNotFound].
	Publish(ctx context.Context, m Message) (Publication, error)
}

// A Store keeps endpoints, messages, deliveries and attempts, and gives each
// delivery to one claimer at a time. It holds no policy: what becomes of an
// attempt is decided in functions that the [Sender] hands in. Implementations
// must be safe for concurrent use and pass webhooktest.Run.
//
// Ids compare byte by byte. Instants are UTC with microseconds; the zero time
// means "none" and comes back as the zero time. Now is the store's own clock,
// one authority for all processes that share it. Each method is atomic with
// respect to all others, and durable to the degree that the store promises when
// it returns. Functions handed in do no I/O, may be called again with freshly
// loaded rows, and are neither running nor called any more when the method has
// returned; an error of theirs is returned as it is, and nothing is written. A
// context that is over when a method is called changes nothing, and its error is
// reachable by errors.Is. Any other error has the code Unavailable, or Corrupt for
// rows that cannot be read; what was written is then not known, and each method
// may be called again. Returned values belong to the caller.
type Store interface {
	Outbox

	// Change loads the endpoint of this id, or a zero one with only ID set, calls
	// fn, and writes what fn made of it. A row whose State is 0 afterwards is not
	// written. What fn does to ID is not written either. Of concurrent changes of one
	// endpoint each sees the one before, and so do claims and settlements.
	Change(ctx context.Context, id string, fn func(now time.Time, e *Endpoint) error) error

	// Endpoints returns the endpoints that q selects in ascending order of ID.
	// Deleted ones are among them only when q names them by ID.
	Endpoints(ctx context.Context, q EndpointQuery) ([]Endpoint, error)

	// Claim hands out deliveries whose time has come, see [Claim].
	Claim(ctx context.Context, c Claim) (Claims, error)

	// Settle ends attempts, or gives claimed deliveries back. Settlements name no
	// delivery twice. It loads, for each, the delivery and its endpoint as they are
	// now, and calls fn with all of them at once, in the order of the settlements;
	// cases of one endpoint share one *Endpoint. A case whose delivery is not Sending
	// under the Token any more is Late: what fn does to its Delivery is not written. Then
	// the store writes the deliveries that are not late, the endpoints that changed, and
	// every Attempt whose Number is not 0, as one of the settlement's Endpoint and
	// Message; one that is there already stays as it is. Of a delivery, State, Due, Tries,
	// Attempt, Token, Lease, Failure, Manual and EndedAt are written as fn leaves them, and
	// nothing else. A settlement of a delivery that does not exist (any more) has no case,
	// files no attempt and is no error; when there is no case at all, fn is not called.
	Settle(ctx context.Context, settlements []Settlement, fn func(now time.Time, cases []Case) error) error

	// Move changes the state of up to m.Limit deliveries, those of the least Seq
	// first, and returns how many, see [Move].
	Move(ctx context.Context, m Move) (int, error)

	// Deliveries returns the deliveries that q selects, newest first: in descending
	// order of Seq.
	Deliveries(ctx context.Context, q DeliveryQuery) ([]Delivery, error)

	// Attempts returns the attempts made for one delivery, in ascending order of
	// Number, those after the given number, at most limit. There are none for a
	// delivery that does not exist.
	Attempts(ctx context.Context, endpoint, message string, after, limit int) ([]Attempt, error)

	// Message returns a message, or an error that matches [ErrNotFound].
	Message(ctx context.Context, id string) (Message, error)

	// Prune removes up to limit messages published before the instant, those of
	// the least At first, with their deliveries and attempts, and returns how many. A
	// message with a delivery that has not ended stays, unless the endpoint of that
	// delivery is deleted. It also removes deleted endpoints that no delivery names,
	// which are not counted. A removed message can be published again.
	Prune(ctx context.Context, before time.Time, limit int) (int, error)
}

// A Claim asks for deliveries to attempt.
//
// The store looks at endpoints in ascending order of ID, beginning behind After
// and going round once, and stops early when it has Limit deliveries. Of an active
// endpoint it takes up to [Endpoint.Room] of the deliveries that are due:
//
//   - A delivery is due when it is Pending and its Due is not after now, or Sending
//     and its Lease is not after now. Those of the least Due come first, and of
//     equal ones that of the least Seq; a lease that is over counts as Due.
//   - In flight, for Room, are those that are Sending with a Lease after now. However
//     many claimers there are, never more than Room are handed out.
//   - An Ordered endpoint gives only the delivery of the least Seq that has not
//     ended, and only when that is due.
//
// Each delivery that it hands out it makes Sending, with Token, with Lease set to
// now plus Lease, and with Tries and Attempt one greater; and it calls
// [Endpoint.Claimed] and writes the endpoint if that changed it. An endpoint that
// another claim, settlement or change has hold of may be passed over. What a claim
// costs grows with the endpoints that have something waiting, not with how much
// waits.
type Claim struct {
	Token string        // 1 to 64 bytes of visible ASCII, new for every call
	Limit int           // 1 to 1024
	Lease time.Duration // whole microseconds, above 0
	After string        // [Claims.Last] of the claim before, or any other text
}

// Claims is what a [Store] hands out.
type Claims struct {
	Now        time.Time
	Deliveries []Claimed // in no particular order
	// Last is the ID of the last endpoint looked at; "" when none was.
	Last string
	// Next is when time alone may let another claim hand out more: the least, over the
	// endpoints looked at, of when a delivery is due, when [Endpoint.ReadyAt] is, and,
	// where Room was 0 for what is in flight, when a lease ends, whichever of them comes
	// last for that endpoint. It is never later than that, and after Now unless the claim
	// has Limit deliveries, when it is Now. It is zero when nothing waits for a time.
	// Endpoints that were passed over do not count.
	Next time.Time
}

// A Claimed is one delivery to attempt, as it is after the claim. Several may
// share an Endpoint and a Message; nobody changes them.
type Claimed struct {
	Delivery Delivery
	Endpoint *Endpoint
	Message  *Message
}

// A Settlement ends a claim.
type Settlement struct {
	Endpoint, Message string
	Token             string
	Attempt           Attempt // what came of it; Number is 0 when no attempt was made
	URL               string  // of the endpoint when it was claimed; no store keeps it
}

// A Case is what is decided on in [Store.Settle].
type Case struct {
	Settlement *Settlement
	Endpoint   *Endpoint
	Delivery   Delivery
	Late       bool
}

// A Move changes the state of deliveries of one endpoint: of those of Message, if
// that is not empty, published not before Since, whose State is in From. To
// DeliveryPending makes them due now, with Attempt 0, Failure 0, no EndedAt and
// Manual as given; those that are Pending and due already are left out. To
// DeliveryDropped ends them now. Nothing else of them changes. From holds neither
// DeliverySending nor, for DeliveryDropped, anything but DeliveryPending.
type Move struct {
	Endpoint string
	Message  string
	Since    time.Time
	From     []DeliveryState
	To       DeliveryState
	Manual   bool
	Limit    int // 1 to 1000
}

// An EndpointQuery selects endpoints.
type EndpointQuery struct {
	ID      string // not "": that one alone, deleted or not
	Account string // not "": of this account
	After   string // IDs greater than this
	Limit   int    // 1 to 1000
}

// A DeliveryQuery selects deliveries: of an endpoint, of a message, or both. One of
// them is given.
type DeliveryQuery struct {
	Endpoint string
	Message  string
	States   []DeliveryState // empty: all
	Before   int64           // not 0: those of a smaller Seq
	Limit    int             // 1 to 1000
}
