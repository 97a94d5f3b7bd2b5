package webhooktest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"

	"github.com/keytoll/keytoll/webhook"
)

// Run tests that the stores made by open keep the promises of [webhook.Store] and
// [webhook.Outbox], one subtest for each. Open returns an empty store each time it
// is called; what it opens it cleans up itself. Subtests run one after the other,
// so it may empty one place again and again.
func Run(t *testing.T, open func(t *testing.T) webhook.Store) {
	t.Helper()
	for _, c := range storeChecks() {
		t.Run(c.promise, func(t *testing.T) {
			if err := c.holds(t.Context(), open(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// A storeCheck is one promise of [webhook.Store]. It takes a store that is empty,
// and returns normally when the store keeps the promise.
type storeCheck struct {
	promise string
	run     func(ctx context.Context, q *queue)
}

func storeChecks() []storeCheck {
	var all []storeCheck
	for _, part := range [][]storeCheck{
		publishChecks(), intentChecks(), endpointChecks(), claimChecks(), roomChecks(), turnChecks(), nextChecks(), orderedChecks(),
		settleChecks(), lateChecks(), moveChecks(), listChecks(), pruneChecks(), ownChecks(), raceChecks(), modelChecks(),
	} {
		all = append(all, part...)
	}
	return all
}

// holds returns how s breaks the promise, or nil.
func (c storeCheck) holds(ctx context.Context, s webhook.Store) error {
	q := newQueue(s)
	ended := make(chan error, 1)
	go func() {
		broken := fmt.Errorf("the check ended without an outcome")
		defer func() { ended <- broken }()
		defer func() {
			if q.broken != nil {
				broken = q.broken
			}
		}()
		c.run(ctx, q)
		broken = nil
	}()
	return <-ended
}

// A queue is a store under test with what checks need. Its methods end the check
// when the store does not do what they say, as those of testing.T do.
type queue struct {
	webhook.Store

	clock  Advancer // nil for a store whose time passes by itself
	tokens int
	broken error
}

func newQueue(s webhook.Store) *queue {
	clock, _ := s.(Advancer)
	return &queue{Store: s, clock: clock}
}

// fail ends the check.
func (q *queue) fail(format string, args ...any) {
	q.broken = fmt.Errorf(format, args...) //nolint:err113 // it is read by people only
	runtime.Goexit()
}

// must ends the check on an error.
func (q *queue) must(err error) {
	if err != nil {
		q.fail("%w", err)
	}
}

// want ends the check unless the condition holds.
func (q *queue) want(holds bool, format string, args ...any) {
	if !holds {
		q.fail(format, args...)
	}
}

// wantErr ends the check unless err matches the target.
func (q *queue) wantErr(what string, err, target error) {
	q.want(errors.Is(err, target), "%s: error %v, want one that matches %q", what, err, target)
}
