package redisstore

import (
	"context"
	"net"

	"github.com/redis/go-redis/v9"

	"github.com/keytoll/keytoll/errors"
)

// A Client is what a [LimitStore], a [ReplayStore] and an [IdempotencyStore] need of a
// driver: to run one script. [GoRedis] makes one of go-redis, and the package rueidisclient one
// of rueidis.
//
// Keys and arg are any bytes. The reply of the script is a string of any bytes.
// An error that is the server's answer must begin with what the server said, as
// in "NOSCRIPT No matching script". The slice of keys must not be kept. A client
// must be safe for concurrent use, and never read from replicas.
type Client interface {
	// EvalSHA runs the script that has the hash on the server that has the slot
	// of the first key.
	EvalSHA(ctx context.Context, hash string, keys []string, arg string) (reply string, err error)
	// Eval is EvalSHA with the script itself, which the server keeps.
	Eval(ctx context.Context, script string, keys []string, arg string) (reply string, err error)
	// Cluster reports whether the keys of one script must have one slot.
	Cluster() bool
}

// GoRedis returns a [Client] over a client of go-redis, which stays the
// caller's to close: a redis.Client, one of Sentinel (redis.NewFailoverClient)
// included, or a redis.ClusterClient. A client that reads from replicas, and a
// redis.Ring, make [NewLimits], [NewReplays] and [NewIdempotency] fail.
//
// A command is not sent again when it may have been carried out, whatever
// MaxRetries and MaxRedirects are: when its line breaks before the answer came, the
// caller has an error. The redirections of a cluster are followed.
func GoRedis(client redis.UniversalClient) Client { return goRedis{client} }

type goRedis struct{ client redis.UniversalClient }

func (g goRedis) EvalSHA(ctx context.Context, hash string, keys []string, arg string) (string, error) {
	return g.run(ctx, "evalsha", hash, keys, arg)
}

func (g goRedis) Eval(ctx context.Context, script string, keys []string, arg string) (string, error) {
	return g.run(ctx, "eval", script, keys, arg)
}

func (g goRedis) run(ctx context.Context, verb, script string, keys []string, arg string) (string, error) {
	cmd := g.command(ctx, verb, script, keys, arg)
	_ = g.client.Process(ctx, cmd) // cmd has the error
	return cmd.Result()
}

func (g goRedis) command(ctx context.Context, verb, script string, keys []string, arg string) *once {
	texts := make([]string, 0, 8)
	texts = append(append(texts, verb, script), keys...)
	texts = append(texts, arg)
	args := make([]any, 0, 8)
	for i := range texts {
		if i == 2 {
			args = append(args, len(keys))
		}
		args = append(args, &texts[i])
	}
	return &once{StringCmd: redis.NewStringCmd(ctx, args...)}
}

// once is a command that must not be carried out twice.
type once struct {
	*redis.StringCmd
	piped bool
}

// NoRetry tells the driver not to send the command again, unless the server said
// why it did nothing, or was never reached. What is known of a command in a
// pipeline may be of an earlier attempt.
func (c *once) NoRetry() bool {
	err := c.Err()
	if _, said := errors.AsType[redis.Error](err); said && !c.piped {
		return false
	}
	broken, ok := errors.AsType[*net.OpError](err)
	return c.piped || !ok || broken.Op != "dial"
}

func (g goRedis) Cluster() bool {
	_, ok := g.client.(*redis.ClusterClient)
	return ok
}

// fault says what is wrong with the client for limits, "" when nothing is.
func (g goRedis) fault() string {
	switch c := g.client.(type) {
	case nil:
		return "client is GoRedis(nil); give it one made by redis.NewUniversalClient"
	case *redis.Ring:
		return "client is a redis.Ring, which loses what was used when a shard is down; give one of a single server, of Sentinel or of a cluster"
	case *redis.ClusterClient:
		if c.Options().ReadOnly {
			return "client reads from replicas, which lag behind; give one without ReadOnly, RouteByLatency and RouteRandomly"
		}
	}
	return ""
}
