package apikey_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// A cacheModel plays a fleet at random and knows at each moment what a Verify
// may answer: how the key stood at some instant since the bound before it began,
// or since the last change that the same service had made by then.
type cacheModel struct {
	t        *testing.T
	random   *rand.Rand
	bound    time.Duration
	lossless bool
	members  []*member
	keys     []*modelKey
	slow     []pending
	steps    []string
}

// A member is a service with its line to the feed, on which notices wait.
type member struct {
	*apikey.Service
	store *staged
	feed  *stagedFeed
	line  *line
	queue []queued
	gate  gate
	hold  bool // the next look-up waits at the gate
}

type queued struct {
	at time.Time
	n  apikey.Notice
}

type modelKey struct {
	id, token, handle, owner string
	states                   []standing // the oldest first
}

// A standing is how a key stands from an instant on.
type standing struct {
	from time.Time
	by   int // the member that made it so
	good bool
}

// A pending Verify waits at the gate of its member.
type pending struct {
	by    int
	key   *modelKey
	began time.Time
	known int // the changes of the key made when it began, by all
	v     verdict
}

func TestCacheAgainstAModel(t *testing.T) {
	rounds := 150
	if testing.Short() || raceEnabled {
		rounds = 30
	}
	seed := rand.Uint64()
	for round := range rounds {
		for _, lossless := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				m := newCacheModel(t, rand.New(rand.NewPCG(seed, uint64(round))), lossless)
				defer func() {
					if t.Failed() {
						t.Logf("seed %d, round %d, lossless %t:", seed, round, lossless)
						for _, step := range m.steps {
							t.Log(step)
						}
					}
				}()
				for range 120 {
					m.step()
				}
				m.end()
			})
			if t.Failed() {
				return
			}
		}
	}
}

func newCacheModel(t *testing.T, random *rand.Rand, lossless bool) *cacheModel {
	m := &cacheModel{t: t, random: random, bound: 10 * time.Second, lossless: lossless}
	records := apikey.NewMemoryStore()
	format := newFormat(t, "gx", &apikey.FormatOptions{NoChecksum: true})
	for i := range 2 {
		own := &member{store: &staged{Store: records}, feed: newStagedFeed(lossless), gate: newGate()}
		own.gate.open = make(chan struct{}, 1)
		own.store.after = func(ctx context.Context) {
			if own.hold {
				own.hold = false
				own.gate.pass(ctx)
			}
		}
		o := apikey.CacheOptions{Bound: m.bound, MaxKeys: 2 + i*10, Feed: own.feed}
		if lossless {
			o.MaxAge = time.Hour
		}
		own.Service = newService(t, own.store, format, &apikey.Options{Cache: &o})
		own.line = <-own.feed.lines
		m.members = append(m.members, own)
	}
	for i := range 4 {
		owner := fmt.Sprint("o", i%2)
		issued := create(t, m.members[0].Service, apikey.Spec{Owner: owner})
		m.keys = append(m.keys, &modelKey{
			id: issued.Key.ID, token: issued.Secret.Reveal(), handle: must(records.ByID(t.Context(), issued.Key.ID))(t).Handle,
			owner: owner, states: []standing{{time.Now().Add(-time.Hour), -1, true}},
		})
	}
	return m
}

func (m *cacheModel) say(format string, args ...any) {
	m.steps = append(m.steps, time.Now().Format("05.000 ")+fmt.Sprintf(format, args...))
}

func (m *cacheModel) step() {
	by := m.random.IntN(len(m.members))
	own, key := m.members[by], m.keys[m.random.IntN(len(m.keys))]
	switch n := m.random.IntN(100); {
	case n < 40:
		m.verify(by, key)
	case n < 50:
		m.beginSlow(by, key)
	case n < 58:
		if len(m.slow) > 0 {
			m.endSlow(m.random.IntN(len(m.slow)))
		}
	case n < 68:
		m.turn(by, key)
	case n < 72:
		m.turnOwner(by, key.owner)
	case n < 84: // some of what waits is heard, and perhaps told to be all
		for len(own.queue) > 0 && m.random.IntN(3) > 0 {
			own.line.Heard(own.queue[0].n)
			own.queue = own.queue[1:]
		}
		at := time.Now()
		if len(own.queue) > 0 {
			at = own.queue[0].at
		}
		m.say("%d hears, alive at %s, %d left", by, at.Format("05.000"), len(own.queue))
		own.line.Alive(at)
	case n < 86: // the line breaks, and what waited on it is lost
		m.say("%d: line broke", by)
		own.line.cut <- errors.New("cut")
		own.queue = nil
		own.line = <-own.feed.lines
	default:
		d := time.Duration(m.random.Int64N(int64(m.bound) / 2))
		if n == 99 {
			d = 2 * m.bound
		}
		m.say("%v pass", d)
		pass(d)
	}
}

// turn switches a key off or on.
func (m *cacheModel) turn(by int, key *modelKey) {
	off := must(m.members[by].Get(m.t.Context(), key.id))(m.t).State == apikey.StateActive
	verb := m.members[by].Enable
	if off {
		verb = m.members[by].Disable
	}
	k := must(verb(m.t.Context(), key.id))(m.t)
	m.say("%d: %s is %v", by, key.id, k.State)
	m.changed(by, apikey.Notice{Handle: key.handle})
}

func (m *cacheModel) turnOwner(by int, owner string) {
	s := m.members[by]
	if must(s.Owner(m.t.Context(), owner))(m.t).Suspended {
		must(s.RestoreOwner(m.t.Context(), owner, ""))(m.t)
	} else {
		must(s.SuspendOwner(m.t.Context(), owner, ""))(m.t)
	}
	m.say("%d: %s turned", by, owner)
	m.changed(by, apikey.Notice{Owner: owner})
}

// changed notes how all keys stand now and, as the feed would, sends a notice.
// One that is not lossless loses some.
func (m *cacheModel) changed(by int, n apikey.Notice) {
	for _, key := range m.keys {
		k := must(m.members[by].Get(m.t.Context(), key.id))(m.t)
		if n.Handle == key.handle || n.Owner == key.owner {
			key.states = append(key.states, standing{time.Now(), by, k.State == apikey.StateActive && !k.Suspended})
		}
	}
	for _, other := range m.members {
		if m.lossless || m.random.IntN(3) > 0 {
			other.queue = append(other.queue, queued{time.Now(), n})
		}
	}
	pass(1) // no two changes at one instant
}

func (m *cacheModel) verify(by int, key *modelKey) {
	if m.waiting(by) { // it might wait for a read that is held
		return
	}
	began, known := time.Now(), len(key.states)
	_, err := m.members[by].Verify(m.t.Context(), key.token, nil)
	m.judge(by, key, began, known, err)
}

func (m *cacheModel) waiting(by int) bool {
	for _, p := range m.slow {
		if p.by == by {
			return true
		}
	}
	return false
}

// beginSlow begins a Verify whose read, if there is one, is held.
func (m *cacheModel) beginSlow(by int, key *modelKey) {
	own := m.members[by]
	if m.waiting(by) {
		return
	}
	own.hold = true
	p := pending{by, key, time.Now(), len(key.states), verifying(m.t.Context(), own.Service, key.token)}
	select {
	case <-own.gate.reached:
		m.say("%d: %s is being read", by, key.id)
		m.slow = append(m.slow, p)
	case err := <-p.v:
		own.hold = false
		m.judge(by, key, p.began, p.known, err)
	}
}

func (m *cacheModel) endSlow(i int) {
	p := m.slow[i]
	m.slow = append(m.slow[:i], m.slow[i+1:]...)
	m.members[p.by].gate.open <- struct{}{}
	m.judge(p.by, p.key, p.began, p.known, <-p.v)
}

// judge fails the test unless the key stood so at an instant that the answer may
// go by.
func (m *cacheModel) judge(by int, key *modelKey, began time.Time, known int, err error) {
	m.t.Helper()
	m.say("%d: %s begun at %s: %v", by, key.id, began.Format("05.000"), err)
	if err != nil && !errors.Is(err, apikey.ErrDisabled) && !errors.Is(err, apikey.ErrSuspended) {
		m.t.Fatalf("Verify = %v", err)
	}
	oldest := 0 // the oldest standing that counts
	for i, s := range key.states[:known] {
		if s.by == by || !s.from.After(began.Add(-m.bound)) {
			oldest = i
		}
	}
	for _, s := range key.states[oldest:] {
		if s.good == (err == nil) {
			return
		}
	}
	m.t.Errorf("%d: %s begun at %v: %v, and it stood so at no instant that counts: %v", by, key.id, began, err, key.states[oldest:])
}

func (m *cacheModel) end() {
	for len(m.slow) > 0 {
		m.endSlow(0)
	}
	for _, own := range m.members {
		must(0, own.Close(m.t.Context()))(m.t)
	}
}
