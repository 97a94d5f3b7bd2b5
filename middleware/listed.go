package middleware

import (
	"maps"
	"slices"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
)

// perRequest is the rate of a price table that each call costs once.
const perRequest = "request"

// Listed costs what the price table that list returns says of the operation: its
// rate "request" for the call, and its rate of the name Operation.Unit for each of
// Operation.Units; other rates are refused at start-up. list is asked at each call,
// so prices can change while the gate runs, and the version of the table goes into
// the ledger with each charge. A table that does not have the operation refuses with
// 500. It must be safe for concurrent use.
func Listed(list func() *credits.PriceTable) Price { return Price{kind: listedPrice, list: list} }

// Table returns the present price table of a [Listed] price; nil for others.
func (p Price) Table() *credits.PriceTable {
	if p.list == nil {
		return nil
	}
	return p.list()
}

// checkList adds what is wrong with the present price table of op.
func (p Price) checkList(f *errors.Faults, op *Operation) {
	if p.list == nil {
		return
	}
	table := p.Table()
	if table == nil {
		f.Add("the price is Listed and there is no price table yet; have list return one")
		return
	}
	rates, ok := table.Rates(op.Name)
	if !ok {
		f.Add("price table %q does not have the operation; give it rates", table.Version())
	}
	for _, name := range slices.Sorted(maps.Keys(rates)) {
		switch {
		case name == perRequest:
		case name != op.Unit:
			f.Add("price table %q has a rate for %q; give one for %q or for the Unit %q", table.Version(), name, perRequest, op.Unit)
		case !op.measures():
			f.Add("price table %q has a rate for %q and nothing tells how many; set Units", table.Version(), name)
		}
	}
}

// listed returns what the call costs by the present table, and its version.
func (p *Pass) listed() (credits.Quote, *Denial) {
	op := &p.route.op
	table := op.Price.Table()
	if table == nil {
		return credits.Quote{}, &Denial{Verdict: VerdictMisconfigured, err: errors.New("there is no price table")}
	}
	rates, ok := table.Rates(op.Name)
	if !ok {
		return credits.Quote{}, &Denial{Verdict: VerdictMisconfigured, err: errors.New("price table " + table.Version() + " does not have the operation")}
	}
	units := make(credits.Units, len(rates))
	for name := range rates {
		switch name {
		case op.Unit:
			units[name] = p.units
		case perRequest:
			units[name] = 1
		default:
			return credits.Quote{}, &Denial{Verdict: VerdictMisconfigured, err: errors.New("price table " + table.Version() + " has a rate for " + name + ", which nothing counts")}
		}
	}
	quote, err := table.Quote(op.Name, units)
	if err != nil {
		return quote, &Denial{Verdict: VerdictPriceRefused, detail: tooMuch, err: err}
	}
	return quote, nil
}
