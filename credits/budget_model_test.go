package credits_test

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// The model remembers every op and adds up, for each question, all that counts.
// Its windows have names, such as "2026-W14", and no arithmetic.
type (
	modelBudget struct {
		credits.Budget
		life   int    // how often budgets have begun to count anew, all together
		window string // in which Base counts
		told   map[string]bool
	}
	modelOp struct {
		open                     bool
		ends                     time.Time
		late                     bool
		over                     bool
		held, captured, refunded credits.Amount
		counts                   map[credits.BudgetID]modelWindow
	}
	modelWindow struct {
		life int
		name string
	}
	model struct {
		budgets map[credits.BudgetID]*modelBudget
		ops     map[credits.OpID]*modelOp
		lives   int
	}
)

// window names the window of a budget at an instant, as the clocks of its zone
// show it.
func (b *modelBudget) name(now time.Time) string {
	z := time.UTC
	if b.Zone != "" {
		z, _ = time.LoadLocation(b.Zone)
	}
	now = now.In(z)
	switch b.Every {
	case credits.Day:
		return now.Format(time.DateOnly)
	case credits.Week:
		year, week := now.ISOWeek()
		return fmt.Sprintf("%d-W%d", year, week)
	case credits.Month:
		return now.Format("2006-01")
	case credits.Year:
		return now.Format("2006")
	}
	return "ever"
}

// covers compares paths segment by segment.
func (b *modelBudget) covers(key, operation string) bool {
	if b.Operation != "" && b.Operation != operation {
		return false
	}
	if b.Key == "" {
		return true
	}
	mine, its := strings.Split(b.Key, "/"), strings.Split(key, "/")
	return len(its) >= len(mine) && slices.Equal(mine, its[:len(mine)])
}

// heldAt returns what a hold sets aside at an instant. Nothing is noted of it: the
// clock may go back, and then it is open again if nobody has written anything.
func (o *modelOp) heldAt(now time.Time) credits.Amount {
	if o.open && (o.ends.IsZero() || now.Before(o.ends)) {
		return o.held
	}
	return 0
}

// sums returns what a budget counts in a window, with the holds of an instant.
func (m *model) sums(b *modelBudget, name string, now time.Time) (used, held credits.Amount) {
	if name == b.window {
		used = b.Base
	}
	for _, o := range m.ops {
		if o.counts[b.ID] == (modelWindow{b.life, name}) {
			used += o.captured - o.refunded
			held += o.heldAt(now)
		}
	}
	return used, held
}

// fits reports whether every budget has room for something at an instant, when
// time alone has passed; and how it would be if all holds came back.
func (m *model) fits(amount credits.Amount, key, operation string, now time.Time) (fits, without bool, short []*modelBudget) {
	fits, without = true, true
	if amount == 0 {
		return true, true, nil
	}
	for _, b := range m.budgets {
		if b.Soft || !b.covers(key, operation) {
			continue
		}
		used, held := m.sums(b, b.name(now), now)
		if b.Amount == 0 || used+amount > b.Amount {
			without = false
		}
		if b.Amount == 0 || used+held+amount > b.Amount {
			fits = false
			short = append(short, b)
		}
	}
	return fits, without, short
}

func (m *model) charge(o *modelOp, key, operation string, now time.Time) {
	o.counts = make(map[credits.BudgetID]modelWindow)
	for _, b := range m.budgets {
		if b.covers(key, operation) {
			o.counts[b.ID] = modelWindow{b.life, b.name(now)}
		}
	}
	// A threshold is told by whoever spends, in the window of now.
}

// spent returns the alerts of a command that has spent something for o.
func (m *model) spent(o *modelOp, now time.Time) []string {
	var told []string
	for id, w := range o.counts {
		b := m.budgets[id]
		if b == nil || w != (modelWindow{b.life, b.name(now)}) {
			continue
		}
		used, _ := m.sums(b, w.name, now)
		for p := range b.Thresholds.All() {
			mark := fmt.Sprint(w.name, "@", p)
			if !b.told[mark] && used*100 >= b.Amount*credits.Amount(p) {
				b.told[mark] = true
				told = append(told, fmt.Sprintf("%s %d%% %d/%d", id, p, used, b.Amount))
			}
		}
	}
	slices.Sort(told)
	return told
}

// change does what SetBudget says it does.
func (m *model) change(b credits.Budget, now time.Time) {
	old := m.budgets[b.ID]
	next := &modelBudget{Budget: b, told: make(map[string]bool)}
	if old != nil && old.Key == b.Key && old.Operation == b.Operation && old.Every == b.Every && old.Zone == b.Zone {
		next.life, next.window, next.Base = old.life, old.window, old.Base
		for p := range b.Thresholds.All() { // what both have stays told
			for mark := range old.told {
				if strings.HasSuffix(mark, fmt.Sprint("@", p)) {
					next.told[mark] = true
				}
			}
		}
	} else {
		m.lives++
		next.life, next.window = m.lives, next.name(now)
	}
	m.budgets[b.ID] = next
}

// A budgetRun runs random commands against the ledger and the model.
type budgetRun struct {
	*rig
	model
	rng  *rand.Rand
	next int
	done map[string]int
}

func pick[T any](rng *rand.Rand, list ...T) T { return list[rng.IntN(len(list))] }

func (g *budgetRun) budgetID() credits.BudgetID {
	return pick[credits.BudgetID](g.rng, "a", "b", "c", "d", "e", "f")
}

func (g *budgetRun) key() string {
	return pick(g.rng, "", "red", "red/app", "red/app/k1", "red/app/k2", "redder", "blue/k3", "red//x", "/red")
}

func (g *budgetRun) operation() string { return pick(g.rng, "", "image", "text") }

func (g *budgetRun) op() (credits.OpID, *modelOp) {
	ids := make([]credits.OpID, 0, len(g.ops))
	for id := range g.ops {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	if len(ids) == 0 {
		return "none", nil
	}
	id := ids[max(0, len(ids)-1-g.rng.IntN(12))]
	return id, g.ops[id]
}

// decided returns the instant at which the next command is decided.
func (g *budgetRun) decided() time.Time {
	b, err := g.Balance(g.t.Context(), acme)
	if err != nil {
		g.t.Fatal(err)
	}
	return b.At
}

// step runs one command and compares what it does.
func (g *budgetRun) step() error {
	now := g.decided()
	g.next++
	id := credits.OpID(fmt.Sprintf("%05d", g.next))
	amount := credits.Amount(g.rng.IntN(30))
	switch g.rng.IntN(12) {
	case 0:
		return g.setOne(now)
	case 1:
		which := g.budgetID()
		err := g.RemoveBudget(g.t.Context(), acme, which)
		if _, ok := g.budgets[which]; ok != (err == nil) || err != nil && !errors.Is(err, credits.ErrNotFound) {
			return fmt.Errorf("removing %s: %w", which, err)
		}
		delete(g.budgets, which)
		g.done["remove"]++
		return nil
	case 2, 3, 4:
		h := credits.Hold{
			Account: acme, ID: id, Amount: amount, Key: g.key(), Operation: g.operation(),
			TTL:     pick(g.rng, credits.NoTimeout, time.Minute, 5*time.Hour),
			Overrun: pick(g.rng, credits.OverrunRefused, credits.OverrunCapped), Late: pick(g.rng, credits.LateRefused, credits.LateCharged),
		}
		o := &modelOp{open: true, held: amount, over: h.Overrun == credits.OverrunCapped, late: h.Late == credits.LateCharged}
		if h.TTL > 0 {
			o.ends = now.Add(h.TTL)
		}
		return g.take(h, id, o, amount, h.Key, h.Operation, now)
	case 5, 6:
		d := credits.Debit{Account: acme, ID: id, Amount: amount, Key: g.key(), Operation: g.operation()}
		return g.take(d, id, &modelOp{captured: amount}, amount, d.Key, d.Operation, now)
	case 7:
		of, o := g.op()
		r, err := g.try(credits.Refund{Account: acme, ID: id, Of: of, All: true})
		if o != nil && err == nil {
			o.refunded += r.Amount
			g.done["refund"]++
		}
		return refused(err, credits.ErrNotFound, credits.ErrOverRefund)
	case 8:
		of, o := g.op()
		_, err := g.try(release(of))
		if err == nil && o.open {
			o.open, o.held = false, 0
			g.done["release"]++
		}
		return refused(err, credits.ErrNotFound, credits.ErrSettled, credits.ErrTimedOut)
	}
	return g.capture(id, amount, now)
}

func (g *budgetRun) setOne(now time.Time) error {
	b := credits.Budget{
		Account: acme, ID: g.budgetID(), Key: pick(g.rng, "", "", "red", "red/app", "red/app/k1", "blue", "red//x", "/red"),
		Operation: pick(g.rng, "", "", "image"), Amount: credits.Amount(g.rng.IntN(6) * 40), Every: credits.Span(g.rng.IntN(5)),
		Soft: g.rng.IntN(4) == 0, Thresholds: pick[credits.Thresholds](g.rng, "", "50,80,100", "1", "80,90", "100"),
	}
	if b.Every != credits.Total {
		b.Zone = pick(g.rng, "", "Europe/Berlin", "America/New_York", "America/Santiago", "Asia/Beirut", "Australia/Lord_Howe", "Asia/Kolkata")
	}
	if g.rng.IntN(3) == 0 {
		b.Base = credits.Amount(g.rng.IntN(20))
	}
	if old := g.budgets[b.ID]; old != nil && g.rng.IntN(2) == 0 { // other numbers for the same spending
		b.Key, b.Operation, b.Every, b.Zone = old.Key, old.Operation, old.Every, old.Zone
	}
	if _, err := g.SetBudget(g.t.Context(), b); err != nil {
		return err
	}
	g.change(b, now)
	g.done["set"]++
	return nil
}

// take runs a hold or a debit.
func (g *budgetRun) take(cmd any, id credits.OpID, o *modelOp, amount credits.Amount, key, operation string, now time.Time) error {
	fits, without, short := g.fits(amount, key, operation, now)
	r, err := g.try(cmd)
	denied, ok := errors.AsType[*credits.DeniedError](err)
	switch {
	case fits && err != nil, !fits && !ok:
		return fmt.Errorf("%+v: error %w, and the model says that it fits: %v", cmd, err, fits)
	case fits:
		g.charge(o, key, operation, now)
		g.ops[id] = o
		g.done["taken"]++
		if o.captured > 0 {
			return g.compare(r, g.spent(o, now))
		}
		return nil
	}
	g.done["denied "+denied.Source.String()]++
	named := g.budgets[denied.Budget]
	source := func(b *modelBudget) credits.Source {
		switch {
		case b.Key != "":
			return credits.SourceKeyBudget
		case b.Operation != "":
			return credits.SourceOperationBudget
		}
		return credits.SourceAccountBudget
	}
	first := slices.MinFunc(short, func(a, b *modelBudget) int { return cmp.Compare(source(a), source(b)) })
	used, held := credits.Amount(0), credits.Amount(0)
	if named != nil {
		used, held = g.sums(named, named.name(now), now)
	}
	if named == nil || !slices.Contains(short, named) || denied.Source != source(first) || source(named) != denied.Source ||
		denied.Available != max(0, named.Amount-used-held) || denied.Need != amount || denied.Transient != without {
		return fmt.Errorf("%+v: denied %+v, Transient should be %v", cmd, denied, without)
	}
	if clears := denied.ClearsAt; !clears.IsZero() {
		if fits, _, _ := g.fits(amount, key, operation, clears); !fits || !clears.After(now) {
			return fmt.Errorf("%+v: there is no room at %v", cmd, clears)
		}
		if fits, _, _ := g.fits(amount, key, operation, clears.Add(-time.Microsecond)); fits {
			return fmt.Errorf("%+v: there is room before %v", cmd, clears)
		}
		g.done["clears"]++
	}
	return nil
}

func (g *budgetRun) capture(id credits.OpID, amount credits.Amount, now time.Time) error {
	of, o := g.op()
	c := credits.Capture{Account: acme, Hold: of, Amount: amount}
	switch g.rng.IntN(3) {
	case 0:
		c.All, c.Amount = true, 0
	case 1:
		c.Keep, c.ID = true, id
	}
	held := credits.Amount(0)
	if o != nil {
		held = o.heldAt(now)
	}
	r, err := g.try(c)
	if err != nil || r.Replayed {
		return refused(err, credits.ErrNotFound, credits.ErrSettled, credits.ErrTimedOut, credits.ErrOverHold)
	}
	o.captured += r.Amount
	o.held = max(0, held-r.Amount)
	if !c.Keep {
		o.held, o.open = 0, false
	}
	g.done["captured"]++
	if r.Amount > held {
		g.done["captured more"]++
		if !o.over && !o.late {
			return fmt.Errorf("%+v took %v of a hold of %v", c, r.Amount, held)
		}
	}
	if r.Amount == 0 {
		return g.compare(r, nil)
	}
	told := g.spent(o, now)
	if len(told) > 0 {
		again, err := g.try(c)
		if err != nil || !again.Replayed {
			return fmt.Errorf("%+v again: %+v, %w", c, again, err)
		}
		if err := g.compare(again, told); err != nil {
			return err
		}
	}
	return g.compare(r, told)
}

// refused returns err, unless it is one of those that may be.
func refused(err error, may ...error) error {
	for _, e := range may {
		if errors.Is(err, e) {
			return nil
		}
	}
	return err
}

// compare holds the alerts of a receipt to those of the model.
func (g *budgetRun) compare(r credits.Receipt, want []string) error {
	var got []string
	for _, a := range r.Alerts {
		got = append(got, fmt.Sprintf("%s %d%% %d/%d", a.Budget, a.Percent, a.Used, a.Amount))
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		return fmt.Errorf("%v %s tells %v, want %v", r.Kind, r.Op, got, want)
	}
	g.done["alerts"] += len(got)
	return nil
}

// check compares every budget with the model.
func (g *budgetRun) check() error {
	now := g.decided()
	p, err := g.Budgets(g.t.Context(), credits.ListQuery{Account: acme})
	if err != nil || len(p.Budgets) != len(g.budgets) {
		return fmt.Errorf("%d budgets, want %d; %w", len(p.Budgets), len(g.budgets), err)
	}
	for _, b := range p.Budgets {
		m := g.budgets[b.ID]
		if used, held := g.sums(m, m.name(now), now); b.Used != used || b.Held != held {
			return fmt.Errorf("budget %+v: %d used and %d held at %v, want %d and %d", b, b.Used, b.Held, now, used, held)
		}
		if m.name(b.Start) != m.name(now) || !b.End.IsZero() && (m.name(b.End.Add(-time.Microsecond)) != m.name(now) || m.name(b.End) == m.name(now)) {
			return fmt.Errorf("the window of budget %+v is not that of %v", b, now)
		}
	}
	return nil
}

// Random commands under random budgets, over windows, zones, changes of the
// clocks and a clock that jumps, against sums over all ops of a window.
func TestBudgetsAgreeWithTheModel(t *testing.T) {
	t.Parallel()
	done := make(map[string]int)
	for _, seed := range seeds(t) {
		g := &budgetRun{rig: newRig(t), rng: rand.New(rand.NewPCG(seed, 7)), done: done}
		g.model = model{budgets: make(map[credits.BudgetID]*modelBudget), ops: make(map[credits.OpID]*modelOp)}
		g.clock.micros.Store(time.Date(2026, 3, 6, 12, 0, 0, 0, time.UTC).UnixMicro())
		g.run(grant("g", 1_000_000))
		for step := range 250 {
			jump := time.Duration(g.rng.IntN(60)) * time.Second
			switch g.rng.IntN(30) {
			case 0:
				jump *= 60
			case 1:
				jump *= 60 * 24
			case 2:
				jump *= 60 * 24 * 10
			case 3, 4:
				jump = -jump
			case 5, 6, 7:
				jump = 0
			}
			g.add(jump)
			err := g.step()
			if err == nil {
				err = g.check()
			}
			if err == nil && step%50 == 0 {
				_, err = g.Verify(t.Context(), nil)
			}
			if err != nil {
				t.Fatalf("seed %d step %d at %v: %v", seed, step, g.now(), err)
			}
		}
	}
	if testing.Short() {
		return // too few seeds for the question that follows
	}
	for _, what := range []string{
		"set", "remove", "taken", "refund", "release", "captured", "captured more", "alerts", "clears",
		"denied account_budget", "denied key_budget", "denied operation_budget",
	} {
		if done[what] < 3 {
			t.Errorf("only %d of %q: the run proves little", done[what], what)
		}
	}
}
