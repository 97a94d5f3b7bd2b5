package webhook_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/webhook"
)

const rfcURL = "https://example.com/foo?param=Value&Pet=dog"

// rfcRequest is the request of RFC 9421 appendix B.2.
func rfcRequest() *http.Request {
	r := httptest.NewRequest(http.MethodPost, rfcURL, strings.NewReader(vectorBody))
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
		base, _, fault := webhook.SignatureBase(rfcRequest(), rfcURL, tt.field)
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
	for url, want := range map[string]string{
		"http://Example.COM/a%2Fb?x=%20&y":      "http|example.com|/a%2Fb|?x=%20&y|http://example.com/a%2Fb?x=%20&y",
		"http://example.com/":                   "http|example.com|/|?|http://example.com/",
		"http://example.com/?":                  "http|example.com|/|?|http://example.com/?",
		"http://example.com:80/":                "http|example.com|/|?|http://example.com/",
		"http://example.com:443/":               "http|example.com:443|/|?|http://example.com:443/",
		"HTTPS://example.com:443/":              "https|example.com|/|?|https://example.com/",
		"http://[2001:DB8::1]:8080/":            "http|[2001:db8::1]:8080|/|?|http://[2001:db8::1]:8080/",
		"https://example.com//other.example/?/": "https|example.com|//other.example/|?/|https://example.com//other.example/?/",
	} {
		base, _, fault := webhook.SignatureBase(rfcRequest(), url, `s=("@scheme" "@authority" "@path" "@query" "@target-uri" "@method")`)
		lines := strings.Split(base, "\n")
		if fault != "" || len(lines) != 7 {
			t.Errorf("%s: %q %q", url, fault, lines)
			continue
		}
		var got []string
		for _, line := range lines[:5] {
			_, value, _ := strings.Cut(line, ": ")
			got = append(got, value)
		}
		if s := strings.Join(got, "|"); s != want {
			t.Errorf("%s: %s, want %s", url, s, want)
		}
	}
}

func TestWhatCannotBeSignedIsNoComponent(t *testing.T) {
	for name, tt := range map[string]struct {
		field, fault string
		change       func(r *http.Request)
	}{
		"a header that is missing":   {`s=("x-a")`, "missing", func(*http.Request) {}},
		"a header on two lines":      {`s=("date")`, "several lines", func(r *http.Request) { r.Header.Add("Date", "x") }},
		"a header with a line break": {`s=("date")`, "line break", func(r *http.Request) { r.Header["Date"] = []string{"x\n\"@method\": GET"} }},
		"a component nobody knows":   {`s=("@status")`, "not known", func(*http.Request) {}},
		"a header of 64 KiB":         {`s=("date")`, "longer than 16384", func(r *http.Request) { r.Header.Set("Date", strings.Repeat("x", 64<<10)) }},
	} {
		r := rfcRequest()
		tt.change(r)
		if _, _, fault := webhook.SignatureBase(r, rfcURL, tt.field); !strings.Contains(fault, tt.fault) {
			t.Errorf("%s: %q, want %q", name, fault, tt.fault)
		}
	}
	for url, want := range map[string]string{
		"https://example.com/" + strings.Repeat("x", 64<<10): "longer than 8192",
		"https:///in": "no host", "https://a@b/": "no host", "https://a?b/": "no host", "https://bücher.example/": "as it is in DNS",
		"https://example.com/ü": "no path of visible ASCII", "https://example.com/ ": "no path of visible ASCII", "https://example.com": "no path", "https://example.com*": "no host",
		"ftp://example.com/": "neither https nor http", "": "neither https nor http", "/in": "neither https nor http",
	} {
		if _, _, fault := webhook.SignatureBase(rfcRequest(), url, `s=("date")`); !strings.Contains(fault, want) {
			t.Errorf("%.80s: %q, want %q", url, fault, want)
		}
	}
}

// Blanks around a value are no part of it, those within are.
func TestFieldValuesLoseTheirOuterBlanks(t *testing.T) {
	r := rfcRequest()
	r.Header["X-A"] = []string{" \ta  b\t "}
	base, _, _ := webhook.SignatureBase(r, rfcURL, `s=("x-a")`)
	if !strings.HasPrefix(base, "\"x-a\": a  b\n") {
		t.Errorf("%q", base)
	}
}
