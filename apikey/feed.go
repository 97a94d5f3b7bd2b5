package apikey

import (
	"context"
	"time"
)

// A Notice tells a cache what to forget: the key with this handle, or all keys
// of this owner. One of the two is set. It holds nothing that proves anything.
type Notice struct {
	Handle string
	Owner  string
}

// A Feed carries notices between processes that share a store. Implementations
// must be safe for concurrent use. The suite in package apikeytest proves one.
type Feed interface {
	// Listen subscribes, and from then on tells l, in one goroutine and in the order
	// of sending, what was announced by whomever, itself included. It returns when
	// ctx is over, with its error, or when the line broke and notices may have been
	// missed; the caller then begins anew. After that it tells l nothing.
	//
	// It tells Listener.Alive again and again, some times a second, an instant of
	// the listener's clock, never before the one told last, such that everything
	// announced before it, and after Listen subscribed, has been heard. It does so
	// only with proof from the server's side: silence proves nothing.
	Listen(ctx context.Context, l Listener) error

	// Announce sends notices, at most a thousand of them, to everybody who listens,
	// and does not wait for them to hear. One that comes twice among them may be
	// heard once. A call whose context is already over returns the context's error
	// and sends nothing. Of a store that is its own feed Announce does nothing: what
	// a Change brings, be it notices alone, was sent with it, in the order of the
	// changes, and who hears of a Change can read it from the store.
	Announce(ctx context.Context, notices []Notice) error

	// Lossless reports whether no change of a record can come true without its
	// notices being sent: a store that sends them in the same transaction. Then
	// what is cached may outlive the bound while the feed is heard.
	Lossless() bool
}

// A Listener is who listens to a [Feed].
type Listener struct {
	Now   func() time.Time // the listener's clock
	Heard func(Notice)
	Alive func(at time.Time)
}
