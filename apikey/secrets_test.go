package apikey_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// sealing returns the sealing keys with these versions, the first one current.
func sealing(versions ...uint32) []apikey.SealingKey {
	keys := make([]apikey.SealingKey, len(versions))
	for i, v := range versions {
		keys[i] = apikey.SealingKey{Version: v, Secret: bytes.Repeat([]byte{byte(v), 'K', 'E', 'K'}, 8)}
	}
	return keys
}

// A vault is a service that seals, in a store of its own.
type vault struct {
	*apikey.Service
	store *apikey.MemoryStore
	clock *clock
}

func newVault(t testing.TB) vault {
	t.Helper()
	v := vault{store: apikey.NewMemoryStore(), clock: newClock()}
	v.Service = newService(t, v.store, nil, &apikey.Options{Now: v.clock.now, SealingKeys: sealing(1)})
	return v
}

// texts opens the secrets of a key.
func (v vault) texts(t testing.TB, id, name string) []string {
	t.Helper()
	var texts []string
	for _, b := range must(v.OpenSecrets(t.Context(), id, name))(t) {
		texts = append(texts, b.Secret.Reveal())
	}
	return texts
}

func (v vault) record(t testing.TB, id string) apikey.Record {
	t.Helper()
	return must(v.store.ByID(t.Context(), id))(t)
}

// replace writes a record as somebody with the database could.
func (v vault) replace(t testing.TB, rec apikey.Record) {
	t.Helper()
	rec.Key.Version = v.record(t, rec.Key.ID).Key.Version + 1
	if err := v.store.Apply(t.Context(), apikey.Change{Update: []apikey.Record{rec}}); err != nil {
		t.Fatal(err)
	}
}

func (v vault) events(t testing.TB, kind apikey.EventKind) []apikey.Event {
	t.Helper()
	return must(v.store.Events(t.Context(), apikey.EventQuery{AnyOwner: true, Kind: kind, OldestFirst: true, Limit: 1000}))(t)
}

func TestSecretsAreMintedWithTheKeyInTheOrderAskedFor(t *testing.T) {
	v := newVault(t)
	issued := create(t, v.Service, apikey.Spec{Secrets: []string{"webhook", "callback"}})
	seen := map[string]bool{}
	for i, b := range issued.Secrets {
		raw := b.Bytes()
		if b.Name != []string{"webhook", "callback"}[i] || len(raw) != 32 || b.Secret.Reveal() != base64.StdEncoding.EncodeToString(raw) ||
			!b.CreatedAt.Equal(v.clock.at) || !b.ExpiresAt.IsZero() || seen[b.Secret.Reveal()] {
			t.Errorf("secret %d: %+v of %d bytes", i, b, len(raw))
		}
		seen[b.Secret.Reveal()] = true
		raw[0]++ // the caller's own
		if got := v.texts(t, issued.Key.ID, b.Name); !slices.Equal(got, []string{b.Secret.Reveal()}) || b.Bytes()[0] == raw[0] {
			t.Errorf("%s: opened %d, which are not the one issued", b.Name, len(got))
		}
	}
	if len(issued.Secrets) != 2 {
		t.Errorf("%d secrets, want 2", len(issued.Secrets))
	}
	if plain := create(t, v.Service, apikey.Spec{}); plain.Secrets != nil || v.record(t, plain.Key.ID).Sealed != nil {
		t.Error("a key that asked for no secrets has some")
	}
	if (apikey.BoundSecret{}).Bytes() != nil {
		t.Error("the zero BoundSecret holds bytes")
	}
}

func TestSecretsThatCannotBeMadeAreRefusedWithEveryFault(t *testing.T) {
	bare := newService(t, apikey.NewMemoryStore(), nil, nil)
	v := newVault(t)
	for name, tt := range map[string]struct {
		s     *apikey.Service
		names []string
		want  []string
	}{
		"no sealing key": {bare, []string{"webhook", ""}, []string{"Options.SealingKeys", "secrets[1]"}},
		"names":          {v.Service, []string{"a", "a", "x\n", strings.Repeat("n", 65)}, []string{"secrets[1]", "secrets[2]", "secrets[3]"}},
		"too many":       {v.Service, strings.Split("a b c d e f g h i", " "), []string{"9 names"}},
	} {
		_, err := tt.s.Create(t.Context(), apikey.Spec{Owner: "acct_1", Secrets: tt.names})
		if errors.CodeOf(err) != errors.Invalid {
			t.Errorf("%s: %v, want invalid", name, err)
		}
		before := tt.s.CheckSecrets(tt.names)
		for _, part := range tt.want {
			if !strings.Contains(fmt.Sprint(err), part) || !strings.Contains(fmt.Sprint(before), part) {
				t.Errorf("%s: %v, or before that %v, does not say %s", name, err, before, part)
			}
		}
	}
	if err := errors.Join(bare.CheckSecrets(nil), v.CheckSecrets([]string{"webhook"})); err != nil {
		t.Error(err)
	}
	if n := len(state(t, v.store)); n != 0 {
		t.Errorf("%d keys were made", n)
	}
	if issued := create(t, v.Service, apikey.Spec{Secrets: strings.Split("a b c d e f g "+strings.Repeat("n", 64), " ")}); len(issued.Secrets) != apikey.MaxSecrets {
		t.Error("as many and as long as allowed are refused")
	}
}

// With an overlap the receiver of signatures changes over without downtime.
func TestRotateSecretKeepsTheFormerOneUntilJustBeforeItsEnd(t *testing.T) {
	v := newVault(t)
	issued := create(t, v.Service, apikey.Spec{Secrets: []string{"webhook", "other"}})
	id, first := issued.Key.ID, issued.Secrets[0].Secret.Reveal()
	ctx := apikey.WithActor(t.Context(), apikey.Actor{ID: "alice"})
	fresh := must(v.RotateSecret(ctx, id, "webhook", time.Hour))(t)
	second := fresh.Secret.Reveal()
	if got := v.texts(t, id, "webhook"); !slices.Equal(got, []string{second, first}) {
		t.Errorf("in the overlap %d secrets, want the new one and then the old one", len(got))
	}
	if open := must(v.OpenSecrets(t.Context(), id, "webhook"))(t); !open[0].ExpiresAt.IsZero() || !open[1].ExpiresAt.Equal(v.clock.at.Add(time.Hour)) {
		t.Errorf("ends %v and %v", open[0].ExpiresAt, open[1].ExpiresAt)
	}
	v.clock.advance(time.Hour - time.Microsecond)
	if got := v.texts(t, id, "webhook"); len(got) != 2 {
		t.Errorf("just before the end %d secrets, want 2", len(got))
	}
	v.clock.advance(time.Microsecond)
	if got := v.texts(t, id, "webhook"); !slices.Equal(got, []string{second}) {
		t.Errorf("at the end %d secrets, want the new one", len(got))
	}
	if got := v.texts(t, id, "other"); !slices.Equal(got, []string{issued.Secrets[1].Secret.Reveal()}) {
		t.Error("another secret changed")
	}
	if _, err := v.Verify(t.Context(), issued.Secret.Reveal(), nil); err != nil {
		t.Errorf("the key itself: %v", err)
	}
	told := v.events(t, apikey.EventSecretRotated)
	if len(told) != 1 || told[0].Key != id || told[0].Owner != "acct_1" || told[0].Note != "webhook" || told[0].Actor.ID != "alice" {
		t.Errorf("events %+v", told)
	}
}

// A secret that leaked must be done with at once, and those before it too.
func TestRotateSecretWithoutGraceEndsAllFormerOnes(t *testing.T) {
	v := newVault(t)
	id := create(t, v.Service, apikey.Spec{Secrets: []string{"webhook"}}).Key.ID
	must(v.RotateSecret(t.Context(), id, "webhook", 24*time.Hour))(t)
	must(v.RotateSecret(t.Context(), id, "webhook", 48*time.Hour))(t)
	if got := v.texts(t, id, "webhook"); len(got) != 3 {
		t.Fatalf("%d secrets in their overlaps, want 3", len(got))
	}
	v.clock.advance(24 * time.Hour) // the first one's end was not put off
	if got := v.texts(t, id, "webhook"); len(got) != 2 {
		t.Fatalf("%d secrets in their overlaps, want 2", len(got))
	}
	last := must(v.RotateSecret(t.Context(), id, "webhook", 0))(t)
	if got := v.texts(t, id, "webhook"); !slices.Equal(got, []string{last.Secret.Reveal()}) {
		t.Errorf("%d secrets, want the last one", len(got))
	}
}

func TestFormerSecretsAreBounded(t *testing.T) {
	v := newVault(t)
	id := create(t, v.Service, apikey.Spec{Secrets: []string{"webhook"}}).Key.ID
	for range apikey.MaxOverlap {
		must(v.RotateSecret(t.Context(), id, "webhook", time.Hour))(t)
	}
	before := v.record(t, id)
	if _, err := v.RotateSecret(t.Context(), id, "webhook", time.Hour); !errors.Is(err, apikey.ErrSecretLimit) || errors.CodeOf(err) != errors.Exhausted {
		t.Errorf("one more: %v, want ErrSecretLimit", err)
	}
	if after := v.record(t, id); !bytes.Equal(before.Sealed, after.Sealed) || after.Key.Version != before.Key.Version {
		t.Error("a refusal changed the record")
	}
	v.clock.advance(time.Hour)
	must(v.RotateSecret(t.Context(), id, "webhook", time.Hour))(t)
	if got := v.texts(t, id, "webhook"); len(got) != 2 {
		t.Errorf("%d secrets, want 2", len(got))
	}
	for range 100 { // an emergency is never refused
		must(v.RotateSecret(t.Context(), id, "webhook", 0))(t)
	}
}

func TestAddSecret(t *testing.T) {
	v := newVault(t)
	id := create(t, v.Service, apikey.Spec{}).Key.ID
	for i := range apikey.MaxSecrets {
		name := fmt.Sprint("s", i)
		made := must(v.AddSecret(t.Context(), id, name))(t)
		if got := v.texts(t, id, name); !slices.Equal(got, []string{made.Secret.Reveal()}) {
			t.Errorf("%s: opened %d, which are not the one added", name, len(got))
		}
	}
	_, taken := v.AddSecret(t.Context(), id, "s3")
	_, full := v.AddSecret(t.Context(), id, "one more")
	_, unnamed := v.AddSecret(t.Context(), id, "")
	if !errors.Is(taken, apikey.ErrSecretExists) || !errors.Is(full, apikey.ErrSecretLimit) || errors.CodeOf(unnamed) != errors.Invalid {
		t.Errorf("taken: %v; full: %v; unnamed: %v", taken, full, unnamed)
	}
	if told := v.events(t, apikey.EventSecretAdded); len(told) != apikey.MaxSecrets || told[3].Note != "s3" {
		t.Errorf("%d events", len(told))
	}
}

// The successor has secrets of its own, and the key that it replaces keeps its
// own as long as it works.
func TestRotationMintsSecretsForTheSuccessor(t *testing.T) {
	v := newVault(t)
	old := create(t, v.Service, apikey.Spec{Secrets: []string{"b", "a"}})
	must(v.RotateSecret(t.Context(), old.Key.ID, "b", time.Hour))(t)
	was := v.texts(t, old.Key.ID, "b")
	heir := must(v.Rotate(t.Context(), old.Key.ID, time.Minute))(t)
	if len(heir.Secrets) != 2 || heir.Secrets[0].Name != "b" || heir.Secrets[1].Name != "a" {
		t.Fatalf("the successor has %+v", heir.Secrets)
	}
	if got := v.texts(t, heir.Key.ID, "b"); !slices.Equal(got, []string{heir.Secrets[0].Secret.Reveal()}) || slices.Contains(was, got[0]) {
		t.Errorf("the successor opens %d secrets, or one of the old key", len(got))
	}
	if got := v.texts(t, old.Key.ID, "b"); !slices.Equal(got, was) {
		t.Error("the old key's secrets changed")
	}
	v.clock.advance(time.Minute)
	if _, err := v.OpenSecrets(t.Context(), old.Key.ID, "b"); !errors.Is(err, apikey.ErrExpired) || errors.CodeOf(err) != errors.Conflict {
		t.Errorf("after the grace: %v, want ErrExpired", err)
	}
}

// A secret opens nothing that its key would not.
func TestSecretsAreRefusedWhereTheKeyIs(t *testing.T) {
	for name, tt := range map[string]struct {
		prepare      func(t *testing.T, v vault, id string)
		open, rotate error
		wiped        bool
	}{
		"disabled": {func(t *testing.T, v vault, id string) { must(v.Disable(t.Context(), id))(t) }, apikey.ErrDisabled, nil, false},
		"suspended": {func(t *testing.T, v vault, _ string) {
			o := apikey.Owner{ID: "acct_1", Epoch: 1, Suspended: true, Version: 1}
			if err := v.store.Apply(t.Context(), apikey.Change{Owner: &o}); err != nil {
				t.Fatal(err)
			}
		}, apikey.ErrSuspended, nil, false},
		"expired": {func(_ *testing.T, v vault, _ string) { v.clock.advance(24 * time.Hour) }, apikey.ErrExpired, apikey.ErrExpired, false},
		"revoked": {func(t *testing.T, v vault, id string) { must(v.Revoke(t.Context(), id, "leaked"))(t) }, apikey.ErrRevoked, apikey.ErrRevoked, true},
		"owner revoked": {func(t *testing.T, v vault, _ string) {
			o := apikey.Owner{ID: "acct_1", Epoch: 2, Version: 1}
			if err := v.store.Apply(t.Context(), apikey.Change{Owner: &o}); err != nil {
				t.Fatal(err)
			}
		}, apikey.ErrRevoked, apikey.ErrRevoked, false},
		"deleted": {func(t *testing.T, v vault, id string) {
			if err := v.Delete(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}, apikey.ErrNotFound, apikey.ErrNotFound, true},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVault(t)
			id := create(t, v.Service, apikey.Spec{TTL: 24 * time.Hour, Secrets: []string{"webhook"}}).Key.ID
			tt.prepare(t, v, id)
			got, err := v.OpenSecrets(t.Context(), id, "webhook")
			if !errors.Is(err, tt.open) || got != nil || errors.CodeOf(err) == errors.Unauthenticated {
				t.Errorf("OpenSecrets = %d secrets, %v; want %v", len(got), err, tt.open)
			}
			if _, err := v.RotateSecret(t.Context(), id, "webhook", 0); !errors.Is(err, tt.rotate) {
				t.Errorf("RotateSecret = %v, want %v", err, tt.rotate)
			}
			if wiped := v.record(t, id).Sealed == nil; wiped != tt.wiped {
				t.Errorf("wiped %t, want %t", wiped, tt.wiped)
			}
		})
	}
}

func TestUnknownSecretsAreNotFound(t *testing.T) {
	v := newVault(t)
	with, without := create(t, v.Service, apikey.Spec{Secrets: []string{"webhook"}}), create(t, v.Service, apikey.Spec{})
	for _, id := range []string{with.Key.ID, without.Key.ID} {
		_, err := v.OpenSecrets(t.Context(), id, "hook")
		_, err2 := v.RotateSecret(t.Context(), id, "hook", 0)
		if !errors.Is(err, apikey.ErrNoSecret) || !errors.Is(err2, apikey.ErrNoSecret) {
			t.Errorf("open: %v; rotate: %v; want ErrNoSecret", err, err2)
		}
	}
	_, err := v.OpenSecrets(t.Context(), "key_none", "webhook")
	_, negative := v.RotateSecret(t.Context(), with.Key.ID, "webhook", -1)
	if !errors.Is(err, apikey.ErrNotFound) || errors.CodeOf(negative) != errors.Invalid {
		t.Errorf("no such key: %v; negative grace: %v", err, negative)
	}
}

// A crash between two writes cannot come between a key and its secrets, or a
// secret and its event: there is one write.
func TestSecretsComeTrueWithTheirKeyOrNotAtAll(t *testing.T) {
	down, applies := errors.New("down"), 0
	var fail bool
	c := newClock()
	store := &scripted{apikey.NewMemoryStore(), func(verb string) error {
		if verb != "Apply" {
			return nil
		}
		if applies++; fail {
			return down
		}
		return nil
	}}
	v := vault{Service: newService(t, store, nil, &apikey.Options{Now: c.now, SealingKeys: sealing(1)}), store: store.MemoryStore, clock: c}
	issued := create(t, v.Service, apikey.Spec{Secrets: []string{"webhook"}})
	id := issued.Key.ID
	must(v.RotateSecret(t.Context(), id, "webhook", time.Hour))(t)
	must(v.Rotate(t.Context(), id, time.Hour))(t)
	if applies != 3 {
		t.Errorf("%d writes for three verbs", applies)
	}
	before, told := state(t, store), v.events(t, "")
	fail = true
	_, err1 := v.RotateSecret(t.Context(), id, "webhook", time.Hour)
	_, err2 := v.AddSecret(t.Context(), id, "more")
	_, err3 := v.Create(t.Context(), apikey.Spec{Owner: "acct_1", Secrets: []string{"webhook"}})
	for _, err := range []error{err1, err2, err3} {
		if errors.CodeOf(err) != errors.Unavailable || !errors.Is(err, down) {
			t.Errorf("a store that is down: %v", err)
		}
	}
	if after := state(t, store); fmt.Sprint(after) != fmt.Sprint(before) || len(v.events(t, "")) != len(told) {
		t.Error("a write that failed left something")
	}
}

// Rotations at the same time all count, one after the other.
func TestConcurrentRotationsOfASecretLoseNone(t *testing.T) {
	v := newVault(t)
	id := create(t, v.Service, apikey.Spec{Secrets: []string{"webhook"}}).Key.ID
	var wg sync.WaitGroup
	made := make([]string, apikey.MaxOverlap)
	for i := range made {
		wg.Go(func() {
			b, err := v.RotateSecret(t.Context(), id, "webhook", time.Hour)
			if err != nil {
				t.Error(err)
			}
			made[i] = b.Secret.Reveal()
		})
	}
	wg.Wait()
	open := v.texts(t, id, "webhook")
	for _, text := range made {
		if !slices.Contains(open, text) {
			t.Error("a secret that was given out does not open")
		}
	}
	if len(open) != apikey.MaxOverlap+1 || len(v.events(t, apikey.EventSecretRotated)) != apikey.MaxOverlap {
		t.Errorf("%d secrets, want %d", len(open), apikey.MaxOverlap+1)
	}
}

func TestAFailingSourceMakesNoSecret(t *testing.T) {
	store := apikey.NewMemoryStore()
	good := newService(t, store, nil, &apikey.Options{SealingKeys: sealing(1)})
	id := create(t, good, apikey.Spec{Secrets: []string{"webhook"}}).Key.ID
	bad := newService(t, store, nil, &apikey.Options{SealingKeys: sealing(1), Rand: strings.NewReader("short")})
	_, err := bad.RotateSecret(t.Context(), id, "webhook", 0)
	if errors.CodeOf(err) != errors.Unavailable || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("RotateSecret = %v, want unavailable", err)
	}
}

// holds reports whether text holds raw in any form that printers, encoders and
// databases make of bytes.
func holds(text string, raw []byte) bool {
	for _, form := range []string{
		string(raw), hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)), base64.StdEncoding.EncodeToString(raw),
		base64.RawStdEncoding.EncodeToString(raw), base64.URLEncoding.EncodeToString(raw), strings.Trim(fmt.Sprint(raw), "[]"),
	} {
		if strings.Contains(text, form) {
			return true
		}
	}
	return false
}

// TestBoundSecretCanary runs every flow and searches all that is stored,
// returned and said for the secrets and for the keys that seal them.
func TestBoundSecretCanary(t *testing.T) {
	v := newVault(t)
	var said bytes.Buffer
	logs := slog.New(slog.NewJSONHandler(&said, nil))
	say := func(values ...any) {
		for _, value := range values {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
				fmt.Fprintf(&said, verb+"\n", value)
			}
			if text, err := json.Marshal(value); err == nil {
				said.Write(text)
			}
			logs.Info("x", "v", value)
		}
	}
	options := apikey.Options{SealingKeys: sealing(1)}
	say(options, &options, options.SealingKeys, options.SealingKeys[0], &options.SealingKeys[0])
	first := create(t, v.Service, apikey.Spec{Secrets: []string{"webhook", "callback"}})
	secrets := first.Secrets
	say(first, first.Secrets, &first.Secrets[0])
	rotated := must(v.RotateSecret(t.Context(), first.Key.ID, "webhook", time.Hour))(t)
	added := must(v.AddSecret(t.Context(), first.Key.ID, "more"))(t)
	heir := must(v.Rotate(t.Context(), first.Key.ID, time.Hour))(t)
	secrets = append(append(secrets, rotated, added), heir.Secrets...)
	open := must(v.OpenSecrets(t.Context(), first.Key.ID, "webhook"))(t)
	say(rotated, added, heir, open)
	for _, b := range secrets {
		_, err1 := v.OpenSecrets(t.Context(), first.Key.ID, b.Secret.Reveal())
		_, err2 := v.RotateSecret(t.Context(), first.Key.ID, b.Secret.Reveal(), 0)
		_, err3 := v.OpenSecrets(t.Context(), b.Secret.Reveal(), "webhook")
		say(err1, err2, err3) // a secret pasted where a name or an ID belongs
	}
	broken := v.record(t, heir.Key.ID)
	broken.Sealed = append(bytes.Clone(broken.Sealed), 0)
	v.replace(t, broken)
	_, err := v.OpenSecrets(t.Context(), heir.Key.ID, "webhook")
	say(err, v.Close(t.Context()))
	for _, rec := range state(t, v.store) {
		say(rec)
		said.Write(rec.Sealed)
	}
	say(v.events(t, ""))
	if len(secrets) != 7 { // two, one rotated, one added, and three of the successor
		t.Fatalf("%d secrets", len(secrets))
	}
	for _, raw := range append([][]byte{options.SealingKeys[0].Secret}, raws(secrets)...) {
		if holds(said.String(), raw) {
			t.Errorf("the run mentions the secret %x", raw)
		}
	}
	if !holds(base64.StdEncoding.EncodeToString(secrets[0].Bytes()), secrets[0].Bytes()) || !strings.Contains(said.String(), first.Key.ID) {
		t.Error("the canary finds nothing")
	}
}

func raws(secrets []apikey.BoundSecret) [][]byte {
	var raws [][]byte
	for _, b := range secrets {
		raws = append(raws, b.Bytes())
	}
	return raws
}

func TestCloneHasSecretsOfItsOwn(t *testing.T) {
	v := newVault(t)
	issued := create(t, v.Service, apikey.Spec{Secrets: []string{"webhook"}})
	clone := must(v.Clone(t.Context(), issued.Key.ID, apikey.Changes{}))(t)
	if len(clone.Secrets) != 1 || slices.Equal(clone.Secrets[0].Bytes(), issued.Secrets[0].Bytes()) {
		t.Fatalf("the clone has %d secrets, or the original's", len(clone.Secrets))
	}
	if got := v.texts(t, clone.Key.ID, "webhook"); !slices.Equal(got, []string{clone.Secrets[0].Secret.Reveal()}) {
		t.Error("the clone opens others than it was given")
	}
}

// A leak of the key's text tells nothing of its secrets.
func TestRegenerateLeavesTheSecrets(t *testing.T) {
	v := newVault(t)
	issued := create(t, v.Service, apikey.Spec{Secrets: []string{"webhook"}})
	if again := must(v.Regenerate(t.Context(), issued.Key.ID))(t); again.Secrets != nil {
		t.Error("a new text brings secrets that are not new")
	}
	if got := v.texts(t, issued.Key.ID, "webhook"); !slices.Equal(got, []string{issued.Secrets[0].Secret.Reveal()}) {
		t.Error("the secrets changed with the text")
	}
}

// What is asked for again must be the same, and is not shown again.
func TestRepeatedRequestShowsNoSecrets(t *testing.T) {
	v := newVault(t)
	spec := apikey.Spec{RequestID: "r1", Secrets: []string{"webhook"}}
	first := create(t, v.Service, spec)
	again := create(t, v.Service, spec)
	if len(first.Secrets) != 1 || !again.Replayed || again.Secrets != nil {
		t.Errorf("first %d secrets, again %d, replayed %t", len(first.Secrets), len(again.Secrets), again.Replayed)
	}
	spec.Owner, spec.Secrets = "acct_1", []string{"callback"}
	if _, err := v.Create(t.Context(), spec); !errors.Is(err, apikey.ErrIntent) {
		t.Errorf("the same request with other secrets: %v, want ErrIntent", err)
	}
}

// What is asked for and not done is refused, not forgotten.
func TestImportMakesNoSecrets(t *testing.T) {
	v := newVault(t)
	r := apikey.ImportRow{Spec: apikey.Spec{Owner: "acct_1", Secrets: []string{"webhook"}}, Text: create(t, newVault(t).Service, apikey.Spec{}).Secret}
	results := must(v.Import(t.Context(), []apikey.ImportRow{r}))(t)
	if results[0].Outcome != apikey.ImportRefused || errors.CodeOf(results[0].Err) != errors.Invalid || !strings.Contains(results[0].Err.Error(), "AddSecret") {
		t.Errorf("%+v, want a refusal that names AddSecret", results[0])
	}
	r.Spec.Secrets = nil
	results = must(v.Import(t.Context(), []apikey.ImportRow{r}))(t)
	added := must(v.AddSecret(t.Context(), results[0].Key.ID, "webhook"))(t)
	if got := v.texts(t, results[0].Key.ID, "webhook"); !slices.Equal(got, []string{added.Secret.Reveal()}) {
		t.Error("an imported key does not open the secret that it was given")
	}
}
