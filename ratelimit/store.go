package ratelimit

import (
	"context"

	"github.com/keytoll/keytoll/errors"
)

// A Store keeps the cells and makes the decisions of a [Limiter]. It must be
// safe for concurrent use. Implementations prove themselves with the suite in
// package ratelimittest.
type Store interface {
	// Apply carries out the request as one atomic step, at one time of the
	// store's own clock, and fills in its outcomes. Requests behave as if they
	// were carried out one after the other.
	//
	// State is kept for each combination of the op's Key with the name and the
	// algorithm of its Rule, apart from every other combination; a combination
	// never seen is the zero [Cell]. Keys are any bytes. What the state becomes
	// is computed by the methods of [Rule].
	//
	//   - ModeTake: when every op's cost passes ([Rule.Take] returns a RetryAfter of
	//     0), all are taken, Allowed is true and each Outcome is that of the
	//     cost taken. Otherwise nothing changes, Allowed is false, and each
	//     Outcome is that of [Rule.Peek]. A take gets an ID that no other take
	//     of this store has; ID is zero when nothing was spent: refused, or all
	//     costs 0.
	//   - ModePeek: as ModeTake would answer, with nothing changed; Allowed says whether
	//     every cost would pass, and each Outcome is that of [Rule.Peek].
	//   - ModeRefund: for each op the cell becomes what [Rule.Refund] returns, once
	//     for each ID: a later refund of the same ID changes nothing. The store
	//     remembers the ID at least until the latest Until of the ops.
	//   - ModeReset: each op's state is forgotten.
	//
	// A store may forget a cell from the time its Expires says. Before that time
	// it forgets none; it answers [ErrFull] instead when it has no room.
	//
	// An error means that nothing changed as far as the store knows, and that
	// no outcome may be read. A context that is done is an error before
	// anything changes. The store keeps nothing of the request after returning,
	// except copies of the keys.
	//
	// The limiter guarantees: 1 to MaxOps ops, no two of one combination, no
	// nil Rule, no empty key, no negative cost, a Mode of the four.
	Apply(ctx context.Context, req *Request) error
}

// A Mode says what a [Request] does.
type Mode uint8

const (
	ModeTake   Mode = iota // take every cost, or nothing
	ModePeek               // tell what ModeTake would answer
	ModeRefund             // give back what a take took
	ModeReset              // forget what was used
)

// A Request is what a [Limiter] asks of its [Store].
type Request struct {
	Mode    Mode
	ID      ID    // of the decision: out for ModeTake, in for ModeRefund
	Allowed bool  // out, for ModeTake and ModePeek
	Now     int64 // out: the time of the decision, in microseconds since the Unix epoch
	Ops     []Op
}

// An Op is the part of a [Request] that concerns one subject under one limit.
type Op struct {
	Rule *Rule
	Key  string
	Cost int64 // for all but ModeReset

	Until, Rest int64 // for ModeRefund: what [Rule.Refund] takes

	Outcome Outcome // out, for ModeTake and ModePeek
}

// An ID names one decision that spent something. The zero ID names none.
type ID [16]byte

// ErrFull is returned when a store has no room to track another subject, or to
// remember another refund. The subjects it tracks are still decided.
var ErrFull error = &errors.Error{Code: errors.Unavailable, Msg: "no room to track another rate-limited subject; try again later"}
