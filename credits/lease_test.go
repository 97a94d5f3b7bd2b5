package credits_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
	kerrors "github.com/keytoll/keytoll/errors"
)

// leaseRig is a rig with one grant and the commands of one owner.
type leaseRig struct{ *rig }

func newLeaseRig(t testing.TB, amount credits.Amount) leaseRig {
	r := leaseRig{newRig(t)}
	r.run(grant("g", amount))
	return r
}

func acquire(id credits.OpID, amount credits.Amount) credits.AcquireLease {
	return credits.AcquireLease{Account: acme, ID: id, Owner: "one", Epoch: 7, Key: "k", Operation: "image", Min: 1, Want: amount}
}

func settle(id credits.OpID, spends ...credits.LeaseSpend) credits.SettleLease {
	return credits.SettleLease{Account: acme, Lease: id, Owner: "one", Epoch: 7, Spends: spends}
}

func closing(id credits.OpID, spends ...credits.LeaseSpend) credits.SettleLease {
	s := settle(id, spends...)
	s.Close = true
	return s
}

func spend(id credits.OpID, amount credits.Amount) credits.LeaseSpend {
	return credits.LeaseSpend{ID: id, Amount: amount}
}

func resolve(id, lease credits.OpID, to credits.Bucket) credits.ResolveLease {
	return credits.ResolveLease{Account: acme, ID: id, Lease: lease, All: true, To: to, Note: "the machine is gone"}
}

func (r leaseRig) acquire(a credits.AcquireLease) credits.LeaseReceipt {
	r.t.Helper()
	got, err := r.AcquireLease(r.t.Context(), a)
	if err != nil {
		r.t.Fatalf("%+v: %v", a, err)
	}
	return got
}

// settle settles, and every spend must be filed.
func (r leaseRig) settle(s credits.SettleLease) credits.LeaseReceipt {
	r.t.Helper()
	got, err := r.SettleLease(r.t.Context(), s)
	if err != nil {
		r.t.Fatalf("%+v: %v", s, err)
	}
	for _, f := range got.Spends {
		if f.Err != nil {
			r.t.Fatalf("spend %s: %v", f.ID, f.Err)
		}
	}
	return got
}

// unchanged runs fn, which must write nothing.
func (r leaseRig) unchanged(what string, fn func()) {
	r.t.Helper()
	before := r.snapshot(acme)
	fn()
	if after := r.snapshot(acme); !reflect.DeepEqual(after, before) {
		r.t.Fatalf("%s has changed the state:\n%+v\n%+v", what, before, after)
	}
}

func TestALeaseIsSpentSettledAndReturned(t *testing.T) {
	r := newLeaseRig(t, 100)
	got := r.acquire(acquire("l", 40))
	if got.Amount != 40 || got.Rest != 40 || got.Hold != credits.HoldOpen || !got.Deadline.Equal(epoch.Add(time.Minute)) || !got.Now.Equal(epoch) {
		t.Fatalf("%+v", got)
	}
	r.balance(credits.Totals{Issued: 100, Available: 60, Leased: 40})
	got = r.settle(settle("l", spend("a", 5), spend("b", 0), spend("c", 7)))
	if got.Rest != 28 || got.Replayed {
		t.Fatalf("%+v", got)
	}
	r.balance(credits.Totals{Issued: 100, Available: 60, Leased: 28, Consumed: 12})
	got = r.settle(closing("l", spend("d", 8)))
	if got.Rest != 0 || got.Hold != credits.HoldReleased {
		t.Fatalf("%+v", got)
	}
	r.balance(credits.Totals{Issued: 100, Available: 80, Consumed: 20})
	for _, o := range r.snapshot(acme).Ops {
		if o.Kind == credits.KindDebit && (o.Target != "l" || o.Key != "k" || o.Operation != "image") {
			t.Errorf("a spend's row: %+v", o)
		}
	}
	if a := r.snapshot(acme).Account; a.Leases != 0 {
		t.Errorf("%d leases are open", a.Leases)
	}
	// What a spend took can be refunded like a debit, to its lot.
	r.run(refund("r", "a", 5))
	r.balance(credits.Totals{Issued: 100, Available: 85, Consumed: 15})
}

func TestARetriedSettlementFilesEachSpendOnce(t *testing.T) {
	r := newLeaseRig(t, 100)
	r.acquire(acquire("l", 40))
	first, second := settle("l", spend("a", 5)), settle("l", spend("a", 5), spend("b", 6))
	first.Return, second.Return = 3, 9
	got := r.settle(second)
	if got.Rest != 20 {
		t.Fatalf("%+v", got)
	}
	r.unchanged("a retry", func() {
		for _, s := range []credits.SettleLease{second, first} { // the first comes late
			if got := r.settle(s); !got.Replayed || got.Rest != 20 || !got.Spends[0].Replayed {
				t.Errorf("%+v", got)
			}
		}
	})
	third := settle("l", spend("c", 1))
	third.Return = 12 // 3 more than before
	if got := r.settle(third); got.Rest != 16 {
		t.Errorf("%+v", got)
	}
	r.settle(closing("l"))
	r.unchanged("a retry after the end", func() {
		r.settle(third)
		r.settle(second)
		r.settle(closing("l", spend("a", 5)))
	})
	r.balance(credits.Totals{Issued: 100, Available: 88, Consumed: 12})
}

func TestEachSpendIsJudgedByItself(t *testing.T) {
	r := newLeaseRig(t, 100)
	r.acquire(acquire("l", 10))
	d := debit("taken", 1)
	d.Key, d.Operation = "k", "image"
	r.run(d)
	other := d
	other.ID, other.Amount = "refused", 1000
	if _, err := r.try(other); !errors.Is(err, credits.ErrInsufficient) {
		t.Fatal(err)
	}
	got, err := r.SettleLease(t.Context(), settle("l", spend("a", 4), spend("a", 4), spend("a", 3), spend("taken", 1), spend("taken", 2), spend("big", 7), spend("b", 6)))
	if err != nil {
		t.Fatal(err)
	}
	want := []error{nil, nil, credits.ErrIntent, nil, credits.ErrIntent, credits.ErrOverLease, nil}
	for i, f := range got.Spends {
		if !errors.Is(f.Err, want[i]) || (f.Err == nil) != (want[i] == nil) || f.Replayed != (i == 1 || i == 3) {
			t.Errorf("spend %d: %+v, want %v", i, f, want[i])
		}
	}
	r.balance(credits.Totals{Issued: 100, Available: 89, Consumed: 11})
	r.settle(closing("l"))
	if got, err := r.SettleLease(t.Context(), settle("l", spend("late", 1))); err != nil || !errors.Is(got.Spends[0].Err, credits.ErrSettled) {
		t.Errorf("a spend of a closed lease: %+v, %v", got, err)
	}
}

// A request that went through an instance's lease and, retried, through the
// store, is paid once.
func TestASpendAndADebitOfOneIDAreOneCommand(t *testing.T) {
	r := newLeaseRig(t, 100)
	r.acquire(acquire("l", 10))
	r.settle(settle("l", spend("a", 4)))
	d := debit("a", 4)
	d.Key, d.Operation = "k", "image"
	if got := r.run(d); !got.Replayed {
		t.Errorf("%+v", got)
	}
	d.Key = ""
	r.refuse(d, credits.ErrIntent)
}

func TestOnlyItsOwnerSettlesALease(t *testing.T) {
	r := newLeaseRig(t, 100)
	r.acquire(acquire("l", 40))
	for _, s := range []credits.SettleLease{
		{Account: acme, Lease: "l", Owner: "two", Epoch: 7, Close: true},
		{Account: acme, Lease: "l", Owner: "one", Epoch: 8, Close: true},
		{Account: acme, Lease: "l", Owner: "one", Epoch: 6, Spends: []credits.LeaseSpend{spend("x", 1)}},
	} {
		r.unchanged("another owner", func() {
			if _, err := r.SettleLease(t.Context(), s); !errors.Is(err, credits.ErrNotOwner) || kerrors.CodeOf(err) != kerrors.Forbidden {
				t.Errorf("%+v: %v", s, err)
			}
		})
	}
	r.run(hold("h", 1))
	for _, id := range []credits.OpID{"none", "h", "g"} {
		if _, err := r.SettleLease(t.Context(), closing(id)); !errors.Is(err, credits.ErrNotFound) {
			t.Errorf("%s: %v", id, err)
		}
		r.refuse(capture("l", 1), credits.ErrNotFound) // a lease is no hold
	}
}

func TestALapsedLeaseGoesToSuspenseAndNeverBack(t *testing.T) {
	r := newLeaseRig(t, 100)
	r.acquire(acquire("l", 40))
	r.settle(settle("l", spend("a", 5)))
	r.add(time.Minute)
	r.balance(credits.Totals{Issued: 100, Available: 60, Suspense: 35, Consumed: 5})
	r.run(debit("d", 60))
	r.refuse(hold("h", 1), credits.ErrInsufficient)
	if a := r.snapshot(acme).Account; a.Leases != 0 {
		t.Errorf("%d leases are open", a.Leases)
	}
	// The owner, back again, is heard all the same.
	got := r.settle(settle("l", spend("b", 10)))
	if got.Hold != credits.HoldSuspense || got.Rest != 25 {
		t.Errorf("%+v", got)
	}
	s := settle("l")
	s.Return = 5
	r.settle(s)
	r.balance(credits.Totals{Issued: 100, Available: 5, Suspense: 20, Consumed: 75})
	if got = r.settle(closing("l", spend("c", 1))); got.Hold != credits.HoldReleased {
		t.Errorf("%+v", got)
	}
	r.balance(credits.Totals{Issued: 100, Available: 24, Consumed: 76})
}

func TestASpentLeaseLapsesWithoutSuspense(t *testing.T) {
	r := newLeaseRig(t, 100)
	r.acquire(acquire("l", 40))
	r.settle(settle("l", spend("a", 40)))
	r.add(time.Hour)
	r.run(debit("d", 1))
	if got := r.settle(closing("l", spend("a", 40))); got.Hold != credits.HoldReleased {
		t.Errorf("%+v", got)
	}
	r.balance(credits.Totals{Issued: 100, Available: 59, Consumed: 41})
}

func TestAnOperatorResolvesSuspense(t *testing.T) {
	r := newLeaseRig(t, 100)
	r.acquire(acquire("l", 40))
	_, err := r.ResolveLease(t.Context(), resolve("r", "l", credits.BucketAvailable))
	if !errors.Is(err, credits.ErrLeaseOpen) {
		t.Errorf("of an open lease: %v", err)
	}
	r.add(time.Minute)
	part := resolve("r1", "l", credits.BucketConsumed)
	part.All, part.Amount = false, 10
	for i, c := range []credits.ResolveLease{part, {Account: acme, ID: "r2", Lease: "l", Amount: 5, To: credits.BucketExpired, Note: "n"}, resolve("r3", "l", credits.BucketAvailable)} {
		got, err := r.ResolveLease(t.Context(), c)
		if want := []credits.Amount{10, 5, 25}[i]; err != nil || got.Amount != want || got.Kind != credits.KindResolve {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	r.balance(credits.Totals{Issued: 100, Available: 85, Consumed: 10, Expired: 5})
	r.unchanged("a retry", func() {
		if got, err := r.ResolveLease(t.Context(), part); err != nil || !got.Replayed {
			t.Errorf("%+v, %v", got, err)
		}
		part.Note = "other"
		if _, err := r.ResolveLease(t.Context(), part); !errors.Is(err, credits.ErrIntent) {
			t.Error(err)
		}
		if _, err := r.ResolveLease(t.Context(), resolve("r4", "l", credits.BucketAvailable)); !errors.Is(err, credits.ErrSettled) {
			t.Error(err)
		}
	})
	// The owner that was thought dead learns that its spend has no credits.
	got, err := r.SettleLease(t.Context(), settle("l", spend("late", 1)))
	if err != nil || !errors.Is(got.Spends[0].Err, credits.ErrSettled) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestTheSizeOfALease(t *testing.T) {
	r := newLeaseRig(t, 100)
	for _, c := range []struct {
		least, most credits.Amount
		share       int64
		got         credits.Amount // 0: refused
	}{{1, 50, 0, 50}, {1, 50, 10, 10}, {10, 50, 10, 10}, {11, 50, 10, 0}, {1, 5, 10, 5}, {1, 1000, 1, 100}, {101, 1000, 0, 0}} {
		a := acquire(credits.OpID(fmt.Sprint(c)), c.most)
		a.Min, a.Share = c.least, c.share
		got, err := r.AcquireLease(t.Context(), a)
		if c.got == 0 {
			if denied, ok := errors.AsType[*credits.DeniedError](err); !ok || denied.Need != c.least || denied.Available >= c.least || !denied.At.Equal(epoch) {
				t.Errorf("%+v: %+v, %+v", c, got, denied)
			}
			continue
		}
		if err != nil || got.Amount != c.got {
			t.Errorf("%+v: %+v, %v", c, got, err)
		}
		r.settle(closing(a.ID))
	}
}

// No lot that a lease took from expires before the lease ends.
func TestALeaseEndsWithItsFirstLot(t *testing.T) {
	r := newLeaseRig(t, 100)
	soon := grant("soon", 10)
	soon.ExpiresAt = epoch.Add(20 * time.Second)
	r.run(soon)
	first := r.acquire(acquire("l", 15))
	if !first.Deadline.Equal(soon.ExpiresAt) {
		t.Fatalf("%+v", first)
	}
	second := r.acquire(acquire("m", 10))
	renew := settle("m")
	renew.TTL = 2 * time.Minute
	r.add(time.Second)
	if got := r.settle(renew); !got.Deadline.Equal(epoch.Add(2*time.Minute+time.Second)) || second.Deadline.After(got.Deadline) {
		t.Errorf("%+v", got)
	}
	renew.TTL = time.Second
	if got := r.settle(renew); !got.Deadline.Equal(epoch.Add(2*time.Minute + time.Second)) {
		t.Errorf("a deadline was put forward: %+v", got)
	}
	late := settle("l", spend("a", 10)) // all of the first lot: now the lease may go on
	late.TTL = time.Minute
	if got := r.settle(late); !got.Deadline.Equal(epoch.Add(time.Minute + time.Second)) {
		t.Errorf("%+v", got)
	}
	// Given back to a lot that has expired, credits expire.
	r.add(time.Hour)
	r.run(credits.Grant{Account: acme, ID: "g3", Amount: 10, Priority: -1, ExpiresAt: r.now().Add(time.Minute)})
	r.acquire(acquire("x", 10))
	r.add(time.Minute)
	r.settle(closing("x", spend("b", 4)))
	b, err := r.Balance(t.Context(), acme)
	if err != nil || b.Expired != 6 {
		t.Errorf("%+v, %v", b, err)
	}
}

func TestARecallReachesTheOwnersOfOlderLeases(t *testing.T) {
	r := newLeaseRig(t, 100)
	r.unchanged("a recall without leases", func() {
		if err := r.RecallLeases(t.Context(), acme); err != nil {
			t.Error(err)
		}
	})
	r.acquire(acquire("l", 10))
	r.add(time.Second)
	if err := r.RecallLeases(t.Context(), acme); err != nil {
		t.Fatal(err)
	}
	r.unchanged("a second recall at once", func() {
		if err := r.RecallLeases(t.Context(), acme); err != nil {
			t.Error(err)
		}
	})
	s := settle("l")
	s.TTL = time.Hour
	if got := r.settle(s); !got.Recalled || !got.Deadline.Equal(epoch.Add(time.Minute)) {
		t.Errorf("%+v", got)
	}
	r.add(time.Second)
	if got := r.acquire(acquire("m", 10)); got.Recalled {
		t.Errorf("%+v", got)
	}
	if got := r.acquire(acquire("l", 10)); !got.Replayed || !got.Recalled || got.Rest != 10 {
		t.Errorf("%+v", got)
	}
	if err := r.RecallLeases(t.Context(), ""); kerrors.CodeOf(err) != kerrors.Invalid {
		t.Error(err)
	}
}

func TestLeaseCommandsReportEveryFault(t *testing.T) {
	r := newLeaseRig(t, 1)
	_, acquired := r.AcquireLease(t.Context(), credits.AcquireLease{ID: "@x", Epoch: -1, Want: -1, Share: -1, TTL: -1})
	_, settled := r.SettleLease(t.Context(), credits.SettleLease{Epoch: -1, Return: -1, TTL: 25 * time.Hour, Spends: []credits.LeaseSpend{{ID: "@x", Amount: -1}}})
	_, many := r.SettleLease(t.Context(), settle("l", make([]credits.LeaseSpend, credits.MaxLeaseSpends+1)...))
	_, resolved := r.ResolveLease(t.Context(), credits.ResolveLease{All: true, Amount: 1, To: credits.BucketHeld})
	for err, parts := range map[error][]string{
		acquired: {"Account is empty", `ID "@x" begins`, "Owner is empty", "Epoch is -1", "Min is 0", "Want is negative", "Share is -1", "TTL is -1ns"},
		settled:  {"Account is empty", "Lease is empty", "Owner is empty", "Epoch is -1", "Return is negative", "TTL is 25h", `Spends[0] is not`},
		many:     {"Spends has 1001"},
		resolved: {"Account is empty", "ID is empty", "Lease is empty", "Note is empty", "To is held", "give one of them"},
	} {
		for _, part := range parts {
			if kerrors.CodeOf(err) != kerrors.Invalid || !strings.Contains(err.Error(), part) {
				t.Errorf("%v does not say %q", err, part)
			}
		}
	}
}

// Many lots, in random order, settle to what a plain count of the spends says.
func TestALeaseOfManyLots(t *testing.T) {
	r := newLeaseRig(t, 1)
	for i := range 50 {
		r.run(grant(credits.OpID(fmt.Sprint("g", i)), 3))
	}
	r.acquire(acquire("l", 100))
	sum := credits.Amount(0)
	for i := range 20 {
		a, b := credits.Amount(i%5), credits.Amount(i%3)
		r.settle(settle("l", spend(credits.OpID(fmt.Sprint("a", i)), a), spend(credits.OpID(fmt.Sprint("b", i)), b)))
		sum += a + b
	}
	r.balance(credits.Totals{Issued: 151, Available: 51, Leased: 100 - sum, Consumed: sum})
	r.settle(closing("l"))
	r.balance(credits.Totals{Issued: 151, Available: 151 - sum, Consumed: sum})
}

// A lease counts against every budget like a hold, takes a share of their room,
// and ends with their windows.
func TestALeaseKeepsToBudgets(t *testing.T) {
	r := newLeaseRig(t, 10_000)
	for _, b := range []credits.Budget{
		{Account: acme, ID: "day", Every: credits.Day, Amount: 100, Thresholds: "10,50"},
		{Account: acme, ID: "soft", Key: "k", Amount: 1, Soft: true},
		{Account: acme, ID: "image", Operation: "image", Amount: 1000},
		{Account: acme, ID: "other", Key: "other", Amount: 0},
	} {
		if _, err := r.SetBudget(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	r.add(11*time.Hour + 59*time.Minute) // a minute before midnight
	a := acquire("l", 1000)
	a.TTL = time.Hour
	got := r.acquire(a)
	if midnight := epoch.Add(12 * time.Hour); got.Amount != 100 || !got.Deadline.Equal(midnight) {
		t.Fatalf("%+v", got)
	}
	r.settle(settle("l", spend("a", 9)))
	budget := func(id credits.BudgetID, held, used credits.Amount) {
		t.Helper()
		for _, b := range r.snapshot(acme).Budgets {
			if b.ID == id && (b.Held != held || b.Used != used) {
				t.Errorf("budget %s has %v held and %v used; want %v and %v", id, b.Held, b.Used, held, used)
			}
		}
	}
	budget("day", 91, 9)
	budget("soft", 91, 9)
	budget("image", 91, 9)
	budget("other", 0, 0)
	_, err := r.AcquireLease(t.Context(), acquire("m", 10))
	if d, ok := errors.AsType[*credits.DeniedError](err); !ok || d.Source != credits.SourceAccountBudget || d.Budget != "day" {
		t.Errorf("%v", err)
	}
	s := settle("l", spend("b", 1))
	s.Return = 30
	r.settle(s)
	budget("day", 60, 10)
	a = acquire("m", 1000)
	a.Share = 10
	if got := r.acquire(a); got.Amount != 3 {
		t.Errorf("%+v", got)
	}
	r.settle(closing("m"))
	crossed := 0
	for _, o := range r.snapshot(acme).Ops {
		for c := range o.Charges.All() {
			crossed += len(c.Crossed)
			if len(c.Crossed) > 0 && o.ID != "b" {
				t.Errorf("op %s has crossed %v", o.ID, c.Crossed)
			}
		}
	}
	if crossed != 1 {
		t.Errorf("%d thresholds were crossed", crossed)
	}
	// What is heard after midnight counts for the day before.
	r.add(2 * time.Minute)
	r.settle(closing("l", spend("c", 50)))
	got = r.acquire(acquire("n", 1000))
	if got.Amount != 100 {
		t.Errorf("%+v", got)
	}
	r.run(refund("r", "c", 50))
	budget("day", 100, 0)
	budget("image", 100, 10)
}
