package apikey

import (
	"iter"
	"net/netip"
	"slices"
	"strings"

	"github.com/keytoll/keytoll/errors"
)

// MaxNetworks is the number of networks one key may name.
const MaxNetworks = 256

// Networks is the list of networks a key may be used from, immutable, sorted
// and without repeats. Copying and sharing it is free and safe for concurrent
// use. The zero value names no network: [Networks.Contains] is false for every
// address, and a key that carries it may be used from anywhere, which is why
// callers ask [Networks.IsZero] first, as [Service.Verify] does.
//
// Its canonical text is the CIDR prefixes separated by one space, "" when empty.
type Networks struct{ prefixes []netip.Prefix }

// NewNetworks makes a list of prefixes. An IPv4 network in IPv6 dress
// (::ffff:10.0.0.0/104) is stored as the IPv4 network it is. Set host bits
// (10.0.0.1/8) are refused, because they mean that the writer meant something
// else. The error names every fault.
func NewNetworks(prefixes ...netip.Prefix) (Networks, error) {
	faults := errors.Faults{Op: "apikey.NewNetworks"}
	var list []netip.Prefix
	for _, p := range prefixes {
		if list = addNetwork(&faults, list, p, p.String()); len(list) > MaxNetworks {
			break
		}
	}
	return finish(&faults, list)
}

// ParseNetworks makes a list of CIDR prefixes ("10.0.0.0/8", "2001:db8::/32")
// and single addresses ("203.0.113.7"). The error names every fault.
func ParseNetworks(texts ...string) (Networks, error) {
	faults := errors.Faults{Op: "apikey.ParseNetworks"}
	var list []netip.Prefix
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if addr, bad := netip.ParseAddr(text); err != nil && bad == nil && addr.Zone() == "" {
			addr = addr.Unmap()
			p, err = addr.Prefix(addr.BitLen())
		}
		if err != nil {
			faults.Add("network %q: give an address or a prefix such as 10.0.0.0/8", clip(text))
			continue
		}
		if list = addNetwork(&faults, list, p, text); len(list) > MaxNetworks {
			break
		}
	}
	return finish(&faults, list)
}

func addNetwork(faults *errors.Faults, list []netip.Prefix, p netip.Prefix, text string) []netip.Prefix {
	if !p.IsValid() {
		faults.Add("network %q is not valid; give a prefix such as 10.0.0.0/8", clip(text))
		return list
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if p != p.Masked() {
		faults.Add("network %q has bits set after its prefix; give %s, or %s for the address alone", clip(text), p.Masked(), p.Addr())
		return list
	}
	return append(list, p)
}

func finish(faults *errors.Faults, list []netip.Prefix) (Networks, error) {
	if len(list) > MaxNetworks {
		faults.Add("more than %d networks; give that many or less", MaxNetworks)
	}
	if err := faults.Err(); err != nil {
		return Networks{}, err
	}
	slices.SortFunc(list, netip.Prefix.Compare)
	return Networks{slices.Clip(slices.Compact(list))}, nil
}

// Contains reports whether ip lies in one of the networks. An IPv4 address in
// IPv6 dress is taken as IPv4; an address with a zone, and the zero Addr, lie
// in none. It allocates nothing.
func (n Networks) Contains(ip netip.Addr) bool {
	if ip.Zone() != "" {
		return false // Unmap would drop the zone of an IPv4 address in IPv6 dress
	}
	ip = ip.Unmap()
	for _, p := range n.prefixes {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// IsZero reports whether no network is named.
func (n Networks) IsZero() bool { return len(n.prefixes) == 0 }

// Len returns the number of networks.
func (n Networks) Len() int { return len(n.prefixes) }

// All yields the networks in order.
func (n Networks) All() iter.Seq[netip.Prefix] { return slices.Values(n.prefixes) }

// Equal reports whether n and o name the same networks.
func (n Networks) Equal(o Networks) bool { return slices.Equal(n.prefixes, o.prefixes) }

// String returns the canonical text.
func (n Networks) String() string {
	var b strings.Builder
	for i, p := range n.prefixes {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(p.String())
	}
	return b.String()
}

// MarshalText returns the canonical text.
func (n Networks) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText replaces n with what [Networks.MarshalText] wrote. The rules of
// [ParseNetworks] hold.
func (n *Networks) UnmarshalText(text []byte) error {
	read, err := ParseNetworks(strings.Fields(string(text))...)
	if err == nil {
		*n = read
	}
	return err
}
