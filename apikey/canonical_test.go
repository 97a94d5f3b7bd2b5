package apikey_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/apikey"
)

// Canonical text is read on a way of its own. Whatever the text, with a space
// in it, which is never canonical, it must come to the same.
func TestTheFastWayReadsWhatTheSlowWayReads(t *testing.T) {
	texts := []string{
		"", "{}", "{} ", "{", "}", "null", "[]", `""`, `{"a"}`, `{"a":}`, `{"a":1`, `{"a":1}`, `{"a":"b"}`, `{"a":"b",}`, `{,"a":"b"}`,
		`{"a":"b","a":"c"}`, `{"b":"x","a":"y"}`, `{"a":"b","c":"d"}`, `{"a":"b" ,"c":"d"}`, `{"a":"b""c":"d"}`, `{"a":"b"}}`, `{"a":"b"},{}`,
		`{"":"b"}`, `{"a":""}`, `{"a":"\u0041"}`, `{"\u0041":"b"}`, `{"a":"\""}`, `{"a":null}`, `{"a":true}`, `{"a":{}}`, `{"a":["b"]}`,
		"{\"a\":\"\x01\"}", "{\"a\x01\":\"b\"}", "{\"a\x7f\":\"b\"}", "{\"a\u0085\":\"b\"}", "{\"a\":\"\x7f\"}", "{\"a\":\"\u0085\"}", "{\"a\":\"\xff\"}", "{\"\xff\":\"a\"}", "{\"a\":\"\x00\"}",
		`{"a":"` + strings.Repeat("x", apikey.MaxMetadataValue) + `"}`, `{"a":"` + strings.Repeat("x", apikey.MaxMetadataValue+1) + `"}`,
		`{"` + strings.Repeat("x", apikey.MaxEntryName) + `":"a"}`, `{"` + strings.Repeat("x", apikey.MaxEntryName+1) + `":"a"}`,
		`{"a":0}`, `{"a":-0}`, `{"a":-1}`, `{"a":01}`, `{"a":-01}`, `{"a":--1}`, `{"a":1-1}`, `{"a":-}`, `{"a":1.0}`, `{"a":1e3}`, `{"a":1,"b":2}`, `{"b":1,"a":2}`,
		fmt.Sprintf(`{"a":%d}`, int64(math.MaxInt64)), fmt.Sprintf(`{"a":%d}`, int64(math.MinInt64)), `{"a":9223372036854775808}`, `{"a":-9223372036854775809}`,
		many(apikey.MaxEntries, `"x"`), many(apikey.MaxEntries+1, `"x"`), many(apikey.MaxEntries, "1"), many(apikey.MaxEntries+1, "1"),
	}
	const seed = 1
	random, pieces := rand.New(rand.NewPCG(seed, seed)), []string{`{`, `}`, `"`, `a`, `b`, `:`, `,`, `1`, `-`, `0`, `\`, `"a"`, `"b"`, `"a":1`, `"b":"c"`}
	for range 20_000 {
		text := "{"
		for range random.IntN(8) {
			text += pieces[random.IntN(len(pieces))]
		}
		texts = append(texts, text+"}")
	}
	for _, text := range texts {
		var metadata, slowMetadata apikey.Metadata
		var settings, slowSettings apikey.Settings
		slow := []byte(text + " ")
		err, slowErr := metadata.UnmarshalText([]byte(text)), slowMetadata.UnmarshalText(slow)
		if (err == nil) != (slowErr == nil) && text != "" || !metadata.Equal(slowMetadata) {
			t.Errorf("seed %d, metadata %q is %v, %v and the slow way %v, %v", seed, text, metadata, err, slowMetadata, slowErr)
		}
		err, slowErr = settings.UnmarshalText([]byte(text)), slowSettings.UnmarshalText(slow)
		if (err == nil) != (slowErr == nil) && text != "" || !settings.Equal(slowSettings) {
			t.Errorf("seed %d, settings %q are %v, %v and the slow way %v, %v", seed, text, settings, err, slowSettings, slowErr)
		}
		if err == nil && !json.Valid([]byte(text)) && text != "" {
			t.Errorf("seed %d, %q is no JSON and was read", seed, text)
		}
	}
}

// many returns an object with n names in order.
func many(n int, value string) string {
	var entries []string
	for i := range n {
		entries = append(entries, fmt.Sprintf(`"n%03d":%s`, i, value))
	}
	return "{" + strings.Join(entries, ",") + "}"
}

func BenchmarkReadingMetadataAndSettings(b *testing.B) {
	b.ReportAllocs()
	metadata, settings := []byte(`{"project":"4711","team":"blue"}`), []byte(`{"per_minute":60}`)
	for b.Loop() {
		var m apikey.Metadata
		var s apikey.Settings
		if err := m.UnmarshalText(metadata); err != nil {
			b.Fatal(err)
		}
		if err := s.UnmarshalText(settings); err != nil {
			b.Fatal(err)
		}
	}
}
