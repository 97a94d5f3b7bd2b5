package pgstore_test //nolint:testableexamples // it needs a server: TestTheExampleOfLimits runs it

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/stores/pgstore"
)

// A fleet shares limits; what a job took for an estimate is settled to what it
// came to.
func ExampleDB_Limits() {
	if err := estimate(context.Background(), "postgres://user:password@host:5432/database", os.Stdout); err != nil {
		fmt.Println(err)
	}
}

func estimate(ctx context.Context, url string, out io.Writer) (err error) {
	db, err := pgstore.Open(url, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close(ctx)) }()
	if err := db.Migrate(ctx); err != nil {
		return err
	}
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		return err
	}
	limits, err := ratelimit.NewLimits(
		ratelimit.Limit{Name: "burst", Count: 4000, Period: 365 * 24 * time.Hour, Burst: 5000, Unit: "tokens"},
		ratelimit.Limit{Name: "year", Algorithm: ratelimit.Calendar, Count: 100_000, Every: ratelimit.Year, Zone: zone, Unit: "tokens"},
	)
	if err != nil {
		return err
	}
	limiter, err := ratelimit.NewLimiter(db.Limits(nil), limits, nil)
	if err != nil {
		return err
	}
	res, err := limiter.Take(ctx, "customer 7", 3000) // at most what the answer may cost
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%t, %d left\n", res.Allowed, res.Remaining)
	if err := limiter.Settle(ctx, res.Reservation, 1200); err != nil { // what it did cost
		return err
	}
	res, err = limiter.Take(ctx, "customer 7", 3900)
	fmt.Fprintf(out, "%t, by %s\n", res.Allowed, res.Limit)
	return err
}
