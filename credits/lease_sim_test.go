package credits_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// A leaseSim is a fleet of instances over one ledger, from one seed: they crash,
// restart, pause, lose touch, have clocks that run fast, slow and jump, and their
// messages are lost, come twice, late and out of order. Nothing in it waits or
// runs at once, so a seed always gives the same run.
type leaseSim struct {
	rng      *rand.Rand
	seed     uint64
	now      time.Time
	ledger   *credits.Ledger
	nodes    []*simNode
	late     []credits.SettleLease
	answered map[credits.OpID]simAnswer
	unknown  map[credits.OpID]credits.Amount // asked for, and the answer was an error
	sum      credits.Amount                  // of answered
	issued   credits.Amount
	ids      int
	healed   bool // nothing is lost any more
	clean    bool // nobody has crashed whose memory is not in a journal that keeps every answer
	policy   func(*leaseSim) error
	counts   map[string]int
}

type simAnswer struct {
	amount credits.Amount
	sure   bool // a crash may not lose it
}

// A simNode is one instance.
type simNode struct {
	sim     *leaseSim
	at      int
	lessee  *credits.Lessee // nil: it is down
	journal *simJournal     // nil: none
	offset  time.Duration
	speed   int // of its clock, in percent
	cut     bool
	busy    time.Time // paused until then
	holds   []credits.Hold
	delayed []credits.AcquireLease
	since   time.Time // of the first of delayed
}

const simTTL = 20 * time.Second

func newLeaseSim(seed uint64, policy func(*leaseSim) error) (*leaseSim, error) {
	s := &leaseSim{
		rng: rand.New(rand.NewPCG(seed, 5)), seed: seed, now: epoch, clean: true, policy: policy,
		answered: make(map[credits.OpID]simAnswer), unknown: make(map[credits.OpID]credits.Amount), counts: make(map[string]int),
	}
	store := credits.NewMemoryStore(&credits.MemoryOptions{Now: func() time.Time { return s.now }})
	ledger, err := credits.NewLedger(store, nil)
	if err != nil {
		return nil, err
	}
	s.ledger = ledger
	if err := s.grant(); err != nil {
		return nil, err
	}
	for i := range 2 + s.rng.IntN(3) {
		n := &simNode{sim: s, at: i, speed: 80 + s.rng.IntN(41)}
		if s.rng.IntN(3) > 0 {
			n.journal = &simJournal{sim: s, relaxed: s.rng.IntN(4) == 0}
		}
		s.nodes = append(s.nodes, n)
		if err := n.start(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// chance is true once in n times.
func (s *leaseSim) chance(n int) bool { return s.rng.IntN(n) == 0 }

func (s *leaseSim) id() credits.OpID {
	s.ids++
	return credits.OpID("x" + strconv.Itoa(s.ids))
}

func (s *leaseSim) grant() error {
	g := credits.Grant{Account: acme, ID: s.id(), Amount: credits.Amount(50 + s.rng.IntN(400))}
	if s.chance(3) {
		g.ExpiresAt = s.now.Add(time.Duration(1+s.rng.IntN(60)) * time.Second)
	}
	_, err := s.ledger.Grant(context.Background(), g)
	s.issued += g.Amount
	return err
}

// clock is a node's own: it runs at its own speed, and jumps.
func (n *simNode) clock() time.Time {
	return epoch.Add(n.offset + n.sim.now.Sub(epoch)*time.Duration(n.speed)/100)
}

func (n *simNode) start() error {
	o := &credits.LesseeOptions{
		Owner: "node" + strconv.Itoa(n.at), Flush: credits.ManualFlush, TTL: simTTL, Instances: 1 + n.sim.rng.IntN(2),
		Least: 1 + n.sim.rng.IntN(3), MaxUnsettled: 5 + n.sim.rng.IntN(30), Now: n.clock,
	}
	if n.journal != nil {
		o.Journal = n.journal
	}
	var err error
	n.lessee, err = credits.NewLesseeOf(&simWire{credits.LessorOf(n.sim.ledger), n}, o)
	return err
}

// crash takes the node down, with all it has in memory.
func (n *simNode) crash() {
	s := n.sim
	s.counts["crashes"]++
	if spends, leases := n.lessee.Unsettled(); n.journal == nil && spends+int64(leases) > 0 || n.journal != nil && n.journal.relaxed {
		s.clean = false
	}
	n.lessee, n.holds = nil, nil
	if n.journal != nil {
		n.journal.crash()
	}
}

// answer notes what a client was told about one of its requests.
func (s *leaseSim) answer(n *simNode, id credits.OpID, amount credits.Amount, err error) error {
	if _, before := s.answered[id]; before {
		return nil
	}
	if err == nil {
		s.answered[id] = simAnswer{amount, n == nil || n.journal != nil && !n.journal.relaxed}
		s.sum += amount
		return nil
	}
	if denied, ok := errors.AsType[*credits.DeniedError](err); ok {
		if denied.Available >= denied.Need && denied.Source == credits.SourceBalance {
			return fmt.Errorf("refused with enough: %+v", denied)
		}
		return nil
	}
	s.unknown[id] = amount
	return nil
}

// step does one random thing.
func (s *leaseSim) step() error {
	ctx := context.Background()
	n := s.nodes[s.rng.IntN(len(s.nodes))]
	up := n.lessee != nil && !s.now.Before(n.busy)
	switch what := s.rng.IntN(40); {
	case what < 22 && up:
		return n.spend(ctx)
	case what < 26 && up:
		_ = n.lessee.Flush(ctx) // what fails is kept
	case what < 30:
		s.now = s.now.Add(time.Duration(s.rng.IntN(3000)) * time.Millisecond)
	case what < 32 && up:
		return n.settleHold(ctx)
	case what == 32:
		n.cut = !n.cut
	case what == 33 && n.lessee != nil:
		n.crash()
	case what < 36 && n.lessee == nil:
		return n.start()
	case what == 36:
		n.busy = s.now.Add(time.Duration(s.rng.IntN(40)) * time.Second)
		s.now = s.now.Add(time.Duration(s.rng.IntN(15)) * time.Second)
	case what == 37:
		n.arrive(ctx)
		n.offset += time.Duration(s.rng.IntN(20)-6) * time.Second
	case what == 38 && len(s.late) > 0:
		return s.deliver(ctx, s.rng.IntN(len(s.late)))
	case what == 39:
		switch s.rng.IntN(4) {
		case 0:
			return s.grant()
		case 1:
			return s.ledger.RecallLeases(ctx, acme)
		}
		d := credits.Debit{Account: acme, ID: s.id(), Amount: credits.Amount(1 + s.rng.IntN(60))}
		_, err := s.ledger.Debit(ctx, d)
		return s.answer(nil, d.ID, d.Amount, err)
	}
	return nil
}

// spend is one request: a debit, a retry of one through any node, or a hold.
func (n *simNode) spend(ctx context.Context) error {
	s := n.sim
	amount := credits.Amount(1 + s.rng.IntN(5))
	if s.chance(6) {
		h := credits.Hold{Account: acme, ID: s.id(), Amount: amount, TTL: time.Minute}
		if _, err := n.lessee.Hold(ctx, h); err == nil {
			n.holds = append(n.holds, h)
		}
		return nil
	}
	d := credits.Debit{Account: acme, ID: s.id(), Amount: amount, Key: []string{"", "k"}[s.rng.IntN(2)]}
	r, err := n.lessee.Debit(ctx, d)
	if err := s.answer(n, d.ID, amount, err); err != nil {
		return err
	}
	if err == nil && r.Parts.Len() == 0 {
		s.counts["leased"]++
	}
	if other := s.nodes[s.rng.IntN(len(s.nodes))]; err != nil && other.lessee != nil && s.chance(3) {
		if _, denied := errors.AsType[*credits.DeniedError](err); !denied {
			_, err = other.lessee.Debit(ctx, d)
			return s.answer(other, d.ID, amount, err)
		}
	}
	return nil
}

// settleHold captures or releases one of the node's holds.
func (n *simNode) settleHold(ctx context.Context) error {
	s := n.sim
	if len(n.holds) == 0 {
		return nil
	}
	i := s.rng.IntN(len(n.holds))
	h := n.holds[i]
	n.holds = slices.Delete(n.holds, i, i+1)
	if s.chance(3) {
		_, _ = n.lessee.Release(ctx, credits.Release{Account: acme, Hold: h.ID})
		return nil
	}
	c := credits.Capture{Account: acme, Hold: h.ID, Amount: credits.Amount(s.rng.IntN(int(h.Amount) + 1))}
	_, err := n.lessee.Capture(ctx, c)
	if errors.Is(err, credits.ErrTimedOut) || errors.Is(err, credits.ErrNotFound) || errors.Is(err, credits.ErrSettled) {
		return nil
	}
	return s.answer(n, h.ID, c.Amount, err)
}

// deliver hands a late or doubled settlement to the ledger.
func (s *leaseSim) deliver(ctx context.Context, i int) error {
	c := s.late[i]
	s.late = slices.Delete(s.late, i, i+1)
	s.counts["late settlements"]++
	if _, err := s.ledger.SettleLease(ctx, c); err != nil && !errors.Is(err, credits.ErrNotFound) {
		return fmt.Errorf("a late settlement: %w", err)
	}
	return nil
}

// arrive hands the node's delayed acquisitions to the ledger.
func (n *simNode) arrive(ctx context.Context) {
	for _, a := range n.delayed {
		_, _ = n.sim.ledger.AcquireLease(ctx, a)
	}
	n.delayed = nil
}

// check holds the ledger to what was answered.
func (s *leaseSim) check() error {
	if s.policy != nil {
		if err := s.policy(s); err != nil {
			return err
		}
	}
	b, err := s.ledger.Balance(context.Background(), acme)
	switch {
	case err != nil:
		return err
	case !b.Balanced() || b.Issued != s.issued:
		return fmt.Errorf("%v issued: %+v", s.issued, b.Totals)
	case s.sum > b.Consumed+b.Leased+b.Suspense:
		return fmt.Errorf("%w: %v answered: %+v", errOverspent, s.sum, b.Totals)
	}
	return nil
}

var errOverspent = errors.New("overspent")

// run runs the simulation to its end.
func (s *leaseSim) run(steps int) error {
	for range steps {
		if err := s.step(); err != nil {
			return err
		}
		for _, n := range s.nodes {
			if s.now.Sub(n.since) > simTTL/4 {
				n.arrive(context.Background())
			}
		}
		if err := s.check(); err != nil {
			return err
		}
	}
	return s.end()
}

// end heals everything, and looks at every row.
func (s *leaseSim) end() error {
	ctx := context.Background()
	s.healed = true
	for _, n := range s.nodes {
		n.arrive(ctx)
		n.cut = false
		if n.journal != nil && n.journal.bad && n.lessee != nil {
			n.crash()
		}
		if n.lessee == nil && n.journal != nil {
			if err := n.start(); err != nil {
				return err
			}
		}
	}
	for len(s.late) > 0 {
		if err := s.deliver(ctx, s.rng.IntN(len(s.late))); err != nil {
			return err
		}
	}
	for _, n := range s.nodes {
		if n.lessee == nil {
			continue
		}
		if n.lessee.Close(ctx) != nil { // it doubts whether a lease was made
			n.offset += 2 * simTTL
			if err := n.lessee.Close(ctx); err != nil {
				return fmt.Errorf("node %d: %w", n.at, err)
			}
		}
	}
	s.now = s.now.Add(2 * simTTL)
	if err := s.check(); err != nil {
		return err
	}
	b, err := s.ledger.Balance(ctx, acme)
	switch {
	case err != nil:
		return err
	case b.Leased != 0 || s.clean && b.Suspense != 0:
		return fmt.Errorf("clean %v: %+v", s.clean, b.Totals)
	}
	if _, err := s.ledger.Verify(ctx, nil); err != nil {
		return err
	}
	return s.rows(ctx, b.Totals)
}

// rows compares the ledger's rows with the answers.
func (s *leaseSim) rows(ctx context.Context, t credits.Totals) error {
	filed := make(map[credits.OpID]credits.Amount)
	sum := credits.Amount(0)
	for cursor := credits.Cursor(""); ; {
		page, err := s.ledger.Entries(ctx, credits.Query{Account: acme, Cursor: cursor, Limit: 1000})
		if err != nil {
			return err
		}
		for _, e := range page.Entries {
			if e.To == credits.BucketConsumed {
				filed[e.Op] += e.Amount
				sum += e.Amount
			}
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if sum != t.Consumed {
		return fmt.Errorf("%v consumed by rows, %v by the account", sum, t.Consumed)
	}
	for id, a := range s.answered {
		if got, ok := filed[id]; got != a.amount && (ok || a.sure || s.clean) {
			return fmt.Errorf("clean %v: %s was answered as %+v, and filed as %v", s.clean, id, a, got)
		}
		delete(filed, id)
	}
	for id, amount := range filed {
		if asked, ok := s.unknown[id]; !ok || asked != amount {
			return fmt.Errorf("%s is filed as %v; nobody was told so", id, amount)
		}
	}
	return nil
}

// simWire is what lies between a node and the ledger.
type simWire struct {
	credits.Lessor
	node *simNode
}

var errLost = errors.New("no answer")

// lost decides whether a message arrives, and whether its answer does.
func (w *simWire) lost() (message, answer bool) {
	s := w.node.sim
	if s.healed {
		return false, false
	}
	return w.node.cut || s.chance(12), s.chance(12)
}

func (w *simWire) AcquireLease(ctx context.Context, a credits.AcquireLease) (credits.LeaseReceipt, error) {
	message, answer := w.lost()
	if message {
		if w.node.sim.chance(3) {
			if len(w.node.delayed) == 0 {
				w.node.since = w.node.sim.now
			}
			w.node.delayed = append(w.node.delayed, a)
		}
		return credits.LeaseReceipt{}, errLost
	}
	r, err := w.Lessor.AcquireLease(ctx, a)
	if answer {
		return credits.LeaseReceipt{}, errLost
	}
	return r, err
}

func (w *simWire) SettleLease(ctx context.Context, c credits.SettleLease) (credits.LeaseReceipt, error) {
	s := w.node.sim
	message, answer := w.lost()
	if message || s.chance(4) {
		again := c
		again.Spends = slices.Clone(c.Spends)
		s.late = append(s.late, again)
	}
	if message {
		return credits.LeaseReceipt{}, errLost
	}
	r, err := w.Lessor.SettleLease(ctx, c)
	if answer {
		return credits.LeaseReceipt{}, errLost
	}
	return r, err
}

func (w *simWire) Pay(ctx context.Context, d credits.Debit) (credits.Receipt, error) {
	message, answer := w.lost()
	if message {
		return credits.Receipt{}, errLost
	}
	r, err := w.Lessor.Pay(ctx, d)
	if answer {
		return credits.Receipt{}, errLost
	}
	return r, err
}

func (w *simWire) Capture(ctx context.Context, c credits.Capture) (credits.Receipt, error) {
	if message, _ := w.lost(); message {
		return credits.Receipt{}, errLost
	}
	return w.Lessor.Capture(ctx, c)
}

func (w *simWire) RecallLeases(ctx context.Context, id credits.AccountID) error {
	if message, _ := w.lost(); message {
		return errLost
	}
	return w.Lessor.RecallLeases(ctx, id)
}

// A simJournal is a journal whose disk forgets, in a crash, what was not synced.
type simJournal struct {
	sim     *leaseSim
	relaxed bool
	log     []simRecord
	synced  int
	bad     bool
}

type simRecord struct {
	lease   credits.JournaledLease
	spend   *credits.LeaseSpend
	settled int
	closed  bool
}

func (j *simJournal) crash() {
	keep := j.synced
	if n := len(j.log) - j.synced; n > 0 { // some of it may have reached the disk
		keep += j.sim.rng.IntN(n + 1)
	}
	j.log, j.synced, j.bad = j.log[:keep], keep, false
}

func (j *simJournal) Unfinished() []credits.JournaledLease {
	var list []credits.JournaledLease
	for _, r := range j.log {
		at := slices.IndexFunc(list, func(l credits.JournaledLease) bool { return l.Lease == r.lease.Lease })
		switch {
		case r.lease.Owner != "":
			list = append(list, r.lease)
		case r.spend != nil:
			list[at].Spends = append(list[at].Spends, *r.spend)
		case r.settled > 0:
			list[at].Spends = list[at].Spends[r.settled:]
		case r.closed:
			list = slices.Delete(list, at, at+1)
		}
	}
	j.log = nil
	for _, l := range list {
		bare := l
		bare.Spends = nil
		j.log = append(j.log, simRecord{lease: bare})
		for i := range l.Spends {
			j.log = append(j.log, simRecord{lease: credits.JournaledLease{Lease: l.Lease}, spend: &l.Spends[i]})
		}
	}
	j.synced = len(j.log)
	return list
}

func (j *simJournal) add(r simRecord) (int64, error) {
	if j.bad {
		return 0, errLost
	}
	j.log = append(j.log, r)
	return int64(len(j.log)), nil
}

func (j *simJournal) Acquiring(l credits.JournaledLease) (int64, error) {
	return j.add(simRecord{lease: l})
}

func (j *simJournal) Spent(id credits.OpID, s credits.LeaseSpend) (int64, error) {
	return j.add(simRecord{lease: credits.JournaledLease{Lease: id}, spend: &s})
}

func (j *simJournal) Settled(id credits.OpID, n int) error {
	_, err := j.add(simRecord{lease: credits.JournaledLease{Lease: id}, settled: n})
	return err
}

func (j *simJournal) Closed(id credits.OpID) error {
	_, err := j.add(simRecord{lease: credits.JournaledLease{Lease: id}, closed: true})
	return err
}

func (j *simJournal) Mark() int64   { return int64(len(j.log)) }
func (j *simJournal) Relaxed() bool { return j.relaxed }

func (j *simJournal) Sync(_ context.Context, mark int64) error {
	if j.bad || mark > int64(j.synced) && !j.sim.healed && j.sim.chance(300) {
		j.bad = true
		return errLost
	}
	j.synced = max(j.synced, int(mark))
	return nil
}

// simulate runs seeds on all processors, and returns the first failure of each
// that failed.
func simulate(seeds, steps int, policy func(*leaseSim) error) (failures map[uint64]error, counts map[string]int) {
	failures, counts = make(map[uint64]error), make(map[string]int)
	var mu sync.Mutex
	var next atomic.Int64
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for {
				seed := uint64(next.Add(1))
				if seed > uint64(seeds) {
					return
				}
				s, err := newLeaseSim(seed, policy)
				if err == nil {
					err = s.run(steps)
				}
				mu.Lock()
				if err != nil {
					failures[seed] = err
				} else {
					for what, n := range s.counts {
						counts[what] += n
					}
					if s.clean {
						counts["clean"]++
					}
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return failures, counts
}

// leaseSeeds is how many seeds run: KEYTOLL_LEASE_SEEDS, or as many as fit.
func leaseSeeds(tb testing.TB) int {
	text := os.Getenv("KEYTOLL_LEASE_SEEDS")
	if text == "" {
		if raceEnabled {
			return 1500
		}
		return 4000
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		tb.Fatalf("KEYTOLL_LEASE_SEEDS is %q; give a number", text)
	}
	return n
}

func TestNoRunOfAFleetOverspends(t *testing.T) {
	t.Parallel()
	seeds := leaseSeeds(t)
	failures, counts := simulate(seeds, 60, nil)
	for seed, err := range failures {
		t.Errorf("seed %d: %v", seed, err)
	}
	t.Logf("%d seeds: %v", seeds, counts)
	for _, what := range []string{"crashes", "late settlements", "clean"} {
		if counts[what] < seeds/10 {
			t.Errorf("only %d %s in %d seeds: the simulation does not try what it should", counts[what], what, seeds)
		}
	}
}

// A simulation that cannot fail shows nothing: what a lease has left at its
// deadline is returned here, as a naive ledger would, and that overspends.
func TestTheSimulationFindsWhatReturningAtExpiryDoes(t *testing.T) {
	t.Parallel()
	back := func(s *leaseSim) error {
		page, err := s.ledger.Holds(context.Background(), credits.ListQuery{Account: acme})
		for _, o := range page.Ops {
			if o.Hold == credits.HoldSuspense {
				r := credits.ResolveLease{Account: acme, ID: s.id(), Lease: o.ID, All: true, To: credits.BucketAvailable, Note: "expired"}
				if _, err := s.ledger.ResolveLease(context.Background(), r); err != nil {
					return err
				}
			}
		}
		return err
	}
	failures, _ := simulate(100, 80, back)
	overspent := 0
	for _, err := range failures { // or an answer that has no row, which is the same
		if errors.Is(err, errOverspent) {
			overspent++
		}
	}
	t.Logf("%d of 100 seeds overspent, %d failed", overspent, len(failures))
	if overspent < 20 {
		t.Errorf("%d of 100 seeds overspent; want many", overspent)
	}
}
