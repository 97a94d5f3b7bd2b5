package credits_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
	kerrors "github.com/keytoll/keytoll/errors"
)

// A process with a journal is killed again and again, at any moment: while it
// spends, before and after the ledger has carried out what it sends, and while it
// recovers. The ledger is in the test's process, which never dies. In the end
// exactly what was answered is consumed, and nothing is in suspense.
func TestNothingAnsweredIsLostWhenAProcessIsKilled(t *testing.T) {
	if path := os.Getenv("KEYTOLL_LEASE_CHILD"); path != "" {
		leaseChild(path, os.Getenv("KEYTOLL_LEASE_RUN"))
		return
	}
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 9))
	r := newLeaseRig(t, 1_000_000)
	p := &leaseParent{leaseRig: r, path: filepath.Join(t.TempDir(), "leases"), answered: make(map[credits.OpID]credits.Amount)}
	const runs = 12
	for run := range runs {
		p.killAt = []string{"answer", "before", "after"}[run%3]
		p.left = 1 + rng.IntN(6)
		if p.killAt == "answer" {
			p.left = 20 + rng.IntN(400)
		}
		p.child(t, run)
		if rng.IntN(3) == 0 {
			r.add(time.Hour) // what is leased lapses
		}
	}
	p.killAt = "never"
	p.child(t, runs)
	r.idle()
	sum := credits.Amount(0)
	for id, amount := range p.answered {
		o, err := r.Op(t.Context(), acme, id)
		if err != nil || o.Amount != amount || o.Denied != credits.SourceNone {
			t.Fatalf("seed %d: %s of %v was answered: %+v, %v", seed, id, amount, o, err)
		}
		sum += amount
	}
	// Of each run, what its two spenders were about to be told may be there too.
	got := r.totals()
	if most := sum + runs*2*3; got.Consumed < sum || got.Consumed > most || got.Available != 1_000_000-got.Consumed {
		t.Errorf("seed %d: %v answered, at most %v spent: %+v", seed, sum, most, got)
	}
	if p.leased == 0 || len(p.answered) < 200 {
		t.Errorf("seed %d: %d answers, %d leases: too little was tried", seed, len(p.answered), p.leased)
	}
}

// leaseParent is the ledger's side.
type leaseParent struct {
	leaseRig
	path     string
	answered map[credits.OpID]credits.Amount
	killAt   string
	left     int // so many of killAt until the child is killed
	leased   int
}

// leaseCall is a command on its way to the ledger.
type leaseCall struct {
	Answered credits.OpID `json:",omitempty"` // no command, but what was told to a client
	Amount   credits.Amount
	Acquire  *credits.AcquireLease
	Settle   *credits.SettleLease
	Pay      *credits.Debit
	Recall   credits.AccountID
}

type leaseReply struct {
	Lease   credits.LeaseReceipt
	Receipt struct{ Totals credits.Totals }
	Denied  *credits.DeniedError
	Code    kerrors.Code
	Missing bool // ErrNotFound
	Text    string
}

// child runs one child until it is killed, or ends by itself.
func (p *leaseParent) child(t *testing.T, run int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "KEYTOLL_LEASE_CHILD="+p.path, fmt.Sprintf("KEYTOLL_LEASE_RUN=%d %v", run, p.killAt == "never"))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killed := false
	kill := func(at string) bool {
		if killed || at != p.killAt {
			return killed
		}
		if p.left--; p.left == 0 {
			_ = cmd.Process.Kill()
			killed = true
		}
		return killed
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() { // what was written before a kill is read after it
		text := lines.Bytes()
		var c leaseCall
		if err := json.Unmarshal(text, &c); err != nil {
			if !strings.HasPrefix(lines.Text(), "PASS") && !strings.HasPrefix(lines.Text(), "ok") && !killed {
				t.Errorf("the child says %q", text)
			}
			continue
		}
		if c.Answered != "" {
			p.answered[c.Answered] = c.Amount
			kill("answer")
			continue
		}
		if kill("before") {
			continue
		}
		reply := p.carryOut(t.Context(), &c)
		if kill("after") {
			continue
		}
		text, err := json.Marshal(reply)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = in.Write(append(text, '\n')) // it may be dead
	}
	if err := cmd.Wait(); (err == nil) == killed {
		t.Errorf("run %d, to be killed at %s: killed %v, and ended with %v", run, p.killAt, killed, err)
	}
}

func (p *leaseParent) carryOut(ctx context.Context, c *leaseCall) (reply leaseReply) {
	var err error
	switch {
	case c.Acquire != nil:
		reply.Lease, err = p.AcquireLease(ctx, *c.Acquire)
		p.leased++
	case c.Settle != nil:
		reply.Lease, err = p.SettleLease(ctx, *c.Settle)
		for i := range reply.Lease.Spends {
			if f := &reply.Lease.Spends[i]; f.Err != nil {
				p.t.Errorf("spend %s: %v", f.ID, f.Err)
				f.Err = nil
			}
		}
	case c.Pay != nil:
		var r credits.Receipt
		r, err = credits.LessorOf(p.Ledger).Pay(ctx, *c.Pay)
		reply.Receipt.Totals = r.Totals
	default:
		err = p.RecallLeases(ctx, c.Recall)
	}
	if err != nil {
		reply.Denied, _ = errors.AsType[*credits.DeniedError](err)
		reply.Code, reply.Text, reply.Missing = kerrors.CodeOf(err), err.Error(), errors.Is(err, credits.ErrNotFound)
	}
	return reply
}

// leaseLine is the child's side: one line for each command, one for its reply.
type leaseLine struct {
	credits.Lessor // what is not here is not used
	mu             sync.Mutex
	write          sync.Mutex
	in             *bufio.Scanner
}

func (l *leaseLine) say(c leaseCall) {
	text, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	l.write.Lock()
	defer l.write.Unlock()
	if _, err := os.Stdout.Write(append(text, '\n')); err != nil {
		panic(err)
	}
}

func (l *leaseLine) ask(c leaseCall) (reply leaseReply, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.say(c)
	if !l.in.Scan() {
		return reply, io.ErrUnexpectedEOF
	}
	if err := json.Unmarshal(l.in.Bytes(), &reply); err != nil {
		return reply, err
	}
	switch {
	case reply.Denied != nil:
		return reply, reply.Denied
	case reply.Missing:
		return reply, credits.ErrNotFound
	case reply.Code != kerrors.Unknown:
		return reply, &kerrors.Error{Code: reply.Code, Msg: reply.Text}
	}
	return reply, nil
}

func (l *leaseLine) AcquireLease(_ context.Context, a credits.AcquireLease) (credits.LeaseReceipt, error) {
	r, err := l.ask(leaseCall{Acquire: &a})
	return r.Lease, err
}

func (l *leaseLine) SettleLease(_ context.Context, s credits.SettleLease) (credits.LeaseReceipt, error) {
	r, err := l.ask(leaseCall{Settle: &s})
	return r.Lease, err
}

func (l *leaseLine) Pay(_ context.Context, d credits.Debit) (credits.Receipt, error) {
	r, err := l.ask(leaseCall{Pay: &d})
	return credits.Receipt{Totals: r.Receipt.Totals}, err
}

func (l *leaseLine) RecallLeases(_ context.Context, id credits.AccountID) error {
	_, err := l.ask(leaseCall{Recall: id})
	return err
}

// leaseChild spends until it is killed; the last one tidies up.
func leaseChild(path, run string) {
	name, last, _ := strings.Cut(run, " ")
	line := &leaseLine{in: bufio.NewScanner(os.Stdin)}
	line.in.Buffer(nil, 1<<20)
	journal, err := credits.OpenLeaseJournal(path, &credits.LeaseJournalOptions{CompactBytes: 4096})
	if err != nil {
		panic(err)
	}
	later := time.Duration(0)
	o := &credits.LesseeOptions{Journal: journal, Flush: 10 * time.Millisecond, Least: 2}
	if last == "true" {
		o.Flush, o.Now = credits.ManualFlush, func() time.Time { return time.Now().Add(later) }
	}
	lessee, err := credits.NewLesseeOf(line, o)
	if err != nil {
		panic(err)
	}
	if last == "true" {
		if lessee.Close(context.Background()) != nil { // a lease was asked for, and the ledger does not know it
			later = time.Hour
			err = lessee.Close(context.Background())
		}
		if err = errors.Join(err, journal.Close()); err != nil {
			panic(err)
		}
		return
	}
	var all sync.WaitGroup
	for lane := range 2 {
		all.Go(func() {
			for i := 0; ; i++ {
				d := debit(credits.OpID(fmt.Sprintf("%s-%d-%d", name, lane, i)), credits.Amount(1+i%3))
				if _, err := lessee.Debit(context.Background(), d); err == nil {
					line.say(leaseCall{Answered: d.ID, Amount: d.Amount})
				}
			}
		})
	}
	all.Wait()
}
