package credits_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// lateHold is a hold of a minute that may be charged after it.
func lateHold(id credits.OpID, amount credits.Amount, o credits.Overrun, limit credits.Amount) credits.Hold {
	return credits.Hold{
		Account: acme, ID: id, Amount: amount, TTL: time.Minute, Overrun: o, DebtLimit: limit, Late: credits.LateCharged,
	}
}

func TestLateCaptureSpendsWhatIsAvailable(t *testing.T) {
	for name, c := range map[string]struct {
		overrun credits.Overrun
		limit   credits.Amount
		spent   credits.Amount // by somebody else, of the 10 that the time-out leaves
		cmd     credits.Capture
		charged credits.Amount
		debt    credits.Amount
		refused error
	}{
		"all of it":                       {cmd: captureAll("h"), charged: 6},
		"some of it":                      {cmd: capture("h", 4), charged: 4},
		"nothing":                         {cmd: capture("h", 0)},
		"exactly what is left":            {spent: 4, cmd: captureAll("h"), charged: 6},
		"more than is left":               {spent: 5, cmd: captureAll("h"), refused: credits.ErrTimedOut},
		"less than is left":               {spent: 5, cmd: capture("h", 5), charged: 5},
		"more than was held":              {cmd: capture("h", 7), refused: credits.ErrOverHold},
		"capped, all":                     {overrun: credits.OverrunCapped, spent: 8, cmd: captureAll("h"), charged: 2},
		"capped, more than was held":      {overrun: credits.OverrunCapped, cmd: capture("h", 9), charged: 9},
		"capped, more than there is":      {overrun: credits.OverrunCapped, cmd: capture("h", 90), charged: 10},
		"capped, nothing left":            {overrun: credits.OverrunCapped, spent: 10, cmd: captureAll("h")},
		"debt, nothing left":              {overrun: credits.OverrunDebt, limit: 6, spent: 10, cmd: captureAll("h"), charged: 6, debt: 6},
		"debt, some left":                 {overrun: credits.OverrunDebt, limit: 6, spent: 8, cmd: capture("h", 8), charged: 8, debt: 6},
		"debt, more than its limit":       {overrun: credits.OverrunDebt, limit: 6, spent: 8, cmd: capture("h", 9), refused: credits.ErrOverHold},
		"debt, more than was held, there": {overrun: credits.OverrunDebt, limit: 1, cmd: capture("h", 10), charged: 10},
	} {
		t.Run(name, func(t *testing.T) {
			var results []credits.Receipt
			var ends []contents
			for _, posted := range []bool{false, true} {
				r := newRig(t)
				r.run(grant("g", 10))
				r.run(lateHold("h", 6, c.overrun, c.limit))
				r.add(time.Minute)
				if posted { // the same command is not posted twice, and others are there
					r.run(debit("touch", 0))
				}
				r.run(debit("other", c.spent))
				if c.refused != nil {
					r.refuse(c.cmd, c.refused)
					r.refuse(release("h"), credits.ErrTimedOut)
					if o := r.snapshot(acme).Ops["h"]; o.Hold != credits.HoldTimedOut {
						t.Errorf("the hold is %v", o.Hold)
					}
					continue
				}
				got := r.run(c.cmd)
				if got.Amount != c.charged || got.Hold != credits.HoldCaptured || got.Totals.Consumed != c.spent+c.charged || got.Totals.Debt != c.debt {
					t.Errorf("receipt %+v", got)
				}
				results = append(results, got)
				r.again(c.cmd, got)
				r.refuse(release("h"), credits.ErrSettled)
				if c.cmd.Amount == 6 || c.cmd.All { // which are the same
					r.again(captureAll("h"), got)
					r.again(capture("h", 6), got)
				} else {
					r.refuse(captureAll("h"), credits.ErrSettled)
				}
				if c.cmd.Amount != 5 && c.cmd.Amount != c.charged {
					r.refuse(capture("h", 5), credits.ErrSettled)
				}
				r.refuse(keep("part", "h", 1), credits.ErrSettled)
				end := r.snapshot(acme)
				delete(end.Ops, "touch")
				end.Account.Version = 0 // a touch is an update more
				ends = append(ends, end)
				if c.charged > 0 {
					r.run(credits.Refund{Account: acme, ID: "r", Of: "h", All: true})
					r.balance(credits.Totals{Issued: 10, Available: 10 - c.spent, Consumed: c.spent})
				}
			}
			if c.refused == nil && (!reflect.DeepEqual(results[0], results[1]) || !reflect.DeepEqual(ends[0], ends[1])) {
				t.Errorf("it matters whether the time-out had been posted:\n%+v\n%+v\n%+v\n%+v", results[0], results[1], ends[0], ends[1])
			}
		})
	}
}

// Matrix-OS PR #1459: whether a command comes between the deadline and the capture, and how many,
// must not decide what is charged.
func TestLateCaptureDoesNotDependOnOtherRequests(t *testing.T) {
	var first contents
	for touches := range 3 {
		r := newRig(t)
		r.run(credits.Grant{Account: acme, ID: "soon", Amount: 6, ExpiresAt: epoch.Add(90 * time.Second)})
		r.run(grant("paid", 5))
		r.run(lateHold("h", 6, credits.OverrunDebt, 10))
		r.add(2 * time.Minute) // timed out, and then what it gave back has expired
		for i := range touches {
			r.run(debit(credits.OpID(rune('a'+i)), 0))
		}
		r.run(captureAll("h"))
		r.balance(credits.Totals{Issued: 11, Consumed: 6, Expired: 6, Debt: 1})
		after := r.snapshot(acme)
		if touches == 0 {
			first = after
			continue
		}
		if !reflect.DeepEqual(after.Entries, first.Entries) || !reflect.DeepEqual(after.Ops["h"], first.Ops["h"]) || !reflect.DeepEqual(after.Lots, first.Lots) {
			t.Errorf("with %d commands between:\n%+v\nwithout:\n%+v", touches, after, first)
		}
	}
}

func TestALateCaptureIsFinal(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 10))
	r.run(lateHold("h", 6, credits.OverrunCapped, 0))
	r.run(keep("in time", "h", 2))
	r.add(time.Minute)
	r.refuse(keep("too late", "h", 1), credits.ErrTimedOut)
	r.refuse(credits.Extend{Account: acme, Hold: "h"}, credits.ErrTimedOut)
	got := r.run(captureAll("h")) // of the 4 that were left
	if got.Amount != 4 {
		t.Errorf("charged %v", got.Amount)
	}
	r.again(captureAll("h"), got)
	r.balance(credits.Totals{Issued: 10, Available: 4, Consumed: 6})
	o := r.snapshot(acme).Ops["h"]
	if o.Hold != credits.HoldCaptured || !o.SettledAt.Equal(epoch.Add(time.Minute)) || o.SettledAmount != 4 || o.SettledRest != 4 {
		t.Errorf("the hold's terminal record: %+v", o)
	}
	if a := r.snapshot(acme).Account; a.Holds != 0 {
		t.Errorf("%d holds are open", a.Holds)
	}
}

func TestLateCaptureIsRefusedByDefault(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 10))
	h := holdWith("h", 6, credits.OverrunDebt, 10)
	h.TTL = time.Minute
	r.run(h)
	r.add(time.Minute)
	r.refuse(captureAll("h"), credits.ErrTimedOut)
	r.refuse(capture("h", 0), credits.ErrTimedOut)
	r.balance(credits.Totals{Issued: 10, Available: 10})
}

// A capture in time of a hold that could be charged late is like any other.
func TestInTimeTheLatePolicyChangesNothing(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 10))
	r.run(lateHold("h", 6, credits.OverrunRefused, 0))
	r.add(time.Minute - time.Microsecond)
	r.refuse(capture("h", 7), credits.ErrOverHold)
	got := r.run(capture("h", 4))
	r.add(time.Hour)
	r.again(capture("h", 4), got)
	r.refuse(captureAll("h"), credits.ErrSettled)
	r.balance(credits.Totals{Issued: 10, Available: 6, Consumed: 4})
}
