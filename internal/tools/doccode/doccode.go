// Package doccode holds documentation to the code: what a reader copies from a
// Markdown page must exist.
//
// # The rule
//
// Every fenced block that is tagged go must
//
//   - begin with a package clause and build as a file of its own, or
//   - stand, line by line, in one Go file of the repository. Indentation,
//     blank lines and runs of blanks do not count. A line that is only "..."
//     or "// ..." stands for any lines between two parts, which must follow
//     each other in that one file.
//
// In every fenced block that is tagged sh,
//
//   - `make X` needs a target X in the Makefile, and
//   - `go run ./X` needs a folder X with a main package whose -h names every
//     flag that the command uses, and `go VERB ./X` for other verbs a folder X
//     with Go files.
//
// Other commands (git, curl, cd) are not looked at. Relative links and the
// images of a page must exist, too, and so must every test, benchmark, example
// and fuzz target that it names in backquotes (`TestX`). Blocks without a tag,
// or with another one, are not code to copy and are not looked at.
package doccode

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A Block is one fenced block of a page.
type Block struct {
	Lang string // the first word after the fence
	Line int    // of its first line of content, from 1
	Text string
}

// Blocks returns the fenced blocks of a Markdown page. An unclosed fence runs
// to the end of the page, as it does when it is rendered.
func Blocks(page string) []Block {
	var blocks []Block
	var open *Block
	var fence string
	n := 0
	for line := range strings.Lines(page) {
		n++
		trimmed := strings.TrimSpace(line)
		switch {
		case open == nil && (strings.HasPrefix(trimmed, "```") || strings.HasPrefix(trimmed, "~~~")):
			fence = trimmed[:len(trimmed)-len(strings.TrimLeft(trimmed, trimmed[:1]))]
			lang, _, _ := strings.Cut(strings.TrimSpace(trimmed[len(fence):]), " ")
			open = &Block{Lang: lang, Line: n + 1}
		case open != nil && strings.HasPrefix(trimmed, fence) && strings.Trim(trimmed, fence[:1]) == "":
			blocks = append(blocks, *open)
			open = nil
		case open != nil:
			open.Text += line
		}
	}
	if open != nil {
		blocks = append(blocks, *open)
	}
	return blocks
}

// normal returns the lines of code that count, each without indentation and
// with single blanks.
func normal(code string) []string {
	var lines []string
	for line := range strings.Lines(code) {
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// parts cuts a block's lines at its elisions.
func parts(lines []string) [][]string {
	var all [][]string
	var part []string
	for _, line := range append(lines, "...") {
		if line != "..." && line != "// ..." {
			part = append(part, line)
			continue
		}
		if len(part) > 0 {
			all = append(all, part)
		}
		part = nil
	}
	return all
}

// within reports whether every part stands in file, one after the other.
func within(file []string, parts [][]string) bool {
	for _, part := range parts {
		at := -1
		for i := 0; i+len(part) <= len(file); i++ {
			if slices.Equal(file[i:i+len(part)], part) {
				at = i
				break
			}
		}
		if at < 0 {
			return false
		}
		file = file[at+len(part):]
	}
	return true
}

// A Checker knows one repository. Make it with [New].
type Checker struct {
	root    string
	sources map[string][]string // Go files by path, normalised
	targets map[string]bool     // of the Makefile
	tests   map[string]bool     // names of tests, benchmarks, examples and fuzz targets
}

// New reads the Go files and the Makefile of the repository at root.
func New(root string) (*Checker, error) {
	c := &Checker{root: root, sources: map[string][]string{}, targets: map[string]bool{}, tests: map[string]bool{}}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || d.IsDir() {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		c.sources[path] = normal(string(text))
		if strings.HasSuffix(path, "_test.go") {
			for _, line := range c.sources[path] {
				if m := funcPattern.FindStringSubmatch(line); m != nil {
					c.tests[m[1]] = true
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		return nil, err
	}
	for _, m := range regexp.MustCompile(`(?m)^([A-Za-z][\w -]*):`).FindAllStringSubmatch(string(text), -1) {
		for name := range strings.FieldsSeq(m[1]) {
			c.targets[name] = true
		}
	}
	return c, nil
}

// Pages returns the pages at the top level and every page below docs.
func (c *Checker) Pages() ([]string, error) {
	pages, err := fs.Glob(os.DirFS(c.root), "*.md")
	if err != nil {
		return nil, err
	}
	err = fs.WalkDir(os.DirFS(c.root), "docs", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".md") {
			pages = append(pages, path)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // a repository without docs
	}
	return pages, err
}

// Check returns the faults of one page, each with its line, and how many
// blocks were held to the code. The page is named relative to the root.
func (c *Checker) Check(ctx context.Context, page string) (faults []string, checked int, err error) {
	text, err := os.ReadFile(filepath.Join(c.root, page))
	if err != nil {
		return nil, 0, err
	}
	fault := func(line int, format string, args ...any) {
		faults = append(faults, fmt.Sprintf("%s:%d: ", page, line)+fmt.Sprintf(format, args...))
	}
	for _, b := range Blocks(string(text)) {
		switch b.Lang {
		case "go":
			checked++
			if msg := c.goBlock(ctx, b.Text); msg != "" {
				fault(b.Line, "%s", msg)
			}
		case "sh":
			checked++
			for i, line := range strings.Split(b.Text, "\n") {
				if msg := c.command(ctx, line); msg != "" {
					fault(b.Line+i, "%s", msg)
				}
			}
		}
	}
	for _, m := range mentions(string(text), linkPattern) {
		target, _, _ := strings.Cut(m.text, "#")
		if target == "" || strings.Contains(target, ":") {
			continue
		}
		if _, err := os.Stat(filepath.Join(c.root, filepath.Dir(page), target)); err != nil {
			fault(m.line, "the link to %q leads nowhere; name a file of the repository", target)
		}
	}
	for _, m := range mentions(string(text), testPattern) {
		if !c.tests[m.text] {
			fault(m.line, "there is no test %s", m.text)
		}
	}
	return faults, checked, nil
}

func (c *Checker) goBlock(ctx context.Context, code string) string {
	lines := normal(code)
	if len(lines) == 0 {
		return "the block is empty"
	}
	if strings.HasPrefix(code, "package ") {
		return c.builds(ctx, code)
	}
	want := parts(lines)
	if len(want) == 0 {
		return "the block is nothing but elisions"
	}
	for _, file := range c.sources {
		if within(file, want) {
			return ""
		}
	}
	return fmt.Sprintf("no Go file of the repository holds this code, which begins %q; copy it from a compiled example", lines[0])
}

// builds compiles code as one file, with everything in reach that the examples
// may import.
func (c *Checker) builds(ctx context.Context, code string) string {
	dir, err := os.MkdirTemp("", "doccode")
	if err != nil {
		return err.Error()
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "block.go")
	if err := os.WriteFile(file, []byte(code), 0o600); err != nil {
		return err.Error()
	}
	from := filepath.Join(c.root, "examples")
	if _, err := os.Stat(filepath.Join(from, "go.mod")); err != nil {
		from = c.root
	}
	if out, err := run(ctx, from, "go", "vet", file); err != nil {
		return "the block does not compile:\n" + strings.ReplaceAll(out, dir+"/", "")
	}
	return ""
}

// command looks at one line of a shell block.
func (c *Checker) command(ctx context.Context, line string) string {
	line, _, _ = strings.Cut(line, " #")
	words := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "$ "))
	for len(words) > 0 && strings.Contains(words[0], "=") {
		words = words[1:] // settings in front of the command
	}
	switch {
	case len(words) >= 2 && words[0] == "make":
		for _, target := range words[1:] {
			if !strings.Contains(target, "=") && !strings.HasPrefix(target, "-") && !c.targets[target] {
				return fmt.Sprintf("the Makefile has no target %q", target)
			}
		}
	case len(words) >= 3 && words[0] == "go":
		for i, word := range words[2:] {
			if !strings.HasPrefix(word, "./") {
				continue
			}
			dir := filepath.Join(c.root, strings.TrimSuffix(word, "..."))
			files, _ := filepath.Glob(filepath.Join(dir, "*.go"))
			if len(files) == 0 && !strings.HasSuffix(word, "...") {
				return fmt.Sprintf("%s holds no Go files", word)
			}
			if words[1] == "run" {
				return c.flags(ctx, word, words[2+i+1:])
			}
		}
	}
	return ""
}

// flags holds a command line to what the program's own usage names.
func (c *Checker) flags(ctx context.Context, program string, args []string) string {
	var used []string
	for _, arg := range args {
		if strings.ContainsAny(arg[:1], "|&;><") {
			break
		}
		if strings.HasPrefix(arg, "-") {
			name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
			used = append(used, name)
		}
	}
	if len(used) == 0 {
		return ""
	}
	usage, _ := run(ctx, c.root, "go", "run", program, "-h") // -h may exit 2
	for _, name := range used {
		if !regexp.MustCompile(`(?m)(^|[\s\[])--?` + regexp.QuoteMeta(name) + `\b`).MatchString(usage) {
			return fmt.Sprintf("the usage of %s does not name -%s", program, name)
		}
	}
	return ""
}

var (
	linkPattern = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	testPattern = regexp.MustCompile("`((?:Test|Fuzz|Example|Benchmark)[A-Z_]\\w*)`")
	funcPattern = regexp.MustCompile(`^func ((?:Test|Fuzz|Example|Benchmark)\w*)\(`)
)

// A mention is what a pattern found on a line.
type mention struct {
	text string
	line int
}

// mentions returns what a pattern's group finds outside of the fenced blocks.
func mentions(page string, pattern *regexp.Regexp) []mention {
	inside := map[int]bool{}
	for _, b := range Blocks(page) {
		for i := range strings.Count(b.Text, "\n") {
			inside[b.Line+i] = true
		}
	}
	var found []mention
	n := 0
	for line := range strings.Lines(page) {
		if n++; inside[n] {
			continue
		}
		for _, m := range pattern.FindAllStringSubmatch(line, -1) {
			found = append(found, mention{m[1], n})
		}
	}
	return found
}

// run returns what a command printed on both of its outputs.
func run(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}
