package credits_test

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// monthly is 10 credits on the anchor's day of each month.
func monthly(anchor time.Time) credits.Schedule {
	return credits.Schedule{Account: acme, ID: "plan", Amount: 10, Unit: credits.Months, Every: 1, Anchor: anchor, Category: credits.Plan}
}

func (r *rig) set(s credits.Schedule) credits.Schedule {
	r.t.Helper()
	got, err := r.SetSchedule(r.t.Context(), s)
	if err != nil {
		r.t.Fatalf("%+v: %v", s, err)
	}
	return got
}

// at moves the clock.
func (r *rig) at(t time.Time) { r.micros.Store(t.UnixMicro()) }

func date(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 12, 0, 0, 0, time.UTC) }

// grants lists what was granted to the account, as its journal and lots tell it.
func (r *rig) grants() []string {
	r.t.Helper()
	c := r.snapshot(acme)
	var list []string
	for _, e := range c.Entries {
		if e.Kind != credits.KindGrant {
			continue
		}
		end := "never"
		lot := c.Lots[e.Lot-1]
		if !lot.ExpiresAt.IsZero() {
			end = lot.ExpiresAt.Format(time.DateOnly)
		}
		list = append(list, fmt.Sprintf("%s %v %s-%s", e.Op, int64(e.Amount), lot.EffectiveAt.Format(time.DateOnly), end))
	}
	return list
}

func (r *rig) granted(want ...string) {
	r.t.Helper()
	r.run(debit(credits.OpID(fmt.Sprint("touch", r.now().UnixMicro(), len(r.snapshot(acme).Ops))), 0))
	if got := r.grants(); !reflect.DeepEqual(got, want) {
		r.t.Errorf("granted:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestAMonthlyPlanGrantsOnTheAnchorsDayOfEachMonth(t *testing.T) {
	r := newRig(t) // on 31 January
	s := r.set(monthly(epoch))
	if s.Next != 1 || !s.NextAt.Equal(date(2026, 2, 28)) {
		t.Errorf("the schedule goes on with period %d at %v", s.Next, s.NextAt)
	}
	r.balance(credits.Totals{Issued: 10, Available: 10})
	r.run(debit("d", 4))
	r.at(date(2026, 2, 28).Add(-time.Microsecond))
	r.balance(credits.Totals{Issued: 10, Available: 6, Consumed: 4})
	r.at(date(2026, 2, 28))
	r.balance(credits.Totals{Issued: 20, Available: 10, Consumed: 4, Expired: 6})
	r.run(debit("d2", 1))
	r.at(date(2026, 4, 29))
	r.balance(credits.Totals{Issued: 30, Available: 10, Consumed: 5, Expired: 15})
	r.granted("@plan#0 10 2026-01-31-2026-02-28", "@plan#1 10 2026-02-28-2026-03-31", "@plan#2 10 2026-03-31-2026-04-30")
	for _, e := range r.snapshot(acme).Entries {
		if e.Op == "@plan#2" && !e.At.Equal(date(2026, 3, 31)) {
			t.Errorf("%v was posted at %v", e.Kind, e.At)
		}
	}
	got, err := r.Schedule(t.Context(), acme, "plan")
	if err != nil || got.Next != 3 || !got.NextAt.Equal(date(2026, 4, 30)) {
		t.Errorf("%+v, %v", got, err)
	}
}

// The plans of one vendor: 90 000 a month, 1 080 000 a year, and by contract.
func TestPlansOfAMonthAYearAndAContract(t *testing.T) {
	for name, c := range map[string]struct {
		schedule credits.Schedule
		year     credits.Amount
	}{
		"business, by the month": {credits.Schedule{Amount: 90_000 * credits.Credit, Unit: credits.Months, Every: 1}, 1_080_000 * credits.Credit},
		"business, by the year":  {credits.Schedule{Amount: 1_080_000 * credits.Credit, Unit: credits.Years, Every: 1}, 1_080_000 * credits.Credit},
		"by contract":            {credits.Schedule{Amount: 5_000_000 * credits.Credit, Unit: credits.Months, Every: 3, Lifetime: credits.NoTimeout}, 20_000_000 * credits.Credit},
	} {
		r := newRig(t)
		c.schedule.Account, c.schedule.ID, c.schedule.Anchor = acme, "plan", epoch
		r.set(c.schedule)
		r.at(epoch.AddDate(1, 0, 0).Add(-time.Microsecond))
		b, err := r.Balance(t.Context(), acme)
		if err != nil || b.Issued != c.year {
			t.Errorf("%s: %v issued within a year, %v", name, b.Issued, err)
		}
	}
}

func TestALifetimeOfItsOwn(t *testing.T) {
	r := newRig(t)
	s := monthly(epoch)
	s.Lifetime = 45 * 24 * time.Hour
	r.set(s)
	s.ID, s.Lifetime = "forever", credits.NoTimeout
	r.set(s)
	r.at(date(2026, 3, 5))
	r.granted("@plan#0 10 2026-01-31-2026-03-17", "@forever#0 10 2026-01-31-never", "@forever#1 10 2026-02-28-never", "@plan#1 10 2026-02-28-2026-04-14")
	r.balance(credits.Totals{Issued: 40, Available: 40})
	r.at(date(2026, 3, 17))
	r.balance(credits.Totals{Issued: 40, Available: 30, Expired: 10})
}

func TestUntilEndsASchedule(t *testing.T) {
	r := newRig(t)
	s := monthly(epoch)
	s.Until = date(2026, 3, 31) // no period begins at it or later
	r.set(s)
	r.at(date(2026, 6, 15))
	r.granted("@plan#0 10 2026-01-31-2026-02-28", "@plan#1 10 2026-02-28-2026-03-31")
	if got := r.set(s); !got.NextAt.IsZero() || got.Next != 2 {
		t.Errorf("an ended schedule is %+v", got)
	}
	// It is taken up again: what lies between was not promised.
	s.Until = date(2026, 7, 31)
	if got := r.set(s); !got.NextAt.Equal(date(2026, 6, 30)) {
		t.Errorf("taken up again it goes on at %v", got.NextAt)
	}
	r.at(date(2026, 9, 1))
	r.granted("@plan#0 10 2026-01-31-2026-02-28", "@plan#1 10 2026-02-28-2026-03-31", "@plan#5 10 2026-06-30-2026-07-31")
}

// The latest before its end is still granted, however late somebody comes.
func TestUntilBoundsWhatIsCaughtUpWith(t *testing.T) {
	for mode, want := range map[credits.CatchUp][]string{
		credits.CatchUpLatest: {"@plan#2 10 2026-04-01-never"},
		credits.CatchUpAll:    {"@plan#0 10 2026-02-01-never", "@plan#1 10 2026-03-01-never", "@plan#2 10 2026-04-01-never"},
		credits.CatchUpNone:   nil,
	} {
		r := newRig(t)
		s := monthly(date(2026, 2, 1))
		s.CatchUp, s.Lifetime, s.Until = mode, credits.NoTimeout, date(2026, 5, 1) // which begins a period
		r.set(s)
		r.at(date(2026, 7, 1))
		r.granted(want...)
	}
}

func TestCatchUpAfterNobodyCameBy(t *testing.T) {
	for mode, want := range map[credits.CatchUp][]string{
		credits.CatchUpAll: {
			"@plan#0 10 2026-01-31-never", "@plan#1 10 2026-02-28-never", "@plan#2 10 2026-03-31-never", "@plan#3 10 2026-04-30-never", "@plan#4 10 2026-05-31-never",
		},
		credits.CatchUpLatest: {"@plan#0 10 2026-01-31-never", "@plan#3 10 2026-04-30-never", "@plan#4 10 2026-05-31-never"},
		credits.CatchUpNone:   {"@plan#0 10 2026-01-31-never", "@plan#4 10 2026-05-31-never"},
	} {
		r := newRig(t)
		s := monthly(epoch)
		s.CatchUp, s.Lifetime = mode, credits.NoTimeout
		r.set(s)
		r.at(date(2026, 5, 3)) // February, March and April have begun
		r.run(debit("back again", 0))
		r.at(date(2026, 6, 3)) // and May, which was not missed
		r.granted(want...)
	}
}

func TestCatchUpWithAnAnchorInThePast(t *testing.T) {
	for mode, want := range map[credits.CatchUp][]string{
		credits.CatchUpAll: {
			"@plan#0 10 2025-11-15-2025-12-15", "@plan#1 10 2025-12-15-2026-01-15", "@plan#2 10 2026-01-15-2026-02-15", "@plan#3 10 2026-02-15-2026-03-15",
		},
		credits.CatchUpLatest: {"@plan#2 10 2026-01-15-2026-02-15", "@plan#3 10 2026-02-15-2026-03-15"},
		credits.CatchUpNone:   {"@plan#3 10 2026-02-15-2026-03-15"},
	} {
		r := newRig(t)
		r.run(debit("first", 0))
		s := monthly(date(2025, 11, 15))
		s.CatchUp = mode
		if got := r.set(s); !got.NextAt.Equal(date(2026, 2, 15)) {
			t.Errorf("%v: it goes on at %v", mode, got.NextAt)
		}
		for _, e := range r.snapshot(acme).Entries { // past lives end as they begin
			if !e.At.Equal(epoch) {
				t.Errorf("%v: %v of %s was posted at %v", mode, e.Kind, e.Op, e.At)
			}
		}
		r.at(date(2026, 2, 16))
		r.granted(want...)
	}
}

func TestRolloverCarriesUpToItsCapForOnePeriod(t *testing.T) {
	r := newRig(t)
	s := monthly(epoch)
	s.Rollover = 4
	r.set(s)
	r.run(debit("d", 3)) // 7 left, of which 4 go on
	r.at(date(2026, 2, 28))
	r.balance(credits.Totals{Issued: 20, Available: 14, Consumed: 3, Expired: 3})
	d := r.run(debit("d2", 5)) // what was carried burns first, because it is older
	if lots := r.snapshot(acme).Lots; d.Parts.Len() != 2 || lots[d.Parts.At(0).Lot-1].Schedule != "" || d.Parts.At(0).Amount != 4 {
		t.Errorf("the debit took %+v", d.Parts)
	}
	r.at(date(2026, 3, 31)) // 9 of February's are left, 4 go on; nothing of January's
	r.balance(credits.Totals{Issued: 30, Available: 14, Consumed: 8, Expired: 8})
	r.at(date(2026, 4, 30)) // none was spent: what was carried expires, and 4 of the rest go on
	r.balance(credits.Totals{Issued: 40, Available: 14, Consumed: 8, Expired: 18})
	r.run(debit("post", 0))
	c := r.snapshot(acme)
	for i, e := range c.Entries {
		if e.Kind == credits.KindRoll && e.From == credits.BucketAvailable {
			next := c.Entries[i+1]
			if next.Kind != credits.KindRoll || next.From != credits.BucketIssued || next.Amount != e.Amount || next.Op != e.Op || e.Amount > 4 {
				t.Errorf("rolled over: %+v, then %+v", e, next)
			}
			if heir := c.Lots[next.Lot-1]; heir.Op != e.Op || !heir.EffectiveAt.Equal(e.At) || heir.Category != credits.Plan {
				t.Errorf("it went on as %+v", heir)
			}
		}
	}
}

// Only the grant of the very period that ends rolls over: not one that has its own
// end, nor one of an older cadence that ends at the same instant.
func TestRolloverIsOfThePeriodThatEnds(t *testing.T) {
	r := newRig(t)
	s := monthly(date(2026, 2, 1))
	s.Lifetime = 10 * 24 * time.Hour
	r.set(s)
	r.at(date(2026, 2, 3))
	s.Lifetime, s.Rollover = 0, 4
	r.set(s) // February's still ends on the 11th
	r.at(date(2026, 2, 12))
	r.balance(credits.Totals{Issued: 10, Expired: 10})
	r.at(date(2026, 3, 2))
	r.balance(credits.Totals{Issued: 20, Available: 10, Expired: 10})
	s.Unit, s.Anchor = credits.Weeks, date(2026, 3, 4)
	r.set(s)
	r.at(date(2026, 3, 31)) // March's and the week's both end on 1 April
	r.balance(credits.Totals{Issued: 60, Available: 24, Expired: 36})
	r.at(date(2026, 4, 1))
	r.balance(credits.Totals{Issued: 70, Available: 14, Expired: 56})
}

// What a hold pins is not carried: it can still be captured, and expires when it
// comes back.
func TestRolloverLeavesOutWhatIsHeld(t *testing.T) {
	r := newRig(t)
	s := monthly(date(2026, 2, 1))
	s.Rollover = 10
	r.set(s)
	r.at(date(2026, 3, 1).Add(-time.Hour))
	r.run(credits.Hold{Account: acme, ID: "h", Amount: 6, TTL: 2 * time.Hour})
	r.run(credits.Hold{Account: acme, ID: "h2", Amount: 1, TTL: time.Hour}) // times out as the period ends
	r.at(date(2026, 3, 1))
	r.balance(credits.Totals{Issued: 20, Available: 13, Held: 6, Expired: 1})
	r.run(capture("h", 2))
	r.balance(credits.Totals{Issued: 20, Available: 13, Consumed: 2, Expired: 5})
}

func TestAScheduleCannotIssueMoreThanAnAccountCanBe(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", credits.MaxAmount-14))
	r.run(debit("d", credits.MaxAmount-14))
	s := monthly(epoch)
	s.Lifetime = credits.NoTimeout
	r.set(s)
	r.at(date(2026, 6, 1))
	r.granted(fmt.Sprintf("g %v 2026-01-31-never", int64(credits.MaxAmount-14)), "@plan#0 10 2026-01-31-never", "@plan#1 4 2026-02-28-never")
	r.balance(credits.Totals{Issued: credits.MaxAmount, Available: 14, Consumed: credits.MaxAmount - 14})
}

func TestAGrantOfAScheduleRepaysADebtFirst(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 5))
	h := hold("h", 5)
	h.Overrun, h.DebtLimit = credits.OverrunDebt, 100
	r.run(h)
	r.run(capture("h", 12))
	r.set(monthly(date(2026, 2, 1)))
	r.at(date(2026, 2, 1))
	r.balance(credits.Totals{Issued: 15, Available: 3, Consumed: 12})
}

// Two ledgers of one store meet at the end of a period again and again.
func TestAPeriodIsGrantedOnceHoweverManyCome(t *testing.T) {
	r := newRig(t)
	other, err := credits.NewLedger(r.store, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := credits.Schedule{Account: acme, ID: "s", Amount: 1, Unit: credits.Hours, Every: 1, Anchor: epoch, Lifetime: credits.NoTimeout}
	r.set(s)
	const periods = 100
	for n := range periods {
		r.add(time.Hour)
		var wg sync.WaitGroup
		start := make(chan struct{})
		for i, l := range []*credits.Ledger{r.Ledger, other, r.Ledger, other} {
			wg.Go(func() {
				<-start
				if i > 1 {
					if _, err := l.SetSchedule(t.Context(), s); err != nil {
						t.Error(err)
					}
					return
				}
				if _, err := l.Debit(t.Context(), debit(credits.OpID(fmt.Sprint(n, "/", i)), 0)); err != nil {
					t.Error(err)
				}
			})
		}
		close(start)
		wg.Wait()
	}
	c := r.snapshot(acme)
	seen := make(map[credits.OpID]bool)
	for _, e := range c.Entries {
		if seen[e.Op] || e.Kind != credits.KindGrant {
			t.Errorf("%v of %s", e.Kind, e.Op)
		}
		seen[e.Op] = true
	}
	if len(seen) != periods+1 || c.Account.Totals.Available != periods+1 {
		t.Errorf("%d grants, %+v", len(seen), c.Account.Totals)
	}
}
