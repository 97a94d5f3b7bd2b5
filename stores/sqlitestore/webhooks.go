package sqlitestore

import (
	"bytes"
	"context"
	"encoding/json"
	"time"
	"unicode/utf8"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/webhook"
)

// A WebhookStore keeps the webhooks that are to be delivered: it is a
// [webhook.Store]. Make one with [DB.Webhooks].
type WebhookStore struct{ db *DB }

var _ webhook.Store = (*WebhookStore)(nil)

// Webhooks returns the file's store of endpoints, messages and deliveries. It
// works as long as db is open. All processes on the file share it.
func (db *DB) Webhooks() *WebhookStore { return &WebhookStore{db} }

// write runs fn in the writer's turn, at the time that it is then.
func (w *WebhookStore) write(ctx context.Context, fn func(ctx context.Context, s *session, now time.Time) error) error {
	return w.db.writeNow(ctx, func(ctx context.Context, s *session, now int64) error { return fn(ctx, s, instant(now)) })
}

// clock returns the store's time to the microsecond.
func (w *WebhookStore) clock() time.Time { return instant(micros(w.db.now())) }

const (
	// See keyColumns for how rows are packed.
	endpointRow = `concat(e.state, ' ', e.reason, ' ', e.created_at, ' ', e.updated_at, ' ',
		octet_length(e.id), ' ', octet_length(e.account), ' ', octet_length(e.events), ' ', octet_length(e.settings), ' ', octet_length(e.health), ' ',
		hex(e.sealed), ' ', e.id, e.account, e.events, e.settings, e.health) AS endpoint`

	endpointByID       = `SELECT ` + endpointRow + ` FROM webhook_endpoints e WHERE e.id = ?1 AND (?2 = '' OR e.account = ?2) AND e.id > ?3`
	endpointsAfter     = `SELECT ` + endpointRow + ` FROM webhook_endpoints e WHERE e.id > ?1 AND e.state < 3 ORDER BY e.id LIMIT +?2`
	endpointsOfAccount = `SELECT ` + endpointRow + ` FROM webhook_endpoints e WHERE e.account = ?3 AND e.id > ?1 AND e.state < 3 ORDER BY e.id LIMIT +?2`

	upsertEndpoint = `INSERT INTO webhook_endpoints (id, account, state, reason, created_at, updated_at, events, settings, health, sealed)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET account = excluded.account, state = excluded.state, reason = excluded.reason,
		created_at = excluded.created_at, updated_at = excluded.updated_at,
		events = excluded.events, settings = excluded.settings, health = excluded.health, sealed = excluded.sealed`
)

// A loadedEndpoint is an endpoint and what its row held.
type loadedEndpoint struct {
	webhook.Endpoint
	was endpointTexts
}

// endpointTexts are the columns that a row of an endpoint is compared by.
type endpointTexts struct {
	account, events, settings, health string
	sealed                            []byte
	state                             webhook.EndpointState
	reason                            webhook.DisableReason
	created, updated                  int64
}

func (a *endpointTexts) equal(b *endpointTexts) bool {
	return a.state == b.state && a.reason == b.reason && a.created == b.created && a.updated == b.updated && a.account == b.account &&
		a.events == b.events && a.settings == b.settings && a.health == b.health && bytes.Equal(a.sealed, b.sealed)
}

// loadEndpoint returns the endpoint of this id, or a zero one with only ID set.
func loadEndpoint(ctx context.Context, s *session, id string) (*loadedEndpoint, error) {
	var text string
	err := s.row(ctx, endpointByID, []any{id, "", ""}, &text)
	if isNoRows(err) {
		return &loadedEndpoint{Endpoint: webhook.Endpoint{ID: id}}, nil
	}
	if err != nil {
		return nil, err
	}
	return unpackEndpoint(text)
}

// unpackEndpoint reads an endpointRow.
func unpackEndpoint(text string) (*loadedEndpoint, error) {
	p := packed{rest: text}
	e := new(loadedEndpoint)
	was := &e.was
	was.state, was.reason = webhook.EndpointState(p.number()), webhook.DisableReason(p.number())
	was.created, was.updated = p.number(), p.number()
	id, account, events, settings, health := p.number(), p.number(), p.number(), p.number(), p.number()
	was.sealed = p.blob()
	e.ID, was.account, was.events, was.settings, was.health = p.text(id), p.text(account), p.text(events), p.text(settings), p.text(health)
	if err := p.done("webhook endpoint"); err != nil {
		return nil, err
	}
	e.Account, e.State, e.Reason = was.account, was.state, was.reason
	e.CreatedAt, e.UpdatedAt = instant(was.created), instant(was.updated)
	e.Sealed = bytes.Clone(was.sealed)
	for _, column := range []struct {
		text string
		into any
	}{{was.settings, &e.Settings}, {was.health, &e.Health}, {was.events, &e.Settings.Events}} {
		if err := fromJSON(column.text, column.into); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// fromJSON reads what toJSON wrote. A field that this version does not know would
// be lost when the row is written again, so it is refused.
func fromJSON(text string, into any) error {
	if text == "" {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return &errors.Error{Code: errors.Corrupt, Msg: "a stored webhook endpoint cannot be read", Err: err}
	}
	return nil
}

// store writes the endpoint if that changes its row.
func (e *loadedEndpoint) store(ctx context.Context, s *session) error {
	is, err := textsOf(&e.Endpoint)
	if err != nil || is.equal(&e.was) {
		return err
	}
	var sealed any
	if len(is.sealed) > 0 {
		sealed = is.sealed
	}
	return s.exec(ctx, upsertEndpoint, e.ID, is.account, int64(is.state), int64(is.reason), is.created, is.updated,
		is.events, is.settings, is.health, sealed)
}

// textsOf returns the columns of e's row.
func textsOf(e *webhook.Endpoint) (t endpointTexts, err error) {
	t = endpointTexts{
		account: e.Account, sealed: e.Sealed, state: e.State, reason: e.Reason,
		created: micros(e.CreatedAt), updated: micros(e.UpdatedAt),
	}
	if err := onlyUTF8(&e.Settings); err != nil {
		return t, err
	}
	settings, health := e.Settings, e.Health
	settings.Events = nil // has a column of its own
	for _, at := range []*time.Time{&health.BlockedUntil, &health.AskedUntil, &health.PacedUntil, &health.WindowAt, &health.FailingSince, &health.FailedAt} {
		*at = instant(micros(*at))
	}
	if t.settings, err = toJSON(settings); err != nil {
		return t, err
	}
	if health != (webhook.Health{}) {
		if t.health, err = toJSON(health); err != nil {
			return t, err
		}
	}
	if e.Settings.Events != nil {
		t.events, err = toJSON(e.Settings.Events)
	}
	return t, err
}

func toJSON(v any) (string, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return "", &errors.Error{Code: errors.Invalid, Msg: "the webhook endpoint cannot be stored", Err: err}
	}
	return string(text), nil
}

// onlyUTF8 returns nil if JSON can hold all texts of s as they are.
func onlyUTF8(s *webhook.Settings) error {
	ok := utf8.ValidString(s.URL) && utf8.ValidString(s.Note) && utf8.ValidString(s.TLS.RootCAs) && utf8.ValidString(s.TLS.Certificate)
	for _, filter := range s.Events {
		ok = ok && utf8.ValidString(filter)
	}
	for name, value := range s.Headers {
		ok = ok && utf8.ValidString(name) && utf8.ValidString(value)
	}
	if !ok {
		return &errors.Error{Code: errors.Invalid, Msg: "the webhook endpoint's settings are not UTF-8"}
	}
	return nil
}

// Change implements [webhook.Store].
func (w *WebhookStore) Change(ctx context.Context, id string, fn func(now time.Time, e *webhook.Endpoint) error) error {
	return w.write(ctx, func(ctx context.Context, s *session, now time.Time) error {
		e, err := loadEndpoint(ctx, s, id)
		if err != nil {
			return err
		}
		if err := fn(now, &e.Endpoint); err != nil {
			return err
		}
		if e.State == 0 {
			return nil
		}
		e.ID = id
		return e.store(ctx, s)
	})
}

// Endpoints implements [webhook.Store].
func (w *WebhookStore) Endpoints(ctx context.Context, q webhook.EndpointQuery) ([]webhook.Endpoint, error) {
	query, args := endpointsAfter, []any{q.After, q.Limit}
	switch {
	case q.ID != "":
		query, args = endpointByID, []any{q.ID, q.Account, q.After}
	case q.Account != "":
		query, args = endpointsOfAccount, append(args, q.Account)
	}
	var endpoints []webhook.Endpoint
	err := w.db.read(ctx, func(s *session) error {
		return s.texts(ctx, query, args, func(text string) error {
			e, err := unpackEndpoint(text)
			if err == nil {
				endpoints = append(endpoints, e.Endpoint)
			}
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return endpoints, nil
}
