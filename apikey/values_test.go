package apikey_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

func TestMetadata(t *testing.T) {
	source := map[string]string{"team": "blue", "a": "1 < 2 & \"quoted\"\n", "Ü": ""}
	m := must(apikey.NewMetadata(source))(t)
	want := maps.Clone(source)
	source["team"] = "red" // a copy was made
	if got := maps.Collect(m.All()); !maps.Equal(got, want) || m.Len() != 3 {
		t.Errorf("All = %q, want %q", got, want)
	}
	if v, ok := m.Lookup("team"); v != "blue" || !ok {
		t.Errorf("Lookup = %q, %v", v, ok)
	}
	if v, ok := m.Lookup("none"); v != "" || ok {
		t.Errorf("Lookup of nothing = %q, %v", v, ok)
	}
	if got := m.String(); got != `{"a":"1 \u003c 2 \u0026 \"quoted\"\n","team":"blue","Ü":""}` {
		t.Errorf("canonical text %s", got)
	}
	var back apikey.Metadata
	if err := back.UnmarshalText([]byte(m.String())); err != nil || !back.Equal(m) {
		t.Errorf("comes back as %v, %v", back, err)
	}
	var zero apikey.Metadata
	if zero.String() != "{}" || zero.Len() != 0 || zero.Equal(m) || !zero.Equal(must(apikey.NewMetadata(nil))(t)) {
		t.Errorf("zero value %v", zero)
	}
	for range m.All() {
		break // stops
	}
}

func TestMetadataRefuses(t *testing.T) {
	many := map[string]string{}
	for i := range apikey.MaxEntries + 1 {
		many[fmt.Sprint(i)] = ""
	}
	for name, m := range map[string]map[string]string{
		"empty name": {"": "x"}, "control character": {"a\n": ""}, "name not UTF-8": {"\xff": ""}, "value not UTF-8": {"a": "\xff"},
		"NUL": {"a": "\x00"}, "long name": {strings.Repeat("a", 65): ""}, "long value": {"a": strings.Repeat("a", 1025)}, "too many": many,
	} {
		if got, err := apikey.NewMetadata(m); errors.CodeOf(err) != errors.Invalid || got.Len() != 0 {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
	kept := must(apikey.NewMetadata(map[string]string{"a": "b"}))(t)
	for _, text := range []string{"x", "[]", `"a"`, `{"a":1}`, `{"a":null}`, `{"a":"b"}x`, `{"a":{}}`, `{"":"b"}`} {
		m := kept
		if err := m.UnmarshalText([]byte(text)); errors.CodeOf(err) != errors.Invalid || !m.Equal(kept) {
			t.Errorf("UnmarshalText(%s) = %v, %v; want invalid and no change", text, m, err)
		}
	}
	for _, text := range []string{"", "{}", "null"} {
		m := kept
		if err := m.UnmarshalText([]byte(text)); err != nil || m.Len() != 0 {
			t.Errorf("UnmarshalText(%q) = %v, %v; want empty", text, m, err)
		}
	}
}

func TestSettings(t *testing.T) {
	s := must(apikey.NewSettings(map[string]int64{"per_minute": 60, "max": math.MaxInt64, "min": math.MinInt64}))(t)
	if got := s.String(); got != `{"max":9223372036854775807,"min":-9223372036854775808,"per_minute":60}` {
		t.Errorf("canonical text %s", got)
	}
	var back apikey.Settings
	if err := json.Unmarshal([]byte(s.String()), &back); err != nil || !back.Equal(s) || back.Len() != 3 {
		t.Errorf("comes back as %v, %v", back, err)
	}
	if v, ok := s.Lookup("per_minute"); v != 60 || !ok {
		t.Errorf("Lookup = %v, %v", v, ok)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = s.Lookup("per_minute") }); n != 0 {
		t.Errorf("Lookup allocates %v times", n)
	}
	if got := maps.Collect(s.All()); len(got) != 3 || got["min"] != math.MinInt64 {
		t.Errorf("All = %v", got)
	}
	for _, text := range []string{`{"a":1.5}`, `{"a":1e30}`, `{"a":null}`, `{"a":"1"}`, `{"a":9223372036854775808}`, `{"a\n":1}`, "1"} {
		if err := back.UnmarshalText([]byte(text)); errors.CodeOf(err) != errors.Invalid || !back.Equal(s) {
			t.Errorf("UnmarshalText(%s) = %v, want invalid and no change", text, err)
		}
	}
	if _, err := apikey.NewSettings(map[string]int64{"": 1}); errors.CodeOf(err) != errors.Invalid {
		t.Errorf("empty name: %v", err)
	}
}

func TestNetworks(t *testing.T) {
	n := networks(t, "192.0.2.7", "2001:db8::/32", "10.0.0.0/8", "10.0.0.0/8", "::ffff:198.51.100.0/120", "::ffff:203.0.113.9")
	if got := n.String(); got != "10.0.0.0/8 192.0.2.7/32 198.51.100.0/24 203.0.113.9/32 2001:db8::/32" || n.Len() != 5 {
		t.Errorf("canonical text %q", got)
	}
	for text, want := range map[string]bool{
		"10.255.0.1": true, "11.0.0.0": false, "::ffff:10.0.0.1": true, "192.0.2.7": true, "192.0.2.8": false,
		"2001:db8:ffff::1": true, "2001:db9::": false, "198.51.100.255": true, "::1": false, "2001:db8::1%eth0": false,
		"::ffff:10.0.0.1%eth0": false,
	} {
		if got := n.Contains(netip.MustParseAddr(text)); got != want {
			t.Errorf("Contains(%s) = %v, want %v", text, got, want)
		}
	}
	var zero apikey.Networks
	if !zero.IsZero() || zero.Contains(netip.MustParseAddr("10.0.0.1")) || n.Contains(netip.Addr{}) || zero.String() != "" {
		t.Error("the zero value contains something, or something contains nothing")
	}
	var back apikey.Networks
	if err := back.UnmarshalText([]byte(n.String())); err != nil || !back.Equal(n) || len(slices.Collect(back.All())) != 5 {
		t.Errorf("comes back as %v, %v", back, err)
	}
	_, err := apikey.ParseNetworks("10.0.0.1/8", "localhost", "300.1.1.1", "", "fe80::1%eth0", "10.0.0.0/33")
	for _, want := range []string{`network "10.0.0.1/8" has bits set after its prefix; give 10.0.0.0/8, or 10.0.0.1 for the address alone`, `"localhost"`, `"300.1.1.1"`, `""`, `"fe80::1%eth0"`, `"10.0.0.0/33"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %s: %v", want, err)
		}
	}
	if _, err := apikey.NewNetworks(netip.Prefix{}); errors.CodeOf(err) != errors.Invalid {
		t.Errorf("zero prefix: %v", err)
	}
	if _, err := apikey.NewNetworks(slices.Repeat([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, 300)...); errors.CodeOf(err) != errors.Invalid {
		t.Errorf("300 networks: %v", err)
	}
}

func TestStateText(t *testing.T) {
	for _, s := range []apikey.State{apikey.StateActive, apikey.StateDisabled, apikey.StateRevoked, apikey.StateDeleted} {
		var back apikey.State
		if err := back.UnmarshalText(must(s.MarshalText())(t)); err != nil || back != s {
			t.Errorf("%v comes back as %v, %v", s, back, err)
		}
	}
	for _, s := range []apikey.State{apikey.StateUnknown, 5, 255} {
		if text, err := s.MarshalText(); errors.CodeOf(err) != errors.Invalid {
			t.Errorf("%v is written as %q, %v", s, text, err)
		}
	}
	for _, text := range []string{"", "unknown", "Active", "active ", "1"} {
		s := apikey.StateRevoked
		if err := s.UnmarshalText([]byte(text)); errors.CodeOf(err) != errors.Invalid || s != apikey.StateRevoked {
			t.Errorf("UnmarshalText(%q) = %v, %v", text, s, err)
		}
	}
}

func TestCursorText(t *testing.T) {
	for _, c := range []apikey.Cursor{{}, {At: newClock().at, ID: "key_1"}, {At: time.UnixMicro(-1).UTC(), ID: "ü x"}} {
		var back apikey.Cursor
		if err := back.UnmarshalText([]byte(c.String())); err != nil || !back.At.Equal(c.At) || back.ID != c.ID {
			t.Errorf("%+v comes back as %+v, %v", c, back, err)
		}
	}
	for _, text := range []string{"x", "!!", "MQ", "MSA", "MSBh=", "eCBh", strings.Repeat("A", 300), "KzEgYQ"} {
		var c apikey.Cursor
		if err := c.UnmarshalText([]byte(text)); errors.CodeOf(err) != errors.Invalid || !c.IsZero() {
			t.Errorf("UnmarshalText(%q) = %+v, %v; want invalid", text, c, err)
		}
	}
}
