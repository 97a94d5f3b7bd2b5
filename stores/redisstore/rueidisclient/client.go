package rueidisclient

import (
	"context"

	"github.com/redis/rueidis"

	"github.com/keytoll/keytoll/stores/redisstore"
)

// New returns what a [redisstore.LimitStore] and a [redisstore.ReplayStore] need
// over client, which stays the caller's to close; nil for nil, which they refuse.
// It must not send scripts to replicas: leave SendToReplicas and ReplicaOnly of
// its options unset.
//
// Scripts are not sent again when a line breaks before the answer came, as long
// as they are not marked retryable, which this package never does.
func New(client rueidis.Client) redisstore.Client {
	if client == nil {
		return nil
	}
	return adapter{client}
}

type adapter struct{ client rueidis.Client }

func (a adapter) EvalSHA(ctx context.Context, hash string, keys []string, arg string) (string, error) {
	c := a.client.B().Evalsha().Sha1(hash).Numkeys(int64(len(keys))).Key(keys...).Arg(arg).Build()
	return a.client.Do(ctx, c).ToString()
}

func (a adapter) Eval(ctx context.Context, script string, keys []string, arg string) (string, error) {
	c := a.client.B().Eval().Script(script).Numkeys(int64(len(keys))).Key(keys...).Arg(arg).Build()
	return a.client.Do(ctx, c).ToString()
}

func (a adapter) Cluster() bool { return a.client.Mode() == rueidis.ClientModeCluster }
