package middleware

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"

	"github.com/keytoll/keytoll/errors"
)

// A recorder notes what the wire is told, and changes nothing of it. It belongs
// to the goroutine that serves the request.
type recorder struct {
	inner     http.ResponseWriter
	ctx       *passContext
	claim     *claim // nil unless there is an Idempotency-Key
	written   int64  // bytes of the body
	status    int16  // of the final answer, once wrote; three digits, or net/http panics
	wrote     bool   // the final answer's head went out
	informed  bool   // an informational answer went out, and the head was not looked at since
	late      bool   // the last bytes were written when the client had left
	hijacked  bool
	timedOut  bool // an http.TimeoutHandler outside has answered 503 instead
	completed bool // the handler has returned, neither by panic nor by Goexit
}

// wrap returns a writer over w that records into rec and claims no interface
// that w does not have, directly or behind Unwrap.
func (rec *recorder) wrap(w http.ResponseWriter, ctx *passContext) http.ResponseWriter {
	rec.inner, rec.ctx = w, ctx
	_, flushes := seek[http.Flusher](w)
	if !flushes {
		_, flushes = seek[flushErrorer](w)
	}
	_, hijacks := seek[http.Hijacker](w)
	_, pushes := w.(http.Pusher)
	switch {
	case flushes && hijacks:
		return recorderH1{rec}
	case flushes && pushes:
		return recorderH2{rec}
	case flushes:
		return recorderFlush{rec}
	}
	return rec
}

type flushErrorer interface{ FlushError() error }

// seek returns w, or the first writer behind its Unwrap, that is a T.
func seek[T any](w http.ResponseWriter) (T, bool) {
	for {
		if t, ok := w.(T); ok {
			return t, true
		}
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			var none T
			return none, false
		}
		w = u.Unwrap()
	}
}

// mark notes the final status; informational ones but 101 do not count.
func (rec *recorder) mark(status int) {
	switch {
	case rec.wrote:
	case status < 200 && status != http.StatusSwitchingProtocols:
		rec.informed = true
	default:
		rec.restore()
		rec.status, rec.wrote = int16(status), true
		if rec.claim != nil {
			rec.claim.capture.head(rec.inner.Header())
		}
	}
}

// restore puts back what the gate has announced: who passes on an informational
// answer clears the header behind it, as httputil.ReverseProxy does.
func (rec *recorder) restore() {
	if rec.informed {
		rec.informed = false
		rec.ctx.pass.announceAgain(rec.inner.Header())
	}
}

// note watches for the one write error that means that the client was answered
// something else.
func (rec *recorder) note(err error) {
	if err != nil && errors.Is(err, http.ErrHandlerTimeout) {
		rec.timedOut = true
	}
}

// sent counts what was written, and notes whether the client was there.
func (rec *recorder) sent(n int64, err error) {
	rec.written += n
	rec.late = rec.ctx.Err() != nil
	rec.note(err)
}

// whole reports whether the body was written to the end that its head promises,
// while the client was there: who leaves after that has got it all.
func (rec *recorder) whole() bool {
	length := rec.inner.Header()["Content-Length"]
	if !rec.wrote || rec.late || len(length) != 1 {
		return false
	}
	n, err := strconv.ParseInt(length[0], 10, 64)
	return err == nil && rec.written >= n
}

// outcome tells how it went; gone is the error of the request's context.
func (rec *recorder) outcome(gone error) Outcome {
	if deadline := errors.Is(gone, context.DeadlineExceeded); deadline && !rec.wrote {
		rec.timedOut = true
	} else if deadline && rec.completed && !rec.hijacked {
		// An http.TimeoutHandler outside says so, and to a writer that has begun its
		// answer no bytes are nothing.
		_, err := rec.inner.Write(nil)
		rec.note(err)
	}
	o := Outcome{
		Status: int(rec.status), Completed: rec.completed, Wrote: rec.wrote, Hijacked: rec.hijacked, TimedOut: rec.timedOut,
		ClientGone: gone != nil && !rec.whole(),
	}
	if o.Completed && !o.Wrote && !o.Hijacked {
		o.Status = http.StatusOK
	}
	return o
}

// Header returns the inner writer's headers.
func (rec *recorder) Header() http.Header { return rec.inner.Header() }

// WriteHeader passes status on.
func (rec *recorder) WriteHeader(status int) {
	rec.mark(status)
	rec.inner.WriteHeader(status)
}

// Write passes b on.
func (rec *recorder) Write(b []byte) (int, error) {
	rec.mark(http.StatusOK)
	n, err := rec.inner.Write(b)
	rec.sent(int64(n), err)
	if rec.claim != nil {
		return captured(&rec.claim.capture, b, n, err)
	}
	return n, err
}

// WriteString passes s on without copying it where the inner writer can.
func (rec *recorder) WriteString(s string) (int, error) {
	rec.mark(http.StatusOK)
	n, err := io.WriteString(rec.inner, s)
	rec.sent(int64(n), err)
	if rec.claim != nil {
		return captured(&rec.claim.capture, s, n, err)
	}
	return n, err
}

// FlushError is what http.ResponseController calls; it must be met here, or a
// flush would send the head past the recorder.
func (rec *recorder) FlushError() error {
	rec.restore()
	err := http.NewResponseController(rec.inner).Flush()
	if !errors.Is(err, http.ErrNotSupported) {
		rec.mark(http.StatusOK)
		if rec.claim != nil {
			rec.claim.capture.lose() // a stream
		}
	}
	rec.note(err)
	return err
}

// Unwrap lets http.ResponseController reach deadlines and full duplex.
func (rec *recorder) Unwrap() http.ResponseWriter { return rec.inner }

func (rec *recorder) hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(rec.inner).Hijack()
	if err == nil {
		rec.hijacked = true
	}
	return conn, rw, err
}

// recorderFlush is for writers that can flush and no more.
type recorderFlush struct{ *recorder }

// Flush sends what is buffered.
func (w recorderFlush) Flush() { _ = w.FlushError() } // http.Flusher has no way to tell

// recorderH2 is for HTTP/2.
type recorderH2 struct{ *recorder }

// Flush sends what is buffered.
func (w recorderH2) Flush() { _ = w.FlushError() } // http.Flusher has no way to tell

// Push starts a server push.
func (w recorderH2) Push(target string, opts *http.PushOptions) error {
	if p, ok := w.inner.(http.Pusher); ok {
		return p.Push(target, opts)
	}
	return http.ErrNotSupported
}

// recorderH1 is for HTTP/1.
type recorderH1 struct{ *recorder }

// Flush sends what is buffered.
func (w recorderH1) Flush() { _ = w.FlushError() } // http.Flusher has no way to tell

// Hijack takes the connection over.
func (w recorderH1) Hijack() (net.Conn, *bufio.ReadWriter, error) { return w.hijack() }

// ReadFrom keeps sendfile.
func (w recorderH1) ReadFrom(src io.Reader) (int64, error) {
	w.mark(http.StatusOK)
	if w.claim != nil {
		return io.Copy(struct{ io.Writer }{w.recorder}, src)
	}
	n, err := io.Copy(w.inner, src)
	w.sent(n, err)
	return n, err
}
