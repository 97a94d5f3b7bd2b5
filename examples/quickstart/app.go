package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/scopes"
	"github.com/keytoll/keytoll/webhook"
)

const (
	owner       = "acct_demo"      // whom the fresh key belongs to, and who pays
	environment = "live"           // of the fresh key
	welcome     = "welcome"        // the id of the one grant: a restart does not grant again
	drain       = 20 * time.Second // for requests in flight
	readTime    = 4 * time.Second  // for a whole request; with writeTime less than drain, so that no client can outlast it
	deliverTime = 8 * time.Second  // for the webhooks that wait when the service stops
	writeTime   = 15 * time.Second // for a body and its answer, from the end of the head
)

// grant is what the account starts with, imagePrice what one image costs.
const (
	grant      = 100 * credits.Credit
	imagePrice = 5 * credits.Credit
)

// An app is the whole service. The listener comes first and goes first; the
// other parts are opened in the order of the fields and closed in the opposite.
type app struct {
	log      *slog.Logger
	now      func() time.Time
	shelf    shelf // where keys, credits and limits are kept
	keys     *apikey.Service
	ledger   *credits.Ledger
	gate     *middleware.Gate
	hooks    *webhook.Sender    // nil: nobody asked for webhooks
	sending  sync.WaitGroup     // of hooks
	stop     context.CancelFunc // ends sending
	handler  http.Handler
	listener net.Listener

	key    apikey.Secret  // the fresh key, shown once
	secret webhook.Secret // what receivers verify webhooks with
}

// open builds the service, grants the first credits and makes a fresh key.
// After an error nothing is left open.
func open(ctx context.Context, c config, now func() time.Time, log *slog.Logger) (a *app, err error) {
	a = &app{log: log, now: now}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close(context.WithoutCancel(ctx)))
		}
	}()
	// First of all: a start that finds the address taken must not make a key.
	if a.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", c.addr); err != nil {
		return a, fmt.Errorf("%w; -addr HOST:PORT listens elsewhere, port 0 on a free one", err)
	}
	if a.shelf, err = openShelf(ctx, c, log); err != nil {
		return a, err
	}
	format, err := apikey.NewFormat("kt", &apikey.FormatOptions{Environments: []string{environment, "test"}})
	if err != nil {
		return a, err
	}
	a.keys, err = apikey.NewService(a.shelf.keys, format, &apikey.Options{
		Now: now, FlushEvery: 10 * time.Second, Cache: a.shelf.cache,
		Failed: func(err error) { log.Warn("keys", "err", err) },
	})
	if err != nil {
		return a, err
	}
	if a.ledger, err = credits.NewLedger(a.shelf.credits, nil); err != nil {
		return a, err
	}
	a.gate, err = middleware.NewGate(a.keys, &middleware.Options{
		Limits:      a.shelf.limits,
		Credits:     a.ledger,
		Environment: environment,
		MaxBody:     64 << 10,
		Now:         now,
	})
	if err != nil {
		return a, err
	}
	if a.handler, err = a.mount(); err != nil {
		return a, err
	}
	if err = a.sell(ctx); err != nil {
		return a, err
	}
	if c.webhook == "" {
		a.secret = webhook.GenerateSecret()
		return a, nil
	}
	if a.hooks, a.secret, err = openHooks(ctx, c, a); err != nil {
		return a, err
	}
	sending, stop := context.WithCancel(context.WithoutCancel(ctx))
	a.stop = stop
	a.sending.Go(func() {
		if err := a.hooks.Run(sending); err != nil {
			log.Error("webhooks", "err", err)
		}
	})
	return a, nil
}

// sell stands in for a shop: it grants the account its credits, once, and
// makes a key.
func (a *app) sell(ctx context.Context) error {
	_, err := a.ledger.Grant(ctx, credits.Grant{Account: owner, ID: welcome, Amount: grant, Note: "welcome"})
	if err != nil {
		return err
	}
	granted, err := scopes.Parse("image:generate")
	if err != nil {
		return err
	}
	issued, err := a.keys.Create(ctx, apikey.Spec{Owner: owner, Name: "quickstart", Environment: environment, Scopes: granted})
	if err != nil {
		return err
	}
	a.key = issued.Secret
	return nil
}

// serve answers requests until ctx is done, then finishes those in flight.
func (a *app) serve(ctx context.Context) error {
	server := &http.Server{
		Handler:      a.handler,
		ReadTimeout:  readTime,
		WriteTimeout: writeTime,
		IdleTimeout:  2 * time.Minute,
		ErrorLog:     slog.NewLogLogger(a.log.Handler(), slog.LevelWarn),
	}
	drained := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		drained <- server.Shutdown(closing)
	})
	err := server.Serve(a.listener)
	if !stop() && errors.Is(err, http.ErrServerClosed) {
		return <-drained
	}
	return err
}

// close ends what open began: webhooks that wait are sent, uses of keys are
// written, the stores are released.
func (a *app) close(ctx context.Context) error {
	var errs []error
	note := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	if a.listener != nil {
		if err := a.listener.Close(); !errors.Is(err, net.ErrClosed) {
			note("listener", err)
		}
	}
	if a.stop != nil {
		if a.shelf.volatile {
			// A deadline of its own: a dead receiver must not use up the time of the
			// rest. What it did not take is logged, and is no reason to fail.
			delivering, cancel := context.WithTimeout(ctx, deliverTime)
			left, err := settleHooks(delivering, a.hooks)
			cancel()
			note("webhooks", err)
			if left > 0 {
				a.log.Error("webhooks lost: they were kept in memory", "at_least", left)
			}
		}
		a.stop()
		a.sending.Wait()
	}
	if a.keys != nil {
		note("keys", a.keys.Close(ctx))
	}
	note("stores", a.shelf.close(ctx))
	return errors.Join(errs...)
}
