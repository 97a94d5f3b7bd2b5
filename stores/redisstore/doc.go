// Package redisstore keeps Keytoll's short-lived shared state in Redis, Redis
// Cluster, or a server that speaks their protocol, for fleets of servers. Today
// that is one thing: the feed that tells the caches of all servers which keys
// to forget.
//
//	client := redis.NewUniversalClient(&redis.UniversalOptions{Addrs: []string{"127.0.0.1:6379"}})
//	feed, err := redisstore.NewFeed(client, nil)
//	if err != nil {
//		return err
//	}
//	// Give feed to the apikey.Service of every server that shares the store.
//
// What belongs here, and nowhere else: the Redis driver (go-redis, through its
// universal client), the Lua scripts, and what a fleet shares for seconds or
// minutes. Credits do not belong here: a ledger needs durable transactions, so
// this package has no constructor for one. Importing this module is what adds
// the driver to a program; the root module never does.
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
// The clock is the listener's. It may jump: an instant before the one told last
// is not told.
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
// # Errors
//
// A server that cannot be reached, and a line that broke, is code Unavailable.
// A context that is over is its own error.
//
// # Concurrency
//
// A [Feed] is safe for concurrent use. It has no goroutine but those of Listen,
// which end before Listen returns, and it leaves the client open.
package redisstore
