package credits_test

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// litellm #34732, #26672, #23714: each of many requests at once is checked against
// what was spent before, and together they spend 99.10 of a budget of 30.
func TestRequestsAtOnceKeepToABudget(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 1000))
	r.setBudget(credits.Budget{ID: "b", Key: "k", Amount: 30, Every: credits.Day})
	var wg sync.WaitGroup
	var mu sync.Mutex
	held, denied := 0, 0
	for i := range 64 {
		wg.Go(func() {
			_, err := r.try(keyedHold(credits.OpID(fmt.Sprint(i)), 1, "k", ""))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				held++
			case errors.Is(err, credits.ErrInsufficient):
				denied++
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if held != 30 || denied != 34 {
		t.Errorf("%d held and %d denied of a budget of 30", held, denied)
	}
	r.budget("b", 0, 30)
}

// litellm #27735, #40050: what a budget counts drifts from what was spent (111.29
// enforced, 55.74 real), and keys are refused that have room.
func TestABudgetCountsWhatTheJournalSays(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 1000))
	r.setBudget(credits.Budget{ID: "b", Key: "k", Amount: 100})
	for range 2 { // and everything again, as a retry
		r.run(keyed("d", 10, "k", ""))
		r.run(keyedHold("h", 40, "k", ""))
		r.run(credits.Capture{Account: acme, Hold: "h", ID: "c1", Amount: 5, Keep: true})
		r.run(credits.Capture{Account: acme, Hold: "h", ID: "c2", Amount: 5, Keep: true})
		r.run(capture("h", 10))
		r.run(refund("r", "d", 4))
		r.run(refund("r2", "h", 3))
		r.run(keyedHold("gone", 20, "k", ""))
		r.run(release("gone"))
	}
	u := r.usage(credits.UsageQuery{Key: "k"})
	r.budget("b", u[0].Spent-u[0].Refunded, 0)
	r.budget("b", 23, 0)
	r.run(keyed("rest", 77, "k", ""))
}

// litellm #1548, daytona #3374, ZenMux #204: a key has a day, a week and a month,
// and what one key burns leaves the others theirs.
func TestAKeyHasADayAWeekAndAMonth(t *testing.T) {
	r := newRig(t)
	r.clock.micros.Store(time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC).UnixMicro()) // a Monday
	r.run(grant("g", 100_000))
	r.setBudget(credits.Budget{ID: "day", Key: "k", Amount: 10, Every: credits.Day})
	r.setBudget(credits.Budget{ID: "week", Key: "k", Amount: 30, Every: credits.Week})
	r.setBudget(credits.Budget{ID: "month", Key: "k", Amount: 70, Every: credits.Month})
	spent, refused := 0, make(map[credits.BudgetID]int)
	for i := range 31 { // until 1 April
		for range 2 {
			_, err := r.try(keyedHold(credits.OpID(fmt.Sprint(i, "/", spent)), 10, "k", ""))
			if denied, ok := errors.AsType[*credits.DeniedError](err); ok {
				refused[denied.Budget]++
				continue
			}
			spent += 10
		}
		r.run(keyed(credits.OpID(fmt.Sprint("other", i)), 1000, "other", ""))
		r.add(24 * time.Hour)
	}
	// Of two weeks three days each, of the third one, and then on 1 April.
	if spent != 80 || refused["month"] == 0 || refused["week"] == 0 || refused["day"] == 0 {
		t.Errorf("%d spent, refused by %v", spent, refused)
	}
}

// NexusGate #52: alerts at 80, 90, 95 and 100 percent need a pause of an hour not
// to repeat; at 100 what is new is refused, and what runs may finish.
func TestAlertsAreToldOnceAndWhatRunsFinishes(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 1000))
	r.setBudget(credits.Budget{ID: "b", Key: "k", Amount: 100, Every: credits.Day, Thresholds: credits.NewThresholds(80, 90, 95, 100)})
	r.run(credits.Hold{Account: acme, ID: "runs", Amount: 10, Key: "k", Overrun: credits.OverrunCapped})
	told := make(map[int]int)
	for i := range 90 {
		for _, a := range r.run(keyed(credits.OpID(fmt.Sprint(i)), 1, "k", "")).Alerts {
			told[a.Percent]++
		}
	}
	r.refuse(keyedHold("new", 1, "k", ""), credits.ErrInsufficient)
	for _, a := range r.run(capture("runs", 25)).Alerts { // it took longer than thought
		told[a.Percent]++
	}
	if len(told) != 4 || told[80] != 1 || told[90] != 1 || told[95] != 1 || told[100] != 1 {
		t.Errorf("alerts at %v", told)
	}
	r.budget("b", 115, 0)
	r.refuse(keyedHold("new", 1, "k", ""), credits.ErrInsufficient)
}

// textbee #283: on 31 March the month before is taken for 3 March, and what was
// spent on the first two days is free.
func TestAMonthBeginsOnItsFirst(t *testing.T) {
	r := newRig(t)
	r.clock.micros.Store(time.Date(2026, 2, 20, 0, 0, 0, 0, time.UTC).UnixMicro())
	r.run(grant("g", 1000))
	r.setBudget(credits.Budget{ID: "b", Amount: 10, Every: credits.Month})
	r.run(debit("before", 10))
	r.clock.micros.Store(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).UnixMicro())
	r.run(debit("first", 6))
	r.clock.micros.Store(time.Date(2026, 3, 31, 12, 0, 0, 0, time.UTC).UnixMicro())
	if b := r.budget("b", 6, 0); !b.Start.Equal(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)) || !b.End.Equal(time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("the window of 31 March is from %v to %v", b.Start, b.End)
	}
	r.refuse(hold("x", 5), credits.ErrInsufficient)
}

// dub #374, autumn PR #2115: what is to reset on the 31st never does in a shorter
// month, or a day late.
func TestAMonthResetsAfterEveryMonth(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 1000))
	r.setBudget(credits.Budget{ID: "b", Amount: 10, Every: credits.Month}) // on 31 January
	for n := range 26 {
		first := time.Date(2026, time.Month(2+n), 1, 0, 0, 0, 0, time.UTC)
		r.run(debit(credits.OpID(fmt.Sprint("all", n)), 10))
		r.clock.micros.Store(first.UnixMicro() - 1)
		if d := r.denied(hold("x", 1)); !d.ClearsAt.Equal(first) {
			t.Errorf("a microsecond before %v: %+v", first, d)
		}
		r.clock.micros.Store(first.UnixMicro())
		r.budget("b", 0, 0)
	}
}

// better-auth #4336, #4871: milliseconds are taken for days.
func TestADayLastsADay(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 1000))
	r.setBudget(credits.Budget{ID: "b", Amount: 10, Every: credits.Day})
	r.run(debit("a", 10))
	r.add(12*time.Hour - time.Microsecond)
	r.refuse(hold("x", 1), credits.ErrInsufficient)
	r.add(time.Microsecond)
	r.run(debit("b", 10))
	r.add(24*time.Hour - time.Microsecond)
	r.refuse(hold("x", 1), credits.ErrInsufficient)
	r.add(time.Microsecond)
	r.run(debit("c", 10))
}

// better-auth #3640: no limit turns into one; elsewhere 0 turns into none.
func TestNoBudgetIsNoLimitAndNothingIsNothing(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", credits.MaxAmount))
	r.run(keyed("all but one", credits.MaxAmount-1, "k", "image"))
	r.setBudget(credits.Budget{ID: "b", Key: "k"})
	r.refuse(keyedHold("x", 1, "k", ""), credits.ErrInsufficient)
	if err := r.RemoveBudget(t.Context(), acme, "b"); err != nil {
		t.Fatal(err)
	}
	r.run(keyed("one", 1, "k", ""))
}

// openmeter #4252: a reset is applied twice, and what was spent between is free.
func TestAWindowResetsOnce(t *testing.T) {
	r := newRig(t)
	other, err := credits.NewLedger(r.store, nil) // another process
	if err != nil {
		t.Fatal(err)
	}
	r.run(grant("g", 1000))
	r.setBudget(credits.Budget{ID: "b", Amount: 10, Every: credits.Day, Zone: "Europe/Berlin"})
	r.run(debit("a", 10))
	r.add(24 * time.Hour)
	r.run(debit("b", 6))
	if _, err := other.Debit(t.Context(), debit("c", 4)); err != nil {
		t.Fatal(err)
	}
	r.add(-24 * time.Hour) // a clock that is put back opens no window again
	if _, err := other.Hold(t.Context(), hold("x", 1)); !errors.Is(err, credits.ErrInsufficient) {
		t.Errorf("the window has begun anew: %v", err)
	}
	r.refuse(hold("x", 1), credits.ErrInsufficient)
	r.budget("b", 10, 0)
}

// Kiro #7005, unkey: days are those of UTC, whatever the customer's clocks show.
func TestABudgetsDayIsTheCustomersDay(t *testing.T) {
	r := newRig(t)
	r.clock.micros.Store(time.Date(2026, 3, 8, 7, 0, 0, 0, time.UTC).UnixMicro()) // 23:00 in Los Angeles; the day after has 23 hours
	r.run(grant("g", 1000))
	r.setBudget(credits.Budget{ID: "b", Amount: 10, Every: credits.Day, Zone: "America/Los_Angeles"})
	r.run(debit("a", 10))
	r.add(time.Hour)
	b := r.budget("b", 0, 0)
	if b.End.Sub(b.Start) != 23*time.Hour {
		t.Errorf("8 March is from %v to %v", b.Start, b.End)
	}
	r.run(debit("b", 10))
	r.add(17 * time.Hour) // midnight of UTC is over
	r.refuse(hold("x", 1), credits.ErrInsufficient)
}

// eliza #22681: a provider's price of -1, which means that there is none, makes
// reserved minus real mint 31 348.80 credits.
func TestASentinelIsNoPrice(t *testing.T) {
	for _, p := range []credits.Price{{Amount: -1, Per: 1}, {Amount: -1 * credits.Credit, Per: 1_000_000}, {Amount: 1, Per: -1}, {}} {
		if _, err := credits.NewPriceTable("v1", map[string]credits.Rates{"chat": {"input": p}}); err == nil {
			t.Errorf("%+v is in a table", p)
		}
		if cost, err := p.Of(1000); err == nil {
			t.Errorf("%+v makes a cost of %v", p, cost)
		}
	}
	prices := table(t, map[string]credits.Rates{"chat": {"input": {Amount: 3, Per: 1}}})
	for _, n := range []int64{-1, math.MinInt64} {
		if q, err := prices.Quote("chat", credits.Units{"input": n}); err == nil {
			t.Errorf("%d units make a quote of %+v", n, q)
		}
	}
}
