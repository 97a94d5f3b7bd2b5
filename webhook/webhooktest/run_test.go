package webhooktest

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

// A clocked is a memory store whose clock only moves by Advance.
type clocked struct {
	webhook.ReplayStore

	mu  sync.Mutex
	now time.Time
}

func newClocked(tb testing.TB) *clocked {
	tb.Helper()
	c := &clocked{now: time.Unix(1_700_000_000, 0)}
	store, err := webhook.NewMemoryReplayStore(&webhook.MemoryReplayOptions{Now: func() time.Time {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.now
	}})
	if err != nil {
		tb.Fatal(err)
	}
	c.ReplayStore = store
	return c
}

func (c *clocked) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func TestMemoryKeepsThePromises(t *testing.T) {
	RunReplay(t, func(t *testing.T) webhook.ReplayStore { return newClocked(t) })
}

// A store that is no Advancer is waited for; the bubble makes that quick.
func TestMemoryKeepsThePromisesWhenWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range checks {
			store, err := webhook.NewMemoryReplayStore(nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.run(t.Context(), newSubject(store)); err != nil {
				t.Errorf("%s: %v", c.promise, err)
			}
		}
	})
}

// Each of these stores breaks one promise; the suite has to notice.
func TestTheSuiteRejectsBrokenStores(t *testing.T) {
	for _, broken := range []struct {
		name    string
		promise string // one of those it has to fail
		wrap    func(*clocked) webhook.ReplayStore
	}{
		{"grants everything", "a key in flight is refused", func(c *clocked) webhook.ReplayStore {
			return &hooked{clocked: c, claim: func(context.Context, string, string, time.Duration) (webhook.ClaimState, error) {
				return webhook.ClaimGranted, nil
			}}
		}},
		{"grants nothing", "a free key is granted", func(c *clocked) webhook.ReplayStore {
			return &hooked{clocked: c, claim: func(context.Context, string, string, time.Duration) (webhook.ClaimState, error) {
				return webhook.ClaimInFlight, nil
			}}
		}},
		{"refuses its own owner", "stays its owner's", func(c *clocked) webhook.ReplayStore {
			return &hooked{clocked: c, claim: func(ctx context.Context, key, _ string, lease time.Duration) (webhook.ClaimState, error) {
				return c.Claim(ctx, key, webhook.NewID(), lease)
			}}
		}},
		{"releases whoever asks", "Release by another owner", func(c *clocked) webhook.ReplayStore {
			h := &hooked{clocked: c}
			owners := map[string]string{}
			h.claim = func(ctx context.Context, key, owner string, lease time.Duration) (webhook.ClaimState, error) {
				state, err := c.Claim(ctx, key, owner, lease)
				if state == webhook.ClaimGranted {
					h.locked(func() { owners[key] = owner })
				}
				return state, err
			}
			h.release = func(ctx context.Context, key, _ string) error {
				var owner string
				h.locked(func() { owner = owners[key] })
				return c.Release(ctx, key, owner)
			}
			return h
		}},
		{"never releases", "a released key is free", func(c *clocked) webhook.ReplayStore {
			return &hooked{clocked: c, release: func(ctx context.Context, _, _ string) error { return ctx.Err() }}
		}},
		{"minds releasing a free key", "Release of a free key", func(c *clocked) webhook.ReplayStore {
			return &hooked{clocked: c, release: func(ctx context.Context, key, owner string) error {
				state, err := c.Claim(ctx, key, owner, time.Millisecond)
				if err == nil && state == webhook.ClaimGranted {
					err = webhook.ErrMissing
				}
				return err
			}}
		}},
		{"claims instead of doing nothing on Release", "Release of a free key", func(c *clocked) webhook.ReplayStore {
			return &hooked{clocked: c, release: func(ctx context.Context, key, owner string) error {
				_, err := c.Claim(ctx, key, owner, long)
				return err
			}}
		}},
		{"forgets done keys on Release", "Release of a done key", func(c *clocked) webhook.ReplayStore {
			h := &hooked{clocked: c}
			released := map[string]bool{}
			h.claim = func(ctx context.Context, key, owner string, lease time.Duration) (webhook.ClaimState, error) {
				state, err := c.Claim(ctx, key, owner, lease)
				h.locked(func() {
					if released[key] && state == webhook.ClaimDone {
						state = webhook.ClaimGranted
					}
				})
				return state, err
			}
			h.release = func(ctx context.Context, key, owner string) error {
				h.locked(func() { released[key] = true })
				return c.Release(ctx, key, owner)
			}
			return h
		}},
		{"ignores Done without a claim", "a key that was never claimed", func(c *clocked) webhook.ReplayStore {
			return &hooked{clocked: c, done: func(ctx context.Context, key string, keep time.Duration) error {
				state, err := c.Claim(ctx, key, "probe", time.Millisecond)
				if err != nil {
					return err
				}
				if state == webhook.ClaimGranted {
					return c.Release(ctx, key, "probe")
				}
				return c.Done(ctx, key, keep)
			}}
		}},
		{"shortens on a second Done", "keeps the later end", func(c *clocked) webhook.ReplayStore {
			h := &hooked{clocked: c}
			epoch := map[string]int{}
			inner := func(key string) string { return key + strings.Repeat("'", epoch[key]) }
			h.claim = func(ctx context.Context, key, owner string, lease time.Duration) (state webhook.ClaimState, err error) {
				h.locked(func() { state, err = c.Claim(ctx, inner(key), owner, lease) })
				return state, err
			}
			h.done = func(ctx context.Context, key string, keep time.Duration) (err error) {
				h.locked(func() {
					epoch[key]++
					err = c.Done(ctx, inner(key), keep)
				})
				return err
			}
			return h
		}},
		{"ends a millisecond late", "a lease ends after its length", func(c *clocked) webhook.ReplayStore {
			return &hooked{clocked: c, claim: func(ctx context.Context, key, owner string, lease time.Duration) (webhook.ClaimState, error) {
				return c.Claim(ctx, key, owner, lease+time.Millisecond)
			}}
		}},
		{"ends early", "a done key is kept for its time", func(c *clocked) webhook.ReplayStore {
			return &hooked{clocked: c, done: func(ctx context.Context, key string, keep time.Duration) error {
				return c.Done(ctx, key, keep-time.Millisecond)
			}}
		}},
		{"keeps for ever", "not longer", func(c *clocked) webhook.ReplayStore {
			return &hooked{clocked: c, done: func(ctx context.Context, key string, _ time.Duration) error {
				return c.Done(ctx, key, 1000*time.Hour)
			}}
		}},
		{"does not renew", "begins the lease anew", func(c *clocked) webhook.ReplayStore {
			h := &hooked{clocked: c}
			granted := map[string]string{}
			h.claim = func(ctx context.Context, key, owner string, lease time.Duration) (state webhook.ClaimState, err error) {
				h.locked(func() {
					if granted[key] == owner {
						// Ask as somebody else, and turn the answer around.
						if state, err = c.Claim(ctx, key, "probe", time.Millisecond); state == webhook.ClaimInFlight {
							state = webhook.ClaimGranted
						}
						return
					}
					if state, err = c.Claim(ctx, key, owner, lease); state == webhook.ClaimGranted {
						granted[key] = owner
					}
				})
				return state, err
			}
			return h
		}},
		{"lengthens for a stranger", "does not lengthen the lease", func(c *clocked) webhook.ReplayStore {
			h := &hooked{clocked: c}
			owners := map[string]string{}
			h.claim = func(ctx context.Context, key, owner string, lease time.Duration) (webhook.ClaimState, error) {
				state, err := c.Claim(ctx, key, owner, lease)
				h.locked(func() {
					if state == webhook.ClaimGranted {
						owners[key] = owner
					} else if state == webhook.ClaimInFlight {
						_, err = c.Claim(ctx, key, owners[key], lease)
					}
				})
				return state, err
			}
			return h
		}},
		{"lengthens what is done", "does not lengthen the time to keep", func(c *clocked) webhook.ReplayStore {
			return &hooked{clocked: c, claim: func(ctx context.Context, key, owner string, lease time.Duration) (webhook.ClaimState, error) {
				state, err := c.Claim(ctx, key, owner, lease)
				if state == webhook.ClaimDone {
					err = c.Done(ctx, key, lease)
				}
				return state, err
			}}
		}},
		{"folds case", "byte for byte", func(c *clocked) webhook.ReplayStore {
			return &hooked{clocked: c, claim: func(ctx context.Context, key, owner string, lease time.Duration) (webhook.ClaimState, error) {
				return c.Claim(ctx, strings.ToLower(key), owner, lease)
			}}
		}},
		{"truncates keys", "byte for byte", func(c *clocked) webhook.ReplayStore {
			return &hooked{clocked: c, claim: func(ctx context.Context, key, owner string, lease time.Duration) (webhook.ClaimState, error) {
				return c.Claim(ctx, key[:min(len(key), 511)], owner, lease)
			}}
		}},
		{"truncates owners", "byte for byte", func(c *clocked) webhook.ReplayStore {
			return &hooked{clocked: c, claim: func(ctx context.Context, key, owner string, lease time.Duration) (webhook.ClaimState, error) {
				return c.Claim(ctx, key, owner[:min(len(owner), 63)], lease)
			}}
		}},
		{"reads, then writes", "exactly one is granted", func(c *clocked) webhook.ReplayStore {
			h := &hooked{clocked: c}
			taken := map[string]string{}
			h.claim = func(_ context.Context, key, owner string, _ time.Duration) (webhook.ClaimState, error) {
				var holder string
				h.locked(func() { holder = taken[key] })
				if holder != "" && holder != owner {
					return webhook.ClaimInFlight, nil
				}
				for range 10 {
					runtime.Gosched()
				}
				h.locked(func() { taken[key] = owner })
				return webhook.ClaimGranted, nil
			}
			return h
		}},
		{"looks, then releases", "a Release at the same time as Done", func(c *clocked) webhook.ReplayStore {
			h := &hooked{clocked: c}
			claimed, done := map[string]string{}, map[string]bool{}
			h.claim = func(_ context.Context, key, owner string, _ time.Duration) (state webhook.ClaimState, _ error) {
				h.locked(func() {
					switch holder := claimed[key]; {
					case done[key]:
						state = webhook.ClaimDone
					case holder != "" && holder != owner:
						state = webhook.ClaimInFlight
					default:
						claimed[key], state = owner, webhook.ClaimGranted
					}
				})
				return state, nil
			}
			h.done = func(_ context.Context, key string, _ time.Duration) error {
				h.locked(func() { done[key] = true })
				return nil
			}
			h.release = func(_ context.Context, key, owner string) error {
				var held bool
				h.locked(func() { held = claimed[key] == owner && !done[key] })
				for range 100 {
					runtime.Gosched()
				}
				h.locked(func() {
					if held {
						delete(claimed, key)
						delete(done, key)
					}
				})
				return nil
			}
			return h
		}},
		{"ignores the context", "a call whose context is over", func(c *clocked) webhook.ReplayStore {
			return &hooked{clocked: c, claim: func(ctx context.Context, key, owner string, lease time.Duration) (webhook.ClaimState, error) {
				return c.Claim(context.WithoutCancel(ctx), key, owner, lease)
			}}
		}},
		{"notices the context too late", "a call whose context is over", func(c *clocked) webhook.ReplayStore {
			return &hooked{clocked: c, release: func(ctx context.Context, key, owner string) error {
				err := c.Release(context.WithoutCancel(ctx), key, owner)
				if ctx.Err() != nil {
					return ctx.Err()
				}
				return err
			}}
		}},
	} {
		t.Run(broken.name, func(t *testing.T) {
			t.Parallel()
			var failed []string
			for _, c := range checks {
				if err := c.run(t.Context(), newSubject(broken.wrap(newClocked(t)))); err != nil {
					failed = append(failed, c.promise)
				}
			}
			if !strings.Contains(strings.Join(failed, "\n"), broken.promise) {
				t.Errorf("the suite did not hold %q against it; it fails %q", broken.promise, failed)
			}
		})
	}
}

// Each promise has to be able to fail.
func TestEachPromiseRejectsSomeStore(t *testing.T) {
	for _, c := range checks {
		store := &hooked{clocked: newClocked(t)}
		store.claim = func(context.Context, string, string, time.Duration) (webhook.ClaimState, error) { return 0, nil }
		if c.run(t.Context(), newSubject(store)) == nil {
			t.Errorf("%q holds for a store that does not answer", c.promise)
		}
	}
}

// A hooked store replaces methods of a good one.
type hooked struct {
	*clocked

	claim   func(ctx context.Context, key, owner string, lease time.Duration) (webhook.ClaimState, error)
	done    func(ctx context.Context, key string, keep time.Duration) error
	release func(ctx context.Context, key, owner string) error

	hooks sync.Mutex
}

func (h *hooked) locked(f func()) {
	h.hooks.Lock()
	defer h.hooks.Unlock()
	f()
}

func (h *hooked) Claim(ctx context.Context, key, owner string, lease time.Duration) (webhook.ClaimState, error) {
	if h.claim != nil {
		return h.claim(ctx, key, owner, lease)
	}
	return h.clocked.Claim(ctx, key, owner, lease)
}

func (h *hooked) Done(ctx context.Context, key string, keep time.Duration) error {
	if h.done != nil {
		return h.done(ctx, key, keep)
	}
	return h.clocked.Done(ctx, key, keep)
}

func (h *hooked) Release(ctx context.Context, key, owner string) error {
	if h.release != nil {
		return h.release(ctx, key, owner)
	}
	return h.clocked.Release(ctx, key, owner)
}
