package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// A plot has panels, two side by side. Of limits they are the time of a decision
// and the bytes of a key against the number of keys, one line for each number of
// limits; of ledgers see ledgerPanels, of webhooks webhookPanels.
const (
	panelWidth, panelHeight = 300, 200
	left, top               = 64, 56
	right, gap              = 118, 78
)

// A panel is lines over powers of ten, from zero up.
type panel struct {
	title, across string
	lines         []series
}

// add adds a line that has points.
func (p *panel) add(s series) {
	if len(s.points) > 0 {
		p.lines = append(p.lines, s)
	}
}

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
.line { fill: none; stroke-width: 2 } .s0 { stroke: #0969da } .s1 { stroke: #1a7f37 } .s2 { stroke: #bc4c00 } .s3 { stroke: #8250df } .s4 { stroke: #bf3989 } .s5 { stroke: #9a6700 }
.p0 { fill: #0969da } .p1 { fill: #1a7f37 } .p2 { fill: #bc4c00 } .p3 { fill: #8250df } .p4 { fill: #bf3989 } .p5 { fill: #9a6700 }
@media (prefers-color-scheme: dark) {
.ground { fill: #0d1117 } text { fill: #e6edf3 } .grid { stroke: #30363d } .axis { stroke: #8b949e }
.s0 { stroke: #58a6ff } .s1 { stroke: #3fb950 } .s2 { stroke: #f0883e } .s3 { stroke: #bc8cff } .s4 { stroke: #f778ba } .s5 { stroke: #d29922 }
.p0 { fill: #58a6ff } .p1 { fill: #3fb950 } .p2 { fill: #f0883e } .p3 { fill: #bc8cff } .p4 { fill: #f778ba } .p5 { fill: #d29922 }
}
</style>
`

// draw returns the plot as SVG, or "" when there is nothing to plot.
func draw(r *report) string {
	panels := slices.Concat(limitPanels(r), ledgerPanels(r), webhookPanels(r))
	panels = slices.DeleteFunc(panels, func(p panel) bool { return len(p.lines) == 0 })
	if len(panels) == 0 {
		return ""
	}
	var b strings.Builder
	for i, p := range panels {
		p.draw(&b, left+i%2*(panelWidth+right+left), top+i/2*(panelHeight+gap))
	}
	width, height := 2*(left+panelWidth+right), top+(len(panels)+1)/2*(panelHeight+gap)-24
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="The figures of the tables">`+"\n", width, height, width, height) +
		style + `<rect class="ground" width="100%" height="100%"/>` + "\n" + b.String() + "</svg>\n"
}

func limitPanels(r *report) []panel {
	var list []panel
	for _, store := range []struct {
		name, title, unit string
		factor            float64
	}{
		{"memory", "in memory", "ns", 1},
		{"redis", "in Redis", "µs", 1e-3},
	} {
		list = append(list,
			panel{"one decision " + store.title + ", " + store.unit, "keys", r.lines(store.name, "ns/op", store.factor)},
			panel{"state " + store.title + ", bytes a key", "keys", r.lines(store.name, "B/key", 1)})
	}
	return list
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
			if v, ok := r.median(stateName(store, keys, limits, "1"), unit); ok {
				s.add(keys, v*factor)
			}
		}
		if len(s.points) > 0 {
			list = append(list, s)
		}
	}
	return list
}

// draw draws p with its upper left corner at a place.
func (p panel) draw(b *strings.Builder, x, y int) {
	lines := p.lines
	low, high, most := math.Inf(1), 0.0, 0.0
	for _, s := range lines {
		for _, at := range s.points {
			low, high, most = min(low, math.Floor(math.Log10(at.x))), max(high, math.Ceil(math.Log10(at.x))), max(most, at.y)
		}
	}
	if high == low {
		high++
	}
	step := tick(most)
	ceiling := math.Ceil(most/step) * step
	across := func(n float64) float64 {
		return float64(x) + (math.Log10(n)-low)/(high-low)*panelWidth
	}
	up := func(v float64) float64 { return float64(y) + panelHeight*(1-v/ceiling) }

	fmt.Fprintf(b, `<text class="title" x="%d" y="%d">%s</text>`+"\n", x, y-14, p.title)
	for v := 0.0; v <= ceiling+step/2; v += step {
		fmt.Fprintf(b, `<line class="grid" x1="%d" y1="%.1f" x2="%d" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			x, up(v), x+panelWidth, up(v), x-8, up(v)+4, strconv.FormatFloat(v, 'f', -1, 64))
	}
	for power := low; power <= high; power++ {
		at := across(math.Pow(10, power))
		fmt.Fprintf(b, `<line class="axis" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/><text x="%.1f" y="%d" text-anchor="middle">10<tspan dy="-5" font-size="9">%.0f</tspan></text>`+"\n",
			at, y+panelHeight, at, y+panelHeight+5, at, y+panelHeight+20, power)
	}
	fmt.Fprintf(b, `<path class="axis" fill="none" d="M%d %dV%dH%d"/><text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n",
		x, y, y+panelHeight, x+panelWidth, x+panelWidth/2, y+panelHeight+38, p.across)
	names := apart(lines, up)
	for i, s := range lines {
		var path strings.Builder
		for k, to := range s.points {
			fmt.Fprintf(&path, "%c%.1f %.1f", "ML"[min(k, 1)], across(to.x), up(to.y))
		}
		fmt.Fprintf(b, `<path class="line s%d" d="%s"/>`, i%6, path.String())
		for _, at := range s.points {
			fmt.Fprintf(b, `<circle class="p%d" cx="%.1f" cy="%.1f" r="3"/>`, i%6, across(at.x), up(at.y))
		}
		end := s.points[len(s.points)-1]
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f">%s</text>`+"\n", across(end.x)+8, names[i]+4, s.label)
	}
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
