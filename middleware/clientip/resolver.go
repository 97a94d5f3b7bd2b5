package clientip

import (
	"net/http"
	"net/netip"
	"slices"

	"github.com/keytoll/keytoll/errors"
)

// A Resolver finds the client's address of a request. The zero value trusts no
// proxy and is ready to use, and so is a nil *Resolver.
type Resolver struct {
	trusted []netip.Prefix
}

// NewResolver returns a resolver that believes the X-Forwarded-For entries
// which proxies inside the trusted prefixes have added. Prefixes are masked
// and IPv4-mapped ones unwrapped. None is fine: forwarding headers are then
// ignored. A prefix of length 0 is refused, because a resolver that trusts
// everyone lets every client choose its own address.
func NewResolver(trusted ...netip.Prefix) (*Resolver, error) {
	faults := errors.Faults{Op: "clientip.NewResolver"}
	own := make([]netip.Prefix, 0, len(trusted))
	for i, p := range trusted {
		switch {
		case !p.IsValid():
			faults.Add("trusted prefix %d is not set; give one such as 10.0.0.0/8", i)
			continue
		case p.Addr().Is4In6() && p.Bits() < 96:
			faults.Add("trusted prefix %s covers more than the IPv4-mapped addresses; give the IPv4 and the IPv6 prefix apart", p)
			continue
		case p.Addr().Is4In6():
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		if p.Bits() == 0 {
			faults.Add("trusted prefix %s trusts everyone; name the addresses of your proxies", p)
			continue
		}
		own = append(own, p.Masked())
	}
	if err := faults.Err(); err != nil {
		return nil, err
	}
	return &Resolver{trusted: own}, nil
}

// Trusts reports whether a is the address of a trusted proxy.
func (r *Resolver) Trusts(a netip.Addr) bool {
	if r == nil || !a.IsValid() {
		return false
	}
	a = plain(a)
	return slices.ContainsFunc(r.trusted, func(p netip.Prefix) bool { return p.Contains(a) })
}

// Resolve returns the client's address, unmapped and without a zone. It is the
// zero Addr when the peer's own address is unknown, as on a Unix socket.
func (r *Resolver) Resolve(req *http.Request) netip.Addr {
	return r.Walk(FromRemoteAddr(req.RemoteAddr), req.Header["X-Forwarded-For"])
}

// maxHops bounds the walk: longer chains of trusted proxies do not exist, but
// a client can forge them.
const maxHops = 32

// Walk is [Resolver.Resolve] on its parts: the peer's address and the lines of
// X-Forwarded-For in the order in which they came.
func (r *Resolver) Walk(peer netip.Addr, lines []string) netip.Addr {
	at := plain(peer)
	if len(lines) == 0 || !r.Trusts(at) {
		return at
	}
	hops := 0
	for _, line := range slices.Backward(lines) {
		for rest, more := line, true; more; {
			var entry string
			entry, rest, more = lastEntry(rest)
			if hops++; hops > maxHops {
				return at
			}
			next := parseEntry(entry)
			if !next.IsValid() {
				return at
			}
			if at = next; !r.Trusts(at) {
				return at
			}
		}
	}
	return at
}
