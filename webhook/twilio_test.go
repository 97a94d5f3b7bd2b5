package webhook_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/webhook"
)

const (
	twilioToken = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
	formType    = "application/x-www-form-urlencoded; charset=UTF-8"
	twilioForm  = "CallSid=CA1234567890ABCDE&Caller=%2B14158675310&Digits=1234&From=%2B14158675310&To=%2B18005551212"
)

func twilioMAC(token, base string) string {
	mac := hmac.New(sha1.New, []byte(token))
	mac.Write([]byte(base))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// The vector of Twilio's documentation, whose token is shorter than a secret may
// be here.
func TestTwilioVector(t *testing.T) {
	base, fault := webhook.TwilioBase("https://example.com/myapp.php?foo=1&bar=2", formType, []byte(twilioForm))
	if fault != "" || twilioMAC("12345", base) != "L/OH5YylLD5NRKLltdqwSvS0BnU=" {
		t.Errorf("%q, %q", base, fault)
	}
}

func twilioKeys(tb testing.TB) webhook.Keys {
	tb.Helper()
	return must(webhook.NewKeys(webhook.Key{ID: "token", Secret: must(webhook.SecretFromRaw(twilioToken))(tb), Scheme: webhook.Twilio()}))(tb)
}

func twilioVerifier(tb testing.TB, base string) *webhook.Verifier {
	tb.Helper()
	return must(webhook.NewVerifier(twilioKeys(tb), &webhook.VerifierOptions{BaseURL: base, Now: clockAt(testTime)}))(tb)
}

// fromTwilio is a request with a signature over base.
func fromTwilio(target, contentType, body, base string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(body))
	r.Header.Set("X-Twilio-Signature", twilioMAC(twilioToken, base))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return r
}

func TestTwilioRequestsVerify(t *testing.T) {
	sum := sha256.Sum256([]byte(testBody))
	named := "/in?bodySHA256=" + hex.EncodeToString(sum[:])
	for name, tt := range map[string]struct{ base, target, contentType, body, signed string }{
		"a form":               {"https://example.com", "/in?a=1", formType, "To=%2B1&From=b+c&a=&From=b", "https://example.com/in?a=1" + "Fromb" + "Fromb c" + "To+1" + "a"},
		"a value twice":        {"https://example.com", "/in", formType, "a=2&a=1&a=2", "https://example.com/ina1a2"},
		"no body":              {"https://example.com", "/in?a=1", "", "", "https://example.com/in?a=1"},
		"JSON":                 {"https://example.com", named, "application/json", testBody, "https://example.com" + named},
		"a form that is named": {"https://example.com", named, formType, testBody, "https://example.com" + named},
		"the usual port":       {"https://example.com", "/in", "", "", "https://example.com:443/in"},
		"another port":         {"https://example.com:8443", "/in", "", "", "https://example.com:8443/in"},
		"the port left out":    {"https://example.com:8443", "/in", "", "", "https://example.com/in"},
		"no TLS":               {"http://example.com", "/in", "", "", "http://example.com:80/in"},
	} {
		got, err := twilioVerifier(t, tt.base).VerifyRequest(fromTwilio(tt.target, tt.contentType, tt.body, tt.signed))
		if err != nil || got.ID != "" || got.KeyID != "token" || got.Scheme != "twilio" || !got.Timestamp.IsZero() {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestTwilioRequestsAreRefused(t *testing.T) {
	sum := sha256.Sum256([]byte(testBody))
	named := "/in?bodySHA256=" + hex.EncodeToString(sum[:])
	for name, tt := range map[string]struct {
		target, contentType, body, signed string
		err                               error
	}{
		"a changed form":            {"/in", formType, "a=2", "https://example.com/ina1", webhook.ErrSignature},
		"a changed address":         {"/out", formType, "a=1", "https://example.com/ina1", webhook.ErrSignature},
		"another host":              {"/in", formType, "a=1", "https://other.example.com/ina1", webhook.ErrSignature},
		"changed JSON":              {named, "application/json", testBody + " ", "https://example.com" + named, webhook.ErrSignature},
		"JSON that nothing signs":   {"/in", "application/json", testBody, "https://example.com/in", webhook.ErrMalformed},
		"a body of no type":         {"/in", "", testBody, "https://example.com/in", webhook.ErrMalformed},
		"two digests":               {named + "&bodySHA256=00", "application/json", testBody, "https://example.com" + named + "&bodySHA256=00", webhook.ErrMalformed},
		"two digests and a form":    {named + "&bodySHA256=00", formType, "a=1", "https://example.com" + named + "&bodySHA256=00a1", webhook.ErrMalformed},
		"a digest in capitals":      {strings.ToUpper(named), "application/json", testBody, "https://example.com" + strings.ToUpper(named), webhook.ErrMalformed},
		"a digest cut short":        {named[:40], "application/json", testBody, "https://example.com" + named[:40], webhook.ErrSignature},
		"a broken form":             {"/in", formType, "a=%zz", "https://example.com/in", webhook.ErrMalformed},
		"a form of 1001 parameters": {"/in", formType, strings.Repeat("a&", 1000) + "a", "https://example.com/in", webhook.ErrMalformed},
	} {
		if _, err := twilioVerifier(t, "https://example.com").VerifyRequest(fromTwilio(tt.target, tt.contentType, tt.body, tt.signed)); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", name, err, tt.err)
		}
	}
	for name, values := range map[string][]string{
		"none": nil, "two": {"L/OH5YylLD5NRKLltdqwSvS0BnU=", "L/OH5YylLD5NRKLltdqwSvS0BnU="}, "empty": {""}, "short": {"L/OH5YylLD5NRKLltdqwSvS0Bn=="},
		"unpadded": {"L/OH5YylLD5NRKLltdqwSvS0BnU"}, "of the other alphabet": {"L_OH5YylLD5NRKLltdqwSvS0BnU="}, "stray bits": {"L/OH5YylLD5NRKLltdqwSvS0BnV="}, "1 MiB": {strings.Repeat("A", 1<<20)},
	} {
		r := fromTwilio("/in", "", "", "")
		if r.Header["X-Twilio-Signature"] = values; values == nil {
			r.Header.Del("X-Twilio-Signature")
		}
		_, err := twilioVerifier(t, "https://example.com").VerifyRequest(r)
		if want := map[bool]error{true: webhook.ErrMissing, false: webhook.ErrMalformed}[values == nil]; !errors.Is(err, want) {
			t.Errorf("a signature that is %s: %v, want %v", name, err, want)
		}
	}
	r := fromTwilio("/in", formType, "a=1", "https://example.com/ina1")
	r.Header.Add("Content-Type", "application/json")
	_, err := twilioVerifier(t, "https://example.com").VerifyRequest(r)
	wantIs(t, err, webhook.ErrMalformed)
	_, err = twilioVerifier(t, "https://example.com").Verify(r.Header, []byte("a=1"))
	wantIs(t, err, webhook.ErrSignature)
}

// Twilio's idempotency token is not signed: whatever stands there, it is the same
// message.
func TestTwilioMessagesAreToldApartByWhatIsSigned(t *testing.T) {
	verifier := twilioVerifier(t, "https://example.com")
	replayKey := func(target, token, body, signed string) string {
		t.Helper()
		r := fromTwilio(target, formType, body, signed)
		r.Header.Set("I-Twilio-Idempotency-Token", token)
		return must(verifier.VerifyRequest(r))(t).ReplayKey([]byte(body))
	}
	want := replayKey("/in", "1", "a=1&b=2", "https://example.com/ina1b2")
	if got := replayKey("/in", "2", "b=2&a=1&a=1", "https://example.com/ina1b2"); got != want {
		t.Errorf("under another token and in another spelling: %q, want %q", got, want)
	}
	if got := replayKey("/in", "1", "a=1&b=3", "https://example.com/ina1b3"); got == want {
		t.Error("another form has the same replay key")
	}
}

func TestTwilioRequestsAreSigned(t *testing.T) {
	signer := must(webhook.NewSigner(twilioKeys(t)))(t)
	for name, tt := range map[string]struct{ url, contentType, body string }{
		"a form":  {"https://example.com/in?x=1", formType, twilioForm},
		"nothing": {"https://EXAMPLE.com:443/in", "", ""},
		"JSON":    {"", "application/json", testBody},
	} {
		if name == "JSON" {
			sum := sha256.Sum256([]byte(tt.body))
			tt.url = "https://example.com/in?bodySHA256=" + hex.EncodeToString(sum[:])
		}
		out := must(http.NewRequestWithContext(t.Context(), http.MethodPost, tt.url, http.NoBody))(t)
		out.Header.Set("Content-Type", tt.contentType)
		if err := signer.SignRequest(out, sigID, t0, []byte(tt.body)); err != nil {
			t.Fatal(err)
		}
		if _, err := twilioVerifier(t, "https://example.com").VerifyRequest(arrived(out, tt.body)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	out := must(http.NewRequestWithContext(t.Context(), http.MethodPost, "https://example.com/in", http.NoBody))(t)
	err := signer.SignRequest(out, sigID, t0, []byte(testBody))
	wantIs(t, err, webhook.ErrMessage)
	if !strings.Contains(err.Error(), "bodySHA256") || len(out.Header) != 0 {
		t.Errorf("%v; headers %v", err, out.Header)
	}
}

func TestFaultsOfATwilioScheme(t *testing.T) {
	secret := must(webhook.SecretFromRaw(twilioToken))(t)
	for text, change := range map[string]func(s *webhook.Scheme){
		`hash: give "sha1"`:       func(s *webhook.Scheme) { s.Hash = "sha256" },
		`encoding: give "base64"`: func(s *webhook.Scheme) { s.Encoding = "hex" },
		"there are none":          func(s *webhook.Scheme) { s.Entry = "v1=" },
	} {
		s := webhook.Twilio()
		change(&s)
		_, err := webhook.NewKeys(webhook.Key{Secret: secret, Scheme: s})
		wantFaults(t, err, text)
	}
	private, _ := webhook.GenerateKeyPair()
	_, err := webhook.NewKeys(webhook.Key{Secret: private, Scheme: webhook.Twilio()})
	wantFaults(t, err, "Twilio has a shared one")
}

// Whatever is accepted is what Twilio's rules make of the request, written again
// over the parsed form.
func FuzzTwilio(f *testing.F) {
	f.Add("/in?a=1", formType, []byte("To=%2B1&From=b+c&a=&From=b"), true)
	f.Add("/in?bodySHA256=x&bodySHA256", "application/json", []byte("{}"), false)
	f.Add("/", "application/x-www-form-urlencoded", []byte("a;b=%%"), true)
	verifier := twilioVerifier(f, "https://example.com")
	f.Fuzz(func(t *testing.T, target, contentType string, body []byte, right bool) {
		base, fault := webhook.TwilioBase("https://example.com"+target, contentType, body)
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(string(body)))
		r.RequestURI = target
		r.Header = http.Header{"Content-Type": {contentType}, "X-Twilio-Signature": {twilioMAC(twilioToken, base+map[bool]string{true: "", false: "x"}[right])}}
		_, err := verifier.VerifyRequest(r)
		if err == nil && (fault != "" || !right) {
			t.Errorf("%q with %q is accepted: %q", target, body, fault)
		}
		if !strings.HasPrefix(base, "https://example.com"+target) && fault == "" {
			t.Errorf("%q does not begin with the address", base)
		}
	})
}
