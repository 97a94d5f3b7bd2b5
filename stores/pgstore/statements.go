package pgstore

import (
	"fmt"
	"slices"
	"strings"

	"github.com/keytoll/keytoll/apikey"
)

// statements are the texts of what is asked of one schema.
type statements struct {
	schema, apply, touch, byHandle, byID, records, owner, events, census, version  string
	applyLimits, decideLimits, limitsAfter, sweepLimits, sweepSettled              string
	lockAccounts, readCredits, writeCredits, accountsAfter, entriesUp, entriesDown string
	account, lotsAfter, opsAfter, budgetsAfter, schedulesAfter                     string
	replayClaim, replayDone, replayRelease                                         string
	requestClaim, requestFinish, requestAbandon                                    string
	webhookCases, waitingWebhooks, writeWebhooks, messagesOf                       string
	webhookTakers, publishWebhook, moveWebhooks, pruneWebhooks                     string
	endpoints, deliveries, attemptsAfter, message                                  string
}

// applyArguments is the number of arguments of the function apply, and
// touchArguments that of touch, and so on.
const (
	applyArguments  = 56
	touchArguments  = 8
	readArguments   = 25
	writeArguments  = 16
	eventColumns    = `owner, seq, at, kind, key, actor, actor_ip, changes, note, count, sum`
	recordsTemplate = `SELECT k, o FROM keytoll.keys k JOIN keytoll.owners o ON o.id = k.owner WHERE `
)

func newStatements(schema string) statements {
	in := func(text string) string { return inSchema(schema, text) }
	return statements{
		schema:   schema,
		apply:    in(call("keytoll.apply", applyArguments)),
		touch:    in(call("keytoll.touch", touchArguments)),
		byHandle: in(recordsTemplate + `k.handle = $1`),
		byID:     in(recordsTemplate + `k.id = $1`),
		records:  in(recordsTemplate),
		owner:    in(`SELECT o FROM keytoll.owners o WHERE id = $1`),
		events:   in(`SELECT ` + eventColumns + ` FROM keytoll.events WHERE `),
		census: in(`SELECT digest_version, imported_scheme, count(*) FROM keytoll.keys
			WHERE state <> 'deleted' GROUP BY digest_version, imported_scheme`),
		applyLimits:  in(`SELECT * FROM keytoll.limits_apply($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`),
		decideLimits: in(`SELECT * FROM keytoll.limits_decide($1, $2, $3, $4, $5)`),
		limitsAfter: in(`SELECT key, name, algorithm, expires <= coalesce($5, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
			FROM keytoll.limits WHERE (key, name, algorithm) > ($1, $2, $3) ORDER BY key, name, algorithm LIMIT $4`),
		sweepSettled: in(`WITH gone AS (DELETE FROM keytoll.settled WHERE id IN (SELECT id FROM keytoll.settled
			WHERE until <= coalesce($1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
			ORDER BY until LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING id) SELECT count(*) FROM gone`),
		lockAccounts:   in(`SELECT keytoll.credits_lock($1)`),
		readCredits:    in(strings.Replace(call("keytoll.credits_read", readArguments), "SELECT", "SELECT * FROM", 1)),
		writeCredits:   in(call("keytoll.credits_write", writeArguments)),
		accountsAfter:  in(`SELECT id FROM keytoll.accounts WHERE id > $1 ORDER BY id LIMIT $2`),
		account:        in(`SELECT a FROM keytoll.accounts a WHERE id = $1`),
		entriesUp:      in(`SELECT e FROM keytoll.entries e WHERE account = $1 AND seq > $2 ORDER BY seq LIMIT $3`),
		entriesDown:    in(`SELECT e FROM keytoll.entries e WHERE account = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3`),
		lotsAfter:      in(`SELECT l FROM keytoll.lots l WHERE account = $1 AND id > $2 ORDER BY id LIMIT $3`),
		opsAfter:       in(`SELECT o FROM keytoll.ops o WHERE account = $1 AND id > $2 ORDER BY id LIMIT $3`),
		budgetsAfter:   in(`SELECT b FROM keytoll.budgets b WHERE account = $1 AND id > $2 ORDER BY id LIMIT $3`),
		schedulesAfter: in(`SELECT s FROM keytoll.schedules s WHERE account = $1 AND id > $2 ORDER BY id LIMIT $3`),
		sweepLimits:    in(`SELECT keytoll.limits_sweep($1, $2, $3, $4, $5)`),
		replayClaim:    in(`SELECT keytoll.replay_claim($1, $2, $3, $4)`),
		replayDone:     in(`SELECT keytoll.replay_done($1, $2, $3)`),
		replayRelease:  in(`SELECT keytoll.replay_release($1, $2)`),
		requestClaim:   in(`SELECT * FROM keytoll.idempotency_claim($1, $2, $3, $4, $5, $6)`),
		requestFinish:  in(`SELECT keytoll.idempotency_finish($1, $2, $3, $4, $5)`),
		requestAbandon: in(`SELECT keytoll.idempotency_abandon($1, $2)`),

		webhookCases:    in(`SELECT * FROM keytoll.webhooks_cases($1, $2, $3, $4)`),
		waitingWebhooks: in(`SELECT * FROM keytoll.webhooks_waiting($1, $2, $3, $4, $5)`),
		writeWebhooks:   in(`SELECT keytoll.webhooks_write($1, $2, $3, $4, $5)`),
		messagesOf:      in(`SELECT m FROM keytoll.webhooks_messages($1) m`),
		webhookTakers:   in(`SELECT * FROM keytoll.webhooks_takers($1, $2)`),
		publishWebhook:  in(`SELECT * FROM keytoll.webhooks_publish($1, $2, $3, $4, $5, $6, $7, $8, $9)`),
		moveWebhooks:    in(`SELECT keytoll.webhooks_move($1, $2, $3, $4, $5, $6, $7, $8)`),
		pruneWebhooks:   in(`SELECT keytoll.webhooks_prune($1, $2)`),
		endpoints:       in(`SELECT e FROM keytoll.endpoints e WHERE `),
		deliveries:      in(`SELECT * FROM keytoll.webhooks_deliveries($1, $2, $3, $4, $5)`),
		attemptsAfter: in(`SELECT a FROM keytoll.attempts a WHERE message = $1 AND endpoint = $2 AND number > $3
			ORDER BY message, endpoint, number LIMIT $4`),
		message: in(`SELECT m FROM keytoll.messages m WHERE id = $1`),

		version: in(`SELECT version::bigint, current_setting('client_encoding') FROM keytoll.schema_version WHERE id = 1`),
	}
}

// inSchema puts the name of the schema in the place of keytoll. A valid name
// needs no quotes but where it is a word of SQL.
func inSchema(schema, text string) string {
	return strings.ReplaceAll(text, "keytoll.", `"`+schema+`".`)
}

// call returns a call of a function with so many arguments.
func call(function string, arguments int) string {
	var b strings.Builder
	b.WriteString("SELECT " + function + "(")
	for i := range arguments {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "$%d", i+1)
	}
	return b.String() + ")"
}

// A filter gathers conditions and their arguments.
type filter struct {
	conditions []string
	args       []any
}

// where adds a condition with %d in the place of each argument's number.
func (f *filter) where(condition string, args ...any) {
	numbers := make([]any, len(args))
	for i, arg := range args {
		f.args = append(f.args, arg)
		numbers[i] = len(f.args)
	}
	f.conditions = append(f.conditions, fmt.Sprintf(condition, numbers...))
}

// list returns the statement for q, with nothing in it that q does not ask for,
// and its arguments.
func (s *statements) list(q *apikey.Query) (string, []any) {
	var f filter
	f.states(q.States)
	if q.Owner != "" {
		f.where(`k.owner = $%d`, q.Owner)
	}
	if q.Environment != "" {
		f.where(`k.environment = $%d`, q.Environment)
	}
	if !q.LiveAt.IsZero() {
		f.where(`(k.expires_at IS NULL OR k.expires_at > $%d)`, stored(q.LiveAt))
	}
	if !q.ExpiresBefore.IsZero() {
		f.where(`k.expires_at < $%d`, after(q.ExpiresBefore))
	}
	if !q.UnusedSince.IsZero() {
		f.where(`k.created_at < $%d AND (k.last_used_at IS NULL OR k.last_used_at < $%[1]d)`, after(q.UnusedSince))
	}
	if !q.SecretBefore.IsZero() {
		f.where(`k.secret_at < $%d`, after(q.SecretBefore))
	}
	if q.Unreplaced {
		f.where(`k.successor = ''`)
	}
	order := `k.created_at DESC, k.id DESC`
	if q.Order == apikey.SoonestFirst {
		order = `k.expires_at, k.id`
		f.where(`k.expires_at IS NOT NULL`)
	}
	if !q.After.IsZero() {
		f.follow(q.Order, q.After)
	}
	f.args = append(f.args, q.Limit)
	return fmt.Sprintf("%s%s ORDER BY %s LIMIT $%d", s.records, strings.Join(f.conditions, " AND "), order, len(f.args)), f.args
}

// states selects by effective state, in words that the planner can estimate.
func (f *filter) states(states []apikey.State) {
	has := func(s apikey.State) bool { return slices.Contains(states, s) }
	living := has(apikey.StateActive) && has(apikey.StateDisabled) && has(apikey.StateRevoked)
	switch {
	case living && has(apikey.StateDeleted):
		f.where(`true`)
	case living:
		f.where(`k.state <> 'deleted'`)
	case has(apikey.StateRevoked):
		f.where(`(k.state = ANY ($%d) OR k.state <> 'deleted' AND k.epoch < o.epoch)`, stateNames(states))
	default:
		f.where(`k.state = ANY ($%d) AND (k.epoch >= o.epoch OR k.state = 'deleted')`, stateNames(states))
	}
}

// follow leaves out what does not come after a position. One that lies between
// two microseconds is that of no record.
func (f *filter) follow(order apikey.Order, after apikey.Cursor) {
	at := stored(after.At)
	exact := at.Time.Equal(after.At)
	switch {
	case order == apikey.SoonestFirst && exact:
		f.where(`(k.expires_at, k.id) > ($%d, $%d)`, at, after.ID)
	case order == apikey.SoonestFirst:
		f.where(`k.expires_at > $%d`, at)
	case exact:
		f.where(`(k.created_at, k.id) < ($%d, $%d)`, at, after.ID)
	default:
		f.where(`k.created_at <= $%d`, at)
	}
}

// eventPage returns the statement for q and its arguments.
func (s *statements) eventPage(q *apikey.EventQuery) (string, []any) {
	var f filter
	order := `at DESC, owner DESC, seq DESC`
	switch {
	case !q.AnyOwner && q.OldestFirst:
		order = `seq`
	case !q.AnyOwner:
		order = `seq DESC`
	case q.OldestFirst:
		order = `at, owner, seq`
	}
	if q.AnyOwner {
		f.where(`true`)
	} else {
		f.where(`owner = $%d`, q.Owner)
	}
	if q.Key != "" {
		f.where(`key = $%d`, q.Key)
	}
	if q.Kind != "" {
		f.where(`kind = $%d`, string(q.Kind))
	}
	if !q.Until.IsZero() {
		f.where(`at < $%d`, after(q.Until))
	}
	if q.After != (apikey.EventCursor{}) {
		f.followEvent(q)
	}
	f.args = append(f.args, q.Limit)
	return fmt.Sprintf("%s%s ORDER BY %s LIMIT $%d", s.events, strings.Join(f.conditions, " AND "), order, len(f.args)), f.args
}

func (f *filter) followEvent(q *apikey.EventQuery) {
	at := stored(q.After.At)
	exact := at.Time.Equal(q.After.At)
	comes := "<"
	if q.OldestFirst {
		comes = ">"
	}
	switch {
	case !q.AnyOwner:
		f.where(`seq `+comes+` $%d`, q.After.Seq)
	case exact:
		f.where(`(at, owner, seq) `+comes+` ($%d, $%d, $%d)`, at, q.After.Owner, q.After.Seq)
	case q.OldestFirst:
		f.where(`at > $%d`, at)
	default:
		f.where(`at <= $%d`, at)
	}
}
