package credits_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// More defects that were found in other ledgers, of verbs that run alone, run at
// once and run again.

// atOnce runs cmd n times at once and returns how often it was done, replayed, and
// refused.
func (r *rig) atOnce(n int, cmd func(i int) any) (done, replayed, refused int) {
	r.t.Helper()
	var counts [3]atomic.Int64
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			switch got, err := r.try(cmd(i)); {
			case err != nil:
				counts[2].Add(1)
			case got.Replayed:
				counts[1].Add(1)
			default:
				counts[0].Add(1)
			}
		})
	}
	close(start)
	wg.Wait()
	return int(counts[0].Load()), int(counts[1].Load()), int(counts[2].Load())
}

// wasp-lang/open-saas #727: one credit, two requests at once, and the balance is
// -1. better-auth-rs PR #78, blnk #239: a decrement of a stale row.
func TestOneCreditPaysForOneOfTwoRequests(t *testing.T) {
	for range 50 {
		r := newRig(t)
		r.run(grant("g", 1))
		if done, replayed, refused := r.atOnce(2, func(i int) any { return debit(credits.OpID(strconv.Itoa(i)), 1) }); done != 1 || replayed != 0 || refused != 1 {
			t.Fatalf("%d were paid, %d replayed, %d refused", done, replayed, refused)
		}
		r.balance(credits.Totals{Issued: 1, Consumed: 1})
	}
}

// lago #5870, NyxID #1050, akash console PR #3449: a top-up that is retried is
// granted twice. fincore-engine #44: fifty at once must leave one row.
func TestATopUpIsGrantedOnce(t *testing.T) {
	r := newRig(t)
	if done, replayed, _ := r.atOnce(50, func(int) any { return grant("invoice", 10) }); done != 1 || replayed != 49 {
		t.Errorf("granted %d times, replayed %d times", done, replayed)
	}
	r.balance(credits.Totals{Issued: 10, Available: 10})
	if s := r.snapshot(acme); len(s.Ops) != 1 || len(s.Lots) != 1 || len(s.Entries) != 1 {
		t.Errorf("left %d ops, %d lots, %d entries", len(s.Ops), len(s.Lots), len(s.Entries))
	}
}

// blnk #41 and PR #43: a hold that was voided twice gave back twice. PR #171:
// commits at once each committed.
func TestAHoldEndsOnceHoweverOften(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 10))
	r.run(hold("void", 4))
	if done, replayed, refused := r.atOnce(8, func(int) any { return release("void") }); done != 1 || replayed != 7 || refused != 0 {
		t.Errorf("released %d times, replayed %d, refused %d", done, replayed, refused)
	}
	r.balance(credits.Totals{Issued: 10, Available: 10})
	r.run(hold("commit", 4))
	if done, replayed, refused := r.atOnce(8, func(int) any { return capture("commit", 3) }); done != 1 || replayed != 7 || refused != 0 {
		t.Errorf("captured %d times, replayed %d, refused %d", done, replayed, refused)
	}
	r.balance(credits.Totals{Issued: 10, Available: 7, Consumed: 3})
	r.refuse(release("commit"), credits.ErrSettled)
	r.refuse(captureAll("void"), credits.ErrSettled)
}

// vm0 #10299: a filter for what remains forgot when it expires. fountain #1126: what
// had expired could be spent until a sweep came by, up to a day.
func TestExpiredLotsAreNeverDrawn(t *testing.T) {
	r := newRig(t)
	r.run(credits.Grant{Account: acme, ID: "promo", Amount: 10, Category: credits.Promo, ExpiresAt: epoch.Add(time.Hour)})
	r.run(grant("paid", 5))
	r.add(time.Hour)
	r.balance(credits.Totals{Issued: 15, Available: 5, Expired: 10}) // nobody has swept
	r.denial(hold("more", 6))
	if d := r.run(debit("d", 5)); !d.Parts.Equal(credits.NewParts(credits.Part{Lot: 2, Amount: 5, Captured: 5})) {
		t.Errorf("paid by %+v", d.Parts)
	}
}

// fountain #1126: how much expires was read before a spend and written after it, and
// so taken from credit that was bought.
func TestExpiryTakesWhatIsLeftOfItsOwnLot(t *testing.T) {
	for range 20 {
		r := newRig(t)
		r.run(credits.Grant{Account: acme, ID: "promo", Amount: 10, ExpiresAt: epoch.Add(time.Minute)})
		r.run(grant("paid", 16))
		r.atOnce(8, func(i int) any {
			if i == 4 {
				r.add(time.Minute)
			}
			return debit(credits.OpID(strconv.Itoa(i)), 2)
		})
		r.run(debit("touch", 0))
		lots := r.snapshot(acme).Lots
		if p, q := lots[0].Totals, lots[1].Totals; p.Consumed+p.Expired != 10 || q.Expired != 0 || q.Available+q.Consumed != 16 || p.Consumed+q.Consumed != 16 {
			t.Fatalf("the lots are %+v and %+v", p, q)
		}
	}
}

// new-api #4429: six of eight deductions in advance were never settled after a
// panic. eliza #11169, #11493, #15472: holds that nobody ends.
func TestAHoldThatNobodyEndsGivesBackByItself(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 100))
	for i := range 8 {
		r.run(hold(credits.OpID(strconv.Itoa(i)), 10))
	}
	r.run(captureAll("0"))
	r.run(captureAll("1"))
	r.add(10 * time.Minute)
	r.balance(credits.Totals{Issued: 100, Available: 80, Consumed: 20})
	r.run(debit("d", 80))
}

// os-clovy PR #751: stranded holds filled the cap of ten, and each retry stranded
// one more.
func TestStrandedHoldsDoNotFillTheCap(t *testing.T) {
	r := newRigWith(t, &credits.Options{MaxHolds: 3})
	r.run(grant("g", 100))
	for i := range 3 {
		for range 5 { // retries of one request
			r.run(hold(credits.OpID(strconv.Itoa(i)), 10))
		}
	}
	r.denial(hold("next", 10))
	for range 5 {
		r.denial(hold("next", 10)) // and those of a denied one strand nothing
	}
	r.balance(credits.Totals{Issued: 100, Available: 70, Held: 30})
	r.add(10 * time.Minute)
	r.run(hold("next", 10))
	r.balance(credits.Totals{Issued: 100, Available: 90, Held: 10})
}

// new-api #4211 and #2891: a refund raised "total = remaining + used".
func TestARefundRaisesNoTotal(t *testing.T) {
	r := newRig(t)
	r.run(credits.Grant{Account: acme, ID: "g", Amount: 10, ExpiresAt: epoch.Add(time.Hour)})
	r.run(debit("d", 8))
	r.run(refund("r", "d", 3))
	r.balance(credits.Totals{Issued: 10, Available: 5, Consumed: 5})
	r.add(2 * time.Hour)
	r.run(refund("r2", "d", 3)) // to a new lot
	r.balance(credits.Totals{Issued: 10, Available: 3, Consumed: 2, Expired: 5})
}

// sexyvoice #503: one column for all that is frozen lets a request settle another
// one's share, and the settled balance moves while requests are in flight.
func TestEachHoldIsARowOfItsOwn(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 10))
	r.run(hold("a", 4))
	r.run(hold("b", 4))
	if b, err := r.Balance(t.Context(), acme); err != nil || b.Consumed != 0 || b.Issued != 10 {
		t.Errorf("balance %+v, %v", b, err)
	}
	r.refuse(capture("a", 5), credits.ErrOverHold) // there are 8 frozen, and 2 available
	r.run(captureAll("a"))
	r.balance(credits.Totals{Issued: 10, Available: 2, Held: 4, Consumed: 4})
	r.refuse(captureAll("no such"), credits.ErrNotFound)
}

// litellm #27735 and #40050: what came back was not seen for a while, and requests
// that could be paid were refused.
func TestWhatCameBackCanBeSpentAtOnce(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 10))
	r.run(hold("h", 10))
	r.denial(hold("x", 1))
	r.run(capture("h", 3))
	r.run(hold("x", 7))
	r.run(release("x"))
	r.run(debit("d", 7))
	r.run(refund("r", "d", 7))
	r.run(debit("d2", 7))
}

// Draftdeckai #859, bottube PR #1535, tunee_ai #3: a job that failed was charged,
// 4300 credits in one case.
func TestAFailedJobCostsNothing(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 10))
	r.run(hold("released", 5))
	r.run(release("released"))
	r.run(hold("captured at nothing", 5))
	r.run(capture("captured at nothing", 0))
	r.run(hold("charged before it failed", 5))
	r.run(captureAll("charged before it failed"))
	r.run(credits.Refund{Account: acme, ID: "r", Of: "charged before it failed", All: true})
	r.balance(credits.Totals{Issued: 10, Available: 10})
}

// formance wallets, Balances.Less: a lot that expires burnt before one of a lower
// priority.
func TestPriorityComesBeforeExpiry(t *testing.T) {
	r := newRig(t)
	r.run(credits.Grant{Account: acme, ID: "soon", Amount: 5, Priority: 1, ExpiresAt: epoch.Add(time.Hour)})
	r.run(grant("first", 5))
	if d := r.run(debit("d", 5)); d.Parts.At(0).Lot != 2 {
		t.Errorf("paid by %+v", d.Parts)
	}
}

// formance wallets, ErrNonIdempotentDebit: what was hashed was what a debit did, so
// one from a lot that can expire could not be retried.
func TestARetryNeedsNotTheSameLots(t *testing.T) {
	r := newRig(t)
	r.run(credits.Grant{Account: acme, ID: "soon", Amount: 5, ExpiresAt: epoch.Add(time.Hour)})
	first := r.run(debit("d", 3))
	r.add(time.Hour)
	r.run(credits.Grant{Account: acme, ID: "other", Amount: 5, Priority: -1})
	r.again(debit("d", 3), first)
}

// unkey, usagelimiter: SQL that clamps at 0 hides what was spent beyond.
func TestADebitIsAllOrNothing(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 10))
	if d := r.denial(debit("d", 11)); d.Need != 11 || d.Available != 10 {
		t.Errorf("denied by %+v", d)
	}
	r.balance(credits.Totals{Issued: 10, Available: 10})
}

// Every test that the list of defects names is there.
func TestTheListOfDefectsNamesTests(t *testing.T) {
	list, err := os.ReadFile(filepath.Join("..", "docs", "credits-defects.md"))
	if errors.Is(err, os.ErrNotExist) {
		t.Fatal("docs/credits-defects.md is missing")
	}
	if err != nil {
		t.Fatal(err)
	}
	var sources strings.Builder
	for _, pattern := range []string{"*_test.go", "creditstest/*.go", "../stores/*/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			sources.Write(text)
		}
	}
	names := regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(string(list), -1)
	if len(names) < 40 {
		t.Errorf("only %d tests are named", len(names))
	}
	for _, name := range names {
		if !strings.Contains(sources.String(), "func "+name[1]+"(") {
			t.Errorf("%s is named and is not there", name[1])
		}
	}
}
