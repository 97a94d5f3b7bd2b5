package credits_test

import (
	"encoding/json"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/credits"
	kerrors "github.com/keytoll/keytoll/errors"
)

var goodAmounts = map[string]credits.Amount{
	"0": 0, "5": 5 * credits.Credit, "5.25": 5_250_000, "0.000001": credits.Micro, "-0.000001": -credits.Micro, "-12.5": -12_500_000,
	"007": 7 * credits.Credit, "1.100000": 1_100_000, "9000000000000": credits.MaxAmount, "-9000000000000.000000": -credits.MaxAmount,
	"8999999999999.999999": credits.MaxAmount - 1,
}

var badAmounts = []string{
	"", "-", "+1", ".5", "5.", "-.5", "1.0000001", "1e3", "0x1", "1,5", "1_000", " 1", "1 ", "--1", "1.-5", "1.2.3", "-0", "-0.000000",
	"NaN", "Inf", "\u0661", "9000000000000.000001", "9000000000001", "-9000000000001", "99999999999999999999", "9223372036854.775808",
	"0" + strings.Repeat("0", 40), "\x00", "1\n",
}

func TestParseAmount(t *testing.T) {
	for text, want := range goodAmounts {
		if got, err := credits.ParseAmount(text); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range badAmounts {
		if got, err := credits.ParseAmount(text); kerrors.CodeOf(err) != kerrors.Invalid || got != 0 {
			t.Errorf("%q: %d, %v; want an error of code Invalid", text, got, err)
		}
	}
}

func TestAmountString(t *testing.T) {
	for a, want := range map[credits.Amount]string{
		0: "0", 1: "0.000001", -1: "-0.000001", credits.Credit: "1", 5_250_000: "5.25", -12_500_000: "-12.5", 10_000_010: "10.00001",
		math.MaxInt64: "9223372036854.775807", math.MinInt64: "-9223372036854.775808",
	} {
		if got := a.String(); got != want {
			t.Errorf("%d: %q; want %q", int64(a), got, want)
		}
	}
}

func TestAmountIsTextInJSON(t *testing.T) {
	type order struct{ Cost credits.Amount }
	b, err := json.Marshal(order{5_250_000})
	if err != nil || string(b) != `{"Cost":"5.25"}` {
		t.Errorf("%s, %v", b, err)
	}
	var got order
	if err := json.Unmarshal([]byte(`{"Cost":"0.1"}`), &got); err != nil || got.Cost != 100_000 {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{`{"Cost":0.1}`, `{"Cost":"0.0000001"}`, `{"Cost":5}`} {
		if err := json.Unmarshal([]byte(bad), &got); err == nil {
			t.Errorf("%s was read as %v", bad, got.Cost)
		}
	}
}

func FuzzParseAmount(f *testing.F) {
	for text := range goodAmounts {
		f.Add(text)
	}
	for _, text := range badAmounts {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := credits.ParseAmount(text)
		if err != nil {
			if a != 0 || kerrors.CodeOf(err) != kerrors.Invalid {
				t.Fatalf("%q: %d, %v", text, a, err)
			}
			return
		}
		if a < -credits.MaxAmount || a > credits.MaxAmount {
			t.Fatalf("%q is %d", text, a)
		}
		if again, err := credits.ParseAmount(a.String()); err != nil || again != a {
			t.Fatalf("%q is %d, written as %q, read as %d, %v", text, a, a.String(), again, err)
		}
		want, ok := new(big.Rat).SetString(text)
		if !ok || want.Mul(want, big.NewRat(int64(credits.Credit), 1)).Cmp(new(big.Rat).SetInt64(int64(a))) != 0 {
			t.Fatalf("%q is %d; exactly it is %v", text, a, want)
		}
	})
}

// Checked arithmetic agrees with arithmetic that has no bounds.
func TestAmountArithmetic(t *testing.T) {
	edge := []int64{0, 1, -1, 2, -2, 3, math.MaxInt64, math.MaxInt64 - 1, math.MinInt64, math.MinInt64 + 1, 1 << 31, 1 << 32, -1 << 32, math.MaxInt64 / 2, math.MinInt64 / 2}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		edge = append(edge, rng.Int64(), -rng.Int64(), rng.Int64N(1e6))
	}
	for _, x := range edge {
		for _, y := range edge {
			a, b := big.NewInt(x), big.NewInt(y)
			for name, c := range map[string]struct {
				got  func() (credits.Amount, bool)
				want *big.Int
			}{
				"+": {func() (credits.Amount, bool) { return credits.Amount(x).Add(credits.Amount(y)) }, new(big.Int).Add(a, b)},
				"-": {func() (credits.Amount, bool) { return credits.Amount(x).Sub(credits.Amount(y)) }, new(big.Int).Sub(a, b)},
				"*": {func() (credits.Amount, bool) { return credits.Amount(x).Mul(y) }, new(big.Int).Mul(a, b)},
			} {
				got, ok := c.got()
				if ok != c.want.IsInt64() || ok && int64(got) != c.want.Int64() {
					t.Fatalf("%d %s %d is %d, %v; want %v", x, name, y, int64(got), ok, c.want)
				}
			}
		}
	}
}

func TestPriceRoundsUpOnce(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range 5000 {
		p := credits.Price{Amount: credits.Amount(rng.Int64N(1 << rng.IntN(62))), Per: 1 + rng.Int64N(1<<rng.IntN(62))}
		units := rng.Int64N(1 << rng.IntN(62))
		if i == 0 {
			p, units = credits.Price{Amount: credits.MaxAmount, Per: math.MaxInt64}, math.MaxInt64
		}
		if p.Amount > credits.MaxAmount {
			continue
		}
		want, rest := new(big.Int).QuoRem(new(big.Int).Mul(big.NewInt(int64(p.Amount)), big.NewInt(units)), big.NewInt(p.Per), new(big.Int))
		if rest.Sign() > 0 {
			want.Add(want, big.NewInt(1))
		}
		got, err := p.Of(units)
		if fits := want.Cmp(big.NewInt(int64(credits.MaxAmount))) <= 0; fits != (err == nil) || fits && int64(got) != want.Int64() {
			t.Fatalf("%+v of %d units is %v, %v; want %v", p, units, got, err, want)
		}
	}
	for _, bad := range []credits.Price{{}, {Amount: 1}, {Amount: 1, Per: -1}, {Amount: -1, Per: 1}, {Amount: credits.MaxAmount + 1, Per: 1}} {
		if _, err := bad.Of(1); kerrors.CodeOf(err) != kerrors.Invalid || bad.Validate() == nil {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if free, err := (credits.Price{Per: 1}).Of(math.MaxInt64); free != 0 || err != nil {
		t.Errorf("free: %v, %v", free, err)
	}
}
