package credits

import (
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/keytoll/keytoll/errors"
)

// A Part is what one op did with one lot.
type Part struct {
	Lot      LotID
	Amount   Amount // taken from the lot, or put into it by a grant or a refund
	Captured Amount // of a hold: spent so far; of a debit: all of Amount
	Released Amount // of a hold: given back so far
	Refunded Amount // of Captured: refunded so far
}

// Held returns how much of a hold's part is still set aside.
func (p Part) Held() Amount { return p.Amount - p.Captured - p.Released }

// Parts is the list of lots that an op touched, in the order it took them. It
// is immutable: copies share storage, and sharing one is safe. The zero value
// is the empty list. A list of one, the usual case, allocates nothing.
type Parts struct {
	n    int
	one  Part
	many []Part // all of them, when n > 1
}

// NewParts returns the list of ps, which it copies.
func NewParts(ps ...Part) Parts {
	switch len(ps) {
	case 0:
		return Parts{}
	case 1:
		return Parts{n: 1, one: ps[0]}
	}
	return Parts{n: len(ps), many: slices.Clone(ps)}
}

// Len returns the number of parts.
func (p Parts) Len() int { return p.n }

// At returns part i, which must be in [0, Len).
func (p Parts) At(i int) Part {
	if p.n == 1 && i == 0 {
		return p.one
	}
	return p.many[i]
}

// All yields the parts in order.
func (p Parts) All() iter.Seq[Part] {
	return func(yield func(Part) bool) {
		for i := range p.n {
			if !yield(p.At(i)) {
				return
			}
		}
	}
}

// Equal reports whether both lists hold the same parts in the same order.
func (p Parts) Equal(q Parts) bool {
	return p.n == q.n && p.one == q.one && slices.Equal(p.many, q.many)
}

// AppendText appends the compact form that [Parts.UnmarshalText] reads:
// "lot:amount:captured:released:refunded", joined by ";", in micro-credits.
func (p Parts) AppendText(b []byte) ([]byte, error) {
	for i := range p.n {
		if i > 0 {
			b = append(b, ';')
		}
		x := p.At(i)
		b = strconv.AppendInt(b, int64(x.Lot), 10)
		for _, a := range [...]Amount{x.Amount, x.Captured, x.Released, x.Refunded} {
			b = append(b, ':')
			b = strconv.AppendInt(b, int64(a), 10)
		}
	}
	return b, nil
}

// MarshalText returns the compact form, for a column of a store.
func (p Parts) MarshalText() ([]byte, error) { return p.AppendText(nil) }

// UnmarshalText reads the compact form. Text that [Parts.MarshalText] could not
// have written, and parts that contradict themselves, are errors of code
// Corrupt.
func (p *Parts) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*p = Parts{}
		return nil
	}
	var list []Part
	for row := range strings.SplitSeq(string(text), ";") {
		var v [5]int64
		n := 0
		for field := range strings.SplitSeq(row, ":") {
			x, err := strconv.ParseInt(field, 10, 64)
			if err != nil || n == len(v) || x < 0 || strconv.FormatInt(x, 10) != field {
				return errParts
			}
			v[n] = x
			n++
		}
		part := Part{LotID(v[0]), Amount(v[1]), Amount(v[2]), Amount(v[3]), Amount(v[4])}
		if n != len(v) || !part.sound() {
			return errParts
		}
		list = append(list, part)
	}
	*p = Parts{n: 1, one: list[0]}
	if len(list) > 1 {
		*p = Parts{n: len(list), many: list}
	}
	return nil
}

var errParts error = &errors.Error{Code: errors.Corrupt, Op: "credits.Parts", Msg: "the stored list of lots cannot be read"}

// add appends part to a list that is still being made. A list of one stays off
// the heap.
func (p *Parts) add(part Part) {
	switch p.n {
	case 0:
		p.one = part
	case 1:
		p.many = []Part{p.one, part}
		p.one = Part{}
	default:
		p.many = append(p.many, part)
	}
	p.n++
}

// edit returns a copy of p whose parts may be changed.
func (p *Parts) edit() Parts {
	return Parts{n: p.n, one: p.one, many: slices.Clone(p.many)}
}

// at returns part i where it lies, which must not be changed but in a list that
// edit made.
func (p *Parts) at(i int) *Part {
	if p.n == 1 && i == 0 {
		return &p.one
	}
	return &p.many[i]
}

// taken returns p as the receipt of a command shows it: without later refunds,
// and for a hold without its settlement.
func (p *Parts) taken(hold bool) Parts {
	later := func(x *Part) bool { return x.Refunded != 0 || hold && (x.Captured != 0 || x.Released != 0) }
	for i := range p.n {
		if !later(p.at(i)) {
			continue
		}
		t := p.edit()
		for ; i < t.n; i++ {
			x := t.at(i)
			x.Refunded = 0
			if hold {
				x.Captured, x.Released = 0, 0
			}
		}
		return t
	}
	return *p
}

// first returns the parts that make up amount, which others follow.
func (p *Parts) first(amount Amount) Parts {
	for i := range p.n {
		if amount <= 0 {
			return NewParts(p.many[:i]...)
		}
		amount -= p.at(i).Amount
	}
	return *p
}

// sound reports whether p does not contradict itself. Of lot 0, the debt, nothing
// can be set aside: it is captured whole, or told of by a capture or a refund.
func (p Part) sound() bool {
	debt := p.Lot == 0 && p.Released == 0 && (p.Captured == 0 || p.Captured == p.Amount)
	return (p.Lot > 0 || debt) && p.Amount > 0 && p.Amount <= MaxAmount && p.Captured >= 0 && p.Released >= 0 &&
		p.Captured <= p.Amount && p.Released <= p.Amount-p.Captured && p.Refunded >= 0 && p.Refunded <= p.Captured
}
