package pgstore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/stores/pgstore"
	"github.com/keytoll/keytoll/stores/pgstore/pgtest"
)

// Tests that need a second process run this test binary again, with its number
// and the database in its environment.
const (
	childNumber = "PGSTORE_TEST_CHILD"
	childURL    = "PGSTORE_TEST_URL"
)

func TestMain(m *testing.M) {
	if number := os.Getenv(childNumber); number != "" {
		if err := race(context.Background(), number, os.Getenv(childURL)); err != nil {
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

// Two processes race for the last room and for the same labels: exactly as many
// succeed as there is room for, and one for each label.
func TestProcessesRaceForRoomAndLabels(t *testing.T) {
	url := pgtest.Database(t)
	var children []*exec.Cmd
	var ins []io.WriteCloser
	var lines []*bufio.Scanner
	for i := range 2 {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), childNumber+"="+fmt.Sprint(i+1), childURL+"="+url)
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
	answers := make(map[string]int)
	for i, c := range children {
		for lines[i].Scan() {
			answers[lines[i].Text()]++
		}
		if err := c.Wait(); err != nil {
			t.Errorf("child %d: %v", i, err)
		}
	}
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
