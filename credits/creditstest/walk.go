package creditstest

import (
	"context"
	"fmt"
	"regexp"

	"github.com/keytoll/keytoll/credits"
)

func randomChecks() []check {
	return []check{{"random commands of every verb give what they give in memory, and leave the same rows", walk}}
}

// walk runs random commands, among them retries, and compares what each comes
// to, what the accounts hold in between, and all rows in the end.
func walk(ctx context.Context, s credits.Store) error {
	const seed, steps, often = 26, 400, 50
	m, err := newModel(open)
	if err != nil {
		return err
	}
	l, err := open(s)
	if err != nil {
		return err
	}
	accounts := []credits.AccountID{"a", "b"}
	g := NewRandom(seed, accounts...)
	if err := m.follow(ctx, s); err != nil {
		return err
	}
	for i := range steps {
		c := g.Next(m.advance(s, g.Step()))
		want, got := c.Do(ctx, m.Ledger), c.Do(ctx, l)
		if !got.Same(want) || got.Replayed != want.Replayed {
			return fmt.Errorf("seed %d step %d %v:\n got %v\nwant %v", seed, i, c, got, want)
		}
		if i%often < often-1 {
			continue
		}
		for _, a := range accounts {
			if err := Equal(ctx, s, m.MemoryStore, a); err != nil {
				return fmt.Errorf("seed %d step %d: %w", seed, i, err)
			}
			b, err := l.Balance(ctx, a)
			if err != nil {
				return err
			}
			if w, err := m.Balance(ctx, a); err != nil || b != w {
				return fmt.Errorf("seed %d step %d: balance %+v, in memory %+v, %v", seed, i, b, w, err)
			}
		}
		if err := verify(ctx, l); err != nil {
			return fmt.Errorf("seed %d step %d: %w", seed, i, err)
		}
	}
	return nil
}

// timeless returns o without the instants in it.
func (o Outcome) timeless() Outcome {
	instants := regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? \+0000 UTC`)
	o.Result, o.Refusal = instants.ReplaceAllString(o.Result, "an instant"), instants.ReplaceAllString(o.Refusal, "an instant")
	return o
}
