// Package redisstore will keep Keytoll's short-lived shared state in Redis or
// Redis Cluster, for fleets of servers. It holds no store yet: this module
// exists so that its import path, and the fence around the driver, are in
// place first.
//
// What belongs here, and nowhere else: the Redis driver (go-redis, through its
// universal client), the Lua scripts, and the stores of rate limits, webhook
// replay ids and cache invalidation. Credits do not belong here: a ledger
// needs durable transactions, so this package will have no constructor for
// one. The rate-limit store will pass [ratelimittest], the suite that the
// memory store passes. Importing this module is what adds the driver to a
// program; the root module never does.
//
// One decision will be one script call on the server's own clock, whatever the
// number of limits, so that skew between servers cannot admit more than the
// limit.
//
// Until then: the memory store of package ratelimit serves one process.
//
// [ratelimittest]: https://pkg.go.dev/github.com/keytoll/keytoll/ratelimit/ratelimittest
package redisstore
