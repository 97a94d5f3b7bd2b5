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

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/stores/pgstore"
	"github.com/keytoll/keytoll/stores/pgstore/pgtest"
)

const (
	purse    = 120 // what all processes may spend together
	spenders = 4   // goroutines of a process
)

// openChild opens the database of a child process.
func openChild(ctx context.Context, url string) (*pgstore.DB, error) {
	db, err := pgstore.Open(url, nil)
	if err != nil {
		return nil, err
	}
	return db, db.Migrate(ctx)
}

// childLedger opens the ledger of a child process.
func childLedger(ctx context.Context, url string) (*credits.Ledger, error) {
	db, err := openChild(ctx, url)
	if err != nil {
		return nil, err
	}
	return credits.NewLedger(db.Credits(nil), nil)
}

// spend spends one account until nothing is left, by debits and by holds, and
// says before each command that it tries it, and after it what came of it.
func spend(ctx context.Context, number, url string) error {
	l, err := childLedger(ctx, url)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // until the parent says go
	var mu sync.Mutex
	say := func(words ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Println(words...)
	}
	each(spenders, func(spender int) {
		for i := 0; ; i++ {
			id := credits.OpID(fmt.Sprintf("%s-%d-%d", number, spender, i))
			say("try", id)
			switch err := spendOne(ctx, l, id, i%2 == 0); {
			case errors.Is(err, credits.ErrInsufficient):
				say("empty", id)
				return
			case err != nil:
				say("failed", id, strings.ReplaceAll(err.Error(), "\n", " "))
				return
			}
			say("done", id)
		}
	})
	return nil
}

// spendOne spends one credit of the account, or finds out that it was spent.
func spendOne(ctx context.Context, l *credits.Ledger, id credits.OpID, held bool) error {
	if !held {
		_, err := l.Debit(ctx, credits.Debit{Account: "a", ID: id, Amount: 1})
		return err
	}
	if _, err := l.Hold(ctx, credits.Hold{Account: "a", ID: id, Amount: 1}); err != nil {
		return err
	}
	_, err := l.Capture(ctx, credits.Capture{Account: "a", Hold: id, All: true})
	return err
}

// A child is a process that runs spend, or something else.
type child struct {
	cmd   *exec.Cmd
	in    io.Writer
	lines *bufio.Scanner
}

func startChild(t *testing.T, kind string, number int, url string) *child {
	t.Helper()
	c := &child{cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), childNumber+"="+fmt.Sprint(number), childURL+"="+url, childKind+"="+kind)
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
		t.Fatalf("child %d says %q, not that it is ready", number, c.lines.Text())
	}
	return c
}

func (c *child) begin(t *testing.T) {
	t.Helper()
	if _, err := io.WriteString(c.in, "go\n"); err != nil {
		t.Fatal(err)
	}
}

// Three processes spend one account to exactly nothing, of which one begins its
// transactions at a stricter level.
func TestThreeProcessesSpendOneAccountToZero(t *testing.T) {
	url := withParameter(pgtest.Database(t), "synchronous_commit", "off")
	l := newLedger(t, openURL(t, url).Credits(nil))
	for i := range 4 {
		grant(t, l, "a", credits.OpID(fmt.Sprint("grant ", i)), purse/4)
	}
	children := []*child{
		startChild(t, "spend", 1, url), startChild(t, "spend", 2, withParameter(url, "default_transaction_isolation", "serializable")),
		startChild(t, "spend", 3, withParameter(url, "pool_max_conns", "1")),
	}
	for _, c := range children {
		c.begin(t)
	}
	said := make(map[string]int)
	for _, c := range children {
		for c.lines.Scan() {
			word, rest, _ := strings.Cut(c.lines.Text(), " ")
			if said[word]++; word == "failed" {
				t.Error(rest)
			}
		}
		if err := c.cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	if said["done"] != purse || said["empty"] != len(children)*spenders {
		t.Errorf("the children said %v; want %d done, and then each was refused once", said, purse)
	}
	b, err := l.Balance(t.Context(), "a")
	if err != nil || b.Available != 0 || b.Held != 0 || b.Consumed != purse {
		t.Errorf("%+v, %v; want all consumed", b, err)
	}
	audit(t, t.Context(), l)
}

// A process is killed at one point after the other, in the middle of whatever it
// does. What it was told is done is done; and after a retry of what it was told
// nothing about, under the same ids, everything that was tried was done once.
func TestAProcessThatIsKilledLosesAndDoublesNothing(t *testing.T) {
	url := withParameter(pgtest.Database(t), "synchronous_commit", "off")
	l := newLedger(t, openURL(t, url).Credits(nil))
	const plenty = 1_000_000
	grant(t, l, "a", "grant", plenty)
	tried := 0
	for run, point := range []int{1, 2, 7, 20, 41} {
		c := startChild(t, "spend", run+1, url)
		c.begin(t)
		open := make(map[credits.OpID]bool) // tried, and whether it is not known to be done
		read := func() bool {
			if !c.lines.Scan() {
				return false
			}
			word, id, _ := strings.Cut(c.lines.Text(), " ")
			switch word {
			case "try":
				open[credits.OpID(id)] = true
			case "done":
				open[credits.OpID(id)] = false
			default:
				t.Errorf("the child said %q", c.lines.Text())
			}
			return true
		}
		for range point {
			read()
		}
		if err := c.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for read() { // what it said before
		}
		_ = c.cmd.Wait() // it was killed
		audit(t, t.Context(), l)
		for id, unknown := range open {
			held := strings.Contains("02468", string(id[len(id)-1:])) // as spend does it
			if !unknown && !held {
				r, err := l.Debit(t.Context(), credits.Debit{Account: "a", ID: id, Amount: 1})
				if err != nil || !r.Replayed {
					t.Errorf("%s was done, and again: %+v, %v", id, r, err)
				}
			} else if err := spendOne(t.Context(), l, id, held); err != nil {
				t.Errorf("%s again: %v", id, err)
			}
		}
		tried += len(open)
		if b, err := l.Balance(t.Context(), "a"); err != nil || b.Consumed != credits.Amount(tried) || b.Held != 0 {
			t.Errorf("killed after %d lines: %+v, %v; want %d consumed", point, b, err, tried)
		}
	}
	audit(t, t.Context(), l)
}
