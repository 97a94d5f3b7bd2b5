package sqlitestore

import (
	"context"
	"database/sql"
	"os"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/webhook"
)

const (
	messageKnown = `SELECT account = ?2 AND type = ?3 AND endpoint = ?4 AND content_type = ?5 AND payload = ?6, at, deliveries
		FROM webhook_messages WHERE id = ?1`

	takers      = `SELECT concat(octet_length(id), ' ', id, events) AS taker FROM webhook_endpoints WHERE account = ?1 AND state < 3 ORDER BY id`
	takerByName = `SELECT count(*) FROM webhook_endpoints WHERE id = ?1 AND account = ?2 AND state < 3`

	insertMessage = `INSERT INTO webhook_messages (id, account, type, endpoint, content_type, at, deliveries, payload)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING seq`
	insertDelivery = `INSERT INTO webhook_deliveries (message, endpoint, due, created_at) VALUES (?, ?, ?, ?)`
)

// Publish implements [webhook.Outbox].
func (w *WebhookStore) Publish(ctx context.Context, m webhook.Message) (webhook.Publication, error) {
	var p webhook.Publication
	err := w.write(ctx, func(ctx context.Context, s *session, now time.Time) (err error) {
		p, err = publish(ctx, s, m, now)
		return err
	})
	if err != nil {
		return webhook.Publication{}, err
	}
	return p, nil
}

// publish files m and its deliveries.
func publish(ctx context.Context, s *session, m webhook.Message, now time.Time) (webhook.Publication, error) {
	p := webhook.Publication{ID: m.ID, At: now}
	payload := m.Payload
	if payload == nil {
		payload = []byte{}
	}
	var same bool
	var at int64
	err := s.row(ctx, messageKnown, []any{m.ID, m.Account, m.Type, m.Endpoint, m.ContentType, payload}, &same, &at, &p.Deliveries)
	if err == nil {
		if !same {
			return p, webhook.ErrIntent
		}
		p.At, p.Replayed = instant(at), true
		return p, nil
	}
	if !isNoRows(err) {
		return p, err
	}
	to, err := recipients(ctx, s, &m)
	if err != nil {
		return p, err
	}
	p.Deliveries = len(to)
	var seq int64
	err = s.row(ctx, insertMessage, []any{m.ID, m.Account, m.Type, m.Endpoint, m.ContentType, micros(now), len(to), payload}, &seq)
	if err != nil {
		return p, err
	}
	const columns = 4
	args := make([]any, 0, columns*len(to))
	for _, endpoint := range to {
		args = append(args, seq, endpoint, micros(now), micros(now))
	}
	return p, s.insert(ctx, insertDelivery, columns, args)
}

// recipients returns the endpoints that m goes to, in ascending order.
func recipients(ctx context.Context, s *session, m *webhook.Message) ([]string, error) {
	if m.Endpoint != "" {
		var n int
		if err := s.row(ctx, takerByName, []any{m.Endpoint, m.Account}, &n); err != nil {
			return nil, err
		}
		if n == 0 {
			return nil, webhook.ErrNotFound
		}
		return []string{m.Endpoint}, nil
	}
	var to []string
	err := s.texts(ctx, takers, []any{m.Account}, func(text string) error {
		p := packed{rest: text}
		e := webhook.Endpoint{ID: p.text(p.number())}
		if p.err != nil {
			return p.done("webhook endpoint")
		}
		if err := fromJSON(p.rest, &e.Settings.Events); err != nil {
			return err
		}
		if e.Takes(m.Type) {
			to = append(to, e.ID)
		}
		return nil
	})
	return to, err
}

// In returns the store's outbox in a transaction of the host's own: what it
// publishes is there when tx commits, together with everything else that tx wrote,
// and never was if it does not.
//
// tx is of a connection of the host's to the same file, by the driver of
// modernc.org/sqlite, which importing this package registers as "sqlite". It must
// have begun with BEGIN IMMEDIATE, which that driver does when the connection is
// opened with _txlock=immediate: a transaction that reads first and wants to write
// later fails when anybody wrote between. Open the connection with a _busy_timeout
// too, for the moments in which this package writes. Migrate comes before; tx must
// see its tables ([ErrNotMigrated]).
//
// Until tx ends, all writes of this package wait, up to [Options.BusyTimeout]: keep
// tx short, and call nothing of this package in between that writes, but the
// outbox. A Publish that fails leaves tx as it was, unless the database ended it.
// The sender learns of the message when it looks next, after at most
// [webhook.SenderOptions.Poll], or when [webhook.Sender.Wake] is called.
func (w *WebhookStore) In(tx *sql.Tx) webhook.Outbox { return outbox{w, tx} }

// outbox publishes in a transaction of the host's own.
type outbox struct {
	store *WebhookStore
	tx    *sql.Tx
}

// Publish implements [webhook.Outbox].
func (o outbox) Publish(ctx context.Context, m webhook.Message) (p webhook.Publication, err error) {
	if err := ctx.Err(); err != nil {
		return p, err
	}
	ctx = context.WithoutCancel(ctx) // what is interrupted may end the whole transaction
	s := &session{prepare: o.tx.PrepareContext, stmts: make(map[string]*sql.Stmt), bulks: make(map[string][]string)}
	defer func() { _ = s.forget() }() // the end of tx does it otherwise
	if err := o.check(ctx, s); err != nil {
		return p, err
	}
	if err := s.exec(ctx, "SAVEPOINT keytoll_publish"); err != nil {
		return p, err
	}
	p, err = publish(ctx, s, m, o.store.clock())
	if err != nil {
		if undone := s.exec(ctx, "ROLLBACK TO keytoll_publish"); undone != nil && primary(err) == 0 {
			err = undone
		}
	}
	if ended := s.exec(ctx, "RELEASE keytoll_publish"); err == nil {
		err = ended
	}
	if isBusy(err) {
		err = &errors.Error{Code: errors.Unavailable, Msg: "the transaction has no right to write; begin it with BEGIN IMMEDIATE (_txlock=immediate) and a _busy_timeout", Err: err}
	}
	if err != nil {
		return webhook.Publication{}, err
	}
	return p, nil
}

// check returns nil if the transaction is of the store's file and sees the tables
// that this version knows.
func (o outbox) check(ctx context.Context, s *session) error {
	var name string
	err := s.row(ctx, `SELECT file FROM pragma_database_list WHERE name = 'main'`, nil, &name)
	if errors.Is(err, sql.ErrTxDone) {
		return &errors.Error{Code: errors.Conflict, Msg: "the transaction is over", Err: err}
	}
	if err != nil {
		return err
	}
	if name != o.store.db.path {
		theirs, err1 := os.Stat(name)
		ours, err2 := os.Stat(o.store.db.path)
		if err1 != nil || err2 != nil || !os.SameFile(theirs, ours) {
			return &errors.Error{Code: errors.Invalid, Msg: "the transaction is of another database than the store"}
		}
	}
	return checkSchema(ctx, s)
}
