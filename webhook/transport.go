package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// Defaults and bounds of a [SafeTransport].
const (
	DefaultMaxConnsPerHost = 64
	DefaultMaxResponse     = 1 << 20

	maxResponseHeader = 64 << 10
	readBuffer        = 1 << 10 // of a connection; no more of what comes unasked is logged by net/http
	idleConns         = 256
	idleConnsPerHost  = 4
	idleTimeout       = 30 * time.Second
)

// SafeTransportOptions adjusts a [SafeTransport].
type SafeTransportOptions struct {
	// AllowPrefixes are addresses that may be connected to though they are not
	// public, for receivers on a network of the host's own. Link-local addresses,
	// those of instance metadata, and those that hide another stay refused. Default
	// none.
	AllowPrefixes []netip.Prefix
	// AllowHosts are names that may lead to such addresses, with the same
	// exceptions: whole names, in ASCII. Whoever may register an endpoint may then
	// post to them. Default none.
	AllowHosts []string
	// NAT64 are the prefixes, 96 bits long, by which this network reaches IPv4. An
	// address in one of them is judged by the IPv4 address that it holds. Default
	// none: 64:ff9b::/96 is refused.
	NAT64 []netip.Prefix
	// Ports are those that may be connected to. Default 80, 443 and 8443.
	Ports []uint16
	// AnyPort lets every port be connected to. Ports must then be empty.
	AnyPort bool
	// AllowHTTP allows addresses that begin with http. Default false: https alone.
	AllowHTTP bool
	// Proxy is the egress proxy that all connections go through: an http, https or
	// socks5 address. Default none, whatever the environment says. Addresses that are
	// numbers are judged before the proxy sees them. Names are looked up by the proxy:
	// the proxy, not this package, must then refuse those that lead to private
	// addresses, and only plainly local ones are refused here. NAT64 does not matter
	// behind it, and the proxy's own address may be any.
	Proxy *url.URL
	// RootCAs are the authorities to trust. Default nil: those of the system.
	RootCAs *x509.CertPool
	// Resolver looks names up. Default nil: that of the system.
	Resolver *net.Resolver
	// MaxConnsPerHost bounds the connections to one host and port; more requests
	// wait. Default [DefaultMaxConnsPerHost]; negative: no bound.
	MaxConnsPerHost int
	// MaxResponse is the most bytes that can be read of the body of an answer, 1 or
	// more; reading on is an error that matches [ErrBodyTooLarge]. Default
	// [DefaultMaxResponse].
	MaxResponse int64
}

// A SafeTransport connects to public servers only, for requests to addresses that
// somebody else has chosen. It is an [http.RoundTripper]: use it by
// [SafeTransport.Client] or in a client that does not follow redirects.
//
// What is dialled is judged when it is dialled, see [Deliverable]: every address
// that a name leads to, on every attempt, so that a name that leads elsewhere on
// the second look-up gains nothing. Requests have to be https, to a port of
// Ports, without user information. No proxy is taken from the environment. What is
// refused is an error that matches [ErrRefused].
//
// Connections speak HTTP/1.1 over TLS 1.2 or later, so that one request is one
// exchange that the receiver sees. Answers are asked for without compression and
// never decompressed; their headers are limited to 64 KiB and their bodies to
// MaxResponse. How long a request may take is for its context to say.
//
// When a receiver sends on after its answer, net/http closes the connection and
// writes up to 1 KiB of what came, quoted, to the standard logger of package log.
//
// The zero value refuses everything. A SafeTransport may be used by any number of
// goroutines, and must not be copied. It starts no goroutine that outlives its
// connections.
type SafeTransport struct {
	guard   *guard
	limit   int64
	base    *http.Transport
	derived derivedTransports
}

// NewSafeTransport makes a SafeTransport. opts may be nil. It reports every fault
// of the options at once.
func NewSafeTransport(opts *SafeTransportOptions) (*SafeTransport, error) {
	var o SafeTransportOptions
	if opts != nil {
		o = *opts
	}
	faults := errors.Faults{Op: "webhook.NewSafeTransport"}
	o.check(&faults)
	if err := faults.Err(); err != nil {
		return nil, err
	}
	g := &guard{
		prefixes: slices.Clone(o.AllowPrefixes),
		nat64:    slices.Clone(o.NAT64),
		ports:    slices.Clone(o.Ports),
		http:     o.AllowHTTP,
		proxied:  o.Proxy != nil,
	}
	for _, host := range o.AllowHosts {
		g.hosts = append(g.hosts, strings.ToLower(strings.TrimSuffix(host, ".")))
	}
	if len(g.ports) == 0 && !o.AnyPort {
		g.ports = []uint16{80, 443, 8443}
	}
	return &SafeTransport{guard: g, limit: o.MaxResponse, base: newTransport(&o, g)}, nil
}

// check adds what is wrong with o to faults, and fills in what is missing.
func (o *SafeTransportOptions) check(faults *errors.Faults) {
	for _, p := range o.AllowPrefixes {
		if !p.IsValid() || p.Masked() != p || p.Addr().Is4In6() {
			faults.Add("AllowPrefixes: %v is not a prefix without host bits; write IPv4 as IPv4", p)
		}
	}
	for _, p := range o.NAT64 {
		if !p.IsValid() || p.Masked() != p || p.Bits() != 96 || p.Addr().Is4In6() {
			faults.Add("NAT64: %v is not an IPv6 prefix of 96 bits, like 64:ff9b::/96", p)
		}
	}
	for _, host := range o.AllowHosts {
		if _, err := netip.ParseAddr(host); err == nil || !validName(strings.TrimSuffix(host, "."), 253) {
			faults.Add("AllowHosts: %q is not a name in ASCII; addresses go into AllowPrefixes", host)
		}
	}
	if slices.Contains(o.Ports, 0) {
		faults.Add("Ports: 0 is no port; for any port set AnyPort")
	}
	if o.AnyPort && len(o.Ports) > 0 {
		faults.Add("Ports and AnyPort are both set; set one")
	}
	if p := o.Proxy; p != nil && (!slices.Contains([]string{"http", "https", "socks5"}, p.Scheme) || p.Hostname() == "") {
		faults.Add("Proxy: not an address that begins with http://, https:// or socks5:// and names a host")
	}
	if o.MaxResponse < 0 {
		faults.Add("MaxResponse is %d; give 1 or more, or 0 for %d", o.MaxResponse, int64(DefaultMaxResponse))
	}
	if o.MaxResponse == 0 {
		o.MaxResponse = DefaultMaxResponse
	}
	if o.MaxConnsPerHost == 0 {
		o.MaxConnsPerHost = DefaultMaxConnsPerHost
	}
}

func newTransport(o *SafeTransportOptions, g *guard) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	t := &http.Transport{
		DialContext:            untilEnd(dialer(o, g)),
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs},
		TLSHandshakeTimeout:    MaxTimeout,
		ResponseHeaderTimeout:  MaxTimeout,
		DisableCompression:     true,
		MaxIdleConns:           idleConns,
		MaxIdleConnsPerHost:    idleConnsPerHost,
		MaxConnsPerHost:        max(0, o.MaxConnsPerHost),
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxResponseHeader,
		ReadBufferSize:         readBuffer,
		Protocols:              protocols,
	}
	if o.Proxy != nil {
		proxy := *o.Proxy
		t.Proxy = http.ProxyURL(&proxy)
		if proxy.Scheme == "https" {
			// The proxy's certificate is no matter of an endpoint's TLS settings.
			t.DialTLSContext = untilEnd((&tls.Dialer{NetDialer: &net.Dialer{Resolver: o.Resolver}, Config: t.TLSClientConfig.Clone()}).DialContext)
		}
	}
	return t
}

// dialer returns what connects: by the guard, except to the egress proxy.
func dialer(o *SafeTransportOptions, g *guard) func(ctx context.Context, network, address string) (net.Conn, error) {
	if o.Proxy != nil {
		return (&net.Dialer{Timeout: MaxTimeout, Resolver: o.Resolver}).DialContext
	}
	strict := &net.Dialer{Timeout: MaxTimeout, Resolver: o.Resolver, Control: g.control(false)}
	host := &net.Dialer{Timeout: MaxTimeout, Resolver: o.Resolver, Control: g.control(true)}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if g.allowed(hostOf(address)) {
			return host.DialContext(ctx, network, address)
		}
		return strict.DialContext(ctx, network, address)
	}
}

// endKey is where a context holds the time.Time at which its request ends.
type endKey struct{}

// afterEnd is how much longer than its request a connection that is being made may
// live, so that it is the request that says what failed.
const afterEnd = 100 * time.Millisecond

// untilEnd bounds dialling, and handshakes on the connection, by the deadline of the
// request that wanted it. net/http takes the deadline off and goes on, for another
// request perhaps: receivers that answer nothing would keep more connections open
// than there are attempts.
func untilEnd(dial func(ctx context.Context, network, address string) (net.Conn, error)) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		end, ok := ctx.Value(endKey{}).(time.Time)
		if !ok {
			return dial(ctx, network, address)
		}
		ctx, cancel := context.WithDeadline(ctx, end)
		defer cancel()
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		if err := conn.SetDeadline(end); err != nil {
			_ = conn.Close()
			return nil, err
		}
		return conn, nil
	}
}

// bounded returns ctx with what untilEnd looks for, if it has a deadline. The first
// request that a connection is given to takes the bound off.
func bounded(ctx context.Context) context.Context {
	if end, ok := ctx.Deadline(); ok {
		ctx = context.WithValue(ctx, endKey{}, end.Add(afterEnd))
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { _ = info.Conn.SetDeadline(time.Time{}) }, // fails on a closed one
	})
}

// CheckURL returns nil when address can be delivered to as far as that can be
// seen without looking its name up, and otherwise an error that matches
// [ErrRefused] and says what would be right. It is for telling early; what counts
// is the judgement when the address is dialled.
func (t *SafeTransport) CheckURL(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return notURL()
	}
	if t.guard == nil {
		return unmade()
	}
	return t.guard.url(u)
}

// Client returns a client that uses t, follows no redirect, and gives up on a
// request, its answer's body included, after timeout; 0 or less means
// [DefaultTimeout].
func (t *SafeTransport) Client(timeout time.Duration) *http.Client {
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       timeout,
	}
}

// RoundTrip implements [http.RoundTripper].
func (t *SafeTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	return t.roundTrip(t.base, r)
}

func (t *SafeTransport) roundTrip(via *http.Transport, r *http.Request) (*http.Response, error) {
	if err := t.admit(r); err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // as a RoundTripper has to; nothing was read
		}
		return nil, err
	}
	r = r.WithContext(bounded(r.Context()))
	if r.Header.Get("Accept-Encoding") == "" {
		r.Header = r.Header.Clone()
		r.Header.Set("Accept-Encoding", "identity")
	}
	res, err := via.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	res.Body = &cappedBody{src: res.Body, left: t.limit, limit: t.limit}
	return res, nil
}

// admit judges a request before anything is dialled.
func (t *SafeTransport) admit(r *http.Request) error {
	if t.guard == nil {
		return unmade()
	}
	if r.URL == nil || r.Header == nil {
		return refusal("the request has no URL or no Header; make it with http.NewRequest", "")
	}
	if err := t.guard.url(r.URL); err != nil {
		return err
	}
	if t.guard.proxied && r.Host != "" && r.Host != r.URL.Host {
		// A proxy goes by the Host of a request, not by what was just judged.
		return refusal("the request names another host than its address; leave Request.Host empty behind a proxy", "")
	}
	for name, values := range r.Header {
		if !headerName(name) || slices.ContainsFunc(values, func(v string) bool { return !headerValue(v) }) {
			return refusal("a header has a character that is not allowed there, such as a line break; take it out", "%q", name)
		}
	}
	return nil
}

func notURL() error {
	return refusal("the address is not a URL; give one like https://example.com/hook", "")
}

func unmade() error {
	return refusal("the transport is a zero SafeTransport; make one with NewSafeTransport", "")
}

// CloseIdleConnections closes connections that wait for a next request.
func (t *SafeTransport) CloseIdleConnections() {
	if t.base != nil {
		t.base.CloseIdleConnections()
	}
	t.derived.closeIdle()
}

// cappedBody ends in an error where a body goes beyond its limit.
type cappedBody struct {
	src         io.ReadCloser
	left, limit int64 // left is negative once the limit was passed
}

// Read implements [io.Reader].
func (b *cappedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, b.tooLarge()
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1] // one more, to see whether there is more
	}
	n, err := b.src.Read(p)
	if int64(n) <= b.left {
		b.left -= int64(n)
		return n, err
	}
	n, b.left = int(b.left), -1
	return n, b.tooLarge()
}

// Close implements [io.Closer].
func (b *cappedBody) Close() error { return b.src.Close() }

func (b *cappedBody) tooLarge() error {
	return &errors.Error{
		Op: "webhook.SafeTransport", Err: ErrBodyTooLarge,
		Msg: fmt.Sprintf("the body of the answer is over %d bytes; read no further, or raise MaxResponse", b.limit),
	}
}
