package creditstest

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/credits"
)

func faultChecks() []check {
	var all []check
	for _, f := range faults {
		all = append(all,
			check{"a command that meets a fault and is retried is done once: " + f.String() + ", at every call", func(ctx context.Context, s credits.Store) error {
				return faultEachCall(ctx, s, f)
			}},
			check{"a command that meets a fault and is retried is done once: " + f.String() + ", at one call of all", func(ctx context.Context, s credits.Store) error {
				return faultOneCall(ctx, s, f, 12)
			}})
	}
	return all
}

// A model is a memory store that the one under test is held to. It takes over
// that one's time.
type model struct {
	*credits.MemoryStore
	*credits.Ledger
	micros atomic.Int64
}

func newModel() (*model, error) {
	m := new(model)
	m.MemoryStore = credits.NewMemoryStore(&credits.MemoryOptions{Now: func() time.Time { return time.UnixMicro(m.micros.Load()) }})
	var err error
	m.Ledger, err = open(m.MemoryStore)
	return m, err
}

// follow sets m's clock to that of s.
func (m *model) follow(ctx context.Context, s credits.Store) (time.Time, error) {
	now, err := instant(ctx, s)
	m.micros.Store(now.UnixMicro())
	return now, err
}

// retries is how often a command may fail until it is given up.
const retries = 10

// persist gives a command to the ledger until it is known what came of it. It
// tells before each attempt which it is, from 1.
func persist(ctx context.Context, l *credits.Ledger, c Command, attempt func(int)) Outcome {
	var o Outcome
	for i := range retries {
		attempt(i + 1)
		if o = c.Do(ctx, l); o.Unknown == nil {
			return o
		}
	}
	return o
}

// compared runs n commands of a seed against s, each through faulty and then,
// without faults, in memory: both must come to the same, and in the end hold the
// same rows.
func compared(ctx context.Context, s credits.Store, faulty *Faulty, attempt func(int), seed uint64, account credits.AccountID, n int) error {
	m, err := newModel()
	if err != nil {
		return err
	}
	l, err := open(faulty)
	if err != nil {
		return err
	}
	g := NewRandom(seed, account)
	for i := range n {
		advance(s, g.Step())
		now, err := m.follow(ctx, s)
		if err != nil {
			return err
		}
		c := g.Next(now)
		want := c.Do(ctx, m.Ledger)
		if got := persist(ctx, l, c, attempt); !got.Same(want) {
			return fmt.Errorf("seed %d step %d %v:\n got %v\nwant %v", seed, i, c, got, want)
		}
	}
	if err := Equal(ctx, s, m.MemoryStore, account); err != nil {
		return fmt.Errorf("seed %d: %w", seed, err)
	}
	sound, err := open(s)
	if err != nil {
		return err
	}
	_, err = sound.Verify(ctx, &credits.VerifyOptions{Accounts: []credits.AccountID{account}})
	return err
}

// faultEachCall makes the first call of each command fail, at the second attempt
// the second call, and so on, until the command is done before it comes to that:
// each command meets the fault from the very state that commands without faults
// lead to.
func faultEachCall(ctx context.Context, s credits.Store, f Fault) error {
	var attempt, call int
	faulty := NewFaulty(s, func(int) Fault {
		if call++; call == attempt || f == DecideTwice {
			return f
		}
		return NoFault
	}, nil)
	return compared(ctx, s, faulty, func(n int) { attempt, call = n, 0 }, 5, "a", 120)
}

// faultOneCall makes the first call fail and no other; then, with an account of
// its own, the second; and so on, until the commands are done before it comes to
// that.
func faultOneCall(ctx context.Context, s credits.Store, f Fault, commands int) error {
	for call := 1; ; call++ {
		faulty := NewFaulty(s, func(n int) Fault {
			if n == call {
				return f
			}
			return NoFault
		}, nil)
		if err := compared(ctx, s, faulty, func(int) {}, 7, credits.AccountID(fmt.Sprintf("%v at %d", f, call)), commands); err != nil {
			return fmt.Errorf("%v at call %d: %w", f, call, err)
		}
		if faulty.Calls() < call {
			return nil
		}
	}
}
