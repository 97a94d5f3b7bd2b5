package credits

import (
	"context"
	"hash/maphash"
	"slices"
	"sync"
	"time"
)

// MemoryOptions of a memory store. The zero value, and nil, are the defaults.
type MemoryOptions struct {
	Now func() time.Time // the store's clock; default time.Now
}

// memoryShards is how many locks the accounts are spread over; a power of two.
const memoryShards = 64

// A MemoryStore keeps everything in the memory of one process: the reference
// reading of the [Store] contract, for tests, examples and services that can
// afford to lose their ledger. It grows with every op and entry and forgets
// nothing. It is safe for concurrent use; the zero value is not usable, call
// [NewMemoryStore].
type MemoryStore struct {
	now     func() time.Time
	seed    maphash.Seed
	shards  [memoryShards]memoryShard
	scratch sync.Pool // of *memoryScratch
}

var _ Store = (*MemoryStore)(nil)

type memoryShard struct {
	mu       sync.Mutex
	accounts map[AccountID]*memoryAccount
	_        [64]byte // keeps neighbours off one cache line
}

// memoryScratch is what one call works on.
type memoryScratch struct {
	states []*State
	loads  []memoryLoad
	shards []int
}

// NewMemoryStore returns an empty store. Nil options are the defaults.
func NewMemoryStore(o *MemoryOptions) *MemoryStore {
	m := &MemoryStore{seed: maphash.MakeSeed()}
	if o != nil {
		m.now = o.Now
	}
	if m.now == nil {
		m.now = time.Now //nolint:forbidigo // the one default clock
	}
	for i := range m.shards {
		m.shards[i].accounts = make(map[AccountID]*memoryAccount)
	}
	m.scratch.New = func() any { return new(memoryScratch) }
	return m
}

// Update implements [Store]. It returns an error for a context that is done
// when it begins, and one of fn; there are no others.
func (m *MemoryStore) Update(ctx context.Context, needs []Need, fn func(time.Time, []*State) error) error {
	return m.with(ctx, needs, fn, true)
}

// View implements [Store].
func (m *MemoryStore) View(ctx context.Context, needs []Need, fn func(time.Time, []*State) error) error {
	return m.with(ctx, needs, fn, false)
}

func (m *MemoryStore) with(ctx context.Context, needs []Need, fn func(time.Time, []*State) error, write bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s := m.scratch.Get().(*memoryScratch)
	s.shards = s.shards[:0]
	for i := range needs {
		s.shards = append(s.shards, m.shard(needs[i].Account))
	}
	if len(needs) > 1 {
		slices.Sort(s.shards)
		s.shards = slices.Compact(s.shards)
	}
	for _, i := range s.shards {
		m.shards[i].mu.Lock()
	}
	defer m.done(s)
	for len(s.states) < len(needs) {
		s.states = append(s.states, new(State))
		s.loads = append(s.loads, memoryLoad{})
	}
	now := micros(m.now())
	for i := range needs {
		n := &needs[i]
		home := &m.shards[s.shards[0]]
		if len(needs) > 1 {
			home = &m.shards[m.shard(n.Account)]
		}
		s.loads[i].home, s.loads[i].account = home, home.accounts[n.Account]
		s.states[i].Account.ID = n.Account // done has left the rest empty
		s.loads[i].load(s.states[i], n, now)
	}
	err := fn(now, s.states[:len(needs)])
	for i := range needs {
		if err == nil && write {
			s.loads[i].store(s.states[i])
		}
	}
	return err
}

// done forgets the call and unlocks what it has locked, whatever fn did.
func (m *MemoryStore) done(s *memoryScratch) {
	for i := range s.loads {
		s.loads[i].reset()
		s.states[i].Reset("")
	}
	for _, i := range s.shards {
		m.shards[i].mu.Unlock()
	}
	m.scratch.Put(s)
}

func (m *MemoryStore) shard(id AccountID) int {
	return int(maphash.String(m.seed, string(id)) % memoryShards)
}

// lock returns the account, or nil, with its shard locked.
func (m *MemoryStore) lock(id AccountID) (*memoryAccount, *sync.Mutex) {
	s := &m.shards[m.shard(id)]
	s.mu.Lock()
	return s.accounts[id], &s.mu
}

// Entries implements [Store].
func (m *MemoryStore) Entries(ctx context.Context, q EntryQuery) ([]Entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	a, mu := m.lock(q.Account)
	defer mu.Unlock()
	if a == nil {
		return nil, nil
	}
	return a.journal.query(q), nil
}

// Accounts implements [Store]. It visits every account of the process.
func (m *MemoryStore) Accounts(ctx context.Context, after AccountID, limit int) ([]AccountID, error) {
	var ids []AccountID
	for i := range m.shards {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s := &m.shards[i]
		s.mu.Lock()
		for id, a := range s.accounts {
			if id > after && a.row.Version > 0 {
				ids = append(ids, id)
			}
		}
		s.mu.Unlock()
	}
	slices.Sort(ids)
	return ids[:min(limit, len(ids))], nil
}

// Inspect implements [Store]. fn runs with the account locked and must not call
// the store.
func (m *MemoryStore) Inspect(ctx context.Context, account AccountID, fn func(Snapshot) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	a, mu := m.lock(account)
	defer mu.Unlock()
	if a == nil {
		a = newMemoryAccount()
		a.row.ID = account
	}
	return fn(a.snapshot())
}
