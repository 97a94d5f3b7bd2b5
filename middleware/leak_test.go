package middleware_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

// whole is what a key looks like, a good one or a guess. What names a key in public,
// its id and its start, is shorter.
var whole = regexp.MustCompile(`kt_[0-9A-Za-z_]{20,}`)

// keeps fails the test when something that the gate let out has a key in it. Every
// answer that a test is given, and all that an Observer is told, goes through here.
func keeps(tb testing.TB, what string, out any) {
	text := fmt.Sprintf("%+v", out)
	if !strings.Contains(text, "kt_") {
		return
	}
	if found := whole.FindString(text); found != "" {
		tb.Errorf("%s has the key %.8s... in it", what, found)
	}
}

// keptAnswer looks through an answer in process.
func keptAnswer(tb testing.TB, w *httptest.ResponseRecorder) {
	keeps(tb, "the header of an answer", w.Header())
	keeps(tb, "the body of an answer", w.Body.String())
}

// most is how many events of a test are looked at, since some tests make a million.
const most = 512

// kept looks through what was told.
func (j *journal) kept(tb testing.TB) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, d := range j.decisions[:min(len(j.decisions), most)] {
		keeps(tb, "a decision", d)
	}
	for _, s := range j.settled[:min(len(j.settled), most)] {
		keeps(tb, "a settlement", s)
	}
}

// A listener is a client's transport that looks through answers.
type listener struct {
	*http.Transport

	tb testing.TB
}

func (l listener) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.Transport.RoundTrip(r)
	if err == nil {
		keeps(l.tb, "the header of an answer", resp.Header)
	}
	if err == nil && resp.StatusCode != http.StatusSwitchingProtocols {
		resp.Body = &listened{ReadCloser: resp.Body, tb: l.tb, trailer: resp}
	}
	return resp, err
}

// A listened body is looked through piece by piece, with the end of the last piece.
type listened struct {
	io.ReadCloser

	tb      testing.TB
	trailer *http.Response
	tail    []byte
}

func (b *listened) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	text := append(b.tail, p[:n]...)
	keeps(b.tb, "the body of an answer", string(text))
	b.tail = text[max(0, len(text)-256):]
	if err == io.EOF {
		keeps(b.tb, "the trailer of an answer", b.trailer.Trailer)
	}
	return n, err
}

// Keys of these tests, and guesses, are recognised as such, and what names them is not.
func TestKeysAreRecognised(t *testing.T) {
	h := build(t, blueprint{})
	issued := h.key("image:generate")
	for _, key := range []string{issued.Secret.Reveal(), foreign(t).Reveal(), wrongSecret(t, issued.Secret.Reveal())} {
		if whole.FindString("Bearer "+key+`"`) != key {
			t.Errorf("%.8s... is taken for no key", key)
		}
	}
	keeps(t, "what names a key", fmt.Sprintf("%+v %v %v", issued, issued.Key, issued.Secret))
}
