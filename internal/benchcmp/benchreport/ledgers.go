package main

import "strconv"

// ledgers has a row for each way to take credits in a store, and a column for
// each number of callers.
func ledgers(r *report, store string) string {
	unit, factor := "k/s", 1e-3
	callers := []string{"1", "64", "1024"}
	head := []string{""}
	for _, accounts := range []string{"hot account", "10^4 accounts"} {
		for _, n := range callers {
			head = append(head, accounts+", "+crowd(n))
		}
	}
	g := newGrid(append(head, "allocs")...)
	for _, p := range r.values("Ledger", "peer") {
		row := []string{label(p)}
		for _, accounts := range []string{"1", "10000"} {
			for _, n := range callers {
				row = append(row, with(r.cell(ledgerName(store, accounts, p, n), "debits/s", factor), unit))
			}
		}
		g.row(append(row, r.cell(ledgerName(store, "1", p, "64"), "allocs/op", 1))...)
	}
	return g.text()
}

func ledgerName(store, accounts, peer, callers string) string {
	return "Ledger/store=" + store + "/accounts=" + accounts + "/peer=" + peer + "/callers=" + callers
}

func crowd(callers string) string {
	if callers == "1" {
		return "1 caller"
	}
	return callers + " callers"
}

// ledgerRatios compares with what most services write.
func ledgerRatios(r *report) string {
	g := newRatios()
	against := func(what, store, accounts, callers, rival, aim string) {
		ours := ledgerName(store, accounts, "keytoll-batched", callers)
		g.ratio(r, what+", "+crowd(callers)+", against "+rival, ours, ledgerName(store, accounts, rival, callers), "debits/s", 1e-3, "k/s", aim)
	}
	against("PostgreSQL, hot account", "postgres", "1", "64", "naive", "at least 30")
	against("PostgreSQL, hot account", "postgres", "1", "1024", "naive", "at least 60")
	against("PostgreSQL, 10^4 accounts", "postgres", "10000", "64", "naive", "")
	against("PostgreSQL, 10^4 accounts", "postgres", "10000", "1024", "naive", "at least 5")
	against("PostgreSQL, hot account", "postgres", "1", "64", "cte-idempotent", "")
	against("PostgreSQL, 10^4 accounts", "postgres", "10000", "1024", "cte-idempotent", "")
	against("SQLite, hot account", "sqlite", "1", "64", "commit-each", "")
	against("SQLite, hot account", "sqlite", "1", "1024", "commit-each", "at least 20")
	against("SQLite, 10^4 accounts", "sqlite", "10000", "1024", "commit-each", "")
	if v, ok := r.median("Lease", "ns/op"); ok {
		g.row("a spend from a lease", with(digits(v), " ns"), "", "", "at most 150 ns")
	}
	if v, ok := r.median("Lease", "allocs/op"); ok {
		g.row("its allocations", digits(v), "", "", "at most 1")
	}
	return g.text()
}

// holdsBy has a row for each number of a part, such as "entries", with what a
// hold and its capture take in each store.
func holdsBy(r *report, part string) string {
	stores := r.values("Hold", "store")
	g := newGrid(append([]string{part}, stores...)...)
	for _, n := range r.values("Hold", part) {
		row := []string{power(n)}
		for _, s := range stores {
			row = append(row, with(r.cell(holdName(s, part, n), "ns/op", 1e-3), " µs"))
		}
		g.row(row...)
	}
	return g.text()
}

func holdName(store, part, n string) string { return "Hold/store=" + store + "/" + part + "=" + n }

// ledgerPanels are debits a second against the number of callers, and what a
// hold takes against what lies behind it.
func ledgerPanels(r *report) []panel {
	var list []panel
	for _, accounts := range []struct{ n, title string }{{"1", "one hot account"}, {"10000", "10^4 accounts"}} {
		p := panel{title: "PostgreSQL, " + accounts.title + ", 1,000 debits/s", across: "callers"}
		for _, peer := range r.values("Ledger", "peer") {
			s := series{label: peer}
			for _, callers := range []string{"1", "64", "1024"} {
				if v, ok := r.median(ledgerName("postgres", accounts.n, peer, callers), "debits/s"); ok {
					s.add(callers, v*1e-3)
				}
			}
			p.add(s)
		}
		list = append(list, p)
	}
	for _, part := range []string{"entries", "lots"} {
		p := panel{title: "a hold and its capture, µs", across: part}
		for _, store := range r.values("Hold", "store") {
			s := series{label: store}
			for _, n := range r.values("Hold", part) {
				if v, ok := r.median(holdName(store, part, n), "ns/op"); ok {
					s.add(n, v*1e-3)
				}
			}
			p.add(s)
		}
		list = append(list, p)
	}
	return list
}

// add appends a point at the number that text is.
func (s *series) add(text string, y float64) {
	if n, err := strconv.ParseFloat(text, 64); err == nil && n > 0 {
		s.points = append(s.points, point{n, y})
	}
}
