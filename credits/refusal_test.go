package credits_test

import (
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
	kerrors "github.com/keytoll/keytoll/errors"
)

// A refusal says what was asked for and what there was, in figures that are
// right.
func TestRefusalsTellTheFigures(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 30*credits.Credit))
	r.run(hold("h", 5*credits.Credit))
	r.run(credits.Hold{Account: acme, ID: "owes", Amount: 25 * credits.Credit, Overrun: credits.OverrunDebt, DebtLimit: 4 * credits.Credit})
	r.run(capture("owes", 28*credits.Credit)) // 3 are owed
	r.run(credits.Hold{Account: acme, ID: "more", Overrun: credits.OverrunDebt, DebtLimit: 4 * credits.Credit})
	r.run(debit("d0", 0))
	for _, c := range []struct {
		cmd  any
		says string
	}{
		{capture("h", 7*credits.Credit), "7 credits asked for, 5 held"},
		{credits.Capture{Account: acme, Hold: "h", Amount: 6 * credits.Credit, Keep: true, ID: "c"}, "6 credits asked for, 5 held"},
		{capture("more", 2*credits.Credit), "5 credits would be owed; at most 4 may be"},
		{refund("r", "owes", 29*credits.Credit), "28 credits can be refunded"},
		{refund("r", "h", credits.Credit), "0 credits can be refunded"},
		{grant("g2", credits.MaxAmount), "33 credits are issued and owed; at most " + credits.MaxAmount.String() + " can be"},
		{captureAll("nothing"), `no hold "nothing"`},
		{refund("r", "nothing", 1), `"nothing"`},
	} {
		_, err := r.try(c.cmd)
		if text := kerrors.MessageOf(err); err == nil || !strings.Contains(text, c.says) {
			t.Errorf("%+v: %q does not say %q", c.cmd, text, c.says)
		}
	}
	r.run(capture("h", 4*credits.Credit))
	r.run(credits.Hold{Account: acme, ID: "late", Amount: 0, TTL: time.Minute})
	r.add(time.Hour)
	for _, c := range []struct {
		cmd  any
		says string
	}{
		{capture("h", 3*credits.Credit), "it was captured at 4 credits"},
		{release("h"), "it was captured at 4 credits"},
		{captureAll("late"), "its deadline was 2026-01-31T12:01:00Z"},
	} {
		_, err := r.try(c.cmd)
		if text := kerrors.MessageOf(err); err == nil || !strings.Contains(text, c.says) {
			t.Errorf("%+v: %q does not say %q", c.cmd, text, c.says)
		}
	}
}
