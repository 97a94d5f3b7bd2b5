package middleware_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/ratelimit"
)

// FuzzExtract holds the extraction to its promise: one credential or none, and
// never one that the client did not write whole in one place.
func FuzzExtract(f *testing.F) {
	for _, seed := range []struct{ a, b, key string }{
		{"Bearer kt_abc", "", ""}, {"bearer   kt_abc", "", ""}, {"Bearer", "", ""}, {"Bearer ", "", ""}, {"Basic dTpw", "", "kt_abc"},
		{"Bearer kt_abc", "Bearer kt_abc", ""}, {"Bearer kt_abc", "", "kt_abc"}, {"", "", "kt_abc"}, {"Bearer\tkt_abc", "", ""},
		{"Bearer a, Bearer b", "", ""}, {"BearerX kt_abc", "", ""}, {"Bearer kt_\x80", "", ""}, {"kt_abc", "", ""}, {" Bearer kt_abc", "", ""},
	} {
		f.Add(seed.a, seed.b, seed.key)
	}
	f.Fuzz(func(t *testing.T, a, b, key string) {
		h := http.Header{}
		for _, line := range []string{a, b} {
			if line != "" {
				h["Authorization"] = append(h["Authorization"], line)
			}
		}
		if key != "" {
			h["X-Api-Key"] = []string{key}
		}
		got, header, v := middleware.Extract(h, middleware.Bearer(), middleware.Header("X-API-Key"))
		switch v {
		case middleware.VerdictAllowed:
			if got == "" || len(h[header]) != 1 || !strings.HasSuffix(h[header][0], got) {
				t.Fatalf("%q from %s of %q", got, header, h)
			}
			if header == "Authorization" && !strings.EqualFold(h[header][0][:7], "bearer ") {
				t.Fatalf("%q was read as Bearer", h[header][0])
			}
			if header == "X-Api-Key" && (got != key || len(h["Authorization"]) == 1 && strings.EqualFold(strings.SplitN(a+b, " ", 2)[0], "bearer")) {
				t.Fatalf("%q was read from %q", got, h)
			}
		case middleware.VerdictMissing, middleware.VerdictMalformed:
			if got != "" || header != "" {
				t.Fatalf("%v with credential %q in %s", v, got, header)
			}
		default:
			t.Fatalf("verdict %v", v)
		}
	})
}

// FuzzGateHeaders sends whatever a client can put in the headers that the gate
// reads: only the good key, alone, gets in, and every refusal is well-formed.
func FuzzGateHeaders(f *testing.F) {
	h := build(f, blueprint{options: func(o *middleware.Options) {
		o.TrustRequestID = true
		o.FailedAuth.Count, o.FailedAuth.Period = 1<<40, time.Second
		o.Observer = nil
	}})
	token := h.key("").Secret.Reveal()
	handler := h.gate.Handler(open())(says(204))
	f.Add("Bearer "+token, "req-1", "1.2.3.4")
	f.Add("Bearer "+token+"x", "", "")
	f.Add("Bearer\x00", "a\r\nb", "::1, garbage")
	f.Fuzz(func(t *testing.T, authorization, id, forwarded string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Authorization"] = []string{authorization}
		r.Header["X-Request-Id"] = []string{id}
		r.Header["X-Forwarded-For"] = []string{forwarded}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if !middleware.SaneRequestID(w.Header().Get("X-Request-Id")) {
			t.Fatalf("request id %q", w.Header().Get("X-Request-Id"))
		}
		scheme, rest, _ := strings.Cut(authorization, " ")
		if good := strings.EqualFold(scheme, "bearer") && strings.TrimLeft(rest, " ") == token; good != (w.Code == 204) {
			t.Fatalf("%q is answered %d", authorization, w.Code)
		}
		if w.Code != 204 {
			code := "invalid_key"
			if !strings.EqualFold(scheme, "bearer") {
				code = "missing_key"
			}
			refused(t, w, 401, code)
		}
	})
}

// FuzzFieldString reads back what is written into structured fields.
func FuzzFieldString(f *testing.F) {
	for _, s := range []string{"minute", "", `a"b\c`, "a\x00b", "ü", "~ !", "\x7f"} {
		f.Add(s, int64(60), int64(time.Minute))
	}
	f.Fuzz(func(t *testing.T, name string, quota, window int64) {
		written := string(middleware.AppendString(nil, name))
		if len(written) < 2 || written[0] != '"' || written[len(written)-1] != '"' {
			t.Fatalf("%q is written %s", name, written)
		}
		var read []byte
		for i := 1; i < len(written)-1; i++ {
			c := written[i]
			if c == '\\' {
				i++
				if c = written[i]; i == len(written)-1 || c != '"' && c != '\\' {
					t.Fatalf("%q is written %s", name, written)
				}
			} else if c == '"' || c < ' ' || c >= 0x7f {
				t.Fatalf("%q is written %s", name, written)
			}
			read = append(read, c)
		}
		for i, c := range []byte(name) {
			if c < ' ' || c >= 0x7f {
				c = '?'
			}
			if i >= len(read) || read[i] != c {
				t.Fatalf("%q reads back as %q", name, read)
			}
		}
		item := string(middleware.AppendPolicy(nil, ratelimit.Limit{Name: name, Unit: name}, quota, time.Duration(window)))
		for _, part := range strings.Split(strings.TrimPrefix(item, written), ";")[1:] {
			if value, found := strings.CutPrefix(part, "q="); found && len(strings.TrimPrefix(value, "-")) > 15 {
				t.Fatalf("an integer of more than 15 digits: %s", item)
			}
		}
	})
}

// FuzzFieldText reads back what is written into a header field, and finds nothing
// in it that a protocol would change or drop.
func FuzzFieldText(f *testing.F) {
	for _, s := range []string{"", "name", " a b ", "100%", "Gr\u00f6\u00dfe", "a\r\nSet-Cookie: x", "\x00\x7f\x80", "%41"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text := middleware.FieldText(s)
		for i := range len(text) {
			if c := text[i]; c < ' ' || c >= 0x7f || c == ' ' && (i == 0 || i == len(text)-1) {
				t.Fatalf("%q is written %q", s, text)
			}
		}
		if back, err := url.PathUnescape(text); err != nil || back != s {
			t.Fatalf("%q is written %q and read back as %q, %v", s, text, back, err)
		}
	})
}

// FuzzStripQuery holds what is left of a query against a reading of the standard
// library: no key, however its name is written, and everything else as it was.
func FuzzStripQuery(f *testing.F) {
	for _, raw := range []string{"", "key=1", "a=1&key=2&b=3", "%6bey=1&key", "k+ey=1", "key;a=1", "&&key=&", "a=%zz&key=%zz", "%zz=key", "KEY=1"} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		left, held, still := middleware.StripQuery(raw, "key")
		if len(still) != 0 {
			t.Fatalf("%q is left as %q, which holds %q", raw, left, still)
		}
		if strings.Contains(raw, ";") {
			return // which the standard library does not read
		}
		before, _ := url.ParseQuery(raw)
		after, _ := url.ParseQuery(left)
		if after.Has("key") || len(before["key"]) > len(held) {
			t.Fatalf("%q holds %q by the standard library, %q here, and is left as %q", raw, before["key"], held, left)
		}
		delete(before, "key")
		if len(before) != len(after) {
			t.Fatalf("%q is left as %q", raw, left)
		}
		for name, values := range before {
			if !slices.Equal(values, after[name]) {
				t.Fatalf("%q is left as %q: %s", raw, left, name)
			}
		}
	})
}
