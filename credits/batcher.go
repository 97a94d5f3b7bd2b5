package credits

import (
	"context"
	"hash/maphash"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// ErrOverloaded is what a [Batcher] refuses an update with that would be one more
// than may wait. Nothing was done: try again later, with the same id.
var ErrOverloaded error = &errors.Error{Code: errors.Unavailable, Op: "credits.Batcher", Msg: "too many commands wait for the ledger; try again later"}

// BatcherOptions of a batcher. The zero value, and nil, are the defaults.
type BatcherOptions struct {
	MaxBatch int // updates that are merged into one; 1 to 4096, default 512
	Queue    int // updates that wait in each lane, beyond which ErrOverloaded; 1 to 1048576, default 16384
	Lanes    int // updates of the store that run at a time; 1 to 256, default 4
}

func (o *BatcherOptions) complete(f *errors.Faults) BatcherOptions {
	c := BatcherOptions{MaxBatch: 512, Queue: 16384, Lanes: 4}
	if o == nil {
		return c
	}
	for _, x := range [...]struct {
		name      string
		from      int
		into      *int
		atMost    int
		otherwise string
	}{
		{"MaxBatch", o.MaxBatch, &c.MaxBatch, 4096, "512"},
		{"Queue", o.Queue, &c.Queue, 1 << 20, "16384"},
		{"Lanes", o.Lanes, &c.Lanes, 256, "4"},
	} {
		switch {
		case x.from < 0 || x.from > x.atMost:
			f.Add("%s is %d; give 1 to %d, or 0 for %s", x.name, x.from, x.atMost, x.otherwise)
		case x.from > 0:
			*x.into = x.from
		}
	}
	return c
}

// A Batcher is a store that merges the updates which wait for another store: many
// commands, also of many accounts, become one update of it with one wait for its
// disk, and each still has its own result. It is what makes a hot account fast.
//
//	ledger, err := credits.NewLedger(batcher, nil)
//
// Accounts are spread over a few lanes. While no update of its lane runs, a caller
// runs its own at once, as without a Batcher. Callers that come meanwhile wait;
// when the running one has ended, one of them takes up to MaxBatch of those that
// wait, in each account the first come, and of many accounts one after the
// other in turn, so that a hot one keeps no other waiting. It runs one update
// with all they need, calls their functions one by one on the same states, and
// tells each its own outcome: what one refuses or how it ends is nothing to the
// others. There is no goroutine and no timer.
//
// The functions may run in the goroutine of another caller, and must keep one
// promise beyond those of [Store]: when one returns an error that has a code
// other than Unknown and Corrupt, it has left the state as it was, but for work
// that was due. Those of a [Ledger] do. After any other error, and after a panic,
// the batch is given up before anything is written and run again in halves, so
// that only the one at fault fails, and panics in the goroutine of its caller. The
// same is done when the store fails with code Corrupt, having written nothing,
// because of one account. When it fails in another way, it is unknown what was
// written, and all are told so: each retries with its own id.
//
// A context that ends takes its caller out of the queue. Once its function is in
// a batch, a caller waits for the outcome; the batch is cut short when the
// contexts of all in it have ended. Reads pass through. A Batcher is safe for
// concurrent use; any number of them, in any number of processes, may share a
// store. The zero value is not usable; call [NewBatcher].
type Batcher struct {
	store Store
	seed  maphash.Seed
	lanes []lane
}

var _ Store = (*Batcher)(nil)

// NewBatcher returns a batcher over store. Nil options are the defaults. All
// faults are reported at once, with code Invalid.
func NewBatcher(store Store, o *BatcherOptions) (*Batcher, error) {
	f := errors.Faults{Op: "credits.NewBatcher"}
	if store == nil {
		f.Add("store is nil; give NewMemoryStore(nil) or another store")
	}
	opt := o.complete(&f)
	if err := f.Err(); err != nil {
		return nil, err
	}
	b := &Batcher{store: store, seed: maphash.MakeSeed(), lanes: make([]lane, opt.Lanes)}
	for i := range b.lanes {
		b.lanes[i].queue = newQueue(opt.Queue)
		b.lanes[i].most = opt.MaxBatch
	}
	return b, nil
}

// Update implements [Store]. Beside the errors of the store and of fn it returns
// [ErrOverloaded].
func (b *Batcher) Update(ctx context.Context, needs []Need, fn func(time.Time, []*State) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for i := range needs {
		if n := &needs[i]; n.List.Rows != NoRows || !n.Prunable.IsZero() || !n.Until.IsZero() {
			// A great deal may be loaded for it, which the others need not carry.
			return b.store.Update(ctx, needs, fn)
		}
	}
	l := &b.lanes[0]
	if len(b.lanes) > 1 {
		l = &b.lanes[maphash.String(b.seed, string(needs[0].Account))%uint64(len(b.lanes))]
	}
	return l.update(ctx, b.store, needs, fn)
}

// View implements [Store].
func (b *Batcher) View(ctx context.Context, needs []Need, fn func(time.Time, []*State) error) error {
	return b.store.View(ctx, needs, fn)
}

// Entries implements [Store].
func (b *Batcher) Entries(ctx context.Context, q EntryQuery) ([]Entry, error) {
	return b.store.Entries(ctx, q)
}

// Accounts implements [Store].
func (b *Batcher) Accounts(ctx context.Context, after AccountID, limit int) ([]AccountID, error) {
	return b.store.Accounts(ctx, after, limit)
}

// Inspect implements [Store].
func (b *Batcher) Inspect(ctx context.Context, account AccountID, fn func(Snapshot) error) error {
	return b.store.Inspect(ctx, account, fn)
}
