package idempotency_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware/idempotency"
)

func TestKeysDifferInEveryPart(t *testing.T) {
	seen := map[idempotency.Key][]string{}
	for _, parts := range [][]string{nil, {""}, {"", ""}, {"a"}, {"a", ""}, {"", "a"}, {"a", "b"}, {"ab"}, {"ab", ""}, {"a\x00b"}, {"b", "a"}} {
		key := idempotency.KeyOf(parts...)
		if other, ok := seen[key]; ok {
			t.Errorf("%q and %q have one key", parts, other)
		}
		if idempotency.KeyOf(parts...) != key {
			t.Errorf("%q has two keys", parts)
		}
		seen[key] = parts
	}
}

func TestFingerprintReadsTheBodyAndPutsItBack(t *testing.T) {
	closed := false
	for _, body := range []string{"", "a", strings.Repeat("x", 1000)} {
		for _, chunked := range []bool{false, true} {
			r := httptest.NewRequest("POST", "/", nil)
			r.Body = closer{iotest.OneByteReader(strings.NewReader(body)), &closed}
			if r.ContentLength = int64(len(body)); chunked {
				r.ContentLength = -1
			}
			mark, err := idempotency.FingerprintOf(t.Context(), r, 1000)
			must(t, err)
			again, err := idempotency.FingerprintOf(t.Context(), r, 1000)
			must(t, err)
			if mark != again {
				t.Error("the fingerprint of a request that was read is another")
			}
			got, err := io.ReadAll(r.Body)
			if string(got) != body || err != nil {
				t.Errorf("the body is %d bytes, %v; want %d", len(got), err, len(body))
			}
			must(t, r.Body.Close())
			if !closed {
				t.Error("closing does not reach the body")
			}
			closed = false
		}
	}
}

type closer struct {
	io.Reader
	closed *bool
}

func (c closer) Close() error { *c.closed = true; return nil }

func TestFingerprintRefusesWhatIsTooLong(t *testing.T) {
	for _, length := range []int64{1001, -1} {
		r := httptest.NewRequest("POST", "/", strings.NewReader(strings.Repeat("x", 1001)))
		r.ContentLength = length
		if _, err := idempotency.FingerprintOf(t.Context(), r, 1000); !errors.Is(err, idempotency.ErrTooLarge) || errors.CodeOf(err) != errors.Invalid {
			t.Errorf("length %d: %v", length, err)
		}
	}
}

func TestFingerprintOfABodyThatFails(t *testing.T) {
	r := httptest.NewRequest("POST", "/", iotest.ErrReader(io.ErrUnexpectedEOF))
	if _, err := idempotency.FingerprintOf(t.Context(), r, 1000); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r = httptest.NewRequest("POST", "/", bytes.NewReader(make([]byte, 10)))
	if _, err := idempotency.FingerprintOf(ctx, r, 1000); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestFingerprintOfAQueryThatIsNone(t *testing.T) {
	seen := map[idempotency.Fingerprint]string{}
	for _, query := range []string{"", "a", "a=%zz", "a=%zy", "a;b", "b;a"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.RawQuery = query
		mark, err := idempotency.FingerprintOf(t.Context(), r, 0)
		must(t, err)
		if other, ok := seen[mark]; ok {
			t.Errorf("the queries %q and %q count as one", query, other)
		}
		seen[mark] = query
	}
}

// A path that is escaped otherwise is another resource.
func TestFingerprintOfPaths(t *testing.T) {
	seen := map[idempotency.Fingerprint]string{}
	for _, target := range []string{"/a/b", "/a%2Fb", "/a/b/", "/a//b", "/A/b"} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", "http://example.com"+target, nil)
		must(t, err)
		mark, err := idempotency.FingerprintOf(t.Context(), r, 0)
		must(t, err)
		if other, ok := seen[mark]; ok {
			t.Errorf("the paths %s and %s count as one", target, other)
		}
		seen[mark] = target
	}
}
