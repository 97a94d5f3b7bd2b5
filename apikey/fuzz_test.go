package apikey_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// What Parse accepts the regular expression must find whole, and the checksum
// and the fixed widths must say the same about it as a plain reading does.
func FuzzParse(f *testing.F) {
	type shape struct {
		format  *apikey.Format
		whole   *regexp.Regexp
		options *apikey.FormatOptions
	}
	var shapes []shape
	for _, tt := range formats {
		made := newFormat(f, tt.prefix, tt.options)
		shapes = append(shapes, shape{made, regexp.MustCompile(`\A(?:` + made.Regexp() + `)\z`), tt.options})
		for _, env := range tt.environments {
			f.Add(generate(f, made, env))
			f.Add(made.Fake(env))
		}
	}
	f.Add("")
	f.Add("gx_")
	f.Add(strings.Repeat("gx_", 100))
	f.Fuzz(func(t *testing.T, token string) {
		for _, s := range shapes {
			parts, err := s.format.Parse(token)
			if err != nil {
				if !errors.Is(err, apikey.ErrMalformed) || parts != (apikey.Parts{}) {
					t.Fatalf("Parse(%q) = %+v, %v", token, parts, err)
				}
				continue
			}
			if !s.whole.MatchString(token) || len(token) > apikey.MaxTokenLength {
				t.Fatalf("Parse accepts %q, which %s does not match", token, s.whole)
			}
			head := s.format.Prefix()
			if !strings.HasPrefix(token, head) || !strings.Contains(token, parts.ID) || !strings.Contains(token, parts.Environment) {
				t.Fatalf("Parse(%q) = %+v", token, parts)
			}
		}
	})
}

func FuzzMetadata(f *testing.F) {
	for _, text := range []string{"", "{}", "null", `{"a":"b"}`, `{"a":"b","a":"c"}`, `{"a":1}`, `[]`, `{"\u0000":""}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var m, back apikey.Metadata
		if m.UnmarshalText([]byte(text)) != nil {
			return
		}
		if err := back.UnmarshalText([]byte(m.String())); err != nil || !back.Equal(m) || back.String() != m.String() {
			t.Fatalf("%q reads as %s, which reads as %s, %v", text, m, back, err)
		}
	})
}

func FuzzSettings(f *testing.F) {
	for _, text := range []string{"", "{}", `{"a":1}`, `{"a":-9223372036854775808}`, `{"a":1e2}`, `{"a":null}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var s, back apikey.Settings
		if s.UnmarshalText([]byte(text)) != nil {
			return
		}
		if err := back.UnmarshalText([]byte(s.String())); err != nil || !back.Equal(s) || back.String() != s.String() {
			t.Fatalf("%q reads as %s, which reads as %s, %v", text, s, back, err)
		}
	})
}

func FuzzNetworks(f *testing.F) {
	for _, text := range []string{"", "10.0.0.0/8", "192.0.2.7 2001:db8::/32", "::ffff:10.0.0.0/104", "::/0", "fe80::1%eth0", "10.0.0.1/8"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var n, back apikey.Networks
		if n.UnmarshalText([]byte(text)) != nil {
			return
		}
		if err := back.UnmarshalText([]byte(n.String())); err != nil || !back.Equal(n) || back.String() != n.String() {
			t.Fatalf("%q reads as %s, which reads as %s, %v", text, n, back, err)
		}
		for p := range n.All() {
			if !n.Contains(p.Addr()) {
				t.Fatalf("%s does not contain %s of its own", n, p.Addr())
			}
		}
	})
}

func FuzzCursor(f *testing.F) {
	f.Add("")
	f.Add(apikey.Cursor{At: newClock().at, ID: "key_1"}.String())
	f.Add("MSBh")
	f.Fuzz(func(t *testing.T, text string) {
		var c apikey.Cursor
		if err := c.UnmarshalText([]byte(text)); err == nil && c.String() != text {
			t.Fatalf("%q reads as %+v, which is written %q", text, c, c.String())
		}
	})
}

func FuzzEventCursor(f *testing.F) {
	for _, c := range []apikey.EventCursor{{}, {At: time.UnixMicro(1).UTC(), Owner: "acct 1", Seq: 7}, {Seq: -1}} {
		f.Add(c.String())
	}
	f.Fuzz(func(t *testing.T, text string) {
		var c, back apikey.EventCursor
		if c.UnmarshalText([]byte(text)) != nil {
			return
		}
		if err := back.UnmarshalText([]byte(c.String())); err != nil || back != c || c.String() != text {
			t.Fatalf("%q reads as %+v, which reads as %+v, %v", text, c, back, err)
		}
	})
}

func FuzzCheckpoint(f *testing.F) {
	for _, c := range []apikey.Checkpoint{{}, {Owner: "acct 1", Seq: 7, Sum: [32]byte{1}}} {
		f.Add(c.String())
	}
	f.Fuzz(func(t *testing.T, text string) {
		var c, back apikey.Checkpoint
		if c.UnmarshalText([]byte(text)) != nil {
			return
		}
		if err := back.UnmarshalText([]byte(c.String())); err != nil || back != c || c.String() != text {
			t.Fatalf("%q reads as %+v, which reads as %+v, %v", text, c, back, err)
		}
	})
}
