package credits_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
	kerrors "github.com/keytoll/keytoll/errors"
)

const acme credits.AccountID = "acme"

var epoch = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

// A clock stands until it is moved. Safe for concurrent use.
type clock struct{ micros atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.micros.Store(epoch.UnixMicro())
	return c
}

func (c *clock) now() time.Time      { return time.UnixMicro(c.micros.Load()) }
func (c *clock) add(d time.Duration) { c.micros.Add(d.Microseconds()) }

// A rig is a ledger in memory with a clock that the test moves.
type rig struct {
	*credits.Ledger
	*clock
	t     testing.TB
	store *credits.MemoryStore
}

func newRig(t testing.TB) *rig {
	t.Helper()
	return newRigWith(t, nil)
}

func newRigWith(t testing.TB, o *credits.Options) *rig {
	t.Helper()
	r := &rig{clock: newClock(), t: t}
	r.store = credits.NewMemoryStore(&credits.MemoryOptions{Now: r.now})
	l, err := credits.NewLedger(r.store, o)
	if err != nil {
		t.Fatal(err)
	}
	r.Ledger = l
	t.Cleanup(func() {
		if _, err := l.Verify(context.Background(), nil); err != nil {
			t.Errorf("the ledger does not verify at the end: %v", err)
		}
	})
	return r
}

// run runs a command that must succeed.
func (r *rig) run(cmd any) credits.Receipt {
	r.t.Helper()
	got, err := r.try(cmd)
	if err != nil {
		r.t.Fatalf("%+v: %v", cmd, err)
	}
	return got
}

func (r *rig) try(cmd any) (credits.Receipt, error) { return do(r.t.Context(), r.Ledger, cmd) }

func do(ctx context.Context, l *credits.Ledger, cmd any) (credits.Receipt, error) {
	switch c := cmd.(type) {
	case credits.Grant:
		return l.Grant(ctx, c)
	case credits.Hold:
		return l.Hold(ctx, c)
	case credits.Capture:
		return l.Capture(ctx, c)
	case credits.Release:
		return l.Release(ctx, c)
	case credits.Debit:
		return l.Debit(ctx, c)
	case credits.Refund:
		return l.Refund(ctx, c)
	case credits.Extend:
		return l.Extend(ctx, c)
	case credits.AcquireLease:
		return leased(l.AcquireLease(ctx, c))
	case credits.SettleLease:
		return leased(l.SettleLease(ctx, c))
	case credits.ResolveLease:
		return l.ResolveLease(ctx, c)
	case credits.Budget:
		_, err := l.SetBudget(ctx, c)
		return credits.Receipt{}, err
	}
	return credits.Receipt{}, errors.New("no such command")
}

// leased is what the receipt of a lease has in common with the others. On a
// replay it tells the account as it is then.
func leased(r credits.LeaseReceipt, err error) (credits.Receipt, error) {
	if r.Replayed {
		r.Totals = credits.Totals{}
	}
	return credits.Receipt{
		Account: r.Account, Op: r.Lease, Kind: credits.KindLease, At: r.At, Amount: r.Amount, Hold: r.Hold, Deadline: r.Deadline,
		Totals: r.Totals, Replayed: r.Replayed,
	}, err
}

// refuse runs a command that must be refused with want and write nothing, but
// the record of a debit that is denied. Nothing must be due then.
func (r *rig) refuse(cmd any, want error) error {
	r.t.Helper()
	before := r.snapshot(acme)
	_, err := r.try(cmd)
	if !errors.Is(err, want) {
		r.t.Fatalf("%+v: error %v; want %v", cmd, err, want)
	}
	after := r.snapshot(acme)
	if d, ok := cmd.(credits.Debit); ok && errors.Is(err, credits.ErrInsufficient) && len(after.Ops) > len(before.Ops) {
		if o := after.Ops[d.ID]; o.Denied == credits.SourceNone {
			r.t.Fatalf("%+v was denied and filed as %+v", cmd, o)
		}
		delete(after.Ops, d.ID)
	}
	if !reflect.DeepEqual(after, before) {
		r.t.Fatalf("%+v was refused and has changed the state:\n%+v\n%+v", cmd, before, after)
	}
	return err
}

// balance checks what the account has.
func (r *rig) balance(want credits.Totals) {
	r.t.Helper()
	b, err := r.Balance(r.t.Context(), acme)
	if err != nil {
		r.t.Fatal(err)
	}
	if b.Totals != want {
		r.t.Errorf("balance at %v:\n got %+v\nwant %+v", b.At, b.Totals, want)
	}
}

// contents is everything the store keeps about an account.
type contents struct {
	Account   credits.Account
	Debt      credits.Lot // lot 0
	Lots      []credits.Lot
	Ops       map[credits.OpID]credits.Op
	Budgets   []credits.Budget
	Schedules []credits.Schedule
	Entries   []credits.Entry
}

func (r *rig) snapshot(id credits.AccountID) contents {
	r.t.Helper()
	c := contents{Ops: make(map[credits.OpID]credits.Op)}
	err := r.store.Inspect(context.Background(), id, func(s credits.Snapshot) error {
		c.Account = s.Account
		for l := range s.Lots {
			if l.ID == 0 {
				c.Debt = l
				continue
			}
			c.Lots = append(c.Lots, l)
		}
		for b := range s.Budgets {
			c.Budgets = append(c.Budgets, b)
		}
		for sc := range s.Schedules {
			c.Schedules = append(c.Schedules, sc)
		}
		for o := range s.Ops {
			c.Ops[o.ID] = o
		}
		for e := range s.Entries {
			c.Entries = append(c.Entries, e)
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

func grant(id credits.OpID, amount credits.Amount) credits.Grant {
	return credits.Grant{Account: acme, ID: id, Amount: amount}
}

func hold(id credits.OpID, amount credits.Amount) credits.Hold {
	return credits.Hold{Account: acme, ID: id, Amount: amount}
}

func capture(id credits.OpID, amount credits.Amount) credits.Capture {
	return credits.Capture{Account: acme, Hold: id, Amount: amount}
}

func captureAll(id credits.OpID) credits.Capture {
	return credits.Capture{Account: acme, Hold: id, All: true}
}

func release(id credits.OpID) credits.Release { return credits.Release{Account: acme, Hold: id} }

func debit(id credits.OpID, amount credits.Amount) credits.Debit {
	return credits.Debit{Account: acme, ID: id, Amount: amount}
}

func refund(id, of credits.OpID, amount credits.Amount) credits.Refund {
	return credits.Refund{Account: acme, ID: id, Of: of, Amount: amount}
}

func TestHoldCaptureGivesTheRestBack(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 10))
	h := r.run(hold("h", 4))
	if h.Hold != credits.HoldOpen || h.Amount != 4 || !h.Deadline.Equal(epoch.Add(10*time.Minute)) || h.Totals.Held != 4 {
		t.Errorf("receipt of the hold: %+v", h)
	}
	c := r.run(capture("h", 3))
	if c.Kind != credits.KindCapture || c.Amount != 3 || c.Hold != credits.HoldCaptured || c.Replayed {
		t.Errorf("receipt of the capture: %+v", c)
	}
	r.balance(credits.Totals{Issued: 10, Available: 7, Consumed: 3})
}

func TestCaptureOfZeroAndOfAll(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 10))
	r.run(hold("zero", 4))
	if c := r.run(capture("zero", 0)); c.Amount != 0 || c.Hold != credits.HoldCaptured {
		t.Errorf("a capture of 0: %+v", c)
	}
	r.balance(credits.Totals{Issued: 10, Available: 10})
	r.run(hold("all", 4))
	if c := r.run(captureAll("all")); c.Amount != 4 {
		t.Errorf("a capture of all of 4: %+v", c)
	}
	r.balance(credits.Totals{Issued: 10, Available: 6, Consumed: 4})
	r.refuse(captureAll("zero"), credits.ErrSettled) // all is not 0
	if again := r.run(capture("all", 4)); !again.Replayed {
		t.Error("a retry that names the amount that all was is not replayed")
	}
}

func TestCapturesThatKeepTheRest(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 10))
	r.run(hold("h", 6))
	part := credits.Capture{Account: acme, Hold: "h", Amount: 2, Keep: true, ID: "part 1"}
	if c := r.run(part); c.Op != "part 1" || c.Amount != 2 || c.Totals.Held != 4 {
		t.Errorf("the first part: %+v", c)
	}
	if c := r.run(part); !c.Replayed {
		t.Error("a retry of a part is not replayed")
	}
	part.Amount = 3
	r.refuse(part, credits.ErrIntent)
	r.refuse(credits.Capture{Account: acme, Hold: "h", Amount: 5, Keep: true, ID: "part 2"}, credits.ErrOverHold)
	if c := r.run(captureAll("h")); c.Amount != 4 {
		t.Errorf("the last part took %v; want 4", c.Amount)
	}
	for _, amount := range []credits.Amount{1, 4} { // 4 is what the last one took, and this is no retry of it
		r.refuse(credits.Capture{Account: acme, Hold: "h", Amount: amount, Keep: true, ID: "part 3"}, credits.ErrSettled)
	}
	r.refuse(refund("r", "part 1", 1), credits.ErrNotFound) // a part is refunded through its hold
	r.balance(credits.Totals{Issued: 10, Available: 4, Consumed: 6})
	r.run(credits.Refund{Account: acme, ID: "r", Of: "h", All: true})
	r.balance(credits.Totals{Issued: 10, Available: 10})
}

func TestZeroHoldsAndDebitsAreAccepted(t *testing.T) {
	r := newRig(t)
	r.run(hold("h", 0))
	r.run(capture("h", 0))
	r.run(debit("d", 0))
	r.balance(credits.Totals{})
	r.refuse(credits.Refund{Account: acme, ID: "r", Of: "d", All: true}, credits.ErrOverRefund)
	r.refuse(grant("d", 5), credits.ErrIntent)
}

func TestADenialSaysWhatIsMissing(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 10))
	r.run(credits.Grant{Account: acme, ID: "later", Amount: 7, EffectiveAt: epoch.Add(time.Hour)})
	r.run(hold("h", 6))
	for _, c := range []struct {
		cmd       any
		transient bool
	}{{debit("d1", 5), true}, {hold("h2", 10), true}, {debit("d2", 11), false}} {
		err := r.refuse(c.cmd, credits.ErrInsufficient)
		var denied *credits.DeniedError
		if !errors.As(err, &denied) {
			t.Fatalf("%v is not a DeniedError", err)
		}
		if denied.Account != acme || denied.Available != 4 || denied.Held != 6 || denied.Pending != 7 || denied.Transient != c.transient {
			t.Errorf("%+v: %+v", c.cmd, denied)
		}
		if kerrors.CodeOf(err) != kerrors.Insufficient || !strings.Contains(kerrors.MessageOf(err), "0.000004 available") {
			t.Errorf("code %v, message %q", kerrors.CodeOf(err), kerrors.MessageOf(err))
		}
	}
}

func TestBurnOrder(t *testing.T) {
	day := 24 * time.Hour
	r := newRig(t)
	// Granted in this order; burnt in the order of their ids.
	for _, g := range []credits.Grant{
		{ID: "8", Priority: 1, ExpiresAt: epoch.Add(day)},
		{ID: "7"},
		{ID: "5", Category: credits.Promo},
		{ID: "6", Category: credits.Plan},
		{ID: "4", ExpiresAt: epoch.Add(2 * day)},
		{ID: "2", ExpiresAt: epoch.Add(day), EffectiveAt: epoch.Add(-day)},
		{ID: "3", ExpiresAt: epoch.Add(day)},
		{ID: "1", Priority: -1},
		{ID: "9", Priority: 1, ExpiresAt: epoch.Add(day)},
	} {
		g.Account, g.Amount = acme, 1
		r.run(g)
	}
	lots := r.snapshot(acme).Lots
	var burnt string
	for _, id := range []credits.OpID{"a", "b", "c"} {
		for p := range r.run(debit(id, 3)).Parts.All() {
			burnt += string(lots[p.Lot-1].Op)
		}
	}
	if burnt != "123456789" {
		t.Errorf("burnt in the order %s", burnt)
	}
}

func TestGrantsTakeEffectAndExpireByTimeAlone(t *testing.T) {
	r := newRig(t)
	r.run(credits.Grant{Account: acme, ID: "g", Amount: 10, EffectiveAt: epoch.Add(time.Hour), ExpiresAt: epoch.Add(2 * time.Hour)})
	r.balance(credits.Totals{Issued: 10, Pending: 10})
	r.add(time.Hour - time.Microsecond)
	r.refuse(hold("early", 1), credits.ErrInsufficient)
	r.add(time.Microsecond)
	r.balance(credits.Totals{Issued: 10, Available: 10})
	r.run(debit("d", 3))
	r.add(time.Hour - time.Microsecond)
	r.run(debit("last", 1))
	r.add(time.Microsecond)
	r.balance(credits.Totals{Issued: 10, Consumed: 4, Expired: 6})
	r.refuse(hold("late", 1), credits.ErrInsufficient)
	if n := len(r.snapshot(acme).Entries); n != 4 {
		t.Errorf("%d entries; the expiry is not due to be posted by a refusal", n)
	}
	r.run(grant("next", 1))
	entries := r.snapshot(acme).Entries
	if e := entries[4]; e.Kind != credits.KindExpire || !e.At.Equal(epoch.Add(2*time.Hour)) || e.Amount != 6 || e.Op != "g" {
		t.Errorf("the expiry was posted as %+v", e)
	}
}

func TestAGrantThatMissedItsWholeLifeIsPostedAsSuch(t *testing.T) {
	r := newRig(t)
	r.run(credits.Grant{Account: acme, ID: "g", Amount: 10, EffectiveAt: epoch.Add(time.Hour), ExpiresAt: epoch.Add(2 * time.Hour)})
	r.add(48 * time.Hour)
	r.balance(credits.Totals{Issued: 10, Expired: 10})
	r.run(debit("touch", 0))
	e := r.snapshot(acme).Entries
	if len(e) != 3 || e[1].Kind != credits.KindEffect || e[2].Kind != credits.KindExpire || !e[1].At.Before(e[2].At) {
		t.Errorf("entries %+v", e)
	}
}

func TestTimeNeverGoesBack(t *testing.T) {
	r := newRig(t)
	r.run(credits.Grant{Account: acme, ID: "g", Amount: 10, ExpiresAt: epoch.Add(time.Hour)})
	r.add(2 * time.Hour)
	r.run(grant("g2", 1)) // posts the expiry
	r.add(-3 * time.Hour)
	if got := r.run(debit("d", 1)); !got.At.Equal(epoch.Add(2 * time.Hour)) {
		t.Errorf("decided at %v; want the account's last instant", got.At)
	}
	r.refuse(debit("d2", 1), credits.ErrInsufficient)
	r.run(hold("h", 0))
	r.balance(credits.Totals{Issued: 11, Consumed: 1, Expired: 10})
}

func TestOverflowIsRefused(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", credits.MaxAmount))
	r.refuse(grant("one more", 1), credits.ErrOverIssue)
	r.run(debit("d", credits.MaxAmount))
	r.refuse(grant("and after spending", 1), credits.ErrOverIssue)
	r.run(credits.Refund{Account: acme, ID: "r", Of: "d", All: true})
	r.balance(credits.Totals{Issued: credits.MaxAmount, Available: credits.MaxAmount})
}

func TestRetriesReturnTheFirstResult(t *testing.T) {
	r := newRig(t)
	commands := []any{
		credits.Grant{Account: acme, ID: "g", Amount: 20, ExpiresAt: epoch.Add(time.Hour), Note: "invoice"},
		hold("h", 5), capture("h", 2), hold("h2", 5), release("h2"), debit("d", 5), refund("r", "d", 3),
		credits.Hold{Account: acme, ID: "h3", Amount: 4, TTL: time.Minute, Key: "k", Operation: "o", Note: "n"},
		credits.Capture{Account: acme, Hold: "h3", Amount: 1, Keep: true, ID: "part"},
	}
	var first []credits.Receipt
	for _, c := range commands {
		first = append(first, r.run(c))
		r.add(time.Second)
	}
	r.add(48 * time.Hour) // the lots are gone, and the answers are the same
	before := r.snapshot(acme)
	for i, c := range commands {
		again, err := r.try(c)
		if err != nil {
			t.Errorf("a retry of %+v: %v", c, err)
			continue
		}
		want := first[i]
		want.Replayed = true
		want.Hold, again.Hold = 0, 0 // as it stands now
		if !reflect.DeepEqual(again, want) {
			t.Errorf("a retry of %+v:\n got %+v\nwant %+v", c, again, want)
		}
	}
	if after := r.snapshot(acme); !reflect.DeepEqual(after, before) {
		t.Error("retries have written something")
	}
	if again := r.run(commands[7]); again.Hold != credits.HoldTimedOut {
		t.Errorf("the retry of a hold that timed out calls it %v", again.Hold)
	}
}

// More lots than fit a short search, taken and given back in one command.
func TestACommandMaySpanManyLots(t *testing.T) {
	r := newRig(t)
	const n = 200
	for i := range n {
		r.run(credits.Grant{Account: acme, ID: credits.OpID("g" + string(rune('a'+i/26)) + string(rune('a'+i%26))), Amount: 1, Priority: -i})
	}
	d := r.run(debit("d", n-1))
	if d.Parts.Len() != n-1 || d.Parts.At(0).Lot != n || d.Parts.At(n-2).Lot != 2 {
		t.Errorf("burnt %d lots, from %+v to %+v", d.Parts.Len(), d.Parts.At(0), d.Parts.At(n-2))
	}
	back := r.run(credits.Refund{Account: acme, ID: "r", Of: "d", All: true})
	if back.Parts.Len() != n-1 || back.Parts.At(0).Lot != 2 {
		t.Errorf("refunded to %d lots, from %+v", back.Parts.Len(), back.Parts.At(0))
	}
	r.run(hold("h", n))
	r.run(capture("h", n/2))
	r.balance(credits.Totals{Issued: n, Available: n / 2, Consumed: n / 2})
}
