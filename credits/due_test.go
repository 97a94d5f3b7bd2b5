package credits_test

import (
	"context"
	"fmt"
	"reflect"
	"slices"
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

// counted notes how much each update writes, and what is due it asks for.
type counted struct {
	credits.Store
	updates, most int
}

func (s *counted) Update(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	rows := 0
	err := s.Store.Update(ctx, needs, func(now time.Time, states []*credits.State) error {
		err := fn(now, states)
		rows = 0
		for _, st := range states {
			rows += len(st.Entries)
			for i := range st.Lots {
				rows += int(min(st.Lots[i].Change, 1))
			}
			for i := range st.Ops {
				rows += int(min(st.Ops[i].Change, 1))
			}
			for i := range st.Schedules {
				rows += int(min(st.Schedules[i].Change, 1))
			}
		}
		return err
	})
	s.updates++
	s.most = max(s.most, rows)
	return err
}

// unbounded never leaves out what is due, whatever was asked for.
type unbounded struct{ credits.Store }

func (s unbounded) Update(ctx context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	all := slices.Clone(needs)
	for i := range all {
		all[i].Limit = 0
	}
	return s.Store.Update(ctx, all, fn)
}

// However much is due, an update writes a bounded portion, and a command sees all
// of it: the journal is that of a ledger that posts everything at once.
func TestWhatIsDueIsPostedInPortions(t *testing.T) {
	const holds = 25_000
	build := func(r *rig) {
		r.set(credits.Schedule{Account: acme, ID: "s", Amount: 3, Unit: credits.Hours, Every: 1, Anchor: epoch.Add(time.Minute), Rollover: 2})
		for i := range holds {
			id := credits.OpID(strconv.Itoa(i * 7919 % holds))
			if i%10 == 0 { // one is left over, and expires before or after what the holds give back
				r.run(credits.Grant{
					Account: acme, ID: "g" + id, Amount: 11, Priority: -i / 25,
					ExpiresAt: epoch.Add(time.Hour + time.Duration(i*37%5000)*time.Millisecond),
				})
			}
			ttl := time.Hour // thousands at one instant
			if i%3 == 0 {
				ttl += time.Duration(i*31%holds) * time.Millisecond
			}
			r.run(credits.Hold{Account: acme, ID: "h" + id, Amount: 1, TTL: ttl})
		}
		r.add(48 * time.Hour)
	}
	portions, once := newRig(t), newRig(t)
	build(portions)
	build(once)
	store := &counted{Store: portions.store}
	l, err := credits.NewLedger(store, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := l.Debit(t.Context(), debit("d", 0))
	if err != nil {
		t.Fatal(err)
	}
	all, err := credits.NewLedger(unbounded{once.store}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := got
	for range 30 { // what is posted is bounded even when a store loads more
		if want, err = all.Debit(t.Context(), debit("d", 0)); err != nil {
			t.Fatal(err)
		}
	}
	want.Replayed = false
	a, b := portions.snapshot(acme), once.snapshot(acme)
	a.Account.Version, b.Account.Version = 0, 0
	if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(a, b) {
		t.Errorf("in portions the command is answered with\n%+v, at once with\n%+v", got, want)
	}
	if store.updates < holds/3000 || store.most > 3*3000 {
		t.Errorf("%d updates wrote up to %d rows each", store.updates, store.most)
	}
	t.Logf("%d updates, at most %d rows each", store.updates, store.most)
}
