package credits_test

import (
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
)

func debitFor(operation string, id credits.OpID, amount credits.Amount) credits.Debit {
	return credits.Debit{Account: acme, ID: id, Amount: amount, Operation: operation}
}

func TestRestrictedLotsPayForTheirOperationsAlone(t *testing.T) {
	r := newRig(t)
	r.run(grant("any", 10))
	r.run(credits.Grant{Account: acme, ID: "both", Amount: 10, Only: credits.Only("image", "chat")})
	r.run(credits.Grant{Account: acme, ID: "image", Amount: 10, Only: credits.Only("image"), Priority: -1})
	r.run(credits.Grant{Account: acme, ID: "video", Amount: 10, Only: credits.Only("video")})
	r.balance(credits.Totals{Issued: 40, Available: 40})
	for _, c := range []struct {
		operation string
		available credits.Amount
	}{{"", 10}, {"sound", 10}, {"imag", 10}, {"image", 30}, {"chat", 20}, {"video", 20}} {
		d := r.denial(debitFor(c.operation, credits.OpID("too much "+c.operation), c.available+1))
		if d.Available != c.available || d.Need != c.available+1 || d.Transient {
			t.Errorf("for %q: %+v", c.operation, d)
		}
	}
	// Lower priority first; of one priority what is for some operations only.
	got := r.run(debitFor("image", "d", 25))
	if !got.Parts.Equal(credits.NewParts(
		credits.Part{Lot: 3, Amount: 10, Captured: 10}, credits.Part{Lot: 2, Amount: 10, Captured: 10}, credits.Part{Lot: 1, Amount: 5, Captured: 5})) {
		t.Errorf("burnt %+v", got.Parts)
	}
	h := hold("h", 6)
	r.denial(h)
	h.Operation, h.ID = "video", "h2"
	r.run(h)
	r.run(release("h2"))
	r.balance(credits.Totals{Issued: 40, Available: 15, Consumed: 25})
}

func TestTheHeirOfARestrictedLotIsRestricted(t *testing.T) {
	r := newRig(t)
	if _, err := r.SetSchedule(t.Context(), credits.Schedule{
		Account: acme, ID: "monthly", Amount: 10, Unit: credits.Hours, Every: 1, Anchor: epoch, Only: credits.Only("image"), Until: epoch.Add(time.Hour),
	}); err != nil {
		t.Fatal(err)
	}
	r.run(debitFor("image", "d", 10))
	r.add(2 * time.Hour)
	r.run(refund("r", "d", 4))
	lots := r.snapshot(acme).Lots
	if lots[0].Schedule != "monthly" {
		t.Fatalf("the schedule's lot: %+v", lots[0])
	}
	heir := lots[len(lots)-1]
	if heir.Op != "r" || heir.Only != credits.Only("image") || heir.Schedule != "" || heir.Totals.Available != 4 {
		t.Errorf("the heir: %+v", heir)
	}
	r.denial(debit("d2", 1))
	r.run(debitFor("image", "d3", 4))
}
