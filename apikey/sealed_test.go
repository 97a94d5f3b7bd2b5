package apikey_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// sealed seals text for a record as the documentation of what is stored says,
// with nothing of the package's own.
func sealed(t testing.TB, key apikey.SealingKey, id string, nonce [12]byte, text []byte) []byte {
	t.Helper()
	derived := must(hkdf.Key(sha256.New, key.Secret, nil, "keytoll/sealed/v1\x00"+id, 32))(t)
	aead := must(cipher.NewGCM(must(aes.NewCipher(derived))(t)))(t)
	head := binary.BigEndian.AppendUint32([]byte{1}, key.Version)
	out := slices.Concat(head, nonce[:])
	return aead.Seal(out, nonce[:], text, slices.Concat(head, []byte(id)))
}

// one writes one secret of a binding.
func one(name string, secret byte, created, ends int64) []byte {
	text := append([]byte{byte(len(name))}, name...)
	text = append(text, bytes.Repeat([]byte{secret}, 32)...)
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(text, uint64(created)), uint64(ends))
}

const open = -1 << 63 // no end

// What was sealed once opens for ever: the form at rest is fixed.
func TestSealedFormIsPinned(t *testing.T) {
	v := newVault(t)
	id := create(t, v.Service, apikey.Spec{}).Key.ID
	rec := v.record(t, id)
	now := v.clock.at.UnixMicro()
	rec.Sealed = sealed(t, sealing(1)[0], id, [12]byte{7}, slices.Concat(
		one("webhook", 1, now, open), one("webhook", 2, now-9, now+1), one("webhook", 3, now-10, now), one("a", 4, -5, open)))
	v.replace(t, rec)
	got := must(v.OpenSecrets(t.Context(), id, "webhook"))(t)
	if len(got) != 2 || got[0].Bytes()[0] != 1 || got[1].Bytes()[31] != 2 || !got[0].CreatedAt.Equal(v.clock.at) ||
		!got[1].ExpiresAt.Equal(v.clock.at.Add(time.Microsecond)) || !got[0].ExpiresAt.IsZero() {
		t.Errorf("opened %+v", got)
	}
	if got := must(v.OpenSecrets(t.Context(), id, "a"))(t); len(got) != 1 || got[0].CreatedAt.UnixMicro() != -5 {
		t.Errorf("opened %+v", got)
	}
}

// No bit of what is sealed can be changed, and nothing cut off or added.
func TestTamperedSealIsCorrupt(t *testing.T) {
	v := newVault(t)
	id := create(t, v.Service, apikey.Spec{Secrets: []string{"webhook"}}).Key.ID
	good := v.record(t, id)
	refuse := func(what string, blob []byte) {
		t.Helper()
		rec := good
		rec.Sealed = blob
		v.replace(t, rec)
		got, err := v.OpenSecrets(t.Context(), id, "webhook")
		_, err2 := v.RotateSecret(t.Context(), id, "webhook", 0)
		_, err3 := v.AddSecret(t.Context(), id, "more")
		_, err4 := v.Rotate(t.Context(), id, 0)
		for _, err := range []error{err, err2, err3, err4} {
			if errors.CodeOf(err) != errors.Corrupt || got != nil {
				t.Errorf("%s: %v, want corrupt", what, err)
			}
		}
		if msg := errors.MessageOf(err); strings.Contains(msg, "version") {
			t.Errorf("%s: a client reads %q", what, msg)
		}
	}
	for bit := range len(good.Sealed) * 8 {
		blob := bytes.Clone(good.Sealed)
		blob[bit/8] ^= 1 << (bit % 8)
		refuse(fmt.Sprintf("bit %d", bit), blob)
	}
	for n := 1; n < len(good.Sealed); n++ {
		refuse(fmt.Sprintf("the first %d bytes", n), good.Sealed[:n])
	}
	refuse("one byte more", append(bytes.Clone(good.Sealed), 0))
	if blob := good.Sealed; len(blob) < 5+12+16+1+7+32+16 {
		t.Errorf("%d bytes are too few to hold what was sealed", len(blob))
	}
}

// Who can write to the database cannot give a key the secrets of another.
func TestSealMovedToAnotherRecordIsCorrupt(t *testing.T) {
	v := newVault(t)
	mine := create(t, v.Service, apikey.Spec{Secrets: []string{"webhook"}})
	other := create(t, v.Service, apikey.Spec{Secrets: []string{"webhook"}})
	a, b := v.record(t, mine.Key.ID), v.record(t, other.Key.ID)
	a.Sealed, b.Sealed = b.Sealed, a.Sealed
	v.replace(t, a)
	v.replace(t, b)
	for _, id := range []string{mine.Key.ID, other.Key.ID} {
		if got, err := v.OpenSecrets(t.Context(), id, "webhook"); errors.CodeOf(err) != errors.Corrupt || got != nil {
			t.Errorf("OpenSecrets = %+v, %v; want corrupt", got, err)
		}
	}
}

// What is authentic and makes no sense is refused too.
func TestSealedNonsenseIsCorrupt(t *testing.T) {
	v := newVault(t)
	id := create(t, v.Service, apikey.Spec{Secrets: []string{"webhook"}}).Key.ID
	whole := one("webhook", 1, 0, open)
	for name, text := range map[string][]byte{
		"cut off":                       whole[:len(whole)-1],
		"a name without letters":        one("", 1, 0, open),
		"a name with a control":         one("a\n", 1, 0, open),
		"a name too long":               one(strings.Repeat("n", 65), 1, 0, open),
		"two current ones of a name":    slices.Concat(whole, whole),
		"a former one without its own":  one("webhook", 1, 0, 5),
		"a former one behind another":   slices.Concat(whole, one("a", 1, 0, open), one("webhook", 2, 0, 5)),
		"an end that reads as no end":   one("webhook", 1, 0, time.Time{}.UnixMicro()),
		"more than a key can ever have": slices.Concat(whole, bytes.Repeat(one("webhook", 2, 0, 5), 40)),
	} {
		rec := v.record(t, id)
		rec.Sealed = sealed(t, sealing(1)[0], id, [12]byte{}, text)
		v.replace(t, rec)
		if got, err := v.OpenSecrets(t.Context(), id, "webhook"); errors.CodeOf(err) != errors.Corrupt || got != nil {
			t.Errorf("%s: %+v, %v; want corrupt", name, got, err)
		}
	}
}

// A sealing key is replaced without losing anything, and goes when nothing needs
// it any more.
func TestSealingKeysAreReplaced(t *testing.T) {
	c := newClock()
	store := apikey.NewMemoryStore()
	under := func(versions ...uint32) vault {
		return vault{newService(t, store, nil, &apikey.Options{Now: c.now, SealingKeys: sealing(versions...)}), store, c}
	}
	version := func(rec apikey.Record) uint32 { return binary.BigEndian.Uint32(rec.Sealed[1:]) }
	first := under(1)
	id := create(t, first.Service, apikey.Spec{Secrets: []string{"webhook"}}).Key.ID
	written := create(t, first.Service, apikey.Spec{Secrets: []string{"webhook"}}).Key.ID
	bare := create(t, first.Service, apikey.Spec{}).Key.ID
	text := first.texts(t, id, "webhook")

	both := under(2, 1)
	if got := both.texts(t, id, "webhook"); !slices.Equal(got, text) {
		t.Error("a retired sealing key does not open")
	}
	if must(both.RotateSecret(t.Context(), written, "webhook", time.Hour))(t); version(both.record(t, written)) != 2 {
		t.Error("what is written is not sealed under the current key")
	}
	alone := under(2)
	if _, err := alone.OpenSecrets(t.Context(), id, "webhook"); errors.CodeOf(err) != errors.Corrupt || !strings.Contains(err.Error(), "version 1") {
		t.Errorf("without its sealing key: %v, want corrupt that names version 1", err)
	}
	for _, tt := range []struct {
		id   string
		want bool
	}{{id, true}, {id, false}, {written, false}, {bare, false}} {
		before := both.record(t, tt.id).Key.Version
		if got := must(both.Reseal(t.Context(), tt.id))(t); got != tt.want || (both.record(t, tt.id).Key.Version != before) != tt.want {
			t.Errorf("Reseal = %t, want %t", got, tt.want)
		}
	}
	if got := alone.texts(t, id, "webhook"); !slices.Equal(got, text) || len(alone.texts(t, written, "webhook")) != 2 {
		t.Error("what was sealed anew is not what it was")
	}
	if _, err := under(3).Reseal(t.Context(), id); errors.CodeOf(err) != errors.Corrupt {
		t.Errorf("Reseal without the key it needs: %v, want corrupt", err)
	}
	if _, err := newService(t, store, nil, nil).OpenSecrets(t.Context(), id, "webhook"); errors.CodeOf(err) != errors.Invalid || !strings.Contains(err.Error(), "SealingKeys") {
		t.Errorf("without any: %v, want invalid that names SealingKeys", err)
	}
	impostor := sealing(2)
	impostor[0].Secret = bytes.Repeat([]byte("x"), 32)
	other := newService(t, store, nil, &apikey.Options{SealingKeys: impostor})
	if _, err := other.OpenSecrets(t.Context(), id, "webhook"); errors.CodeOf(err) != errors.Corrupt {
		t.Errorf("under another key of that version: %v, want corrupt", err)
	}
}

func TestSealingKeysAreChecked(t *testing.T) {
	_, err := apikey.NewService(apikey.NewMemoryStore(), newFormat(t, "gx", nil), &apikey.Options{SealingKeys: []apikey.SealingKey{
		{Version: 1, Secret: make([]byte, 31)}, {Version: 0, Secret: make([]byte, 32)}, {Version: 1, Secret: make([]byte, 33)},
	}})
	for _, part := range []string{"SealingKeys[0]: the secret has 31 bytes", "SealingKeys[1]: version is 0", "SealingKeys[2]: the secret has 33", "SealingKeys[2]: version 1 is given twice"} {
		if !strings.Contains(fmt.Sprint(err), part) {
			t.Errorf("%v does not say %s", err, part)
		}
	}
	keys := sealing(1)
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{SealingKeys: keys})
	id := create(t, s, apikey.Spec{Secrets: []string{"webhook"}}).Key.ID
	clear(keys[0].Secret) // the caller's own
	if _, err := s.OpenSecrets(t.Context(), id, "webhook"); err != nil {
		t.Errorf("after the caller cleared the options: %v", err)
	}
}

// Whatever a record seals, reading it is an error or says what was sealed.
func FuzzUnseal(f *testing.F) {
	f.Add([]byte{}, one("webhook", 1, 0, open))
	f.Add([]byte{1, 0, 0, 0, 1}, slices.Concat(one("webhook", 1, 0, open), one("webhook", 2, 0, 5), one("a", 3, 0, open)))
	f.Add(bytes.Repeat([]byte{1}, 64), []byte{})
	v := newVault(f)
	id := create(f, v.Service, apikey.Spec{}).Key.ID
	v.clock.at = time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, blob, text []byte) {
		rec := v.record(t, id)
		rec.Sealed = blob
		v.replace(t, rec)
		if _, err := v.OpenSecrets(t.Context(), id, "webhook"); err == nil || errors.CodeOf(err) != errors.Corrupt && len(blob) > 0 {
			t.Fatalf("%x opens: %v", blob, err)
		}
		rec.Sealed = sealed(t, sealing(1)[0], id, [12]byte{}, text)
		v.replace(t, rec)
		if _, err := v.OpenSecrets(t.Context(), id, "webhook"); err != nil && errors.CodeOf(err) != errors.Corrupt && !errors.Is(err, apikey.ErrNoSecret) {
			t.Fatalf("%x: %v", text, err)
		} else if errors.CodeOf(err) == errors.Corrupt {
			return
		}
		// What reads is what would be written: nothing is lost on the way.
		next := newService(t, v.store, nil, &apikey.Options{Now: v.clock.now, SealingKeys: sealing(2, 1)})
		if ok, err := next.Reseal(t.Context(), id); err != nil || !ok {
			t.Fatalf("Reseal = %t, %v", ok, err)
		}
		again := v.record(t, id).Sealed
		if want := sealed(t, sealing(2)[0], id, [12]byte(again[5:17]), text); !bytes.Equal(again, want) {
			t.Fatalf("%x comes back as another text", text)
		}
	})
}
