package credits

import (
	"iter"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// Thresholds are the shares of a budget, in percent, at which it tells once a
// window that they were reached: up to [MaxThresholds], each from 1 to 100,
// ascending, as text such as "50,80,100", which [NewThresholds] makes. The zero
// value tells nothing.
type Thresholds string

// MaxThresholds bounds how many thresholds a budget may have.
const MaxThresholds = 8

// NewThresholds returns the thresholds at the given percents, each once, in any
// order. SetBudget checks them.
func NewThresholds(percents ...int) Thresholds {
	percents = slices.Clone(percents)
	slices.Sort(percents)
	var text []byte
	for i, p := range slices.Compact(percents) {
		if i > 0 {
			text = append(text, ',')
		}
		text = strconv.AppendInt(text, int64(p), 10)
	}
	return Thresholds(text)
}

// All yields the percents in ascending order. It stops at text that is none.
func (t Thresholds) All() iter.Seq[int] {
	return func(yield func(int) bool) {
		for rest := string(t); rest != ""; {
			var text string
			text, rest, _ = strings.Cut(rest, ",")
			p, err := strconv.Atoi(text)
			if err != nil || !yield(p) {
				return
			}
		}
	}
}

// check reports thresholds that no budget can have.
func (t Thresholds) check(f *errors.Faults, field string) {
	percents := slices.Collect(t.All())
	fits := len(percents) <= MaxThresholds && t == NewThresholds(percents...)
	for _, p := range percents {
		fits = fits && 1 <= p && p <= 100
	}
	if !fits {
		f.Add("%s are %s; give at most %d percents from 1 to 100, such as credits.NewThresholds(50, 80, 100)", field, quote(string(t)), MaxThresholds)
	}
}

// keep returns which bits of fired, of the thresholds was, are set for t: a share
// that both have stays as it is.
func (t Thresholds) keep(was Thresholds, fired uint16) uint16 {
	told := make(map[int]bool)
	i := 0
	for p := range was.All() {
		told[p] = fired&(1<<i) != 0
		i++
	}
	kept := uint16(0)
	i = 0
	for p := range t.All() {
		if told[p] {
			kept |= 1 << i
		}
		i++
	}
	return kept
}

// fire notes the thresholds that b has reached and not told in its window, and
// returns crossed with their percents.
func (b *Budget) fire(crossed []int) []int {
	crossed = slices.Clip(crossed)
	i := 0
	for p := range b.Thresholds.All() {
		if bit := uint16(1) << i; b.Fired&bit == 0 && b.reached(p) {
			b.Fired |= bit
			crossed = append(crossed, p)
		}
		i++
	}
	return crossed
}

// reached reports whether that share of b is spent: Used/Amount >= percent/100.
func (b *Budget) reached(percent int) bool {
	usedHigh, usedLow := bits.Mul64(uint64(max(b.Used, 0)), 100)
	high, low := bits.Mul64(uint64(b.Amount), uint64(percent))
	return usedHigh > high || usedHigh == high && usedLow >= low
}

// An Alert says that a command was the first in a window to spend up to a
// threshold of a budget. Nobody else tells the same: each is told once a window,
// and again with every retry of that command.
type Alert struct {
	Budget  BudgetID
	Percent int       // the threshold
	Used    Amount    // of the budget, after the command
	Amount  Amount    // of the budget then
	Start   time.Time // of the window
}

// alerts returns what the op told, in order of budget and percent.
func (c Charges) alerts() []Alert {
	var list []Alert
	for i := range c.list {
		for _, percent := range c.list[i].Crossed {
			x := &c.list[i]
			list = append(list, Alert{Budget: x.Budget, Percent: percent, Used: x.Used, Amount: x.Amount, Start: x.Start})
		}
	}
	return list
}
