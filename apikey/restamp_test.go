package apikey_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

func pepperOf(version uint32) apikey.Pepper {
	return apikey.Pepper{Version: version, Secret: bytes.Repeat([]byte{byte(version)}, 32)}
}

func flush(t testing.TB, s *apikey.Service) {
	t.Helper()
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func version(t testing.TB, store apikey.Store, id string) uint32 {
	t.Helper()
	return must(store.ByID(t.Context(), id))(t).Digest.Version
}

// Adopting a pepper is a rotation of its own (mitos#743: it silently killed all
// keys). No key dies, each moves with its first use, and the census tells when
// the old one can go.
func TestAdoptingAPepperKillsNoKeyAndConverges(t *testing.T) {
	store := apikey.NewMemoryStore()
	plain := newService(t, store, nil, nil)
	var tokens, ids []string
	for range 2500 {
		issued := create(t, plain, apikey.Spec{})
		tokens, ids = append(tokens, issued.Secret.Reveal()), append(ids, issued.Key.ID)
	}
	s := newService(t, store, nil, &apikey.Options{Peppers: []apikey.Pepper{pepperOf(1)}})
	for i, token := range tokens {
		if _, err := s.Verify(t.Context(), token, nil); err != nil {
			t.Fatal(err)
		}
		if i == 1000 {
			flush(t, s)
			if got, want := must(s.Census(t.Context()))(t), []apikey.Count{{Version: 0, Keys: 1499}, {Version: 1, Keys: 1001}}; !slices.Equal(got, want) {
				t.Errorf("half way: census %v, want %v", got, want)
			}
		}
	}
	flush(t, s)
	if got, want := must(s.Census(t.Context()))(t), []apikey.Count{{Version: 1, Keys: 2500}}; !slices.Equal(got, want) {
		t.Errorf("census %v, want %v", got, want)
	}
	// Under the pepper now: a thief of the store cannot test guesses.
	if _, err := plain.Verify(t.Context(), tokens[0], nil); !errors.Is(err, apikey.ErrUnprovable) {
		t.Errorf("without the pepper: %v", err)
	}
	for _, token := range tokens {
		if _, err := s.Verify(t.Context(), token, nil); err != nil {
			t.Fatal(err)
		}
	}
	if k := must(s.Get(t.Context(), ids[0]))(t); k.Version != 2 || k.LastUsedAt.IsZero() {
		t.Errorf("version %d, last used %v", k.Version, k.LastUsedAt)
	}
}

// What was used before its pepper's end works after it; what was not is refused.
func TestRetiringAPepper(t *testing.T) {
	c := newClock()
	store := apikey.NewMemoryStore()
	before := newService(t, store, nil, &apikey.Options{Peppers: []apikey.Pepper{pepperOf(1)}, Now: c.now})
	used, unused := create(t, before, apikey.Spec{}), create(t, before, apikey.Spec{})
	retired := pepperOf(1)
	retired.NotAfter = c.at.Add(time.Hour)
	s := newService(t, store, nil, &apikey.Options{Peppers: []apikey.Pepper{pepperOf(2), retired}, Now: c.now})
	c.at = retired.NotAfter.Add(-1)
	must(s.Verify(t.Context(), used.Secret.Reveal(), nil))(t)
	c.at = retired.NotAfter
	// The first use is not written yet, and the old pepper is over.
	if _, err := s.Verify(t.Context(), used.Secret.Reveal(), nil); !errors.Is(err, apikey.ErrUnprovable) {
		t.Errorf("used, not flushed: %v", err)
	}
	flush(t, s)
	if _, err := s.Verify(t.Context(), used.Secret.Reveal(), nil); err != nil {
		t.Errorf("used: %v", err)
	}
	if _, err := s.Verify(t.Context(), unused.Secret.Reveal(), nil); !errors.Is(err, apikey.ErrUnprovable) {
		t.Errorf("unused: %v", err)
	}
	if got, want := must(s.Census(t.Context()))(t), []apikey.Count{{Version: 1, Keys: 1}, {Version: 2, Keys: 1}}; !slices.Equal(got, want) {
		t.Errorf("census %v, want %v", got, want)
	}
}

// While a fleet changes over, some of it has the new pepper first and some the
// old: none undoes what another did, and no key dies.
func TestPeppersConvergeWhileAFleetChangesOver(t *testing.T) {
	c := newClock()
	store := apikey.NewMemoryStore()
	with := func(peppers ...apikey.Pepper) *apikey.Service {
		return newService(t, store, nil, &apikey.Options{Peppers: peppers, Now: c.now})
	}
	ahead, behind := with(pepperOf(2), pepperOf(1)), with(pepperOf(1), pepperOf(2))
	issued := create(t, behind, apikey.Spec{})
	for i := range 5 {
		for _, s := range []*apikey.Service{ahead, behind} {
			must(s.Verify(t.Context(), issued.Secret.Reveal(), nil))(t)
			flush(t, s)
			if got := version(t, store, issued.Key.ID); got != 2 {
				t.Fatalf("round %d: pepper %d, want 2", i, got)
			}
		}
	}
	if k := must(ahead.Get(t.Context(), issued.Key.ID))(t); k.Version != 2 {
		t.Errorf("changed %d times, want once", k.Version-1)
	}
	// A higher version that is given up, which its end says, is left for the current.
	over := pepperOf(2)
	over.NotAfter = c.at.Add(time.Hour)
	back := with(pepperOf(1), over)
	must(back.Verify(t.Context(), issued.Secret.Reveal(), nil))(t)
	flush(t, back)
	if got := version(t, store, issued.Key.ID); got != 1 {
		t.Errorf("pepper %d, want 1", got)
	}
}

// The first pepper comes to a fleet like any other: behind what is current, which
// is none, and then before it. No process refuses what another renewed.
func TestTheFirstPepperComesToAFleetWithoutDowntime(t *testing.T) {
	store := apikey.NewMemoryStore()
	with := func(peppers ...apikey.Pepper) *apikey.Service {
		return newService(t, store, nil, &apikey.Options{Peppers: peppers})
	}
	none := apikey.Pepper{}
	before, told, adopted := with(), with(none, pepperOf(1)), with(pepperOf(1))
	issued := create(t, before, apikey.Spec{})
	try := func(at uint32, fleet ...*apikey.Service) {
		t.Helper()
		for i, s := range append(fleet, fleet...) {
			if _, err := s.Verify(t.Context(), issued.Secret.Reveal(), nil); err != nil {
				t.Fatalf("process %d: %v", i%len(fleet), err)
			}
			flush(t, s)
		}
		if got := version(t, store, issued.Key.ID); got != at {
			t.Errorf("pepper %d, want %d", got, at)
		}
	}
	try(0, before, told)
	if young := create(t, told, apikey.Spec{}); version(t, store, young.Key.ID) != 0 {
		t.Error("made under a pepper that others do not know yet")
	}
	try(1, adopted, told)
}

// Verify itself writes nothing, and what is up to date is not written at all.
func TestVerifyWritesNothing(t *testing.T) {
	var writes []string
	touched := &counting{MemoryStore: apikey.NewMemoryStore()}
	store := &scripted{touched.MemoryStore, func(verb string) error {
		if verb == "Apply" || verb == "Touch" {
			writes = append(writes, verb)
		}
		return nil
	}}
	c := newClock()
	plain := newService(t, store, nil, &apikey.Options{Now: c.now})
	issued := create(t, plain, apikey.Spec{})
	s := newService(t, store, nil, &apikey.Options{Peppers: []apikey.Pepper{pepperOf(1)}, Now: c.now})
	writes = nil
	for range 10 {
		must(s.Verify(t.Context(), issued.Secret.Reveal(), nil))(t)
	}
	if len(writes) != 0 {
		t.Errorf("Verify wrote: %v", writes)
	}
	flush(t, s)
	if writes[0] != "Touch" || version(t, store, issued.Key.ID) != 1 {
		t.Errorf("Flush wrote: %v", writes)
	}
	writes = nil
	must(s.Verify(t.Context(), issued.Secret.Reveal(), nil))(t)
	flush(t, s)
	if len(writes) != 0 {
		t.Errorf("up to date, and written: %v", writes)
	}
}

// A refusal, after the proof too, changes nothing.
func TestRefusalsRenewNothing(t *testing.T) {
	c := newClock()
	for name, tt := range map[string]struct {
		spec apikey.Spec
		off  func(s *apikey.Service, id string) error
		o    *apikey.VerifyOptions
	}{
		"disabled": {off: func(s *apikey.Service, id string) error { _, err := s.Disable(t.Context(), id); return err }},
		"revoked":  {off: func(s *apikey.Service, id string) error { _, err := s.Revoke(t.Context(), id, ""); return err }},
		"expired":  {spec: apikey.Spec{TTL: time.Second}, off: func(*apikey.Service, string) error { c.advance(time.Second); return nil }},
		"network":  {spec: apikey.Spec{Networks: networks(t, "10.0.0.0/8")}},
	} {
		store := apikey.NewMemoryStore()
		issued := create(t, newService(t, store, nil, &apikey.Options{Now: c.now}), tt.spec)
		s := newService(t, store, nil, &apikey.Options{Now: c.now, Peppers: []apikey.Pepper{pepperOf(1)}})
		if tt.off != nil {
			if err := tt.off(s, issued.Key.ID); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Verify(t.Context(), issued.Secret.Reveal(), tt.o); err == nil {
			t.Fatalf("%s: accepted", name)
		}
		wrong := issued.Secret.Reveal()
		_, _ = s.Verify(t.Context(), wrong[:len(wrong)-1]+"0", tt.o)
		flush(t, s)
		if got := version(t, store, issued.Key.ID); got != 0 {
			t.Errorf("%s: renewed under pepper %d", name, got)
		}
	}
}

// A write that fails, or of which others could not be told, is done again.
func TestRenewalsAreKeptUntilWritten(t *testing.T) {
	down := errors.New("down")
	fail := ""
	store := &scripted{apikey.NewMemoryStore(), func(verb string) error {
		if verb == fail {
			return down
		}
		return nil
	}}
	var ids []string
	plain := newService(t, store, nil, nil)
	s := newService(t, store, nil, &apikey.Options{Peppers: []apikey.Pepper{pepperOf(1)}})
	for range 1500 {
		issued := create(t, plain, apikey.Spec{})
		must(s.Verify(t.Context(), issued.Secret.Reveal(), nil))(t)
		ids = append(ids, issued.Key.ID)
	}
	for _, fail = range []string{"Touch", "Apply"} {
		if err := s.Flush(t.Context()); !errors.Is(err, down) {
			t.Errorf("%s: Flush = %v", fail, err)
		}
	}
	fail = ""
	touches := &counting{MemoryStore: store.MemoryStore}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if rec := must(store.ByID(t.Context(), id))(t); rec.Digest.Version != 1 || rec.Key.Version != 2 || rec.Key.LastUsedAt.IsZero() {
			t.Fatalf("pepper %d, version %d, last used %v", rec.Digest.Version, rec.Key.Version, rec.Key.LastUsedAt)
		}
	}
	if touches.uses != 0 {
		t.Error("written twice")
	}
}

func TestPendingRenewalsAreBounded(t *testing.T) {
	store := &counting{MemoryStore: apikey.NewMemoryStore()}
	plain := newService(t, store, nil, nil)
	s := newService(t, store, nil, &apikey.Options{Peppers: []apikey.Pepper{pepperOf(1)}, MaxPending: 160})
	var tokens []string
	for range 1000 {
		tokens = append(tokens, create(t, plain, apikey.Spec{}).Secret.Reveal())
	}
	for round := 1; round <= 3; round++ {
		for _, token := range tokens {
			must(s.Verify(t.Context(), token, nil))(t)
		}
		flush(t, s)
		if got := must(s.Census(t.Context()))(t); got[1] != (apikey.Count{Version: 1, Keys: int64(160 * round)}) {
			t.Errorf("round %d: census %v", round, got)
		}
	}
	for range 10 {
		for _, token := range tokens {
			must(s.Verify(t.Context(), token, nil))(t)
		}
		flush(t, s)
	}
	if got := must(s.Census(t.Context()))(t); !slices.Equal(got, []apikey.Count{{Version: 1, Keys: 1000}}) {
		t.Errorf("in the end: census %v", got)
	}
}

// What is decided about a key between its use and the write is not undone by the
// write, and a new text is not proven by the old one's digest.
func TestRenewalUndoesNothing(t *testing.T) {
	c := newClock()
	store := apikey.NewMemoryStore()
	plain := newService(t, store, nil, &apikey.Options{Now: c.now})
	for name, change := range map[string]func(s *apikey.Service, id string) error{
		"disabled": func(s *apikey.Service, id string) error { _, err := s.Disable(t.Context(), id); return err },
		"revoked":  func(s *apikey.Service, id string) error { _, err := s.Revoke(t.Context(), id, "x"); return err },
		"deleted":  func(s *apikey.Service, id string) error { return s.Delete(t.Context(), id) },
		"rotated":  func(s *apikey.Service, id string) error { _, err := s.Rotate(t.Context(), id, 0); return err },
		"renamed": func(s *apikey.Service, id string) error {
			_, err := s.Update(t.Context(), id, apikey.Changes{Name: new("x")})
			return err
		},
	} {
		issued := create(t, plain, apikey.Spec{})
		s := newService(t, store, nil, &apikey.Options{Now: c.now, Peppers: []apikey.Pepper{pepperOf(1)}})
		must(s.Verify(t.Context(), issued.Secret.Reveal(), nil))(t)
		if err := change(s, issued.Key.ID); err != nil {
			t.Fatal(err)
		}
		before := must(store.ByID(t.Context(), issued.Key.ID))(t)
		flush(t, s)
		after := must(store.ByID(t.Context(), issued.Key.ID))(t)
		if after.Key.State != before.Key.State || after.Key.Name != before.Key.Name || after.Key.Successor != before.Key.Successor || !after.Key.ExpiresAt.Equal(before.Key.ExpiresAt) {
			t.Errorf("%s: %+v became %+v", name, before.Key, after.Key)
		}
		if name == "deleted" && after.Digest != (apikey.Digest{}) {
			t.Errorf("deleted: the tombstone got a digest")
		}
		if _, err := s.Verify(t.Context(), issued.Secret.Reveal(), nil); (err == nil) != (name == "renamed") {
			t.Errorf("%s: Verify = %v", name, err)
		}
	}
}

// A cache forgets what a renewal changed, here and in other processes.
func TestCachesForgetWhatWasRenewed(t *testing.T) {
	c := newClock()
	store := apikey.NewMemoryStore()
	issued := create(t, newService(t, store, nil, &apikey.Options{Now: c.now, Peppers: []apikey.Pepper{pepperOf(1)}}), apikey.Spec{})
	retired := pepperOf(1)
	retired.NotAfter = c.at.Add(time.Second)
	s := newService(t, store, nil, &apikey.Options{
		Now: c.now, Peppers: []apikey.Pepper{pepperOf(2), retired}, Cache: &apikey.CacheOptions{Bound: time.Minute},
	})
	for range 2 {
		must(s.Verify(t.Context(), issued.Secret.Reveal(), nil))(t)
	}
	flush(t, s)
	c.at = retired.NotAfter
	if _, err := s.Verify(t.Context(), issued.Secret.Reveal(), nil); err != nil {
		t.Errorf("the cache still goes by the old pepper: %v", err)
	}
}

// Other processes are told after the write, not before.
func TestRenewalsAreAnnounced(t *testing.T) {
	store := &announcing{MemoryStore: apikey.NewMemoryStore()}
	plain := newService(t, store, nil, nil)
	s := newService(t, store, nil, &apikey.Options{Peppers: []apikey.Pepper{pepperOf(1)}})
	issued := create(t, plain, apikey.Spec{})
	must(s.Verify(t.Context(), issued.Secret.Reveal(), nil))(t)
	store.said = nil
	store.before = func() {
		if version(t, store, issued.Key.ID) != 1 {
			t.Error("announced before it was written")
		}
	}
	flush(t, s)
	if want := (apikey.Notice{Handle: must(store.ByID(t.Context(), issued.Key.ID))(t).Handle}); !slices.Equal(store.said, []apikey.Notice{want}) {
		t.Errorf("announced %v, want %v", store.said, want)
	}
}

type announcing struct {
	*apikey.MemoryStore
	before func()
	said   []apikey.Notice
}

func (a *announcing) Apply(ctx context.Context, c apikey.Change) error {
	if a.before != nil {
		a.before()
	}
	a.said = append(a.said, c.Notices...)
	return a.MemoryStore.Apply(ctx, c)
}

// A fake scheme counts its proofs and can be held up.
type fakeScheme struct {
	proofs atomic.Int64
	slow   bool
	hold   func(text string) // unless nil, called while a proof runs
}

func (f *fakeScheme) Check(string) error { return nil }
func (f *fakeScheme) Slow() bool         { return f.slow }

func (f *fakeScheme) Prove(text, encoded string) (bool, error) {
	f.proofs.Add(1)
	if f.hold != nil {
		f.hold(text)
	}
	return encoded == "hash of "+text, nil
}

// faked is a slow way to prove keys of 32 bytes that are found by their first 8.
func faked(scheme apikey.LegacyVerifier) apikey.Legacy {
	return apikey.Legacy{Name: "fake", Shape: apikey.Shape{MinLength: 32}, Handle: func(text string) string { return text[:8] }, Scheme: scheme}
}

func fakeRow(text string) apikey.ImportRow {
	return apikey.ImportRow{Spec: apikey.Spec{Owner: "a"}, Scheme: "fake", Handle: text[:8], Encoded: "hash of " + text}
}

func fakeText(n int) string { return fmt.Sprintf("%08d-%023d", n, n) }

// The first use is slow and no other, not even before it is written; and then a
// flood of guesses is cheap too.
func TestOnlyTheFirstUseOfAnImportIsSlow(t *testing.T) {
	scheme := &fakeScheme{slow: true}
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Legacy: []apikey.Legacy{faked(scheme)}})
	text := fakeText(1)
	importRows(t, s, fakeRow(text))
	wrong := text[:31] + "x"
	for i, want := range []int64{1, 2} {
		if _, err := s.Verify(t.Context(), wrong, nil); !errors.Is(err, apikey.ErrUnknown) || scheme.proofs.Load() != want {
			t.Errorf("guess %d: %v, after %d proofs", i, err, scheme.proofs.Load())
		}
	}
	for _, when := range []string{"first", "second", "flushed"} {
		if _, err := s.Verify(t.Context(), text, nil); err != nil || scheme.proofs.Load() != 3 {
			t.Errorf("%s use: %v, after %d proofs", when, err, scheme.proofs.Load())
		}
		if _, err := s.Verify(t.Context(), wrong, nil); !errors.Is(err, apikey.ErrUnknown) || scheme.proofs.Load() != 3 {
			t.Errorf("a guess after the %s use: %v, after %d proofs", when, err, scheme.proofs.Load())
		}
		if when == "second" {
			flush(t, s)
		}
	}
}

// What was noted for a digest proves nothing once the store holds another.
func TestARenewalIsOfOneDigest(t *testing.T) {
	store := apikey.NewMemoryStore()
	s := newService(t, store, nil, &apikey.Options{Legacy: []apikey.Legacy{faked(&fakeScheme{})}})
	first, second := fakeText(1), fakeText(1)[:31]+"2"
	key := importRows(t, s, fakeRow(first))[0].Key
	must(s.Verify(t.Context(), first, nil))(t)
	rec := must(store.ByID(t.Context(), key.ID))(t)
	rec.Imported.Encoded = "hash of " + second
	rec.Key.Version++
	if err := store.Apply(t.Context(), apikey.Change{Update: []apikey.Record{rec}}); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]error{first: apikey.ErrUnknown, second: nil} {
		if _, err := s.Verify(t.Context(), text, nil); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", text, err, want)
		}
	}
	flush(t, s)
	for text, want := range map[string]error{first: apikey.ErrUnknown, second: nil} {
		if _, err := s.Verify(t.Context(), text, nil); !errors.Is(err, want) {
			t.Errorf("flushed, %s: %v, want %v", text, err, want)
		}
	}
}

// Another process moved the key to a pepper in between: it still gets to the
// current one with one write.
func TestARenewalFollowsTheRecord(t *testing.T) {
	store := apikey.NewMemoryStore()
	with := func(peppers ...apikey.Pepper) *apikey.Service {
		return newService(t, store, nil, &apikey.Options{Peppers: peppers})
	}
	issued := create(t, with(), apikey.Spec{})
	other, s := with(pepperOf(1)), with(pepperOf(2), pepperOf(1))
	for _, s := range []*apikey.Service{s, other} {
		must(s.Verify(t.Context(), issued.Secret.Reveal(), nil))(t)
	}
	flush(t, other)
	must(s.Verify(t.Context(), issued.Secret.Reveal(), nil))(t)
	flush(t, s)
	if got := version(t, store, issued.Key.ID); got != 2 {
		t.Errorf("pepper %d, want 2", got)
	}
}

// Identify proves an import, and makes nothing of it.
func TestIdentifyRenewsNothing(t *testing.T) {
	scheme := &fakeScheme{}
	store := apikey.NewMemoryStore()
	s := newService(t, store, nil, &apikey.Options{Legacy: []apikey.Legacy{faked(scheme)}})
	key := importRows(t, s, fakeRow(fakeText(1)))[0].Key
	must(s.Identify(t.Context(), fakeText(1)))(t)
	flush(t, s)
	if rec := must(store.ByID(t.Context(), key.ID))(t); rec.Imported.Scheme == "" {
		t.Error("renewed")
	}
}

// Processes that prove an import at the same time are of one mind.
func TestProcessesUpgradeAnImportAtOnce(t *testing.T) {
	for _, sys := range oldSystems() {
		store := apikey.NewMemoryStore()
		first, key := moved(t, store, sys, apikey.Options{Peppers: []apikey.Pepper{pepperOf(1)}})
		services := []*apikey.Service{first}
		for range 3 {
			services = append(services, newService(t, store, nil, &apikey.Options{Peppers: []apikey.Pepper{pepperOf(1)}, Legacy: []apikey.Legacy{sys.legacy}}))
		}
		var wg sync.WaitGroup
		for _, s := range services {
			wg.Go(func() {
				for range 20 {
					if _, err := s.Verify(context.WithoutCancel(t.Context()), sys.text, nil); err != nil {
						t.Errorf("%s: %v", sys.name, err)
					}
					if err := s.Flush(context.WithoutCancel(t.Context())); err != nil {
						t.Errorf("%s: %v", sys.name, err)
					}
				}
			})
		}
		wg.Wait()
		rec := must(store.ByID(t.Context(), key.ID))(t)
		if rec.Imported.Scheme != "" || rec.Digest.Version != 1 || rec.Key.Version != 2 {
			t.Errorf("%s: import %q, pepper %d, version %d", sys.name, rec.Imported.Scheme, rec.Digest.Version, rec.Key.Version)
		}
	}
}

// Rotating and regenerating an import gives a key of the format, which nothing of
// the old system proves.
func TestRotatingAnImport(t *testing.T) {
	store := apikey.NewMemoryStore()
	s := newService(t, store, nil, &apikey.Options{Legacy: []apikey.Legacy{hexed()}})
	key := importRows(t, s, row(1, "a"))[0].Key
	text, _ := old(1)
	issued := must(s.Rotate(t.Context(), key.ID, time.Hour))(t)
	for _, token := range []string{text, issued.Secret.Reveal()} {
		if _, err := s.Verify(t.Context(), token, nil); err != nil {
			t.Error(err)
		}
	}
	if rec := must(store.ByID(t.Context(), issued.Key.ID))(t); rec.Imported.Scheme != "" || issued.Key.Meter != key.Meter {
		t.Errorf("the successor: %+v", rec)
	}
	flush(t, s)
	if rec := must(store.ByID(t.Context(), key.ID))(t); rec.Imported.Scheme != "" || rec.Key.Successor != issued.Key.ID {
		t.Errorf("the predecessor: %+v", rec)
	}
}

func TestCensusOfAStoreThatIsDown(t *testing.T) {
	s := newService(t, &uncounted{apikey.NewMemoryStore()}, nil, nil)
	if _, err := s.Census(t.Context()); errors.CodeOf(err) != errors.Unavailable {
		t.Errorf("Census = %v", err)
	}
}

type uncounted struct{ *apikey.MemoryStore }

func (*uncounted) Census(context.Context) ([]apikey.Count, error) { return nil, errors.New("down") }
