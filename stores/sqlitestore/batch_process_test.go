package sqlitestore_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/keytoll/keytoll/credits"
	kerrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/stores/sqlitestore"
)

// batched returns a ledger whose commands are merged.
func batched(store credits.Store) (*credits.Ledger, error) {
	b, err := credits.NewBatcher(store, nil)
	if err != nil {
		return nil, err
	}
	return credits.NewLedger(b, nil)
}

func spendAllBatched(ctx context.Context, db *sqlitestore.DB, seed string) error {
	b, err := credits.NewBatcher(db.Credits(), nil)
	if err != nil {
		return err
	}
	return spendFrom(ctx, b, seed)
}

func TestTwoProcessesWithBatchersSpendOneAccountToZero(t *testing.T) { spendToZero(t, "spend batched") }

// batchOf is the account and the debit of a caller's nth round. Every third
// debit is of an account that soon has nothing left.
func batchOf(id string, n int) credits.Debit {
	d := credits.Debit{Account: "acct-0", ID: credits.OpID(id), Amount: 5, Key: "k"}
	switch n % 3 {
	case 1:
		d.Account = "acct-" + credits.AccountID(strconv.Itoa(n%5))
	case 2:
		d.Account = "poor"
	}
	return d
}

// batchForEver debits from many goroutines through a Batcher. Of each debit it
// says that it is tried, and then what came of it.
func batchForEver(ctx context.Context, db *sqlitestore.DB, seed string) error {
	ledger, err := batched(db.Credits())
	if err != nil {
		return err
	}
	if _, err := ledger.Grant(ctx, credits.Grant{Account: "poor", ID: credits.OpID("grant-" + seed), Amount: 100}); err != nil {
		return err
	}
	said := func(words ...any) { _, _ = os.Stdout.WriteString(fmt.Sprintln(words...)) } // one call, so that no line is cut
	failed := make(chan error, 1)
	for g := range 48 {
		go func() {
			for n := 0; ; n++ {
				id := fmt.Sprintf("%s-%d-%d", seed, g, n)
				said("try", id, n)
				_, err := ledger.Debit(ctx, batchOf(id, n))
				switch {
				case err == nil:
					said("yes", id)
				case errors.Is(err, credits.ErrInsufficient):
					said("no", id)
				default:
					failed <- err
					return
				}
			}
		}()
	}
	return <-failed
}

// A process is killed while it writes batches. What was answered stays so, and
// what was not is done once, by its retry: nothing is lost and nothing twice.
func TestBatchesSurviveKill(t *testing.T) {
	path := newFile(t)
	prepare(t, path, 1_000_000)
	tried, answered := make(map[string]int), make(map[string]bool)
	inTheAir := 0
	for round := range 3 {
		c := start(t, "batch", path, "r"+strconv.Itoa(round))
		c.release(t)
		for n := 0; c.lines.Scan(); {
			words := strings.Fields(c.lines.Text())
			switch words[0] {
			case "try":
				at, err := strconv.Atoi(words[2])
				if err != nil {
					t.Fatal(err)
				}
				tried[words[1]] = at
			default:
				answered[words[1]] = words[0] == "yes"
				n++
			}
			if n == 500+70*round {
				n++
				if err := c.cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := c.cmd.Wait(); err == nil {
			t.Fatal("the child ended by itself")
		}
		inTheAir += len(tried) - len(answered)
		retryAll(t, path, tried, answered)
	}
	t.Logf("%d debits tried, %d of them not answered, in three lives", len(tried), inTheAir)
	if inTheAir == 0 {
		t.Error("every debit was answered: nothing was in the air when the process was killed")
	}
}

// retryAll repeats every debit, checks it against its answer, and the file
// against both.
func retryAll(t *testing.T, path string, tried map[string]int, answered map[string]bool) {
	t.Helper()
	db := openAt(t, path, nil)
	defer db.Close(t.Context())
	ledger := newLedger(t, db)
	if _, err := ledger.Verify(t.Context(), nil); err != nil {
		t.Fatalf("before any retry: %v", err)
	}
	wrapped, err := batched(db.Credits())
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	spent := make(map[credits.AccountID]credits.Amount)
	outcome := make(map[string]bool)
	slots := make(chan struct{}, 64)
	var group sync.WaitGroup
	for id, n := range tried {
		group.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			d := batchOf(id, n)
			r, err := wrapped.Debit(t.Context(), d)
			denied, refused := kerrors.AsType[*credits.DeniedError](err)
			replayed := r.Replayed || refused && denied.Replayed
			mu.Lock()
			defer mu.Unlock()
			outcome[id] = err == nil
			yes, known := answered[id]
			switch {
			case err != nil && !refused:
				t.Errorf("%s: %v", id, err)
			case known && (yes != (err == nil) || !replayed):
				t.Errorf("%s was answered %t; its retry gives %+v, %v", id, yes, r, err)
			case err == nil:
				spent[d.Account] += d.Amount
			}
		})
	}
	group.Wait()
	for account, want := range spent {
		b, err := ledger.Balance(t.Context(), account)
		if err != nil || b.Consumed != want {
			t.Errorf("account %s has consumed %v, %v; the answers say %v", account, b.Consumed, err, want)
		}
	}
	if _, err := ledger.Verify(t.Context(), nil); err != nil {
		t.Error(err)
	}
	sound(t, db)
	maps.Copy(answered, outcome) // from now on all are known
}

// Batches that do not fit on the disk are told so, each caller, and are done when
// there is room again.
func TestAFullDiskFailsBatchesWhole(t *testing.T) {
	db := open(t, nil)
	b, err := credits.NewBatcher(db.Credits(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ledger, err := credits.NewLedger(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	ids := []credits.AccountID{"a", "b", "c", "d"}
	for _, id := range ids {
		if _, err := ledger.Grant(t.Context(), credits.Grant{Account: id, ID: "g", Amount: 1e9}); err != nil {
			t.Fatal(err)
		}
	}
	pages, err := db.WriterInt("PRAGMA page_count")
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Pragma(fmt.Sprintf("max_page_count = %d", pages+8)); err != nil {
		t.Fatal(err)
	}
	note := strings.Repeat("n", 1000)
	const callers, each = 32, 30
	var failed [callers][]credits.Debit
	round := func() (full int) {
		var group sync.WaitGroup
		for g := range callers {
			todo := failed[g]
			failed[g] = nil
			group.Go(func() {
				for _, d := range todo {
					_, err := ledger.Debit(t.Context(), d)
					if err != nil {
						failed[g] = append(failed[g], d)
						if kerrors.CodeOf(err) != kerrors.Unavailable {
							t.Errorf("%+v: %v; want code Unavailable", d, err)
						}
					}
				}
			})
		}
		group.Wait()
		for _, list := range failed {
			full += len(list)
		}
		return full
	}
	for g := range callers {
		for n := range each {
			failed[g] = append(failed[g], credits.Debit{Account: ids[(g+n)%len(ids)], ID: credits.OpID(fmt.Sprint(g, "-", n)), Amount: 1, Note: note})
		}
	}
	if full := round(); full == 0 {
		t.Fatal("the disk is not full")
	}
	if _, err := ledger.Verify(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if err := db.Pragma("max_page_count = 100000"); err != nil {
		t.Fatal(err)
	}
	if full := round(); full != 0 {
		t.Errorf("%d debits fail with room on the disk", full)
	}
	sum := credits.Amount(0)
	for _, id := range ids {
		balance, err := ledger.Balance(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		sum += balance.Consumed
	}
	if sum != callers*each {
		t.Errorf("%d consumed; want %d, each debit once", sum, callers*each)
	}
	if _, err := ledger.Verify(t.Context(), nil); err != nil {
		t.Error(err)
	}
}
