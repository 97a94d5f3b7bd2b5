package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/keytoll/keytoll/errors"
)

const maxDetail = 256 // bytes

// A courier makes single attempts. It keeps no state but connections, and may be
// used by any number of goroutines.
type courier struct {
	transport *SafeTransport
	keys      Keys
	now       func() time.Time
	userAgent string
	keepBody  int
}

// newCourier makes a courier of options that are complete and were checked.
func newCourier(o *SenderOptions) *courier {
	return &courier{transport: o.Transport, keys: o.Keys, now: o.Now, userAgent: o.UserAgent, keepBody: o.KeepBody}
}

// attempt makes one attempt at d and says what came of it. keys are those of the
// endpoint, clientKey is the PEM private key of its certificate.
//
// It takes no longer than the Timeout of the endpoint, nor than ctx has. What a
// deadline cuts short has failed; when ctx was over before it began, or was
// canceled, so that nothing can be said of the receiver, Number is 0. A status that
// came is what counts, even when the body that should follow does not. The error
// says why the host could not sign the message, with FailedKeys: that is for the
// operator to know.
func (c *courier) attempt(ctx context.Context, d Claimed, keys Keys, clientKey string) (a Attempt, unsigned error) {
	begun := c.now()
	a = Attempt{
		Endpoint: d.Endpoint.ID, Message: d.Message.ID, Number: d.Delivery.Tries,
		At: begun.UTC().Truncate(time.Microsecond),
	}
	if ctx.Err() != nil {
		a.Number = 0 // too late to begin
		return a, nil
	}
	timeout := d.Endpoint.Settings.Timeout
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	var w watch
	r, via, err := c.prepare(httptrace.WithClientTrace(ctx, w.trace()), d, clientKey)
	if err == nil {
		unsigned = c.sign(r, d.Message, keys, begun)
		err = unsigned
	}
	if err == nil {
		err = c.exchange(&a, via, r, begun)
	}
	switch {
	case err == nil:
		a.Address = w.seen().address
	case unsigned != nil && !errors.Is(err, ErrNoKeys) && !errors.Is(err, ErrMessage):
		a.Failure, a.Detail = FailedKeys, "the message could not be signed; nothing was sent"
	default:
		unsigned = nil
		a.fail(ctx, err, w.seen())
	}
	a.Took = max(0, c.now().Sub(begun)).Truncate(time.Microsecond)
	return a, unsigned
}

// prepare makes the request, all but its signatures, and says what to send it by.
// What cannot become a request is an error of code Invalid, or [ErrRefused].
func (c *courier) prepare(ctx context.Context, d Claimed, clientKey string) (*http.Request, *http.Transport, error) {
	settings := &d.Endpoint.Settings
	via, err := c.transport.forTLS(settings.TLS, clientKey)
	if err != nil {
		return nil, nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, settings.URL, http.NoBody)
	if err != nil {
		return nil, nil, notURL()
	}
	for name, value := range settings.Headers {
		r.Header.Set(name, value)
	}
	oneExchange(r, d.Message.Payload)
	r.Header.Set("Content-Type", d.Message.ContentType)
	r.Header.Set("User-Agent", c.userAgent)
	r.Header.Set("Accept-Encoding", "identity")
	return r, via, nil
}

// sign signs by the keys of the endpoint and those of the host. It comes last, so
// that no header of the endpoint's can take the place of a signature.
func (c *courier) sign(r *http.Request, m *Message, keys Keys, now time.Time) error {
	live := slices.DeleteFunc(slices.Concat(keys.list, c.keys.list), func(k Key) bool { return !k.live(now) })
	if len(live) == 0 {
		return ErrNoKeys
	}
	// The host may have changed its keys since those of the endpoint were checked.
	signer, err := signerOf("webhook.Sender", live)
	if err != nil {
		return err
	}
	return signer.SignRequest(r, m.ID, now, m.Payload)
}

// oneExchange gives r a body that net/http cannot rewind, so that it never sends
// the request again by itself when a connection that it used before turns out to be
// closed: an attempt is one exchange. An empty body is no body, unless r has a header
// that net/http takes for leave to repeat.
func oneExchange(r *http.Request, payload []byte) {
	if len(payload) > 0 || r.Header.Get("Idempotency-Key") != "" || r.Header.Get("X-Idempotency-Key") != "" {
		r.Body, r.GetBody, r.ContentLength = io.NopCloser(bytes.NewReader(payload)), nil, int64(len(payload))
	}
}

// exchange sends r, and takes from its answer what an Attempt keeps.
func (c *courier) exchange(a *Attempt, via *http.Transport, r *http.Request, now time.Time) error {
	res, err := c.transport.roundTrip(via, r)
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // the answer is judged by its status
	a.Status, a.Failure, a.Control = res.StatusCode, failureOf(res.StatusCode), controlOf(res.Header)
	if a.Failure != 0 {
		a.Detail = statusDetail(res.StatusCode)
		a.RetryAfter = retryAfterOf(res.Header, now)
	}
	if a.Failure == FailedRedirect {
		a.Location = locationOf(res.Header)
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		return nil // there is no body: what follows is another protocol
	}
	if c.keepBody > 0 {
		// What breaks off or comes too late is left out.
		a.Body, _ = io.ReadAll(io.LimitReader(res.Body, int64(c.keepBody)))
	}
	if res.ContentLength >= 0 && res.ContentLength <= maxDrain || len(res.TransferEncoding) > 0 {
		// So that the connection can be used again. A body that ends with its connection
		// is not waited for.
		_, _ = io.CopyN(io.Discard, res.Body, maxDrain)
	}
	return nil
}

// statusDetail says in our own words what an answer means.
func statusDetail(status int) string {
	text := http.StatusText(status)
	if text == "" {
		text = "a status without a name"
	}
	detail := "the receiver answered " + strconv.Itoa(status) + " (" + text + ")"
	switch failureOf(status) {
	case FailedRedirect:
		detail += "; redirects are not followed: give the endpoint the address that it leads to"
	case FailedGone:
		detail += ", which says that it wants no more messages"
	}
	return detail
}

// fail says of an error what failed. ctx is that of the attempt.
func (a *Attempt) fail(ctx context.Context, err error, s sight) {
	a.Address = s.address
	set := func(f Failure, detail string) {
		a.Failure, a.Detail = f, detail
		if len(detail) > maxDetail {
			a.Detail = detail[:maxDetail]
		}
	}
	timeout, _ := errors.AsType[net.Error](err)
	lookup, _ := errors.AsType[*net.DNSError](err)
	op, _ := errors.AsType[*net.OpError](err)
	code := errors.CodeOf(err)
	switch {
	case errors.Is(err, ErrRefused):
		set(FailedRefused, errors.MessageOf(err))
		a.Address = "" // nothing was dialled
	case code == errors.Invalid || code == errors.Conflict: // of this package, as net/http has no codes
		set(FailedConfig, errors.MessageOf(err))
	case errors.Is(ctx.Err(), context.Canceled):
		a.Number = 0
		set(FailedConnect, "the sender was stopped before an answer came")
	case ctx.Err() != nil:
		set(FailedTimeout, "no answer within the time that an attempt may take; "+s.stage())
	case op != nil && op.Op == "proxyconnect":
		set(FailedConnect, "the egress proxy could not be reached")
	case lookup != nil && lookup.IsNotFound:
		set(FailedLookup, "the name of the host does not exist; look at the address of the endpoint and at its DNS")
	case lookup != nil:
		set(FailedLookup, "the name of the host could not be looked up")
	case timeout != nil && timeout.Timeout():
		set(FailedTimeout, "no answer within the time that a connection may take; "+s.stage())
	case s.tlsErr != nil:
		set(FailedTLS, tlsDetail(s.tlsErr))
	case tlsAlert(err):
		set(FailedTLS, tlsDetail(err))
	case s.answered && op == nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		set(FailedAnswer, fmt.Sprintf("the answer is not HTTP/1.1, or its header is over %d bytes", maxResponseHeader))
	case s.connected:
		set(FailedConnect, "the connection broke before an answer came")
	default:
		set(FailedConnect, "no connection could be made")
	}
}

// tlsDetail says why a handshake failed.
func tlsDetail(err error) string {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "the certificate of the receiver is not trusted: it is not for this name, has expired, or comes from an unknown authority"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "the receiver does not speak TLS on this port"
	}
	if tlsAlert(err) {
		return "the receiver ended the TLS connection; it may ask for a client certificate, or for another version of TLS"
	}
	return "no TLS connection; the receiver has to speak TLS 1.2 or later"
}

// tlsAlert reports whether the receiver sent an alert: after the handshake, too,
// since TLS 1.3 judges a client's certificate then. The type of an alert is
// crypto/tls's own.
func tlsAlert(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error"
}

// A sight is what was seen of a connection.
type sight struct {
	address   string
	connected bool
	answered  bool  // the first byte of an answer came
	tlsErr    error // of the handshake
}

// stage says how far an attempt came.
func (s sight) stage() string {
	switch {
	case s.answered:
		return "its header did not end"
	case s.connected:
		return "the connection was made"
	case s.address != "":
		return "no connection was made"
	}
	return "no connection was begun"
}

// A watch follows one request. The functions of its trace may be called after the
// request is over, by dials that were not needed.
type watch struct {
	mu sync.Mutex
	s  sight
}

func (w *watch) seen() sight {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.s
}

func (w *watch) note(fn func(s *sight)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fn(&w.s)
}

func (w *watch) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		ConnectStart: func(_, address string) {
			w.note(func(s *sight) {
				if !s.connected {
					s.address = address
				}
			})
		},
		GotConn: func(info httptrace.GotConnInfo) {
			w.note(func(s *sight) { s.address, s.connected = info.Conn.RemoteAddr().String(), true })
		},
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) {
			w.note(func(s *sight) { s.tlsErr = err })
		},
		GotFirstResponseByte: func() { w.note(func(s *sight) { s.answered = true }) },
	}
}
