package middleware_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/scopes"
)

// never is a handler that must not run.
func never(t *testing.T) http.Handler {
	return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the handler ran") })
}

func TestRefusals(t *testing.T) {
	h := build(t, blueprint{options: func(o *middleware.Options) {
		o.MaxBody = 10
		o.FailedAuth.Count, o.FailedAuth.Period = 1000, time.Minute
	}})
	h.grant(100)
	good := h.key("image:generate")
	poor := h.issue(apikey.Spec{Owner: "poor"}, "image:generate")
	narrow := h.key("image:read")
	expired := h.issue(apikey.Spec{Owner: account, TTL: time.Minute}, "image:generate")
	revoked, disabled, deleted := h.key("image:generate"), h.key("image:generate"), h.key("image:generate")
	networks, err := apikey.NewNetworks(netip.MustParsePrefix("203.0.113.0/24"))
	must(t, err)
	suspended := h.issue(apikey.Spec{Owner: "suspended"}, "image:generate")
	_, err = h.keys.SuspendOwner(t.Context(), "suspended", "abuse")
	must(t, err)
	bound := h.issue(apikey.Spec{Owner: account, Networks: networks}, "image:generate")
	_, err = h.keys.Revoke(t.Context(), revoked.Key.ID, "test")
	must(t, err)
	_, err = h.keys.Disable(t.Context(), disabled.Key.ID)
	must(t, err)
	err = h.keys.Delete(t.Context(), deleted.Key.ID)
	must(t, err)
	h.clock.add(time.Minute)
	token := good.Secret.Reveal()

	handler := h.gate.Handler(priced())(never(t))
	for _, tt := range []struct {
		name      string
		edit      func(*http.Request)
		status    int
		code      string
		verdict   middleware.Verdict
		challenge string
	}{
		{"nothing presented", func(*http.Request) {}, 401, "missing_key", middleware.VerdictMissing, `Bearer realm="api"`},
		{"another scheme is no credential", raw("Authorization", "Basic dTpw"), 401, "missing_key", middleware.VerdictMissing, `Bearer realm="api"`},
		{"a key without a scheme is no credential", raw("Authorization", token), 401, "missing_key", middleware.VerdictMissing, `Bearer realm="api"`},
		{"a scheme without a key", raw("Authorization", "Bearer "), 401, "invalid_key", middleware.VerdictMalformed, `Bearer realm="api", error="invalid_token", error_description="the API key is not valid"`},
		{"the bare word", raw("Authorization", "Bearer"), 401, "invalid_key", middleware.VerdictMalformed, `Bearer realm="api", error="invalid_token", error_description="the API key is not valid"`},
		{"two lines, even of one good key", raw("Authorization", "Bearer "+token, "Bearer "+token), 401, "invalid_key", middleware.VerdictMalformed, `Bearer realm="api", error="invalid_token", error_description="the API key is not valid"`},
		{"two keys on one line", raw("Authorization", "Bearer "+token+" "+token), 401, "invalid_key", middleware.VerdictMalformed, ""},
		{"two keys with a comma", raw("Authorization", "Bearer "+token+","+token), 401, "invalid_key", middleware.VerdictMalformed, ""},
		{"1 MiB", raw("Authorization", "Bearer "+strings.Repeat("k", 1<<20)), 401, "invalid_key", middleware.VerdictMalformed, ""},
		{"513 bytes", raw("Authorization", "Bearer "+strings.Repeat("k", 513)), 401, "invalid_key", middleware.VerdictMalformed, ""},
		{"control bytes", raw("Authorization", "Bearer kt_\x01\x7f"), 401, "invalid_key", middleware.VerdictMalformed, ""},
		{"bytes above ASCII", raw("Authorization", "Bearer kt_\x80\xff"), 401, "invalid_key", middleware.VerdictMalformed, ""},
		{"a tab before the key", raw("Authorization", "Bearer \t"+token), 401, "invalid_key", middleware.VerdictMalformed, ""},
		{"a folded line", raw("Authorization", "Bearer "+token[:20]+"\r\n "+token[20:]), 401, "invalid_key", middleware.VerdictMalformed, ""},
		{"a wrong checksum", raw("Authorization", "Bearer "+flip(token, len(token)-1)), 401, "invalid_key", middleware.VerdictMalformed, ""},
		{"another's prefix", raw("Authorization", "Bearer sk_live_0123456789"), 401, "invalid_key", middleware.VerdictMalformed, ""},
		{"a key that never was", raw("Authorization", "Bearer "+foreign(t).Reveal()), 401, "invalid_key", middleware.VerdictUnknown, ""},
		{"a deleted key is unknown", bearer(deleted), 401, "invalid_key", middleware.VerdictUnknown, ""},
		{"expired", bearer(expired), 401, "expired_key", middleware.VerdictExpired, `Bearer realm="api", error="invalid_token", error_description="the API key has expired"`},
		{"revoked", bearer(revoked), 401, "revoked_key", middleware.VerdictRevoked, `Bearer realm="api", error="invalid_token", error_description="the API key has been revoked"`},
		{"disabled", bearer(disabled), 401, "disabled_key", middleware.VerdictDisabled, `Bearer realm="api", error="invalid_token", error_description="the API key is disabled"`},
		{"a suspended account", bearer(suspended), 403, "suspended_account", middleware.VerdictSuspended, ""},
		{"another network", bearer(bound), 403, "ip_not_allowed", middleware.VerdictIPDenied, ""},
		{"a lacking scope", bearer(narrow), 403, "insufficient_scope", middleware.VerdictScopeDenied, `Bearer realm="api", error="insufficient_scope", scope="image:generate"`},
		{"an empty account", bearer(poor), 402, "insufficient_credits", middleware.VerdictCreditDenied, ""},
		{"a long body", func(r *http.Request) { bearer(good)(r); r.ContentLength = 11 }, 413, "body_too_large", middleware.VerdictTooLarge, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := h.totals()
			w := h.call(handler, tt.edit)
			body := w.Body.String()
			p := refused(t, w, tt.status, tt.code)
			if got := w.Header().Get("WWW-Authenticate"); tt.challenge != "" && got != tt.challenge {
				t.Errorf("challenge %s, want %s", got, tt.challenge)
			}
			if tt.status != 429 && w.Header().Get("Retry-After") != "" {
				t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
			}
			vs := h.journal.verdicts()
			if got := vs[len(vs)-1]; got != tt.verdict {
				t.Errorf("verdict %v, want %v", got, tt.verdict)
			}
			if tt.verdict == middleware.VerdictScopeDenied && (len(p.Missing) != 1 || p.Missing[0] != "image:generate") {
				t.Errorf("missing scopes %q", p.Missing)
			}
			if h.totals() != before {
				t.Errorf("the refusal changed the account: %+v, before %+v", h.totals(), before)
			}
			for _, issued := range []apikey.Issued{good, narrow, expired, revoked, disabled, deleted, suspended, bound} {
				secret := issued.Secret.Reveal()
				if strings.Contains(body, secret[12:]) || strings.Contains(body, issued.Key.ID) {
					t.Errorf("the answer tells of a key: %s", body)
				}
			}
		})
	}
}

// flip changes the character at i to another of the alphabet.
func flip(token string, i int) string {
	c := byte('a')
	if token[i] == c {
		c = 'b'
	}
	return token[:i] + string(c) + token[i+1:]
}

// foreign makes a well-formed key that no store of the test knows.
func foreign(t testing.TB) apikey.Secret {
	t.Helper()
	return build(t, blueprint{}).key("").Secret
}

// Until the secret is proven every refusal of a presented credential is the
// same, byte by byte, but for the request id.
func TestBeforeProofAllRefusalsAreOne(t *testing.T) {
	h := build(t, blueprint{})
	known := h.key("image:generate").Secret.Reveal()
	handler := h.gate.Handler(priced())(never(t))
	var first string
	for _, authorization := range []string{
		"Bearer x", "Bearer " + strings.Repeat("k", 9000), "Bearer a b", "Bearer " + foreign(t).Reveal(),
		"Bearer " + wrongSecret(t, known),
	} {
		w := h.call(handler, raw("Authorization", authorization))
		id := w.Header().Get("X-Request-Id")
		var all bytes.Buffer
		must(t, w.Header().Write(&all))
		all.Write(w.Body.Bytes())
		text := strings.ReplaceAll(all.String(), id, "ID")
		if w.Code != http.StatusUnauthorized {
			t.Errorf("status %d", w.Code)
		}
		if first == "" {
			first = text
		}
		if text != first {
			t.Errorf("%.40q is answered\n%s\nand not\n%s", authorization, text, first)
		}
	}
	vs := h.journal.verdicts()
	if got := vs[len(vs)-1]; got != middleware.VerdictUnknown {
		t.Errorf("the wrong secret was %v to operators, want unknown", got)
	}
}

// wrongSecret returns a key with the id of token, another secret and a right
// checksum.
func wrongSecret(t testing.TB, token string) string {
	t.Helper()
	format, err := apikey.NewFormat("kt", nil)
	must(t, err)
	body := token[:len(token)-6-32] + strings.Repeat("Zz", 16)
	sum := checksum(body)
	if _, err := format.Parse(body + sum); err != nil {
		t.Fatalf("%q: %v", body+sum, err)
	}
	return body + sum
}

func TestCredentialLocations(t *testing.T) {
	h := build(t, blueprint{options: func(o *middleware.Options) {
		o.Profile.Credentials = []middleware.Location{middleware.Bearer(), middleware.Header("x-api-key")}
	}})
	issued := h.key("image:generate")
	token := issued.Secret.Reveal()
	var left http.Header
	handler := h.gate.Handler(open())(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { left = r.Header }))
	for _, tt := range []struct {
		name   string
		edit   []func(*http.Request)
		status int
		left   []string
	}{
		{"Bearer", []func(*http.Request){bearer(issued)}, 200, nil},
		{"the scheme in any case, spaces before the key", []func(*http.Request){raw("Authorization", "bEARER   "+token)}, 200, nil},
		{"X-API-Key", []func(*http.Request){raw("X-Api-Key", token)}, 200, nil},
		{"X-API-Key beside another scheme, which stays", []func(*http.Request){raw("X-Api-Key", token), raw("Authorization", "Basic dTpw")}, 200, []string{"Authorization"}},
		{"both, even alike", []func(*http.Request){raw("X-Api-Key", token), bearer(issued)}, 401, nil},
		{"an empty one counts as presented", []func(*http.Request){raw("X-Api-Key", ""), bearer(issued)}, 401, nil},
		{"another spelling is another header", []func(*http.Request){raw("X_api_key", token)}, 401, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			for _, e := range tt.edit {
				e(r)
			}
			before := r.Header.Clone()
			w := httptest.NewRecorder()
			left = nil
			handler.ServeHTTP(w, r)
			if w.Code != tt.status {
				t.Fatalf("status %d, want %d", w.Code, tt.status)
			}
			if len(left) != len(tt.left) {
				t.Errorf("the handler saw %v, want only %v", left, tt.left)
			}
			if len(r.Header) != len(before) {
				t.Errorf("the outer request was changed from %v to %v", before, r.Header)
			}
		})
	}
}

func TestWrongEnvironment(t *testing.T) {
	format, err := apikey.NewFormat("sk", &apikey.FormatOptions{Environments: []string{"live", "test"}})
	must(t, err)
	keys, err := apikey.NewService(apikey.NewMemoryStore(), format, nil)
	must(t, err)
	gate, err := middleware.NewGate(keys, &middleware.Options{Environment: "live"})
	must(t, err)
	handler := gate.Handler(open())(says(200))
	for environment, status := range map[string]int{"live": 200, "test": 401} {
		issued, err := keys.Create(t.Context(), apikey.Spec{Owner: account, Environment: environment})
		must(t, err)
		r := httptest.NewRequest("GET", "/", nil)
		bearer(issued)(r)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != status {
			t.Errorf("%s key: status %d, want %d", environment, w.Code, status)
		}
		if status == 401 {
			refused(t, w, 401, "wrong_environment")
		}
	}
}

// Begin gives the same decisions without net/http, as typed errors.
func TestDenialIsATypedError(t *testing.T) {
	h := build(t, blueprint{})
	op := open()
	op.Scopes = scopes.All("a:b", "a:c")
	route, err := h.gate.Route(op)
	must(t, err)
	for _, tt := range []struct {
		credential string
		verdict    middleware.Verdict
		code       errors.Code
	}{
		{"", middleware.VerdictMissing, errors.Unauthenticated},
		{"garbage", middleware.VerdictMalformed, errors.Unauthenticated},
		{foreign(t).Reveal(), middleware.VerdictUnknown, errors.Unauthenticated},
		{h.key("a:b").Secret.Reveal(), middleware.VerdictScopeDenied, errors.Forbidden},
	} {
		_, err := h.gate.Begin(t.Context(), middleware.Attempt{Route: route, Credential: tt.credential})
		d, ok := errors.AsType[*middleware.Denial](err)
		if !ok || d.Verdict != tt.verdict || errors.CodeOf(err) != tt.code || errors.MessageOf(err) != d.Detail() {
			t.Errorf("%v: code %v, message %q; want %v and %v", err, errors.CodeOf(err), errors.MessageOf(err), tt.verdict, tt.code)
		}
		if ok && (d.Operation != "open" || !strings.HasPrefix(d.RequestID, "req_")) {
			t.Errorf("denial of operation %q, request %q", d.Operation, d.RequestID)
		}
	}
	if _, err := h.gate.Begin(t.Context(), middleware.Attempt{}); errors.CodeOf(err) != errors.Invalid {
		t.Errorf("an attempt without a route: %v", err)
	}
	other, err := build(t, blueprint{}).gate.Route(op)
	must(t, err)
	if _, err := h.gate.Begin(t.Context(), middleware.Attempt{Route: other}); errors.CodeOf(err) != errors.Invalid {
		t.Errorf("an attempt with another gate's route: %v", err)
	}
}
