package credits_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
	kerrors "github.com/keytoll/keytoll/errors"
)

// denial runs a command that must be denied and change nothing, and returns why.
func (r *rig) denial(cmd any) credits.DeniedError {
	r.t.Helper()
	d, ok := errors.AsType[*credits.DeniedError](r.refuse(cmd, credits.ErrInsufficient))
	if !ok {
		r.t.Fatalf("%+v: no DeniedError", cmd)
	}
	return *d
}

func TestDenialsSayWhatHasNoRoom(t *testing.T) {
	r := newRigWith(t, &credits.Options{MaxHolds: 2})
	r.run(grant("g", 100))
	r.run(credits.Grant{Account: acme, ID: "chat", Amount: 50, Only: credits.Only("chat")})
	r.run(credits.Grant{Account: acme, ID: "later", Amount: 7, EffectiveAt: epoch.Add(time.Hour)})
	r.run(acquire("l", 20))
	r.run(hold("h", 30))
	for name, c := range map[string]struct {
		cmd  any
		want credits.DeniedError
	}{
		"within what is held and leased": {debit("a", 51), credits.DeniedError{Source: credits.SourceLeases, Need: 51, Available: 50, Transient: true}},
		"all that is leased":             {hold("b", 70), credits.DeniedError{Source: credits.SourceLeases, Need: 70, Available: 50, Transient: true}},
		"a lease":                        {credits.AcquireLease{Account: acme, ID: "l2", Owner: "o", Min: 60, Want: 60}, credits.DeniedError{Source: credits.SourceLeases, Need: 60, Available: 50, Transient: true}},
		"more than leases have":          {debit("c", 71), credits.DeniedError{Source: credits.SourceBalance, Need: 71, Available: 50, Transient: true}},
		"all that is held and leased":    {debit("d", 100), credits.DeniedError{Source: credits.SourceBalance, Need: 100, Available: 50, Transient: true}},
		"more than will come back":       {debit("e", 101), credits.DeniedError{Source: credits.SourceBalance, Need: 101, Available: 50}},
		"more, for another operation": {
			credits.Debit{Account: acme, ID: "f", Amount: 151, Operation: "chat"},
			credits.DeniedError{Source: credits.SourceBalance, Need: 151, Available: 100},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r.t = t
			c.want.Account, c.want.At, c.want.Held, c.want.Leased, c.want.Pending = acme, epoch, 30, 20, 7
			if got := r.denial(c.cmd); withoutTimes(got) != c.want {
				t.Errorf("denied by %+v; want %+v", got, c.want)
			}
		})
	}
	r.t = t
	r.run(credits.Debit{Account: acme, ID: "chat too", Amount: 100, Operation: "chat"})
	r.run(hold("h2", 0))
	if got := r.denial(hold("h3", 0)); got.Source != credits.SourceHolds || !got.Transient || !strings.Contains(got.Error(), "holds") {
		t.Errorf("denied by %+v", got)
	}
	if got := r.denial(hold("h3", 1000)); got.Source != credits.SourceBalance {
		t.Errorf("of balance and holds it tells %v", got.Source)
	}
	if got := r.denial(hold("h3", 5)); got.Source != credits.SourceHolds {
		t.Errorf("of holds and leases it tells %v", got.Source)
	}
	r.run(release("h2"))
	r.run(hold("h3", 0)) // a denied hold may be tried again
}

// withoutTimes returns d without what time alone will bring.
func withoutTimes(d credits.DeniedError) credits.DeniedError {
	d.ClearsAt, d.NextGrantAt = time.Time{}, time.Time{}
	return d
}

func TestMaxHoldsCountsOpenHoldsOnly(t *testing.T) {
	r := newRigWith(t, &credits.Options{MaxHolds: 2})
	r.run(grant("g", 100))
	r.run(acquire("l", 5)) // leases do not count
	r.run(credits.Hold{Account: acme, ID: "a", Amount: 1, TTL: time.Minute})
	r.run(hold("b", 1))
	r.denial(hold("c", 1))
	r.run(hold("b", 1)) // a retry is no other hold
	r.run(debit("d", 1))
	r.add(time.Minute) // one has timed out, though nobody has posted it
	r.run(hold("c", 1))
	r.denial(hold("e", 1))
	r.run(captureAll("b"))
	r.run(hold("e", 1))
	if n := r.snapshot(acme).Account.Holds; n != 2 {
		t.Errorf("%d holds are open", n)
	}
}

// tigerbeetle, id_already_failed: a transfer that has failed succeeds when it is
// retried later, and by then somebody else was told that it has not.
func TestADeniedDebitStaysDenied(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 10))
	r.run(hold("h", 6))
	r.run(acquire("l", 1))
	r.run(credits.Grant{Account: acme, ID: "later", Amount: 7, EffectiveAt: epoch.Add(time.Hour)})
	debits := []credits.Debit{
		{Account: acme, ID: "transient", Amount: 9, Key: "k", Operation: "o", Price: "v1", Note: "n"},
		{Account: acme, ID: "leases", Amount: 4},
		{Account: acme, ID: "never", Amount: 11},
	}
	var denials []credits.DeniedError
	for _, d := range debits {
		first := r.denial(d)
		denials = append(denials, first)
		if first.Replayed {
			t.Errorf("the first denial is told as a replay: %+v", first)
		}
		o := r.snapshot(acme).Ops[d.ID]
		if o.Kind != credits.KindDebit || o.Denied != first.Source || o.Amount != d.Amount || o.Parts.Len() != 0 || o.Key != d.Key || o.Price != d.Price || o.Note != d.Note {
			t.Errorf("filed as %+v", o)
		}
	}
	r.run(grant("more", 1000)) // there is enough now
	r.add(2 * time.Hour)
	for i, d := range debits {
		first, again := denials[i], r.denial(d)
		first.Replayed = true
		first.ClearsAt, first.NextGrantAt = epoch.Add(2*time.Hour), time.Time{} // seen from now: another id would be paid
		if again != first {
			t.Errorf("a retry is denied by\n%+v; at first by\n%+v", again, first)
		}
		if code := kerrors.CodeOf(&again); code != kerrors.Insufficient {
			t.Errorf("of code %v", code)
		}
		other := d
		other.Amount = 1
		r.refuse(other, credits.ErrIntent)
		r.refuse(grant(d.ID, 1), credits.ErrIntent)
		r.refuse(hold(d.ID, d.Amount), credits.ErrIntent)
		r.refuse(credits.Refund{Account: acme, ID: "r", Of: d.ID, All: true}, credits.ErrNotFound)
		other.ID += " anew"
		other.Amount = d.Amount
		r.run(other)
	}
}

// A debit may be denied before its account has a row.
func TestADebitOfNobodyStaysDenied(t *testing.T) {
	r := newRig(t)
	r.denial(debit("d", 1))
	if s := r.snapshot(acme); s.Account != (credits.Account{ID: acme}) || len(s.Ops) != 1 {
		t.Errorf("left %+v", s)
	}
	r.run(grant("g", 10))
	if d := r.denial(debit("d", 1)); !d.Replayed {
		t.Errorf("denied by %+v", d)
	}
	r.balance(credits.Totals{Issued: 10, Available: 10})
}

// What is due when a debit is denied is posted with its record, as it is with any
// other; whether it was changes no result.
func TestADenialPostsWhatIsDueAndNothingElse(t *testing.T) {
	var ends []contents
	for _, id := range []credits.OpID{"denied", "idle"} {
		r := newRig(t)
		r.run(credits.Grant{Account: acme, ID: "g", Amount: 10, ExpiresAt: epoch.Add(time.Hour)})
		r.run(credits.Hold{Account: acme, ID: "h", Amount: 6, TTL: time.Minute})
		r.add(2 * time.Hour)
		if id == "idle" {
			r.run(debit(id, 0))
		} else if _, err := r.try(debit(id, 5)); !errors.Is(err, credits.ErrInsufficient) {
			t.Fatal(err)
		}
		end := r.snapshot(acme)
		delete(end.Ops, id)
		end.Account.At = time.Time{} // the idle debit is of now, the denied one changes no account
		ends = append(ends, end)
	}
	if !reflect.DeepEqual(ends[0], ends[1]) {
		t.Errorf("denied:\n%+v\nidle:\n%+v", ends[0], ends[1])
	}
}

func TestIDsOfTheLedgerItself(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 10))
	r.run(hold("h", 1))
	for _, cmd := range []any{
		grant("@monthly#3", 1), hold("@", 1), debit("@x", 1), refund("@x", "h", 1), keep("@x", "h", 1), acquire("@x", 1),
	} {
		if _, err := r.try(cmd); kerrors.CodeOf(err) != kerrors.Invalid || !strings.Contains(err.Error(), "begin") {
			t.Errorf("%+v: %v", cmd, err)
		}
	}
}

// After pruning nobody knows what an old id was for: it must not be done again.
func TestAnIDThatMayHaveBeenPrunedIsRefused(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 100))
	r.run(hold("h", 50))
	old, fresh := credits.OpID("019c0000-0000-7000-8000-000000000001"), credits.OpID("019d0000-0000-7000-8000-000000000001")
	r.run(debit("a debit", 5))
	err := r.store.Update(t.Context(), []credits.Need{{Account: acme}}, func(_ time.Time, states []*credits.State) error {
		states[0].Account.PrunedTo = time.UnixMilli(0x019c_0000_0000).UTC()
		states[0].AccountChange = credits.Updated
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, cmd := range []any{
		grant(old, 1), hold(old, 1), debit(old, 1), refund(old, "a debit", 1), keep(old, "h", 1), acquire(old, 1),
		credits.ResolveLease{Account: acme, ID: old, Lease: "l", All: true, To: credits.BucketConsumed, Note: "n"},
		captureAll(old), release(old), extend(old, 0), refund("r", old, 1), // whose target may have been pruned
	} {
		if err := r.refuse(cmd, credits.ErrKeyTooOld); kerrors.CodeOf(err) != kerrors.Conflict {
			t.Errorf("%+v: %v", cmd, err)
		}
	}
	for _, id := range []credits.OpID{fresh, "no UUID", "019c0000-0000-4000-8000-000000000001"} {
		r.run(debit(id, 1))
	}
}
