package credits_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
	kerrors "github.com/keytoll/keytoll/errors"
)

func openJournal(t testing.TB, path string, o *credits.LeaseJournalOptions) *credits.FileLeaseJournal {
	t.Helper()
	j, err := credits.OpenLeaseJournal(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func journaled(id credits.OpID) credits.JournaledLease {
	return credits.JournaledLease{Account: acme, Lease: id, Owner: "one", Epoch: 7, Key: "k", Operation: "image", Exact: true}
}

// fillJournal notes three leases, one record a frame, and returns what is unfinished
// after each frame.
func fillJournal(t testing.TB, j *credits.FileLeaseJournal) (after [][]credits.JournaledLease) {
	t.Helper()
	var list []credits.JournaledLease
	note := func(mark int64, err error) {
		t.Helper()
		if err == nil {
			err = j.Sync(t.Context(), max(mark, j.Mark()))
		}
		if err != nil {
			t.Fatal(err)
		}
		var now []credits.JournaledLease
		for _, l := range list {
			l.Spends = append([]credits.LeaseSpend(nil), l.Spends...)
			now = append(now, l)
		}
		after = append(after, now)
	}
	for i := range 3 {
		l := journaled(credits.OpID(fmt.Sprint("lease", i)))
		list = append(list, l)
		note(j.Acquiring(l))
		at := len(list) - 1
		for k := range 4 {
			s := credits.LeaseSpend{ID: credits.OpID(fmt.Sprint("x", i, k)), Amount: credits.Amount(k), Price: "p", Note: strings.Repeat("n", k)}
			list[at].Spends = append(list[at].Spends, s)
			note(j.Spent(l.Lease, s))
		}
		list[at].Spends = list[at].Spends[3:]
		note(0, j.Settled(l.Lease, 3))
		if i == 1 {
			list = list[:1]
			note(0, j.Closed(l.Lease))
		}
	}
	return after
}

func sameLeases(a, b []credits.JournaledLease) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := a[i], b[i]
		if len(x.Spends) != len(y.Spends) || len(x.Spends) > 0 && !reflect.DeepEqual(x.Spends, y.Spends) {
			return false
		}
		x.Spends, y.Spends = nil, nil
		if !reflect.DeepEqual(x, y) {
			return false
		}
	}
	return true
}

func TestAJournalKeepsWhatIsUnfinished(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases")
	for _, limit := range []int64{0, 1} { // and rewritten at every write
		o := &credits.LeaseJournalOptions{CompactBytes: limit}
		j := openJournal(t, path, o)
		if got := j.Unfinished(); len(got) != 0 {
			t.Fatalf("%+v", got)
		}
		after := fillJournal(t, j)
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
		if _, err := j.Spent("lease0", spend("x", 1)); kerrors.CodeOf(err) != kerrors.Unavailable {
			t.Errorf("a record after Close: %v", err)
		}
		for range 2 {
			j = openJournal(t, path, o)
			got := j.Unfinished()
			if want := after[len(after)-1]; !sameLeases(got, want) {
				t.Errorf("%+v\nwant %+v", got, want)
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// A file that is cut off anywhere is what was synced before; a file that is
// damaged anywhere but in its last write is refused.
func TestAJournalThatIsTornOrDamaged(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "leases")
	j := openJournal(t, path, nil)
	var ends []int // of the frames
	size := func() int {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return int(info.Size())
	}
	ends = append(ends, size())
	l := journaled("l")
	want := [][]credits.JournaledLease{nil}
	for i := range 4 {
		if i == 0 {
			_, _ = j.Acquiring(l)
		} else {
			s := spend(credits.OpID(fmt.Sprint("x", i)), 5)
			l.Spends = append(l.Spends[:i-1:i-1], s)
			_, _ = j.Spent("l", s)
		}
		if err := j.Sync(t.Context(), j.Mark()); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, size())
		want = append(want, []credits.JournaledLease{l})
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(folder, "other")
	try := func(text []byte) ([]credits.JournaledLease, error) {
		if err := os.WriteFile(other, text, 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := credits.OpenLeaseJournal(other, nil)
		if err != nil {
			if after, _ := os.ReadFile(other); !bytes.Equal(after, text) {
				t.Error("a file that was refused has changed")
			}
			return nil, err
		}
		list := j.Unfinished()
		return list, j.Close()
	}
	// Each try costs some syncs: every fourth byte, and both sides of each frame.
	near := func(n int) bool {
		return n%4 == 0 || slices.ContainsFunc(ends, func(end int) bool { return n-end >= -1 && n-end <= 1 })
	}
	for n := range len(whole) + 1 {
		if !near(n) {
			continue
		}
		got, err := try(whole[:n])
		if n < ends[0] {
			if kerrors.CodeOf(err) != kerrors.Corrupt {
				t.Fatalf("cut to %d bytes, of which the first are missing: %v", n, err)
			}
			continue
		}
		last := 0
		for last+1 < len(ends) && ends[last+1] <= n {
			last++
		}
		if err != nil || !sameLeases(got, want[last]) {
			t.Fatalf("cut to %d bytes: %+v, %v", n, got, err)
		}
	}
	for n := range whole {
		if !near(n) {
			continue
		}
		damaged := bytes.Clone(whole)
		damaged[n] ^= 0x10
		got, err := try(damaged)
		switch tail := ends[len(ends)-2]; {
		case n < tail && kerrors.CodeOf(err) != kerrors.Corrupt:
			t.Fatalf("damaged at byte %d: %+v, %v", n, got, err)
		case n >= tail && (err != nil || !sameLeases(got, want[len(want)-2])):
			t.Fatalf("torn at byte %d: %+v, %v", n, got, err)
		}
	}
}

func TestAJournalHasOneOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases")
	j := openJournal(t, path, nil)
	if _, err := credits.OpenLeaseJournal(path, nil); kerrors.CodeOf(err) != kerrors.Conflict {
		t.Errorf("%v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	openJournal(t, path, nil)
	for _, err := range []error{
		second(credits.OpenLeaseJournal("", &credits.LeaseJournalOptions{CompactBytes: -1})),
	} {
		if kerrors.CodeOf(err) != kerrors.Invalid || !strings.Contains(err.Error(), "path is empty") || !strings.Contains(err.Error(), "CompactBytes is -1") {
			t.Error(err)
		}
	}
	if _, err := credits.OpenLeaseJournal(filepath.Join(path, "none", "leases"), nil); kerrors.CodeOf(err) != kerrors.Unavailable || !strings.Contains(err.Error(), "a folder that exists") {
		t.Errorf("%v", err)
	}
}

// Many who wait at once share writes, and the order of records is kept.
func TestAJournalSyncsInGroups(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases")
	j := openJournal(t, path, &credits.LeaseJournalOptions{CompactBytes: 512})
	if _, err := j.Acquiring(journaled("l")); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for lane := range 8 {
		all.Go(func() {
			for i := range 20 {
				mark, err := j.Spent("l", spend(credits.OpID(fmt.Sprintf("%d-%02d", lane, i)), 1))
				if err == nil {
					err = j.Sync(t.Context(), mark)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if err := j.Sync(done, j.Mark()); err != nil {
		t.Errorf("what is durable is so whatever the context: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	list := openJournal(t, path, nil).Unfinished()
	if len(list) != 1 || len(list[0].Spends) != 160 {
		t.Fatalf("%+v", list)
	}
	last := make(map[byte]credits.OpID)
	for _, s := range list[0].Spends {
		if s.ID <= last[s.ID[0]] {
			t.Errorf("%s after %s", s.ID, last[s.ID[0]])
		}
		last[s.ID[0]] = s.ID
	}
}

// A restart settles what was answered, from the lease or from suspense, and
// returns the rest.
func TestARestartRecoversFromTheJournal(t *testing.T) {
	for name, lapsed := range map[string]bool{"before the deadline": false, "after it": true} {
		r := newLeaseRig(t, 100_000)
		path := filepath.Join(t.TempDir(), "leases")
		journal := openJournal(t, path, nil)
		l := r.lessee(credits.LesseeOptions{Journal: journal})
		r.warm(l)
		if _, err := l.Hold(t.Context(), hold("h", 1)); err != nil {
			t.Fatal(err)
		}
		spends, _ := l.Unsettled()
		_ = journal.Close() // the lessee is gone, with all it knows
		if lapsed {
			r.add(time.Hour)
		}
		journal = openJournal(t, path, nil)
		l = r.lessee(credits.LesseeOptions{Journal: journal})
		if got, _ := l.Unsettled(); got != spends-1 || got == 0 {
			t.Errorf("%s: %d spends, want %d", name, got, spends-1)
		}
		r.flush(l)
		if got := r.totals(); got.Consumed != 20 || got.Available != 99_980 {
			t.Errorf("%s: %+v", name, got)
		}
		r.close(l)
		_ = journal.Close()
		if list := openJournal(t, path, nil).Unfinished(); len(list) != 0 {
			t.Errorf("%s: %+v", name, list)
		}
	}
}

// With a journal that is relaxed some answers may be unknown: what is known is
// settled, and the rest is left to an operator.
func TestARelaxedJournalReturnsNothingAfterACrash(t *testing.T) {
	r := newLeaseRig(t, 100_000)
	path := filepath.Join(t.TempDir(), "leases")
	journal := openJournal(t, path, &credits.LeaseJournalOptions{Relaxed: true})
	l := r.lessee(credits.LesseeOptions{Journal: journal})
	r.warm(l)
	before := r.totals()
	if err := journal.Sync(t.Context(), journal.Mark()); err != nil {
		t.Fatal(err)
	}
	_ = journal.Close()
	journal = openJournal(t, path, nil)
	l = r.lessee(credits.LesseeOptions{Journal: journal})
	r.flush(l)
	if err := l.Close(t.Context()); err != nil {
		t.Error(err)
	}
	got := r.totals()
	if got.Consumed != 20 || got.Leased == 0 || got.Leased != before.Leased-(20-before.Consumed) {
		t.Errorf("%+v, before %+v", got, before)
	}
	r.add(time.Hour)
	if got := r.totals(); got.Suspense == 0 || got.Available != before.Available {
		t.Errorf("%+v", got)
	}
}

// When the journal fails, nothing more is answered from memory, and nothing that
// was is lost.
func TestAJournalThatFails(t *testing.T) {
	r := newLeaseRig(t, 100_000)
	journal := &failingJournal{FileLeaseJournal: openJournal(t, filepath.Join(t.TempDir(), "leases"), nil)}
	l := r.lessee(credits.LesseeOptions{Journal: journal})
	r.warm(l)
	before := r.totals().Consumed
	journal.failSync = true
	if _, err := l.Debit(t.Context(), debit("x", 1)); kerrors.CodeOf(err) != kerrors.Unavailable {
		t.Errorf("%v", err)
	}
	if _, err := l.Debit(t.Context(), debit("y", 1)); err != nil {
		t.Errorf("through the store: %v", err)
	}
	if r.totals().Consumed == before {
		t.Error("it was paid from memory")
	}
	_ = l.Flush(t.Context())
	r.idle()
	if got := r.totals(); got.Consumed != 22 { // x too, whose outcome was unknown
		t.Errorf("%+v", got)
	}
	if err := l.Close(t.Context()); !errors.Is(err, errDown) {
		t.Errorf("%v", err)
	}
}

// failingJournal fails from some time on.
type failingJournal struct {
	*credits.FileLeaseJournal
	failSync bool
}

func (j *failingJournal) Sync(ctx context.Context, mark int64) error {
	if j.failSync {
		return errDown
	}
	return j.FileLeaseJournal.Sync(ctx, mark)
}

func BenchmarkLeaseJournal(b *testing.B) {
	for _, relaxed := range []bool{false, true} {
		b.Run(fmt.Sprintf("relaxed=%v/parallel", relaxed), func(b *testing.B) {
			j := openJournal(b, filepath.Join(b.TempDir(), "leases"), &credits.LeaseJournalOptions{Relaxed: relaxed})
			if _, err := j.Acquiring(journaled("l")); err != nil {
				b.Fatal(err)
			}
			b.SetParallelism(32)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					mark, err := j.Spent("l", spend("0198c0de-0000-7000-8000-000000000000", 5))
					if err == nil && !relaxed {
						err = j.Sync(b.Context(), mark)
					}
					if err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
