package apikey

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// readCanonical reads what toJSON writes of a table without escapes, many times
// faster than a reader of any JSON. It is not ok for everything else, valid or
// not, and beyond the bounds: that is for readObject to judge. Value takes a
// value off the beginning of text.
func readCanonical[V comparable](from []byte, value func(text string) (v V, rest string, ok bool)) (t table[V], ok bool) {
	if string(from) == "{}" {
		return nil, true
	}
	text := string(from)
	if len(text) < 2 || text[0] != '{' || text[len(text)-1] != '}' || !utf8.ValidString(text) {
		return nil, false
	}
	t = make(table[V], 0, 4)
	for rest := text[1:]; ; rest = rest[1:] {
		var e entry[V]
		if e.name, rest, ok = readText(rest); !ok || e.name == "" || len(e.name) > MaxEntryName || !strings.HasPrefix(rest, ":") {
			return nil, false
		}
		if e.value, rest, ok = value(rest[1:]); !ok || rest == "" || !plain(e.name, MaxEntryName) {
			return nil, false
		}
		if len(t) == MaxEntries || len(t) > 0 && e.name <= t[len(t)-1].name {
			return nil, false
		}
		t = append(t, e)
		switch {
		case rest == "}":
			return t, true
		case rest[0] != ',':
			return nil, false
		}
	}
}

// readText takes a JSON string without escapes off the beginning of text.
func readText(text string) (value, rest string, ok bool) {
	if !strings.HasPrefix(text, `"`) {
		return "", "", false
	}
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return text[1:i], text[i+1:], true
		case c == '\\' || c < ' ':
			return "", "", false
		}
	}
	return "", "", false
}

// readValue is readText within the bounds of a value of [Metadata].
func readValue(text string) (value, rest string, ok bool) {
	value, rest, ok = readText(text)
	return value, rest, ok && len(value) <= MaxMetadataValue
}

// readNumber takes a whole number, written as strconv writes it, off the
// beginning of text.
func readNumber(text string) (n int64, rest string, ok bool) {
	end := 0
	for end < len(text) && (text[end] == '-' || text[end] >= '0' && text[end] <= '9') {
		end++
	}
	digits := text[:end]
	n, err := strconv.ParseInt(digits, 10, 64)
	first := strings.TrimPrefix(digits, "-")
	return n, text[end:], err == nil && (first[0] != '0' || digits == "0")
}
