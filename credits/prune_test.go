package credits_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
	kerrors "github.com/keytoll/keytoll/errors"
)

// uuid is a version 7 UUID that was made at the given instant.
func uuid(at time.Time, n int) credits.OpID {
	ms := at.UnixMilli()
	return credits.OpID(fmt.Sprintf("%08x-%04x-7%03x-8%03x-%012x", ms>>16, ms&0xffff, n&0xfff, n>>12&0xfff, n))
}

func TestPruneDropsOldRecordsAndMovesNoCredit(t *testing.T) {
	r := newRig(t)
	ids := make(map[string]credits.OpID)
	id := func(name string) credits.OpID {
		if ids[name] == "" {
			ids[name] = uuid(r.now(), len(ids))
		}
		return ids[name]
	}
	r.run(grant(id("g"), 100))
	r.run(debit(id("d"), 10))
	r.run(refund(id("r"), id("d"), 3))
	r.run(hold(id("captured"), 10))
	r.run(credits.Capture{Account: acme, Hold: id("captured"), Amount: 2, Keep: true, ID: id("c")})
	r.run(capture(id("captured"), 4))
	r.run(hold(id("released"), 10))
	r.run(release(id("released")))
	r.run(credits.Hold{Account: acme, ID: id("open"), Amount: 5, TTL: credits.NoTimeout})
	r.run(debit("my-id", 1)) // tells no time
	if _, err := r.try(debit(id("refused"), 1000)); !errors.Is(err, credits.ErrInsufficient) {
		t.Fatal(err)
	}
	r.add(time.Minute)
	young := r.now()
	r.run(debit(id("young"), 1))
	r.add(30*24*time.Hour - time.Second)
	before := r.snapshot(acme)

	got, err := r.Prune(t.Context(), nil)
	if err != nil || got != (credits.Pruned{Accounts: 1, Ops: 7}) {
		t.Fatalf("%+v, %v", got, err)
	}
	after := r.snapshot(acme)
	if _, err := r.Verify(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if !reflect.DeepEqual(after.Entries, before.Entries) || after.Account.Totals != before.Account.Totals || after.Account.Head != before.Account.Head {
		t.Error("the journal or the balance has changed")
	}
	if len(after.Ops) != 3 || after.Lots[0].Pruned != 10-3+6 || !after.Account.PrunedTo.After(epoch) || !after.Account.PrunedTo.Before(young) {
		t.Errorf("kept are %v; lot %+v, account %+v", after.Ops, after.Lots[0], after.Account)
	}
	if got, err := r.Prune(t.Context(), nil); err != nil || got != (credits.Pruned{}) {
		t.Errorf("a second time: %+v, %v", got, err)
	}
	if again := r.snapshot(acme); !reflect.DeepEqual(again, after) {
		t.Error("with nothing to prune, something was written")
	}
	for _, cmd := range []any{
		grant(id("g"), 100), debit(id("d"), 10), refund(id("r"), id("d"), 3), refund("new", id("d"), 1), hold(id("captured"), 10), capture(id("captured"), 4),
		credits.Capture{Account: acme, Hold: id("captured"), Amount: 2, Keep: true, ID: id("c")}, release(id("released")), debit(id("refused"), 1),
		debit(uuid(epoch.Add(-time.Hour), 99), 1), debit(uuid(after.Account.PrunedTo, 99), 1), // never seen, and as old
	} {
		if err := r.refuse(cmd, credits.ErrKeyTooOld); kerrors.CodeOf(err) != kerrors.Conflict {
			t.Errorf("%+v: %v", cmd, err)
		}
	}
	for _, cmd := range []any{debit("my-id", 1), debit(ids["young"], 1), credits.Hold{Account: acme, ID: ids["open"], Amount: 5, TTL: credits.NoTimeout}} {
		if got := r.run(cmd); !got.Replayed {
			t.Errorf("%+v was done again", cmd)
		}
	}
	r.run(debit(uuid(after.Account.PrunedTo.Add(time.Millisecond), 100), 1))
	r.run(capture(ids["open"], 5))
	r.run(refund("r2", ids["open"], 2))
	r.refuse(refund("r3", "unknown", 2), credits.ErrNotFound)
}

func TestPruneGoesThroughManyAccountsAndPortions(t *testing.T) {
	r := newRig(t)
	n := 0
	for _, account := range []credits.AccountID{"a", "b", "c"} {
		for range 1100 {
			n++
			if _, err := r.Grant(t.Context(), credits.Grant{Account: account, ID: uuid(r.now(), n), Amount: 1}); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.add(2 * time.Hour)
	var told []credits.Pruned
	o := &credits.PruneOptions{Accounts: []credits.AccountID{"b", "nobody"}, MinAge: time.Hour, Progress: func(p credits.Pruned) { told = append(told, p) }}
	if got, err := r.Prune(t.Context(), o); err != nil || got != (credits.Pruned{Accounts: 1, Ops: 1100}) || len(told) != 1 || told[0] != got {
		t.Errorf("of one: %+v, %v, told %+v", got, err, told)
	}
	if a := r.snapshot("nobody").Account; a.Version != 0 {
		t.Errorf("an account was made: %+v", a)
	}
	o = &credits.PruneOptions{MinAge: time.Hour, Before: epoch.Add(-time.Millisecond)}
	if got, err := r.Prune(t.Context(), o); err != nil || got != (credits.Pruned{}) {
		t.Errorf("of what is older: %+v, %v", got, err)
	}
	o.Before = epoch
	if got, err := r.Prune(t.Context(), o); err != nil || got != (credits.Pruned{Accounts: 2, Ops: 2200}) {
		t.Errorf("of all: %+v, %v", got, err)
	}
}

func TestPruneRefusesWhatIsTooYoung(t *testing.T) {
	r := newRig(t)
	r.run(grant(uuid(r.now(), 1), 10))
	r.add(10 * 24 * time.Hour)
	for name, c := range map[string]struct {
		o    credits.PruneOptions
		says string
	}{
		"the future":            {credits.PruneOptions{Before: r.now().Add(time.Hour), MinAge: time.Hour}, "give 2026-02-10T11:00:00Z or earlier"},
		"now":                   {credits.PruneOptions{Before: r.now()}, "30 days"},
		"younger than MinAge":   {credits.PruneOptions{Before: r.now().Add(-time.Hour + time.Microsecond), MinAge: time.Hour}, "or earlier"},
		"a MinAge of less":      {credits.PruneOptions{MinAge: time.Hour - 1}, "MinAge is 59m"},
		"a MinAge below 0":      {credits.PruneOptions{MinAge: -time.Hour}, "MinAge is -1h"},
		"accounts that can not": {credits.PruneOptions{Accounts: []credits.AccountID{""}}, "is empty"},
		"an instant too early":  {credits.PruneOptions{Before: time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)}, "1900"},
	} {
		got, err := r.Prune(t.Context(), &c.o)
		if kerrors.CodeOf(err) != kerrors.Invalid || got.Ops != 0 || name != "now" && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if n := len(r.snapshot(acme).Ops); n != 1 {
		t.Errorf("%d ops are left", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Prune(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that is done: %v", err)
	}
}

// Whatever was pruned, and whenever a retry comes: it gets the first result, or
// is refused, and nothing is ever done twice.
func TestNothingIsEverDoneTwiceAfterPruning(t *testing.T) {
	refused, replayed, dropped := 0, 0, int64(0)
	for _, seed := range seeds(t) {
		rng := rand.New(rand.NewPCG(seed, 7))
		r := newRig(t)
		r.setBudget(credits.Budget{Account: acme, ID: "day", Amount: 200, Every: credits.Day})
		r.setBudget(credits.Budget{Account: acme, ID: "life", Amount: credits.MaxAmount})
		type accepted struct {
			cmd any
			got credits.Receipt
		}
		var done []accepted
		pick := func() credits.OpID { // of something, mostly recent
			if len(done) == 0 {
				return "none"
			}
			return done[max(0, len(done)-1-rng.IntN(30))].got.Op
		}
		for step := range 250 {
			r.add(time.Duration(rng.IntN(12)) * time.Minute)
			id := uuid(r.now().Add(-time.Duration(rng.IntN(3))*time.Second), step)
			if rng.IntN(10) == 0 {
				id = credits.OpID(fmt.Sprint("plain", step))
			}
			amount := credits.Amount(1 + rng.IntN(9))
			cmd := []any{
				grant(id, 20), debit(id, amount), debit(id, amount), hold(id, amount), credits.Hold{Account: acme, ID: id, Amount: amount, TTL: 3 * time.Hour},
				captureAll(pick()), capture(pick(), 1), release(pick()), refund(id, pick(), 1), credits.Refund{Account: acme, ID: id, Of: pick(), All: true},
				credits.Capture{Account: acme, Hold: pick(), Amount: 1, Keep: true, ID: id},
			}[rng.IntN(11)]
			if rng.IntN(10) == 0 { // a lease whose spends are debits like others
				lease := credits.AcquireLease{Account: acme, ID: id, Owner: "o", Min: 1, Want: 5, TTL: time.Minute}
				if _, err := r.AcquireLease(t.Context(), lease); err == nil {
					spent := uuid(r.now(), 1000+step)
					settle := credits.SettleLease{Account: acme, Lease: id, Owner: "o", Spends: []credits.LeaseSpend{{ID: spent, Amount: 1}}, Close: step%2 == 0}
					if got, err := r.SettleLease(t.Context(), settle); err != nil || got.Spends[0].Err != nil {
						t.Fatal(got, err)
					}
					cmd = debit(spent, 1) // is the same command, see LeaseSpend
				}
			}
			if got, err := r.try(cmd); err == nil && (!got.Replayed || got.Kind == credits.KindDebit) {
				done = append(done, accepted{cmd, got})
			}
			if rng.IntN(8) == 0 {
				got, err := r.Prune(t.Context(), &credits.PruneOptions{MinAge: time.Hour})
				if err != nil {
					t.Fatalf("seed %d step %d: %v", seed, step, err)
				}
				dropped += got.Ops
			}
			for range 2 {
				if len(done) == 0 {
					continue
				}
				first := done[rng.IntN(len(done))]
				before := r.snapshot(acme)
				got, err := r.try(first.cmd)
				after := r.snapshot(acme)
				if len(after.Entries) != len(before.Entries) && !onlyTime(after.Entries[len(before.Entries):]) {
					t.Fatalf("seed %d step %d: %+v was done again: %+v, %v", seed, step, first.cmd, got, err)
				}
				switch {
				case errors.Is(err, credits.ErrKeyTooOld):
					refused++
				case err == nil && got.Replayed && got.Op == first.got.Op && got.At.Equal(first.got.At) && got.Amount == first.got.Amount && got.Totals == first.got.Totals:
					replayed++
				case err == nil:
					t.Fatalf("seed %d step %d: %+v gave %+v and now gives %+v", seed, step, first.cmd, first.got, got)
				}
			}
			if _, err := r.Verify(t.Context(), nil); err != nil {
				t.Fatalf("seed %d step %d: %v", seed, step, err)
			}
		}
	}
	if refused < 50 || replayed < 50 || dropped < 100 {
		t.Errorf("%d refused, %d replayed, %d dropped: the run proves little", refused, replayed, dropped)
	}
}

// onlyTime reports whether all entries are what time does by itself.
func onlyTime(list []credits.Entry) bool {
	for _, e := range list {
		if e.Kind != credits.KindTimeout && e.Kind != credits.KindLapse && e.Kind != credits.KindExpire && e.Kind != credits.KindEffect {
			return false
		}
	}
	return true
}
