package credits

import (
	"math"
	"slices"
	"time"

	"github.com/keytoll/keytoll/internal/calendar"
)

// begin gives b a window with nothing in it but base, from at on. Two windows of
// one id never have the same Start, so that a [Charge] names its window alone.
func (b *Budget) begin(at time.Time, base Amount, z *zones) error {
	b.Start, b.End = at, time.Time{}
	b.Base, b.Used, b.Held, b.Fired = base, base, 0, 0
	if b.Every == Total {
		return nil
	}
	zone, err := z.of(b.Zone)
	if err == nil {
		_, b.End = calendar.Window(calendar.Span(b.Every), zone, at)
	}
	return err
}

// roll takes b to the window of now, when its own is over.
func (b *Budget) roll(now time.Time, z *zones) error {
	if !isDue(b.End, now) {
		return nil
	}
	zone, err := z.of(b.Zone)
	if err != nil {
		return err
	}
	over := b.End
	start, _ := calendar.Window(calendar.Span(b.Every), zone, now)
	if start.Before(over) {
		start = over // the rules of the zone have changed meanwhile
	}
	return b.begin(start, 0, z)
}

// room returns how much more b lets somebody spend or set aside.
func (b *Budget) room() Amount {
	left := b.Amount - min(b.Used, b.Amount)
	return left - min(b.Held, left)
}

// admits reports whether b has room for amount: whether Used+Held+amount is no
// more than Amount. Nothing always has room.
func (b *Budget) admits(amount Amount) bool {
	return amount == 0 || b.Soft || b.within(b.Held) && amount <= b.room()
}

// within reports whether b would have room for amount if nothing were held.
func (b *Budget) within(amount Amount) bool {
	return b.Amount > 0 && amount <= b.Amount-b.Used
}

// budget returns the row of a budget, or nil when there is none.
func (s *State) budget(id BudgetID) *BudgetRow {
	if len(s.Budgets) < manyRows {
		for i := range s.Budgets {
			if s.Budgets[i].Budget.ID == id {
				return s.Budgets[i].here()
			}
		}
		return nil
	}
	if i := s.budgetIndex.place(id, len(s.Budgets), func(i int) BudgetID { return s.Budgets[i].Budget.ID }); i >= 0 {
		return s.Budgets[i].here()
	}
	return nil
}

// here returns r, or nil when the budget was taken away in this call.
func (r *BudgetRow) here() *BudgetRow {
	if r.Change.gone() {
		return nil
	}
	return r
}

// A scopeIndex finds the budgets of a scope in a state that has many.
type scopeIndex struct {
	where  map[Scope][]int
	seen   int // so many rows of the state are in where
	scopes []Scope
	found  []int
}

// reset makes x forget where budgets are, because the scope of one has changed or
// the state is another one.
func (x *scopeIndex) reset() {
	clear(x.where)
	x.seen = 0
}

// covering returns where the budgets are that a command of that key and operation
// counts against, until it is called again.
func (s *State) covering(key, operation string) []int {
	x := &s.scopeIndex
	x.found = x.found[:0]
	if len(s.Budgets) < manyRows {
		for i := range s.Budgets {
			if row := s.Budgets[i].here(); row != nil && row.Budget.covers(key, operation) {
				x.found = append(x.found, i)
			}
		}
		return x.found
	}
	if x.where == nil {
		x.where = make(map[Scope][]int, 2*len(s.Budgets))
	}
	for ; x.seen < len(s.Budgets); x.seen++ {
		b := &s.Budgets[x.seen].Budget
		at := Scope{b.Key, b.Operation}
		x.where[at] = append(x.where[at], x.seen)
	}
	x.scopes = scopes(x.scopes[:0], key, operation)
	for _, at := range x.scopes {
		for _, i := range x.where[at] {
			if s.Budgets[i].here() != nil {
				x.found = append(x.found, i)
			}
		}
	}
	return x.found
}

// A squeeze is what the budgets without room for something have to say.
type squeeze struct {
	budget    Budget    // the one that is told of; in the window of now
	source    Source    // SourceNone: all have room
	transient bool      // what is held can make room in all of them
	clears    time.Time // when all of them have room by time alone; zero: never
}

// squeezed asks the budgets that cover w whether they have room. Of several that
// have none it tells of the first by [Source], then of the one that clears last,
// then of the first by ID.
func (s *State) squeezed(w want, now time.Time) (squeeze, error) {
	var q squeeze
	never := false
	for _, i := range s.covering(w.key, w.operation) {
		b := s.Budgets[i].Budget
		if err := b.roll(now, s.zones); err != nil {
			return squeeze{}, err
		}
		if b.admits(w.amount) {
			continue
		}
		first := q.source == SourceNone
		q.transient = (first || q.transient) && b.within(w.amount)
		if b.clears(w.amount).IsZero() {
			never = true
		} else if b.End.After(q.clears) {
			q.clears = b.End
		}
		if first || b.tellsBefore(&q.budget, w.amount) {
			q.budget, q.source = b, b.source()
		}
	}
	if never {
		q.clears = time.Time{}
	}
	return q, nil
}

// clears returns when b has room for amount by time alone; zero: never.
func (b *Budget) clears(amount Amount) time.Time {
	if b.Amount == 0 || amount > b.Amount {
		return time.Time{}
	}
	return b.End
}

// tellsBefore reports whether a denial names b and not other.
func (b *Budget) tellsBefore(other *Budget, amount Amount) bool {
	if b.source() != other.source() {
		return b.source() < other.source()
	}
	mine, its := b.clears(amount), other.clears(amount)
	switch {
	case mine.Equal(its):
		return b.ID < other.ID
	case mine.IsZero() || its.IsZero():
		return mine.IsZero()
	}
	return mine.After(its)
}

// charge notes in o the budgets that it counts against, each in the window of
// now. Their zones are known, because admit has asked the same budgets.
func (s *State) charge(o *Op, now time.Time) {
	found := s.covering(o.Key, o.Operation)
	if len(found) == 0 {
		return
	}
	list := make([]Charge, 0, len(found))
	for _, i := range found {
		row := &s.Budgets[i]
		if isDue(row.Budget.End, now) && row.Budget.roll(now, s.zones) == nil {
			row.Change.change()
		}
		list = append(list, Charge{Budget: row.Budget.ID, Start: row.Budget.Start})
	}
	slices.SortFunc(list, func(a, b Charge) int { return compareIDs(a.Budget, b.Budget) })
	o.Charges = Charges{list}
}

// count adds to what the budgets that o counts against have set aside and spent,
// where the window that o was made in is still the one they count, and notes in
// o's charges which thresholds that has reached. A threshold tells nothing once
// its window is over.
func (s *State) count(o *Op, held, used Amount, now time.Time) {
	if held == 0 && used == 0 {
		return
	}
	for i := range o.Charges.list {
		row := s.budget(o.Charges.list[i].Budget)
		if row == nil || !row.Budget.Start.Equal(o.Charges.list[i].Start) {
			continue
		}
		b := &row.Budget
		row.Change.change()
		b.Held, b.Used = saturate(b.Held, held), saturate(b.Used, used)
		if used <= 0 || isDue(b.End, now) {
			continue
		}
		if crossed := b.fire(o.Charges.list[i].Crossed); len(crossed) > 0 {
			o.Charges = o.Charges.with(i, crossed, b)
		}
	}
}

// saturate returns a + b, and the most there is where that is more.
func saturate(a, b Amount) Amount {
	sum, ok := a.Add(b)
	if !ok {
		return math.MaxInt64
	}
	return sum
}

// with returns a list of its own in which charge i has crossed those thresholds.
func (c Charges) with(i int, crossed []int, b *Budget) Charges {
	list := slices.Clone(c.list)
	list[i].Crossed, list[i].Used, list[i].Amount = crossed, b.Used, b.Amount
	return Charges{list}
}
