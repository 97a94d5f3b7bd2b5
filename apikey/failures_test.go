package apikey_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// A guarded service has keys whose texts can be presented with wrong secrets.
type guarded struct {
	vault
	format *apikey.Format
}

func newGuarded(t testing.TB, o apikey.FailureOptions) guarded {
	t.Helper()
	v := vault{store: apikey.NewMemoryStore(), clock: newClock()}
	f := newFormat(t, "gx", &apikey.FormatOptions{NoChecksum: true})
	v.Service = newService(t, v.store, f, &apikey.Options{Now: v.clock.now, Failures: &o})
	return guarded{v, f}
}

// guess presents a wrong secret for a key, n times.
func (g guarded) guess(t testing.TB, issued apikey.Issued, n int) {
	t.Helper()
	token := issued.Secret.Reveal()
	token = token[:len(token)-8] + "wrongone"
	for range n {
		if _, err := g.Verify(t.Context(), token, nil); !errors.Is(err, apikey.ErrUnknown) {
			t.Fatalf("a guess: %v", err)
		}
	}
}

func (g guarded) flush(t testing.TB) {
	t.Helper()
	if err := g.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// told returns what was told of each key, "" for the rest.
func (g guarded) told(t testing.TB) map[string]int64 {
	t.Helper()
	counts := make(map[string]int64)
	for _, e := range g.events(t, apikey.EventFailures) {
		counts[e.Key] += e.Count
	}
	return counts
}

// Support can answer who tries keys, and of whom.
func TestBurstOfWrongSecretsIsToldOfItsKey(t *testing.T) {
	g := newGuarded(t, apikey.FailureOptions{Least: 10})
	quiet, loud := create(t, g.Service, apikey.Spec{Owner: "acct_1"}), create(t, g.Service, apikey.Spec{Owner: "acct_2"})
	g.guess(t, quiet, 9)
	g.guess(t, loud, 10)
	g.flush(t)
	events := g.events(t, apikey.EventFailures)
	if len(events) != 1 || events[0].Key != loud.Key.ID || events[0].Owner != "acct_2" || events[0].Count != 10 || events[0].Note != "wrong secret" || !events[0].At.Equal(g.clock.at) {
		t.Fatalf("told %+v", events)
	}
	g.guess(t, loud, 500) // told once an interval
	g.flush(t)
	if told := g.told(t); told[loud.Key.ID] != 10 {
		t.Errorf("told of %d within the interval", told[loud.Key.ID])
	}
	g.clock.advance(time.Hour)
	g.flush(t)
	if told := g.told(t); told[loud.Key.ID] != 510 || len(told) != 1 {
		t.Errorf("told %v, want the rest of the burst", told)
	}
	g.clock.advance(time.Hour)
	g.flush(t)
	if n := len(g.events(t, apikey.EventFailures)); n != 2 {
		t.Errorf("%d events of two bursts", n)
	}
}

// What cannot be laid at a key's door is told by cause, without any text of the
// attacker's.
func TestOtherRefusalsAreToldTogetherByCause(t *testing.T) {
	g := newGuarded(t, apikey.FailureOptions{Least: 10})
	off, gone := create(t, g.Service, apikey.Spec{}), create(t, g.Service, apikey.Spec{})
	must(g.Disable(t.Context(), off.Key.ID))(t)
	if err := g.Delete(t.Context(), gone.Key.ID); err != nil {
		t.Fatal(err)
	}
	strange := generate(t, g.format, "")
	for token, n := range map[string]int{"garbage\x00": 3, strange: 2, off.Secret.Reveal(): 4, gone.Secret.Reveal(): 1} {
		for range n {
			_, _ = g.Verify(t.Context(), token, nil)
		}
	}
	g.flush(t)
	events := g.events(t, apikey.EventFailures)
	if len(events) != 1 || events[0].Owner != "" || events[0].Key != "" || events[0].Count != 10 ||
		events[0].Note != "malformed 3, unknown 2, deleted 1, disabled 4" || strings.Contains(fmt.Sprint(events), strange) {
		t.Errorf("told %+v", events)
	}
	for range 100 {
		_, _ = g.Verify(t.Context(), "garbage", nil)
	}
	g.flush(t)
	if told := g.told(t); told[""] != 10 {
		t.Errorf("told of %d within the interval", told[""])
	}
	g.clock.advance(time.Hour)
	g.flush(t)
	if told := g.told(t); told[""] != 110 {
		t.Errorf("told of %d after it, want 110", told[""])
	}
}

func TestAFewFailuresAreNoEvent(t *testing.T) {
	g := newGuarded(t, apikey.FailureOptions{})
	issued := create(t, g.Service, apikey.Spec{})
	for range 48 { // two days of somebody who mistypes
		g.guess(t, issued, 40)
		for range 40 {
			_, _ = g.Verify(t.Context(), "typo", nil)
		}
		g.clock.advance(30 * time.Minute)
		g.flush(t)
		g.clock.advance(30*time.Minute + 1)
		g.flush(t)
	}
	if events := g.events(t, apikey.EventFailures); len(events) != 0 {
		t.Errorf("told %+v", events)
	}
}

// An attacker who knows every handle fills neither the memory nor the history:
// a million failures over a hundred thousand handles in an hour.
func TestFloodOverManyHandlesWritesFewEvents(t *testing.T) {
	t.Parallel()
	handles, failures := 100_000, 1_000_000
	if testing.Short() || raceEnabled {
		handles, failures = 10_000, 100_000
	}
	g := newGuarded(t, apikey.FailureOptions{})
	tokens := make([]string, handles)
	for i := range tokens {
		token := create(t, g.Service, apikey.Spec{Owner: fmt.Sprint("acct_", i)}).Secret.Reveal()
		tokens[i] = token[:len(token)-8] + "wrongone"
	}
	victim := create(t, g.Service, apikey.Spec{Owner: "victim"})
	random := rand.New(rand.NewPCG(1, 2))
	minutes := 60
	for range minutes {
		for range failures / minutes {
			_, _ = g.Verify(t.Context(), tokens[random.IntN(handles)], nil)
		}
		g.guess(t, victim, failures/minutes/100) // one in a hundred is for one key
		g.clock.advance(time.Minute - time.Nanosecond)
		g.flush(t)
	}
	const most = 16 + 1
	if n := len(g.events(t, apikey.EventFailures)); n > most {
		t.Errorf("%d events in an hour, want at most %d", n, most)
	}
	if told := g.told(t); told[victim.Key.ID] < 100 {
		t.Errorf("told %v: who is tried most is not told of", told)
	}
	g.clock.advance(time.Hour)
	g.flush(t)
	if n := len(g.events(t, apikey.EventFailures)); n > 2*most {
		t.Errorf("%d events in two intervals, want at most %d", n, 2*most)
	}
	var sum int64
	for _, n := range g.told(t) {
		sum += n
	}
	if want := int64(minutes * (failures/minutes + failures/minutes/100)); sum != want {
		t.Errorf("told of %d failures, want %d", sum, want)
	}
}

// Of many keys that are tried, those that are tried most are told of, and the
// others are not lost.
func TestMostTriedKeysAreToldOf(t *testing.T) {
	g := newGuarded(t, apikey.FailureOptions{Least: 10, MostKeys: 3})
	var keys []apikey.Issued
	var sum int64
	for i := range 10 {
		keys = append(keys, create(t, g.Service, apikey.Spec{}))
		g.guess(t, keys[i], 10+i)
		sum += int64(10 + i)
	}
	g.flush(t)
	told := g.told(t)
	if len(told) != 3 || told[keys[9].Key.ID] != 19 || told[keys[8].Key.ID] != 18 || told[keys[7].Key.ID] != 17 {
		t.Errorf("told %v, want the last three", told)
	}
	late := create(t, g.Service, apikey.Spec{})
	g.guess(t, late, 1000)
	sum += 1000
	g.flush(t)
	if told := g.told(t); len(told) != 3 {
		t.Errorf("told %v, want no more in the interval", told)
	}
	g.clock.advance(time.Hour)
	g.flush(t)
	var all int64
	for _, n := range g.told(t) {
		all += n
	}
	if all != sum {
		t.Errorf("told of %d failures, want %d", all, sum)
	}
}

func TestFailedWriteOfFailuresLosesNone(t *testing.T) {
	down := errors.New("down")
	broken := func() error { return down }
	var fault func() error
	c := newClock()
	store := &scripted{apikey.NewMemoryStore(), func(verb string) error {
		if verb == "Apply" && fault != nil {
			return fault()
		}
		return nil
	}}
	f := newFormat(t, "gx", &apikey.FormatOptions{NoChecksum: true})
	g := guarded{vault{newService(t, store, f, &apikey.Options{Now: c.now, Failures: &apikey.FailureOptions{Least: 10}}), store.MemoryStore, c}, f}
	issued := create(t, g.Service, apikey.Spec{})
	g.guess(t, issued, 10)
	for range 20 {
		_, _ = g.Verify(t.Context(), "garbage", nil)
	}
	fault = broken
	for range 3 {
		if err := g.Flush(t.Context()); !errors.Is(err, down) || errors.CodeOf(err) != errors.Unavailable {
			t.Errorf("Flush = %v, want unavailable", err)
		}
	}
	fault = func() error { panic("the driver's fault") }
	func() {
		defer func() { _ = recover() }()
		_ = g.Flush(t.Context())
	}()
	fault = nil
	g.guess(t, issued, 1)
	g.flush(t)
	if told := g.told(t); told[issued.Key.ID] != 11 || told[""] != 20 {
		t.Errorf("told %v, want 11 of the key and 20 of the rest", told)
	}
}

func TestFailuresCanBeLeftUncounted(t *testing.T) {
	g := newGuarded(t, apikey.FailureOptions{Off: true, Least: 1})
	g.guess(t, create(t, g.Service, apikey.Spec{}), 10)
	g.flush(t)
	if told := g.told(t); len(told) != 0 {
		t.Errorf("told %v", told)
	}
}

func TestFailureOptionsAreChecked(t *testing.T) {
	_, err := apikey.NewService(apikey.NewMemoryStore(), newFormat(t, "gx", nil), &apikey.Options{
		Failures: &apikey.FailureOptions{Every: -1, Least: -1, MostKeys: 1000}, MaxSightings: -1,
	})
	for _, part := range []string{"Failures.Every", "Failures.Least", "Failures.MostKeys", "MaxSightings"} {
		if !strings.Contains(fmt.Sprint(err), part) {
			t.Errorf("%v does not say %s", err, part)
		}
	}
}

// A clock that is set back begins a new interval, and stops nothing.
func TestFailuresSurviveAClockSetBack(t *testing.T) {
	g := newGuarded(t, apikey.FailureOptions{Least: 10})
	issued := create(t, g.Service, apikey.Spec{})
	for range 3 {
		g.guess(t, issued, 10)
		g.clock.advance(-24 * time.Hour)
		g.flush(t)
	}
	if told := g.told(t); told[issued.Key.ID] != 30 {
		t.Errorf("told %v, want 30", told)
	}
}

// Nobody waits for anybody, and every failure is counted once.
func TestConcurrentFailuresAreAllCounted(t *testing.T) {
	g := newGuarded(t, apikey.FailureOptions{Least: 1})
	issued := create(t, g.Service, apikey.Spec{})
	const workers, each = 8, 2000
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() { g.guess(t, issued, each) })
	}
	for range 2 {
		wg.Go(func() {
			for range 50 {
				g.flush(t)
			}
		})
	}
	wg.Wait()
	last := g.clock.at.Add(time.Hour)
	g.clock.at = last
	g.flush(t)
	var sum int64
	for _, n := range g.told(t) {
		sum += n
	}
	if sum != workers*each {
		t.Errorf("told of %d failures, want %d", sum, workers*each)
	}
}

func TestFailureAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	g := newGuarded(t, apikey.FailureOptions{})
	token := create(t, g.Service, apikey.Spec{}).Secret.Reveal()
	token = token[:len(token)-8] + "wrongone"
	for name, token := range map[string]string{"malformed": "garbage", "unknown": generate(t, g.format, ""), "wrong secret": token} {
		if n := testing.AllocsPerRun(1000, func() { _, _ = g.Verify(t.Context(), token, nil) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
