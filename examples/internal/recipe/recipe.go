// Package recipe is what the recipes for routers stand on: a gate in memory, and a
// key to try it with. A program of one's own has stores in their place; minimal
// shows it all in one file, and quickstart with databases.
package recipe

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/idempotency"
	"github.com/keytoll/keytoll/scopes"
)

// Run serves the API of newAPI until it is interrupted.
func Run(newAPI func(*middleware.Gate) http.Handler) {
	addr := flag.String("addr", "127.0.0.1:8080", "the `address` to listen on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := serve(ctx, *addr, newAPI); err != nil {
		fmt.Fprintln(os.Stderr, err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

func serve(ctx context.Context, addr string, newAPI func(*middleware.Gate) http.Handler) error {
	gate, secret, err := Open(ctx, nil)
	if err != nil {
		return err
	}
	server := &http.Server{Addr: addr, Handler: newAPI(gate), ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	fmt.Printf("curl -i -X POST http://%s/v1/images/cat -H 'Authorization: Bearer %s'\n", addr, secret.Reveal())
	if err := server.ListenAndServe(); ctx.Err() == nil {
		return fmt.Errorf("%w; -addr HOST:PORT listens elsewhere", err)
	}
	return nil
}

// Open returns a gate, and a key with 100 credits that may generate images and
// videos. Nil tells nobody.
func Open(ctx context.Context, observer middleware.Observer) (*middleware.Gate, apikey.Secret, error) {
	format, err := apikey.NewFormat("acme", nil)
	if err != nil {
		return nil, apikey.Secret{}, err
	}
	keys, err := apikey.NewService(apikey.NewMemoryStore(), format, nil)
	if err != nil {
		return nil, apikey.Secret{}, err
	}
	ledger, err := credits.NewLedger(credits.NewMemoryStore(nil), nil)
	if err != nil {
		return nil, apikey.Secret{}, err
	}
	granted, err := scopes.Of("image:*", "video:*")
	if err != nil {
		return nil, apikey.Secret{}, err
	}
	issued, err := keys.Create(ctx, apikey.Spec{Owner: "acct_1", Scopes: granted})
	if err != nil {
		return nil, apikey.Secret{}, err
	}
	if _, err = ledger.Grant(ctx, credits.Grant{Account: "acct_1", ID: "invoice-1", Amount: 100 * credits.Credit}); err != nil {
		return nil, apikey.Secret{}, err
	}
	sent, err := idempotency.NewMemoryStore(nil)
	if err != nil {
		return nil, apikey.Secret{}, err
	}
	gate, err := middleware.NewGate(keys, &middleware.Options{
		Credits: ledger, Observer: observer, Idempotency: &middleware.IdempotencyOptions{Store: sent},
	})
	return gate, issued.Secret, err
}
