package doccode_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/internal/tools/doccode"
)

func TestBlocks(t *testing.T) {
	page := "# A\n```go\nx := 1\n```\ntext\n~~~sh title\nmake a\n```\n~~~\n````\n```go\ninner\n```\n````\n- list\n  ```go\n  y\n  ```\n```go\nunclosed"
	want := []doccode.Block{
		{"go", 3, "x := 1\n"},
		{"sh", 7, "make a\n```\n"},
		{"", 11, "```go\ninner\n```\n"},
		{"go", 17, "  y\n"},
		{"go", 20, "unclosed"},
	}
	if got := doccode.Blocks(page); !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// repo writes files into a new folder and returns it.
func repo(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for path, text := range files {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

var files = map[string]string{
	"go.mod":              "module example.com/lib\n\ngo 1.26\n",
	"Makefile":            ".PHONY: test\ntest: build\n\techo\nbuild fast:\n\techo\nX := 1\n",
	"lib.go":              "package lib\n\n// Two is two.\nfunc Two() int {\n\tone := 1\n\n\treturn one + one\n}\n\nfunc three() int { return 3 }\n",
	"other.go":            "package lib\n\nfunc four() int { return 4 }\n",
	"cmd/serve/main.go":   "package main\n\nimport \"flag\"\n\nfunc main() {\n\tflag.String(\"addr\", \":1\", \"where\")\n\tflag.Parse()\n}\n",
	"testdata/skipped.go": "package skipped\n\nfunc nine() int { return 9 }\n",
	"lib_test.go":         "package lib\n\nfunc TestTwo(t *testing.T) {}\n\nfunc ExampleTwo() {}\n",
	"docs/page.md":        "",
}

func TestCheck(t *testing.T) {
	root := repo(t, files)
	for _, tc := range []struct {
		name, page string
		faults     []string // each must stand in the fault of its place
		checked    int
	}{
		{name: "no code", page: "text\n```\nnot go\n```\n```json\n{}\n```\n"},
		{name: "a part of a file", page: "```go\none := 1\nreturn one + one\n```\n", checked: 1},
		{name: "indentation does not count", page: "```go\n    one   :=   1\n```\n", checked: 1},
		{name: "a part of a line is no part", page: "```go\none :=\n```\n", checked: 1, faults: []string{"2: no Go file"}},
		{name: "elision", page: "```go\nfunc Two() int {\n// ...\n}\n...\nfunc three() int { return 3 }\n```\n", checked: 1},
		{name: "elision keeps the order", page: "```go\nfunc three() int { return 3 }\n...\nfunc Two() int {\n```\n", checked: 1, faults: []string{"no Go file"}},
		{name: "elision stays in one file", page: "```go\nfunc Two() int {\n...\nfunc four() int { return 4 }\n```\n", checked: 1, faults: []string{"no Go file"}},
		{name: "only elision", page: "```go\n...\n```\n", checked: 1, faults: []string{"nothing but"}},
		{name: "empty", page: "```go\n\n```\n", checked: 1, faults: []string{"empty"}},
		{name: "testdata is no code", page: "```go\nfunc nine() int { return 9 }\n```\n", checked: 1, faults: []string{"no Go file"}},
		{name: "a file that builds", page: "```go\npackage main\n\nimport \"example.com/lib\"\n\nfunc main() { _ = lib.Two() }\n```\n", checked: 1},
		{name: "a file that does not", page: "x\n```go\npackage main\n\nimport \"example.com/lib\"\n\nfunc main() { lib.Five() }\n```\n", checked: 1, faults: []string{"3: the block does not compile"}},
		{name: "make", page: "```sh\nmake test build fast -j2 X=2\n$ make tset # once\n```\n", checked: 1, faults: []string{`3: the Makefile has no target "tset"`}},
		{name: "go run", page: "```sh\ngo run ./cmd/serve -addr :2 | tee log\nA=1 go run ./cmd/none\ngo test ./...\ngo run ./cmd/serve --adr=:2\n```\n", checked: 1, faults: []string{"3: ./cmd/none holds no Go", "5: the usage of ./cmd/serve does not name -adr"}},
		{name: "other commands", page: "```sh\ncurl -s localhost\ngit clone x\n\n```\n", checked: 1},
		{name: "names of tests", page: "`TestTwo` and `ExampleTwo`\n`TestThree`, TestFour, `TestTwo()`, `Testing`\n```\n`TestFive`\n```\n", faults: []string{"2: there is no test TestThree"}},
		{name: "links", page: "[a](../lib.go#L1) ![b](none.png)\n[c](https://example.com/none) [d](#here)\n```\n[e](none)\n```\n", faults: []string{`1: the link to "none.png"`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := os.WriteFile(filepath.Join(root, "docs/page.md"), []byte(tc.page), 0o600); err != nil {
				t.Fatal(err)
			}
			c, err := doccode.New(root)
			if err != nil {
				t.Fatal(err)
			}
			faults, checked, err := c.Check(t.Context(), "docs/page.md")
			if err != nil {
				t.Fatal(err)
			}
			if checked != tc.checked {
				t.Errorf("checked %d blocks, want %d", checked, tc.checked)
			}
			if len(faults) != len(tc.faults) {
				t.Fatalf("faults %q, want %q", faults, tc.faults)
			}
			for i, want := range tc.faults {
				if !strings.HasPrefix(faults[i], "docs/page.md:") || !strings.Contains(faults[i], want) {
					t.Errorf("fault %q does not say %q", faults[i], want)
				}
			}
		})
	}
}

func TestPages(t *testing.T) {
	for name, tc := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"all":     {map[string]string{"README.md": "", "docs/a.md": "", "docs/deep/b.md": "", "docs/c.txt": "", "sub/d.md": "", "CHANGELOG.md": ""}, []string{"CHANGELOG.md", "README.md", "docs/a.md", "docs/deep/b.md"}},
		"no docs": {map[string]string{"README.md": ""}, []string{"README.md"}},
		"nothing": {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			root := repo(t, tc.files)
			if err := os.WriteFile(filepath.Join(root, "Makefile"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			c, err := doccode.New(root)
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.Pages()
			if err != nil || !slices.Equal(got, tc.want) {
				t.Errorf("pages %q, %v; want %q", got, err, tc.want)
			}
		})
	}
}
