package webhook_test

import (
	"net/netip"
	"testing"

	"github.com/keytoll/keytoll/webhook"
)

// last returns the last address of a prefix.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 1 << (7 - bit%8)
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr
}

// everything allows all that can be allowed.
func everything(t *testing.T) *webhook.SafeTransport {
	t.Helper()
	return must(webhook.NewSafeTransport(&webhook.SafeTransportOptions{
		AllowPrefixes: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")},
	}))(t)
}

// The table of addresses once more, with what is known of it from elsewhere:
// whether an option can allow the row, and whether the address before the first and
// the one after the last are public.
func TestEveryRowOfTheTableOfAddresses(t *testing.T) {
	rows := []struct {
		prefix              string
		never, below, above bool
	}{
		{"0.0.0.0/8", true, false, true},
		{"10.0.0.0/8", false, true, true},
		{"100.100.100.200/32", true, false, false},
		{"100.64.0.0/10", false, true, true},
		{"127.0.0.0/8", false, true, true},
		{"168.63.129.16/32", true, true, true},
		{"169.254.0.0/16", true, true, true},
		{"172.16.0.0/12", false, true, true},
		{"192.0.0.192/32", true, false, false},
		{"192.0.0.0/24", false, true, true},
		{"192.0.2.0/24", false, true, true},
		{"192.31.196.0/24", false, true, true},
		{"192.52.193.0/24", false, true, true},
		{"192.88.99.0/24", false, true, true},
		{"192.168.0.0/16", false, true, true},
		{"192.175.48.0/24", false, true, true},
		{"198.18.0.0/15", false, true, true},
		{"198.51.100.0/24", false, true, true},
		{"203.0.113.0/24", false, true, true},
		{"224.0.0.0/4", true, true, false},
		{"255.255.255.255/32", true, false, false},
		{"240.0.0.0/4", false, false, false},
		{"::/128", true, false, false},
		{"::1/128", false, false, false},
		{"::/96", true, false, false},
		{"::ffff:0:0:0/96", true, false, false},
		{"64:ff9b::/96", true, false, false},
		{"64:ff9b:1::/48", true, false, false},
		{"100::/64", false, false, false},
		{"100:0:0:1::/64", false, false, false},
		{"2001::/32", true, true, false},
		{"2001::/23", false, true, true},
		{"2001:db8::/32", false, true, true},
		{"2002::/16", true, true, true},
		{"2620:4f:8000::/48", false, true, true},
		{"3fff::/20", false, true, true},
		{"5f00::/16", false, false, false},
		{"fd00:42::42/128", true, false, false},
		{"fd00:c1::a9fe:a9fe/128", true, false, false},
		{"fd00:ec2::/32", true, false, false},
		{"fd20:ce::254/128", true, false, false},
		{"fc00::/7", false, false, false},
		{"fe80::/10", true, false, false},
		{"fec0::/10", false, false, false},
		{"ff00::/8", true, false, false},
		{"::/3", false, false, true},
		{"4000::/2", false, true, false},
		{"8000::/1", false, false, false},
	}
	table := webhook.Spans()
	if len(table) != len(rows) {
		t.Errorf("the table has %d rows, this test knows %d", len(table), len(rows))
	}
	all := everything(t)
	for i, row := range rows[:min(len(rows), len(table))] {
		prefix := netip.MustParsePrefix(row.prefix)
		if got := table[i]; got.Prefix != prefix || got.Never != row.never || got.Name == "" {
			t.Errorf("row %d is %+v, want %+v", i, got, row)
		}
		first, end := prefix.Addr(), last(prefix)
		middle := first // half of the block
		if prefix.Bits() < first.BitLen() {
			b := first.AsSlice()
			b[prefix.Bits()/8] |= 1 << (7 - prefix.Bits()%8)
			middle, _ = netip.AddrFromSlice(b)
		}
		reached := false
		for _, addr := range []netip.Addr{first, middle, end, first.Next()} {
			if !prefix.Contains(addr) {
				continue
			}
			if webhook.Deliverable(addr) {
				t.Errorf("%s: %s is deliverable", row.prefix, addr)
			}
			if addr.Is4() && webhook.Deliverable(netip.AddrFrom16(addr.As16())) {
				t.Errorf("%s: %s in the form of IPv6 is deliverable", row.prefix, addr)
			}
			if got, _ := webhook.SpanOf(addr); got.Prefix == prefix {
				reached = true
				if err := webhook.Judge(all, addr); (err != nil) != row.never {
					t.Errorf("%s: %s with everything allowed: %v, never = %v", row.prefix, addr, err, row.never)
				}
				if err := webhook.JudgeHost(all, addr); (err != nil) != row.never {
					t.Errorf("%s: %s of an allowed host: %v, never = %v", row.prefix, addr, err, row.never)
				}
			}
		}
		if !reached {
			t.Errorf("%s: other rows hide it", row.prefix)
		}
		if got := webhook.Deliverable(first.Prev()); got != row.below {
			t.Errorf("%s: %s, just below, is deliverable: %v", row.prefix, first.Prev(), got)
		}
		if got := webhook.Deliverable(end.Next()); got != row.above {
			t.Errorf("%s: %s, just above, is deliverable: %v", row.prefix, end.Next(), got)
		}
	}
}

// What a filter has to stop, by the names under which it was missed elsewhere.
var undeliverable = [45]struct{ what, addr string }{
	{"unspecified", "0.0.0.0"},
	{"this network", "0.1.2.3"},
	{"private", "10.0.0.5"},
	{"private", "172.31.255.255"},
	{"private", "192.168.1.1"},
	{"carrier NAT", "100.64.0.1"},
	{"metadata of Alibaba", "100.100.100.200"},
	{"loopback", "127.0.0.1"},
	{"loopback, another", "127.255.255.254"},
	{"metadata", "169.254.169.254"},
	{"metadata of ECS tasks", "169.254.170.2"},
	{"wire server of Azure", "168.63.129.16"},
	{"metadata of Oracle", "192.0.0.192"},
	{"DS-Lite", "192.0.0.1"},
	{"documentation 1", "192.0.2.1"},
	{"documentation 2", "198.51.100.7"},
	{"documentation 3", "203.0.113.9"},
	{"AS112", "192.31.196.1"},
	{"AMT", "192.52.193.1"},
	{"6to4 relay", "192.88.99.1"},
	{"direct AS112", "192.175.48.1"},
	{"benchmarks", "198.19.0.1"},
	{"multicast", "224.0.0.1"},
	{"multicast, scoped", "239.255.255.250"},
	{"reserved", "240.0.0.1"},
	{"broadcast", "255.255.255.255"},
	{"unspecified of IPv6", "::"},
	{"loopback of IPv6", "::1"},
	{"mapped loopback", "::ffff:127.0.0.1"},
	{"mapped metadata", "::ffff:169.254.169.254"},
	{"IPv4-compatible", "::127.0.0.1"},
	{"IPv4-translated", "::ffff:0:127.0.0.1"},
	{"NAT64", "64:ff9b::169.254.169.254"},
	{"local NAT64", "64:ff9b:1::a00:1"},
	{"discard", "100::1"},
	{"Teredo", "2001:0:4136:e378:8000:63bf:3fff:fdd2"},
	{"ORCHID", "2001:20::1"},
	{"documentation of IPv6", "2001:db8::1"},
	{"6to4", "2002:7f00:1::"},
	{"documentation, new", "3fff::1"},
	{"segment routing", "5f00::1"},
	{"metadata of AWS on IPv6", "fd00:ec2::254"},
	{"metadata of Google on IPv6", "fd20:ce::254"},
	{"site local", "fec0::1"},
	{"link local with a zone", "fe80::1%eth0"},
}

func TestAddressesThatTheStandardPredicatesMiss(t *testing.T) {
	missed := 0
	for _, tt := range undeliverable {
		addr := netip.MustParseAddr(tt.addr)
		if webhook.Deliverable(addr) {
			t.Errorf("%s (%s) is deliverable", tt.addr, tt.what)
		}
		if a := addr.Unmap(); !a.IsPrivate() && !a.IsLoopback() && !a.IsLinkLocalUnicast() && !a.IsLinkLocalMulticast() && !a.IsUnspecified() {
			missed++
		}
	}
	if missed != 29 {
		t.Errorf("the predicates of net/netip miss %d of %d", missed, len(undeliverable))
	}
}

func TestPublicAddressesAreDeliverable(t *testing.T) {
	for _, text := range []string{
		"1.1.1.1", "8.8.8.8", "9.255.255.255", "93.184.215.14", "100.128.0.1", "172.32.0.1", "192.0.1.1", "223.255.255.255", "::ffff:8.8.8.8",
		"2000::1", "2001:4860:4860::8888", "2001:200::1", "2606:4700:4700::1111", "2a00:1450:4001:80b::200e", "2620:fe::fe",
	} {
		addr := netip.MustParseAddr(text)
		if !webhook.Deliverable(addr) {
			t.Errorf("%s is not deliverable", text)
		}
		if zoned := addr.WithZone("eth0"); addr.Is6() && !addr.Is4In6() && webhook.Deliverable(zoned) {
			t.Errorf("%s with a zone is deliverable", text)
		}
	}
	if webhook.Deliverable(netip.Addr{}) {
		t.Error("the zero address is deliverable")
	}
}

func TestAddressBehindNAT64IsJudgedByWhatItHolds(t *testing.T) {
	own := netip.MustParsePrefix("2a00:1:2:64::/96") // of a network's own, and public to look at
	with := must(webhook.NewSafeTransport(&webhook.SafeTransportOptions{
		NAT64:         []netip.Prefix{netip.MustParsePrefix("64:ff9b::/96"), own},
		AllowPrefixes: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("::/0")},
	}))(t)
	without := must(webhook.NewSafeTransport(nil))(t)
	for text, want := range map[string]bool{
		"64:ff9b::8.8.8.8":          true,
		"64:ff9b::10.1.2.3":         true,
		"64:ff9b::10.2.0.1":         false,
		"64:ff9b::127.0.0.1":        false,
		"64:ff9b::169.254.169.254":  false,
		"64:ff9b::100.100.100.200":  false,
		"2a00:1:2:64::808:808":      true,
		"2a00:1:2:64::a9fe:a9fe":    false,
		"2a00:1:2:64::7f00:1":       false,
		"64:ff9b::808:808%eth0":     false,
		"64:ff9b:1::808:808":        false,
		"::ffff:0:8.8.8.8":          false,
		"2a00:1:2:64:0:1:a9fe:a9fe": true, // beside the prefix: an address like any other
		"64:ff9b:0:0:0:1:a9fe:a9fe": true, // not in the block; ::/0 is allowed here
		"2002:a9fe:a9fe::":          false,
	} {
		addr := netip.MustParseAddr(text)
		if err := webhook.Judge(with, addr); (err == nil) != want {
			t.Errorf("%s: %v", text, err)
		}
		if addr.Unmap().WithZone("").Is6() && text[:2] == "64" && webhook.Judge(without, addr) == nil {
			t.Errorf("%s passes without the option", text)
		}
	}
}

func TestAnAllowedPrefixAllowsNothingElse(t *testing.T) {
	some := must(webhook.NewSafeTransport(&webhook.SafeTransportOptions{AllowPrefixes: []netip.Prefix{
		netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd12::/16"),
	}}))(t)
	for text, want := range map[string]bool{
		"10.1.0.0": true, "10.1.255.255": true, "10.0.255.255": false, "10.2.0.0": false, "::ffff:10.1.0.1": true,
		"fd12::1": true, "fd13::1": false, "fd12::1%eth0": false, "127.0.0.1": false, "8.8.8.8": true,
	} {
		if err := webhook.Judge(some, netip.MustParseAddr(text)); (err == nil) != want {
			t.Errorf("%s: %v", text, err)
		}
	}
}
