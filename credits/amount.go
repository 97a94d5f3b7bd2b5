package credits

import (
	"math"
	"math/bits"
	"strconv"
	"strings"

	"github.com/keytoll/keytoll/errors"
)

// An Amount is a number of micro-credits: one credit is 1 000 000 of them.
// There is no float anywhere; arithmetic that could leave the range is done by
// [Amount.Add], [Amount.Sub] and [Amount.Mul], which report it.
//
// A difference may be negative. A command never takes a negative amount.
type Amount int64

const (
	// Micro is the smallest amount there is.
	Micro Amount = 1
	// Credit is one whole credit: 5 * credits.Credit is five.
	Credit Amount = 1_000_000
	// MaxAmount is the most that one command may name and one account may be
	// issued: nine million million credits.
	MaxAmount Amount = 9_000_000_000_000 * Credit
)

// amountDecimals is how many digits may follow the point.
const amountDecimals = 6

// ParseAmount reads credits as decimal text: "5", "5.25", "-0.000001". It takes
// an optional minus, at least one digit, and after a point one to six more; no
// plus, exponent, space or separator, and no "-0". Anything else, and what is
// beyond ±[MaxAmount], is an error of code Invalid.
func ParseAmount(s string) (Amount, error) {
	const op = "credits.ParseAmount"
	bad := func(why string) (Amount, error) {
		return 0, &errors.Error{Code: errors.Invalid, Op: op, Msg: "amount " + quote(s) + ": " + why + `; give credits such as "5" or "5.25"`}
	}
	if len(s) > 32 {
		return bad("too long")
	}
	digits, negative := strings.CutPrefix(s, "-")
	whole, frac, point := strings.Cut(digits, ".")
	switch {
	case whole == "":
		return bad("no digits before the point")
	case point && (frac == "" || len(frac) > amountDecimals):
		return bad("one to six digits may follow the point")
	}
	var n int64
	for _, part := range [2]string{whole, frac} {
		for _, c := range []byte(part) {
			if c < '0' || c > '9' {
				return bad("not a decimal number")
			}
			if n > int64(MaxAmount)/10 {
				return bad("out of range")
			}
			n = n*10 + int64(c-'0')
		}
	}
	for range amountDecimals - len(frac) {
		if n > int64(MaxAmount)/10 {
			return bad("out of range")
		}
		n *= 10
	}
	switch {
	case n > int64(MaxAmount):
		return bad("out of range")
	case negative && n == 0:
		return bad("zero has no sign")
	case negative:
		n = -n
	}
	return Amount(n), nil
}

// String returns a in credits, with as many decimals as it needs: "5.25".
// [ParseAmount] reads it back.
func (a Amount) String() string {
	return string(a.append(make([]byte, 0, 24)))
}

func (a Amount) append(b []byte) []byte {
	u := uint64(a)
	if a < 0 {
		b = append(b, '-')
		u = -u
	}
	b = strconv.AppendUint(b, u/uint64(Credit), 10)
	frac := u % uint64(Credit)
	if frac == 0 {
		return b
	}
	b = append(b, '.')
	for unit := uint64(Credit) / 10; frac > 0; unit /= 10 {
		b = append(b, byte('0'+frac/unit))
		frac %= unit
	}
	return b
}

// MarshalText returns what String returns, so that JSON holds "5.25": a string,
// which no reader rounds.
func (a Amount) MarshalText() ([]byte, error) { return a.append(nil), nil }

// UnmarshalText reads what [ParseAmount] reads.
func (a *Amount) UnmarshalText(text []byte) error {
	v, err := ParseAmount(string(text))
	if err != nil {
		return err
	}
	*a = v
	return nil
}

// Add returns a + b, and false when that is out of the range of int64.
func (a Amount) Add(b Amount) (Amount, bool) {
	sum := a + b
	return sum, (sum > a) == (b > 0)
}

// Sub returns a - b, and false when that is out of the range of int64.
func (a Amount) Sub(b Amount) (Amount, bool) {
	diff := a - b
	return diff, (diff < a) == (b > 0)
}

// Mul returns a * n, and false when that is out of the range of int64.
func (a Amount) Mul(n int64) (Amount, bool) {
	hi, lo := bits.Mul64(magnitude(int64(a)), magnitude(n))
	negative := (a < 0) != (n < 0)
	switch {
	case hi != 0 || lo > 1<<63 || (lo == 1<<63 && !negative):
		return 0, false
	case negative:
		return Amount(-lo), true
	}
	return Amount(lo), true
}

func magnitude(n int64) uint64 {
	if n < 0 {
		return -uint64(n)
	}
	return uint64(n)
}

// check refuses amounts that no command may carry.
func (a Amount) check(least Amount) string {
	switch {
	case a < 0:
		return "is negative; give " + least.String() + " or more"
	case a < least:
		return "is " + a.String() + "; give more than 0"
	case a > MaxAmount:
		return "is over " + MaxAmount.String() + " credits; give less"
	}
	return ""
}

// A Price is what a number of units costs: Amount for every Per units, rounded
// up to the micro-credit once for the whole number. The zero Price is not
// valid; a price of nothing is Price{Amount: 0, Per: 1}.
//
//	credits.Price{Amount: 3 * credits.Credit, Per: 1_000_000} // 3 credits a million tokens
type Price struct {
	Amount Amount // 0 to MaxAmount
	Per    int64  // 1 or more
}

// Validate returns nil for a price that can be charged, and otherwise an error
// of code Invalid that names each fault.
func (p Price) Validate() error {
	f := errors.Faults{Op: "credits.Price"}
	if why := p.Amount.check(0); why != "" {
		f.Add("price: Amount %s", why)
	}
	if p.Per < 1 {
		f.Add("price: Per is %d; give 1 or more", p.Per)
	}
	return f.Err()
}

// Of returns the cost of that many units. Negative units, a price that is not
// valid and a cost over [MaxAmount] are errors of code Invalid.
func (p Price) Of(units int64) (Amount, error) {
	const op = "credits.Price.Of"
	if err := p.Validate(); err != nil {
		return 0, errors.Wrap(op, err)
	}
	if units < 0 {
		return 0, &errors.Error{Code: errors.Invalid, Op: op, Msg: "units: " + strconv.FormatInt(units, 10) + " is negative; give 0 or more"}
	}
	hi, lo := bits.Mul64(uint64(p.Amount), uint64(units))
	lo, carry := bits.Add64(lo, uint64(p.Per-1), 0)
	hi += carry
	if hi < uint64(p.Per) {
		if cost, _ := bits.Div64(hi, lo, uint64(p.Per)); cost <= uint64(MaxAmount) && cost <= math.MaxInt64 {
			return Amount(cost), nil
		}
	}
	return 0, &errors.Error{Code: errors.Invalid, Op: op, Msg: "the cost is over " + MaxAmount.String() + " credits; give fewer units"}
}
