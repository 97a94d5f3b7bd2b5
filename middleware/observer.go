package middleware

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// An Observer is told what a gate decided and how it settled, after the fact.
// It is called on the goroutine of the request, must be safe for concurrent
// use, and should not block. No credential is ever in what it is told.
type Observer interface {
	// Decided is called once for every attempt, allowed or not.
	Decided(ctx context.Context, d Decision)
	// Settled is called once for every pass that ended, free ones included.
	Settled(ctx context.Context, s Settled)
}

// A Decision is what [Observer.Decided] is told.
type Decision struct {
	Time      time.Time
	RequestID string
	Operation string
	Verdict   Verdict
	Took      time.Duration // from the beginning of the attempt; 0 on a clock that stands still
	KeyID     string        // "" before the secret was proven
	Owner     string
	IP        netip.Addr // the zero Addr when it is not known
	Limits    []string   // the limits that refused
	Shadowed  []string   // the limits in Shadow that would have refused
	Degraded  bool       // the store of limits failed, and a policy decided instead
	Held      credits.Amount
	Original  credits.OpID // with VerdictReplayed and VerdictIdempotencyOpaque: the hold of the call that was done, "" when it held nothing
	Err       error        // the cause of a refusal; for operators
}

// Settled is what [Observer.Settled] is told.
type Settled struct {
	Time      time.Time
	RequestID string
	Operation string
	KeyID     string
	Account   credits.AccountID
	Hold      credits.OpID // "" when nothing was held; the further ones of a metered call are Hold/2, Hold/3
	Ending    Ending
	Status    int
	Action    Action
	Held      credits.Amount
	Asked     credits.Amount // by Pass.Charge or Pass.Meter, or what the action charges
	Charged   credits.Amount // more than Held only by Operation.Overrun; without what Err could not settle
	Kept      Kept           // what became of the answer to an Idempotency-Key
	// Err tells that the hold could not be settled, a lease not ended, or the answer
	// not kept. It had been given already; the hold, whose id is above, and the lease
	// stay until their deadlines, and who asks again while the claim's lease lasts is
	// told 409.
	Err error
}

// Observers tell each of several observers, in order.
type Observers []Observer

// Decided implements [Observer].
func (all Observers) Decided(ctx context.Context, d Decision) {
	for _, o := range all {
		o.Decided(ctx, d)
	}
}

// Settled implements [Observer].
func (all Observers) Settled(ctx context.Context, s Settled) {
	for _, o := range all {
		o.Settled(ctx, s)
	}
}

// SlogObserver reports to a [slog.Logger], with the time of the event: at debug
// level what went as it should, refusals among it; at warning level a decision by
// the policy for a store that failed, and a charge that could not be made in full;
// at error level what could not be decided or settled. What is not set is left out.
type SlogObserver struct{ log *slog.Logger }

// NewSlogObserver returns an observer that reports to log; nil is slog.Default
// at the time of each report.
func NewSlogObserver(log *slog.Logger) *SlogObserver { return &SlogObserver{log: log} }

// report writes a line that was built by attrs, unless nobody reads the level.
func (o *SlogObserver) report(ctx context.Context, level slog.Level, at time.Time, message string, attrs func(add func(...slog.Attr))) {
	log := o.log
	if log == nil {
		log = slog.Default() //nolint:forbidigo // what net/http does with panics: better the program's log than silence
	}
	if !log.Enabled(ctx, level) {
		return
	}
	record := slog.NewRecord(at, level, message, 0)
	attrs(record.AddAttrs)
	_ = log.Handler().Handle(ctx, record) // as slog.Logger does
}

// text adds a string that is set.
func text(add func(...slog.Attr), name, value string) {
	if value != "" {
		add(slog.String(name, value))
	}
}

// amount adds an amount that is set.
func amount(add func(...slog.Attr), name string, a credits.Amount) {
	if a != 0 {
		add(slog.String(name, a.String()))
	}
}

// Decided implements [Observer].
func (o *SlogObserver) Decided(ctx context.Context, d Decision) {
	level := slog.LevelDebug
	switch {
	case d.Verdict.failure():
		level = slog.LevelError
	case d.Degraded:
		level = slog.LevelWarn
	}
	o.report(ctx, level, d.Time, "gate decision", func(add func(...slog.Attr)) {
		add(slog.String("request_id", d.RequestID), slog.String("operation", d.Operation), slog.String("verdict", d.Verdict.String()))
		text(add, "key_id", d.KeyID)
		text(add, "owner", d.Owner)
		if d.IP.IsValid() {
			add(slog.String("ip", d.IP.String()))
		}
		if len(d.Limits) > 0 {
			add(slog.Any("limits", d.Limits))
		}
		if len(d.Shadowed) > 0 {
			add(slog.Any("shadowed", d.Shadowed))
		}
		if d.Degraded {
			add(slog.Bool("degraded", true))
		}
		amount(add, "held", d.Held)
		text(add, "original", string(d.Original))
		if d.Took != 0 {
			add(slog.Duration("took", d.Took))
		}
		if d.Err != nil {
			add(slog.String("error", d.Err.Error()))
		}
	})
}

// Settled implements [Observer].
func (o *SlogObserver) Settled(ctx context.Context, s Settled) {
	level := slog.LevelDebug
	switch {
	case s.Err != nil:
		level = slog.LevelError
	case s.Asked > s.Charged:
		level = slog.LevelWarn
	}
	o.report(ctx, level, s.Time, "gate settlement", func(add func(...slog.Attr)) {
		add(slog.String("request_id", s.RequestID), slog.String("operation", s.Operation))
		text(add, "key_id", s.KeyID)
		add(slog.String("ending", s.Ending.String()), slog.Int("status", s.Status))
		text(add, "account", string(s.Account))
		if s.Hold != "" {
			add(slog.String("hold", string(s.Hold)), slog.String("action", s.Action.String()),
				slog.String("held", s.Held.String()), slog.String("charged", s.Charged.String()))
		}
		if s.Asked != s.Charged {
			amount(add, "asked", s.Asked)
		}
		if s.Kept != KeptNothing {
			add(slog.String("kept", s.Kept.String()))
		}
		if s.Err != nil {
			add(slog.String("error", s.Err.Error()))
		}
	})
}

// failure reports whether v is a fault of the server's side.
func (v Verdict) failure() bool {
	return v == VerdictUndecided || v == VerdictStoreError || v == VerdictMisconfigured
}

// decided tells the observer of a decision that took no time.
func (g *Gate) decided(ctx context.Context, p *Pass, d *Denial) {
	g.decidedSince(ctx, p, d, time.Time{})
}

// began is when an attempt begins, as far as anybody wants to know.
func (g *Gate) began() time.Time {
	if g.opt.Observer == nil {
		return time.Time{}
	}
	return g.opt.Now()
}

// decidedSince tells the observer of a decision. Without one only failures are
// told.
func (g *Gate) decidedSince(ctx context.Context, p *Pass, d *Denial, began time.Time) {
	verdict := VerdictAllowed
	if d != nil {
		verdict = d.Verdict
	}
	observer := g.opt.Observer
	if observer == nil {
		if !verdict.failure() {
			return
		}
		observer = &SlogObserver{}
	}
	event := Decision{
		Time: g.opt.Now(), RequestID: p.requestID, Operation: p.route.op.Name, Verdict: verdict,
		KeyID: p.key.ID, Owner: p.key.Owner, IP: p.ip, Held: p.held, Degraded: p.limits.Degraded,
	}
	if !began.IsZero() {
		event.Took = event.Time.Sub(began)
	}
	for s := range p.limits.Shadowed() {
		event.Shadowed = append(event.Shadowed, s.Limit.Name)
	}
	if d != nil {
		event.Limits, event.Original, event.Err = d.Limits, d.original, d.err
	}
	observer.Decided(ctx, event)
}
