package proof_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/anishathalye/porcupine"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/credits/creditstest"
	"github.com/keytoll/keytoll/errors"
)

// What callers at once were told can be told by the core to one caller after the
// other, each command between its call and its answer: nobody saw credit that
// was spent, and of equal commands one was the first. What fails without an
// answer may have been done at any time later, or never.
func TestHistoriesAreLinearizable(t *testing.T) {
	for _, k := range kinds {
		for _, batched := range []bool{false, true} {
			name := k.name
			if batched {
				name += " in batches"
			}
			t.Run(name, func(t *testing.T) {
				histories, seed := size(t, "KEYTOLL_LEDGER_HISTORIES", 12), seedOf(t)
				c := newClock()
				s := k.open(t, c)
				if batched {
					b, err := credits.NewBatcher(s, nil)
					if err != nil {
						t.Fatal(err)
					}
					s = b
				}
				unknown := 0
				for i := range histories {
					h := newHistory(seed+uint64(i), c, fmt.Sprintf("history %d of ", i))
					if !h.check(t, h.run(t, s)) {
						t.Fatalf("seed %d: the history is not linearizable:\n%v", seed+uint64(i), h)
					}
					unknown += h.unknown
				}
				if histories > 10 && unknown == 0 {
					t.Errorf("seed %d: no command failed without an answer: the histories prove less than they should", seed)
				}
			})
		}
	}
}

// The proof is worth something when it finds what is wrong.
func TestHistoriesOfBrokenStoresAreNot(t *testing.T) {
	for name, breaks := range map[string]func(credits.Store) credits.Store{
		"reads under one lock and writes under another": func(s credits.Store) credits.Store { return split{s} },
		"reads the lots before it waits for the lock":   func(s credits.Store) credits.Store { return stale{s} },
		"forgets what it answered":                      func(s credits.Store) credits.Store { return forgetful{s} },
	} {
		t.Run("a store that "+name, func(t *testing.T) {
			seed := seedOf(t)
			for i := range uint64(2000) {
				c := newClock()
				h := newHistory(seed+i, c, "")
				if !h.check(t, h.run(t, breaks(inMemory(t, c)))) {
					return
				}
			}
			t.Errorf("seed %d: none of 2000 histories shows it", seed)
		})
	}
}

// A history is commands of some callers at once, over two accounts, and what
// each was told.
type history struct {
	clock   *clock
	names   []credits.AccountID
	work    [][]creditstest.Command // of each caller
	faults  []creditstest.Fault
	unknown int
	ticks   atomic.Int64 // logical time: numbers calls and answers
	events  []porcupine.Operation
}

const (
	callers      = 4
	commandsEach = 6
)

// newHistory makes the commands of a seed. Some retry what another caller tries.
func newHistory(seed uint64, c *clock, prefix string) *history {
	rng := rand.New(rand.NewPCG(seed, 2))
	h := &history{clock: c, names: []credits.AccountID{credits.AccountID(prefix + "a"), credits.AccountID(prefix + "b")}, work: make([][]creditstest.Command, callers)}
	g := creditstest.NewRandom(seed, h.names...)
	for range commandsEach {
		for caller := range h.work {
			// Prune takes several steps, between which others may come.
			cmd := g.Next(c.now())
			for cmd.Verb == "Prune" {
				cmd = g.Next(c.now())
			}
			h.work[caller] = append(h.work[caller], cmd)
		}
	}
	for range 64 {
		f := creditstest.NoFault
		if rng.IntN(6) == 0 {
			f = creditstest.Fault(1 + rng.IntN(int(creditstest.CancelDecided)))
		}
		h.faults = append(h.faults, f)
	}
	return h
}

// run gives the commands to ledgers over s, one for each caller, and returns what
// was told. The accounts begin with some credit, and the time stands still.
func (h *history) run(t *testing.T, s credits.Store) []porcupine.Operation {
	t.Helper()
	first := newNearsighted(t, s)
	for _, a := range h.names {
		for i := range 3 {
			g := credits.Grant{Account: a, ID: credits.OpID(fmt.Sprint("first ", i)), Amount: 8, Priority: i}
			h.record(0, creditstest.NewCommand("Grant", a, g, (*credits.Ledger).Grant), first, t)
		}
	}
	faulty := creditstest.NewFaulty(s, func(call int) creditstest.Fault { return h.faults[call%len(h.faults)] }, nil)
	var mu sync.Mutex
	var group sync.WaitGroup
	start := make(chan struct{})
	for caller, work := range h.work {
		l := newNearsighted(t, faulty)
		group.Go(func() {
			<-start
			for _, cmd := range work {
				op := h.call(caller, cmd, l, t)
				mu.Lock()
				h.events = append(h.events, op)
				mu.Unlock()
			}
		})
	}
	close(start)
	group.Wait()
	for _, a := range h.names { // and what is there in the end
		h.record(0, creditstest.NewCommand("Balance", a, a, (*credits.Ledger).Balance), first, t)
	}
	return h.events
}

func (h *history) record(caller int, cmd creditstest.Command, l *credits.Ledger, t *testing.T) {
	h.events = append(h.events, h.call(caller, cmd, l, t))
}

func (h *history) call(caller int, cmd creditstest.Command, l *credits.Ledger, t *testing.T) porcupine.Operation {
	op := porcupine.Operation{ClientId: caller, Input: cmd, Call: h.ticks.Add(1)}
	got := cmd.Do(t.Context(), l)
	op.Output, op.Return = got, h.ticks.Add(1)
	if got.Unknown != nil {
		op.Return = math.MaxInt64
	}
	return op
}

// check asks whether the core, one command after the other, can have told that.
func (h *history) check(t *testing.T, ops []porcupine.Operation) bool {
	t.Helper()
	for _, op := range ops {
		if op.Output.(creditstest.Outcome).Unknown != nil {
			h.unknown++
		}
	}
	// One account after the other: no step of the checker outlives this call.
	for _, a := range h.names {
		var faults errs
		part := slices.DeleteFunc(slices.Clone(ops), func(op porcupine.Operation) bool { return op.Input.(creditstest.Command).Account != a })
		result := porcupine.CheckOperations(h.model(context.WithoutCancel(t.Context()), &faults), part)
		if err := faults.first(); err != nil {
			t.Fatal(err)
		}
		if !result {
			return false
		}
	}
	return true
}

// errs keeps what goes wrong in the checker's goroutine.
type errs struct {
	mu  sync.Mutex
	all []error
}

func (e *errs) add(err error) {
	if err != nil {
		e.mu.Lock()
		e.all = append(e.all, err)
		e.mu.Unlock()
	}
}

func (e *errs) first() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return errors.Join(e.all...)
}

// A world is one account of the model: a store in memory that is never changed,
// but copied for each step.
type world struct {
	store  credits.Store
	digest credits.Hash
}

func (h *history) model(ctx context.Context, faults *errs) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return world{} },
		Step: func(state, input, output any) (bool, any) {
			cmd, got := input.(creditstest.Command), output.(creditstest.Outcome)
			before := state.(world)
			after := world{store: credits.NewMemoryStore(&credits.MemoryOptions{Now: h.clock.now})}
			if before.store != nil {
				faults.add(creditstest.Copy(ctx, after.store, before.store, cmd.Account))
			}
			l, err := credits.NewLedger(after.store, &credits.Options{LookAhead: credits.NoLookAhead})
			if err != nil {
				faults.add(err)
				return false, state
			}
			want := cmd.Do(ctx, l)
			after.digest, err = creditstest.Digest(ctx, after.store, cmd.Account)
			faults.add(err)
			return got.Unknown != nil || got.Same(want) && got.Replayed == want.Replayed, after
		},
		Equal: func(a, b any) bool { return a.(world).digest == b.(world).digest },
		Hash: func(state any) uint64 {
			d := state.(world).digest
			return uint64(d[0]) | uint64(d[1])<<8 | uint64(d[2])<<16 | uint64(d[3])<<24
		},
	}
}

// String shows the history in the order of the calls.
func (h *history) String() string {
	var b strings.Builder
	for _, op := range slices.SortedFunc(slices.Values(h.events), func(a, b porcupine.Operation) int { return int(a.Call - b.Call) }) {
		fmt.Fprintf(&b, "%d-%d caller %d %v\n    %v\n", op.Call, op.Return, op.ClientId, op.Input, op.Output)
	}
	return b.String()
}
