package webhook_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/webhook"
	"github.com/keytoll/keytoll/webhook/webhooktest"
)

// try makes one attempt that the host can sign, by a transport that reaches
// 127.0.0.1 unless o has another.
func try(t *testing.T, o webhook.SenderOptions, d webhook.Claimed) webhook.Attempt {
	t.Helper()
	if o.Transport == nil {
		o.Transport = local(t)
	}
	a, err := webhook.Try(t.Context(), o, d, keysOf(t, testSecret), "")
	if err != nil {
		t.Error(err)
	}
	if a.Endpoint != "ep_1" || a.Message != testID || a.At.Location() != time.UTC || a.At.Nanosecond()%1000 != 0 || a.Took < 0 {
		t.Errorf("%+v", a)
	}
	if (a.Failure == 0) != (a.Detail == "") || len(a.Detail) > 256 {
		t.Errorf("detail of %q: %q", a.Failure, a.Detail)
	}
	return a
}

func TestAttemptIsSignedWhenItIsSentUnderTheSameID(t *testing.T) {
	_, verifier := newPair(t)
	r := webhooktest.NewReceiver(t, verifier, webhooktest.Answer{}, webhooktest.Answer{Status: 503})
	d := claimed(r.URL()+"/hook?x=1", webhook.Settings{Headers: map[string]string{"authorization": "Bearer abc", "X-Tenant": "7"}})
	begun := time.Now()
	var stamps []string
	for i, ahead := range []time.Duration{0, time.Minute} {
		a := try(t, webhook.SenderOptions{Now: func() time.Time { return begun.Add(ahead) }}, d)
		if a.Number != 3 || !a.At.Equal(begun.Add(ahead).Truncate(time.Microsecond)) || "http://"+a.Address != r.URL() || a.Status != []int{204, 503}[i] {
			t.Errorf("attempt %d: %+v", i, a)
		}
	}
	for _, got := range r.Received() {
		h := got.Header
		stamps = append(stamps, h.Get("Webhook-Timestamp"))
		if got.Err != nil || got.Verified.ID != testID || got.Method != http.MethodPost || got.Path != "/hook" || string(got.Body) != testBody {
			t.Errorf("%+v", got)
		}
		if h.Get("Authorization") != "Bearer abc" || h.Get("X-Tenant") != "7" || h.Get("Content-Type") != "application/json" ||
			h.Get("User-Agent") != "keytoll-webhook" || h.Get("Content-Length") != strconv.Itoa(len(testBody)) || h.Get("Accept-Encoding") != "identity" {
			t.Errorf("%v", h)
		}
	}
	first, _ := strconv.ParseInt(stamps[0], 10, 64)
	if second, _ := strconv.ParseInt(stamps[1], 10, 64); second != first+60 {
		t.Errorf("timestamps %v", stamps)
	}
}

// Headers of an endpoint are set before the signatures, so that one that got past
// validation breaks none.
func TestHeadersOfAnEndpointCannotTakeThePlaceOfASignature(t *testing.T) {
	_, verifier := newPair(t)
	r := webhooktest.NewReceiver(t, verifier)
	own := map[string]string{
		"webhook-id": "msg_forged", "WEBHOOK-TIMESTAMP": "1", "Webhook-Signature": "v1,forged", "content-type": "text/evil",
		"User-Agent": "evil", "accept-encoding": "gzip", "Content-Length": "1", "Transfer-Encoding": "chunked", "Host": "evil.test",
	}
	if a := try(t, webhook.SenderOptions{UserAgent: "ours/1"}, claimed(r.URL(), webhook.Settings{Headers: own})); a.Failure != 0 {
		t.Errorf("%+v", a)
	}
	got := r.Received()[0]
	if got.Verified.ID != testID || got.Header.Get("Content-Type") != "application/json" || got.Header.Get("User-Agent") != "ours/1" ||
		got.Header.Get("Accept-Encoding") != "identity" || string(got.Body) != testBody || "http://"+got.Host != r.URL() {
		t.Errorf("%+v", got)
	}
	for name := range own {
		if err := webhook.CheckHeaders(map[string]string{name: "x"}); errors.CodeOf(err) != errors.Invalid {
			t.Errorf("%s is an endpoint's to set: %v", name, err)
		}
	}
}

func TestHeadersOfAnEndpointAreChecked(t *testing.T) {
	long := strings.Repeat("v", 4096)
	many := map[string]string{}
	for i := range webhook.MaxHeaders {
		many["X-"+strconv.Itoa(i)] = ""
	}
	for name, headers := range map[string]map[string]string{
		"none": nil, "a token": {"Authorization": "Bearer " + long[:4000], "X-Custom_1": "a\tb c", "Idempotency-Key": "1"}, "long": {"X-A": long}, "many": many,
	} {
		if err := webhook.CheckHeaders(headers); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	many["Y"] = ""
	for name, headers := range map[string]map[string]string{
		"too many": many, "too long": {"X-A": long + "v"}, "no name": {"": "hunter2"}, "name with a space": {"X A": "hunter2"}, "name with a break": {"X\r\nA": "hunter2"},
		"long name": {strings.Repeat("x", 129): "hunter2"}, "value with a break": {"X-A": "hunter2\r\nX-B: c"}, "value with NUL": {"X-A": "hunter2\x00"},
		"value that is not ASCII": {"X-A": "hunter2 ü"}, "spaces at the end": {"X-A": "hunter2 "}, "twice": {"X-A": "hunter2", "x-a": "hunter2"},
		"proxy": {"Proxy-Authorization": "hunter2"}, "svix": {"svix-id": "hunter2"}, "stripe": {"stripe-signature": "hunter2"},
		"github": {"X-Hub-Signature-256": "hunter2"}, "digest": {"content-digest": "hunter2"}, "connection": {"connection": "hunter2"}, "trailer": {"Te": "hunter2"},
	} {
		if err := webhook.CheckHeaders(headers); errors.CodeOf(err) != errors.Invalid || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHeadersOfEveryKnownSchemeAreReserved(t *testing.T) {
	for _, s := range []webhook.Scheme{
		webhook.Standard("webhook-"), webhook.Standard("svix-"), webhook.Stripe(), webhook.GitHub(), webhook.Slack(), webhook.Shopify(), webhook.Paddle(), webhook.Twilio(), webhook.HTTPSignatures(),
	} {
		for _, name := range []string{s.IDHeader, s.TimestampHeader, s.SignatureHeader} {
			if name != "" && webhook.CheckHeaders(map[string]string{name: "x"}) == nil {
				t.Errorf("%s: %s is an endpoint's to set", s.Name, name)
			}
		}
	}
}

func TestAttemptIsSignedByTheHostToo(t *testing.T) {
	for _, secret := range []string{testSecret, otherSecret} {
		r := webhooktest.NewReceiver(t, must(webhook.NewVerifier(keysOf(t, secret), nil))(t))
		if a := try(t, webhook.SenderOptions{Keys: keysOf(t, otherSecret)}, claimed(r.URL(), webhook.Settings{})); a.Failure != 0 {
			t.Errorf("%s: %+v, %v", secret, a, r.Received()[0].Err)
		}
	}
}

func TestAttemptOfASchemeThatSignsTheAddress(t *testing.T) {
	secret := webhook.GenerateSecret()
	keys := must(webhook.NewKeys(webhook.Key{ID: "k", Secret: secret, Scheme: webhook.HTTPSignatures()}))(t)
	r := webhooktest.NewReceiver(t, nil)
	r.SetVerifier(must(webhook.NewVerifier(keys, &webhook.VerifierOptions{BaseURL: r.URL()}))(t))
	a, err := webhook.Try(t.Context(), webhook.SenderOptions{Transport: local(t)}, claimed(r.URL()+"/hook", webhook.Settings{}), keys, "")
	if err != nil || a.Status != 204 {
		t.Errorf("%+v, %v", a, r.Received()[0].Err)
	}
}

func TestAttemptWithoutALiveKeySendsNothing(t *testing.T) {
	s := newTarget(t, "127.0.0.1:0", nil)
	ended := must(webhook.NewKeys(webhook.Key{Secret: must(webhook.SecretFromString(testSecret))(t), NotAfter: time.Unix(1, 0)}))(t)
	for name, keys := range map[string]webhook.Keys{"none": {}, "ended": ended} {
		a, err := webhook.Try(t.Context(), webhook.SenderOptions{Transport: local(t)}, claimed(s.URL, webhook.Settings{}), keys, "")
		if a.Failure != webhook.FailedConfig || a.Number != 3 || err != nil || !strings.Contains(a.Detail, "key") {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
	s.none(t)
}

// brokenSigner is a key management service that is out of reach.
type brokenSigner struct{ ed25519.PrivateKey }

func (brokenSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("the service is down: 10.9.8.7")
}

func TestAttemptThatTheHostCannotSignIsNotTheFaultOfTheReceiver(t *testing.T) {
	s := newTarget(t, "127.0.0.1:0", nil)
	_, private, _ := ed25519.GenerateKey(nil)
	keys := must(webhook.NewKeys(webhook.Key{ID: "kms", Secret: must(webhook.SecretFromSigner(brokenSigner{private}))(t)}))(t)
	a, err := webhook.Try(t.Context(), webhook.SenderOptions{Transport: local(t), Keys: keys}, claimed(s.URL, webhook.Settings{}), keysOf(t, testSecret), "")
	if a.Failure != webhook.FailedKeys || a.Number != 3 || err == nil || !strings.Contains(err.Error(), "down") || strings.Contains(a.Detail, "10.9") {
		t.Errorf("%+v, %v", a, err)
	}
	s.none(t)
}

// What cannot be verified is not sent: a verifier takes no more than 16 signatures,
// and no header that means two things.
func TestKeysOfTheHostThatDoNotFitAnEndpointSendNothing(t *testing.T) {
	s := newTarget(t, "127.0.0.1:0", nil)
	set := func(n int, change func(*webhook.Key)) webhook.Keys {
		list := make([]webhook.Key, n)
		for i := range list {
			list[i].Secret = webhook.GenerateSecret()
		}
		change(&list[n-1])
		return must(webhook.NewKeys(list...))(t)
	}
	asIs := func(*webhook.Key) {}
	clashing := func(k *webhook.Key) {
		k.Scheme = webhook.Standard("")
		k.Scheme.Name, k.Scheme.Encoding = "mine", "hex"
	}
	for name, host := range map[string]webhook.Keys{"too many": set(9, asIs), "of a scheme that clashes": set(1, clashing)} {
		a, err := webhook.Try(t.Context(), webhook.SenderOptions{Transport: local(t), Keys: host}, claimed(s.URL, webhook.Settings{}), set(9, asIs), "")
		if a.Failure != webhook.FailedKeys || err == nil {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
	s.none(t)

	ended := set(10, func(k *webhook.Key) { k.NotAfter = time.Unix(1, 0) })
	r := webhooktest.NewReceiver(t, must(webhook.NewVerifier(ended, nil))(t))
	a, err := webhook.Try(t.Context(), webhook.SenderOptions{Transport: local(t), Keys: set(1, asIs)}, claimed(r.URL(), webhook.Settings{}), ended, "")
	if err != nil || a.Failure != 0 {
		t.Errorf("ten keys, of which one is over, and one of the host's: %+v, %v", a, err)
	}
}

func TestWhatAStatusMeans(t *testing.T) {
	_, verifier := newPair(t)
	r := webhooktest.NewReceiver(t, verifier)
	for status, want := range map[int]webhook.Failure{
		200: 0, 201: 0, 202: 0, 204: 0, 299: 0,
		300: webhook.FailedRedirect, 301: webhook.FailedRedirect, 302: webhook.FailedRedirect, 303: webhook.FailedRedirect,
		304: webhook.FailedRedirect, 307: webhook.FailedRedirect, 308: webhook.FailedRedirect, 399: webhook.FailedRedirect,
		400: webhook.FailedStatus, 401: webhook.FailedStatus, 404: webhook.FailedStatus, 408: webhook.FailedStatus, 500: webhook.FailedStatus, 501: webhook.FailedStatus, 599: webhook.FailedStatus, 999: webhook.FailedStatus,
		410: webhook.FailedGone,
		429: webhook.FailedBusy, 502: webhook.FailedBusy, 503: webhook.FailedBusy, 504: webhook.FailedBusy,
	} {
		r.Script(webhooktest.Answer{Status: status})
		if a := try(t, webhook.SenderOptions{}, claimed(r.URL(), webhook.Settings{})); a.Failure != want || a.Status != status || a.Failure != 0 && !strings.Contains(a.Detail, strconv.Itoa(status)) {
			t.Errorf("%d: %+v", status, a)
		}
	}
}

func TestSwitchOfProtocolsIsAFailure(t *testing.T) {
	hungUp := make(chan error, 1)
	address := rawServer(t, func(_ *testing.T, c net.Conn, _ string) {
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: evil\r\n\r\nhello")
		_, err := io.Copy(io.Discard, c)
		hungUp <- err
	})
	a := try(t, webhook.SenderOptions{KeepBody: 100}, claimed("http://"+address, webhook.Settings{Timeout: time.Minute}))
	if a.Failure != webhook.FailedStatus || a.Status != 101 || len(a.Body) != 0 {
		t.Errorf("%+v", a)
	}
	if err := <-hungUp; err != nil {
		t.Errorf("the sender waited until the server gave up: %v", err)
	}
}

// net/http would follow 301, 302 and 303 with a GET without the body and call the
// message delivered, and send 307 and 308 with signature and headers to wherever
// the answer says.
func TestRedirectNeitherTurnsPOSTIntoGETNorLeaksTheSignature(t *testing.T) {
	other := newTarget(t, "127.0.0.1:0", nil)
	_, verifier := newPair(t)
	r := webhooktest.NewReceiver(t, verifier)
	for _, status := range []int{301, 302, 303, 307, 308} {
		r.Script(webhooktest.Answer{Status: status, Header: http.Header{"Location": {other.URL + "/stolen"}}})
		a := try(t, webhook.SenderOptions{}, claimed(r.URL(), webhook.Settings{Headers: map[string]string{"X-Api-Key": "secret"}}))
		if a.Failure != webhook.FailedRedirect || a.Location != other.URL+"/stolen" || strings.Contains(a.Detail, "stolen") {
			t.Errorf("%d: %+v", status, a)
		}
	}
	other.none(t)
	if got := r.Received(); len(got) != 5 {
		t.Errorf("%d requests", len(got))
	}
}

func TestLocationIsKeptShortAndHarmless(t *testing.T) {
	for location, want := range map[string]string{
		"/next":                         "/next",
		"/a b\tü\xff<script>":           "/a?b???<script>",
		"/" + strings.Repeat("x", 5000): "/" + strings.Repeat("x", 1023),
	} {
		address := rawServer(t, func(_ *testing.T, c net.Conn, _ string) {
			_, _ = io.WriteString(c, "HTTP/1.1 302 <b>Found</b>\r\nLocation: "+location+"\r\nContent-Length: 0\r\n\r\n")
			_, _ = io.Copy(io.Discard, c) // until the sender hangs up
		})
		tr := local(t)
		a := try(t, webhook.SenderOptions{Transport: tr}, claimed("http://"+address, webhook.Settings{}))
		tr.CloseIdleConnections()
		if a.Failure != webhook.FailedRedirect || a.Location != want || strings.Contains(a.Detail, "Found</b>") {
			t.Errorf("%.20q: %+v", location, a)
		}
	}
	// What could take a line of its own is no answer at all.
	address := rawServer(t, func(_ *testing.T, c net.Conn, _ string) {
		_, _ = io.WriteString(c, "HTTP/1.1 302 Found\r\nLocation: /a\x00\x1b[31m\r\nContent-Length: 0\r\n\r\n")
		_, _ = io.Copy(io.Discard, c)
	})
	if a := try(t, webhook.SenderOptions{}, claimed("http://"+address, webhook.Settings{})); strings.ContainsAny(a.Location, "\x00\x1b") {
		t.Errorf("%+v", a)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"0": 0, "1": time.Second, "120": 2 * time.Minute, " 7 ": 7 * time.Second, "007": 7 * time.Second, "86400": day, "86401": day,
		"99999999999999999999999999": day, "1.5": 1500 * time.Millisecond, "0.000001": time.Microsecond, "0.0000001": time.Microsecond,
		"2.0000000": 2 * time.Second, "86399.9999999999": day, "0.5": 500 * time.Millisecond,
		"Sun, 01 Mar 2026 12:01:00 GMT":   time.Minute,
		"Sunday, 01-Mar-26 12:01:00 GMT":  time.Minute,
		"Sun Mar  1 12:01:00 2026":        time.Minute,
		"Sun, 01 Mar 2026 11:59:00 GMT":   0,
		"Fri, 01 Jan 2100 00:00:00 GMT":   day,
		"Fri, 01 Jan 9999 00:00:00 GMT":   day,
		"Sun, 01 Mar 2026 14:01:00 +0200": 0,
		"":                                0, "-1": 0, "+1": 0, "1e3": 0, "NaN": 0, "Inf": 0, "soon": 0, "1s": 0, "1.": 0, ".5": 0, "1.5.5": 0, "1,5": 0, "0x10": 0, "1 2": 0, "１": 0,
		strings.Repeat("9", 65): 0,
	} {
		if got := webhook.RetryAfterOf(http.Header{"Retry-After": {text}}, now); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	if got := webhook.RetryAfterOf(http.Header{}, now); got != 0 {
		t.Errorf("without the header: %v", got)
	}
}

func TestWhatAReceiverAsksForIsNoted(t *testing.T) {
	_, verifier := newPair(t)
	r := webhooktest.NewReceiver(t, verifier)
	now := time.Now().Truncate(time.Second)
	for name, tt := range map[string]struct {
		answer  webhooktest.Answer
		after   time.Duration
		control webhook.Control
	}{
		"seconds":        {webhooktest.Answer{Status: 503, Header: http.Header{"Retry-After": {"30"}}}, 30 * time.Second, 0},
		"a date":         {webhooktest.Answer{Status: 429, Header: http.Header{"Retry-After": {now.Add(time.Minute).UTC().Format(http.TimeFormat)}}}, time.Minute, 0},
		"with a success": {webhooktest.Answer{Status: 200, Header: http.Header{"Retry-After": {"30"}}}, 0, 0},
		"abort":          {webhooktest.Answer{Status: 500, Header: http.Header{"Webhook-Delivery": {"abort-message"}}}, 0, webhook.ControlAbort},
		"disable":        {webhooktest.Answer{Status: 200, Header: http.Header{"Webhook-Delivery": {" Disable "}}}, 0, webhook.ControlDisable},
		"another word":   {webhooktest.Answer{Status: 500, Header: http.Header{"Webhook-Delivery": {"explode"}}}, 0, 0},
	} {
		r.Script(tt.answer)
		a := try(t, webhook.SenderOptions{Now: func() time.Time { return now }}, claimed(r.URL(), webhook.Settings{}))
		if a.RetryAfter != tt.after || a.Control != tt.control {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

func TestBodyOfAnAnswerIsKeptOnlyWhenAskedForAndOnlyItsBeginning(t *testing.T) {
	_, verifier := newPair(t)
	r := webhooktest.NewReceiver(t, verifier)
	for keep, want := range map[int]string{0: "", 1: "s", 5: "secre", 6: "secret", 100: "secret"} {
		r.Script(webhooktest.Answer{Status: 500, Body: "secret"})
		if a := try(t, webhook.SenderOptions{KeepBody: keep}, claimed(r.URL(), webhook.Settings{})); string(a.Body) != want || strings.Contains(a.Detail, "secret") {
			t.Errorf("%d: %+v", keep, a)
		}
	}
}

func TestAttemptDrainsNoMoreThanItHasTo(t *testing.T) {
	written := make(chan int, 1)
	var size atomic.Int64
	s := newTarget(t, "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/endless" {
			written <- pour(w, make([]byte, 32<<10))
			return
		}
		_, _ = w.Write(bytes.Repeat([]byte("x"), int(size.Load())))
	})
	// Whatever the transport lets through.
	tr := newTransport(t, webhook.SafeTransportOptions{AllowPrefixes: prefixes("127.0.0.1/32"), MaxResponse: 2 * flood})
	a := try(t, webhook.SenderOptions{Transport: tr, KeepBody: 100}, claimed(s.URL+"/endless", webhook.Settings{}))
	if a.Failure != 0 || len(a.Body) != 100 {
		t.Errorf("%+v", a)
	}
	if n := <-written; n >= flood {
		t.Error("nobody stopped the flood")
	}
	s.conns.Store(0)
	tr.CloseIdleConnections()
	for range 3 { // what is short does not cost its connection
		size.Store(60 << 10)
		if a := try(t, webhook.SenderOptions{Transport: tr}, claimed(s.URL, webhook.Settings{})); a.Failure != 0 {
			t.Errorf("%+v", a)
		}
	}
	if n := s.conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestGzipBombInAnAnswerStaysPacked(t *testing.T) {
	packed := bomb(4 << 20)
	s := newTarget(t, "127.0.0.1:0", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(packed)
	})
	a := try(t, webhook.SenderOptions{KeepBody: webhook.MaxKeepBody}, claimed(s.URL, webhook.Settings{}))
	if a.Failure != 0 || !bytes.Equal(a.Body, packed[:min(len(packed), webhook.MaxKeepBody)]) {
		t.Errorf("%d bytes kept of %d, %+v", len(a.Body), len(packed), a.Failure)
	}
}

// short is a timeout that no test waits for twice.
const short = 100 * time.Millisecond

func TestSlowLorisBodyEndsWithTheDeadline(t *testing.T) {
	_, verifier := newPair(t)
	for status, want := range map[int]webhook.Failure{200: 0, 500: webhook.FailedStatus} {
		r := webhooktest.NewReceiver(t, verifier, webhooktest.Answer{Status: status, BodyGate: make(chan struct{})})
		a := try(t, webhook.SenderOptions{KeepBody: 10}, claimed(r.URL(), webhook.Settings{Timeout: short}))
		if a.Failure != want || a.Status != status || len(a.Body) != 0 {
			t.Errorf("%+v", a)
		}
	}
}

func TestBodyThatTricklesEndsWithTheDeadline(t *testing.T) {
	s := newTarget(t, "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) {
		for {
			_, _ = w.Write([]byte("x"))
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
				return
			case <-time.After(time.Millisecond):
			}
		}
	})
	if a := try(t, webhook.SenderOptions{}, claimed(s.URL, webhook.Settings{Timeout: short})); a.Failure != 0 || a.Status != 200 {
		t.Errorf("%+v", a)
	}
}

func TestSlowHeaderEndsWithTheDeadline(t *testing.T) {
	for name, begin := range map[string]string{"nothing": "", "half a header": "HTTP/1.1 200 OK\r\nX-A: "} {
		address := rawServer(t, func(_ *testing.T, c net.Conn, _ string) {
			_, _ = io.WriteString(c, begin)
			_, _ = io.Copy(io.Discard, c) // until the sender hangs up
		})
		a := try(t, webhook.SenderOptions{}, claimed("http://"+address, webhook.Settings{Timeout: short}))
		if a.Failure != webhook.FailedTimeout || a.Number != 3 || a.Address != address || a.Status != 0 {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

func TestSlowHandshakeEndsWithTheDeadline(t *testing.T) {
	address := rawServer(t, func(_ *testing.T, c net.Conn, _ string) { _, _ = io.Copy(io.Discard, c) })
	a := try(t, webhook.SenderOptions{}, claimed("https://"+address, webhook.Settings{Timeout: short}))
	if a.Failure != webhook.FailedTimeout || a.Address != address {
		t.Errorf("%+v", a)
	}
}

func TestDeadlineOfTheContextCounts(t *testing.T) {
	_, verifier := newPair(t)
	r := webhooktest.NewReceiver(t, verifier, webhooktest.Answer{Gate: make(chan struct{})})
	ctx, cancel := context.WithTimeout(t.Context(), short)
	defer cancel()
	a, err := webhook.Try(ctx, webhook.SenderOptions{Transport: local(t)}, claimed(r.URL(), webhook.Settings{Timeout: time.Minute}), keysOf(t, testSecret), "")
	if a.Failure != webhook.FailedTimeout || a.Number != 3 || err != nil {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestAttemptThatWasCanceledSaysNothingOfTheReceiver(t *testing.T) {
	_, verifier := newPair(t)
	r := webhooktest.NewReceiver(t, verifier, webhooktest.Answer{Gate: make(chan struct{})})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, _ = r.Wait(t.Context(), 1)
		cancel()
	}()
	a, err := webhook.Try(ctx, webhook.SenderOptions{Transport: local(t)}, claimed(r.URL(), webhook.Settings{}), keysOf(t, testSecret), "")
	if a.Number != 0 || err != nil {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestAttemptThatBeginsTooLateIsNone(t *testing.T) {
	s := newTarget(t, "127.0.0.1:0", nil)
	ctx, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer cancel()
	a, err := webhook.Try(ctx, webhook.SenderOptions{Transport: local(t)}, claimed(s.URL, webhook.Settings{}), keysOf(t, testSecret), "")
	if a.Number != 0 || err != nil {
		t.Errorf("%+v, %v", a, err)
	}
	s.none(t)
}

func TestConnectionThatBreaksIsAFailure(t *testing.T) {
	_, verifier := newPair(t)
	r := webhooktest.NewReceiver(t, verifier, webhooktest.Answer{Abort: true}, webhooktest.Answer{Status: 200, Body: "abcd", Break: true})
	if a := try(t, webhook.SenderOptions{}, claimed(r.URL(), webhook.Settings{})); a.Failure != webhook.FailedConnect || "http://"+a.Address != r.URL() {
		t.Errorf("before the header: %+v", a)
	}
	if a := try(t, webhook.SenderOptions{KeepBody: 10}, claimed(r.URL(), webhook.Settings{})); a.Failure != 0 || string(a.Body) != "ab" {
		t.Errorf("in the body: %+v", a)
	}
	address := rawServer(t, func(_ *testing.T, c net.Conn, _ string) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX-A: b") })
	if a := try(t, webhook.SenderOptions{}, claimed("http://"+address, webhook.Settings{})); a.Failure != webhook.FailedConnect {
		t.Errorf("in the header: %+v", a)
	}
}

func TestNobodyListensIsAFailureToConnect(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	if a := try(t, webhook.SenderOptions{}, claimed("http://"+address, webhook.Settings{})); a.Failure != webhook.FailedConnect || a.Address != address {
		t.Errorf("%+v", a)
	}
}

func TestNameThatLeadsNowhereIsAFailureToLookUp(t *testing.T) {
	resolver := nameServer(t, func(name string, _ int) []netip.Addr {
		if name == "empty.test" {
			return []netip.Addr{}
		}
		return nil
	})
	tr := newTransport(t, webhook.SafeTransportOptions{Resolver: resolver})
	for _, host := range []string{"gone.test", "empty.test"} {
		if a := try(t, webhook.SenderOptions{Transport: tr}, claimed("http://"+host, webhook.Settings{})); a.Failure != webhook.FailedLookup || a.Address != "" {
			t.Errorf("%s: %+v", host, a)
		}
	}
}

func TestAnswerThatIsNotHTTPIsAFailure(t *testing.T) {
	for name, text := range map[string]string{
		"another protocol": "220 smtp.example ESMTP\r\n", "HTTP/x": "HTTP/x.0 200 OK\r\n\r\n", "a status of letters": "HTTP/1.1 abc OK\r\n\r\n",
		"a header without a colon": "HTTP/1.1 200 OK\r\nhello\r\n\r\n", "two lengths": "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"a long header": "HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("x", 70<<10) + "\r\n\r\n",
	} {
		address := rawServer(t, func(_ *testing.T, c net.Conn, _ string) {
			_, _ = io.WriteString(c, text)
			_, _ = io.Copy(io.Discard, c) // until the sender hangs up
		})
		a := try(t, webhook.SenderOptions{}, claimed("http://"+address, webhook.Settings{}))
		if a.Failure != webhook.FailedAnswer || strings.Contains(a.Detail, "smtp") || strings.Contains(a.Detail, "abc") {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

func TestRefusedAddressIsTerminalAndNotShown(t *testing.T) {
	s := newTarget(t, "127.0.0.1:0", nil)
	resolver := nameServer(t, func(string, int) []netip.Addr { return []netip.Addr{netip.MustParseAddr("127.0.0.1")} })
	tr := newTransport(t, webhook.SafeTransportOptions{Resolver: resolver})
	for _, address := range []string{s.URL, "http://inside.test:" + s.port, "http://u:p@hook.test/", "ftp://hook.test", "http://[::1", "http://hook.test:99999"} {
		a := try(t, webhook.SenderOptions{Transport: tr}, claimed(address, webhook.Settings{}))
		if a.Failure != webhook.FailedRefused || a.Address != "" || a.Number != 3 || strings.Contains(a.Detail, "127.0.0.1") {
			t.Errorf("%s: %+v", address, a)
		}
	}
	s.none(t)
}

func TestTLSOfAnEndpoint(t *testing.T) {
	_, verifier := newPair(t)
	r := webhooktest.NewTLSReceiver(t, verifier)
	ca := newCA(t, "clients")
	chain, key := ca.leaf(t, "sender")
	own := []tls.Certificate{ca.pair(t, "127.0.0.1")}
	picky := tlsServer(t, &tls.Config{Certificates: own, ClientAuth: tls.RequireAnyClientCert})
	picky12 := tlsServer(t, &tls.Config{Certificates: own, ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12})
	// The alert comes after the handshake; a server that closes at once may take it back.
	picky13 := rawListener(t, func(c net.Conn) {
		_ = tls.Server(c, &tls.Config{Certificates: own, ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS13}).Handshake()
		_, _ = io.Copy(io.Discard, c)
	})
	old := tlsServer(t, &tls.Config{Certificates: own, MaxVersion: tls.VersionTLS12})
	other := tlsServer(t, &tls.Config{Certificates: []tls.Certificate{ca.pair(t, "127.0.0.9")}})
	plain := newTarget(t, "127.0.0.1:0", nil)
	tr := local(t)
	for name, tt := range map[string]struct {
		url     string
		s       webhook.TLSSettings
		key     string
		want    webhook.Failure
		explain string
	}{
		"an authority that nobody knows":    {r.URL(), webhook.TLSSettings{}, "", webhook.FailedTLS, "not trusted"},
		"the endpoint's own authority":      {r.URL(), webhook.TLSSettings{RootCAs: r.RootCAs()}, "", 0, ""},
		"another authority":                 {r.URL(), webhook.TLSSettings{RootCAs: ca.pem}, "", webhook.FailedTLS, "not trusted"},
		"a certificate for another address": {other.URL, webhook.TLSSettings{RootCAs: ca.pem}, "", webhook.FailedTLS, "not trusted"},
		"a certificate is asked for in 1.2": {picky12.URL, webhook.TLSSettings{RootCAs: ca.pem}, "", webhook.FailedTLS, "client certificate"},
		"a certificate is asked for in 1.3": {"https://" + picky13, webhook.TLSSettings{RootCAs: ca.pem}, "", webhook.FailedTLS, "client certificate"},
		"a certificate is shown":            {picky.URL, webhook.TLSSettings{RootCAs: ca.pem, Certificate: chain}, key, 0, ""},
		"too old a version":                 {old.URL, webhook.TLSSettings{RootCAs: ca.pem, Least: tls.VersionTLS13}, "", webhook.FailedTLS, "TLS"},
		"a version that is just right":      {old.URL, webhook.TLSSettings{RootCAs: ca.pem}, "", 0, ""},
		"no TLS":                            {strings.Replace(plain.URL, "http:", "https:", 1), webhook.TLSSettings{}, "", webhook.FailedTLS, "does not speak TLS"},
		"settings that cannot be":           {r.URL(), webhook.TLSSettings{RootCAs: "hello"}, "", webhook.FailedConfig, "RootCAs"},
	} {
		a, err := webhook.Try(t.Context(), webhook.SenderOptions{Transport: tr}, claimed(tt.url, webhook.Settings{TLS: tt.s}), keysOf(t, testSecret), tt.key)
		if err != nil || a.Failure != tt.want || !strings.Contains(a.Detail, tt.explain) || tt.want == 0 && a.Status/100 != 2 {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
}

// net/http sends a request again on a new connection when a reused one turns out
// to be closed, if it may. An attempt may not: each is one exchange, and the log
// has them all.
func TestAttemptIsNeverRepeatedOnAReusedConnection(t *testing.T) {
	for name, payload := range map[string]string{"a payload": testBody, "no payload": ""} {
		for _, header := range []string{"X-A", "Idempotency-Key", "X-Idempotency-Key"} {
			var requests atomic.Int32
			s := newTarget(t, "127.0.0.1:0", func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if requests.Add(1) == 2 {
					panic(http.ErrAbortHandler)
				}
			})
			tr := local(t)
			d := claimed(s.URL, webhook.Settings{Headers: map[string]string{header: "1"}})
			d.Message.Payload = []byte(payload)
			for i, want := range []webhook.Failure{0, webhook.FailedConnect} {
				if a := try(t, webhook.SenderOptions{Transport: tr}, d); a.Failure != want {
					t.Errorf("%s, %s, attempt %d: %+v", name, header, i, a)
				}
			}
			if requests.Load() != 2 || s.conns.Load() != 1 {
				t.Errorf("%s, %s: %d requests over %d connections", name, header, requests.Load(), s.conns.Load())
			}
		}
	}
}

func TestEmptyPayloadHasALength(t *testing.T) {
	_, verifier := newPair(t)
	r := webhooktest.NewReceiver(t, verifier)
	d := claimed(r.URL(), webhook.Settings{})
	d.Message.Payload = nil
	if a := try(t, webhook.SenderOptions{}, d); a.Failure != 0 {
		t.Errorf("%+v", a)
	}
	if h := r.Received()[0].Header; h.Get("Content-Length") != "0" {
		t.Errorf("%v", h)
	}
}

func TestBodyThatEndsWithItsConnectionIsNotWaitedFor(t *testing.T) {
	hungUp := make(chan error, 1)
	address := rawServer(t, func(_ *testing.T, c net.Conn, _ string) {
		_, _ = io.WriteString(c, "HTTP/1.0 200 OK\r\n\r\nbody without an end")
		_, err := io.Copy(io.Discard, c)
		hungUp <- err
	})
	if a := try(t, webhook.SenderOptions{}, claimed("http://"+address, webhook.Settings{Timeout: time.Minute})); a.Failure != 0 {
		t.Errorf("%+v", a)
	}
	if err := <-hungUp; err != nil {
		t.Errorf("the sender waited until the server gave up: %v", err)
	}
}

func TestClockThatGoesBackMakesNoAttemptOfNegativeLength(t *testing.T) {
	_, verifier := newPair(t)
	r := webhooktest.NewReceiver(t, verifier, webhooktest.Answer{Status: 503, Header: http.Header{"Retry-After": {time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)}}})
	now := time.Now().Round(0)
	clock := func() time.Time {
		now = now.Add(-time.Minute)
		return now
	}
	if a := try(t, webhook.SenderOptions{Now: clock}, claimed(r.URL(), webhook.Settings{})); a.Took != 0 || a.RetryAfter != 0 || a.Status != 503 {
		t.Errorf("%+v", a)
	}
}
