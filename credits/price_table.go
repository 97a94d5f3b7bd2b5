package credits

import (
	"maps"
	"math/bits"
	"slices"

	"github.com/keytoll/keytoll/errors"
)

// Rates are the prices of one operation, by the name of what is counted: "image",
// or "input" and "output".
type Rates map[string]Price

// Units say how much of each thing an operation takes, by the names of its
// [Rates]. What is left out is 0.
type Units map[string]int64

// A PriceTable says what operations cost. Its version goes with each cost into
// the journal, so that a bill can be worked out again when prices have changed.
// It never changes, and is safe for concurrent use. The zero value prices nothing;
// make one with [NewPriceTable].
type PriceTable struct {
	version    string
	operations map[string]tariff
}

// A tariff is the rates of one operation over their common denominator.
type tariff struct {
	rates  Rates
	common uint64 // a multiple of every Per
}

// Bounds of a price table.
const (
	MaxRates  = 64      // of one operation
	mostParts = 1 << 57 // of a tariff's common denominator, so that MaxRates fractions of it can be added
)

// NewPriceTable returns a table of those operations and their rates, which it
// copies. The version is 1 to [MaxIDBytes] bytes, and another one for every other
// table. An operation has 1 to [MaxRates] rates, each a valid [Price], whose Per
// have a common multiple of at most 2^57. An operation that costs nothing says so
// with an Amount of 0. All faults are reported at once, with code Invalid.
func NewPriceTable(version string, operations map[string]Rates) (*PriceTable, error) {
	f := errors.Faults{Op: "credits.NewPriceTable"}
	checkID(&f, "version", version)
	if len(operations) == 0 {
		f.Add("operations is empty; give the rates of each operation")
	}
	t := &PriceTable{version: version, operations: make(map[string]tariff, len(operations))}
	for _, name := range slices.Sorted(maps.Keys(operations)) {
		checkID(&f, "operation "+quote(name), name)
		t.operations[name] = newTariff(&f, "operation "+quote(name), operations[name])
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	return t, nil
}

func newTariff(f *errors.Faults, what string, rates Rates) tariff {
	if n := len(rates); n == 0 || n > MaxRates {
		f.Add("%s has %d rates; give 1 to %d", what, n, MaxRates)
	}
	common := uint64(1)
	for _, name := range slices.Sorted(maps.Keys(rates)) {
		rate := what + ", rate " + quote(name)
		checkID(f, rate, name)
		p := rates[name]
		if why := p.Amount.check(0); why != "" {
			f.Add("%s: Amount %s", rate, why)
		}
		if p.Per < 1 {
			f.Add("%s: Per is %d; give 1 or more", rate, p.Per)
			continue
		}
		high, low := bits.Mul64(common/divisor(common, uint64(p.Per)), uint64(p.Per))
		if high > 0 || low > mostParts {
			f.Add("%s: Per is %d, which has no common multiple with the others up to 2^57; give rounder numbers", rate, p.Per)
			continue
		}
		common = low
	}
	return tariff{rates: maps.Clone(rates), common: common}
}

// divisor returns the greatest common divisor of two numbers above 0.
func divisor(a, b uint64) uint64 {
	for b > 0 {
		a, b = b, a%b
	}
	return a
}

// Version returns the version of the table.
func (t *PriceTable) Version() string { return t.version }

// Operations returns the names of the operations, in order.
func (t *PriceTable) Operations() []string { return slices.Sorted(maps.Keys(t.operations)) }

// Rates returns a copy of the rates of an operation, and false when the table has
// none.
func (t *PriceTable) Rates(operation string) (Rates, bool) {
	priced, ok := t.operations[operation]
	return maps.Clone(priced.rates), ok
}

// A Quote is what an operation costs, with what a [Hold] or a [Debit] says of it.
type Quote struct {
	Amount    Amount
	Operation string
	Price     string // the version of the table
}

// Quote returns the cost of an operation: the exact sum of all its units at their
// rates, rounded up to the micro-credit once. An operation or a unit that the table
// has no rate for, negative units, and a cost over [MaxAmount] are errors of code
// Invalid; so nothing is free by mistake.
func (t *PriceTable) Quote(operation string, units Units) (Quote, error) {
	f := errors.Faults{Op: "credits.PriceTable.Quote"}
	priced, ok := t.operations[operation]
	if !ok {
		f.Add("operation %s has no rates in price table %s; give one of its operations", quote(operation), quote(t.version))
		return Quote{}, f.Err()
	}
	whole, parts := Amount(0), uint64(0) // of priced.common
	fits := true
	for name, n := range units { // a sum, in any order
		p, ok := priced.rates[name]
		if !ok || n < 0 {
			fits = false
			continue
		}
		high, low := bits.Mul64(uint64(p.Amount), uint64(n))
		if high >= uint64(p.Per) {
			fits = false
			continue
		}
		q, r := bits.Div64(high, low, uint64(p.Per))
		if q > uint64(MaxAmount-whole) {
			fits = false
			continue
		}
		whole += Amount(q)
		parts += r * (priced.common / uint64(p.Per))
	}
	up := Amount((parts + priced.common - 1) / priced.common)
	if fits && up <= MaxAmount-whole {
		return Quote{Amount: whole + up, Operation: operation, Price: t.version}, nil
	}
	priced.faults(&f, operation, units)
	return Quote{}, f.Err()
}

// faults says why units have no cost.
func (t *tariff) faults(f *errors.Faults, operation string, units Units) {
	bad := false
	for _, name := range slices.Sorted(maps.Keys(units)) {
		if _, ok := t.rates[name]; !ok {
			f.Add("units: operation %s has no rate for %s; give one of its rates", quote(operation), quote(name))
			bad = true
		}
		if n := units[name]; n < 0 {
			f.Add("units: %d of %s is negative; give 0 or more", n, quote(name))
			bad = true
		}
	}
	if !bad {
		f.Add("the cost is over %v credits; give fewer units", MaxAmount)
	}
}
