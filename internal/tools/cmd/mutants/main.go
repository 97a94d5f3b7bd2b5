// Command mutants breaks files of a package, one place at a time, with the
// pinned gremlins, and shows what no test has noticed.
//
//	go run ./internal/tools/cmd/mutants [-budget 2h] [-json FILE] credits settle.go core.go ...
//
// Gremlins skips what the coverage of the tests does not name, and Go's names no
// condition of a case. So it works on a copy of the root module in which each
// "switch { case a: ... case b: ... }" is written as "if a { ... } else if b
// { ... }", line by line, so that positions stay what they are.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

func main() {
	budget := flag.Duration("budget", 2*time.Hour, "how long it may take in all")
	report := flag.String("json", "bin/mutants.json", "where each mutant's fate is written")
	flag.Parse()
	if flag.NArg() < 2 {
		fmt.Fprintln(os.Stderr, "mutants: give a package's folder and the files to break")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	ctx, cancel := context.WithTimeout(ctx, *budget)
	err := unleash(ctx, filepath.Clean(flag.Arg(0)), flag.Args()[1:], *report)
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func unleash(ctx context.Context, folder string, files []string, report string) error {
	report, err := filepath.Abs(report)
	if err != nil {
		return err
	}
	tool, err := output(ctx, "internal/tools/mutants", "go", "tool", "-n", "gremlins")
	if err != nil {
		return err
	}
	listed, err := output(ctx, ".", "git", "ls-files", "--cached", "--others", "--exclude-standard", "--", "go.mod", "go.sum", "*.go")
	if err != nil {
		return err
	}
	root, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(root) }()
	args := []string{
		"unleash", "./" + folder, "--workers=1", "--timeout-coefficient=8", "--invert-logical", "--invert-loopctrl", "--invert-assignments",
		"--remove-self-assignments", "--output=" + report,
	}
	for name := range strings.Lines(listed) {
		name = strings.TrimSpace(name)
		dir, base := filepath.Split(name)
		inside, mutate := strings.HasPrefix(name, folder+"/"), filepath.Clean(dir) == folder && slices.Contains(files, base)
		if inside && !mutate {
			args = append(args, "-E", "^"+regexp.QuoteMeta(strings.TrimPrefix(name, folder+"/"))+"$")
		}
		if err := copyFile(root, name, mutate); err != nil {
			return err
		}
	}
	cmd := exec.CommandContext(ctx, strings.TrimSpace(tool), args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = root, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-short -vet=off -count=1")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	return cmd.Run()
}

func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	cmd.Env = append(os.Environ(), "GOWORK=off")
	out, err := cmd.Output()
	return string(out), err
}

// copyFile copies a file of the root module, with its cases opened if it is one to
// break.
func copyFile(root, name string, mutate bool) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if mutate {
		text = []byte(openCases(string(text)))
	}
	to := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o644)
}

var switches = regexp.MustCompile(`^(\t*)switch (.*; )?\{( //.*)?$`)

// openCases writes each switch without a value in text, which gofmt has
// formatted, as a chain of ifs. One that has a break or a fallthrough stays.
func openCases(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		m := switches.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		end := i + slices.Index(lines[i:], m[1]+"}")
		if slices.ContainsFunc(lines[i:end], func(s string) bool {
			s = strings.TrimSpace(s)
			return s == "break" || s == "fallthrough"
		}) {
			continue
		}
		lines[i] = ""
		open, first := m[1]+"if "+m[2], true
		for j := i + 1; j < end; j++ {
			rest, isCase := strings.CutPrefix(lines[j], m[1]+"case ")
			switch colon := strings.LastIndex(before(rest, " //"), ":"); {
			case isCase:
				lines[j] = open + ors(rest[:colon]) + " {" + rest[colon+1:]
			case strings.HasPrefix(lines[j], m[1]+"default:") && first:
				lines[j] = open + "true {"
			case strings.HasPrefix(lines[j], m[1]+"default:"):
				lines[j] = m[1] + "} else {"
			default:
				continue
			}
			open, first = m[1]+"} else if ", false
		}
	}
	return strings.Join(lines, "\n")
}

func before(s, sep string) string {
	s, _, _ = strings.Cut(s, sep)
	return s
}

// ors joins the conditions of one case, which commas part.
func ors(list string) string {
	var parts []string
	depth, from := 0, 0
	for i, c := range list {
		switch c {
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			depth--
		case ',':
			if depth == 0 {
				parts = append(parts, "("+strings.TrimSpace(list[from:i])+")")
				from = i + 1
			}
		}
	}
	if parts == nil {
		return list
	}
	return strings.Join(append(parts, "("+strings.TrimSpace(list[from:])+")"), " || ")
}
