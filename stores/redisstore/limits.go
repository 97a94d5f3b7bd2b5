package redisstore

import (
	"context"
	"crypto/rand"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/ratelimit"
)

// DefaultPrefix begins the keys of a [LimitStore] without
// [LimitsOptions.Prefix].
const DefaultPrefix = "rl:"

// LimitsOptions are the choices of [NewLimits]. The zero value, and nil, are the
// defaults. All stores over one server or cluster must agree on them.
type LimitsOptions struct {
	// Prefix begins every key of the server, [DefaultPrefix] when empty: up to 64
	// letters, digits and the marks - _ . : / of ASCII.
	Prefix string
	// Tag returns what decides the slot of a subject's keys in a cluster, any bytes.
	// Subjects of one tag are decided in one step. Nil, and the empty string, mean
	// the subject's own key. It must return the same for the same key for ever,
	// and be safe for concurrent use.
	Tag func(key string) string
	// Now, if set, tells the time of decisions instead of the server, for servers
	// whose scripts may not read their clock, and for tests. The clocks of all
	// callers must then agree within an hour, by which everything is kept longer.
	Now func() time.Time
	// Undo is the longest that giving back may take in a cluster when a decision
	// about several slots fails half way, whatever the caller's context; 2 s when
	// zero, up to 1 minute.
	Undo time.Duration
}

// A LimitStore is a [ratelimit.Store] in Redis: one script, and so one round
// trip, for a decision about any number of limits. It is safe for concurrent
// use.
type LimitStore struct {
	client  Client
	cluster bool
	prefix  string
	tag     func(string) string
	now     func() time.Time // nil: the server's
	undo    time.Duration
	script  program

	ahead  atomic.Int64 // by how many microseconds the server's clock was ahead of this machine's
	drafts sync.Pool    // of *draft
}

var _ ratelimit.Store = (*LimitStore)(nil)

// NewLimits returns a store through client, which is required and stays the
// caller's to close. Nil options are the defaults. Nothing is sent yet. The
// error names every fault at once.
func NewLimits(client Client, options *LimitsOptions) (*LimitStore, error) {
	var o LimitsOptions
	if options != nil {
		o = *options
	}
	faults := errors.Faults{Op: "redisstore.NewLimits"}
	s := &LimitStore{client: client, tag: o.Tag, now: o.Now, undo: o.Undo}
	if checkClient(&faults, client) {
		s.cluster = client.Cluster()
	}
	s.prefix = prefixOr(&faults, o.Prefix, DefaultPrefix)
	if s.undo == 0 {
		s.undo = 2 * time.Second
	}
	if s.undo < 0 || s.undo > time.Minute {
		faults.Add("Undo is %v; give up to 1m, or 0 for 2s", s.undo)
	}
	if err := faults.Err(); err != nil {
		return nil, err
	}
	s.script = source()
	s.drafts.New = func() any { return new(draft) }
	return s, nil
}

// Apply implements [ratelimit.Store]. Where several slots of a cluster are
// concerned it takes more than one step: see the package documentation.
func (s *LimitStore) Apply(ctx context.Context, req *ratelimit.Request) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c := call{mode: req.Mode, clock: -1, id: req.ID}
	if s.now != nil {
		c.clock = max(s.now().UnixMicro(), 0)
	}
	switch req.Mode {
	case ratelimit.ModeTake, ratelimit.ModeTakeUpTo, ratelimit.ModeCharge:
		c.fresh()
	case ratelimit.ModeSettle:
		c.hold = req.Hold()
		for i := range req.Ops {
			c.till = max(c.till, req.Ops[i].Until)
		}
	}
	if s.cluster && len(req.Ops) > 1 {
		if parts := s.parts(req); len(parts) > 1 {
			return (&crossing{store: s, req: req, parts: parts, call: c}).apply(ctx)
		}
	}
	return s.step(ctx, req, c)
}

// A call is what the script is told beside the ops.
type call struct {
	mode  ratelimit.Mode // modeHolds beside the eight
	clock int64          // the caller's, -1 where the server's decides
	guess int64          // about the time that decides
	id    ratelimit.ID
	hold  int64 // for how long a settlement is remembered
	till  int64 // until when at least
}

// fresh gives the call an ID of its own.
func (c *call) fresh() { _, _ = rand.Read(c.id[:]) } // never fails

func (c *call) slack() int64 {
	if c.clock < 0 {
		return -1
	}
	return slack
}

// step carries out the request as one script.
func (s *LimitStore) step(ctx context.Context, req *ratelimit.Request, c call) error {
	d := s.drafts.Get().(*draft)
	defer s.drafts.Put(d)
	defer d.forget()
	c.guess = c.clock
	if c.clock < 0 {
		c.guess = systemTime() + s.ahead.Load()
	}
	// A calendar's windows are asked for anew when the server's time lies outside,
	// and once more when a clock jumps in between.
	for range 3 {
		d.lay(s, req, &c)
		text, err := s.script.run(ctx, s.client, d.keys, d.arg)
		if err != nil {
			return failed(ctx, opApply, ratelimit.ErrFull, "the limits could not be decided", err)
		}
		again, err := d.read(reply(text), req, &c)
		if err != nil || !again {
			return err
		}
		if c.clock < 0 {
			s.ahead.Store(req.Now - systemTime())
		}
	}
	return &errors.Error{Code: errors.Unavailable, Op: opApply, Msg: "the server's clock jumps from one calendar window to another; try again"}
}

// systemTime is the time for which a calendar's windows are given before the
// server has told its own.
//
//nolint:forbidigo // only a guess: the server's clock decides
func systemTime() int64 { return time.Now().UnixMicro() }

const opApply = "redisstore.Apply"
