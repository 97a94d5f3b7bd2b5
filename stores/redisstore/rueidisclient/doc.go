// Package rueidisclient lets rate limits, replays and idempotency of redisstore go
// through rueidis instead of go-redis.
//
//	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{"127.0.0.1:6379"}})
//	if err != nil {
//		return err
//	}
//	store, err := redisstore.NewLimits(rueidisclient.New(client), nil)
//
// It is a module of its own, so that only programs which import it carry the
// driver. The client may be one of a single server, of Sentinel or of a cluster.
//
// # Which driver
//
// Rueidis puts the calls of all goroutines into one stream to the server, so a
// server that many goroutines ask at once answers them with a fraction of the
// system calls: it suits a program that decides much. What
// [redisstore.Coalesced] does for go-redis comes close. A single caller waits
// equally long with either.
//
// # Errors and concurrency
//
// A call ends with its context. It may still be carried out by the server then,
// as with every driver. Clients are safe for concurrent use.
package rueidisclient
