package redisstore

import (
	"context"
	_ "embed"
	"strconv"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/webhook"
)

// DefaultReplaysPrefix begins the keys of a [ReplayStore] without
// [ReplaysOptions.Prefix].
const DefaultReplaysPrefix = "wh:"

//go:embed script/replays.lua
var replays string

// ReplaysOptions are the choices of [NewReplays]. The zero value, and nil, are
// the defaults. All stores over one server or cluster must agree on them.
type ReplaysOptions struct {
	// Prefix begins every key of the server, [DefaultReplaysPrefix] when empty: up to
	// 64 letters, digits and the marks - _ . : / of ASCII.
	Prefix string
}

// A ReplayStore is a [webhook.ReplayStore] in Redis: which webhooks were handled,
// and which are being handled, for all servers that receive them. Each call is one
// script about one key. It is safe for concurrent use.
type ReplayStore struct {
	client Client
	prefix string
	script program
}

var _ webhook.ReplayStore = (*ReplayStore)(nil)

// NewReplays returns a store through client, which is required and stays the
// caller's to close. Nil options are the defaults. Nothing is sent yet. The error
// names every fault at once.
func NewReplays(client Client, options *ReplaysOptions) (*ReplayStore, error) {
	var o ReplaysOptions
	if options != nil {
		o = *options
	}
	faults := errors.Faults{Op: "redisstore.NewReplays"}
	checkClient(&faults, client)
	s := &ReplayStore{client: client, prefix: prefixOr(&faults, o.Prefix, DefaultReplaysPrefix), script: newProgram(replays)}
	if err := faults.Err(); err != nil {
		return nil, err
	}
	return s, nil
}

// Claim implements [webhook.ReplayStore].
func (s *ReplayStore) Claim(ctx context.Context, key, owner string, lease time.Duration) (webhook.ClaimState, error) {
	const op = "redisstore.ReplayStore.Claim"
	switch said, err := s.ask(ctx, op, 'c', key, lease, owner); {
	case err != nil:
		return 0, err
	case said == "granted":
		return webhook.ClaimGranted, nil
	case said == "flight":
		return webhook.ClaimInFlight, nil
	case said == "done":
		return webhook.ClaimDone, nil
	default:
		return 0, unknownReply(op)
	}
}

// Done implements [webhook.ReplayStore].
func (s *ReplayStore) Done(ctx context.Context, key string, keep time.Duration) error {
	return s.tell(ctx, "redisstore.ReplayStore.Done", 'd', key, keep, "")
}

// Release implements [webhook.ReplayStore].
func (s *ReplayStore) Release(ctx context.Context, key, owner string) error {
	return s.tell(ctx, "redisstore.ReplayStore.Release", 'r', key, 0, owner)
}

// tell asks for what has no answer.
func (s *ReplayStore) tell(ctx context.Context, op string, verb byte, key string, length time.Duration, owner string) error {
	said, err := s.ask(ctx, op, verb, key, length, owner)
	if err == nil && said != "ok" {
		err = unknownReply(op)
	}
	return err
}

// ask runs the script.
func (s *ReplayStore) ask(ctx context.Context, op string, verb byte, key string, length time.Duration, owner string) (string, error) {
	keys := []string{string(plain(append(make([]byte, 0, 128), s.prefix...), key))}
	arg := append(make([]byte, 0, 96), verb)
	arg = append(strconv.AppendInt(arg, length.Milliseconds(), 10), ' ')
	return s.script.ask(ctx, s.client, op, webhook.ErrFull, "the webhook replay store could not be asked", keys, string(append(arg, owner...)))
}
