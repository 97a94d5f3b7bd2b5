package credits

import (
	"encoding/json"
	"iter"
	"slices"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// A Charge is one budget that an op counts against, in the window it was made
// in: the hold's window is charged, whenever it is captured. Of the record of a
// capture that kept the rest it is one whose thresholds that capture has reached;
// what it spent counts with its hold's.
type Charge struct {
	Budget  BudgetID  `json:"b"`
	Start   time.Time `json:"s"`           // of the window, which no other window of a budget of that id has
	Crossed []int     `json:"c,omitempty"` // thresholds that the op was the first to reach, in percent; of a hold, its terminal step
	Used    Amount    `json:"u,omitzero"`  // with Crossed, of the budget after that
	Amount  Amount    `json:"a,omitzero"`  // with Crossed, of the budget then
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

// told takes from the charges of a hold what they say of thresholds, and returns
// those that said something: for the record of a capture that kept the rest.
func (o *Op) told() Charges {
	var said []Charge
	for i := range o.Charges.list {
		if x := &o.Charges.list[i]; len(x.Crossed) > 0 {
			said = append(said, *x)
		}
	}
	if said == nil {
		return Charges{}
	}
	list := slices.Clone(o.Charges.list)
	for i := range list {
		list[i] = Charge{Budget: list[i].Budget, Start: list[i].Start}
	}
	o.Charges = Charges{list}
	return Charges{said}
}

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
