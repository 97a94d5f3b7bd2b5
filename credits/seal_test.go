package credits_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
	kerrors "github.com/keytoll/keytoll/errors"
)

// privateKey is the same in every run; a real one comes from a secret store.
func privateKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func sealer(t testing.TB, name string) *credits.Sealer {
	t.Helper()
	s, err := credits.NewSealer(name, privateKey(1))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// leaf is the leaf of a head, worked out a second time.
func leaf(h credits.Head) []byte {
	var b bytes.Buffer
	text := func(s string) {
		_ = binary.Write(&b, binary.BigEndian, uint32(len(s)))
		b.WriteString(s)
	}
	text("keytoll credits head 1")
	text(string(h.Account))
	_ = binary.Write(&b, binary.BigEndian, h.Seq)
	b.Write(h.Hash[:])
	t := h.Totals
	for _, a := range []credits.Amount{t.Issued, t.Pending, t.Available, t.Held, t.Leased, t.Consumed, t.Expired, t.Suspense, t.Debt} {
		_ = binary.Write(&b, binary.BigEndian, int64(a))
	}
	return b.Bytes()
}

// treeHash is RFC 9162, section 2.1.1, word by word.
func treeHash(leaves [][]byte) credits.Hash {
	switch len(leaves) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return sha256.Sum256(append([]byte{0}, leaves[0]...))
	}
	k := 1
	for 2*k < len(leaves) {
		k *= 2
	}
	left, right := treeHash(leaves[:k]), treeHash(leaves[k:])
	return sha256.Sum256(slices.Concat([]byte{1}, left[:], right[:]))
}

func TestASealIsTheRootOfAllHeads(t *testing.T) {
	r := newRig(t)
	by := sealer(t, "2026")
	made := 0
	for _, n := range []int{0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 249, 250, 251, 1000} {
		for ; made < n; made++ {
			if _, err := r.Grant(t.Context(), credits.Grant{Account: credits.AccountID(fmt.Sprintf("a%04d", made)), ID: "g", Amount: credits.Amount(made + 1)}); err != nil {
				t.Fatal(err)
			}
		}
		tree, err := r.Seal(t.Context(), by)
		if err != nil {
			t.Fatal(err)
		}
		seal := tree.Seal()
		var leaves [][]byte
		for _, h := range tree.Heads() {
			leaves = append(leaves, leaf(h))
		}
		if seal.Root != treeHash(leaves) || seal.Accounts != int64(n) || !seal.At.Equal(r.now()) || !seal.Begun.Equal(r.now()) || seal.Verify(by.Key()) != nil {
			t.Fatalf("%d accounts: %+v", n, seal)
		}
		again, err := credits.NewSealTree(seal, tree.Heads())
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range tree.Heads() {
			s, err := r.Statement(t.Context(), by, again, credits.StatementQuery{Account: h.Account})
			if err != nil {
				t.Fatal(err)
			}
			if err := credits.VerifyStatement(s, by.Key()); err != nil || s.Closing.Issued != h.Totals.Issued || len(s.Period()) != 1 {
				t.Fatalf("account %s of %d: %+v, %v", h.Account, n, s, err)
			}
		}
		if n > 0 {
			heads := tree.Heads()
			heads[n/2].Totals.Consumed++
			if _, err := credits.NewSealTree(seal, heads); !errors.Is(err, credits.ErrUnproven) {
				t.Errorf("another head of %d: %v", n, err)
			}
			if _, err := credits.NewSealTree(seal, tree.Heads()[1:]); !errors.Is(err, credits.ErrUnproven) {
				t.Errorf("a head less than %d: %v", n, err)
			}
			if _, err := credits.NewSealTree(seal, append(tree.Heads(), tree.Heads()...)); !errors.Is(err, credits.ErrUnproven) {
				t.Errorf("each head of %d twice: %v", n, err)
			}
		}
	}
}

// What is due and not posted took effect before the seal, so it is in it.
func TestASealPostsWhatIsDue(t *testing.T) {
	r := newRig(t)
	r.run(credits.Grant{Account: acme, ID: "g", Amount: 10, ExpiresAt: epoch.Add(time.Hour)})
	r.run(credits.Hold{Account: acme, ID: "h", Amount: 4, TTL: time.Minute})
	r.add(2 * time.Hour)
	by := sealer(t, "2026")
	tree, err := r.Seal(t.Context(), by)
	if err != nil || tree.Heads()[0].Totals != (credits.Totals{Issued: 10, Expired: 10}) || tree.Heads()[0].Seq != 4 {
		t.Fatalf("%+v, %v", tree.Heads(), err)
	}
	s, err := r.Statement(t.Context(), by, tree, credits.StatementQuery{Account: acme, To: epoch.Add(2 * time.Hour)})
	if err != nil || len(s.Period()) != 4 || s.Closing.Expired != 10 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestSealsAreSignedByNamedKeys(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 1))
	secret := bytes.Repeat([]byte("s"), 32)
	house, err := credits.NewHMACSealer("house", secret)
	if err != nil {
		t.Fatal(err)
	}
	public, err := credits.NewSealKey("2026", privateKey(1).Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	other, err := credits.NewSealKey("2026", privateKey(2).Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := credits.NewHMACSealKey("house", bytes.Repeat([]byte("x"), 32))
	if err != nil {
		t.Fatal(err)
	}
	named, err := credits.NewHMACSealKey("2026", secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		by   *credits.Sealer
		keys []*credits.SealKey
		ok   bool
	}{
		{sealer(t, "2026"), []*credits.SealKey{public}, true},
		{sealer(t, "2026"), []*credits.SealKey{house.Key(), wrong, public}, true}, // of a rotation
		{sealer(t, "2026"), []*credits.SealKey{other}, false},
		{sealer(t, "2026"), []*credits.SealKey{named}, false}, // the name of the key, and another algorithm
		{sealer(t, "2025"), []*credits.SealKey{public}, false},
		{sealer(t, "2026"), nil, false},
		{house, []*credits.SealKey{house.Key()}, true},
		{house, []*credits.SealKey{wrong}, false},
		{house, []*credits.SealKey{nil, {}}, false},
		{house, []*credits.SealKey{nil, {}, house.Key()}, true},
	} {
		tree, err := r.Seal(t.Context(), c.by)
		if err != nil {
			t.Fatal(err)
		}
		seal := tree.Seal()
		if err := seal.Verify(c.keys...); (err == nil) != c.ok || err != nil && !errors.Is(err, credits.ErrUnproven) {
			t.Errorf("%v with %v: %v", c.by, c.keys, err)
		}
	}
}

func TestSealKeysPrintWithoutTheirSecrets(t *testing.T) {
	secret := []byte("0123456789abcdef0123456789abcdef")
	by, err := credits.NewHMACSealer("house", secret)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "sealer", by, "key", by.Key(), "value", *by)
	text := log.String()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		text += fmt.Sprintf(verb+verb+verb+verb, by, *by, by.Key(), *by.Key())
	}
	if !strings.Contains(text, "house") {
		t.Errorf("which key it is, it does not say: %s", text)
	}
	for _, canary := range []string{string(secret), fmt.Sprintf("%x", secret), fmt.Sprint(secret), "0x"} {
		if strings.Contains(text, canary) {
			t.Errorf("%q is in %s", canary, text)
		}
	}
}

func TestSealersReportEveryFault(t *testing.T) {
	_, errs := credits.NewSealer("", nil)
	for _, err := range []error{errs} {
		if kerrors.CodeOf(err) != kerrors.Invalid || !strings.Contains(err.Error(), "name is empty") || !strings.Contains(err.Error(), "key has 0 bytes") {
			t.Errorf("%v", err)
		}
	}
	if _, err := credits.NewHMACSealer("x", make([]byte, 31)); kerrors.CodeOf(err) != kerrors.Invalid || !strings.Contains(err.Error(), "31 bytes") {
		t.Errorf("a short secret: %v", err)
	}
	if _, err := credits.NewSealKey("\n", make([]byte, 31)); kerrors.CodeOf(err) != kerrors.Invalid || !strings.Contains(err.Error(), "31 bytes") || !strings.Contains(err.Error(), "control character") {
		t.Errorf("a short key: %v", err)
	}
	r := newRig(t)
	if _, err := r.Seal(t.Context(), nil); kerrors.CodeOf(err) != kerrors.Invalid {
		t.Errorf("no sealer: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Seal(ctx, sealer(t, "x")); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that is done: %v", err)
	}
}
