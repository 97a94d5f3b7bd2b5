package webhook_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

const (
	sigBase   = "https://api.example.com"
	sigTarget = "/hooks/in?x=1&y=%20"
	sigID     = "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W"
	sigPrefix = "whsec_"
)

// sigPair is the key pair of RFC 9421 appendix B.1.4.
func sigPair(tb testing.TB) (private, public webhook.Secret) {
	tb.Helper()
	private = must(webhook.PrivateKeyFromString("whsk_n4Ni+HpISpVObnQMW0wOhCKROaIKqKtW/2ZYb2p9KcUmtAuPk//z2JcRL368WCsjLb1yUX0IL+g8+zDdzkPRuw=="))(tb)
	return private, private.Public()
}

func sigKey(tb testing.TB, id, secret string) webhook.Key {
	tb.Helper()
	return webhook.Key{ID: id, Secret: must(webhook.SecretFromString(secret))(tb), Scheme: webhook.HTTPSignatures()}
}

func sigVerifier(tb testing.TB, keys ...webhook.Key) *webhook.Verifier {
	tb.Helper()
	return must(webhook.NewVerifier(must(webhook.NewKeys(keys...))(tb), &webhook.VerifierOptions{Now: clockAt(testTime), BaseURL: sigBase}))(tb)
}

// outgoing is a request to be signed.
func outgoing(tb testing.TB, body string) *http.Request {
	tb.Helper()
	r := must(http.NewRequestWithContext(tb.Context(), http.MethodPost, sigBase+sigTarget, strings.NewReader(body)))(tb)
	r.Header.Set("Content-Type", "application/json")
	return r
}

// arrived is what a server gets of a request.
func arrived(out *http.Request, body string) *http.Request {
	r := httptest.NewRequest(out.Method, out.URL.RequestURI(), strings.NewReader(body))
	r.Host = "10.0.0.7:8080" // behind a proxy
	r.Header = out.Header.Clone()
	return r
}

// signedHTTP is a request that arrived, signed with keys.
func signedHTTP(tb testing.TB, body string, keys ...webhook.Key) *http.Request {
	tb.Helper()
	out := outgoing(tb, body)
	if err := must(webhook.NewSigner(must(webhook.NewKeys(keys...))(tb)))(tb).SignRequest(out, sigID, t0, []byte(body)); err != nil {
		tb.Fatal(err)
	}
	return arrived(out, body)
}

// These are pinned: what is signed today verifies for ever.
func TestHTTPSignaturesArePinned(t *testing.T) {
	private, _ := sigPair(t)
	shared := sigKey(t, "2026-01", testSecret)
	r := signedHTTP(t, testBody, shared, webhook.Key{ID: "pair", Secret: private, Scheme: webhook.HTTPSignatures()})
	for name, want := range map[string]string{
		"Webhook-Id":     sigID,
		"Content-Digest": "sha-256=:roWJMfZ4h+gVDW+Wyf4DBiwd82tEZMTdyOACwITV0Zg=:",
		"Signature-Input": `sig1=("@method" "@target-uri" "content-digest" "content-type" "webhook-id");created=1614265330;keyid="2026-01";alg="hmac-sha256", ` +
			`sig2=("@method" "@target-uri" "content-digest" "content-type" "webhook-id");created=1614265330;keyid="pair";alg="ed25519"`,
		"Signature": "sig1=:+Q6oCXw1CKHJm8O6ZW81f94NGpqLbl1O6KNkaAUxmhI=:, sig2=:ZukOsGEPo0g5tQv9rQou2Ctd9AE3rz62BfmthXNFJRX075X12QVb3zNnZ4qFrlnsbdsm8cc/CtuL/W2Zwy37DQ==:",
	} {
		if got := r.Header[name]; len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// naiveBase is the signature base as RFC 9421 describes it, written again.
func naiveBase(r *http.Request, components []string, params string) string {
	var b strings.Builder
	for _, c := range components {
		value := map[string]string{"@method": r.Method, "@target-uri": sigBase + r.RequestURI, "@authority": strings.TrimPrefix(sigBase, "https://")}[c]
		if c[0] != '@' {
			value = strings.Join(r.Header.Values(c), ", ")
		}
		fmt.Fprintf(&b, "%q: %s\n", c, value)
	}
	return b.String() + `"@signature-params": ` + params
}

// handSigned signs r by hand with what RFC 9421 allows and our signer never
// writes.
func handSigned(tb testing.TB, r *http.Request, label string, components []string, params string) {
	tb.Helper()
	input := `("` + strings.Join(components, `" "`) + `")` + params
	if len(components) == 0 {
		input = "()" + params
	}
	key := must(base64.StdEncoding.DecodeString(strings.TrimPrefix(testSecret, sigPrefix)))(tb)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(naiveBase(r, components, input)))
	add := func(name, member string) {
		if old := r.Header.Get(name); old != "" {
			member = old + ", " + member
		}
		r.Header.Set(name, member)
	}
	add("Signature-Input", label+"="+input)
	add("Signature", label+"=:"+base64.StdEncoding.EncodeToString(mac.Sum(nil))+":")
}

// bare is a request that arrived with its digest and id, and is not signed.
func bare(tb testing.TB, body string) *http.Request {
	tb.Helper()
	out := outgoing(tb, body)
	out.Header.Set("Content-Digest", webhook.ContentDigest([]byte(body)))
	out.Header.Set("Webhook-Id", sigID)
	return arrived(out, body)
}

var sigAll = []string{"@method", "@target-uri", "content-digest", "content-type", "webhook-id"}

func without(name string) []string {
	return slices.DeleteFunc(slices.Clone(sigAll), func(c string) bool { return c == name })
}

func TestHTTPSignaturesVerify(t *testing.T) {
	private, public := sigPair(t)
	remote := must(webhook.SecretFromSigner(remoteSigner{ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1, 2, 3, 4}, 8))}))(t)
	s := webhook.HTTPSignatures()
	for name, tt := range map[string]struct{ sign, verify webhook.Key }{
		"shared":         {sigKey(t, "k", testSecret), sigKey(t, "k", testSecret)},
		"another name":   {sigKey(t, "theirs", testSecret), sigKey(t, "ours", testSecret)},
		"a pair":         {webhook.Key{ID: "k", Secret: private, Scheme: s}, webhook.Key{ID: "k", Secret: public, Scheme: s}},
		"a pair by half": {webhook.Key{ID: "k", Secret: private, Scheme: s}, webhook.Key{ID: "k", Secret: private, Scheme: s}},
		"held elsewhere": {webhook.Key{ID: "k", Secret: remote, Scheme: s}, webhook.Key{ID: "k", Secret: remote.Public(), Scheme: s}},
	} {
		for _, body := range []string{testBody, ""} {
			r := signedHTTP(t, body, tt.sign)
			got, err := sigVerifier(t, tt.verify).VerifyRequest(r)
			if err != nil || got.ID != sigID || got.KeyID != tt.verify.ID || got.Scheme != "rfc9421" || !got.Timestamp.Equal(t0) || got.ReplayKey([]byte(body)) != sigID {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
			if again, err := io.ReadAll(r.Body); err != nil || string(again) != body {
				t.Errorf("%s: afterwards the body reads %q, %v", name, again, err)
			}
		}
	}
}

// A remoteSigner shows no more of a key than a key management service does.
type remoteSigner struct{ key ed25519.PrivateKey }

func (s remoteSigner) Public() crypto.PublicKey { return s.key.Public() }
func (s remoteSigner) Sign(random io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.key.Sign(random, message, opts)
}

// What was signed by hand, with the same base written again, is accepted.
func TestHTTPSignaturesOfOthersVerify(t *testing.T) {
	verifier := sigVerifier(t, sigKey(t, "k", testSecret))
	for name, tt := range map[string]struct {
		components []string
		params     string
	}{
		"no algorithm":     {sigAll, ";created=1614265330;keyid=\"k\""},
		"no key id":        {sigAll, ";created=1614265330"},
		"another order":    {[]string{"webhook-id", "content-type", "content-digest", "@target-uri", "@method"}, ";keyid=\"k\";created=1614265330"},
		"more than needed": {append(slices.Clone(sigAll), "@authority", "x-more"), ";created=1614265330"},
		"all parameters":   {sigAll, ";created=1614265330;expires=1614265331;nonce=\"n\";alg=\"hmac-sha256\";keyid=\"other\";tag=\"t\";new=?0"},
		"expires just now": {sigAll, ";created=1614265330;expires=1614265330"},
		"at the tolerance": {sigAll, ";created=1614265030"},
		"ahead by as much": {sigAll, ";created=1614265630"},
	} {
		r := bare(t, testBody)
		r.Header.Set("X-More", "more")
		handSigned(t, r, "their.label", tt.components, tt.params)
		if got, err := verifier.VerifyRequest(r); err != nil || got.ID != sigID || got.KeyID != "k" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// Each of these is signed with the right key, and proves too little.
func TestSignaturesThatProveTooLittleAreRefused(t *testing.T) {
	verifier := sigVerifier(t, sigKey(t, "k", testSecret))
	const created = ";created=1614265330"
	for name, tt := range map[string]struct {
		components []string
		params     string
		err        error
		text       string
	}{
		"nothing":               {nil, created, webhook.ErrMalformed, "does not cover @method"},
		"not the method":        {without("@method"), created, webhook.ErrMalformed, "does not cover @method"},
		"not the address":       {append(without("@target-uri"), "@authority"), created, webhook.ErrMalformed, "does not cover @target-uri"},
		"not the body":          {without("content-digest"), created, webhook.ErrMalformed, "covers content-digest"},
		"not its type":          {without("content-type"), created, webhook.ErrMalformed, "does not cover content-type"},
		"not the id":            {without("webhook-id"), created, webhook.ErrMalformed, "does not cover webhook-id"},
		"no time":               {sigAll, "", webhook.ErrMalformed, "has no created"},
		"too old":               {sigAll, ";created=1614265029", webhook.ErrTooOld, "5m1s old"},
		"too new":               {sigAll, ";created=1614265631", webhook.ErrTooNew, "5m1s ahead"},
		"the epoch":             {sigAll, ";created=0", webhook.ErrTooOld, "old"},
		"the year 30 million":   {sigAll, ";created=999999999999999", webhook.ErrMalformed, "more than 11 digits"},
		"expired":               {sigAll, created + ";expires=1614265329", webhook.ErrMalformed, "expires before it was created"},
		"expired meanwhile":     {sigAll, ";created=1614265320;expires=1614265329", webhook.ErrTooOld, "expired at 2021-02-25T15:02:09Z"},
		"another algorithm":     {sigAll, created + `;alg="hmac-sha1"`, webhook.ErrSignature, "another algorithm"},
		"the algorithm of pair": {sigAll, created + `;alg="ed25519"`, webhook.ErrMalformed, "not padded base64 of 64 bytes"},
		"a header not there":    {append(slices.Clone(sigAll), "x-gone"), created, webhook.ErrMissing, "x-gone: missing"},
		"unknown component":     {append(slices.Clone(sigAll), "@status"), created, webhook.ErrMalformed, "not known here"},
	} {
		r := bare(t, testBody)
		handSigned(t, r, "sig1", tt.components, tt.params)
		_, err := verifier.VerifyRequest(r)
		if !errors.Is(err, tt.err) || !strings.Contains(fmt.Sprint(err), tt.text) {
			t.Errorf("%s: %v, want %v with %q", name, err, tt.err, tt.text)
		}
	}
}

// A component with a parameter has another value than one without: whoever
// signed one as if it had none is not believed.
func TestComponentsWithParametersAreNotGuessed(t *testing.T) {
	r := bare(t, testBody)
	r.Header.Set("X-More", "more")
	input := strings.TrimSuffix(`("`+strings.Join(append(slices.Clone(sigAll), "x-more"), `" "`)+`")`, ")") + ";sf);created=1614265330"
	mac := hmac.New(sha256.New, must(base64.StdEncoding.DecodeString(strings.TrimPrefix(testSecret, sigPrefix)))(t))
	mac.Write([]byte(naiveBase(r, append(slices.Clone(sigAll), "x-more"), input)))
	r.Header.Set("Signature-Input", "sig1="+input)
	r.Header.Set("Signature", "sig1=:"+base64.StdEncoding.EncodeToString(mac.Sum(nil))+":")
	_, err := sigVerifier(t, sigKey(t, "k", testSecret)).VerifyRequest(r)
	wantIs(t, err, webhook.ErrMalformed)
}

func TestNothingThatIsSignedCanBeChanged(t *testing.T) {
	private, public := sigPair(t)
	s := webhook.HTTPSignatures()
	for kind, keys := range map[string][2]webhook.Key{
		"shared": {sigKey(t, "k", testSecret), sigKey(t, "k", testSecret)},
		"a pair": {webhook.Key{ID: "k", Secret: private, Scheme: s}, webhook.Key{ID: "k", Secret: public, Scheme: s}},
	} {
		verifier := sigVerifier(t, keys[1])
		for name, tt := range map[string]struct {
			err    error
			change func(r *http.Request)
		}{
			"method":          {webhook.ErrSignature, func(r *http.Request) { r.Method = http.MethodPut }},
			"path":            {webhook.ErrSignature, func(r *http.Request) { r.RequestURI = "/hooks/out?x=1&y=%20" }},
			"path, by escape": {webhook.ErrSignature, func(r *http.Request) { r.RequestURI = "/hooks/%69n?x=1&y=%20" }},
			"query":           {webhook.ErrSignature, func(r *http.Request) { r.RequestURI = "/hooks/in?x=2&y=%20" }},
			"body":            {webhook.ErrSignature, func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(testBody + " ")) }},
			"no body":         {webhook.ErrSignature, func(r *http.Request) { r.Body = http.NoBody }},
			"body and digest": {webhook.ErrSignature, func(r *http.Request) {
				r.Body = io.NopCloser(strings.NewReader("x"))
				r.Header.Set("Content-Digest", webhook.ContentDigest([]byte("x")))
			}},
			"type":           {webhook.ErrSignature, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }},
			"no type":        {webhook.ErrMissing, func(r *http.Request) { r.Header.Del("Content-Type") }},
			"id":             {webhook.ErrSignature, func(r *http.Request) { r.Header.Set("Webhook-Id", "msg_2") }},
			"id with a dot":  {webhook.ErrMalformed, func(r *http.Request) { r.Header.Set("Webhook-Id", "msg_2.1") }},
			"no id":          {webhook.ErrMissing, func(r *http.Request) { r.Header.Del("Webhook-Id") }},
			"no digest":      {webhook.ErrMissing, func(r *http.Request) { r.Header.Del("Content-Digest") }},
			"created":        {webhook.ErrSignature, replaceHeader("Signature-Input", "created=1614265330", "created=1614265331")},
			"key id":         {webhook.ErrSignature, replaceHeader("Signature-Input", `keyid="k"`, `keyid="l"`)},
			"order":          {webhook.ErrSignature, replaceHeader("Signature-Input", `"@method" "@target-uri"`, `"@target-uri" "@method"`)},
			"a blank more":   {webhook.ErrMalformed, replaceHeader("Signature-Input", `"@method" `, `"@method"  `)},
			"no signature":   {webhook.ErrMissing, func(r *http.Request) { r.Header.Del("Signature") }},
			"no input":       {webhook.ErrMissing, func(r *http.Request) { r.Header.Del("Signature-Input") }},
			"another label":  {webhook.ErrMissing, replaceHeader("Signature", "sig1", "sig2")},
			"two signatures": {webhook.ErrMalformed, func(r *http.Request) { r.Header.Add("Signature", r.Header.Get("Signature")) }},
			"two inputs":     {webhook.ErrMalformed, func(r *http.Request) { r.Header.Add("Signature-Input", "a=()") }},
			"two digests":    {webhook.ErrMalformed, func(r *http.Request) { r.Header.Add("Content-Digest", r.Header.Get("Content-Digest")) }},
			"two ids":        {webhook.ErrMalformed, func(r *http.Request) { r.Header.Add("Webhook-Id", "evil") }},
			"two types":      {webhook.ErrMalformed, func(r *http.Request) { r.Header.Add("Content-Type", "text/plain") }},
			"a second of it": {webhook.ErrMalformed, func(r *http.Request) {
				r.Header.Set("Signature", r.Header.Get("Signature")+", "+r.Header.Get("Signature"))
			}},
			"an input of 1 MB": {webhook.ErrMalformed, func(r *http.Request) { r.Header.Set("Signature-Input", strings.Repeat("a=(),", 200_000)) }},
		} {
			r := signedHTTP(t, testBody, keys[0])
			tt.change(r)
			if _, err := verifier.VerifyRequest(r); !errors.Is(err, tt.err) {
				t.Errorf("%s, %s: %v, want %v", kind, name, err, tt.err)
			}
		}
	}
}

func replaceHeader(name, old, next string) func(r *http.Request) {
	return func(r *http.Request) { r.Header.Set(name, strings.Replace(r.Header.Get(name), old, next, 1)) }
}

// A message for one server is none for another, whatever Host it is sent with.
func TestTheAddressIsTheOneThatSendersKnow(t *testing.T) {
	key := sigKey(t, "k", testSecret)
	r := signedHTTP(t, testBody, key)
	r.Host = "api.example.com"
	other := must(webhook.NewVerifier(must(webhook.NewKeys(key))(t), &webhook.VerifierOptions{Now: clockAt(testTime), BaseURL: "https://other.example.com"}))(t)
	_, err := other.VerifyRequest(r)
	wantIs(t, err, webhook.ErrSignature)
	_, err = webhook.NewVerifier(must(webhook.NewKeys(key))(t), nil)
	wantFaults(t, err, "base URL: empty")

	// A router in between may change what a handler sees, not what was sent.
	r = signedHTTP(t, testBody, key)
	http.StripPrefix("/hooks", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if _, err := sigVerifier(t, key).VerifyRequest(r); err != nil {
			t.Error(err)
		}
	})).ServeHTTP(httptest.NewRecorder(), r)
}

// A request may name its whole address, RFC 9112 section 3.2.2. What signs one path
// proves nothing about another then, either, whatever a router in between takes off.
func TestAWholeAddressIsTakenAsItWasSent(t *testing.T) {
	key := sigKey(t, "k", testSecret)
	var denial error
	router := http.StripPrefix("/tenant", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, denial = sigVerifier(t, key).VerifyRequest(r)
	}))
	for address, path := range map[string]string{
		"http://h/tenant" + sigTarget: "/tenant" + sigTarget,
		"HTTP://h:8080/tenant":        "/tenant",
		"http://h/tenant?to=http://h": "/tenant?to=http://h",
		"/tenant?to=http://h":         "/tenant?to=http://h",
	} {
		for signed, want := range map[string]error{path: nil, strings.TrimPrefix(path, "/tenant"): webhook.ErrSignature} {
			out := outgoing(t, testBody)
			out.URL = must(out.URL.Parse(sigBase + signed))(t)
			if err := must(webhook.NewSigner(must(webhook.NewKeys(key))(t)))(t).SignRequest(out, sigID, t0, []byte(testBody)); err != nil {
				t.Fatal(err)
			}
			in := httptest.NewRequest(http.MethodPost, address, strings.NewReader(testBody))
			in.Header = out.Header
			denial = io.ErrUnexpectedEOF
			if router.ServeHTTP(httptest.NewRecorder(), in); !errors.Is(denial, want) {
				t.Errorf("%s, signed for %s: %v; want %v", address, signed, denial, want)
			}
		}
	}
	// Neither a path nor a host.
	in := signedHTTP(t, testBody, key)
	for _, address := range []string{"*", "http://h", "http://h?x=1", "http://", "h:443"} {
		in.RequestURI = address
		if _, err := sigVerifier(t, key).VerifyRequest(in); err == nil {
			t.Errorf("%s was verified", address)
		}
	}
}

func TestTheAddressIsSignedInOneSpelling(t *testing.T) {
	key := sigKey(t, "k", testSecret)
	signer := must(webhook.NewSigner(must(webhook.NewKeys(key))(t)))(t)
	for _, url := range []string{"HTTPS://API.Example.com:443" + sigTarget, sigBase + sigTarget + "#part"} {
		out := must(http.NewRequestWithContext(t.Context(), http.MethodPost, url, http.NoBody))(t)
		if err := signer.SignRequest(out, sigID, t0, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := sigVerifier(t, key).VerifyRequest(arrived(out, "")); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	for _, url := range []string{"https://user:pw@api.example.com/", "ftp://api.example.com/", "https://bücher.example/"} {
		out := must(http.NewRequestWithContext(t.Context(), http.MethodPost, url, http.NoBody))(t)
		wantIs(t, signer.SignRequest(out, sigID, t0, nil), webhook.ErrMessage)
		if len(out.Header) != 0 {
			t.Errorf("%s: headers were set: %v", url, out.Header)
		}
	}
}

// Signatures of proxies, and of algorithms that are not known here, harm nobody.
func TestOtherSignaturesArePassedOver(t *testing.T) {
	key := sigKey(t, "k", testSecret)
	r := bare(t, testBody)
	handSigned(t, r, "proxy", []string{"@method", "@authority"}, ";created=1;keyid=\"p\"")
	r.Header.Set("Signature-Input", r.Header.Get("Signature-Input")+`, rsa=("@method" "content-digest";req);created=1614265330;alg="rsa-pss-sha512", gone=();created=1`)
	r.Header.Set("Signature", r.Header.Get("Signature")+", rsa=:"+strings.Repeat("A", 344)+":, more=::")
	handSigned(t, r, "old", sigAll, ";created=1614260000")
	handSigned(t, r, "ours", sigAll, ";created=1614265330")
	if got, err := sigVerifier(t, key).VerifyRequest(r); err != nil || got.ID != sigID || !got.Timestamp.Equal(t0) {
		t.Errorf("%+v, %v", got, err)
	}
}

// The public half of a pair is no secret: a MAC under its bytes proves nothing.
func TestAPublicKeyIsNoSharedSecret(t *testing.T) {
	_, public := sigPair(t)
	shared := must(webhook.SecretFromString(strings.Replace(public.Reveal(), "whpk_", sigPrefix, 1)))(t)
	s := webhook.HTTPSignatures()
	r := signedHTTP(t, testBody, webhook.Key{ID: "k", Secret: shared, Scheme: s})
	for _, change := range []func(r *http.Request){func(*http.Request) {}, replaceHeader("Signature-Input", `;alg="hmac-sha256"`, "")} {
		change(r)
		_, err := sigVerifier(t, webhook.Key{ID: "k", Secret: public, Scheme: s}).VerifyRequest(r)
		wantIs(t, err, webhook.ErrSignature)
	}
}

// Each would cost as much as hashing 50 KB.
func TestSignaturesOfKeyPairsAreFew(t *testing.T) {
	private, public := sigPair(t)
	s := webhook.HTTPSignatures()
	key := webhook.Key{ID: "k", Secret: private, Scheme: s}
	for n, want := range map[int]error{4: nil, 5: webhook.ErrMalformed} {
		r := signedHTTP(t, testBody, key)
		input, signature := strings.TrimPrefix(r.Header.Get("Signature-Input"), "sig1="), strings.TrimPrefix(r.Header.Get("Signature"), "sig1=")
		for i := 2; i <= n; i++ {
			for name, text := range map[string]string{"Signature-Input": input, "Signature": signature} {
				r.Header.Set(name, fmt.Sprintf("%s, s%d=%s", r.Header.Get(name), i, text))
			}
		}
		key.Secret = public
		if _, err := sigVerifier(t, key).VerifyRequest(r); !errors.Is(err, want) {
			t.Errorf("%d: %v, want %v", n, err, want)
		}
		key.Secret = private
	}
}

func TestHTTPSignaturesSurviveARotation(t *testing.T) {
	fresh, old := sigKey(t, "new", testSecret), sigKey(t, "old", otherSecret)
	old.NotAfter = t0.Add(time.Second)
	both := signedHTTP(t, testBody, fresh, old)
	if got, err := sigVerifier(t, sigKey(t, "theirs", otherSecret)).VerifyRequest(both); err != nil || got.KeyID != "theirs" {
		t.Errorf("a receiver with the old key: %+v, %v", got, err)
	}
	if got, err := sigVerifier(t, old, fresh).VerifyRequest(both); err != nil || got.KeyID != "old" {
		t.Errorf("a receiver with both: %+v, %v", got, err)
	}
	alone := signedHTTP(t, testBody, old)
	old.NotAfter = t0
	_, err := sigVerifier(t, fresh, old).VerifyRequest(alone)
	wantIs(t, err, webhook.ErrKeyExpired)
}

// The whole way: a client, a server behind its public address, and a replay guard.
func TestHTTPSignaturesOverTheWire(t *testing.T) {
	key, handled := sigKey(t, "k", testSecret), 0
	server := httptest.NewUnstartedServer(nil)
	server.Start()
	defer server.Close()
	verifier := must(webhook.NewVerifier(must(webhook.NewKeys(key))(t), &webhook.VerifierOptions{Now: clockAt(testTime), BaseURL: server.URL}))(t)
	replays := must(webhook.NewMemoryReplayStore(nil))(t)
	server.Config.Handler = must(verifier.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if body, err := io.ReadAll(r.Body); err != nil || string(body) != testBody {
			t.Errorf("body %q, %v", body, err)
		}
		handled++
	}), &webhook.HandlerOptions{Replay: replays}))(t)
	signer := must(webhook.NewSigner(must(webhook.NewKeys(key))(t)))(t)
	for i, want := range []int{http.StatusOK, http.StatusOK, http.StatusUnauthorized} {
		out := must(http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+sigTarget, strings.NewReader(testBody)))(t)
		out.Header.Set("Content-Type", "application/json")
		if err := signer.SignRequest(out, sigID, t0.Add(time.Duration(i)*time.Second), []byte(testBody)); err != nil {
			t.Fatal(err)
		}
		if i == 2 {
			out.URL.Path = "/elsewhere"
		}
		answer := must(server.Client().Do(out))(t)
		_ = answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("request %d: %d, want %d", i, answer.StatusCode, want)
		}
	}
	if handled != 1 {
		t.Errorf("handled %d times, want 1", handled)
	}
}

// An id that is not signed decides nothing: the same message has one replay key
// whatever id somebody gives it, and whichever of its signatures is left on.
func TestAnUnsignedIDIsNotBelieved(t *testing.T) {
	scheme := webhook.HTTPSignatures()
	scheme.Signed = `("@method" "@target-uri" "content-digest")`
	keyed := func(id, secret string) webhook.Key {
		return webhook.Key{ID: id, Secret: must(webhook.SecretFromString(secret))(t), Scheme: scheme}
	}
	verifier := sigVerifier(t, keyed("a", testSecret), keyed("b", otherSecret))
	replayKey := func(r *http.Request, body string) string {
		t.Helper()
		got, err := verifier.VerifyRequest(r)
		if err != nil || got.ID != "" {
			t.Fatalf("%+v, %v", got, err)
		}
		return got.ReplayKey([]byte(body))
	}
	r := signedHTTP(t, testBody, keyed("a", testSecret), keyed("b", otherSecret))
	want := replayKey(r, testBody)
	r = signedHTTP(t, testBody, keyed("a", testSecret), keyed("b", otherSecret))
	r.Header.Set("Webhook-Id", "evil")
	_, second, _ := strings.Cut(r.Header.Get("Signature-Input"), ", ")
	r.Header.Set("Signature-Input", second)
	if got := replayKey(r, testBody); got != want {
		t.Errorf("with one signature taken off the replay key is %q, before %q", got, want)
	}
	if got := replayKey(signedHTTP(t, testBody+" ", keyed("a", testSecret)), testBody+" "); got == want {
		t.Error("another body has the same replay key")
	}
	for _, params := range []string{";created=1614265331", `;created=1614265330;nonce="1"`, `;created=1614265330;nonce="2"`} {
		r := bare(t, testBody)
		handSigned(t, r, "s", []string{"@method", "@target-uri", "content-digest"}, params)
		got := replayKey(r, testBody)
		if got == want {
			t.Errorf("%s has the same replay key", params)
		}
		want = got
	}
	// A sender that signs it all the same is believed.
	r = bare(t, testBody)
	handSigned(t, r, "s", sigAll, ";created=1614265330")
	if got, err := verifier.VerifyRequest(r); err != nil || got.ID != sigID {
		t.Errorf("%+v, %v", got, err)
	}
}

// What is covered is read for each of up to 16 signatures: what is too long is refused
// before that.
func TestAHugeCoveredHeaderCostsLittle(t *testing.T) {
	verifier := sigVerifier(t, sigKey(t, "k", testSecret))
	for _, name := range []string{"Content-Type", "Webhook-Id", "Content-Digest"} {
		r := bare(t, testBody)
		for i := range 16 {
			handSigned(t, r, fmt.Sprintf("s%d", i), sigAll, ";created=1614265330")
		}
		if _, err := verifier.VerifyRequest(r); err != nil {
			t.Fatal(err)
		}
		r.Header.Set(name, strings.Repeat("a", 1<<20))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := verifier.VerifyRequest(r)
		runtime.ReadMemStats(&after)
		wantIs(t, err, webhook.ErrMalformed)
		if got := after.TotalAlloc - before.TotalAlloc; got > 512<<10 {
			t.Errorf("%s: %d bytes allocated", name, got)
		}
	}
}

// Two signatures may name one message in two ways. Whoever takes one off has no
// other message.
func TestTakingOffASignatureIsNoReplay(t *testing.T) {
	scheme := webhook.HTTPSignatures()
	scheme.Signed = `("@method" "@target-uri" "content-digest")`
	key := webhook.Key{Secret: must(webhook.SecretFromString(testSecret))(t), Scheme: scheme}
	few := []string{"@method", "@target-uri", "content-digest"}
	for name, second := range map[string]struct {
		components []string
		params     string
	}{
		"nonces":        {few, `;created=1614265330;nonce="2"`},
		"times":         {few, ";created=1614265331"},
		"an id":         {sigAll, ";created=1614265330"},
		"more, no id":   {append(few, "content-type"), ";created=1614265330"},
		"an old second": {few, ";created=1514265331"},
	} {
		handled, statuses := 0, []int(nil)
		handler := must(sigVerifier(t, key).Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { handled++ }), &webhook.HandlerOptions{
			Replay: must(webhook.NewMemoryReplayStore(&webhook.MemoryReplayOptions{Now: clockAt(testTime)}))(t),
		}))(t)
		for _, signatures := range []string{"both", "second", "first", "both"} {
			if name == "an old second" && signatures == "second" {
				continue // it alone is refused
			}
			r := bare(t, testBody)
			if signatures != "second" {
				handSigned(t, r, "a", few, `;created=1614265330;nonce="1"`)
			}
			if signatures != "first" {
				handSigned(t, r, "b", second.components, second.params)
			}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			statuses = append(statuses, w.Code)
		}
		if handled != 1 || slices.ContainsFunc(statuses, func(status int) bool { return status != 200 }) {
			t.Errorf("%s: handled %d times, answered %v", name, handled, statuses)
		}
	}
}

// Without a body there need be no digest of one; with one there has to be.
func TestOnlyAnEmptyBodyGoesUnsigned(t *testing.T) {
	verifier := sigVerifier(t, sigKey(t, "k", testSecret))
	for body, want := range map[string]error{"": nil, "x": webhook.ErrMalformed} {
		out := outgoing(t, body)
		out.Header.Set("Webhook-Id", sigID)
		r := arrived(out, body)
		handSigned(t, r, "sig1", without("content-digest"), ";created=1614265330")
		if _, err := verifier.VerifyRequest(r); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", body, err, want)
		}
	}
}

func TestHeadersAloneAreTooLittleForHTTPSignatures(t *testing.T) {
	key := sigKey(t, "k", testSecret)
	r := signedHTTP(t, testBody, key)
	_, err := sigVerifier(t, key).Verify(r.Header, []byte(testBody))
	wantIs(t, err, webhook.ErrSignature)
	if !strings.Contains(err.Error(), "VerifyRequest") {
		t.Errorf("%v does not say what to call", err)
	}
	signer := must(webhook.NewSigner(must(webhook.NewKeys(key))(t)))(t)
	wantIs(t, signer.Sign(http.Header{}, sigID, t0, nil), webhook.ErrMessage)
}

func TestFaultsOfAnHTTPSignatureScheme(t *testing.T) {
	secret := must(webhook.SecretFromString(testSecret))(t)
	for text, change := range map[string]func(s *webhook.Scheme){
		"signed: not a list":                   func(s *webhook.Scheme) { s.Signed = `("@method"` },
		"signed: @method is not in it":         func(s *webhook.Scheme) { s.Signed = `("@target-uri" "content-digest")` },
		"signed: @target-uri is not in it":     func(s *webhook.Scheme) { s.Signed = `("@method" "content-digest")` },
		"signed: content-digest is not in it":  func(s *webhook.Scheme) { s.Signed = `("@method" "@target-uri")` },
		"signed: @status is not known":         func(s *webhook.Scheme) { s.Signed = `("@method" "@target-uri" "content-digest" "@status")` },
		"signed: host cannot be signed":        func(s *webhook.Scheme) { s.Signed = `("@method" "@target-uri" "content-digest" "host")` },
		"without parameters":                   func(s *webhook.Scheme) { s.Signed = `("@method" "@target-uri" "content-digest");tag="x"` },
		"signature header: RFC 9421 has one":   func(s *webhook.Scheme) { s.SignatureHeader = "X-Signature" },
		"id header: one that RFC 9421 uses":    func(s *webhook.Scheme) { s.IDHeader = "Content-Digest" },
		`hash: give "sha256"`:                  func(s *webhook.Scheme) { s.Hash = "sha512" },
		"timestamp header, entries, separator": func(s *webhook.Scheme) { s.Encoding = "hex" },
	} {
		s := webhook.HTTPSignatures()
		change(&s)
		_, err := webhook.NewKeys(webhook.Key{Secret: secret, Scheme: s})
		wantFaults(t, err, text)
	}
	if _, err := webhook.NewKeys(webhook.Key{Secret: secret, Scheme: webhook.HTTPSignatures("x-tenant", "@authority")}); err != nil {
		t.Error(err)
	}
}

// Whatever is accepted, the base that is written again here accepts too.
func FuzzHTTPSignature(f *testing.F) {
	key := sigKey(f, "k", testSecret)
	good := signedHTTP(f, testBody, key)
	f.Add(good.Header.Get("Signature-Input"), good.Header.Get("Signature"), good.Header.Get("Content-Digest"), "application/json", sigTarget, []byte(testBody))
	f.Add(good.Header.Get("Signature-Input")+", a=()", "a=::,	"+good.Header.Get("Signature"), good.Header.Get("Content-Digest")+" ", " application/json", sigTarget, []byte(testBody))
	f.Add("", "", "", "", "/", []byte(nil))
	verifier := sigVerifier(f, key)
	secret := must(base64.StdEncoding.DecodeString(strings.TrimPrefix(testSecret, sigPrefix)))(f)
	f.Fuzz(func(t *testing.T, input, signature, digest, kind, target string, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.RequestURI = target
		r.Header = http.Header{"Signature-Input": {input}, "Signature": {signature}, "Content-Digest": {digest}, "Content-Type": {kind}, "Webhook-Id": {sigID}}
		if _, err := verifier.VerifyRequest(r); err != nil {
			return
		}
		if digest = strings.TrimSpace(digest); !strings.Contains(digest, webhook.ContentDigest(body)) {
			t.Errorf("%q is the digest of another body than %q", digest, body)
		}
		r.Header.Set("Content-Digest", digest)
		r.Header.Set("Content-Type", strings.TrimSpace(kind))
		for _, in := range must(fieldInputs(input))(t) {
			mac := hmac.New(sha256.New, secret)
			mac.Write([]byte(naiveBase(r, in.Components, in.Text)))
			if strings.Contains(signature, in.Label+"=:"+base64.StdEncoding.EncodeToString(mac.Sum(nil))+":") {
				return
			}
		}
		t.Errorf("accepted: %q, %q", input, signature)
	})
}

func fieldInputs(field string) ([]webhook.SignatureInput, error) {
	list, fault := webhook.ParseInputs(field)
	if fault != "" {
		return nil, errors.New(fault)
	}
	return list, nil
}
