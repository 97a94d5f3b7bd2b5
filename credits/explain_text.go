package credits

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// String returns x for people.
func (x *Explanation) String() string {
	var b strings.Builder
	o := &x.Op
	fmt.Fprintf(&b, "%s %s of account %s, %s: %v credits%s\n", o.Kind, o.ID, o.Account, instant(o.At), o.Amount, labels(o))
	if o.Target != "" {
		fmt.Fprintf(&b, "of %s\n", o.Target)
	}
	if d := x.Denied; d != nil {
		fmt.Fprintf(&b, "refused, and stays so, by its %s%s: %v needed, %v there\n", strings.ReplaceAll(d.Source.String(), "_", " "), named(" ", string(d.Budget)), d.Need, d.Available)
	}
	if o.Hold != HoldNone {
		fmt.Fprintf(&b, "%s%s\n", strings.ReplaceAll(o.Hold.String(), "_", " "), x.end())
	}
	x.writeLots(&b)
	for c := range o.Charges.All() {
		if x.Denied != nil {
			break
		}
		fmt.Fprintf(&b, "counts in budget %s%s%s\n", c.Budget, window(c.Start), crossed(c.Crossed))
	}
	for i := range x.Related {
		r := &x.Related[i]
		fmt.Fprintf(&b, "%s %s, %s: %v credits\n", r.Kind, r.ID, instant(r.At), r.Amount)
	}
	for i := range x.Entries {
		e := &x.Entries[i]
		fmt.Fprintf(&b, "entry %d, %s, %s: %v of lot %d, %s -> %s\n", e.Seq, instant(e.At), e.Kind, e.Amount, e.Lot, e.From, e.To)
	}
	if x.More {
		b.WriteString("and more\n")
	}
	return b.String()
}

// end says how a hold ended, or when it will.
func (x *Explanation) end() string {
	o := &x.Op
	switch {
	case !o.SettledAt.IsZero():
		return fmt.Sprintf(" %s: %v spent by that, %v given back", instant(o.SettledAt), o.SettledAmount, o.SettledRest)
	case !o.Deadline.IsZero():
		return " until " + instant(o.Deadline)
	}
	return ""
}

func (x *Explanation) writeLots(b *strings.Builder) {
	verb := "from"
	if !x.takes() && x.Op.Kind != KindDebit {
		verb = "lot by lot:"
	}
	for i := range x.Lots {
		u := &x.Lots[i]
		fmt.Fprintf(b, "%s %s: %v%s", verb, u.Lot.words(), u.Part.Amount, u.Part.words(x.Op.Hold != HoldNone))
		if u.Why != BurnNoReason {
			next := x.Next
			if i+1 < len(x.Lots) {
				next = []Lot{x.Lots[i+1].Lot}
			}
			fmt.Fprintf(b, "; before lot %d, %s", next[0].ID, u.Why.words(&u.Lot, &next[0]))
		}
		b.WriteByte('\n')
		verb = "then"
	}
	for i := range x.Next {
		fmt.Fprintf(b, "not reached: %s\n", x.Next[i].words())
	}
}

// words says which lot it is.
func (l *Lot) words() string {
	if l.ID == 0 {
		return "debt, which no lot backs"
	}
	text := fmt.Sprintf("lot %d (%s, made by %s", l.ID, l.Category, l.Op)
	if l.Priority != 0 {
		text += ", priority " + strconv.Itoa(l.Priority)
	}
	if l.Only != "" {
		text += ", only for " + strings.Join(l.Only.Names(), ", ")
	}
	if !l.ExpiresAt.IsZero() {
		text += ", expires " + instant(l.ExpiresAt)
	}
	return text + ")"
}

// words says what became of a part.
func (p *Part) words(hold bool) string {
	text := ""
	if hold {
		text = fmt.Sprintf(", %v spent, %v given back", p.Captured, p.Released)
	}
	if p.Refunded > 0 {
		text += fmt.Sprintf(", %v refunded", p.Refunded)
	}
	return text
}

// words says why l burned before m.
func (r BurnReason) words(l, m *Lot) string {
	switch r {
	case BurnPriority:
		return fmt.Sprintf("because its priority is lower, %d and not %d", l.Priority, m.Priority)
	case BurnRestricted:
		return "because it can be spent on this and not on everything"
	case BurnExpiry:
		if m.ExpiresAt.IsZero() {
			return "because it expires, and the other never does"
		}
		return "because it expires earlier"
	case BurnCategory:
		return fmt.Sprintf("because %s burns before %s", l.Category, m.Category)
	case BurnEffective:
		return "because it took effect earlier"
	}
	return "because it is older"
}

func instant(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// labels says what the op was for.
func labels(o *Op) string {
	return named(", key ", o.Key) + named(", operation ", o.Operation) + named(", price ", o.Price) + named(", note ", o.Note)
}

func named(what, name string) string {
	if name == "" {
		return ""
	}
	return what + name
}

func window(start time.Time) string {
	if start.IsZero() {
		return ""
	}
	return ", in the window that began " + instant(start)
}

func crossed(percents []int) string {
	var text []string
	for _, p := range percents {
		text = append(text, strconv.Itoa(p)+" %")
	}
	return named("; it reached ", strings.Join(text, ", "))
}
