package credits_test

import (
	"fmt"
	"testing"

	"github.com/keytoll/keytoll/credits"
)

func TestHoldAndCapture(t *testing.T) {
	l, err := credits.NewLedger(credits.NewMemoryStore(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if _, err := l.Grant(ctx, credits.Grant{Account: "a", ID: "g", Amount: 10 * credits.Credit}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Hold(ctx, credits.Hold{Account: "a", ID: "h", Amount: 4 * credits.Credit}); err != nil {
		t.Fatal(err)
	}
	r, err := l.Capture(ctx, credits.Capture{Account: "a", Hold: "h", Amount: 3 * credits.Credit})
	if err != nil {
		t.Fatal(err)
	}
	if r.Totals.Available != 7*credits.Credit || r.Totals.Consumed != 3*credits.Credit || !r.Totals.Balanced() {
		t.Errorf("after a capture of 3 of 4 of 10: %+v", r.Totals)
	}
}

func BenchmarkHoldCapture(b *testing.B) {
	l, _ := credits.NewLedger(credits.NewMemoryStore(nil), nil)
	ctx := b.Context()
	l.Grant(ctx, credits.Grant{Account: "a", ID: "g", Amount: credits.MaxAmount})
	ids := make([]credits.OpID, 1<<20)
	for i := range ids {
		ids[i] = credits.OpID(fmt.Sprintf("req-%08d", i))
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if i == len(ids) {
			b.StopTimer()
			l, _ = credits.NewLedger(credits.NewMemoryStore(nil), nil)
			l.Grant(ctx, credits.Grant{Account: "a", ID: "g", Amount: credits.MaxAmount})
			i = 0
			b.StartTimer()
		}
		if _, err := l.Hold(ctx, credits.Hold{Account: "a", ID: ids[i], Amount: credits.Credit, Operation: "image"}); err != nil {
			b.Fatal(err)
		}
		if _, err := l.Capture(ctx, credits.Capture{Account: "a", Hold: ids[i], All: true}); err != nil {
			b.Fatal(err)
		}
		i++
	}
}
