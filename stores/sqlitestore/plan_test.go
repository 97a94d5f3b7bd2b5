package sqlitestore_test

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/stores/sqlitestore"
)

func TestEveryQueryUsesAnIndex(t *testing.T) {
	db := open(t, nil)
	for _, query := range sqlitestore.Queries() {
		if strings.Contains(query, "LIMIT ?") {
			t.Errorf("%s\nis prepared anew each time; write LIMIT +?", query)
		}
		plan, err := db.Plan(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.ReplaceAll(strings.Join(plan, "; "), "SCAN json_each VIRTUAL TABLE", "") // a list that the caller gave
		if strings.Contains(got, "TEMP B-TREE") || strings.Contains(got, "SCAN") && !strings.Contains(got, "CONSTANT ROW") {
			t.Errorf("%s\nreads everything: %s", query, got)
		}
	}
}

// What a query searches first decides what it costs, so its index is named here.
func TestKeysAreFoundByTheirIndex(t *testing.T) {
	now := time.UnixMicro(1e15)
	list := func(q apikey.Query) string { return sqlitestore.ListQuery(&q) }
	events := func(q apikey.EventQuery) string { return sqlitestore.EventsQuery(&q) }
	db := open(t, nil)
	for name, c := range map[string]struct{ query, plan string }{
		"by handle":                    {sqlitestore.KeyByHandle, "SEARCH k USING INDEX sqlite_autoindex_keys_2 (handle=?); SEARCH o USING PRIMARY KEY (id=?)"},
		"by ID":                        {sqlitestore.KeyByID, "SEARCH k USING INDEX sqlite_autoindex_keys_1 (id=?); SEARCH o USING PRIMARY KEY (id=?)"},
		"everybody's, newest first":    {list(apikey.Query{}), "SEARCH k USING INDEX keys_by_age ((created_at,id)<(?,?)); SEARCH o USING PRIMARY KEY (id=?)"},
		"an owner's, newest first":     {list(apikey.Query{Owner: "o"}), "SEARCH k USING INDEX keys_by_owner (owner=? AND (created_at,id)<(?,?)); SEARCH o USING PRIMARY KEY (id=?)"},
		"everybody's, soonest first":   {list(apikey.Query{Order: apikey.SoonestFirst}), "SEARCH k USING INDEX keys_by_end ((expires_at,id)>(?,?) AND expires_at<?); SEARCH o USING PRIMARY KEY (id=?)"},
		"an owner's, soonest first":    {list(apikey.Query{Order: apikey.SoonestFirst, Owner: "o"}), "SEARCH k USING INDEX keys_by_owner_and_end (owner=? AND (expires_at,id)>(?,?) AND expires_at<?); SEARCH o USING PRIMARY KEY (id=?)"},
		"census":                       {sqlitestore.Census, "SCAN keys USING COVERING INDEX keys_by_proof"},
		"an owner's events":            {events(apikey.EventQuery{Owner: "o"}), "SEARCH events USING PRIMARY KEY (owner=? AND seq<?)"},
		"an owner's oldest events":     {events(apikey.EventQuery{Owner: "o", OldestFirst: true}), "SEARCH events USING PRIMARY KEY (owner=? AND seq>?)"},
		"an owner's events of a kind":  {events(apikey.EventQuery{Owner: "o", Kind: "k", Until: now}), "SEARCH events USING PRIMARY KEY (owner=? AND seq<?)"},
		"everybody's events":           {events(apikey.EventQuery{AnyOwner: true}), "SEARCH events USING INDEX events_by_time ((at,owner,seq)<(?,?,?))"},
		"everybody's oldest events":    {events(apikey.EventQuery{AnyOwner: true, OldestFirst: true}), "SEARCH events USING INDEX events_by_time ((at,owner,seq)>(?,?,?))"},
		"everybody's events until":     {events(apikey.EventQuery{AnyOwner: true, OldestFirst: true, Until: now}), "SEARCH events USING INDEX events_by_time ((at,owner,seq)>(?,?,?) AND at<?)"},
		"everybody's events of a kind": {events(apikey.EventQuery{AnyOwner: true, Kind: "k"}), "SEARCH events USING INDEX events_by_time ((at,owner,seq)<(?,?,?))"},
		"a key's events":               {events(apikey.EventQuery{AnyOwner: true, Key: "k"}), "SEARCH events USING INDEX events_of_key (key=? AND (at,owner,seq)<(?,?,?))"},
		"a key's events of its owner":  {events(apikey.EventQuery{Owner: "o", Key: "k"}), "SEARCH events USING INDEX events_of_key_of_owner (owner=? AND key=? AND seq<?)"},
	} {
		t.Run(name, func(t *testing.T) {
			plan, err := db.Plan(t.Context(), c.query)
			if got := strings.Join(plan, "; "); err != nil || got != c.plan {
				t.Errorf("plan is\n%s, %v; want\n%s", got, err, c.plan)
			}
		})
	}
	plan, err := db.Plan(t.Context(), sqlitestore.CountKeys)
	if err != nil || !slices.Contains(plan, "SEARCH keys USING COVERING INDEX keys_that_count (owner=? AND state=? AND epoch>?)") ||
		!slices.Contains(plan, "SEARCH keys USING COVERING INDEX keys_that_count (owner=? AND state=? AND epoch<?)") {
		t.Errorf("a cap counts by %q, %v", plan, err)
	}
}

// A filter alone would give the same page, after reading every key that expired
// long ago, or was made since.
func TestAPageBeginsWhereTheFirstKeyMayStand(t *testing.T) {
	at := func(micros int64) time.Time { return time.UnixMicro(micros) }
	for name, c := range map[string]struct {
		query apikey.Query
		at    int64
		id    string
	}{
		"live, soonest first":           {apikey.Query{Order: apikey.SoonestFirst, LiveAt: at(7)}, 8, ""},
		"live, a page on":               {apikey.Query{Order: apikey.SoonestFirst, LiveAt: at(7), After: apikey.Cursor{At: at(9), ID: "k"}}, 9, "k"},
		"live, a page before":           {apikey.Query{Order: apikey.SoonestFirst, LiveAt: at(7), After: apikey.Cursor{At: at(5), ID: "k"}}, 8, ""},
		"live, newest first":            {apikey.Query{LiveAt: at(7)}, math.MaxInt64, ""},
		"unused, newest first":          {apikey.Query{UnusedSince: at(7)}, 7, ""},
		"unused, a page on":             {apikey.Query{UnusedSince: at(7), After: apikey.Cursor{At: at(5), ID: "k"}}, 5, "k"},
		"unused, a page before":         {apikey.Query{UnusedSince: at(7), After: apikey.Cursor{At: at(7), ID: "k"}}, 7, ""},
		"unused, soonest first":         {apikey.Query{Order: apikey.SoonestFirst, UnusedSince: at(7)}, math.MinInt64, ""},
		"unused between microseconds":   {apikey.Query{UnusedSince: at(7).Add(1)}, 8, ""},
		"everything that is, and so on": {apikey.Query{After: apikey.Cursor{At: at(5), ID: "k"}}, 5, "k"},
	} {
		if at, id := sqlitestore.ListStart(&c.query); at != c.at || id != c.id {
			t.Errorf("%s begins at %d, %q; want %d, %q", name, at, id, c.at, c.id)
		}
	}
}

// What a command costs must not grow with the entries, the ops and the spent lots
// of its account: each statement begins at the rows it is for.
func TestCreditsAreFoundByTheirIndex(t *testing.T) {
	db := open(t, nil)
	const list = "SCAN json_each VIRTUAL TABLE INDEX 1:; "
	want := map[string]string{
		"account": "SEARCH accounts USING PRIMARY KEY (id=?); " +
			"SCALAR SUBQUERY 1; SEARCH ops USING COVERING INDEX ops_due (account=? AND due<?); " +
			"SCALAR SUBQUERY 2; SEARCH lots USING COVERING INDEX lots_due (account=? AND due<?); " +
			"SCALAR SUBQUERY 3; SEARCH schedules USING COVERING INDEX schedules_due (account=? AND due<?)",
		"known":          "SEARCH ops USING COVERING INDEX sqlite_autoindex_ops_1 (account=? AND id=?)",
		"known, of many": list + "SEARCH ops USING COVERING INDEX sqlite_autoindex_ops_1 (account=? AND id=?)",
		"op":             "SEARCH ops USING INDEX sqlite_autoindex_ops_1 (account=? AND id=?)",
		"ops":            list + "SEARCH ops USING INDEX sqlite_autoindex_ops_1 (account=? AND id=?)",
		"due ops":        "SEARCH ops USING INDEX ops_due (account=? AND due<?)",
		"prunable":       "SEARCH ops USING INDEX ops_prunable (account=? AND prunable<?)",
		"open":           "SEARCH ops USING INDEX ops_open (account=? AND id>?)",
		"of a target":    "SEARCH ops USING INDEX ops_of_target (account=? AND target=? AND id>?)",
		"lot":            "SEARCH lots USING PRIMARY KEY (account=? AND id=?)",
		"lots":           list + "SEARCH lots USING PRIMARY KEY (account=? AND id=?)",
		"due lots":       "SEARCH lots USING INDEX lots_due (account=? AND due<?)",
		"lots to burn":   "SEARCH lots USING INDEX lots_to_burn (account=?)",
		"budgets":        list + "SEARCH budgets USING INDEX budgets_by_scope (account=? AND key=? AND operation=?)",
		"due schedules":  "SEARCH schedules USING INDEX schedules_due (account=? AND due<?)",
	}
	for name, query := range sqlitestore.CreditStatements() {
		t.Run(name, func(t *testing.T) {
			plan, err := db.Plan(t.Context(), query)
			if got := strings.Join(plan, "; "); err != nil || got != want[name] {
				t.Errorf("plan is\n%s, %v; want\n%s", got, err, want[name])
			}
		})
	}
}

// What a claim costs must not grow with what waits, what was delivered or what is
// dead: it seeks from endpoint to endpoint, and there to what is due.
func TestWebhooksAreFoundByTheirIndex(t *testing.T) {
	db := open(t, nil)
	const (
		list     = "SCAN json_each VIRTUAL TABLE INDEX 1:"
		ofState  = "SEARCH webhook_deliveries USING COVERING INDEX webhook_deliveries_by_state (endpoint=? AND state=?"
		waiting  = "SEARCH webhook_deliveries USING COVERING INDEX webhook_deliveries_waiting "
		sending  = "SEARCH webhook_deliveries USING COVERING INDEX webhook_deliveries_sending "
		byNumber = "USING INTEGER PRIMARY KEY (rowid=?)"
	)
	merged := func(each string) string {
		return "MERGE (UNION ALL); LEFT; MERGE (UNION ALL); LEFT; " + each + "; RIGHT; " + each + "; RIGHT; MERGE (UNION ALL); LEFT; MERGE (UNION ALL); LEFT; " +
			each + "; RIGHT; " + each + "; RIGHT; " + each
	}
	want := map[string]string{
		"waiting": "CO-ROUTINE next; SETUP; SCAN CONSTANT ROW; RECURSIVE STEP; SCAN next; CORRELATED SCALAR SUBQUERY 4; CO-ROUTINE (subquery-3); " +
			"COMPOUND QUERY; LEFT-MOST SUBQUERY; " + waiting + "(endpoint>?); UNION ALL; " + sending + "(endpoint>?); SEARCH (subquery-3); SCAN next; " +
			"CORRELATED SCALAR SUBQUERY 6; SEARCH e USING INDEX sqlite_autoindex_webhook_endpoints_1 (id=?); " +
			"CORRELATED SCALAR SUBQUERY 7; " + waiting + "(endpoint=?); CORRELATED SCALAR SUBQUERY 8; " + sending + "(endpoint=?)",
		"in flight":      sending + "(endpoint=? AND lease>?)",
		"due":            waiting + "(endpoint=? AND due<?)",
		"over":           sending + "(endpoint=? AND lease<?)",
		"head":           "SEARCH webhook_deliveries USING INDEX webhook_deliveries_by_state (endpoint=? AND state=?)",
		"leased head":    "SEARCH webhook_deliveries USING INDEX webhook_deliveries_by_state (endpoint=? AND state=?)",
		"next":           "SCAN CONSTANT ROW; SCALAR SUBQUERY 1; " + waiting + "(endpoint=?); SCALAR SUBQUERY 2; " + sending + "(endpoint=?)",
		"claim":          "SEARCH webhook_deliveries " + byNumber + "; LIST SUBQUERY 1; " + list,
		"claimed":        list + "; SEARCH d " + byNumber + "; SEARCH m " + byNumber,
		"messages":       list + "; SEARCH m " + byNumber,
		"endpoint":       "SEARCH e USING INDEX sqlite_autoindex_webhook_endpoints_1 (id=?)",
		"endpoints":      "SEARCH e USING INDEX sqlite_autoindex_webhook_endpoints_1 (id>?)",
		"of an account":  "SEARCH e USING INDEX webhook_endpoints_of_account (account=? AND id>?)",
		"known":          "SEARCH webhook_messages USING INDEX sqlite_autoindex_webhook_messages_1 (id=?)",
		"takers":         "SEARCH webhook_endpoints USING INDEX webhook_endpoints_of_account (account=?)",
		"taker":          "SEARCH webhook_endpoints USING INDEX sqlite_autoindex_webhook_endpoints_1 (id=?)",
		"message":        "SEARCH m USING INDEX sqlite_autoindex_webhook_messages_1 (id=?)",
		"attempts":       "SEARCH webhook_attempts USING PRIMARY KEY (delivery=? AND number>?)",
		"of an endpoint": "CO-ROUTINE (subquery-5); " + merged(ofState+" AND seq<?)") + "; SCAN (subquery-5); SEARCH d " + byNumber + "; SEARCH m " + byNumber,
		"of a message": "SEARCH m USING INDEX sqlite_autoindex_webhook_messages_1 (id=?); " +
			"SEARCH d USING INDEX sqlite_autoindex_webhook_deliveries_1 (message=?)",
		"delivery": "SEARCH m USING INDEX sqlite_autoindex_webhook_messages_1 (id=?); " +
			"SEARCH d USING INDEX sqlite_autoindex_webhook_deliveries_1 (message=? AND endpoint=?)",
		"movable":    strings.Replace(merged(ofState+")"), "COVERING INDEX", "INDEX", 1),
		"to pending": "SEARCH webhook_deliveries " + byNumber + "; LIST SUBQUERY 1; " + list,
		"to dropped": "SEARCH webhook_deliveries " + byNumber + "; LIST SUBQUERY 1; " + list,
		"prunable": "SEARCH m USING COVERING INDEX webhook_messages_by_age (at<?); CORRELATED SCALAR SUBQUERY 1; " +
			"SEARCH d USING INDEX sqlite_autoindex_webhook_deliveries_1 (message=?); SEARCH e USING INDEX sqlite_autoindex_webhook_endpoints_1 (id=?)",
		"still prunable": list + "; SEARCH m " + byNumber + "; CORRELATED SCALAR SUBQUERY 1; " +
			"SEARCH d USING INDEX sqlite_autoindex_webhook_deliveries_1 (message=?); SEARCH e USING INDEX sqlite_autoindex_webhook_endpoints_1 (id=?)",
		"prune attempts": "SEARCH webhook_attempts USING PRIMARY KEY (delivery=?); LIST SUBQUERY 1; " + list +
			"; SEARCH d USING COVERING INDEX sqlite_autoindex_webhook_deliveries_1 (message=?)",
		"prune deliveries": "SEARCH webhook_deliveries USING COVERING INDEX sqlite_autoindex_webhook_deliveries_1 (message=?); LIST SUBQUERY 1; " + list +
			"; SEARCH webhook_attempts USING PRIMARY KEY (delivery=?)",
		"prune messages": "SEARCH webhook_messages " + byNumber + "; LIST SUBQUERY 1; " + list +
			"; SEARCH webhook_deliveries USING COVERING INDEX sqlite_autoindex_webhook_deliveries_1 (message=?)",
		"prune endpoints": "SCAN webhook_endpoints USING COVERING INDEX webhook_endpoints_deleted; CORRELATED SCALAR SUBQUERY 1; " +
			"SEARCH d USING COVERING INDEX webhook_deliveries_by_state (endpoint=?); SEARCH webhook_deliveries USING COVERING INDEX webhook_deliveries_by_state (endpoint=?)",
		"replay":       "SEARCH webhook_replays USING PRIMARY KEY (key=?)",
		"replays over": "SEARCH webhook_replays USING PRIMARY KEY (key=?); LIST SUBQUERY 1; SEARCH webhook_replays USING COVERING INDEX webhook_replays_by_end (until<?)",
	}
	for name, query := range sqlitestore.WebhookStatements() {
		t.Run(name, func(t *testing.T) {
			plan, err := db.Plan(t.Context(), query)
			if got := strings.Join(plan, "; "); err != nil || got != want[name] {
				t.Errorf("plan is\n%s, %v; want\n%s", got, err, want[name])
			}
			if strings.Contains(query, "LIMIT ?") {
				t.Errorf("%s\nis prepared anew each time; write LIMIT +?", query)
			}
		})
	}
}
