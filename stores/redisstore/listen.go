package redisstore

import (
	"context"
	"crypto/rand"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// Why a Listen ended that its caller did not end. Each is the cause under one
// of code Unavailable.
var (
	errMended = errors.New("the driver opened the subscription anew, and what was sent meanwhile is lost")
	errMoved  = errors.New("the server ended the subscription; the channel may have moved to another one")
	errSilent = errors.New("a heartbeat did not come back in time")
)

// Listen implements [apikey.Feed]. Besides the end of ctx it returns what ended
// the line, code [errors.Unavailable]. A server that stops answering ends it
// after [FeedOptions.Every], [FeedOptions.Within] and, where the driver waits
// for an answer, the client's ReadTimeout.
func (f *Feed) Listen(ctx context.Context, l apikey.Listener) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	// The driver reads a context's deadline while it waits for a message, and not
	// its end: so it is given none, and the subscription is closed at the end.
	up, end := context.WithCancelCause(context.WithoutCancel(ctx))
	over := context.AfterFunc(ctx, func() { end(ctx.Err()) })
	n := f.open(up)
	closed := context.AfterFunc(up, n.close)
	var beating sync.WaitGroup
	err := n.subscribe(up)
	if err == nil {
		beating.Go(func() { end(n.beat(up, l.Now)) })
		err = n.hear(up, l)
	}
	end(err)
	beating.Wait()
	over()
	closed()
	n.close()
	return unavailable(ctx, "redisstore.Listen", "the line to Redis broke, and notices may have been missed; listen anew", context.Cause(up))
}

// A line is one subscription, to the feed's channel and to a channel of its own
// for its heartbeats. Both are of one slot, so that in a cluster one server
// carries both, in the order in which they were sent.
type line struct {
	feed   *Feed
	pubsub *redis.PubSub
	own    string
	// sent is the heartbeat that is on its way, or nil.
	sent atomic.Pointer[heartbeat]
	back chan struct{} // holds a token when it is back
}

type heartbeat struct {
	text string // random: it cannot be known before it is sent
	at   time.Time
}

func (f *Feed) open(ctx context.Context) *line {
	n := &line{feed: f, own: "{" + f.channel + "}:" + rand.Text(), back: make(chan struct{}, 1)}
	if f.cluster != nil {
		n.pubsub = f.client.SSubscribe(ctx)
	} else {
		n.pubsub = f.client.Subscribe(ctx)
	}
	return n
}

func (n *line) close() { _ = n.pubsub.Close() } // an error says that it is closed

// subscribe returns when the server has confirmed both channels.
func (n *line) subscribe(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, n.feed.within)
	defer cancel()
	if n.feed.cluster != nil {
		err = n.pubsub.SSubscribe(ctx, n.own, n.feed.channel)
		defer func() {
			if err != nil { // the slot may have moved: the next try finds it
				n.feed.cluster.ReloadState(ctx)
			}
		}()
	} else {
		err = n.pubsub.Subscribe(ctx, n.own, n.feed.channel)
	}
	for confirmed := 0; confirmed < 2 && err == nil; {
		var got any
		if got, err = n.pubsub.Receive(ctx); err == nil {
			s, ok := got.(*redis.Subscription)
			switch {
			case !ok: // nobody knows the line's own channel, and the other is confirmed last
			case s.Count == confirmed+1:
				confirmed++
			default:
				err = errMended
			}
		}
	}
	return err
}

// hear tells l what comes, until the line breaks or ctx is over.
func (n *line) hear(ctx context.Context, l apikey.Listener) error {
	var told time.Time
	for {
		got, err := n.pubsub.Receive(ctx)
		if err != nil {
			return err
		}
		switch m := got.(type) {
		case *redis.Subscription:
			// Both channels were confirmed before. The driver mends a broken line
			// without an error; the new confirmations give it away.
			if m.Kind == "unsubscribe" || m.Kind == "sunsubscribe" {
				return errMoved
			}
			return errMended
		case *redis.Message:
			if m.Channel == n.own {
				at, ok := n.returned(m.Payload)
				if ok && !at.Before(told) && ctx.Err() == nil {
					l.Alive(at)
					told = at
				}
				continue
			}
			notices, err := decode(m.Payload)
			if err != nil {
				return err
			}
			for _, notice := range notices {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				l.Heard(notice)
			}
		}
	}
}

// returned takes a heartbeat that is back, and returns when it was sent.
func (n *line) returned(text string) (time.Time, bool) {
	b := n.sent.Load()
	if b == nil || b.text != text || !n.sent.CompareAndSwap(b, nil) {
		return time.Time{}, false
	}
	n.back <- struct{}{}
	return b.at, true
}

// beat sends heartbeats, one at a time, until one is not back in time or ctx is
// over.
func (n *line) beat(ctx context.Context, now func() time.Time) error {
	tick := time.NewTicker(n.feed.every) //nolint:forbidigo // owned by Listen, ended with it
	defer tick.Stop()
	for {
		if err := n.once(ctx, now); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// once sends one heartbeat and waits until it is back.
func (n *line) once(ctx context.Context, now func() time.Time) error {
	ctx, cancel := context.WithTimeoutCause(ctx, n.feed.within, errSilent)
	defer cancel()
	// The instant is read before it is sent: what was announced by then is ahead.
	b := &heartbeat{text: rand.Text(), at: now()}
	n.sent.Store(b)
	if err := n.feed.publish(ctx, n.feed.client, n.own, b.text).Err(); err != nil && ctx.Err() == nil {
		return err
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-n.back:
		return nil
	}
}
