package pgstore

import (
	"context"
	"encoding/json"
	"net/netip"

	"github.com/keytoll/keytoll/apikey"
)

// Events implements [apikey.Store].
func (k keys) Events(ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !storable(q.Owner) || !storable(q.Key) || !storable(string(q.Kind)) || !storable(q.After.Owner) {
		return nil, nil
	}
	query, args := k.db.sql.eventPage(&q)
	var list []apikey.Event
	n, err := k.db.read(ctx, k.db.planned, query, func(row int, columns [][]byte) error {
		e, err := event(columns)
		list = append(list[:row], e)
		return err
	}, args...)
	if err != nil {
		return nil, err
	}
	return list[:n], nil
}

// event returns the event in columns, which are eventColumns.
func event(c [][]byte) (apikey.Event, error) {
	e := apikey.Event{
		Owner: string(c[0]), Seq: number(c[1]), At: instant(c[2]), Kind: apikey.EventKind(c[3]), Key: string(c[4]),
		Actor: apikey.Actor{ID: string(c[5])}, Note: string(c[8]), Count: number(c[9]),
	}
	copy(e.Sum[:], c[10])
	if len(c[6]) > 0 {
		ip, err := netip.ParseAddr(string(c[6]))
		if err != nil {
			return apikey.Event{}, unreadable("event", "actor_ip", err)
		}
		e.Actor.IP = ip
	}
	if string(c[7]) != "[]" {
		if err := json.Unmarshal(c[7], &e.Changes); err != nil {
			return apikey.Event{}, unreadable("event", "changes", err)
		}
	}
	return e, nil
}
