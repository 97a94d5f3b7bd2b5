// Command fuzzall runs every fuzz target of the workspace, one after the other,
// each for a short while.
//
//	go run ./internal/tools/cmd/fuzzall [-time 10s] [PATTERN...]
//
// Patterns are the go command's; without one it is work, every module of the
// workspace. It exits 1 after all targets ran if one of them failed; the go
// command has then kept the input that did it in the package's testdata/fuzz.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"time"
)

func main() {
	each := flag.Duration("time", 10*time.Second, "how long to run each target")
	flag.Parse()
	patterns := flag.Args()
	if len(patterns) == 0 {
		patterns = []string{"work"}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	failed, err := fuzz(ctx, *each, patterns)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fuzzall:", err)
		os.Exit(2)
	}
	if failed > 0 {
		os.Exit(1)
	}
}

func fuzz(ctx context.Context, each time.Duration, patterns []string) (failed int, err error) {
	packages, err := goOutput(ctx, ".", append([]string{"list", "-f", "{{.Dir}}\t{{.ImportPath}}"}, patterns...)...)
	if err != nil {
		return 0, err
	}
	targets := 0
	for line := range strings.Lines(packages) {
		dir, path, _ := strings.Cut(strings.TrimSpace(line), "\t")
		names, err := goOutput(ctx, dir, "test", "-list", "^Fuzz", ".")
		if err != nil {
			return failed, fmt.Errorf("%s: %w", path, err)
		}
		for name := range strings.FieldsSeq(names) {
			if !strings.HasPrefix(name, "Fuzz") {
				continue // the closing line
			}
			targets++
			// What a failing input did is on standard output.
			text, err := goOutput(ctx, dir, "test", "-run=^$", "-fuzz=^"+name+"$", "-fuzztime="+each.String(), ".")
			if err != nil {
				failed++
				fmt.Printf("FAIL %s %s\n%s", path, name, text)
			} else {
				fmt.Printf("ok   %s %s\n", path, name)
			}
			if ctx.Err() != nil {
				return failed, ctx.Err()
			}
		}
	}
	fmt.Printf("%d targets, %d failed\n", targets, failed)
	return failed, nil
}

// goOutput returns what a go command printed; what it complained of is shown.
func goOutput(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	return string(out), err
}
