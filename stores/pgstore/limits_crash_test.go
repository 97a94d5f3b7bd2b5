package pgstore_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	kerrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/stores/pgstore"
	"github.com/keytoll/keytoll/stores/pgstore/pgtest"
)

// The server is killed again and again under load: what passed stays taken, no
// take is there in part, and in between every call says Unavailable.
func TestTakesSurviveTheServersKill(t *testing.T) {
	server := pgtest.Start(t)
	db, err := pgstore.Open(server.URL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(context.WithoutCancel(t.Context()))
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	const most = 700
	limits := [2]ratelimit.Limits{}
	for i, l := range []ratelimit.Limit{{Name: "bucket", Count: most, Period: century}, {Name: "log", Algorithm: ratelimit.SlidingLog, Count: 2 * most, Period: century}} {
		if limits[i], err = ratelimit.NewLimits(l); err != nil {
			t.Fatal(err)
		}
	}
	l, err := ratelimit.NewLimiter(db.Limits(nil), ratelimit.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	charges := []ratelimit.Charge{{Key: "customer", Limits: limits[0], Cost: 1}, {Key: "everybody", Limits: limits[1], Cost: 1}}
	var passed, unsure atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	progress := make(chan struct{}, 1)
	var group sync.WaitGroup
	for range 6 {
		group.Go(func() {
			for ctx.Err() == nil {
				r, err := l.TakeAll(ctx, charges...)
				switch {
				case err == nil && r.Allowed:
					passed.Add(1)
				case ctx.Err() != nil:
					unsure.Add(1)
				case err != nil:
					unsure.Add(1)
					if kerrors.CodeOf(err) != kerrors.Unavailable || r.Allowed {
						t.Errorf("take: %t, %v; want Unavailable", r.Allowed, err)
					}
					continue
				}
				select {
				case progress <- struct{}{}:
				default:
				}
			}
		})
	}
	for range 3 {
		for range 50 {
			<-progress
		}
		server.Kill()
		if _, err := l.PeekAll(t.Context(), charges...); kerrors.CodeOf(err) != kerrors.Unavailable {
			t.Errorf("peek without a server: %v, want Unavailable", err)
		}
		server.Restart()
	}
	for range 50 {
		<-progress
	}
	cancel()
	group.Wait()
	r, err := l.PeekAll(t.Context(), charges...)
	if err != nil {
		t.Fatal(err)
	}
	var used []int64
	for s := range r.States() {
		used = append(used, s.Quota-s.Remaining)
	}
	if used[0] != used[1] || used[0] < passed.Load() || used[0] > passed.Load()+unsure.Load() || passed.Load() > most {
		t.Errorf("%d and %d are in use; %d passed, %d are not known", used[0], used[1], passed.Load(), unsure.Load())
	}
	t.Logf("%d passed, %d in use", passed.Load(), used[0])
}

// A network that has gone silent, and callers who wait 5 ms: each is told so, and
// once it speaks again what was asked has been done as a whole or not at all.
func TestTakesOverASilentNetwork(t *testing.T) {
	line := newLine(t, pgtest.Database(t))
	db, err := pgstore.Open(line.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(context.WithoutCancel(t.Context()))
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	l := limiter(t, db.Limits(nil),
		ratelimit.Limit{Name: "bucket", Count: 100, Period: century}, ratelimit.Limit{Name: "log", Algorithm: ratelimit.SlidingLog, Count: 100, Period: century})
	take(t, l, "k", 1)
	line.cut.Store(true)
	each(8, func(int) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		if r, err := l.Take(ctx, "k", 10); r.Allowed || kerrors.CodeOf(err) != kerrors.DeadlineExceeded {
			t.Errorf("%t, %v; want the end of the time", r.Allowed, err)
		}
	})
	line.cut.Store(false)
	r, err := l.Take(t.Context(), "k", 1)
	for try := 0; err != nil && try < 10; try++ { // connections that the silence broke
		r, err = l.Take(t.Context(), "k", 1)
	}
	if err != nil {
		t.Fatal(err)
	}
	var free []int64
	for s := range r.States() {
		free = append(free, s.Remaining)
	}
	if free[0] != free[1] || (98-free[0])%10 != 0 || free[0] > 98 {
		t.Errorf("%v are free of 100 after two takes of 1 and eight of 10 that may have come true", free)
	}
}
