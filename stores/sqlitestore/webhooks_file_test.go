package sqlitestore_test

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	kerrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/stores/sqlitestore"
	"github.com/keytoll/keytoll/webhook"
)

// busyWebhooks returns a file in which each kind of row is: the endpoint "e" with
// one delivered, one being sent and one pending, and a deleted endpoint.
func busyWebhooks(t *testing.T) *sqlitestore.DB {
	t.Helper()
	db := open(t, nil)
	w := db.Webhooks()
	addEndpoints(t, w, "e", "gone")
	change(t, w, "e", func(e *webhook.Endpoint) { e.Settings.MaxInFlight = 1 })
	change(t, w, "gone", func(e *webhook.Endpoint) { e.State = webhook.EndpointDeleted })
	publish(t, w, "one", "two", "three")
	if err := deliver(t.Context(), w, claim(t, w, "t", 1)); err != nil {
		t.Fatal(err)
	}
	wantClaimed(t, claim(t, w, "t", 1), "e/two")
	return db
}

func TestTheFileRefusesWhatBreaksAPromiseOfWebhooks(t *testing.T) {
	db := busyWebhooks(t)
	const delivery = `INSERT INTO webhook_deliveries (message, endpoint, due, created_at) VALUES `
	for name, c := range map[string]struct{ statement, refusal string }{
		"an endpoint of no name":           {`INSERT INTO webhook_endpoints SELECT '', account, state, reason, created_at, updated_at, events, settings, health, sealed FROM webhook_endpoints WHERE id = 'e'`, "id <> ''"},
		"an endpoint twice":                {`INSERT INTO webhook_endpoints SELECT * FROM webhook_endpoints`, "UNIQUE"},
		"an endpoint of no state":          {`UPDATE webhook_endpoints SET state = 0`, "state BETWEEN"},
		"settings that are none":           {`UPDATE webhook_endpoints SET settings = '{'`, "json_valid(settings)"},
		"no settings":                      {`UPDATE webhook_endpoints SET settings = ''`, "json_valid(settings)"},
		"health that is none":              {`UPDATE webhook_endpoints SET health = '{'`, "json_valid(health)"},
		"filters that are none":            {`UPDATE webhook_endpoints SET events = '['`, "json_valid(events)"},
		"an endpoint that is waited for":   {`DELETE FROM webhook_endpoints WHERE id = 'e'`, "FOREIGN KEY"},
		"a message changed":                {`UPDATE webhook_messages SET payload = x'00'`, "never changed"},
		"a message twice":                  {`INSERT INTO webhook_messages SELECT NULL, id, account, type, endpoint, content_type, at, deliveries, payload FROM webhook_messages`, "UNIQUE"},
		"a message that is on its way":     {`DELETE FROM webhook_messages`, "FOREIGN KEY"},
		"a delivery of nothing":            {delivery + `(99, 'e', 0, 0)`, "FOREIGN KEY"},
		"a delivery to nobody":             {delivery + `(1, 'nobody', 0, 0)`, "FOREIGN KEY"},
		"a delivery twice":                 {delivery + `(1, 'e', 0, 0)`, "UNIQUE"},
		"a delivery of another message":    {`UPDATE webhook_deliveries SET message = 2 WHERE message = 1`, "stays that of"},
		"a delivery to another":            {`UPDATE webhook_deliveries SET endpoint = 'gone'`, "stays that of"},
		"a delivery made at another time":  {`UPDATE webhook_deliveries SET created_at = 0`, "stays that of"},
		"a delivery of no state":           {`UPDATE webhook_deliveries SET state = 6`, "state BETWEEN"},
		"a pending one that is due never":  {`UPDATE webhook_deliveries SET due = NULL WHERE state = 1`, "due IS NOT NULL"},
		"one being sent that is due never": {`UPDATE webhook_deliveries SET due = NULL WHERE state = 2`, "due IS NOT NULL"},
		"one being sent without an end":    {`UPDATE webhook_deliveries SET lease = NULL WHERE state = 2`, "lease IS NOT NULL"},
		"one that is half asked for":       {`UPDATE webhook_deliveries SET manual = 2`, "manual IN"},
		"a delivery with attempts":         {`DELETE FROM webhook_deliveries WHERE state = 3`, "FOREIGN KEY"},
		"an attempt changed":               {`UPDATE webhook_attempts SET status = 200`, "never changed"},
		"an attempt of no number":          {`INSERT INTO webhook_attempts SELECT delivery, 0, at, took, failure, status, retry_after, control, detail, location, address, body FROM webhook_attempts`, "number > 0"},
		"an attempt at nothing":            {`INSERT INTO webhook_attempts SELECT 99, number, at, took, failure, status, retry_after, control, detail, location, address, body FROM webhook_attempts`, "FOREIGN KEY"},
		"an attempt twice":                 {`INSERT INTO webhook_attempts SELECT * FROM webhook_attempts`, "UNIQUE"},
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

func TestWebhooksOfAnyBytesComeBack(t *testing.T) {
	w := open(t, nil).Webhooks()
	for i, text := range hostile {
		id := string(rune('a'+i)) + text
		change(t, w, id, func(e *webhook.Endpoint) { e.Account, e.Sealed = "of"+id, []byte(text) })
		m := webhook.Message{ID: id, Account: "of" + id, Type: "t" + text, ContentType: text, Payload: bytesOf(text)}
		if p, err := w.Publish(t.Context(), m); err != nil || p.Deliveries != 1 || p.ID != id {
			t.Fatalf("%.20q: %+v, %v", text, p, err)
		}
		got, err := w.Claim(t.Context(), webhook.Claim{Token: "t" + text, Limit: 1, Lease: time.Minute})
		if err != nil || len(got.Deliveries) != 1 {
			t.Fatalf("%.20q: %v, %v", text, names(got), err)
		}
		d := got.Deliveries[0]
		m.At = d.Message.At
		if d.Delivery.Endpoint != id || d.Delivery.Message != id || d.Delivery.Account != m.Account || d.Delivery.Type != m.Type ||
			d.Delivery.Token != "t"+text || string(d.Endpoint.Sealed) != text || !reflect.DeepEqual(*d.Message, m) {
			t.Errorf("%.20q comes back as %+v", text, d)
		}
		a := webhook.Attempt{Number: 1, At: got.Now, Detail: text, Location: text, Address: text, Body: bytesOf(text)}
		err = w.Settle(t.Context(), []webhook.Settlement{{Endpoint: id, Message: id, Token: "t" + text, Attempt: a}}, func(now time.Time, cases []webhook.Case) error {
			cases[0].Delivery.State = webhook.DeliveryDead
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		a.Endpoint, a.Message = id, id
		if list, err := w.Attempts(t.Context(), id, id, 0, 10); err != nil || len(list) != 1 || !reflect.DeepEqual(list[0], a) {
			t.Errorf("%.20q: attempts %+v, %v; want %+v", text, list, err, a)
		}
		if got, err := w.Message(t.Context(), id); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%.20q: message %+v, %v", text, got, err)
		}
	}
}

// bytesOf returns the bytes of text; nil for none.
func bytesOf(text string) []byte { return append([]byte(nil), text...) }

// What JSON cannot hold would come back as something else: a secret header as
// another one, a filter as one that takes nothing.
func TestSettingsThatAreNotUTF8AreRefusedWhole(t *testing.T) {
	w := open(t, nil).Webhooks()
	addEndpoints(t, w, "e")
	for name, edit := range map[string]func(s *webhook.Settings){
		"url":         func(s *webhook.Settings) { s.URL = "\xff" },
		"filter":      func(s *webhook.Settings) { s.Events = []string{"a", "\xff"} },
		"header":      func(s *webhook.Settings) { s.Headers = map[string]string{"\xff": "a"} },
		"value":       func(s *webhook.Settings) { s.Headers = map[string]string{"a": "\xff"} },
		"note":        func(s *webhook.Settings) { s.Note = "a\xc3" },
		"roots":       func(s *webhook.Settings) { s.TLS.RootCAs = "\xff" },
		"certificate": func(s *webhook.Settings) { s.TLS.Certificate = "\xff" },
	} {
		err := w.Change(t.Context(), "e", func(_ time.Time, e *webhook.Endpoint) error {
			e.Account = "b"
			edit(&e.Settings)
			return nil
		})
		wantCode(t, err, kerrors.Invalid)
		if list, err := w.Endpoints(t.Context(), webhook.EndpointQuery{ID: "e", Limit: 1}); err != nil || len(list) != 1 || list[0].Account != "a" {
			t.Errorf("%s: %+v, %v", name, list, err)
		}
	}
}

// Every field of an endpoint is kept, those that come with a later version too.
func TestAnEndpointComesBackWhole(t *testing.T) {
	w := open(t, nil).Webhooks()
	var want webhook.Endpoint
	filled(t, reflect.ValueOf(&want).Elem())
	want.ID, want.State = "e", webhook.EndpointDisabled
	err := w.Change(t.Context(), "e", func(_ time.Time, e *webhook.Endpoint) error {
		*e = want
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	list, err := w.Endpoints(t.Context(), webhook.EndpointQuery{ID: "e", Limit: 1})
	if err != nil || len(list) != 1 || !reflect.DeepEqual(list[0], want) {
		t.Errorf("%+v, %v; want %+v", list, err, want)
	}
	// Instants in another zone are the same instants.
	err = w.Change(t.Context(), "e", func(_ time.Time, e *webhook.Endpoint) error {
		zoned(reflect.ValueOf(e).Elem(), time.FixedZone("there", 3600))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if list, err = w.Endpoints(t.Context(), webhook.EndpointQuery{ID: "e", Limit: 1}); err != nil || !reflect.DeepEqual(list[0], want) {
		t.Errorf("%+v, %v; want %+v", list, err, want)
	}
}

// filled gives every field that v is made of a value that is not zero.
func filled(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		v.SetString("text <&> \u2028 \\ufffd é")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1 << 40)
	case reflect.Uint8, reflect.Uint16:
		v.SetUint(2)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		filled(t, v.Index(1))
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		filled(t, key)
		filled(t, value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.UnixMicro(1_700_000_000_123_456).UTC()))
			return
		}
		for _, field := range v.Fields() {
			filled(t, field)
		}
	default:
		t.Fatalf("a field of kind %v", v.Kind())
	}
}

// zoned moves every instant that v is made of to another zone.
func zoned(v reflect.Value, zone *time.Location) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(v.Interface().(time.Time).In(zone)))
	} else if v.Kind() == reflect.Struct {
		for _, field := range v.Fields() {
			zoned(field, zone)
		}
	}
}

// A field that this version does not know must not vanish when it writes the row:
// files of newer versions are refused as a whole, and such a row is too.
func TestAnEndpointOfANewerVersionIsRefused(t *testing.T) {
	for column, text := range map[string]string{"settings": `{"URL":"https://a.example","Newer":1}`, "health": `{"Newer":1}`, "events": `{}`} {
		db := open(t, nil)
		w := db.Webhooks()
		addEndpoints(t, w, "e", "other")
		publish(t, w, "m")
		err := db.Write(t.Context(), func(exec sqlitestore.Exec) error {
			return exec("UPDATE webhook_endpoints SET "+column+" = ?1 WHERE id = 'e'", text)
		})
		if err != nil {
			t.Fatal(err)
		}
		err = w.Change(t.Context(), "e", func(time.Time, *webhook.Endpoint) error { return nil })
		wantCode(t, err, kerrors.Corrupt)
		_, err = w.Endpoints(t.Context(), webhook.EndpointQuery{Limit: 10})
		wantCode(t, err, kerrors.Corrupt)
		if list, err := w.Endpoints(t.Context(), webhook.EndpointQuery{ID: "other", Limit: 10}); err != nil || len(list) != 1 {
			t.Errorf("its neighbour: %+v, %v", list, err)
		}
	}
}

// A disk that is full takes a message with all of its deliveries, or not at all,
// and what is there can still be delivered once there is room.
func TestAFullDiskLosesNoMessage(t *testing.T) {
	db := open(t, nil)
	w := db.Webhooks()
	addEndpoints(t, w, "e0", "e1", "e2")
	pages, err := db.Int(t.Context(), "PRAGMA page_count")
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Pragma("max_page_count = " + strconv.FormatInt(pages+30, 10)); err != nil {
		t.Fatal(err)
	}
	done := 0
	for ; err == nil; done++ {
		m := messageOf(strconv.Itoa(done))
		m.Payload = make([]byte, 3000)
		_, err = w.Publish(t.Context(), m)
	}
	wantCode(t, err, kerrors.Unavailable)
	done--
	if n, d := rowsOf(t, db, "webhook_messages"), rowsOf(t, db, "webhook_deliveries"); done == 0 || n != int64(done) || d != 3*n {
		t.Errorf("%d messages and %d deliveries after %d publications to three", n, d, done)
	}
	if err := db.Pragma("max_page_count = 100000"); err != nil {
		t.Fatal(err)
	}
	got := claim(t, w, "t", 6)
	if err := deliver(t.Context(), w, got); err != nil || len(got.Deliveries) != 6 {
		t.Errorf("%d, %v", len(got.Deliveries), err)
	}
	sound(t, db)
}

func TestAFileThatCannotBeWrittenHandsOutNothing(t *testing.T) {
	db := open(t, nil)
	w := db.Webhooks()
	addEndpoints(t, w, "e")
	publish(t, w, "m")
	if err := db.Pragma("query_only = 1"); err != nil {
		t.Fatal(err)
	}
	got, err := w.Claim(t.Context(), webhook.Claim{Token: "t", Limit: 1, Lease: time.Minute})
	wantCode(t, err, kerrors.Unavailable)
	if len(got.Deliveries) != 0 {
		t.Errorf("claimed %v", names(got))
	}
	if list, err := w.Deliveries(t.Context(), webhook.DeliveryQuery{Endpoint: "e", Limit: 1}); err != nil || len(list) != 1 || list[0].State != webhook.DeliveryPending {
		t.Errorf("%+v, %v", list, err)
	}
	if err := db.Pragma("query_only = 0"); err != nil {
		t.Fatal(err)
	}
	wantClaimed(t, claim(t, w, "t", 1), "e/m")
}

// A commit that fails hands nothing out either: who got nothing sends nothing.
func TestAClaimThatIsNotCommittedHandsOutNothing(t *testing.T) {
	db := open(t, nil)
	w := db.Webhooks()
	addEndpoints(t, w, "e")
	publish(t, w, "m")
	fail := true
	if err := db.OnCommit(func() bool { return fail }); err != nil {
		t.Fatal(err)
	}
	got, err := w.Claim(t.Context(), webhook.Claim{Token: "t", Limit: 1, Lease: time.Minute})
	wantCode(t, err, kerrors.Unavailable)
	if len(got.Deliveries) != 0 {
		t.Errorf("claimed %v", names(got))
	}
	fail = false
	wantClaimed(t, claim(t, w, "u", 1), "e/m")
}

// A file of the schema before gets webhooks, beside tables of the host's.
func TestAFileOfTheFourthSchemaGetsWebhooks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "old.db")
	db, err := sqlitestore.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.MigrateTo(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Webhooks().Publish(t.Context(), messageOf("m")); err == nil || !strings.Contains(err.Error(), "call Migrate") {
		t.Errorf("before Migrate: %v", err)
	}
	if err := db.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	raw(t, path, func(*sqlitestore.DB) {}, `INSERT INTO owners (id) VALUES ('kept'); CREATE TABLE messages (id TEXT); INSERT INTO messages VALUES ('the host''s')`)
	db = openAt(t, path, nil)
	w := db.Webhooks()
	addEndpoints(t, w, "e")
	publish(t, w, "m")
	if err := deliver(t.Context(), w, claim(t, w, "t", 1)); err != nil {
		t.Fatal(err)
	}
	claimReplay(t, db.Replays(), "k", "a", webhook.ClaimGranted)
	for table, n := range map[string]int64{"owners": 1, "messages": 1, "webhook_messages": 1, "webhook_attempts": 1} {
		if got := rowsOf(t, db, table); got != n {
			t.Errorf("%d rows of %s, want %d", got, table, n)
		}
	}
	sound(t, db)
}

// A payload is there once, however many take it.
func TestAPayloadIsStoredOnce(t *testing.T) {
	db := open(t, &sqlitestore.Options{Synchronous: sqlitestore.Normal})
	for i := range 50 {
		addEndpoints(t, db.Webhooks(), fmt.Sprint("e", i))
	}
	m := messageOf("m")
	m.Payload = make([]byte, 1<<20)
	if p, err := db.Webhooks().Publish(t.Context(), m); err != nil || p.Deliveries != 50 {
		t.Fatalf("%+v, %v", p, err)
	}
	if n, err := db.Int(t.Context(), `SELECT page_count * page_size FROM pragma_page_count, pragma_page_size`); err != nil || n > 3<<20/2 {
		t.Errorf("the file has %d bytes, %v", n, err)
	}
}

// What is held does not keep what is old from being removed, and stays.
func TestPruningLooksPastWhatIsHeld(t *testing.T) {
	c := newClock()
	db := open(t, &sqlitestore.Options{Now: c.now, Synchronous: sqlitestore.Normal})
	w := db.Webhooks()
	addEndpoints(t, w, "held", "live")
	change(t, w, "held", func(e *webhook.Endpoint) {
		e.State, e.Settings.Events = webhook.EndpointDisabled, []string{"image.*"}
	})
	publish(t, w, "held one", "held two")
	var old []string
	for i := range 5 {
		m := messageOf(fmt.Sprint("old", i))
		m.Type = "other"
		if _, err := w.Publish(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		old = append(old, "live/"+m.ID)
	}
	got := claim(t, w, "t", 10)
	wantClaimed(t, got, slices.Concat([]string{"live/held one", "live/held two"}, old)...)
	if err := deliver(t.Context(), w, got); err != nil {
		t.Fatal(err)
	}
	c.Advance(time.Hour)
	for _, want := range []int{3, 2, 0} {
		if n, err := w.Prune(t.Context(), c.now(), 3); err != nil || n != want {
			t.Errorf("pruned %d, %v; want %d", n, err, want)
		}
	}
	if n := rowsOf(t, db, "webhook_messages"); n != 2 {
		t.Errorf("%d messages are left, want the two that are held", n)
	}
	sound(t, db)
}
