package credits_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/credits"
	kerrors "github.com/keytoll/keytoll/errors"
)

func table(tb testing.TB, operations map[string]credits.Rates) *credits.PriceTable {
	tb.Helper()
	t, err := credits.NewPriceTable("v1", operations)
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

func TestAQuoteIsRoundedUpOnce(t *testing.T) {
	prices := table(t, map[string]credits.Rates{
		"image": {"image": {Amount: 5 * credits.Credit, Per: 1}},
		"chat":  {"input": {Amount: 1, Per: 3}, "output": {Amount: 1, Per: 6}, "cached": {Amount: 1, Per: 2}},
		"ping":  {"call": {Amount: 0, Per: 1}},
	})
	for _, tt := range []struct {
		operation string
		units     credits.Units
		want      credits.Amount
	}{
		{"image", credits.Units{"image": 3}, 15 * credits.Credit},
		{"image", nil, 0},
		{"chat", credits.Units{"input": 1}, 1},
		{"chat", credits.Units{"input": 1, "output": 1, "cached": 1}, 1}, // a third, a sixth and a half: one, not three
		{"chat", credits.Units{"input": 2, "output": 1, "cached": 1}, 2},
		{"chat", credits.Units{"input": 3_000_000, "output": 6}, 1_000_001},
		{"ping", credits.Units{"call": math.MaxInt64}, 0},
	} {
		q, err := prices.Quote(tt.operation, tt.units)
		if want := (credits.Quote{Amount: tt.want, Operation: tt.operation, Price: "v1"}); err != nil || q != want {
			t.Errorf("%s %v: %+v, %v; want %+v", tt.operation, tt.units, q, err, want)
		}
	}
	if got := prices.Operations(); prices.Version() != "v1" || !reflect.DeepEqual(got, []string{"chat", "image", "ping"}) {
		t.Errorf("version %s of %v", prices.Version(), got)
	}
}

func TestNothingIsFreeByMistake(t *testing.T) {
	prices := table(t, map[string]credits.Rates{
		"chat": {"input": {Amount: credits.MaxAmount, Per: 1}, "output": {Amount: credits.MaxAmount, Per: 1}},
	})
	for name, tt := range map[string]struct {
		operation string
		units     credits.Units
		says      string
	}{
		"an unknown operation":   {"Chat", nil, `"Chat" has no rates`},
		"no operation":           {"", nil, `"" has no rates`},
		"an unknown unit":        {"chat", credits.Units{"Input": 1}, `no rate for "Input"`},
		"negative units":         {"chat", credits.Units{"input": -1, "output": 1}, "-1 of \"input\" is negative"},
		"the least number":       {"chat", credits.Units{"input": math.MinInt64}, "is negative"},
		"too much of one":        {"chat", credits.Units{"input": math.MaxInt64}, "over"},
		"a little more":          {"chat", credits.Units{"input": 2}, "over"},
		"too much of all":        {"chat", credits.Units{"input": 1, "output": 1}, "over"},
		"two faults, first one":  {"chat", credits.Units{"x": 1, "output": -1}, `"x"`},
		"two faults, second one": {"chat", credits.Units{"x": 1, "output": -1}, `"output"`},
	} {
		q, err := prices.Quote(tt.operation, tt.units)
		if kerrors.CodeOf(err) != kerrors.Invalid || !strings.Contains(err.Error(), tt.says) || q != (credits.Quote{}) {
			t.Errorf("%s: %+v, %v", name, q, err)
		}
	}
	if q, err := new(credits.PriceTable).Quote("chat", nil); err == nil {
		t.Errorf("the zero table quotes %+v", q)
	}
}

func TestPriceTablesThatCannotBe(t *testing.T) {
	many := make(credits.Rates)
	for i := range credits.MaxRates + 1 {
		many[fmt.Sprint(i)] = credits.Price{Per: 1}
	}
	_, err := credits.NewPriceTable("", map[string]credits.Rates{
		"":     {"x": {Per: 1}},
		"none": {},
		"many": many,
		"bad":  {"minus": {Amount: -1, Per: 1}, "zero": {}, "huge": {Amount: credits.MaxAmount + 1, Per: 1}, "": {Per: 1}},
		"odd":  {"a": {Per: 1<<31 - 1}, "b": {Per: 1<<61 - 1}},
	})
	for _, says := range []string{
		"version is empty", `operation "" is empty`, `"none" has 0 rates`, `"many" has 65 rates`, `"minus": Amount is negative`, `"zero": Per is 0`,
		`"huge": Amount is over`, `rate "" is empty`, "no common multiple",
	} {
		if kerrors.CodeOf(err) != kerrors.Invalid || !strings.Contains(err.Error(), says) {
			t.Errorf("the faults do not say %s: %v", says, err)
		}
	}
	if _, err := credits.NewPriceTable("v1", nil); kerrors.CodeOf(err) != kerrors.Invalid {
		t.Errorf("an empty table: %v", err)
	}
}

func TestAPriceTableNeverChanges(t *testing.T) {
	given := map[string]credits.Rates{"image": {"image": {Amount: 5, Per: 1}}}
	prices := table(t, given)
	given["image"]["image"] = credits.Price{Per: 1}
	delete(given, "image")
	copied, ok := prices.Rates("image")
	copied["image"] = credits.Price{Per: 1}
	if q, err := prices.Quote("image", credits.Units{"image": 1}); err != nil || q.Amount != 5 || !ok {
		t.Errorf("%+v, %v", q, err)
	}
	if _, ok := prices.Rates("text"); ok {
		t.Error("there are rates of an operation that the table does not have")
	}
}

// Price tables are often kept in a file: amounts are text there, so that no
// reader rounds them, and a number such as -1 is no amount.
func TestRatesAreReadFromJSON(t *testing.T) {
	var operations map[string]credits.Rates
	if err := json.Unmarshal([]byte(`{"chat": {"input": {"Amount": "0.15", "Per": 1000000}}}`), &operations); err != nil {
		t.Fatal(err)
	}
	if q, err := table(t, operations).Quote("chat", credits.Units{"input": 7}); err != nil || q.Amount != 2 {
		t.Errorf("%+v, %v", q, err)
	}
	for _, bad := range []string{`{"chat": {"input": {"Amount": -1, "Per": 1}}}`, `{"chat": {"input": {"Amount": 1.5, "Per": 1}}}`} {
		if err := json.Unmarshal([]byte(bad), &operations); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}

// The version stands on every entry that a quote leads to.
func TestThePriceVersionIsOnEveryEntry(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 100))
	q, err := table(t, map[string]credits.Rates{"image": {"image": {Amount: 5, Per: 1}}}).Quote("image", credits.Units{"image": 2})
	if err != nil {
		t.Fatal(err)
	}
	r.run(credits.Hold{Account: acme, ID: "h", Amount: q.Amount, Operation: q.Operation, Price: q.Price})
	r.run(capture("h", 7))
	r.run(credits.Debit{Account: acme, ID: "d", Amount: q.Amount, Operation: q.Operation, Price: q.Price})
	r.run(refund("r", "d", 3))
	for _, e := range r.snapshot(acme).Entries[1:] {
		if e.Price != "v1" || e.Operation != "image" {
			t.Errorf("entry %+v", e)
		}
	}
}

func FuzzQuote(f *testing.F) {
	f.Add(int64(1), int64(3), int64(7), int64(1), int64(6), int64(9))
	f.Add(int64(credits.MaxAmount), int64(1)<<57, int64(math.MaxInt64), int64(1), int64(1), int64(math.MinInt64))
	f.Fuzz(func(t *testing.T, amount1, per1, units1, amount2, per2, units2 int64) {
		prices, err := credits.NewPriceTable("v", map[string]credits.Rates{"op": {
			"1": {Amount: credits.Amount(amount1), Per: per1}, "2": {Amount: credits.Amount(amount2), Per: per2},
		}})
		if err != nil {
			return
		}
		exact := new(big.Rat)
		for _, x := range [][3]int64{{amount1, per1, units1}, {amount2, per2, units2}} {
			exact.Add(exact, new(big.Rat).Mul(big.NewRat(x[0], x[1]), new(big.Rat).SetInt64(x[2])))
		}
		up := new(big.Int).Neg(new(big.Int).Div(new(big.Int).Neg(exact.Num()), exact.Denom()))
		valid := units1 >= 0 && units2 >= 0 && up.Cmp(big.NewInt(int64(credits.MaxAmount))) <= 0
		q, err := prices.Quote("op", credits.Units{"1": units1, "2": units2})
		if valid != (err == nil) || valid && up.Cmp(big.NewInt(int64(q.Amount))) != 0 {
			t.Fatalf("%d/%d*%d + %d/%d*%d: %v, %v; want %v", amount1, per1, units1, amount2, per2, units2, q.Amount, err, up)
		}
	})
}

func BenchmarkQuote(b *testing.B) {
	prices := table(b, map[string]credits.Rates{
		"chat": {"input": {Amount: 3 * credits.Credit, Per: 1_000_000}, "output": {Amount: 15 * credits.Credit, Per: 1_000_000}},
	})
	units := credits.Units{"input": 1234, "output": 567}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := prices.Quote("chat", units); err != nil {
			b.Fatal(err)
		}
	}
}
