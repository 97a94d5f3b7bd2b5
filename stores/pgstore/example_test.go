package pgstore_test //nolint:testableexamples // it needs a server: TestTheExampleOfAFleet runs it

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/stores/pgstore"
)

// Every server of a fleet keeps what it looked up, and hears from PostgreSQL what
// to forget.
func ExampleDB_Feed() {
	if err := fleet(context.Background(), "postgres://user:password@host:5432/database", os.Stdout); err != nil {
		fmt.Println(err)
	}
}

// server is what each process of the fleet does when it starts.
func server(ctx context.Context, url string) (*apikey.Service, *pgstore.DB, error) {
	db, err := pgstore.Open(url, nil)
	if err != nil {
		return nil, nil, err
	}
	if err := db.Migrate(ctx); err != nil { // all of them may, at the same time
		return nil, nil, errors.Join(err, db.Close(ctx))
	}
	format, err := apikey.NewFormat("gx", nil)
	if err != nil {
		return nil, nil, errors.Join(err, db.Close(ctx))
	}
	keys, err := apikey.NewService(db.Keys(), format, &apikey.Options{
		FlushEvery: 10 * time.Second,
		Cache: &apikey.CacheOptions{
			Bound:  10 * time.Second, // the longest that a revoked key works, whatever happens
			MaxAge: 5 * time.Minute,  // while the feed is heard; so long a key in use costs no look-up
			Feed:   db.Feed(),
		},
	})
	if err != nil {
		return nil, nil, errors.Join(err, db.Close(ctx))
	}
	return keys, db, nil
}

// fleet is two servers, of which one revokes what the other has kept.
func fleet(ctx context.Context, url string, out io.Writer) (err error) {
	here, db, err := server(ctx, url)
	if err != nil {
		return err
	}
	// The service first: it writes what it has noted, and stops listening.
	defer func() { err = errors.Join(err, here.Close(ctx), db.Close(ctx)) }()
	there, other, err := server(ctx, url)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, there.Close(ctx), other.Close(ctx)) }()

	issued, err := here.Create(ctx, apikey.Spec{Owner: "acct_42"})
	if err != nil {
		return err
	}
	token := issued.Secret.Reveal()
	key, err := there.Verify(ctx, token, nil)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "there:", key.Owner)
	if _, err := here.Revoke(ctx, issued.Key.ID, "the laptop was stolen"); err != nil {
		return err
	}
	for err == nil { // a moment, until the notice is heard
		_, err = there.Verify(ctx, token, nil)
	}
	fmt.Fprintln(out, "there:", err)
	if !errors.Is(err, apikey.ErrRevoked) {
		return err
	}
	return nil
}
