package clientip_test

import (
	"encoding/binary"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/middleware/clientip"
)

// walks is also what the fuzz target starts from.
var walks = []struct {
	name  string
	peer  string
	lines []string
	want  string // "" = unknown
}{
	{"the peer, when nobody is trusted to forward", "203.0.113.7:4711", []string{"1.2.3.4"}, "203.0.113.7"},
	{"the peer, when a trusted proxy forwards nothing", "10.0.0.1:80", nil, "10.0.0.1"},
	{"the rightmost address that is no proxy", "10.0.0.1:80", []string{"6.6.6.6, 198.51.100.9, 10.0.0.2"}, "198.51.100.9"},
	{"a forged left part proves nothing", "10.0.0.1:80", []string{"127.0.0.1, 10.0.0.3, 198.51.100.9"}, "198.51.100.9"},
	{"several lines are one chain", "10.0.0.1:80", []string{"6.6.6.6", "198.51.100.9", "10.0.0.2"}, "198.51.100.9"},
	{"all trusted: the leftmost", "10.0.0.1:80", []string{"10.0.0.9, 10.0.0.2"}, "10.0.0.9"},
	{"garbage ends the walk at the last proxy", "10.0.0.1:80", []string{"198.51.100.9, unknown, 10.0.0.2"}, "10.0.0.2"},
	{"garbage at once leaves the peer", "10.0.0.1:80", []string{"198.51.100.9, _hidden"}, "10.0.0.1"},
	{"an empty entry is garbage", "10.0.0.1:80", []string{"198.51.100.9,,10.0.0.2"}, "10.0.0.2"},
	{"an empty line is garbage", "10.0.0.1:80", []string{"198.51.100.9", ""}, "10.0.0.1"},
	{"a mapped peer is the IPv4 proxy", "[::ffff:10.0.0.1]:80", []string{"::ffff:198.51.100.9"}, "198.51.100.9"},
	{"IPv6 with brackets and port", "[2001:db8:ffff::1]:443", []string{"[2001:db8:1:2::3]:5000"}, "2001:db8:1:2::3"},
	{"IPv4 with port", "10.0.0.1:80", []string{"198.51.100.9:1234"}, "198.51.100.9"},
	{"a zone is dropped", "[fe80::1%eth0]:80", nil, "fe80::1"},
	{"a port that is none", "10.0.0.1:80", []string{"198.51.100.9:"}, "10.0.0.1"},
	{"brackets around IPv4", "10.0.0.1:80", []string{"[198.51.100.9]"}, "10.0.0.1"},
	{"a peer without an address is never filled from a header", "@", []string{"198.51.100.9"}, ""},
	{"nor an empty one", "", []string{"198.51.100.9"}, ""},
	{"leading zeros are garbage", "10.0.0.1:80", []string{"198.051.100.9"}, "10.0.0.1"},
	{"a forged endless chain of proxies is cut", "10.0.0.1:80", []string{"6.6.6.6," + strings.Repeat("10.0.0.2,", 5000) + "10.0.0.3"}, "10.0.0.2"},
}

func resolver(t testing.TB) *clientip.Resolver {
	t.Helper()
	r, err := clientip.NewResolver(
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:ffff::/48"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestResolve(t *testing.T) {
	r := resolver(t)
	for _, tt := range walks {
		t.Run(tt.name, func(t *testing.T) {
			req := &http.Request{RemoteAddr: tt.peer, Header: http.Header{}}
			if tt.lines != nil {
				req.Header["X-Forwarded-For"] = tt.lines
			}
			got := r.Resolve(req)
			if tt.want == "" {
				if got.IsValid() {
					t.Fatalf("Resolve = %v, want the zero Addr", got)
				}
				return
			}
			if got != netip.MustParseAddr(tt.want) {
				t.Fatalf("Resolve = %v, want %s", got, tt.want)
			}
			if req.RemoteAddr != tt.peer {
				t.Fatalf("RemoteAddr was changed to %q", req.RemoteAddr)
			}
		})
	}
}

func TestWithoutTrustNoHeaderIsRead(t *testing.T) {
	for name, r := range map[string]*clientip.Resolver{"zero": {}, "nil": nil} {
		for _, tt := range walks {
			want := clientip.FromRemoteAddr(tt.peer)
			if got := r.Walk(want, tt.lines); got != want {
				t.Errorf("%s resolver, %s: %v, want the peer %v", name, tt.name, got, want)
			}
		}
	}
}

func TestNewResolverReportsEveryFault(t *testing.T) {
	_, err := clientip.NewResolver(
		netip.Prefix{},
		netip.MustParsePrefix("0.0.0.0/0"),
		netip.MustParsePrefix("::/0"),
		netip.MustParsePrefix("::ffff:0.0.0.0/90"),
		netip.MustParsePrefix("::ffff:0.0.0.0/96"),
		netip.MustParsePrefix("192.168.0.0/16"))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"prefix 0 is not set", "0.0.0.0/0 trusts everyone", "::/0 trusts everyone", "covers more than"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q:\n%v", want, err)
		}
	}
	if n := strings.Count(err.Error(), "trusts everyone"); n != 3 {
		t.Errorf("%d prefixes trust everyone, want 3:\n%v", n, err)
	}
}

func TestMappedPrefixIsUnwrapped(t *testing.T) {
	r, err := clientip.NewResolver(netip.MustParsePrefix("::ffff:10.0.0.0/104"))
	if err != nil {
		t.Fatal(err)
	}
	if !r.Trusts(netip.MustParseAddr("10.9.9.9")) || r.Trusts(netip.MustParseAddr("11.0.0.1")) {
		t.Error("::ffff:10.0.0.0/104 must mean 10.0.0.0/8")
	}
}

func TestBucket(t *testing.T) {
	for _, tt := range []struct{ name, addr, want string }{
		{"IPv4 in full", "203.0.113.7", "203.0.113.7"},
		{"mapped is IPv4", "::ffff:203.0.113.7", "203.0.113.7"},
		{"IPv6 by /64", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
		{"the same /64", "2001:db8:1:2::1", "2001:db8:1:2::/64"},
		{"another /64", "2001:db8:1:3::1", "2001:db8:1:3::/64"},
		{"a zone is dropped", "fe80::1%eth0", "fe80::/64"},
		{"translated from IPv4 in full", "64:ff9b::198.51.100.7", "64:ff9b::c633:6407/128"},
		{"another that was translated", "64:ff9b::198.51.100.8", "64:ff9b::c633:6408/128"},
		{"by a network's own prefix", "64:ff9b:1::198.51.100.7", "64:ff9b:1::c633:6407/128"},
		{"beside those prefixes", "64:ff9b::1:0:0", "64:ff9b::/64"},
		{"behind them", "64:ff9b:2::1", "64:ff9b:2::/64"},
		{"before them", "64:ff9a::1", "64:ff9a::/64"},
		{"loopback", "::1", "::/64"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := clientip.Bucket(netip.MustParseAddr(tt.addr)); got != tt.want {
				t.Errorf("Bucket(%s) = %q, want %q", tt.addr, got, tt.want)
			}
		})
	}
	if got := clientip.Bucket(netip.Addr{}); got != clientip.Unknown {
		t.Errorf("Bucket of no address = %q, want %q", got, clientip.Unknown)
	}
	if clientip.Prefix(netip.Addr{}).IsValid() {
		t.Error("Prefix of no address is valid")
	}
}

// Whoever holds a /64 is one client, however many of its addresses it uses.
func TestAMillionAddressesOfOnePrefixAreOneBucket(t *testing.T) {
	base := netip.MustParseAddr("2001:db8:1:2::").As16()
	want := netip.MustParsePrefix("2001:db8:1:2::/64")
	for i := range uint64(1_000_000) {
		a := base
		binary.BigEndian.PutUint64(a[8:], i*0x9E37_79B9_7F4A_7C15) // an odd factor: no two alike
		if got := clientip.Prefix(netip.AddrFrom16(a)); got != want {
			t.Fatalf("%v is counted as %v", netip.AddrFrom16(a), got)
		}
		if i%1000 == 0 && clientip.Bucket(netip.AddrFrom16(a)) != want.String() {
			t.Fatalf("%v is named %s", netip.AddrFrom16(a), clientip.Bucket(netip.AddrFrom16(a)))
		}
	}
}

func TestResolveAllocatesNothing(t *testing.T) {
	r := resolver(t)
	req := &http.Request{RemoteAddr: "10.0.0.1:80", Header: http.Header{"X-Forwarded-For": {"6.6.6.6, 198.51.100.9, 10.0.0.2"}}}
	if n := testing.AllocsPerRun(100, func() { r.Resolve(req) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
