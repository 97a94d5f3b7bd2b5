package webhooktest

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

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
		{"never makes a lease shorter", "may make the lease shorter", func(c *clocked) webhook.ReplayStore {
			h := &hooked{clocked: c}
			longest := map[string]time.Duration{}
			h.claim = func(ctx context.Context, key, owner string, lease time.Duration) (webhook.ClaimState, error) {
				h.locked(func() {
					longest[key+owner] = max(longest[key+owner], lease)
					lease = longest[key+owner]
				})
				return c.Claim(ctx, key, owner, lease)
			}
			return h
		}},
		{"knows former owners", "no more right than others", func(c *clocked) webhook.ReplayStore {
			h := &hooked{clocked: c}
			former := map[string]string{}
			h.claim = func(ctx context.Context, key, owner string, lease time.Duration) (webhook.ClaimState, error) {
				state, err := c.Claim(ctx, key, owner, lease)
				h.locked(func() {
					switch {
					case state == webhook.ClaimGranted && former[key] == "":
						former[key] = owner
					case state == webhook.ClaimInFlight && former[key] == owner:
						state = webhook.ClaimGranted
					}
				})
				return state, err
			}
			return h
		}},
		{"keeps only once", "keeps it anew", func(c *clocked) webhook.ReplayStore {
			h := &hooked{clocked: c}
			kept := map[string]bool{}
			h.done = func(ctx context.Context, key string, keep time.Duration) error {
				var again bool
				h.locked(func() { again, kept[key] = kept[key], true })
				if again {
					return ctx.Err()
				}
				return c.Done(ctx, key, keep)
			}
			return h
		}},
		{"rounds up to seconds", "the shortest and the longest", func(c *clocked) webhook.ReplayStore {
			return &hooked{clocked: c, claim: func(ctx context.Context, key, owner string, lease time.Duration) (webhook.ClaimState, error) {
				return c.Claim(ctx, key, owner, max(lease, time.Second))
			}}
		}},
		{"overflows", "the shortest and the longest", func(c *clocked) webhook.ReplayStore {
			return &hooked{clocked: c, done: func(ctx context.Context, key string, keep time.Duration) error {
				if keep > 200*365*24*time.Hour {
					keep = time.Millisecond
				}
				return c.Done(ctx, key, keep)
			}}
		}},
		{"folds case of what is done", "byte for byte", func(c *clocked) webhook.ReplayStore {
			return &hooked{clocked: c, done: func(ctx context.Context, key string, keep time.Duration) error {
				return errors.Join(c.Done(ctx, key, keep), c.Done(ctx, strings.ToUpper(key[:1])+key[1:], keep))
			}}
		}},
		{"grants what has ended to all who ask", "of concurrent claims on what has ended", func(c *clocked) webhook.ReplayStore {
			h := &hooked{clocked: c}
			grants := map[string]int{}
			h.claim = func(ctx context.Context, key, owner string, lease time.Duration) (webhook.ClaimState, error) {
				state, err := c.Claim(ctx, key, owner, lease)
				h.locked(func() {
					if state == webhook.ClaimInFlight && grants[key] == 2 {
						state = webhook.ClaimGranted
					}
					if state == webhook.ClaimGranted {
						grants[key]++
					}
				})
				return state, err
			}
			return h
		}},
		{"looks, then claims over Done", "a claim at the same time as Done", func(c *clocked) webhook.ReplayStore {
			h := &hooked{clocked: c}
			state := map[string]string{}
			h.claim = func(_ context.Context, key, owner string, _ time.Duration) (webhook.ClaimState, error) {
				var is string
				h.locked(func() { is = state[key] })
				for range 100 {
					runtime.Gosched()
				}
				switch is {
				case "done":
					return webhook.ClaimDone, nil
				case "", owner:
					h.locked(func() { state[key] = owner })
					return webhook.ClaimGranted, nil
				}
				return webhook.ClaimInFlight, nil
			}
			h.done = func(_ context.Context, key string, _ time.Duration) error {
				for range 50 {
					runtime.Gosched()
				}
				h.locked(func() { state[key] = "done" })
				return nil
			}
			return h
		}},
		{"releases in two steps", "a Release at the same time as a claim", func(c *clocked) webhook.ReplayStore {
			h := &hooked{clocked: c}
			holder := map[string]string{}
			h.claim = func(_ context.Context, key, owner string, _ time.Duration) (state webhook.ClaimState, _ error) {
				for range 50 {
					runtime.Gosched()
				}
				h.locked(func() {
					state = webhook.ClaimInFlight
					if is := holder[key]; is == "" || is == owner {
						holder[key], state = owner, webhook.ClaimGranted
					}
				})
				return state, nil
			}
			h.release = func(_ context.Context, key, owner string) error {
				var held bool
				h.locked(func() {
					if held = holder[key] == owner; held {
						holder[key] = ""
					}
				})
				for range 100 {
					runtime.Gosched()
				}
				if held {
					h.locked(func() { delete(holder, key) })
				}
				return nil
			}
			return h
		}},
		{"serves one at a time", "calls about different keys", func(c *clocked) webhook.ReplayStore {
			h := &hooked{clocked: c}
			h.done = func(ctx context.Context, key string, keep time.Duration) error {
				if !h.hooks.TryLock() {
					return webhook.ErrFull // as a database that is locked
				}
				defer h.hooks.Unlock()
				for range 10 {
					runtime.Gosched()
				}
				return c.Done(ctx, key, keep)
			}
			return h
		}},
		{"knows no deadline", "a call whose context is over", func(c *clocked) webhook.ReplayStore {
			return &hooked{clocked: c, done: func(ctx context.Context, key string, keep time.Duration) error {
				if errors.Is(ctx.Err(), context.DeadlineExceeded) {
					return context.Canceled
				}
				return c.Done(ctx, key, keep)
			}}
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
			for _, c := range slices.Concat(checks, waits) {
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
