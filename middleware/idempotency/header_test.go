package idempotency_test

import (
	"strings"
	"testing"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware/idempotency"
)

var longest = strings.Repeat("k", idempotency.MaxHeader)

// headers are lines of the field and the key they hold; "" is malformed.
var headers = []struct {
	line, key string
}{
	{"8e03978e-40d5-43e8-bc93-6894a57f9324", "8e03978e-40d5-43e8-bc93-6894a57f9324"},
	{`"8e03978e-40d5-43e8-bc93-6894a57f9324"`, "8e03978e-40d5-43e8-bc93-6894a57f9324"},
	{" k ", "k"}, {` "k" `, "k"}, {"k", "k"}, {"K", "K"}, {longest, longest}, {`"` + longest + `"`, longest},
	{"a+b/c=:~*'", "a+b/c=:~*'"}, {`"a,b;c"`, "a,b;c"}, {`"a\"b"`, `a"b`}, {`"a\\b"`, `a\b`}, {`"\\"`, `\`}, {`"\""`, `"`},
	{"", ""}, {" ", ""}, {`"`, ""}, {`""`, ""}, {`"a`, ""}, {`a"`, ""}, {`"a"b`, ""}, {`"a" b`, ""}, {`"a"b"`, ""}, {`"a\b"`, ""}, {`"a\`, ""}, {`"a\"`, ""},
	{"a b", ""}, {`"a b"`, ""}, {"a,b", ""}, {"a, b", ""}, {`"a", "b"`, ""}, {"a;v=1", ""}, {`"a";v=1`, ""}, {`a\b`, ""},
	{"a\tb", ""}, {"\ta", ""}, {"a\nb", ""}, {"a\x00", ""}, {"a\x7f", ""}, {"\xff", ""}, {"caf\xc3\xa9", ""}, {"\"caf\xc3\xa9\"", ""},
	{longest + "k", ""}, {`"` + longest + `k"`, ""},
}

func TestParseHeader(t *testing.T) {
	for _, tt := range headers {
		key, err := idempotency.ParseHeader([]string{tt.line})
		switch {
		case tt.key == "" && !errors.Is(err, idempotency.ErrMalformed), tt.key != "" && err != nil, key != tt.key:
			t.Errorf("%.40q is %.40q, %v; want %.40q", tt.line, key, err, tt.key)
		}
	}
	if _, err := idempotency.ParseHeader(nil); !errors.Is(err, idempotency.ErrMissing) {
		t.Errorf("no line: %v", err)
	}
	for _, lines := range [][]string{{"a", "a"}, {"a", "b"}, {"a", ""}, {"", ""}} {
		if _, err := idempotency.ParseHeader(lines); !errors.Is(err, idempotency.ErrMalformed) {
			t.Errorf("%q: %v", lines, err)
		}
	}
}

func FuzzParseHeader(f *testing.F) {
	for _, tt := range headers {
		f.Add(tt.line)
	}
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	f.Fuzz(func(t *testing.T, line string) {
		key, err := idempotency.ParseHeader([]string{line})
		if err != nil {
			if key != "" {
				t.Errorf("%q: key %q with error %v", line, key, err)
			}
			return
		}
		if key == "" || len(key) > idempotency.MaxHeader || strings.ContainsFunc(key, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
			t.Errorf("%q: key %q", line, key)
		}
		if again, err := idempotency.ParseHeader([]string{`"` + escape.Replace(key) + `"`}); err != nil || again != key {
			t.Errorf("%q: key %q is %q as a String, %v", line, key, again, err)
		}
	})
}
