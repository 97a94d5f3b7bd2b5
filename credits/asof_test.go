package credits_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
	kerrors "github.com/keytoll/keytoll/errors"
)

func TestBalanceAtIsWhatBalanceAnsweredThen(t *testing.T) {
	for _, seed := range seeds(t) {
		r := newRig(t)
		g := newPlan(seed, 11)
		var then []credits.Balance
		for range 150 {
			g.tick(r.clock)
			g.step(t, r.now(), r.Ledger)
			b, err := r.Balance(t.Context(), acme)
			if err != nil {
				t.Fatal(err)
			}
			if n := len(then) - 1; n >= 0 && then[n].At.Equal(b.At) {
				then = then[:n] // two commands in one instant: the later one counts
			}
			then = append(then, b)
		}
		r.add(40 * time.Hour) // and what is due now was not then
		for _, want := range then {
			if got, err := r.BalanceAt(t.Context(), acme, want.At); err != nil || got != want {
				t.Fatalf("seed %d: at %v it was %+v, and is told as %+v, %v", seed, want.At, want, got, err)
			}
		}
	}
}

func TestBalanceAtBetweenAndBeyondCommands(t *testing.T) {
	r := newRig(t)
	r.run(credits.Grant{Account: acme, ID: "g", Amount: 10, ExpiresAt: epoch.Add(time.Hour)})
	r.add(2 * time.Hour)
	r.run(grant("g2", 5)) // posts the expiry
	r.run(credits.Grant{Account: acme, ID: "g3", Amount: 7, ExpiresAt: epoch.Add(4 * time.Hour)})
	r.add(3 * time.Hour) // nobody has posted that of g3
	for _, c := range []struct {
		at   time.Time
		want credits.Totals
	}{
		{date(1999, 1, 1), credits.Totals{}},
		{epoch.Add(-time.Microsecond), credits.Totals{}},
		{epoch, credits.Totals{Issued: 10, Available: 10}},
		{epoch.Add(time.Hour - time.Microsecond), credits.Totals{Issued: 10, Available: 10}},
		{epoch.Add(time.Hour - time.Nanosecond), credits.Totals{Issued: 10, Available: 10}},
		{epoch.Add(time.Hour), credits.Totals{Issued: 10, Expired: 10}},
		{epoch.Add(2 * time.Hour), credits.Totals{Issued: 22, Available: 12, Expired: 10}},
		{epoch.Add(4*time.Hour - time.Microsecond), credits.Totals{Issued: 22, Available: 12, Expired: 10}},
		{epoch.Add(4 * time.Hour), credits.Totals{Issued: 22, Available: 5, Expired: 17}},
		{epoch.Add(99 * time.Hour), credits.Totals{Issued: 22, Available: 5, Expired: 17}},
	} {
		b, err := r.BalanceAt(t.Context(), acme, c.at)
		if err != nil || b.Totals != c.want || b.Account != acme || b.At.After(c.at) {
			t.Errorf("at %v: %+v, %v", c.at, b, err)
		}
	}
	if b, err := r.BalanceAt(t.Context(), acme, epoch.Add(99*time.Hour)); !b.At.Equal(r.now()) {
		t.Errorf("an instant to come is %v, %v", b.At, err)
	}
	if b, err := r.BalanceAt(t.Context(), "nobody", epoch); err != nil || b.Totals != (credits.Totals{}) {
		t.Errorf("of nobody: %+v, %v", b, err)
	}
	for _, at := range []time.Time{{}, date(9999, 1, 1)} {
		if _, err := r.BalanceAt(t.Context(), acme, at); kerrors.CodeOf(err) != kerrors.Invalid {
			t.Errorf("at %v: %v", at, err)
		}
	}
}

// read counts what is read of a journal, and may lose the end of it.
type read struct {
	credits.Store
	entries, calls int
	short          bool
}

func (s *read) Entries(ctx context.Context, q credits.EntryQuery) ([]credits.Entry, error) {
	list, err := s.Store.Entries(ctx, q)
	s.calls++
	s.entries += len(list)
	if s.short && len(list) > 1 {
		list = list[1:]
	}
	return list, err
}

func TestBalanceAtReadsTheShorterSideOfTheJournal(t *testing.T) {
	r := newRig(t)
	const n = 4000
	for i := range n {
		r.run(grant(credits.OpID(fmt.Sprint("g", i)), 1))
		r.add(time.Second)
	}
	s := &read{Store: r.store}
	l, err := credits.NewLedger(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, 1, 5, n / 2, n - 6, n - 2} {
		s.entries, s.calls = 0, 0
		b, err := l.BalanceAt(t.Context(), acme, epoch.Add(time.Duration(at)*time.Second))
		if err != nil || b.Issued != credits.Amount(at+1) {
			t.Errorf("after %d seconds: %+v, %v", at, b, err)
		}
		if most := min(at+1, n-at) + 15; s.entries > most {
			t.Errorf("after %d seconds: %d entries were read in %d calls; want at most %d", at, s.entries, s.calls, most)
		}
	}
	s.short = true
	if _, err := l.BalanceAt(t.Context(), acme, epoch.Add(100*time.Second)); !errors.Is(err, credits.ErrCorrupt) {
		t.Errorf("a journal with a hole: %v", err)
	}
}
