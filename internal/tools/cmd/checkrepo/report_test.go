package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keytoll/keytoll/internal/tools/testcount"
)

func fixed(name string, t tally) step {
	return step{name: name, limit: time.Minute, run: func(context.Context) tally { return t }}
}

func TestReport(t *testing.T) {
	good := fixed("good", tally{passed: 3, skipped: 1, skips: []testcount.Outcome{{Package: "p", Test: "TestX", Text: "needs a server"}}, output: "chatter"})
	bad := fixed("bad", tally{passed: 1, failed: 2, output: "what went wrong\n\n"})
	for _, tc := range []struct {
		name  string
		steps []step
		only  string
		code  int
		last  string
		has   []string
		not   []string
	}{
		{"all well", []step{good}, "", 0, "3 passed, 0 failed, 1 skipped", []string{"ok ", "SKIPPED p.TestX: needs a server"}, []string{"chatter"}},
		{"one bad", []step{good, bad, good}, "", 1, "7 passed, 2 failed, 2 skipped", []string{"FAIL", "what went wrong"}, []string{"chatter"}},
		{"passed alone", []step{good, fixed("alone", tally{passed: 1, again: []testcount.Outcome{{Package: "p", Test: "TestX"}}})}, "", 0, "5 passed, 0 failed, 0 skipped", nil, []string{"SKIPPED"}},
		{"another passed alone", []step{good, fixed("alone", tally{passed: 1, again: []testcount.Outcome{{Package: "q", Test: "TestX"}}})}, "", 0, "4 passed, 0 failed, 1 skipped", []string{"SKIPPED"}, nil},
		{"skipped for nothing", []step{fixed("quiet", tally{skipped: 1, skips: []testcount.Outcome{{Package: "p", Test: "TestY"}}})}, "", 0, "0 passed, 0 failed, 1 skipped", []string{"SKIPPED p.TestY: it gives no reason"}, nil},
		{"only", []step{good, bad}, "goo", 0, "3 passed, 0 failed, 1 skipped", nil, []string{"FAIL"}},
		{"only nothing", []step{good}, "x", 1, "0 passed, 1 failed, 0 skipped", []string{`"x"`}, nil},
		{"no steps", nil, "", 1, "0 passed, 1 failed, 0 skipped", nil, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out strings.Builder
			if code := report(t.Context(), tc.steps, tc.only, &out); code != tc.code {
				t.Errorf("exit code %d, want %d", code, tc.code)
			}
			lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
			if last := lines[len(lines)-1]; last != tc.last {
				t.Errorf("last line %q, want %q", last, tc.last)
			}
			if n := strings.Count(out.String(), " passed, "); n != 1 {
				t.Errorf("%d lines count, want one:\n%s", n, out.String())
			}
			for _, s := range tc.has {
				if !strings.Contains(out.String(), s) {
					t.Errorf("%q is missing in\n%s", s, out.String())
				}
			}
			for _, s := range tc.not {
				if strings.Contains(out.String(), s) {
					t.Errorf("%q should not be in\n%s", s, out.String())
				}
			}
		})
	}
}

func TestReportStopsWhatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := step{name: "hangs", limit: time.Minute, run: func(ctx context.Context) tally {
			<-ctx.Done()
			return verdict("half of it", ctx.Err())
		}}
		var out strings.Builder
		if code := report(t.Context(), []step{hangs, fixed("after", tally{passed: 1})}, "", &out); code != 1 {
			t.Errorf("exit code %d, want 1", code)
		}
		for _, s := range []string{"half of it", "stopped after 1m0s", "1 passed, 1 failed, 0 skipped"} {
			if !strings.Contains(out.String(), s) {
				t.Errorf("%q is missing in\n%s", s, out.String())
			}
		}
	})
}

func TestReportWhenInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	stops := step{name: "stops", limit: time.Minute, run: func(context.Context) tally { cancel(); return tally{passed: 1} }}
	var out strings.Builder
	code := report(ctx, []step{stops, fixed("after", tally{passed: 5})}, "", &out)
	if code != 1 || !strings.HasSuffix(out.String(), "\n1 passed, 1 failed, 0 skipped\n") {
		t.Errorf("exit code %d\n%s", code, out.String())
	}
}

func TestCount(t *testing.T) {
	boom := errors.New("exit status 1")
	two := []testcount.Outcome{{Package: "p", Test: "A"}, {Package: "p", Test: "B"}}
	for name, tc := range map[string]struct {
		res  testcount.Result
		err  error
		want tally
		says string
	}{
		"well":              {testcount.Result{Passed: two}, nil, tally{passed: 2}, ""},
		"a failure":         {testcount.Result{Passed: two, Failed: []testcount.Outcome{{Package: "p", Test: "T", Text: "why\n"}}}, boom, tally{passed: 2, failed: 1}, "FAILED p.T\nwhy"},
		"failed without":    {testcount.Result{Passed: two}, boom, tally{passed: 2, failed: 1}, "exit status 1"},
		"failed for nobody": {testcount.Result{}, boom, tally{failed: 1}, "beside"},
	} {
		t.Run(name, func(t *testing.T) {
			got := count(tc.res, "beside", tc.err)
			if got.passed != tc.want.passed || got.failed != tc.want.failed || got.skipped != tc.want.skipped {
				t.Errorf("got %d, %d, %d; want %+v", got.passed, got.failed, got.skipped, tc.want)
			}
			if !strings.Contains(got.output, tc.says) {
				t.Errorf("output %q does not say %q", got.output, tc.says)
			}
		})
	}
}

func TestVerdicts(t *testing.T) {
	for name, tc := range map[string]struct {
		got    tally
		failed int
	}{
		"verdict well":    {verdict("chatter", nil), 0},
		"verdict failed":  {verdict("", errors.New("no")), 1},
		"silent well":     {silent(" \n", nil), 0},
		"silent told":     {silent("file.go\n", nil), 1},
		"silent failed":   {silent("", errors.New("no")), 1},
		"both are faults": {silent("file.go\n", errors.New("no")), 1},
	} {
		if tc.got.failed != tc.failed || tc.got.passed != 1-tc.failed {
			t.Errorf("%s: %+v", name, tc.got)
		}
	}
}

func TestWrongCalls(t *testing.T) {
	for _, args := range [][]string{{"-nope"}, {"argument"}, {"-root", t.TempDir() + "/none"}} {
		var out, errs strings.Builder
		if code := cli(t.Context(), args, &out, &errs); code != 2 || errs.Len() == 0 || out.Len() > 0 {
			t.Errorf("%q: exit code %d, %q on standard error", args, code, errs.String())
		}
	}
}

func TestCommandStopsItsChildren(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	// The shell's child holds the output open; killing the shell alone would wait for it.
	_, err := command{dir: t.TempDir(), args: []string{"sh", "-c", "sleep 60 & wait"}}.output(ctx)
	if err == nil || time.Since(began) > 5*time.Second {
		t.Errorf("err %v after %s", err, time.Since(began))
	}
}

func TestUnder(t *testing.T) {
	for path, want := range map[string]bool{rootModule: true, rootModule + "/errors": true, rootModule + "x": false, "example.com": false} {
		if under(path, rootModule) != want {
			t.Errorf("under(%q) is not %t", path, want)
		}
	}
}

// Steps that may run beside each other do, two at a time, and are told in order.
func TestStepsBesideEachOtherAreToldInOrder(t *testing.T) {
	began := make(chan struct{})
	waits := step{name: "waits", limit: time.Minute, beside: true, run: func(ctx context.Context) tally {
		select {
		case <-began:
			return tally{passed: 1}
		case <-ctx.Done():
			return tally{failed: 1}
		}
	}}
	begins := step{name: "begins", limit: time.Minute, beside: true, run: func(context.Context) tally {
		close(began)
		return tally{passed: 1}
	}}
	alone := step{name: "alone", limit: time.Minute, run: func(context.Context) tally { return tally{passed: 1} }}
	var out strings.Builder
	if code := report(t.Context(), []step{alone, waits, begins, alone}, "", &out); code != 0 {
		t.Errorf("exit code %d", code)
	}
	var names []string
	for line := range strings.Lines(out.String()) {
		if fields := strings.Fields(line); fields[0] == "ok" {
			names = append(names, fields[2])
		}
	}
	if got := strings.Join(names, " "); got != "alone waits begins alone" {
		t.Errorf("told in the order %q", got)
	}
}
