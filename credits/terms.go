package credits

import (
	"strconv"
	"strings"

	"github.com/keytoll/keytoll/errors"
)

// An Overrun says what a capture of more than its hold sets aside does. It is
// agreed when the hold is made, because the work is done when it matters.
type Overrun uint8

const (
	OverrunRefused Overrun = 0 // ErrOverHold; the default
	OverrunCapped  Overrun = 1 // spends what is held and what is available for the operation, and forgives the rest
	OverrunDebt    Overrun = 2 // the same, but the rest becomes a debt, if the account then owes no more than the hold's DebtLimit; else ErrOverHold
)

// A Late says what a capture does that comes after its hold has timed out.
type Late uint8

const (
	LateRefused Late = 0 // ErrTimedOut; the default

	// LateCharged: a final capture spends what is available then, as if it were all
	// over the hold. Where Overrun is OverrunRefused, it spends all it asks for or
	// nothing, and no more than the time-out has given back.
	LateCharged Late = 1
)

// Terms are what was agreed when a hold or a lease was made, and Asked what came
// of it. The zero value is the default of each.
type Terms struct {
	Overrun   Overrun
	DebtLimit Amount // with OverrunDebt: the most that the account may owe after the capture
	Late      Late
	Asked     Amount // of a hold: what its final capture asked for, when that was over what was held
	Epoch     int64  // of a lease: counts the instances that have owned it
	Owner     string // of a lease: who may spend it
}

// AppendText appends the compact form that [Terms.UnmarshalText] reads. The zero
// value is empty.
func (t Terms) AppendText(b []byte) ([]byte, error) {
	if t == (Terms{}) {
		return b, nil
	}
	for _, n := range [...]int64{int64(t.Overrun), int64(t.DebtLimit), int64(t.Late), int64(t.Asked), t.Epoch} {
		b = strconv.AppendInt(b, n, 10)
		b = append(b, ':')
	}
	return append(b, t.Owner...), nil
}

// MarshalText returns the compact form, for a column of a store.
func (t Terms) MarshalText() ([]byte, error) { return t.AppendText(nil) }

// UnmarshalText reads the compact form. Text that [Terms.MarshalText] could not
// have written is an error of code Corrupt.
func (t *Terms) UnmarshalText(text []byte) error {
	*t = Terms{}
	if len(text) == 0 {
		return nil
	}
	var n [5]int64
	rest := string(text)
	for i := range n {
		field, after, ok := strings.Cut(rest, ":")
		x, err := strconv.ParseInt(field, 10, 64)
		if !ok || err != nil || x < 0 || strconv.FormatInt(x, 10) != field {
			return errTerms
		}
		n[i], rest = x, after
	}
	*t = Terms{Overrun(n[0]), Amount(n[1]), Late(n[2]), Amount(n[3]), n[4], rest}
	if n[0] > int64(OverrunDebt) || n[2] > int64(LateCharged) || *t == (Terms{}) {
		return errTerms
	}
	return nil
}

var errTerms error = &errors.Error{Code: errors.Corrupt, Op: "credits.Terms", Msg: "the stored terms of a hold cannot be read"}
