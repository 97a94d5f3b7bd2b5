package redisstore_test

import (
	"encoding/binary"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/keytoll/keytoll/stores/redisstore/redistest"
)

// The script divides a product by a number without losing a digit, whatever the
// three are.
func TestScriptDividesExactly(t *testing.T) {
	client := redistest.Start(t).Client(t)
	numbers, err := os.ReadFile("script/numbers.lua")
	if err != nil {
		t.Fatal(err)
	}
	const most = 1 << 53
	r := rand.New(rand.NewPCG(1, 2))
	number := func() int64 {
		switch r.IntN(4) {
		case 0:
			return most - r.Int64N(4)
		case 1:
			return int64(1)<<r.IntN(53) + r.Int64N(3)
		default:
			return 1 + r.Int64N(int64(1)<<(1+r.IntN(53)))
		}
	}
	var in []byte
	var want []*big.Int
	for len(want) < 60_000 {
		a, b, c := number()-1, number()-1, number()
		if r.IntN(3) == 0 { // just below, at or above a multiple
			q := max(min(b, c)-r.Int64N(2), 1)
			if p := new(big.Int).Mul(big.NewInt(q), big.NewInt(c)); a > 0 {
				if p.Div(p, big.NewInt(a)).Cmp(big.NewInt(most)) < 0 {
					b = p.Int64() + r.Int64N(2)
				}
			}
		}
		q, rem := new(big.Int).QuoRem(new(big.Int).Mul(big.NewInt(a), big.NewInt(b)), big.NewInt(c), new(big.Int))
		if q.Cmp(big.NewInt(most)) >= 0 {
			continue
		}
		for _, n := range []int64{a, b, c} {
			in = binary.LittleEndian.AppendUint64(in, math.Float64bits(float64(n)))
		}
		want = append(want, q, rem)
	}
	got, err := client.Eval(t.Context(), string(numbers)+`
		local all = {}
		for at = 1, #ARGV[1], 24 do
			all[#all + 1] = struct.pack('<dd', muldiv(struct.unpack('<ddd', ARGV[1], at)))
		end
		return table.concat(all)`, nil, in).Text()
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range want {
		if n := math.Float64frombits(binary.LittleEndian.Uint64([]byte(got[8*i:]))); n != float64(w.Int64()) {
			at := func(k int) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(in[24*(i/2)+8*k:])) }
			t.Fatalf("%.0f * %.0f / %.0f: %.0f; want %v (0 quotient, 1 remainder: %d)", at(0), at(1), at(2), n, w, i%2)
		}
	}
}
