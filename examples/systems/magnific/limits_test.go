package main

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/examples/systems/internal/host"
	"github.com/keytoll/keytoll/examples/systems/internal/wire"
	"github.com/keytoll/keytoll/middleware"
)

// limits is what the fields of an answer say is left.
func limits(a wire.Answer) string { return a.Header.Get("RateLimit") }

// 50 a second over five seconds: 250 at once, and not one more until the window moves.
func TestTheBurstIsOverFiveSeconds(t *testing.T) {
	s := wire.Open(t, magnific())
	s.Repeat(resourcesAs(s, "active"), 250)
	a := s.Do(resourcesAs(s, "active"))
	if a.Status != 429 || a.Header.Get("Retry-After") != "5" {
		t.Fatalf("%d, Retry-After %s", a.Status, a.Header.Get("Retry-After"))
	}
	s.Clock.Add(5*time.Second - time.Microsecond)
	if a := s.Do(resourcesAs(s, "active")); a.Status != 429 {
		t.Errorf("too early: %d", a.Status)
	}
	s.Clock.Add(time.Microsecond)
	if a := s.Do(resourcesAs(s, "active")); a.Status != 200 {
		t.Errorf("after the wait that was told: %d", a.Status)
	}
}

// 10 a second over two minutes, checked with the burst: what the average refuses
// takes nothing of the burst.
func TestTheAverageIsOverTwoMinutesAndAllOrNothing(t *testing.T) {
	s := wire.Open(t, magnific())
	for range 4 {
		s.Repeat(resourcesAs(s, "active"), 250)
		s.Clock.Add(5 * time.Second)
	}
	s.Repeat(resourcesAs(s, "active"), 200)
	for range 3 {
		a := s.Do(resourcesAs(s, "active"))
		if a.Status != 429 || !strings.Contains(limits(a), `"key-burst";r=50`) || !strings.Contains(limits(a), `"key-average";r=0`) {
			t.Errorf("%d with %s", a.Status, limits(a))
		}
	}
}

// Two keys behind one address share its limits, and each has its own besides.
func TestLimitsAreOfKeyAndAddress(t *testing.T) {
	s := wire.Open(t, magnific())
	s.Repeat(resourcesAs(s, "active"), 150)
	s.Repeat(resourcesAs(s, "limited"), 100)
	a := s.Do(resourcesAs(s, "limited"))
	if a.Status != 429 || !strings.Contains(limits(a), `"key-burst";r=150`) || !strings.Contains(limits(a), `"ip-burst";r=0`) {
		t.Errorf("%d with %s", a.Status, limits(a))
	}
}

// A day has so many requests and so many images, and a refusal takes of neither.
func TestADayHasRequestsAndImages(t *testing.T) {
	s := wire.Open(t, magnific())
	a := s.Do(mysticAs(s, "active", `{"num_images":1999}`))
	if !strings.Contains(limits(a), `"mystic-rpd";r=9999`) || !strings.Contains(limits(a), `"mystic-ipd";r=1;`) {
		t.Errorf("%d with %s", a.Status, limits(a))
	}
	before := s.Balance().Available
	a = s.Do(mysticAs(s, "active", `{"num_images":2}`))
	if a.Status != 429 || !strings.Contains(limits(a), `"mystic-rpd";r=9999`) || s.Balance().Available != before {
		t.Errorf("%d with %s", a.Status, limits(a))
	}
	if a := s.Do(mysticAs(s, "active", `{"num_images":1}`)); a.Status != 200 {
		t.Errorf("the last image: %d", a.Status)
	}
	s.Clock.Add(12 * time.Hour) // midnight
	if a := s.Do(mysticAs(s, "active", `{"num_images":2}`)); a.Status != 200 {
		t.Errorf("the next day: %d", a.Status)
	}
}

// An account on a custom plan has the numbers of that plan from its next call on.
func TestACustomPlanHasHigherLimits(t *testing.T) {
	s := wire.Open(t, magnific())
	if a := s.Do(mysticAs(s, "active", `{"num_images":2001}`)); a.Status != 429 {
		t.Errorf("on Business: %d", a.Status)
	}
	s.Must(s.SetPlan(t.Context(), host.Demo, "enterprise-api"))
	if a := s.Do(mysticAs(s, "active", `{"num_images":2001}`)); a.Status != 200 || !strings.Contains(limits(a), `"mystic-ipd";r=197999`) {
		t.Errorf("on Enterprise: %d with %s", a.Status, limits(a))
	}
}

// What is over a limit may wait in line instead of being refused: one field.
func TestThrottlingIsAFieldOfTheOperation(t *testing.T) {
	sys := magnific()
	for i := range sys.Routes {
		sys.Routes[i].Operation.MaxWait = time.Second
	}
	s := wire.Open(t, sys)
	s.Repeat(resourcesAs(s, "active"), 250)
	if a := s.Do(resourcesAs(s, "active")); a.Status != 429 { // five seconds are more than one
		t.Errorf("%d", a.Status)
	}
}

// Every image costs, by the list of that moment, and the ledger keeps the version.
func TestPricesChangeAndTheLedgerKnowsWhich(t *testing.T) {
	list, err := prices("2026-01", 5)
	if err != nil {
		t.Fatal(err)
	}
	s := wire.Open(t, system(list))
	if a := s.Do(mysticAs(s, "active", `{"num_images":3}`)); !strings.Contains(a.Body, `"credits":"15"`) {
		t.Errorf("%s", a.Body)
	}
	dearer, err := prices("2026-02", 7)
	s.Must(err)
	list.Store(dearer.Load())
	if a := s.Do(mysticAs(s, "active", `{"num_images":3}`)); !strings.Contains(a.Body, `"credits":"21"`) {
		t.Errorf("%s", a.Body)
	}
	page, err := s.Ledger.Entries(t.Context(), credits.Query{Account: host.Demo})
	s.Must(err)
	versions := map[string]bool{}
	for _, e := range page.Entries {
		versions[e.Price] = true
	}
	if !versions["2026-01"] || !versions["2026-02"] {
		t.Errorf("versions %v", versions)
	}
}

// The website spends from the same pool, and what is unlimited there is charged
// here: the gate knows no other channel than the API.
func TestAPICallsAlwaysConsumeTheSharedPool(t *testing.T) {
	s := wire.Open(t, magnific())
	_, err := s.Ledger.Debit(t.Context(), credits.Debit{Account: host.Demo, ID: "web-1", Amount: 10 * credits.Credit, Operation: "web"})
	s.Must(err)
	works(s, s.Key("active"), 200)
	if b := s.Balance(); b.Available != (90_000-15)*credits.Credit {
		t.Errorf("available %v", b.Available)
	}
	if got := spent(s, s.Known("active").Meter); got != 5 {
		t.Errorf("the key spent %v", got)
	}
}

// One key cannot use up the pool that it shares, and the pool binds it all the same.
func TestAKeyMayHaveACreditLimit(t *testing.T) {
	s := wire.Open(t, magnific())
	desk := s.Desk()
	path := "/" + s.Known("active").ID + "/credit-cap"
	desk.Ask("PUT", path, body{"amount": "12"}, 200, nil)
	works(s, s.Key("active"), 200)
	works(s, s.Key("active"), 200)
	before := s.Balance().Totals
	if a := works(s, s.Key("active"), 402); !strings.Contains(a.Body, `"budget_exceeded"`) || s.Balance().Totals != before {
		t.Errorf("%s", a.Body)
	}
	works(s, desk.Create(body{"name": "Free", "scopes": []string{"models:image"}}).Secret, 200)
	desk.Ask("PUT", path, body{"amount": "15"}, 200, nil)
	works(s, s.Key("active"), 200)
	works(s, s.Key("active"), 402)
	desk.Ask("DELETE", path, nil, 204, nil)
	works(s, s.Key("active"), 200)
}

func TestNameLimitAndModelsInOneStep(t *testing.T) {
	s := wire.Open(t, magnific())
	key := s.Desk().Create(body{"name": "Heroes Test 2", "scopes": []string{"models:image"}, "credit_cap": body{"amount": "5"}})
	works(s, key.Secret, 200)
	works(s, key.Secret, 402)
}

// The account's budget is of the calendar month, and tells before it is used up.
func TestAMonthlyBudgetEndsWithTheMonth(t *testing.T) {
	s := wire.Open(t, magnific())
	_, err := s.Ledger.SetBudget(t.Context(), credits.Budget{
		Account: host.Demo, ID: "monthly", Amount: 10 * credits.Credit, Every: credits.Month, Thresholds: credits.NewThresholds(50, 100),
	})
	s.Must(err)
	works(s, s.Key("active"), 200)
	works(s, s.Key("active"), 200)
	if a := works(s, s.Key("active"), 402); !strings.Contains(a.Body, `"clears_at":"2026-04-01T00:00:00Z"`) {
		t.Errorf("%s", a.Body)
	}
	b, err := s.Ledger.Budget(t.Context(), host.Demo, "monthly")
	s.Must(err)
	if b.Fired != 3 {
		t.Errorf("thresholds %b", b.Fired)
	}
	s.Clock.Add(31 * 24 * time.Hour)
	works(s, s.Key("active"), 200)
}

// A download costs nothing and is counted, as any request is.
func TestADownloadIsCountedAndFree(t *testing.T) {
	s := wire.Open(t, magnific())
	a := s.Do(wire.Post("/v1/resources/42/download", "", header, s.Key("active")))
	if a.Status != 200 || !strings.Contains(limits(a), `"key-burst";r=249`) || s.Balance().Consumed != 0 {
		t.Errorf("%d with %s", a.Status, limits(a))
	}
	if last := s.Log.Last(); last.Operation != "resources.download" || last.KeyID != s.Known("active").ID || last.Verdict != middleware.VerdictAllowed {
		t.Errorf("the observer was told %+v", last)
	}
}

// The pool is audited key by key, each by its own history.
func TestConsumptionIsAuditedByKey(t *testing.T) {
	s := wire.Open(t, magnific())
	desk := s.Desk()
	other := desk.Create(body{"name": "Other", "scopes": []string{"models:image"}})
	works(s, s.Key("active"), 200)
	s.Clock.Add(time.Hour)
	works(s, other.Secret, 200)
	works(s, other.Secret, 200)
	s.Clock.Add(time.Minute)
	for path, want := range map[string]string{
		"/usage?by=hour":                              "12h active 5 1, 13h other 10 2",
		"/" + other.Key.ID + "/usage?by=hour":         "13h other 10 2",
		"/" + s.Known("limited").ID + "/usage?by=day": "",
	} {
		var usage struct {
			Rows []struct {
				Start      time.Time
				Key, Spent string
				Calls      int64
			}
		}
		desk.Ask("GET", path, nil, 200, &usage)
		var told []string
		for _, row := range usage.Rows {
			name := map[string]string{s.Known("active").Meter: "active", other.Key.Meter: "other"}[row.Key]
			told = append(told, row.Start.Format("15h ")+name+" "+row.Spent+" "+strconv.FormatInt(row.Calls, 10))
		}
		if got := strings.Join(told, ", "); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

// The volume of requests is seen minute by minute, key by key, those that a limit
// refused among them.
func TestRequestVolumeIsSeenInRealTime(t *testing.T) {
	s := wire.Open(t, magnific())
	s.Repeat(resourcesAs(s, "active"), 3)
	works(s, s.Key("limited"), 403)
	s.Clock.Add(time.Minute)
	works(s, s.Key("active"), 200)
	var list []struct {
		Minute         time.Time
		Key, Operation string
		Requests       int64
	}
	s.Desk().Ask("GET", "/requests", nil, 200, &list)
	seen := map[string]int64{}
	for _, v := range list {
		seen[v.Minute.Format("15:04 ")+map[string]string{s.Known("active").ID: "active ", s.Known("limited").ID: "limited "}[v.Key]+v.Operation] = v.Requests
	}
	if len(seen) != 3 || seen["12:00 active resources.list"] != 3 || seen["12:00 limited mystic"] != 1 || seen["12:01 active mystic"] != 1 {
		t.Errorf("%v", seen)
	}
	s.DeskOf("acct_other", "business").Ask("GET", "/requests", nil, 200, &list)
	if len(list) != 0 {
		t.Errorf("another account sees %v", list)
	}
}

func TestLimitsAndPricesAreListedByService(t *testing.T) {
	s := wire.Open(t, magnific())
	var list []struct {
		Operation, Scopes, Price string
		Rates                    credits.Rates
		Limits                   map[string]string
	}
	s.Desk().Ask("GET", "/services", nil, 200, &list)
	for _, service := range list {
		if service.Operation == "mystic" {
			if service.Price != "by list 2026-01" || service.Rates["images"] != (credits.Price{Amount: 5 * credits.Credit, Per: 1}) ||
				service.Limits["key-burst"] != "250 requests per key in 5s" || service.Limits["mystic-ipd"] != "2000 images per owner in a day" {
				t.Errorf("%+v", service)
			}
			return
		}
	}
	t.Errorf("%+v", list)
}
