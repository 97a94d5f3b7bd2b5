package credits_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
	kerrors "github.com/keytoll/keytoll/errors"
)

func (r *rig) usage(q credits.UsageQuery) []credits.UsageRow {
	r.t.Helper()
	q.Account = acme
	rows, err := r.Usage(r.t.Context(), q)
	if err != nil {
		r.t.Fatalf("%+v: %v", q, err)
	}
	return rows
}

func TestUsageByKeyOperationAndPeriod(t *testing.T) {
	r := newRig(t)
	r.run(grant("g1", 3)) // so that spends take from several lots
	r.run(grant("g2", 1000))
	r.run(keyed("1", 5, "red/k1", "image"))
	r.run(keyed("2", 2, "red/k2", "image"))
	r.run(keyedHold("h", 9, "red/k1", "text"))
	r.run(credits.Capture{Account: acme, Hold: "h", ID: "c", Amount: 3, Keep: true})
	r.add(12 * time.Hour) // midnight
	r.run(capture("h", 4))
	r.run(refund("r", "1", 5))
	r.run(keyed("3", 1, "redder", ""))
	r.run(keyed("4", 0, "red/k1", "image")) // costs nothing, and makes no entry
	first, second := time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC), time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		q    credits.UsageQuery
		want []credits.UsageRow
	}{
		"all": {credits.UsageQuery{}, []credits.UsageRow{{Spent: 15, Refunded: 5, Spends: 5}}},
		"by day": {credits.UsageQuery{By: credits.Days}, []credits.UsageRow{
			{Start: first, End: second, Spent: 10, Spends: 3},
			{Start: second, End: second.AddDate(0, 0, 1), Spent: 5, Refunded: 5, Spends: 2},
		}},
		"by key": {credits.UsageQuery{ByKey: true}, []credits.UsageRow{
			{Key: "red/k1", Spent: 12, Refunded: 5, Spends: 3}, {Key: "red/k2", Spent: 2, Spends: 1}, {Key: "redder", Spent: 1, Spends: 1},
		}},
		"by operation, of a path": {credits.UsageQuery{ByOperation: true, Key: "red"}, []credits.UsageRow{
			{Operation: "image", Spent: 7, Refunded: 5, Spends: 2}, {Operation: "text", Spent: 7, Spends: 2},
		}},
		"of an operation, by month and key": {credits.UsageQuery{By: credits.Months, ByKey: true, Operation: "text"}, []credits.UsageRow{
			{Start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), End: second, Key: "red/k1", Spent: 3, Spends: 1},
			{Start: second, End: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), Key: "red/k1", Spent: 4, Spends: 1},
		}},
		"of a range without a spend": {credits.UsageQuery{From: epoch.Add(time.Microsecond), To: second}, nil},
		"of a range":                 {credits.UsageQuery{From: second, To: second.Add(time.Hour)}, []credits.UsageRow{{Spent: 5, Refunded: 5, Spends: 2}}},
		"of an instant, by hour in a zone of half hours": {credits.UsageQuery{From: epoch, To: epoch.Add(time.Nanosecond), By: credits.Hours, Zone: "Asia/Kolkata"}, []credits.UsageRow{
			{Start: epoch.Add(-30 * time.Minute), End: epoch.Add(30 * time.Minute), Spent: 10, Spends: 3},
		}},
		"of nobody's key": {credits.UsageQuery{Key: "re"}, nil},
		"by year, in the far east": {credits.UsageQuery{By: credits.Years, Zone: "Asia/Tokyo", Key: "redder"}, []credits.UsageRow{
			{Start: time.Date(2025, 12, 31, 15, 0, 0, 0, time.UTC), End: time.Date(2026, 12, 31, 15, 0, 0, 0, time.UTC), Spent: 1, Spends: 1},
		}},
	} {
		for i := range tt.want {
			if tt.q.By == 0 {
				tt.want[i].Start, tt.want[i].End = tt.q.From, tt.q.To
			}
		}
		if got := r.usage(tt.q); !slices.Equal(got, tt.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, tt.want)
		}
	}
}

// A naive sum over all entries, for random journals and random questions.
func TestUsageAgreesWithANaiveSum(t *testing.T) {
	for _, seed := range seeds(t) {
		g := &run{rng: rand.New(rand.NewPCG(seed, 9))}
		r := newRig(t)
		for range 250 {
			g.tick(r.clock)
			r.add(time.Duration(g.rng.IntN(90)) * time.Minute)
			_, _ = r.try(g.next(r.now()))
		}
		all := r.snapshot(acme).Entries
		for range 40 {
			q := credits.UsageQuery{
				By: credits.Unit(g.rng.IntN(6)), ByKey: g.rng.IntN(2) == 0, ByOperation: g.rng.IntN(2) == 0,
				Zone: pick(g.rng, "", "Australia/Lord_Howe", "America/New_York"),
			}
			if g.rng.IntN(2) == 0 {
				q.From = all[g.rng.IntN(len(all))].At.Add(time.Duration(g.rng.IntN(3)-1) * time.Microsecond)
			}
			if to := all[g.rng.IntN(len(all))].At; g.rng.IntN(2) == 0 && !to.Before(q.From) {
				q.To = to
			}
			if g.rng.IntN(3) == 0 {
				q.Operation = "image"
			}
			if err := naive(q, all, r.usage(q)); err != nil {
				t.Fatalf("seed %d %+v: %v", seed, q, err)
			}
		}
	}
}

// naive checks rows by adding up, for each, all entries that belong to it, and
// that every entry belongs to one.
func naive(q credits.UsageQuery, all []credits.Entry, rows []credits.UsageRow) error {
	if !slices.IsSortedFunc(rows, func(a, b credits.UsageRow) int {
		return cmp.Or(a.Start.Compare(b.Start), strings.Compare(a.Key, b.Key), strings.Compare(a.Operation, b.Operation))
	}) {
		return fmt.Errorf("not in order: %+v", rows)
	}
	left := make(map[int64]bool)
	for _, e := range all {
		in := (q.From.IsZero() || !e.At.Before(q.From)) && (q.To.IsZero() || e.At.Before(q.To)) && (q.Operation == "" || e.Operation == q.Operation)
		if in && (e.From == credits.BucketConsumed || e.To == credits.BucketConsumed) {
			left[e.Seq] = true
		}
	}
	for _, row := range rows {
		spent, refunded, ops := credits.Amount(0), credits.Amount(0), make(map[credits.OpID]bool)
		for _, e := range all {
			if !left[e.Seq] || q.ByKey && e.Key != row.Key || q.ByOperation && e.Operation != row.Operation ||
				q.By != 0 && (e.At.Before(row.Start) || !e.At.Before(row.End)) {
				continue
			}
			delete(left, e.Seq)
			if e.From == credits.BucketConsumed {
				refunded += e.Amount
				continue
			}
			spent += e.Amount
			ops[e.Op] = true
		}
		if row.Spent != spent || row.Refunded != refunded || row.Spends != int64(len(ops)) || spent+refunded == 0 {
			return fmt.Errorf("row %+v, want %v, %v and %d", row, spent, refunded, len(ops))
		}
	}
	if len(left) > 0 {
		return fmt.Errorf("%d entries are in no row", len(left))
	}
	return nil
}

func TestUsageIsBounded(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 1000))
	for i := range 11 {
		r.run(keyed(credits.OpID(fmt.Sprint(i)), 1, fmt.Sprint("k", i), ""))
	}
	if got := r.usage(credits.UsageQuery{ByKey: true, MaxRows: 11}); len(got) != 11 {
		t.Errorf("%d rows", len(got))
	}
	_, err := r.Usage(t.Context(), credits.UsageQuery{Account: acme, ByKey: true, MaxRows: 10})
	if kerrors.CodeOf(err) != kerrors.Invalid || !strings.Contains(err.Error(), "more than 10 rows") {
		t.Errorf("more rows than may be: %v", err)
	}
	_, err = r.Usage(t.Context(), credits.UsageQuery{
		Key: "\x00", Operation: "\x00", From: epoch, To: epoch.Add(-time.Second), By: 6, Zone: "Nowhere/Else", MaxRows: 100_001,
	})
	for _, field := range []string{"Account", "Key", "Operation", "To", "By", "Zone", "MaxRows"} {
		if kerrors.CodeOf(err) != kerrors.Invalid || !strings.Contains(err.Error(), field) {
			t.Errorf("all faults at once do not name %s: %v", field, err)
		}
	}
	if rows, err := r.Usage(t.Context(), credits.UsageQuery{Account: "nobody", By: credits.Days}); err != nil || len(rows) != 0 {
		t.Errorf("an unknown account: %+v, %v", rows, err)
	}
}

// A longJournal has that many debits, ten in a second, and nothing else.
type longJournal struct {
	credits.Store
	n     int64
	reads int
}

func (j *longJournal) Entries(_ context.Context, q credits.EntryQuery) ([]credits.Entry, error) {
	j.reads++
	first := q.After + 1
	if q.Descending {
		first = j.n
	}
	var list []credits.Entry
	for seq := first; seq <= j.n && len(list) < q.Limit; seq++ {
		list = append(list, credits.Entry{
			Account: q.Account, Seq: seq, At: epoch.Add(time.Duration(seq) * 100 * time.Millisecond), Kind: credits.KindDebit,
			From: credits.BucketAvailable, To: credits.BucketConsumed, Op: credits.OpID(fmt.Sprint(seq)), Lot: 1, Amount: 1, Key: "k", Operation: "image",
		})
	}
	return list, nil
}

// The beginning of a range is found without reading what is before it.
func TestUsageReadsOnlyItsRange(t *testing.T) {
	j := &longJournal{Store: credits.NewMemoryStore(nil), n: 1_000_000}
	l, err := credits.NewLedger(j, nil)
	if err != nil {
		t.Fatal(err)
	}
	from := epoch.Add(15 * time.Hour)
	rows, err := l.Usage(t.Context(), credits.UsageQuery{Account: acme, From: from, To: from.Add(time.Minute)})
	if err != nil || len(rows) != 1 || rows[0].Spent != 600 || rows[0].Spends != 600 {
		t.Fatalf("%+v, %v", rows, err)
	}
	if j.reads > 25 {
		t.Errorf("%d reads", j.reads)
	}
}

func BenchmarkUsage(b *testing.B) {
	for _, n := range []int64{10_000, 1_000_000} {
		b.Run(fmt.Sprint("entries=", n), func(b *testing.B) {
			l, err := credits.NewLedger(&longJournal{Store: credits.NewMemoryStore(nil), n: n}, nil)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := l.Usage(b.Context(), credits.UsageQuery{Account: acme, By: credits.Hours, ByKey: true, ByOperation: true}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
