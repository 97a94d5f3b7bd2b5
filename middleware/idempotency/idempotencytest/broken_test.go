package idempotencytest

import (
	"bytes"
	"context"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware/idempotency"
)

// A bent store replaces methods of a good one.
type bent struct {
	idempotency.Store

	mu    sync.Mutex
	notes map[idempotency.Key]idempotency.Claim // the latest that was Claimed; guarded by mu
	found map[idempotency.Key]idempotency.Found // its answer; guarded by mu
	count map[idempotency.Key]int               // guarded by mu

	claim   func(ctx context.Context, c idempotency.Claim) (idempotency.Found, error)
	finish  func(ctx context.Context, key idempotency.Key, token idempotency.Token, answer []byte, keep time.Duration) error
	abandon func(ctx context.Context, key idempotency.Key, token idempotency.Token) error
}

func (b *bent) Claim(ctx context.Context, c idempotency.Claim) (idempotency.Found, error) {
	claim := b.Store.Claim
	if b.claim != nil {
		claim = b.claim
	}
	f, err := claim(ctx, c)
	if f.State == idempotency.Claimed {
		b.locked(func() { b.notes[c.Key], b.found[c.Key] = c, f })
	}
	return f, err
}

func (b *bent) Finish(ctx context.Context, key idempotency.Key, token idempotency.Token, answer []byte, keep time.Duration) error {
	if b.finish != nil {
		return b.finish(ctx, key, token, answer, keep)
	}
	return b.Store.Finish(ctx, key, token, answer, keep)
}

func (b *bent) Abandon(ctx context.Context, key idempotency.Key, token idempotency.Token) error {
	if b.abandon != nil {
		return b.abandon(ctx, key, token)
	}
	return b.Store.Abandon(ctx, key, token)
}

func (b *bent) locked(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

// note returns the claim that is noted of key.
func (b *bent) note(key idempotency.Key) (c idempotency.Claim) {
	b.locked(func() { c = b.notes[key] })
	return c
}

// Each of these stores breaks one promise; the suite has to notice.
func TestTheSuiteRejectsBrokenStores(t *testing.T) {
	type (
		claim = idempotency.Claim
		found = idempotency.Found
		key   = idempotency.Key
		tok   = idempotency.Token
	)
	for _, broken := range []struct {
		name    string
		promise string // what it has to fail
		bend    func(b *bent)
	}{
		{"claims everything", "is Running for others", func(b *bent) {
			b.claim = func(_ context.Context, c claim) (found, error) {
				return found{State: idempotency.Claimed, First: c.Token}, nil
			}
		}},
		{"claims nothing", "a key for which nothing is kept is Claimed", func(b *bent) {
			b.claim = func(context.Context, claim) (found, error) {
				return found{State: idempotency.Running, Wait: 1}, nil
			}
		}},
		{"tells no First", "first of its kind", func(b *bent) {
			b.claim = func(ctx context.Context, c claim) (found, error) {
				f, err := b.Store.Claim(ctx, c)
				f.First = tok{}
				return f, err
			}
		}},
		{"counts turns from 1", "first of its kind", func(b *bent) {
			b.claim = func(ctx context.Context, c claim) (found, error) {
				f, err := b.Store.Claim(ctx, c)
				f.Turn++
				return f, err
			}
		}},
		{"tells the last token as First", "each that takes over has the First and the next Turn", func(b *bent) {
			b.claim = func(ctx context.Context, c claim) (found, error) {
				last := b.note(c.Key)
				f, err := b.Store.Claim(ctx, c)
				if f.Turn > 1 {
					f.First = last.Token
				}
				return f, err
			}
		}},
		{"counts again as a turn", "the same token is Claimed again", func(b *bent) {
			b.claim = func(ctx context.Context, c claim) (found, error) {
				f, err := b.Store.Claim(ctx, c)
				b.locked(func() {
					if was := b.notes[c.Key]; f.State == idempotency.Claimed && was.Token == c.Token {
						f.Turn = b.found[c.Key].Turn + 1
					}
				})
				return f, err
			}
		}},
		{"refuses the same token", "the same token is Claimed again", func(b *bent) {
			b.claim = func(ctx context.Context, c claim) (found, error) {
				f, err := b.Store.Claim(ctx, c)
				if was := b.note(c.Key); f.State == idempotency.Claimed && was.Token == c.Token {
					return found{State: idempotency.Running, Wait: c.Lease}, nil
				}
				return f, err
			}
		}},
		{"forgets that it waits", "with what is left of it", func(b *bent) {
			b.claim = func(ctx context.Context, c claim) (found, error) {
				f, err := b.Store.Claim(ctx, c)
				f.Wait = 0
				return f, err
			}
		}},
		{"tells the caller's lease as wait", "with what is left of it", func(b *bent) {
			b.claim = func(ctx context.Context, c claim) (found, error) {
				f, err := b.Store.Claim(ctx, c)
				if f.State == idempotency.Running {
					f.Wait = c.Lease
				}
				return f, err
			}
		}},
		{"does not look at fingerprints", "another fingerprint is Mismatch", func(b *bent) {
			b.claim = func(ctx context.Context, c claim) (found, error) {
				c.Fingerprint = idempotency.Fingerprint{}
				return b.Store.Claim(ctx, c)
			}
		}},
		{"trusts the token before the fingerprint", "for the same token", func(b *bent) {
			b.claim = func(ctx context.Context, c claim) (found, error) {
				if was := b.note(c.Key); was.Token == c.Token {
					c.Fingerprint = was.Fingerprint
				}
				return b.Store.Claim(ctx, c)
			}
		}},
		{"forgets the fingerprint of what is done", "an answer with another fingerprint is Mismatch", func(b *bent) {
			b.claim = func(ctx context.Context, c claim) (found, error) {
				was := c
				b.locked(func() {
					if b.count[c.Key] > 0 {
						was.Fingerprint = b.notes[c.Key].Fingerprint
					}
				})
				return b.Store.Claim(ctx, was)
			}
			b.finish = func(ctx context.Context, k key, token tok, answer []byte, keep time.Duration) error {
				err := b.Store.Finish(ctx, k, token, answer, keep)
				b.locked(func() {
					if err == nil {
						b.count[k]++
					}
				})
				return err
			}
		}},
		{"lets whoever takes over send another request", "another fingerprint is Mismatch after the lease too", func(b *bent) {
			b.claim = func(ctx context.Context, c claim) (found, error) {
				f, err := b.Store.Claim(ctx, c)
				if was := b.note(c.Key); f.State == idempotency.Mismatch {
					probe := was
					probe.Token[0] ^= 1
					if g, _ := b.Store.Claim(ctx, probe); g.State == idempotency.Claimed && g.Turn > 0 {
						return g, nil
					}
				}
				return f, err
			}
		}},
		{"forgets a claim with its lease", "a lease ends after its length, not before, and is taken over then", func(b *bent) {
			b.claim = func(ctx context.Context, c claim) (found, error) {
				c.Keep = 0
				return b.Store.Claim(ctx, c)
			}
		}},
		{"keeps claims for ever", "a claim is kept for its Lease and then its Keep", func(b *bent) {
			b.claim = func(ctx context.Context, c claim) (found, error) {
				c.Keep = idempotency.MaxTime
				return b.Store.Claim(ctx, c)
			}
		}},
		{"keeps one lease for all", "the same token begins Lease and Keep anew", func(b *bent) {
			b.claim = func(ctx context.Context, c claim) (found, error) {
				if was := b.note(c.Key); was.Token == c.Token {
					c.Lease, c.Keep = was.Lease, was.Keep
				}
				return b.Store.Claim(ctx, c)
			}
		}},
		{"never makes a lease shorter", "longer or shorter", func(b *bent) {
			b.claim = func(ctx context.Context, c claim) (found, error) {
				if was := b.note(c.Key); was.Token == c.Token {
					c.Lease = max(c.Lease, was.Lease)
				}
				return b.Store.Claim(ctx, c)
			}
		}},
		{"lengthens the lease when others ask", "what is answered Running or Mismatch is not changed", func(b *bent) {
			b.claim = func(ctx context.Context, c claim) (found, error) {
				f, err := b.Store.Claim(ctx, c)
				if was := b.note(c.Key); f.State == idempotency.Running {
					_, _ = b.Store.Claim(ctx, was)
				}
				return f, err
			}
		}},
		{"rounds leases up to seconds", "the shortest and the longest", func(b *bent) {
			b.claim = func(ctx context.Context, c claim) (found, error) {
				c.Lease = max(c.Lease, time.Second)
				return b.Store.Claim(ctx, c)
			}
		}},
		{"overflows", "the shortest and the longest", func(b *bent) {
			b.finish = func(ctx context.Context, k key, token tok, answer []byte, keep time.Duration) error {
				if keep > 100*24*time.Hour {
					keep = time.Microsecond
				}
				return b.Store.Finish(ctx, k, token, answer, keep)
			}
		}},
		{"asks without a lock", "of 64 claims on one key at once", func(b *bent) {
			taken := map[key]claim{}
			b.claim = func(_ context.Context, c claim) (found, error) {
				var was claim
				b.locked(func() { was = taken[c.Key] })
				for range 10 {
					runtime.Gosched()
				}
				if was.Token != (tok{}) && was.Token != c.Token {
					return found{State: idempotency.Running, Wait: 1}, nil
				}
				b.locked(func() { taken[c.Key] = c })
				return found{State: idempotency.Claimed, First: c.Token}, nil
			}
		}},
		{"gives what is over to all who ask", "of 64 claims at once on what is over", func(b *bent) {
			b.claim = func(ctx context.Context, c claim) (found, error) {
				f, err := b.Store.Claim(ctx, c)
				b.locked(func() {
					if was := b.found[c.Key]; f.State == idempotency.Running && was.Turn > 0 {
						f = was
					}
				})
				return f, err
			}
		}},
		{"takes answers from anybody", "Finish of another's claim is ErrLost", func(b *bent) {
			b.finish = func(ctx context.Context, k key, token tok, answer []byte, keep time.Duration) error {
				if was := b.note(k); was.Token != (tok{}) {
					token = was.Token
				}
				return b.Store.Finish(ctx, k, token, answer, keep)
			}
		}},
		{"takes answers to what was never asked", "Finish of what was never claimed", func(b *bent) {
			b.finish = func(ctx context.Context, k key, token tok, answer []byte, keep time.Duration) error {
				err := b.Store.Finish(ctx, k, token, answer, keep)
				if errors.Is(err, idempotency.ErrLost) && b.note(k).Token == (tok{}) {
					return nil
				}
				return err
			}
		}},
		{"has an error of its own", "ErrLost has code Conflict", func(b *bent) {
			b.finish = func(ctx context.Context, k key, token tok, answer []byte, keep time.Duration) error {
				if err := b.Store.Finish(ctx, k, token, answer, keep); err != nil {
					return errors.New(err.Error())
				}
				return nil
			}
		}},
		{"refuses to finish after the lease", "is still the caller's while nobody took it over", func(b *bent) {
			b.finish = func(ctx context.Context, k key, token tok, answer []byte, keep time.Duration) error {
				other := b.note(k)
				other.Token[0] ^= 1
				if f, _ := b.Store.Claim(ctx, other); f.State == idempotency.Claimed {
					return idempotency.ErrLost
				}
				return b.Store.Finish(ctx, k, token, answer, keep)
			}
		}},
		{"keeps the last answer", "keeps the first answer", func(b *bent) {
			last := map[key][]byte{}
			b.finish = func(ctx context.Context, k key, token tok, answer []byte, keep time.Duration) error {
				err := b.Store.Finish(ctx, k, token, answer, keep)
				b.locked(func() {
					if err == nil {
						last[k] = bytes.Clone(answer)
					}
				})
				return err
			}
			b.claim = func(ctx context.Context, c claim) (found, error) {
				f, err := b.Store.Claim(ctx, c)
				b.locked(func() {
					if f.State == idempotency.Done {
						f.Answer = last[c.Key]
					}
				})
				return f, err
			}
		}},
		{"minds finishing twice", "Finish again with the same token is nil", func(b *bent) {
			b.finish = func(ctx context.Context, k key, token tok, answer []byte, keep time.Duration) error {
				again := false
				b.locked(func() { again = b.count[k] > 0 })
				if again {
					return idempotency.ErrLost
				}
				err := b.Store.Finish(ctx, k, token, answer, keep)
				b.locked(func() {
					if err == nil {
						b.count[k]++
					}
				})
				return err
			}
		}},
		{"keeps answers by the lease", "an answer outlasts the claim it replaces", func(b *bent) {
			b.finish = func(ctx context.Context, k key, token tok, answer []byte, keep time.Duration) error {
				if was := b.note(k); was.Lease > 0 {
					keep = min(keep, was.Lease)
				}
				return b.Store.Finish(ctx, k, token, answer, keep)
			}
		}},
		{"keeps answers too long", "an answer is kept for its time, not longer", func(b *bent) {
			b.finish = func(ctx context.Context, k key, token tok, answer []byte, keep time.Duration) error {
				return b.Store.Finish(ctx, k, token, answer, keep+time.Second)
			}
		}},
		{"cuts answers", "byte by byte", func(b *bent) {
			b.finish = func(ctx context.Context, k key, token tok, answer []byte, keep time.Duration) error {
				return b.Store.Finish(ctx, k, token, answer[:min(len(answer), 1<<20)], keep)
			}
		}},
		{"keeps answers as text", "byte by byte", func(b *bent) {
			b.finish = func(ctx context.Context, k key, token tok, answer []byte, keep time.Duration) error {
				return b.Store.Finish(ctx, k, token, bytes.ToValidUTF8(answer, []byte("?")), keep)
			}
		}},
		{"shares its memory", "answers are copied", func(b *bent) {
			kept := map[key][]byte{}
			b.finish = func(ctx context.Context, k key, token tok, answer []byte, keep time.Duration) error {
				err := b.Store.Finish(ctx, k, token, answer, keep)
				b.locked(func() {
					if err == nil && kept[k] == nil {
						kept[k] = answer
					}
				})
				return err
			}
			b.claim = func(ctx context.Context, c claim) (found, error) {
				f, err := b.Store.Claim(ctx, c)
				b.locked(func() {
					if f.State == idempotency.Done {
						f.Answer = kept[c.Key]
					}
				})
				return f, err
			}
		}},
		{"never abandons", "what was abandoned begins anew", func(b *bent) {
			b.abandon = func(ctx context.Context, _ key, _ tok) error { return ctx.Err() }
		}},
		{"abandons for whoever asks", "Abandon of another's claim does nothing", func(b *bent) {
			b.abandon = func(ctx context.Context, k key, _ tok) error { return b.Store.Abandon(ctx, k, b.note(k).Token) }
		}},
		{"minds abandoning what is not there", "Abandon of what is not kept", func(b *bent) {
			b.abandon = func(ctx context.Context, k key, token tok) error {
				if b.note(k).Token == (tok{}) {
					return idempotency.ErrLost
				}
				return b.Store.Abandon(ctx, k, token)
			}
		}},
		{"remembers turns of what was abandoned", "what was abandoned after others took over", func(b *bent) {
			b.claim = func(ctx context.Context, c claim) (found, error) {
				f, err := b.Store.Claim(ctx, c)
				b.locked(func() {
					if was := b.found[c.Key]; f.State == idempotency.Claimed && f.Turn == 0 && was.Turn > 0 {
						f = was
					}
				})
				return f, err
			}
		}},
		{"folds keys", "count in all their bytes", func(b *bent) {
			b.claim = func(ctx context.Context, c claim) (found, error) {
				c.Key[31] &^= 0x20
				return b.Store.Claim(ctx, c)
			}
		}},
		{"cuts tokens", "count in all their bytes", func(b *bent) {
			b.abandon = func(ctx context.Context, k key, token tok) error {
				was := b.note(k)
				if bytes.Equal(was.Token[:15], token[:15]) {
					token = was.Token
				}
				return b.Store.Abandon(ctx, k, token)
			}
		}},
		{"serves one at a time", "calls about different keys", func(b *bent) {
			var busy sync.Mutex
			b.finish = func(ctx context.Context, k key, token tok, answer []byte, keep time.Duration) error {
				if !busy.TryLock() {
					return &errors.Error{Code: errors.Unavailable, Msg: "locked"} // as a database that is locked
				}
				defer busy.Unlock()
				for range 10 {
					runtime.Gosched()
				}
				return b.Store.Finish(ctx, k, token, answer, keep)
			}
		}},
		{"ignores the context", "a call whose context is over", func(b *bent) {
			b.claim = func(ctx context.Context, c claim) (found, error) {
				return b.Store.Claim(context.WithoutCancel(ctx), c)
			}
		}},
		{"notices the context too late", "a call whose context is over", func(b *bent) {
			b.abandon = func(ctx context.Context, k key, token tok) error {
				return errors.Join(b.Store.Abandon(context.WithoutCancel(ctx), k, token), ctx.Err())
			}
		}},
		{"forgets when it is full", "a full store refuses newcomers with Exhausted and forgets nothing", func(b *bent) {
			b.claim = func(ctx context.Context, c claim) (found, error) {
				f, err := b.Store.Claim(ctx, c)
				if errors.CodeOf(err) == errors.Exhausted {
					b.locked(func() {
						for k, was := range b.notes {
							_ = b.Store.Abandon(ctx, k, was.Token)
							delete(b.notes, k)
							break
						}
					})
				}
				return f, err
			}
		}},
		{"has an error of its own when it is full", "a full store refuses newcomers with Exhausted", func(b *bent) {
			b.claim = func(ctx context.Context, c claim) (found, error) {
				f, err := b.Store.Claim(ctx, c)
				if errors.CodeOf(err) == errors.Exhausted {
					err = errors.New("full")
				}
				return f, err
			}
		}},
		{"has no room for small answers", "a small answer has room", func(b *bent) {
			full := false
			b.claim = func(ctx context.Context, c claim) (found, error) {
				f, err := b.Store.Claim(ctx, c)
				b.locked(func() { full = full || err != nil })
				return f, err
			}
			b.finish = func(ctx context.Context, k key, token tok, answer []byte, keep time.Duration) error {
				var no bool
				b.locked(func() { no = full })
				if no {
					return &errors.Error{Code: errors.Exhausted}
				}
				return b.Store.Finish(ctx, k, token, answer, keep)
			}
		}},
		{"loses the claim with its answer", "an answer without room is Exhausted and its claim stays", func(b *bent) {
			b.finish = func(ctx context.Context, k key, token tok, answer []byte, keep time.Duration) error {
				err := b.Store.Finish(ctx, k, token, answer, keep)
				if errors.CodeOf(err) == errors.Exhausted {
					_ = b.Store.Abandon(ctx, k, token)
				}
				return err
			}
		}},
		{"never has room again", "has room for what was abandoned", func(b *bent) {
			full := false
			b.claim = func(ctx context.Context, c claim) (found, error) {
				var no bool
				b.locked(func() { no = full })
				if no && b.note(c.Key).Token == (tok{}) {
					return found{}, &errors.Error{Code: errors.Exhausted}
				}
				f, err := b.Store.Claim(ctx, c)
				b.locked(func() { full = full || errors.CodeOf(err) == errors.Exhausted })
				return f, err
			}
		}},
	} {
		t.Run(broken.name, func(t *testing.T) {
			t.Parallel()
			var failed []string
			bend := func(s idempotency.Store) idempotency.Store {
				b := &bent{Store: s, notes: map[idempotency.Key]idempotency.Claim{}, found: map[idempotency.Key]idempotency.Found{}, count: map[idempotency.Key]int{}}
				broken.bend(b)
				return b
			}
			for i, c := range slices.Concat(checks, waits, bounds) {
				if !strings.Contains(c.promise, broken.promise) {
					continue // all of them for all stores would take long
				}
				f := clocked(t)
				f.Store, f.Small = bend(f.Store), bend(f.Small)
				s := newSubject(f)
				if i >= len(checks)+len(waits) {
					s = s.inSmall()
				}
				if err := c.run(t.Context(), s); err != nil {
					failed = append(failed, c.promise)
				}
			}
			if len(failed) == 0 {
				t.Errorf("the suite did not hold %q against it", broken.promise)
			}
		})
	}
}
