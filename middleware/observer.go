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
	KeyID     string // "" before the secret was proven
	Owner     string
	IP        netip.Addr // the zero Addr when it is not known
	Limits    []string   // the limits that refused
	Shadowed  []string   // the limits in Shadow that would have refused
	Degraded  bool       // the store of limits failed, and a policy decided instead
	Held      credits.Amount
	Err       error // the cause of a refusal; for operators
}

// Settled is what [Observer.Settled] is told.
type Settled struct {
	Time      time.Time
	RequestID string
	Operation string
	KeyID     string
	Account   credits.AccountID
	Hold      credits.OpID // "" when nothing was held
	Ending    Ending
	Status    int
	Action    Action
	Held      credits.Amount
	Asked     credits.Amount // by Pass.Charge, or what the action charges
	Charged   credits.Amount // never more than Held; 0 when Err is not nil
	// Err tells that the hold could not be settled, or a lease not ended. The
	// answer had been given already; the hold, whose id is above, and the lease
	// stay until their deadlines.
	Err error
}

// SlogObserver reports to a [slog.Logger]: refusals and settlements at debug
// level, what a store failed to do at error level.
type SlogObserver struct{ log *slog.Logger }

// NewSlogObserver returns an observer that reports to log; nil is slog.Default
// at the time of each report.
func NewSlogObserver(log *slog.Logger) *SlogObserver { return &SlogObserver{log: log} }

func (o *SlogObserver) logger() *slog.Logger {
	if o.log != nil {
		return o.log
	}
	return slog.Default() //nolint:forbidigo // what net/http does with panics: better the program's log than silence
}

// Decided implements [Observer].
func (o *SlogObserver) Decided(ctx context.Context, d Decision) {
	level := slog.LevelDebug
	if d.Verdict.failure() {
		level = slog.LevelError
	}
	log := o.logger()
	if !log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("request_id", d.RequestID), slog.String("operation", d.Operation),
		slog.String("verdict", d.Verdict.String()), slog.String("key_id", d.KeyID),
	}
	if d.IP.IsValid() {
		attrs = append(attrs, slog.String("ip", d.IP.String()))
	}
	if len(d.Limits) > 0 {
		attrs = append(attrs, slog.Any("limits", d.Limits))
	}
	if len(d.Shadowed) > 0 {
		attrs = append(attrs, slog.Any("shadowed", d.Shadowed))
	}
	if d.Degraded {
		attrs = append(attrs, slog.Bool("degraded", true))
	}
	if d.Held > 0 {
		attrs = append(attrs, slog.String("held", d.Held.String()))
	}
	if d.Err != nil {
		attrs = append(attrs, slog.String("error", d.Err.Error()))
	}
	log.LogAttrs(ctx, level, "gate decision", attrs...)
}

// Settled implements [Observer].
func (o *SlogObserver) Settled(ctx context.Context, s Settled) {
	level := slog.LevelDebug
	if s.Err != nil {
		level = slog.LevelError
	}
	log := o.logger()
	if !log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("request_id", s.RequestID), slog.String("operation", s.Operation), slog.String("key_id", s.KeyID),
		slog.String("ending", s.Ending.String()), slog.Int("status", s.Status),
	}
	if s.Hold != "" {
		attrs = append(attrs, slog.String("account", string(s.Account)), slog.String("hold", string(s.Hold)),
			slog.String("action", s.Action.String()), slog.String("held", s.Held.String()), slog.String("charged", s.Charged.String()))
		if s.Asked > s.Held {
			attrs = append(attrs, slog.String("asked", s.Asked.String()))
		}
	}
	if s.Err != nil {
		attrs = append(attrs, slog.String("error", s.Err.Error()))
	}
	log.LogAttrs(ctx, level, "gate settlement", attrs...)
}

// failure reports whether v is a fault of the server's side.
func (v Verdict) failure() bool {
	return v == VerdictUndecided || v == VerdictStoreError || v == VerdictMisconfigured
}

// decided tells the observer of a decision. Without one only failures are told.
func (g *Gate) decided(ctx context.Context, p *Pass, d *Denial) {
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
	for s := range p.limits.Shadowed() {
		event.Shadowed = append(event.Shadowed, s.Limit.Name)
	}
	if d != nil {
		event.Limits, event.Err = d.Limits, d.err
	}
	observer.Decided(ctx, event)
}
