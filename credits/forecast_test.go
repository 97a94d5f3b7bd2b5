package credits_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
	kerrors "github.com/keytoll/keytoll/errors"
)

func (r *rig) forecast(at time.Time, operation string) credits.Forecast {
	r.t.Helper()
	f, err := r.SpendableAt(r.t.Context(), acme, at, operation)
	if err != nil {
		r.t.Fatal(err)
	}
	return f
}

func TestSpendableAtCountsWhatTimeAloneWillDo(t *testing.T) {
	r := newRig(t)
	r.run(credits.Grant{Account: acme, ID: "ends", Amount: 5, ExpiresAt: epoch.Add(2 * time.Hour)})
	r.run(credits.Grant{Account: acme, ID: "later", Amount: 7, EffectiveAt: epoch.Add(3 * time.Hour), Only: credits.Only("image")})
	r.run(credits.Hold{Account: acme, ID: "h", Amount: 4, TTL: time.Hour})
	r.set(credits.Schedule{Account: acme, ID: "s", Amount: 10, Unit: credits.Hours, Every: 4, Anchor: epoch.Add(4 * time.Hour), Rollover: 3})
	before := r.snapshot(acme)
	for _, c := range []struct {
		hours        int
		plain, image credits.Amount
	}{{0, 1, 1}, {1, 5, 5}, {2, 0, 0}, {3, 0, 7}, {4, 10, 17}, {8, 13, 20}, {12, 13, 20}} {
		at := epoch.Add(time.Duration(c.hours) * time.Hour)
		if f := r.forecast(at, ""); f.Spendable != c.plain || !f.At.Equal(at) || f.Account != acme {
			t.Errorf("after %d hours: %+v", c.hours, f)
		}
		if f := r.forecast(at, "image"); f.Spendable != c.image || f.Available != c.image || f.Operation != "image" {
			t.Errorf("after %d hours for images: %+v", c.hours, f)
		}
	}
	if f := r.forecast(epoch.Add(-time.Hour), ""); !f.At.Equal(epoch) || f.Spendable != 1 {
		t.Errorf("an instant that has passed: %+v", f)
	}
	if !reflect.DeepEqual(r.snapshot(acme), before) {
		t.Error("a forecast has written something")
	}
	list, err := r.Upcoming(t.Context(), acme, epoch.Add(8*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range list {
		got = append(got, fmt.Sprintf("%v %v of %s after %v", e.Kind, int64(e.Amount), e.Op, e.At.Sub(epoch)))
	}
	want := []string{
		"timeout 4 of h after 1h0m0s", "expire 5 of ends after 2h0m0s", "effect 7 of later after 3h0m0s", "grant 10 of @s#0 after 4h0m0s",
		"roll 3 of @s#1 after 8h0m0s", "roll 3 of @s#1 after 8h0m0s", "expire 7 of @s#0 after 8h0m0s", "grant 10 of @s#1 after 8h0m0s",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("upcoming: %q", got)
	}
	r.add(8 * time.Hour)
	r.run(debit("post", 0))
	posted := r.snapshot(acme).Entries[len(before.Entries):]
	for i := range posted {
		posted[i].Seq, posted[i].Hash = 0, credits.Hash{}
	}
	if !reflect.DeepEqual(posted, list) {
		t.Errorf("foreseen\n%+v\nposted\n%+v", list, posted)
	}
}

func TestWhoOwesCanSpendNothing(t *testing.T) {
	r := newRig(t)
	r.run(credits.Grant{Account: acme, ID: "g", Amount: 5, Only: credits.Only("image")})
	h := hold("h", 0)
	h.Overrun, h.DebtLimit = credits.OverrunDebt, 100
	r.run(h)
	r.run(capture("h", 3))
	r.run(credits.Grant{Account: acme, ID: "later", Amount: 10, EffectiveAt: epoch.Add(time.Hour)})
	if f := r.forecast(epoch, "image"); f.Spendable != 0 || f.Debt != 3 || f.Available != 5 {
		t.Errorf("with a debt: %+v", f)
	}
	if f := r.forecast(epoch.Add(time.Hour), "image"); f.Spendable != 12 || f.Debt != 0 {
		t.Errorf("when it is repaid: %+v", f)
	}
}

func TestForecastsAreBounded(t *testing.T) {
	r := newRig(t)
	r.set(credits.Schedule{Account: acme, ID: "s", Amount: 1, Unit: credits.Hours, Every: 1, Anchor: epoch})
	if f := r.forecast(epoch.AddDate(1, 0, 0), ""); f.Spendable != 1 || f.Issued != 365*24+1 {
		t.Errorf("a year ahead: %+v", f)
	}
	for _, at := range []time.Time{epoch.AddDate(10, 0, 0), date(9998, 12, 31)} {
		if _, err := r.SpendableAt(t.Context(), acme, at, ""); !errors.Is(err, credits.ErrTooFar) || kerrors.CodeOf(err) != kerrors.Invalid {
			t.Errorf("until %v: %v", at, err)
		}
		if _, err := r.Upcoming(t.Context(), acme, at); !errors.Is(err, credits.ErrTooFar) {
			t.Errorf("until %v: %v", at, err)
		}
	}
	if _, err := r.SpendableAt(t.Context(), "", date(9999, 1, 1), "\n"); kerrors.CodeOf(err) != kerrors.Invalid {
		t.Errorf("%v", err)
	}
	if _, err := r.Upcoming(t.Context(), "", date(9999, 1, 1)); kerrors.CodeOf(err) != kerrors.Invalid {
		t.Errorf("%v", err)
	}
}

// A forecast is what the balance is when its instant comes and nobody did anything.
func TestForecastsComeTrue(t *testing.T) {
	for _, seed := range seeds(t) {
		r := newRig(t)
		g := newPlan(seed, 9)
		for range 60 {
			g.tick(r.clock)
			g.step(t, r.now(), r.Ledger)
		}
		start := r.now()
		var at []time.Time
		var want []credits.Forecast
		for d := time.Duration(0); len(at) < 20; d += time.Duration(g.rng.IntN(300)) * time.Minute {
			at = append(at, start.Add(d))
			want = append(want, r.forecast(start.Add(d), "image"))
		}
		for i := range at {
			r.at(at[i])
			b, err := r.Balance(t.Context(), acme)
			if err != nil || b.Totals != want[i].Totals {
				t.Fatalf("seed %d: the balance at %v is %+v, foreseen was %+v, %v", seed, at[i], b, want[i], err)
			}
			if got := r.forecast(at[i], "image"); got != want[i] {
				t.Fatalf("seed %d: at %v there is %+v, foreseen was %+v", seed, at[i], got, want[i])
			}
		}
	}
}

// A denial's ClearsAt is the instant from which on the very command passes, if
// nobody else spends.
func TestADenialClearsWhenItSaysAndNotBefore(t *testing.T) {
	clears, grants, unknown := 0, 0, 0
	for _, seed := range append(seeds(t), 11, 12, 13, 14, 15, 16) {
		r := newRig(t)
		var err error
		if r.Ledger, err = credits.NewLedger(r.store, &credits.Options{MaxHolds: 6}); err != nil {
			t.Fatal(err)
		}
		g := newPlan(seed, 10)
		for step := range 250 {
			g.tick(r.clock)
			switch g.rng.IntN(12) {
			case 0:
				s := g.schedule(r.now())
				s.CatchUp = credits.CatchUp(g.rng.IntN(3))
				r.set(s)
				continue
			case 1:
				b := credits.Budget{
					Account: acme, ID: credits.BudgetID(g.id("b")), Amount: 20 + 5*g.amount(), Every: credits.Span(1 + g.rng.IntN(3)), Zone: "Asia/Tokyo",
					Key: []string{"", "k"}[g.rng.IntN(2)], Operation: []string{"", "image"}[g.rng.IntN(2)],
				}
				if _, err := r.SetBudget(t.Context(), b); err != nil {
					t.Fatal(err)
				}
				continue
			case 2, 3, 4, 5:
			default:
				g.step(t, r.now(), r.Ledger)
				continue
			}
			h := credits.Hold{
				Account: acme, ID: credits.OpID(fmt.Sprint("probe", step)), Amount: 5 + 2*g.amount(), Key: "k",
				Operation: []string{"", "image", "text"}[g.rng.IntN(3)], TTL: time.Duration(1+g.rng.IntN(20)) * time.Hour,
			}
			_, err := r.Hold(t.Context(), h)
			denied, ok := errors.AsType[*credits.DeniedError](err)
			if !ok {
				continue
			}
			now := r.now()
			if !denied.NextGrantAt.IsZero() {
				grants++
				granted := credits.Amount(0)
				list, err := r.Upcoming(t.Context(), acme, denied.NextGrantAt)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range list {
					if e.At.Equal(denied.NextGrantAt) && (e.Kind == credits.KindEffect || e.Kind == credits.KindGrant) {
						granted += e.Amount
					}
				}
				if granted == 0 {
					t.Fatalf("seed %d step %d: nothing is granted at %v: %+v", seed, step, denied.NextGrantAt, denied)
				}
			}
			if denied.ClearsAt.IsZero() {
				unknown++
				continue
			}
			clears++
			wait := denied.ClearsAt.Sub(now).Microseconds()
			for _, early := range []int64{g.rng.Int64N(wait), g.rng.Int64N(wait), g.rng.Int64N(wait), wait - 1} {
				r.at(now.Add(time.Duration(early) * time.Microsecond))
				if _, err := r.Hold(t.Context(), h); !errors.Is(err, credits.ErrInsufficient) {
					t.Fatalf("seed %d step %d: %+v, said to clear at %v, passed at %v: %v", seed, step, h, denied.ClearsAt, r.now(), err)
				}
			}
			r.at(denied.ClearsAt)
			if _, err := r.Hold(t.Context(), h); err != nil {
				t.Fatalf("seed %d step %d: %+v, denied with %+v, was to clear after %v: %v", seed, step, h, denied, denied.ClearsAt.Sub(now), err)
			}
		}
	}
	if clears < 50 || grants < 50 || unknown < 10 {
		t.Errorf("%d denials said when they clear, %d when the next grant is, %d did not know: the run proves little", clears, grants, unknown)
	}
}

func TestALookAheadMayBeShortOrNone(t *testing.T) {
	r := newRig(t)
	r.set(monthly(date(2026, 2, 28)))
	for ahead, known := range map[time.Duration]bool{0: true, 29 * 24 * time.Hour: true, 27 * 24 * time.Hour: false, credits.NoLookAhead: false} {
		l, err := credits.NewLedger(r.store, &credits.Options{LookAhead: ahead})
		if err != nil {
			t.Fatal(err)
		}
		_, err = l.Hold(t.Context(), hold("h", 5))
		denied, ok := errors.AsType[*credits.DeniedError](err)
		if !ok || denied.ClearsAt.IsZero() == known || denied.NextGrantAt.IsZero() == known {
			t.Errorf("%v ahead: %+v", ahead, denied)
		}
		if known && (!denied.ClearsAt.Equal(date(2026, 2, 28)) || !denied.NextGrantAt.Equal(date(2026, 2, 28))) {
			t.Errorf("%v ahead: %+v", ahead, denied)
		}
	}
	for _, ahead := range []time.Duration{-2, time.Nanosecond, 401 * 24 * time.Hour} {
		if _, err := credits.NewLedger(r.store, &credits.Options{LookAhead: ahead}); kerrors.CodeOf(err) != kerrors.Invalid {
			t.Errorf("%v ahead: %v", ahead, err)
		}
	}
}

// More than a denial may look through: it says that it does not know.
func TestADenialDoesNotLookWithoutBound(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 1000))
	for i := range 500 {
		r.run(credits.Hold{Account: acme, ID: credits.OpID(strconv.Itoa(i)), Amount: 2, TTL: time.Hour + time.Duration(i)*time.Second})
	}
	_, err := r.Hold(t.Context(), hold("h", 40))
	if denied, ok := errors.AsType[*credits.DeniedError](err); !ok || !denied.ClearsAt.Equal(epoch.Add(time.Hour+19*time.Second)) {
		t.Errorf("the twentieth time-out makes room: %+v", denied)
	}
	_, err = r.Hold(t.Context(), hold("h", 80))
	if denied, ok := errors.AsType[*credits.DeniedError](err); !ok || !denied.ClearsAt.IsZero() || !denied.Transient {
		t.Errorf("what would need 40 time-outs: %+v", denied)
	}
}

// What is available now may be gone when a budget has room again.
func TestADenialByABudgetLooksAtWhatExpiresUntilThen(t *testing.T) {
	for last, want := range map[credits.Amount]time.Time{10: date(2026, 2, 1).Add(-12 * time.Hour), 1: {}} {
		r := newRig(t)
		r.run(credits.Grant{Account: acme, ID: "soon", Amount: 20, ExpiresAt: epoch.Add(time.Hour)})
		r.run(credits.Grant{Account: acme, ID: "long", Amount: last})
		if _, err := r.SetBudget(t.Context(), credits.Budget{Account: acme, ID: "day", Amount: 6, Every: credits.Day}); err != nil {
			t.Fatal(err)
		}
		r.run(debit("d", 4))
		_, err := r.Hold(t.Context(), hold("h", 5))
		if denied, ok := errors.AsType[*credits.DeniedError](err); !ok || denied.Source != credits.SourceAccountBudget || !denied.ClearsAt.Equal(want) {
			t.Errorf("with %v that lasts: %+v", last, denied)
		}
	}
}

// blind cannot be read any more.
type blind struct{ credits.Store }

func (blind) View(context.Context, []credits.Need, func(time.Time, []*credits.State) error) error {
	return errors.New("out of sight")
}

func TestAFailureToLookAheadDoesNotMaskADenial(t *testing.T) {
	l, err := credits.NewLedger(blind{credits.NewMemoryStore(nil)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, cmd := range []any{hold("h", 5), debit("d", 5), debit("d", 5)} {
		_, err = do(t.Context(), l, cmd)
		if denied, ok := errors.AsType[*credits.DeniedError](err); !ok || denied.Need != 5 || kerrors.CodeOf(err) != kerrors.Insufficient {
			t.Errorf("%+v: %v", cmd, err)
		}
	}
}

// What a denial costs with and without its look into the future.
func BenchmarkDenial(b *testing.B) {
	for _, holds := range []int{0, 10_000} {
		for name, ahead := range map[string]time.Duration{"ahead": 0, "none": credits.NoLookAhead} {
			b.Run(fmt.Sprintf("holds=%d/look=%s", holds, name), func(b *testing.B) {
				r := newRig(b)
				r.run(grant("g", credits.Amount(1+holds)))
				for i := range holds {
					r.run(credits.Hold{Account: acme, ID: credits.OpID(strconv.Itoa(i)), Amount: 1, TTL: time.Hour + time.Duration(rand.IntN(1e6))*time.Microsecond})
				}
				l, err := credits.NewLedger(r.store, &credits.Options{LookAhead: ahead})
				if err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				for b.Loop() {
					if _, err := l.Hold(b.Context(), hold("h", 10)); err == nil {
						b.Fatal("it was paid")
					}
				}
			})
		}
	}
}

// A grant that the command could not spend is none that it waits for.
func TestTheNextGrantIsOneThatCanPay(t *testing.T) {
	r := newRig(t)
	r.run(credits.Grant{Account: acme, ID: "images", Amount: 50, EffectiveAt: epoch.Add(time.Hour), Only: credits.Only("image")})
	r.run(credits.Grant{Account: acme, ID: "all", Amount: 50, EffectiveAt: epoch.Add(2 * time.Hour)})
	for operation, after := range map[string]time.Duration{"image": time.Hour, "text": 2 * time.Hour, "": 2 * time.Hour} {
		h := hold("h", 5)
		h.Operation = operation
		_, err := r.Hold(t.Context(), h)
		denied, ok := errors.AsType[*credits.DeniedError](err)
		if !ok || !denied.NextGrantAt.Equal(epoch.Add(after)) || !denied.ClearsAt.Equal(epoch.Add(after)) {
			t.Errorf("for %q: %+v", operation, denied)
		}
	}
}

// Whoever asks what is to come is somebody who comes by: nothing is missed from
// now on, though what was missed before is.
func TestAForecastMissesNoPeriodFromNowOn(t *testing.T) {
	for mode, want := range map[credits.CatchUp]credits.Amount{credits.CatchUpAll: 60, credits.CatchUpLatest: 40, credits.CatchUpNone: 30} {
		r := newRig(t)
		s := monthly(date(2026, 2, 1))
		s.CatchUp, s.Lifetime = mode, credits.NoTimeout
		r.set(s)
		r.at(date(2026, 4, 15)) // three have begun, and three are to come
		if f := r.forecast(date(2026, 7, 15), ""); f.Issued != want || f.Spendable != want {
			t.Errorf("%d: %+v", mode, f)
		}
	}
}

func TestWhatIsDueIsNotToCome(t *testing.T) {
	r := newRig(t)
	r.run(credits.Grant{Account: acme, ID: "past", Amount: 5, ExpiresAt: epoch.Add(time.Hour)})
	r.run(credits.Grant{Account: acme, ID: "next", Amount: 5, ExpiresAt: epoch.Add(3 * time.Hour)})
	r.add(2 * time.Hour) // nobody has posted the first
	list, err := r.Upcoming(t.Context(), acme, epoch.Add(4*time.Hour))
	if err != nil || len(list) != 1 || list[0].Op != "next" {
		t.Errorf("%+v, %v", list, err)
	}
}
