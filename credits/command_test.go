package credits_test

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
	kerrors "github.com/keytoll/keytoll/errors"
)

func TestCommandsThatCanNeverBeRight(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 10))
	r.run(hold("h", 5))
	r.run(debit("d", 1))
	long := credits.OpID(strings.Repeat("x", credits.MaxIDBytes+1))
	for name, cmd := range map[string]any{
		"no account":                 credits.Grant{ID: "x", Amount: 1},
		"no id":                      grant("", 1),
		"long id":                    grant(long, 1),
		"control character in an id": grant("a\x00b", 1),
		"newline in an id":           debit("a\nb", 1),
		"delete in an id":            debit("a\x7f", 1),
		"invalid UTF-8 in an id":     hold("\xff\xfe", 1),
		"long note":                  credits.Debit{Account: acme, ID: "x", Note: strings.Repeat("n", credits.MaxNoteBytes+1)},
		"control character in a key": credits.Hold{Account: acme, ID: "x", Key: "\x1b[2J"},
		"grant of nothing":           grant("x", 0),
		"too much":                   grant("x", credits.MaxAmount+1),
		"priority":                   credits.Grant{Account: acme, ID: "x", Amount: 1, Priority: credits.MaxPriority + 1},
		"low priority":               credits.Grant{Account: acme, ID: "x", Amount: 1, Priority: math.MinInt},
		"category":                   credits.Grant{Account: acme, ID: "x", Amount: 1, Category: 3},
		"expiry before effect":       credits.Grant{Account: acme, ID: "x", Amount: 1, EffectiveAt: epoch.Add(time.Hour), ExpiresAt: epoch.Add(time.Hour)},
		"expiry beyond time":         credits.Grant{Account: acme, ID: "x", Amount: 1, ExpiresAt: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)},
		"effect before time":         credits.Grant{Account: acme, ID: "x", Amount: 1, EffectiveAt: time.Date(1969, 1, 1, 0, 0, 0, 0, time.UTC)},
		"long TTL":                   credits.Hold{Account: acme, ID: "x", Amount: 1, TTL: 25 * time.Hour},
		"short TTL":                  credits.Hold{Account: acme, ID: "x", Amount: 1, TTL: time.Nanosecond},
		"negative TTL":               credits.Hold{Account: acme, ID: "x", Amount: 1, TTL: -2},
		"overrun":                    credits.Hold{Account: acme, ID: "x", Overrun: credits.OverrunDebt + 1},
		"late":                       credits.Hold{Account: acme, ID: "x", Late: credits.LateCharged + 1},
		"a debt limit and no debt":   credits.Hold{Account: acme, ID: "x", Overrun: credits.OverrunCapped, DebtLimit: 1},
		"negative debt limit":        credits.Hold{Account: acme, ID: "x", Overrun: credits.OverrunDebt, DebtLimit: -1},
		"all and an amount":          credits.Capture{Account: acme, Hold: "h", Amount: 1, All: true},
		"all and keep":               credits.Capture{Account: acme, Hold: "h", All: true, Keep: true, ID: "x"},
		"keep without an id":         credits.Capture{Account: acme, Hold: "h", Amount: 1, Keep: true},
		"final with an id":           credits.Capture{Account: acme, Hold: "h", Amount: 1, ID: "x"},
		"refund of nothing":          refund("x", "d", 0),
		"refund of all and some":     credits.Refund{Account: acme, ID: "x", Of: "d", Amount: 1, All: true},
	} {
		before := r.snapshot(acme)
		_, err := r.try(cmd)
		if kerrors.CodeOf(err) != kerrors.Invalid {
			t.Errorf("%s: code %v of %v", name, kerrors.CodeOf(err), err)
		}
		if after := r.snapshot(acme); !reflect.DeepEqual(after, before) {
			t.Errorf("%s: the state has changed", name)
		}
	}
	if err := r.refuse(credits.Grant{Account: acme, ID: "x", Amount: 1, ExpiresAt: epoch}, credits.ErrExpired); kerrors.CodeOf(err) != kerrors.Invalid {
		t.Errorf("a grant that has expired: %v", err)
	}
}
