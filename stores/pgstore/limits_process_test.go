package pgstore_test

import (
	"bufio"
	"context"
	"fmt"
	neturl "net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/stores/pgstore"
	"github.com/keytoll/keytoll/stores/pgstore/pgtest"
)

const shared = 300 // what all processes may take together

// takeAll takes a bucket and a log of two subjects, in an order that depends on
// the process, until nothing is left, and says what it was answered.
func takeAll(ctx context.Context, number, url string) error {
	db, err := pgstore.Open(url, nil)
	if err != nil {
		return err
	}
	if err := db.Migrate(ctx); err != nil {
		return err
	}
	bucket, err := ratelimit.NewLimits(ratelimit.Limit{Name: "bucket", Count: shared, Period: century})
	if err != nil {
		return err
	}
	log, err := ratelimit.NewLimits(ratelimit.Limit{Name: "log", Algorithm: ratelimit.SlidingLog, Count: 2 * shared, Period: century})
	if err != nil {
		return err
	}
	l, err := ratelimit.NewLimiter(db.Limits(nil), ratelimit.Limits{}, nil)
	if err != nil {
		return err
	}
	charges := []ratelimit.Charge{{Key: "customer", Limits: bucket, Cost: 1}, {Key: "everybody", Limits: log, Cost: 1}}
	if number == "2" {
		charges[0], charges[1] = charges[1], charges[0]
	}
	fmt.Println("ready")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	var mu sync.Mutex
	each(racers, func(int) {
		for answer := "passed"; answer == "passed"; {
			r, err := l.TakeAll(ctx, charges...)
			switch {
			case err != nil:
				answer = "failed " + strings.ReplaceAll(err.Error(), "\n", " ")
			case !r.Allowed:
				answer = "refused by " + r.Limit
			}
			mu.Lock()
			fmt.Println(answer)
			mu.Unlock()
		}
	})
	return db.Close(ctx)
}

// Two processes, of which one has a stricter isolation level and a pool of one,
// take exactly the limit, of both subjects.
func TestTwoProcessesTakeExactlyTheLimit(t *testing.T) {
	for _, level := range []string{"read committed", "serializable"} {
		t.Run(level, func(t *testing.T) {
			url := pgtest.Database(t)
			join := "?"
			if strings.Contains(url, "?") {
				join = "&"
			}
			other := url + join + "pool_max_conns=1&default_transaction_isolation=" + neturl.PathEscape(level)
			answers := answersOf(t, [2]string{url, other}, "take", func(context.Context) {})
			if answers["passed"] != shared || answers["refused by bucket"] != 2*racers {
				t.Errorf("answers are %v; want %d passed, and then each refused once", answers, shared)
			}
		})
	}
}
