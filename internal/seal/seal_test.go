package seal_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/internal/seal"
)

const label = "keytoll/test/v1\x00"

// secret returns 32 bytes that differ from those of any other version.
func secret(version uint32) []byte { return bytes.Repeat([]byte{byte(version)}, seal.Size) }

func box(t testing.TB, label string, versions ...uint32) *seal.Box {
	t.Helper()
	var keys []seal.Key
	for _, v := range versions {
		keys = append(keys, seal.Key{Version: v, Secret: secret(v)})
	}
	faults := errors.Faults{Op: "test"}
	b := seal.New(&faults, label, "Keys", keys)
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	return b
}

func sealed(t testing.TB, b *seal.Box, id, text string) []byte {
	t.Helper()
	out, err := b.Seal(id, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// What was sealed once opens for ever: made with nothing of the package's own,
// and fixed as bytes too.
func TestFormIsPinned(t *testing.T) {
	derived, err := hkdf.Key(sha256.New, secret(258), nil, label+"id", 32)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	head, nonce := []byte{1, 0, 0, 1, 2}, []byte("nonce of 12.")
	blob := aead.Seal(slices.Concat(head, nonce), nonce, []byte("text"), append(bytes.Clone(head), "id"...))
	const pinned = "01000001026e6f6e6365206f662031322e9b96fa01d6f272502c3201464b3290cce5c6d772"
	if got := hex.EncodeToString(blob); got != pinned {
		t.Errorf("sealed %s; want %s", got, pinned)
	}
	if got, err := box(t, label, 258).Open("id", blob); err != nil || string(got) != "text" {
		t.Errorf("Open = %q, %v", got, err)
	}
}

func TestEverySealIsNew(t *testing.T) {
	b := box(t, label, 1)
	one, two := sealed(t, b, "id", "text"), sealed(t, b, "id", "text")
	if bytes.Equal(one[5:17], two[5:17]) || bytes.Contains(one, []byte("text")) || len(one) != 5+12+4+16 {
		t.Errorf("sealed %x and %x", one, two)
	}
}

// Whoever can write to the database can read nothing, change nothing, and move
// nothing to another record or purpose.
func TestWhatWasNotSealedSoDoesNotOpen(t *testing.T) {
	b := box(t, label, 1)
	good := sealed(t, b, "id", "text")
	refuse := func(what string, b *seal.Box, id string, blob []byte) {
		t.Helper()
		if text, err := b.Open(id, blob); err == nil || text != nil || errors.Is(err, seal.ErrNoKey) {
			t.Errorf("%s: %q, %v", what, text, err)
		}
	}
	for bit := range len(good) * 8 {
		blob := bytes.Clone(good)
		blob[bit/8] ^= 1 << (bit % 8)
		refuse(fmt.Sprintf("bit %d", bit), b, "id", blob)
	}
	for n := range good {
		refuse(fmt.Sprintf("the first %d bytes", n), b, "id", good[:n])
	}
	refuse("one byte more", b, "id", append(bytes.Clone(good), 0))
	refuse("of another record", b, "ie", good)
	refuse("of another purpose", box(t, "keytoll/other/v1\x00", 1), "id", good)
	refuse("nothing", b, "id", nil)
	if got, err := b.Open("id", good); err != nil || string(got) != "text" {
		t.Errorf("Open = %q, %v", got, err)
	}
}

func TestKeysAreReplaced(t *testing.T) {
	blob := sealed(t, box(t, label, 1), "id", "text")
	both := box(t, label, 2, 1)
	if got, err := both.Open("id", blob); err != nil || string(got) != "text" || !both.Stale(blob) {
		t.Errorf("under a retired key: %q, %v; stale is %t", got, err, both.Stale(blob))
	}
	again := sealed(t, both, "id", "text")
	alone := box(t, label, 2)
	if got, err := alone.Open("id", again); err != nil || string(got) != "text" || both.Stale(again) || alone.Stale(again) {
		t.Errorf("sealed anew: %q, %v", got, err)
	}
	if _, err := box(t, label, 3, 2).Open("id", blob); err == nil || !strings.Contains(err.Error(), "version 1, which is not one of Keys (3, 2)") {
		t.Errorf("without its key: %v", err)
	}
	if both.Stale(nil) || both.Stale(blob[:4]) || box(t, label).Stale(blob) {
		t.Error("stale is what would be sealed otherwise now")
	}
}

func TestBoxWithoutAKey(t *testing.T) {
	b := box(t, label)
	_, err := b.Seal("id", nil)
	_, err2 := b.Open("id", sealed(t, box(t, label, 1), "id", ""))
	if !errors.Is(err, seal.ErrNoKey) || !errors.Is(err2, seal.ErrNoKey) || !b.Empty() {
		t.Errorf("Seal = %v, Open = %v", err, err2)
	}
}

func TestNewNamesEveryFaultAndCopies(t *testing.T) {
	faults := errors.Faults{Op: "test"}
	seal.New(&faults, label, "Keys", []seal.Key{
		{Version: 1, Secret: make([]byte, 31)}, {Version: 0, Secret: make([]byte, 32)}, {Version: 1},
	})
	for _, want := range []string{"Keys[0]: the secret has 31 bytes", "Keys[1]: version is 0", "Keys[2]: the secret has 0", "Keys[2]: version 1 is given twice"} {
		if err := faults.Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %s", err, want)
		}
	}
	given := secret(1)
	var none errors.Faults
	b := seal.New(&none, label, "Keys", []seal.Key{{Version: 1, Secret: given}})
	clear(given)
	if got, err := box(t, label, 1).Open("id", sealed(t, b, "id", "text")); err != nil || string(got) != "text" {
		t.Errorf("after the caller cleared its own: %q, %v", got, err)
	}
}

func TestKeyRedactsItself(t *testing.T) {
	k := seal.Key{Version: 7, Secret: []byte("the secret of 32 bytes, not shown")}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(verb, k); got != "sealing key 7 [redacted]" {
			t.Errorf("%s prints %q", verb, got)
		}
	}
}
