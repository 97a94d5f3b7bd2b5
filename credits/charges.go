package credits

import (
	"encoding/json"
	"iter"
	"slices"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// A Charge is one budget that an op counts against, in the window it was made
// in: the hold's window is charged, whenever it is captured.
type Charge struct {
	Budget  BudgetID  `json:"b"`
	Start   time.Time `json:"s"`           // of the window; zero for a budget without windows
	Crossed []int     `json:"c,omitempty"` // thresholds that the op was the first to reach, in percent
}

// Charges is the list of budgets that an op counts against, in order of Budget.
// It is immutable: copies share storage. The zero value is the empty list.
type Charges struct{ list []Charge }

// NewCharges returns the list of cs, which it copies, in order of Budget.
func NewCharges(cs ...Charge) Charges {
	if len(cs) == 0 {
		return Charges{}
	}
	list := slices.Clone(cs)
	slices.SortFunc(list, func(a, b Charge) int { return compareIDs(a.Budget, b.Budget) })
	return Charges{list}
}

// Len returns the number of charges.
func (c Charges) Len() int { return len(c.list) }

// All yields the charges in order.
func (c Charges) All() iter.Seq[Charge] { return slices.Values(c.list) }

// AppendText appends the form that [Charges.UnmarshalText] reads. The empty list
// is empty.
func (c Charges) AppendText(b []byte) ([]byte, error) {
	if len(c.list) == 0 {
		return b, nil
	}
	text, err := json.Marshal(c.list)
	return append(b, text...), err
}

// MarshalText returns the form of AppendText, for a column of a store.
func (c Charges) MarshalText() ([]byte, error) { return c.AppendText(nil) }

// UnmarshalText reads the form. Text that [Charges.MarshalText] could not have
// written is an error of code Corrupt.
func (c *Charges) UnmarshalText(text []byte) error {
	*c = Charges{}
	if len(text) == 0 {
		return nil
	}
	if err := json.Unmarshal(text, &c.list); err != nil || len(c.list) == 0 {
		return &errors.Error{Code: errors.Corrupt, Op: "credits.Charges", Msg: "the stored list of budgets cannot be read", Err: err}
	}
	for i := range c.list {
		c.list[i].Start = micros(c.list[i].Start)
	}
	return nil
}
