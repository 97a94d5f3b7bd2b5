package webhook

import (
	"context"
	"crypto/rand"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// Defaults of a handler with a replay guard.
const (
	DefaultReplayKeep  = 7 * 24 * time.Hour
	DefaultReplayLease = 10 * time.Minute
)

const (
	retryAfter = 5 * time.Second // told to a sender whose message is in flight
	askWithin  = 5 * time.Second // for one call of the replay store
	maxSource  = 64
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
	// sender's last retry, and be at least twice the verifier's tolerance. A scheme
	// that signs no timestamp, such as [GitHub], has nothing else against replays:
	// what somebody kept for longer is handled again. Whole milliseconds; default
	// [DefaultReplayKeep].
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
// With a replay store, which is asked after verification, for what
// [Verified.ReplayKey] says by each signature that verified the message:
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
	if m, ok := o.Replay.(*MemoryReplayStore); ok && v != nil {
		switch forgets := time.Duration(m.evictAfter); {
		case v.timeless() != "" && forgets < o.Keep:
			faults.Add("replay: a full memory store forgets after %v, and scheme %s signs no timestamp that would tell a replay; make it with EvictAfter of at least Keep, which is %v", forgets, v.timeless(), o.Keep)
		case forgets < least:
			faults.Add("replay: a full memory store forgets after %v; make it with EvictAfter of at least twice the tolerance, which is %v", forgets, least)
		}
	}
	if err := faults.Err(); err != nil {
		return nil, err
	}
	return &handler{verifier: v, next: next, HandlerOptions: o}, nil
}

// timeless names a scheme of v that signs no timestamp, if there is one.
func (v *Verifier) timeless() string {
	if keys := v.keys.Load(); keys != nil {
		for _, g := range keys.groups {
			// Lists of components, of RFC 9421, have a creation time.
			if f := &g.form; !f.signsTime && !strings.HasPrefix(f.Signed, "(") {
				return f.Name
			}
		}
	}
	return ""
}

type handler struct {
	HandlerOptions

	verifier *Verifier
	next     http.Handler
}

// ServeHTTP verifies, claims, calls next and settles.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	proofs, body, err := h.verifier.verifyRequest(r)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	ctx, verified := r.Context(), proofs[0]
	var keys []string
	owner := ""
	if h.Replay != nil {
		keys, owner = h.keys(proofs, body), rand.Text()
		if outcome, err := h.claim(ctx, keys, owner); outcome != 0 {
			h.turnAway(w, r, Reception{Outcome: outcome, Verified: verified, Err: err})
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
		outcome, settle := OutcomeFailed, h.release
		if returned && rec.status/100 == 2 {
			outcome, settle = OutcomeAccepted, h.done
		}
		h.observe(ctx, Reception{outcome, rec.status, verified, settle(ctx, keys, owner)})
	}()
	h.next.ServeHTTP(rec, r.WithContext(context.WithValue(ctx, contextKey{}, verified)))
	returned = true
}

// keys names a message in the replay store, by what each signature that was
// verified proves: whoever strips others from it would otherwise pass it off as
// another message. A replay key holds no '.', so that no
// two pairs of source and replay key make one key.
func (h *handler) keys(proofs []Verified, body []byte) []string {
	keys := make([]string, 0, len(proofs))
	for _, verified := range proofs {
		key := verified.ReplayKey(body)
		if h.Source != "" {
			key = h.Source + "." + key
		}
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// claim claims all keys, or says why not: then none is left behind.
func (h *handler) claim(ctx context.Context, keys []string, owner string) (Outcome, error) {
	for i, key := range keys {
		var state ClaimState
		err := ask(ctx, func(ctx context.Context) (err error) {
			state, err = h.Replay.Claim(ctx, key, owner, h.Lease)
			return err
		})
		switch {
		case err != nil:
			// Perhaps only the answer was lost: do not leave a claim behind.
			_ = h.release(ctx, keys[:i+1], owner)
			return OutcomeUnavailable, err
		case state == ClaimGranted:
		case state == ClaimDone:
			// It stays done by whatever name it may come again.
			return OutcomeDuplicate, h.done(ctx, slices.Delete(keys, i, i+1), owner)
		case state == ClaimInFlight:
			return OutcomeInFlight, h.release(ctx, keys[:i], owner)
		default:
			return OutcomeUnavailable, errors.Join(errors.New("the replay store answered a claim with no state"), h.release(ctx, keys[:i], owner))
		}
	}
	return 0, nil
}

// done tells the replay store that the message was handled, and release that it
// was not; also when the sender is gone by then.
func (h *handler) done(ctx context.Context, keys []string, _ string) error {
	return each(ctx, keys, func(ctx context.Context, key string) error { return h.Replay.Done(ctx, key, h.Keep) })
}

func (h *handler) release(ctx context.Context, keys []string, owner string) error {
	return each(ctx, keys, func(ctx context.Context, key string) error { return h.Replay.Release(ctx, key, owner) })
}

// each calls fn for every key.
func each(ctx context.Context, keys []string, fn func(ctx context.Context, key string) error) error {
	var errs []error
	for _, key := range keys {
		errs = append(errs, ask(context.WithoutCancel(ctx), func(ctx context.Context) error { return fn(ctx, key) }))
	}
	return errors.Join(errs...)
}

// ask makes one call of the replay store: requests must not pile up behind
// one that hangs.
func ask(ctx context.Context, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	return call(ctx)
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
func (h *handler) turnAway(w http.ResponseWriter, r *http.Request, is Reception) {
	rec := &recorder{ResponseWriter: w}
	switch is.Outcome {
	case OutcomeDuplicate:
		rec.WriteHeader(http.StatusOK)
	case OutcomeInFlight:
		rec.Header().Set("Retry-After", strconv.Itoa(int(retryAfter/time.Second)))
		writeProblem(rec, http.StatusConflict, "in_flight", "This message is being handled.")
	default:
		writeProblem(rec, http.StatusServiceUnavailable, "unavailable", "The message cannot be handled now.")
	}
	is.Status = rec.status
	h.observe(r.Context(), is)
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
