package credits_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// stillStore hands out one state again and again, as if it had been loaded a
// moment ago, and stores nothing: what is left is the core, and the ledger's way
// to it.
type stillStore struct {
	credits.Store
	state  *credits.State
	states []*credits.State
	now    time.Time
}

func newStillStore(lots int, each credits.Amount) *stillStore {
	s := &stillStore{state: &credits.State{}, now: epoch.Add(time.Hour)}
	s.states = []*credits.State{s.state}
	total := credits.Amount(lots) * each
	s.state.Account = credits.Account{ID: acme, Version: 1, LastLot: credits.LotID(lots), At: epoch, Totals: credits.Totals{Issued: total, Available: total}}
	for i := range lots {
		s.state.Lots = append(s.state.Lots, credits.LotRow{Lot: credits.Lot{
			Account: acme, ID: credits.LotID(lots - i), Op: "g", EffectiveAt: epoch, Totals: credits.Totals{Issued: each, Available: each},
		}})
	}
	return s
}

func (s *stillStore) Update(_ context.Context, _ []credits.Need, fn func(time.Time, []*credits.State) error) error {
	return fn(s.now, s.states)
}

// forget drops what was written since the last time, but what the account has, and
// lets time pass.
func (s *stillStore) forget() {
	s.now = s.now.Add(time.Microsecond)
	s.state.Entries, s.state.Ops = s.state.Entries[:0], s.state.Ops[:0]
}

// BenchmarkCore is what deciding a command costs without any store, with so many
// lots loaded: as many as it needs, one or two, or a batch.
func BenchmarkCore(b *testing.B) {
	for _, lots := range []int{1, 10, 1000} {
		for _, c := range []struct {
			name string
			run  func(b *testing.B, l *credits.Ledger, id credits.OpID) error
		}{
			{"debit", func(b *testing.B, l *credits.Ledger, id credits.OpID) error {
				_, err := l.Debit(b.Context(), credits.Debit{Account: acme, ID: id, Amount: 1, Key: "key_1", Operation: "image"})
				return err
			}},
			{"hold", func(b *testing.B, l *credits.Ledger, id credits.OpID) error {
				_, err := l.Hold(b.Context(), credits.Hold{Account: acme, ID: id, Amount: 1, Key: "key_1", Operation: "image", TTL: credits.NoTimeout})
				return err
			}},
			{"hold+capture", func(b *testing.B, l *credits.Ledger, id credits.OpID) error {
				if _, err := l.Hold(b.Context(), credits.Hold{Account: acme, ID: id, Amount: 2, Key: "key_1", Operation: "image"}); err != nil {
					return err
				}
				_, err := l.Capture(b.Context(), credits.Capture{Account: acme, Hold: id, Amount: 1})
				return err
			}},
		} {
			b.Run(fmt.Sprintf("%s/lots=%d", c.name, lots), func(b *testing.B) {
				s := newStillStore(lots, credits.MaxAmount/1000)
				l, err := credits.NewLedger(s, nil)
				if err != nil {
					b.Fatal(err)
				}
				ids := make([]credits.OpID, 1024)
				for i := range ids {
					ids[i] = credits.OpID("request " + strconv.Itoa(i))
				}
				i := 0
				b.ReportAllocs()
				for b.Loop() {
					if err := c.run(b, l, ids[i%len(ids)]); err != nil {
						b.Fatal(err)
					}
					s.forget()
					i++
				}
			})
		}
	}
}

// BenchmarkCoreBatch is what one of a thousand debits costs that share a state
// and empty its thousand lots, one after the other.
func BenchmarkCoreBatch(b *testing.B) {
	const n = 1000
	ids := make([]credits.OpID, n)
	for i := range ids {
		ids[i] = credits.OpID("request " + strconv.Itoa(i))
	}
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		s := newStillStore(n, 3)
		l, err := credits.NewLedger(s, nil)
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		for _, id := range ids {
			if _, err := l.Debit(b.Context(), debit(id, 3)); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/command")
}
