package main

import (
	"strings"
	"testing"
)

const gateOutput = `cpu: Some CPU
BenchmarkGate/peer=floor/mode=serial-2                       1	   50 ns/op	   64 B/op	 2 allocs/op
BenchmarkGate/peer=handwritten-httprate/mode=serial-2        1	 1000 ns/op	  728 B/op	14 allocs/op
BenchmarkGate/peer=keytoll-limits/mode=serial-2              1	 2500 ns/op	 2100 B/op	 6 allocs/op
BenchmarkGate/peer=keytoll-limits/mode=parallel-2            1	 1300 ns/op	 2100 B/op	 6 allocs/op
BenchmarkGateWire/peer=floor-2             1	12000 ns/op	80000 ops/s	700000 p50-ns	3000000 p99-ns
BenchmarkGateWire/peer=keytoll-limits-2    1	13000 ns/op	76000 ops/s	740000 p50-ns	4000000 p99-ns
BenchmarkGateFleet/peer=keytoll-leased-2   1	30000 ns/op	30000 ops/s	2000000 p50-ns	9000000 p99-ns
BenchmarkGateFleet/peer=handwritten-httprate-2   1	60000 ns/op	15000 ops/s	4000000 p50-ns	9000000 p99-ns
PASS
`

func TestGatesAreTabled(t *testing.T) {
	r, err := parse(strings.NewReader(gateOutput))
	if err != nil {
		t.Fatal(err)
	}
	all := ""
	for _, table := range tables(r) {
		all += table.name + "\n" + table.text
	}
	for _, want := range []string{
		"gate\n", "gate wire\n", "gate fleet\n", "ratios gate\n",
		"| **keytoll-limits** | 2.5 µs | 1.3 µs | 6 | 2.1 KB |",
		"| floor | 0.05 µs | – | 2 | 0.06 KB |",
		"| **keytoll-limits** | 76,000 | 0.74 ms | 4 ms |",
		"| over loopback: key and three limits, against the bare server | 76k/s | 80k/s | 0.95 | at least 0.9 |",
		"| a fleet's server with cache and leases: against by hand | 30k/s | 15k/s | 2.00 |",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
}
