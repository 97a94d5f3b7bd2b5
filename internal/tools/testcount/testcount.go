// Package testcount reads the event stream of `go test -json` and says what
// really ran.
//
// # What is counted
//
//   - A test without subtests counts once. A test with subtests is not counted
//     beside them, unless it failed (or was skipped) by itself, after all of
//     them were well.
//   - A fuzz target counts once, however many seeds it has.
//   - A test that started and never ended (a panic, a timeout, an exit) failed.
//   - A package that failed without a failed test (it did not build, TestMain
//     exited, the process died) counts as one failure.
//   - A package without tests counts as nothing.
//
// # Concurrency
//
// A [Run] belongs to one goroutine.
package testcount

import (
	"bufio"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strings"
)

// An Outcome is one counted test.
type Outcome struct {
	Package string // import path
	Test    string // empty when the package failed without a failed test
	Text    string // a skipped test's reason or a failed one's output; else empty
}

// Name returns "package.Test", or the package alone.
func (o Outcome) Name() string {
	if o.Test == "" {
		return o.Package
	}
	return o.Package + "." + o.Test
}

// A Result is what one or more streams held, sorted by package and test.
type Result struct {
	Passed  []Outcome
	Failed  []Outcome
	Skipped []Outcome
}

// event is one line of the stream, as documented by `go doc test2json`, and
// the build events that `go help buildjson` documents.
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build-output and build-fail
	Test        string
	Output      string
	FailedBuild string
}

type name struct{ pkg, test string }

type test struct {
	action string // pass, fail, skip; empty: still running
	output strings.Builder
}

type pkg struct {
	failed      bool
	failedBuild string
	output      strings.Builder
}

// A Run gathers the events of any number of streams. Its zero value is ready.
type Run struct {
	tests  map[name]*test
	pkgs   map[string]*pkg
	builds map[string]*strings.Builder
	stray  strings.Builder
}

// Read takes in one stream to its end. Lines that are no events are kept for
// [Run.Stray]. Its error is the reader's.
func (r *Run) Read(stream io.Reader) error {
	if r.tests == nil {
		r.tests = map[name]*test{}
		r.pkgs = map[string]*pkg{}
		r.builds = map[string]*strings.Builder{}
	}
	lines := bufio.NewReader(stream)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			var e event
			if json.Unmarshal([]byte(line), &e) != nil || e.Action == "" {
				r.stray.WriteString(line)
			} else {
				r.add(e)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Stray returns what stood in the streams and was no event.
func (r *Run) Stray() string { return r.stray.String() }

func (r *Run) add(e event) {
	switch e.Action {
	case "build-output":
		if r.builds[e.ImportPath] == nil {
			r.builds[e.ImportPath] = &strings.Builder{}
		}
		r.builds[e.ImportPath].WriteString(e.Output)
		return
	case "build-fail":
		return // the package's own fail event names it in FailedBuild
	}
	p := r.pkgs[e.Package]
	if p == nil {
		p = &pkg{}
		r.pkgs[e.Package] = p
	}
	if e.Test == "" {
		switch e.Action {
		case "output":
			p.output.WriteString(e.Output)
		case "fail":
			p.failed, p.failedBuild = true, e.FailedBuild
		}
		return
	}
	id := name{e.Package, e.Test}
	t := r.tests[id]
	if t == nil {
		t = &test{}
		r.tests[id] = t
	}
	switch e.Action {
	case "output":
		t.output.WriteString(e.Output)
	case "pass", "fail", "skip":
		t.action = e.Action
	}
}

// Result counts what was read so far.
func (r *Run) Result() Result {
	var res Result
	failedIn := map[string]bool{}
	var above []name // failed parents whose failed subtest is still to come
	under := r.children()
	ids := slices.SortedFunc(maps.Keys(r.tests), func(a, b name) int {
		if c := strings.Compare(a.pkg, b.pkg); c != 0 {
			return c
		}
		return strings.Compare(a.test, b.test)
	})
	for _, id := range ids {
		t := r.tests[id]
		if inFuzz(id.test) {
			continue // its target speaks for it
		}
		kids := under[id]
		if kids == nil {
			kids = &offspring{}
		}
		switch {
		case t.action == "pass":
			if kids.n == 0 || kids.fuzz {
				res.Passed = append(res.Passed, Outcome{Package: id.pkg, Test: id.test})
			}
		case t.action == "skip":
			if kids.n == 0 || kids.fuzz || kids.skipped == 0 {
				res.Skipped = append(res.Skipped, Outcome{id.pkg, id.test, reason(t.output.String())})
			}
		case kids.failed > 0 && !kids.fuzz:
			// A subtest below is counted for it, and tells what it said: a
			// panic's text comes from the parent.
			failedIn[id.pkg] = true
			above = append(above, id)
		default:
			failedIn[id.pkg] = true
			var text strings.Builder
			text.WriteString(t.output.String() + kids.output.String())
			if t.action == "" {
				text.WriteString("the test started and never ended\n")
			}
			for len(above) > 0 {
				last := above[len(above)-1]
				if last.pkg == id.pkg && strings.HasPrefix(id.test, last.test+"/") {
					text.WriteString(r.tests[last].output.String())
				}
				above = above[:len(above)-1]
			}
			res.Failed = append(res.Failed, Outcome{id.pkg, id.test, text.String()})
		}
	}
	for _, path := range slices.Sorted(maps.Keys(r.pkgs)) {
		p := r.pkgs[path]
		if !p.failed {
			continue
		}
		if !failedIn[path] {
			text := p.output.String()
			if b := r.builds[p.failedBuild]; b != nil {
				text = b.String() + text
			}
			res.Failed = append(res.Failed, Outcome{Package: path, Text: text})
			continue
		}
		// A race or a panic may be told outside of any test: show it once.
		for i := range res.Failed {
			if res.Failed[i].Package == path {
				res.Failed[i].Text += p.output.String()
				break
			}
		}
	}
	return res
}

// offspring sums up what is below a test, at any depth.
type offspring struct {
	n, failed, skipped int
	fuzz               bool            // they are the seeds of a fuzz target
	output             strings.Builder // of failed seeds
}

func (r *Run) children() map[name]*offspring {
	under := map[name]*offspring{}
	for _, id := range slices.SortedFunc(maps.Keys(r.tests), func(a, b name) int { return strings.Compare(a.test, b.test) }) {
		t := r.tests[id]
		for up := id.test; ; {
			i := strings.LastIndexByte(up, '/')
			if i < 0 {
				break
			}
			up = up[:i]
			parent := name{id.pkg, up}
			if under[parent] == nil {
				under[parent] = &offspring{}
			}
			k := under[parent]
			k.n++
			k.fuzz = k.fuzz || inFuzz(id.test)
			switch t.action {
			case "fail", "":
				k.failed++
				if k.fuzz {
					k.output.WriteString(t.output.String())
				}
			case "skip":
				k.skipped++
			}
		}
	}
	return under
}

// inFuzz reports whether a test is a seed of a fuzz target.
func inFuzz(test string) bool {
	return strings.HasPrefix(test, "Fuzz") && strings.Contains(test, "/")
}

// reason picks what a test said before it was skipped.
func reason(output string) string {
	var said []string
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "=== ") || strings.HasPrefix(line, "--- ") {
			continue
		}
		said = append(said, line)
	}
	return strings.Join(said, " ")
}
