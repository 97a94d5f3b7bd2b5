package sqlitestore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/stores/sqlitestore"
)

// Tests that need a second process run this test binary again, with the name
// of what it shall do and the file in its environment.
const (
	childRole = "SQLITESTORE_TEST_ROLE"
	childFile = "SQLITESTORE_TEST_FILE"
	childSeed = "SQLITESTORE_TEST_SEED"
)

func TestMain(m *testing.M) {
	roles := map[string]func(ctx context.Context, db *sqlitestore.DB, seed string) error{
		"write": writeForEver,
		"spend": spendAll,

		"batch":         batchForEver,
		"spend batched": spendAllBatched,

		"cap":   fillCap,
		"label": takeLabels,

		"take":        takeAll,
		"keep taking": takeForEver,

		"webhooks": webhooksForEver,
		"deliver":  deliverAll,
		"send":     send,

		"requests": requestsForEver,
		"claim":    claimAll,
	}
	role := roles[os.Getenv(childRole)]
	if role == nil {
		os.Exit(m.Run())
	}
	db, err := sqlitestore.Open(os.Getenv(childFile), nil)
	if err == nil {
		fmt.Println("ready")
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // until the parent says go
		err = role(context.Background(), db, os.Getenv(childSeed))
	}
	if err == nil {
		err = db.Close(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// child is a running process and the lines it says.
type child struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Scanner
}

// start runs the role in a process of its own and waits until it is ready.
func start(t *testing.T, role, file, seed string) *child {
	t.Helper()
	c := &child{cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), childRole+"="+role, childFile+"="+file, childSeed+"="+seed)
	c.cmd.Stderr = os.Stderr
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.cmd.Process.Kill() })
	c.lines = bufio.NewScanner(out)
	if !c.lines.Scan() || c.lines.Text() != "ready" {
		t.Fatalf("the child says %q, not that it is ready", c.lines.Text())
	}
	return c
}

func (c *child) release(t *testing.T) {
	t.Helper()
	if _, err := io.WriteString(c.in, "go\n"); err != nil {
		t.Fatal(err)
	}
}

// writeForEver makes keys, debits and holds from many goroutines, and says each
// that was acknowledged.
func writeForEver(ctx context.Context, db *sqlitestore.DB, seed string) error {
	ledger, err := credits.NewLedger(db.Credits(), nil)
	if err != nil {
		return err
	}
	said := func(verb, id string) { // one system call, so that no line is cut
		_, _ = os.Stdout.WriteString(verb + " " + id + "\n")
	}
	failed := make(chan error, 1)
	for g := range 8 {
		go func() {
			for n := 0; ; n++ {
				id := fmt.Sprintf("%s-%d-%d", seed, g, n)
				account := credits.AccountID("acct-" + strconv.Itoa(n%5))
				err := db.Keys().Apply(ctx, apikey.Change{Insert: []apikey.Record{keyRecord(id)}, Events: []apikey.Event{eventOf("owner", id)}})
				if err == nil {
					said("key", id)
					_, err = ledger.Debit(ctx, debitOf(account, id))
				}
				if err == nil {
					said("debit", string(account)+" "+id)
					_, err = ledger.Hold(ctx, credits.Hold{Account: account, ID: credits.OpID("hold-" + id), Amount: 7})
				}
				if err == nil {
					_, err = ledger.Capture(ctx, credits.Capture{Account: account, Hold: credits.OpID("hold-" + id), Amount: 3})
				}
				if err != nil {
					failed <- err
					return
				}
				said("capture", string(account)+" "+id)
			}
		}()
	}
	return <-failed
}

func keyRecord(id string) apikey.Record {
	return apikey.Record{Handle: "handle-" + id, Key: apikey.Key{
		ID: id, Owner: "owner", CreatedAt: time.UnixMicro(1e15).UTC(), SecretAt: time.UnixMicro(1e15).UTC(), State: apikey.StateActive, Version: 1,
	}}
}

func eventOf(owner, key string) apikey.Event {
	return apikey.Event{
		Owner: owner, Key: key, Kind: apikey.EventCreated, At: time.UnixMicro(1e15).UTC(),
		Actor: apikey.Actor{ID: "test"}, Changes: []apikey.FieldChange{{Field: "name", After: key}},
	}
}

func debitOf(account credits.AccountID, id string) credits.Debit {
	return credits.Debit{Account: account, ID: credits.OpID(id), Amount: 5}
}

func TestWhatWasAcknowledgedSurvivesKill(t *testing.T) {
	path := newFile(t)
	acked := make(map[string]bool)
	prepare(t, path, 1_000_000)
	for round := range 3 {
		c := start(t, "write", path, "r"+strconv.Itoa(round))
		c.release(t)
		for n := 0; c.lines.Scan(); n++ {
			acked[c.lines.Text()] = true
			if n == 150 {
				if err := c.cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := c.cmd.Wait(); err == nil {
			t.Fatal("the child ended by itself")
		}
		checkAfterKill(t, path, acked)
	}
	t.Logf("%d acknowledged writes in three lives", len(acked))
}

// prepare makes the file with five accounts.
func prepare(t *testing.T, path string, amount credits.Amount) {
	t.Helper()
	db := openAt(t, path, nil)
	ledger, err := credits.NewLedger(db.Credits(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		g := credits.Grant{Account: credits.AccountID("acct-" + strconv.Itoa(i)), ID: "grant", Amount: amount}
		if _, err := ledger.Grant(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// checkAfterKill proves that every acknowledged write is there, and that
// nothing in the file contradicts anything else.
func checkAfterKill(t *testing.T, path string, acked map[string]bool) {
	t.Helper()
	db := openAt(t, path, nil)
	defer db.Close(t.Context())
	ledger, err := credits.NewLedger(db.Credits(), nil)
	if err != nil {
		t.Fatal(err)
	}
	audited, err := ledger.Verify(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for line := range acked {
		words := strings.Fields(line)
		var found bool
		switch words[0] {
		case "key":
			rec, err := db.Keys().ByHandle(t.Context(), "handle-"+words[1])
			found = err == nil && rec.Key.Equal(keyRecord(words[1]).Key)
		case "debit":
			r, err := ledger.Debit(t.Context(), debitOf(credits.AccountID(words[1]), words[2]))
			found = err == nil && r.Replayed
		case "capture":
			r, err := ledger.Capture(t.Context(), credits.Capture{
				Account: credits.AccountID(words[1]), Hold: credits.OpID("hold-" + words[2]), Amount: 3,
			})
			found = err == nil && r.Replayed
		}
		if !found {
			t.Errorf("%q was acknowledged and is gone", line)
		}
	}
	checkEvents(t, db, "owner")
	sound(t, db)
	t.Logf("%d acknowledged; audited %+v", len(acked), audited)
}

// spendAll debits one credit at a time until nothing is left, and says how many
// it got.
func spendAll(ctx context.Context, db *sqlitestore.DB, seed string) error {
	return spendFrom(ctx, db.Credits(), seed)
}

func spendFrom(ctx context.Context, store credits.Store, seed string) error {
	ledger, err := credits.NewLedger(store, nil)
	if err != nil {
		return err
	}
	first := credits.Debit{Account: "acct-0", ID: credits.OpID(seed), Amount: 1}
	if _, err := ledger.Debit(ctx, first); err != nil {
		return err
	}
	fmt.Println("began")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // until the other has begun too
	var mu sync.Mutex
	spent := 1
	var failed error
	var group sync.WaitGroup
	for g := range 4 {
		group.Go(func() {
			for n := 0; ; n++ {
				d := credits.Debit{Account: "acct-0", ID: credits.OpID(fmt.Sprintf("%s-%d-%d", seed, g, n)), Amount: 1}
				_, err := ledger.Debit(ctx, d)
				mu.Lock()
				switch {
				case err == nil:
					spent++
				case !errors.Is(err, credits.ErrInsufficient):
					failed = err
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	group.Wait()
	fmt.Println(spent)
	return failed
}

// race lets the children go on once each has done one thing, so that none can
// have finished before another began, and returns their tally.
func race(t *testing.T, children []*child) int {
	t.Helper()
	for _, c := range children {
		c.release(t)
	}
	for i, c := range children {
		if !c.lines.Scan() || c.lines.Text() != "began" {
			t.Fatalf("child %d says %q, not that it has begun", i, c.lines.Text())
		}
	}
	for _, c := range children {
		c.release(t)
	}
	return tally(t, children)
}

// tally waits for the children and returns the sum of what each says that it did.
func tally(t *testing.T, children []*child) (sum int) {
	t.Helper()
	for i, c := range children {
		if !c.lines.Scan() {
			t.Fatalf("child %d said nothing: %v", i, c.cmd.Wait())
		}
		n, err := strconv.Atoi(c.lines.Text())
		if err == nil {
			err = c.cmd.Wait()
		}
		if err != nil {
			t.Fatalf("child %d: %v", i, err)
		}
		t.Logf("child %d did %d", i, n)
		sum += n
	}
	return sum
}

func TestTwoProcessesSpendOneAccountToZero(t *testing.T) { spendToZero(t, "spend") }

// spendToZero has two processes play a role that spends all of an account.
func spendToZero(t *testing.T, role string) {
	t.Helper()
	const amount = 1000
	path := newFile(t)
	prepare(t, path, amount)
	children := []*child{start(t, role, path, "one"), start(t, role, path, "two")}
	total := race(t, children)
	if total != amount {
		t.Errorf("%d debits were accepted for %d credits", total, amount)
	}
	db := openAt(t, path, nil)
	ledger, err := credits.NewLedger(db.Credits(), nil)
	if err != nil {
		t.Fatal(err)
	}
	balance, err := ledger.Balance(t.Context(), "acct-0")
	if err != nil || balance.Available != 0 || balance.Consumed != amount {
		t.Errorf("balance %+v, %v; want all consumed", balance, err)
	}
	if _, err := ledger.Verify(t.Context(), nil); err != nil {
		t.Error(err)
	}
}
