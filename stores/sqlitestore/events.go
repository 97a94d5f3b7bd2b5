package sqlitestore

import (
	"context"
	"database/sql"
	"encoding/json"
	"math"
	"net/netip"
	"strings"
	"unicode/utf8"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

const (
	lastEvent = `SELECT events, head FROM owners WHERE id = ?1`
	noteEvent = `UPDATE owners SET events = ?2, head = ?3 WHERE id = ?1`

	eventColumns = `owner, seq, at, kind, key, actor, actor_ip, changes, note, count, sum`

	insertEvent = `INSERT INTO events (` + eventColumns + `)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)`
)

// A chain is where the events of one owner have got to.
type chain struct {
	seq  int64
	head []byte
}

// append gives every event its place behind the owner's last.
func (keys) append(ctx context.Context, s *session, events []apikey.Event) error {
	chains := make(map[string]*chain)
	for _, e := range events {
		c := chains[e.Owner]
		if c == nil {
			c = new(chain)
			if err := s.row(ctx, lastEvent, []any{e.Owner}, &c.seq, &c.head); err != nil {
				return err
			}
			chains[e.Owner] = c
		}
		e.Seq = c.seq + 1
		e.Sum = e.Link([32]byte(c.head))
		row, err := eventRow(&e)
		if err == nil {
			err = s.exec(ctx, insertEvent, row...)
		}
		if err != nil {
			return err
		}
		c.seq, c.head = e.Seq, e.Sum[:]
	}
	for owner, c := range chains {
		if err := s.replace(ctx, noteEvent, owner, c.seq, c.head); err != nil {
			return err
		}
	}
	return nil
}

// eventRow returns the values of eventColumns.
func eventRow(e *apikey.Event) ([]any, error) {
	changes := []byte("[]")
	if len(e.Changes) > 0 {
		for _, c := range e.Changes {
			if !utf8.ValidString(c.Field) || !utf8.ValidString(c.Before) || !utf8.ValidString(c.After) { // JSON would hold another text
				return nil, &errors.Error{Code: errors.Invalid, Msg: "the event's change of a field is not UTF-8"}
			}
		}
		var err error
		if changes, err = json.Marshal(e.Changes); err != nil {
			return nil, err
		}
	}
	ip := ""
	if e.Actor.IP.IsValid() {
		ip = e.Actor.IP.String()
	}
	return []any{e.Owner, e.Seq, micros(e.At), string(e.Kind), e.Key, e.Actor.ID, ip, string(changes), e.Note, e.Count, e.Sum[:]}, nil
}

// Events implements [apikey.Store].
func (k keys) Events(ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
	query, args := eventQuery(&q)
	var list []apikey.Event
	err := k.db.read(ctx, func(s *session) error {
		return s.rows(ctx, query, args, func(rows *sql.Rows) error {
			e, err := readEvent(ctx, rows)
			if err != nil {
				return err
			}
			list = append(list, e)
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// eventQuery returns the statement for q, and its arguments.
func eventQuery(q *apikey.EventQuery) (string, []any) {
	var b strings.Builder
	b.WriteString(`SELECT ` + eventColumns + ` FROM events`)
	if q.Key != "" && !q.AnyOwner {
		b.WriteString(` INDEXED BY events_of_key_of_owner`) // the planner would rather read all of the owner's
	}
	b.WriteString(` WHERE `)
	direction, later := ` DESC`, `<`
	at, owner, seq := int64(math.MaxInt64), "", int64(math.MaxInt64)
	if q.OldestFirst {
		direction, later = ``, `>`
		at, seq = math.MinInt64, math.MinInt64
	}
	if q.After != (apikey.EventCursor{}) {
		at, owner, seq = micros(q.After.At), q.After.Owner, q.After.Seq
		if n := ceiling(q.After.At); n != at && q.AnyOwner {
			at, owner, seq = n, "", math.MinInt64 // between two microseconds
		}
	}
	args := []any{at, owner, seq, q.Owner, q.Key, string(q.Kind), before(q.Until), q.Limit}
	if q.AnyOwner {
		b.WriteString(`(at, owner, seq) ` + later + ` (?1, ?2, ?3)`)
	} else {
		b.WriteString(`owner = ?4 AND seq ` + later + ` ?3`)
	}
	if q.Key != "" {
		b.WriteString(` AND key = ?5 AND key <> ''`) // the index has no others
	}
	if q.Kind != "" {
		b.WriteString(` AND kind = ?6`)
	}
	if !q.Until.IsZero() {
		b.WriteString(` AND at < ?7`)
	}
	if q.AnyOwner {
		b.WriteString(` ORDER BY at` + direction + `, owner` + direction + `, seq` + direction)
	} else {
		b.WriteString(` ORDER BY seq` + direction)
	}
	b.WriteString(` LIMIT +?8`)
	return b.String(), args
}

// readEvent reads eventColumns.
func readEvent(ctx context.Context, rows *sql.Rows) (apikey.Event, error) {
	var e apikey.Event
	var at int64
	var ip, changes string
	var sum []byte
	err := rows.Scan(&e.Owner, &e.Seq, &at, &e.Kind, &e.Key, &e.Actor.ID, &ip, &changes, &e.Note, &e.Count, &sum)
	if err != nil {
		return e, fault(ctx, err)
	}
	e.At = instant(at)
	copy(e.Sum[:], sum)
	if ip != "" {
		e.Actor.IP, err = netip.ParseAddr(ip)
	}
	if err == nil && changes != "[]" {
		err = json.Unmarshal([]byte(changes), &e.Changes)
	}
	if err != nil {
		return e, &errors.Error{Code: errors.Corrupt, Msg: "a stored event cannot be read", Err: err}
	}
	return e, nil
}
