package pgstore

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/webhook"
)

// Publish implements [webhook.Outbox], in two round trips: the first reads which
// endpoints the account has, the second files the message, the deliveries to those
// that take it and are not deleted by then, and commits. It locks nothing that
// others need but the message's own ID.
func (s *WebhookStore) Publish(ctx context.Context, m webhook.Message) (webhook.Publication, error) {
	p := publishing{store: s, message: &m}
	return p.answer(s.db.turns(ctx, func(t *turn) error { return p.run(ctx, t) }))
}

// In returns an outbox in a transaction of the caller's, so that a message is
// published if and when rows of the caller's own are committed:
//
//	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
//		if _, err := tx.Exec(ctx, "INSERT INTO images ..."); err != nil {
//			return err
//		}
//		_, err := sender.PublishIn(ctx, store.In(tx), message)
//		return err
//	})
//	sender.Wake()
//
// Each publication is a savepoint: one that is refused or fails leaves the
// transaction as it was. However long the transaction takes, no delivery and no
// other publisher waits for it, but for one of the same message ID, which cannot
// know before whether there is such a message.
//
// A message goes to the endpoints that the transaction sees: at the levels above
// read committed those of when it began. At those levels, and when transactions
// publish the same IDs in different orders, the server may undo the transaction:
// such an error, of code Unavailable, has an SQLSTATE of 40001 or 40P01, reachable
// as a [*pgconn.PgError], and the caller begins again with a new transaction and the
// same IDs.
//
// The outbox is the caller's for as long as the transaction, and like that for one
// goroutine at a time.
func (s *WebhookStore) In(tx pgx.Tx) webhook.Outbox { return webhooksIn{s, tx} }

type webhooksIn struct {
	store *WebhookStore
	tx    pgx.Tx
}

// Publish implements [webhook.Outbox].
func (o webhooksIn) Publish(ctx context.Context, m webhook.Message) (webhook.Publication, error) {
	p := publishing{store: o.store, message: &m}
	sql := &o.store.db.sql
	statements := []string{sql.webhookTakers, sql.publishWebhook}
	return p.answer(o.store.db.turnsIn(ctx, o.tx, statements, func(t *turn) error { return p.run(ctx, t) }))
}

// A publishing is one call of Publish.
type publishing struct {
	store    *WebhookStore
	message  *webhook.Message
	outcome  int
	answered webhook.Publication
}

// The outcomes of the function webhooks_publish.
const (
	publishedNow    = 1
	publishedBefore = 2
	publishedOther  = 3
	publishedNoway  = 4
)

// run is one try.
func (p *publishing) run(ctx context.Context, t *turn) error {
	m, sql := p.message, &p.store.db.sql
	if err := t.ask(ctx, sql.webhookTakers, []byte(m.Account), []byte(m.Endpoint)); err != nil {
		return err
	}
	var takers array
	err := t.send(ctx, func(n int, c [][]byte) error {
		if n != t.before {
			return nil
		}
		events, err := eventsOf(c[1])
		e := webhook.Endpoint{Settings: webhook.Settings{Events: events}}
		if m.Endpoint != "" || e.Takes(m.Type) {
			takers.text(string(c[0]))
		}
		return err
	})
	if err != nil {
		return err
	}
	targeted := []byte{0}
	if m.Endpoint != "" {
		targeted[0] = 1
	}
	payload := m.Payload
	if payload == nil {
		payload = []byte{}
	}
	err = t.ask(ctx, sql.publishWebhook, clock(p.store.now), []byte(m.ID), []byte(m.Account), []byte(m.Type), []byte(m.Endpoint),
		[]byte(m.ContentType), payload, takers.of(pgtype.TextOID), targeted)
	if err != nil {
		return err
	}
	return t.finish(ctx, func(n int, c [][]byte) error {
		if n == 0 {
			p.outcome = small(c[0])
			p.answered = webhook.Publication{ID: m.ID, At: micros(c[1]), Deliveries: int(number(c[2])), Replayed: p.outcome == publishedBefore}
		}
		return nil
	})
}

// answer returns what came of it.
func (p *publishing) answer(err error) (webhook.Publication, error) {
	const op = "pgstore.Publish"
	switch {
	case err != nil:
	case p.outcome == publishedOther:
		err = errors.Wrap(op, webhook.ErrIntent)
	case p.outcome == publishedNoway:
		err = errors.Wrap(op, webhook.ErrNotFound)
	default:
		return p.answered, nil
	}
	return webhook.Publication{}, err
}
