// Package redisstore keeps Keytoll's short-lived shared state in Redis, Redis
// Cluster, or a server that speaks their protocol, such as Valkey, for fleets of
// servers: the rate limits that they share, which received webhooks were handled,
// what was answered under an Idempotency-Key, and the feed that tells the caches of all of them which keys to forget.
//
//	client := redis.NewUniversalClient(&redis.UniversalOptions{
//		Addrs: []string{"127.0.0.1:6379"}, ContextTimeoutEnabled: true,
//	})
//	store, err := redisstore.NewLimits(redisstore.Coalesced(client), nil)
//	if err != nil {
//		return err
//	}
//	// Give store to ratelimit.NewLimiter in every server.
//	replays, err := redisstore.NewReplays(redisstore.Coalesced(client), nil)
//	if err != nil {
//		return err
//	}
//	// Give replays to webhook.Verifier.Handler in every server.
//	answers, err := redisstore.NewIdempotency(redisstore.Coalesced(client), nil)
//	if err != nil {
//		return err
//	}
//	// Give answers to middleware.NewGate, in its IdempotencyOptions, in every server.
//	feed, err := redisstore.NewFeed(client, nil)
//	if err != nil {
//		return err
//	}
//	// Give feed to the apikey.Service of every server that shares the store.
//
// What belongs here, and nowhere else: the Redis driver (go-redis, through its
// universal client), the Lua scripts, and what a fleet shares for as long as a
// limit counts, or a message or a request may come again. Credits do not belong here: a ledger needs durable transactions, so
// this package has no constructor for one. Importing this module is what adds
// the driver to a program; the root module never does.
//
// # The limits
//
// [LimitStore] is a [ratelimit.Store]. A decision about any number of limits of a
// subject, of every algorithm, is one script and so one round trip, all or
// nothing, and exactly the one that [ratelimit.Rule] computes: in whole
// microseconds and without rounding, whatever the numbers. The server's clock
// decides, and skewed clocks of callers change nothing; [LimitsOptions].Now is
// for servers whose scripts may not read it. The script needs Redis 6.2 or later,
// no module, and no Functions. A server that forgot it is given it again in the
// same call.
//
// All limits of a subject share one key, but for SlidingLog and Concurrency: a
// string of 44 bytes for each, so that a decision reads once and writes once
// however many limits it is about. What a request does not name stays as it is
// while it counts, and goes with the next write when it is over; so the string has
// an entry for each limit in use, however many, and none gives way to another. An
// entry has the limit's name, or 88 bits of its SHA-256 when it is longer than 11
// bytes. SlidingLog and Concurrency have a sorted set each, with one member for
// each take in use. The time to live of a key is set with every write and never
// shorter than anything in it counts; no decision relies on it.
// A settlement is remembered by one small key. Refusals and peeks write nothing.
// A key that holds something else is an error of code Corrupt, never an unused
// limit; a reset deletes it.
//
// # Keys and slots
//
// The keys of subject "customer 7" are one for all limits without a log, and here
// one for "hour", a SlidingLog, and one for "jobs", a Concurrency:
//
//	rl:{customer 7}:c
//	rl:{customer 7}:hour:l
//	rl:{customer 7}:jobs:n
//
// What is in braces decides the slot in a cluster, so all limits of a subject are
// decided in one step. In subjects } becomes %7D and % becomes %25, and a subject
// longer than 64 bytes is named by 192 bits of its SHA-256: so no subject can end
// the braces early or share a key with another, and operators can still read
// keys. With [LimitsOptions.Tag] subjects share a slot, say those of a tenant:
//
//	rl:{tenant 3}customer 7:c
//
// A decision about subjects of several tags is one step on a single server. In a
// cluster it takes several: all parts are looked at, and refused if one would
// refuse; then they are taken one after the other in the order of their tags; and
// what was taken is given back when a later part refuses after all, or fails,
// also when the caller's context is over by then (for at most
// [LimitsOptions.Undo]). So never more passes than one step would let pass. Less
// may: whoever asks between a take and its giving back can be refused what would
// have been free. A part whose answer was lost may have been taken; it comes back
// with time.
//
// While a slot moves to another server, whatever concerns a key that is there and
// one that is not is answered TRYAGAIN: settlements, which remember what was not
// yet settled, always. It fails with nothing changed; ask again when the slot has
// moved.
//
// # When Redis fails
//
// An error means that nothing was decided; [ratelimit] says how callers choose
// what to do then. The state is as durable as the server: what it loses is
// granted anew. Without appendonly a restart forgets everything; replication is
// asynchronous, so a replica that takes over may not have heard of the last takes
// of the old master, and two halves of a network may each grant a whole quota
// while they are apart. No decision is ever kept by halves. Set maxmemory-policy
// to noeviction: a server that evicts keys grants what they held anew, and one
// that is full answers [ratelimit.ErrFull].
//
// A call whose answer was lost may have taken what it reports as an error, and is
// not made again: see [GoRedis]. A take never passes that was not taken.
//
// # The replays
//
// [ReplayStore] is a [webhook.ReplayStore]: one key for each message, and one
// script about it for each call, on whichever server has the slot. The server's
// clock decides, to the microsecond. Under
//
//	wh:billing.msg_27UH4WbU6Z5A5EzD8u03UvzRbpk
//
// stands "f", when the lease ends in milliseconds since the Unix epoch, and the
// owner; or "d" and until when the message is remembered. } and % are written as
// in subjects, and a key longer than 64 bytes is named by 192 bits of its SHA-256.
// Every key lives a millisecond longer than it counts, so that nothing stays, and no
// decision relies on that. A key that holds something else is an error of code
// Corrupt, never a free one.
//
// What is carried out twice changes nothing. So a call that failed is made once
// again, be it that its answer was lost; and after an error the owner of a claim can
// ask again.
//
// A message counts as handled for as long as the server remembers it. Set
// maxmemory-policy to noeviction: a server that evicts lets messages be handled
// again, with any policy that touches keys with a time to live (volatile-* and
// allkeys-*). One that is full answers [webhook.ErrFull], and the sender tries
// again. appendonly yes keeps handled messages over a restart; with appendfsync
// everysec those of the last second may be handled again, and so may those of
// which a replica had not heard when it took over.
//
// # Idempotency
//
// [IdempotencyStore] is an [idempotency.Store], made by [NewIdempotency]: one key for
// each request with an Idempotency-Key, and one script about it for each call, by the
// server's clock, to the microsecond. Under
//
//	idem:glTDKakoUPbVOd03b0gW7idkUX2l4CNVFK9DMWRIDXo
//
// stands "c", when the lease ends in microseconds since the Unix epoch and until when
// the claim is remembered, how often it was taken over, the tokens of the first who
// had it and of who has it now, and the fingerprint; or "d", until when the answer is
// kept, the token, the fingerprint and the answer. As with replays every key lives a
// little longer than it counts, a key that holds something else is an error of code
// Corrupt, and a call that failed is made once again: what is carried out twice
// changes nothing, and tells the same.
//
// What is done once is done once for as long as the server remembers it. Set
// maxmemory-policy to noeviction: a server that evicts forgets claims and answers.
// One that is full refuses newcomers and long answers with code Exhausted, and keeps
// what it has. Without appendonly a restart forgets everything, with appendfsync
// everysec the last second; then a request that is sent again is done again. Where
// that must not be, keep answers in PostgreSQL.
//
// # Which client
//
// [GoRedis] is go-redis as it is, one connection for each caller at once.
// [Coalesced] puts callers who would wait into one pipeline, which serves 64 of
// them two to three times as fast and a single one as fast as before; it is the
// one to take. The module rueidisclient brings rueidis, which does the same by
// itself: take it where a program uses rueidis already. docs/redis.md has the
// figures.
//
// # The feed
//
// [Feed] is an [apikey.Feed] over pub/sub. It stores nothing: no key of Redis is
// read or written. A call of Announce is one round trip, whatever the number of
// notices.
//
// Redis forgets a message that nobody is there to hear, and a line can be dead
// without looking so. A listener therefore sends heartbeats to itself, through
// the server, the way announcements go, and says that it is alive only when one
// has come back through its subscription, behind everything that was sent before
// it. It is alive as of the instant before the heartbeat was sent. When the line
// breaks, when the driver mends it without a word, when a heartbeat is not back
// within [FeedOptions.Within], or when a message of this package cannot be read,
// Listen returns, and the cache above it asks the store until it listens again.
//
// # What can be missed
//
// The feed is not [apikey.Feed.Lossless]. A process may die after it changed a
// key and before it announced that; and while two halves of a network each have
// a server that takes itself for the master, who announces on one side is not
// heard on the other. Then a cache keeps what it has until the bound of its
// entries is over: that bound, and not the feed, is the longest that a revoked
// key can go on working. Where that must not be, use a store that sends
// notices in the transaction of the change, such as pgstore.
//
// # Cluster and Sentinel
//
// The client may be a redis.Client, one of Sentinel (redis.NewFailoverClient)
// included, or a redis.ClusterClient. In a cluster the feed uses sharded pub/sub
// (Redis 7.0 or later): the server that has the channel's slot carries
// everything, so that a heartbeat can prove something of announcements, which
// it cannot for messages that cross the bus of the cluster on different ways.
// When the slot moves, Listen returns. Clients that read from replicas
// (ReadOnly, RouteByLatency, RouteRandomly) and a redis.Ring are refused: a
// heartbeat would prove nothing there.
//
// # Time
//
// For limits, replays and idempotency the clock is the server's: see above. When it goes back, as a
// replica's may when it takes over, nothing is minted. For the feed the clock is
// the listener's. It may jump: an instant before the one told last is not told.
//
// The driver reads the deadline of a context only when its
// ContextTimeoutEnabled is set, and never its cancellation while it waits for a
// server that does not answer. A call can so take as much longer as the client's
// ReadTimeout, 3 seconds unless set.
//
// # Security
//
// Notices hold handles and owners, nothing that proves anything. Whoever may
// publish on the channel can make caches forget, and can make them distrust the
// feed, so that keys are looked up in the store each time; that is all. Whoever
// may subscribe learns which handles and owners change. With ACLs, a server
// needs the commands PUBLISH, SUBSCRIBE and UNSUBSCRIBE (in a cluster SPUBLISH,
// SSUBSCRIBE and SUNSUBSCRIBE) and the channels that begin with the name given
// and with the name in braces: &keytoll:keys and &{keytoll:keys}:*.
//
// For limits a server needs the commands EVAL, EVALSHA, TIME, GET, SET, DEL,
// EXISTS, PEXPIREAT, PEXPIRE, ZADD, ZCOUNT, ZMSCORE, ZRANGE, ZRANGEBYSCORE, ZREM,
// ZREMRANGEBYSCORE and ZSCORE and the keys that begin with the prefix. Whoever
// may write those can grant and refuse at will.
//
// For replays it needs EVAL, EVALSHA, TIME, GET, SET and DEL and the keys that begin
// with the prefix. Whoever may write those can have messages handled again, or
// never. A webhook's id can be read in its key.
//
// For idempotency it needs the same commands. Whoever may write those keys can have
// requests done again, or answered with anything; whoever may read them sees the
// answers. What was asked for, and by whom, cannot be read in a key.
//
// # Errors
//
// A server that cannot be reached, and a line that broke, is code Unavailable; a
// key that holds something else is Corrupt.
// A context that is over is its own error.
//
// # Concurrency
//
// A [LimitStore], a [ReplayStore], an [IdempotencyStore], their clients and a [Feed] are safe for concurrent use. A
// [Coalesced] client has up to four goroutines while callers wait, and a decision
// over several slots one for each until it returns.
//
// A Feed has no goroutine but those of Listen, which end before Listen returns.
// Both leave the client open.
package redisstore
