package credits_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// An operator was faster: the observer hears of every answer that has no credits.
func TestWhatAnOperatorGaveAwayIsTold(t *testing.T) {
	r := newLeaseRig(t, 100_000)
	var turns turnLog
	l := r.lessee(credits.LesseeOptions{Observer: &turns})
	r.warm(l)
	spends, _ := l.Unsettled()
	r.add(time.Hour)
	for i, o := range r.snapshot(acme).Ops {
		if o.Kind == credits.KindLease {
			if _, err := r.ResolveLease(t.Context(), resolve(credits.OpID(fmt.Sprint("r", i)), o.ID, credits.BucketAvailable)); err != nil {
				t.Error(err)
			}
		}
	}
	r.flush(l)
	if got := turns.count(credits.LeaseRefused); got != int(spends) || spends == 0 {
		t.Errorf("%d of %d spends were told as refused", got, spends)
	}
	r.close(l)
}

// turnLog is an observer that remembers.
type turnLog struct {
	mu    sync.Mutex
	kinds []credits.LeaseTurnKind
}

func (o *turnLog) LeaseTurned(_ context.Context, t credits.LeaseTurn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.kinds = append(o.kinds, t.Kind)
}

func (o *turnLog) count(k credits.LeaseTurnKind) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for _, x := range o.kinds {
		if x == k {
			n++
		}
	}
	return n
}

func (o *turnLog) has(k credits.LeaseTurnKind) bool { return o.count(k) > 0 }

func (o *turnLog) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.kinds = nil
}

func TestTheSlogObserverOfLeases(t *testing.T) {
	var out strings.Builder
	o := credits.NewSlogLeaseObserver(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})))
	o.LeaseTurned(t.Context(), credits.LeaseTurn{Kind: credits.LeaseTaken, Account: acme, Key: "k", Lease: "l", Amount: credits.Credit})
	o.LeaseTurned(t.Context(), credits.LeaseTurn{Kind: credits.LeaseLapsed, Account: acme, Lease: "l"})
	o.LeaseTurned(t.Context(), credits.LeaseTurn{Kind: credits.LeaseRefused, Account: acme, Lease: "l", Spend: "x", Err: errDown})
	want := `level=INFO msg="credit lease" turn=taken account=acme key=k lease=l amount=1
level=WARN msg="credit lease" turn=lapsed account=acme lease=l
level=ERROR msg="credit lease" turn=refused account=acme lease=l spend=x error="nobody answers"
`
	if out.String() != want {
		t.Errorf("%s\nwant %s", out.String(), want)
	}
	credits.NewSlogLeaseObserver(nil).LeaseTurned(t.Context(), credits.LeaseTurn{})
	if got := credits.LeaseTurnKind(99).String(); got != "lease_turn(99)" {
		t.Error(got)
	}
}
