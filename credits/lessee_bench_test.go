package credits_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// generous is a lessor that files every spend at once, for nothing, so that what
// is measured is the lessee.
type generous struct{ credits.Lessor }

func (generous) AcquireLease(_ context.Context, a credits.AcquireLease) (credits.LeaseReceipt, error) {
	now := time.Now()
	return credits.LeaseReceipt{Amount: a.Want, Rest: a.Want, Now: now, Deadline: now.Add(a.TTL), Hold: credits.HoldOpen}, nil
}

func (generous) SettleLease(_ context.Context, s credits.SettleLease) (credits.LeaseReceipt, error) {
	now := time.Now()
	return credits.LeaseReceipt{Now: now, Deadline: now.Add(time.Minute), Hold: credits.HoldOpen, Spends: make([]credits.LeaseFiled, len(s.Spends))}, nil
}

type debitor func(context.Context, credits.Debit) (credits.Receipt, error)

func benchLessee(b *testing.B, from func(*credits.Ledger) credits.Lessor) (debitor, *credits.Ledger) {
	l, err := credits.NewLedger(credits.NewMemoryStore(nil), nil)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := l.Grant(b.Context(), grant("g", credits.MaxAmount)); err != nil {
		b.Fatal(err)
	}
	s, err := credits.NewLesseeOf(from(l), &credits.LesseeOptions{Flush: 50 * time.Millisecond, Instances: 1, MaxUnsettled: 1 << 24})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			b.Error(err)
		}
	})
	return s.Debit, l
}

func TestASpendFromALeaseAllocatesItsIDAlone(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates too")
	}
	r := newLeaseRig(t, credits.MaxAmount)
	l := r.lessee(credits.LesseeOptions{Instances: 1})
	d := debit("", 5)
	pay := func() {
		if _, err := l.Debit(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	const runs = 2000
	for range 2 * runs { // what two flushes spend is what a lease is made for
		pay()
	}
	r.flush(l)
	if n := testing.AllocsPerRun(runs, pay); n > 1 {
		t.Errorf("%v allocations for a spend; want at most 1", n)
	}
	if spends, _ := l.Unsettled(); spends < runs {
		t.Errorf("%d of %d spends were paid from memory", spends, runs)
	}
	r.close(l)
}

// BenchmarkLessee is a spend from a lease: by itself, with its share of a
// settlement in a ledger in memory, and beside a debit of that ledger, whose
// store costs no trip.
func BenchmarkLessee(b *testing.B) {
	generosity := func(l *credits.Ledger) credits.Lessor { return generous{credits.LessorOf(l)} }
	for _, c := range []struct {
		name string
		make func(*testing.B) debitor
	}{
		{"spend", func(b *testing.B) debitor { d, _ := benchLessee(b, generosity); return d }},
		{"settled", func(b *testing.B) debitor { d, _ := benchLessee(b, credits.LessorOf); return d }},
		{"direct", func(b *testing.B) debitor { _, l := benchLessee(b, generosity); return l.Debit }},
	} {
		d := debit("", 5)
		d.Key, d.Operation = "k", "image"
		b.Run(c.name+"/serial", func(b *testing.B) {
			pay := c.make(b)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				d := d
				if c.name == "direct" {
					d.ID = credits.OpID("request-" + strconv.Itoa(i))
				}
				if _, err := pay(b.Context(), d); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(c.name+"/parallel", func(b *testing.B) {
			pay := c.make(b)
			b.ReportAllocs()
			var lanes, mu = 0, make(chan struct{}, 1)
			b.RunParallel(func(pb *testing.PB) {
				mu <- struct{}{}
				lanes++
				lane := strconv.Itoa(lanes)
				<-mu
				for i := 0; pb.Next(); i++ {
					d := d
					if c.name == "direct" {
						d.ID = credits.OpID(lane + "-" + strconv.Itoa(i))
					}
					if _, err := pay(b.Context(), d); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
	// Ids that callers chose are looked up, so that a retry replays.
	b.Run("spend/ids=callers", func(b *testing.B) {
		pay, _ := benchLessee(b, generosity)
		ids := make([]credits.OpID, 1<<20)
		for i := range ids {
			ids[i] = credits.OpID("request-" + strconv.Itoa(i))
		}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, err := pay(b.Context(), credits.Debit{Account: acme, ID: ids[i&(1<<20-1)], Amount: 5}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
