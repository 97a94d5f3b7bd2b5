// Package clientip tells which address a request came from, and which bucket
// that address is counted in.
//
//	resolver, err := clientip.NewResolver(netip.MustParsePrefix("10.0.0.0/8"))
//	if err != nil {
//		return err
//	}
//	ip := resolver.Resolve(r)
//	bucket := clientip.Bucket(ip) // "203.0.113.7", "2001:db8:1:2::/64", "unknown"
//
// Without trusted prefixes only the peer of the connection counts, and
// forwarding headers are not read at all. With them the X-Forwarded-For chain
// is walked from the right, the peer first, and the first address that is not
// a trusted proxy's is the client: everything to its left was written by that
// client and proves nothing.
//
// # Security
//
// Addresses are compared as bits: IPv4-mapped IPv6 is unwrapped and zones are
// dropped. IPv6 is counted by /64, because whoever holds one address usually
// holds the whole prefix. An entry that is not an address ends the walk at the
// last proxy that was trusted. An unresolved address has a bucket with a name,
// "unknown": it is limited like any other, never unlimited.
//
// The request is never changed; RemoteAddr stays what the server set.
//
// # Concurrency
//
// A [Resolver] is immutable and safe for concurrent use. Nothing here
// allocates, except [Bucket] for the text it returns.
package clientip
