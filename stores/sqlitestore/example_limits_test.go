package sqlitestore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/stores/sqlitestore"
)

// What was used today is still used after a restart.
func ExampleDB_Limits() {
	folder, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(folder)
	for range 2 { // two lives of a program
		if err := serve(context.Background(), filepath.Join(folder, "keytoll.db")); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// 6 images: true, 4 left
	// 6 images: false, 4 left
}

func serve(ctx context.Context, path string) (err error) {
	db, err := sqlitestore.Open(path, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close(ctx)) }()
	if err := db.Migrate(ctx); err != nil {
		return err
	}
	limits, err := ratelimit.NewLimits(ratelimit.Limit{Name: "year", Algorithm: ratelimit.Calendar, Count: 10, Every: ratelimit.Year, Unit: "images"})
	if err != nil {
		return err
	}
	limiter, err := ratelimit.NewLimiter(db.Limits(), limits, nil)
	if err != nil {
		return err
	}
	res, err := limiter.Take(ctx, "customer 7", 6)
	if err != nil {
		return err
	}
	fmt.Printf("6 images: %t, %d left\n", res.Allowed, res.Remaining)
	return nil
}
