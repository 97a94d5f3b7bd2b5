package credits_test

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// Files and databases hold intents of commands that were accepted before grants
// had Only, and holds and debits a Price and policies. A retry of one is known,
// and fields that it does not have make another intent.
func TestIntentsOfFormerDaysAreKnown(t *testing.T) {
	text := func(b []byte, s string) []byte { return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...) }
	number := func(b []byte, n int64) []byte { return binary.BigEndian.AppendUint64(b, uint64(n)) }
	begin := func(kind byte, id string, amount int64) []byte {
		return number(text(text([]byte{1, kind}, "a"), id), amount)
	}
	expires := time.Now().Add(time.Hour).Truncate(time.Microsecond)

	store := credits.NewMemoryStore(nil)
	l, err := credits.NewLedger(store, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	for _, c := range []struct {
		id       credits.OpID
		encoding []byte
		call     func(changed bool) error
	}{
		{"grant", text(number(number(number(number(begin(1, "grant", 90), -3), 2), time.Time{}.UnixMicro()), expires.UnixMicro()), "n"), func(changed bool) error {
			g := credits.Grant{Account: "a", ID: "grant", Amount: 90, Priority: -3, Category: 2, ExpiresAt: expires, Note: "n"}
			if changed {
				g.Only = credits.Only("o")
			}
			_, err := l.Grant(ctx, g)
			return err
		}},
		{"hold", text(text(text(number(begin(3, "hold", 4), int64(time.Minute)), "k"), "o"), "n"), func(changed bool) error {
			h := credits.Hold{Account: "a", ID: "hold", Amount: 4, TTL: time.Minute, Key: "k", Operation: "o", Note: "n"}
			if changed {
				h.Price = "p"
			}
			_, err := l.Hold(ctx, h)
			return err
		}},
		{"debit", text(text(text(begin(7, "debit", 5), "k"), "o"), "n"), func(changed bool) error {
			d := credits.Debit{Account: "a", ID: "debit", Amount: 5, Key: "k", Operation: "o", Note: "n"}
			if changed {
				d.Price = "p"
			}
			_, err := l.Debit(ctx, d)
			return err
		}},
		{"some", text(number(text(text(text([]byte{1, 4}, "a"), "some"), "hold"), 1), "n"), func(changed bool) error {
			c := credits.Capture{Account: "a", ID: "some", Hold: "hold", Amount: 1, Keep: true, Note: "n"}
			if changed {
				c.Amount = 2
			}
			_, err := l.Capture(ctx, c)
			return err
		}},
		{"refund", text(append(number(text(text(text([]byte{1, 8}, "a"), "refund"), "debit"), 2), 0), "n"), func(changed bool) error {
			r := credits.Refund{Account: "a", ID: "refund", Of: "debit", Amount: 2, Note: "n"}
			if changed {
				r.Amount = 1
			}
			_, err := l.Refund(ctx, r)
			return err
		}},
	} {
		if err := c.call(false); err != nil {
			t.Fatal(c.id, err)
		}
		err := store.View(ctx, []credits.Need{{Account: "a", Ops: []credits.OpID{c.id}}}, func(_ time.Time, states []*credits.State) error {
			if got := states[0].Ops[0].Op.Intent; got != sha256.Sum256(c.encoding) {
				t.Errorf("%s: the intent is not what it was", c.id)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		if err := c.call(true); !errors.Is(err, credits.ErrIntent) {
			t.Errorf("%s, changed: %v, want ErrIntent", c.id, err)
		}
	}
}
