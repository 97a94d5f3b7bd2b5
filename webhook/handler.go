package webhook

import (
	"context"
	"crypto/rand"
	"net/http"
	"strconv"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// Defaults of a handler with a replay guard.
const (
	DefaultReplayKeep  = 7 * 24 * time.Hour
	DefaultReplayLease = 10 * time.Minute
)

const (
	retryAfter   = 5 * time.Second // told to a sender whose message is in flight
	settleWithin = 5 * time.Second // for Done and Release, also after the sender is gone
	maxSource    = 64
)

// HandlerOptions adjusts [Verifier.Handler].
type HandlerOptions struct {
	// Replay remembers handled messages. Default nil: every valid message reaches
	// the handler, however often it is sent.
	Replay ReplayStore
	// Source keeps apart the messages of handlers that share a replay store:
	// give each sender of webhooks its own, or one sender could use up the ids of
	// another. Up to 64 characters of A-Z, a-z, 0-9, '.', '_', '-'. Default "".
	Source string
	// Keep is how long a handled message is remembered. It has to outlast the
	// sender's last retry, and be at least twice the verifier's tolerance. Whole
	// milliseconds; default [DefaultReplayKeep].
	Keep time.Duration
	// Lease is how long a message stays in flight if this process dies while
	// handling it; retries are turned away meanwhile. It has to be longer than the
	// handler ever takes. Whole milliseconds; default [DefaultReplayLease], or
	// twice the tolerance if that is longer.
	Lease time.Duration
	// Observer learns what became of each request. Default nil: nobody does.
	Observer Observer
}

// Handler returns a handler that calls next with verified messages only. next
// finds the proof with [FromContext] and the body, which was read for
// verification, in r.Body again.
//
// It answers by itself, with problem+json that tells nothing about the reason:
//
//   - 401 to a message that is not verified, for whatever reason;
//   - 413 to a body over MaxBody, and 400 to one that breaks off.
//
// With a replay store, which is asked after verification:
//
//   - 200 without calling next to a message that was handled before, so that the
//     sender stops;
//   - 409 with Retry-After to one that another request is handling;
//   - 503 when the store cannot decide.
//
// A message counts as handled when next returns after an answer of 2xx, or of
// nothing, for which net/http answers 200. When next panics or answers anything
// else, the message is released and the sender's retry is handled; so it is
// when next answers nothing and the request's context is over, since a handler
// that gave up because its sender left looks just like that. If the store fails
// to note that a message was handled, the answer stands, the observer is told,
// and the message stays in flight until its lease ends.
//
// Handler returns an error for a Verifier without a key, a nil next and options
// out of range, all at once. opts may be nil.
func (v *Verifier) Handler(next http.Handler, opts *HandlerOptions) (http.Handler, error) {
	var o HandlerOptions
	if opts != nil {
		o = *opts
	}
	faults := errors.Faults{Op: "webhook.Verifier.Handler"}
	if v == nil || v.keys.Load() == nil {
		faults.Join(&errors.Error{Code: errors.Invalid, Op: "webhook.Verifier.Handler", Msg: "the verifier has no key; make it with NewVerifier", Err: ErrNoKeys})
	}
	if next == nil {
		faults.Add("next is nil; give the handler of verified messages")
	}
	if o.Source != "" && !validName(o.Source, maxSource) {
		faults.Add("source %q: not up to %d characters of A-Z, a-z, 0-9, '.', '_', '-'", o.Source, maxSource)
	}
	least := DefaultTolerance
	if v != nil {
		least = (2*v.tolerance + time.Millisecond - 1).Truncate(time.Millisecond)
	}
	if o.Keep == 0 {
		o.Keep = DefaultReplayKeep // more than twice MaxTolerance
	}
	if o.Keep < least || o.Keep%time.Millisecond != 0 {
		faults.Add("keep is %v; give whole milliseconds, at least twice the tolerance, which is %v", o.Keep, least)
	}
	if o.Lease == 0 {
		o.Lease = max(DefaultReplayLease, least)
	}
	if o.Lease < time.Millisecond || o.Lease%time.Millisecond != 0 {
		faults.Add("lease is %v; give whole milliseconds, 1 or more", o.Lease)
	}
	if m, ok := o.Replay.(*MemoryReplayStore); ok && time.Duration(m.evictAfter) < least {
		faults.Add("replay: a full memory store forgets after %v; make it with EvictAfter of at least twice the tolerance, which is %v", time.Duration(m.evictAfter), least)
	}
	if err := faults.Err(); err != nil {
		return nil, err
	}
	return &handler{verifier: v, next: next, HandlerOptions: o}, nil
}

type handler struct {
	HandlerOptions

	verifier *Verifier
	next     http.Handler
}

// ServeHTTP verifies, claims, calls next and settles.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	verified, body, err := h.verifier.verifyRequest(r)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	ctx := r.Context()
	key, owner := h.key(verified.ReplayKey(body)), ""
	if h.Replay != nil {
		owner = rand.Text()
		state, err := h.Replay.Claim(ctx, key, owner, h.Lease)
		if err != nil || state != ClaimGranted {
			h.turnAway(w, r, verified, state, err)
			if err != nil {
				// Perhaps only the answer was lost: do not leave a claim behind.
				_ = h.settle(ctx, key, owner, OutcomeUnavailable)
			}
			return
		}
	}
	rec := &recorder{ResponseWriter: w}
	returned := false
	// Deferred, so that it happens when next panics; the panic goes on.
	defer func() {
		if returned && ctx.Err() == nil {
			rec.choose(http.StatusOK) // net/http will send it
		}
		outcome := OutcomeFailed
		if returned && rec.status/100 == 2 {
			outcome = OutcomeAccepted
		}
		h.observe(ctx, Reception{outcome, rec.status, verified, h.settle(ctx, key, owner, outcome)})
	}()
	h.next.ServeHTTP(rec, r.WithContext(context.WithValue(ctx, contextKey{}, verified)))
	returned = true
}

// refuse answers a request that is not verified.
func (h *handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	rec := &recorder{ResponseWriter: w}
	outcome := OutcomeRefused
	switch {
	case errors.Is(err, ErrBodyTooLarge):
		outcome = OutcomeTooLarge
		writeProblem(rec, http.StatusRequestEntityTooLarge, "body_too_large", "The body is larger than this endpoint accepts.")
	case errors.Is(err, ErrBody):
		outcome = OutcomeUnreadable
		writeProblem(rec, http.StatusBadRequest, "body_unreadable", "The body could not be read.")
	default:
		rec.Header().Set("WWW-Authenticate", "Webhook-Signature")
		writeProblem(rec, http.StatusUnauthorized, "unauthenticated", "The webhook could not be verified.")
	}
	h.observe(r.Context(), Reception{Outcome: outcome, Status: rec.status, Err: err})
}

// turnAway answers a verified request whose claim was not granted.
func (h *handler) turnAway(w http.ResponseWriter, r *http.Request, verified Verified, state ClaimState, err error) {
	rec := &recorder{ResponseWriter: w}
	outcome := OutcomeUnavailable
	switch {
	case err == nil && state == ClaimDone:
		outcome = OutcomeDuplicate
		rec.WriteHeader(http.StatusOK)
	case err == nil && state == ClaimInFlight:
		outcome = OutcomeInFlight
		rec.Header().Set("Retry-After", strconv.Itoa(int(retryAfter/time.Second)))
		writeProblem(rec, http.StatusConflict, "in_flight", "This message is being handled.")
	default:
		if err == nil {
			err = errors.New("the replay store answered a claim with no state")
		}
		writeProblem(rec, http.StatusServiceUnavailable, "unavailable", "The message cannot be handled now.")
	}
	h.observe(r.Context(), Reception{outcome, rec.status, verified, err})
}

// settle tells the replay store how handling ended, also when the sender is
// gone by then.
func (h *handler) settle(ctx context.Context, key, owner string, outcome Outcome) error {
	if h.Replay == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleWithin)
	defer cancel()
	if outcome == OutcomeAccepted {
		return h.Replay.Done(ctx, key, h.Keep)
	}
	return h.Replay.Release(ctx, key, owner)
}

// key names a message in the replay store. A replay key holds no '.', so that
// no two pairs of source and replay key make one key.
func (h *handler) key(replay string) string {
	if h.Source == "" {
		return replay
	}
	return h.Source + "." + replay
}

func (h *handler) observe(ctx context.Context, r Reception) {
	if h.Observer != nil {
		h.Observer.WebhookReceived(ctx, r)
	}
}

type contextKey struct{}

// FromContext returns what was proven about the message that a handler of
// [Verifier.Handler] is serving. ok is false in any other context.
func FromContext(ctx context.Context) (verified Verified, ok bool) {
	verified, ok = ctx.Value(contextKey{}).(Verified)
	return verified, ok
}
