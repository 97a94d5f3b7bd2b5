package rpcgate

import (
	"context"
	"io"
	"iter"
	"net/http"
	"sync/atomic"

	"github.com/keytoll/keytoll/middleware"
)

// A Call is one that was allowed, until it is ended.
type Call struct {
	gate    *Gate
	attempt middleware.Attempt
	pass    *middleware.Pass
	status  int         // with which the handler returned; 0 until it has
	sent    atomic.Bool // a message of the answer went out
	lost    atomic.Bool // the client could not be reached
}

// Hides reports whether a header field of the request is not for the handler. See
// [middleware.Attempt.Hides].
func (c *Call) Hides(name string) bool { return c.attempt.Hides(name) }

// Context returns ctx with the pass in it, for the handler.
func (c *Call) Context(ctx context.Context) context.Context {
	return middleware.NewContext(ctx, c.pass)
}

// Fields yields the header fields of the answer: the request id and what limits have
// left, as the gate's profile says.
func (c *Call) Fields() iter.Seq2[string, string] { return c.pass.Fields() }

// Sent notes what became of a message that a stream sent: nil when it went out, and
// otherwise the error, with its code.
func (c *Call) Sent(ctx context.Context, err error, code Code) {
	if err == nil {
		c.sent.Store(true)
		return
	}
	c.Received(ctx, err, code)
}

// Received notes what came of receiving a message of a stream.
func (c *Call) Received(ctx context.Context, err error, code Code) {
	if err != nil && err != io.EOF && (ctx.Err() != nil || code.gone() || code == Unavailable) { //nolint:errorlint // streams end by exactly io.EOF
		c.lost.Store(true)
	}
}

// Return notes that the handler returned, and the status with which. Without it the
// call ends as one that panicked.
func (c *Call) Return(code Code) { c.status = code.Status() }

// ReturnUnchanged is Return of an answer that says that nothing has changed: 304 of
// HTTP, which is not charged by default.
func (c *Call) ReturnUnchanged() { c.status = http.StatusNotModified }

// gone reports whether the code may mean that the client is.
func (c Code) gone() bool { return c == Canceled || c == DeadlineExceeded }

// End settles the call; see [middleware.Pass.End]. It is for a defer, recovers
// nothing, and wants the context that [Gate.Begin] had.
func (c *Call) End(ctx context.Context) {
	o := middleware.Outcome{Status: c.status, Completed: c.status != 0, Wrote: c.sent.Load()}
	if o.Completed && c.left(ctx) {
		// What the handler says of it is that nobody listened.
		o.ClientGone, o.Status = true, 0
	}
	if o.Wrote && (o.Status == 0 || o.ClientGone) {
		o.Status = http.StatusOK // of what was sent
	}
	_ = c.pass.End(ctx, o) // the answer is out; End has told the observer
}

// left reports whether the call ended by its client's leaving.
func (c *Call) left(ctx context.Context) bool {
	switch c.status {
	case http.StatusOK, clientClosed, http.StatusGatewayTimeout:
		return ctx.Err() != nil || c.lost.Load()
	}
	return c.lost.Load()
}
