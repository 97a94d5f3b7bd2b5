package pgstore_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/keytoll/keytoll/credits"
	kerrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/stores/pgstore"
	"github.com/keytoll/keytoll/stores/pgstore/pgtest"
)

// The server is killed again and again in the middle of commits. In between every
// call says Unavailable. Afterwards every invariant holds; what was acknowledged
// is answered as before; and once every command without an answer was retried
// under its id, each was done exactly once.
func TestCreditsSurviveTheServersKill(t *testing.T) {
	const workers, accounts, kills = 6, 3, 3
	server := pgtest.Start(t)
	db, err := pgstore.Open(server.URL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(context.WithoutCancel(t.Context()))
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	l := newLedger(t, db.Credits(nil))
	account := func(n int) credits.AccountID { return credits.AccountID(fmt.Sprint("account ", n%accounts)) }
	for n := range accounts {
		grant(t, l, account(n), "grant", 1_000_000)
	}
	type command struct {
		account credits.AccountID
		id      credits.OpID
		debit   bool
		receipt *credits.Receipt // nil: there was no answer
	}
	do := func(ctx context.Context, c *command) (credits.Receipt, error) {
		if c.debit {
			return l.Debit(ctx, credits.Debit{Account: c.account, ID: c.id, Amount: 1})
		}
		return l.Hold(ctx, credits.Hold{Account: c.account, ID: c.id, Amount: 1, TTL: credits.NoTimeout})
	}
	all := make([][]command, workers)
	progress := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var away sync.RWMutex // held while there is no server
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				c := command{account: account(w + i), id: credits.OpID(fmt.Sprint(w, " ", i)), debit: i%2 == 0}
				r, err := do(ctx, &c)
				if err == nil {
					c.receipt = &r
				}
				all[w] = append(all[w], c)
				switch {
				case err == nil:
					select {
					case progress <- struct{}{}:
					default:
					}
				case ctx.Err() == nil && kerrors.CodeOf(err) != kerrors.Unavailable:
					t.Errorf("%s: %v, want success or Unavailable", c.id, err)
				default:
					pass(&away)
				}
			}
		})
	}
	for range kills {
		for range 40 {
			<-progress
		}
		away.Lock()
		server.Kill()
		_, err := l.Balance(t.Context(), account(0))
		wantCode(t, err, kerrors.Unavailable)
		server.Restart()
		away.Unlock()
	}
	for range 40 {
		<-progress
	}
	cancel()
	group.Wait()
	audit(t, t.Context(), l)

	answered, unanswered, done := 0, 0, 0
	want := make(map[credits.AccountID]credits.Totals)
	for _, commands := range all {
		for i := range commands {
			c := &commands[i]
			r, err := do(t.Context(), c)
			totals := want[c.account]
			totals.Available--
			if c.debit {
				totals.Consumed++
			} else {
				totals.Held++
			}
			want[c.account] = totals
			switch {
			case err != nil:
				t.Errorf("%s, retried: %v", c.id, err)
			case c.receipt == nil:
				if unanswered++; r.Replayed {
					done++
				}
			case !r.Replayed || r.At != c.receipt.At || r.Totals != c.receipt.Totals || !r.Parts.Equal(c.receipt.Parts):
				t.Errorf("%s was answered %+v, and now %+v", c.id, *c.receipt, r)
			default:
				answered++
			}
		}
	}
	for n := range accounts {
		totals := want[account(n)]
		totals.Issued, totals.Available = 1_000_000, 1_000_000+totals.Available
		if b, err := l.Balance(t.Context(), account(n)); err != nil || b.Totals != totals {
			t.Errorf("%s has %+v, %v; want %+v", account(n), b.Totals, err, totals)
		}
	}
	audit(t, t.Context(), l)
	t.Logf("%d commands were answered, %d were not, of which %d had come true", answered, unanswered, done)
}

// pass returns once nobody holds m.
func pass(m *sync.RWMutex) {
	m.RLock()
	defer m.RUnlock()
}
