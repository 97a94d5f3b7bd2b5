package main

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// A table is a part of the page.
type table struct{ name, text string }

// tables makes those for which there are figures.
func tables(r *report) []table {
	list := []table{
		{"memory one", memory(r, "1")},
		{"memory three", memory(r, "3")},
		{"refused", refused(r)},
		{"redis one", redis(r, "1")},
		{"redis three", redis(r, "3")},
		{"state memory", state(r, "memory")},
		{"state redis", state(r, "redis")},
		{"ratios memory", memoryRatios(r)},
		{"ratios redis", redisRatios(r)},
		{"ledger postgres", ledgers(r, "postgres")},
		{"ledger sqlite", ledgers(r, "sqlite")},
		{"ledger memory", ledgers(r, "memory")},
		{"ratios ledger", ledgerRatios(r)},
		{"hold entries", holdsBy(r, "entries")},
		{"hold lots", holdsBy(r, "lots")},
		{"webhook sign", webhooks(r, "Sign")},
		{"webhook verify", webhooks(r, "Verify")},
		{"webhook hostile", hostile(r)},
		{"deliveries", deliveries(r)},
		{"claims", claims(r)},
		{"ratios webhook", webhookRatios(r)},
		{"gate", gates(r)},
		{"gate wire", wires(r, "GateWire")},
		{"gate fleet", wires(r, "GateFleet")},
		{"ratios gate", gateRatios(r)},
	}
	list = slices.DeleteFunc(list, func(t table) bool { return t.text == "" })
	if len(list) > 0 {
		list = append(list, table{"machine", fmt.Sprintf("Last measured on %s cores of %s, with %s.\n", r.cores, r.cpu, runtime.Version())})
	}
	return list
}

// grid writes a Markdown table; rows without any figure are left out.
type grid struct {
	b    strings.Builder
	rows int
}

func newGrid(head ...string) *grid {
	g := new(grid)
	g.line(head)
	g.b.WriteString("|---" + strings.Repeat("|---:", len(head)-1) + "|\n")
	return g
}

func (g *grid) line(cells []string) { g.b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }

const none = "–"

func (g *grid) row(cells ...string) {
	if slices.ContainsFunc(cells[1:], func(c string) bool { return c != none }) {
		g.line(cells)
		g.rows++
	}
}

func (g *grid) text() string {
	if g.rows == 0 {
		return ""
	}
	return g.b.String()
}

// cell is the median of a figure.
func (r *report) cell(name, unit string, factor float64) string {
	v, ok := r.median(name, unit)
	if !ok {
		return none
	}
	return digits(v * factor)
}

func digits(v float64) string {
	switch {
	case v == math.Trunc(v):
	case v < 0.995:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case v < 99.95:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	whole := strconv.FormatFloat(math.Round(v), 'f', 0, 64)
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	return whole
}

func memory(r *report, limits string) string {
	g := newGrid("", "hot key", "on all cores", "10^4 keys", "10^6 keys", "on all cores", "bytes a key", "full GC", "allocs")
	for _, p := range r.values("Limit", "peer") {
		name := func(keys, mode string) string {
			return "Limit/keys=" + keys + "/limits=" + limits + "/peer=" + p + "/mode=" + mode
		}
		ns := func(keys, mode string) string { return with(r.cell(name(keys, mode), "ns/op", 1), " ns") }
		g.row(label(p), ns("1", "serial"), ns("1", "parallel"), ns("10000", "serial"), ns("1000000", "serial"), ns("1000000", "parallel"),
			r.cell(name("1000000", "serial"), "B/key", 1), with(r.cell(name("1000000", "serial"), "ms/GC", 1), " ms"), r.cell(name("1", "serial"), "allocs/op", 1))
	}
	return g.text()
}

func refused(r *report) string {
	g := newGrid("", "hot key", "on all cores", "10^4 keys", "10^6 keys", "on all cores")
	for _, p := range r.values("LimitRefused", "peer") {
		ns := func(keys, mode string) string {
			return with(r.cell("LimitRefused/keys="+keys+"/limits=1/peer="+p+"/mode="+mode, "ns/op", 1), " ns")
		}
		g.row(label(p), ns("1", "serial"), ns("1", "parallel"), ns("10000", "serial"), ns("1000000", "serial"), ns("1000000", "parallel"))
	}
	return g.text()
}

func redis(r *report, limits string) string {
	g := newGrid("", "1 caller, hot key", "10^4 keys", "64 callers, hot key", "10^4 keys", "server", "allocs")
	for _, p := range r.values("Redis", "peer") {
		name := func(keys, callers string) string {
			return "Redis/keys=" + keys + "/limits=" + limits + "/peer=" + p + "/callers=" + callers
		}
		rate := func(keys, callers string) string { return with(r.cell(name(keys, callers), "ops/s", 1e-3), "k/s") }
		g.row(label(p), rate("1", "1"), rate("10000", "1"), rate("1", "64"), rate("10000", "64"),
			with(r.cell(name("10000", "64"), "server-us/op", 1), " µs"), r.cell(name("10000", "64"), "allocs/op", 1))
	}
	return g.text()
}

func stateName(store, keys, limits, callers string) string {
	return "State/store=" + store + "/keys=" + keys + "/limits=" + limits + "/callers=" + callers
}

// state has a row for each number of keys, and for each number of limits the
// bytes a key and the time of a decision.
func state(r *report, store string) string {
	numbers := r.values("State", "limits")
	head, callers, unit, factor := []string{"keys"}, "1", " ns", 1.0
	if store == "redis" {
		unit, factor = " µs", 1e-3
	}
	for i, n := range numbers {
		title := n + " limits"
		if i == 0 {
			title = n + " limit"
		}
		head = append(head, title)
	}
	if len(numbers) == 0 {
		return ""
	}
	g := newGrid(head...)
	for _, keys := range r.values("State", "keys") {
		bytes, times := []string{power(keys) + ", bytes a key"}, []string{power(keys) + ", a decision"}
		for _, n := range numbers {
			name := stateName(store, keys, n, callers)
			bytes = append(bytes, r.cell(name, "B/key", 1))
			times = append(times, with(r.cell(name, "ns/op", factor), unit))
		}
		g.row(bytes...)
		g.row(times...)
	}
	return g.text()
}

// power writes 10000 as 10^4, and what is less than 1000 as it is.
func power(n string) string {
	zeros := strings.TrimLeft(n, "1")
	if len(n) < 4 || strings.Trim(zeros, "0") != "" || len(zeros) != len(n)-1 {
		return n
	}
	return "10^" + strconv.Itoa(len(zeros))
}

func with(figure, unit string) string {
	if figure == none {
		return none
	}
	return figure + unit
}

// label sets what is ours apart.
func label(peer string) string {
	if strings.HasPrefix(peer, "keytoll") {
		return "**" + peer + "**"
	}
	return peer
}
