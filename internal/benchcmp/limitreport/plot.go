package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// The plot has two panels side by side, one below the other for each store: the
// time of a decision and the bytes of a key against the number of keys, one line
// for each number of limits.
const (
	panelWidth, panelHeight = 300, 200
	left, top               = 64, 56
	right, gap              = 76, 78
)

// series is what one number of limits costs.
type series struct {
	label  string
	points []point
}

type point struct{ x, y float64 }

// style is readable on white and on black: the page's colours where the viewer
// says which, dark on light where not.
const style = `<style>
.ground { fill: #ffffff } text { font: 12px system-ui, sans-serif; fill: #24292f } .title { font-weight: 600 }
.grid { stroke: #d0d7de; stroke-width: 1 } .axis { stroke: #57606a; stroke-width: 1 }
.line { fill: none; stroke-width: 2 } .s0 { stroke: #0969da } .s1 { stroke: #1a7f37 } .s2 { stroke: #bc4c00 } .s3 { stroke: #8250df }
.p0 { fill: #0969da } .p1 { fill: #1a7f37 } .p2 { fill: #bc4c00 } .p3 { fill: #8250df }
@media (prefers-color-scheme: dark) {
.ground { fill: #0d1117 } text { fill: #e6edf3 } .grid { stroke: #30363d } .axis { stroke: #8b949e }
.s0 { stroke: #58a6ff } .s1 { stroke: #3fb950 } .s2 { stroke: #f0883e } .s3 { stroke: #bc8cff }
.p0 { fill: #58a6ff } .p1 { fill: #3fb950 } .p2 { fill: #f0883e } .p3 { fill: #bc8cff }
}
</style>
`

// draw returns the plot as SVG, or "" when there is nothing to plot.
func draw(r *report) string {
	var panels []string
	row := 0
	for _, store := range []struct{ name, title, unit string }{
		{"memory", "in memory", "ns"},
		{"redis", "in Redis", "µs"},
	} {
		factor := 1.0
		if store.unit == "µs" {
			factor = 1e-3
		}
		times, bytes := r.lines(store.name, "ns/op", factor), r.lines(store.name, "B/key", 1)
		if len(times) == 0 {
			continue
		}
		y := top + row*(panelHeight+gap)
		panels = append(panels,
			panel(left, y, "one decision "+store.title+", "+store.unit, times),
			panel(left+panelWidth+right+left, y, "state "+store.title+", bytes a key", bytes))
		row++
	}
	if row == 0 {
		return ""
	}
	width, height := 2*(left+panelWidth+right), top+row*(panelHeight+gap)-24
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="What state costs against the number of keys and of limits">`+"\n", width, height, width, height) +
		style + `<rect class="ground" width="100%" height="100%"/>` + "\n" + strings.Join(panels, "") + "</svg>\n"
}

// lines returns a figure against the number of keys, for each number of limits.
func (r *report) lines(store, unit string, factor float64) []series {
	var list []series
	for _, limits := range r.values("State", "limits") {
		s := series{label: limits + " limits"}
		if limits == "1" {
			s.label = "1 limit"
		}
		for _, keys := range r.values("State", "keys") {
			n, err := strconv.ParseFloat(keys, 64)
			v, ok := r.median(stateName(store, keys, limits, "1"), unit)
			if ok && err == nil && n > 0 {
				s.points = append(s.points, point{n, v * factor})
			}
		}
		if len(s.points) > 0 {
			list = append(list, s)
		}
	}
	return list
}

// panel draws lines over powers of ten, from zero up.
func panel(x, y int, title string, lines []series) string {
	low, high, most := math.Inf(1), 0.0, 0.0
	for _, s := range lines {
		for _, p := range s.points {
			low, high, most = min(low, math.Floor(math.Log10(p.x))), max(high, math.Ceil(math.Log10(p.x))), max(most, p.y)
		}
	}
	if high == low {
		high++
	}
	step := tick(most)
	ceiling := math.Ceil(most/step) * step
	across := func(keys float64) float64 {
		return float64(x) + (math.Log10(keys)-low)/(high-low)*panelWidth
	}
	up := func(v float64) float64 { return float64(y) + panelHeight*(1-v/ceiling) }

	var b strings.Builder
	fmt.Fprintf(&b, `<text class="title" x="%d" y="%d">%s</text>`+"\n", x, y-14, title)
	for v := 0.0; v <= ceiling+step/2; v += step {
		fmt.Fprintf(&b, `<line class="grid" x1="%d" y1="%.1f" x2="%d" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			x, up(v), x+panelWidth, up(v), x-8, up(v)+4, strconv.FormatFloat(v, 'f', -1, 64))
	}
	for p := low; p <= high; p++ {
		at := across(math.Pow(10, p))
		fmt.Fprintf(&b, `<line class="axis" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/><text x="%.1f" y="%d" text-anchor="middle">10<tspan dy="-5" font-size="9">%.0f</tspan></text>`+"\n",
			at, y+panelHeight, at, y+panelHeight+5, at, y+panelHeight+20, p)
	}
	fmt.Fprintf(&b, `<path class="axis" fill="none" d="M%d %dV%dH%d"/><text x="%d" y="%d" text-anchor="middle">keys</text>`+"\n",
		x, y, y+panelHeight, x+panelWidth, x+panelWidth/2, y+panelHeight+38)
	names := apart(lines, up)
	for i, s := range lines {
		var path strings.Builder
		for k, p := range s.points {
			fmt.Fprintf(&path, "%c%.1f %.1f", "ML"[min(k, 1)], across(p.x), up(p.y))
		}
		fmt.Fprintf(&b, `<path class="line s%d" d="%s"/>`, i%4, path.String())
		for _, p := range s.points {
			fmt.Fprintf(&b, `<circle class="p%d" cx="%.1f" cy="%.1f" r="3"/>`, i%4, across(p.x), up(p.y))
		}
		end := s.points[len(s.points)-1]
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f">%s</text>`+"\n", across(end.x)+8, names[i]+4, s.label)
	}
	return b.String()
}

// apart returns a height for each line's name: beside its last point, and not on
// another name.
func apart(lines []series, up func(float64) float64) []float64 {
	at, order := make([]float64, len(lines)), make([]int, len(lines))
	for i, s := range lines {
		at[i], order[i] = up(s.points[len(s.points)-1].y), i
	}
	slices.SortFunc(order, func(i, k int) int { // from the bottom up
		switch {
		case at[i] > at[k]:
			return -1
		case at[i] < at[k]:
			return 1
		}
		return i - k
	})
	for k := 1; k < len(order); k++ {
		at[order[k]] = min(at[order[k]], at[order[k-1]]-14)
	}
	return at
}

// tick returns 1, 2 or 5 times a power of ten, so that four to nine of them reach
// most.
func tick(most float64) float64 {
	if most <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(most)))
	switch v := most / power; {
	case v < 2:
		return power / 5
	case v < 4.5:
		return power / 2
	}
	return power
}
