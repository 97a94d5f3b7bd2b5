package ratelimit_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

func TestRefundThatFindsNoRoomCanBeRepeated(t *testing.T) {
	t.Parallel()
	w, _ := bounded(t, minBytes)
	r := w.spend("k", "h", time.Hour)
	for i := range 10 * tracked { // until every part of the store is full
		if _, err := w.TakeAll(t.Context(), ten(t, fmt.Sprint("passing", i), "m", time.Minute)); err != nil && !errors.Is(err, ratelimit.ErrFull) {
			t.Fatal(err)
		}
	}
	for range 3 {
		w.refunds(r, ratelimit.ErrFull)
		w.free("k", "h", time.Hour, 6)
	}
	w.now = w.now.Add(time.Minute) // now there is room
	w.refunds(r, nil)
	w.free("k", "h", time.Hour, 10)
	w.spend("k", "h", time.Hour)
	w.refunds(r, nil)
	w.free("k", "h", time.Hour, 6)
}

// A settlement that is remembered and then finds no room for what it charges is
// not settled.
func TestSettlementThatFindsNoRoomCanBeRepeated(t *testing.T) {
	t.Parallel()
	w, _ := bounded(t, minBytes)
	w.refunds(w.spend("k", "h", time.Hour), nil) // has the room in which the next is remembered
	r := w.spend("k", "h", time.Hour)
	if err := w.ResetAll(t.Context(), ten(t, "k", "h", time.Hour)); err != nil {
		t.Fatal(err)
	}
	for i := range 10 * tracked {
		if _, err := w.TakeAll(t.Context(), ten(t, fmt.Sprint("passing", i), "m", time.Minute)); err != nil && !errors.Is(err, ratelimit.ErrFull) {
			t.Fatal(err)
		}
	}
	for range 3 {
		if err := w.Settle(t.Context(), r, 9); !errors.Is(err, ratelimit.ErrFull) {
			t.Fatalf("the settlement ends with %v, want %v", err, ratelimit.ErrFull)
		}
		w.free("k", "h", time.Hour, 10)
	}
	w.now = w.now.Add(time.Minute) // now there is room
	for range 2 {
		if err := w.Settle(t.Context(), r, 9); err != nil {
			t.Fatal(err)
		}
		w.free("k", "h", time.Hour, 5) // the four were reset, five more are charged, once
	}
}

// What is remembered together is forgotten with the last of it.
func TestRefundsOfDifferentPeriodsAreRemembered(t *testing.T) {
	t.Parallel()
	for _, periods := range [][2]time.Duration{{time.Minute, time.Hour}, {time.Hour, time.Minute}} {
		w, _ := bounded(t, minBytes)
		var long []ratelimit.Reservation
		for range 500 { // more than one slot remembers
			for _, p := range periods {
				r := w.spend("k", p.String(), p)
				w.refunds(r, nil)
				if p == time.Hour {
					long = append(long, r)
				}
			}
		}
		w.spend("k", time.Hour.String(), time.Hour)
		w.now = w.now.Add(time.Minute)
		for i := range 40 { // new state sweeps away what has expired
			w.spend("k", fmt.Sprint("new", i), time.Hour)
		}
		for _, r := range long {
			w.refunds(r, nil)
		}
		w.free("k", time.Hour.String(), time.Hour, 6)
	}
}

func TestRefundOfWhatWasNeverTaken(t *testing.T) {
	t.Parallel()
	w, store := bounded(t, minBytes)
	other, _ := bounded(t, minBytes)
	r := w.spend("k", "h", time.Hour)
	for range 400 { // whatever another store gave out, and how often
		w.refunds(other.spend("k", "h", time.Hour), nil)
		w.free("k", "h", time.Hour, 6)
		if err := other.ResetAll(t.Context(), ten(t, "k", "h", time.Hour)); err != nil {
			t.Fatal(err)
		}
	}

	limits := ten(t, "k", "h", time.Hour).Limits
	refund := func(id ratelimit.ID, key string) {
		req := ratelimit.Request{Mode: ratelimit.ModeSettle, ID: id, Ops: []ratelimit.Op{{
			Rule: limits.Rule(0), Key: key, Cost: 4, Until: w.now.Add(time.Hour).UnixMicro(),
		}}}
		if err := store.Apply(t.Context(), &req); err != nil {
			t.Error(err)
		}
	}
	refund(ratelimit.ID{}, "k")
	for bit := range 8 * len(ratelimit.ID{}) { // the store gave out one ID, and none of these
		id := r.ID()
		id[bit/8] ^= 1 << (bit % 8)
		refund(id, "k")
		w.free("k", "h", time.Hour, 6)
	}

	// The one that it gave out counts once, wherever the subjects lie.
	var keys [32]string
	for i := range keys {
		keys[i] = fmt.Sprint("key", i)
		w.spend(keys[i], "h", time.Hour)
	}
	var wg sync.WaitGroup
	for _, k := range keys {
		wg.Go(func() { refund(r.ID(), k) })
	}
	wg.Wait()
	w.refunds(r, nil)
	w.free("k", "h", time.Hour, 6)
	free := int64(0)
	for _, k := range keys {
		p, err := w.PeekAll(t.Context(), ten(t, k, "h", time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		free += p.Remaining
	}
	if want := int64(6*len(keys) + 4); free != want {
		t.Errorf("%d are free, want %d", free, want)
	}

	for range 400 { // no ID was refunded before it was given out
		w.refunds(w.spend("k", "h", time.Hour), nil)
		w.free("k", "h", time.Hour, 6)
	}
}

func TestRefundBefore1970(t *testing.T) {
	t.Parallel()
	w, _ := bounded(t, minBytes)
	w.now = time.Time{}
	for range 1000 { // each would be a slot that is counted and cannot be found
		w.refunds(w.spend("k", "h", time.Hour), nil)
		if err := w.ResetAll(t.Context(), ten(t, "k", "h", time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
}
