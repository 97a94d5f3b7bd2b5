package credits_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
	kerrors "github.com/keytoll/keytoll/errors"
)

func TestEntriesPageThroughTheJournal(t *testing.T) {
	r := newRig(t)
	const n = 25
	for i := range n {
		r.run(grant(credits.OpID(strconv.Itoa(i)), 1))
	}
	all := r.snapshot(acme).Entries
	for _, newest := range []bool{false, true} {
		want := slices.Clone(all)
		if newest {
			slices.Reverse(want)
		}
		for _, limit := range []int{0, 1, 5, 24, 25, 26, 1000} {
			var got []credits.Entry
			q := credits.Query{Account: acme, Newest: newest, Limit: limit}
			for {
				p, err := r.Entries(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, p.Entries...)
				if q.Cursor = p.Next; q.Cursor == "" {
					break
				}
				if limit > 0 && len(p.Entries) != limit {
					t.Fatalf("a page of %d that is not the last has %d", limit, len(p.Entries))
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("newest %v, limit %d: %d entries", newest, limit, len(got))
			}
		}
	}
	if p, err := r.Entries(t.Context(), credits.Query{Account: "nobody"}); err != nil || len(p.Entries) != 0 || p.Next != "" {
		t.Errorf("of an unknown account: %+v, %v", p, err)
	}
}

// A reader that goes on while entries are added sees each of them once.
func TestEntriesAddedBetweenPages(t *testing.T) {
	r := newRig(t)
	seen := make(map[int64]int)
	q := credits.Query{Account: acme, Limit: 2}
	for i := range 20 {
		r.run(grant(credits.OpID(strconv.Itoa(i)), 1))
		if i%2 == 0 {
			continue
		}
		p, err := r.Entries(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range p.Entries {
			seen[e.Seq]++
		}
		if p.Next != "" {
			q.Cursor = p.Next
		}
	}
	for seq, n := range seen {
		if n != 1 && seq > 2 { // until there was a next page, the first was read again
			t.Errorf("entry %d was seen %d times", seq, n)
		}
	}
}

func TestCursorsOfOtherListingsAreRefused(t *testing.T) {
	r := newRig(t)
	for i := range 3 {
		r.run(grant(credits.OpID(strconv.Itoa(i)), 1))
	}
	p, err := r.Entries(t.Context(), credits.Query{Account: acme, Limit: 1})
	if err != nil || p.Next == "" {
		t.Fatal(p, err)
	}
	for name, q := range map[string]credits.Query{
		"another account": {Account: "other", Cursor: p.Next},
		"another order":   {Account: acme, Newest: true, Cursor: p.Next},
		"garbage":         {Account: acme, Cursor: "garbage"},
		"cut":             {Account: acme, Cursor: p.Next[1:]},
		"longer":          {Account: acme, Cursor: p.Next + "A"},
		"altered":         {Account: acme, Cursor: credits.Cursor("B" + string(p.Next[1:]))},
		"huge":            {Account: acme, Cursor: credits.Cursor(strings.Repeat("A", 1<<16))},
		"limit below":     {Account: acme, Limit: -1},
		"limit above":     {Account: acme, Limit: 1001},
		"no account":      {},
		"to before from":  {Account: acme, From: epoch.Add(time.Hour), To: epoch},
	} {
		if _, err := r.Entries(t.Context(), q); kerrors.CodeOf(err) != kerrors.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever the range and the order: the entries of that range, each once.
func TestEntriesOfARange(t *testing.T) {
	r := newRig(t)
	for i := range 20 { // two at each instant
		r.run(grant(credits.OpID(strconv.Itoa(i)), 1))
		if i%2 == 1 {
			r.add(time.Second)
		}
	}
	all := r.snapshot(acme).Entries
	for from := range 12 {
		for to := from; to < 13; to++ {
			for _, newest := range []bool{false, true} {
				q := credits.Query{Account: acme, Newest: newest, Limit: 3, From: epoch.Add(time.Duration(from-1) * time.Second), To: epoch.Add(time.Duration(to-1) * time.Second)}
				if from == 0 {
					q.From = time.Time{}
				}
				if to == 12 {
					q.To = time.Time{}
				}
				var want []credits.Entry
				for _, e := range all {
					if !e.At.Before(q.From) && (q.To.IsZero() || e.At.Before(q.To)) {
						want = append(want, e)
					}
				}
				if newest {
					slices.Reverse(want)
				}
				var got []credits.Entry
				for {
					p, err := r.Entries(t.Context(), q)
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, p.Entries...)
					if q.Cursor = p.Next; q.Cursor == "" {
						break
					}
				}
				if !slices.Equal(got, want) {
					t.Errorf("from %v to %v, newest %v: %d entries, want %d", q.From, q.To, newest, len(got), len(want))
				}
			}
		}
	}
	q := credits.Query{Account: acme, From: epoch.Add(time.Nanosecond), To: epoch.Add(time.Second + time.Nanosecond)}
	if p, err := r.Entries(t.Context(), q); err != nil || len(p.Entries) != 2 {
		t.Errorf("bounds between two microseconds: %d entries, %v", len(p.Entries), err)
	}
}

// Whatever the text: no entry of another account, no panic, and a cursor that is
// taken is one that was given.
func FuzzCursor(f *testing.F) {
	l, err := credits.NewLedger(credits.NewMemoryStore(nil), nil)
	if err != nil {
		f.Fatal(err)
	}
	given := map[credits.Cursor]bool{"": true}
	for i := range 4 {
		if _, err := l.Grant(f.Context(), grant(credits.OpID(strconv.Itoa(i)), 1)); err != nil {
			f.Fatal(err)
		}
	}
	for _, newest := range []bool{false, true} {
		for limit := 1; limit < 4; limit++ {
			p, err := l.Entries(f.Context(), credits.Query{Account: acme, Newest: newest, Limit: limit})
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(p.Next), newest)
			given[p.Next] = true
		}
	}
	f.Add("", false)
	f.Add("AQAAAAAAAAAAAQ", true)
	f.Fuzz(func(t *testing.T, text string, newest bool) {
		p, err := l.Entries(t.Context(), credits.Query{Account: acme, Newest: newest, Cursor: credits.Cursor(text)})
		if err != nil {
			if kerrors.CodeOf(err) != kerrors.Invalid {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		for _, e := range p.Entries {
			if e.Account != acme {
				t.Fatalf("%q gives %+v", text, e)
			}
		}
		if len(p.Entries) > 0 && !given[credits.Cursor(text)] && len(text) != 19 {
			t.Fatalf("%q was taken for a cursor", text)
		}
	})
}
