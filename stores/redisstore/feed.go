package redisstore

import (
	"context"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// DefaultChannel is the channel of a [Feed] without [FeedOptions.Channel].
const DefaultChannel = "keytoll:keys"

// FeedOptions are the choices of [NewFeed]. The zero value, and nil, are the
// defaults.
type FeedOptions struct {
	// Channel is the name of the pub/sub channel, [DefaultChannel] when empty: 1 to
	// 128 letters, digits and the marks - _ . : / of ASCII. Services over different
	// stores need different channels, also where they use different databases of
	// one server, because channels do not belong to a database.
	Channel string
	// Every is the time between two heartbeats of a listener, 250 ms when zero; 10
	// ms to 1 s. A heartbeat costs the server one message to one listener.
	Every time.Duration
	// Within is the longest that a heartbeat may be on its way: Listen returns when
	// one is not back by then. 2 s when zero; 50 ms to 1 minute.
	Within time.Duration
}

// A Feed is an [apikey.Feed] over the pub/sub of Redis. It is safe for
// concurrent use.
type Feed struct {
	client  redis.UniversalClient
	cluster *redis.ClusterClient // nil for another kind of client
	channel string
	every   time.Duration
	within  time.Duration
}

var _ apikey.Feed = (*Feed)(nil)

// NewFeed returns a feed through client, which is required and stays the
// caller's to close. Nil options are the defaults. Nothing is sent yet. The
// error names every fault at once.
func NewFeed(client redis.UniversalClient, options *FeedOptions) (*Feed, error) {
	var o FeedOptions
	if options != nil {
		o = *options
	}
	faults := errors.Faults{Op: "redisstore.NewFeed"}
	f := &Feed{client: client, channel: o.Channel, every: o.Every, within: o.Within}
	switch c := client.(type) {
	case nil:
		faults.Add("client is nil; give one made by redis.NewUniversalClient")
	case *redis.Ring:
		faults.Add("client is a redis.Ring, whose parts do not hear each other; give one of a single server, of Sentinel or of a cluster")
	case *redis.ClusterClient:
		if f.cluster = c; c.Options().ReadOnly {
			faults.Add("client reads from replicas, where a heartbeat proves nothing; give one without ReadOnly, RouteByLatency and RouteRandomly")
		}
	}
	if f.channel == "" {
		f.channel = DefaultChannel
	}
	if len(f.channel) > 128 || strings.Trim(f.channel, channelDigits) != "" || strings.ContainsFunc(f.channel, notInChannel) {
		faults.Add("Channel is %.140q; give 1 to 128 letters, digits and - _ . : /", f.channel)
	}
	if f.every == 0 {
		f.every = 250 * time.Millisecond
	}
	if f.every < 10*time.Millisecond || f.every > time.Second {
		faults.Add("Every is %v; give 10ms to 1s, or 0 for 250ms", f.every)
	}
	if f.within == 0 {
		f.within = 2 * time.Second
	}
	if f.within < 50*time.Millisecond || f.within > time.Minute {
		faults.Add("Within is %v; give 50ms to 1m, or 0 for 2s", f.within)
	}
	if err := faults.Err(); err != nil {
		return nil, err
	}
	return f, nil
}

// channelDigits are the characters of a channel's name. Braces are not among
// them: they say which part of a name has a cluster's slot.
const channelDigits = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/"

func notInChannel(r rune) bool { return !strings.ContainsRune(channelDigits, r) }

// Announce implements [apikey.Feed]: one round trip, whatever the number of
// notices. An error, which is that of ctx or [errors.Unavailable], leaves it
// open which of them were sent.
func (f *Feed) Announce(ctx context.Context, notices []apikey.Notice) error {
	const op = "redisstore.Announce"
	if err := ctx.Err(); err != nil {
		return err
	}
	messages, err := encode(notices)
	if err != nil {
		return errors.Wrap(op, err)
	}
	if len(messages) == 0 {
		return nil
	}
	_, err = f.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, m := range messages {
			f.publish(ctx, p, f.channel, m)
		}
		return nil
	})
	if err != nil {
		return unavailable(ctx, op, "the notices may not have been sent", err)
	}
	return nil
}

// Lossless implements [apikey.Feed]: false, because a process may die between a
// change and its announcement.
func (*Feed) Lossless() bool { return false }

// publish sends message to whoever listens on channel.
func (f *Feed) publish(ctx context.Context, to redis.Cmdable, channel, message string) *redis.IntCmd {
	if f.cluster != nil {
		return to.SPublish(ctx, channel, message)
	}
	return to.Publish(ctx, channel, message)
}

// unavailable gives an error of the driver its code; the end of ctx passes.
func unavailable(ctx context.Context, op, msg string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &errors.Error{Code: errors.Unavailable, Op: op, Msg: msg, Err: err}
}
