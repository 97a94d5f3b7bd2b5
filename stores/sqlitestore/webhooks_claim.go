package sqlitestore

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"strconv"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/webhook"
)

const (
	// The endpoints behind ?1 that have something waiting, in ascending order: each
	// step seeks the next in the two partial indexes, and what is due first there.
	waitingEndpoints = `WITH RECURSIVE next (id, step) AS (
			SELECT ?1, 0
			UNION ALL
			SELECT (SELECT min(id) FROM (
				SELECT min(endpoint) AS id FROM webhook_deliveries WHERE state = 1 AND endpoint > next.id
				UNION ALL
				SELECT min(endpoint) FROM webhook_deliveries WHERE state = 2 AND endpoint > next.id)), 1
			FROM next WHERE next.id IS NOT NULL
		)
		SELECT id, (SELECT state FROM webhook_endpoints e WHERE e.id = next.id),
			(SELECT min(due) FROM webhook_deliveries WHERE state = 1 AND endpoint = next.id),
			(SELECT min(lease) FROM webhook_deliveries WHERE state = 2 AND endpoint = next.id)
		FROM next WHERE step = 1 AND id IS NOT NULL`

	// How many attempts are being made, and when the first of them is over.
	inFlight = `SELECT count(*), coalesce(min(lease), 0) FROM webhook_deliveries WHERE endpoint = ?1 AND state = 2 AND lease > ?2`

	duePending = `SELECT seq, due FROM webhook_deliveries WHERE endpoint = ?1 AND state = 1 AND due <= ?2 ORDER BY due, seq LIMIT +?3`
	dueLeases  = `SELECT seq, lease FROM webhook_deliveries WHERE endpoint = ?1 AND state = 2 AND lease <= ?2 ORDER BY lease, seq LIMIT +?3`

	// What an ordered endpoint may be sent next, and when.
	headPending = `SELECT seq, due FROM webhook_deliveries WHERE endpoint = ?1 AND state = 1 ORDER BY seq LIMIT 1`
	headLease   = `SELECT seq, lease FROM webhook_deliveries WHERE endpoint = ?1 AND state = 2 ORDER BY seq LIMIT 1`

	nextWaiting = `SELECT (SELECT min(due) FROM webhook_deliveries WHERE endpoint = ?1 AND state = 1),
		(SELECT min(lease) FROM webhook_deliveries WHERE endpoint = ?1 AND state = 2)`

	claimDeliveries = `UPDATE webhook_deliveries SET state = 2, token = ?2, lease = ?3, tries = tries + 1, attempt = attempt + 1
		WHERE seq IN (SELECT value FROM json_each(?1))`

	deliveriesClaimed = `SELECT ` + deliveryRow + ` FROM json_each(?1) CROSS JOIN webhook_deliveries d ON d.seq = value CROSS JOIN webhook_messages m ON m.seq = d.message`
	messagesNamed     = `SELECT ` + messageRow + `, m.payload FROM json_each(?1) CROSS JOIN webhook_messages m ON m.seq = value`
)

// Claim implements [webhook.Store]. It hands out in the writer's turn, so that no
// other claim runs beside it, in any process, and what is in flight is counted
// exactly. That nothing is to be had it finds out without the writer: whoever
// polls holds up nobody.
func (w *WebhookStore) Claim(ctx context.Context, c webhook.Claim) (webhook.Claims, error) {
	var out webhook.Claims
	claim := claimer{Claim: c, none: make(map[string]struct{}), from: make(map[string]*loadedEndpoint)}
	run := func(ctx context.Context, s *session, now time.Time) error {
		claim.ctx, claim.s, claim.now = ctx, s, micros(now)
		err := claim.round()
		if err == nil {
			out = webhook.Claims{Now: now, Last: claim.last, Next: claim.next}
			out.Deliveries, err = claim.handOut()
		}
		return err
	}
	err := w.db.snapshot(ctx, func(s *session) error { return run(context.WithoutCancel(ctx), s, w.clock()) })
	if err == errDue { //nolint:errorlint // made here, never wrapped
		claim.handsOut = true // of endpoints for which there was no room it knows what it has to
		err = w.write(ctx, run)
	}
	if err != nil {
		return webhook.Claims{}, err
	}
	return out, nil
}

// errDue ends a look at what is due when there is something.
var errDue error = &errors.Error{Msg: "something is due"}

// A claimer carries out one claim.
type claimer struct {
	webhook.Claim

	ctx      context.Context //nolint:containedctx // of one call
	s        *session
	now      int64
	handsOut bool // otherwise errDue tells that there is something to be had

	taken []int64                    // by seq, in the order in which they are handed out
	from  map[string]*loadedEndpoint // whose they are
	none  map[string]struct{}        // endpoints that have something due and no room for it
	last  string
	next  time.Time
}

// round looks at the endpoints behind After, and then at those before.
func (c *claimer) round() error {
	full, err := c.look(c.After, func(string) bool { return true })
	if err == nil && !full && c.After != "" {
		full, err = c.look("", func(id string) bool { return id <= c.After })
	}
	switch now := instant(c.now); {
	case full:
		c.next = now
	case !c.next.IsZero() && !c.next.After(now): // it came while the writer was waited for
		c.next = now.Add(time.Microsecond)
	}
	return err
}

// A waiter is an endpoint with deliveries that wait, and when the first of them
// does no longer: a due, or the end of a lease.
type waiter struct {
	id         string
	state      webhook.EndpointState
	due, lease sql.NullInt64
}

// first returns the earlier of both, one of which there is.
func (w *waiter) first() int64 {
	if !w.due.Valid || w.lease.Valid && w.lease.Int64 < w.due.Int64 {
		return w.lease.Int64
	}
	return w.due.Int64
}

// look takes what is to be had of the endpoints behind after, as long as they are
// within, and reports whether that is as much as was asked for.
func (c *claimer) look(after string, within func(id string) bool) (full bool, err error) {
	const longest = 256
	for page := 8; ; page = min(4*page, longest) {
		list := make([]waiter, 0, page)
		err := c.s.rows(c.ctx, waitingEndpoints, []any{after}, func(rows *sql.Rows) error {
			var w waiter
			if err := rows.Scan(&w.id, &w.state, &w.due, &w.lease); err != nil {
				return fault(c.ctx, err)
			}
			if !within(w.id) {
				return errEnough
			}
			if list = append(list, w); len(list) == page {
				return errEnough
			}
			return nil
		})
		if err != nil {
			return false, err
		}
		for i := range list {
			after, c.last = list[i].id, list[i].id
			if err := c.take(&list[i]); err != nil || len(c.taken) >= c.Limit {
				return err == nil, err
			}
		}
		if len(list) < page {
			return false, nil
		}
	}
}

// wait notes that something may be had at an instant.
func (c *claimer) wait(at time.Time) {
	if c.next.IsZero() || at.Before(c.next) {
		c.next = at
	}
}

// take takes what is due of one endpoint, as far as there is room, and notes when
// more may be had.
func (c *claimer) take(w *waiter) error {
	first := w.first()
	if w.state != webhook.EndpointActive || first > c.now && !c.next.IsZero() && !instant(first).Before(c.next) {
		return nil // nothing is to be had, nor before something else is
	}
	if _, ok := c.none[w.id]; ok {
		return nil
	}
	e, err := loadEndpoint(c.ctx, c.s, w.id)
	if err != nil {
		return err
	}
	if first > c.now {
		return c.later(e, w, 0)
	}
	running, over := 0, int64(0)
	if w.lease.Valid {
		if err := c.s.row(c.ctx, inFlight, []any{e.ID, c.now}, &running, &over); err != nil {
			return err
		}
	}
	now := instant(c.now)
	list, err := c.due(e, w, min(e.Room(now, running), c.Limit-len(c.taken)))
	switch {
	case err != nil:
		return err
	case len(list) == 0:
		c.none[e.ID] = struct{}{}
		return c.later(e, w, over)
	case !c.handsOut:
		return errDue
	}
	if err := c.claim(list); err != nil {
		return err
	}
	e.Claimed(now, len(list))
	c.from[e.ID] = e
	if until := micros(now.Add(c.Lease)); over == 0 || until < over {
		over = until
	}
	if err := c.s.row(c.ctx, nextWaiting, []any{e.ID}, &w.due, &w.lease); err != nil {
		return err
	}
	return c.later(e, w, over)
}

// claim makes deliveries the claimer's.
func (c *claimer) claim(list []ready) error {
	n := len(c.taken)
	for _, d := range list {
		c.taken = append(c.taken, d.seq)
	}
	return c.s.exec(c.ctx, claimDeliveries, listOf(c.taken[n:]), c.Token, micros(instant(c.now).Add(c.Lease)))
}

// later notes when more may be had of e, of which w tells what waits, and whose first
// attempt of those being made is over at that instant; 0 when there is none.
func (c *claimer) later(e *loadedEndpoint, w *waiter, over int64) error {
	first := w.first()
	if e.Settings.Ordered {
		head, found, err := c.head(e.ID)
		if err != nil || !found {
			return err
		}
		first = head.at
	}
	next := instant(first)
	if ready := e.ReadyAt(); ready.After(next) {
		next = ready
	}
	if !next.After(instant(c.now)) && over > 0 {
		next = instant(over) // there is no room before
	}
	c.wait(next)
	return nil
}

// A ready is a delivery that can be handed out, and since when.
type ready struct{ seq, at int64 }

// due returns up to room deliveries of e that are due, those that were first.
func (c *claimer) due(e *loadedEndpoint, w *waiter, room int) ([]ready, error) {
	if room <= 0 {
		return nil, nil
	}
	if e.Settings.Ordered {
		head, found, err := c.head(e.ID)
		if err != nil || !found || head.at > c.now {
			return nil, err
		}
		return []ready{head}, nil
	}
	list, err := c.ready(nil, duePending, e.ID, c.now, room)
	if err == nil && w.lease.Valid {
		list, err = c.ready(list, dueLeases, e.ID, c.now, room)
	}
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b ready) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.seq, b.seq)) })
	return list[:min(room, len(list))], nil
}

// head returns the first delivery of an endpoint that has not ended.
func (c *claimer) head(endpoint string) (head ready, found bool, err error) {
	var list []ready
	for _, query := range [...]string{headPending, headLease} {
		if list, err = c.ready(list, query, endpoint); err != nil {
			return head, false, err
		}
	}
	for _, d := range list {
		if !found || d.seq < head.seq {
			head, found = d, true
		}
	}
	return head, found, nil
}

// ready appends what a query finds.
func (c *claimer) ready(list []ready, query string, args ...any) ([]ready, error) {
	err := c.s.rows(c.ctx, query, args, func(rows *sql.Rows) error {
		var d ready
		if err := rows.Scan(&d.seq, &d.at); err != nil {
			return fault(c.ctx, err)
		}
		list = append(list, d)
		return nil
	})
	return list, err
}

// handOut writes the endpoints and returns what was taken.
func (c *claimer) handOut() ([]webhook.Claimed, error) {
	if len(c.taken) == 0 {
		return nil, nil
	}
	for _, e := range c.from {
		if err := e.store(c.ctx, c.s); err != nil {
			return nil, err
		}
	}
	rows := make([]deliveryOf, 0, len(c.taken))
	var wanted []int64 // messages
	messages := make(map[int64]*webhook.Message)
	err := c.s.texts(c.ctx, deliveriesClaimed, []any{listOf(c.taken)}, func(text string) error {
		row, err := unpackDelivery(text)
		if err != nil {
			return err
		}
		if messages[row.message] == nil {
			messages[row.message] = new(webhook.Message)
			wanted = append(wanted, row.message)
		}
		rows = append(rows, row)
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = c.s.rows(c.ctx, messagesNamed, []any{listOf(wanted)}, func(rows *sql.Rows) error {
		var text string
		var payload []byte
		if err := rows.Scan(&text, &payload); err != nil {
			return fault(c.ctx, err)
		}
		seq, m, err := unpackMessage(text, payload)
		if err == nil {
			*messages[seq] = m
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	claimed := make([]webhook.Claimed, len(rows))
	for i, row := range rows {
		claimed[i] = webhook.Claimed{Delivery: row.Delivery, Endpoint: &c.from[row.Endpoint].Endpoint, Message: messages[row.message]}
	}
	return claimed, nil
}

// listOf returns numbers as json_each takes them.
func listOf(numbers []int64) string {
	list := []byte{'['}
	for i, n := range numbers {
		if i > 0 {
			list = append(list, ',')
		}
		list = strconv.AppendInt(list, n, 10)
	}
	return string(append(list, ']'))
}
