package clientip

import (
	"net/netip"
	"strings"
)

// FromRemoteAddr returns the address of an http.Request.RemoteAddr, "host:port"
// or a bare address, unmapped and without a zone; the zero Addr when it holds
// none.
func FromRemoteAddr(s string) netip.Addr { return parseEntry(s) }

// maxEntry is longer than any address with brackets, zone and port.
const maxEntry = 96

// parseEntry reads one entry: an address, with or without brackets and port.
// Whatever else stands there gives the zero Addr.
func parseEntry(s string) netip.Addr {
	s = strings.Trim(s, " \t")
	if len(s) == 0 || len(s) > maxEntry {
		return netip.Addr{}
	}
	switch {
	case s[0] == '[':
		end := strings.IndexByte(s, ']')
		if end < 0 || !portOrNothing(s[end+1:]) {
			return netip.Addr{}
		}
		inner := s[1:end]
		if strings.IndexByte(inner, ':') < 0 {
			return netip.Addr{} // brackets are for IPv6 only
		}
		s = inner
	case strings.Count(s, ":") == 1:
		colon := strings.IndexByte(s, ':')
		if !portOrNothing(s[colon:]) {
			return netip.Addr{}
		}
		s = s[:colon]
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}
	}
	return plain(a)
}

// portOrNothing reports whether s is empty or ":" with one to five digits.
func portOrNothing(s string) bool {
	if s == "" {
		return true
	}
	if s[0] != ':' || len(s) < 2 || len(s) > 6 {
		return false
	}
	for i := 1; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// lastEntry cuts the entry after the last comma off s. more is false when s
// had no comma, so that entry was the last one there is.
func lastEntry(s string) (entry, rest string, more bool) {
	if i := strings.LastIndexByte(s, ','); i >= 0 {
		return s[i+1:], s[:i], true
	}
	return s, "", false
}

// plain drops the zone and the IPv4-in-IPv6 mapping: one machine, one address.
func plain(a netip.Addr) netip.Addr { return a.WithZone("").Unmap() }
