package middleware

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"net/http"
	"strconv"
	"time"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware/idempotency"
)

// A claim is a request's right to be the one that is done under its
// Idempotency-Key.
type claim struct {
	once        *once
	key         idempotency.Key
	fingerprint idempotency.Fingerprint
	token       idempotency.Token
	first       idempotency.Token // of the first attempt under this key
	turn        int               // how many there were before
	asked       time.Time         // when it was asked for, by the gate's clock
	clean       bool              // none of them was paid, nor may be paid any more
	paid        bool              // one of them was: this one is free
	capture     capture
}

// claim returns the claim of the pass; nil unless there is an Idempotency-Key.
func (p *Pass) claim() *claim { return p.http.rec.claim }

// paid reports whether an earlier attempt under the Idempotency-Key was paid, before
// its answer was lost: this one holds nothing and is charged nothing.
func (p *Pass) paid() bool { return p.claim() != nil && p.claim().paid }

// runningRetry is what a client is told to wait for a request that is running: it
// ends sooner than its lease.
const runningRetry = time.Second

// maxTurns is how many attempts under one key are looked at. Each of them died, or
// could not be undone.
const maxTurns = 64

// claim makes the request the one that is done under its Idempotency-Key, or says
// what became of the one that is.
func (g *Gate) claim(ctx context.Context, p *Pass, a *Attempt) *Denial {
	op := &p.route.op
	if op.Idempotency == IdempotencyOff {
		return nil
	}
	key, err := "", idempotency.ErrMissing
	var r *http.Request
	if a.request != nil {
		r = a.request()
		key, err = idempotency.ParseHeader(r.Header[idempotency.HeaderKey])
	}
	switch {
	case err == nil:
	case !errors.Is(err, idempotency.ErrMissing):
		return &Denial{Verdict: VerdictIdempotencyMalformed, err: err}
	case op.Idempotency == IdempotencyRequired:
		return &Denial{Verdict: VerdictIdempotencyMissing}
	default:
		return nil
	}
	if wait := g.once.replays.locked(ctx, p.key.Meter); wait > 0 {
		return &Denial{Verdict: VerdictRateLimited, RetryAfter: wait, Limits: []string{g.once.name}}
	}
	c := &claim{once: g.once, key: idempotency.KeyOf(p.key.Meter, op.Name, r.Method, r.URL.EscapedPath(), key)}
	if c.fingerprint, err = idempotency.FingerprintOf(ctx, r, g.once.opt.MaxRequest); err != nil {
		switch {
		case errors.Is(err, idempotency.ErrTooLarge):
			return &Denial{Verdict: VerdictTooLarge, detail: errors.MessageOf(err), err: err}
		case tooLarge(err):
			return &Denial{Verdict: VerdictTooLarge, err: err}
		}
		return &Denial{Verdict: VerdictCanceled, err: err} // the body ended before it was whole
	}
	_, _ = rand.Read(c.token[:]) // crypto/rand.Read never fails
	c.asked = g.opt.Now()
	found, err := c.ask(ctx)
	if err != nil {
		return undecided(ctx, err)
	}
	if found.State == idempotency.Claimed {
		p.http.rec.claim = c
		c.first, c.turn, c.clean = found.First, found.Turn, found.Turn == 0
		return g.settleEarlier(ctx, p, c)
	}
	return g.claimed(ctx, p, found)
}

// claimed says what becomes of a call whose claim is another's.
func (g *Gate) claimed(ctx context.Context, p *Pass, found idempotency.Found) *Denial {
	g.once.replays.count(ctx, p.key.Meter)
	switch found.State {
	case idempotency.Running:
		return &Denial{Verdict: VerdictIdempotencyRunning, RetryAfter: min(found.Wait, runningRetry)}
	case idempotency.Mismatch:
		return &Denial{Verdict: VerdictIdempotencyMismatch}
	case idempotency.Done:
		return g.answered(ctx, p, found.Answer)
	}
	return undecided(ctx, errors.New("the store of answers says "+found.State.String()))
}

// ask claims. What cannot be told is undone: a claim that nobody knows of would
// stand in the way of those who ask again.
func (c *claim) ask(ctx context.Context) (idempotency.Found, error) {
	asking, cancel := context.WithTimeout(ctx, c.once.opt.Timeout)
	defer cancel()
	found, err := c.once.opt.Store.Claim(asking, c.claim(c.once.opt.Lease))
	if err != nil && errors.CodeOf(err) != errors.Exhausted {
		undoing := detached{parent: ctx, timeout: c.once.opt.Timeout}
		defer undoing.stop()
		_ = c.yield(&undoing) // if the store is gone, the lease ends by itself
	}
	return found, err
}

func (c *claim) claim(lease time.Duration) idempotency.Claim {
	return idempotency.Claim{Key: c.key, Fingerprint: c.fingerprint, Token: c.token, Lease: lease, Keep: c.once.opt.Keep}
}

// yield leaves the claim to the next who asks, with everything that is known of
// earlier attempts.
func (c *claim) yield(ctx context.Context) error {
	_, err := c.once.opt.Store.Claim(ctx, c.claim(time.Millisecond))
	return err
}

// drop ends a claim of which nothing is to be kept.
func (c *claim) drop(ctx context.Context) (err error) {
	for range 2 {
		if c.clean {
			err = c.once.opt.Store.Abandon(ctx, c.key, c.token)
		} else {
			err = c.yield(ctx)
		}
		if errors.CodeOf(err) != errors.Unavailable {
			break
		}
	}
	return err
}

// unclaim drops the claim of what is refused.
func (p *Pass) unclaim(ctx context.Context) error {
	undoing := detached{parent: ctx, timeout: p.gate.once.opt.Timeout}
	defer undoing.stop()
	return p.claim().drop(&undoing)
}

// stillClaimed makes sure that nobody has taken the claim over before there was a
// hold for him to find: from now on whoever does releases it.
func (g *Gate) stillClaimed(ctx context.Context, p *Pass) *Denial {
	c := p.claim()
	if c == nil || g.opt.Now().Sub(c.asked) < g.once.opt.Lease {
		return nil
	}
	found, err := c.ask(ctx)
	switch {
	case err != nil:
		return undecided(ctx, err)
	case c.holds(&found):
		return nil
	case found.State == idempotency.Claimed: // who took it over is done already, and did not do it
		return &Denial{Verdict: VerdictIdempotencyRunning, RetryAfter: runningRetry}
	}
	return g.claimed(ctx, p, found)
}

// holds reports whether the claim, asked for again, is what it was: nobody has had
// it meanwhile.
func (c *claim) holds(found *idempotency.Found) bool {
	return found.State == idempotency.Claimed && found.First == c.first && found.Turn == c.turn
}

// holdID names the hold of one attempt under the key: it is the same to everybody
// who takes over.
func (c *claim) holdID(turn int) credits.OpID {
	b := append(make([]byte, 0, 32), "idem_"...)
	b = appendWord(b, binary.BigEndian.Uint64(c.first[:8]))
	b = appendWord(b, binary.BigEndian.Uint64(c.first[8:]))
	b = append(b, '_')
	return credits.OpID(strconv.AppendInt(b, int64(turn), 10))
}

// settleEarlier makes sure that attempts before this one, whose callers died, are
// not paid any more, or finds the one that was.
func (g *Gate) settleEarlier(ctx context.Context, p *Pass, c *claim) *Denial {
	if g.ledger == nil || p.route.op.Price.kind == free {
		c.clean = true
		return nil
	}
	if c.turn > maxTurns {
		return &Denial{Verdict: VerdictIdempotencyOpaque, err: errors.New("too many attempts under one Idempotency-Key died")}
	}
	account := g.accountOf(p.key)
	for turn := range c.turn {
		paid, err := g.undoEarlier(p, account, c.holdID(turn))
		if err != nil {
			return undecided(ctx, err)
		}
		if paid {
			c.paid = true
			return nil
		}
	}
	c.clean = true
	return nil
}

// undoEarlier releases the hold of an attempt and those of its meter, and reports
// whether one of them was charged. Of their numbers no more are missing than those of
// which the ledger could not tell.
func (g *Gate) undoEarlier(p *Pass, account credits.AccountID, id credits.OpID) (paid bool, err error) {
	for n, gap := 1, 0; gap <= maxMeterLost; n++ {
		_, err := g.ledger.Release(p.asking(), credits.Release{Account: account, Hold: meterHoldID(id, n)})
		switch {
		case errors.Is(err, credits.ErrSettled):
			return true, nil
		case errors.Is(err, credits.ErrNotFound):
			gap++
			continue
		case err != nil && !errors.Is(err, credits.ErrTimedOut):
			return false, err
		}
		gap = 0
	}
	return false, nil
}
