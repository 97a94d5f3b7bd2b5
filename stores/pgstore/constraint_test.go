package pgstore_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/keytoll/keytoll/apikey"
	kerrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/stores/pgstore"
)

func TestTheDatabaseRefusesWhatBreaksAPromise(t *testing.T) {
	d := newDatabase(t)
	db := d.open(t)
	one, two := keyRecord(1), keyRecord(2)
	one.Label, two.Label = "one", "two"
	err := db.Keys().Apply(t.Context(), apikey.Change{
		Insert: []apikey.Record{one, two}, Events: []apikey.Event{{Owner: "owner", Kind: apikey.EventCreated, Key: one.Key.ID, At: begin}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, statement := range map[string]string{
		"an ID twice":                   `UPDATE keytoll.keys SET id = 'key_1' WHERE id = 'key_2'`,
		"a handle twice":                `UPDATE keytoll.keys SET handle = 'handle1' WHERE id = 'key_2'`,
		"a label twice":                 `UPDATE keytoll.keys SET label = 'one' WHERE id = 'key_2'`,
		"an empty label":                `UPDATE keytoll.keys SET label = ''`,
		"a key of no owner":             `UPDATE keytoll.keys SET owner = 'nobody'`,
		"a state nobody knows":          `UPDATE keytoll.keys SET state = 'unknown'`,
		"a digest cut short":            `UPDATE keytoll.keys SET digest = '\x00'`,
		"a digest version of too much":  `UPDATE keytoll.keys SET digest_version = 4294967296`,
		"an intent cut short":           `UPDATE keytoll.keys SET intent = '\x00'`,
		"a key version below 1":         `UPDATE keytoll.keys SET version = 0`,
		"an epoch below 1":              `UPDATE keytoll.keys SET epoch = 0`,
		"metadata that are no object":   `UPDATE keytoll.keys SET metadata = '[]'`,
		"settings that are no object":   `UPDATE keytoll.keys SET settings = '1'`,
		"a creation before all time":    `UPDATE keytoll.keys SET created_at = '-infinity'`,
		"an expiry after all time":      `UPDATE keytoll.keys SET expires_at = 'infinity'`,
		"a use after all time":          `UPDATE keytoll.keys SET last_used_at = 'infinity'`,
		"an owner's epoch below 1":      `UPDATE keytoll.owners SET epoch = 0`,
		"an owner's version below 0":    `UPDATE keytoll.owners SET version = -1`,
		"a head cut short":              `UPDATE keytoll.owners SET head = '\x00'`,
		"a head of no events":           `UPDATE keytoll.owners SET events = 0`,
		"events without a head":         `UPDATE keytoll.owners SET head = decode(repeat('00', 32), 'hex')`,
		"an owner of keys gone":         `DELETE FROM keytoll.owners`,
		"an event changed":              `UPDATE keytoll.events SET note = 'x'`,
		"an event gone":                 `DELETE FROM keytoll.events`,
		"all events gone":               `TRUNCATE keytoll.events`,
		"all events gone with owners":   `TRUNCATE keytoll.owners CASCADE`,
		"an event twice":                `INSERT INTO keytoll.events SELECT * FROM keytoll.events`,
		"an event of no owner":          `INSERT INTO keytoll.events SELECT 'nobody', seq, at, kind, key, actor, actor_ip, changes, note, count, sum FROM keytoll.events`,
		"an event before the first":     `INSERT INTO keytoll.events SELECT owner, 0, at, kind, key, actor, actor_ip, changes, note, count, sum FROM keytoll.events`,
		"an event with half a sum":      `INSERT INTO keytoll.events SELECT owner, 9, at, kind, key, actor, actor_ip, changes, note, count, '\x00' FROM keytoll.events`,
		"two schema versions":           `INSERT INTO keytoll.schema_version (id, version) VALUES (2, 1)`,
		"a schema version of less than": `UPDATE keytoll.schema_version SET version = 0`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := d.pool.Exec(t.Context(), pgstore.InSchema(db, statement))
			if e, ok := kerrors.AsType[*pgconn.PgError](err); !ok || !strings.HasPrefix(e.Code, "23") {
				t.Errorf("%s: %v, want a broken constraint", statement, err)
			}
		})
	}
}

// A stored value that this version cannot read is Corrupt, never an empty one.
func TestWhatCannotBeReadIsCorrupt(t *testing.T) {
	d := newDatabase(t)
	for column, value := range map[string]string{
		"scopes": "a::b", "metadata": `{"a":1}`, "settings": `{"a":"b"}`, "networks": "10.0.0.1/8",
	} {
		db := d.open(t)
		rec := keyRecord(1)
		if err := db.Keys().Apply(t.Context(), apikey.Change{Insert: []apikey.Record{rec}}); err != nil {
			t.Fatal(err)
		}
		run(t, d.pool, pgstore.InSchema(db, fmt.Sprintf(`UPDATE keytoll.keys SET %s = '%s'`, column, value)))
		got, err := db.Keys().ByID(t.Context(), rec.Key.ID)
		if kerrors.CodeOf(err) != kerrors.Corrupt || got.Handle != "" {
			t.Errorf("%s %q: %+v, %v; want Corrupt and no record", column, value, got, err)
		}
		_, err = db.Keys().List(t.Context(), apikey.Query{States: []apikey.State{apikey.StateActive}, Limit: 1})
		wantCode(t, err, kerrors.Corrupt)
	}
}

func TestWhatCannotBeStoredIsInvalidAndNotFound(t *testing.T) {
	db := newDatabase(t).open(t)
	ctx := t.Context()
	for _, bad := range []string{"a\x00b", "\x00", "a\xff", "\xed\xa0\x80"} {
		for name, change := range map[string]func(*apikey.Change){
			"ID":      func(c *apikey.Change) { c.Insert[0].Key.ID = bad },
			"handle":  func(c *apikey.Change) { c.Insert[0].Handle = bad },
			"owner":   func(c *apikey.Change) { c.Insert[0].Key.Owner = bad },
			"name":    func(c *apikey.Change) { c.Insert[0].Key.Name = bad },
			"label":   func(c *apikey.Change) { c.Insert[0].Label = bad },
			"note":    func(c *apikey.Change) { c.Events[0].Note = bad },
			"actor":   func(c *apikey.Change) { c.Events[0].Actor.ID = bad },
			"change":  func(c *apikey.Change) { c.Events[0].Changes = []apikey.FieldChange{{Field: "name", Before: bad}} },
			"notice":  func(c *apikey.Change) { c.Notices = []apikey.Notice{{Owner: bad}} },
			"reason":  func(c *apikey.Change) { c.Owner.RevokedReason = bad },
			"cap":     func(c *apikey.Change) { c.Cap = &apikey.Cap{Owner: bad, Most: 1} },
			"ancient": func(c *apikey.Change) { c.Insert[0].Key.CreatedAt = time.Date(-290000, 1, 1, 0, 0, 0, 0, time.UTC) },
			"state":   func(c *apikey.Change) { c.Insert[0].Key.State = 99 },
		} {
			c := apikey.Change{
				Insert: []apikey.Record{keyRecord(1)}, Events: []apikey.Event{{Owner: "owner", At: begin}}, Owner: &apikey.Owner{ID: "owner", Epoch: 1, Version: 1},
			}
			change(&c)
			if err := db.Keys().Apply(ctx, c); kerrors.CodeOf(err) != kerrors.Invalid {
				t.Errorf("%s %q: %v, want Invalid", name, bad, err)
			}
		}
		_, byHandle := db.Keys().ByHandle(ctx, bad)
		_, byID := db.Keys().ByID(ctx, bad)
		for _, err := range []error{byHandle, byID} {
			if !kerrors.Is(err, apikey.ErrNotFound) {
				t.Errorf("%q: %v, want ErrNotFound", bad, err)
			}
		}
		list, err := db.Keys().List(ctx, apikey.Query{Owner: bad, States: []apikey.State{apikey.StateActive}, Limit: 1})
		events, err2 := db.Keys().Events(ctx, apikey.EventQuery{Owner: bad, Limit: 1})
		if err != nil || err2 != nil || len(list)+len(events) > 0 {
			t.Errorf("%q: %v and %v, %v and %v; want nothing", bad, list, events, err, err2)
		}
	}
	if o, err := db.Keys().Owner(ctx, "owner"); err != nil || o != (apikey.Owner{ID: "owner", Epoch: 1}) {
		t.Errorf("after refusals the owner is %+v, %v", o, err)
	}
}

// Pages must not read more than they show, however great the table: no scan of
// all rows, and no sorting.
func TestListingsUseAnIndex(t *testing.T) {
	d := newDatabase(t)
	db := d.open(t)
	fill(t, d.pool, db, 50_000)
	for i := range 20 {
		owner := fmt.Sprintf("acct_%d", i)
		events := make([]apikey.Event, 500)
		for n := range events {
			events[n] = apikey.Event{Owner: owner, Key: fmt.Sprintf("key_%d", n%50), Kind: apikey.EventRenamed, At: begin.Add(time.Duration(n) * time.Second)}
		}
		if err := db.Keys().Apply(t.Context(), apikey.Change{Events: events}); err != nil {
			t.Fatal(err)
		}
	}
	run(t, d.pool, pgstore.InSchema(db, "VACUUM ANALYZE keytoll.events"))
	after := apikey.Cursor{At: begin.Add(time.Hour), ID: "key_1"}
	states := []apikey.State{apikey.StateActive, apikey.StateDisabled, apikey.StateRevoked}
	for name, q := range map[string]apikey.Query{
		"an owner's":         {Owner: "acct_7"},
		"an owner's, next":   {Owner: "acct_7", After: after},
		"everybody's":        {},
		"everybody's, next":  {After: after},
		"live ones":          {LiveAt: begin},
		"soonest":            {Order: apikey.SoonestFirst},
		"soonest, next":      {Order: apikey.SoonestFirst, After: after},
		"soonest of one":     {Owner: "acct_7", Order: apikey.SoonestFirst},
		"expiring":           {Order: apikey.SoonestFirst, ExpiresBefore: begin.AddDate(11, 0, 0), LiveAt: begin, Unreplaced: true},
		"unused":             {UnusedSince: begin},
		"of old secrets":     {SecretBefore: begin, Unreplaced: true},
		"of one environment": {Environment: "live"},
	} {
		q.States = states
		for _, limit := range []int{11, 1001} {
			q.Limit = limit
			query, args := pgstore.ListQuery(db, &q)
			most := 10 * limit
			if q.Owner != "" {
				most = 20 // ten keys, sorted or not
			}
			noScan(t, d, name, query, args, most)
		}
	}
	at := apikey.EventCursor{At: begin.Add(time.Minute), Owner: "acct_3", Seq: 60}
	for name, q := range map[string]apikey.EventQuery{
		"an owner's":        {Owner: "acct_3"},
		"an owner's, next":  {Owner: "acct_3", After: at},
		"an owner's, first": {Owner: "acct_3", OldestFirst: true},
		"a key's":           {Owner: "acct_3", Key: "key_7"},
		"everybody's":       {AnyOwner: true},
		"everybody's, next": {AnyOwner: true, After: at, OldestFirst: true},
	} {
		q.Limit = 11
		query, args := pgstore.EventQuery(db, &q)
		noScan(t, d, "events, "+name, query, args, 110)
	}
}

// noScan fails t if the plan of a query reads many more rows than the page has.
func noScan(t *testing.T, d *database, name, query string, args []any, most int) {
	t.Helper()
	var text string
	if err := d.pool.QueryRow(t.Context(), "EXPLAIN (ANALYZE, FORMAT JSON) "+query, args...).Scan(&text); err != nil {
		t.Fatal(err)
	}
	type node struct {
		Type    string  `json:"Node Type"`
		Table   string  `json:"Relation Name"`
		Rows    float64 `json:"Actual Rows"`
		Removed float64 `json:"Rows Removed by Filter"`
		Loops   float64 `json:"Actual Loops"`
		Plans   []node  `json:"Plans"`
	}
	var plans []struct{ Plan node }
	if err := json.Unmarshal([]byte(text), &plans); err != nil {
		t.Fatal(err)
	}
	var look func(n node)
	look = func(n node) {
		read := (n.Rows + n.Removed) * n.Loops
		if (n.Table == "keys" || n.Table == "events") && (n.Type == "Seq Scan" || read > float64(most)) || n.Type == "Sort" && read > float64(most) {
			t.Errorf("%s: %s of %s reads %v rows, want %d or less:\n%s", name, n.Type, n.Table, read, most, text)
		}
		for _, p := range n.Plans {
			look(p)
		}
	}
	look(plans[0].Plan)
}

func TestTheDatabaseRefusesWhatBreaksAPromiseOfLimits(t *testing.T) {
	d := newDatabase(t)
	db := d.open(t)
	for name, statement := range map[string]string{
		"a state of nobody":      `INSERT INTO keytoll.limits VALUES ('', 'n', 'a', 0, 0, 0, 1)`,
		"a part below 0":         `INSERT INTO keytoll.limits VALUES ('k', 'n', 'a', 0, 0, -1, 1)`,
		"a state that is over":   `INSERT INTO keytoll.limits VALUES ('k', 'n', 'a', 0, 0, 0, 0)`,
		"a state twice":          `INSERT INTO keytoll.limits SELECT 'k', 'n', 'a', 0, 0, 0, 1 FROM generate_series(1, 2)`,
		"an ID cut short":        `INSERT INTO keytoll.limit_entries VALUES ('k', 'n', 'a', 'short', 1, 1)`,
		"an entry of nothing":    `INSERT INTO keytoll.limit_entries VALUES ('k', 'n', 'a', decode(repeat('00', 16), 'hex'), 1, 0)`,
		"a settlement of no one": `INSERT INTO keytoll.settled VALUES ('', 1)`,
	} {
		_, err := d.pool.Exec(t.Context(), pgstore.InSchema(db, statement))
		if e, ok := kerrors.AsType[*pgconn.PgError](err); !ok || e.Code[:2] != "23" {
			t.Errorf("%s: %v, want that a constraint refuses it", name, err)
		}
	}
}
