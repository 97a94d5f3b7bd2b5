package main

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A report is what one or more runs of the benchmarks printed.
type report struct {
	cpu   string
	cores string
	// figures are the values of all runs, by "Limit/keys=1/limits=1/..." and unit.
	figures map[figure][]float64
	order   []string // the names as they came
}

type figure struct{ name, unit string }

var line = regexp.MustCompile(`^Benchmark(\S+?)(?:-(\d+))?\s+\d+\s+(.*)$`)

// parse reads the output of go test -bench. Lines that are no figures are
// skipped; a failed run is an error.
func parse(in io.Reader) (*report, error) {
	r := &report{figures: make(map[figure][]float64)}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		text := lines.Text()
		if cpu, ok := strings.CutPrefix(text, "cpu: "); ok {
			r.cpu = cpu
		}
		if strings.HasPrefix(text, "--- FAIL") || text == "FAIL" || strings.HasPrefix(text, "FAIL\t") {
			return nil, fmt.Errorf("the run failed: %s", text)
		}
		m := line.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		r.cores = m[2]
		if !slices.Contains(r.order, m[1]) {
			r.order = append(r.order, m[1])
		}
		words := strings.Fields(m[3])
		for i := 0; i+1 < len(words); i += 2 {
			v, err := strconv.ParseFloat(words[i], 64)
			if err != nil {
				return nil, fmt.Errorf("%q is no figure in: %s", words[i], text)
			}
			f := figure{m[1], words[i+1]}
			r.figures[f] = append(r.figures[f], v)
		}
	}
	return r, lines.Err()
}

// median returns the middle figure, the lower one of two, and whether there is
// one.
func (r *report) median(name, unit string) (float64, bool) {
	all := slices.Sorted(slices.Values(r.figures[figure{name, unit}]))
	if len(all) == 0 {
		return 0, false
	}
	return all[(len(all)-1)/2], true
}

// values returns what the names that begin with bench have for a part, in the
// order of the run: for "peer" all peers.
func (r *report) values(bench, part string) []string {
	var found []string
	for _, name := range r.order {
		parts := strings.Split(name, "/")
		if parts[0] != bench {
			continue
		}
		for _, p := range parts[1:] {
			if v, ok := strings.CutPrefix(p, part+"="); ok && !slices.Contains(found, v) {
				found = append(found, v)
			}
		}
	}
	return found
}
