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

func TestTooManyPeriodsToCatchUpWith(t *testing.T) {
	r := newRig(t)
	s := credits.Schedule{Account: acme, ID: "s", Amount: 1, Unit: credits.Hours, Every: 1, Anchor: epoch.Add(-credits.MaxCatchUp * time.Hour)}
	_, err := r.SetSchedule(t.Context(), s)
	if !errors.Is(err, credits.ErrCatchUp) || kerrors.CodeOf(err) != kerrors.Invalid || !strings.Contains(kerrors.MessageOf(err), "1001 since Anchor") {
		t.Errorf("%v", err)
	}
	if c := r.snapshot(acme); c.Account.Version != 0 {
		t.Errorf("the refusal has written %+v", c.Account)
	}
	s.Anchor = s.Anchor.Add(time.Microsecond)
	if got := r.set(s); got.Next != credits.MaxCatchUp {
		t.Errorf("%+v", got)
	}
	r.balance(credits.Totals{Issued: credits.MaxCatchUp, Available: 1, Expired: credits.MaxCatchUp - 1})
	s.ID, s.Anchor, s.CatchUp = "old", time.Date(1970, 1, 1, 0, 30, 0, 0, time.UTC), credits.CatchUpLatest
	if got := r.set(s); !got.NextAt.Equal(epoch.Add(30 * time.Minute)) {
		t.Errorf("%+v", got)
	}
}

func TestReplacingASchedule(t *testing.T) {
	r := newRig(t)
	s := monthly(epoch)
	r.set(s)
	before := r.snapshot(acme)
	s.Next, s.NextAt = 77, epoch // the ledger's own
	r.set(s)
	if after := r.snapshot(acme); !reflect.DeepEqual(after, before) {
		t.Error("setting what is set has changed something")
	}
	// Other terms, the same cadence: from the next grant on; what was due was due by the old ones.
	r.at(date(2026, 3, 1))
	s.Amount, s.Lifetime, s.Priority, s.Category, s.Only = 20, credits.NoTimeout, 5, credits.Promo, credits.Only("image")
	if got := r.set(s); got.Next != 2 || !got.NextAt.Equal(date(2026, 3, 31)) {
		t.Errorf("%+v", got)
	}
	r.at(date(2026, 4, 1))
	r.granted("@plan#0 10 2026-01-31-2026-02-28", "@plan#1 10 2026-02-28-2026-03-31", "@plan#2 20 2026-03-31-never")
	if lot := r.snapshot(acme).Lots[2]; lot.Priority != 5 || lot.Category != credits.Promo || lot.Only != credits.Only("image") || lot.Schedule != "plan" {
		t.Errorf("the lot is %+v", lot)
	}
	// Another cadence: from the first period by the new count that begins after now.
	s.Unit, s.Lifetime, s.Amount, s.Only = credits.Weeks, 0, 3, ""
	if got := r.set(s); got.Next != 9 || !got.NextAt.Equal(date(2026, 4, 4)) {
		t.Errorf("%+v", got)
	}
	// And an anchor that is now: that instant has had its grant.
	r.at(date(2026, 4, 4))
	s.Anchor = date(2026, 4, 4)
	if got := r.set(s); got.Next != 1 || !got.NextAt.Equal(date(2026, 4, 11)) {
		t.Errorf("%+v", got)
	}
	r.at(date(2026, 4, 12))
	r.granted("@plan#0 10 2026-01-31-2026-02-28", "@plan#1 10 2026-02-28-2026-03-31", "@plan#2 20 2026-03-31-never",
		"@plan#9 3 2026-04-04-2026-04-11", "@plan#1 3 2026-04-11-2026-04-18")
}

func TestRemovingASchedule(t *testing.T) {
	r := newRig(t)
	s := monthly(epoch)
	s.Rollover = 10
	r.set(s)
	r.at(date(2026, 3, 1))
	if err := r.RemoveSchedule(t.Context(), acme, "plan"); err != nil {
		t.Fatal(err)
	}
	r.balance(credits.Totals{Issued: 20, Available: 20}) // February's, and what was left of January's
	if err := r.RemoveSchedule(t.Context(), acme, "plan"); !errors.Is(err, credits.ErrNotFound) {
		t.Errorf("removed twice: %v", err)
	}
	if _, err := r.Schedule(t.Context(), acme, "plan"); !errors.Is(err, credits.ErrNotFound) {
		t.Errorf("read after that: %v", err)
	}
	r.at(date(2026, 6, 1)) // nothing rolls over any more
	r.granted("@plan#0 10 2026-01-31-2026-02-28", "@plan#1 10 2026-02-28-2026-03-31")
	r.balance(credits.Totals{Issued: 20, Expired: 20})
	s.CatchUp = credits.CatchUpNone
	if got := r.set(s); !got.NextAt.Equal(date(2026, 6, 30)) {
		t.Errorf("%+v", got)
	}
}

// What was removed is made again by a deployment that sets all it knows: no period
// is granted a second time, whatever CatchUp says, and none is left out.
func TestAScheduleThatIsMadeAgainGrantsNothingAgain(t *testing.T) {
	for mode, want := range map[credits.CatchUp][]string{
		credits.CatchUpAll:    {"@plan#0 10 2026-01-31-never", "@plan#1 10 2026-02-28-never", "@plan#2 10 2026-03-31-never", "@plan#3 10 2026-04-30-never"},
		credits.CatchUpLatest: {"@plan#0 10 2026-01-31-never", "@plan#1 10 2026-02-28-never", "@plan#3 10 2026-04-30-never"},
		credits.CatchUpNone:   {"@plan#0 10 2026-01-31-never", "@plan#1 10 2026-02-28-never"},
	} {
		r := newRig(t)
		s := monthly(epoch)
		s.Lifetime, s.CatchUp = credits.NoTimeout, mode
		again := func() {
			if err := r.RemoveSchedule(t.Context(), acme, "plan"); err != nil {
				t.Fatal(err)
			}
			r.set(s)
		}
		r.set(s)
		again() // at the very instant of a grant
		r.at(date(2026, 2, 28))
		r.run(debit("touch", 0))
		again()
		again()
		if err := r.RemoveSchedule(t.Context(), acme, "plan"); err != nil {
			t.Fatal(err)
		}
		for i := range 1100 { // more lots than are looked at in one piece
			r.run(grant(credits.OpID(fmt.Sprint("g", i)), 1))
		}
		r.at(date(2026, 5, 2))
		r.set(s)
		again()
		var got []string
		for _, g := range r.grants() {
			if strings.HasPrefix(g, "@") {
				got = append(got, g)
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%v: %q, want %q", mode, got, want)
		}
		other := s // of another ID it is another one
		other.ID, other.CatchUp = "other", credits.CatchUpAll
		if set := r.set(other); set.Next != 4 {
			t.Errorf("%+v", set)
		}
	}
}

func TestSchedulesThatCanNeverBeRight(t *testing.T) {
	r := newRig(t)
	good := monthly(epoch)
	for name, change := range map[string]func(*credits.Schedule){
		"Account is empty":                    func(s *credits.Schedule) { s.Account = "" },
		"ID is empty":                         func(s *credits.Schedule) { s.ID = "" },
		"ID is 234 bytes":                     func(s *credits.Schedule) { s.ID = credits.ScheduleID(strings.Repeat("x", 234)) },
		"Amount is 0":                         func(s *credits.Schedule) { s.Amount = 0 },
		"Amount is over":                      func(s *credits.Schedule) { s.Amount = credits.MaxAmount + 1 },
		"Unit is 0":                           func(s *credits.Schedule) { s.Unit = 0 },
		"Unit is 6":                           func(s *credits.Schedule) { s.Unit = 6 },
		"Every is 0":                          func(s *credits.Schedule) { s.Every = 0 },
		"Every is -1":                         func(s *credits.Schedule) { s.Every = -1 },
		"Every is 121":                        func(s *credits.Schedule) { s.Every = 121 },
		"Anchor is zero":                      func(s *credits.Schedule) { s.Anchor = time.Time{} },
		"Anchor is in the year 1969":          func(s *credits.Schedule) { s.Anchor = date(1969, 1, 1) },
		"Until is in the year 9999":           func(s *credits.Schedule) { s.Until = date(9999, 1, 1) },
		"Until is not after Anchor":           func(s *credits.Schedule) { s.Until = s.Anchor },
		`Zone "Mars/Olympus" is not known`:    func(s *credits.Schedule) { s.Zone = "Mars/Olympus" },
		`Zone is "Local"`:                     func(s *credits.Schedule) { s.Zone = "Local" },
		"CatchUp is 3":                        func(s *credits.Schedule) { s.CatchUp = 3 },
		"Lifetime is -2ns":                    func(s *credits.Schedule) { s.Lifetime = -2 },
		"Lifetime is 1ns":                     func(s *credits.Schedule) { s.Lifetime = 1 },
		"Lifetime is 87864h":                  func(s *credits.Schedule) { s.Lifetime = 3661 * 24 * time.Hour },
		"Rollover is negative":                func(s *credits.Schedule) { s.Rollover = -1 },
		"Rollover and Lifetime are both set":  func(s *credits.Schedule) { s.Rollover, s.Lifetime = 1, credits.NoTimeout },
		"Priority is 1001":                    func(s *credits.Schedule) { s.Priority = credits.MaxPriority + 1 },
		"Category is 3":                       func(s *credits.Schedule) { s.Category = 3 },
		"Only is not in the order":            func(s *credits.Schedule) { s.Only = "b\na" },
		"ID holds a control character; leave": func(s *credits.Schedule) { s.ID = "a\n" },
	} {
		s := good
		change(&s)
		_, err := r.SetSchedule(t.Context(), s)
		if kerrors.CodeOf(err) != kerrors.Invalid || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := r.SetSchedule(t.Context(), credits.Schedule{Rollover: -1})
	for _, fault := range []string{"Account", "ID", "Amount", "Unit", "Anchor", "Rollover"} {
		if !strings.Contains(err.Error(), fault) {
			t.Errorf("all faults at once, but not %s: %v", fault, err)
		}
	}
	if c := r.snapshot(acme); c.Account.Version != 0 {
		t.Errorf("they have written %+v", c.Account)
	}
}

func TestAnAccountHasABoundedNumberOfSchedules(t *testing.T) {
	r := newRig(t)
	s := monthly(epoch)
	for i := range credits.MaxSchedules {
		s.ID = credits.ScheduleID(fmt.Sprintf("s%03d", i))
		r.set(s)
	}
	s.ID = "another"
	if _, err := r.SetSchedule(t.Context(), s); !errors.Is(err, credits.ErrTooManySchedules) || kerrors.CodeOf(err) != kerrors.Conflict {
		t.Errorf("one more: %v", err)
	}
	s.ID, s.Amount = "s050", 20
	r.set(s) // no new one
	list, err := r.Schedules(t.Context(), acme)
	if err != nil || len(list) != credits.MaxSchedules || list[50].Amount != 20 || list[99].ID != "s099" {
		t.Errorf("%d schedules, %v", len(list), err)
	}
	if list, err := r.Schedules(t.Context(), "nobody"); err != nil || len(list) != 0 {
		t.Errorf("of nobody: %v, %v", list, err)
	}
	if _, err := r.Schedules(t.Context(), ""); kerrors.CodeOf(err) != kerrors.Invalid {
		t.Errorf("of no account: %v", err)
	}
}
