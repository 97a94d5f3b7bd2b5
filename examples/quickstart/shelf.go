package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/stores/pgstore"
	"github.com/keytoll/keytoll/stores/redisstore"
	"github.com/keytoll/keytoll/stores/sqlitestore"
	"github.com/keytoll/keytoll/webhook"
)

// bound is the longest that a key which one instance revoked still works in
// another that can no longer hear of it.
const bound = 2 * time.Second

// nodes is how many instances share the limits while they cannot reach Redis.
const nodes = 2

// A shelf is where the service keeps what must outlive a request: in memory, in
// a file, on servers.
type shelf struct {
	keys     apikey.Store
	credits  credits.Store
	limits   ratelimit.Store
	webhooks webhook.Store
	volatile bool                 // webhooks are kept in memory
	cache    *apikey.CacheOptions // nil: nobody tells what others change, so each look-up asks the store
	open     []opened             // in the order of opening
}

// An opened thing is to be closed.
type opened struct {
	name  string
	close func(context.Context) error
}

// openShelf opens the stores that c names. After an error what is open already
// is in the shelf all the same, to be closed.
func openShelf(ctx context.Context, c config, log *slog.Logger) (s shelf, err error) {
	s = shelf{keys: apikey.NewMemoryStore(), credits: credits.NewMemoryStore(nil), webhooks: webhook.NewMemoryStore(nil), volatile: true}
	if s.limits, err = ratelimit.NewMemoryStore(nil); err != nil {
		return s, err
	}
	if c.db != "" {
		db, err := sqlitestore.Open(c.db, nil)
		if err != nil {
			return s, err
		}
		s.open = append(s.open, opened{"database file", db.Close})
		if err := db.Migrate(ctx); err != nil {
			return s, err
		}
		s.keys, s.credits, s.limits = db.Keys(), db.Credits(), db.Limits()
		s.webhooks, s.volatile = db.Webhooks(), false
	}
	if c.postgres != "" {
		db, err := pgstore.Open(c.postgres, nil)
		if err != nil {
			return s, err
		}
		s.open = append(s.open, opened{"PostgreSQL", db.Close})
		if err := db.Migrate(ctx); err != nil {
			return s, err
		}
		s.keys, s.credits, s.limits = db.Keys(), db.Credits(nil), db.Limits(nil)
		s.webhooks, s.volatile = db.Webhooks(nil), false
		// What PostgreSQL does not tell of has not changed, so that keys are read anew
		// every few minutes only.
		s.cache = &apikey.CacheOptions{Bound: bound, MaxAge: 5 * time.Minute, Feed: db.Feed()}
	}
	if c.db != "" || c.postgres != "" { // requests that wait for a disk share their way to it
		if s.credits, err = credits.NewBatcher(s.credits, nil); err != nil {
			return s, err
		}
	}
	if c.redis != "" {
		options, err := redis.ParseURL(c.redis)
		if err != nil {
			return s, errors.New("-redis cannot be read; redis://127.0.0.1:6379/0 would be right")
		}
		options.ContextTimeoutEnabled = true // or a silent server holds callers for ReadTimeout
		options.DialerRetries = 1            // or one that is gone is a deadline in the log instead of its reason
		client := redis.NewClient(options)
		s.open = append(s.open, opened{"Redis", func(context.Context) error { return client.Close() }})
		if err := client.Ping(ctx).Err(); err != nil {
			return s, fmt.Errorf("no answer from Redis: %w", err)
		}
		limits, err := redisstore.NewLimits(redisstore.Coalesced(client), nil)
		if err != nil {
			return s, err
		}
		// Without Redis each instance goes on with its share of what is left.
		s.limits, err = ratelimit.NewGuardedStore(limits, ratelimit.Local, &ratelimit.GuardOptions{
			Nodes: nodes, Observer: ratelimit.NewSlogObserver(log),
		})
		if err != nil {
			return s, err
		}
		if c.postgres != "" || c.db != "" { // keys in memory are nobody else's
			feed, err := redisstore.NewFeed(client, nil)
			if err != nil {
				return s, err
			}
			s.cache = &apikey.CacheOptions{Bound: bound, Feed: feed}
		}
	}
	return s, nil
}

// close closes the last first.
func (s *shelf) close(ctx context.Context) error {
	var errs []error
	for _, o := range slices.Backward(s.open) {
		if err := o.close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", o.name, err))
		}
	}
	return errors.Join(errs...)
}
