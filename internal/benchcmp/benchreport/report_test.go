package main

import (
	"bytes"
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/errors"
)

const output = `goos: linux
cpu: Some CPU
BenchmarkLimit/keys=1/limits=1/peer=floor/mode=serial-2    	1000	  10.0 ns/op	0 B/op	0 allocs/op
BenchmarkLimit/keys=1/limits=1/peer=keytoll/mode=serial-2  	1000	  60.0 ns/op	0 B/op	0 allocs/op
BenchmarkLimit/keys=1/limits=1/peer=slow/mode=serial-2     	1000	  200 ns/op	0 B/op	2 allocs/op
BenchmarkLimit/keys=1/limits=1/peer=quick/mode=serial-2    	1000	  100 ns/op	0 B/op	0 allocs/op
BenchmarkLimit/keys=1/limits=1/peer=quick/mode=serial-2    	1000	  900 ns/op	0 B/op	0 allocs/op
BenchmarkLimit/keys=1/limits=1/peer=quick/mode=serial-2    	1000	  120 ns/op	0 B/op	0 allocs/op
BenchmarkLimit/keys=1/limits=1/peer=httprate/mode=serial-2 	1000	  20 ns/op	0 B/op	0 allocs/op
BenchmarkRedis/keys=10000/limits=1/peer=floor-ping-goredis/callers=64-2  1	1 ns/op	900000 ops/s
BenchmarkRedis/keys=10000/limits=1/peer=keytoll-goredis/callers=64-2  1	10000 ns/op	100000 ops/s
BenchmarkRedis/keys=10000/limits=3/peer=keytoll-goredis/callers=64-2  1	11111 ns/op	 90000 ops/s
BenchmarkRedis/keys=10000/limits=1/peer=other-goredis/callers=64-2    1	12500 ns/op	 80000 ops/s
BenchmarkRedis/keys=10000/limits=3/peer=other-goredis/callers=64-2    1	33333 ns/op	 30000 ops/s
BenchmarkRedis/keys=10000/limits=1/peer=fast-rueidis/callers=64-2     1	 5000 ns/op	200000 ops/s
BenchmarkState/store=memory/keys=10000/limits=1/callers=1-2  	1	 100 ns/op	 40 B/key
BenchmarkState/store=memory/keys=10000/limits=8/callers=1-2  	1	 800 ns/op	320 B/key
BenchmarkState/store=memory/keys=1000000/limits=1/callers=1-2	1	 150 ns/op	 41 B/key
BenchmarkState/store=memory/keys=1000000/limits=8/callers=1-2	1	1234 ns/op	330 B/key
PASS
`

func measured(t *testing.T) *report {
	t.Helper()
	r, err := parse(strings.NewReader(output))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTablesTellTheMediansOfTheRun(t *testing.T) {
	all := ""
	for _, table := range tables(measured(t)) {
		all += table.name + "\n" + table.text
	}
	for _, want := range []string{
		"| **keytoll** | 60 ns | – |",
		"| quick | 120 ns | – |",
		"| one limit, hot key, against quick | 60 ns | 120 ns | 0.50 | at most 0.8 |",
		"| goredis, 64 callers of 10^4 keys: one limit against other-goredis | 100k/s | 80k/s | 1.25 | at least 1.0 |",
		"| goredis, 64 callers of 10^4 keys: three limits against one | 90k/s | 100k/s | 0.90 | at least 0.8 |",
		"| goredis, 64 callers of 10^4 keys: three limits against three calls of other-goredis | 90k/s | 30k/s | 3.00 | at least 2 |",
		"| keys | 1 limit | 8 limits |",
		"| 10^6, bytes a key | 41 | 330 |",
		"| 10^6, a decision | 150 ns | 1,234 ns |",
		"2 cores of Some CPU",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
	for _, unwanted := range []string{"memory three", "state redis", "rueidis, "} {
		if strings.Contains(all, unwanted) {
			t.Errorf("%q, of which there is no figure, in\n%s", unwanted, all)
		}
	}
}

func TestPageGetsItsTables(t *testing.T) {
	list := []table{{"one", "| 1 |\n"}, {"two", "| 2 |\n"}}
	page := "a\n<!-- one -->\nold\n<!-- end -->\nb\n<!-- two -->\n<!-- end -->\nc\n"
	const want = "a\n<!-- one -->\n\n| 1 |\n\n<!-- end -->\nb\n<!-- two -->\n\n| 2 |\n\n<!-- end -->\nc\n"
	for range 2 { // the second time changes nothing
		var err error
		if page, err = replace(page, list); err != nil || page != want {
			t.Fatalf("%q, %v; want %q", page, err, want)
		}
	}
	for _, broken := range []string{"a\n<!-- one -->\n<!-- end -->\n", "<!-- one -->\n<!-- two -->\nc\n"} {
		if _, err := replace(broken, list); err == nil {
			t.Errorf("%q is taken", broken)
		}
	}
}

func TestPlotIsXMLWithALineForEachNumberOfLimits(t *testing.T) {
	svg := draw(measured(t))
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
	}
	if got := strings.Count(svg, `<path class="line`); got != 4 { // two panels
		t.Errorf("%d lines, want 4, in\n%s", got, svg)
	}
	if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
		t.Errorf("a place that is no number in\n%s", svg)
	}
}

func TestRunWritesWhatItIsTold(t *testing.T) {
	dir := t.TempDir()
	figures, page, plot := filepath.Join(dir, "in"), filepath.Join(dir, "page"), filepath.Join(dir, "plot")
	write(t, figures, "BenchmarkState/store=memory/keys=10000/limits=1/callers=1-2 1 100 ns/op 40 B/key\n")
	write(t, page, "<!-- state memory -->\n<!-- end -->\n<!-- machine -->\n<!-- end -->\n")
	if err := run(page, plot, []string{figures}, io.Discard); err != nil {
		t.Fatal(err)
	}
	if got := read(t, page); !strings.Contains(got, "| 10^4, a decision | 100 ns |") {
		t.Errorf("the page is %q", got)
	}
	if got := read(t, plot); !strings.Contains(got, "</svg>") {
		t.Errorf("the plot is %q", got)
	}
	var printed bytes.Buffer
	if err := run("", "", []string{figures}, &printed); err != nil || !strings.Contains(printed.String(), "state memory") {
		t.Errorf("printed %q, %v", printed.String(), err)
	}
}

func TestRunRefuses(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"nothing":      "PASS\n",
		"a failed run": output + "FAIL\tgithub.com/keytoll/keytoll/internal/benchcmp\t1s\n",
		"no figure":    "BenchmarkState/store=memory/keys=1/limits=1/callers=1-2 1 much ns/op\n",
	} {
		figures := filepath.Join(dir, "in")
		write(t, figures, text)
		if err := run("", "", []string{figures}, io.Discard); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if err := run("", "", nil, io.Discard); err == nil {
		t.Error("no file is taken")
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
