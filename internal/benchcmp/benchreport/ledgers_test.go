package main

import (
	"strings"
	"testing"
)

const ledgerOutput = `cpu: Some CPU
BenchmarkLedger/store=postgres/accounts=1/peer=naive/callers=64-2            1	1000000 ns/op	  500 debits/s	30 allocs/op
BenchmarkLedger/store=postgres/accounts=1/peer=keytoll-batched/callers=64-2  1	  50000 ns/op	20000 debits/s	50 allocs/op
BenchmarkLedger/store=sqlite/accounts=10000/peer=commit-each/callers=1024-2  1	 200000 ns/op	 5000 debits/s	 9 allocs/op
BenchmarkLedger/store=sqlite/accounts=10000/peer=keytoll-batched/callers=1024-2  1  20000 ns/op	50000 debits/s	 9 allocs/op
BenchmarkLease-2  1	    120 ns/op	 1 allocs/op
BenchmarkHold/store=memory/entries=1000-2     	1	  2000 ns/op
BenchmarkHold/store=memory/entries=1000000-2  	1	  2500 ns/op
BenchmarkHold/store=postgres/entries=1000-2   	1	900000 ns/op
BenchmarkHold/store=postgres/lots=10-2        	1	950000 ns/op
PASS
`

func TestLedgersAreTabledAndDrawn(t *testing.T) {
	r, err := parse(strings.NewReader(ledgerOutput))
	if err != nil {
		t.Fatal(err)
	}
	all := ""
	for _, table := range tables(r) {
		all += table.name + "\n" + table.text
	}
	for _, want := range []string{
		"| naive | – | 0.50k/s | – | – | – | – | 30 |",
		"| PostgreSQL, hot account, 64 callers, against naive | 20k/s | 0.50k/s | 40.00 | at least 30 |",
		"| SQLite, 10^4 accounts, 1024 callers, against commit-each | 50k/s | 5k/s | 10.00 |  |",
		"| a spend from a lease | 120 ns |  |  | at most 150 ns |",
		"| entries | memory | postgres |",
		"| 10^6 | 2.5 µs | – |",
		"| 10 | – | 950 µs |",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
	svg := draw(r)
	if got := strings.Count(svg, `<path class="line`); got != 5 { // two peers of one panel, two stores and one
		t.Errorf("%d lines, want 5, in\n%s", got, svg)
	}
	for _, want := range []string{">callers<", ">entries<", ">lots<"} {
		if !strings.Contains(svg, want) {
			t.Errorf("no %q in\n%s", want, svg)
		}
	}
}
