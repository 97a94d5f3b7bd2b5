package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keytoll/keytoll/internal/tools/doccode"
)

const rootModule = "github.com/keytoll/keytoll"

// allowed lists the packages outside of the standard library and this module
// that the root module may be built from, by path prefix. A line added here
// needs an argument.
var allowed = []string{
	// bcrypt and argon2 for imported keys, XChaCha20-Poly1305 for sealed secrets:
	// what the standard library lacks, from the same authors.
	"golang.org/x/crypto",
	"golang.org/x/sys/cpu", // of x/crypto
}

// A repo is the working tree that is checked.
type repo struct {
	root    string   // absolute
	modules []string // folders of the workspace's modules, relative to the root
}

func newRepo(ctx context.Context, root string) (*repo, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	// Follow links as the go command does, so that Rel below finds its way.
	if root, err = filepath.EvalSymlinks(root); err != nil {
		return nil, err
	}
	out, err := command{root, nil, []string{"go", "list", "-m", "-f", "{{.Dir}}"}}.output(ctx)
	if err != nil {
		return nil, errors.Join(errors.New(strings.TrimSpace(out)), err)
	}
	r := &repo{root: root}
	for dir := range strings.Lines(out) {
		rel, err := filepath.Rel(root, strings.TrimSpace(dir))
		if err != nil {
			return nil, err
		}
		r.modules = append(r.modules, rel)
	}
	return r, nil
}

func (r *repo) command(args ...string) command { return command{r.root, nil, args} }

// alone is a command inside of one module, as its users see it: without the
// workspace.
func (r *repo) alone(module string, args ...string) command {
	return command{filepath.Join(r.root, module), []string{"GOWORK=off"}, args}
}

// steps lists everything, the cheap and the telling first.
func (r *repo) steps() []step {
	steps := []step{
		{name: "gofmt", limit: time.Minute, run: func(ctx context.Context) tally {
			return silent(r.command("gofmt", "-s", "-l", ".").output(ctx))
		}},
		{name: "dependencies of the root module", limit: 2 * time.Minute, run: r.dependencies},
		{name: "go vet work", limit: 10 * time.Minute, run: func(ctx context.Context) tally {
			return verdict(r.command("go", "vet", "work").output(ctx))
		}},
		{name: "go test -race -shuffle=on -count=1 work", limit: 15 * time.Minute, run: r.command(
			"go", "test", "-race", "-p="+strconv.Itoa(lanes), "-shuffle=on", "-count=1", "-timeout=10m", "-json", "work").tests},
	}
	for _, m := range slices.Backward(r.modules) { // the stores, which wait for servers, first
		steps = append(steps, step{name: "alone: " + m, limit: 10 * time.Minute, beside: true, run: func(ctx context.Context) tally {
			return r.standsAlone(ctx, m)
		}})
	}
	steps = append(steps,
		step{name: "lint: build the pinned linter", limit: 10 * time.Minute, beside: true, run: func(ctx context.Context) tally {
			_, err := r.linter(ctx)
			return verdict("", err)
		}},
		step{name: "code in the documentation", limit: 5 * time.Minute, beside: true, run: r.documentation})
	for _, m := range r.modules {
		steps = append(steps, step{name: "go mod tidy: " + m, limit: 2 * time.Minute, beside: true, run: func(ctx context.Context) tally {
			return verdict(r.alone(m, "go", "mod", "tidy", "-diff").output(ctx))
		}})
	}
	for _, m := range r.modules {
		steps = append(steps, step{name: "lint: " + m, limit: 5 * time.Minute, beside: true, run: func(ctx context.Context) tally {
			return r.lint(ctx, m)
		}})
	}
	return steps
}

// standsAlone builds and tests one module without the workspace: vet has seen it in
// the workspace. Its tests were counted before, so all of this counts as one check.
func (r *repo) standsAlone(ctx context.Context, module string) tally {
	if out, err := r.alone(module, "go", "build", "./...").output(ctx); err != nil {
		return verdict(out, err)
	}
	tests := r.alone(module, "go", "test", "-count=1", "-timeout=5m", "-json", "./...").tests(ctx)
	if tests.failed > 0 {
		return tally{failed: 1, output: tests.output, again: tests.again}
	}
	return tally{passed: 1, again: tests.again}
}

// dependencies fails on every package that the root module is built from and
// that is neither its own, nor the standard library's, nor allowed.
func (r *repo) dependencies(ctx context.Context) tally {
	out, err := r.alone(".", "go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "./...").output(ctx)
	if err != nil {
		return verdict(out, err)
	}
	var foreign []string
	for path := range strings.Lines(out) {
		path = strings.TrimSpace(path)
		if !under(path, rootModule) && !anyUnder(path, allowed) {
			foreign = append(foreign, path+" is a dependency that the root module may not have")
		}
	}
	return silent(strings.Join(foreign, "\n"), nil)
}

func anyUnder(path string, prefixes []string) bool {
	for _, prefix := range prefixes {
		if under(path, prefix) {
			return true
		}
	}
	return false
}

func under(path, prefix string) bool {
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}

// documentation counts each page as one check.
func (r *repo) documentation(ctx context.Context) tally {
	checker, err := doccode.New(r.root)
	if err != nil {
		return verdict("", err)
	}
	pages, err := checker.Pages()
	if err != nil {
		return verdict("", err)
	}
	var t tally
	blocks := 0
	for _, page := range pages {
		faults, checked, err := checker.Check(ctx, page)
		blocks += checked
		one := silent(strings.Join(faults, "\n"), err)
		t.add(one)
		if one.failed > 0 {
			t.output += strings.TrimSpace(one.output) + "\n"
		}
	}
	t.note = fmt.Sprintf(": %d blocks on %d pages", blocks, len(pages))
	return t
}

// linter builds the pinned linter, once for each version, and returns its path.
func (r *repo) linter(ctx context.Context) (string, error) {
	out, err := r.alone("internal/tools/lint", "go", "tool", "-n", "golangci-lint").output(ctx)
	if err != nil {
		return "", errors.Join(errors.New(strings.TrimSpace(out)), err)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return lines[len(lines)-1], nil
}

// lint runs in the module's folder: the linter does not know the pattern work.
func (r *repo) lint(ctx context.Context, module string) tally {
	path, err := r.linter(ctx)
	if err != nil {
		return verdict("", err)
	}
	c := r.command(path, "run", "--allow-parallel-runners", "--config="+filepath.Join(r.root, ".golangci.yml"), "./...")
	c.dir = filepath.Join(r.root, module)
	return verdict(c.output(ctx))
}
