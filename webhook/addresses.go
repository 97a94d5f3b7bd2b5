package webhook

import "net/netip"

// A span is a block of addresses that are not those of public servers.
type span struct {
	prefix netip.Prefix
	name   string // what it is, and where that is said
	// never is set where no option makes the block deliverable: instance metadata,
	// and blocks that name no host or hide another address.
	never bool
}

// spans is what may not be dialled. The first that holds an address counts, so
// that a part of a block stands before the block. It follows the IANA IPv4 and IPv6
// Special-Purpose Address Registries as of 2025-10-09, the IANA IPv6 address
// space (only 2000::/3 is in use as global unicast), and what the clouds document
// of their instances. It is never written to.
var spans = [...]span{
	// IPv4.
	{netip.MustParsePrefix("0.0.0.0/8"), `"this network", RFC 791`, true},
	{netip.MustParsePrefix("10.0.0.0/8"), "private use, RFC 1918", false},
	{netip.MustParsePrefix("100.100.100.200/32"), "instance metadata of Alibaba Cloud", true},
	{netip.MustParsePrefix("100.64.0.0/10"), "shared address space, RFC 6598", false},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback, RFC 1122", false},
	{netip.MustParsePrefix("168.63.129.16/32"), "wire server of Azure", true},
	{netip.MustParsePrefix("169.254.0.0/16"), "link local and instance metadata, RFC 3927", true},
	{netip.MustParsePrefix("172.16.0.0/12"), "private use, RFC 1918", false},
	{netip.MustParsePrefix("192.0.0.192/32"), "instance metadata of Oracle Cloud", true},
	{netip.MustParsePrefix("192.0.0.0/24"), "IETF protocol assignments, RFC 6890", false},
	{netip.MustParsePrefix("192.0.2.0/24"), "documentation, RFC 5737", false},
	{netip.MustParsePrefix("192.31.196.0/24"), "AS112, RFC 7535", false},
	{netip.MustParsePrefix("192.52.193.0/24"), "AMT relays, RFC 7450", false},
	{netip.MustParsePrefix("192.88.99.0/24"), "6to4 relays, RFC 7526", false},
	{netip.MustParsePrefix("192.168.0.0/16"), "private use, RFC 1918", false},
	{netip.MustParsePrefix("192.175.48.0/24"), "AS112, RFC 7534", false},
	{netip.MustParsePrefix("198.18.0.0/15"), "benchmarks, RFC 2544", false},
	{netip.MustParsePrefix("198.51.100.0/24"), "documentation, RFC 5737", false},
	{netip.MustParsePrefix("203.0.113.0/24"), "documentation, RFC 5737", false},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast, RFC 1112", true},
	{netip.MustParsePrefix("255.255.255.255/32"), "limited broadcast, RFC 8190", true},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved, RFC 1112", false},

	// IPv6. What hides an IPv4 address would lead to all that is refused above.
	{netip.MustParsePrefix("::/128"), "unspecified, RFC 4291", true},
	{netip.MustParsePrefix("::1/128"), "loopback, RFC 4291", false},
	{netip.MustParsePrefix("::/96"), "IPv4-compatible, RFC 4291", true},
	{netip.MustParsePrefix("::ffff:0:0:0/96"), "IPv4-translated, RFC 2765", true},
	{netip.MustParsePrefix("64:ff9b::/96"), "NAT64, RFC 6052", true},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "local NAT64, RFC 8215", true},
	{netip.MustParsePrefix("100::/64"), "discard only, RFC 6666", false},
	{netip.MustParsePrefix("100:0:0:1::/64"), "dummy prefix, RFC 9780", false},
	{netip.MustParsePrefix("2001::/32"), "Teredo, RFC 4380", true},
	{netip.MustParsePrefix("2001::/23"), "IETF protocol assignments, RFC 2928", false},
	{netip.MustParsePrefix("2001:db8::/32"), "documentation, RFC 3849", false},
	{netip.MustParsePrefix("2002::/16"), "6to4, RFC 3056", true},
	{netip.MustParsePrefix("2620:4f:8000::/48"), "AS112, RFC 7534", false},
	{netip.MustParsePrefix("3fff::/20"), "documentation, RFC 9637", false},
	{netip.MustParsePrefix("5f00::/16"), "segment routing, RFC 9602", false},
	{netip.MustParsePrefix("fd00:42::42/128"), "instance metadata of Scaleway", true},
	{netip.MustParsePrefix("fd00:c1::a9fe:a9fe/128"), "instance metadata of Oracle Cloud", true},
	{netip.MustParsePrefix("fd00:ec2::/32"), "instance services of AWS", true},
	{netip.MustParsePrefix("fd20:ce::254/128"), "instance metadata of Google Cloud", true},
	{netip.MustParsePrefix("fc00::/7"), "unique local, RFC 4193", false},
	{netip.MustParsePrefix("fe80::/10"), "link local, RFC 4291", true},
	{netip.MustParsePrefix("fec0::/10"), "site local, RFC 3879", false},
	{netip.MustParsePrefix("ff00::/8"), "multicast, RFC 4291", true},

	// The rest of IPv6 belongs to nobody yet: 2000::/3 is all that does.
	{netip.MustParsePrefix("::/3"), "not allocated", false},
	{netip.MustParsePrefix("4000::/2"), "not allocated", false},
	{netip.MustParsePrefix("8000::/1"), "not allocated", false},
}

// zoned stands for every address with a zone, such as fe80::1%eth0.
var zoned = [...]span{{name: "an address with a zone", never: true}}

// spanOf returns the block that makes addr one not to dial, or nil. addr is not
// an IPv4 address in the form of IPv6.
func spanOf(addr netip.Addr) *span {
	if addr.Zone() != "" {
		return &zoned[0]
	}
	for i := range spans {
		if spans[i].prefix.Contains(addr) {
			return &spans[i]
		}
	}
	return nil
}

// Deliverable reports whether addr is the address of a public server, as far as
// the registries of addresses tell. That is what a [SafeTransport] without options
// connects to. It is false for private and local addresses, for those of instance
// metadata, for reserved and unallocated ones, for those that hide another, and
// for the zero Addr. An IPv4 address in the form of IPv6 is judged as IPv4.
//
// A name has to be judged by what is dialled, not by what a look-up said before:
// that is what SafeTransport is for.
func Deliverable(addr netip.Addr) bool {
	return addr.IsValid() && spanOf(addr.Unmap()) == nil
}
