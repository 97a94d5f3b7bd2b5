package scopes_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/scopes"
)

// The grammar, stated a second time and in another way.
var grammar = regexp.MustCompile(`\A([A-Za-z0-9._-]+|\*)(:([A-Za-z0-9._-]+|\*))*\z`)

// wellFormed is the reference for what one scope of a set may be.
func wellFormed(s string) bool {
	return grammar.MatchString(s) && len(s) <= 128 && strings.Count(s, ":") < 16
}

// concrete is the reference for what may be required.
func concrete(s string) bool { return wellFormed(s) && !strings.Contains(s, "*") }

// grants is the reference for matching: the pattern as a regular expression.
func grants(pattern, scope string) bool {
	if !concrete(scope) {
		return false
	}
	parts := strings.Split(pattern, ":")
	for i, part := range parts {
		switch {
		case part != "*":
			parts[i] = regexp.QuoteMeta(part)
		case i == len(parts)-1:
			parts[i] = `[^:]+(:[^:]+)*`
		default:
			parts[i] = `[^:]+`
		}
	}
	return regexp.MustCompile(`\A` + strings.Join(parts, ":") + `\z`).MatchString(scope)
}

// words returns every text of 1 to length segments out of alphabet.
func words(alphabet []string, length int) []string {
	all, last := []string{}, []string{""}
	for range length {
		var next []string
		for _, prefix := range last {
			for _, segment := range alphabet {
				next = append(next, strings.TrimPrefix(prefix+":"+segment, ":"))
			}
		}
		all, last = append(all, next...), next
	}
	return all
}

func parse(tb testing.TB, text string) scopes.Set {
	tb.Helper()
	s, err := scopes.Parse(text)
	if err != nil {
		tb.Fatalf("Parse(%q): %v", text, err)
	}
	return s
}
