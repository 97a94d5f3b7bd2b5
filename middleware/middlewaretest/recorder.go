package middlewaretest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
)

// A Recorder is a [middleware.Observer] that keeps what it is told, and says what
// is not as it should be.
type Recorder struct {
	tb testing.TB

	mu        sync.Mutex
	decisions []middleware.Decision
	settled   []middleware.Settled
}

var _ middleware.Observer = (*Recorder)(nil)

// NewRecorder returns a recorder that fails tb: for a gate of the test's own. A
// [Fixture] has one.
func NewRecorder(tb testing.TB) *Recorder { return &Recorder{tb: tb} }

// Decided implements [middleware.Observer].
func (r *Recorder) Decided(_ context.Context, d middleware.Decision) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.decisions = append(r.decisions, d)
}

// Settled implements [middleware.Observer].
func (r *Recorder) Settled(_ context.Context, s middleware.Settled) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.settled = append(r.settled, s)
}

// Reset forgets what was recorded so far.
func (r *Recorder) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.decisions, r.settled = nil, nil
}

// Decisions returns what was decided since the last Reset, in order.
func (r *Recorder) Decisions() []middleware.Decision {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.decisions)
}

// Settlements returns what was settled since the last Reset, in order.
func (r *Recorder) Settlements() []middleware.Settled {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.settled)
}

// LastDecision returns the latest decision, and ends the test when there is none.
func (r *Recorder) LastDecision() middleware.Decision {
	r.tb.Helper()
	all := r.Decisions()
	if len(all) == 0 {
		r.tb.Fatal("middlewaretest: nothing was decided; did the request reach the gate, and is the recorder its Observer?")
		return middleware.Decision{}
	}
	return all[len(all)-1]
}

// LastSettlement returns the latest settlement, and ends the test when there is
// none.
func (r *Recorder) LastSettlement() middleware.Settled {
	r.tb.Helper()
	all := r.Settlements()
	if len(all) == 0 {
		r.tb.Fatalf("middlewaretest: nothing was settled; only calls that were allowed and are over settle\n%s", r)
		return middleware.Settled{}
	}
	return all[len(all)-1]
}

// Charged returns what was charged since the last Reset.
func (r *Recorder) Charged() credits.Amount {
	var total credits.Amount
	for _, s := range r.Settlements() {
		total += s.Charged
	}
	return total
}

// WantVerdicts fails the test unless these, and no others, are the verdicts since
// the last Reset, in order.
func (r *Recorder) WantVerdicts(want ...middleware.Verdict) {
	r.tb.Helper()
	var got []middleware.Verdict
	for _, d := range r.Decisions() {
		got = append(got, d.Verdict)
	}
	if !slices.Equal(got, want) {
		r.tb.Errorf("middlewaretest: verdicts %v, want %v\n%s", got, want, r)
	}
}

// WantEndings fails the test unless these, and no others, are the endings since
// the last Reset, in order.
func (r *Recorder) WantEndings(want ...middleware.Ending) {
	r.tb.Helper()
	var got []middleware.Ending
	for _, s := range r.Settlements() {
		got = append(got, s.Ending)
	}
	if !slices.Equal(got, want) {
		r.tb.Errorf("middlewaretest: endings %v, want %v\n%s", got, want, r)
	}
}

// WantCharged fails the test unless this is what was charged since the last
// Reset, all calls together, and everything could be settled.
func (r *Recorder) WantCharged(want credits.Amount) {
	r.tb.Helper()
	if got := r.Charged(); got != want {
		r.tb.Errorf("middlewaretest: %v credits charged, want %v\n%s", got, want, r)
	}
	for _, s := range r.Settlements() {
		if s.Err != nil {
			r.tb.Errorf("middlewaretest: the hold %s of operation %s could not be settled: %v", s.Hold, s.Operation, s.Err)
		}
	}
}

// String lists what was recorded, one event a line.
func (r *Recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.decisions)+len(r.settled) == 0 {
		return "\tnothing was recorded"
	}
	var b strings.Builder
	for _, d := range r.decisions {
		fmt.Fprintf(&b, "\tdecided %s: %s %v", d.RequestID, d.Operation, d.Verdict)
		if len(d.Limits) > 0 {
			fmt.Fprintf(&b, " by %s", strings.Join(d.Limits, ", "))
		}
		if d.Held > 0 {
			fmt.Fprintf(&b, ", %v held", d.Held)
		}
		if d.Err != nil {
			fmt.Fprintf(&b, ": %v", d.Err)
		}
		b.WriteByte('\n')
	}
	for _, s := range r.settled {
		fmt.Fprintf(&b, "\tsettled %s: %s %v (status %d)", s.RequestID, s.Operation, s.Ending, s.Status)
		if s.Hold != "" {
			fmt.Fprintf(&b, ", %v of %v held: %v charged", s.Action, s.Held, s.Charged)
		}
		if s.Err != nil {
			fmt.Fprintf(&b, ": %v", s.Err)
		}
		b.WriteByte('\n')
	}
	return strings.TrimSuffix(b.String(), "\n")
}
