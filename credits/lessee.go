package credits

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// ManualFlush as LesseeOptions.Flush means that nothing is settled but by
// [Lessee.Flush] and [Lessee.Close], and that no goroutine is started.
const ManualFlush time.Duration = -1

// LesseeOptions of a lessee. The zero value, and nil, are the defaults.
type LesseeOptions struct {
	// Owner names this instance in its leases, so that an operator knows whose they
	// are; an id. Default: a random one. Two instances of one name are told apart.
	Owner string
	// Instances is how many instances spend from the same accounts, about: a lease
	// takes at most one 4*Instances-th of what an account has available. Default 4.
	Instances int
	// Flush is how often spends are settled and leases renewed. Default 1 second;
	// 10 ms or more, or ManualFlush.
	Flush time.Duration
	// TTL of leases, which are put off while they are used. Default 1 minute, or four
	// flushes when that is more; two flushes to MaxLeaseTTL. What a crash leaves is in
	// suspense after that.
	TTL time.Duration
	// Margin is how long before its end a lease is not spent from any more, against
	// clocks that run apart. Default a quarter of TTL; less than TTL.
	Margin time.Duration
	// Least is how many of the largest recent spends a lease is made for at least;
	// when there is less to have, or less is spent in two flushes, spends go to the
	// store. Default 8.
	Least int
	// MaxUnsettled bounds how many spends and holds are in memory, some 200 bytes
	// each. When there are more they go to the store. As many holds that have ended
	// are remembered for retries, and as many accounts, keys and operations are
	// watched, some 400 bytes each. Default 65536.
	MaxUnsettled int
	// Workers is how many settlements are under way at once. Default 8; with
	// ManualFlush 1.
	Workers int
	// Journal remembers what was spent when the process does not. Default: none;
	// what a crash leaves unsettled stays in suspense. The caller closes it, after
	// the lessee.
	Journal LeaseJournal
	// Observer is told of what happens to leases. Default: nobody.
	Observer LeaseObserver
	// Now is this instance's clock. Default time.Now.
	Now func() time.Time
}

// lesseeShards is how many locks the accounts are spread over; a power of two.
const lesseeShards = 64

// shareOfInstance is how many leases of full size each instance could have: a
// lease is at most one part in so many, times the instances, of what there is.
const shareOfInstance = 4

// A Lessee spends credits at the speed of memory: it takes leases from a ledger,
// pays from them, and settles in batches, with a row for every request. What
// all lessees and all direct callers together spend is never more than there is,
// whatever crashes and whatever clocks do.
//
// # What goes through a lease
//
// Leases are made for an account, a key and an operation together, once more is
// spent on them in two flushes than LesseeOptions.Least of the largest spends,
// and sized so that they last about two flushes. Everything else is decided by the
// store, at once, as [Ledger.Debit] and [Ledger.Hold] do: what is asked for
// rarely, what is near the end of an account, what is more than the lease
// has, and everything after Close. Nothing is refused before the store was asked;
// when leases have what is missing, this instance gives its own back, the
// others' are recalled, and the refusal is Transient, is not kept under its id,
// and says in ClearsAt when to try again.
//
// # What the answers mean
//
// A spend that is paid from a lease is final for its caller. Its receipt has no
// Parts and no Totals, because the store decides them with the settlement; At is
// this instance's time. It is in the ledger after the next flush, under its id,
// as a debit with the lease as its Target, and can be refunded from then on.
// Without an ID, Debit makes one, a version 7 UUID.
//
// A hold that is paid from a lease is known to this lessee alone, as the spend
// that its capture makes is until it is settled: capture and release through the
// lessee that made it, before Close. A crash before the capture releases it.
//
// # Idempotency
//
// A retry through the same lessee replays until the spend is settled. After that,
// and through another instance, it is paid for a second time in memory, and
// once in the ledger, because the settlement finds its id: nobody is charged
// twice. But an instance cannot know that an id was used elsewhere for something
// else, or was refused: the settlement finds out after the answer, the credits go
// back, and the Observer is told that a spend was Refused. Requests with
// ids that clients choose should go to [Ledger.Debit], which looks at the id
// first.
//
// # Crashes
//
// See the table in docs/leases.md: without a journal, what a crash leaves is in
// suspense until an operator resolves it; with one, the next lessee over the
// journal settles exactly what was answered and returns the rest.
//
// A Lessee is safe for concurrent use, holds no lock during a trip, and starts
// one goroutine, which Close ends. It must not be copied.
type Lessee struct {
	lessor   lessor
	terms    settings
	opt      LesseeOptions
	cooldown time.Duration // without leases, after one was refused or recalled
	epoch    int64

	seed      maphash.Seed
	shards    [lesseeShards]lesseeShard
	unsettled atomic.Int64 // spends, and open holds
	ended     atomic.Int64 // holds that are remembered, and not open
	purses    atomic.Int64
	idHigh    uint64 // the random bits of newID
	idLow     atomic.Uint64

	closed  atomic.Bool
	broken  atomic.Bool   // the journal has failed
	turn    chan struct{} // of one: who flushes
	stop    context.CancelFunc
	stopped chan struct{} // closed when the goroutine has ended; nil: there is none
}

// A lessor is what a lessee needs of a ledger.
type lessor interface {
	AcquireLease(context.Context, AcquireLease) (LeaseReceipt, error)
	SettleLease(context.Context, SettleLease) (LeaseReceipt, error)
	RecallLeases(context.Context, AccountID) error
	Hold(context.Context, Hold) (Receipt, error)
	Capture(context.Context, Capture) (Receipt, error)
	Release(context.Context, Release) (Receipt, error)
	Extend(context.Context, Extend) (Receipt, error)
	Pay(context.Context, Debit) (Receipt, error) // Debit, but a refusal that is Transient is not kept
}

// A counter is a ledger that keeps no Transient refusal.
type counter struct{ *Ledger }

func (c counter) Pay(ctx context.Context, d Debit) (Receipt, error) {
	l := c.Ledger
	call := l.calls.Get().(*call)
	call.cmd = &payment{d}
	return l.do(ctx, "credits.Debit", call)
}

// A payment is a Debit whose id is not spoiled by a refusal that soon would be
// none.
type payment struct{ Debit }

func (c *payment) apply(st *State, now time.Time, opt *settings, scratch []byte) (Receipt, error) {
	if st.op(c.ID) == nil {
		then, err := st.advance(now)
		if err != nil {
			return Receipt{}, err
		}
		denied, err := st.admit(want{amount: c.Amount, key: c.Key, operation: c.Operation}, then)
		switch {
		case err != nil:
			return Receipt{}, err
		case denied != nil && denied.Transient:
			return Receipt{}, denied
		}
	}
	return c.Debit.apply(st, now, opt, scratch)
}

// NewLessee returns a lessee of the ledger's accounts. Nil options are the
// defaults. All faults are reported at once, with code Invalid. What an earlier
// run has left in the journal is settled with the first flush.
func NewLessee(ledger *Ledger, o *LesseeOptions) (*Lessee, error) {
	if ledger == nil {
		return nil, &errors.Error{Code: errors.Invalid, Op: "credits.NewLessee", Msg: "ledger is nil; give one of NewLedger"}
	}
	return newLessee(counter{ledger}, ledger.opt, o)
}

// Of reports whether the lessee spends what is in ledger.
func (l *Lessee) Of(ledger *Ledger) bool {
	from, ok := l.lessor.(counter)
	return ok && from.Ledger == ledger
}

func newLessee(from lessor, terms settings, o *LesseeOptions) (*Lessee, error) {
	l := &Lessee{lessor: from, terms: terms, seed: maphash.MakeSeed(), turn: make(chan struct{}, 1)}
	if o != nil {
		l.opt = *o
	}
	if err := l.opt.fill(); err != nil {
		return nil, err
	}
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails, as its comment says
	l.epoch = int64(binary.BigEndian.Uint64(random[:]) >> 1)
	l.idHigh = binary.BigEndian.Uint64(random[8:]) & 0xfff
	l.idLow.Store(binary.BigEndian.Uint64(random[16:]))
	if l.opt.Owner == "" {
		l.opt.Owner = hex.EncodeToString(random[24:])
	}
	l.cooldown = 4 * max(l.opt.Flush, l.opt.TTL/64)
	l.recover()
	if l.opt.Flush != ManualFlush {
		l.start()
	}
	return l, nil
}

// fill replaces zeros by defaults and reports every fault.
func (o *LesseeOptions) fill() error {
	f := errors.Faults{Op: "credits.NewLessee"}
	if o.Owner != "" {
		checkID(&f, "Owner", o.Owner)
	}
	positive := func(name string, n *int, def int) {
		const most = 1 << 28 // four times as many are an int everywhere
		if *n < 0 || *n > most {
			f.Add("%s is %d; give 1 to %d, or 0 for %d", name, *n, most, def)
		}
		if *n == 0 {
			*n = def
		}
	}
	positive("Instances", &o.Instances, 4)
	positive("Least", &o.Least, 8)
	positive("MaxUnsettled", &o.MaxUnsettled, 1<<16)
	workers := 8
	if o.Flush == ManualFlush {
		workers = 1
	}
	positive("Workers", &o.Workers, workers)
	if o.Flush == 0 {
		o.Flush = time.Second
	}
	if o.Flush != ManualFlush && o.Flush < 10*time.Millisecond {
		f.Add("Flush is %v; give 10ms or more, 0 for 1s, or ManualFlush", o.Flush)
	}
	if o.TTL == 0 {
		o.TTL = max(time.Minute, min(4*o.Flush, MaxLeaseTTL))
	}
	if least := max(2*o.Flush, time.Millisecond); o.TTL < least || o.TTL > MaxLeaseTTL {
		f.Add("TTL is %v; give two flushes, %v, to %v, or 0 for 1m or four flushes", o.TTL, least, MaxLeaseTTL)
	}
	if o.Margin == 0 {
		o.Margin = o.TTL / 4
	}
	if o.Margin < 0 || o.Margin >= o.TTL {
		f.Add("Margin is %v; give more than 0 and less than TTL, %v", o.Margin, o.TTL)
	}
	if o.Now == nil {
		o.Now = time.Now //nolint:forbidigo // the one default clock
	}
	return f.Err()
}

// start flushes at every interval until Close.
func (l *Lessee) start() {
	ctx, stop := context.WithCancel(context.Background()) //nolint:forbidigo // the goroutine outlives every caller but Close
	l.stop, l.stopped = stop, make(chan struct{})
	go func() {
		defer close(l.stopped)
		tick := time.NewTicker(l.opt.Flush) //nolint:forbidigo // owned by the lessee, ended by Close
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if err := l.Flush(ctx); err != nil && ctx.Err() == nil {
					l.tell(ctx, LeaseTurn{Kind: LeaseUnsettled, At: l.opt.Now(), Err: err})
				}
			}
		}
	}()
}

// newID makes an id that nobody else makes: a version 7 UUID whose 74 random bits
// count up from a random number.
func (l *Lessee) newID(now time.Time) OpID {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], uint64(now.UnixMilli())<<16|0x7000|l.idHigh)
	binary.BigEndian.PutUint64(b[8:], l.idLow.Add(1)&(1<<62-1)|1<<63)
	var text [36]byte
	hex.Encode(text[:], b[:4])
	at := 8
	for i := 4; i < len(b); i += 2 {
		if i <= 10 {
			text[at] = '-'
			at++
		}
		hex.Encode(text[at:], b[i:i+2])
		at += 4
	}
	return OpID(text[:])
}

func (l *Lessee) shard(account AccountID) *lesseeShard {
	return &l.shards[maphash.String(l.seed, string(account))%lesseeShards]
}

// lesseeShard is the purses and holds of some accounts.
type lesseeShard struct {
	mu     sync.Mutex
	purses map[purseKey]*purse    // nil until the first
	order  []*purse               // by when they were made
	holds  map[holdKey]*localHold // nil until the first
	_      [64]byte               // keeps neighbours off one cache line
}

type purseKey struct {
	account        AccountID
	key, operation string
}

type holdKey struct {
	account AccountID
	id      OpID
}
