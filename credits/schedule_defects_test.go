package credits_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// Defects of recurring grants that were found in the field, in other ledgers; see
// docs/credits-defects.md for where.

func TestADayWithoutAVisitLosesNoGrant(t *testing.T) {
	r := newRig(t)
	s := monthly(date(2026, 2, 10))
	s.Lifetime = credits.NoTimeout
	r.set(s)
	for _, day := range []time.Time{date(2026, 2, 11), date(2026, 3, 9), date(2026, 3, 12), date(2026, 5, 1)} { // never on a tenth
		r.at(day)
		r.run(debit(credits.OpID(day.String()), 0))
	}
	r.balance(credits.Totals{Issued: 30, Available: 30})
}

func TestSchedulesOfOneInstantAllGrant(t *testing.T) {
	r := newRig(t)
	for _, id := range []credits.ScheduleID{"b", "a", "c"} {
		s := monthly(date(2026, 2, 10))
		s.ID = id
		r.set(s)
	}
	r.at(date(2026, 2, 10))
	r.granted("@a#0 10 2026-02-10-2026-03-10", "@b#0 10 2026-02-10-2026-03-10", "@c#0 10 2026-02-10-2026-03-10")
}

func TestARefillOnThe31stComesEachMonth(t *testing.T) {
	for _, anchor := range []int{29, 30, 31} {
		r := newRig(t)
		s := monthly(date(2026, 1, anchor))
		s.Lifetime = credits.NoTimeout
		r.set(s)
		r.at(date(2028, 4, 1)) // over a leap day
		r.run(debit("touch", 0))
		months := make(map[string]int)
		for _, lot := range r.snapshot(acme).Lots {
			at := lot.EffectiveAt
			months[at.Format("2006-01")]++
			last := time.Date(at.Year(), at.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day()
			if at.Day() != min(anchor, last) {
				t.Errorf("anchored on day %d, granted on %v", anchor, at)
			}
		}
		for m := date(2026, 2, 1); m.Before(date(2028, 4, 1)); m = m.AddDate(0, 1, 0) {
			if n := months[m.Format("2006-01")]; n != 1 {
				t.Errorf("anchored on day %d, %v had %d grants", anchor, m.Month(), n)
			}
		}
	}
}

func TestARefillAddsToWhatWasBought(t *testing.T) {
	r := newRig(t)
	r.run(grant("bought", 500))
	r.set(monthly(date(2026, 2, 1)))
	r.at(date(2026, 4, 1))
	r.balance(credits.Totals{Issued: 530, Available: 510, Expired: 20})
}

func TestARefillFollowsTheCustomersClock(t *testing.T) {
	r := newRig(t)
	auckland, err := time.LoadLocation("Pacific/Auckland")
	if err != nil {
		t.Fatal(err)
	}
	s := monthly(time.Date(2026, 2, 1, 0, 0, 0, 0, auckland))
	s.Zone = "Pacific/Auckland"
	r.set(s)
	for _, month := range []time.Month{3, 4, 5, 6, 10, 11} { // winter and summer
		midnight := time.Date(2026, month, 1, 0, 0, 0, 0, auckland)
		r.at(midnight.Add(-time.Microsecond))
		before, err := r.Balance(t.Context(), acme)
		r.at(midnight)
		after, err2 := r.Balance(t.Context(), acme)
		if err != nil || err2 != nil || after.Issued != before.Issued+10 {
			t.Errorf("at midnight of 1 %v: %+v, then %+v, %v, %v", month, before, after, err, err2)
		}
	}
}

func TestVisitsThatComeLateDoNotShiftARefill(t *testing.T) {
	r := newRig(t)
	s := credits.Schedule{Account: acme, ID: "daily", Amount: 10, Unit: credits.Days, Every: 1, Anchor: epoch}
	r.set(s)
	for n := range 20 { // each time seven hours late
		r.at(epoch.AddDate(0, 0, n).Add(7 * time.Hour))
		r.run(debit(credits.OpID(r.now().String()), 10))
	}
	got, err := r.Schedule(t.Context(), acme, "daily")
	if err != nil || !got.NextAt.Equal(epoch.AddDate(0, 0, 20)) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestAnExhaustedAccountIsRefilled(t *testing.T) {
	r := newRig(t)
	r.set(monthly(epoch))
	r.run(debit("all", 10))
	r.refuse(hold("h", 1), credits.ErrInsufficient)
	r.at(date(2026, 2, 28))
	r.run(hold("h", 1))
}

// Half a million periods lie before the first one that is granted; counting
// through them is what the others do.
func TestAnAnchorMayLieMillionsOfPeriodsBack(t *testing.T) {
	r := newRig(t)
	s := credits.Schedule{Account: acme, ID: "s", Amount: 1, Unit: credits.Hours, Every: 1, Anchor: time.Unix(0, 0), CatchUp: credits.CatchUpLatest}
	s = r.set(s)
	if want := epoch.Unix()/3600 + 1; s.Next != want || !s.NextAt.Equal(epoch.Add(time.Hour)) {
		t.Errorf("goes on with period %d at %v; want period %d", s.Next, s.NextAt, want)
	}
	r.at(date(2099, 1, 1)) // and nobody comes by for as many again
	r.balance(credits.Totals{Issued: 2, Available: 1, Expired: 1})
}

func TestNoGrantBehindARolloverTakesTheOldPeriodsEnd(t *testing.T) {
	r := newRig(t)
	s := monthly(date(2026, 2, 1))
	s.Rollover = 6
	r.set(s)
	r.at(date(2026, 3, 15))
	r.granted("@plan#0 10 2026-02-01-2026-03-01", "@plan#1 10 2026-03-01-2026-04-01")
	lots := r.snapshot(acme).Lots
	if len(lots) != 3 {
		t.Fatalf("%d lots", len(lots))
	}
	for _, lot := range lots[1:] { // what rolled over, and what was granted behind it
		if !lot.EffectiveAt.Equal(date(2026, 3, 1)) || !lot.ExpiresAt.Equal(date(2026, 4, 1)) {
			t.Errorf("lot %d lives from %v to %v", lot.ID, lot.EffectiveAt, lot.ExpiresAt)
		}
	}
}

func TestAMonthAfterThe31stOfMayIsThe30thOfJune(t *testing.T) {
	r := newRig(t)
	r.at(date(2026, 5, 31))
	if s := r.set(monthly(date(2026, 5, 31))); !s.NextAt.Equal(date(2026, 6, 30)) {
		t.Errorf("the next is at %v", s.NextAt)
	}
	r.at(date(2026, 6, 30))
	if s, err := r.Schedule(t.Context(), acme, "plan"); err != nil || !s.NextAt.Equal(date(2026, 7, 31)) {
		t.Errorf("the one after that at %v, %v", s.NextAt, err)
	}
}

func TestAPlanRenewsOnItsDayAndNotWithTheMonth(t *testing.T) {
	r := newRig(t)
	r.at(date(2026, 2, 17))
	r.set(monthly(date(2026, 2, 17)))
	r.run(debit("all", 10))
	r.at(date(2026, 3, 1))
	r.refuse(hold("h", 1), credits.ErrInsufficient)
	r.at(date(2026, 3, 17))
	r.run(hold("h", 1))
}

func TestMissedPeriodsAreGrantedOnce(t *testing.T) {
	r := newRig(t)
	s := monthly(date(2026, 2, 1))
	s.Lifetime = credits.NoTimeout
	r.set(s)
	r.at(date(2026, 7, 1)) // six have begun
	for i := range 5 {
		r.balance(credits.Totals{Issued: 60, Available: 60})
		r.run(debit(credits.OpID(rune('a'+i)), 0))
		r.set(s)
	}
	if n := len(r.snapshot(acme).Entries); n != 6 {
		t.Errorf("%d entries", n)
	}
}

// A day that the zone skips, and one that has 23 hours or 25.
func TestDaysOfAllLengthsAreGrantedOnce(t *testing.T) {
	for zone, from := range map[string]time.Time{
		"Pacific/Apia":  time.Date(2011, 12, 27, 10, 0, 0, 0, time.UTC), // midnight of the 27th; there was no 30th
		"Europe/Berlin": time.Date(2026, 3, 26, 23, 0, 0, 0, time.UTC),
	} {
		r := newRig(t)
		r.at(from)
		r.set(credits.Schedule{Account: acme, ID: "s", Amount: 1, Unit: credits.Days, Every: 1, Anchor: from, Zone: zone, Lifetime: credits.NoTimeout})
		r.at(from.Add(6 * 24 * time.Hour))
		r.run(debit("touch", 0))
		seen := make(map[time.Time]bool)
		for _, lot := range r.snapshot(acme).Lots {
			if seen[lot.EffectiveAt] {
				t.Errorf("%s: two grants at %v", zone, lot.EffectiveAt)
			}
			seen[lot.EffectiveAt] = true
		}
		if len(seen) != 7 {
			t.Errorf("%s: %d grants within six times 24 hours", zone, len(seen))
		}
	}
}

// What an account owes counts as issued: with it a schedule grants no more than
// a grant could.
func TestAScheduleGrantsAnAccountThatOwesNoMoreThanItCanBeIssued(t *testing.T) {
	for _, only := range []credits.Operations{"", credits.Only("image")} {
		const owed = credits.MaxAmount / 4
		r := owing(t, owed)
		for i := range 4 {
			s := monthly(epoch)
			s.ID, s.Amount, s.Only, s.Lifetime = credits.ScheduleID(fmt.Sprint("s", i)), credits.MaxAmount, only, credits.NoTimeout
			r.set(s)
		}
		b, err := r.Balance(t.Context(), acme)
		if err != nil || b.Issued > credits.MaxAmount-b.Debt {
			t.Errorf("only %q: %v issued and %v owed, %v", only, b.Issued, b.Debt, err)
		}
		if _, err := r.Verify(t.Context(), nil); err != nil {
			t.Errorf("only %q: %v", only, err)
		}
	}
}
