package webhook_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/webhook"
)

// rfcRequest is the request of RFC 9421 appendix B.2.
func rfcRequest() *http.Request {
	r := httptest.NewRequest(http.MethodPost, "https://example.com/foo?param=Value&Pet=dog", strings.NewReader(vectorBody))
	r.Header.Set("Date", "Tue, 20 Apr 2021 02:07:55 GMT")
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Content-Length", "18")
	return r
}

func TestSignatureBasesOfRFC9421(t *testing.T) {
	shared := must(base64.StdEncoding.DecodeString("uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ=="))(t)
	pair := ed25519.NewKeyFromSeed(must(base64.StdEncoding.DecodeString("n4Ni+HpISpVObnQMW0wOhCKROaIKqKtW/2ZYb2p9KcU="))(t))
	for name, tt := range map[string]struct {
		field, base, signature string
		sign                   func(base string) []byte
	}{
		"B.2.5": {
			`sig-b25=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"`,
			`"date": Tue, 20 Apr 2021 02:07:55 GMT
"@authority": example.com
"content-type": application/json
"@signature-params": ("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"`,
			"pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=",
			func(base string) []byte {
				mac := hmac.New(sha256.New, shared)
				mac.Write([]byte(base))
				return mac.Sum(nil)
			},
		},
		"B.2.6": {
			`sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519"`,
			`"date": Tue, 20 Apr 2021 02:07:55 GMT
"@method": POST
"@path": /foo
"@authority": example.com
"content-type": application/json
"content-length": 18
"@signature-params": ("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519"`,
			"wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==",
			func(base string) []byte { return ed25519.Sign(pair, []byte(base)) },
		},
	} {
		base, _, fault := webhook.SignatureBase(rfcRequest(), nil, tt.field)
		if fault != "" || base != tt.base {
			t.Errorf("%s: %q\n%s", name, fault, base)
		}
		if got := base64.StdEncoding.EncodeToString(tt.sign(base)); got != tt.signature {
			t.Errorf("%s: %s, want %s", name, got, tt.signature)
		}
	}
}

// What RFC 9421 section 2.2 says of each derived component.
func TestDerivedComponents(t *testing.T) {
	for name, tt := range map[string]struct {
		target, host, public string
		want                 string
	}{
		"as received":        {"/a%2Fb?x=%20&y", "Example.COM", "", "http|example.com|/a%2Fb|?x=%20&y|http://example.com/a%2Fb?x=%20&y"},
		"no query":           {"/", "example.com", "", "http|example.com|/|?|http://example.com/"},
		"an empty query":     {"/?", "example.com", "", "http|example.com|/|?|http://example.com/?"},
		"the usual port":     {"/", "example.com:80", "", "http|example.com|/|?|http://example.com/"},
		"another port":       {"/", "example.com:443", "", "http|example.com:443|/|?|http://example.com:443/"},
		"an address":         {"/", "[2001:DB8::1]:8080", "", "http|[2001:db8::1]:8080|/|?|http://[2001:db8::1]:8080/"},
		"behind a proxy":     {"/in?x", "10.0.0.1:8080", "https://API.example.com", "https|api.example.com|/in|?x|https://api.example.com/in?x"},
		"a path taken off":   {"/in", "10.0.0.1:8080", "https://api.example.com:443/hooks/", "https|api.example.com|/hooks/in|?|https://api.example.com/hooks/in"},
		"a path with escape": {"/in", "10.0.0.1:8080", "https://api.example.com/a%20b", "https|api.example.com|/a%20b/in|?|https://api.example.com/a%20b/in"},
	} {
		r := httptest.NewRequest(http.MethodPost, tt.target, http.NoBody)
		r.Host = tt.host
		var public *url.URL
		if tt.public != "" {
			public = must(url.Parse(tt.public))(t)
		}
		r.URL.Path = "/routed" // by somebody in between, as http.StripPrefix does
		base, _, fault := webhook.SignatureBase(r, public, `s=("@scheme" "@authority" "@path" "@query" "@target-uri" "@method")`)
		lines := strings.Split(base, "\n")
		if fault != "" || len(lines) != 7 {
			t.Errorf("%s: %q %q", name, fault, lines)
			continue
		}
		var got []string
		for _, line := range lines[:5] {
			_, value, _ := strings.Cut(line, ": ")
			got = append(got, value)
		}
		if s := strings.Join(got, "|"); s != tt.want {
			t.Errorf("%s: %s, want %s", name, s, tt.want)
		}
	}
}

func TestWhatCannotBeSignedIsNoComponent(t *testing.T) {
	for name, tt := range map[string]struct {
		field, fault string
		change       func(r *http.Request)
	}{
		"a header that is missing":     {`s=("x-a")`, "missing", func(*http.Request) {}},
		"a header on two lines":        {`s=("date")`, "several lines", func(r *http.Request) { r.Header.Add("Date", "x") }},
		"a header with a line break":   {`s=("date")`, "line break", func(r *http.Request) { r.Header["Date"] = []string{"x\n\"@method\": GET"} }},
		"a component nobody knows":     {`s=("@status")`, "not known", func(*http.Request) {}},
		"a header of 64 KiB":           {`s=("date")`, "longer than 32768", func(r *http.Request) { r.Header.Set("Date", strings.Repeat("x", 64<<10)) }},
		"an address of 64 KiB":         {`s=("date")`, "longer than 8192", func(r *http.Request) { r.RequestURI = "/" + strings.Repeat("x", 64<<10) }},
		"a host with a path":           {`s=("date")`, "no host", func(r *http.Request) { r.Host = "a/b" }},
		"no host":                      {`s=("date")`, "no host", func(r *http.Request) { r.Host = "" }},
		"a host that is not ASCII":     {`s=("date")`, "as it is in DNS", func(r *http.Request) { r.Host = "bücher.example" }},
		"a path that is not ASCII":     {`s=("date")`, "no path of visible ASCII", func(r *http.Request) { r.RequestURI = "/ü" }},
		"a request without a URL":      {`s=("date")`, "no URL", func(r *http.Request) { r.RequestURI, r.URL = "", nil }},
		"a target that is an asterisk": {`s=("date")`, "no path", func(r *http.Request) { r.RequestURI, r.URL = "*", &url.URL{Path: "*"} }},
	} {
		r := rfcRequest()
		tt.change(r)
		if _, _, fault := webhook.SignatureBase(r, nil, tt.field); !strings.Contains(fault, tt.fault) {
			t.Errorf("%s: %q, want %q", name, fault, tt.fault)
		}
	}
}

// Blanks around a value are no part of it, those within are.
func TestFieldValuesLoseTheirOuterBlanks(t *testing.T) {
	r := rfcRequest()
	r.Header["X-A"] = []string{" \ta  b\t "}
	base, _, _ := webhook.SignatureBase(r, nil, `s=("x-a")`)
	if !strings.HasPrefix(base, "\"x-a\": a  b\n") {
		t.Errorf("%q", base)
	}
}
