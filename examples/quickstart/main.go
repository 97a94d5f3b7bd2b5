// Quickstart serves a guarded image-generation API on one machine, with
// nothing else to install:
//
//	go run ./examples/quickstart
//
// It prints a fresh key and curl lines to paste. Flags:
//
//	-addr HOST:PORT   where to listen (default 127.0.0.1:8080; port 0 picks a free one)
//	-db FILE          keep keys, credits, limits and webhooks that wait in this SQLite file; without it all is in memory
//	-webhook URL      post each finished image there, signed with Standard Webhooks headers
//	-sealing FILE     the key that secrets of webhooks are sealed under, made if missing (default FILE.sealing beside
//	                  -db FILE, and keytoll/quickstart.sealing in the user's configuration folder with -postgres)
//	-json             print one JSON line when ready, instead of the banner
//	-postgres URL     keep keys, credits, limits and webhooks that wait on PostgreSQL, for several instances that share them
//	-redis URL        keep limits on Redis, shared too, and carry what changes about shared keys
//
// Instances that share keys keep what they looked up, and hear of changes from
// PostgreSQL, or through Redis if that is given: a key revoked through one is
// refused by the others at once, and in no case later than 2 seconds, also when
// they can no longer hear of it. Instances that share limits count together,
// exactly; while they cannot reach Redis each goes on with half of every limit.
// Instances that share credits spend them together, to exactly nothing: over
// PostgreSQL, or over one -db FILE on one machine.
//
// SIGINT and SIGTERM stop it: requests in flight are finished and settled,
// webhooks that are being sent are given time, and it exits with 0. Webhooks that
// wait go on waiting in the -db FILE or on PostgreSQL: the next start delivers
// them, as it does after a kill -9. In memory they are delivered before the end, and
// those that their receiver has not taken 8 seconds later are logged as lost. Wrong
// flags exit with 2, everything else that fails with 1.
package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main without the process: it serves until ctx is done and returns the
// exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	config, err := parseFlags(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	app, err := open(ctx, config, time.Now, log)
	if err != nil {
		log.Error("cannot start", "err", err)
		return 1
	}
	err = announce(stdout, config, app)
	if err == nil {
		err = app.serve(ctx)
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*drain)
	defer cancel()
	if err = errors.Join(err, app.close(closing)); err != nil {
		log.Error("stopped uncleanly", "err", err)
		return 1
	}
	return 0
}
