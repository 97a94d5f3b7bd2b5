package main

import "strings"

// webhooks has a row for each peer of a benchmark, Sign or Verify, and a column
// for each size and number of keys.
func webhooks(r *report, bench string) string {
	g := newGrid("", "1 KB", "on all cores", "1 KB, 3 keys", "64 KB", "64 KB, 3 keys", "allocs", "with 3 keys")
	for _, p := range r.values(bench, "peer") {
		name := func(size, keys, mode string) string { return webhookName(bench, size, keys, p) + "/mode=" + mode }
		time := func(size, keys, mode string) string {
			return with(r.cell(name(size, keys, mode), "ns/op", 1e-3), " µs")
		}
		g.row(label(p), time("1024", "1", "serial"), time("1024", "1", "parallel"), time("1024", "3", "serial"), time("65536", "1", "serial"), time("65536", "3", "serial"),
			r.cell(name("1024", "1", "serial"), "allocs/op", 1), r.cell(name("1024", "3", "serial"), "allocs/op", 1))
	}
	return g.text()
}

func webhookName(bench, size, keys, peer string) string {
	return bench + "/size=" + size + "/keys=" + keys + "/peer=" + peer
}

// hostile has a row for each peer, with what a header of 1 MiB costs it.
func hostile(r *report) string {
	g := newGrid("", "entries", "allocated", "commas", "allocated")
	for _, p := range r.values("Hostile", "peer") {
		row := []string{label(p)}
		for _, header := range []string{"entries", "commas"} {
			name := "Hostile/header=" + header + "/peer=" + p
			row = append(row, with(r.cell(name, "ns/op", 1e-3), " µs"), with(r.cell(name, "B/op", 1e-3), " KB"))
		}
		g.row(row...)
	}
	return g.text()
}

// deliveries has a row for each store, with what a whole delivery costs.
func deliveries(r *report) string {
	g := newGrid("", "deliveries a second", "each", "allocs")
	for _, store := range r.values("Delivery", "store") {
		name := "Delivery/store=" + store
		g.row(store, r.cell(name, "deliveries/s", 1), with(r.cell(name, "ns/op", 1e-3), " µs"), r.cell(name, "allocs/op", 1))
	}
	return g.text()
}

// claims has a row for each number of deliveries that wait, with what claiming and
// settling one costs.
func claims(r *report) string {
	stores := r.values("Claim", "store")
	g := newGrid(append([]string{"waiting"}, stores...)...)
	for _, n := range r.values("Claim", "waiting") {
		row := []string{power(n)}
		for _, store := range stores {
			row = append(row, with(r.cell("Claim/store="+store+"/waiting="+n, "ns/delivery", 1e-3), " µs"))
		}
		g.row(row...)
	}
	return g.text()
}

// webhookRatios compares with plain HMAC and with each library.
func webhookRatios(r *report) string {
	g := newRatios()
	for _, bench := range []string{"Sign", "Verify"} {
		against := func(size, keys, ours, rival, aim string) {
			what := strings.ToLower(bench) + " " + map[string]string{"1024": "1 KB", "65536": "64 KB"}[size]
			if keys != "1" {
				what += ", " + keys + " keys"
			}
			g.ratio(r, what+", against "+rival, webhookName(bench, size, keys, ours)+"/mode=serial", webhookName(bench, size, keys, rival)+"/mode=serial", "ns/op", 1e-3, " µs", aim)
		}
		against("1024", "1", "keytoll", "floor", "at most 1.25")
		against("1024", "3", "keytoll", "floor", "")
		against("65536", "1", "keytoll", "floor", "at most 1.05")
		against("1024", "1", "keytoll-stripe", "stripe-go", "at most 0.6")
		against("1024", "1", "keytoll", "standard-webhooks", "at most 0.35")
		against("1024", "1", "keytoll", "svix", "at most 0.35")
		against("65536", "1", "keytoll", "standard-webhooks", "")
	}
	for _, header := range []string{"entries", "commas"} {
		if v, ok := r.median("Hostile/header="+header+"/peer=keytoll", "ns/op"); ok {
			g.row("a header of 1 MiB of "+header, with(digits(v*1e-3), " µs"), "", "", "at most 10 µs")
		}
	}
	if v, ok := r.median("Delivery/store=postgres", "deliveries/s"); ok {
		g.row("deliveries a second on PostgreSQL", digits(v), "", "", "at least 2,000")
	}
	return g.text()
}

// webhookPanels are times in multiples of plain HMAC, against the size of the
// body.
func webhookPanels(r *report) []panel {
	var list []panel
	for _, bench := range []string{"Sign", "Verify"} {
		p := panel{title: strings.ToLower(bench) + ", times plain HMAC-SHA-256", across: "bytes of body"}
		for _, peer := range r.values(bench, "peer") {
			s := series{label: peer}
			for _, size := range r.values(bench, "size") {
				v, ok := r.median(webhookName(bench, size, "1", peer)+"/mode=serial", "ns/op")
				floor, okToo := r.median(webhookName(bench, size, "1", "floor")+"/mode=serial", "ns/op")
				if ok && okToo && floor > 0 {
					s.add(size, v/floor)
				}
			}
			p.add(s)
		}
		list = append(list, p)
	}
	return list
}
