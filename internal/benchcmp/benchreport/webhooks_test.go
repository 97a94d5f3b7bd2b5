package main

import (
	"strings"
	"testing"
)

const webhookOutput = `cpu: Some CPU
BenchmarkSign/size=1024/keys=1/peer=floor/mode=serial-2                1	1000 ns/op	0 allocs/op
BenchmarkSign/size=1024/keys=1/peer=keytoll/mode=serial-2              1	1100 ns/op	0 allocs/op
BenchmarkSign/size=1024/keys=1/peer=keytoll/mode=parallel-2            1	 600 ns/op	0 allocs/op
BenchmarkSign/size=1024/keys=3/peer=keytoll/mode=serial-2              1	3200 ns/op	0 allocs/op
BenchmarkSign/size=65536/keys=1/peer=floor/mode=serial-2               1	42000 ns/op	0 allocs/op
BenchmarkSign/size=65536/keys=1/peer=keytoll/mode=serial-2             1	42000 ns/op	0 allocs/op
BenchmarkSign/size=1024/keys=1/peer=svix/mode=serial-2                 1	4400 ns/op	14 allocs/op
BenchmarkVerify/size=1024/keys=1/peer=keytoll-stripe/mode=serial-2     1	1200 ns/op	0 allocs/op
BenchmarkVerify/size=1024/keys=1/peer=stripe-go/mode=serial-2          1	2400 ns/op	17 allocs/op
BenchmarkHostile/header=entries/peer=keytoll-2    1	  300 ns/op	    112 B/op	 2 allocs/op
BenchmarkHostile/header=commas/peer=svix-2        1	24000000 ns/op	16789000 B/op	22 allocs/op
BenchmarkDelivery/store=postgres-2    1	300000 ns/op	3333 deliveries/s	297 allocs/op
BenchmarkClaim/store=sqlite/waiting=1000-2     1	9 ns/op	50000 ns/delivery
BenchmarkClaim/store=sqlite/waiting=1000000-2  1	9 ns/op	51000 ns/delivery
BenchmarkClaim/store=postgres/waiting=1000-2   1	9 ns/op	60000 ns/delivery
PASS
`

func TestWebhooksAreTabledAndDrawn(t *testing.T) {
	r, err := parse(strings.NewReader(webhookOutput))
	if err != nil {
		t.Fatal(err)
	}
	all := ""
	for _, table := range tables(r) {
		all += table.name + "\n" + table.text
	}
	for _, want := range []string{
		"webhook sign\n", "webhook verify\n", "webhook hostile\n", "ratios webhook\n",
		"| **keytoll** | 1.1 µs | 0.60 µs | 3.2 µs | 42 µs | – | 0 | 0 |",
		"| **keytoll** | 0.30 µs | 0.11 KB | – | – |",
		"| svix | – | – | 24,000 µs | 16,789 KB |",
		"| sign 1 KB, against floor | 1.1 µs | 1 µs | 1.10 | at most 1.25 |",
		"| sign 64 KB, against floor | 42 µs | 42 µs | 1.00 | at most 1.05 |",
		"| sign 1 KB, against svix | 1.1 µs | 4.4 µs | 0.25 | at most 0.35 |",
		"| verify 1 KB, against stripe-go | 1.2 µs | 2.4 µs | 0.50 | at most 0.6 |",
		"| postgres | 3,333 | 300 µs | 297 |",
		"| waiting | sqlite | postgres |",
		"| 10^3 | 50 µs | 60 µs |",
		"| 10^6 | 51 µs | – |",
		"| deliveries a second on PostgreSQL | 3,333 |  |  | at least 2,000 |",
		"| a header of 1 MiB of entries | 0.30 µs |  |  | at most 10 µs |",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
	svg := draw(r)
	if got := strings.Count(svg, `<path class="line`); got != 3 { // three signers; no floor of Verify
		t.Errorf("%d lines, want 3, in\n%s", got, svg)
	}
	if !strings.Contains(svg, ">bytes of body<") || !strings.Contains(svg, "sign, times plain HMAC-SHA-256") {
		t.Errorf("no titles in\n%s", svg)
	}
}
