package credits

import (
	"context"
	"sync"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// Options of a ledger. The zero value, and nil, are the defaults.
type Options struct {
	HoldTTL    time.Duration // of holds that give none; default 10 minutes, at most MaxHoldTTL
	MaxHoldTTL time.Duration // the longest TTL a hold may ask for; default 24 hours, at most 366 days

	// MaxHoldLife is how long a hold can be extended to last, from when it was made;
	// default 7 days, or MaxHoldTTL when that is more; MaxHoldTTL to 366 days.
	MaxHoldLife time.Duration

	MaxHolds int // how many holds an account may have open at once; default 0: any number

	// LookAhead is how far a denial looks into the future for its ClearsAt and its
	// NextGrantAt; default 35 days, at most 400. That costs a second look at the
	// store, which NoLookAhead saves.
	LookAhead time.Duration
}

// settings are options with the defaults filled in.
type settings struct {
	holdTTL, maxHoldTTL, maxHoldLife time.Duration
	lookAhead                        time.Duration // 0: none
	maxHolds                         int64
	zones                            *zones
}

func (o *Options) settings() (settings, error) {
	const longest = 366 * 24 * time.Hour
	s := settings{holdTTL: 10 * time.Minute, maxHoldTTL: 24 * time.Hour, maxHoldLife: 7 * 24 * time.Hour, lookAhead: defaultLookAhead}
	if o == nil {
		return s, nil
	}
	f := errors.Faults{Op: "credits.NewLedger"}
	if o.MaxHoldTTL != 0 {
		s.maxHoldTTL = o.MaxHoldTTL
	}
	if s.maxHoldTTL < time.Microsecond || s.maxHoldTTL > longest {
		f.Add("MaxHoldTTL is %v; give 1µs to %v", s.maxHoldTTL, longest)
	}
	s.holdTTL = min(s.holdTTL, s.maxHoldTTL)
	if o.HoldTTL != 0 {
		s.holdTTL = o.HoldTTL
	}
	if s.holdTTL < time.Microsecond || s.holdTTL > max(s.maxHoldTTL, time.Microsecond) {
		f.Add("HoldTTL is %v; give 1µs to MaxHoldTTL, %v", s.holdTTL, s.maxHoldTTL)
	}
	s.maxHoldLife = max(s.maxHoldLife, s.maxHoldTTL)
	if o.MaxHoldLife != 0 {
		s.maxHoldLife = o.MaxHoldLife
	}
	if s.maxHoldLife < s.maxHoldTTL || s.maxHoldLife > longest {
		f.Add("MaxHoldLife is %v; give MaxHoldTTL, %v, to %v", s.maxHoldLife, s.maxHoldTTL, longest)
	}
	s.lookAhead = o.lookAheadOf(&f)
	s.maxHolds = int64(o.MaxHolds)
	if s.maxHolds < 0 {
		f.Add("MaxHolds is %d; give 1 or more, or 0 for no limit", o.MaxHolds)
	}
	return s, f.Err()
}

// A Ledger keeps the credits of many accounts in a store. It is safe for
// concurrent use, starts no goroutine and keeps no state of its own: any number
// of ledgers, in any number of processes, may share a store that allows it. The
// zero value is not usable; call [NewLedger].
type Ledger struct {
	store Store
	opt   settings
	calls sync.Pool // of *call
}

// NewLedger returns a ledger over store. Nil options are the defaults. All
// faults are reported at once, with code Invalid.
func NewLedger(store Store, o *Options) (*Ledger, error) {
	f := errors.Faults{Op: "credits.NewLedger"}
	if store == nil {
		f.Add("store is nil; give NewMemoryStore(nil) or another store")
	}
	opt, err := o.settings()
	f.Join(err)
	if err := f.Err(); err != nil {
		return nil, err
	}
	opt.zones = new(zones)
	l := &Ledger{store: store, opt: opt}
	l.calls.New = func() any {
		c := &call{opt: &l.opt}
		c.fn = c.run
		return c
	}
	return l, nil
}

// A call carries one command to the store and its result back. Calls are
// pooled, with their function already bound, so that none is made per command.
type call struct {
	carried
	opt     *settings
	fn      func(time.Time, []*State) error // run
	scratch [512]byte                       // for intents
}

// carried is what a call holds of one command, and forgets with it.
type carried struct {
	grant   Grant
	hold    Hold
	capture capturing
	release Release
	extend  Extend
	debit   Debit
	refund  Refund
	cmd     command // one of the above
	faults  errors.Faults
	needs   [1]Need
	ops     [1]OpID
	targets [1]OpID
	spends  [1]Spend
	scopes  [6]Scope // as many as a key without a path above it and an operation have
	receipt Receipt
	denied  *DeniedError // a refusal that was written
	again   bool         // more was due than one update may post
	now     time.Time    // when it was decided
}

func (c *call) run(now time.Time, states []*State) error {
	states[0].limit, c.now = dueLimit, now
	var err error
	states[0].zones = c.opt.zones
	c.receipt, err = c.cmd.apply(states[0], micros(now), c.opt, c.scratch[:0])
	c.denied, c.again = nil, errors.Is(err, errMore)
	if filed, ok := errors.AsType[*filedError](err); ok {
		c.denied = filed.denied
	}
	if c.again || c.denied != nil {
		err = nil // what was posted, or filed, is to be written
	}
	return err
}

// do runs the command that was put into c, and puts c back.
func (l *Ledger) do(ctx context.Context, op string, c *call) (Receipt, error) {
	c.faults.Op = op
	c.cmd.check(&c.faults, c.opt)
	err := c.faults.Err()
	if err == nil {
		err = l.decide(ctx, c)
		if denied, ok := errors.AsType[*DeniedError](err); ok {
			l.lookAhead(ctx, c, denied)
		}
		err = atBoundary(op, err)
	}
	r := c.receipt
	c.carried = carried{}
	l.calls.Put(c)
	if err != nil {
		return Receipt{}, err
	}
	return r, nil
}

// decide runs the command, and once more when more was due than one update may
// post, or when a capture turns out to need lots or a time zone is to be loaded.
func (l *Ledger) decide(ctx context.Context, c *call) error {
	for {
		c.needs[0] = Need{Ops: c.ops[:0], Targets: c.targets[:0], Spends: c.spends[:0], Scopes: c.scopes[:0], Limit: dueLimit}
		c.cmd.need(&c.needs[0])
		err := l.store.Update(ctx, c.needs[:], c.fn)
		more, short := errors.AsType[*moreError](err)
		switch {
		case short:
			c.capture.more = *more
		case err == nil && c.again || l.opt.zones.again(err):
		case err == nil && c.denied != nil:
			return c.denied
		default:
			return err
		}
	}
}

// atBoundary adds op to err. What has no code comes from a store that could not
// decide.
func atBoundary(op string, err error) error {
	if err != nil && errors.CodeOf(err) == errors.Unknown {
		return &errors.Error{Code: errors.Unavailable, Op: op, Msg: "the ledger's store cannot answer now", Err: err}
	}
	return errors.Wrap(op, err)
}

// Grant adds a lot of credits. Besides the errors of every command (see the
// package comment) it returns [ErrExpired] and [ErrOverIssue].
func (l *Ledger) Grant(ctx context.Context, g Grant) (Receipt, error) {
	c := l.calls.Get().(*call)
	c.grant = g
	c.cmd = &c.grant
	return l.do(ctx, "credits.Grant", c)
}

// Hold sets credits aside, all of h.Amount or nothing: [ErrInsufficient].
func (l *Ledger) Hold(ctx context.Context, h Hold) (Receipt, error) {
	c := l.calls.Get().(*call)
	c.hold = h
	c.cmd = &c.hold
	return l.do(ctx, "credits.Hold", c)
}

// Capture spends what a hold set aside. It returns [ErrNotFound] when there is
// no such hold, [ErrOverHold] when it sets aside less and its Overrun does not
// cover that, and [ErrSettled] or [ErrTimedOut] when it has ended. A final capture
// that asks for what the one asked for that ended the hold is a retry and
// replays.
func (l *Ledger) Capture(ctx context.Context, cp Capture) (Receipt, error) {
	c := l.calls.Get().(*call)
	c.capture = capturing{Capture: cp}
	c.cmd = &c.capture
	return l.do(ctx, "credits.Capture", c)
}

// Release ends a hold and gives back what it still sets aside. It returns
// [ErrNotFound], [ErrSettled] when the hold was captured, and [ErrTimedOut] when
// time has done it before. A second release replays.
func (l *Ledger) Release(ctx context.Context, r Release) (Receipt, error) {
	c := l.calls.Get().(*call)
	c.release = r
	c.cmd = &c.release
	return l.do(ctx, "credits.Release", c)
}

// Extend lets an open hold last longer. It returns [ErrNotFound], and
// [ErrSettled] or [ErrTimedOut] when it has ended.
func (l *Ledger) Extend(ctx context.Context, e Extend) (Receipt, error) {
	c := l.calls.Get().(*call)
	c.extend = e
	c.cmd = &c.extend
	return l.do(ctx, "credits.Extend", c)
}

// Debit spends credits at once, all of d.Amount or nothing: [ErrInsufficient],
// then and whenever it is tried again under its id.
func (l *Ledger) Debit(ctx context.Context, d Debit) (Receipt, error) {
	c := l.calls.Get().(*call)
	c.debit = d
	c.cmd = &c.debit
	return l.do(ctx, "credits.Debit", c)
}

// Refund gives back what was spent. It returns [ErrNotFound] when there is no
// such debit or hold, and [ErrOverRefund] when less of it is left to refund.
func (l *Ledger) Refund(ctx context.Context, r Refund) (Receipt, error) {
	c := l.calls.Get().(*call)
	c.refund = r
	c.cmd = &c.refund
	return l.do(ctx, "credits.Refund", c)
}

// A Balance says where an account's credits are at an instant: whatever was due
// by then counts as done, written or not.
type Balance struct {
	Account AccountID
	At      time.Time
	Totals
}

// Balance returns the balance of an account by the store's clock. An account
// without a grant has a balance of zero.
func (l *Ledger) Balance(ctx context.Context, account AccountID) (Balance, error) {
	const op = "credits.Balance"
	if why := badID(string(account)); why != "" {
		return Balance{}, &errors.Error{Code: errors.Invalid, Op: op, Msg: "account " + why}
	}
	b := Balance{Account: account}
	err := l.view(ctx, Need{Account: account}, func(st *State, now time.Time) (err error) {
		b.At, err = st.advance(now)
		b.Totals = st.Account.Totals
		return err
	})
	if err != nil {
		return Balance{}, atBoundary(op, err)
	}
	return b, nil
}
