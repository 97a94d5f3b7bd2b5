package sqlitestore_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/middleware/idempotency"
	"github.com/keytoll/keytoll/stores/sqlitestore"
)

// requestsForEver claims keys and finishes them, and says so: of a claim after it
// was granted, of an answer before it is given and after.
func requestsForEver(ctx context.Context, db *sqlitestore.DB, seed string) error {
	s := db.Idempotency()
	failed := make(chan error, 1)
	for g := range 4 {
		go func() {
			for n := 0; ; n++ {
				key := fmt.Sprintf("%s-%d-%d", seed, g, n)
				c := claimOf(key, seed)
				c.Lease = time.Hour
				got, err := s.Claim(ctx, c)
				if err == nil && got.State != idempotency.Claimed {
					err = fmt.Errorf("a fresh key is %v", got.State)
				}
				if err = sayIf(err, "claimed "+key+"\nfinishing "+key+"\n"); err == nil {
					err = s.Finish(ctx, c.Key, c.Token, []byte("answer of "+key), time.Hour)
				}
				if err = sayIf(err, "finished "+key+"\n"); err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	return <-failed
}

// kill -9 in the middle of it: what was claimed is nobody else's, and what was
// answered is answered so again.
func TestRequestsSurviveKill(t *testing.T) {
	path := newFile(t)
	said := map[string]string{} // the last of each key
	for life := range 2 {
		c := start(t, "requests", path, "r"+strconv.Itoa(life))
		c.release(t)
		for n := 0; c.lines.Scan(); n++ {
			word, key, _ := strings.Cut(c.lines.Text(), " ")
			said[key] = word
			if n == 150 {
				if err := c.cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := c.cmd.Wait(); err == nil {
			t.Fatal("the child ended by itself")
		}
	}
	db := openAt(t, path, nil)
	s := db.Idempotency()
	finished := 0
	for key, word := range said {
		got, err := s.Claim(t.Context(), claimOf(key, "somebody else"))
		switch {
		case err != nil:
			t.Error(err)
		case word == "finished" && (got.State != idempotency.Done || string(got.Answer) != "answer of "+key):
			t.Errorf("%s was finished, and is %v, %q", key, got.State, got.Answer)
		case word != "finished" && got.State != idempotency.Running && got.State != idempotency.Done:
			t.Errorf("%s was claimed, and is %v", key, got.State)
		}
		if word == "finished" {
			finished++
		}
	}
	sound(t, db)
	t.Logf("%d were claimed, %d finished", len(said), finished)
}

const sharedRequests = 120

// claimAll claims the same keys as the other process, and says how many were its
// own to do.
func claimAll(ctx context.Context, db *sqlitestore.DB, seed string) error {
	s := db.Idempotency()
	fmt.Println("began")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // until the other has begun too
	var did atomic.Int64
	failed := make(chan error, 8)
	var group sync.WaitGroup
	for g := range 4 {
		group.Go(func() {
			for n := range sharedRequests {
				c := claimOf(strconv.Itoa(n), seed+strconv.Itoa(g))
				got, err := s.Claim(ctx, c)
				if err == nil && got.State == idempotency.Claimed {
					did.Add(1)
					err = s.Finish(ctx, c.Key, c.Token, []byte(seed), time.Hour)
				}
				if err != nil {
					failed <- err
					return
				}
			}
		})
	}
	group.Wait()
	close(failed)
	fmt.Println(did.Load())
	return <-failed
}

func TestTwoProcessesDoEachRequestOnce(t *testing.T) {
	path := newFile(t)
	if n := race(t, []*child{start(t, "claim", path, "one"), start(t, "claim", path, "two")}); n != sharedRequests {
		t.Errorf("%d requests were done %d times", sharedRequests, n)
	}
	sound(t, openAt(t, path, nil))
}
