package webhook_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/webhook"
)

// refused makes a request that has to be refused.
func refused(t *testing.T, tr http.RoundTripper, address string) {
	t.Helper()
	_, _, err := get(t, tr, address)
	if !errors.Is(err, webhook.ErrRefused) {
		t.Errorf("%s: %v", address, err)
	} else if errors.MessageOf(err) == "" || !strings.ContainsAny(errors.MessageOf(err), ";") {
		t.Errorf("%s: %q does not say what would be right", address, errors.MessageOf(err))
	}
}

func TestLoopbackIsRefusedInEveryForm(t *testing.T) {
	s := newTarget(t, "127.0.0.1:0", nil)
	resolver := nameServer(t, func(string, int) []netip.Addr { return []netip.Addr{netip.MustParseAddr("127.0.0.1")} })
	tr := newTransport(t, webhook.SafeTransportOptions{Resolver: resolver})
	for _, host := range []string{
		"127.0.0.1", "localhost", "localhost.", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::1]", "[::127.0.0.1]", "0.0.0.0", "[::]",
		// Decimal, octal and hexadecimal forms, and forms with fewer parts.
		"2130706433", "0177.0.0.1", "0177.0.0.01", "127.1", "127.0.1", "0x7f.0.0.1", "0x7f000001", "0X7F000001", "127.0.0.1.", "017700000001",
	} {
		refused(t, tr, "http://"+host+":"+s.port+"/")
		if err := tr.CheckURL("http://" + host + ":" + s.port + "/"); err == nil && !strings.HasPrefix(host, "localhost") {
			t.Errorf("CheckURL takes %s", host)
		}
	}
	s.none(t)
}

// IDNA folds these digits to ASCII after the host of the URL could have been
// looked at, so that only the dial sees an address.
func TestFullWidthDigitsFoldedByIDNAAreRefusedWhenDialled(t *testing.T) {
	s := newTarget(t, "127.0.0.1:0", nil)
	refused(t, newTransport(t, webhook.SafeTransportOptions{}), "http://①②⑦.⓪.⓪.①:"+s.port+"/")
	s.none(t)
	if status, _, err := get(t, local(t), "http://①②⑦.⓪.⓪.①:"+s.port+"/"); status != 200 || s.conns.Load() != 1 {
		t.Errorf("the trick does not work any more, and tests nothing: %d, %v", status, err)
	}
}

func TestUserinfoTrickIsRefused(t *testing.T) {
	s := newTarget(t, "127.0.0.1:0", nil)
	for _, tr := range []*webhook.SafeTransport{newTransport(t, webhook.SafeTransportOptions{}), local(t)} {
		for _, address := range []string{"http://1.1.1.1&@127.0.0.1:" + s.port + "/", "http://hook.example:80@127.0.0.1:" + s.port, "http://user:pass@127.0.0.1:" + s.port} {
			if err := tr.CheckURL(address); !errors.Is(err, webhook.ErrRefused) {
				t.Errorf("CheckURL(%q) = %v", address, err)
			}
			if r, err := http.NewRequest(http.MethodGet, address, nil); err == nil {
				if _, err := tr.RoundTrip(r); !errors.Is(err, webhook.ErrRefused) {
					t.Errorf("%q: %v", address, err)
				}
			}
		}
	}
	s.none(t)
}

func TestPlainHTTPIsRefusedByDefault(t *testing.T) {
	s := newTarget(t, "127.0.0.1:0", nil)
	tr := must(webhook.NewSafeTransport(&webhook.SafeTransportOptions{AllowPrefixes: prefixes("127.0.0.1/32"), AnyPort: true}))(t)
	refused(t, tr, s.URL)
	refused(t, tr, strings.Replace(s.URL, "http", "HTTP", 1))
	refused(t, tr, strings.Replace(s.URL, "http", "ftp", 1))
	refused(t, tr, "/hook")
	s.none(t)
}

func TestOnlyTheAgreedPortsAreConnectedTo(t *testing.T) {
	s := newTarget(t, "127.0.0.1:0", nil)
	std := must(webhook.NewSafeTransport(&webhook.SafeTransportOptions{AllowPrefixes: prefixes("127.0.0.1/32"), AllowHTTP: true}))(t)
	refused(t, std, s.URL)
	for address, want := range map[string]bool{
		"https://hook.example": true, "http://hook.example": true, "https://hook.example:8443/x": true, "https://hook.example:443": true,
		"https://hook.example:22": false, "https://hook.example:25": false, "https://hook.example:6379": false, "https://hook.example:0": false,
		"https://hook.example:65536": false, "https://hook.example:": true,
	} {
		if err := std.CheckURL(address); (err == nil) != want {
			t.Errorf("CheckURL(%q) = %v", address, err)
		}
	}
	own := must(webhook.NewSafeTransport(&webhook.SafeTransportOptions{Ports: []uint16{9000}}))(t)
	if own.CheckURL("https://hook.example:9000") != nil || own.CheckURL("https://hook.example") == nil {
		t.Error("Ports is not what decides")
	}
	s.none(t)
}

// A look-up that is judged before another is dialled is worth nothing.
func TestRebindingResolverGainsNothing(t *testing.T) {
	s := newTarget(t, "127.0.0.1:0", nil)
	public, private := netip.MustParseAddr("93.184.215.14"), netip.MustParseAddr("127.0.0.1")
	resolver := nameServer(t, func(_ string, asked int) []netip.Addr {
		if asked == 0 {
			return []netip.Addr{public}
		}
		return []netip.Addr{private}
	})
	first, err := resolver.LookupNetIP(t.Context(), "ip4", "rebind.test")
	if err != nil || len(first) != 1 || !webhook.Deliverable(first[0]) {
		t.Fatalf("what a check beforehand sees: %v, %v", first, err)
	}
	refused(t, newTransport(t, webhook.SafeTransportOptions{Resolver: resolver}), "http://rebind.test:"+s.port+"/")
	s.none(t)
}

func TestNameWithMixedAnswersNeverLeadsToTheBadOne(t *testing.T) {
	bad := newTarget(t, "127.0.0.2:0", nil)
	good := newTarget(t, "127.0.0.1:"+bad.port, nil)
	addrs := []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("10.0.0.1")}
	for range 3 {
		addrs = append(slices.Clone(addrs[1:]), addrs[0]) // each comes first once
		order := addrs
		resolver := nameServer(t, func(string, int) []netip.Addr { return order })
		tr := newTransport(t, webhook.SafeTransportOptions{AllowPrefixes: prefixes("127.0.0.1/32"), Resolver: resolver})
		if status, _, err := get(t, tr, "http://mixed.test:"+bad.port+"/"); status != 200 {
			t.Errorf("%v: %d, %v", addrs, status, err)
		}
	}
	bad.none(t)
	if good.conns.Load() != 3 {
		t.Errorf("%d connections to the address that may be used", good.conns.Load())
	}
}

func TestMappedAddressFromTheDNSIsJudgedAsIPv4(t *testing.T) {
	s := newTarget(t, "127.0.0.1:0", nil)
	resolver := nameServer(t, func(string, int) []netip.Addr { return []netip.Addr{netip.MustParseAddr("::ffff:127.0.0.1")} })
	refused(t, newTransport(t, webhook.SafeTransportOptions{Resolver: resolver}), "http://mapped.test:"+s.port+"/")
	s.none(t)
	tr := newTransport(t, webhook.SafeTransportOptions{Resolver: resolver, AllowPrefixes: prefixes("127.0.0.1/32")})
	if status, _, err := get(t, tr, "http://mapped.test:"+s.port+"/"); status != 200 {
		t.Errorf("%d, %v", status, err)
	}
}

func TestAllowedHostMayLeadToPrivateAddressesButNotToMetadata(t *testing.T) {
	s := newTarget(t, "127.0.0.1:0", nil)
	resolver := nameServer(t, func(name string, _ int) []netip.Addr {
		if strings.HasPrefix(name, "meta.") {
			return []netip.Addr{netip.MustParseAddr("169.254.169.254")}
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	})
	tr := newTransport(t, webhook.SafeTransportOptions{Resolver: resolver, AllowHosts: []string{"Hooks.internal.", "meta.internal"}})
	for _, host := range []string{"hooks.internal", "HOOKS.internal", "hooks.internal."} {
		if status, _, err := get(t, tr, "http://"+host+":"+s.port+"/"); status != 200 {
			t.Errorf("%s: %d, %v", host, status, err)
		}
	}
	before := s.conns.Load()
	for _, host := range []string{"meta.internal", "other.internal", "x.hooks.internal", "hooks.internal.test", "127.0.0.1"} {
		refused(t, tr, "http://"+host+":"+s.port+"/")
	}
	if s.conns.Load() != before {
		t.Error("what is not allowed was reached")
	}
}

func TestRefusalNamesTheAddressForTheOperatorAndNotForTheOwner(t *testing.T) {
	resolver := nameServer(t, func(string, int) []netip.Addr { return []netip.Addr{netip.MustParseAddr("10.11.12.13")} })
	_, _, err := get(t, newTransport(t, webhook.SafeTransportOptions{Resolver: resolver}), "http://inside.test/")
	if err == nil || !strings.Contains(err.Error(), "10.11.12.13 is in 10.0.0.0/8, private use, RFC 1918") {
		t.Errorf("the operator is told %v", err)
	}
	if msg := errors.MessageOf(err); strings.Contains(msg, "10.11") || !strings.Contains(msg, "private use") {
		t.Errorf("the owner is told %q", msg)
	}
	if errors.CodeOf(err) != errors.Forbidden {
		t.Errorf("code %v", errors.CodeOf(err))
	}
}

func TestRedirectToLoopbackIsNotFollowed(t *testing.T) {
	inside := newTarget(t, "127.0.0.2:0", nil)
	outside := newTarget(t, "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, inside.URL, http.StatusTemporaryRedirect)
	})
	tr := local(t)
	res, err := tr.Client(0).Get(outside.URL)
	if err != nil || res.StatusCode != 307 || res.Header.Get("Location") != inside.URL {
		t.Fatalf("%v, %v", res, err)
	}
	_ = res.Body.Close()
	// A client of the host's own that does follow meets the guard again.
	if res, err := (&http.Client{Transport: tr}).Get(outside.URL); !errors.Is(err, webhook.ErrRefused) {
		t.Errorf("%v, %v", res, err)
	}
	inside.none(t)
}

// egress is a proxy that speaks CONNECT and forwards plain requests. It
// keeps the targets that it was asked for, and connects to none but to.
func egress(t *testing.T, to string) (address *url.URL, asked *atomic.Pointer[string], count *atomic.Int32) {
	t.Helper()
	asked, count = new(atomic.Pointer[string]), new(atomic.Int32)
	s := newTarget(t, "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) {
		count.Add(1)
		asked.Store(new(r.Method + " " + r.RequestURI))
		far, err := net.Dial("tcp", to)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer far.Close()
		if r.Method != http.MethodConnect {
			_ = r.Write(far)
			res, err := http.ReadResponse(bufio.NewReader(far), r)
			if err != nil {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			_ = res.Body.Close()
			w.WriteHeader(res.StatusCode)
			return
		}
		_ = far.Close()
		tunnel(t, w, to)
	})
	return must(url.Parse(s.URL))(t), asked, count
}

// With a proxy the dial sees nothing but the proxy, so that the target has to be
// judged before.
func TestProxyIsNoWayAroundTheGuard(t *testing.T) {
	s := newTarget(t, "127.0.0.1:0", nil)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // what gets through hangs
	defer cancel()
	for _, scheme := range []string{"http", "https", "socks5"} {
		address, _, count := egress(t, s.Listener.Addr().String())
		address.Scheme = scheme
		tr := newTransport(t, webhook.SafeTransportOptions{Proxy: address})
		for _, target := range []string{
			"http://169.254.169.254/latest/meta-data/", "https://169.254.169.254/", "https://[fd00:ec2::254]/", "http://127.0.0.1:" + s.port,
			"http://[::ffff:a9fe:a9fe]/", "http://10.0.0.1/", "http://2852039166/", "http://0251.0376.0251.0376/", "http://0xa9fea9fe/",
			"http://169.254.43518/", "http://①⑥⑨.②⑤④.①⑥⑨.②⑤④/", "http://localhost/", "http://a.localhost/", "http://metadata/",
			"http://metadata.google.internal/", "http://printer.local./", "https://1.1.1.1@169.254.169.254/", "http://[64:ff9b::a9fe:a9fe]/",
			"http://[fe80::1%25eth0]/",
		} {
			if r, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil); err != nil {
				t.Error(err)
			} else if _, err := tr.RoundTrip(r); !errors.Is(err, webhook.ErrRefused) {
				t.Errorf("%s through a proxy of %s: %v", target, scheme, err)
			}
		}
		// net/http tells a proxy the Host of a request, not that of its URL.
		r, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://hook.example/", nil)
		r.Host = "169.254.169.254"
		if _, err := tr.RoundTrip(r); !errors.Is(err, webhook.ErrRefused) {
			t.Errorf("another Host: %v", err)
		}
		if count.Load() != 0 {
			t.Errorf("the proxy was asked %d times", count.Load())
		}
	}
	s.none(t)
}

func TestNamesAreLeftToTheEgressProxy(t *testing.T) {
	s := newTarget(t, "127.0.0.1:0", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })
	address, asked, _ := egress(t, s.Listener.Addr().String())
	nobody := nameServer(t, func(string, int) []netip.Addr { return nil })
	tr := newTransport(t, webhook.SafeTransportOptions{Proxy: address, Resolver: nobody, AllowHosts: []string{"hooks.internal"}})
	for _, host := range []string{"hook.example", "hooks.internal", "8.8.8.8"} {
		if status, _, err := get(t, tr, "http://"+host+"/x"); status != 202 || *asked.Load() != "GET http://"+host+"/x" {
			t.Errorf("%s: %d, %v, asked for %s", host, status, err, *asked.Load())
		}
	}
}

// net/http reads the environment once in the life of a process, so that only a
// process of its own tells anything.
func TestProxyOfTheEnvironmentIsIgnored(t *testing.T) {
	const child = "KEYTOLL_TEST_CHILD"
	if os.Getenv(child) == "" {
		env := newTarget(t, "127.0.0.1:0", nil)
		c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProxyOfTheEnvironmentIsIgnored$")
		c.Env = append(os.Environ(), child+"=1", "NO_PROXY=", "no_proxy=")
		for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
			c.Env = append(c.Env, name+"="+env.URL)
		}
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		env.none(t)
		return
	}
	s := newTarget(t, "127.0.0.1:0", nil)
	resolver := nameServer(t, func(string, int) []netip.Addr { return []netip.Addr{netip.MustParseAddr("127.0.0.1")} })
	tr := newTransport(t, webhook.SafeTransportOptions{Resolver: resolver, AllowPrefixes: prefixes("127.0.0.1/32")})
	if status, _, err := get(t, tr, "http://hook.test:"+s.port); status != 200 || s.conns.Load() != 1 {
		t.Errorf("%d, %v", status, err)
	}
	refused(t, tr, "http://169.254.169.254/")
}

func TestTransportOptionsReportEveryFault(t *testing.T) {
	_, err := webhook.NewSafeTransport(&webhook.SafeTransportOptions{
		AllowPrefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8"), {}, netip.MustParsePrefix("::ffff:10.0.0.0/104")},
		AllowHosts:    []string{"10.0.0.1", "", "*.internal", "bücher.test", "::1"},
		NAT64:         prefixes("64:ff9b::/64", "10.0.0.0/8"),
		Ports:         []uint16{0},
		AnyPort:       true,
		Proxy:         &url.URL{Scheme: "ftp", Host: "proxy"},
		MaxResponse:   -1,
	})
	if err == nil {
		t.Fatal("no fault")
	}
	if lines := strings.Split(err.Error(), "\n"); len(lines) != 14 {
		t.Errorf("%d faults:\n%v", len(lines), err)
	}
	if errors.CodeOf(err) != errors.Invalid {
		t.Errorf("code %v", errors.CodeOf(err))
	}
	_, err = webhook.NewSafeTransport(&webhook.SafeTransportOptions{Proxy: &url.URL{Scheme: "http", User: url.UserPassword("u", "hunter2")}})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
}

func TestARequestThatIsIncompleteIsRefused(t *testing.T) {
	for name, r := range map[string]*http.Request{
		"no URL":    {Header: http.Header{}},
		"no header": {URL: &url.URL{Scheme: "https", Host: "example.com"}},
	} {
		if _, err := must(webhook.NewSafeTransport(nil))(t).RoundTrip(r); !errors.Is(err, webhook.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestZeroTransportRefusesEverything(t *testing.T) {
	var tr webhook.SafeTransport
	refused(t, &tr, "https://hook.example/")
	if err := tr.CheckURL("https://hook.example/"); !errors.Is(err, webhook.ErrRefused) {
		t.Error(err)
	}
	tr.CloseIdleConnections()
}

func TestNamesAreLeftToASOCKSProxy(t *testing.T) {
	asked := make(chan string, 1)
	address := rawListener(t, func(c net.Conn) {
		// RFC 1928: no authentication, then the target, then what it would say.
		var b [262]byte
		_, _ = io.ReadFull(c, b[:2])
		_, _ = io.ReadFull(c, b[:b[1]])
		_, _ = c.Write([]byte{5, 0})
		_, _ = io.ReadFull(c, b[:5])
		kind := b[3]
		_, _ = io.ReadFull(c, b[:int(b[4])+2])
		asked <- fmt.Sprint(kind, string(b[:len("hook.example")]))
		_, _ = c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
		_ = readHeader(c)
		_, _ = io.WriteString(c, "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	})
	tr := newTransport(t, webhook.SafeTransportOptions{Proxy: &url.URL{Scheme: "socks5", Host: address}})
	if status, _, err := get(t, tr, "http://hook.example/"); status != 202 {
		t.Errorf("%d, %v", status, err)
	}
	if got := <-asked; got != "3hook.example" { // 3: a name
		t.Errorf("asked for %q", got)
	}
}

func TestAttemptSaysThatTheProxyIsOutOfReach(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	tr := newTransport(t, webhook.SafeTransportOptions{Proxy: &url.URL{Scheme: "http", Host: l.Addr().String()}})
	a := try(t, webhook.SenderOptions{Transport: tr}, claimed("http://hook.example/", webhook.Settings{}))
	if a.Failure != webhook.FailedConnect || !strings.Contains(a.Detail, "proxy") {
		t.Errorf("%+v", a)
	}
}
