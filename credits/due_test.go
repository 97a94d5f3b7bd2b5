package credits_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// overdue returns a rig on which n holds have timed out and then the n lots they
// pinned have expired, all in another order than they were made in, with nobody
// there to post it.
func overdue(t testing.TB, n int) *rig {
	t.Helper()
	r := newRig(t)
	for i := range n {
		scattered := time.Duration(i*7919%n) * time.Microsecond
		id := credits.OpID(strconv.Itoa(i))
		r.run(credits.Grant{Account: acme, ID: "g" + id, Amount: 2, ExpiresAt: epoch.Add(2*time.Hour + scattered)})
		r.run(credits.Hold{Account: acme, ID: "h" + id, Amount: 2, TTL: time.Hour + scattered})
	}
	r.add(3 * time.Hour)
	return r
}

func TestOneTouchPostsThousandsThatAreDue(t *testing.T) {
	const n = 1000
	r := overdue(t, n)
	want := credits.Totals{Issued: 2 * n, Expired: 2 * n}
	r.balance(want) // computed, not posted
	before := r.snapshot(acme)
	r.run(debit("touch", 0))
	r.balance(want)
	after := r.snapshot(acme)
	due := after.Entries[len(before.Entries):]
	if len(due) != 2*n {
		t.Fatalf("%d entries were posted; want a time-out and an expiry for each of %d", len(due), n)
	}
	for i, e := range due {
		kind, at := credits.KindTimeout, epoch.Add(time.Hour)
		if i >= n {
			kind, at = credits.KindExpire, epoch.Add(2*time.Hour)
		}
		if e.Kind != kind || !e.At.Equal(at.Add(time.Duration(i%n)*time.Microsecond)) {
			t.Fatalf("entry %d is %v at %v", i, e.Kind, e.At)
		}
	}
}

// A refund to many lots that have expired makes as many new ones.
func TestRefundToManyExpiredLots(t *testing.T) {
	r := newRig(t)
	const n = 300
	for i := range n {
		r.run(credits.Grant{Account: acme, ID: credits.OpID("g" + strconv.Itoa(i)), Amount: 1, ExpiresAt: epoch.Add(time.Duration(i+1) * time.Hour)})
	}
	r.run(debit("d", n))
	r.add((n + 1) * time.Hour)
	got := r.run(credits.Refund{Account: acme, ID: "r", Of: "d", All: true})
	r.balance(credits.Totals{Issued: n, Available: n})
	lots := r.snapshot(acme).Lots
	if got.Parts.Len() != n || len(lots) != 2*n {
		t.Fatalf("%d parts, %d lots", got.Parts.Len(), len(lots))
	}
	for i := range n { // the last one first, each with what it had left
		p := got.Parts.At(i)
		heir := lots[p.Lot-1]
		if heir.ExpiresAt.Sub(r.now()) != time.Duration(n-i)*time.Hour || lots[n-1-i].Totals != (credits.Totals{}) {
			t.Fatalf("heir %d: %+v", i, heir)
		}
	}
}

// What one touch costs grows with what is due, not with its square.
func BenchmarkDue(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprint("rows=", n), func(b *testing.B) {
			r := overdue(b, n)
			for b.Loop() {
				if _, err := r.Balance(b.Context(), acme); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*2*n), "ns/row")
		})
	}
}
