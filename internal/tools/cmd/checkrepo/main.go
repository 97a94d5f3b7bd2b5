// Command checkrepo holds the whole repository to its rules: format, vet,
// lint, tests under the race detector, every module alone, tidiness, the
// dependencies of the root module, and the code in the documentation.
//
//	go run ./internal/tools/cmd/checkrepo [-only WORD] [-root DIR]
//
// It prints one line for each step with the time it took, the whole output of
// steps that failed, every skipped test with its reason, and as its last line
//
//	N passed, N failed, N skipped
//
// which counts the tests that ran (package testcount says how) and each check
// beside them as one. It exits 0 when nothing failed, 1 when something did and
// 2 when it was called wrongly.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func cli(ctx context.Context, args []string, out, errs io.Writer) int {
	flags := flag.NewFlagSet("checkrepo", flag.ContinueOnError)
	flags.SetOutput(errs)
	root := flags.String("root", ".", "the repository's top `folder`")
	only := flags.String("only", "", "run only the steps whose name holds this `word`")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(errs, "checkrepo: it takes no arguments, only flags; got %q\n", flags.Args())
		return 2
	}
	r, err := newRepo(ctx, *root)
	if err != nil {
		fmt.Fprintln(errs, "checkrepo:", err)
		return 2
	}
	return report(ctx, r.steps(), *only, out)
}

// report runs the steps in order, tells about each, and returns the exit code.
func report(ctx context.Context, steps []step, only string, out io.Writer) int {
	steps = slices.DeleteFunc(slices.Clone(steps), func(s step) bool { return !strings.Contains(s.name, only) })
	var sum tally
	began := time.Now()
	for len(steps) > 0 && ctx.Err() == nil {
		n := 1
		for n < len(steps) && steps[n-1].beside && steps[n].beside {
			n++
		}
		for result := range together(ctx, steps[:n]) {
			verdict := "ok  "
			if result.failed > 0 {
				verdict = "FAIL"
			}
			fmt.Fprintf(out, "%s %7.1fs  %s%s\n", verdict, result.took.Seconds(), result.name, result.note)
			if result.failed > 0 {
				fmt.Fprintf(out, "%s\n", strings.TrimRight(result.output, "\n"))
			}
			sum.add(result.tally)
		}
		steps = steps[n:]
	}
	if ctx.Err() != nil {
		fmt.Fprintln(out, "interrupted; the steps after this one did not run")
		sum.failed++
	}
	sum.settle()
	for _, o := range sum.skips {
		fmt.Fprintf(out, "SKIPPED %s: %s\n", o.Name(), cmp.Or(o.Text, "it gives no reason"))
	}
	if sum.passed+sum.failed+sum.skipped == 0 {
		fmt.Fprintf(out, "no step's name holds %q\n", only)
		sum.failed++
	}
	fmt.Fprintf(out, "all of it took %s\n", time.Since(began).Round(time.Second))
	fmt.Fprintf(out, "%d passed, %d failed, %d skipped\n", sum.passed, sum.failed, sum.skipped)
	if sum.failed > 0 {
		return 1
	}
	return 0
}
