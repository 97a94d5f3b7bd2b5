package sqlitestore

import (
	"context"
	"time"

	"github.com/keytoll/keytoll/credits"
)

const (
	// See keyColumns for how rows are packed.
	scheduleRow = `concat(amount, ' ', unit, ' ', every, ' ', anchor, ' ', until, ' ', catch_up, ' ', lifetime, ' ', rollover, ' ',
		priority, ' ', category, ' ', next, ' ', due, ' ',
		octet_length(id), ' ', octet_length(zone), ' ', octet_length(operations), ' ',
		id, zone, operations) AS schedule`

	schedulesByID  = `SELECT ` + scheduleRow + listed + `schedules ON account = ?1 AND id = listed`
	schedulesDue   = `SELECT ` + scheduleRow + ` FROM schedules WHERE account = ?1 AND due <= ?2 ORDER BY due, id LIMIT +?3`
	schedulesAfter = `SELECT ` + scheduleRow + ` FROM schedules WHERE account = ?1 AND id > ?2 ORDER BY id LIMIT +?3`

	insertSchedule = `INSERT INTO schedules (amount, unit, every, anchor, zone, until, catch_up, lifetime, rollover, priority,
		category, operations, next, due, account, id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	updateSchedule = `UPDATE schedules SET amount = ?, unit = ?, every = ?, anchor = ?, zone = ?, until = ?, catch_up = ?,
		lifetime = ?, rollover = ?, priority = ?, category = ?, operations = ?, next = ?, due = ?
		WHERE account = ? AND id = ?`
	deleteSchedule = `DELETE FROM schedules WHERE account = ? AND id = ?`
)

// unpackSchedule reads a scheduleRow.
func unpackSchedule(account credits.AccountID, text string) (credits.Schedule, error) {
	p := packed{rest: text}
	s := credits.Schedule{Account: account}
	s.Amount, s.Unit, s.Every, s.Anchor = credits.Amount(p.number()), credits.Unit(p.number()), int(p.number()), p.instant()
	s.Until, s.CatchUp, s.Lifetime = p.instant(), credits.CatchUp(p.number()), time.Duration(p.number())
	s.Rollover, s.Priority, s.Category = credits.Amount(p.number()), int(p.number()), credits.Category(p.number())
	s.Next, s.NextAt = p.number(), p.instant()
	id, zone, operations := p.number(), p.number(), p.number()
	s.ID, s.Zone, s.Only = credits.ScheduleID(p.text(id)), p.text(zone), credits.Operations(p.text(operations))
	return s, p.done("schedule")
}

// writeSchedule stores a row that was added or updated, and deletes one that was
// removed.
func writeSchedule(ctx context.Context, s *session, row *credits.ScheduleRow) error {
	c := &row.Schedule
	args := func() []any {
		return []any{
			int64(c.Amount), int64(c.Unit), c.Every, micros(c.Anchor), c.Zone, nullable(c.Until), int64(c.CatchUp), int64(c.Lifetime),
			int64(c.Rollover), c.Priority, int64(c.Category), string(c.Only), c.Next, nullable(c.Due()), string(c.Account), string(c.ID),
		}
	}
	switch row.Change {
	case credits.Added:
		return s.exec(ctx, insertSchedule, args()...)
	case credits.Updated:
		return s.replace(ctx, updateSchedule, args()...)
	case credits.Removed:
		return s.replace(ctx, deleteSchedule, string(c.Account), string(c.ID))
	}
	return nil
}
