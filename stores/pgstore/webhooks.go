package pgstore

import (
	"context"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/keytoll/keytoll/webhook"
)

// WebhooksOptions are the choices of [DB.Webhooks]. The zero value, and nil, are
// the defaults.
type WebhooksOptions struct {
	// Now tells the time of each decision, and is for tests. Nil is the server's
	// clock, read under the locks, which all programs share. It must be safe for
	// concurrent use.
	Now func() time.Time
}

// A WebhookStore keeps endpoints, messages and deliveries in PostgreSQL. Make one
// with [DB.Webhooks]; it is safe for concurrent use, and works as long as its DB is
// open.
//
// Calls that lock endpoints do so for two round trips. The server ends them, with
// their connection, when the client says nothing in between for 15 seconds, so that a
// machine that is gone without a word holds up no endpoint for longer.
type WebhookStore struct {
	db  *DB
	now func() time.Time // nil: the server's clock
}

var _ webhook.Store = (*WebhookStore)(nil)

// Webhooks returns a store of the webhooks of the schema, which all stores of it
// share, in however many processes.
func (db *DB) Webhooks(options *WebhooksOptions) *WebhookStore {
	s := &WebhookStore{db: db}
	if options != nil {
		s.now = options.Now
	}
	return s
}

// Change implements [webhook.Store], in two round trips: the first locks the
// endpoint's row and reads it, the second writes and commits. Of two who make the
// same endpoint in the same moment, the second begins again, and finds it.
func (s *WebhookStore) Change(ctx context.Context, id string, fn func(now time.Time, e *webhook.Endpoint) error) error {
	return s.db.turns(ctx, func(t *turn) error {
		w := webhookWork{turn: t, store: s}
		var ids array
		ids.text(id)
		if err := w.load(ctx, &ids, new(array), new(array)); err != nil {
			return err
		}
		e := w.endpoint(id)
		rows := &w.endpoints
		if e == nil {
			e = &loadedEndpoint{was: webhook.Endpoint{ID: id}}
			e.ID = id
			rows = &w.added
		}
		if err := fn(w.now, &e.Endpoint); err != nil {
			t.refused = true
			return err
		}
		if e.State == 0 {
			return nil
		}
		if err := e.write(rows, w.now); err != nil {
			return err
		}
		return w.write(ctx, nil)
	})
}

// A webhookWork is one turn of a claim, a settlement or a change.
type webhookWork struct {
	*turn
	store *WebhookStore
	now   time.Time
	types webhookTypes

	found []*loadedEndpoint
	rows  []foundDelivery

	added, endpoints, deliveries, attempts table // to be written
	places                                 array // of deliveries
}

// webhookTypes are the numbers that the database has for the types of the tables'
// rows.
type webhookTypes struct{ endpoints, deliveries, attempts uint32 }

// A foundDelivery is a delivery with the place of its row.
type foundDelivery struct {
	webhook.Delivery
	place  place
	number int // of the settlement, from 0
}

// begin takes the first row of the functions webhooks_waiting and webhooks_cases:
// the time, and the types of the tables.
func (w *webhookWork) begin(row []byte) error {
	if len(row) != 8+3*4 {
		return errRow
	}
	w.now = time.UnixMicro(int64(binary.BigEndian.Uint64(row))).UTC()
	for i, into := range [...]*uint32{&w.types.endpoints, &w.types.deliveries, &w.types.attempts} {
		*into = binary.BigEndian.Uint32(row[8+4*i:])
	}
	for _, t := range [...]struct {
		table   *table
		columns uint32
	}{{&w.added, endpointColumns}, {&w.endpoints, endpointColumns}, {&w.deliveries, deliveryColumns}, {&w.attempts, attemptColumns}} {
		t.table.columns = t.columns
	}
	return nil
}

// The kinds of rows of those functions.
const (
	beginKind    = 0
	endpointKind = 1
	deliveryKind = 2
	endKind      = 3
)

// load locks and reads endpoints, and deliveries of theirs.
func (w *webhookWork) load(ctx context.Context, ids, caseEndpoints, caseMessages *array) error {
	err := w.ask(ctx, w.store.db.sql.webhookCases, clock(w.store.now),
		ids.of(pgtype.TextOID), caseEndpoints.of(pgtype.TextOID), caseMessages.of(pgtype.TextOID))
	if err != nil {
		return err
	}
	return w.send(ctx, func(n int, c [][]byte) error {
		if n != w.before {
			return nil
		}
		switch small(c[0]) {
		case beginKind:
			return w.begin(c[1])
		case endpointKind:
			e, err := loadEndpoint(c[1])
			w.found = append(w.found, e)
			return err
		case deliveryKind:
			d := foundDelivery{number: int(number(c[3])) - 1}
			copy(d.place[:], c[2])
			d.Type = string(c[4])
			err := readDelivery(c[1], &d.Delivery)
			w.rows = append(w.rows, d)
			return err
		}
		return errRow
	})
}

// endpoint returns the endpoint of that id, or nil. They are found in the order of
// their ids.
func (w *webhookWork) endpoint(id string) *loadedEndpoint {
	i, ok := slices.BinarySearchFunc(w.found, id, func(e *loadedEndpoint, id string) int { return strings.Compare(e.was.ID, id) })
	if !ok {
		return nil
	}
	return w.found[i]
}

// settle adds a delivery that is to be written where it was found.
func (w *webhookWork) settle(d *webhook.Delivery, at place) {
	writeDelivery(&w.deliveries, d)
	w.places.place(at)
}

// write writes what was gathered, and commits. What else was asked before comes
// with it.
func (w *webhookWork) write(ctx context.Context, scan func(statement int, columns [][]byte) error) error {
	if _, err := w.askWrite(ctx); err != nil {
		return err
	}
	return w.finish(ctx, scan)
}

// askWrite adds the statement that writes what was gathered, if anything was, and
// returns how many that are.
func (w *webhookWork) askWrite(ctx context.Context) (int, error) {
	if w.added.n+w.endpoints.n+w.deliveries.n+w.attempts.n == 0 {
		return 0, nil
	}
	err := w.ask(ctx, w.store.db.sql.writeWebhooks, w.added.of(w.types.endpoints), w.endpoints.of(w.types.endpoints),
		w.deliveries.of(w.types.deliveries), w.places.of(pgtype.TIDOID), w.attempts.of(w.types.attempts))
	for _, a := range [...]*array{&w.added.array, &w.endpoints.array, &w.deliveries.array, &w.attempts.array, &w.places} {
		a.reset()
	}
	return 1, err
}

// Prune implements [webhook.Store]. Messages that somebody is busy with are left to
// the next.
func (s *WebhookStore) Prune(ctx context.Context, before time.Time, limit int) (int, error) {
	return s.count(ctx, s.db.sql.pruneWebhooks, bigint(before.UnixMicro()), bigint(int64(limit)))
}

// Move implements [webhook.Store], in one round trip.
func (s *WebhookStore) Move(ctx context.Context, m webhook.Move) (int, error) {
	var from array
	for _, state := range m.From {
		from.number(int64(state))
	}
	manual := []byte{0}
	if m.Manual {
		manual[0] = 1
	}
	since := int64(math.MinInt64)
	if !m.Since.IsZero() {
		since = stored(m.Since.Add(time.Microsecond - 1)).Time.UnixMicro()
	}
	return s.count(ctx, s.db.sql.moveWebhooks, clock(s.now), []byte(m.Endpoint), []byte(m.Message), bigint(since),
		from.of(pgtype.Int8OID), bigint(int64(m.To)), manual, bigint(int64(m.Limit)))
}

// count runs a statement in a turn of its own, and returns the number that it
// answers.
func (s *WebhookStore) count(ctx context.Context, statement string, arguments ...[]byte) (int, error) {
	n := 0
	err := s.db.once(ctx, statement, func(c [][]byte) { n = int(number(c[0])) }, arguments...)
	if err != nil {
		return 0, err
	}
	return n, nil
}
