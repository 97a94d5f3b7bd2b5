package sqlitestore

import (
	"context"
	"database/sql"
	"math"
	"slices"
	"time"

	"github.com/keytoll/keytoll/apikey"
)

// The position ?1, ?2 is exclusive, ?3 the owner and ?4 the limit. ?5 to ?8 are
// effective states, ?9 is the environment, and ?10 to ?14 are LiveAt,
// ExpiresBefore, UnusedSince, SecretBefore and Unreplaced; null and no text do not
// restrict. ?15 to ?18 are the states of keys that may have an effective one
// among those, so that the owners of others need not be asked.
const (
	keysByAge         = `SELECT ` + keyColumns + keyTables + `WHERE (k.created_at, k.id) < (?1, ?2) AND (?11 IS NULL OR k.expires_at < ?11)` + keyFilter + newestFirst
	keysByOwner       = `SELECT ` + keyColumns + keyTables + `WHERE k.owner = ?3 AND (k.created_at, k.id) < (?1, ?2) AND (?11 IS NULL OR k.expires_at < ?11)` + keyFilter + newestFirst
	keysByEnd         = `SELECT ` + keyColumns + keyTables + `WHERE (k.expires_at, k.id) > (?1, ?2) AND k.expires_at < coalesce(?11, 9223372036854775807)` + keyFilter + soonestFirst
	keysByOwnerAndEnd = `SELECT ` + keyColumns + keyTables + `WHERE k.owner = ?3 AND (k.expires_at, k.id) > (?1, ?2) AND k.expires_at < coalesce(?11, 9223372036854775807)` + keyFilter + soonestFirst

	newestFirst  = ` ORDER BY k.created_at DESC, k.id DESC LIMIT +?4`
	soonestFirst = ` ORDER BY k.expires_at, k.id LIMIT +?4`

	keyFilter = ` AND k.state IN (?15, ?16, ?17, ?18)
		AND CASE WHEN k.epoch < o.epoch AND k.state <> 'deleted' THEN 'revoked' ELSE k.state END IN (?5, ?6, ?7, ?8)
		AND (?9 = '' OR k.environment = ?9)
		AND (?10 IS NULL OR k.expires_at IS NULL OR k.expires_at > ?10)
		AND (?12 IS NULL OR k.created_at < ?12 AND (k.last_used_at IS NULL OR k.last_used_at < ?12))
		AND (?13 IS NULL OR k.secret_at < ?13)
		AND (?14 IS NULL OR k.successor = '')`
)

// List implements [apikey.Store].
func (k keys) List(ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
	query, args := listQuery(&q)
	var list []apikey.Record
	err := k.db.read(ctx, func(s *session) error {
		return s.rows(ctx, query, args, func(rows *sql.Rows) error {
			var text string
			if err := rows.Scan(&text); err != nil {
				return fault(ctx, err)
			}
			rec, err := readRecord(text)
			if err == nil {
				list = append(list, rec)
			}
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// listQuery returns the statement for q, and its arguments. A page begins where
// the first key may stand that q selects: else it would read, for nothing, all
// that expired long ago or was made since.
func listQuery(q *apikey.Query) (string, []any) {
	at, id := micros(q.After.At), q.After.ID
	if n := ceiling(q.After.At); n != at {
		at, id = n, "" // between two microseconds: every key of one comes before, of the other after it
	}
	var query string
	switch q.Order {
	case apikey.SoonestFirst:
		if query = keysByEnd; q.Owner != "" {
			query = keysByOwnerAndEnd
		}
		if q.After.IsZero() {
			at = math.MinInt64
		}
		if live := micros(q.LiveAt) + 1; !q.LiveAt.IsZero() && live > at {
			at, id = live, ""
		}
	default:
		if query = keysByAge; q.Owner != "" {
			query = keysByOwner
		}
		if q.After.IsZero() {
			at = math.MaxInt64
		}
		if made := ceiling(q.UnusedSince); !q.UnusedSince.IsZero() && made <= at {
			at, id = made, ""
		}
	}
	var unreplaced any
	if q.Unreplaced {
		unreplaced = 1
	}
	args := appendStates([]any{at, id, q.Owner, q.Limit}, q.States)
	args = append(args, q.Environment, nullable(q.LiveAt), before(q.ExpiresBefore), before(q.UnusedSince), before(q.SecretBefore), unreplaced)
	return query, appendStates(args, storedStates(q.States))
}

// storedStates returns the states in which a key may be stored that has one of
// these with regard to its owner's epoch.
func storedStates(effective []apikey.State) []apikey.State {
	if slices.Contains(effective, apikey.StateRevoked) {
		return append([]apikey.State{apikey.StateActive, apikey.StateDisabled}, effective...)
	}
	return effective
}

// before is the argument for "earlier than t"; null for the zero time.
func before(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return ceiling(t)
}
