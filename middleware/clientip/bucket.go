package clientip

import "net/netip"

// Unknown is the bucket of requests whose client address is not known.
const Unknown = "unknown"

// Bucket returns the name under which a client is counted: an IPv4 address in
// full, an IPv6 address by its /64, and [Unknown] for the zero Addr.
// IPv4-mapped addresses count as IPv4, and zones are dropped. An IPv6 address that
// a translator made of an IPv4 address (64:ff9b::/96 of RFC 6052, 64:ff9b:1::/48
// of RFC 8215) is counted in full, or one client would stand for the whole of
// IPv4. Equal buckets have equal names.
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
// (/32) and what was translated from it (/128), the /64 for other IPv6, and the
// zero Prefix for the zero Addr.
func Prefix(a netip.Addr) netip.Prefix {
	a = plain(a)
	switch {
	case !a.IsValid():
		return netip.Prefix{}
	case a.Is4():
		return netip.PrefixFrom(a, 32)
	}
	bits := 64
	if translated(a) {
		bits = 128
	}
	return netip.PrefixFrom(a, bits).Masked()
}

// translated reports whether an IPv6 address stands for one of IPv4.
func translated(a netip.Addr) bool {
	b := a.As16()
	const wellKnown, local = "\x00\x64\xff\x9b\x00\x00\x00\x00\x00\x00\x00\x00", "\x00\x64\xff\x9b\x00\x01"
	return string(b[:len(wellKnown)]) == wellKnown || string(b[:len(local)]) == local
}
