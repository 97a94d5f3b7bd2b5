// Command lintproof shows that the linter's rules bite. It builds a skeleton of
// the repository's packages in a temporary folder, with this repository's own
// .golangci.yml, plants one violation in a file, and expects the linter to find
// exactly that; where the design allows a thing, it plants that and expects no
// finding.
//
//	go run ./internal/tools/cmd/lintproof [-root DIR] [-v]
//
// It exits 1 when a rule missed its violation or fired on what is allowed.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
)

const module = "github.com/keytoll/keytoll"

func main() {
	root := flag.String("root", ".", "the repository's top `folder`")
	verbose := flag.Bool("v", false, "print every plant, not only the wrong ones")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	wrong, err := prove(ctx, *root, plants(), *verbose)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "lintproof:", err)
		os.Exit(2)
	}
	if wrong > 0 {
		os.Exit(1)
	}
}

// A plant is one file and what the linter must say about it.
type plant struct {
	dir, name string // folder and file name in the skeleton
	source    string
	want      string // the linter that must fire; empty: none may
	says      string // stands in the finding
}

func (p plant) path() string { return filepath.Join(p.dir, p.name) }

// prove lints each package's plants in one run and compares. A run holds one
// package's plants only: two packages that import each other would not compile.
func prove(ctx context.Context, root string, all []plant, verbose bool) (wrong int, err error) {
	linter, err := build(ctx, root)
	if err != nil {
		return 0, err
	}
	byDir := map[string][]plant{}
	for _, p := range all {
		byDir[p.dir] = append(byDir[p.dir], p)
	}
	for _, dir := range slices.Sorted(maps.Keys(byDir)) {
		found, err := lint(ctx, root, linter, dir, byDir[dir])
		if err != nil {
			return wrong, fmt.Errorf("%s: %w", dir, err)
		}
		for _, p := range byDir[dir] {
			got := found[p.path()]
			fault := judge(p, got)
			if fault != "" {
				wrong++
				fmt.Printf("WRONG %s: %s\n%s\n", p.path(), fault, p.source)
			} else if verbose {
				fmt.Printf("right %s: %s\n", p.path(), cmp.Or(p.want, "nothing, as it should"))
			}
		}
	}
	fmt.Printf("%d plants, %d wrong\n", len(all), wrong)
	return wrong, nil
}

// judge returns what is wrong with the findings in a plant's file.
func judge(p plant, got []finding) string {
	if p.want == "" {
		// A plant is no model of style: only what the design forbids counts.
		for _, f := range got {
			if f.FromLinter == "depguard" || f.FromLinter == "forbidigo" || f.FromLinter == "gochecknoglobals" {
				return fmt.Sprintf("it is allowed, and yet: %v", f)
			}
		}
		return ""
	}
	for _, f := range got {
		if f.FromLinter == p.want && strings.Contains(f.Text, p.says) {
			return ""
		}
	}
	return fmt.Sprintf("%s should say %q; found %v", p.want, p.says, got)
}

type finding struct {
	FromLinter, Text string
	Pos              struct{ Filename string }
}

func (f finding) String() string { return f.FromLinter + ": " + f.Text }

// lint makes a skeleton with these plants in it and returns the findings by
// file.
func lint(ctx context.Context, root, linter, dir string, plants []plant) (map[string][]finding, error) {
	top, err := os.MkdirTemp("", "lintproof")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(top)
	if err := skeleton(root, top); err != nil {
		return nil, err
	}
	for _, p := range plants {
		if err := os.WriteFile(filepath.Join(top, p.path()), []byte(p.source), 0o600); err != nil {
			return nil, err
		}
	}
	report := filepath.Join(top, "report.json")
	cmd := exec.CommandContext(ctx, linter, "run", "--allow-parallel-runners", "--config="+filepath.Join(top, ".golangci.yml"),
		"--output.text.path=/dev/null", "--output.json.path="+report, ".")
	cmd.Dir = filepath.Join(top, dir)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if exit, failed := errors.AsType[*exec.ExitError](cmd.Run()); failed && exit.ExitCode() != 1 { // 1: there are findings
		return nil, fmt.Errorf("the linter exited %d: %s", exit.ExitCode(), out.String())
	}
	text, err := os.ReadFile(report)
	if err != nil {
		return nil, err
	}
	var all struct{ Issues []finding }
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, err
	}
	found := map[string][]finding{}
	for _, f := range all.Issues {
		if f.FromLinter == "typecheck" {
			return nil, fmt.Errorf("a plant does not compile, so that no linter looked at it: %s: %s", f.Pos.Filename, f.Text)
		}
		// The linter names files relative to its configuration.
		found[f.Pos.Filename] = append(found[f.Pos.Filename], f)
	}
	return found, nil
}

// build returns the path of the pinned linter.
func build(ctx context.Context, root string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "tool", "-n", "golangci-lint")
	cmd.Dir = filepath.Join(root, "internal", "tools", "lint")
	cmd.Env = append(os.Environ(), "GOWORK=off")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
}

// packages of the skeleton that are no modules.
var packages = []string{
	"errors", "scopes",
	"apikey", "apikey/apikeytest", "apikey/legacy", "ratelimit", "ratelimit/ratelimittest",
	"credits", "credits/creditstest", "webhook", "webhook/webhooktest",
	"middleware", "middleware/clientip", "middleware/idempotency", "middleware/idempotency/idempotencytest", "middleware/management", "middleware/middlewaretest", "middleware/rpcgate", "middleware/secretscan", "middleware/selfservice", "internal/part", "newcomer",
	"stores/pgstore/pgtest", "stores/redisstore/redistest",
}

// drivers, digests and a test framework, by folder: modules of the same paths, with
// nothing in them.
var foreign = map[string]string{
	"foreign/sqlite":    "modernc.org/sqlite",
	"foreign/pgx":       "github.com/jackc/pgx/v5",
	"foreign/redis":     "github.com/redis/go-redis/v9",
	"foreign/rueidis":   "github.com/redis/rueidis",
	"foreign/otel":      "go.opentelemetry.io/otel",
	"foreign/grpc":      "google.golang.org/grpc",
	"foreign/connect":   "connectrpc.com/connect",
	"foreign/protobuf":  "google.golang.org/protobuf",
	"foreign/porcupine": "github.com/anishathalye/porcupine",
	"foreign/openapi":   "github.com/pb33f/libopenapi",
	"foreign/crypto":    "golang.org/x/crypto",
	"foreign/testify":   "github.com/stretchr/testify",
}

// modules of the skeleton beside the root's.
var modules = []string{
	"middleware/connectgate", "middleware/grpcgate", "middleware/otelgate",
	"stores/sqlitestore", "stores/pgstore", "stores/redisstore", "stores/redisstore/rueidisclient", "examples/program", "internal/tools", "internal/benchcmp", "internal/proof",
}

func skeleton(root, top string) error {
	config, err := os.ReadFile(filepath.Join(root, ".golangci.yml"))
	if err != nil {
		return err
	}
	files := map[string]string{
		".golangci.yml": string(config),
		"go.mod":        "module " + module + "\n\ngo 1.26\n",
		"go.work":       "go 1.26\n\nuse (\n\t.\n\t./" + strings.Join(slices.Concat(modules, slices.Collect(maps.Keys(foreign))), "\n\t./") + "\n)\n",
	}
	for dir, path := range foreign {
		files[dir+"/go.mod"] = "module " + path + "\n\ngo 1.26\n"
		files[dir+"/doc.go"] = "package " + filepath.Base(dir) + "\n"
	}
	for _, m := range modules {
		files[m+"/go.mod"] = "module " + module + "/" + m + "\n\ngo 1.26\n"
	}
	for _, dir := range slices.Concat(packages, modules) {
		name := filepath.Base(dir)
		files[dir+"/doc.go"] = "// Package " + name + " is empty.\npackage " + name + "\n"
	}
	for path, text := range files {
		path = filepath.Join(top, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}
