package credits_test

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the same rules on every machine

	"github.com/keytoll/keytoll/credits"
	kerrors "github.com/keytoll/keytoll/errors"
)

// setBudget makes or changes a budget of acme.
func (r *rig) setBudget(b credits.Budget) credits.Budget {
	r.t.Helper()
	b.Account = acme
	got, err := r.SetBudget(r.t.Context(), b)
	if err != nil {
		r.t.Fatalf("%+v: %v", b, err)
	}
	return got
}

// budget checks what a budget of acme counts.
func (r *rig) budget(id credits.BudgetID, used, held credits.Amount) credits.Budget {
	r.t.Helper()
	b, err := r.Budget(r.t.Context(), acme, id)
	if err != nil {
		r.t.Fatal(err)
	}
	if b.Used != used || b.Held != held {
		r.t.Errorf("budget %q: %v used and %v held, want %v and %v", id, b.Used, b.Held, used, held)
	}
	return b
}

// denied runs a command that a budget must refuse, and returns why.
func (r *rig) denied(cmd any) *credits.DeniedError {
	r.t.Helper()
	_, err := r.try(cmd)
	denied, ok := errors.AsType[*credits.DeniedError](err)
	if !ok || !errors.Is(err, credits.ErrInsufficient) {
		r.t.Fatalf("%+v: error %v; want a denial", cmd, err)
	}
	return denied
}

func keyed(id credits.OpID, amount credits.Amount, key, operation string) credits.Debit {
	return credits.Debit{Account: acme, ID: id, Amount: amount, Key: key, Operation: operation}
}

func keyedHold(id credits.OpID, amount credits.Amount, key, operation string) credits.Hold {
	return credits.Hold{Account: acme, ID: id, Amount: amount, Key: key, Operation: operation, TTL: credits.NoTimeout}
}

func TestABudgetCountsWhatIsHeldAndSpent(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 1000))
	if b := r.setBudget(credits.Budget{ID: "b", Amount: 10}); b.Account != acme || b.Used != 0 || !b.Start.Equal(epoch) || !b.End.IsZero() {
		t.Errorf("a new budget: %+v", b)
	}
	r.run(debit("d", 3))
	r.run(hold("h", 4))
	r.budget("b", 3, 4)
	r.refuse(hold("x", 4), credits.ErrInsufficient)
	r.run(capture("h", 2))
	r.budget("b", 5, 0)
	r.run(refund("r", "d", 1))
	r.budget("b", 4, 0)
	r.run(refund("r2", "h", 2))
	r.budget("b", 2, 0)
	r.run(hold("h2", 8))
	r.run(release("h2"))
	r.budget("b", 2, 0)
	r.run(credits.Hold{Account: acme, ID: "h3", Amount: 8, TTL: time.Second})
	r.budget("b", 2, 8)
	r.add(time.Second)
	r.budget("b", 2, 0) // it has timed out, written or not
	r.run(debit("d2", 8))
	r.budget("b", 10, 0)
	r.balance(credits.Totals{Issued: 1000, Available: 990, Consumed: 10})
}

// Keys are paths: what is spent under one counts for all above it, and all of
// them must have room.
func TestBudgetsFormAHierarchy(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 1000))
	for id, key := range map[credits.BudgetID]string{"all": "", "red": "red", "app": "red/app", "k1": "red/app/k1", "k2": "red/app/k2", "redder": "redder"} {
		r.setBudget(credits.Budget{ID: id, Key: key, Amount: 50})
	}
	r.setBudget(credits.Budget{ID: "images", Operation: "image", Amount: 30})
	r.setBudget(credits.Budget{ID: "red images", Key: "red", Operation: "image", Amount: 20})
	r.run(keyed("1", 10, "red/app/k1", "image"))
	r.run(keyed("2", 5, "red/app/k2", ""))
	r.run(keyed("3", 2, "red", "text"))
	r.run(keyed("4", 1, "", "image"))
	r.run(keyed("5", 7, "redder", ""))
	r.budget("all", 25, 0)
	r.budget("red", 17, 0)
	r.budget("app", 15, 0)
	r.budget("k1", 10, 0)
	r.budget("k2", 5, 0)
	r.budget("redder", 7, 0)
	r.budget("images", 11, 0)
	r.budget("red images", 10, 0)
	if d := r.denied(keyedHold("6", 11, "red/app/k3", "image")); d.Budget != "red images" || d.Source != credits.SourceKeyBudget || d.Available != 10 {
		t.Errorf("denied by %+v", d)
	}
	if d := r.denied(keyedHold("6", 20, "blue", "image")); d.Budget != "images" || d.Source != credits.SourceOperationBudget || d.Available != 19 {
		t.Errorf("denied by %+v", d)
	}
	if d := r.denied(keyedHold("6", 26, "red/app/k1", "image")); d.Budget != "all" || d.Source != credits.SourceAccountBudget || d.Available != 25 {
		t.Errorf("denied by %+v", d)
	}
	r.run(keyed("7", 25, "blue", "text"))
	r.budget("all", 50, 0)
}

func TestADenialByABudgetSaysWhenItClears(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 1000))
	midnight := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	r.setBudget(credits.Budget{ID: "day", Amount: 10, Every: credits.Day})
	d := r.denied(hold("x", 11))
	if d.Transient || !d.ClearsAt.IsZero() || d.Need != 11 || d.Available != 10 {
		t.Errorf("more than the budget ever has: %+v", d)
	}
	r.run(hold("h", 6))
	if d := r.denied(hold("x", 5)); !d.Transient || !d.ClearsAt.Equal(epoch.Add(10*time.Minute)) || d.Available != 4 || d.Budget != "day" {
		t.Errorf("a hold is in the way until it times out: %+v", d)
	}
	r.run(captureAll("h"))
	if d := r.denied(hold("x", 5)); d.Transient || !d.ClearsAt.Equal(midnight) {
		t.Errorf("it is spent until midnight: %+v", d)
	}
	r.setBudget(credits.Budget{ID: "a month", Amount: 6, Every: credits.Month, Zone: "America/New_York"})
	r.setBudget(credits.Budget{ID: "b key", Key: "k", Amount: 1, Every: credits.Year})
	r.run(keyed("d", 1, "k", ""))
	if d := r.denied(keyed("x", 6, "k", "")); d.Budget != "a month" || !d.ClearsAt.IsZero() {
		t.Errorf("the key's year never has room for it: %+v", d)
	}
	if d := r.denied(keyed("y", 1, "k", "")); d.Budget != "b key" || !d.ClearsAt.Equal(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("the year: %+v", d)
	}
	r.clock.micros.Store(midnight.UnixMicro())
	r.run(hold("z", 5))
	r.budget("day", 0, 5)
	if b := r.budget("a month", 1, 5); !b.End.Equal(time.Date(2026, 2, 1, 5, 0, 0, 0, time.UTC)) {
		t.Errorf("the month in New York ends at %v", b.End)
	}
}

func TestADeniedDebitStaysDeniedByItsBudget(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 1000))
	r.setBudget(credits.Budget{ID: "b", Key: "k", Amount: 10, Every: credits.Day})
	first := r.denied(keyed("d", 11, "k", ""))
	r.setBudget(credits.Budget{ID: "b", Key: "k", Amount: 100, Every: credits.Day})
	again := r.denied(keyed("d", 11, "k", ""))
	if !again.Replayed {
		t.Errorf("the retry was decided anew: %+v", again)
	}
	again.Replayed, again.ClearsAt = false, first.ClearsAt // which is told for another id
	if !reflect.DeepEqual(first, again) {
		t.Errorf("first %+v, then %+v", first, again)
	}
	r.budget("b", 0, 0)
}

func TestABudgetOfNothingDeniesAllThatCosts(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 1000))
	r.setBudget(credits.Budget{ID: "frozen", Key: "k", Every: credits.Day})
	for _, amount := range []credits.Amount{1, 1000} {
		if d := r.denied(keyedHold("h", amount, "k/x", "")); d.Budget != "frozen" || d.Transient || !d.ClearsAt.IsZero() {
			t.Errorf("%v: %+v", amount, d)
		}
	}
	r.run(keyed("d", 1, "", ""))
}

func TestWhatIsFreePassesEveryBudget(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 1000))
	r.setBudget(credits.Budget{ID: "b", Amount: 10})
	r.run(debit("d", 4))
	r.run(hold("h", 6))
	r.run(debit("free", 0))
	r.setBudget(credits.Budget{ID: "b", Amount: 9}) // and one that is overspent
	r.run(hold("x", 0))
	r.setBudget(credits.Budget{ID: "b"}) // and one of nothing
	r.run(hold("y", 0))
}

func TestASoftBudgetCountsAndRefusesNothing(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 1000))
	r.setBudget(credits.Budget{ID: "soft", Amount: 10, Soft: true, Thresholds: "100"})
	r.run(debit("1", 9))
	if got := r.run(debit("2", 9)).Alerts; len(got) != 1 || got[0].Percent != 100 || got[0].Used != 18 || got[0].Amount != 10 {
		t.Errorf("alerts %+v", got)
	}
	r.run(debit("3", 500))
	r.budget("soft", 518, 0)
	r.setBudget(credits.Budget{ID: "soft", Amount: 0, Soft: true})
	r.run(debit("4", 1))
	r.budget("soft", 519, 0)
}

// A hold that crosses midnight counts in the window it was made in, whatever
// becomes of it, and never in a later one.
func TestAHoldCountsInItsOwnWindow(t *testing.T) {
	for name, end := range map[string]func(r *rig){
		"capture": func(r *rig) { r.run(capture("h", 6)) },
		"release": func(r *rig) { r.run(release("h")) },
		"refund": func(r *rig) {
			r.run(captureAll("h"))
			r.run(credits.Refund{Account: acme, ID: "r", Of: "h", All: true})
		},
		"captures in parts": func(r *rig) {
			r.run(credits.Capture{Account: acme, Hold: "h", ID: "c", Amount: 2, Keep: true})
			r.run(captureAll("h"))
		},
	} {
		for _, touched := range []bool{false, true} { // whether somebody looked before
			r := newRig(t)
			r.run(grant("g", 1000))
			r.setBudget(credits.Budget{ID: "b", Amount: 10, Every: credits.Day, Thresholds: "50"})
			r.run(keyedHold("h", 8, "", ""))
			r.add(12 * time.Hour)
			used := credits.Amount(0)
			if touched {
				used = 3
				r.run(debit("d", used))
			}
			r.budget("b", used, 0)
			end(r)
			r.budget("b", used, 0)
			if got := r.run(debit("e", 10-used)).Alerts; len(got) != 1 {
				t.Errorf("%s: the new window tells %+v", name, got)
			}
			r.budget("b", 10, 0)
			r.refuse(hold("x", 1), credits.ErrInsufficient)
		}
	}
}

func TestThresholdsFireOnceAWindow(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 10_000))
	r.setBudget(credits.Budget{ID: "b", Amount: 100, Every: credits.Day, Thresholds: credits.NewThresholds(100, 50, 80, 50)})
	r.setBudget(credits.Budget{ID: "a", Key: "k", Amount: 1000, Thresholds: "1"})
	tell := func(cmd any, percents ...int) credits.Receipt {
		t.Helper()
		var got []int
		first := r.run(cmd)
		for _, a := range first.Alerts {
			if a.Budget == "b" {
				got = append(got, a.Percent)
			}
		}
		if !reflect.DeepEqual(got, percents) {
			t.Errorf("%+v told %v, want %v", cmd, got, percents)
		}
		again := r.run(cmd)
		if !again.Replayed || !reflect.DeepEqual(again.Alerts, first.Alerts) {
			t.Errorf("%+v again told %+v, first %+v", cmd, again.Alerts, first.Alerts)
		}
		return first
	}
	tell(debit("1", 49))
	tell(debit("2", 1), 50)
	tell(refund("r", "1", 40))
	tell(debit("3", 40)) // reaches half a second time
	tell(hold("h", 50))  // what is set aside is not spent
	tell(credits.Capture{Account: acme, Hold: "h", ID: "c", Amount: 30, Keep: true}, 80)
	tell(captureAll("h"), 100)
	r.add(24 * time.Hour)
	got := tell(keyed("4", 95, "k", ""), 50, 80).Alerts
	want := []credits.Alert{
		{Budget: "a", Percent: 1, Used: 95, Amount: 1000, Start: epoch},
		{Budget: "b", Percent: 50, Used: 95, Amount: 100, Start: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)},
		{Budget: "b", Percent: 80, Used: 95, Amount: 100, Start: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("alerts\n%+v, want\n%+v", got, want)
	}
	if h := r.run(hold("h", 50)); len(h.Alerts) != 0 {
		t.Errorf("the hold itself, again, tells %+v", h.Alerts)
	}
}

func TestABudgetThatChangesKeepsWhatItCounts(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 10_000))
	was := r.setBudget(credits.Budget{ID: "b", Amount: 100, Every: credits.Month, Thresholds: "50,90", Base: 10})
	r.run(debit("d", 45)) // tells 50
	r.run(hold("h", 20))
	got := r.setBudget(credits.Budget{ID: "b", Amount: 60, Every: credits.Month, Zone: "UTC", Soft: true, Thresholds: "20,50,60", Base: 77})
	if got.Used != 55 || got.Held != 20 || got.Base != 10 || !got.Start.Equal(was.Start) || !got.End.Equal(was.End) || got.Fired != 0b010 {
		t.Errorf("changed: %+v", got)
	}
	if told := r.run(debit("e", 1)).Alerts; len(told) != 2 || told[0].Percent != 20 || told[1].Percent != 60 {
		t.Errorf("the next command tells %+v", told)
	}
	r.setBudget(credits.Budget{ID: "b", Amount: 30, Every: credits.Month})
	r.refuse(hold("x", 1), credits.ErrInsufficient)
	r.run(captureAll("h")) // a promise is kept
	r.budget("b", 76, 0)
	before := r.snapshot(acme)
	r.setBudget(credits.Budget{ID: "b", Amount: 30, Every: credits.Month})
	if !reflect.DeepEqual(before, r.snapshot(acme)) {
		t.Error("setting a budget as it is has written something")
	}
}

// After a change of what it counts, a budget counts from Base on, and what was
// charged before stays out of it, even at one and the same instant.
func TestABudgetThatCountsOtherSpendingBeginsAnew(t *testing.T) {
	for name, next := range map[string]credits.Budget{
		"key": {Key: "k"}, "operation": {Operation: "image"}, "day": {Every: credits.Day}, "zone": {Every: credits.Month, Zone: "Asia/Tokyo"},
	} {
		r := newRig(t)
		r.run(grant("g", 10_000))
		first := credits.Budget{ID: "b", Amount: 100, Every: credits.Month}
		r.setBudget(first)
		r.run(keyedHold("h", 40, "k", "image"))
		r.run(keyed("d", 30, "k", "image"))
		next.ID, next.Amount, next.Base = "b", 50, 5
		if b := r.setBudget(next); b.Used != 5 || b.Held != 0 || b.Base != 5 || b.Fired != 0 {
			t.Errorf("%s: %+v", name, b)
		}
		r.run(captureAll("h"))
		r.run(refund("r", "d", 30))
		r.budget("b", 5, 0)
		r.run(keyed("e", 45, "k", "image"))
		r.setBudget(first)
		r.run(refund("r2", "e", 45))
		r.budget("b", 0, 0)
	}
}

// A budget that is taken away and set again under its old name has nothing to do
// with what was charged to the old one, even at one and the same instant.
func TestABudgetThatWasRemovedIsForgotten(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 10_000))
	for i := range 3 {
		id := credits.OpID(rune('a' + i))
		r.setBudget(credits.Budget{ID: "b", Amount: 100, Every: credits.Day})
		r.run(hold("h"+id, 60))
		r.refuse(hold("x", 60), credits.ErrInsufficient)
		if err := r.RemoveBudget(t.Context(), acme, "b"); err != nil {
			t.Fatal(err)
		}
		if err := r.RemoveBudget(t.Context(), acme, "b"); !errors.Is(err, credits.ErrNotFound) {
			t.Errorf("removing it again: %v", err)
		}
		if _, err := r.Budget(t.Context(), acme, "b"); !errors.Is(err, credits.ErrNotFound) {
			t.Errorf("looking for it: %v", err)
		}
		r.run(hold("y"+id, 200))
	}
	r.setBudget(credits.Budget{ID: "b", Amount: 100, Every: credits.Day})
	for _, id := range []credits.OpID{"ha", "hb", "hc", "ya"} {
		r.run(captureAll(id))
	}
	r.budget("b", 0, 0)
	if a := r.snapshot(acme).Account; a.Budgets != 1 {
		t.Errorf("the account counts %d budgets", a.Budgets)
	}
}

func TestBudgetsThatCanNeverBe(t *testing.T) {
	r := newRig(t)
	for name, tt := range map[string]struct {
		b    credits.Budget
		says string
	}{
		"no account":             {credits.Budget{ID: "b"}, "Account is empty"},
		"no id":                  {credits.Budget{Account: acme}, "ID is empty"},
		"a slash at the end":     {credits.Budget{Account: acme, ID: "b", Key: "red/"}, "ends with a slash"},
		"a deep key":             {credits.Budget{Account: acme, ID: "b", Key: "1/2/3/4/5/6/7/8/9"}, "9 segments"},
		"a negative amount":      {credits.Budget{Account: acme, ID: "b", Amount: -1}, "negative"},
		"too much":               {credits.Budget{Account: acme, ID: "b", Amount: credits.MaxAmount + 1}, "give less"},
		"a negative base":        {credits.Budget{Account: acme, ID: "b", Base: -1}, "Base"},
		"a huge base":            {credits.Budget{Account: acme, ID: "b", Base: credits.MaxBase + 1}, "Base"},
		"an unknown span":        {credits.Budget{Account: acme, ID: "b", Every: 5}, "Every is 5"},
		"a zone without windows": {credits.Budget{Account: acme, ID: "b", Zone: "Europe/Berlin"}, "leave it out"},
		"an unknown zone":        {credits.Budget{Account: acme, ID: "b", Every: credits.Day, Zone: "Europe/Atlantis"}, "not known here"},
		"the machine's zone":     {credits.Budget{Account: acme, ID: "b", Every: credits.Day, Zone: "Local"}, "another machine"},
		"a path as a zone":       {credits.Budget{Account: acme, ID: "b", Every: credits.Day, Zone: "../../etc/passwd"}, "not known here"},
		"thresholds in disorder": {credits.Budget{Account: acme, ID: "b", Thresholds: "80,50"}, "NewThresholds"},
		"no numbers":             {credits.Budget{Account: acme, ID: "b", Thresholds: "50,half"}, "NewThresholds"},
		"a threshold of 0":       {credits.Budget{Account: acme, ID: "b", Thresholds: "0,50"}, "NewThresholds"},
		"a threshold of 101":     {credits.Budget{Account: acme, ID: "b", Thresholds: "101"}, "NewThresholds"},
		"a sign":                 {credits.Budget{Account: acme, ID: "b", Thresholds: "+50"}, "NewThresholds"},
		"a comma too many":       {credits.Budget{Account: acme, ID: "b", Thresholds: "50,"}, "NewThresholds"},
		"nine thresholds":        {credits.Budget{Account: acme, ID: "b", Thresholds: "1,2,3,4,5,6,7,8,9"}, "at most 8"},
	} {
		_, err := r.SetBudget(t.Context(), tt.b)
		if kerrors.CodeOf(err) != kerrors.Invalid || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := r.SetBudget(t.Context(), credits.Budget{Amount: -1, Every: 7, Thresholds: "x", Base: -1})
	for _, field := range []string{"Account", "ID", "Amount", "Every", "Thresholds", "Base"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("all faults at once do not name %s: %v", field, err)
		}
	}
	if got := r.snapshot(acme); got.Account.Version != 0 {
		t.Errorf("something was written: %+v", got)
	}
}

func TestBudgetsInPages(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 100))
	var want []credits.BudgetID
	for _, id := range []credits.BudgetID{"a", "b", "c", "d", "e"} {
		r.setBudget(credits.Budget{ID: id, Amount: 10, Every: credits.Day})
		want = append(want, id)
	}
	r.run(credits.Hold{Account: acme, ID: "h", Amount: 1, TTL: time.Minute}) // is due when they are listed
	r.add(25 * time.Hour)
	var got []credits.BudgetID
	for cursor := credits.Cursor(""); ; {
		p, err := r.Budgets(t.Context(), credits.ListQuery{Account: acme, Cursor: cursor, Limit: 2})
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range p.Budgets {
			got = append(got, b.ID)
			if b.Held != 0 || !b.Start.Equal(time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)) {
				t.Errorf("not in the window of now: %+v", b)
			}
		}
		if cursor = p.Next; cursor == "" {
			break
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("listed %v, want %v", got, want)
	}
	if _, err := r.Budgets(t.Context(), credits.ListQuery{Account: acme, Cursor: "x", Limit: 1001}); kerrors.CodeOf(err) != kerrors.Invalid {
		t.Errorf("a cursor that is none: %v", err)
	}
	if p, err := r.Budgets(t.Context(), credits.ListQuery{Account: "nobody"}); err != nil || len(p.Budgets) != 0 || p.Next != "" {
		t.Errorf("an unknown account: %+v, %v", p, err)
	}
}

// Sums that would leave an int64 are no way past a budget.
func TestABudgetCannotOverflow(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", credits.MaxAmount))
	r.setBudget(credits.Budget{ID: "b", Amount: credits.MaxAmount, Base: credits.MaxBase, Thresholds: "1,98,100"})
	r.setBudget(credits.Budget{ID: "soft", Amount: 1, Base: credits.MaxBase, Soft: true, Thresholds: "100"})
	r.run(hold("h", credits.MaxAmount-credits.MaxBase))
	r.refuse(hold("x", 1), credits.ErrInsufficient)
	if d := r.denied(hold("x", credits.MaxBase)); d.Available != 0 || d.Source != credits.SourceAccountBudget {
		t.Errorf("denied: %+v", d)
	}
	if got := r.run(captureAll("h")).Alerts; len(got) != 4 {
		t.Errorf("alerts %+v", got)
	}
	r.setBudget(credits.Budget{ID: "b", Amount: credits.MaxAmount, Soft: true})
	r.run(debit("d", credits.MaxBase))
	r.budget("soft", credits.MaxAmount+credits.MaxBase, 0)
}

// edit writes into the store what no ledger would.
func (r *rig) edit(need credits.Need, fn func(*credits.State)) {
	r.t.Helper()
	need.Account = acme
	err := r.store.Update(r.t.Context(), []credits.Need{need}, func(_ time.Time, states []*credits.State) error {
		fn(states[0])
		states[0].AccountChange = credits.Updated
		states[0].Account.Version++
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

func TestAnAccountHasOnlySoManyBudgets(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 1))
	r.setBudget(credits.Budget{ID: "b"})
	r.edit(credits.Need{}, func(st *credits.State) { st.Account.Budgets = credits.MaxBudgets })
	_, err := r.SetBudget(t.Context(), credits.Budget{Account: acme, ID: "one too many"})
	if !errors.Is(err, credits.ErrTooManyBudgets) || kerrors.CodeOf(err) != kerrors.Conflict {
		t.Errorf("one too many: %v", err)
	}
	r.setBudget(credits.Budget{ID: "b", Amount: 5}) // a change is none more
	r.edit(credits.Need{}, func(st *credits.State) { st.Account.Budgets = 1 })
}

// A machine that does not know the zone of a budget which another one has set
// refuses what it cannot decide, and mends it when the zone is changed.
func TestAZoneThatThisMachineDoesNotKnowStopsSpending(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 100))
	r.setBudget(credits.Budget{ID: "b", Amount: 10, Every: credits.Day, Zone: "Europe/Berlin"})
	r.run(hold("h", 5))
	r.edit(credits.Need{Budgets: []credits.BudgetID{"b"}}, func(st *credits.State) {
		st.Budgets[0].Budget.Zone, st.Budgets[0].Change = "Europe/Atlantis", credits.Updated
	})
	r.run(debit("d", 1)) // its window goes on: no zone is needed yet
	r.add(24 * time.Hour)
	for _, cmd := range []any{hold("x", 1), debit("x", 1)} {
		before := r.snapshot(acme)
		_, err := r.try(cmd)
		if kerrors.CodeOf(err) != kerrors.Unavailable || !strings.Contains(err.Error(), "import time/tzdata") {
			t.Errorf("%+v: %v", cmd, err)
		}
		if !reflect.DeepEqual(before, r.snapshot(acme)) {
			t.Errorf("%+v has written something", cmd)
		}
	}
	if _, err := r.Budget(t.Context(), acme, "b"); kerrors.CodeOf(err) != kerrors.Unavailable {
		t.Errorf("looking at it: %v", err)
	}
	r.setBudget(credits.Budget{ID: "b", Amount: 10, Every: credits.Day})
	r.run(debit("y", 10))
}

func TestThresholdsAreText(t *testing.T) {
	for _, tt := range []struct {
		percents []int
		want     credits.Thresholds
	}{{nil, ""}, {[]int{80}, "80"}, {[]int{100, 50, 80, 50}, "50,80,100"}, {[]int{-1, 0}, "-1,0"}} {
		if got := credits.NewThresholds(tt.percents...); got != tt.want {
			t.Errorf("%v is %q, want %q", tt.percents, got, tt.want)
		}
	}
	for s, want := range map[credits.Span]string{credits.Total: "total", credits.Day: "day", credits.Week: "week", credits.Month: "month", credits.Year: "year", 5: "span(5)"} {
		if s.String() != want {
			t.Errorf("span %d is called %q", s, s)
		}
	}
}

// What a hold costs under budgets, and under how many.
func BenchmarkBudgets(b *testing.B) {
	for _, n := range []int{0, 1, 3, 1000} {
		b.Run(fmt.Sprint("budgets=", n), func(b *testing.B) {
			r := &rig{clock: newClock(), t: b}
			l, err := credits.NewLedger(credits.NewMemoryStore(&credits.MemoryOptions{Now: r.now}), nil)
			if err != nil {
				b.Fatal(err)
			}
			r.Ledger = l
			r.run(grant("g", credits.MaxAmount))
			for i := range n {
				key := [...]string{"", "red", "red/k1"}[i%3]
				if i >= 3 {
					key = fmt.Sprint("other/", i)
				}
				r.setBudget(credits.Budget{ID: credits.BudgetID(fmt.Sprint(i)), Key: key, Amount: credits.MaxAmount, Every: credits.Month, Thresholds: "50,80,100"})
			}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				i++
				if _, err := r.Debit(b.Context(), keyed(credits.OpID(strconv.Itoa(i)), 1, "red/k1", "image")); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
