package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/keytoll/keytoll/internal/tools/testcount"
)

// A step is one line of the report.
type step struct {
	name  string
	limit time.Duration // after which it is stopped and has failed
	run   func(context.Context) tally
	// beside says that it may run at the same time as one before or after it that says
	// so too: what waits for servers leaves the processors to another.
	beside bool
}

// A result is what a step came to.
type result struct {
	step
	tally

	took time.Duration
}

// result runs the step.
func (s step) result(ctx context.Context) result {
	start := time.Now()
	limited, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	r := result{step: s, tally: s.run(limited)}
	r.took = time.Since(start)
	if err := limited.Err(); err != nil && r.failed > 0 {
		r.output += fmt.Sprintf("\nstopped after %s: %v\n", r.took.Round(time.Second), err)
	}
	return r
}

// lanes is how many steps run at the same time: one more than CI has processors, since
// some of them wait.
const lanes = 3

// together runs steps, some at a time, and yields what they came to in their order.
func together(ctx context.Context, steps []step) iter.Seq[result] {
	return func(yield func(result) bool) {
		results := make([]chan result, len(steps))
		for i := range results {
			results[i] = make(chan result, 1)
		}
		var next atomic.Int64
		for range min(lanes, len(steps)) {
			go func() {
				for i := next.Add(1) - 1; i < int64(len(steps)); i = next.Add(1) - 1 {
					results[i] <- steps[i].result(ctx)
				}
			}()
		}
		for _, r := range results {
			if !yield(<-r) {
				return
			}
		}
	}
}

// A tally is what a step, or all of them, came to.
type tally struct {
	passed, failed, skipped int
	output                  string // shown when something failed
	note                    string // stands behind the step's name
	skips                   []testcount.Outcome
	again                   []testcount.Outcome // passed in a second run, not counted in passed
}

func (t *tally) add(u tally) {
	t.passed += u.passed
	t.failed += u.failed
	t.skipped += u.skipped
	t.skips = append(t.skips, u.skips...)
	t.again = append(t.again, u.again...)
}

// settle counts as passed what one run skipped and another passed: a test of
// allocations, say, that the race detector would spoil.
func (t *tally) settle() {
	passed := map[string]bool{}
	for _, o := range t.again {
		passed[o.Name()] = true
	}
	t.skips = slices.DeleteFunc(t.skips, func(o testcount.Outcome) bool {
		if !passed[o.Name()] {
			return false
		}
		t.skipped--
		t.passed++
		return true
	})
}

// verdict is the tally of a check that counts as one: it failed if there is an
// error, or if it may not say anything and did.
func verdict(output string, err error) tally {
	if err != nil {
		return tally{failed: 1, output: output + "\n" + err.Error()}
	}
	return tally{passed: 1}
}

// silent is like verdict for a command whose every output is a fault.
func silent(output string, err error) tally {
	if err == nil && strings.TrimSpace(output) != "" {
		return tally{failed: 1, output: output}
	}
	return verdict(output, err)
}

// A command is a process to run, with its group stopped when the context ends.
type command struct {
	dir  string
	env  []string // beside the process's own
	args []string
}

func (c command) start(ctx context.Context, stdout, stderr io.Writer) error {
	cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), c.env...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // go test has children of its own
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	return cmd.Run()
}

// output runs the command and returns what it printed on both outputs.
func (c command) output(ctx context.Context) (string, error) {
	var out bytes.Buffer
	err := c.start(ctx, &out, &out)
	if err != nil {
		err = fmt.Errorf("%s %s: %w", filepath.Base(c.args[0]), strings.Join(c.args[1:], " "), err)
	}
	return out.String(), err
}

// tests runs a `go test -json` command and counts what ran.
func (c command) tests(ctx context.Context) tally {
	var out, errs bytes.Buffer
	err := c.start(ctx, &out, &errs)
	var run testcount.Run
	if readErr := run.Read(&out); readErr != nil {
		return verdict(errs.String(), readErr)
	}
	return count(run.Result(), run.Stray()+errs.String(), err)
}

// count turns a result into a tally. A command that failed although no test
// did counts as one failure, so that nothing is lost.
func count(res testcount.Result, beside string, err error) tally {
	t := tally{passed: len(res.Passed), failed: len(res.Failed), skipped: len(res.Skipped), skips: res.Skipped, again: res.Passed}
	var text strings.Builder
	for _, f := range res.Failed {
		fmt.Fprintf(&text, "FAILED %s\n%s", f.Name(), f.Text)
	}
	if err != nil && t.failed == 0 {
		t.failed = 1
		fmt.Fprintf(&text, "the command failed although no test did: %v\n", err)
	}
	text.WriteString(beside)
	t.output = text.String()
	t.note = fmt.Sprintf(": %d passed, %d failed, %d skipped", t.passed, t.failed, t.skipped)
	return t
}
