package main

// gates has a row for each peer, with what one request through it costs.
func gates(r *report) string {
	g := newGrid("", "one request", "on all cores", "allocs", "allocated")
	for _, p := range r.values("Gate", "peer") {
		serial := "Gate/peer=" + p + "/mode=serial"
		g.row(label(p), with(r.cell(serial, "ns/op", 1e-3), " µs"), with(r.cell("Gate/peer="+p+"/mode=parallel", "ns/op", 1e-3), " µs"),
			r.cell(serial, "allocs/op", 1), with(r.cell(serial, "B/op", 1e-3), " KB"))
	}
	return g.text()
}

// wires has a row for each peer of a benchmark over loopback.
func wires(r *report, bench string) string {
	g := newGrid("", "requests a second", "median", "99th percentile")
	for _, p := range r.values(bench, "peer") {
		name := bench + "/peer=" + p
		g.row(label(p), r.cell(name, "ops/s", 1), with(r.cell(name, "p50-ns", 1e-6), " ms"), with(r.cell(name, "p99-ns", 1e-6), " ms"))
	}
	return g.text()
}

// gateRatios compares with the bare handler and with what is written by hand.
func gateRatios(r *report) string {
	g := newRatios()
	inProcess := func(what, ours, rival, aim string) {
		g.ratio(r, what, "Gate/peer="+ours+"/mode=serial", "Gate/peer="+rival+"/mode=serial", "ns/op", 1e-3, " µs", aim)
	}
	inProcess("key and three limits, against a key and one limit by hand", "keytoll-limits", "handwritten-httprate", "")
	inProcess("credits from leases, against credits from the ledger", "keytoll-leased", "keytoll-credits", "")
	wire := func(what, bench, ours, rival, aim string) {
		g.ratio(r, what, bench+"/peer="+ours, bench+"/peer="+rival, "ops/s", 1e-3, "k/s", aim)
	}
	wire("over loopback: key, against the bare server", "GateWire", "keytoll-key", "floor", "at least 0.9")
	wire("over loopback: key and three limits, against the bare server", "GateWire", "keytoll-limits", "floor", "at least 0.9")
	wire("over loopback: and credits, against the bare server", "GateWire", "keytoll-credits", "floor", "at least 0.9")
	wire("over loopback: and credits from leases, against the bare server", "GateWire", "keytoll-leased", "floor", "at least 0.9")
	wire("over loopback: key and three limits, against a key and one limit by hand", "GateWire", "keytoll-limits", "handwritten-httprate", "")
	wire("a fleet's server: against by hand", "GateFleet", "keytoll", "handwritten-httprate", "")
	wire("a fleet's server with cache and leases: against by hand", "GateFleet", "keytoll-leased", "handwritten-httprate", "")
	return g.text()
}
