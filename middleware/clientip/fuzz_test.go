package clientip_test

import (
	"strings"
	"testing"

	"github.com/keytoll/keytoll/middleware/clientip"
)

// FuzzWalk holds the walk against a second reading of the same rule, written
// for clearness only.
func FuzzWalk(f *testing.F) {
	for _, tt := range walks {
		f.Add(tt.peer, strings.Join(tt.lines, "\n"))
	}
	r := resolver(f)
	f.Fuzz(func(t *testing.T, peer, joined string) {
		var lines []string
		if joined != "" {
			lines = strings.Split(joined, "\n")
		}
		from := clientip.FromRemoteAddr(peer)
		got := r.Walk(from, lines)

		want := from
		chain := strings.Split(strings.Join(lines, ","), ",")
		if len(lines) == 0 {
			chain = nil
		}
		for n := 1; r.Trusts(want) && n <= len(chain) && n <= 32; n++ {
			next := clientip.FromRemoteAddr(chain[len(chain)-n])
			if !next.IsValid() {
				break
			}
			want = next
		}
		if got != want {
			t.Fatalf("Walk(%q, %q) = %v, want %v", peer, lines, got, want)
		}
		if got.Is4In6() || got.Zone() != "" {
			t.Fatalf("Walk gave %v with a mapping or zone", got)
		}
		if got != from && !r.Trusts(from) {
			t.Fatalf("an untrusted peer %v was believed to be %v", from, got)
		}
		bucket := clientip.Bucket(got)
		if bucket == "" {
			t.Fatal("empty bucket")
		}
		if p := clientip.Prefix(got); got.IsValid() && (!p.Contains(got) || clientip.Bucket(p.Addr()) != bucket) {
			t.Fatalf("bucket %q and prefix %v of %v disagree", bucket, p, got)
		}
	})
}
