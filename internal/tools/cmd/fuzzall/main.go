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
	out, err := goCommand(ctx, append([]string{"list", "-f", "{{.Dir}}\t{{.ImportPath}}"}, patterns...)...).Output()
	if err != nil {
		return 0, err
	}
	targets := 0
	for line := range strings.Lines(string(out)) {
		dir, path, _ := strings.Cut(strings.TrimSpace(line), "\t")
		list := goCommand(ctx, "test", "-list", "^Fuzz", ".")
		list.Dir = dir
		names, err := list.Output()
		if err != nil {
			return failed, fmt.Errorf("%s: %w", path, err)
		}
		for name := range strings.FieldsSeq(string(names)) {
			if !strings.HasPrefix(name, "Fuzz") {
				continue
			}
			targets++
			run := goCommand(ctx, "test", "-run=^$", "-fuzz=^"+name+"$", "-fuzztime="+each.String(), ".")
			run.Dir = dir
			if text, err := run.CombinedOutput(); err != nil {
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

func goCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Stderr = os.Stderr
	return cmd
}
