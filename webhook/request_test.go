package webhook_test

import (
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/keytoll/keytoll/webhook"
	"github.com/keytoll/keytoll/webhook/webhooktest"
)

func signedRequest(t *testing.T, body string) *http.Request {
	t.Helper()
	return webhooktest.NewRequest(t, newSigner(t, testSecret), webhooktest.Message{ID: testID, At: t0, Body: []byte(body)})
}

func verifierWithCap(t *testing.T, maxBody int64) *webhook.Verifier {
	t.Helper()
	return must(webhook.NewVerifier(keysOf(t, testSecret), &webhook.VerifierOptions{Now: clockAt(testTime), MaxBody: maxBody}))(t)
}

// A probe counts what is read of a body, and whether it is closed.
type probe struct {
	io.Reader
	read   int
	closed bool
}

func (p *probe) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	p.read += n
	return n, err
}

func (p *probe) Close() error {
	p.closed = true
	return nil
}

func TestVerifyRequestRestoresTheBody(t *testing.T) {
	verifier := verifierWithCap(t, 0)
	for _, size := range []int{0, 1, 511, 512, 513, 64 << 10, 64<<10 + 1, 200_000, 1 << 20} {
		body := strings.Repeat("b", size)
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"plain":          func(r io.Reader) io.Reader { return r },
			"end with data":  iotest.DataErrReader,
			"half by half":   iotest.HalfReader,
			"unknown length": func(r io.Reader) io.Reader { return r },
		} {
			r := signedRequest(t, body)
			p := &probe{Reader: wrap(strings.NewReader(body))}
			r.Body = p
			if name == "unknown length" {
				r.ContentLength = -1
			}
			got, err := verifier.VerifyRequest(r)
			if err != nil || got.ID != testID {
				t.Errorf("%s, %d bytes: %+v, %v", name, size, got, err)
				continue
			}
			again, err := io.ReadAll(r.Body)
			if err != nil || string(again) != body {
				t.Errorf("%s, %d bytes: %d bytes are left, %v", name, size, len(again), err)
			}
			if err := r.Body.Close(); err != nil || !p.closed {
				t.Errorf("%s: closing the restored body did not close the original", name)
			}
		}
	}
}

func TestVerifyRequestWithoutABody(t *testing.T) {
	verifier := verifierWithCap(t, 0)
	for _, body := range []io.ReadCloser{nil, http.NoBody} {
		r := signedRequest(t, "")
		r.Body = body
		if _, err := verifier.VerifyRequest(r); err != nil {
			t.Error(err)
		}
		r = signedRequest(t, "something")
		r.Body = body
		_, err := verifier.VerifyRequest(r)
		wantIs(t, err, webhook.ErrSignature)
	}
}

func TestVerifyRequestCapsTheBody(t *testing.T) {
	verifier := verifierWithCap(t, 1000)
	for _, tt := range []struct {
		name          string
		size          int
		contentLength int64
		read          int
		err           error
	}{
		{"at the cap", 1000, 1000, 1000, nil},
		{"at the cap, length unknown", 1000, -1, 1000, nil},
		{"over it", 1001, 1001, 0, webhook.ErrBodyTooLarge},
		{"over it, length unknown", 1001, -1, 1001, webhook.ErrBodyTooLarge},
		{"endless, length unknown", 1 << 20, -1, 1001, webhook.ErrBodyTooLarge},
		{"endless, length a lie", 1 << 20, 10, 1001, webhook.ErrBodyTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := strings.Repeat("b", tt.size)
			r := signedRequest(t, body)
			p := &probe{Reader: strings.NewReader(body)}
			r.Body, r.ContentLength = p, tt.contentLength
			_, err := verifier.VerifyRequest(r)
			if tt.err == nil && err != nil || !errors.Is(err, tt.err) {
				t.Errorf("error = %v, want %v", err, tt.err)
			}
			if err != nil && !strings.Contains(err.Error(), "over 1000 bytes") {
				t.Errorf("%v does not say how much is allowed", err)
			}
			if p.read != tt.read {
				t.Errorf("%d bytes were read, want %d", p.read, tt.read)
			}
			if again, err := io.ReadAll(r.Body); err != nil || string(again) != body {
				t.Errorf("%d bytes can be read afterwards, %v; want all %d", len(again), err, tt.size)
			}
		})
	}
}

func TestVerifyRequestRefusesByHeadersBeforeReading(t *testing.T) {
	verifier := verifierWithCap(t, 0)
	for name, spoil := range map[string]func(http.Header){
		"no id":         func(h http.Header) { h.Del("webhook-id") },
		"old timestamp": func(h http.Header) { h.Set("webhook-timestamp", "1614000000") },
		"no v1 entry":   func(h http.Header) { h.Set("webhook-signature", "v9,abc") },
	} {
		r := signedRequest(t, testBody)
		spoil(r.Header)
		p := &probe{Reader: strings.NewReader(testBody)}
		r.Body = p
		if _, err := verifier.VerifyRequest(r); err == nil || p.read != 0 {
			t.Errorf("%s: error %v after reading %d bytes", name, err, p.read)
		}
	}
}

func TestVerifyRequestReportsABodyThatBreaksOff(t *testing.T) {
	broken := errors.New("connection reset")
	r := signedRequest(t, testBody)
	r.Body = io.NopCloser(io.MultiReader(strings.NewReader(testBody[:5]), iotest.ErrReader(broken)))
	_, err := verifierWithCap(t, 0).VerifyRequest(r)
	wantIs(t, err, webhook.ErrBody)
	wantIs(t, err, broken)
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("one fault takes several lines: %q", err)
	}
	again, err := io.ReadAll(r.Body)
	if string(again) != testBody[:5] || !errors.Is(err, broken) {
		t.Errorf("afterwards the body reads %q, %v", again, err)
	}

	r = signedRequest(t, testBody)
	r.Body = http.MaxBytesReader(nil, r.Body, 5) // somebody else's cap
	_, err = verifierWithCap(t, 0).VerifyRequest(r)
	wantIs(t, err, webhook.ErrBodyTooLarge)
	if !strings.Contains(err.Error(), "over 5 bytes") || strings.Contains(err.Error(), "\n") {
		t.Errorf("%q does not say in one line how much is allowed", err)
	}
}

// Whoever captured a request must not be able to keep it fresh, or its key
// accepted, by holding back the last byte of the body.
func TestVerifyRequestJudgesTheMessageWhenItIsComplete(t *testing.T) {
	old := webhook.Key{ID: "old", Secret: must(webhook.SecretFromString(testSecret))(t), NotAfter: t0.Add(time.Minute)}
	for name, tt := range map[string]struct {
		meanwhile func(now *time.Time, v *webhook.Verifier)
		err       error
	}{
		"nothing":                   {func(*time.Time, *webhook.Verifier) {}, nil},
		"the tolerance passes":      {func(now *time.Time, _ *webhook.Verifier) { *now = t0.Add(5*time.Minute + 1) }, webhook.ErrTooOld},
		"the key expires":           {func(now *time.Time, _ *webhook.Verifier) { *now = t0.Add(time.Minute) }, webhook.ErrKeyExpired},
		"the key is replaced":       {func(_ *time.Time, v *webhook.Verifier) { _ = v.SetKeys(keysOf(t, otherSecret)) }, webhook.ErrSignature},
		"the clock is put back far": {func(now *time.Time, _ *webhook.Verifier) { *now = t0.Add(-time.Hour) }, webhook.ErrTooNew},
	} {
		now := t0
		verifier := must(webhook.NewVerifier(must(webhook.NewKeys(old))(t), &webhook.VerifierOptions{Now: func() time.Time { return now }}))(t)
		r := signedRequest(t, testBody)
		r.Body = io.NopCloser(io.MultiReader(r.Body, readerFunc(func([]byte) (int, error) {
			tt.meanwhile(&now, verifier)
			return 0, io.EOF
		})))
		_, err := verifier.VerifyRequest(r)
		if tt.err == nil && err != nil || !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", name, err, tt.err)
		}
		if again, err := io.ReadAll(r.Body); err != nil || string(again) != testBody {
			t.Errorf("%s: afterwards the body reads %q, %v", name, again, err)
		}
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// Two verifiers in turn: how a receiver moves from one sender's form to another.
func TestARefusedRequestCanBeTriedByAnotherVerifier(t *testing.T) {
	r := signedRequest(t, testBody)
	_, err := newVerifier(t, otherSecret).VerifyRequest(r)
	wantIs(t, err, webhook.ErrSignature)
	if _, err := newVerifier(t, testSecret).VerifyRequest(r); err != nil {
		t.Error(err)
	}
}

// What is allocated grows with what arrives, not with what is announced.
func TestAnAnnouncedLengthAllocatesLittle(t *testing.T) {
	verifier := verifierWithCap(t, webhook.MaxBodyCeiling)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const calls = 100
	for range calls {
		r := &http.Request{Header: headers(testID, testTime, testSignature), Body: io.NopCloser(strings.NewReader("")), ContentLength: webhook.MaxBodyCeiling}
		_, err := verifier.VerifyRequest(r)
		wantIs(t, err, webhook.ErrSignature)
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / calls; each > 200<<10 {
		t.Errorf("%d bytes allocated for an empty body that announced 1 GiB", each)
	}
}
