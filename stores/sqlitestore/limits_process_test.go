package sqlitestore_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/stores/sqlitestore"
)

const shared = 1000 // what all processes may take together

// pairOf returns a limiter and two subjects, one under a bucket and one under a
// log, of which takes take the same or nothing.
func pairOf(db *sqlitestore.DB) (*ratelimit.Limiter, []ratelimit.Charge, error) {
	bucket, err := ratelimit.NewLimits(ratelimit.Limit{Name: "bucket", Count: shared, Period: century})
	if err != nil {
		return nil, nil, err
	}
	log, err := ratelimit.NewLimits(ratelimit.Limit{Name: "log", Algorithm: ratelimit.SlidingLog, Count: 10 * shared, Period: century})
	if err != nil {
		return nil, nil, err
	}
	l, err := ratelimit.NewLimiter(db.Limits(), ratelimit.Limits{}, nil)
	return l, []ratelimit.Charge{{Key: "customer", Limits: bucket, Cost: 1}, {Key: "everybody", Limits: log, Cost: 1}}, err
}

// takeAll takes until nothing is left, and says how much it got.
func takeAll(ctx context.Context, db *sqlitestore.DB, _ string) error {
	l, charges, err := pairOf(db)
	if err != nil {
		return err
	}
	if _, err := l.TakeAll(ctx, charges...); err != nil {
		return err
	}
	fmt.Println("began")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // until the other has begun too
	var taken atomic.Int64
	taken.Add(1)
	var failed atomic.Pointer[error]
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for {
				r, err := l.TakeAll(ctx, charges...)
				if err != nil {
					failed.Store(&err)
				}
				if err != nil || !r.Allowed {
					return
				}
				taken.Add(1)
			}
		})
	}
	group.Wait()
	fmt.Println(taken.Load())
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

func TestTwoProcessesTakeExactlyTheLimit(t *testing.T) {
	path := newFile(t)
	children := []*child{start(t, "take", path, ""), start(t, "take", path, "")}
	total := race(t, children)
	if total != shared {
		t.Errorf("%d takes passed a limit of %d", total, shared)
	}
	checkPair(t, path, shared, shared)
}

// checkPair proves that both subjects have the same in use, within bounds.
func checkPair(t *testing.T, path string, least, most int64) {
	t.Helper()
	db := openAt(t, path, nil)
	defer db.Close(t.Context())
	l, charges, err := pairOf(db)
	if err != nil {
		t.Fatal(err)
	}
	r, err := l.PeekAll(t.Context(), charges...)
	if err != nil {
		t.Fatal(err)
	}
	var used []int64
	for s := range r.States() {
		used = append(used, s.Quota-s.Remaining)
	}
	if used[0] != used[1] || used[0] < least || used[0] > most {
		t.Errorf("%d and %d are in use; want the same, and %d to %d", used[0], used[1], least, most)
	}
	sound(t, db)
}

// takeForEver takes, and says each take that passed.
func takeForEver(ctx context.Context, db *sqlitestore.DB, _ string) error {
	l, charges, err := pairOf(db)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	for range 8 {
		go func() {
			for {
				r, err := l.TakeAll(ctx, charges...)
				if err != nil {
					failed <- err
					return
				}
				if r.Allowed { // one system call, so that no line is cut
					_, _ = os.Stdout.WriteString("taken " + r.Reservation.ID().String() + "\n")
				}
			}
		}()
	}
	return <-failed
}

// kill -9 in the middle of it: what was said to be taken is taken, at most what
// was under way is taken unsaid, and no take is there in part.
func TestTakesSurviveKillWhole(t *testing.T) {
	path := newFile(t)
	seen := make(map[string]bool)
	said := int64(0)
	for round := range int64(3) {
		c := start(t, "keep taking", path, "")
		c.release(t)
		for n := 0; c.lines.Scan(); n++ {
			id, ok := strings.CutPrefix(c.lines.Text(), "taken ")
			if !ok {
				t.Fatalf("the child says %q", c.lines.Text())
			}
			if seen[id] {
				t.Errorf("ID %s was given twice", id)
			}
			seen[id] = true
			said++
			if n == 100 {
				if err := c.cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := c.cmd.Wait(); err == nil {
			t.Fatal("the child ended by itself")
		}
		checkPair(t, path, said, min(said+8*(round+1), shared))
	}
	t.Logf("%d takes said in three lives", said)
}
