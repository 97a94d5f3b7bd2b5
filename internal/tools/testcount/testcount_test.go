package testcount_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/internal/tools/testcount"
)

// The streams in testdata were printed by the go command for the packages in
// testdata/src: go test -json ./NAME, with -timeout=1s for slow. Times and the
// folders in stack traces were cut.
func read(t *testing.T, names ...string) *testcount.Run {
	t.Helper()
	run := new(testcount.Run)
	for _, name := range names {
		f, err := os.Open(filepath.Join("testdata", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(run.Read(f), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return run
}

func names(outcomes []testcount.Outcome) []string {
	var all []string
	for _, o := range outcomes {
		all = append(all, strings.TrimPrefix(o.Name(), "example.com/fix/"))
	}
	return all
}

func TestResult(t *testing.T) {
	for _, tc := range []struct {
		stream          string
		passed          []string
		failed, skipped []string
		says            string // stands in the first failure's text
	}{
		{stream: "passes", passed: []string{"passes.Example", "passes.TestOne/a", "passes.TestOne/b/c"}},
		{stream: "none"},
		{
			stream: "mixed",
			passed: []string{"mixed.FuzzGood", "mixed.TestParentAlone/fine", "mixed.TestPlain", "mixed.TestTable/bad/deep", "mixed.TestTable/good/deep"},
			failed: []string{"mixed.FuzzBad", "mixed.TestParentAlone", "mixed.TestTable/bad"},
			// Go's own rewriting of blanks in names is kept.
			skipped: []string{"mixed.TestSkipped", "mixed.TestTable/left_out"},
			says:    "three",
		},
		{stream: "nobuild", failed: []string{"nobuild"}, says: "undefined: undefined"},
		{stream: "depbroken", failed: []string{"depbroken"}, says: "broken/a.go:3:12: undefined"},
		{stream: "vetbad", failed: []string{"vetbad"}, says: "wrong type string"},
		{
			stream: "panics", passed: []string{"panics.TestBefore"},
			failed: []string{"panics.TestParallel/panics", "panics.TestParallel/waits"},
			says:   "panic: boom",
		},
		{stream: "slow", passed: []string{"slow.TestQuick"}, failed: []string{"slow.TestHangs/inner"}, says: "test timed out"},
		{stream: "exits", passed: []string{"exits.TestFine"}, failed: []string{"exits"}, says: "no database"},
		{stream: "silent", passed: []string{"silent.TestFine"}, failed: []string{"silent.TestExits"}, says: "os.Exit"},
	} {
		t.Run(tc.stream, func(t *testing.T) {
			run := read(t, tc.stream)
			got := run.Result()
			if p := names(got.Passed); !slices.Equal(p, tc.passed) {
				t.Errorf("passed = %q, want %q", p, tc.passed)
			}
			if f := names(got.Failed); !slices.Equal(f, tc.failed) {
				t.Errorf("failed = %q, want %q", f, tc.failed)
			}
			if s := names(got.Skipped); !slices.Equal(s, tc.skipped) {
				t.Errorf("skipped = %q, want %q", s, tc.skipped)
			}
			if len(got.Failed) > 0 && !strings.Contains(got.Failed[0].Text, tc.says) {
				t.Errorf("the first failure does not say %q but\n%s", tc.says, got.Failed[0].Text)
			}
			if run.Stray() != "" {
				t.Errorf("stray lines %q", run.Stray())
			}
		})
	}
}

func TestStreamsAddUp(t *testing.T) {
	got := read(t, "passes", "mixed", "exits").Result()
	if len(got.Passed) != 9 || len(got.Failed) != 4 || len(got.Skipped) != 2 {
		t.Errorf("%d passed, %d failed, %d skipped; want 9, 4, 2", len(got.Passed), len(got.Failed), len(got.Skipped))
	}
}

func TestSkipReason(t *testing.T) {
	got := read(t, "mixed").Result()
	if len(got.Skipped) != 2 {
		t.Fatalf("skipped %v", names(got.Skipped))
	}
	if text := got.Skipped[0].Text; !strings.HasPrefix(text, "mixed_test.go:") || strings.Contains(text, "---") {
		t.Errorf("a skip without a reason says %q, want its line at the most", text)
	}
	if text := got.Skipped[1].Text; !strings.HasSuffix(text, "needs a server: none is named") {
		t.Errorf("reason %q", text)
	}
}

func TestStray(t *testing.T) {
	var run testcount.Run
	stream := "go: downloading something\n" +
		`{"Action":"pass","Package":"p","Test":"TestA"}` + "\n" +
		`{"no":"action"}` + "\n" +
		`{"Action":"pass","Package":"p","Test":"TestB"}` // cut off before its line end
	if err := run.Read(strings.NewReader(stream)); err != nil {
		t.Fatal(err)
	}
	if got := len(run.Result().Passed); got != 2 {
		t.Errorf("passed = %d, want 2", got)
	}
	if got, want := run.Stray(), "go: downloading something\n{\"no\":\"action\"}\n"; got != want {
		t.Errorf("stray = %q, want %q", got, want)
	}
}

func TestNothing(t *testing.T) {
	var run testcount.Run
	if got := run.Result(); got.Passed != nil || got.Failed != nil || got.Skipped != nil {
		t.Errorf("an empty run counts %+v", got)
	}
}
