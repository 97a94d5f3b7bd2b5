package clientip

import "net/netip"

// Unknown is the bucket of requests whose client address is not known.
const Unknown = "unknown"

// Bucket returns the name under which a client is counted: an IPv4 address in
// full, an IPv6 address by its /64, and [Unknown] for the zero Addr.
// IPv4-mapped addresses count as IPv4, and zones are dropped. Equal buckets
// have equal names.
func Bucket(a netip.Addr) string {
	a = plain(a)
	switch {
	case !a.IsValid():
		return Unknown
	case a.Is4():
		return a.String()
	}
	return Prefix(a).String()
}

// Prefix returns the range that [Bucket] names: the address itself for IPv4
// (/32), its /64 for IPv6, and the zero Prefix for the zero Addr.
func Prefix(a netip.Addr) netip.Prefix {
	a = plain(a)
	switch {
	case !a.IsValid():
		return netip.Prefix{}
	case a.Is4():
		return netip.PrefixFrom(a, 32)
	}
	return netip.PrefixFrom(a, 64).Masked()
}
