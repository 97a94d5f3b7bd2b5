package middleware_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/middleware"
)

// The page that translates events for those who watch has every event of keys and
// every verdict, once, and no name that the vocabulary does not have.
func TestTheVocabularyOfOWASP(t *testing.T) {
	page, err := os.ReadFile("../docs/events.md")
	must(t, err)
	source, err := os.ReadFile("../apikey/event.go")
	must(t, err)
	var want []string
	for _, m := range regexp.MustCompile(`\sEventKind = "([a-z_.]+)"`).FindAllStringSubmatch(string(source), -1) {
		want = append(want, m[1])
	}
	if len(want) < 20 {
		t.Fatalf("found only the events %v", want)
	}
	for v := middleware.Verdict(0); !strings.HasPrefix(v.String(), "verdict("); v++ {
		want = append(want, v.String())
	}
	// https://github.com/OWASP/CheatSheetSeries, Logging_Vocabulary_Cheat_Sheet.md
	vocabulary := []string{
		"authn_login_fail", "authn_login_fail_max", "authn_login_lock",
		"authn_token_created", "authn_token_revoked", "authn_token_reuse", "authn_token_delete",
		"authz_fail", "authz_change", "excess_rate_limit_exceeded", "input_validation_fail",
	}
	used := make(map[string]bool)
	var got []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (?:`([^`]+)` )?\\|$").FindAllStringSubmatch(string(page), -1) {
		got = append(got, row[1])
		if used[row[2]] = true; row[2] != "" && !slices.Contains(vocabulary, row[2]) {
			t.Errorf("%s: the vocabulary has no %s", row[1], row[2])
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the page has\n%v\nwant\n%v", got, want)
	}
	for _, name := range vocabulary {
		if !used[name] {
			t.Errorf("nothing on the page is %s", name)
		}
	}
}
