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
				return faultOneCall(ctx, s, f)
			}})
	}
	return all
}

// A model is a memory store that the one under test is held to. It takes over
// that one's time, and open makes its ledger.
type model struct {
	*credits.MemoryStore
	*credits.Ledger
	micros atomic.Int64
}

func newModel(open func(credits.Store) (*credits.Ledger, error)) (*model, error) {
	m := new(model)
	m.MemoryStore = credits.NewMemoryStore(&credits.MemoryOptions{Now: func() time.Time { return time.UnixMicro(m.micros.Load()) }})
	var err error
	m.Ledger, err = open(m.MemoryStore)
	return m, err
}

// follow sets m's clock to that of s.
func (m *model) follow(ctx context.Context, s credits.Store) error {
	now, err := instant(ctx, s)
	m.micros.Store(now.UnixMicro())
	return err
}

// advance moves both clocks, and returns what they say.
func (m *model) advance(s credits.Store, d time.Duration) time.Time {
	advance(s, d)
	return time.UnixMicro(m.micros.Add(d.Microseconds())).UTC()
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

// A script is the commands of one run: the one of a step, made at the store's
// time, or false when there are no more. A seed says which run it was.
type script struct {
	seed uint64
	step func() time.Duration
	next func(i int, now time.Time) (Command, bool)
}

// randomly is n random commands.
func randomly(seed uint64, account credits.AccountID, n int) script {
	g := NewRandom(seed, account)
	return script{seed, g.Step, func(i int, now time.Time) (Command, bool) { return g.Next(now), i < n }}
}

// compared runs commands against s, each through faulty and then, without
// faults, in memory: both must come to the same, and in the end hold the same
// rows.
func compared(ctx context.Context, s credits.Store, faulty *Faulty, attempt func(int), account credits.AccountID, run script) error {
	m, err := newModel(openNearsighted)
	if err != nil {
		return err
	}
	l, err := openNearsighted(faulty)
	if err != nil {
		return err
	}
	if err := m.follow(ctx, s); err != nil {
		return err
	}
	for i := 0; ; i++ {
		c, more := run.next(i, m.advance(s, run.step()))
		if !more {
			break
		}
		want := c.Do(ctx, m.Ledger)
		if got := persist(ctx, l, c, attempt); !got.Same(want) {
			return fmt.Errorf("seed %d step %d %v:\n got %v\nwant %v", run.seed, i, c, got, want)
		}
	}
	if err := Equal(ctx, s, m.MemoryStore, account); err != nil {
		return fmt.Errorf("seed %d: %w", run.seed, err)
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
	return faultEach(ctx, s, f, randomly(5, "a", 100))
}

func faultEach(ctx context.Context, s credits.Store, f Fault, run script) error {
	var attempt, call int
	faulty := NewFaulty(s, func(int) Fault {
		if call++; call == attempt || f == DecideTwice {
			return f
		}
		return NoFault
	}, nil)
	return compared(ctx, s, faulty, func(n int) { attempt, call = n, 0 }, "a", run)
}

// faultOneCall makes the first call fail and no other; then, with an account of
// its own, the second; and so on, until the commands are done before it comes to
// that. They are one of every verb and more.
func faultOneCall(ctx context.Context, s credits.Store, f Fault) error {
	for call := 1; ; call++ {
		faulty := NewFaulty(s, func(n int) Fault {
			if n == call {
				return f
			}
			return NoFault
		}, nil)
		a := credits.AccountID(fmt.Sprintf("%v at %d", f, call))
		run := script{0, func() time.Duration { return time.Second }, func(i int, now time.Time) (Command, bool) {
			all := everyVerb(a, now)
			return all[min(i, len(all)-1)], i < len(all)
		}}
		if err := compared(ctx, s, faulty, func(int) {}, a, run); err != nil {
			return fmt.Errorf("%v at call %d: %w", f, call, err)
		}
		if faulty.Calls() < call {
			return nil
		}
	}
}

// everyVerb is commands of all verbs that are accepted one after the other, but
// for the debit that stays refused.
func everyVerb(a credits.AccountID, now time.Time) []Command {
	budget := credits.Budget{Account: a, ID: "b", Key: "red", Amount: 100, Every: credits.Day, Thresholds: "10,50"}
	schedule := credits.Schedule{Account: a, ID: "s", Amount: 7, Unit: credits.Days, Every: 1, Anchor: now.Add(-36 * time.Hour), Rollover: 5}
	return []Command{
		NewCommand("Grant", a, credits.Grant{Account: a, ID: "g", Amount: 40}, (*credits.Ledger).Grant),
		NewCommand("SetBudget", a, budget, (*credits.Ledger).SetBudget),
		NewCommand("SetSchedule", a, schedule, (*credits.Ledger).SetSchedule),
		NewCommand("Hold", a, credits.Hold{Account: a, ID: "h", Amount: 20, Key: "red"}, (*credits.Ledger).Hold),
		NewCommand("Capture", a, credits.Capture{Account: a, Hold: "h", Amount: 5, Keep: true, ID: "c"}, (*credits.Ledger).Capture),
		NewCommand("Extend", a, credits.Extend{Account: a, Hold: "h", TTL: time.Hour}, (*credits.Ledger).Extend),
		NewCommand("Capture", a, credits.Capture{Account: a, Hold: "h", Amount: 9}, (*credits.Ledger).Capture),
		NewCommand("Hold", a, credits.Hold{Account: a, ID: "i", Amount: 3, Key: "red/app", Overrun: credits.OverrunDebt, DebtLimit: 50}, (*credits.Ledger).Hold),
		NewCommand("AcquireLease", a, credits.AcquireLease{Account: a, ID: "l", Owner: "one", Min: 5, Want: 10, TTL: 3 * time.Second}, (*credits.Ledger).AcquireLease),
		NewCommand("SettleLease", a, credits.SettleLease{
			Account: a, Lease: "l", Owner: "one", Spends: []credits.LeaseSpend{{ID: "x", Amount: 2}, {ID: "y", Amount: 1}}, Return: 1,
		}, (*credits.Ledger).SettleLease),
		NewCommand("Capture", a, credits.Capture{Account: a, Hold: "i", Amount: 45}, (*credits.Ledger).Capture),
		NewCommand("Debit", a, credits.Debit{Account: a, ID: "d", Amount: 5, Key: "red"}, (*credits.Ledger).Debit),
		NewCommand("ResolveLease", a, credits.ResolveLease{Account: a, ID: "o", Lease: "l", All: true, To: credits.BucketConsumed, Note: "gone"}, (*credits.Ledger).ResolveLease),
		NewCommand("Refund", a, credits.Refund{Account: a, ID: "r", Of: "i", Amount: 44}, (*credits.Ledger).Refund),
		NewCommand("Debit", a, credits.Debit{Account: a, ID: "e", Amount: 5}, (*credits.Ledger).Debit),
		NewCommand("Hold", a, credits.Hold{Account: a, ID: "j", Amount: 1}, (*credits.Ledger).Hold),
		NewCommand("Release", a, credits.Release{Account: a, Hold: "j"}, (*credits.Ledger).Release),
		prune(a),
	}
}
