package sqlitestore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	kerrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/stores/sqlitestore"
)

// lived returns a file in which a key and an account have done everything once.
func lived(t *testing.T) *sqlitestore.DB {
	t.Helper()
	db := open(t, nil)
	ledger, err := credits.NewLedger(db.Credits(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	check := func(_ credits.Receipt, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(ledger.Grant(ctx, credits.Grant{Account: "a", ID: "grant", Amount: 100, ExpiresAt: time.Now().Add(time.Hour)}))
	check(ledger.Debit(ctx, credits.Debit{Account: "a", ID: "debit", Amount: 10}))
	check(ledger.Hold(ctx, credits.Hold{Account: "a", ID: "open", Amount: 10}))
	check(ledger.Hold(ctx, credits.Hold{Account: "a", ID: "ended", Amount: 10}))
	check(ledger.Capture(ctx, credits.Capture{Account: "a", Hold: "ended", Amount: 5}))
	check(ledger.Refund(ctx, credits.Refund{Account: "a", ID: "refund", Of: "debit", All: true}))
	keyOne, keyTwo := keyRecord("one"), keyRecord("two")
	keyOne.Label = "ours"
	change := apikey.Change{
		Insert: []apikey.Record{keyOne, keyTwo},
		Owner:  &apikey.Owner{ID: "owner", Epoch: 2, Version: 1},
		Events: []apikey.Event{eventOf("owner", "one"), eventOf("owner", "two")},
	}
	if err := db.Keys().Apply(ctx, change); err != nil {
		t.Fatal(err)
	}
	return db
}

func TestTheFileRefusesWhatBreaksAPromiseOfCredits(t *testing.T) {
	db := lived(t)
	for name, statement := range map[string]string{
		"a negative balance":              `UPDATE accounts SET available = -1, consumed = consumed + available + 1`,
		"an account that is no sum":       `UPDATE accounts SET available = available + 1`,
		"a negative lot":                  `UPDATE lots SET available = -1, consumed = consumed + available + 1`,
		"a lot that is no sum":            `UPDATE lots SET consumed = consumed + 1`,
		"a fraction of a credit":          `UPDATE lots SET available = available + 0.5`,
		"a lot of no account":             `UPDATE lots SET account = 'nobody'`,
		"a lot gone":                      `DELETE FROM lots`,
		"an account gone":                 `DELETE FROM accounts`,
		"an op id twice":                  `UPDATE ops SET id = 'grant' WHERE id = 'debit'`,
		"an op of a kind nobody knows":    `UPDATE ops SET kind = 99 WHERE id = 'debit'`,
		"a debit that is a hold":          `UPDATE ops SET hold = 1 WHERE id = 'debit'`,
		"a hold that ends twice":          `UPDATE ops SET hold = 3 WHERE id = 'ended'`,
		"a hold that opens again":         `UPDATE ops SET hold = 1, settled_at = NULL WHERE id = 'ended'`,
		"an end without an instant":       `UPDATE ops SET hold = 2, due = NULL WHERE id = 'open'`,
		"an op gone":                      `DELETE FROM ops WHERE id = 'refund'`,
		"an entry changed":                `UPDATE entries SET amount = amount + 1`,
		"an entry gone":                   `DELETE FROM entries WHERE seq = 1`,
		"an entry twice":                  `INSERT INTO entries SELECT * FROM entries WHERE seq = 1`,
		"an entry of no lot":              `INSERT INTO entries SELECT account, 1000, at, kind, op, 77, from_bucket, to_bucket, amount, key, operation, price, hash FROM entries WHERE seq = 1`,
		"an entry of nothing":             `INSERT INTO entries SELECT account, 1000, at, kind, op, lot, from_bucket, to_bucket, 0, key, operation, price, hash FROM entries WHERE seq = 1`,
		"an account that owes more":       `UPDATE accounts SET debt = debt + 1`,
		"suspense below nothing":          `UPDATE accounts SET suspense = -1, consumed = consumed + 1`,
		"leased that came from nowhere":   `UPDATE lots SET leased = leased + 1`,
		"a lot that owes":                 `UPDATE lots SET debt = 1, consumed = consumed + 1`,
		"a debt that can be spent":        `INSERT INTO lots SELECT account, 0, op, '', 0, 0, '', 0, NULL, zeroblob(28), NULL, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0 FROM lots`,
		"a place cut short":               `UPDATE lots SET rank = zeroblob(27)`,
		"a head cut short":                `UPDATE accounts SET head = x'00'`,
		"a hash cut short":                `INSERT INTO entries SELECT account, 1000, at, kind, op, lot, from_bucket, to_bucket, amount, key, operation, price, x'' FROM entries WHERE seq = 1`,
		"an entry of a kind nobody knows": `INSERT INTO entries SELECT account, 1000, at, 16, op, lot, from_bucket, to_bucket, amount, key, operation, price, hash FROM entries WHERE seq = 1`,
		"a debit that is denied later":    `UPDATE ops SET denied = 1 WHERE id = 'debit'`,
		"a grant that is denied":          `INSERT INTO ops (account, id, kind, hold, intent, at, amount, target, parts, charges, terms, totals, seq, key, operation, price, note, denied) VALUES ('a', 'x', 1, 0, zeroblob(32), 0, 1, '', '', '', '', '', 0, '', '', '', '', 1)`,
		"an open hold that is prunable":   `UPDATE ops SET prunable = 1 WHERE id = 'open'`,
		"an open hold gone":               `DELETE FROM ops WHERE id = 'open'`,
		"charges that are none":           `UPDATE ops SET charges = '[' WHERE id = 'debit'`,
		"a budget of no account":          `INSERT INTO budgets VALUES ('nobody', 'b', '', '', 1, 0, '', 0, '', NULL, NULL, 0, 0, 0, 0)`,
		"a budget used below nothing":     `INSERT INTO budgets VALUES ('a', 'b', '', '', 1, 0, '', 0, '', NULL, NULL, 0, -1, 0, 0)`,
		"a budget twice":                  `INSERT INTO budgets VALUES ('a', 'b', '', '', 1, 0, '', 0, '', NULL, NULL, 0, 0, 0, 0), ('a', 'b', '', '', 1, 0, '', 0, '', NULL, NULL, 0, 0, 0, 0)`,
		"a schedule of nothing":           `INSERT INTO schedules VALUES ('a', 's', 0, 1, 1, 0, '', NULL, 0, 0, 0, 0, 0, '', 0, NULL)`,
		"a schedule of no length":         `INSERT INTO schedules VALUES ('a', 's', 1, 1, 0, 0, '', NULL, 0, 0, 0, 0, 0, '', 0, NULL)`,
		"two schema versions":             `INSERT INTO schema_version (id, version) VALUES (2, 1)`,
	} {
		t.Run(name, func(t *testing.T) {
			err := db.Write(t.Context(), func(exec sqlitestore.Exec) error { return exec(statement) })
			wantCode(t, err, kerrors.Corrupt)
		})
	}
}

func TestTheFileRefusesWhatBreaksAPromiseOfKeys(t *testing.T) {
	const event = `INSERT INTO events (owner, seq, at, kind, key, actor, actor_ip, changes, note, count, sum) VALUES `
	db := lived(t)
	for name, c := range map[string]struct{ statement, refusal string }{
		"a handle twice":          {`UPDATE keys SET handle = 'handle-one' WHERE id = 'two'`, "UNIQUE constraint failed: keys.handle"},
		"a handle that is null":   {`UPDATE keys SET handle = NULL WHERE id = 'two'`, "NOT NULL constraint failed: keys.handle"},
		"an ID twice":             {`UPDATE keys SET id = 'one' WHERE id = 'two'`, "UNIQUE constraint failed: keys.id"},
		"a label twice":           {`UPDATE keys SET label = 'ours' WHERE id = 'two'`, "UNIQUE constraint failed: keys.owner, keys.epoch, keys.label"},
		"a state nobody knows":    {`UPDATE keys SET state = 'unknown' WHERE id = 'one'`, "state IN"},
		"a digest cut short":      {`UPDATE keys SET digest = x'00' WHERE id = 'one'`, "length(digest) = 32"},
		"a pepper below 0":        {`UPDATE keys SET digest_version = -1 WHERE id = 'one'`, "digest_version BETWEEN"},
		"a pepper beyond 32 bits": {`UPDATE keys SET digest_version = 4294967296 WHERE id = 'one'`, "digest_version BETWEEN"},
		"a key version below 1":   {`UPDATE keys SET version = 0 WHERE id = 'one'`, "version > 0"},
		"a key's epoch below 1":   {`UPDATE keys SET epoch = 0 WHERE id = 'one'`, "epoch >= 1"},
		"a key of nobody":         {`UPDATE keys SET owner = 'nobody' WHERE id = 'one'`, "FOREIGN KEY"},
		"an intent cut short":     {`UPDATE keys SET intent = x'00' WHERE id = 'one'`, "length(intent) = 32"},
		"metadata that is none":   {`UPDATE keys SET metadata = '{' WHERE id = 'one'`, "json_valid(metadata)"},
		"settings that are none":  {`UPDATE keys SET settings = '{' WHERE id = 'one'`, "json_valid(settings)"},
		"text for an instant":     {`UPDATE keys SET created_at = 'now' WHERE id = 'one'`, "cannot store TEXT value in INTEGER column"},
		"a tombstone with a digest": {`UPDATE keys SET state = 'deleted', digest = randomblob(32) WHERE id = 'one'`,
			"state <> 'deleted'"},
		"a tombstone with a pepper":     {`UPDATE keys SET state = 'deleted', digest_version = 1 WHERE id = 'one'`, "state <> 'deleted'"},
		"a tombstone of a scheme":       {`UPDATE keys SET state = 'deleted', imported_scheme = 's' WHERE id = 'one'`, "state <> 'deleted'"},
		"a tombstone with an import":    {`UPDATE keys SET state = 'deleted', imported_encoded = 's' WHERE id = 'one'`, "state <> 'deleted'"},
		"an owner's epoch below 1":      {`INSERT INTO owners (id, epoch) VALUES ('x', 0)`, "epoch >= 1"},
		"a suspension that is none":     {`UPDATE owners SET suspended = 2`, "suspended IN"},
		"an owner's version below 0":    {`UPDATE owners SET version = -1`, "version >= 0"},
		"fewer than no events":          {`INSERT INTO owners (id, events) VALUES ('x', -1)`, "events >= 0"},
		"a head cut short":              {`UPDATE owners SET head = x''`, "length(head) = 32"},
		"an epoch that falls":           {`UPDATE owners SET epoch = epoch - 1`, "never fall"},
		"a number of events that falls": {`UPDATE owners SET events = events - 1`, "never fall"},
		"an owner gone":                 {`INSERT INTO owners (id) VALUES ('x'); DELETE FROM owners WHERE id = 'x'`, "owners are never deleted"},
		"an event changed":              {`UPDATE events SET note = 'another'`, "events are never changed"},
		"an event gone":                 {`DELETE FROM events WHERE seq = 2`, "events are never deleted"},
		"an event twice":                {event + `('owner', 2, 0, 'kind', '', '', '', '[]', '', 0, zeroblob(32))`, "no gap and come once"},
		"an event in another's place":   {`REPLACE` + event[len(`INSERT`):] + `('owner', 2, 0, 'kind', '', '', '', '[]', '', 0, zeroblob(32))`, "no gap and come once"},
		"an event after a gap":          {event + `('owner', 4, 0, 'kind', '', '', '', '[]', '', 0, zeroblob(32))`, "no gap and come once"},
		"a first event that is not":     {event + `('another', 0, 0, 'kind', '', '', '', '[]', '', 0, zeroblob(32))`, "no gap and come once"},
		"an event of nobody":            {event + `('nobody', 1, 0, 'kind', '', '', '', '[]', '', 0, zeroblob(32))`, "FOREIGN KEY"},
		"an event of no kind":           {event + `('owner', 3, 0, '', '', '', '', '[]', '', 0, zeroblob(32))`, "kind <> ''"},
		"an event's sum cut short":      {event + `('owner', 3, 0, 'kind', '', '', '', '[]', '', 0, zeroblob(31))`, "length(sum) = 32"},
		"changes that are none":         {event + `('owner', 3, 0, 'kind', '', '', '', '[', '', 0, zeroblob(32))`, "json_valid(changes)"},
	} {
		t.Run(name, func(t *testing.T) {
			err := db.Write(t.Context(), func(exec sqlitestore.Exec) error { return exec(c.statement) })
			wantCode(t, err, kerrors.Corrupt)
			if err == nil || !strings.Contains(err.Error(), c.refusal) {
				t.Errorf("error %v does not say %q", err, c.refusal)
			}
		})
	}
}

// A constraint that refuses too much is as wrong as one that refuses too little.
func TestTheFileTakesWhatIsAllowed(t *testing.T) {
	db := lived(t)
	const op = `INSERT INTO ops (account, id, kind, hold, intent, at, amount, target, parts, charges, terms, totals, seq,
		key, operation, price, note, denied, prunable, settled_at) VALUES `
	for name, statement := range map[string]string{
		"a denied debit of nobody": op + `('nobody', 'x', 7, 0, zeroblob(32), 0, 1, '', '', '', '', '', 0, '', '', '', '', 1, NULL, NULL)`,
		"a late capture": op + `('a', 'late', 3, 4, zeroblob(32), 0, 1, '', '', '', '', '', 0, '', '', '', '', 0, NULL, 0);
			UPDATE ops SET hold = 2 WHERE id = 'late'`,
		"an owner that is heard after all": op + `('a', 'lease', 10, 5, zeroblob(32), 0, 1, '', '', '', '', '', 0, '', '', '', '', 0, NULL, NULL);
			UPDATE ops SET hold = 3, settled_at = 0 WHERE id = 'lease'`,
		"an op pruned": op + `('a', 'old', 7, 0, zeroblob(32), 0, 1, '', '', '', '', '', 0, '', '', '', '', 0, 1, NULL);
			DELETE FROM ops WHERE id = 'old'`,
		"a debt": `INSERT INTO lots SELECT account, 0, op, '', 0, 0, '', 0, NULL, zeroblob(28), NULL, 0, 0, 0, 0, 0, 0, 5, 0, 0, 5 FROM lots WHERE id = 1`,
		"a budget gone": `INSERT INTO budgets VALUES ('a', 'b', '', '', 1, 0, '', 0, '', NULL, NULL, 0, 0, 0, 0);
			DELETE FROM budgets`,
		"a label of another epoch": `UPDATE keys SET label = 'ours', epoch = 3 WHERE id = 'two'`,
		"no label twice":           `UPDATE keys SET label = ''`,
		"a tombstone":              `UPDATE keys SET state = 'deleted', digest_version = 0, digest = zeroblob(32) WHERE id = 'one'`,
		"a pepper of 32 bits":      `UPDATE keys SET digest_version = 4294967295 WHERE id = 'two'`,
		"an epoch that stays":      `UPDATE owners SET epoch = epoch`,
	} {
		t.Run(name, func(t *testing.T) {
			if err := db.Write(t.Context(), func(exec sqlitestore.Exec) error { return exec(statement) }); err != nil {
				t.Error(err)
			}
		})
	}
}
