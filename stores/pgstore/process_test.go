package pgstore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	neturl "net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	kerrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/scopes"
	"github.com/keytoll/keytoll/stores/pgstore"
	"github.com/keytoll/keytoll/stores/pgstore/pgtest"
)

// Tests that need a second process run this test binary again, with its number
// and the database in its environment.
const (
	childNumber = "PGSTORE_TEST_CHILD"
	childURL    = "PGSTORE_TEST_URL"
	childKind   = "PGSTORE_TEST_KIND"
)

func TestMain(m *testing.M) {
	if number := os.Getenv(childNumber); number != "" {
		run := race
		switch os.Getenv(childKind) {
		case "live":
			run = live
		case "take":
			run = takeAll
		case "spend":
			run = spend
		case "deliver":
			run = deliver
		case "claim":
			run = claimAll
		}
		if err := run(context.Background(), number, os.Getenv(childURL)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(pgtest.Main(m))
}

const (
	racers    = 8  // goroutines of a process
	room      = 25 // keys that an owner may have
	raceSteps = 40 // tries of a racer
)

// race makes as many keys of one owner as it can, each under one of a few
// labels in turn, and says what it was answered.
func race(ctx context.Context, number, url string) error {
	db, err := pgstore.Open(url, nil)
	if err != nil {
		return err
	}
	if err := db.Migrate(ctx); err != nil { // as the other process does, at the same time
		return err
	}
	fmt.Println("ready")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // until the parent says go
	var mu sync.Mutex
	each(racers, func(racer int) {
		for step := range raceSteps {
			rec := keyRecord(0)
			rec.Key.ID = fmt.Sprintf("key-%s-%d-%d", number, racer, step)
			rec.Handle = "handle-" + rec.Key.ID
			answer, change := "capped", apikey.Change{
				Insert: []apikey.Record{rec}, Cap: &apikey.Cap{Owner: "owner", Most: room, States: []apikey.State{apikey.StateActive}},
				Events: []apikey.Event{{Owner: "owner", Kind: apikey.EventCreated, Key: rec.Key.ID, At: begin}},
			}
			if step%2 == 1 {
				change.Cap, answer = nil, "labeled"
				change.Insert[0].Key.Owner, change.Insert[0].Label = "other", fmt.Sprintf("label %d", step)
				change.Events[0].Owner = "other"
			}
			switch err := db.Keys().Apply(ctx, change); {
			case errors.Is(err, apikey.ErrKeyLimit), errors.Is(err, apikey.ErrNameTaken):
				answer = "refused"
			case err != nil:
				answer = "failed " + strings.ReplaceAll(err.Error(), "\n", " ")
			}
			mu.Lock()
			fmt.Println(answer)
			mu.Unlock()
		}
	})
	return db.Close(ctx)
}

// answersOf runs two processes, lets them begin at the same time, and returns how
// often each said what. While says what to do meanwhile, until its context ends.
func answersOf(t *testing.T, urls [2]string, kind string, while func(context.Context)) map[string]int {
	t.Helper()
	var children []*exec.Cmd
	var ins []io.WriteCloser
	var lines []*bufio.Scanner
	for i, url := range urls {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), childNumber+"="+fmt.Sprint(i+1), childURL+"="+url, childKind+"="+kind)
		c.Stderr = os.Stderr
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		in, err := c.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Process.Kill() })
		children, ins, lines = append(children, c), append(ins, in), append(lines, bufio.NewScanner(out))
	}
	for i := range children {
		if !lines[i].Scan() || lines[i].Text() != "ready" {
			t.Fatalf("child %d says %q, not that it is ready", i, lines[i].Text())
		}
	}
	for _, in := range ins {
		if _, err := io.WriteString(in, "go\n"); err != nil {
			t.Fatal(err)
		}
	}
	watching, watched := context.WithCancel(t.Context())
	defer watched()
	var group sync.WaitGroup
	group.Go(func() { while(watching) })
	answers := make(map[string]int)
	for i, c := range children {
		for lines[i].Scan() {
			answers[lines[i].Text()]++
		}
		if err := c.Wait(); err != nil {
			t.Errorf("child %d: %v", i, err)
		}
	}
	watched()
	group.Wait()
	return answers
}

// Two processes race for the last room and for the same labels: exactly as many
// succeed as there is room for, and one for each label.
func TestProcessesRaceForRoomAndLabels(t *testing.T) {
	url := pgtest.Database(t)
	answers := answersOf(t, [2]string{url, url}, "", func(context.Context) {})
	labels := raceSteps / 2
	if answers["capped"] != room || answers["labeled"] != labels || answers["refused"] != 2*racers*raceSteps-room-labels {
		t.Errorf("answers are %v; want %d with room, %d with a label, and all others refused", answers, room, labels)
	}
	db, err := pgstore.Open(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(context.WithoutCancel(t.Context()))
	for owner, want := range map[string]int{"owner": room, "other": labels} {
		list, err := db.Keys().List(t.Context(), apikey.Query{Owner: owner, States: []apikey.State{apikey.StateActive}, Limit: 1000})
		o, ownerErr := db.Keys().Owner(t.Context(), owner)
		if err != nil || ownerErr != nil || len(list) != want || o.Events != int64(want) {
			t.Errorf("%s has %d keys, %d events, %v, %v; want %d", owner, len(list), o.Events, err, ownerErr, want)
		}
	}
}

const (
	liveRoom  = 4  // keys that count
	liveSteps = 60 // of each of the racers
)

// live does with one owner's keys what holders do, at the cap, and says what it
// was answered.
func live(ctx context.Context, number, url string) error {
	db, err := pgstore.Open(url, nil)
	if err != nil {
		return err
	}
	if err := db.Migrate(ctx); err != nil {
		return err
	}
	format, err := apikey.NewFormat("gx", nil)
	if err != nil {
		return err
	}
	all, err := scopes.Parse("*")
	if err != nil {
		return err
	}
	policy := apikey.Policy{MayCreate: true, MaxKeys: liveRoom, Scopes: all}
	s, err := apikey.NewService(db.Keys(), format, &apikey.Options{
		Cache:  &apikey.CacheOptions{Bound: time.Minute, Feed: db.Feed()},
		Policy: func(context.Context, string) (apikey.Policy, error) { return policy, nil },
	})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	var mu sync.Mutex
	each(racers/2, func(racer int) {
		seed := uint64(racer)<<8 | uint64(number[0])
		random := rand.New(rand.NewPCG(seed, seed))
		for range liveSteps {
			answer, err := step(ctx, s, random)
			code := kerrors.CodeOf(err)
			switch {
			case err == nil:
				answer += " done"
			case code == kerrors.Exhausted:
				answer += " full"
			case code == kerrors.Conflict, code == kerrors.NotFound:
				answer += " late"
			default:
				answer = fmt.Sprintf("failed (seed %d): %s: %s", seed, answer, strings.ReplaceAll(err.Error(), "\n", " "))
			}
			mu.Lock()
			fmt.Println(answer)
			mu.Unlock()
		}
	})
	return errors.Join(s.Close(ctx), db.Close(ctx))
}

// step does one thing with one of the owner's keys.
func step(ctx context.Context, s *apikey.Service, random *rand.Rand) (string, error) {
	page, err := s.List(ctx, apikey.Query{Owner: "owner", States: []apikey.State{apikey.StateActive, apikey.StateDisabled}, Limit: 50})
	if err != nil {
		return "list", err
	}
	verb := random.IntN(6)
	if len(page.Keys) == 0 || verb == 0 {
		_, err := s.Create(ctx, apikey.Spec{Owner: "owner"})
		return "create", err
	}
	id := page.Keys[random.IntN(len(page.Keys))].ID
	switch verb {
	case 1:
		_, err = s.Rotate(ctx, id, time.Minute)
		return "rotate", err
	case 2:
		_, err = s.Disable(ctx, id)
		return "disable", err
	case 3:
		_, err = s.Revoke(ctx, id, "")
		return "revoke", err
	case 4:
		if random.IntN(10) == 0 {
			_, err = s.RevokeOwner(ctx, "owner", "")
			return "revoke owner", err
		}
	}
	_, err = s.Enable(ctx, id)
	return "enable", err
}

// Two processes create, rotate, disable, enable and revoke at the cap, whatever
// the isolation level and even with a pool of one: at no instant are there more
// keys than there is room for, nothing fails that need not, and the chain of
// events has no gap.
func TestProcessesLiveAtTheCap(t *testing.T) {
	for _, level := range []string{"read committed", "serializable"} {
		t.Run(level, func(t *testing.T) {
			url := pgtest.Database(t)
			db, err := pgstore.Open(url, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close(context.WithoutCancel(t.Context()))
			if err := db.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			join := "?"
			if strings.Contains(url, "?") {
				join = "&"
			}
			with := url + join + "default_transaction_isolation=" + neturl.PathEscape(level)
			answers := answersOf(t, [2]string{with, with + "&pool_max_conns=1"}, "live", func(ctx context.Context) {
				for ctx.Err() == nil {
					list, err := db.Keys().List(ctx, apikey.Query{
						Owner: "owner", States: []apikey.State{apikey.StateActive}, Unreplaced: true, Limit: 1000,
					})
					if err == nil && len(list) > liveRoom {
						t.Errorf("there are %d active keys, and room for %d", len(list), liveRoom)
						return
					}
				}
			})
			for answer, n := range answers {
				if strings.HasPrefix(answer, "failed") {
					t.Errorf("%d times: %s", n, answer)
				}
			}
			if answers["create done"] < liveRoom || answers["rotate done"] == 0 || answers["enable done"] == 0 {
				t.Errorf("answers are %v", answers)
			}
			t.Log(answers)
			list, err := db.Keys().Events(t.Context(), apikey.EventQuery{Owner: "owner", OldestFirst: true, Limit: 1 << 20})
			if err != nil {
				t.Fatal(err)
			}
			var head [32]byte
			for n, e := range list {
				if e.Seq != int64(n+1) || e.Link(head) != e.Sum {
					t.Fatalf("event %d is not linked to the one before", e.Seq)
				}
				head = e.Sum
			}
		})
	}
}
