package webhook_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	kterrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/webhook"
)

func TestAReaderEndsWithEOFOrTheDenial(t *testing.T) {
	eachScheme(t, func(t *testing.T, b *schemeBench) {
		r, err := b.verifier.NewReader(b.header, strings.NewReader(testBody))
		for k := range b.keys.All() {
			if !k.Secret.Public().IsZero() {
				wantIs(t, err, webhook.ErrSignature)
				if !strings.Contains(err.Error(), "call VerifyRequest") {
					t.Errorf("%v does not say what to do", err)
				}
				return
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		want := must(b.verifier.Verify(b.header, []byte(testBody)))(t)
		if _, err := r.Verified(); !errors.Is(err, webhook.ErrSignature) {
			t.Errorf("before the end: %v", err)
		}
		body, err := io.ReadAll(r)
		if err != nil || string(body) != testBody {
			t.Errorf("read %q, %v", body, err)
		}
		if got, err := r.Verified(); err != nil || got != want {
			t.Errorf("Verified = %+v, %v; want %+v", got, err, want)
		}
		for _, other := range []string{"", testBody[1:], testBody + "x"} {
			r := must(b.verifier.NewReader(b.header, strings.NewReader(other)))(t)
			body, err := io.ReadAll(r)
			wantIs(t, err, webhook.ErrSignature)
			if string(body) != other {
				t.Errorf("read %q of %q", body, other)
			}
			_, err = r.Verified()
			wantIs(t, err, webhook.ErrSignature)
			if n, err := r.Read(make([]byte, 10)); n != 0 || !errors.Is(err, webhook.ErrSignature) {
				t.Errorf("after the end: %d, %v", n, err)
			}
		}
	})
}

func TestAReaderReadsHoweverTheBodyArrives(t *testing.T) {
	verifier := newVerifier(t, otherSecret, testSecret)
	for name, wrap := range map[string]func(io.Reader) io.Reader{"data with the end": iotest.DataErrReader, "byte by byte": iotest.OneByteReader, "half by half": iotest.HalfReader} {
		for _, size := range []int{0, 1, 127, 128, 129, 100_000} {
			body := strings.Repeat("b", size)
			r := must(verifier.NewReader(signedRequest(t, body).Header, wrap(strings.NewReader(body))))(t)
			if n, err := io.Copy(io.Discard, r); err != nil || n != int64(size) {
				t.Errorf("%s: %d of %d bytes, %v", name, n, size, err)
			}
			if got, err := r.Verified(); err != nil || got.ID != testID {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
		}
	}
}

func TestAReaderRefusesByHeadersBeforeReading(t *testing.T) {
	p := &probe{Reader: strings.NewReader(testBody)}
	for name, tt := range map[string]struct {
		header http.Header
		err    error
	}{
		"nothing": {nil, webhook.ErrMissing},
		"old":     {headers(testID, testTime-301, testSignature), webhook.ErrTooOld},
		"junk":    {headers(testID, testTime, "v1,junk"), webhook.ErrMalformed},
	} {
		if r, err := newVerifier(t, testSecret).NewReader(tt.header, p); !errors.Is(err, tt.err) || r != nil || p.read != 0 {
			t.Errorf("%s: %v after %d bytes", name, err, p.read)
		}
	}
	_, err := new(webhook.Verifier).NewReader(nil, p)
	wantIs(t, err, webhook.ErrNoKeys)
	_, err = new(webhook.Reader).Read(make([]byte, 1))
	wantIs(t, err, webhook.ErrNoKeys)
	_, err = new(webhook.Reader).Verified()
	wantIs(t, err, webhook.ErrSignature)
}

func TestAReaderCapsTheBodyAndReportsOneThatBreaksOff(t *testing.T) {
	for size, want := range map[int]error{999: nil, 1000: nil, 1001: webhook.ErrBodyTooLarge, 1 << 20: webhook.ErrBodyTooLarge} {
		body := strings.Repeat("b", size)
		r := must(verifierWithCap(t, 1000).NewReader(signedRequest(t, body).Header, strings.NewReader(body)))(t)
		n, err := io.Copy(io.Discard, r)
		if want == nil && err != nil || !errors.Is(err, want) || n > 1000 {
			t.Errorf("%d bytes: %d read, %v", size, n, err)
		}
		if _, again := r.Verified(); want != nil && !errors.Is(again, want) {
			t.Errorf("%d bytes: Verified says %v", size, again)
		}
	}
	gone := errors.New("connection reset")
	r := must(verifierWithCap(t, 0).NewReader(signedRequest(t, testBody).Header, io.MultiReader(strings.NewReader(testBody), iotest.ErrReader(gone))))(t)
	body, err := io.ReadAll(r)
	wantIs(t, err, webhook.ErrBody)
	wantIs(t, err, gone)
	if string(body) != testBody || kterrors.CodeOf(err) != kterrors.Invalid {
		t.Errorf("read %q, %v", body, err)
	}
	_, err = r.Verified()
	wantIs(t, err, webhook.ErrBody)
}

// Time and keys are judged again when the body is complete.
func TestAReaderJudgesTheMessageWhenItIsComplete(t *testing.T) {
	old := webhook.Key{ID: "old", Secret: must(webhook.SecretFromString(testSecret))(t), NotAfter: t0.Add(time.Minute)}
	for name, tt := range map[string]struct {
		meanwhile func(now *time.Time, v *webhook.Verifier)
		err       error
	}{
		"nothing":               {func(*time.Time, *webhook.Verifier) {}, nil},
		"the tolerance passes":  {func(now *time.Time, _ *webhook.Verifier) { *now = t0.Add(5*time.Minute + 1) }, webhook.ErrTooOld},
		"the clock is put back": {func(now *time.Time, _ *webhook.Verifier) { *now = t0.Add(-time.Hour) }, webhook.ErrTooNew},
		"the key expires":       {func(now *time.Time, _ *webhook.Verifier) { *now = t0.Add(time.Minute) }, webhook.ErrKeyExpired},
		"the key is taken away": {func(_ *time.Time, v *webhook.Verifier) { _ = v.SetKeys(keysOf(t, otherSecret)) }, webhook.ErrSignature},
		"another key comes too": {func(_ *time.Time, v *webhook.Verifier) { _ = v.SetKeys(keysOf(t, otherSecret, testSecret)) }, nil},
		"the key ends, in the set": {func(now *time.Time, v *webhook.Verifier) {
			*now = t0.Add(2 * time.Minute)
			_ = v.SetKeys(must(webhook.NewKeys(old))(t))
		}, webhook.ErrKeyExpired},
	} {
		now := t0
		verifier := must(webhook.NewVerifier(must(webhook.NewKeys(old))(t), &webhook.VerifierOptions{Now: func() time.Time { return now }}))(t)
		r := must(verifier.NewReader(signedRequest(t, testBody).Header, io.MultiReader(strings.NewReader(testBody), readerFunc(func([]byte) (int, error) {
			tt.meanwhile(&now, verifier)
			return 0, io.EOF
		}))))(t)
		_, err := io.ReadAll(r)
		if tt.err == nil && err != nil || !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", name, err, tt.err)
		}
	}
}
