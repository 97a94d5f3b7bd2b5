package wire_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"testing"
)

// What docs/systems.md says of the length of a configuration.
func TestASystemIsAtMostSixtyLines(t *testing.T) {
	profiles, err := filepath.Glob("../../*/profile.go")
	if err != nil || len(profiles) != 5 {
		t.Fatalf("%v, %v: want the profile.go of five systems", profiles, err)
	}
	for _, name := range profiles {
		files := token.NewFileSet()
		f, err := parser.ParseFile(files, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		lines := 0
		for _, decl := range f.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Name.Name == "system" {
				lines = files.Position(fn.End()).Line - files.Position(fn.Pos()).Line + 1
			}
		}
		if lines < 1 || lines > 60 {
			t.Errorf("%s: func system has %d lines, want 1 to 60", name, lines)
		}
	}
}
