package sqlitestore_test

import (
	"bytes"
	"errors"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	kerrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/stores/sqlitestore"
)

// hostile are texts that could break out of the text that a record is read as.
var hostile = []string{
	"", " ", "  ", "0 1 2 3", "-1", "\x00", "a\x00b", "\x00\x00", "\xff\xfe", "\xc3(", "\n", "\t", "'; DROP TABLE keys; --", "x'00'",
	"\u2028", "🔑", strings.Repeat("a ", 40_000), strings.Repeat("é", 1000),
}

func TestTextOfAnyBytesComesBack(t *testing.T) {
	db := open(t, nil)
	keys := db.Keys()
	for i, text := range hostile {
		at := time.UnixMicro(1e15 + int64(i)).UTC()
		id := string(rune('a'+i)) + text
		owner := apikey.Owner{ID: "o" + id, Epoch: 1, RevokedReason: text, SuspendedReason: text, Suspended: true, ChangedAt: at, Version: 1}
		rec := apikey.Record{
			Handle: "h" + id, Imported: apikey.Imported{Scheme: text, Encoded: text}, Label: text, Epoch: 1,
			Sealed: []byte(text), Owner: owner, Key: apikey.Key{
				ID: id, Owner: owner.ID, Name: text, Environment: text, RevokedReason: text, Start: text, Last4: text, Meter: text,
				Predecessor: text, Successor: text, CreatedAt: at, SecretAt: at, State: apikey.StateActive, Version: math.MaxInt64,
			},
		}
		event := apikey.Event{Owner: owner.ID, Kind: apikey.EventKind("k" + text), Key: text, Actor: apikey.Actor{ID: text}, Note: text, At: at}
		if err := keys.Apply(t.Context(), apikey.Change{Insert: []apikey.Record{rec}, Owner: &owner, Events: []apikey.Event{event}}); err != nil {
			t.Fatalf("%.20q: %v", text, err)
		}
		event.Seq = 1
		event.Sum = event.Link([32]byte{})
		owner.Events, owner.Head = 1, event.Sum
		byHandle, err1 := keys.ByHandle(t.Context(), rec.Handle)
		byID, err2 := keys.ByID(t.Context(), rec.Key.ID)
		for _, got := range []apikey.Record{byHandle, byID} {
			if !got.Key.Equal(rec.Key) || got.Handle != rec.Handle || got.Imported != rec.Imported || got.Label != rec.Label ||
				!bytes.Equal(got.Sealed, rec.Sealed) || got.Owner != owner || got.Owner.ID != owner.ID {
				t.Errorf("%.20q comes back as %+v, %v, %v", text, got, err1, err2)
			}
		}
		if got, err := keys.Owner(t.Context(), owner.ID); err != nil || got != owner {
			t.Errorf("%.20q: owner %+v, %v; want %+v", text, got, err, owner)
		}
		events, err := keys.Events(t.Context(), apikey.EventQuery{Owner: owner.ID, Key: text, Kind: event.Kind, Limit: 2})
		if err != nil || len(events) != 1 || events[0].Note != text || events[0].Actor.ID != text || events[0].Link([32]byte{}) != event.Sum {
			t.Errorf("%.20q: events %+v, %v", text, events, err)
		}
	}
	list, err := keys.List(t.Context(), apikey.Query{States: []apikey.State{apikey.StateActive}, Limit: 100})
	if err != nil || len(list) != len(hostile) {
		t.Errorf("%d keys listed, %v; want %d", len(list), err, len(hostile))
	}
	sound(t, db)
}

// What JSON cannot hold would come back as another text, and break the chain.
func TestAChangeOfAFieldThatIsNotUTF8IsRefusedWhole(t *testing.T) {
	keys := open(t, nil).Keys()
	for _, change := range []apikey.FieldChange{{Field: "\xff"}, {Before: "\xff"}, {After: "a\xc3"}, {Before: "\xc3", After: "\xa9"}} {
		event := eventOf("owner", "one")
		event.Changes = append(event.Changes, change)
		err := keys.Apply(t.Context(), apikey.Change{Insert: []apikey.Record{keyRecord("one")}, Events: []apikey.Event{eventOf("owner", "one"), event}})
		wantCode(t, err, kerrors.Invalid)
		if _, err := keys.ByID(t.Context(), "one"); !errors.Is(err, apikey.ErrNotFound) {
			t.Errorf("ByID: %v, want ErrNotFound", err)
		}
		if o, err := keys.Owner(t.Context(), "owner"); err != nil || o.Events != 0 {
			t.Errorf("owner %+v, %v; want no events", o, err)
		}
	}
}

func TestAddressesOfActorsComeBack(t *testing.T) {
	keys := open(t, nil).Keys()
	var sum [32]byte
	for _, ip := range []string{"", "192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "fe80::1%eth0", "fe80::1%\x00 '"} {
		event := eventOf("owner", "one")
		event.Actor.IP, _ = netip.ParseAddr(ip)
		if err := keys.Apply(t.Context(), apikey.Change{Events: []apikey.Event{event}}); err != nil {
			t.Fatal(err)
		}
		got, err := keys.Events(t.Context(), apikey.EventQuery{Owner: "owner", Limit: 1})
		if err != nil || len(got) != 1 || got[0].Actor != event.Actor || got[0].Link(sum) != got[0].Sum {
			t.Fatalf("%q: events %+v, %v", ip, got, err)
		}
		sum = got[0].Sum
	}
}

func TestARecordThatCannotBeReadIsCorrupt(t *testing.T) {
	for column, text := range map[string]string{
		"scopes": "::", "metadata": "[]", "settings": `{"a":1.5}`, "networks": "10.0.0.1/8",
	} {
		db := open(t, nil)
		if err := db.Keys().Apply(t.Context(), apikey.Change{Insert: []apikey.Record{keyRecord("one"), keyRecord("two")}}); err != nil {
			t.Fatal(err)
		}
		if err := db.Write(t.Context(), func(exec sqlitestore.Exec) error {
			return exec("UPDATE keys SET "+column+" = ?1 WHERE id = 'one'", text)
		}); err != nil {
			t.Fatal(err)
		}
		_, byHandle := db.Keys().ByHandle(t.Context(), "handle-one")
		_, list := db.Keys().List(t.Context(), apikey.Query{States: []apikey.State{apikey.StateActive}, Limit: 10})
		for _, err := range []error{byHandle, list} {
			wantCode(t, err, kerrors.Corrupt)
			if err == nil || !strings.Contains(err.Error(), "column "+column) {
				t.Errorf("%v does not name the column %s", err, column)
			}
		}
		if _, err := db.Keys().ByHandle(t.Context(), "handle-two"); err != nil {
			t.Errorf("its neighbour: %v", err)
		}
	}
}

func TestAnEventThatCannotBeReadIsCorrupt(t *testing.T) {
	db := open(t, nil)
	for i, values := range []string{`'one', 1, 0, 'k', '', '', 'nowhere', '[]'`, `'two', 1, 0, 'k', '', '', '', '{"a":1}'`} {
		err := db.Write(t.Context(), func(exec sqlitestore.Exec) error {
			if err := exec(`INSERT INTO owners (id) VALUES ('` + []string{"one", "two"}[i] + `')`); err != nil {
				return err
			}
			return exec(`INSERT INTO events (owner, seq, at, kind, key, actor, actor_ip, changes, note, count, sum) VALUES (` + values + `, '', 0, zeroblob(32))`)
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = db.Keys().Events(t.Context(), apikey.EventQuery{Owner: []string{"one", "two"}[i], Limit: 1})
		wantCode(t, err, kerrors.Corrupt)
	}
}

func TestListingsGoOnFromBetweenTwoMicroseconds(t *testing.T) {
	store := open(t, nil).Keys()
	rec := keyRecord("m")
	rec.Key.ExpiresAt = rec.Key.CreatedAt
	at := rec.Key.CreatedAt
	event := eventOf("m", "m")
	event.At = at
	if err := store.Apply(t.Context(), apikey.Change{Insert: []apikey.Record{rec}, Events: []apikey.Event{event}}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		after           time.Duration
		id              string
		newest, soonest int
	}{{0, "a", 0, 1}, {0, "z", 1, 0}, {1, "a", 1, 0}, {1, "z", 1, 0}, {-1, "z", 0, 1}, {-1, "a", 0, 1}} {
		for order, want := range map[apikey.Order]int{apikey.NewestFirst: c.newest, apikey.SoonestFirst: c.soonest} {
			q := apikey.Query{Limit: 1, States: []apikey.State{apikey.StateActive}, Order: order}
			q.After = apikey.Cursor{At: at.Add(c.after), ID: c.id}
			if list, err := store.List(t.Context(), q); err != nil || len(list) != want {
				t.Errorf("order %d after %v and %q: %d keys, %v; want %d", order, c.after, c.id, len(list), err, want)
			}
		}
		for oldest, want := range map[bool]int{false: c.newest, true: c.soonest} {
			q := apikey.EventQuery{Limit: 1, AnyOwner: true, OldestFirst: oldest}
			q.After = apikey.EventCursor{At: at.Add(c.after), Owner: c.id, Seq: 1}
			if list, err := store.Events(t.Context(), q); err != nil || len(list) != want {
				t.Errorf("events, oldest first %t, after %v and %q: %d, %v; want %d", oldest, c.after, c.id, len(list), err, want)
			}
		}
	}
}

func TestBoundsBetweenTwoMicroseconds(t *testing.T) {
	store := open(t, nil).Keys()
	rec := keyRecord("m")
	at := rec.Key.CreatedAt
	rec.Key.ExpiresAt, rec.Key.LastUsedAt, rec.Key.SecretAt = at, at, at
	event := eventOf("m", "m")
	event.At = at
	if err := store.Apply(t.Context(), apikey.Change{Insert: []apikey.Record{rec}, Events: []apikey.Event{event}}); err != nil {
		t.Fatal(err)
	}
	for _, d := range []time.Duration{-1000, -999, -1, 0, 1, 999, 1000} {
		bound := at.Add(d)
		for name, q := range map[string]apikey.Query{
			"LiveAt": {LiveAt: bound}, "ExpiresBefore": {ExpiresBefore: bound}, "UnusedSince": {UnusedSince: bound}, "SecretBefore": {SecretBefore: bound},
			"soonest LiveAt": {LiveAt: bound, Order: apikey.SoonestFirst}, "soonest ExpiresBefore": {ExpiresBefore: bound, Order: apikey.SoonestFirst},
		} {
			q.States, q.Limit = []apikey.State{apikey.StateActive}, 1
			if list, err := store.List(t.Context(), q); err != nil || len(list) == 1 != q.Selects(&rec) {
				t.Errorf("%s %v: %d keys, %v; want one %t", name, d, len(list), err, q.Selects(&rec))
			}
		}
		q := apikey.EventQuery{Owner: "m", Until: bound, Limit: 1}
		if list, err := store.Events(t.Context(), q); err != nil || len(list) == 1 != q.Selects(&event) {
			t.Errorf("Until %v: %d events, %v; want one %t", d, len(list), err, q.Selects(&event))
		}
	}
}

func TestALookUpIsLean(t *testing.T) {
	keys := open(t, nil).Keys()
	if err := keys.Apply(t.Context(), apikey.Change{Insert: []apikey.Record{keyRecord("one")}}); err != nil {
		t.Fatal(err)
	}
	n := testing.AllocsPerRun(100, func() {
		if _, err := keys.ByHandle(t.Context(), "handle-one"); err != nil {
			t.Fatal(err)
		}
	})
	if n > 50 { // a column more costs up to four
		t.Errorf("a look-up allocates %v times", n)
	}
}

// A use that was noted before the deletion may be written after it.
func TestATombstoneIsNeverRestamped(t *testing.T) {
	keys := open(t, nil).Keys()
	rec := keyRecord("one")
	rec.Key.State = apikey.StateDeleted
	if err := keys.Apply(t.Context(), apikey.Change{Insert: []apikey.Record{rec}}); err != nil {
		t.Fatal(err)
	}
	use := apikey.Use{ID: "one", At: rec.Key.CreatedAt, Restamp: &apikey.Restamp{Digest: apikey.Digest{Version: 7, Sum: [32]byte{1}}}}
	if err := keys.Touch(t.Context(), []apikey.Use{use}); err != nil {
		t.Fatal(err)
	}
	if got, err := keys.ByID(t.Context(), "one"); err != nil || got.Digest != (apikey.Digest{}) || got.Key.Version != 1 || !got.Key.LastUsedAt.Equal(use.At) {
		t.Errorf("got %+v, %v; want it used and without a digest", got, err)
	}
}

// Other programs read the file: never is null, and no year.
func TestNeverIsNull(t *testing.T) {
	db := open(t, nil)
	if err := db.Keys().Apply(t.Context(), apikey.Change{Insert: []apikey.Record{keyRecord("one")}}); err != nil {
		t.Fatal(err)
	}
	if err := db.Keys().Touch(t.Context(), []apikey.Use{{ID: "one"}}); err != nil {
		t.Fatal(err)
	}
	n, err := db.Int(t.Context(), `SELECT count(*) FROM keys JOIN owners ON owners.id = owner
		WHERE last_used_at IS NULL AND expires_at IS NULL AND changed_at IS NULL AND intent IS NULL AND sealed IS NULL`)
	if err != nil || n != 1 {
		t.Errorf("%d of one key has nulls where nothing is, %v", n, err)
	}
}

// A disk that is full takes changes whole or not at all.
func TestAFullDiskLosesNoKeyAndNoEvent(t *testing.T) {
	db := open(t, nil)
	pages, err := db.Int(t.Context(), "PRAGMA page_count")
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Pragma("max_page_count = " + strconv.FormatInt(pages+50, 10)); err != nil {
		t.Fatal(err)
	}
	change := func(n int) (c apikey.Change) {
		for i := range 10 {
			id := strconv.Itoa(10*n + i)
			c.Insert, c.Events = append(c.Insert, keyRecord(id)), append(c.Events, eventOf("owner", id))
		}
		return c
	}
	done := 0
	for ; err == nil; done++ {
		err = db.Keys().Apply(t.Context(), change(done))
	}
	wantCode(t, err, kerrors.Unavailable)
	done--
	if n := checkEvents(t, db, "owner"); done == 0 || n != 10*done {
		t.Errorf("%d events after %d changes of 10", n, done)
	}
	if err := db.Pragma("max_page_count = 100000"); err != nil {
		t.Fatal(err)
	}
	if err := db.Keys().Apply(t.Context(), change(done)); err != nil {
		t.Error(err)
	}
	if n := checkEvents(t, db, "owner"); n != 10*done+10 {
		t.Errorf("%d events after %d changes of 10", n, done+1)
	}
	sound(t, db)
}
