package pgstore

import (
	"context"
	"slices"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

// Settle implements [webhook.Store], in two round trips: the first locks the rows
// of the endpoints, in the order of their ids, and then reads; the second writes
// and commits.
func (s *WebhookStore) Settle(ctx context.Context, settlements []webhook.Settlement, fn func(now time.Time, cases []webhook.Case) error) error {
	if len(settlements) == 0 {
		return s.db.ensureReady(ctx)
	}
	var ids, caseEndpoints, caseMessages array
	names := make([]string, len(settlements))
	for i := range settlements {
		names[i] = settlements[i].Endpoint
		caseEndpoints.text(settlements[i].Endpoint)
		caseMessages.text(settlements[i].Message)
	}
	slices.Sort(names) // the order of all locks
	for _, id := range slices.Compact(names) {
		ids.text(id)
	}
	return s.db.turns(ctx, func(t *turn) error {
		w := settling{webhookWork: webhookWork{turn: t, store: s}, settlements: settlements}
		if err := w.load(ctx, &ids, &caseEndpoints, &caseMessages); err != nil {
			return err
		}
		cases := w.open()
		if len(cases) == 0 {
			return nil
		}
		if err := fn(w.now, cases); err != nil {
			t.refused = true
			return err
		}
		if err := w.gather(cases); err != nil {
			return err
		}
		return w.write(ctx, nil)
	})
}

// A settling is one try of Settle.
type settling struct {
	webhookWork
	settlements []webhook.Settlement
	late        []bool // of the cases
}

// open returns the cases of what was loaded, in the order of the settlements.
func (w *settling) open() []webhook.Case {
	slices.SortFunc(w.rows, func(a, b foundDelivery) int { return a.number - b.number })
	// One whose endpoint is gone is as good as gone.
	w.rows = slices.DeleteFunc(w.rows, func(d foundDelivery) bool { return w.endpoint(d.Endpoint) == nil })
	cases := make([]webhook.Case, len(w.rows))
	w.late = make([]bool, len(w.rows))
	for i := range w.rows {
		d, e := &w.rows[i], w.endpoint(w.rows[i].Endpoint)
		d.Account = e.Account
		w.late[i] = d.State != webhook.DeliverySending || d.Token != w.settlements[d.number].Token
		cases[i] = webhook.Case{Settlement: &w.settlements[d.number], Endpoint: &e.Endpoint, Delivery: d.Delivery, Late: w.late[i]}
	}
	return cases
}

// gather takes what was decided.
func (w *settling) gather(cases []webhook.Case) error {
	for i := range w.rows {
		row, to := &w.rows[i], &cases[i].Delivery
		if !w.late[i] {
			d := row.Delivery
			d.State, d.Due, d.Tries, d.Attempt, d.Token, d.Lease = to.State, to.Due, to.Tries, to.Attempt, to.Token, to.Lease
			d.Failure, d.Manual, d.EndedAt = to.Failure, to.Manual, to.EndedAt
			w.settle(&d, row.place)
		}
		if s := &w.settlements[row.number]; s.Attempt.Number != 0 {
			writeAttempt(&w.attempts, s)
		}
	}
	for _, e := range w.found {
		if err := e.write(&w.endpoints, w.now); err != nil {
			return err
		}
	}
	return nil
}
