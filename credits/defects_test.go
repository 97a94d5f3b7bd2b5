package credits_test

import (
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
	kerrors "github.com/keytoll/keytoll/errors"
)

// Each test here is a defect that was found in the field, in some other ledger;
// docs/credits-defects.md lists them all.

// formance wallets, ConfirmHold with final: a release that credits a main balance
// turns credit that expires into credit that never does.
func TestReleaseGoesBackToTheExactLots(t *testing.T) {
	r := newRig(t)
	r.run(credits.Grant{Account: acme, ID: "promo", Amount: 5, Category: credits.Promo, ExpiresAt: epoch.Add(24 * time.Hour)})
	r.run(grant("paid", 5))
	h := r.run(hold("h", 8))
	if h.Parts.Len() != 2 || h.Parts.At(0) != (credits.Part{Lot: 1, Amount: 5}) || h.Parts.At(1) != (credits.Part{Lot: 2, Amount: 3}) {
		t.Fatalf("the hold took %+v", h.Parts)
	}
	// A capture spends what burns first and gives back what burns last.
	c := r.run(capture("h", 2))
	if c.Parts.At(0) != (credits.Part{Lot: 1, Amount: 5, Captured: 2, Released: 3}) || c.Parts.At(1) != (credits.Part{Lot: 2, Amount: 3, Released: 3}) {
		t.Errorf("the capture made it %+v", c.Parts)
	}
	lots := r.snapshot(acme).Lots
	if lots[0].Totals.Available != 3 || lots[1].Totals.Available != 5 {
		t.Errorf("lots after the capture: %+v", lots)
	}
	r.add(24 * time.Hour)
	r.balance(credits.Totals{Issued: 10, Available: 5, Consumed: 2, Expired: 3})
}

// formance wallets, ErrClosedHold: a check for "is the hold closed?" before the
// check for "is this a retry?"
// fails the retry of a capture that took everything.
func TestRetryOfAFullCaptureReplays(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 10))
	r.run(hold("h", 10))
	for _, c := range []credits.Capture{captureAll("h"), capture("h", 10)} {
		if got := r.run(c); got.Amount != 10 || got.Totals.Consumed != 10 {
			t.Errorf("%+v: %+v", c, got)
		}
	}
	for _, c := range []any{captureAll("h"), capture("h", 10)} {
		if got := r.run(c); !got.Replayed {
			t.Errorf("%+v was done again", c)
		}
	}
	r.refuse(capture("h", 9), credits.ErrSettled)
	r.refuse(release("h"), credits.ErrSettled)
}

// midaz-sdk-golang #236, formance wallets #109: a replay that ignores what is asked
// for hides a wrong amount. blnk's chain: fields that are joined without their
// lengths make two intents one.
func TestSameIDOtherIntentIsRefused(t *testing.T) {
	r := newRig(t)
	expires := epoch.Add(time.Hour)
	r.run(credits.Grant{Account: acme, ID: "g", Amount: 100, ExpiresAt: expires})
	r.run(credits.Hold{Account: acme, ID: "h", Amount: 5, TTL: time.Minute})
	r.run(debit("d", 5))
	r.run(refund("r", "d", 2))
	for _, cmd := range []any{
		credits.Grant{Account: acme, ID: "g", Amount: 101, ExpiresAt: expires},
		credits.Grant{Account: acme, ID: "g", Amount: 100},
		credits.Grant{Account: acme, ID: "g", Amount: 100, ExpiresAt: expires, Priority: 1},
		credits.Grant{Account: acme, ID: "g", Amount: 100, ExpiresAt: expires, Category: credits.Promo},
		credits.Grant{Account: acme, ID: "g", Amount: 100, ExpiresAt: expires, EffectiveAt: epoch},
		credits.Grant{Account: acme, ID: "g", Amount: 100, ExpiresAt: expires, Note: "x"},
		credits.Hold{Account: acme, ID: "h", Amount: 6, TTL: time.Minute},
		credits.Hold{Account: acme, ID: "h", Amount: 5},
		credits.Hold{Account: acme, ID: "h", Amount: 5, TTL: time.Minute, Key: "k"},
		credits.Hold{Account: acme, ID: "h", Amount: 5, TTL: time.Minute, Operation: "k"},
		debit("d", 6), debit("h", 5), hold("d", 5), debit("g", 100),
		credits.Debit{Account: acme, ID: "d", Amount: 5, Key: "ab", Operation: "c"},
		refund("r", "d", 3), refund("r", "h", 2),
		credits.Refund{Account: acme, ID: "r", Of: "d", All: true},
	} {
		if err := r.refuse(cmd, credits.ErrIntent); kerrors.CodeOf(err) != kerrors.Conflict {
			t.Errorf("%+v: code %v", cmd, kerrors.CodeOf(err))
		}
	}
	r.run(credits.Debit{Account: acme, ID: "d2", Amount: 5, Key: "ab", Operation: "c"})
	r.refuse(credits.Debit{Account: acme, ID: "d2", Amount: 5, Key: "a", Operation: "bc"}, credits.ErrIntent)
}

// eliza #22681: a provider's price of -1 made "reserved minus actual" mint 31 348
// credits.
func TestNegativeAmountsAreRefused(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 10))
	r.run(hold("h", 5))
	r.run(debit("d", 1))
	for _, n := range []credits.Amount{-1, -credits.Credit, -credits.MaxAmount, -1 << 63} {
		for _, cmd := range []any{
			grant("x", n), hold("x", n), debit("x", n), capture("h", n), refund("x", "d", n),
			credits.Capture{Account: acme, Hold: "h", Amount: n, Keep: true, ID: "x"},
		} {
			before := r.snapshot(acme).Account
			if _, err := r.try(cmd); kerrors.CodeOf(err) != kerrors.Invalid {
				t.Errorf("%+v: %v", cmd, err)
			}
			if after := r.snapshot(acme).Account; after != before {
				t.Errorf("%+v has changed the account", cmd)
			}
		}
		if _, err := (credits.Price{Amount: n, Per: 1}).Of(1); kerrors.CodeOf(err) != kerrors.Invalid {
			t.Errorf("a price of %v: %v", n, err)
		}
		if _, err := (credits.Price{Amount: 1, Per: 1}).Of(int64(n)); kerrors.CodeOf(err) != kerrors.Invalid {
			t.Errorf("%v units: %v", n, err)
		}
	}
	r.balance(credits.Totals{Issued: 10, Available: 4, Held: 5, Consumed: 1})
}

// preloop #767: credit that a live hold has set aside is not spendable, so it
// cannot expire.
func TestExpirySparesWhatIsHeld(t *testing.T) {
	r := newRig(t)
	r.run(credits.Grant{Account: acme, ID: "g", Amount: 10, ExpiresAt: epoch.Add(time.Minute)})
	r.run(hold("all", 10))
	r.add(5 * time.Minute)
	r.balance(credits.Totals{Issued: 10, Held: 10})
	r.run(debit("touch", 0))
	if n := len(r.snapshot(acme).Entries); n != 2 {
		t.Errorf("%d entries: something was posted for a lot that is fully held", n)
	}
	r.run(capture("all", 7))
	r.balance(credits.Totals{Issued: 10, Consumed: 7, Expired: 3})
	last := r.snapshot(acme).Entries[3]
	if last.Kind != credits.KindRelease || last.From != credits.BucketHeld || last.To != credits.BucketExpired {
		t.Errorf("the rest of an expired lot went %v -> %v", last.From, last.To)
	}
}

// Matrix-OS PR #1459: a hold that is settled after its lot has expired was charged or refused
// depending on whether some other request had swept the lot before.
func TestSettlementAfterExpiryDoesNotDependOnOtherRequests(t *testing.T) {
	for _, settle := range []any{capture("h", 4), captureAll("h"), release("h")} {
		var got []credits.Totals
		for _, touches := range []int{0, 1, 3} {
			r := newRig(t)
			r.run(credits.Grant{Account: acme, ID: "g", Amount: 10, ExpiresAt: epoch.Add(time.Minute)})
			r.run(hold("h", 6))
			r.add(time.Minute)
			for i := range touches {
				r.run(debit(credits.OpID(rune('a'+i)), 0))
				r.add(time.Second)
			}
			got = append(got, r.run(settle).Totals)
		}
		if got[0] != got[1] || got[0] != got[2] || got[0].Available != 0 {
			t.Errorf("%+v: %+v", settle, got)
		}
	}
}

// new-api #5556, eliza #11603 and #11292: amount and status in two transactions
// gave three refunds for one payment.
func TestRefundIsIdempotentAndBounded(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 10))
	r.run(debit("d", 8))
	r.refuse(refund("r0", "d", 9), credits.ErrOverRefund)
	for i := range 3 {
		if got := r.run(refund("r1", "d", 5)); got.Replayed != (i > 0) || got.Totals.Available != 7 {
			t.Errorf("refund %d: %+v", i, got)
		}
	}
	r.refuse(refund("r2", "d", 4), credits.ErrOverRefund)
	r.run(credits.Refund{Account: acme, ID: "r3", Of: "d", All: true})
	r.refuse(refund("r4", "d", 1), credits.ErrOverRefund)
	r.refuse(credits.Refund{Account: acme, ID: "r5", Of: "d", All: true}, credits.ErrOverRefund)
	r.refuse(refund("r6", "g", 1), credits.ErrNotFound)
	r.refuse(refund("r7", "r1", 1), credits.ErrNotFound)
	r.refuse(refund("r8", "nothing", 1), credits.ErrNotFound)
	r.run(hold("h", 5))
	r.refuse(refund("r9", "h", 1), credits.ErrOverRefund)
	r.balance(credits.Totals{Issued: 10, Available: 5, Held: 5})
}

// autumn: refunds in today's order, and not in that of the spend, let buckets
// drift.
func TestRefundUnwindsTheRecordedOrder(t *testing.T) {
	r := newRig(t)
	r.run(grant("first", 3))
	r.run(grant("second", 3))
	r.run(debit("d", 5)) // 3 of lot 1, 2 of lot 2
	r.run(credits.Grant{Account: acme, ID: "urgent", Amount: 5, Priority: -5})
	got := r.run(refund("r", "d", 3))
	if got.Parts.At(0) != (credits.Part{Lot: 2, Amount: 2}) || got.Parts.At(1) != (credits.Part{Lot: 1, Amount: 1}) {
		t.Errorf("refunded to %+v", got.Parts)
	}
}

// A refund into a lot that has expired is either lost at once or lives for ever.
func TestRefundOfAnExpiredLotLivesAsLongAsItHadLeft(t *testing.T) {
	r := newRig(t)
	r.run(credits.Grant{Account: acme, ID: "g", Amount: 10, Priority: 3, Category: credits.Promo, ExpiresAt: epoch.Add(10 * time.Hour)})
	r.add(4 * time.Hour) // six hours are left when it is spent
	r.run(debit("d", 10))
	r.add(20 * time.Hour)
	got := r.run(refund("r", "d", 4))
	r.balance(credits.Totals{Issued: 10, Available: 4, Consumed: 6})
	lots := r.snapshot(acme).Lots
	heir := lots[got.Parts.At(0).Lot-1]
	if len(lots) != 2 || heir.ID != 2 || heir.Op != "r" || heir.Priority != 3 || heir.Category != credits.Promo ||
		!heir.ExpiresAt.Equal(epoch.Add(30*time.Hour)) || heir.Totals != (credits.Totals{Issued: 4, Available: 4}) {
		t.Errorf("the new lot: %+v", heir)
	}
	if lots[0].Totals != (credits.Totals{Issued: 6, Consumed: 6}) {
		t.Errorf("the old lot: %+v", lots[0])
	}
	r.add(6*time.Hour - time.Microsecond)
	r.balance(credits.Totals{Issued: 10, Available: 4, Consumed: 6})
	r.add(time.Microsecond)
	r.balance(credits.Totals{Issued: 10, Consumed: 6, Expired: 4})
}

// elizaOS #11696: sweeper and late settler with a key each both gave the credit
// back.
func TestHoldTimesOutOnceAndLateSettlementsAreRefused(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 10))
	r.run(credits.Hold{Account: acme, ID: "h", Amount: 6, TTL: time.Minute})
	r.run(credits.Hold{Account: acme, ID: "in time", Amount: 1, TTL: time.Minute})
	r.run(credits.Capture{Account: acme, Hold: "h", Amount: 2, Keep: true, ID: "part"})
	r.add(time.Minute - time.Microsecond)
	r.run(captureAll("in time"))
	r.add(time.Microsecond)
	r.balance(credits.Totals{Issued: 10, Available: 7, Consumed: 3})
	for range 2 { // not posted, and then posted
		for _, late := range []any{
			captureAll("h"), capture("h", 4), capture("h", 0), release("h"),
			credits.Capture{Account: acme, Hold: "h", Amount: 1, Keep: true, ID: "late"},
		} {
			r.refuse(late, credits.ErrTimedOut)
		}
		r.run(debit("touch", 0))
	}
	r.balance(credits.Totals{Issued: 10, Available: 7, Consumed: 3})
	o := r.snapshot(acme).Ops["h"]
	if o.Hold != credits.HoldTimedOut || !o.SettledAt.Equal(epoch.Add(time.Minute)) || o.SettledRest != 4 || o.SettledAmount != 0 {
		t.Errorf("the hold's terminal record: %+v", o)
	}
	r.run(refund("r", "h", 2)) // what was captured in time can be refunded
	r.balance(credits.Totals{Issued: 10, Available: 9, Consumed: 1})
}

// tigerbeetle #253 and #288: a time-out that cannot be left out breaks promises
// that were made elsewhere.
func TestHoldWithoutTimeoutStaysOpen(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 10))
	r.run(credits.Hold{Account: acme, ID: "h", Amount: 6, TTL: credits.NoTimeout})
	r.add(10 * 365 * 24 * time.Hour)
	r.balance(credits.Totals{Issued: 10, Available: 4, Held: 6})
	r.run(captureAll("h"))
}

// A hold that times out after its lot has expired, and before anybody looks.
func TestTimeoutAndExpiryAreOrderedByTheirInstants(t *testing.T) {
	for name, c := range map[string]struct {
		ttl   time.Duration
		kinds []credits.Kind
		to    credits.Bucket
	}{
		"the hold first": {time.Hour, []credits.Kind{credits.KindGrant, credits.KindHold, credits.KindTimeout, credits.KindExpire}, credits.BucketAvailable},
		"the lot first":  {3 * time.Hour, []credits.Kind{credits.KindGrant, credits.KindHold, credits.KindExpire, credits.KindTimeout}, credits.BucketExpired},
		"at once":        {2 * time.Hour, []credits.Kind{credits.KindGrant, credits.KindHold, credits.KindExpire, credits.KindTimeout}, credits.BucketExpired},
	} {
		r := newRig(t)
		r.run(credits.Grant{Account: acme, ID: "g", Amount: 10, ExpiresAt: epoch.Add(2 * time.Hour)})
		r.run(credits.Hold{Account: acme, ID: "h", Amount: 6, TTL: c.ttl})
		r.add(4 * time.Hour)
		r.run(debit("touch", 0))
		r.balance(credits.Totals{Issued: 10, Expired: 10})
		for i, e := range r.snapshot(acme).Entries {
			if e.Kind != c.kinds[i] || e.Kind == credits.KindTimeout && e.To != c.to {
				t.Errorf("%s: entry %d is %v, %v -> %v", name, i, e.Kind, e.From, e.To)
			}
		}
	}
}

// blnk #181: six holds of 1000 on a balance of 5000; what is held must count.
// blnk #182: a hold that was refused could be committed.
func TestOpenHoldsCountAgainstTheBalance(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 5000))
	for i := range 5 {
		r.run(hold(credits.OpID(rune('a'+i)), 1000))
	}
	r.refuse(hold("f", 1000), credits.ErrInsufficient)
	r.refuse(captureAll("f"), credits.ErrNotFound) // a refused hold cannot be captured
	r.refuse(release("f"), credits.ErrNotFound)
	r.refuse(captureAll("g"), credits.ErrNotFound) // nor can what is no hold
	r.refuse(capture("a", 1001), credits.ErrOverHold)
	r.run(release("a"))
	r.run(hold("f", 1000)) // a hold that was refused may be tried again
}

// tyemirov/ledger B001: dropping an expired grant from the sum while its spends stay
// made the total negative, and ate the next paid grant.
func TestExpiredGrantDoesNotEatLaterOnes(t *testing.T) {
	r := newRig(t)
	r.run(credits.Grant{Account: acme, ID: "promo", Amount: 10, ExpiresAt: epoch.Add(time.Hour)})
	r.run(debit("d", 8))
	r.add(time.Hour)
	r.run(grant("paid", 5))
	r.balance(credits.Totals{Issued: 15, Available: 5, Consumed: 8, Expired: 2})
	r.refuse(debit("d2", 6), credits.ErrInsufficient)
	r.run(debit("d3", 5))
}
