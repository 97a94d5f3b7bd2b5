package credits_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/keytoll/keytoll/credits"
	kerrors "github.com/keytoll/keytoll/errors"
)

var badParts = []string{
	"1", "1:2", "1:2:0:0", "1:2:0:0:0:0", "1:2:0:0:0;", ";1:2:0:0:0", "-1:2:0:0:0", "0:2:0:1:0", "0:2:1:0:0", "0:2:1:1:0", "1:0:0:0:0", "1:-2:0:0:0", "1:2:3:0:0", "1:2:1:2:0", "1:2:1:0:2",
	"01:2:0:0:0", "+1:2:0:0:0", "1:2:0:0:0 ", "1:9223372036854775808:0:0:0", "1:9223372036854775807:0:0:0", "x",
}

func TestParts(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for n := range 6 {
		list := make([]credits.Part, n)
		for i := range list {
			c := credits.Amount(rng.IntN(50))
			list[i] = credits.Part{Lot: credits.LotID(i + 1), Amount: 100, Captured: c, Released: credits.Amount(rng.IntN(50)), Refunded: c / 2}
		}
		p := credits.NewParts(list...)
		want := slices.Clone(list)
		clear(list) // it is a copy
		if got := slices.Collect(p.All()); p.Len() != n || !slices.Equal(got, want) {
			t.Errorf("%d parts: %+v; want %+v", n, got, want)
		}
		for i := range want {
			if p.At(i) != want[i] {
				t.Errorf("part %d is %+v", i, p.At(i))
			}
		}
		text, err := p.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		back := credits.NewParts(credits.Part{Lot: 9, Amount: 9})
		if err := back.UnmarshalText(text); err != nil || !back.Equal(p) {
			t.Errorf("%q is read as %+v, %v", text, back, err)
		}
		for range p.All() {
			break
		}
	}
	for _, text := range badParts {
		var p credits.Parts
		if err := p.UnmarshalText([]byte(text)); kerrors.CodeOf(err) != kerrors.Corrupt || p.Len() != 0 {
			t.Errorf("%q is read as %+v, %v", text, p, err)
		}
	}
}

func FuzzParts(f *testing.F) {
	for _, text := range append(badParts, "", "1:2:0:0:0", "1:2:1:1:1;3:4:0:0:0", "1:2:2:0:0;0:4:4:0:1") {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var p credits.Parts
		if err := p.UnmarshalText([]byte(text)); err != nil {
			return
		}
		if again, err := p.MarshalText(); err != nil || string(again) != text {
			t.Fatalf("%q is written as %q, %v", text, again, err)
		}
	})
}
