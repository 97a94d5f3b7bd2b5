package redisstore

import (
	"context"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware/idempotency"
)

// DefaultIdempotencyPrefix begins the keys of an [IdempotencyStore] without
// [IdempotencyOptions.Prefix].
const DefaultIdempotencyPrefix = "idem:"

//go:embed script/idempotency.lua
var requests string

// IdempotencyOptions are the choices of [NewIdempotency]. The zero value, and nil,
// are the defaults. All stores over one server or cluster must agree on them.
type IdempotencyOptions struct {
	// Prefix begins every key of the server, [DefaultIdempotencyPrefix] when empty: up
	// to 64 letters, digits and the marks - _ . : / of ASCII.
	Prefix string
}

// An IdempotencyStore is an [idempotency.Store] in Redis: what was asked for under
// an Idempotency-Key, and what was answered, for all servers of a fleet. Each call
// is one script about one key. It is safe for concurrent use.
type IdempotencyStore struct {
	client Client
	prefix string
	script program
}

var _ idempotency.Store = (*IdempotencyStore)(nil)

// NewIdempotency returns a store through client, which is required and stays the
// caller's to close. Nil options are the defaults. Nothing is sent yet. The error
// names every fault at once.
func NewIdempotency(client Client, options *IdempotencyOptions) (*IdempotencyStore, error) {
	var o IdempotencyOptions
	if options != nil {
		o = *options
	}
	faults := errors.Faults{Op: "redisstore.NewIdempotency"}
	checkClient(&faults, client)
	s := &IdempotencyStore{client: client, prefix: prefixOr(&faults, o.Prefix, DefaultIdempotencyPrefix), script: newProgram(requests)}
	if err := faults.Err(); err != nil {
		return nil, err
	}
	return s, nil
}

// Claim implements [idempotency.Store].
func (s *IdempotencyStore) Claim(ctx context.Context, c idempotency.Claim) (idempotency.Found, error) {
	const op = "redisstore.IdempotencyStore.Claim"
	said, err := s.ask(ctx, op, 'c', c.Key, c.Token, c.Lease, c.Keep, hex.EncodeToString(c.Fingerprint[:]))
	if err != nil {
		return idempotency.Found{}, err
	}
	word, rest, _ := strings.Cut(said, " ")
	switch word {
	case "claimed":
		turn, first, _ := strings.Cut(rest, " ")
		found := idempotency.Found{State: idempotency.Claimed}
		if found.Turn, err = strconv.Atoi(turn); err == nil && len(first) == hex.EncodedLen(len(found.First)) {
			if _, err = hex.Decode(found.First[:], []byte(first)); err == nil {
				return found, nil
			}
		}
	case "running":
		if us, err := strconv.ParseInt(rest, 10, 64); err == nil {
			return idempotency.Found{State: idempotency.Running, Wait: time.Duration(us) * time.Microsecond}, nil
		}
	case "mismatch":
		return idempotency.Found{State: idempotency.Mismatch}, nil
	case "done":
		return idempotency.Found{State: idempotency.Done, Answer: []byte(rest)}, nil
	}
	return idempotency.Found{}, unknownReply(op)
}

// Finish implements [idempotency.Store].
func (s *IdempotencyStore) Finish(ctx context.Context, key idempotency.Key, token idempotency.Token, answer []byte, keep time.Duration) error {
	const op = "redisstore.IdempotencyStore.Finish"
	switch said, err := s.ask(ctx, op, 'f', key, token, 0, keep, string(answer)); {
	case err != nil:
		return err
	case said == "lost":
		return errors.Wrap(op, idempotency.ErrLost)
	case said != "ok":
		return unknownReply(op)
	}
	return nil
}

// Abandon implements [idempotency.Store].
func (s *IdempotencyStore) Abandon(ctx context.Context, key idempotency.Key, token idempotency.Token) error {
	const op = "redisstore.IdempotencyStore.Abandon"
	said, err := s.ask(ctx, op, 'a', key, token, 0, 0, "")
	if err == nil && said != "ok" {
		err = unknownReply(op)
	}
	return err
}

var errNoRoom error = &errors.Error{Code: errors.Exhausted, Msg: "there is no room to remember another request or its answer"}

// ask runs the script.
func (s *IdempotencyStore) ask(ctx context.Context, op string, verb byte, key idempotency.Key, token idempotency.Token, lease, keep time.Duration, rest string) (string, error) {
	keys := []string{string(base64.RawURLEncoding.AppendEncode(append(make([]byte, 0, 128), s.prefix...), key[:]))}
	arg := hex.AppendEncode(append(make([]byte, 0, 96+len(rest)), verb), token[:])
	for _, d := range [...]time.Duration{lease, keep} {
		arg = strconv.AppendInt(append(arg, ' '), roundUp(d), 10)
	}
	arg = append(append(arg, ' '), rest...)
	return s.script.ask(ctx, s.client, op, errNoRoom, "the store of idempotent requests could not be asked", keys, string(arg))
}

// roundUp returns a length of time in microseconds, and no less.
func roundUp(d time.Duration) int64 {
	n := d.Microseconds()
	if d%time.Microsecond > 0 {
		n++
	}
	return n
}
