package webhook

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/keytoll/keytoll/errors"
)

// A guard decides what a [SafeTransport] connects to. It does not change.
type guard struct {
	prefixes []netip.Prefix
	nat64    []netip.Prefix
	hosts    []string // lower case, without a dot at the end
	ports    []uint16 // empty: any
	http     bool
	proxied  bool
}

// judge returns nil when addr may be dialled. host is set for a name of
// AllowHosts.
func (g *guard) judge(addr netip.Addr, host bool) error {
	addr = addr.Unmap()
	shown, held := addr, ""
	for _, prefix := range g.nat64 {
		if prefix.Contains(addr.WithZone("")) && addr.Zone() == "" {
			b := addr.As16()
			addr = netip.AddrFrom4([4]byte(b[12:]))
			held = ", which is " + addr.String() + " behind NAT64,"
			break
		}
	}
	s := spanOf(addr)
	switch {
	case s == nil:
		return nil
	case !s.never && (host || slices.ContainsFunc(g.prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })):
		return nil
	}
	hint := "give the endpoint an address that is public, or have the host allow this one"
	if s.never {
		hint = "give the endpoint an address that is public; this one is never delivered to"
	}
	where := s.prefix.String()
	if !s.prefix.IsValid() {
		where = "scoped"
	}
	return refusal("the address is not public ("+s.name+"); "+hint, "%s%s is in %s, %s", shown, held, where, s.name)
}

// refusal is an error that matches [ErrRefused]. msg is for the owner of the
// endpoint, detail for the operator.
func refusal(msg, detail string, args ...any) error {
	err := ErrRefused
	if detail != "" {
		err = fmt.Errorf("%w: "+detail, append([]any{ErrRefused}, args...)...)
	}
	return &errors.Error{Op: "webhook.SafeTransport", Msg: msg, Err: err}
}

// control is for [net.Dialer]: it sees every address that is dialled, after the
// name was looked up and just before the connection is made.
func (g *guard) control(host bool) func(network, address string, _ syscall.RawConn) error {
	return func(network, address string, _ syscall.RawConn) error {
		if !strings.HasPrefix(network, "tcp") {
			return refusal("the connection is not TCP; nothing else is delivered over", "%s %s", network, address)
		}
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return refusal("the address cannot be read; give the endpoint another", "%q", address)
		}
		return g.judge(at.Addr(), host) // the port is that of the URL, and was judged with it
	}
}

func (g *guard) port(port uint16) error {
	if len(g.ports) == 0 || slices.Contains(g.ports, port) {
		return nil
	}
	return refusal(fmt.Sprintf("port %d is not one to deliver to; use one of %v, or have the host allow it", port, g.ports), "")
}

// allowed reports whether name, as it stands in an address, is in AllowHosts.
func (g *guard) allowed(name string) bool {
	return slices.Contains(g.hosts, strings.ToLower(strings.TrimSuffix(name, ".")))
}

// url judges an address before anything is dialled: all that can be seen without
// looking the name up.
func (g *guard) url(u *url.URL) error {
	switch {
	case u.Scheme == "http" && !g.http:
		return refusal("the address begins with http; use https, which nobody on the way can read", "")
	case u.Scheme != "https" && u.Scheme != "http":
		return refusal("the address does not begin with https://; give one that does", "")
	case u.User != nil:
		return refusal("the address has user information before an '@'; send credentials in a header", "")
	case u.Opaque != "" || u.Hostname() == "":
		return refusal("the address names no host; give one like https://example.com/hook", "")
	}
	port := uint64(443)
	if u.Scheme == "http" {
		port = 80
	}
	if text := u.Port(); text != "" {
		var err error
		if port, err = strconv.ParseUint(text, 10, 16); err != nil || port == 0 {
			return refusal("the port of the address is not a number from 1 to 65535", "")
		}
	}
	if err := g.port(uint16(port)); err != nil {
		return err
	}
	return g.name(u.Hostname())
}

// name judges the host of an address. Behind a proxy nobody else does, so that
// what is not plainly the name of a public host is refused there.
func (g *guard) name(host string) error {
	if addr, err := netip.ParseAddr(host); err == nil {
		return g.judge(addr, false)
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	last := name[strings.LastIndexByte(name, '.')+1:]
	if strings.TrimLeft(last, "0123456789") == "" || strings.HasPrefix(last, "0x") && strings.TrimLeft(last[2:], "0123456789abcdef") == "" {
		// No name ends in a number; some resolvers take 127.1, 0x7f000001 and
		// 2130706433 for 127.0.0.1.
		return refusal("the host is a number in an unusual form; write an IPv4 address as four decimal numbers", "")
	}
	if !g.proxied || g.allowed(name) {
		return nil
	}
	for i := range len(name) {
		if c := name[i]; c != '.' && !wordByte(c) {
			return refusal("the host is not written in ASCII, and a proxy would read it its own way; give the xn-- form", "")
		}
	}
	switch {
	case last == name, last == "localhost", last == "local", last == "internal":
		return refusal("the host is a local name; give the endpoint a public one, or have the host allow this one", "%q", name)
	}
	return nil
}

// hostOf returns the host of "host:port", without a zone that a proxy or
// resolver might read.
func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	return host
}
