package pgstore_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

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
