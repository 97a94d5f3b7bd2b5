package credits_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
	kerrors "github.com/keytoll/keytoll/errors"
)

func extend(id credits.OpID, ttl time.Duration) credits.Extend {
	return credits.Extend{Account: acme, Hold: id, TTL: ttl}
}

func TestExtendPutsTheDeadlineOff(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 10))
	r.run(credits.Hold{Account: acme, ID: "h", Amount: 6, TTL: time.Minute})
	r.add(50 * time.Second)
	before := r.snapshot(acme)
	got := r.run(extend("h", time.Minute))
	if got.Op != "h" || got.Hold != credits.HoldOpen || got.Amount != 6 || got.Replayed || !got.Deadline.Equal(epoch.Add(110*time.Second)) {
		t.Errorf("receipt %+v", got)
	}
	after := r.snapshot(acme)
	if !reflect.DeepEqual(after.Entries, before.Entries) || after.Account.Totals != before.Account.Totals {
		t.Error("an entry was written")
	}
	r.add(59 * time.Second)
	r.balance(credits.Totals{Issued: 10, Available: 4, Held: 6})
	if again := r.run(credits.Hold{Account: acme, ID: "h", Amount: 6, TTL: time.Minute}); !again.Replayed || !again.Deadline.Equal(got.Deadline) {
		t.Errorf("a retry of the hold: %+v", again)
	}
	r.add(time.Second)
	r.balance(credits.Totals{Issued: 10, Available: 10})
	r.refuse(extend("h", time.Minute), credits.ErrTimedOut)
	r.run(debit("touch", 0))
	r.refuse(extend("h", time.Minute), credits.ErrTimedOut)
}

func TestExtendNeverShortensAndRepeatsHarmlessly(t *testing.T) {
	r := newRig(t)
	r.run(hold("h", 0))
	r.run(credits.Hold{Account: acme, ID: "ever", TTL: credits.NoTimeout})
	for _, e := range []credits.Extend{extend("h", time.Second), extend("h", 10*time.Minute), extend("h", 0), extend("ever", time.Hour)} {
		before := r.snapshot(acme)
		if got := r.run(e); !got.Replayed {
			t.Errorf("%+v: %+v", e, got)
		}
		if after := r.snapshot(acme); !reflect.DeepEqual(after, before) {
			t.Errorf("%+v changes nothing, and has written something", e)
		}
	}
	first := r.run(extend("h", time.Hour))
	if again := r.run(extend("h", time.Hour)); !again.Replayed || !again.Deadline.Equal(first.Deadline) {
		t.Errorf("a retry: %+v", again)
	}
	r.add(-time.Minute) // a clock that went back shortens nothing either
	if again := r.run(extend("h", time.Hour)); !again.Replayed || !again.Deadline.Equal(first.Deadline) {
		t.Errorf("a retry after the clock went back: %+v", again)
	}
}

func TestExtendIsBoundedByMaxHoldLife(t *testing.T) {
	for _, c := range []struct {
		options *credits.Options
		life    time.Duration
	}{
		{nil, 7 * 24 * time.Hour},
		{&credits.Options{MaxHoldTTL: 30 * 24 * time.Hour}, 30 * 24 * time.Hour},
		{&credits.Options{MaxHoldLife: 36 * time.Hour}, 36 * time.Hour},
	} {
		r := newRigWith(t, c.options)
		r.run(hold("h", 0))
		end := epoch.Add(c.life)
		for r.now().Before(end) {
			got := r.run(extend("h", 20*time.Hour))
			if want := r.now().Add(20 * time.Hour); !got.Deadline.Equal(want) && !got.Deadline.Equal(end) || got.Deadline.After(end) {
				t.Fatalf("at %v it lasts until %v", r.now(), got.Deadline)
			}
			r.add(10 * time.Hour)
		}
		r.refuse(extend("h", time.Hour), credits.ErrTimedOut)
	}
}

func TestExtendOfWhatIsNoOpenHold(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 10))
	r.run(hold("captured", 1))
	r.run(captureAll("captured"))
	r.run(hold("released", 1))
	r.run(release("released"))
	r.run(acquire("lease", 2))
	r.refuse(extend("captured", time.Hour), credits.ErrSettled)
	r.refuse(extend("released", time.Hour), credits.ErrSettled)
	for _, id := range []credits.OpID{"g", "lease", "nothing"} {
		r.refuse(extend(id, time.Hour), credits.ErrNotFound)
	}
	r.run(hold("h", 1))
	for _, ttl := range []time.Duration{credits.NoTimeout, -2, time.Nanosecond, 25 * time.Hour} {
		if _, err := r.try(extend("h", ttl)); kerrors.CodeOf(err) != kerrors.Invalid {
			t.Errorf("a TTL of %v: %v", ttl, err)
		}
	}
}
